"""The query browser's data against the rankings they come from."""

import base64
import gzip
from dataclasses import replace

import numpy as np
import pytest
from trazo import store
from trazo.config import Study
from trazo.report.artifacts import keyed
from trazo.report.queries import MOST_METHODS, browsed_queries

from .conftest import STUDY


def numbers(text, kind="<u2"):
    return np.frombuffer(gzip.decompress(base64.b64decode(text)), kind)


def rows_of(part):
    return (
        np.arange(len(numbers(part["labels"])))
        if part["rows"] is None
        else numbers(part["rows"], "<u4").astype(np.int64)
    )


def lists(payload, method):
    """Return (Q, K) positions in the gallery, −1 for none, and distances."""
    kind, none = ("<u4", 2**32 - 1) if method["wide"] else ("<u2", 2**16 - 1)
    places = numbers(method["items"], kind).reshape(-1, method["width"]).astype(np.int64)
    steps = numbers(method["distances"]).reshape(places.shape)
    rows = rows_of(payload["gallery"])
    items = np.where(places == none, -1, rows[np.minimum(places, len(rows) - 1)])
    return items, np.where(steps == 2**16 - 1, np.nan, method["low"] + method["step"] * steps)


def test_every_method_s_lists_are_those_of_its_ranking(finished):
    (one,) = browsed_queries(finished.study, keyed(finished.records))
    assert [m["name"] for m in one.payload["methods"]] == [
        "small · euclidean", "small · cosine", "large · euclidean", "large · cosine",
    ]  # fmt: skip
    assert one.payload["same"]
    for method in one.payload["methods"]:
        model, distance = method["name"].split(" · ")
        (path,) = [p for p in finished.material.rankings if p.stem == f"{model}-{distance}"]
        ranking = store.read_ranking(path)
        items, distances = lists(one.payload, method)
        assert np.array_equal(items, ranking.top_indices)
        assert distances == pytest.approx(ranking.top_distances, abs=method["step"])
        assert numbers(method["scores"]) / 10_000 == pytest.approx(ranking.values[:, 0], abs=5e-5)
        assert method["metric"] == "AP"
        assert [one.payload["gallery"]["ids"][i] for i in range(12)] == ranking.gallery_ids
        assert np.array_equal(numbers(one.payload["queries"]["labels"]), ranking.query_labels)
        assert np.array_equal(numbers(one.payload["relevant"], "<u4"), ranking.relevant)


def write(folder, count, *, name="small", depth=30, per_class=100, **changes):
    """Write a ranking of `count` queries among as many items of another split; distances are whole numbers."""
    draw = np.random.default_rng(3)
    labels = np.arange(count) // per_class
    ranking = store.RankingArtifact(
        metrics=["p@1", "map@10"],
        values=draw.random((count, 2)),
        evaluated=np.arange(count) != 5,
        relevant=np.full(count, per_class),
        top_indices=draw.integers(0, count, (count, depth)),
        top_distances=np.sort(draw.integers(0, 64, (count, depth)), axis=1).astype(np.float32),
        query_labels=labels,
        gallery_labels=labels,
        query_ids=[f"q{i}" for i in range(count)],
        gallery_ids=[f"g{i}" for i in range(count)],
        classes=[f"class {i}" for i in range(labels.max() + 1)],
        record={"step": "rank", "settings": {"key": {
            "retrieval": "toys-test", "model": name, "stage": "classify", "epoch": 2, "seed": 0, "reducer": "none",
            "distance": "hamming",
        }}},
    )  # fmt: skip
    path = folder / f"{name}.h5"
    store.write_ranking(path, replace(ranking, **changes))
    return path


@pytest.fixture
def other_split(toy_study):
    retrieval = {**STUDY["retrievals"][0], "name": "toys-test", "gallery": "toys/train", "leave_one_out": False}
    return Study.model_validate({**STUDY, "retrievals": [retrieval]})


