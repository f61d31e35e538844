"""Histories as measures, and how published and shown values find them."""

import csv
from pathlib import Path

import pytest
from trazo import store
from trazo.config import Study, Table
from trazo.errors import InputError
from trazo.report.comparison import compare
from trazo.report.measures import lower_is_better, measured_names, metric_label, read_measures, select, unit_of
from trazo.report.tables import build_table, table_legend, table_markdown
from trazo.report.training import collect_training

from .conftest import STUDY, measure, write_published

DATA = {"small": {"classify": "toys/train", "tune": "toys/more"}, "large": {"classify": "toys/train"}}
TRAINING = ["train_accuracy", "train_loss"]


def _epoch(number, seconds=90.0, **changes):
    return {"epoch": number, "loss": 1 / number, "accuracy": number / 8, "seconds": seconds, "images_per_second": 40.0,
            **changes}  # fmt: skip


def _history(path, epochs, model="small", stage="classify", seed=0):
    key = {"model": model, "stage": stage, "seed": seed}
    store.write_history(path, record={"settings": {"key": key}}, epochs=epochs)
    return path


def _collected(folder, histories):
    files = {"training": folder / "training.csv", "timings": folder / "timings.csv"}
    collect_training(histories, study="bees", data=DATA, **files)
    return [read_measures(path) for path in files.values()]


def test_every_epoch_tells_how_the_network_learned_and_how_long_it_took(tmp_path):
    path = _history(tmp_path / "a.json", [_epoch(e, seconds=30.0 * e) for e in (1, 2, 3)], stage="tune", seed=4)
    learned, timed = _collected(tmp_path, [path])
    assert {(m.study, m.dataset, m.model, m.stage, m.seed, m.distance, m.class_name) for m in learned + timed} == {
        ("bees", "toys-more", "small", "tune", "4", "", "")
    }
    assert [(m.epoch, m.metric, m.value) for m in learned] == [
        ("1", "train_accuracy", 1 / 8), ("1", "train_loss", 1.0),
        ("2", "train_accuracy", 2 / 8), ("2", "train_loss", 1 / 2),
        ("3", "train_accuracy", 3 / 8), ("3", "train_loss", 1 / 3),
    ]  # fmt: skip
    # 30, 60 and 90 seconds: half a minute, then one and a half, then three.
    assert [(m.epoch, m.value) for m in select(timed, metric="training_time")] == [("1", 0.5), ("2", 1.5), ("3", 3.0)]
    assert [m.value for m in select(timed, metric="images_per_second")] == [40.0] * 3


def test_an_untrained_epoch_and_a_network_without_a_classifier_have_no_such_rows(tmp_path):
    untrained = {"epoch": 0, "validation_loss": 3.0, "validation_accuracy": 0.1, "frozen_loss": 4.0}
    plain = {key: value for key, value in _epoch(1).items() if key != "accuracy"}
    learned, timed = _collected(tmp_path, [_history(tmp_path / "a.json", [untrained, plain, _epoch(2, accuracy=None)])])
    assert {(m.epoch, m.metric, m.value) for m in learned} == {
        ("0", "train_loss_frozen", 4.0), ("1", "train_loss", 1.0), ("2", "train_loss", 0.5),
    }  # fmt: skip
    assert {m.epoch for m in timed} == {"1", "2"}


def test_what_a_training_learned_does_not_depend_on_the_clock(tmp_path):
    written = []
    for seconds in (1.0, 7.5):
        folder = tmp_path / str(seconds)
        folder.mkdir()
        _collected(
            folder, [_history(folder / "a.json", [_epoch(e, seconds, images_per_second=seconds) for e in (1, 2)])]
        )
        written.append([(folder / name).read_bytes() for name in ("training.csv", "timings.csv")])
    assert written[0][0] == written[1][0]
    assert written[0][1] != written[1][1]


def test_no_training_is_an_empty_file_and_a_strange_one_an_error(tmp_path):
    assert _collected(tmp_path, []) == [[], []]
    with pytest.raises(InputError, match=r"b\.json is of stage 'classify' of 'other'"):
        _collected(tmp_path, [_history(tmp_path / "b.json", [_epoch(1)], model="other")])


def _study(**changes) -> Study:
    toys = {**STUDY["datasets"]["toys"], "split": {"train": 8, "more": 4, "test": 4}}
    return Study.model_validate({**STUDY, "datasets": {"toys": toys}, **changes})


