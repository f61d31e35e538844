"""The ranking step: from features on disk to a ranking and tidy rows, and what input that cannot be ranked is told."""

import csv

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from trazo.errors import InputError
from trazo.folds import searched_rows
from trazo.report.measures import read_measures
from trazo.retrieval.gallery import rank_gallery, tie_order
from trazo.retrieval.labels import label_rows
from trazo.store import Codes, CodesArtifact, Features, read_ranking, write_codes, write_features

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


def ranked(folder, queries, gallery=None, distance="euclidean", ranker="exact", codes=(), reducer="none", **changes):
    """Return the ranking and the rows of `metrics.csv`."""
    write_features(folder / "q.h5", queries)
    if gallery is not None:
        write_features(folder / "g.h5", gallery)
        changes = {"leave_one_out": False, **changes}
    rank_gallery(
        queries=folder / "q.h5", gallery=folder / ("q.h5" if gallery is None else "g.h5"), ranking=folder / "r.h5",
        metrics=folder / "r.csv", study="s", retrieval="r", distance=distance, settings={**SETTINGS, **changes},
        code="c", ranker=ranker, codes=codes, reducer=reducer, device="cpu",
    )  # fmt: skip
    with (folder / "r.csv").open(newline="") as file:
        return read_ranking(folder / "r.h5"), list(csv.DictReader(file))


def total(rows, metric, average="queries"):
    found = [r for r in rows if r["metric"] == metric and not r["class"] and r["average"] == average]
    # Of folds, the mean over them.
    (row,) = [r for r in found if len(found) == 1 or not r["fold"]]
    return float(row["value"])


def test_rows_name_the_ranker_and_what_it_was_given(tmp_path):
    _, rows = ranked(tmp_path, made())
    assert {row["ranker"] for row in rows} == {"exact"}
    assert {(row["model"], row["stage"], row["epoch"], row["size"]) for row in rows} == {("m", "s", "3", "8")}


def write_parts(folder, queries, gallery, folds, make):
    """Write codes of every fold, or of the whole gallery, as `make` gives them; return the paths."""
    paths = []
    for number, rows in enumerate(searched_rows(gallery.labels, gallery.ids, folds, classes=gallery.classes)):
        paths.append(folder / f"{number}.h5")
        codes = {"pca-size2-whiten": make(number, rows)}
        mine = [gallery.ids[row] for row in rows]
        write_codes(paths[-1], CodesArtifact(codes, rows, mine if queries is gallery else queries.ids, mine))
    return paths


def test_codes_are_searched_in_place_of_features_and_rows_name_what_made_them(tmp_path):
    features = made()
    # Of 4 values, as the record says 24 bits each: quantised, and put together again.
    values = features.values[:, :4].copy()
    record = {"bits": 24, "method": "pca-whiten"}
    paths = write_parts(tmp_path, features, features, 0, lambda *_: Codes(values, values, record))
    given = {"codes": paths, "reducer": "pca-size2-whiten"}
    ranking, rows = ranked(tmp_path, features, **given)
    assert {(row["reducer"], row["size"], row["bits"]) for row in rows} == {("pca-whiten", "0.75", "24")}
    assert ranking.record["settings"]["key"]["reducer"] == "pca-size2-whiten"
    np.testing.assert_array_equal(ranking.top_indices, nearest(features, features, values, values)[:, :5])
    plain, rows = ranked(tmp_path, features)
    assert {(row["reducer"], row["size"], row["bits"]) for row in rows} == {("none", "8", "256")}
    assert plain.record["settings"]["key"]["reducer"] == "none"
    assert (plain.top_indices != ranking.top_indices).any()
    other = made(1, ids=[f"other {i}" for i in range(60)])
    with pytest.raises(InputError, match="its codes are of other queries than the features"):
        ranked(tmp_path, other, **given)


def nearest(queries, gallery, asked=None, searched=None):
    """Return positions in the gallery by distance; a query that is an item of the gallery is left out of its list."""
    asked = queries.values if asked is None else asked
    searched = gallery.values if searched is None else searched
    far = np.linalg.norm(asked[:, None].astype(np.float64) - searched[None], axis=2)
    if queries is gallery:
        np.fill_diagonal(far, np.inf)
    order = far.argsort(axis=1)
    return order[:, :-1] if queries is gallery else order


def expected_of_folds(queries, gallery, folds, make=None):
    """Return each query's average precision in each fold, (folds, Q); NaN where nothing is relevant."""
    found = np.full((folds, len(queries)), np.nan)
    for number, rows in enumerate(searched_rows(gallery.labels, gallery.ids, folds, classes=gallery.classes)):
        codes = Codes(queries.values, gallery.values[rows], {}) if make is None else make(number, rows)
        asked = queries.values if codes.queries is None else codes.queries
        # In leave-one-out, queries search the fold that they are in.
        for place, query in enumerate(rows if queries is gallery else range(len(queries))):
            mine = rows != query if queries is gallery else np.ones(len(rows), bool)
            relevant = gallery.labels[rows][mine] == queries.labels[query]
            own = asked[query] if len(asked) == len(queries) else asked[place]
            far = np.linalg.norm(codes.gallery[mine].astype(np.float64) - own, axis=1)
            if relevant.any():
                found[number, query] = average_precision_score(relevant, -far)
    return found


