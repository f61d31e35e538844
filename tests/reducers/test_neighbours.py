"""Nearest neighbours are exact, and the same alone, among others, and among more."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from trazo.errors import InputError
from trazo.reducers import neighbours as module
from trazo.reducers.neighbours import Graphs, NeighbourOptions, Neighbours, by_metric, curve, keep_compiled
from trazo.reducers.parametric_umap import ParametricUmap
from trazo.reducers.umap import Umap


def drawn(items, width=10, seed=0, offset=0.0):
    return (np.random.default_rng(seed).normal(size=(items, width)) + offset).astype(np.float32)


@pytest.mark.parametrize(
    ("metric", "offset"),
    # Far from zero, single precision leaves so little of a distance that all items are looked at.
    [("euclidean", 0), ("euclidean", 1000), ("cosine", 0), ("cosine", 1), ("correlation", 0), ("correlation", 1)],
)
def test_they_are_those_of_a_full_search(metric, offset, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 2000)
    items, values = drawn(300, offset=offset), drawn(50, seed=1, offset=offset)
    searched = Neighbours(by_metric(items, metric), metric)
    indices, distances = searched.nearest(by_metric(values, metric), 12)
    full = cdist(values.astype(float), items.astype(float), metric)
    np.testing.assert_allclose(distances, np.sort(full, axis=1)[:, :12], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(full, indices.astype(int), 1), distances, atol=1e-6)
    assert (np.diff(distances) >= 0).all()


def test_they_are_the_same_alone_and_fewer_are_the_first_of_more():
    # Whole numbers: many items at one distance.
    items = np.random.default_rng(0).integers(0, 3, (400, 5)).astype(np.float32)
    searched = Neighbours(items, "euclidean")
    many = searched.nearest(items[:50], 30)
    few = searched.nearest(items[:50], 7)
    alone = [searched.nearest(one[None], 7) for one in items[:50]]
    for part in (0, 1):
        assert np.array_equal(few[part], many[part][:, :7])
        assert np.array_equal(few[part], np.concatenate([one[part] for one in alone]))
    expected = np.lexsort((np.broadcast_to(np.arange(400), (50, 400)), cdist(items[:50], items)))
    assert np.array_equal(many[0], expected[:, :30])


def test_an_item_comes_first_among_its_own_neighbours():
    items = np.repeat(drawn(20), 5, axis=0)
    searched = Neighbours(items, "euclidean")
    indices, distances = searched.nearest(items, 4, themselves=True)
    assert np.array_equal(indices[:, 0], np.arange(100))
    assert not distances.any()
    assert all(len(set(row)) == 4 for row in indices.tolist())


@pytest.mark.parametrize("metric", ["cosine", "correlation"])
@pytest.mark.parametrize("kind", [Umap, ParametricUmap])
def test_features_of_one_direction_teach_nothing_by_angles(kind, metric):
    values = np.linspace(1, 3, 40, dtype=np.float32)[:, None] * drawn(1, 12)
    options = kind.options_type(size=2, n_neighbors=5, metric=metric)
    with pytest.raises(InputError, match=f"by `metric: {metric}` the features of all 40 items are the same"):
        kind(options).fit(values)


def test_the_graph_is_umap_learns_and_is_made_once(monkeypatch):
    from umap import UMAP

    keep_compiled()
    values = load_digits().data[:200].astype(np.float32) + drawn(200, 64) / 10
    options = [NeighbourOptions(size=2, n_neighbors=k, metric=m) for k, m in ((5, "euclidean"), (15, "cosine"))]
    graphs = Graphs(values, [*options, NeighbourOptions(size=3, n_neighbors=20)])
    searches = []
    nearest = Neighbours.nearest
    monkeypatch.setattr(Neighbours, "nearest", lambda *a, **k: searches.append(a) or nearest(*a, **k))
    for one in options * 2:
        expected = UMAP(one.n_neighbors, metric=one.metric, transform_mode="graph").fit(values).graph_
        np.testing.assert_allclose(graphs.graph(one).toarray(), expected.toarray(), atol=2e-4)
    assert len(searches) == 2


def test_directions_of_nothing_stay_nothing():
    values = np.array([[0, 0, 0], [3, 4, 0], [2, 2, 2]], np.float32)
    np.testing.assert_allclose(by_metric(values, "cosine")[:2], [[0, 0, 0], [0.6, 0.8, 0]], rtol=1e-6)
    assert not by_metric(values, "correlation")[[0, 2]].any()


def test_features_too_large_for_single_precision_are_named():
    with pytest.raises(InputError, match="features as large as 3e\\+30 have no distances"):
        Neighbours(np.array([[3e30, 0], [0, 1]], np.float32), "euclidean")


def test_the_curve_is_that_of_umap():
    a, b = curve(0.1)
    near = 1 / (1 + a * np.linspace(0, 3, 300) ** (2 * b))
    wanted = np.where(np.linspace(0, 3, 300) < 0.1, 1, np.exp(0.1 - np.linspace(0, 3, 300)))
    assert np.abs(near - wanted).max() < 0.1
    assert (a, b) == pytest.approx((1.577, 0.895), abs=1e-3)
