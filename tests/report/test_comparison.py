import csv
from contextlib import nullcontext
from pathlib import Path

import pytest
from trazo import store
from trazo.config import Study, read_settings, read_study
from trazo.errors import InputError
from trazo.report.comparison import compare
from trazo.report.published import read_published, validate_published

from .conftest import CLASSES, STUDY, measure, toy_value, write_published

PUBLISHED = Path(__file__).parents[2] / "workflow" / "published" / "published.csv"


def _compared(finished, output, published=None):
    compare(
        study=finished.study,
        metrics=finished.material.metrics,
        published=published or finished.material.published,
        output=output,
    )
    with output.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_published_row_stands_in_the_comparison_in_order(finished, tmp_path):
    with finished.material.published.open(newline="") as file:
        expected = [row for row in csv.DictReader(file) if row["study"] == "bees"]
    found = _compared(finished, tmp_path / "comparison.csv")
    for name in ("table", "dataset", "model", "distance", "class", "metric", "unit"):
        assert [row[name] for row in found] == [row[name] for row in expected]
    assert [float(row["published"]) for row in found] == [float(row["value"]) for row in expected]


def test_measured_values_stand_in_the_published_unit(finished, tmp_path):
    rows = {
        (r["model"], r["distance"], r["class"], r["metric"]): r
        for r in _compared(finished, tmp_path / "comparison.csv")
    }
    row = rows["large", "cosine", CLASSES[1], "map"]
    measured = 100 * toy_value("large", "cosine", 1)
    assert float(row["measured"]) == pytest.approx(measured)
    assert float(row["difference"]) == pytest.approx(measured - 41)
    assert float(row["ci_low"]) == pytest.approx(measured - 5)
    assert row["within_interval"] == "false"
    loss = rows["large", "", "", "loss"]
    assert float(loss["measured"]) == pytest.approx(1.25)
    assert float(loss["difference"]) == pytest.approx(-0.25)
    assert rows["small", "", "", "accuracy"]["within_interval"] == "true"
    assert rows["small", "", "", "accuracy"]["seeds"] == "1"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "huge"}, "model 'huge' is not part of this run"),
        ({"metric": "memory", "unit": "MB"}, "metric 'memory' was not computed"),
        ({"dataset": "Other"}, "no data for the published dataset 'Other'"),
        ({"class": "wasp"}, "class 'wasp' is not in this run's data"),
        ({"distance": "hamming"}, "distance 'hamming' was not ranked with"),
        ({"reducer": "pca"}, "reducer 'pca' was not run"),
        ({"distance": ""}, "names no distance, and several were measured (cosine, euclidean)"),
        ({"note": "about 60 epochs"}, "epoch 60 was not evaluated (epochs at hand: 2)"),
        ({"note": "512 bits"}, "codes of 512 bits were not run"),
    ],
)
def test_where_nothing_was_measured_it_says_why(finished, tmp_path, change, reason):
    base = {"model": "small", "distance": "cosine", "metric": "map", "value": 50}
    write_published(tmp_path / "published.csv", [base | change])
    [row] = _compared(finished, tmp_path / "comparison.csv", tmp_path / "published.csv")
    assert reason in row["why"]
    assert (row["measured"], row["difference"], row["within_interval"]) == ("", "", "")


def test_published_epochs_choose_among_checkpoints(toy_study, tmp_path):
    rows = [measure(model="small", metric="accuracy", epoch=e, value=e / 100) for e in (7, 13, 60)]
    store.write_metrics(tmp_path / "metrics.csv", rows)
    notes = ["about 13.5 epochs; read off a chart", "60 epochs", ""]
    published = [{"model": "small", "metric": "accuracy", "value": 1, "note": note} for note in notes]
    write_published(tmp_path / "published.csv", published)
    compare(
        study=toy_study,
        metrics=tmp_path / "metrics.csv",
        published=tmp_path / "published.csv",
        output=tmp_path / "comparison.csv",
    )
    with (tmp_path / "comparison.csv").open(newline="") as file:
        assert [float(row["measured"]) for row in csv.DictReader(file)] == pytest.approx([13, 60, 60])


