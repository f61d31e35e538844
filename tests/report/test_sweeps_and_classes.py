"""Figures of sweeps over epochs, of confused pairs, and of many classes."""

import csv
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import confusion_matrix as peer_confusion
from trazo import store
from trazo.config import Figure, Study
from trazo.errors import InputError
from trazo.report.drawing import PALETTE, Material
from trazo.report.figures import render_figure, validate_figure
from trazo.report.kinds.epochs import spread
from trazo.report.kinds.pairs import classifier_pairs, neighbour_pairs
from trazo.report.measures import read_measures

from .conftest import CLASSES, STUDY, measure, toy_value, write_published

MANY = [f"class {i:03}" for i in range(100)]


def _drawn(study, material, folder, kind, **options):
    svg = folder / "figure.svg"
    figure = Figure(title="T", kind=kind, options=options)
    render_figure(figure=figure, study=study, material=material, svg=svg, png=folder / "figure.png")
    root = ElementTree.parse(svg).getroot()
    words = root.findtext(".//{http://purl.org/dc/elements/1.1/}description")
    return words, ["".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text")], svg.read_text()


@pytest.fixture
def swept(tmp_path) -> tuple[Study, Material]:
    """Two models over epochs: mAP falls from 30 % for one; training loss in metrics, time in timings."""
    cells = {"dataset": "toys-test", "distance": "cosine", "average": "queries", "ranker": "exact"}
    rows = [
        measure(**cells, model=model, metric="map", epoch=e, value=value - e / 1000, ci_low=0.1, ci_high=0.4)
        for model, value in (("small", 0.3), ("large", 0.5))
        for e in (0, 7, 13, 60)
    ]  # fmt: skip
    rows.append(measure(**cells | {"distance": "euclidean"}, model="small", metric="map", epoch=60, value=0.9))
    rows += [
        measure(dataset="toys-train", model="small", metric="train_loss", epoch=e, average="", value=2 / e)
        for e in (1, 2)
    ]
    store.write_metrics(tmp_path / "m.csv", rows)
    timed = [
        measure(dataset="toys-train", model="small", metric="training_time", epoch=e, average="", value=e)
        for e in (1, 2)
    ]
    store.write_metrics(tmp_path / "t.csv", timed)
    base = {"table": "figure 6", "metric": "map_own", "distance": "cosine", "unit": ""}
    published = [
        base | {"model": "small", "value": 0.24, "note": "about 7 epochs"},
        base | {"model": "small", "value": 0.21, "note": "about 13.5 epochs"},
        base | {"model": "small", "value": 0.99, "note": "60 epochs", "table": "figure 7"},
        base | {"model": "small", "value": 0.98, "note": ""},
    ]
    write_published(tmp_path / "p.csv", published)
    told = {**STUDY["published"], "metrics": {"map_own": "map"}}
    study = Study.model_validate({**STUDY, "published": told, "tables": {}, "figures": {}})
    return study, Material(metrics=tmp_path / "m.csv", timings=tmp_path / "t.csv", published=tmp_path / "p.csv")


def test_a_sweep_tells_every_line_and_the_published_points_of_its_figures(swept, tmp_path):
    words, texts, _ = _drawn(*swept, tmp_path, "epochs", distance="cosine", published="figure 6")
    assert words.split(". ")[0] == (
        "small, mAP: 30.0 % at epoch 0 to 24.0 % at epoch 60; published 24.0 % at 7; published 21.0 % at 13.5"
    )
    assert "large, mAP: 50.0 % at epoch 0 to 44.0 % at epoch 60" in words
    assert {"95 % interval", "published (figure 6)", "small", "large", "Epoch (0: before training)"} <= set(texts)
    words, texts, _ = _drawn(*swept, tmp_path, "epochs", distance="cosine", published=["figure 7", "figure 6"])
    assert "published 99.0 % at 60" in words
    assert not any(text.startswith("published") for text in _drawn(*swept, tmp_path, "epochs", distance="cosine")[1])


def test_metrics_of_other_units_have_panels_of_their_own(swept, tmp_path):
    words, texts, _ = _drawn(
        *swept, tmp_path, "epochs", metrics=["map", "train_loss", "training_time"], distance="cosine"
    )
    assert {"mAP (%)", "training loss", "training time (min)"} <= set(texts)
    assert "small, training loss: 2.000 at epoch 1 to 1.000 at epoch 2." in words
    assert "small, training time: 1.0 min at epoch 1 to 2.0 min at epoch 2." in words


@pytest.mark.parametrize("axis", ["linear", "log"])
def test_the_untrained_network_is_in_the_picture_on_either_axis(swept, tmp_path, axis):
    _, texts, svg = _drawn(*swept, tmp_path, "epochs", distance="cosine", axis=axis)
    assert "Epoch (0: before training)" in texts
    with Image.open(tmp_path / "figure.png") as picture:
        # Lines and bands, not only text: colours of both models are there.
        seen = {c[:3] for _, c in picture.convert("RGB").getcolors(1 << 20)}
    assert {(0, 114, 178), (213, 94, 0)} <= seen
    study, material = swept
    with material.metrics.open(newline="", encoding="utf-8") as file:
        later = [{**row, "value": float(row["value"])} for row in csv.DictReader(file) if row["epoch"] != "0"]
    store.write_metrics(tmp_path / "later.csv", later)
    material = replace(material, metrics=tmp_path / "later.csv")
    _, texts, without = _drawn(study, material, tmp_path, "epochs", distance="cosine", axis=axis)
    assert {"Epoch"} == {text for text in texts if text.startswith("Epoch")}
    for colour in PALETTE[:2]:
        markers = re.compile(f"<use [^>]*fill: {colour}")
        assert len(markers.findall(svg)) == len(markers.findall(without)) + 1


def test_names_of_lines_that_end_early_stand_in_the_legend(swept, tmp_path):
    study, material = swept
    rows = [
        measure(dataset="toys-test", distance="cosine", model=m, metric="map", epoch=e, value=0.5)
        for m, last in (("small", 3), ("large", 60))
        for e in range(last)
    ]
    store.write_metrics(tmp_path / "m.csv", rows)
    _, texts, _ = _drawn(study, material, tmp_path, "epochs", distance="cosine")
    assert texts.count("small") == texts.count("large") == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 0.2))
