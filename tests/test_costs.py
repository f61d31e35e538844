"""What searching costs: bytes counted by hand, times taken apart, intervals of medians beside binomial ones."""

import csv
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import binom
from sklearn.decomposition import PCA
from trazo import costs, store
from trazo.costs import Held, measure_cost, median_interval, time_queries
from trazo.errors import InputError
from trazo.reducers.codes import reduce_features
from trazo.reducers.contract import reducer_choice
from trazo.report.measures import QUERY_TIMES, SIZES
from trazo.store import Features, read_features, write_features

WIDTH, ITEMS, QUERIES = 32, 300, 7


def features(count, seed, **changes):
    draw = np.random.default_rng(seed)
    given = {
        "values": draw.normal(size=(count, WIDTH)).astype(np.float32),
        "labels": np.arange(count) % 3,
        "ids": [f"{seed}-{i}" for i in range(count)],
        "classes": ["a", "b", "c"],
        "record": {"settings": {"key": {"model": "net", "stage": "s", "epoch": 2, "seed": 0}}},
    }
    return Features(**{**given, **changes})


@pytest.fixture
def sides(tmp_path):
    write_features(tmp_path / "q.h5", features(QUERIES, 1))
    write_features(tmp_path / "g.h5", features(ITEMS, 2))
    return {"queries": tmp_path / "q.h5", "gallery": tmp_path / "g.h5"}


def reduced(sides, folder, written, fold=0, folds=0):
    """Fit reducers on the whole gallery, as the workflow does, or on what a fold leaves; return the step's inputs."""
    reducers = {reducer_choice(one).label: one for one in written}
    inputs = {"codes": folder / "whole.h5", "fitted": folder / "whole"}
    reduce_features(**sides, **inputs, reducers=reducers, retrieval="r", batch="b", code="c", folds=folds, fold=fold)
    return {**inputs, "reducers": [*reducers]}


def costed(folder, *, distances=("euclidean",), **inputs):
    """Measure; return rows by (reducer, size, metric), and the order of the metrics."""
    outputs = {"sizes": folder / "sizes.csv", "times": folder / "times.csv"}
    measure_cost(**inputs, **outputs, study="s", retrieval="r", distances=list(distances), device="cpu")
    rows = []
    for path in outputs.values():
        with path.open(newline="") as file:
            rows += list(csv.DictReader(file))
    return {(row["reducer"], row["size"], row["distance"], row["metric"]): row for row in rows}


def test_a_searcher_holds_codes_of_all_items_and_what_transforms_queries(sides, tmp_path):
    inputs = reduced(sides, tmp_path, [{"pca": {"size": 8}}, {"pca": {"size": 4}}])
    found = costed(tmp_path, **sides, **inputs)
    for size in (8, 4):
        # The mean in float32, the directions in float64; codes of the whole gallery, not of a fold.
        learned = 4 * WIDTH + 8 * WIDTH * size
        memory = float(found["pca", str(size), "euclidean", "memory"]["value"])
        assert memory == pytest.approx((4 * size * ITEMS + learned) / 1e6, rel=1e-12)
        saved = float(found["pca", str(size), "euclidean", "saved_size"]["value"])
        file = (tmp_path / "whole" / f"pca-size{size}.h5").stat().st_size
        assert saved == pytest.approx((4 * size * ITEMS + file) / 1e6, rel=1e-12)
    row = found["pca", "8", "euclidean", "query_time"]
    assert [row[c] for c in ("study", "dataset", "model", "stage", "epoch", "seed")] == ["s", "r", "net", "s", "2", "0"]
    assert (row["bits"], row["ranker"], row["fold"], row["class"], row["average"]) == ("256", "exact", "", "", "")
    assert {metric for _, _, _, metric in found} == {*QUERY_TIMES, *SIZES}


