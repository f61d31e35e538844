"""Lists of other rankers beside the exact ones: what differs, and what explains it."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from trazo.errors import InputError
from trazo.retrieval.agreement import DistanceErrors, compare_lists, compare_rankers, distance_errors
from trazo.retrieval.gallery import rank_gallery
from trazo.store import AGREEMENT_COLUMNS, Features, RankingArtifact, read_agreement, write_features

SETTINGS = {"queries": "d/test", "gallery": "d/train", "leave_one_out": False, "top": 12, "rerank": "none", "votes": []}


def lists(indices, distances, **changes):
    indices, distances = np.array(indices), np.array(distances, np.float32)
    labels = np.zeros(len(indices), np.int64)
    kept = RankingArtifact(
        metrics=["p@2"], values=np.zeros((len(indices), 1)), evaluated=np.ones(len(indices), bool), relevant=labels + 1,
        top_indices=indices, top_distances=distances, query_labels=labels, gallery_labels=np.zeros(9, np.int64),
        query_ids=[f"q{i}" for i in range(len(indices))], gallery_ids=[str(i) for i in range(9)], classes=["a"],
    )  # fmt: skip
    return replace(kept, **changes)


EXACT = lists([[0, 1, 2, 3]] * 6, [[1, 2, 2, 3]] * 6)


def test_every_query_is_counted_under_what_explains_it():
    other = lists(
        [[0, 1, 2, 3], [0, 2, 1, 3], [1, 0, 2, 3], [0, 1, 2, 7], [0, 1, -1, -1], [0, 1, 2, 3]],
        [[1, 2, 2, 3], [1, 2, 2, 3], [2, 1, 2, 3], [1, 2, 2, 3.5], [1, 2, np.inf, np.inf], [1, 2, 2, 3]],
    )
    found = compare_lists(EXACT, other, 4, distance="euclidean")
    assert (found.queries, found.same, found.tied, found.rounded, found.missed) == (6, 2, 1, 0, 3)
    assert (found.other_items, found.distance_error) == (2, 0)
    # Item 0 stands where item 1 should: 1 in place of 2, in a list that reaches 3.
    assert found.largest_gap == pytest.approx(1 / 3)
    found = compare_lists(EXACT, other, 2, distance="euclidean")
    # The tie is cut: either of two items is right, and they are other items.
    assert (found.same, found.tied, found.missed, found.other_items) == (4, 1, 1, 1)


def known_errors(error, queries):
    return DistanceErrors(np.full(queries, error), error)


def test_what_lies_within_the_ranker_s_own_error_is_rounding():
    near = lists([[0, 1, 2, 3]] * 3, [[1, 2, 2.0001, 3]] * 3)
    other = lists([[0, 2, 1, 3], [1, 0, 2, 3], [0, 1, 2, 3]], [[1, 2, 2.0003, 3], [1, 2, 2, 3], [1, 2, 2.0001, 3]])
    found = compare_lists(near, other, 4, distance="cosine", errors=known_errors(1e-4, 3))
    assert (found.same, found.tied, found.rounded, found.missed) == (1, 0, 1, 1)
    assert compare_lists(near, other, 4, distance="cosine", errors=known_errors(0.0, 3)).rounded == 0
    # Codes are off by more than rounding, however large that is.
    of_codes = compare_lists(near, other, 4, distance="cosine", codes=True, errors=known_errors(9.0, 3))
    assert (of_codes.tied, of_codes.rounded, of_codes.missed) == (0, 0, 2)


def test_errors_are_measured_on_what_was_rounded():
    other = replace(EXACT, top_distances=EXACT.top_distances + np.float32(0.25) * (np.arange(6) == 4)[:, None])
    # Distances of 3.25 and 3 are the farthest apart as squares; one query in six is more than one in ten.
    for distance, own in (("cosine", 0.25), ("euclidean", 3.25**2 - 9)):
        found = distance_errors(EXACT, other, distance)
        assert found.largest == pytest.approx(0.25 / 3)
        assert found.by_query[4] == pytest.approx(own)
        assert (found.by_query[:4] > 0).all()
        assert (found.by_query[:4] < own).all()


@pytest.mark.parametrize("nearest", [(0, 3e-4), (1e-7, 5e-8)])
def test_a_near_duplicate_of_one_query_does_not_excuse_what_another_misses(nearest):
    exact = lists([[0, 1, 2, 3], [4, 5, 6, 7]], [[nearest[0], 1, 2, 3], [1, 2, 3, 4]])
    other = lists([[0, 1, 2, 3], [4, 20, 21, 22]], [[nearest[1], 1, 2, 3], [1, 8, 9, 10]])
    found = compare_lists(exact, other, 4, distance="euclidean")
    assert (found.same, found.tied, found.rounded, found.missed) == (1, 0, 0, 1)
    assert found.distance_error < 2e-4


def test_neither_a_query_among_duplicates_nor_one_of_long_features_excuses_what_others_miss():
    far = np.tile(np.float32([1, 2, 3, 4]), (9, 1))
    places = np.tile([0, 1, 2, 3], (9, 1))
    missing, said = places.copy(), far.copy()
    missing[4], said[4] = [0, 11, 12, 13], [1, 8, 9, 10]
    for scale, error in ((1e-6, 1e-3), (1e6, 1e2)):
        exact = lists(places, np.concatenate([far[:-1], far[-1:] * np.float32(scale)]))
        distances = np.concatenate([said[:-1], exact.top_distances[-1:] + np.float32(error)])
        found = compare_lists(exact, lists(missing, distances), 4, distance="cosine")
        assert (found.same, found.missed) == (8, 1)


def test_an_item_that_was_not_kept_is_as_far_as_the_other_ranker_says_and_no_nearer_than_the_last_kept():
    cases = ((3.0000002, 1e-6, "rounded"), (2.9999998, 1e-6, "rounded"), (3.0, 1e-6, "rounded"), (3.0, 0.0, "tied"),
             (4.0, 1e-6, "missed"), (0.5, 1e-6, "missed"), (0.5, 0.0, "missed"))  # fmt: skip
    for said, error, expected in cases:
        other = lists([[0, 1, 2, 8]] * 6, [[1, 2, 2, said]] * 6)
        found = compare_lists(EXACT, other, 4, distance="cosine", errors=known_errors(error, 6))
        assert {name: getattr(found, name) for name in ("tied", "rounded", "missed")} == {
            **dict.fromkeys(("tied", "rounded", "missed"), 0),
            expected: 6,
        }, (said, error)


def test_the_last_place_exchanged_by_rounding_is_no_tie():
    exact = lists([[0, 1], [0, 1]], [[1, 2], [1, 2]])
    other = lists([[0, 8], [0, 1]], [[1, 1.999999], [1, 2.000001]])
    found = compare_lists(exact, other, 2, distance="euclidean")
    assert (found.same, found.tied, found.rounded, found.missed) == (1, 0, 1, 0)


@pytest.fixture
def ranked(tmp_path):
    """Return a function that ranks by several rankers and returns the rows of agreement.csv by ranker and k."""

    def run(values, queries, rankers, metrics=("p@1", "p@5"), distance="euclidean"):
        key = {"model": "m", "stage": "s", "epoch": 3, "seed": 0}
        for name, rows in (("q", queries), ("g", values)):
            labels = np.arange(len(rows)) % 3
            write_features(
                tmp_path / f"{name}.h5",
                Features(rows.astype(np.float32), labels, [f"{name}{i}" for i in range(len(rows))], ["a", "b", "c"],
                         record={"settings": {"key": key}}),
            )  # fmt: skip
        for i, ranker in enumerate(rankers):
            rank_gallery(
                queries=tmp_path / "q.h5", gallery=tmp_path / "g.h5", ranking=tmp_path / f"{i}.h5",
                metrics=tmp_path / f"{i}.csv", study="s", retrieval="r", distance=distance,
                settings={**SETTINGS, "metrics": list(metrics)}, code="c", ranker=ranker, device="cpu",
            )  # fmt: skip
        files = [[tmp_path / f"{i}.{end}" for i in range(len(rankers))] for end in ("h5", "csv")]
        compare_rankers(*files, tmp_path / "agreement.csv")
        return {(row["ranker"], int(row["k"])): row for row in read_agreement(tmp_path / "agreement.csv")}

    return run


def test_on_whole_numbers_exhaustive_rankers_differ_in_ties_alone(ranked):
    draw = np.random.default_rng(0)
    found = ranked(draw.integers(0, 3, (200, 4)), draw.integers(0, 3, (50, 4)), ["exact", "faiss_flat", "sklearn"])
    assert set(found) == {(name, k) for name in ("faiss_flat", "sklearn") for k in (1, 5, 12)}
    for (name, _), row in found.items():
        assert (row["rounded"], row["missed"]) == ("0", "0")
        assert int(row["same"]) + int(row["tied"]) == int(row["queries"]) == 50
        assert row["computes"].startswith("in float32" if name == "faiss_flat" else "in float64")
    assert int(found["faiss_flat", 12]["tied"]) > 25


def test_far_from_the_origin_flat_search_in_float32_exchanges_near_items(ranked):
    draw = np.random.default_rng(1)
    # FAISS turns to matrix products where queries times values are many.
    values, queries = (20 + draw.normal(size=(n, 512)) for n in (300, 260))
    row = ranked(values, queries, ["exact", "faiss_flat"])["faiss_flat", 12]
    # Distances that float32 cannot tell apart may change places too.
    assert (int(row["missed"]), int(row["tied"]) < 5) == (0, True)
    assert "‖x‖² − 2xy + ‖y‖²" in row["computes"]
    assert int(row["rounded"]) > 20
    assert 1e-6 < float(row["largest_gap"]) <= 2 * float(row["distance_error"])


def test_cells_that_are_not_looked_into_are_told_from_rounding(ranked):
    draw = np.random.default_rng(2)
    values, queries = draw.normal(size=(300, 6)), draw.normal(size=(40, 6))
    written = {"faiss_ivf": {"lists": 8, "probes": 1}}
    found = ranked(values, queries, ["exact", written, "faiss_hnsw"])
    row = found["faiss_ivf-lists8-probes1", 5]
    assert "cells" in row["misses"]
    assert int(row["missed"]) == int(row["other_items"]) > 10
    assert int(row["rounded"]) == int(row["tied"]) == 0
    assert float(row["distance_error"]) < 1e-5


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_a_near_duplicate_excuses_neither_codes_nor_cells_that_were_not_looked_into(ranked, distance):
    draw = np.random.default_rng(2)
    values, queries = draw.normal(size=(300, 8)), draw.normal(size=(40, 8))
    written = ["exact", {"faiss_ivf": {"lists": 8, "probes": 1}}, {"faiss_pq": {"pieces": 4, "bits": 4}}, "faiss_flat"]

    def told():
        rows = ranked(values, queries, written, distance=distance)
        return {
            name.partition("-")[0]: [int(row[count]) for count in ("tied", "rounded", "missed")]
            for (name, k), row in rows.items()
            if k == 5
        }

    before = told()
    assert (before["faiss_ivf"][2], before["faiss_pq"][2]) > (10, 30)
    values[7] = queries[3] + 1e-5
    after = told()
    for name in ("faiss_ivf", "faiss_pq"):
        assert after[name][:2] == [0, 0]
        assert abs(after[name][2] - before[name][2]) <= 1
    assert before["faiss_flat"] == after["faiss_flat"] == [0, 0, 0]


def test_without_an_exact_ranking_there_is_nothing_to_compare(ranked, tmp_path):
    draw = np.random.default_rng(3)
    assert ranked(draw.normal(size=(30, 4)), draw.normal(size=(5, 4)), ["faiss_flat", "sklearn"]) == {}
    with (tmp_path / "agreement.csv").open(newline="") as file:
        assert tuple(next(csv.reader(file))) == AGREEMENT_COLUMNS


def test_lists_of_other_queries_are_refused(ranked, tmp_path):
    draw = np.random.default_rng(4)
    values = draw.normal(size=(30, 4))
    ranked(values, values[:5], ["exact", "faiss_flat"])
    (tmp_path / "kept.h5").write_bytes((tmp_path / "1.h5").read_bytes())
    (tmp_path / "kept.csv").write_bytes((tmp_path / "1.csv").read_bytes())
    ranked(values, values[:6], ["exact"])
    with pytest.raises(InputError, match="other queries or another gallery"):
        compare_rankers(
            [tmp_path / "0.h5", tmp_path / "kept.h5"], [tmp_path / "0.csv", tmp_path / "kept.csv"], tmp_path / "a.csv"
        )
