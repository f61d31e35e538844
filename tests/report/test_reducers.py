"""Reduced features beside the ones they are of: tables spread them, figures show one of them, words name them."""

import copy
from xml.etree import ElementTree

import numpy as np
import pytest
from trazo import store
from trazo.config import Figure, Study, Table
from trazo.errors import InputError
from trazo.report.comparison import compared
from trazo.report.departures import named_differences
from trazo.report.drawing import Material
from trazo.report.figures import render_figure, validate_figure
from trazo.report.measures import read_measures, reduced_by, reducer_label
from trazo.report.published import read_published, validate_published
from trazo.report.story import methods, steps
from trazo.report.tables import build_table, validate_table

from .conftest import CLASSES, MODELS, STUDY, measure, write_published

REDUCERS = ["none", {"pca": {"size": 4}}, {"pca": {"size": 2, "whiten": True}}]
# Columns and value of each of them.
VALUES = {("none", 64): 0.5, ("pca", 4): 0.4, ("pca-whiten", 2): 0.3}


@pytest.fixture(scope="module")
def study():
    return Study.model_validate({**STUDY, "retrievals": [{**STUDY["retrievals"][0], "reducers": REDUCERS}]})


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    path = tmp_path_factory.mktemp("reduced") / "metrics.csv"
    names = [("map", c, v) for c in ("", *CLASSES) for v in ("queries", "classes")]
    names += [(f"precision_at_recall@{r}", "", "queries") for r in (0.1, 0.5)]
    rows = [
        measure(model=model, metric=metric, distance="cosine", ranker="exact", reducer=reducer, size=size,
                bits=32 * size, average="" if name else average, value=value, **{"class": name})
        for model in MODELS
        for (reducer, size), value in VALUES.items()
        for metric, name, average in names
        if not name or average == "queries"
    ]  # fmt: skip
    accuracy = [measure(dataset="toys/test", model=m, metric="accuracy", average="", value=0.9) for m in MODELS]
    store.write_metrics(path, rows + accuracy)
    return path


def test_a_table_spreads_reducers_it_does_not_speak_of(study, metrics):
    measures = read_measures(metrics)
    grid = build_table(Table(title="t", metrics=["map"], columns=["model"]), study, measures, [])
    assert grid.column_dimensions == ("model", "reducer")
    assert grid.columns[:3] == [("small", ""), ("small", "pca"), ("small", "pca-whiten")]
    assert grid.column_labels[:3] == [("small", "none"), ("small", "PCA"), ("small", "PCA whiten")]
    assert grid.cell("", ("large", "pca")).measured.value == pytest.approx(40)


def test_reducers_and_sizes_are_rows_columns_and_conditions(study, metrics):
    measures = read_measures(metrics)
    rows = build_table(Table(title="t", metrics=["map"], rows="reducer", columns=["model"]), study, measures, [])
    assert rows.rows == ["", "pca", "pca-whiten"]
    assert rows.row_labels == ["none", "PCA", "PCA whiten"]
    sizes = Table(title="t", metrics=["map"], rows="size", columns=["model"], where={"reducer": ["pca", "pca-whiten"]})
    assert build_table(sizes, study, measures, []).rows == ["2", "4"]
    one = Table(title="t", metrics=["map"], rows="model", columns=["metric"], where={"reducer": "none", "size": 64})
    validate_table(one, study, computed={"map"})
    assert build_table(one, study, measures, []).cell("small", ("map",)).measured.value == pytest.approx(50)
    with pytest.raises(InputError, match=r"unknown reducer 'pac'\. Did you mean 'pca'"):
        validate_table(Table(title="t", metrics=["map"], where={"reducer": "pac"}), study, computed={"map"})


def test_values_of_one_reducer_are_chosen_by_its_label(study, metrics):
    measures = read_measures(metrics)
    for label, value in (("", 0.5), ("none", 0.5), ("pca-size4", 0.4), ("pca-size2-whiten", 0.3)):
        found = reduced_by(measures, label, study)
        assert {m.value for m in found if m.distance} == {value}
        # What was not found by searching has no reducer.
        assert sum(m.metric == "accuracy" for m in found) == len(MODELS)


def test_methods_are_named_by_their_reducer_and_its_size(study, metrics):
    found = [m.name for m in methods(read_measures(metrics), study, []) if m.model == "small"]
    assert found == ["small · cosine", "small · PCA 4 · cosine", "small · PCA whiten 2 · cosine"]


def test_reducers_without_a_short_name_keep_theirs():
    assert [reducer_label(name) for name in ("", "umap", "parametric_umap", "pca-whiten")] == [
        "none", "UMAP", "parametric UMAP", "PCA whiten",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("class_bars", {}),
        ("class_extremes", {"n": 1}),
        ("recall_precision", {}),
        ("epochs", {"metrics": ["map"], "distance": "cosine"}),
    ],
)
@pytest.mark.parametrize("reducer", ["", "pca-size4"])
def test_figures_of_values_show_one_reducer(study, metrics, finished, tmp_path, kind, options, reducer):
    figure = Figure(title="t", kind=kind, options={**options, **({"reducer": reducer} if reducer else {})})
    validate_figure(figure, study)
    material = Material(metrics=metrics, images=finished.material.images)
    render_figure(figure=figure, study=study, material=material, svg=tmp_path / "f.svg", png=tmp_path / "f.png")
    words = ElementTree.parse(tmp_path / "f.svg").findtext(".//{http://purl.org/dc/elements/1.1/}description")
    assert ("40.0" if reducer else "50.0") in words
    assert ("50.0" if reducer else "40.0") not in words