def test_features_as_they_are_and_bits_take_what_they_are(sides, tmp_path):
    found = costed(tmp_path, **sides, distances=["euclidean", "cosine"])
    for distance in ("euclidean", "cosine"):
        assert float(found["none", "32", distance, "memory"]["value"]) == 4 * WIDTH * ITEMS / 1e6
        assert float(found["none", "32", distance, "query_time_transform"]["value"]) < 0.05
    key = {"model": "cbs-64", "stage": "s", "epoch": 2, "seed": 0, "method": "cbs"}
    packed = {"record": {"settings": {"key": key}}}
    for side, count in (("queries", QUERIES), ("gallery", ITEMS)):
        bits = np.random.default_rng(count).integers(0, 256, (count, 8), dtype=np.uint8)
        write_features(sides[side], features(count, count, values=bits, **packed))
    found = costed(tmp_path, **sides, distances=["hamming"])
    row = found["cbs", "2", "hamming", "memory"]
    assert float(row["value"]) == 8 * ITEMS / 1e6
    assert (row["model"], row["bits"]) == ("cbs-64", "64")


def test_codes_that_are_searched_in_an_index_count_as_they_are_held(sides, tmp_path):
    inputs = reduced(sides, tmp_path, [{"pq": {"size": 2, "bits": 4}}])
    found = costed(tmp_path, **sides, **inputs)
    # 64 bits an item; 16 parts of 2 values with 16 centroids each.
    assert float(found["pq-bits4", "2", "euclidean", "memory"]["value"]) == (8 * ITEMS + 4 * 16 * 16 * 2) / 1e6
    # Queries stay as they are.
    assert float(found["pq-bits4", "2", "euclidean", "query_time_transform"]["value"]) < 0.2


def test_what_is_timed_was_fitted_on_the_whole_gallery(sides, tmp_path, monkeypatch):
    inputs = reduced(sides, tmp_path, [{"pca": {"size": 4}}])
    held = []

    def kept(one, queries, distance, device):
        held.append(one)
        return costs.Times(*np.ones((3, 6)), batch=1.0)

    monkeypatch.setattr(costs, "time_queries", kept)
    costed(tmp_path, **sides, **inputs)
    (one,) = held
    assert one.gallery.shape == (ITEMS, 4)
    asked, stored = (read_features(sides[side]).values.astype(np.float64) for side in ("queries", "gallery"))
    oracle = PCA(4, svd_solver="full").fit(stored)
    np.testing.assert_allclose(one.gallery, oracle.transform(stored), atol=1e-4)
    np.testing.assert_allclose(one.reducer.transform_queries(asked), oracle.transform(asked), atol=1e-4)


@pytest.mark.parametrize("alike", [True, False])
def test_no_query_is_an_item_that_a_reducer_was_fitted_on(sides, tmp_path, monkeypatch, alike):
    both = {**sides, "queries": sides["gallery"]} if alike else sides
    inputs = reduced(both, tmp_path, [{"pca": {"size": 4}}])
    asked = []

    def kept(one, queries, distance, device):
        asked.append(queries)
        return costs.Times(*np.ones((3, 6)), batch=1.0)

    monkeypatch.setattr(costs, "time_queries", kept)
    costed(tmp_path, **both, **inputs)
    values = read_features(both["gallery"]).values
    own = read_features(both["queries"]).values
    assert asked[0].shape == own.shape
    assert not (asked[0][:, None] == values).all(axis=2).any()
    assert np.array_equal(asked[0], own) != alike
    if alike:
        np.testing.assert_allclose(asked[0][5], (values[5] + values[4]) / 2, rtol=1e-6)
    # Features as they are have no reducer that could know them.
    costed(tmp_path, **both)
    assert np.array_equal(asked[1], own)


def test_codes_of_a_part_of_the_gallery_are_refused(sides, tmp_path):
    inputs = reduced(sides, tmp_path, [{"pca": {"size": 4}}], fold=1, folds=3)
    with pytest.raises(InputError, match="codes of 100 of the gallery's 300 items"):
        costed(tmp_path, **sides, **inputs)