@pytest.mark.parametrize("leave_one_out", [False, True])
@pytest.mark.parametrize("reduced", [False, True])
def test_what_counts_of_a_query_is_the_mean_over_folds(tmp_path, leave_one_out, reduced):
    gallery = made(3, 50)
    queries = gallery if leave_one_out else made(2, 20)
    turn = np.random.default_rng(9).normal(size=(3, 8, 4)).astype(np.float32)

    def make(number, rows):
        # Queries stay what they are in the last fold, as those of product quantisation.
        values = gallery.values[rows] if leave_one_out else queries.values
        asked = None if number == 2 else values @ turn[number]
        return Codes(asked, gallery.values[rows] @ turn[number] if number < 2 else gallery.values[rows] + 1,
                     {"bits": 128, "method": "pca"})  # fmt: skip

    codes = {}
    if reduced:
        codes = {"codes": write_parts(tmp_path, queries, gallery, 3, make), "reducer": "pca-size2-whiten"}
    ranking, rows = ranked(tmp_path, queries, None if leave_one_out else gallery, folds=3, top=4, **codes)
    of_folds = expected_of_folds(queries, gallery, 3, make if reduced else None)
    expected = np.nanmean(of_folds, axis=0)
    np.testing.assert_allclose(ranking.values[:, 0], expected, atol=1e-12)
    assert total(rows, "map") == pytest.approx(expected.mean(), abs=1e-12)
    by_class = [expected[queries.labels == c].mean() for c in range(3)]
    assert total(rows, "map", "classes") == pytest.approx(np.mean(by_class), abs=1e-12)
    assert {row["fold"] for row in rows} == {"", "1", "2", "3"}
    # The first row names what all are of.
    assert rows[0]["fold"] == ""
    for fold in (1, 2, 3):
        mine = [row for row in rows if row["fold"] == str(fold)]
        assert {row["class"] for row in mine} == {""}
        assert total(mine, "map") == pytest.approx(np.nanmean(of_folds[fold - 1]), abs=1e-12)
        assert all(float(row["ci_low"]) < float(row["ci_high"]) for row in mine)
    # Lists are of the first fold that a query searches: in leave-one-out its own.
    parts = searched_rows(gallery.labels, gallery.ids, 3, classes=CLASSES)
    listed = [next(p for p in parts if q in p) if leave_one_out else parts[0] for q in range(len(queries))]
    assert all(set(found) <= set(part) for found, part in zip(ranking.top_indices.tolist(), listed, strict=True))
    assert len(ranking.gallery_ids) == len(ranking.gallery_labels) == 50
    if not reduced:
        order = nearest(queries, gallery)
        wanted = [[row for row in line if row in part][:4] for line, part in zip(order, listed, strict=True)]
        np.testing.assert_array_equal(ranking.top_indices, wanted)
    same = gallery.labels[:, None] == queries.labels
    if leave_one_out:
        searched = [same[part, query].sum() - 1 for query, part in enumerate(listed)]
    np.testing.assert_array_equal(ranking.relevant, searched if leave_one_out else same.sum(0))
    assert ranking.record["settings"]["folds"] == 3


def test_in_leave_one_out_a_query_searches_its_own_fold_alone(tmp_path):
    labels = np.concatenate([np.zeros(40), np.ones(17), np.full(3, 2)]).astype(np.int64)
    features = made(labels=labels)
    ranking, rows = ranked(tmp_path, features, folds=3, votes=[1])
    of_folds = expected_of_folds(features, features, 3)
    # One owl a fold: it finds none.
    assert ranking.evaluated.tolist() == [True] * 57 + [False] * 3
    assert (~np.isnan(of_folds)).sum(axis=0).tolist() == [1] * 57 + [0] * 3
    np.testing.assert_allclose(ranking.values[:57, 0], np.nanmean(of_folds[:, :57], axis=0), atol=1e-12)
    counted = {row["fold"]: (row["queries"], row["excluded"]) for row in rows
               if row["metric"] == "map" and not row["class"]}  # fmt: skip
    # Of a fold, those that search other folds are no part of it.
    assert counted == {"": ("57", "3"), **{str(fold): ("19", "1") for fold in (1, 2, 3)}}
    assert ranking.relevant[57:].tolist() == [0, 0, 0]
    # Votes are counted of all, a query without a relevant item among them.
    parts = searched_rows(features.labels, features.ids, 3, classes=CLASSES)
    order = nearest(features, features)
    part_of = {query: part for part in parts for query in part}
    first = np.array([next(row for row in order[q] if row in part_of[q]) for q in range(60)])
    right = features.labels[first] == labels
    assert total(rows, "knn_accuracy@1") == pytest.approx(right.mean())
    np.testing.assert_array_equal(ranking.votes[:, 0], features.labels[first])
    (found,) = [row for row in rows if row["metric"] == "label_ap@1" and not row["class"] and not row["fold"]]
    wanted = list(label_rows(first[:, None], labels, features.labels, CLASSES, [1], resamples=1))
    assert float(found["value"]) == pytest.approx(next(r["value"] for r in wanted if not r["class"]), abs=1e-12)


