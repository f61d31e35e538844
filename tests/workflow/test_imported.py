"""Whoever has features enters with a file of them: from NPZ and HDF5 to the report, and what mistakes say."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from sklearn.metrics import average_precision_score

from tests.workflow.conftest import ROOT

pytestmark = pytest.mark.workflow


def values(folder: Path, **where: str) -> list[float]:
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if all(row[k] == v for k, v in where.items())]
    return [float(row["value"]) for row in rows]


def test_the_example_of_the_readme_runs_to_its_report(empty):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    part = text[text.index("**Features made elsewhere**") :]
    code, study, command = (
        re.search(rf"```{language}\n(.*?)```", part, flags=re.DOTALL)[1] for language in ("python", "yaml", "sh")
    )
    subprocess.run([sys.executable, "-c", code], cwd=empty.folder, check=True)
    (empty.folder / "embeddings.yaml").write_text(study)
    assert "'studies=[embeddings.yaml]'" in command
    empty.snakemake("--config", "studies=[embeddings.yaml]")
    results = empty.folder / "results/embeddings"
    page = (results / "report.html").read_text()
    assert "imported from embeddings.npz" in page
    assert page.count("<figure") >= 2
    with np.load(empty.folder / "embeddings.npz") as file:
        given, labels = file["features"].astype(np.float32).astype(np.float64), file["labels"]
    far = np.linalg.norm(given[:, None] - given[None], axis=2)
    others = ~np.eye(len(given), dtype=bool)
    expected = np.mean(
        [average_precision_score((labels == labels[i])[others[i]], -far[i][others[i]]) for i in range(150)]
    )
    (found,) = values(results, metric="map", average="queries", **{"class": ""})
    assert found == pytest.approx(expected, abs=1e-9)


def test_numbers_and_bits_with_queries_apart_in_hdf5(empty):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 60)
    centres = rng.normal(size=(4, 24))
    numbers = centres[labels] + rng.normal(size=(60, 24))
    with h5py.File(empty.folder / "numbers.h5", "w") as file:
        file["features"], file["labels"] = numbers[10:], labels[10:]
        file["query_features"], file["query_labels"] = numbers[:10], labels[:10]
    bits = np.packbits(numbers > 0, axis=1)
    with h5py.File(empty.folder / "codes.h5", "w") as file:
        file["bits"], file["labels"] = bits[10:], labels[10:]
    with h5py.File(empty.folder / "asked.h5", "w") as file:
        file["bits"], file["labels"] = bits[:10], labels[:10]
    study = {
        "title": "Two kinds",
        "features": {"plain": {"source": "numbers"}, "codes": {"source": "codes.h5", "queries": "asked.h5"}},
    }
    empty.write_study(study, "two")
    empty.snakemake("--config", "studies=[two.yaml]", "sources={numbers: numbers.h5}")
    results = empty.folder / "results/two"
    assert "imported from codes.h5 and asked.h5" in (results / "report.html").read_text()
    for model, far in (
        ("plain", np.linalg.norm(numbers[:10, None].astype(np.float32) - numbers[10:].astype(np.float32), axis=2)),
        ("codes", np.unpackbits(bits[:10, None] ^ bits[None, 10:], axis=2).sum(2)),
    ):
        nearest = [labels[10:][row == row.min()] for row in far]
        expected = np.mean([np.mean(found == label) for found, label in zip(nearest, labels)])
        (found,) = values(results, metric="p@1", model=model, average="queries", **{"class": ""})
        assert found == pytest.approx(expected), model

    # Another query file touches its own features only.
    assert empty.stale("--config", "studies=[two.yaml]", "sources={numbers: numbers.h5}") == {}
    with h5py.File(empty.folder / "asked.h5", "r+") as file:
        file["labels"][0] = 3
    stale = empty.stale("--config", "studies=[two.yaml]", "sources={numbers: numbers.h5}")
    assert stale["rank_gallery"] == 1


@pytest.mark.parametrize(
    ("arrays", "study", "words"),
    [
        ({"vectors": np.eye(3)}, {}, ["features.mine", "'features' or 'bits'", "vectors (float64 of shape (3, 3))"]),
        ({"features": np.eye(3), "labels": np.arange(2)}, {}, ["features.mine", "'labels'", "each of 3 items"]),
        (
            {"features": np.eye(4), "labels": np.arange(4) % 2},
            {"retrievals": [{"features": ["mine"], "distances": ["hamming"]}]},
            ["retrievals[0].distances", "'hamming'", "packed `bits`"],
        ),
        (
            {"features": np.eye(4), "labels": np.arange(4) % 2},
            {"figures": {"sheet": {"title": "s", "kind": "contact_sheet"}}},
            ["figures.sheet", "images", "recall_precision or class_bars"],
        ),
        ({"features": np.full((4, 2), np.nan), "labels": np.arange(4) % 2}, {}, ["4 of 4 rows", "0, 1, 2, 3"]),
        ({"features": np.eye(4), "labels": np.arange(4)}, {}, ["none of the 4 queries has a relevant item"]),
        (
            {"features": np.eye(4)[:, :2], "labels": np.arange(4) % 2},
            {"retrievals": [{"features": ["mine"], "distances": ["cosine"]}]},
            ["zero vectors in 2 of 4 rows", "2, 3"],
        ),
        (
            {"features": np.eye(4), "labels": np.arange(4) % 2},
            {"retrievals": [{"features": ["mine"], "metrics": ["p@4"]}]},
            ["retrievals[0].metrics: p@4 looks at 4 items, and the gallery mine has 3"],
        ),
    ],
)
def test_mistakes_in_a_file_are_one_sentence(empty, arrays, study, words):
    np.savez(empty.folder / "mine.npz", **arrays)
    empty.write_study({"title": "t", "features": {"mine": {"source": "mine.npz"}}, **study}, "wrong")
    done = empty.snakemake("--config", "studies=[wrong.yaml]", check=False)
    assert done.returncode != 0
    assert all(word in done.stdout for word in words), done.stdout[-3000:]
    assert "Traceback" not in done.stdout


def test_a_file_that_is_not_there(empty):
    (empty.folder / "gone.yaml").write_text(
        yaml.safe_dump({"title": "t", "features": {"mine": {"source": "mine.npz"}}})
    )
    done = empty.snakemake("--config", "studies=[gone.yaml]", check=False)
    assert "features.mine.source: 'mine.npz' is no file" in done.stdout
