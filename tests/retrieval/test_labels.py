"""Average precision of labels, against scikit-learn and against what study 5 printed."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from trazo.retrieval.labels import label_average_precision, label_metrics, label_rows, vote_metrics

# Confusion matrices @k=1 as printed by López, Conde and Martín (study 5), by true class and class of the neighbour.
SIAMESE_KNN = """30 15 16 16 14 10 7 10/17 34 6 10 6 25 8 10/7 7 28 9 8 16 7 19/2 10 4 39 5 6 5 5/10 10 12 10 20 7 19 6/
14 13 11 12 7 28 11 18/5 7 3 5 10 10 35 5/7 12 11 10 14 17 12 25"""
SIAMESE_FAISS = """27 17 15 19 11 14 6 9/15 32 4 7 7 23 8 20/14 6 26 6 8 13 10 18/13 7 2 40 6 3 3 2/
13 10 11 11 17 7 17 8/15 8 13 11 12 27 13 15/9 3 5 7 4 7 39 6/13 11 13 7 14 16 5 29"""
TRIPLET_KNN = """87 9 9 6 0 6 1 0/7 90 0 11 0 7 0 1/4 0 91 0 0 6 0 0/3 11 0 57 2 0 2 1/2 1 0 3 63 0 9 16/
23 7 4 1 0 77 0 2/0 0 0 2 8 2 63 5/2 2 1 0 20 14 0 69"""


def matrix(text):
    return np.array([[int(cell) for cell in row.split()] for row in text.replace("\n", "").split("/")])


def lists_of(confusion):
    """Return lists of one item, labels of queries and labels of a gallery that give a confusion matrix."""
    true, found = (np.repeat(axis.ravel(), confusion.ravel()) for axis in np.indices(confusion.shape))
    return found[:, None], true, np.arange(len(confusion))


def drawn(seed=0, queries=60, depth=5, classes=4):
    draw = np.random.default_rng(seed)
    gallery = np.append(draw.integers(0, classes, 40), np.arange(classes))
    labels = draw.integers(0, classes, queries)
    # Lists lean towards the query's class, and some end early.
    right = np.array([draw.choice(np.flatnonzero(gallery == label), depth) for label in labels])
    where = np.where(draw.random((queries, depth)) < 0.4, right, draw.integers(0, len(gallery), (queries, depth)))
    return np.where(draw.random((queries, depth)) < 0.05, -1, where), labels, gallery


def peer(where, labels, gallery, k, classes):
    """scikit-learn's average precision of every class, each of the first k items a prediction."""
    found = np.where(where[:, :k] >= 0, gallery[where[:, :k]], -1).ravel()
    true = np.repeat(labels, k)
    return np.array([average_precision_score(true == c, found == c) for c in range(classes)])


@pytest.mark.parametrize(
    ("printed", "accuracy", "published"),
    [(SIAMESE_KNN, 0.296, 0.18), (SIAMESE_FAISS, 0.294, 0.19), (TRIPLET_KNN, 0.740, 0.59)],
)
def test_the_confusion_matrices_of_study_5_give_its_ap_at_1(printed, accuracy, published):
    confusion = matrix(printed)
    rows = list(label_rows(*lists_of(confusion), [f"c{i}" for i in range(8)], [1], resamples=50))
    (total,) = [row["value"] for row in rows if not row["class"]]
    assert round(np.trace(confusion) / confusion.sum(), 3) == accuracy
    # One is 0.18504, printed as 0.19: to within half a unit of the last digit.
    assert total == pytest.approx(published, abs=0.00501)
    assert abs(accuracy - published) > 0.1


@pytest.mark.parametrize("k", [1, 3, 5])
def test_label_ap_is_scikit_learns_average_precision_of_one_class_against_all(k):
    where, labels, gallery = drawn()
    rows = list(label_rows(where, labels, gallery, list("abcd"), [k], resamples=20))
    expected = peer(where, labels, gallery, k, 4)
    assert [row["class"] for row in rows] == ["a", "b", "c", "d", ""]
    assert [row["value"] for row in rows] == pytest.approx([*expected, expected.mean()])
    assert [row["queries"] for row in rows] == [*np.bincount(labels), len(labels)]


def test_the_mean_over_several_depths_is_named_after_them():
    where, labels, gallery = drawn(1)
    rows = list(label_rows(where, labels, gallery, list("abcd"), [1, 3, 5], resamples=20))
    assert list(dict.fromkeys(row["metric"] for row in rows)) == [
        "label_ap@1", "label_ap@3", "label_ap@5", "label_ap@1+3+5",
    ]  # fmt: skip
    found = {row["metric"]: row["value"] for row in rows if row["class"] == "c"}
    each = [found[f"label_ap@{k}"] for k in (1, 3, 5)]
    assert found["label_ap@1+3+5"] == pytest.approx(np.mean(each))
    assert label_metrics([7]) == ["label_ap@7"]
    assert vote_metrics([1, 3]) == ["knn_accuracy@1", "knn_accuracy@3", "label_ap@1", "label_ap@3", "label_ap@1+3"]
    assert vote_metrics([]) == []


def test_a_class_without_queries_counts_as_a_wrong_answer_only():
    where, labels, gallery = drawn(2)
    without = labels != 2
    rows = list(label_rows(where[without], labels[without], gallery, list("abcd"), [3], resamples=20))
    expected = peer(where[without], labels[without], gallery, 3, 4)[[0, 1, 3]]
    assert {row["class"]: row["value"] for row in rows} == pytest.approx(
        dict(zip(["a", "b", "d", ""], [*expected, expected.mean()]))
    )


def test_intervals_are_those_of_queries_drawn_again_within_their_classes():
    where, labels, gallery = drawn(3, queries=80)
    rows = {row["class"]: row for row in label_rows(where, labels, gallery, list("abcd"), [5])}
    draw = np.random.default_rng(9)
    members = [np.flatnonzero(labels == c) for c in range(4)]
    samples = []
    for _ in range(600):
        taken = np.concatenate([draw.choice(rows, len(rows)) for rows in members])
        found = peer(where[taken], labels[taken], gallery, 5, 4)
        samples.append([*found, found.mean()])
    for position, name in enumerate(["a", "b", "c", "d", ""]):
        low, high = np.quantile(np.array(samples)[:, position], [0.025, 0.975])
        assert rows[name]["ci_low"] == pytest.approx(low, abs=0.012)
        assert rows[name]["ci_high"] == pytest.approx(high, abs=0.012)
        assert rows[name]["ci_low"] < rows[name]["value"] < rows[name]["ci_high"]


def test_a_perfect_list_scores_one_and_one_without_a_hit_the_share_of_the_class():
    counts = np.array([[30, 0], [0, 10]])
    assert label_average_precision(counts, np.array([30, 10])).tolist() == [1, 1]
    assert label_average_precision(counts[::-1], np.array([10, 30])).tolist() == [0.25, 0.75]