def test_a_retrieval_and_a_split_stand_for_what_was_learned_from():
    study = _study()
    for name in ("toys-test", "toys/test", "toys-train"):
        assert {"toys/train", "toys-train"} <= measured_names(name, "train_accuracy", study)
    assert "toys-train" not in measured_names("toys-test", "accuracy", study)
    assert "toys-train" not in measured_names("toys-test", "map", study)
    assert measured_names("elsewhere", "train_loss", study) == {"elsewhere"}


def test_published_training_values_find_the_measured_ones(tmp_path):
    histories = [_history(tmp_path / "s.json", [_epoch(e) for e in (1, 2, 3)]),
                 _history(tmp_path / "l.json", [_epoch(e, 30.0) for e in (1, 2)], model="large")]  # fmt: skip
    _collected(tmp_path, histories)
    rows = [
        {"model": "small", "metric": "train_accuracy", "value": 30, "note": "about 2.4 epochs"},
        {"model": "small", "metric": "train_accuracy", "value": 0.3, "unit": ""},
        {"model": "small", "metric": "training_time", "value": 392, "unit": "min"},
        {"model": "large", "metric": "loss", "value": 1.2, "unit": ""},
        {"model": "large", "metric": "train_accuracy", "value": 1, "note": "60 epochs"},
    ]
    write_published(tmp_path / "p.csv", rows)
    study = _study(published={**STUDY["published"], "metrics": {"loss": "train_loss"}})
    compare(study=study, metrics=tmp_path / "training.csv", timings=tmp_path / "timings.csv",
            published=tmp_path / "p.csv", output=tmp_path / "c.csv")  # fmt: skip
    with (tmp_path / "c.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["measured"] and float(row["measured"]) for row in found] == [25.0, 3 / 8, 4.5, 0.5, ""]
    assert found[3]["measured_as"] == "metric train_loss"
    assert found[4]["why"] == "epoch 60 was not evaluated (epochs at hand: 1, 2)"


def test_a_table_shows_training_beside_retrieval_each_in_its_unit(tmp_path):
    _collected(tmp_path, [_history(tmp_path / "s.json", [_epoch(e) for e in (1, 2)])])
    rows = [
        measure(model="small", metric="map", dataset="toys-test", distance="cosine", epoch=e, value=e / 10)
        for e in (0, 2)
    ]
    store.write_metrics(tmp_path / "map.csv", rows)
    found = read_measures(*(tmp_path / f"{name}.csv" for name in ("map", "training", "timings")), None)
    metrics = ["map", "train_accuracy", "train_loss", "training_time", "images_per_second"]
    for where in ({}, {"dataset": "toys-test"}):
        table = Table(title="T", metrics=metrics, rows="metric", columns=["model"], where=where)
        grid = build_table(table, _study(), found, [])
        assert grid.rows == metrics
        assert [cell.measured.value for cell in grid.cells.values()] == pytest.approx([20, 25, 0.5, 3.0, 40])
        assert grid.row_labels[3:] == ["training time (min)", "training speed (img/s)"]
        assert table_legend(grid) == ["Values in %, min and img/s; training loss without a unit."]
        assert "| training time (min) |" in table_markdown(grid)


def test_labels_and_directions_of_metrics():
    labels = {
        name: metric_label(name) for name in ("map_hits_excl", "map_hits_excl@49", "map_hits@4999", "map@r", "ndcg@5")
    }
    assert list(labels.values()) == [
        "mAP (by earlier hits)", "mAP@49 (by earlier hits)", "mAP@4999 (by hits)", "mAP@r", "nDCG@5",
    ]  # fmt: skip
    assert [lower_is_better(m) for m in ("train_loss", "training_time", "images_per_second", "train_accuracy")] == [
        True, True, False, False,
    ]  # fmt: skip
    assert [unit_of(m).sign for m in ("images_per_second", "training_time", "train_loss")] == ["img/s", "min", ""]


def test_the_published_hernandez_values_have_a_place():
    from trazo.report.published import read_published

    path = Path(__file__).parents[2] / "workflow" / "published" / "published.csv"
    study = _study(published={"study": "quickdraw", "datasets": {"QuickDraw-100 (b)": "toys-test"},
                              "metrics": {"loss": "train_loss", "test_accuracy": "accuracy"}})  # fmt: skip
    rows = [row for row in read_published(path, study) if row.source == "Hernandez"]
    assert {row.ours("metric") for row in rows} == {
        "training_time",
        "train_loss",
        "train_accuracy",
        "accuracy",
        "map_hits",
    }