def test_names_keep_their_order_and_their_distance(heights, gap):
    found = spread(heights, gap)
    if (len(heights) - 1) * gap > 1:
        assert found is None
        return
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    steps = [found[b] - found[a] for a, b in pairwise(order)]
    assert all(step >= gap - 1e-9 for step in steps)
    assert min(found) >= -1e-9
    assert max(found) <= 1 + 1e-9
    if all(heights[b] - heights[a] >= gap for a, b in pairwise(order)):
        assert found == heights


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("epochs", {"metrics": ["mpa"]}, "metrics: unknown metric 'mpa'.*'map'"),
        ("epochs", {"stage": "clasify"}, "stage: unknown stage.*'classify'"),
        ("epochs", {"axis": "cubic"}, "'axis'.*'cubic'"),
        ("epochs", {"metrics": []}, "'metrics'"),
        ("class_extremes", {"metric": "mpa"}, "metric: unknown metric 'mpa'"),
        ("class_extremes", {"n": 0}, "'n'.*0"),
        ("confused_pairs", {"by": "chance"}, "'by'.*'chance'"),
        ("class_bars", {"ranker": "exakt"}, "ranker: unknown ranker.*'exact'"),
    ],
)
def test_what_these_kinds_cannot_show_is_refused_before_the_run(toy_study, kind, options, message):
    with pytest.raises(InputError, match=message):
        validate_figure(Figure(title="T", kind=kind, options=options), toy_study, {"map", "mrr"})


def test_a_study_without_published_values_has_no_published_points(toy_study):
    figure = Figure(title="T", kind="epochs", options={"published": "figure 6"})
    validate_figure(figure, toy_study, {"map"})
    with pytest.raises(InputError, match="says nothing of published values"):
        validate_figure(figure, toy_study.model_copy(update={"published": None}), {"map"})


def test_confused_pairs_are_those_that_scikit_learn_counts(finished):
    features = store.read_features(finished.material.features[0])
    taken = features.logits.argmax(axis=1)
    counts = peer_confusion(features.labels, taken)
    pairs = classifier_pairs(features, top=10)
    assert {(p.true, p.taken): (p.count, p.items, p.back) for p in pairs} == {
        (CLASSES[i], CLASSES[j]): (counts[i, j], counts[i].sum(), counts[j, i])
        for i in range(3)
        for j in range(3)
        if i != j and counts[i, j]
    }
    assert [p.count for p in pairs] == sorted((p.count for p in pairs), reverse=True)
    for pair in pairs:
        assert (features.labels[pair.example], taken[pair.example]) == (
            CLASSES.index(pair.true),
            CLASSES.index(pair.taken),
        )
        assert features.labels[pair.typical] == CLASSES.index(pair.taken)
    assert classifier_pairs(features, top=1) == pairs[:1]


def test_classes_are_told_by_name_where_the_classifier_orders_them_otherwise(finished):
    features = store.read_features(finished.material.features[0])
    turned = store.Features(
        features.values, features.labels, features.ids, features.classes, features.logits[:, ::-1], CLASSES[::-1]
    )

    def told(pairs):
        return {(p.true, p.taken, p.count, p.example, p.typical) for p in pairs}

    assert told(classifier_pairs(turned, 9)) == told(classifier_pairs(features, 9))


