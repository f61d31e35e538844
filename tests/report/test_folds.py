"""Of a folded gallery the mean over folds is what counts everywhere; single folds are shown where asked for."""

import copy

import numpy as np
import pytest
from trazo import store
from trazo.config import Figure, Study, Table
from trazo.errors import InputError
from trazo.folds import searched_rows
from trazo.provenance import describe
from trazo.report.artifacts import Keyed
from trazo.report.comparison import compared
from trazo.report.drawing import Material
from trazo.report.figures import render_figure
from trazo.report.measures import chance_map, chance_of, left_out, read_measures
from trazo.report.published import read_published
from trazo.report.story import chance_levels, methods
from trazo.report.tables import build_table, render_table, validate_table

from .conftest import CLASSES, MODELS, PER_CLASS, STUDY, measure, write_published

# Of the small model, the mean over queries of all folds is not the mean of the folds' means.
FOLDS = {"": 0.5, "1": 0.9, "2": 0.2}


@pytest.fixture(scope="module")
def study():
    folded = copy.deepcopy(STUDY)
    folded["retrievals"][0] |= {"folds": 2, "distances": ["cosine"]}
    return Study.model_validate(folded)


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    path = tmp_path_factory.mktemp("folded") / "metrics.csv"
    rows = [
        measure(model=model, metric=metric, distance="cosine", ranker="exact", reducer="none", size=64, bits=2048,
                average=average, fold=fold, value=value / (1 + MODELS.index(model)), queries=12 if not fold else 10,
                excluded=0 if not fold else 2, **{"class": name})
        for model in MODELS
        for metric in ("map", "precision_at_recall@0.5")
        for fold, value in FOLDS.items()
        for average in ("queries", "classes")
        for name in ("", *CLASSES)
        if not name or (average == "queries" and not fold)
    ]  # fmt: skip
    accuracy = [measure(dataset="toys/test", model=m, metric="accuracy", average="", value=0.8) for m in MODELS]
    store.write_metrics(path, rows + accuracy)
    return path


def test_readers_see_the_mean_over_folds_alone_unless_they_ask(metrics, tmp_path):
    assert {m.fold for m in read_measures(metrics)} == {""}
    assert {m.fold for m in read_measures(metrics, folds=True)} == {"", "1", "2"}
    # Folds without their mean are all that there is.
    store.write_metrics(tmp_path / "m.csv", [measure(metric="map", fold=f, value=f / 4) for f in (1, 2)])
    assert {m.fold for m in read_measures(tmp_path / "m.csv")} == {"1", "2"}


def test_no_reader_mixes_folds_with_their_mean(study, metrics, tmp_path):
    measures = read_measures(metrics)
    found = {m.name: m.map.value for m in methods(measures, study, [])}
    assert found == pytest.approx({"small · cosine": 50, "large · cosine": 25})
    # What folds leave out is not left out of their mean.
    assert left_out(measures) == {}
    write_published(tmp_path / "p.csv", [{"model": "small", "metric": "map", "distance": "cosine", "value": 41}])
    (row,) = compared(study, measures, read_published(tmp_path / "p.csv", study))
    assert row.measured.value == pytest.approx(50)
    for kind, options in (("class_bars", {}), ("recall_precision", {})):
        figure = Figure(title="t", kind=kind, options=options)
        render_figure(figure=figure, study=study, material=Material(metrics=metrics), svg=tmp_path / "f.svg",
                      png=tmp_path / "f.png")  # fmt: skip
        text = (tmp_path / "f.svg").read_text()
        assert "50.0" in text
        assert "90.0" not in text


def test_tables_show_folds_where_they_are_rows_columns_or_chosen(study, metrics, tmp_path):
    measures = read_measures(metrics, folds=True)
    plain = build_table(Table(title="t", metrics=["map"], rows="model", columns=["distance"]), study, measures, [])
    assert plain.cell("small", ("cosine",)).measured.value == pytest.approx(50)
    rows = Table(title="t", metrics=["map"], rows="fold", columns=["model"])
    grid = build_table(rows, study, measures, [])
    assert grid.rows == ["1", "2", ""]
    assert grid.row_labels == ["1", "2", "mean"]
    values = [grid.cell(fold, ("small",)).measured.value for fold in grid.rows]
    assert values == pytest.approx([90, 20, 50])
    one = Table(title="t", metrics=["map"], rows="model", columns=["metric"], where={"fold": 2})
    validate_table(one, study, computed={"map"})
    assert build_table(one, study, measures, []).cell("large", ("map",)).measured.value == pytest.approx(10)
    with pytest.raises(InputError, match=r"unknown fold '3'\. .*Choices: 1, 2"):
        validate_table(Table(title="t", metrics=["map"], where={"fold": 3}), study, computed={"map"})
    write_published(tmp_path / "p.csv")
    files = {end: tmp_path / f"t.{end}" for end in ("csv", "md", "tex")}
    render_table(table=rows, study=study, metrics=metrics, published=tmp_path / "p.csv", **files)
    assert "| 1 |" in (tmp_path / "t.md").read_text()


@pytest.mark.parametrize("leave_one_out", [False, True])
def test_chance_is_that_of_what_is_searched_at_once(tmp_path, study, leave_one_out):
    labels = np.array([0] * 5 + [1] * 4 + [2] * 8)
    ids = [f"i{number}" for number in range(17)]
    parts = searched_rows(labels, ids, 2, classes=CLASSES)
    queries = len(labels)
    ranking = store.RankingArtifact(
        metrics=["map"], values=np.zeros((queries, 1)), evaluated=np.ones(queries, bool),
        relevant=np.ones(queries, int), top_indices=np.zeros((queries, 1), int),
        top_distances=np.zeros((queries, 1), np.float32), query_labels=labels, gallery_labels=labels, query_ids=ids,
        gallery_ids=ids, classes=CLASSES, record=describe("rank", settings={}, code="c"),
    )  # fmt: skip
    store.write_ranking(tmp_path / "r.h5", ranking)
    searched = copy.deepcopy(STUDY)
    searched["retrievals"][0] |= {"folds": 2, "leave_one_out": leave_one_out}
    if not leave_one_out:
        searched["retrievals"][0] |= {"gallery": "toys/train", "name": "toys-test"}
    searched = Study.model_validate(searched)
    expected = []
    for query, label in enumerate(labels):
        levels = []
        # In leave-one-out, queries search the part that they are in.
        for rows in [part for part in parts if query in part or not leave_one_out]:
            own = int(leave_one_out)
            relevant = int((labels[rows] == label).sum()) - own
            levels += [chance_map(relevant, len(rows) - own)] if relevant else []
        expected.append(np.mean(levels))
    artifact = Keyed(tmp_path / "r.h5", {"retrieval": "toys-test"}, "rank")
    found = chance_levels([], searched, [artifact])
    assert found == pytest.approx({"toys-test": 100 * np.mean(expected)})
    # From counts of classes alone it cannot be told.
    measures = [measure(metric="map", distance="cosine", value=0.5, queries=PER_CLASS, **{"class": c}) for c in CLASSES]
    store.write_metrics(tmp_path / "m.csv", measures)
    assert chance_of(read_measures(tmp_path / "m.csv"), searched, "toys-test") is None
