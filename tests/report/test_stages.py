"""A study of several stages: what was published of each stands beside what was measured of it."""

import copy

import pytest
from trazo import store
from trazo.config import Settings, Study, Table
from trazo.plan import Plan
from trazo.report.comparison import compared
from trazo.report.departures import caveat
from trazo.report.measures import read_measures
from trazo.report.published import read_published
from trazo.report.story import methods
from trazo.report.tables import build_table

from .conftest import STUDY, measure, write_published


def _study() -> Study:
    study = copy.deepcopy(STUDY)
    toys = study["datasets"]["toys"]
    study["datasets"]["others"] = {**toys, "categories": ["ant", "bee"], "stands_for": "ten thousand others"}
    first = study["models"]["small"]["stages"][0]
    second = {**first, "name": "again", "data": "others/train", "validate_on": None}
    study["models"]["small"]["stages"] = [{**first, "checkpoints": [0]}, second]
    study["models"]["large"]["weights"] = {"model": "small"}
    study["retrievals"][0] |= {"models": ["small"], "stage": "all", "epochs": "all", "distances": ["euclidean"]}
    study["published"] = {
        "study": "bees",
        "datasets": {"Bees-3": "toys-test"},
        "models": [
            {"match": {"model": "net", "note": "step 1"}, "model": "small", "stage": "classify"},
            {"match": {"model": "net", "note": "step 2"}, "model": "small", "stage": "again"},
        ],
    }
    return Study.model_validate({**study, "tables": {}, "figures": {}})


@pytest.fixture
def files(tmp_path):
    rows = [
        {
            "model": "net",
            "distance": "euclidean",
            "metric": "map",
            "value": value,
            "note": note,
            "table": table,
        }
        for table in ("table 1", "table 2")
        for note, value in (("step 1", 30), ("step 2", 50))
    ]
    write_published(tmp_path / "p.csv", rows)
    points = (("classify", 0, 0.1), ("classify", 2, 0.35), ("again", 2, 0.45))
    store.write_metrics(
        tmp_path / "m.csv",
        [
            measure(model="small", metric="map", distance="euclidean", ranker="exact", stage=s, epoch=e, value=v)
            for s, e, v in points
        ],
    )
    return tmp_path


def test_a_value_printed_without_an_epoch_stands_beside_the_last_of_its_stage(files):
    study = _study()
    table = Table(title="T", metrics=["map"], rows=["stage", "epoch"], columns=["metric"], published=["table 1"])
    grid = build_table(table, study, read_measures(files / "m.csv"), read_published(files / "p.csv", study))
    found = {row: cell for (row, _), cell in grid.cells.items()}
    assert {row: cell.measured.value for row, cell in found.items()} == {
        "classify · 0": pytest.approx(10),
        "classify · 2": pytest.approx(35),
        "again · 2": pytest.approx(45),
    }
    assert {row: cell.published for row, cell in found.items()} == {
        "classify · 0": None,
        "classify · 2": 30,
        "again · 2": 50,
    }


def test_the_verdict_compares_the_last_stage_with_what_was_published_of_it(files):
    study = _study()
    measures = read_measures(files / "m.csv")
    (found,) = methods(measures, study, compared(study, measures, read_published(files / "p.csv", study)))
    assert (found.map.value, found.published) == (pytest.approx(45), pytest.approx(50))


def test_a_stages_classifier_is_judged_on_the_classes_that_it_learned():
    plan = Plan("bees", "bees", _study(), _study(), Settings(), {})
    assert {path.split("/")[5] for path in plan.classifications()} == {"classify"}
    assert {path.split("/")[5] for path in plan.rankings()} == {"classify", "again"}


def test_what_a_model_starts_from_counts_for_its_tables():
    study = _study()
    words = caveat(study, study, Settings(), models=["large"])
    assert "others in place of ten thousand others" in words
    assert words.endswith("Starting weights: large: stage again of small at epoch 2.")