@pytest.mark.parametrize("ours", ["toys/test", "toys-test"])
def test_accuracy_is_found_under_the_split_that_was_classified(toy_study, tmp_path, ours):
    search = toy_study.retrievals[0].model_copy(update={"name": "search", "leave_one_out": False})
    named = toy_study.published.model_copy(update={"datasets": {"Bees-3": "search"}})
    study = toy_study.model_copy(update={"retrievals": [search], "published": named})
    store.write_metrics(tmp_path / "m.csv", [measure(dataset=ours, model="small", metric="accuracy", value=0.5)])
    write_published(tmp_path / "p.csv", [{"model": "small", "metric": "accuracy", "value": 40}])
    compare(study=study, metrics=tmp_path / "m.csv", published=tmp_path / "p.csv", output=tmp_path / "c.csv")
    with (tmp_path / "c.csv").open(newline="") as file:
        assert [float(row["difference"]) for row in csv.DictReader(file)] == pytest.approx([10])


def test_the_animals_study_accounts_for_all_its_published_values(tmp_path):
    study = read_study("animals", read_settings({"studies": ["animals"]}))
    rows = [
        {"study": "animals", "dataset": "animals-test", "model": model, "stage": "classify", "epoch": 20, "seed": 0}
        for model in study.models
    ]
    everything = []
    for row in rows:
        for metric in ("accuracy", "loss"):
            everything.append(row | {"metric": metric, "average": "queries", "value": 0.5})
        for distance in ("euclidean", "cosine"):
            for metric in ("map", "mrr"):
                for name in [*study.datasets["animals"].categories, ""]:
                    cells = {"distance": distance, "metric": metric, "class": name, "average": "classes"}
                    everything.append(row | cells | {"value": 0.5})
    store.write_metrics(tmp_path / "metrics.csv", everything)
    compare(study=study, metrics=tmp_path / "metrics.csv", published=PUBLISHED, output=tmp_path / "comparison.csv")
    with (tmp_path / "comparison.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    with PUBLISHED.open(newline="") as file:
        assert len(found) == sum(row["study"] == "animals" for row in csv.DictReader(file))
    assert [row["why"] for row in found if row["measured"] == ""] == []


def test_a_study_the_published_file_does_not_know_is_named(toy_study, tmp_path):
    write_published(tmp_path / "published.csv", [])
    with pytest.raises(InputError, match="unknown study 'bees'"):
        read_published(tmp_path / "published.csv", toy_study)


def test_a_comparison_can_be_read_back_as_published_values(finished, tmp_path):
    _compared(finished, tmp_path / "comparison.csv")
    again = read_published(tmp_path / "comparison.csv", finished.study)
    assert again == read_published(finished.material.published, finished.study)


def test_a_study_without_published_values_has_an_empty_comparison(finished, tmp_path):
    study = Study.model_validate({**finished.study.model_dump(), "published": None})
    compare(
        study=study,
        metrics=finished.material.metrics,
        published=finished.material.published,
        output=tmp_path / "comparison.csv",
    )
    assert len((tmp_path / "comparison.csv").read_text().splitlines()) == 1


TRANSLATED = {
    "study": "bees",
    "datasets": {"Bees-3": "toys-test", "Bees-3 (b)": "toys-test"},
    "metrics": {"test_accuracy": "accuracy", "map_hits@11": "map_hits"},
    "models": [
        {"match": {"dataset": "Bees-3 (b)", "model": "small", "note": "20000 iterations"}, "model": "large"},
        {"match": {"dataset": "Bees-3 (b)"}, "model": "small"},
    ],
}
SPOKEN = [
    {"model": "small", "metric": "test_accuracy", "value": 10, "note": "60 epochs"},
    {
        "model": "small",
        "metric": "test_accuracy",
        "value": 20,
        "dataset": "Bees-3 (b)",
        "note": "20000 iterations, b 1",
    },
    {"model": "small", "metric": "test_accuracy", "value": 30, "dataset": "Bees-3 (b)", "note": "7000 iterations"},
    {"model": "other", "metric": "map_hits@11", "value": 40, "dataset": "Bees-3 (b)", "distance": "cosine"},
    {"model": "other", "metric": "map_hits@11", "value": 50, "distance": "cosine"},
]


def _translated(**changes):
    study = {**STUDY, "published": {**TRANSLATED, **changes}, "tables": {}, "figures": {}}
    return Study.model_validate(study)


def test_published_rows_of_other_names_find_the_models_and_metrics_meant(tmp_path):
    rows = [
        measure(model=model, metric="accuracy", epoch=e, value=value + e / 1000)
        for model, value in (("small", 0.3), ("large", 0.6))
        for e in (2, 60)
    ]
    rows.append(measure(model="small", metric="map_hits", distance="cosine", epoch=60, value=0.125))
    store.write_metrics(tmp_path / "m.csv", rows)
    write_published(tmp_path / "p.csv", SPOKEN)
    files = {"metrics": tmp_path / "m.csv", "published": tmp_path / "p.csv", "output": tmp_path / "c.csv"}
    compare(study=_translated(), **files)
    with (tmp_path / "c.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [(r["model"], r["metric"], float(r["published"])) for r in found] == [
        (r["model"], r["metric"], r["value"]) for r in SPOKEN
    ]
    assert [row["measured"] and round(float(row["measured"]), 6) for row in found] == [36, 66, 36, 12.5, ""]
    assert [row["measured_as"] for row in found] == [
        "metric accuracy", "model large, metric accuracy", "metric accuracy", "model small, metric map_hits", "",
    ]  # fmt: skip
    assert found[-1]["why"] == "model 'other' is not part of this run"


def test_the_measured_epoch_is_named_where_it_is_not_the_printed_one(toy_study, tmp_path):
    store.write_metrics(
        tmp_path / "m.csv", [measure(model="small", metric="accuracy", epoch=e, value=1) for e in (13, 14)]
    )
    notes = {"about 13.5 epochs": "epoch 13", "14 epochs": "", "": ""}
    write_published(
        tmp_path / "p.csv", [{"model": "small", "metric": "accuracy", "value": 1, "note": n} for n in notes]
    )
    compare(study=toy_study, metrics=tmp_path / "m.csv", published=tmp_path / "p.csv", output=tmp_path / "c.csv")
    with (tmp_path / "c.csv").open(newline="") as file:
        assert [row["measured_as"] for row in csv.DictReader(file)] == list(notes.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": {"test_acuracy": "accuracy"}}, r"published\.metrics: unknown published metric.*'test_accuracy'"),
        ({"metrics": {"test_accuracy": "acuracy"}}, r"published\.metrics\.test_accuracy: unknown metric.*'accuracy'"),
        ({"datasets": {"Bees3": "toys-test"}}, "unknown published dataset.*'Bees-3'"),
        ({"datasets": {"Bees-3": "toys-tst"}}, "unknown retrieval or split.*'toys-test'"),
        ({"models": [{"match": {"model": "small"}, "model": "lrge"}]}, r"models\[0\]\.model: unknown model.*'large'"),
        ({"models": [{"match": {"modl": "small"}, "model": "large"}]}, "match: unknown column.*'model'"),
        ({"models": [{"match": {"model": "smal"}, "model": "large"}]}, r"match\.model: unknown model.*'small'"),
        ({"models": [{"match": {"note": "20001"}, "model": "large"}]}, r"match\.note.*'20001'"),
        ({"models": [{"match": {"dataset": "Bees-3", "note": "7000"}, "model": "large"}]}, "no published row has all"),
    ],
)
def test_names_that_neither_side_knows_are_refused_before_the_run(tmp_path, changes, message):
    write_published(tmp_path / "p.csv", SPOKEN)
    known = {"models": {"small", "large"}, "metrics": {"accuracy", "map_hits"}}
    for study, error in ((_translated(), ""), (_translated(**changes), message)):
        rows = read_published(tmp_path / "p.csv", study)
        with pytest.raises(InputError, match=error) if error else nullcontext():
            validate_published(study, rows, datasets=study.measured_on, **known)