def test_pairs_of_first_neighbours_are_counted_query_by_query(finished):
    ranking = store.read_ranking(finished.material.rankings[0])
    expected, nearest = Counter(), {}
    for query, label in enumerate(ranking.query_labels):
        found = ranking.gallery_labels[ranking.top_indices[query, 0]]
        if found != label:
            expected[label, found] += 1
            distance = ranking.top_distances[query, 0]
            nearest[label, found] = min(nearest.get((label, found), (np.inf, -1)), (distance, query))
    pairs = neighbour_pairs(ranking, top=10)
    assert {(CLASSES.index(p.true), CLASSES.index(p.taken)): p.count for p in pairs} == expected
    for pair in pairs:
        query = nearest[CLASSES.index(pair.true), CLASSES.index(pair.taken)][1]
        assert (pair.example, pair.typical) == (query, ranking.top_indices[query, 0])


@pytest.mark.parametrize("by", ["classifier", "neighbour"])
def test_confused_pairs_are_drawn_with_count_and_share(finished, tmp_path, by):
    words, texts, _ = _drawn(finished.study, finished.material, tmp_path, "confused_pairs", by=by, top=2)
    assert sum(text.startswith("taken for ") for text in texts) == 4
    assert sum("of 4 (" in text for text in texts) == 4
    assert words.startswith("small most often takes ")


def test_pairs_without_what_they_are_counted_from_are_refused(finished, tmp_path):
    material = Material(images=finished.material.images)
    for by, lacking in (("classifier", "predictions"), ("neighbour", "ranked lists")):
        with pytest.raises(InputError, match=f"no {lacking}"):
            _drawn(finished.study, material, tmp_path, "confused_pairs", by=by)


@pytest.mark.parametrize("images", [True, False])
def test_the_best_and_the_worst_classes_are_named_in_order(finished, tmp_path, images):
    material = Material(metrics=finished.material.metrics, images=finished.material.images if images else ())
    words, texts, svg = _drawn(
        finished.study, material, tmp_path, "class_extremes", n=1, models=["large"], distance="cosine"
    )
    low, high = (100 * toy_value("large", "cosine", i) for i in (0, 2))
    assert words == f"large: mAP is best (highest) for new line $x$ {high:.1f}; worst for {CLASSES[0]} {low:.1f}."
    assert "a|b_c%d" not in texts
    assert ("<image" in svg) == images


def _many(tmp_path) -> tuple[Study, Material]:
    toys = {**STUDY["datasets"]["toys"], "categories": MANY}
    study = Study.model_validate({**STUDY, "datasets": {"toys": toys}, "published": None, "tables": {}, "figures": {}})
    rng = np.random.default_rng(0)
    rows = [
        measure(dataset="toys-test", distance="cosine", model=model, metric="map", ci_low=0.0, ci_high=1.0,
                **{"class": name}, value=float(value))
        for model in ("small", "large")
        for name, value in zip(MANY, rng.random(100))
    ]  # fmt: skip
    store.write_metrics(tmp_path / "m.csv", rows)
    labels = np.repeat(np.arange(100), 2)
    key = {"model": "small", "stage": "classify", "epoch": 2, "seed": 0, "dataset": "toys", "split": "test"}
    logits = rng.normal(size=(200, 100)).astype(np.float32)
    features = store.Features(np.zeros((200, 1), np.float32), labels, [str(i) for i in range(200)], MANY, logits, MANY,
                              {"settings": {"key": key}})  # fmt: skip
    store.write_features(tmp_path / "f.h5", features)
    return study, Material(metrics=tmp_path / "m.csv", features=(tmp_path / "f.h5",))


def _sizes(folder: Path) -> tuple[int, int]:
    with Image.open(folder / "figure.png") as picture:
        return picture.size


def test_a_hundred_classes_all_have_a_row_that_can_be_read(tmp_path):
    study, material = _many(tmp_path)
    _, texts, _ = _drawn(study, material, tmp_path, "class_bars")
    shown = [text for text in texts if text in set(MANY)]
    assert sorted(shown) == MANY
    # 7 points of text in rows of 0.155 inches, 150 pixels an inch.
    assert _sizes(tmp_path)[1] > 100 * 0.155 * 150
    means = dict.fromkeys(MANY, 0.0)
    for row in read_measures(tmp_path / "m.csv"):
        means[row.class_name] += row.value / 2
    assert shown == sorted(MANY, key=lambda name: -means[name])


def test_a_hundred_classes_are_all_named_beside_their_confusions(tmp_path):
    _, texts, _ = _drawn(*_many(tmp_path), tmp_path, "confusion")
    assert all(texts.count(name) == 2 for name in MANY)
    assert "% of the true class" in texts
