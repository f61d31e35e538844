"""Rankers against each other and against plain loops: lists, their metrics, what they miss, and votes."""

import math

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from trazo.errors import InputError
from trazo.retrieval.lists import search, vote, without_own
from trazo.retrieval.rankers import Ranker, ranker_choice, rankers
from trazo.retrieval.ranking import rank

METRICS = ["p@1", "p@7", "recall@7", "map@7", "map_hits@7", "map_hits_excl@7", "ndcg@7"]


def features(seed=0, size=400, dimensions=16, classes=5):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, size)
    return (draw.normal(size=(classes, dimensions))[labels] + draw.normal(size=(size, dimensions))).astype("f4"), labels


def found_by(written, rows, labels, distance="euclidean", **changes):
    choice = ranker_choice(written)
    settings = {"metrics": METRICS, "top": 10, "leave_one_out": np.arange(len(rows)), **changes}
    ranker = choice.kind(choice.options)
    return search(ranker, rows, rows, query_labels=labels, gallery_labels=labels, distance=distance, **settings)


def exactly(rows, labels, distance="euclidean", **changes):
    settings = {"metrics": METRICS, "top": 10, "leave_one_out": np.arange(len(rows)), **changes}
    return rank(rows, rows, query_labels=labels, gallery_labels=labels, distance=distance, **settings)


EXHAUSTIVE = ["sklearn", "faiss_flat", {"faiss_ivf": {"lists": 4, "probes": 4}}]


@pytest.mark.parametrize(
    ("written", "distance"),
    [(written, d) for written in EXHAUSTIVE for d in ranker_choice(written).kind.distances],
)
def test_exhaustive_rankers_give_the_exact_lists_and_metrics(written, distance):
    rows, labels = features()
    found, exact = found_by(written, rows, labels, distance), exactly(rows, labels, distance)
    np.testing.assert_array_equal(found.ranking.top_indices, exact.top_indices)
    np.testing.assert_allclose(found.ranking.top_distances, exact.top_distances, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.ranking.values, exact.values, atol=1e-12)
    assert (found.shares == 1).all()
    assert found.differing == 0


def test_bits_in_faiss_differ_from_exact_ones_only_in_the_order_of_the_tied():
    rows, labels = features(1)
    bits = np.packbits(rows > 0, axis=1)
    found, exact = found_by("faiss_binary_flat", bits, labels, "hamming"), exactly(bits, labels, "hamming")
    np.testing.assert_array_equal(found.ranking.top_distances, exact.top_distances)
    assert (found.shares == 1).all()


@pytest.mark.parametrize(
    ("written", "least", "most"),
    [
        ({"faiss_ivf": {"lists": 16, "probes": 2}}, 0.3, 0.98),
        ({"faiss_hnsw": {"links": 4, "build": 8, "search": 12}}, 0.5, 0.9999),
        ({"faiss_pq": {"pieces": 4, "bits": 4}}, 0.1, 0.9),
    ],
)
def test_what_nearest_neighbour_indexes_miss_is_told(written, least, most):
    rows, labels = features(2)
    found = found_by(written, rows, labels)
    far = np.linalg.norm(rows[:, None].astype("f8") - rows, axis=2)
    np.fill_diagonal(far, np.inf)
    nearest = np.argsort(far, axis=1)[:, :7]
    assert found.depth == 7
    shares = [len(set(a[:7]) & set(b)) / 7 for a, b in zip(found.ranking.top_indices, nearest)]
    np.testing.assert_allclose(found.shares, shares, atol=1e-12)
    assert least < found.shares.mean() < most
    assert found.differing == round(7 * (1 - np.array(shares)).sum())
    again = found_by(written, rows, labels)
    np.testing.assert_array_equal(again.ranking.top_indices, found.ranking.top_indices)
    assert found.index_bytes > 0


class Fixed(Ranker):
    """Returns given lists."""

    lists: np.ndarray

    def build(self, gallery, distance):
        """Nothing to build."""

    def search(self, queries, count):
        """Return the lists."""
        return self.lists[: len(queries), :count], np.zeros((len(queries), count), np.float32)

    def memory_bytes(self):
        """Nothing."""
        return 0


