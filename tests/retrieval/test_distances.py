"""Distances against float64 definitions, above all where matrix products cancel."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trazo.errors import InputError
from trazo.retrieval.distances import Hamming, SquaredEuclidean, distances, pairwise

REFERENCES = {
    "euclidean": lambda q, g: np.sqrt(np.square(q[:, None] - g).sum(-1)),
    "squared_euclidean": lambda q, g: np.square(q[:, None] - g).sum(-1),
    "cosine": lambda q, g: 0.5 * np.square(unit(q)[:, None] - unit(g)).sum(-1),
    "inner_product": lambda q, g: -(q @ g.T),
    "manhattan": lambda q, g: np.abs(q[:, None] - g).sum(-1),
}


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def of(name: str, queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    return pairwise(name, torch.from_numpy(queries), torch.from_numpy(gallery)).numpy()


def clustered(seed: int, size: int, dimensions: int, offset: float, tightness: float) -> np.ndarray:
    """Return features far from the origin, in clusters whose members are close together."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(8, dimensions)) + offset
    return (centres[draw.integers(0, 8, size)] + tightness * draw.normal(size=(size, dimensions))).astype(np.float32)


@pytest.mark.parametrize("name", sorted(REFERENCES))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distances_equal_their_float64_definition(name: str, dtype: type) -> None:
    draw = np.random.default_rng(0)
    queries = (draw.normal(size=(9, 33)) + 0.3).astype(dtype)
    gallery = (draw.normal(size=(50, 33)) + 0.3).astype(dtype)
    expected = REFERENCES[name](queries.astype(np.float64), gallery.astype(np.float64))
    np.testing.assert_allclose(of(name, queries, gallery), expected, rtol=4e-6, atol=2e-5)


def test_every_registered_distance_has_a_reference_here() -> None:
    assert {*REFERENCES, "hamming"} == set(distances.names())


@pytest.mark.parametrize("offset", [0.0, 3.0, 1000.0])
@pytest.mark.parametrize("tightness", [1.0, 0.3, 0.01, 0.0001])
@pytest.mark.parametrize("dimensions", [3, 64, 1024])
def test_small_euclidean_distances_are_not_lost_to_cancellation(
    offset: float, tightness: float, dimensions: int
) -> None:
    rows = clustered(1, 120, dimensions, offset, tightness)
    exact = REFERENCES["euclidean"](rows[:40].astype(np.float64), rows.astype(np.float64))
    found = of("euclidean", rows[:40], rows)
    np.testing.assert_allclose(found, exact, rtol=5e-6, atol=0)


@pytest.mark.parametrize("name", ["euclidean", "squared_euclidean", "cosine", "manhattan"])
def test_a_duplicate_is_at_distance_zero(name: str) -> None:
    rows = clustered(2, 60, 200, 50.0, 1.0)
    gallery = np.concatenate([rows, rows])
    found = of(name, rows, gallery)
    each = np.arange(len(rows))
    assert (found[each, each] == 0).all()
    assert (found[each, each + len(rows)] == 0).all()


