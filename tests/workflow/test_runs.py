"""Whole runs: mistakes are named before anything starts, interruptions cost nothing, results repeat."""

import base64
import copy
import csv
import hashlib
import http.server
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import ROOT, STUDY, Project, changed, copy_project

pytestmark = pytest.mark.workflow


LEARNED_BY_TRIPLETS = copy.deepcopy(STUDY["models"]["one"])
LEARNED_BY_TRIPLETS["stages"][0]["objective"] = {"triplet": {"mining": "semi_hard", "per_class": 3}}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Project:
    """The tiny study before any run."""
    return copy_project(tmp_path_factory.mktemp("fresh") / "trazo")


@pytest.mark.parametrize(
    ("study", "words"),
    [
        (changed(("datasets", "pets", "sise"), 3), ["datasets.pets.sise", "'size'"]),
        (changed(("models", "one", "feature"), "fc7"), ["models.one.feature", "'fc7'", "pool (64 values)"]),
    ],
)
def test_mistakes_are_named_before_anything_runs(fresh, study, words):
    fresh.write_study(study, "mistaken")
    done = fresh.snakemake("--config", "studies=[mistaken.yaml]", check=False)
    assert done.returncode != 0
    assert all(word in done.stdout for word in words), done.stdout
    assert "Traceback" not in done.stdout
    assert not (fresh.folder / "results" / "mistaken").exists()


def test_a_source_that_is_not_there(fresh):
    config = yaml.safe_load((fresh.folder / "config.yaml").read_text())
    other = fresh.folder / "other.yaml"
    other.write_text(yaml.safe_dump({**config, "sources": {"pets": "nowhere"}}))
    done = fresh.snakemake("--configfile", "config.yaml", "other.yaml", check=False)
    assert "'pets' is nowhere, which does not exist" in done.stdout


def test_too_few_drawings_say_how_many_there_are(fresh):
    fresh.write_study(changed(("datasets", "pets", "split"), {"train": 20, "test": 6}), "greedy")
    done = fresh.snakemake("--config", "studies=[greedy.yaml]", check=False)
    assert done.returncode != 0
    assert re.search(r"25 .*26|26 .*25", done.stdout), done.stdout[-3000:]


def test_a_report_can_be_asked_for_though_its_study_is_not_configured(fresh):
    assert fresh.stale("results/demo/report.html")["train_stage"] == 1
    done = fresh.snakemake("--dry-run", "results/dmo/report.html", check=False)
    assert "'demo'" in done.stdout


def test_an_archive_behind_a_url_is_planned_without_looking_at_it(fresh):
    config = yaml.safe_load((fresh.folder / "config.yaml").read_text())
    photos = {"source": "web", "layout": "folders", "split": {"train": 3, "test": 2}, "size": 32}
    study = changed(("datasets",), {"pets": photos})
    for categories, url, words in (
        (None, "http://127.0.0.1:9/a/photos.zip?x=1", []),
        (["coast", "forest"], "http://127.0.0.1:9/photos.zip", []),
        ({"random": 2}, "http://127.0.0.1:9/photos.zip", ["categories", "random draw"]),
        (None, "http://127.0.0.1:9/photos.tar.gz", ["datasets.pets.source", "no .zip"]),
    ):
        photos["categories"] = categories
        fresh.write_study(study, "web")
        overlay = {**config, "sources": {"web": url}, "studies": ["web.yaml"]}
        (fresh.folder / "web-config.yaml").write_text(yaml.safe_dump(overlay))
        done = fresh.snakemake("--dry-run", "--configfile", "config.yaml", "web-config.yaml", check=not words)
        assert all(word in done.stdout for word in words or ["download_archive"]), done.stdout


def test_two_runs_give_the_same_bytes(project, tmp_path):
    other = copy_project(tmp_path / "again" / "trazo")
    other.snakemake()
    for name in ("metrics.csv", "tables/map.csv", "figures/curve.svg", "figures/curve.json", "figures/sheet.png"):
        first, second = (p.folder / "results" / "tiny" / name for p in (project, other))
        assert first.read_bytes() == second.read_bytes(), name


