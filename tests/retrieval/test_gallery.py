"""The ranking step: from features on disk to a ranking and tidy rows, and what input that cannot be ranked is told."""

import csv

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from trazo.errors import InputError
from trazo.report.measures import read_measures
from trazo.retrieval.gallery import rank_gallery, tie_order
from trazo.store import Features, read_ranking, write_features

CLASSES = ["cat", "dog", "owl"]
SETTINGS = {"queries": "d/test", "gallery": "d/test", "leave_one_out": True, "metrics": ["map"], "top": 5}
SETTINGS = {**SETTINGS, "rerank": "none", "votes": []}


def made(seed=0, size=60, **changes):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 3, size)
    values = (np.eye(3, 8)[labels] * 2 + draw.normal(size=(size, 8))).astype(np.float32)
    logits = (np.eye(3)[labels] + draw.normal(size=(size, 3))).astype(np.float32)
    ids = [f"item {i}" for i in range(size)]
    key = {"model": "m", "stage": "s", "epoch": 3, "seed": 0}
    given = {"values": values, "labels": labels, "ids": ids, "classes": CLASSES, "logits": logits}
    given |= {"logit_classes": CLASSES, "record": {"settings": {"key": key}}}
    return Features(**{**given, **changes})


def ranked(folder, queries, gallery=None, distance="euclidean", ranker="exact", **changes):
    """Return the ranking and the rows of `metrics.csv`."""
    write_features(folder / "q.h5", queries)
    if gallery is not None:
        write_features(folder / "g.h5", gallery)
        changes = {"leave_one_out": False, **changes}
    rank_gallery(
        queries=folder / "q.h5", gallery=folder / ("q.h5" if gallery is None else "g.h5"), ranking=folder / "r.h5",
        metrics=folder / "r.csv", study="s", retrieval="r", distance=distance, settings={**SETTINGS, **changes},
        code="c", ranker=ranker, device="cpu",
    )  # fmt: skip
    with (folder / "r.csv").open(newline="") as file:
        return read_ranking(folder / "r.h5"), list(csv.DictReader(file))


def total(rows, metric, average="queries"):
    (row,) = [r for r in rows if r["metric"] == metric and not r["class"] and r["average"] == average]
    return float(row["value"])


def test_rows_name_the_ranker_and_what_it_was_given(tmp_path):
    _, rows = ranked(tmp_path, made())
    assert {row["ranker"] for row in rows} == {"exact"}
    assert {(row["model"], row["stage"], row["epoch"], row["size"]) for row in rows} == {("m", "s", "3", "8")}


def test_rows_and_the_record_name_what_reduced_the_features(tmp_path):
    key = {"model": "m", "stage": "s", "epoch": 3, "seed": 0, "reducer": "pca-size8", "method": "pca"}
    ranking, rows = ranked(tmp_path, made(record={"settings": {"key": key}}))
    assert {(row["reducer"], row["size"], row["bits"]) for row in rows} == {("pca", "8", "256")}
    assert ranking.record["settings"]["key"]["reducer"] == "pca-size8"
    ranking, rows = ranked(tmp_path, made())
    assert {(row["reducer"], row["size"]) for row in rows} == {("none", "8")}
    assert ranking.record["settings"]["key"]["reducer"] == "none"


@pytest.mark.parametrize(
    ("values", "method", "distance", "expected"),
    [
        (np.tile(np.packbits(made().values > 0, axis=1), 128), "cbs", "hamming", ("cbs", "32", "1024")),
        (np.packbits(made().values > 0, axis=1), "dsh", "hamming", ("dsh", "0.25", "8")),
        (np.packbits(made().values > 0, axis=1), None, "hamming", ("none", "0.25", "8")),
        (made().values, "crs", "euclidean", ("crs", "8", "256")),
    ],
)
def test_codes_are_as_large_as_floats_of_equal_bytes(tmp_path, values, method, distance, expected):
    key = {"model": "m", "stage": "s", "epoch": 3, "seed": 0, **({"method": method} if method else {})}
    features = made(values=values, record={"settings": {"key": key}})
    ranking, rows = ranked(tmp_path, features, distance=distance)
    assert {(row["reducer"], row["size"], row["bits"]) for row in rows} == {expected}
    assert {row["model"] for row in rows} == {"m"}
    # No reducer was applied: what the network gave is what was searched.
    assert ranking.record["settings"]["key"]["reducer"] == "none"


