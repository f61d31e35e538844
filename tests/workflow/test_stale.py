"""Only what depends on a change runs again: DESIGN's "stale means stale", seen in what a dry run would start."""

import json
import os
import shutil
import time

import pytest

from tests.workflow.conftest import ALL_JOBS, STUDY, changed

pytestmark = pytest.mark.workflow

FROM_RANKING = {k: v for k, v in ALL_JOBS.items() if k not in ("build_images", "train_stage", "extract_features")}
del FROM_RANKING["evaluate_classifier"], FROM_RANKING["collect_training"]


def test_a_finished_study_is_finished(project):
    assert project.stale() == {}


def test_everything_a_study_promises_is_there(project):
    results = project.folder / "results" / "tiny"
    for name in (
        "report.html", "metrics.csv", "timings.csv", "comparison.csv",
        "tables/map.csv", "tables/map.md", "tables/map.tex",
        "figures/curve.svg", "figures/curve.png", "figures/curve.json", "figures/sheet.svg", "figures/sheet.png",
        "verdict.json", "../index.html",
        "models/one/seed0/classify/checkpoint.pt", "images/pets/train.h5",
    ):  # fmt: skip
        assert (results / name).stat().st_size > 0, name
    assert "odd one&#39;s" in (results / "report.html").read_text()


def test_a_metric_list_touches_rankings_and_what_follows(project):
    project.write_study(changed(("retrievals", 0, "metrics"), ["map", "p@1", "recall_precision"]))
    assert project.stale() == FROM_RANKING


def test_a_learning_rate_touches_its_model_only(project):
    project.write_study(changed(("models", "two", "stages", 0, "optimizer"), {"sgd": {"lr": 0.02}}))
    expected = {**ALL_JOBS, "train_stage": 1, "extract_features": 1, "evaluate_classifier": 1, "rank_gallery": 1}
    del expected["build_images"]
    assert project.stale() == expected
    printed = project.snakemake("--dry-run").stdout
    assert "model=two" in printed
    assert "model=one" not in printed


def test_a_feature_layer_leaves_the_training_alone(project):
    project.write_study(changed(("models", "two", "feature"), "stage4"))
    stale = project.stale()
    assert stale["extract_features"] == 1
    assert "train_stage" not in stale


def test_a_larger_test_split_leaves_the_training_alone(project):
    project.write_study(changed(("datasets", "pets", "split"), {"train": 12, "test": 7}))
    stale = project.stale("--", "results/tiny/images/pets/train.h5", "results/tiny/images/pets/test.h5")
    assert stale == {"build_images": 1}


def test_a_word_on_the_data_leaves_the_data_alone(project):
    project.write_study(changed(("datasets", "pets", "stands_for"), "all pets of the world"))
    assert not {"build_images", "train_stage", "rank_gallery"} & set(project.stale())


@pytest.mark.parametrize(
    ("module", "part"),
    [
        ("training/objectives.py", '@objectives.register("mine")\ndef mine(logits, labels):\n    return None\n'),
        ("training/hashing.py", '@objectives.register("mine")\nclass Mine(_Hashing):\n    pass\n'),
        ("models/heads.py", '@heads.register("mine")\nclass Mine(_Binary):\n    pass\n'),
        ("retrieval/distances.py", '@distances.register("mine")\nclass Mine:\n    pass\n'),
        ("retrieval/metrics.py", '@metric("mine")\ndef mine(groups, argument):\n    return None\n'),
        ("retrieval/rankers.py", '@rankers.register("mine")\nclass Mine(Ranker):\n    pass\n'),
        ("data/drawing_layouts.py", '@registered("mine")\nclass Mine(QuickdrawLayout):\n    pass\n'),
        ("config.py", "class Unused(_Strict):\n    pass\n"),
    ],
)
def test_a_new_part_beside_those_in_use_touches_no_result(project, module, part):
    with (project.folder / "workflow" / "trazo" / module).open("a") as file:
        file.write(f"\n\n{part}")
    assert not {"build_images", "train_stage", "extract_features", "rank_gallery"} & set(project.stale())


def test_a_table_touches_itself_and_the_report(project):
    project.write_study(changed(("tables", "map", "title"), "Another title"))
    assert project.stale() == {"render_table": 1, "render_report": 1, "render_index": 1}