def test_tight_clusters_keep_their_order_under_cosine() -> None:
    rows = clustered(3, 100, 64, 2.0, 0.001)
    exact = REFERENCES["cosine"](rows.astype(np.float64), rows.astype(np.float64))
    np.testing.assert_allclose(of("cosine", rows, rows), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize("scale", [1e-22, 1e-8, 1e8, 1e18])
def test_very_small_and_very_large_features_neither_vanish_nor_overflow(scale: float) -> None:
    rows = (np.random.default_rng(4).normal(size=(30, 16)) * scale).astype(np.float32)
    exact = REFERENCES["euclidean"](rows.astype(np.float64), rows.astype(np.float64))
    np.testing.assert_allclose(of("euclidean", rows, rows), exact, rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([1, 2, 5, 30]), st.integers(1, 200))
def test_equal_distances_of_whole_numbers_tie_exactly(seed: int, size: int, levels: int, dimensions: int) -> None:
    draw = np.random.default_rng(seed)
    rows = draw.integers(0, levels + 1, (size, dimensions)).astype(np.float32)
    exact = REFERENCES["squared_euclidean"](rows, rows)
    np.testing.assert_array_equal(of("squared_euclidean", rows, rows), exact)


def test_a_query_gets_the_same_bits_alone_and_in_a_batch() -> None:
    rows = clustered(5, 300, 130, 1.0, 0.5)
    for name in distances.names():
        gallery = np.packbits(rows > 1, axis=1) if name == "hamming" else rows
        to_gallery = distances.get(name)(torch.from_numpy(gallery))
        together = to_gallery(torch.from_numpy(gallery[:50])).numpy()
        for batch in (1, 2, 7):
            parts = [to_gallery(torch.from_numpy(gallery[i : min(i + batch, 50)])).numpy() for i in range(0, 50, batch)]
            np.testing.assert_array_equal(np.concatenate(parts), together)


@pytest.mark.parametrize("name", ["euclidean", "squared_euclidean", "cosine", "hamming"])
@pytest.mark.parametrize("size", [2, 63, 450, 1025, 2300])
def test_a_gallery_with_itself_has_the_bits_that_its_items_have_as_queries(name: str, size: int) -> None:
    rows = clustered(7, size, 70, 0.5, 0.6)
    gallery = torch.from_numpy(np.packbits(rows > 1, axis=1) if name == "hamming" else rows)
    to_gallery = distances.get(name)(gallery)
    table = to_gallery.among_itself().numpy()
    np.testing.assert_array_equal(table, to_gallery(gallery).numpy())


@pytest.mark.parametrize("size", [3, 1026, 2500])
def test_tiles_of_a_gallery_that_is_not_copied_change_no_bit(size: int) -> None:
    rows = torch.from_numpy(clustered(6, size, 20, 4.0, 0.5))
    whole, tiled = SquaredEuclidean(rows), SquaredEuclidean(rows, kept_bytes=0)
    np.testing.assert_array_equal(tiled(rows[:9]).numpy(), whole(rows[:9]).numpy())


@pytest.mark.parametrize("offset", [0.0, 4.0])
def test_the_number_of_threads_changes_no_bit_and_is_left_as_it_was(offset: float) -> None:
    rows = torch.from_numpy(clustered(8, 1300, 150, offset, 0.5))
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            to_gallery = SquaredEuclidean(rows)
            found.append((to_gallery(rows[:700]).numpy(), to_gallery.among_itself().numpy()))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for called, square in found[1:]:
        np.testing.assert_array_equal(called, found[0][0])
        np.testing.assert_array_equal(square, found[0][1])


@pytest.mark.parametrize("bits", [1, 8, 63, 64, 65, 2048, 5000])
@pytest.mark.parametrize("queries", [1, 4, 6])
def test_hamming_counts_differing_bits(bits: int, queries: int) -> None:
    draw = np.random.default_rng(bits)
    own, others = draw.random((queries, bits)) < 0.5, draw.random((40, bits)) < 0.5
    packed, gallery = (torch.from_numpy(np.packbits(each, axis=1)) for each in (own, others))
    expected = (own[:, None] != others).sum(-1)
    to_gallery = Hamming(gallery)
    np.testing.assert_array_equal(to_gallery(packed).numpy(), expected)
    np.testing.assert_array_equal(to_gallery._by_products(packed).numpy(), expected)


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_rows_that_are_not_finite_are_named(name: str) -> None:
    rows = np.ones((6, 3), np.float32)
    rows[4, 1], rows[2, 0] = np.nan, np.inf
    with pytest.raises(InputError, match=r"NaN or infinity in 2 of 6 rows.*2, 4"):
        of(name, np.ones((2, 3), np.float32), rows)
    with pytest.raises(InputError, match=r"2, 4"):
        of(name, rows, np.ones((2, 3), np.float32))


def test_a_zero_vector_has_no_cosine_distance() -> None:
    rows = np.ones((5, 3), np.float32)
    rows[3] = 0
    with pytest.raises(InputError, match=r"zero vectors in 1 of 5 rows.*: 3\."):
        of("cosine", rows[:2], rows)


def test_names_of_distances_and_metrics_are_known_without_torch() -> None:
    code = (
        "import sys; from trazo.retrieval.distances import distances; "
        "from trazo.retrieval.metrics import validate_metric; "
        "distances.get('cosine'); validate_metric('map@10'); "
        "sys.exit(bool({'torch', 'numba'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": "workflow"}, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["euclidean", "cosine", "inner_product"])
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_duplicates_are_equally_far_wherever_they_stand(name: str, threads: int) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for size in [*range(2, 70), 100, 203, 391, 450]:
            draw = np.random.default_rng(size)
            distinct = draw.normal(size=(max(1, size // 3), 37)).astype(np.float32)
            which = draw.integers(0, len(distinct), size)
            found = of(name, draw.normal(size=(3, 37)).astype(np.float32), distinct[which])
            for row in range(len(distinct)):
                equal = found[:, which == row]
                assert (equal == equal[:, :1]).all(), (size, row)
    finally:
        torch.set_num_threads(before)


def test_manhattan_distances_beyond_float32_are_refused() -> None:
    rows = np.array([[3e38, 0], [-3e38, 1]], np.float32)
    with pytest.raises(InputError, match="overflow"):
        of("manhattan", rows, rows)


def test_numbers_too_large_to_square_are_not_called_infinite() -> None:
    rows = np.array([[1.0, 2.0], [1e200, 1.0]])
    with pytest.raises(InputError, match=r"squares overflow in 1 of 2 rows.*: 1\."):
        of("euclidean", rows, rows)