def test_a_table_beside_values_that_nobody_published_is_refused(tmp_path):
    write_published(tmp_path / "p.csv", SPOKEN)
    table = {"title": "T", "metrics": ["accuracy"], "published": "table 11"}
    study = Study.model_validate({**_translated().model_dump(), "tables": {"mine": table}})
    with pytest.raises(InputError, match=r"tables\.mine\.published: unknown published table 'table 11'.*'table 1'"):
        validate_published(
            study, read_published(tmp_path / "p.csv", study), models={"small", "large"},
            metrics={"accuracy", "map_hits"}, datasets=study.measured_on,
        )  # fmt: skip


def _scenes(**changes):
    """Study 5's models and how the published file speaks of them; its networks do not matter here."""
    stage = {"name": "train", "data": "scenes/train", "epochs": 1, "optimizer": {"adam": {"lr": 0.1}}}
    model = {"architecture": "resnet18", "feature": "pool", "stages": [stage]}
    names = ("resnet50", "siamese", "triplet")
    own = {f"p@{k}": f"label_ap@{k}" for k in (1, 3, 5, 10)}
    published = {
        "study": "scenes",
        "datasets": {"MIT_split": "scenes-test-in-train"},
        "metrics": {**own, "map": "label_ap@1+3+5+10", "accuracy": "knn_accuracy@1"},
        "rankers": {"knn": "sklearn", "faiss": "faiss_flat"},
        "models": [{"match": {"model": name}, "model": name, "reducer": "pca-size10"} for name in names],
    }
    return Study.model_validate(
        {
            "title": "Scenes",
            "datasets": {"scenes": {"categories": ["coast"], "split": {"train": 1, "test": 1}}},
            "models": dict.fromkeys(names, model),
            "retrievals": [
                {
                    "name": "scenes-test-in-train",
                    "models": list(names),
                    "queries": "scenes/test",
                    "gallery": "scenes/train",
                    "metrics": ["map", "p@1"],
                    "votes": [1, 3, 5, 10],
                    "reducers": ["none", {"pca": {"size": 10}}, {"pca": {"size": 20}}],
                    "rankers": ["exact", "sklearn", "faiss_flat"],
                }
            ],
            "published": {**published, **changes},
        }
    )


