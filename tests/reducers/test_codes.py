"""The reducing step: fitted on the gallery alone, or on other folds of it; codes, and fitted reducers, in files."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from trazo.config import reducer_batch
from trazo.errors import InputError
from trazo.folds import drawn_rows, searched_rows
from trazo.reducers.codes import reduce_features
from trazo.reducers.contract import read_reducer
from trazo.store import Features, read_codes, write_features

CLASSES = ["cat", "dog"]


def features(count, seed, width=10, **changes):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    values = rng.normal(size=(count, width)).astype(np.float32)
    given = {
        "values": values, "labels": labels, "ids": [f"{seed}-{i}" for i in range(count)], "classes": CLASSES,
        "logits": rng.normal(size=(count, 2)).astype(np.float32), "logit_classes": CLASSES,
        "record": {"settings": {"key": {"model": "m", "stage": "s", "epoch": 3, "seed": 1, "split": "test"}}},
    }  # fmt: skip
    return Features(**{**given, **changes})


def reduced(folder, gallery, queries=None, reducer=None, fold=0, folds=0):
    """Return the codes in their file; of one reducer, these themselves."""
    folder.mkdir(exist_ok=True)
    write_features(folder / "g.h5", gallery)
    if queries is not None:
        write_features(folder / "q.h5", queries)
    batch = reducer_batch(reducer or {"pca": {"size": 3}})
    reduce_features(
        queries=folder / ("g.h5" if queries is None else "q.h5"), gallery=folder / "g.h5", codes=folder / "c.h5",
        fitted=folder / "fitted", reducers=batch.reducers, retrieval="r", batch=batch.label, code="c", fold=fold,
        folds=folds,
    )  # fmt: skip
    return read_codes(folder / "c.h5")


def only(artifact):
    (codes,) = artifact.codes.values()
    return codes


def test_nothing_is_learned_from_the_queries(tmp_path):
    gallery = features(40, 0)
    first = only(reduced(tmp_path / "1", gallery, features(8, 1)))
    second = only(reduced(tmp_path / "2", gallery, features(8, 2)))
    assert np.array_equal(first.gallery, second.gallery)
    assert not np.array_equal(first.queries, second.queries)
    # A query that is an item of the gallery has that item's code, whatever stands beside it.
    same = only(reduced(tmp_path / "3", gallery, features(1, 3, values=gallery.values[4:5])))
    np.testing.assert_allclose(same.queries[0], first.gallery[4], rtol=1e-6)
    moved = only(reduced(tmp_path / "4", features(40, 5), features(8, 1)))
    assert not np.array_equal(first.gallery, moved.gallery)


def test_codes_say_whose_they_are_and_how_they_were_fitted(tmp_path):
    queries, gallery = features(8, 1), features(40, 0)
    artifact = reduced(tmp_path, gallery, queries)
    assert (artifact.query_ids, artifact.gallery_ids) == (queries.ids, gallery.ids)
    assert artifact.rows.tolist() == list(range(40))
    key = artifact.record["settings"]["key"]
    assert (key["model"], key["stage"], key["epoch"], key["seed"]) == ("m", "s", 3, 1)
    assert (key["reducer"], key["retrieval"]) == ("pca-size3", "r")
    assert "fold" not in key
    assert artifact.record["step"] == "reduce"
    assert 0 < artifact.record["figures"]["explained_variance"] < 1
    settings = {"name": "pca", "size": 3, "whiten": False, "share": 1.0}
    assert artifact.record["settings"]["reducers"] == {"pca-size3": settings}
    record = artifact.codes["pca-size3"].record
    assert (record["label"], record["method"], record["bits"]) == ("pca-size3", "pca", 96)
    assert record["codes_bytes"] == 40 * 3 * 4
    assert record["reducer_bytes"] == 4 * 10 + 8 * 3 * 10
    assert record["fitted_items"] == 40
    assert {"seconds_fit", "seconds_transform_gallery", "seconds_transform_queries"} <= set(record)


def test_leave_one_out_reduces_once(tmp_path):
    codes = only(reduced(tmp_path, features(40, 0)))
    assert codes.queries is codes.gallery


@pytest.mark.parametrize("leave_one_out", [False, True])
@pytest.mark.parametrize("fold", [1, 2, 3])
def test_a_fold_is_searched_by_what_the_others_taught(tmp_path, fold, leave_one_out):
    gallery, queries = features(40, 0), features(8, 1)
    artifact = reduced(tmp_path, gallery, None if leave_one_out else queries, fold=fold, folds=3)
    rows = searched_rows(gallery.labels, gallery.ids, 3, classes=CLASSES)[fold - 1]
    assert artifact.rows.tolist() == rows.tolist()
    assert artifact.gallery_ids == [gallery.ids[row] for row in rows]
    others = np.setdiff1d(np.arange(40), rows)
    expected = PCA(3, svd_solver="full").fit(gallery.values[others].astype(np.float64))
    codes = only(artifact)
    # In leave-one-out, queries search the fold that they are in.
    asked = gallery.values[rows] if leave_one_out else queries.values
    assert artifact.query_ids == (artifact.gallery_ids if leave_one_out else queries.ids)
    # The sign of a component is scikit-learn's to choose.
    for found, values in ((codes.gallery, gallery.values[rows]), (codes.queries, asked)):
        np.testing.assert_allclose(np.abs(found), np.abs(expected.transform(values)), rtol=1e-4, atol=1e-5)
    assert artifact.record["settings"]["key"]["fold"] == fold
    assert codes.record["fitted_items"] == len(others)


@pytest.mark.parametrize(
    ("fold", "folds", "expected"),
    [(4, 3, "1 to 3"), (0, 3, "1 to 3"), (-1, 3, "1 to 3"), (1, 0, "0, the whole gallery")],
)
def test_a_fold_that_there_is_not_is_refused(tmp_path, fold, folds, expected):
    with pytest.raises(InputError, match=f"got fold {fold} of {folds}; expected {expected}"):
        reduced(tmp_path, features(40, 0), features(8, 1), fold=fold, folds=folds)


def test_several_sizes_are_fitted_together_as_each_alone(tmp_path):
    gallery, queries = features(40, 0), features(8, 1)
    together = reduced(tmp_path / "all", gallery, queries, {"pca": {"size": [5, 2], "whiten": True}}, fold=2, folds=2)
    assert list(together.codes) == ["pca-size5-whiten", "pca-size2-whiten"]
    assert together.record["settings"]["key"]["reducer"] == "pca-whiten+size"
    assert together.record["figures"]["reducers"] == 2
    assert together.record["figures"]["fitted_items"] == 20
    for size in (5, 2):
        alone = only(
            reduced(tmp_path / str(size), gallery, queries, {"pca": {"size": size, "whiten": True}}, fold=2, folds=2)
        )
        codes = together.codes[f"pca-size{size}-whiten"]
        assert codes.record["fitted_together"] == 2
        np.testing.assert_allclose(codes.gallery, alone.gallery, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(codes.queries, alone.queries, rtol=1e-5, atol=1e-6)


def test_fitted_reducers_are_kept_and_make_the_same_codes(tmp_path):
    gallery, queries = features(40, 0), features(8, 1)
    artifact = reduced(tmp_path, gallery, queries, {"pca": {"size": [5, 2]}}, fold=1, folds=2)
    assert sorted(p.name for p in (tmp_path / "fitted").iterdir()) == ["pca-size2.h5", "pca-size5.h5"]
    for label, codes in artifact.codes.items():
        kept = read_reducer(tmp_path / "fitted" / f"{label}.h5")
        np.testing.assert_allclose(kept.transform(queries.values), codes.queries, rtol=1e-5, atol=1e-6)


def test_a_share_is_drawn_of_what_may_be_seen_by_ids_and_not_by_class(tmp_path):
    gallery = features(60, 0)
    artifact = reduced(tmp_path, gallery, features(8, 1), {"pca": {"size": 2, "share": [0.5, 1.0]}}, fold=1, folds=3)
    rows = searched_rows(gallery.labels, gallery.ids, 3, classes=CLASSES)[0]
    others = np.setdiff1d(np.arange(60), rows)
    drawn = others[drawn_rows([gallery.ids[row] for row in others], 0.5)]
    for label, learned in (("pca-size2-share0.5", drawn), ("pca-size2-share1.0", others)):
        expected = PCA(2, svd_solver="full").fit(gallery.values[learned].astype(np.float64))
        codes = artifact.codes[label]
        np.testing.assert_allclose(
            np.abs(codes.gallery), np.abs(expected.transform(gallery.values[rows])), rtol=1e-4, atol=1e-5
        )
        assert codes.record["fitted_items"] == len(learned)
    assert artifact.codes["pca-size2-share0.5"].record["method"] == "pca-share0.5"
    assert artifact.record["figures"]["fitted_items"] == "20 to 40"
    # Another labelling of the same items draws the same ones.
    other = features(60, 0, labels=np.arange(60) // 30)
    again = reduced(tmp_path / "other", other, features(8, 1), {"pca": {"size": 2, "share": 0.5}})
    once = reduced(tmp_path / "once", gallery, features(8, 1), {"pca": {"size": 2, "share": 0.5}})
    np.testing.assert_array_equal(only(again).gallery, only(once).gallery)


@pytest.mark.parametrize("leave_one_out", [False, True])
def test_queries_of_product_quantisation_stay_features_and_are_not_kept_twice(tmp_path, leave_one_out):
    gallery = features(40, 0, width=8)
    written = {"pq": {"size": 1, "bits": 4}}
    codes = only(reduced(tmp_path, gallery, None if leave_one_out else features(8, 1, width=8), written))
    assert codes.queries is None
    assert codes.gallery.shape == (40, 8)
    assert codes.record["bits"] == 32
    assert codes.record["codes_bytes"] == 40 * 4


def spoilt(value, count=40):
    values = features(count, 0).values
    values[7, 2] = value
    return features(count, 0, values=values)


@pytest.mark.parametrize(
    ("gallery", "queries", "words"),
    [
        (features(40, 0), features(8, 1, width=9), "queries have 9 values and the gallery 10"),
        (features(2, 0), features(8, 1), "3 components of 2 items"),
        (features(40, 0, values=np.zeros((40, 10), "f4")), features(8, 1), "all 40 items are the same"),
        (spoilt(np.nan), features(8, 1), "1 of 40 features are no finite numbers, the first of 0-7"),
        (features(40, 1), spoilt(np.inf), "1 of 40 features are no finite numbers, the first of 0-7"),
        (
            features(40, 0, values=(features(40, 0).values * 1e-30).astype("f4")),
            features(8, 1, values=np.full((8, 10), 3e38, "f4")),
            "8 of 8 codes by pca-size3-whiten are no finite numbers",
        ),
        (
            features(40, 0, values=np.zeros((40, 2), np.uint8)),
            features(8, 1, values=np.zeros((8, 2), np.uint8)),
            "pca reduces numbers, and the gallery are packed bits",
        ),
    ],
)
def test_features_that_cannot_be_reduced_are_one_sentence(tmp_path, gallery, queries, words):
    whiten = {"pca": {"size": 3, "whiten": True}} if "whiten" in words else None
    with np.errstate(over="ignore"), pytest.raises(InputError, match=words):
        reduced(tmp_path, gallery, queries, whiten)
    assert not (tmp_path / "c.h5").exists()


@pytest.mark.parametrize(
    ("reducer", "folds", "words"),
    [
        (
            {"pca": {"size": 8}}, 4,
            r"pca: 8 components of 7 items; .* Folds and `share` leave 7 of the gallery's 10 items to fit on",
        ),
        ({"pca": {"size": [2, 4], "share": 0.3}}, 0, r"pca: 4 components of 3 items; .* leave 3 of the gallery's 10"),
        ({"pca": {"size": 11}}, 2, r"pca: 11 components of features of 10 values; choose a size up to 10\.$"),
        ({"pca": {"size": 2}}, 6, r"6 folds need 6 items of every class, .* cat \(5\), dog \(5\)"),
    ],
)  # fmt: skip
def test_folds_that_leave_too_little_are_named(tmp_path, reducer, folds, words):
    with pytest.raises(InputError, match=words):
        reduced(tmp_path, features(10, 0), features(8, 1), reducer, fold=min(folds, 1), folds=folds)


def test_reducers_of_two_kinds_are_not_fitted_together(tmp_path):
    write_features(tmp_path / "g.h5", features(40, 0))
    both = {"pca-size2": {"pca": {"size": 2}}, "pq-size1": {"pq": {"size": 1}}}
    for reducers, words in ((both, "got pca and pq, which are not fitted together"), ({"none": "none"}, "'none' red")):
        with pytest.raises(InputError, match=words):
            reduce_features(
                queries=tmp_path / "g.h5", gallery=tmp_path / "g.h5", codes=tmp_path / "c.h5", fitted=tmp_path / "f",
                reducers=reducers, retrieval="r", batch="b", code="c",
            )  # fmt: skip
