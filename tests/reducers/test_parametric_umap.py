"""Parametric UMAP: its loss by hand, and codes near umap-learn's on what neither was fitted on."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness
from sklearn.metrics import average_precision_score
from trazo.errors import InputError
from trazo.reducers.contract import reducer_choice
from trazo.reducers.neighbours import Neighbours
from trazo.reducers.parametric_umap import ParametricUmap, ParametricUmapOptions, _due, batch_loss, cross_entropy


def drawn(items, width=10, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(items, width)) + 4 * rng.integers(0, 2, (items, 1))).astype(np.float32)


def parametric(**options):
    return reducer_choice({"parametric_umap": options}).make()


def test_the_loss_is_umaps_cross_entropy():
    a, b = 1.577, 0.895
    near, far = np.array([0.0, 0.3, 4.0]), np.array([[0.0, 1.0], [0.2, 9.0], [2.0, 50.0]])

    def q(squared):
        return 1 / (1 + a * (squared + 1e-3) ** b)

    expected = -np.log(q(near)).mean() - np.log(1 - q(far)).sum(axis=1).mean() / 2
    found = cross_entropy(torch.tensor(near), torch.tensor(far), a, b)
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_its_gradient_is_the_numeric_one():
    rng = np.random.default_rng(0)
    codes = torch.tensor(rng.normal(size=(6, 3)), requires_grad=True)
    ends, others = torch.tensor(rng.integers(0, 6, (2, 8))), torch.tensor(rng.integers(0, 6, (8, 5)))
    assert torch.autograd.gradcheck(lambda c: batch_loss(c, ends, others, 1.577, 0.895), codes)


def test_what_repels_does_so_as_in_umap_learn():
    """umap-learn moves a code by 2 b d / ((0.001 + d²) (1 + a d^2b)); here both ends move, by half of that."""
    a, b = 1.577, 0.895
    codes = torch.tensor([[0.0, 0.0], [0.6, 0.8], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    far = (codes[0] - codes[1]).square().sum().reshape(1, 1)
    cross_entropy(torch.zeros(1, dtype=torch.float64), far, a, b).backward()
    by_umap_learn = 2 * b / ((0.001 + 1) * (a + 1)) * np.array([0.6, 0.8])
    np.testing.assert_allclose(codes.grad[0], by_umap_learn / 2, rtol=1e-3)
    np.testing.assert_allclose(codes.grad[1], -by_umap_learn / 2, rtol=1e-3)


def test_codes_at_one_place_or_far_apart_have_a_finite_loss():
    codes = torch.tensor([[0.0], [0.0], [1e18]], requires_grad=True)
    ends, others = torch.tensor([[0, 0], [1, 2]]), torch.tensor([[1, 0], [2, 2]])
    loss = batch_loss(codes, ends, others, 1.577, 0.895)
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert torch.isfinite(codes.grad).all()


def test_an_edge_is_seen_as_often_as_it_weighs():
    rates = np.array([1, 0.5, 0.25, 0.1])
    phases = np.random.default_rng(0).random(4)
    seen = np.bincount(np.concatenate([_due(rates, phases, epoch) for epoch in range(200)]), minlength=4)
    assert np.abs(seen - 200 * rates).max() <= 1


@pytest.fixture(scope="module")
def digits():
    """Return codes of digits fitted on and held out, by UMAP (umap-learn's: see test_umap) and by the network."""
    values, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(values))
    values, labels = values[order].astype(np.float32), labels[order]
    seen, held = slice(0, 1200), slice(1200, None)
    own = reducer_choice({"umap": {"size": 4}}).make().fit(values[seen])
    network = parametric(size=4).fit(values[seen])
    codes = {
        "umap": (own.embedding_, own.transform(values[held])),
        "network": (network.transform(values[seen]), network.transform(values[held])),
        "features": (values[seen], values[held]),
    }
    return codes, labels[seen], labels[held]


def quality(codes, labels, others):
    """Return kNN accuracy and mAP of held-out queries among what was fitted on."""
    apart = ((codes[1][:, None].astype(float) - codes[0]) ** 2).sum(axis=-1)
    nearest = apart.argsort(axis=1)[:, :5]
    votes = np.array([np.bincount(labels[row], minlength=10).argmax() for row in nearest])
    right = others[:, None] == labels
    precision = [
        average_precision_score(row, -distances) for row, distances in zip(right[::3], apart[::3], strict=True)
    ]
    return (votes == others).mean(), np.mean(precision)


def test_held_out_features_keep_their_neighbours_nearly_as_in_umap(digits):
    codes, _, _ = digits
    held = codes["features"][1]
    by_umap, by_network = (trustworthiness(held, codes[name][1], n_neighbors=15) for name in ("umap", "network"))
    assert by_network > by_umap - 0.01
    assert by_network > 0.95