def test_a_run_killed_in_training_goes_on_and_ends_the_same(project, tmp_path):
    study = changed(("models", "one", "stages", 0, "epochs"), 40)
    project.write_study(study)
    whole = Project(tmp_path / "whole")
    shutil.copytree(project.folder, whole.folder)
    whole.snakemake()

    target = "results/tiny/models/one/seed0/classify/checkpoint.pt"
    resume = project.folder / f"{target}.resume"
    run = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2", target],
        cwd=project.folder,
        env={**os.environ, "PYTHONPATH": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    limit = time.monotonic() + 120
    while not resume.exists():
        assert run.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < limit, "no epoch was finished in time"
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert resume.exists()
    project.snakemake("--unlock")
    project.snakemake("--rerun-incomplete")
    log = (project.folder / "results/tiny/logs/train_stage/one/seed0/classify.log").read_text()
    assert re.search(r"going on after epoch \d+ of 40", log)
    assert not resume.exists()
    for name in ("metrics.csv", "tables/map.csv"):
        assert (project.folder / "results/tiny" / name).read_bytes() == (
            whole.folder / "results/tiny" / name
        ).read_bytes()


def test_a_network_without_a_classifier_has_no_accuracy(project):
    """One model learns by triplets, the other still classifies: only that one has accuracies, and all is reported."""
    study = changed(("models", "one"), LEARNED_BY_TRIPLETS)
    study["tables"]["accuracy"] = {"title": "Accuracy", "metrics": ["accuracy"], "rows": "metric", "columns": ["model"]}
    study["figures"]["curves"] = {"title": "Training", "kind": "training_curves"}
    project.write_study(study)
    stale = project.stale()
    assert (stale["train_stage"], stale.get("evaluate_classifier", 0)) == (1, 0)
    project.snakemake()
    with (project.folder / "results/tiny/metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["model"] for row in rows if row["metric"] == "accuracy"} == {"two"}
    assert {row["model"] for row in rows if row["metric"] == "map"} == {"one", "two"}
    assert "results/tiny/report.html" not in project.stale()
    # The layer is what triplets are measured at: training depends on it now, and does not for the other model.
    for model in study["models"].values():
        model["feature"] = "stage4"
    project.write_study(study)
    assert project.stale()["train_stage"] == 1
    project.edit("workflow/trazo/training/objectives.py", "self.margin + gaps", "2 * self.margin + gaps")
    assert project.stale()["train_stage"] == 1


def test_several_studies_in_one_run(project):
    project.write_study({**STUDY, "title": "Second"}, "second")
    stale = project.stale("--config", "studies=[tiny.yaml,second.yaml,demo]")
    assert stale["train_stage"] == 3
    assert stale["render_report"] == 2


def test_image_folders_and_overrides_run_to_the_report(project):
    """A user's own images, in folders: the same rules take it from there."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for name, level in (("dark & grey", 60), ("light <b>", 200)):
        (project.folder / "photos" / name).mkdir(parents=True)
        for index in range(10):
            pixels = rng.integers(level - 50, level + 50, (40, 60, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(project.folder / "photos" / name / f"{index} ñ.png")
    study = copy.deepcopy(STUDY)
    study["datasets"] = {
        "photos": {
            "source": "photos",
            "layout": "folders",
            "split": {"test": 4, "train": "rest"},
            "size": 32,
            "channels": 3,
        }
    }
    study["models"] = {"one": {**STUDY["models"]["one"], "channels": 3}}
    study["models"]["one"]["stages"] = [
        {**STUDY["models"]["one"]["stages"][0], "data": "photos/train", "validate_on": "photos/test"}
    ]
    study["retrievals"] = [
        {
            **STUDY["retrievals"][0],
            "models": ["one"],
            "queries": "photos/test",
            "gallery": "photos/train",
            "leave_one_out": False,
        }
    ]
    project.write_study(study, "photos")
    config = yaml.safe_load((project.folder / "config.yaml").read_text())
    config["sources"]["photos"] = "photos"
    config["studies"] = ["photos.yaml"]
    config["overrides"] = {"photos": {"seeds": [0, 1]}}
    (project.folder / "config.yaml").write_text(yaml.safe_dump(config))
    project.snakemake()
    page = (project.folder / "results/photos/report.html").read_text()
    assert "light &lt;b&gt;" in page
    assert "light <b>" not in page
    assert project.stale() == {}
    os.remove(project.folder / "photos" / "dark & grey" / "3 ñ.png")
    assert project.stale()["build_images"] == 2


@pytest.fixture
def bucket(project):
    """A server on this machine that hands out the drawings as the dataset's bucket does; counts what was asked."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(project.folder / "my drawings"))

        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

        def end_headers(self):
            file = Path(self.translate_path(self.path))
            if file.is_file():
                md5 = base64.b64encode(hashlib.md5(file.read_bytes()).digest()).decode()
                self.send_header("x-goog-hash", f"crc32c=AAAAAA==,md5={md5}")
            super().end_headers()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


def test_drawings_are_downloaded_once_and_only_those_needed(project, bucket):
    url, asked = bucket
    pets = {**STUDY["datasets"]["pets"], "source": "bucket", "categories": ["cat", "duck"]}
    study = changed(("datasets", "pets"), pets)
    project.write_study(study, "online")
    config = yaml.safe_load((project.folder / "config.yaml").read_text())
    config |= {"sources": {"bucket": url}, "studies": ["online.yaml"]}
    (project.folder / "config.yaml").write_text(yaml.safe_dump(config))
    project.snakemake("results/online/images/pets/train.h5", "results/online/images/pets/test.h5")
    assert sorted(asked) == ["/cat.bin", "/duck.bin"]
    for name in ("cat", "duck"):
        here = project.folder / "results" / "sources" / "bucket" / f"{name}.bin"
        assert here.read_bytes() == (project.folder / "my drawings" / f"{name}.bin").read_bytes()
    assert "build_images" not in project.stale("results/online/images/pets/train.h5")
    # A name that Quick, Draw! does not have is refused before anything is asked of the network.
    pets["categories"] = ["cat", 'the odd one\'s "crab"']
    project.write_study(study, "online")
    assert "datasets.pets.categories" in project.snakemake("--dry-run", check=False).stdout
    assert len(asked) == 2


def test_rankers_votes_and_reranking_run_to_the_report(project):
    study = copy.deepcopy(STUDY)
    plain = {**study["retrievals"][0], "models": ["one"], "metrics": ["map", "p@3", "recall@5", "recall_precision"]}
    several = ["sklearn", {"faiss_ivf": {"lists": 2, "probes": 1}}, "exact"]
    study["retrievals"] = [
        {**plain, "rankers": several, "votes": [1, 5], "reducers": ["none", {"pca": {"size": 4}}]},
        {**plain, "name": "reranked", "rerank": "predicted_class"},
    ]
    study["tables"]["rankers"] = {
        "title": "Rankers",
        "metrics": ["p@3", "recall_of_exact@5", "knn_accuracy@5"],
        "rows": "ranker",
        "columns": ["metric"],
        "where": {"dataset": "pets-test", "reducer": "none"},
    }
    study["tables"]["reducers"] = {
        "title": "Reducers",
        "metrics": ["map", "p@3"],
        "rows": "reducer",
        "columns": ["metric", "size"],
        "where": {"dataset": "pets-test", "ranker": "exact"},
    }
    study["figures"]["votes"] = {"title": "Votes", "kind": "knn_confusion", "options": {"neighbours": 5}}
    study["figures"]["sweep"] = {
        "title": "Sweep",
        "kind": "epochs",
        "options": {"metrics": ["map", "train_accuracy", "training_time"], "axis": "log"},
    }
    study["figures"]["pairs"] = {"title": "Pairs", "kind": "confused_pairs"}
    study["figures"]["neighbours"] = {"title": "Pairs", "kind": "confused_pairs", "options": {"by": "neighbour"}}
    study["figures"]["ends"] = {"title": "Ends", "kind": "class_extremes", "options": {"n": 1}}
    study["tables"]["training"] = {
        "title": "Training",
        "metrics": ["map", "train_accuracy", "train_loss", "training_time", "images_per_second"],
        "rows": "metric",
        "columns": ["model"],
        "where": {"dataset": "pets-test"},
    }
    study["figures"]["bars"] = {"title": "Bars", "kind": "class_bars", "options": {"metric": "p@3"}}
    labels = {"of": "labels", "ks": [1, 5], "rankers": ["exact", "sklearn"]}
    study["figures"]["labels"] = {"title": "Labels", "kind": "precision_recall", "options": labels}
    project.write_study(study)
    stale = project.stale()
    assert stale["rank_gallery"] == 7
    assert stale["reduce_features"] == 1
    assert stale["compare_rankers"] == 1
    assert "train_stage" not in stale
    project.snakemake()
    assert project.stale() == {}
    lines = (project.folder / "results/tiny/tables/rankers.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines[1:]] == ["sklearn", "faiss_ivf-lists2-probes1", "exact"]
    lines = (project.folder / "results/tiny/tables/reducers.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["reducer", "none", "PCA"]
    metrics = (project.folder / "results/tiny/metrics.csv").read_text()
    assert "exact+predicted_class" in metrics
    assert ",pca,4,128,," in metrics
    assert "train_loss" in metrics
    assert "training_time" not in metrics
    with (project.folder / "results/tiny/tables/training.csv").open(newline="") as file:
        trained = {row["metric"]: float(row["one"]) for row in csv.DictReader(file)}
    assert len(trained) == 5
    assert min(trained.values()) > 0
    page = (project.folder / "results/tiny/report.html").read_text()
    assert "index 0." in page
    assert "Other rankers beside the exact one" in page
    with (project.folder / "results/tiny/agreement.csv").open(newline="") as file:
        agreed = {(row["dataset"], row["ranker"]) for row in csv.DictReader(file)}
    assert agreed == {("pets-test", "sklearn"), ("pets-test", "faiss_ivf-lists2-probes1")}
    assert "one · PCA 4 · euclidean" in page
    assert "explained variance" in page
    # Another option of the reducer is a reducer of its own; what is not reduced stays.
    study["retrievals"][0]["reducers"][1]["pca"]["whiten"] = True
    project.write_study(study)
    stale = project.stale()
    assert (stale["reduce_features"], stale["rank_gallery"]) == (1, 3)


def test_lint_is_clean():
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--lint"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
