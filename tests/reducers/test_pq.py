"""Product quantisation: its search is that of asymmetric distances, by hand and by FAISS."""

import numpy as np
import pytest
from trazo.errors import InputError
from trazo.reducers.contract import reducer_choice
from trazo.reducers.pq import PqOptions


def drawn(items, width=16, seed=0):
    return np.random.default_rng(seed).normal(size=(items, width)).astype(np.float32)


def pq(**options):
    return reducer_choice({"pq": options}).make()


def by_hand(queries, codes, codebooks):
    """Return (Q, N) squared distances of queries to codes, summed over the parts from tables."""
    parts, _, part = codebooks.shape
    cut = queries.reshape(len(queries), parts, 1, part).astype(np.float64)
    tables = ((cut - codebooks) ** 2).sum(axis=-1)
    return sum(tables[:, p, codes[:, p]] for p in range(parts))


def test_euclidean_search_among_its_codes_is_asymmetric_search():
    gallery, queries = drawn(400), drawn(7, seed=1)
    fitted = pq(size=1).fit(gallery)
    packed = fitted.encode(gallery)
    assert packed.shape == (400, 4)
    expected = by_hand(queries, packed, fitted.codebooks_)
    sought, held = fitted.transform_queries(queries), fitted.transform(gallery)
    assert np.array_equal(sought, queries)
    found = ((sought[:, None].astype(np.float64) - held) ** 2).sum(axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    # FAISS sums its tables in single precision.
    distances, items = fitted.index(gallery).search(queries, 400)
    np.testing.assert_allclose(distances, np.take_along_axis(expected, items, axis=1), rtol=1e-5)
    again, _ = fitted.index(held).search(queries, 400)
    assert np.array_equal(again, distances)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_code_is_as_long_as_its_size_says(bits):
    gallery = drawn(300, 64)
    fitted = pq(size=2, bits=bits).fit(gallery)
    assert fitted.encode(gallery).nbytes == fitted.code_bytes(300, 64) == 300 * 4 * 2
    assert fitted.codebooks_.shape == (64 // bits, 2**bits, bits)
    assert fitted.memory_bytes() == 4 * 64 * 2**bits
    # Each part has the nearest of its centroids.
    cut = gallery.reshape(300, -1, 1, bits)
    nearest = ((cut.astype(np.float64) - fitted.codebooks_) ** 2).sum(axis=-1).min(axis=-1).sum(axis=-1)
    lost = ((gallery - fitted.transform(gallery).astype(np.float64)) ** 2).sum(axis=-1)
    np.testing.assert_allclose(lost, nearest, rtol=1e-4)


def test_longer_codes_lose_less():
    gallery, others = drawn(600), drawn(100, seed=1)
    lost = [((pq(size=size).fit(gallery).transform(others) - others) ** 2).mean() for size in (1, 2, 4)]
    assert lost[0] > lost[1] > lost[2]


def test_another_seed_finds_other_centroids():
    first, second = (pq(size=1, bits=4, seed=seed).fit(drawn(400)).codebooks_ for seed in (0, 1))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("options", "shape", "words"),
    [
        ({"size": 3}, (300, 64), "size 3 cuts .* 12 parts of 8 bits, and 64 values .*; sizes that fit: 1, 2, 4, 8, 16"),
        ({"size": 32}, (300, 64), "sizes that fit: 1, 2, 4, 8, 16\\."),
        ({"size": 1}, (300, 10), "sizes that fit: none"),
        ({"size": 1}, (255, 16), r"256 centroids .* at least 256 items, and there are 255; choose `bits: 4`, or add"),
        ({"size": 1, "bits": 4}, (7, 16), "16 centroids .* choose `bits: 2`"),
        ({"size": 1, "bits": 1}, (1, 32), "2 centroids .* there are 1; add items"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_with_what_would(options, shape, words):
    with pytest.raises(InputError, match=words):
        pq(**options).fit(drawn(*shape))


def test_bits_are_of_a_few_kinds():
    with pytest.raises(InputError, match="pq: option 'bits': got 3"):
        pq(size=1, bits=3)
    assert PqOptions(size=4).bits == 8