def test_votes_and_labels_of_folds(tmp_path):
    queries, gallery = made(2, 20), made(3, 50)
    ranking, rows = ranked(tmp_path, queries, gallery, folds=2, votes=[1, 3])
    parts = searched_rows(gallery.labels, gallery.ids, 2, classes=CLASSES)
    order = nearest(queries, gallery)
    lists = [np.array([[row for row in line if row in part][:3] for line in order]) for part in parts]
    right = [gallery.labels[found[:, 0]] == queries.labels for found in lists]
    assert total(rows, "knn_accuracy@1") == pytest.approx(np.mean(right))
    np.testing.assert_array_equal(ranking.votes[:, 0], gallery.labels[lists[0][:, 0]])
    both = list(label_rows(np.stack(lists), queries.labels, gallery.labels, CLASSES, [3], resamples=1))
    (expected,) = [row["value"] for row in both if not row["class"]]
    (found,) = [row for row in rows if row["metric"] == "label_ap@3" and not row["class"] and not row["fold"]]
    assert float(found["value"]) == pytest.approx(expected, abs=1e-12)
    (second,) = [row for row in rows if row["metric"] == "label_ap@3" and row["fold"] == "2"]
    alone = list(label_rows(lists[1], queries.labels, gallery.labels, CLASSES, [3], resamples=1))
    assert float(second["value"]) == pytest.approx(next(row["value"] for row in alone if not row["class"]), abs=1e-12)


def test_rankers_of_lists_search_folds_alike(tmp_path):
    features = made(4)
    ranking, rows = ranked(tmp_path, features, ranker="faiss_flat", metrics=["p@3"], folds=3, top=5)
    exact, others = ranked(tmp_path, features, metrics=["p@3"], folds=3, top=5)
    np.testing.assert_allclose(ranking.values, exact.values, atol=1e-12)
    np.testing.assert_array_equal(ranking.top_indices, exact.top_indices)
    assert total(rows, "recall_of_exact@3") == 1
    assert {row["fold"] for row in rows if row["metric"] == "recall_of_exact@3"} == {"", "1", "2", "3"}
    assert total(rows, "p@3") == pytest.approx(total(others, "p@3"), abs=1e-12)


def test_predicted_classes_of_a_fold_are_those_of_its_items(tmp_path):
    features = made(1)
    ranking, _ = ranked(tmp_path, features, rerank="predicted_class", folds=3)
    predicted = features.logits.argmax(1)
    parts = searched_rows(features.labels, features.ids, 3, classes=CLASSES)
    far = np.linalg.norm(features.values[:, None].astype(np.float64) - features.values, axis=2)
    far += 1000 * (predicted[:, None] != predicted)
    np.fill_diagonal(far, np.inf)
    own = [next(part for part in parts if query in part) for query in range(60)]
    wanted = [[row for row in line if row in mine][:5] for line, mine in zip(far.argsort(axis=1), own, strict=True)]
    np.testing.assert_array_equal(ranking.top_indices, wanted)


def test_folds_that_cannot_be_searched_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"3 folds need 3 items of every class, and the gallery has too few of owl"):
        ranked(tmp_path, made(labels=np.concatenate([np.zeros(58), [2, 2]]).astype(np.int64)), folds=3)
    with pytest.raises(InputError, match="'p@20' goes beyond the gallery, which has 19 items once"):
        ranked(tmp_path, made(labels=np.arange(60) % 3), metrics=["p@20"], folds=3)
    queries, features = made(2, 20), made()
    paths = write_parts(tmp_path, queries, features, 3, lambda _, rows: Codes(
        queries.values, features.values[rows], {"bits": 256, "method": "pca"}))  # fmt: skip
    given = {"reducer": "pca-size2-whiten", "folds": 3}
    with pytest.raises(InputError, match="got codes of 2 parts of the gallery, expected 3"):
        ranked(tmp_path, queries, features, codes=paths[:2], **given)
    with pytest.raises(InputError, match=r"0\.h5 is of another part of the gallery than expected"):
        ranked(tmp_path, queries, features, codes=[paths[0], paths[0], paths[2]], **given)
    with pytest.raises(InputError, match="its codes are of other queries than the features"):
        ranked(tmp_path, features, codes=paths, **given)


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