def test_lists_are_cut_and_queries_thinned_class_by_class_to_keep_the_page_small(tmp_path, other_split):
    path = write(tmp_path, 600)
    whole = 599 * 20 * 4
    (one,) = browsed_queries(other_split, keyed([path]), most_bytes=whole)
    assert (one.payload["depth"], len(one.query_rows)) == (20, 599)
    # The one query without a relevant item is told of, and nothing else.
    assert one.left_out == ["1 of 600 queries has no relevant item in the gallery and is left out."]
    (one,) = browsed_queries(other_split, keyed([path]), most_bytes=whole // 2)
    assert (one.payload["depth"], len(one.query_rows)) == (10, 599)
    (one,) = browsed_queries(other_split, keyed([path]), most_bytes=whole // 6)
    assert len(one.query_rows) * one.payload["depth"] * 4 <= whole // 6
    counts = np.bincount(numbers(one.payload["queries"]["labels"]))
    assert counts.max() - counts.min() <= 1
    assert "of 599 queries are here" in one.left_out[1]
    items, distances = lists(one.payload, one.payload["methods"][0])
    ranking = store.read_ranking(path)
    assert np.array_equal(items, ranking.top_indices[one.query_rows, :10])
    # Whole numbers stay whole.
    assert np.array_equal(distances, ranking.top_distances[one.query_rows, :10])
    assert one.payload["methods"][0]["whole"]
    assert one.payload["queries"]["ids"] == [f"q{i}" for i in one.query_rows]
    assert one.payload["gallery"]["ids"] == [f"g{i}" for i in one.gallery_rows]


def test_the_metric_that_judges_is_a_mean_average_precision(tmp_path, other_split):
    (one,) = browsed_queries(other_split, keyed([write(tmp_path, 20, per_class=10, depth=4)]))
    (method,) = one.payload["methods"]
    ranking = store.read_ranking(tmp_path / "small.h5")
    assert method["metric"] == "mAP@10"
    expected = np.delete(ranking.values[:, 1], 5)
    assert numbers(method["scores"]) / 10_000 == pytest.approx(expected, abs=5e-5)


def test_items_that_were_not_found_are_none(tmp_path, other_split):
    top = np.tile([3, 7, -1, -1], (20, 1))
    far = np.tile(np.array([0.5, 2.5, np.nan, np.inf], np.float32), (20, 1))
    path = write(tmp_path, 20, per_class=10, depth=4, top_indices=top, top_distances=far)
    (one,) = browsed_queries(other_split, keyed([path]))
    items, distances = lists(one.payload, one.payload["methods"][0])
    assert set(map(tuple, items.tolist())) == {(3, 7, -1, -1)}
    assert distances[0, :2] == pytest.approx([0.5, 2.5])
    assert np.isnan(distances[:, 2:]).all()
    assert one.gallery_rows.tolist() == [3, 7]


def test_of_many_methods_the_best_are_carried_and_the_page_says_so(tmp_path, other_split):
    names = [f"m{i}" for i in range(MOST_METHODS + 3)]
    models = dict.fromkeys(names, STUDY["models"]["small"])
    retrieval = {**other_split.retrievals[0].model_dump(mode="json"), "models": names}
    study = Study.model_validate({**STUDY, "models": models, "retrievals": [retrieval], "tables": {}, "figures": {}})
    paths = []
    for place, name in enumerate(names):
        values = np.full((20, 2), (place * 7 % len(names)) / 100)
        paths.append(write(tmp_path, 20, name=name, per_class=10, depth=4, values=values))
    (one,) = browsed_queries(study, keyed(paths))
    best = sorted(names, key=lambda n: -(names.index(n) * 7 % len(names)))[:MOST_METHODS]
    assert {m["name"] for m in one.payload["methods"]} == set(best)
    assert one.left_out[0] == f"The {MOST_METHODS} methods of {len(names)} with the best mAP are shown."


def test_where_the_very_object_is_sought_objects_are_carried(tmp_path, other_split):
    objects = np.arange(20)
    path = write(tmp_path, 20, per_class=10, depth=4, query_objects=objects, gallery_objects=objects[::-1].copy())
    (one,) = browsed_queries(other_split, keyed([path]))
    assert numbers(one.payload["queries"]["objects"], "<u4").tolist() == [i for i in range(20) if i != 5]
    assert np.array_equal(numbers(one.payload["gallery"]["objects"], "<u4"), 19 - one.gallery_rows)


def test_the_same_rankings_give_the_same_text(finished):
    made = [[one.payload for one in browsed_queries(finished.study, keyed(finished.records))] for _ in range(2)]
    assert made[0] == made[1]