def test_packed_bits_are_reranked_by_predicted_class(tmp_path):
    features = made(1, values=BITS)
    ranking, _ = ranked(tmp_path, features, distance="hamming", rerank="predicted_class")
    bits = np.unpackbits(BITS, axis=1).astype(int)
    far = (bits[:, None] != bits).sum(axis=2).astype(float)
    predicted = features.logits.argmax(1)
    far += 1000 * (predicted[:, None] != predicted)
    np.fill_diagonal(far, np.inf)
    nearest = np.take_along_axis(far, ranking.top_indices, axis=1)
    np.testing.assert_array_equal(nearest, np.sort(far, axis=1)[:, :5])


def test_reranking_by_predicted_class(tmp_path):
    features = made(1)
    ranking, rows = ranked(tmp_path, features, rerank="predicted_class")
    assert {row["ranker"] for row in rows} == {"exact+predicted_class"}
    exact = features.values.astype(np.float64)
    far = np.linalg.norm(exact[:, None] - exact, axis=2)
    predicted = features.logits.argmax(1)
    far += 1000 * (predicted[:, None] != predicted)
    np.fill_diagonal(far, np.inf)
    np.testing.assert_array_equal(ranking.top_indices, far.argsort(axis=1)[:, :5])
    others = ~np.eye(60, dtype=bool)
    relevant = features.labels[:, None] == features.labels
    expected = [average_precision_score(relevant[i][others[i]], -far[i][others[i]]) for i in range(60)]
    assert total(rows, "map") == pytest.approx(np.mean(expected), abs=1e-12)


def test_reranking_between_queries_and_a_gallery(tmp_path):
    queries, gallery = made(2, 20), made(3, 50)
    ranking, _ = ranked(tmp_path, queries, gallery, rerank="predicted_class")
    nearest = gallery.logits.argmax(1)[ranking.top_indices[:, 0]]
    np.testing.assert_array_equal(nearest, queries.logits.argmax(1))


def test_reranking_without_a_classifier_is_refused(tmp_path):
    with pytest.raises(InputError, match="the features of the queries carry no logits"):
        ranked(tmp_path, made(logits=None), rerank="predicted_class")
    with pytest.raises(InputError, match="different classifiers"):
        ranked(tmp_path, made(), made(logit_classes=["x", "y", "z"]), rerank="predicted_class")


VALUES = made().values
BITS = np.packbits(VALUES > 0, axis=1)


def spoilt(row, value):
    values = VALUES.copy()
    values[row, 2] = value
    return values


@pytest.mark.parametrize(
    ("queries", "gallery", "settings", "message"),
    [
        ({"values": spoilt(7, np.nan)}, None, {}, r"NaN or infinity .*: 7"),
        ({"values": spoilt(9, np.inf)}, {}, {}, r"queries: .*: 9"),
        ({}, {"values": spoilt(9, np.inf)}, {}, r"gallery: NaN or infinity .*: 9"),
        ({"values": VALUES * (np.arange(60) != 4)[:, None]}, None, {"distance": "cosine"}, "zero vectors .*: 4"),
        ({"values": VALUES[:, :5]}, {}, {}, "queries have 5 dimensions and the gallery 8"),
        ({"labels": made().labels[:50], "ids": made().ids[:50]}, {}, {}, "query_labels has shape .50,.; expected one"),
        ({}, {"values": VALUES[:0], "labels": made().labels[:0], "ids": []}, {"metrics": ["map"]}, "gallery is empty"),
        ({}, None, {"metrics": ["p@60"]}, "'p@60' goes beyond the gallery, which has 59 items once a query's own"),
        ({}, {}, {"metrics": ["p@61"]}, "'p@61' goes beyond the gallery, which has 60 items"),
        ({}, None, {"distance": "hamming"}, "hamming distance: the queries are numbers; hamming compares packed bits"),
        ({"values": BITS}, {"values": BITS}, {}, "euclidean distance: the queries are packed bits; use hamming"),
        ({"values": BITS}, {}, {"distance": "hamming"}, "hamming distance: the gallery are numbers|the gallery is"),
        ({"labels": np.arange(60) % 1}, {"labels": np.arange(60) % 1 + 2}, {}, "none of the 60 queries has a relevant"),
    ],
)  # fmt: skip
def test_input_that_cannot_be_ranked_is_one_clear_sentence(tmp_path, queries, gallery, settings, message):
    with pytest.raises(InputError, match=message):
        ranked(tmp_path, made(**queries), None if gallery is None else made(**gallery), **settings)


