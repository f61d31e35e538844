"""Whole rankings against independent libraries, and what must not matter: blocks, order, duplicates, device path."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from sklearn.metrics import average_precision_score
from trazo.errors import InputError
from trazo.retrieval import kernels, ranking
from trazo.retrieval.distances import distances
from trazo.retrieval.ranking import Ranking, rank

METRICS = (
    *("map", "map@5", "map_hits@5", "map_hits_excl@5", "p@1", "p@5", "recall@5", "mrr", "r_precision", "map@r"),
    *("ndcg@5", "ndcg", "recall_precision", "recall_precision_interpolated"),
)


def features(seed: int = 0, size: int = 200, dimensions: int = 24, classes: int = 7) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, size)
    centres = draw.normal(size=(classes, dimensions))
    return (centres[labels] + draw.normal(size=(size, dimensions)) + 1).astype(np.float32), labels


def leave_one_out(rows: np.ndarray, labels: np.ndarray, **settings: object) -> Ranking:
    return rank(rows, rows, query_labels=labels, gallery_labels=labels, leave_one_out=np.arange(len(rows)), **settings)


def column(result: Ranking, name: str) -> np.ndarray:
    return result.values[:, result.metrics.index(name)]


def euclidean(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(queries[:, None].astype(np.float64) - gallery).sum(-1))


def test_average_precision_equals_scikit_learn_query_by_query() -> None:
    rows, labels = features()
    queries, gallery = rows[:40], rows[40:]
    result = rank(queries, gallery, query_labels=labels[:40], gallery_labels=labels[40:])
    exact = euclidean(queries, gallery)
    expected = [average_precision_score(labels[40:] == labels[i], -exact[i]) for i in range(40)]
    np.testing.assert_allclose(column(result, "map"), expected, atol=1e-12)


def test_leave_one_out_equals_pytorch_metric_learning() -> None:
    rows, labels = features(1, 300)
    result = leave_one_out(rows, labels, metrics=("map", "mrr", "p@1", "r_precision", "map@r"))
    names = {
        "mean_average_precision": "map",
        "mean_reciprocal_rank": "mrr",
        "precision_at_1": "p@1",
        "r_precision": "r_precision",
        "mean_average_precision_at_r": "map@r",
    }
    table, classes = torch.from_numpy(rows), torch.from_numpy(labels)
    whole = AccuracyCalculator(include=("mean_average_precision", "mean_reciprocal_rank"), k=None)
    to_r = AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r"), k="max_bin_count"
    )
    peer = {**whole.get_accuracy(table, classes), **to_r.get_accuracy(table, classes)}
    for theirs, ours in names.items():
        assert column(result, ours).mean() == pytest.approx(peer[theirs], abs=1e-6), ours


@pytest.mark.parametrize("distance", [name for name in distances.names() if name != "hamming"])
def test_nearest_items_are_those_of_a_stable_sort(distance: str) -> None:
    rows, labels = features(2, 120)
    rows = np.rint(rows)
    rows[0] = rows[rows.any(1)][0]
    rows = rows[rows.any(1)]
    labels = labels[: len(rows)]
    result = leave_one_out(rows, labels, distance=distance, top=20, tie_order=np.zeros(len(rows), np.int64))
    keys = distances.get(distance)(torch.from_numpy(rows))(torch.from_numpy(rows)).numpy().copy()
    np.fill_diagonal(keys, np.inf)
    np.testing.assert_array_equal(result.top_indices, np.argsort(keys, axis=1, kind="stable")[:, :20])


def test_top_distances_are_distances() -> None:
    rows, labels = features(3)
    result = leave_one_out(rows, labels, top=len(rows) - 1)
    exact = euclidean(rows, rows)
    np.testing.assert_allclose(result.top_distances, np.take_along_axis(exact, result.top_indices, 1), rtol=1e-5)
    assert (np.diff(result.top_distances, axis=1) >= 0).all()
    assert not (result.top_indices == np.arange(len(rows))[:, None]).any()


@pytest.mark.parametrize("distance", distances.names())
@pytest.mark.parametrize("block_size", [1, 7, 64])
def test_blocks_of_queries_change_nothing(distance: str, block_size: int) -> None:
    rows, labels = features(4, 150)
    rows = np.packbits(rows > 1, axis=1) if distance == "hamming" else rows
    whole = leave_one_out(rows, labels, distance=distance, metrics=METRICS, top=9)
    parts = leave_one_out(rows, labels, distance=distance, metrics=METRICS, top=9, block_size=block_size)
    np.testing.assert_array_equal(parts.values, whole.values)
    np.testing.assert_array_equal(parts.top_indices, whole.top_indices)
    np.testing.assert_array_equal(parts.top_distances, whole.top_distances)


@pytest.mark.parametrize("distance", ["euclidean", "cosine", "hamming"])
def test_memory_to_keep_all_distances_changes_time_alone(distance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = features(15, 1100)
    rows = np.packbits(rows > 1, axis=1) if distance == "hamming" else rows
    asked = {"distance": distance, "metrics": METRICS, "top": 5}
    squares = []
    kind = distances.get(distance)
    mirrored = kind.among_itself
    monkeypatch.setattr(kind, "among_itself", lambda self: squares.append(mirrored(self)) or squares[-1])
    whole = leave_one_out(rows, labels, memory_mib=512, **asked)
    parts = leave_one_out(rows, labels, memory_mib=2, **asked)
    assert [len(square) for square in squares] == [1100]
    np.testing.assert_array_equal(parts.values, whole.values)
    np.testing.assert_array_equal(parts.top_indices, whole.top_indices)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(6, 60), st.integers(1, 4), st.sampled_from(["euclidean", "manhattan"]))
def test_a_permuted_gallery_changes_nothing(seed: int, size: int, levels: int, distance: str) -> None:
    draw = np.random.default_rng(seed)
    rows, labels = draw.integers(0, levels + 1, (size, 3)).astype(np.float32), draw.integers(0, 3, size)
    order = draw.permutation(size)
    place = np.argsort(order)
    asked = {"query_labels": labels, "metrics": METRICS, "distance": distance}
    first = rank(rows, rows, gallery_labels=labels, leave_one_out=np.arange(size), **asked)
    second = rank(rows, rows[order], gallery_labels=labels[order], leave_one_out=place, **asked)
    np.testing.assert_allclose(second.values, first.values, atol=1e-12)


@pytest.mark.parametrize("path", ["cpu", "gpu"])
@pytest.mark.parametrize("distance", ["euclidean", "hamming"])
def test_tied_items_are_listed_in_the_order_given_wherever_they_stand(
    distance: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path == "gpu":
        monkeypatch.setattr(ranking, "_nearest_and_groups", ranking.nearest_and_groups_on_device)
    draw = np.random.default_rng(20)
    bits, labels, names = draw.integers(0, 2, (150, 8)), draw.integers(0, 3, 150), draw.permutation(1000)[:150] - 300
    rows = np.packbits(bits, axis=1) if distance == "hamming" else bits.astype(np.float32)
    far = (bits[:, None] != bits).sum(-1)
    own = np.where(np.arange(150) % 4 == 0, -1, np.arange(150))
    asked = {"query_labels": labels, "distance": distance, "metrics": METRICS, "top": 40}
    found = rank(rows, rows, gallery_labels=labels, leave_one_out=own, tie_order=names, **asked)
    for query in range(150):
        others = np.delete(np.arange(150), own[query]) if own[query] >= 0 else np.arange(150)
        expected = others[np.lexsort((names[others], far[query, others]))][:40]
        np.testing.assert_array_equal(found.top_indices[query], expected)
    order = draw.permutation(150)
    place = np.where(own >= 0, np.argsort(order)[own], -1)
    moved = rank(
        rows, rows[order], gallery_labels=labels[order], leave_one_out=place, tie_order=names[order], **asked
    )  # fmt: skip
    np.testing.assert_array_equal(order[moved.top_indices], found.top_indices)
    np.testing.assert_array_equal(moved.top_distances, found.top_distances)


def test_without_an_order_ties_favour_no_part_of_the_gallery_and_every_run_lists_the_same() -> None:
    draw = np.random.default_rng(21)
    gallery, queries = draw.integers(0, 256, (400, 1), np.uint8), draw.integers(0, 256, (2000, 1), np.uint8)
    asked = {"query_labels": np.zeros(2000, int), "gallery_labels": np.repeat(np.arange(4), 100), "top": 1}
    found = rank(queries, gallery, distance="hamming", **asked).top_indices[:, 0]
    # Which code is whose is chance: compare with the share of each class among all nearest items, by plain counting.
    far = np.bitwise_count(queries ^ gallery.T)
    nearest = far == far.min(axis=1, keepdims=True)
    fair = (nearest / nearest.sum(axis=1, keepdims=True)).reshape(2000, 4, 100).sum(axis=(0, 2)) / 2000
    np.testing.assert_allclose(np.bincount(found // 100, minlength=4) / 2000, fair, atol=0.06)
    np.testing.assert_array_equal(rank(queries, gallery, distance="hamming", **asked).top_indices[:, 0], found)


def test_ties_score_as_the_mean_of_every_tie_broken_at_random() -> None:
    draw = np.random.default_rng(5)
    bits, labels = draw.random((20, 6)) < 0.5, draw.integers(0, 3, 20)
    result = leave_one_out(np.packbits(bits, axis=1), labels, distance="hamming")
    exact = (bits[:, None] != bits).sum(-1)
    others = ~np.eye(20, dtype=bool)
    trials = []
    for _ in range(100):
        noisy = exact + draw.random(exact.shape) * 0.5
        trials.append(
            [average_precision_score((labels == labels[i])[others[i]], -noisy[i][others[i]]) for i in range(20)]
        )
    spread = np.std(trials, axis=0) / math.sqrt(100)
    assert (np.abs(column(result, "map") - np.mean(trials, axis=0)) < 5 * spread + 1e-9).all()


def test_counting_whole_distances_equals_sorting_them() -> None:
    draw = np.random.default_rng(6)
    bits, labels = draw.random((90, 100)) < 0.5, draw.integers(0, 5, 90)
    counted = leave_one_out(np.packbits(bits, axis=1), labels, distance="hamming", metrics=METRICS, top=15)
    # The squared Euclidean distance of bits is their Hamming distance.
    by_sorting = leave_one_out(bits, labels, distance="squared_euclidean", metrics=METRICS, top=15)
    np.testing.assert_allclose(counted.values, by_sorting.values, atol=1e-12)
    np.testing.assert_array_equal(counted.top_indices, by_sorting.top_indices)
    np.testing.assert_array_equal(counted.top_distances, by_sorting.top_distances)


@pytest.mark.parametrize("levels", [2, 40])
def test_few_relevant_items_and_many_are_found_alike(levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(16)
    rows = draw.integers(0, levels, (300, 3)).astype(np.float32)
    # Classes of 1 to 150 items: on both sides of where comparing with each relevant item gives way to sorting.
    labels = np.repeat(np.arange(9), [1, 2, 5, 6, 7, 30, 60, 39, 150])
    mixed = leave_one_out(rows, labels, metrics=METRICS, top=3)
    monkeypatch.setattr(ranking, "_FEW", 0)
    by_sorting = leave_one_out(rows, labels, metrics=METRICS, top=3)
    np.testing.assert_array_equal(by_sorting.values, mixed.values)


@pytest.mark.parametrize("top", [0, 6])
@pytest.mark.parametrize("distance", ["euclidean", "hamming"])
def test_the_path_for_a_gpu_finds_the_same(monkeypatch: pytest.MonkeyPatch, distance: str, top: int) -> None:
    draw = np.random.default_rng(7)
    rows, labels = draw.integers(0, 3, (80, 6)).astype(np.uint8), draw.integers(0, 9, 80)
    rows = rows if distance == "hamming" else rows.astype(np.float32)
    labels[:2] = [77, 78]
    own = np.where(np.arange(80) % 3 == 0, -1, np.arange(80))
    asked = {"query_labels": labels, "gallery_labels": np.roll(labels, 1), "leave_one_out": own, "top": top}
    here = rank(rows, rows, distance=distance, metrics=METRICS, **asked)
    monkeypatch.setattr(ranking, "_nearest_and_groups", ranking.nearest_and_groups_on_device)
    there = rank(rows, rows, distance=distance, metrics=METRICS, block_size=11, **asked)
    np.testing.assert_allclose(there.values, here.values, atol=1e-12)
    np.testing.assert_array_equal(there.top_indices, here.top_indices)
    np.testing.assert_array_equal(there.top_distances, here.top_distances)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("distance", distances.names())
def test_a_gpu_ranks_as_the_cpu(distance: str) -> None:
    rows, labels = features(8, 400, 64)
    rows = np.packbits(rows > 1, axis=1) if distance == "hamming" else np.rint(rows * 4) + 1
    here = leave_one_out(rows, labels, distance=distance, metrics=METRICS, top=5)
    there = leave_one_out(rows, labels, distance=distance, metrics=METRICS, top=5, device="cuda")
    np.testing.assert_allclose(there.values, here.values, atol=1e-3)


def test_leave_one_out_ignores_the_query_and_not_its_duplicate() -> None:
    rows, labels = features(9, 60)
    doubled, twice = np.concatenate([rows, rows]), np.concatenate([labels, labels])
    result = leave_one_out(doubled, twice, metrics=("p@1", "mrr"), top=1)
    np.testing.assert_array_equal(result.top_indices[:, 0], (np.arange(120) + 60) % 120)
    assert (result.top_distances == 0).all()
    assert (result.values == 1).all()
    assert (result.relevant == np.bincount(twice)[twice] - 1).all()


def test_a_duplicate_of_another_class_stays_in_the_ranking() -> None:
    rows = np.array([[0.0], [0.0], [1.0], [5.0]], np.float32)
    labels = np.array([0, 1, 0, 1])
    result = leave_one_out(rows, labels, metrics=("mrr",), top=2)
    # From item 0: item 1 at 0 (another class), then item 2.
    np.testing.assert_array_equal(result.top_indices[0], [1, 2])
    assert result.values[0, 0] == 0.5


def test_separated_classes_score_one() -> None:
    labels = np.repeat(np.arange(5), 8)
    rows = (labels[:, None] * 100 + np.random.default_rng(0).random((40, 3))).astype(np.float32)
    result = leave_one_out(rows, labels, metrics=("map", "mrr", "p@7", "r_precision", "ndcg@7", "recall_precision"))
    np.testing.assert_allclose(result.values, 1.0)


def test_a_class_of_one_item_is_excluded_and_counted() -> None:
    rows, labels = features(10, 50)
    labels[13] = 99
    result = leave_one_out(rows, labels, metrics=("map", "p@3"))
    assert result.excluded == 1
    assert not result.evaluated[13]
    assert np.isnan(result.values[13]).all()
    assert np.isfinite(result.values[result.evaluated]).all()
    others = np.delete(np.arange(50), 13)
    same = rank(
        rows[others], rows, query_labels=labels[others], gallery_labels=labels, leave_one_out=others, metrics=("map",)
    )
    np.testing.assert_allclose(same.values[:, 0], column(result, "map")[others], atol=1e-9)


def test_labels_may_be_strings_and_unknown_to_the_gallery() -> None:
    rows, _ = features(11, 6)
    result = rank(
        rows[:3], rows[3:], query_labels=np.array(["cat", "dog", "yak"]), gallery_labels=np.array(["dog", "cat", "cat"])
    )
    np.testing.assert_array_equal(result.relevant, [2, 1, 0])
    np.testing.assert_array_equal(result.evaluated, [True, True, False])


def test_labels_of_one_type_may_be_objects() -> None:
    draw = np.random.default_rng(0)
    rows, labels = draw.normal(size=(20, 3)), np.arange(20) % 4
    plain = rank(rows, rows, query_labels=labels, gallery_labels=labels, leave_one_out=np.arange(20))
    for objects in (labels.astype(object), np.array([f"class {v}" for v in labels], object)):
        found = rank(rows, rows, query_labels=objects, gallery_labels=objects, leave_one_out=np.arange(20))
        np.testing.assert_array_equal(found.values, plain.values)


@pytest.mark.parametrize(
    ("query_labels", "gallery_labels", "message"),
    [
        (np.array([0, 1, "a"], object), np.arange(3), "query_labels holds int and str; labels must be all strings or"),
        (np.arange(3), np.array(["a", None, "b"], object), "gallery_labels holds NoneType and str"),
        (np.arange(3), np.array([(1,), (2,), (3, 4)], object), "gallery_labels holds tuple"),
        (np.array(["0", "1", "2"]), np.arange(3), "query_labels are text and gallery_labels numbers; they must be of"),
        (np.arange(3), np.array([b"0", b"1", b"2"]), "query_labels are numbers and gallery_labels bytes"),
    ],
)
def test_labels_that_cannot_be_compared_are_refused(query_labels, gallery_labels, message) -> None:
    with pytest.raises(InputError, match=message):
        rank(np.eye(3), np.eye(3), query_labels=query_labels, gallery_labels=gallery_labels)


@pytest.mark.parametrize("block_size", [0, -1])
def test_a_block_of_no_query_is_refused(block_size: int) -> None:
    with pytest.raises(InputError, match=f"block_size is {block_size}; a block is of one query or more"):
        rank(np.eye(3), np.eye(3), query_labels=np.zeros(3), gallery_labels=np.zeros(3), block_size=block_size)


def test_read_only_features_rank_as_others_without_a_warning() -> None:
    rows, labels = features(22, 40)
    locked = rows.copy()
    locked.flags.writeable = False
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = leave_one_out(locked, labels, top=5)
    finally:
        torch.set_warn_always(False)
    np.testing.assert_array_equal(found.top_indices, leave_one_out(rows, labels, top=5).top_indices)
    assert not locked.flags.writeable


@pytest.mark.parametrize("scale", [1e30, 1e18, 1.0, 1e-30])
@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean"])
def test_distances_beyond_float32_are_infinite_and_no_warning(scale: float, distance: str) -> None:
    rows, labels = features(23, 40)
    rows = np.concatenate([rows, rows[:3]]).astype(np.float64) * scale
    labels = np.concatenate([labels, labels[:3]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = leave_one_out(rows, labels, distance=distance, top=42)
    exact = np.take_along_axis(np.square(rows[:, None] - rows).sum(-1), found.top_indices, 1)
    with np.errstate(over="ignore"):
        expected = (exact if distance == "squared_euclidean" else np.sqrt(exact)).astype(np.float32)
    np.testing.assert_allclose(found.top_distances, expected, rtol=1e-5)
    assert (found.top_distances[:3, 0] == 0).all()


def test_no_query_at_all_is_an_empty_result() -> None:
    rows, labels = features(12, 10)
    result = rank(rows[:0], rows, query_labels=labels[:0], gallery_labels=labels, top=2)
    assert result.values.shape == (0, 1)
    assert result.top_indices.shape == (0, 2)


def test_progress_adds_up_to_the_queries() -> None:
    rows, labels = features(13, 30)
    seen: list[int] = []
    leave_one_out(rows, labels, block_size=8, progress=seen.append)
    assert seen == [8, 8, 8, 6]


ROWS, LABELS = features(14, 12)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"queries": ROWS[:, :5]}, "queries have 5 dimensions and the gallery 24"),
        ({"gallery": ROWS[:0], "gallery_labels": LABELS[:0]}, "gallery is empty"),
        ({"gallery_labels": LABELS[:-1]}, r"gallery_labels has shape \(11,\).*\(12,\)"),
        ({"query_labels": LABELS[:3]}, "query_labels"),
        ({"metrics": ("p@13",)}, "'p@13' goes beyond the gallery, which has 12"),
        ({"metrics": ("map@12",), "leave_one_out": np.arange(12)}, "11 items once a query's own item is left out"),
        ({"top": 13}, "top is 13"),
        ({"distance": "hamming"}, "packed bits.*queries is float32"),
        ({"distance": "euclidian"}, "Did you mean 'euclidean'"),
        ({"metrics": ("mapp",)}, "unknown metric 'mapp'"),
        ({"leave_one_out": np.arange(11)}, "leave_one_out"),
        ({"leave_one_out": np.arange(12) + 1}, "position 12; the gallery has 12"),
        ({"queries": ROWS[0]}, "queries must be a table"),
        ({"queries": ROWS.astype(complex)}, "real numbers"),
        ({"queries": np.ma.masked_less(ROWS, 0)}, "queries is a masked array"),
        ({"gallery": np.ma.masked_less(ROWS, 0)}, "gallery is a masked array"),
        ({"gallery_labels": np.ma.masked_equal(LABELS, 1)}, "gallery_labels is a masked array"),
        ({"tie_order": np.arange(11)}, "tie_order must hold a whole number for each of 12 items; got int64"),
        ({"tie_order": np.arange(12) * 0.5}, "tie_order must .*; got float64"),
        ({"queries": np.where(np.arange(12)[:, None] == 7, np.nan, ROWS)}, "queries.*NaN or infinity.*: 7"),
        ({"gallery": np.where(np.arange(12)[:, None] == 3, np.inf, ROWS)}, "gallery: NaN or infinity.*: 3"),
        ({"gallery": ROWS * (np.arange(12) != 5)[:, None], "distance": "cosine"}, "gallery: zero vectors.*: 5"),
    ],
)
def test_input_that_cannot_be_ranked_is_refused_with_a_reason(changed: dict, message: str) -> None:
    given = {"queries": ROWS, "gallery": ROWS, "query_labels": LABELS, "gallery_labels": LABELS, **changed}
    with pytest.raises(InputError, match=message):
        rank(given.pop("queries"), given.pop("gallery"), **given)


def test_own_group_first_orders_bits_as_bits_that_tell_groups_apart() -> None:
    """Adding more differing bits than an item has to every pair of different groups gives the same order and ties."""
    draw = np.random.default_rng(6)
    bits = np.packbits(draw.random((90, 16)) < 0.4, axis=1)
    labels, groups = draw.integers(0, 4, 90), draw.integers(0, 3, 90)
    marks = np.repeat(np.array([[0xFF, 0, 0], [0, 0xFF, 0], [0, 0, 0xFF]], np.uint8)[groups], 2, axis=1)
    found = leave_one_out(bits, labels, distance="hamming", metrics=METRICS, top=40, groups_first=(groups, groups))
    marked = leave_one_out(np.hstack([bits, marks]), labels, distance="hamming", metrics=METRICS, top=40)
    np.testing.assert_array_equal(found.values, marked.values)
    np.testing.assert_array_equal(found.top_indices, marked.top_indices)
    hidden = 32 * (groups[:, None] != groups[marked.top_indices])
    np.testing.assert_array_equal(found.top_distances, marked.top_distances - hidden)


@pytest.mark.parametrize("distance", ["euclidean", "cosine", "inner_product", "manhattan"])
def test_own_group_first_is_a_sort_by_group_then_distance(distance: str) -> None:
    rows, labels = features(7, 130)
    rows = np.rint(rows * 2)
    rows[~rows.any(1)] = 1
    groups = (labels + np.random.default_rng(7).integers(0, 2, 130)) % 5
    found = leave_one_out(
        rows,
        labels,
        distance=distance,
        metrics=("map",),
        top=128,
        groups_first=(groups, groups),
        tie_order=np.arange(130),
    )
    metric = distances.get(distance)(torch.from_numpy(rows))
    keys = metric(torch.from_numpy(rows)).numpy()
    for i in range(130):
        others = np.delete(np.arange(130), i)
        order = np.lexsort((others, keys[i, others], groups[others] != groups[i]))
        np.testing.assert_array_equal(found.top_indices[i], others[order][:128])
        np.testing.assert_array_equal(found.top_distances[i], metric.finish(keys[i, others[order]][:128]))


def test_own_group_first_scores_as_scikit_learn_scores_the_two_parts() -> None:
    rows, labels = features(10, 120)
    groups = (labels + np.random.default_rng(7).integers(0, 2, 120)) % 5
    found = leave_one_out(rows, labels, groups_first=(groups, groups))
    far = euclidean(rows, rows) + 1000 * (groups[:, None] != groups)
    others = ~np.eye(120, dtype=bool)
    expected = [average_precision_score((labels == labels[i])[others[i]], -far[i][others[i]]) for i in range(120)]
    np.testing.assert_allclose(column(found, "map"), expected, atol=1e-12)


def test_own_group_first_is_the_same_on_a_device() -> None:
    draw = np.random.default_rng(11)
    keys = draw.normal(size=(9, 50)).astype(np.float32)
    keys[0, :4] = 0.0, -0.0, np.finfo(np.float32).max, -np.finfo(np.float32).max
    own, groups = draw.integers(0, 3, 9), draw.integers(0, 3, 50)
    regroup = ranking.OwnGroupFirst.of((own, groups), 9, 50, "cpu")
    here, _ = regroup.keys(torch.from_numpy(keys), slice(0, 9), None)
    there = ranking.own_group_first_on_device(torch.from_numpy(keys), torch.from_numpy(own), torch.from_numpy(groups))
    np.testing.assert_array_equal(here.numpy(), there.numpy())
    np.testing.assert_array_equal(regroup.distances(here.numpy(), None), keys)


def test_own_group_first_needs_a_group_for_every_item() -> None:
    rows, labels = features(8, 20)
    with pytest.raises(InputError, match="groups_first must hold a whole number for each of 20 queries"):
        leave_one_out(rows, labels, groups_first=(labels[:5], labels))
    with pytest.raises(InputError, match="float64"):
        leave_one_out(rows, labels, groups_first=(labels * 0.5, labels))


def test_one_group_for_all_changes_nothing() -> None:
    rows, labels = features(9, 90)
    same = np.zeros(90, np.int64)
    plain = leave_one_out(rows, labels, metrics=METRICS, top=30)
    grouped = leave_one_out(rows, labels, metrics=METRICS, top=30, groups_first=(same, same), block_size=11)
    np.testing.assert_array_equal(grouped.values, plain.values)
    np.testing.assert_array_equal(grouped.top_indices, plain.top_indices)
    np.testing.assert_array_equal(grouped.top_distances, plain.top_distances)


def test_rows_of_bad_queries_are_counted_from_the_first_query_not_from_a_block() -> None:
    queries = ROWS.copy()
    queries[[3, 9]] = np.nan
    with pytest.raises(InputError, match=r"queries: NaN or infinity in 2 of 12 rows.*: 3, 9\."):
        rank(queries, ROWS, query_labels=LABELS, gallery_labels=LABELS, block_size=2)


@pytest.mark.parametrize("kind", ["normal", "skewed", "clustered", "few levels", "one far", "infinite own"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_counts_of_closer_items_are_those_of_a_search_in_sorted_distances(kind: str, dtype: type) -> None:
    draw = np.random.default_rng(17)
    rows, size, few = 20, 3000, 60
    table = {
        "normal": lambda: draw.normal(5, 1, (rows, size)),
        "skewed": lambda: draw.exponential(1, (rows, size)) ** 3,
        "clustered": lambda: 1 + 1e-6 * draw.normal(size=(rows, size)) + draw.integers(0, 3, (rows, size)),
        "few levels": lambda: draw.integers(0, 9, (rows, size)),
        "one far": lambda: np.where(draw.random((rows, size)) < 0.001, 1e9, draw.random((rows, size))),
        "infinite own": lambda: np.where(np.arange(size) == 7, np.inf, draw.normal(5, 1, (rows, size))),
    }[kind]().astype(dtype)
    columns = np.stack([draw.choice(np.arange(10, size), few, replace=False) for _ in range(rows)])
    relevant = np.take_along_axis(table, columns, 1).ravel()
    starts = few * np.arange(rows + 1)
    counts = np.zeros((4, relevant.size), np.int32)
    kernels.groups_of_few(table, relevant, starts, few, *counts, 0, rows)
    for row in range(rows):
        own, ordered = np.take_along_axis(table, columns, 1)[row], np.sort(table[row])
        values, first, times = np.unique(np.sort(own), return_index=True, return_counts=True)
        found = counts[:, starts[row] : starts[row] + len(values)]
        before = np.searchsorted(ordered, values, "left")
        expected = [before, np.searchsorted(ordered, values, "right") - before, first, times]
        np.testing.assert_array_equal(found, expected)