def test_held_out_queries_find_nearly_what_they_find_by_umap(digits):
    codes, labels, others = digits
    (votes, precision), (own_votes, own_precision) = (quality(codes[n], labels, others) for n in ("network", "umap"))
    assert votes > own_votes - 0.02
    assert precision > own_precision - 0.03
    assert precision > quality(codes["features"], labels, others)[1]


def test_training_lowers_the_loss():
    few, many = (parametric(size=2, epochs=epochs).fit(drawn(100)).facts()["loss"] for epochs in (1, 30))
    assert many < few


def test_scale_and_offset_of_the_features_change_nothing():
    # Powers of two: nothing is rounded.
    first = parametric(size=2, epochs=3).fit(drawn(100))
    second = parametric(size=2, epochs=3).fit(drawn(100) * 1024)
    np.testing.assert_allclose(first.transform(drawn(9)), second.transform(drawn(9) * 1024), rtol=1e-4, atol=1e-5)
    moved = parametric(size=2, epochs=3).fit(drawn(100) + 8)
    np.testing.assert_allclose(first.transform(drawn(9)), moved.transform(drawn(9) + 8), rtol=0.05, atol=0.05)


def test_training_on_principal_components_becomes_part_of_the_first_layer():
    # Five directions hold all that there is: leaving the others out changes rounding alone.
    values = drawn(100, 5) @ np.linalg.qr(np.random.default_rng(1).normal(size=(12, 5)))[0].T.astype(np.float32)
    network = parametric(size=2, components=5, epochs=10).fit(values)
    assert network.weights_[0].shape == (256, 12)
    assert trustworthiness(values, network.transform(values), n_neighbors=5) > 0.85
    # What lies across them is not seen.
    across = np.linalg.svd(values - values.mean(axis=0))[2][-1]
    np.testing.assert_allclose(network.transform(values + across), network.transform(values), atol=1e-3)


def test_noise_is_as_long_as_the_nearest_item_is_far(monkeypatch):
    seen = []
    train = ParametricUmap._train
    monkeypatch.setattr(ParametricUmap, "_train", lambda *a: seen.append(a) or train(*a))
    values = drawn(100, 6)
    for metric, lengths in (("euclidean", 1), ("cosine", np.linalg.norm(values, axis=1, keepdims=True))):
        parametric(size=2, epochs=1, noise=0.5, metric=metric).fit(values)
        _, inputs, jitter, _ = seen.pop()
        items = values / lengths
        apart = np.median(np.sort(cdist(items, items), axis=1)[:, 1])
        unit = np.sqrt(items.var(axis=0).mean())
        assert jitter * np.sqrt(6) * unit == pytest.approx(0.5 * apart, rel=1e-4)
        assert float(inputs.var(dim=0, correction=0).mean()) == pytest.approx(1, rel=1e-4)


def test_several_are_each_as_if_fitted_alone_by_one_graph(monkeypatch):
    options = [ParametricUmapOptions(size=size, min_dist=near, epochs=2) for size, near in ((2, 0.1), (3, 0.5))]
    alone = [ParametricUmap(one).fit(drawn(80)) for one in options]
    searches = []
    nearest = Neighbours.nearest
    monkeypatch.setattr(Neighbours, "nearest", lambda *a, **k: searches.append(a) or nearest(*a, **k))
    together = ParametricUmap.fit_several(options, drawn(80))
    assert len(searches) == 1
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one.transform(drawn(9, seed=1)), other.transform(drawn(9, seed=1)))


def test_a_searcher_holds_the_network_alone():
    reducer = parametric(size=3, units=7, layers=2, epochs=1).fit(drawn(60))
    assert reducer.memory_bytes() == 4 * 10 + 8 * (10 * 7 + 7 + 7 * 7 + 7 + 7 * 3 + 3)


def test_it_leaves_torchs_own_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    parametric(size=2, epochs=1).fit(drawn(60))
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(
    ("options", "shape", "words"),
    [
        ({"size": 11}, (60, 10), "codes of 11 values are longer than features of 10"),
        ({"size": 2}, (15, 10), "15 neighbours need more than 15 items, and there are 15"),
        ({"size": 2, "lr": 1e30, "epochs": 5}, (60, 10), "training came to a loss of .*; choose `lr` below 1e\\+30"),
    ],
)
def test_what_does_not_fit_is_said_with_what_would(options, shape, words):
    with pytest.raises(InputError, match=f"parametric_umap: {words}"):
        parametric(**options).fit(drawn(*shape))