def by_hand(hits: list[bool], relevant: int, k: int) -> dict[str, float]:
    hits = hits[:k]
    ranks = [i for i, hit in enumerate(hits, 1) if hit]
    inclusive = sum(n / rank for n, rank in enumerate(ranks, 1))
    exclusive = sum((n - 1) / rank for n, rank in enumerate(ranks, 1))
    gain = sum(1 / math.log2(rank + 1) for rank in ranks)
    best = sum(1 / math.log2(i + 1) for i in range(1, min(k, relevant) + 1))
    return {
        "p": len(ranks) / k,
        "recall": len(ranks) / relevant,
        "map": inclusive / min(k, relevant),
        "map_hits": inclusive / len(ranks) if ranks else 0.0,
        "map_hits_excl": exclusive / len(ranks) if ranks else 0.0,
        "ndcg": gain / best,
    }


def test_lists_are_scored_as_they_stand_and_what_they_lack_counts_as_not_found():
    draw = np.random.default_rng(3)
    labels = draw.integers(0, 3, 40)
    asked = np.concatenate([draw.integers(0, 3, 29), [9]])
    lists = np.array([draw.permutation(40)[:7] for _ in range(30)])
    for row in range(0, 30, 3):
        lists[row, draw.integers(0, 8) :] = -1
    Fixed.lists = lists
    values = np.zeros((40, 2), np.float32)
    found = search(
        Fixed(None), values[:30], values, query_labels=asked, gallery_labels=labels, distance="euclidean",
        metrics=METRICS, top=7,
    ).ranking  # fmt: skip
    assert found.evaluated.tolist() == [True] * 29 + [False]
    for query in range(29):
        hits = [place >= 0 and labels[place] == asked[query] for place in lists[query]]
        for column, name in enumerate(METRICS):
            kind, _, k = name.partition("@")
            expected = by_hand(hits, int((labels == asked[query]).sum()), int(k))[kind]
            assert found.values[query, column] == pytest.approx(expected, abs=1e-12), (query, name)
    assert np.isnan(found.values[29]).all()


def test_own_items_leave_the_list_whether_it_has_them_or_not():
    found = np.array([[3, 0, 5], [1, 2, 4], [7, 2, -1]])
    where, far = without_own(found, np.arange(9, dtype=np.float32).reshape(3, 3), np.array([0, 0, 2]), 2)
    assert where.tolist() == [[3, 5], [1, 2], [7, -1]]
    assert far.tolist() == [[0, 2], [3, 4], [6, np.inf]]


def test_votes_are_scikit_learn_s_where_no_class_ties():
    rows, labels = features(4, classes=2)
    exact = exactly(rows[100:], labels[100:], top=5, leave_one_out=None, metrics=["p@1"])
    assert exact.top_indices.shape[1] == 5
    for count in (1, 3, 5):
        peer = KNeighborsClassifier(count, algorithm="brute").fit(rows[100:], labels[100:]).predict(rows[100:])
        np.testing.assert_array_equal(vote(exact.top_indices, labels[100:], count), peer)


def test_a_tied_vote_goes_to_the_class_of_the_nearest():
    labels = np.array([4, 4, 7, 7, 2])
    lists = np.array([[2, 0, 3, 1], [4, 0, 1, 2], [4, 0, 2, -1], [-1, -1, -1, -1]])
    assert vote(lists, labels, 4).tolist() == [7, 4, 2, -1]
    assert vote(lists, labels, 1).tolist() == [7, 2, 2, -1]
    with pytest.raises(InputError, match="a vote of 5 items needs lists that long; these have 4"):
        vote(lists, labels, 5)