@pytest.fixture(scope="module")
def rankings(tmp_path_factory, finished):
    """Rankings of the small model by cosine, plain and reduced: reduced, every nearest item is of another class."""
    folder = tmp_path_factory.mktemp("rankings")
    source = next(p for p in finished.material.rankings if p.name == "small-cosine.h5")
    plain = store.read_ranking(source)
    labels = np.asarray(plain.query_labels)
    wrong = np.stack([np.flatnonzero(labels != label)[:5] for label in labels])
    key = plain.record["settings"]["key"]
    paths = []
    for reducer, changes in (("pca-size4", {"top_indices": wrong}), ("none", {})):
        settings = {**plain.record["settings"], "key": {**key, "reducer": reducer}}
        record = {**plain.record, "settings": settings}
        fields = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
        votes = labels[wrong[:, :1]] if changes else plain.votes[:, :1]
        given = {**fields, **changes, "record": record, "votes": votes, "vote_counts": [1]}
        paths.append(folder / f"{reducer}.h5")
        store.write_ranking(paths[-1], store.RankingArtifact(**given))
    return paths


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("contact_sheet", {"top": 3}),
        ("confused_pairs", {"by": "neighbour"}),
        ("knn_confusion", {}),
    ],
)
def test_figures_of_lists_show_one_reducer(study, finished, rankings, tmp_path, kind, options):
    words = []
    for reducer in ("", "none", "pca-size4"):
        chosen = {**options, "distance": "cosine", "models": ["small"], **({"reducer": reducer} if reducer else {})}
        figure = Figure(title="t", kind=kind, options=chosen)
        validate_figure(figure, study)
        material = Material(rankings=rankings, images=finished.material.images)
        render_figure(figure=figure, study=study, material=material, svg=tmp_path / "f.svg", png=tmp_path / "f.png")
        tree = ElementTree.parse(tmp_path / "f.svg")
        words.append(tree.findtext(".//{http://purl.org/dc/elements/1.1/}description"))
    assert words[0] == words[1]
    assert words[1] != words[2]


def test_an_unknown_reducer_is_refused_before_the_run(study):
    with pytest.raises(InputError, match=r"reducer: unknown reducer 'pca'\. Did you mean 'pca-size4'"):
        validate_figure(Figure(title="t", kind="class_bars", options={"reducer": "pca"}), study)


def test_published_values_find_the_reduced_ones_that_a_rule_names(study, metrics, tmp_path):
    rows = [
        {"model": "small", "metric": "map", "distance": "cosine", "value": 41},
        {"model": "large", "metric": "map", "distance": "cosine", "value": 51},
        {"model": "small", "metric": "accuracy", "value": 80},
    ]
    write_published(tmp_path / "p.csv", rows)

    def found(**rule):
        rule = {"match": {"model": "small"}, "model": "small", **rule}
        ruled = Study.model_validate(
            {**study.model_dump(), "published": {**STUDY["published"], "models": [rule]}, "tables": {}, "figures": {}}
        )
        published = read_published(tmp_path / "p.csv", ruled)
        validate_published(
            ruled, published, models=MODELS, metrics={"map"}, datasets=ruled.measured_on,
            reducers=["none", "pca-size4", "pca-size2-whiten"],
        )  # fmt: skip
        rows = compared(ruled, read_measures(metrics), published)
        names = {m.name: m.published for m in methods(read_measures(metrics), ruled, rows) if m.published}
        return [(round(row.measured.value) if row.measured else row.why, row.measured_as) for row in rows], names

    values, names = found(reducer="pca-size4")
    assert values == [(40, "reducer pca, size 4"), (50, ""), (90, "")]
    assert names == {"small · PCA 4 · cosine": 41, "large · cosine": 51}
    assert found()[0] == [(50, ""), (50, ""), (90, "")]
    with pytest.raises(InputError, match=r"models\[0\].reducer: unknown reducer 'pca'"):
        found(reducer="pca")


def test_a_published_value_of_a_reducer_left_out_says_so(finished, metrics, tmp_path):
    rule = {"match": {"model": "small"}, "model": "small", "reducer": "pca-size9"}
    study = Study.model_validate({**STUDY, "published": {**STUDY["published"], "models": [rule]}})
    write_published(tmp_path / "p.csv", [{"model": "small", "metric": "map", "distance": "cosine", "value": 41}])
    (row,) = compared(study, read_measures(metrics), read_published(tmp_path / "p.csv", study))
    assert row.why == "reducer 'pca-size9' was not run"


def test_another_schedule_is_told_in_words():
    def ran(schedule):
        models = {name: copy.deepcopy(model) for name, model in STUDY["models"].items()}
        models["small"]["stages"][0]["schedule"] = schedule
        return Study.model_validate({**STUDY, "models": models})

    step = {"step": {"every": 8, "factor": 0.1}}
    told = named_differences(ran({"step": {"every": 1, "factor": 0.1}}), ran(step))
    assert told == ["small: learning rate ×0.1 every epoch instead of ×0.1 every 8 epochs"]
    told = named_differences(ran({"cosine": {}}), ran(None))
    assert told == ["small: learning rate falling along a cosine instead of constant"]


def test_steps_tell_what_reduced_which_side():
    key = {
        "model": "m",
        "stage": "s",
        "epoch": 3,
        "seed": 0,
        "retrieval": "r",
        "reducer": "pca-size4",
        "side": "gallery",
    }
    record = {"step": "reduce", "settings": {"key": key}, "figures": {"seconds": 1.5, "explained_variance": 0.75}}
    plain = {"step": "rank", "settings": {"key": {"retrieval": "r", "reducer": "none", "distance": "cosine"}}}
    found = steps([plain, record])
    assert [step.name for step in found] == ["reduce", "rank"]
    assert found[0].about == "r · m · s · epoch 3 · seed 0 · pca-size4 · gallery"
    assert found[0].notes == ["explained variance 0.75"]
    assert found[1].about == "r · cosine"
