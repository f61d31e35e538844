"""PCA gives what an eigen-decomposition of the covariance gives, and says what it cannot be fitted on."""

import numpy as np
import pytest
from trazo.errors import InputError
from trazo.reducers.contract import load_reducers, reducer_choice, reducers
from trazo.reducers.pca import Pca, PcaOptions


def drawn(items, width, seed=0, rank=None):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(items, rank or width)) * np.linspace(3, 0.5, rank or width)
    return (values @ np.linalg.qr(rng.normal(size=(width, rank or width)))[0].T + rng.normal(size=width)).astype("f4")


def pca(**options):
    return reducer_choice({"pca": options}).make()


def by_eigenvectors(values, others, size):
    """Return components of `others`, their variances over `values`, and the share of all variance."""
    values = values.astype(np.float64)
    mean = values.mean(axis=0)
    covariance = (values - mean).T @ (values - mean) / (len(values) - 1)
    variances, vectors = np.linalg.eigh(covariance)
    order = variances.argsort()[::-1][:size]
    return (others - mean) @ vectors[:, order], variances[order], variances[order].sum() / variances.sum()


@pytest.mark.parametrize(("items", "width"), [(60, 12), (12, 40), (20, 20)])
@pytest.mark.parametrize("whiten", [False, True])
def test_it_is_an_eigen_decomposition_up_to_signs(items, width, whiten):
    values, others = drawn(items, width), drawn(9, width, seed=1)
    fitted = pca(size=7, whiten=whiten).fit(values)
    expected, variances, share = by_eigenvectors(values, others, 7)
    if whiten:
        expected = expected / np.sqrt(variances)
    found = fitted.transform(others)
    assert found.dtype == np.float32
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found * signs, expected, rtol=1e-4, atol=1e-5)
    assert fitted.facts()["explained_variance"] == pytest.approx(share, abs=1e-6)
    own = fitted.transform(values)
    np.testing.assert_allclose(own.var(axis=0, ddof=1), np.ones(7) if whiten else variances, rtol=1e-4)


def test_a_smaller_size_is_the_beginning_of_a_larger_one():
    values = drawn(50, 16)
    few, many = (pca(size=size).fit(values).transform(values) for size in (3, 10))
    np.testing.assert_allclose(few, many[:, :3], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("items", "width"), [(60, 12), (12, 40)])
def test_one_fit_serves_all_sizes(items, width, monkeypatch):
    import sklearn.decomposition

    values, others = drawn(items, width), drawn(9, width, seed=1)
    options = [PcaOptions(size=s, whiten=w) for s, w in ((3, False), (8, True), (1, False), (8, False))]
    alone = [Pca(one).fit(values) for one in options]
    fits = []
    whole = sklearn.decomposition.PCA
    monkeypatch.setattr(sklearn.decomposition, "PCA", lambda size, **how: fits.append(size) or whole(size, **how))
    together = Pca.fit_several(options, values)
    assert fits == [8]
    for one, other in zip(together, alone, strict=True):
        assert one.options == other.options
        assert np.array_equal(one.transform(others), other.transform(others))
        assert one.facts() == other.facts()


def test_one_of_several_that_does_not_fit_is_named():
    with pytest.raises(InputError, match="13 components of features of 12 values"):
        Pca.fit_several([PcaOptions(size=3), PcaOptions(size=13)], drawn(30, 12))


def test_the_same_features_give_the_same_codes():
    values = drawn(50, 16)
    first, second = (pca(size=5).fit(values).transform(values) for _ in range(2))
    assert np.array_equal(first, second)


def test_a_searcher_holds_the_mean_the_components_and_the_deviations():
    values = drawn(50, 16)
    # The mean in float32, the directions in float64; whitening is in the directions.
    assert pca(size=5).fit(values).memory_bytes() == 4 * 16 + 8 * 5 * 16
    assert pca(size=5, whiten=True).fit(values).memory_bytes() == 4 * 16 + 8 * 5 * 16


@pytest.mark.parametrize(
    ("options", "values", "words"),
    [
        ({"size": 13}, drawn(30, 12), "13 components of features of 12 values; choose a size up to 12"),
        ({"size": 9}, drawn(8, 12), "9 components of 8 items; choose a size up to 8"),
        ({"size": 2}, np.full((9, 4), 3, "f4"), "the features of all 9 items are the same"),
        ({"size": 5, "whiten": True}, drawn(30, 12, rank=3), "only 3 of 5 have one; choose a size up to 3"),
    ],
)
def test_what_it_cannot_be_fitted_on_is_said(options, values, words):
    with pytest.raises(InputError, match=words):
        pca(**options).fit(values)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("pac", "unknown reducer 'pac'. Did you mean 'pca'.*none, parametric_umap, pca, pq"),
        ("pca", "pca: option 'size' is required, as in {pca: {size: 32}}"),
        ({"pca": {"siz": 3}}, "pca: unknown option 'siz'. Did you mean 'size'"),
        ({"pca": {"size": 0}}, "pca: option 'size': got 0"),
        ({"pca": {"size": 3}, "none": {}}, "a reducer is a name, or one name with its options"),
        ({"none": {"size": 3}}, "none takes no options, got size"),
    ],
)
def test_mistakes_are_named(written, words):
    with pytest.raises(InputError, match=words):
        reducer_choice(written)


@pytest.mark.parametrize(
    ("written", "label", "method"),
    [
        ({"pca": {"size": 32}}, "pca-size32", "pca"),
        ({"pca": {"size": 32, "whiten": True}}, "pca-size32-whiten", "pca-whiten"),
        ({"pca": {"whiten": False, "size": 32}}, "pca-no-whiten-size32", "pca-no-whiten"),
    ],
)
def test_paths_and_tables_tell_reducers_apart(written, label, method):
    choice = reducer_choice(written)
    assert (choice.label, choice.method) == (label, method)


def test_none_is_no_reducer():
    assert reducer_choice("none") is None
    load_reducers()
    assert "none" not in reducers.names()