def test_every_published_value_of_the_scenes_study_finds_what_was_measured(tmp_path):
    study = _scenes()
    rows = [
        {"study": "scenes", "dataset": "scenes-test-in-train", "model": m, "stage": "train", "epoch": 1, "seed": 0,
         "reducer": reducer, "size": size, "ranker": r, "distance": "euclidean", "metric": metric,
         "average": "" if "label" in metric else "queries", "value": value}
        for i, m in enumerate(study.models)
        for j, r in enumerate(["exact", "sklearn", "faiss_flat"])
        for metric in ("knn_accuracy@1", "p@1", *(f"label_ap@{k}" for k in (1, 3, 5, 10, "1+3+5+10")))
        for reducer, size, value in (("none", 512, 0.99), ("pca", 10, 0.1 * i + 0.01 * j), ("pca", 20, 0.98))
    ]  # fmt: skip
    store.write_metrics(tmp_path / "m.csv", rows)
    published = read_published(PUBLISHED, study)
    computed = {row["metric"] for row in rows}
    (search,) = study.retrievals
    known = {"models": set(study.models), "datasets": study.measured_on}
    known |= {"rankers": search.ranker_labels, "reducers": search.reducer_labels}
    validate_published(study, published, metrics=computed, **known)
    compare(study=study, metrics=tmp_path / "m.csv", published=PUBLISHED, output=tmp_path / "c.csv")
    with (tmp_path / "c.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == len(published) == 33
    assert {row["why"] for row in found} == {""}
    for row in found:
        expected = 0.1 * list(study.models).index(row["model"]) + 0.01 * ["", "knn", "faiss"].index(row["ranker"])
        assert float(row["measured"]) == pytest.approx(expected)
    assert found[0]["measured_as"] == "reducer pca, size 10, metric label_ap@1, ranker faiss_flat"
    with pytest.raises(InputError, match=r"published\.rankers\.faiss: unknown ranker 'faiss_flt'.*'faiss_flat'"):
        validate_published(_scenes(rankers={"faiss": "faiss_flt"}), published, metrics=computed, **known)
    with pytest.raises(InputError, match=r"published\.rankers: unknown published ranker 'fais'.*'faiss'"):
        validate_published(_scenes(rankers={"fais": "faiss_flat"}), published, metrics=computed, **known)


def test_the_scenes_study_prints_as_map_the_mean_of_its_four_precisions():
    values = {(row.model, row.ranker, row.metric): row.value for row in read_published(PUBLISHED, _scenes())}
    for model in ("resnet50", "siamese", "triplet"):
        for ranker in ("knn", "faiss"):
            mean = sum(values[model, ranker, f"p@{k}"] for k in (1, 3, 5, 10)) / 4
            assert values[model, ranker, "map"] == pytest.approx(mean, abs=0.00501)
