"""The reducing step: fitted on the gallery alone, codes carry what rankings need, and bad features are named."""

import numpy as np
import pytest
from trazo.errors import InputError
from trazo.reducers.codes import reduce_features
from trazo.store import Features, read_features, write_features

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


def reduced(folder, gallery, queries=None, reducer=None):
    folder.mkdir(exist_ok=True)
    write_features(folder / "g.h5", gallery)
    if queries is not None:
        write_features(folder / "q.h5", queries)
    reduce_features(
        queries=folder / ("g.h5" if queries is None else "q.h5"), gallery=folder / "g.h5",
        output_queries=folder / "cq.h5", output_gallery=folder / "cg.h5",
        reducer=reducer or {"pca": {"size": 3}}, retrieval="r", code="c",
    )  # fmt: skip
    return read_features(folder / "cg.h5"), read_features(folder / "cq.h5")


def test_nothing_is_learned_from_the_queries(tmp_path):
    gallery = features(40, 0)
    first, asked = reduced(tmp_path / "1", gallery, features(8, 1))
    second, others = reduced(tmp_path / "2", gallery, features(8, 2))
    assert np.array_equal(first.values, second.values)
    assert not np.array_equal(asked.values, others.values)
    # A query that is an item of the gallery has that item's code, whatever stands beside it.
    _, same = reduced(tmp_path / "3", gallery, features(1, 3, values=gallery.values[4:5]))
    np.testing.assert_allclose(same.values[0], first.values[4], rtol=1e-6)
    moved, _ = reduced(tmp_path / "4", features(40, 5), features(8, 1))
    assert not np.array_equal(first.values, moved.values)


def test_codes_carry_what_a_ranking_reads_and_how_they_were_fitted(tmp_path):
    queries = features(8, 1)
    _, codes = reduced(tmp_path, features(40, 0), queries)
    assert codes.values.shape == (8, 3)
    assert (codes.ids, codes.classes, codes.logit_classes) == (queries.ids, CLASSES, CLASSES)
    assert np.array_equal(codes.labels, queries.labels)
    assert np.array_equal(codes.logits, queries.logits)
    key = codes.record["settings"]["key"]
    assert (key["model"], key["stage"], key["epoch"], key["seed"]) == ("m", "s", 3, 1)
    assert (key["reducer"], key["method"], key["retrieval"], key["side"]) == ("pca-size3", "pca", "r", "queries")
    assert codes.record["step"] == "reduce"
    assert 0 < codes.record["figures"]["explained_variance"] < 1
    assert codes.record["settings"]["reducer"] == {"name": "pca", "size": 3, "whiten": False, "share": 1.0}


def test_leave_one_out_reduces_once(tmp_path):
    gallery, queries = reduced(tmp_path, features(40, 0))
    assert np.array_equal(gallery.values, queries.values)


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
    assert not (tmp_path / "cg.h5").exists() or "codes by" in words