def test_why_no_query_has_a_relevant_item_is_told(tmp_path):
    with pytest.raises(InputError) as error:
        ranked(tmp_path, made(size=3, labels=np.arange(3)), top=1)
    assert "each class has one item, and a query leaves itself out" in str(error.value)
    assert "…" not in str(error.value)
    with pytest.raises(
        InputError, match=r"r: the gallery has one item, and a query leaves itself out, so that nothing"
    ):
        ranked(tmp_path, made(size=1, labels=np.zeros(1, np.int64)))
    with pytest.raises(InputError, match=r"queries are of cat, dog, the gallery of owl\.$"):
        ranked(tmp_path, made(labels=np.arange(60) % 2), made(labels=np.full(60, 2)))
    many = made(labels=np.arange(60) % 7, classes=list("abcdefg"))
    with pytest.raises(InputError, match=r"queries are of a, b, c, d, e, … \(7 classes\), the gallery of owl\.$"):
        ranked(tmp_path, many, made(labels=np.full(60, 2)))


def test_a_class_of_one_is_left_out_and_counted(tmp_path):
    labels = np.concatenate([np.zeros(30), np.ones(29), [2]]).astype(np.int64)
    ranking, rows = ranked(tmp_path, made(labels=labels), metrics=["map", "mrr", "p@3", "recall_precision"])
    assert ranking.evaluated.sum() == 59
    assert ranking.record["figures"]["excluded_queries"] == 1
    assert {row["class"] for row in rows} == {"", "cat", "dog"}
    assert all(np.isfinite(float(row[name])) for row in rows for name in ("value", "ci_low", "ci_high"))
    assert {(row["queries"], row["excluded"]) for row in rows if not row["class"]} == {("59", "1")}
    assert {row["excluded"] for row in rows if row["class"]} == {"0"}


def test_queries_left_out_count_in_their_class_and_not_where_all_count(tmp_path):
    labels = np.concatenate([np.zeros(10), np.ones(3)]).astype(np.int64)
    gallery = made(labels=np.zeros(60, np.int64))
    queries = made(size=13, labels=labels)
    _, rows = ranked(tmp_path, queries, gallery, votes=[1], ranker="faiss_flat", metrics=["p@1"])
    found = {(row["metric"], row["class"]): (row["queries"], row["excluded"]) for row in rows}
    assert found["p@1", ""] == ("10", "3")
    assert found["p@1", "cat"] == ("10", "0")
    assert found["knn_accuracy@1", ""] == found["recall_of_exact@1", ""] == ("13", "0")


def test_a_ranker_of_lists_gives_the_metrics_with_a_k_and_tells_what_it_costs(tmp_path):
    written = {"faiss_ivf": {"lists": 4, "probes": 1}}
    ranking, rows = ranked(tmp_path, made(4), ranker=written, metrics=["map", "p@3", "mrr"], top=7)
    assert {row["ranker"] for row in rows} == {"faiss_ivf-lists4-probes1"}
    assert {row["metric"] for row in rows} == {"p@3", "recall_of_exact@3"}
    figures = ranking.record["figures"]
    assert figures["recall_of_exact_3"] == pytest.approx(total(rows, "recall_of_exact@3"), abs=1e-6)
    assert 0 < figures["recall_of_exact_3"] < 1
    assert figures["differing_items"] > 0
    assert figures["index_mib"] > 0
    assert {"seconds_build", "seconds_search", "milliseconds_per_query"} <= set(figures)