def test_labels_say_what_was_given():
    assert ranker_choice("faiss_ivf").label == "faiss_ivf"
    assert ranker_choice({"faiss_ivf": {"probes": 2, "lists": 8}}).label == "faiss_ivf-probes2-lists8"
    assert ranker_choice({"sklearn": None}).label == "sklearn"
    assert all(rankers.get(name).__doc__ for name in rankers.names())


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("faiss_ifv", "unknown ranker 'faiss_ifv'. Did you mean 'faiss_ivf'"),
        ({"faiss_ivf": {"cells": 8}}, "faiss_ivf: unknown option 'cells'"),
        ({"faiss_ivf": {"lists": 0}}, "faiss_ivf: option 'lists': got 0"),
        ({"sklearn": {}, "faiss_flat": {}}, "one name with its options"),
    ],
)
def test_rankers_that_cannot_be_made_are_refused(written, message):
    with pytest.raises(InputError, match=message):
        ranker_choice(written)


@pytest.mark.parametrize(
    ("written", "changes", "message"),
    [
        ({"faiss_ivf": {"lists": 401, "probes": 1}}, {}, "1 probes of 401 lists; expected probes ≤ lists ≤ 400"),
        ({"faiss_ivf": {"lists": 4}}, {}, "8 probes of 4 lists"),
        ({"faiss_pq": {"pieces": 3}}, {}, "3 pieces do not divide a feature of 16 values"),
        ({"faiss_pq": {"pieces": 8, "bits": 2}}, {}, "pieces of 2 values need 3 bits or more, and have 2"),
        ("faiss_flat", {"distance": "manhattan"}, "does not search by 'manhattan', but by cosine, euclidean, inner"),
        ("sklearn", {"distance": "hamming"}, "does not search by 'hamming', but by cosine"),
        ({"faiss_pq": {"bits": 9}}, {}, "9 bits ask for 512 centroids, and the gallery has 400 items"),
        ("faiss_flat", {"metrics": ["p@1", "map", "mrr"]}, "map, mrr need the whole ranking"),
        ("faiss_flat", {"metrics": ["p@400"]}, "'p@400' goes beyond the gallery, which has 399"),
        ("faiss_flat", {"metrics": [], "top": 0}, "nothing to search for"),
    ],
)
def test_searches_that_cannot_be_made_are_refused(written, changes, message):
    rows, labels = features()
    with pytest.raises(InputError, match=message):
        found_by(written, rows, labels, **changes)


@pytest.mark.parametrize("pieces", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_codes_of_any_allowed_size_are_searched(pieces, bits):
    rows, labels = features()
    written = {"faiss_pq": {"pieces": pieces, "bits": bits}}
    if (pieces, bits) in ((8, 1), (8, 2)):
        with pytest.raises(InputError, match="pieces of 2 values need 3 bits or more"):
            found_by(written, rows, labels)
    else:
        assert (found_by(written, rows, labels).ranking.top_indices >= 0).all()


@pytest.mark.parametrize("written", ["sklearn", "faiss_flat", {"faiss_hnsw": {"links": 4}}])
def test_no_query_at_all_is_an_empty_search(written):
    rows, labels = features()
    choice = ranker_choice(written)
    found = search(
        choice.kind(choice.options), rows[:0], rows, query_labels=labels[:0], gallery_labels=labels,
        distance="euclidean", metrics=["p@3"], top=5,
    )  # fmt: skip
    assert (found.ranking.values.shape, found.ranking.top_indices.shape, found.shares.shape) == ((0, 1), (0, 5), (0,))


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"faiss_ivf": {"lists": 16}}, "faiss_ivf: 400 items train 16 centroids, where FAISS advises 624 or more"),
        ({"faiss_pq": {"pieces": 4, "bits": 4}}, "faiss_pq: 400 items train 16 centroids, where FAISS advises 624"),
    ],
)
def test_few_items_to_train_on_are_told_once_and_in_our_words(written, words, caplog, capfd):
    found_by(written, *features())
    (record,) = [r for r in caplog.records if r.name == "trazo"]
    assert words in record.getMessage()
    told = capfd.readouterr()
    assert "training points" not in told.err + told.out


def test_enough_items_to_train_on_are_not_spoken_of(caplog):
    found_by({"faiss_ivf": {"lists": 8}}, *features())
    assert not caplog.records