def test_the_order_of_keys_touches_nothing(project):
    study = {key: STUDY[key] for key in reversed(STUDY)}
    study["datasets"] = {"pets": dict(reversed(STUDY["datasets"]["pets"].items()))}
    project.write_study(study)
    assert project.stale() == {}


def test_comments_docstrings_and_formatting_touch_nothing(project):
    library = sorted((project.folder / "workflow").glob("trazo/**/*.py"))
    scripts = sorted((project.folder / "workflow" / "scripts").glob("*.py"))
    assert len(library) > 20
    assert len(scripts) > 8
    for file in [*library, *scripts]:
        file.write_text(file.read_text().rstrip("\n") + "\n\n\n# A comment that means nothing.\n")
    project.edit("workflow/trazo/data/raster.py", '"""', '"""Another opening. ')
    assert project.stale() == {}


def test_a_changed_rasteriser_touches_images_and_all_that_follows(project):
    with (project.folder / "workflow" / "trazo" / "data" / "raster.py").open("a") as file:
        file.write("\nANOTHER_MEANING = 1\n")
    assert project.stale() == ALL_JOBS


@pytest.mark.parametrize(
    ("module", "first"),
    [
        ("training/loop.py", "train_stage"),
        ("models/resnets.py", "train_stage"),
        ("features.py", "extract_features"),
        ("retrieval/metrics.py", "rank_gallery"),
        ("report/tables.py", "render_table"),
    ],
)
def test_a_changed_module_touches_its_step_and_what_follows(project, module, first):
    with (project.folder / "workflow" / "trazo" / module).open("a") as file:
        file.write("\nANOTHER_MEANING = 1\n")
    stale = project.stale()
    before = list(ALL_JOBS)[: list(ALL_JOBS).index(first)]
    assert stale[first] == ALL_JOBS[first]
    assert not set(before) & set(stale)


def test_an_architecture_nobody_uses_touches_nothing(project):
    with (project.folder / "workflow" / "trazo" / "models" / "alexnet.py").open("a") as file:
        file.write("\nANOTHER_MEANING = 1\n")
    assert project.stale() == {}


def test_a_changed_source_file_touches_everything(project):
    source = project.folder / "my drawings" / "duck.bin"
    source.write_bytes((project.folder / "my drawings" / "cat.bin").read_bytes())
    assert project.stale() == ALL_JOBS


def test_a_source_file_with_another_time_but_the_same_content_touches_nothing(project):
    source = project.folder / "my drawings" / "duck.bin"
    os.utime(source, (time.time() + 10, time.time() + 10))
    assert project.stale() == {}


def test_another_category_s_file_touches_nothing(project):
    (project.folder / "my drawings" / "dog.bin").write_bytes((project.folder / "my drawings" / "cat.bin").read_bytes())
    assert project.stale() == {}


def test_weights_that_training_starts_from_touch_the_models_that_start_there(project):
    checkpoint = "results/tiny/models/{}/seed0/classify/checkpoint.pt"
    file = project.folder / "weights.pt"
    shutil.copy(project.folder / checkpoint.format("two"), file)
    study = changed(("models", "two", "weights"), {"model": "one"})
    study["models"]["three"] = {**STUDY["models"]["one"], "weights": "weights.pt"}
    project.write_study(study)
    targets = [checkpoint.format(name) for name in ("two", "three")]
    assert "model=one" not in project.snakemake(*targets).stdout
    words = {
        name: json.loads((project.folder / checkpoint.format(name)).with_name("history.json").read_text())
        for name in ("one", "two", "three")
    }
    words = {name: history["record"]["figures"]["starting_weights"] for name, history in words.items()}
    assert (words["one"], words["two"]) == ("drawn from seed 0", "stage classify of one at epoch 1")
    assert words["three"].startswith("stage classify of two at epoch 1, file weights.pt (sha256 ")
    shutil.copy(project.folder / checkpoint.format("one"), file)
    assert project.stale(*targets) == {"train_stage": 1}
    study["models"]["one"]["stages"][0]["optimizer"] = {"sgd": {"lr": 0.02}}
    project.write_study(study)
    assert project.stale(*targets) == {"train_stage": 3}