class Slow:
    """A reducer that takes 20 ms for each call, and halves features."""

    calls: list[int]

    def __init__(self):
        self.calls = []

    def transform_queries(self, values):
        self.calls.append(len(values))
        time.sleep(0.02)
        return values[:, : WIDTH // 2]


def test_time_is_told_apart_and_queries_come_one_at_a_time():
    gallery = features(ITEMS, 0).values[:, : WIDTH // 2]
    slow = Slow()
    held = Held("slow", 32 * WIDTH // 2, np.ascontiguousarray(gallery), slow, 0, 0, 0)
    times = time_queries(held, features(QUERIES, 1).values, "euclidean", torch.device("cpu"))
    assert slow.calls.count(1) >= 50
    assert set(slow.calls) == {1, QUERIES}
    assert len(times.total) == len(times.transform) >= 50
    assert times.transform.min() >= 20
    # Warm: the first search, which compiles, is none of those counted.
    assert np.median(times.distances) + np.median(times.ranking) < 20
    np.testing.assert_allclose(times.total, times.transform + times.distances + times.ranking)
    # A batch shares one call among its queries.
    assert 20 / QUERIES <= times.batch < 20


@pytest.mark.parametrize("count", [6, 7, 25, 60, 61, 101])
def test_intervals_of_medians_are_those_of_the_binomial_distribution(count):
    draw = np.random.default_rng(count)
    values = draw.permutation(np.arange(1.0, count + 1))
    low, high = median_interval(values)
    # Values are their own ranks. P(low < median < high) = P(low ≤ B < high), B the number of values below the median.
    rank = int(low)
    assert high == count + 1 - rank
    assert 1 - 2 * binom.cdf(rank - 1, count, 0.5) >= 0.95
    assert 1 - 2 * binom.cdf(rank, count, 0.5) < 0.95


def test_few_values_have_no_closer_interval_than_their_ends():
    assert median_interval(np.array([3.0, 1.0, 2.0])) == (1.0, 3.0)
    assert median_interval(np.array([3.0])) == (3.0, 3.0)


@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean", "cosine", "inner_product", "manhattan"])
def test_one_query_is_answered_as_several_are(distance):
    draw = np.random.default_rng(1)
    gallery, queries = (draw.normal(size=(count, 24)).astype(np.float32) + 0.5 for count in (400, 3))
    search = costs.Searcher(Held("none", 768, gallery, None, 0, 0, 0), distance, torch.device("cpu"))
    together = search.sorted(search.keys(queries))
    for place, order in enumerate(together):
        np.testing.assert_array_equal(search.sorted(search.keys(queries[place : place + 1]))[0], order)
    peer = {"squared_euclidean": "sqeuclidean", "manhattan": "cityblock"}.get(distance, distance)
    far = -queries @ gallery.T if distance == "inner_product" else cdist(queries, gallery, peer)
    np.testing.assert_array_equal(np.argsort(far, axis=1)[:, :50], together[:, :50])


def test_whole_numbers_and_fractions_are_sorted_alike():
    draw = np.random.default_rng(0)
    gallery = draw.integers(0, 256, (500, 4), dtype=np.uint8)
    query = draw.integers(0, 256, (1, 4), dtype=np.uint8)
    held = Held("cbs", 32, gallery, None, 0, 0, 0)
    search = costs.Searcher(held, "hamming", torch.device("cpu"))
    keys = search.keys(query)
    order = search.sorted(keys)[0]
    differing = np.unpackbits(gallery ^ query, axis=1).sum(1)
    np.testing.assert_array_equal(differing[order], np.sort(differing))


def test_times_join_the_other_times_digit_by_digit(tmp_path):
    rows = [{"study": "s", "metric": "query_time", "value": 1 / 3, "ci_low": 0.1, "ci_high": 0.7, "queries": 60}]
    store.write_metrics(tmp_path / "a.csv", rows)
    store.write_metrics(tmp_path / "b.csv", store.read_metrics(tmp_path / "a.csv"))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    (tmp_path / "c.csv").write_text((tmp_path / "a.csv").read_text().replace(repr(1 / 3), "fast"))
    with pytest.raises(store.ArtifactError, match=r"c\.csv, line 2: .*'fast'"):
        store.read_metrics(tmp_path / "c.csv")
    Path(tmp_path / "d.csv").write_text("study,value\ns,1\n")
    with pytest.raises(store.ArtifactError, match="has the columns"):
        store.read_metrics(tmp_path / "d.csv")
