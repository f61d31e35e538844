"""UMAP: the layout and the places of single features are umap-learn's; work is shared without a trace."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness
from trazo.errors import InputError
from trazo.reducers.contract import reducer_choice
from trazo.reducers.neighbours import Neighbours, keep_compiled
from trazo.reducers.umap import Umap, UmapOptions


def whole(items, seed=0, width=10):
    """Return features of whole numbers: their squared distances are exact in single precision, and hardly ever tie."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).integers(0, 1500, (3, width))
    return (centres[rng.integers(0, 3, items)] + rng.integers(0, 500, (items, width))).astype(np.float32)


def umap(**options):
    return reducer_choice({"umap": options}).make()


@pytest.fixture(scope="module")
def both():
    """Return features, the reducer, and umap-learn's own model of the same options."""
    from umap import UMAP

    values = whole(150)
    options = {"n_neighbors": 10, "min_dist": 0.2}
    keep_compiled()
    own = UMAP(n_components=3, random_state=5, transform_seed=5, n_jobs=1, **options).fit(values)
    return values, umap(size=3, seed=5, **options).fit(values), own


def test_the_layout_is_umap_learns(both):
    _, reducer, own = both
    assert np.array_equal(reducer.embedding_, own.embedding_)


def test_a_feature_is_placed_where_umap_learn_places_it_alone(both):
    _, reducer, own = both
    others = whole(6, seed=1)
    alone = np.concatenate([own.transform(one[None]) for one in others])
    assert np.array_equal(reducer.transform(others), alone)
    # In a batch, umap-learn places some of them elsewhere: why they are placed one by one.
    assert not np.array_equal(own.transform(others), alone)


def test_a_feature_it_was_fitted_on_has_its_place(both):
    values, reducer, _ = both
    mixed = np.concatenate([values[40:44], whole(3, seed=1), values[:1]])
    codes = reducer.transform(mixed)
    assert np.array_equal(codes[[0, 1, 2, 3, 7]], reducer.embedding_[[40, 41, 42, 43, 0]])
    assert np.array_equal(codes[4:7], reducer.transform(whole(3, seed=1)))


def test_what_it_was_not_fitted_on_lands_among_its_like():
    values, labels = load_digits(return_X_y=True)
    values = values[:900].astype(np.float32)
    reducer = umap(size=4, n_epochs=100).fit(values[:600])
    codes = reducer.transform(values[600:])
    assert trustworthiness(values[600:], codes, n_neighbors=5) > 0.93
    apart = ((codes[:, None] - reducer.embedding_) ** 2).sum(-1)
    assert (labels[:600][apart.argmin(axis=1)] == labels[600:900]).mean() > 0.85


def test_several_are_each_as_if_fitted_alone_by_one_search(monkeypatch):
    values = whole(120)
    options = [
        UmapOptions(size=size, n_neighbors=k, min_dist=near, metric=metric, n_epochs=20)
        for size, k, near, metric in [(2, 5, 0.1, "euclidean"), (4, 9, 0.1, "euclidean"), (2, 9, 0.5, "euclidean"),
                                      (2, 9, 0.1, "cosine")]
    ]  # fmt: skip
    alone = [Umap(one).fit(values) for one in options]
    searches = []
    nearest = Neighbours.nearest
    monkeypatch.setattr(Neighbours, "nearest", lambda *a, **k: searches.append(a) or nearest(*a, **k))
    together = Umap.fit_several(options, values)
    assert len(searches) == 2
    for one, other in zip(together, alone, strict=True):
        assert one.options == other.options
        assert np.array_equal(one.embedding_, other.embedding_)
        assert np.array_equal(one.transform(whole(5, seed=1)), other.transform(whole(5, seed=1)))


def test_a_searcher_holds_the_features_and_their_places():
    reducer = umap(size=3, n_neighbors=5, n_epochs=11).fit(whole(60))
    assert reducer.memory_bytes() == 4 * 60 * (10 + 1 + 3)
    assert reducer.facts() == {"fitted_items": 60}


def test_another_seed_gives_another_layout():
    first, second = (umap(size=2, n_epochs=11, seed=seed).fit(whole(60)).embedding_ for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_equal_features_do_not_disturb_it():
    values = np.repeat(whole(30), 12, axis=0)
    reducer = umap(size=2, n_neighbors=6, n_epochs=20).fit(values)
    assert np.isfinite(reducer.embedding_).all()
    assert np.array_equal(reducer.transform(values[::12]), reducer.embedding_[::12])


@pytest.mark.parametrize(
    ("options", "shape", "words"),
    [
        ({"size": 11}, (60, 10), "codes of 11 values are longer than features of 10; choose a size up to 10"),
        ({"size": 2}, (15, 10), "15 neighbours need more than 15 items, and there are 15; .* `n_neighbors` up to 14"),
        ({"size": 2, "n_neighbors": 2}, (2, 10), "2 neighbours need more than 2 items, .* add items"),
        ({"size": 9, "n_neighbors": 5}, (10, 10), "need at least 11 items, and there are 10; choose a size up to 8"),
    ],
)
def test_what_does_not_fit_is_said_with_what_would(options, shape, words):
    with pytest.raises(InputError, match=f"umap: .*{words}"):
        umap(**options).fit(whole(shape[0], width=shape[1]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_neighbors": 1}, "option 'n_neighbors': got 1"),
        ({"min_dist": 1.2}, "option 'min_dist': got 1.2"),
        ({"metric": "hamming"}, "option 'metric': got 'hamming'"),
        ({"n_epochs": 10}, "option 'n_epochs': got 10"),
    ],
)
def test_options_out_of_range_are_named(options, words):
    with pytest.raises(InputError, match=f"umap: {words}"):
        umap(size=2, **options)
