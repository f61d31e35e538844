"""Lists of other rankers beside the exact ones: what differs, and what explains it."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from trazo.errors import InputError
from trazo.retrieval.agreement import compare_lists, compare_rankers, distance_error
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
    found = compare_lists(EXACT, other, 4)
    assert (found.queries, found.same, found.tied, found.rounded, found.missed) == (6, 2, 1, 0, 3)
    assert (found.other_items, found.distance_error) == (2, 0)
    # Item 0 stands where item 1 should: 1 in place of 2, half of it.
    assert found.largest_gap == 0.5
    found = compare_lists(EXACT, other, 2)
    # The tie is cut: either of two items is right, and they are other items.
    assert (found.same, found.tied, found.missed, found.other_items) == (4, 1, 1, 1)


def test_what_lies_within_the_ranker_s_own_error_is_rounding():
    near = lists([[0, 1, 2, 3]] * 3, [[1, 2, 2.0001, 3]] * 3)
    other = lists([[0, 2, 1, 3], [1, 0, 2, 3], [0, 1, 2, 3]], [[1, 2, 2.0003, 3], [1, 2, 2, 3], [1, 2, 2.0001, 3]])
    error = distance_error(near, replace(other, top_distances=near.top_distances * np.float32(1.0001)))
    assert error > 1e-4
    found = compare_lists(near, other, 4, error=1e-4)
    assert (found.same, found.tied, found.rounded, found.missed) == (1, 0, 1, 1)
    assert compare_lists(near, other, 4, error=0.0).rounded == 0


def test_an_item_that_was_not_kept_is_as_far_as_the_other_ranker_says_and_no_nearer_than_the_last_kept():
    for said, rounded in ((3.0000002, 1), (0.5, 0), (4.0, 0)):
        other = lists([[0, 1, 2, 8]] * 6, [[1, 2, 2, said]] * 6)
        found = compare_lists(EXACT, other, 4, error=1e-6)
        assert (found.rounded, found.missed) == ((6, 0) if rounded else (0, 6) if said == 4.0 else (0, 0))
        # Nearer than the last one kept cannot be: by its account it is tied with it.
        assert found.tied == (6 if said == 0.5 else 0)


@pytest.fixture
def ranked(tmp_path):
    """Return a function that ranks by several rankers and returns the rows of agreement.csv by ranker and k."""

    def run(values, queries, rankers, metrics=("p@1", "p@5")):
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
                metrics=tmp_path / f"{i}.csv", study="s", retrieval="r", distance="euclidean",
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