def test_votes_of_the_nearest(tmp_path):
    features = made(5)
    ranking, rows = ranked(tmp_path, features, votes=[1, 9], top=3)
    assert ranking.top_indices.shape == (60, 9)
    nearest = features.labels[ranking.top_indices[:, 0]]
    assert total(rows, "knn_accuracy@1") == pytest.approx((nearest == features.labels).mean())
    assert ranking.vote_counts == [1, 9]
    assert {"label_ap@1", "label_ap@9", "label_ap@1+9"} <= {row["metric"] for row in rows}
    of_labels = {row["class"]: row for row in rows if row["metric"] == "label_ap@1+9"}
    assert set(of_labels) == {"", *CLASSES}
    assert of_labels[""]["average"] == ""
    expected = [np.bincount(features.labels[row]).max() for row in ranking.top_indices]
    found = [(features.labels[row] == voted).sum() for row, voted in zip(ranking.top_indices, ranking.votes[:, 1])]
    assert found == expected


def test_an_item_s_place_in_the_gallery_decides_no_tie(tmp_path):
    draw = np.random.default_rng(6)
    labels = np.repeat([0, 1, 2], 60)
    codes, ids = draw.integers(0, 256, (180, 1), np.uint8), [f"n{i}" for i in range(180)]
    plain = {"logits": None, "logit_classes": None}
    queries = made(size=300, values=draw.integers(0, 256, (300, 1), np.uint8), **plain)
    asked = {"distance": "hamming", "votes": [1, 5], "top": 9}
    first, rows = ranked(tmp_path, queries, made(values=codes, labels=labels, ids=ids, **plain), **asked)
    order = draw.permutation(180)
    shuffled = made(values=codes[order], labels=labels[order], ids=[ids[i] for i in order], **plain)
    second, moved = ranked(tmp_path, queries, shuffled, **asked)
    np.testing.assert_array_equal(order[second.top_indices], first.top_indices)
    np.testing.assert_array_equal(second.votes, first.votes)
    assert moved == rows
    assert (np.bincount(first.votes[:, 0], minlength=3) > 60).all()


def test_the_order_of_the_tied_is_that_of_their_ids_alone():
    numbers = tie_order(["a", "b", "a", "ñ"])
    assert numbers[0] == numbers[2]
    assert len(set(numbers.tolist())) == 3
    assert tie_order(["ñ", "b"]).tolist() == numbers[[3, 1]].tolist()


def test_a_query_without_relevant_items_is_classified_wrongly_and_not_left_out(tmp_path):
    labels = np.concatenate([np.zeros(30), np.ones(29), [2]]).astype(np.int64)
    _, rows = ranked(tmp_path, made(labels=labels), votes=[3])
    (row,) = [r for r in rows if r["metric"] == "knn_accuracy@3" and r["class"] == "owl"]
    assert (float(row["value"]), row["queries"]) == (0, "1")


def test_cells_of_an_interval_that_one_query_cannot_give_are_empty(tmp_path):
    labels = np.concatenate([np.zeros(30), np.ones(29), [2]]).astype(np.int64)
    _, rows = ranked(tmp_path, made(labels=labels), votes=[3])
    of_votes = {(row["class"], row["average"]): row for row in rows if row["metric"] == "knn_accuracy@3"}
    assert (of_votes["owl", "queries"]["ci_low"], of_votes["owl", "queries"]["ci_high"]) == ("", "")
    assert float(of_votes["", "classes"]["ci_low"]) < float(of_votes["", "classes"]["value"])
    alone = {m.metric: (m.ci_low, m.ci_high) for m in read_measures(tmp_path / "r.csv") if m.class_name == "owl"}
    assert alone == {"knn_accuracy@3": (None, None), "label_ap@3": (None, None)}


def test_more_votes_than_items_are_refused(tmp_path):
    with pytest.raises(InputError, match="votes: 60 nearest items are to vote, and the gallery has 59 to rank"):
        ranked(tmp_path, made(), votes=[60])
