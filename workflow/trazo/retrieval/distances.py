"""Distances between blocks of queries and a gallery, on CPU or GPU. What is done with them is in `ranking`.

A distance is a class registered by name: made once from a gallery, then called with a block of queries. torch and
numba are imported where they are used, so that names can be checked without either.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from trazo.errors import InputError
from trazo.registry import Registry

if TYPE_CHECKING:
    import torch

distances: Registry[type[Distance]] = Registry("distance")
# Side of the tiles in which products are made, and what their sides are multiples of. Of fewer rows or columns than
# the least, a matrix product may have other bits than of more.
_TILE, _GRAIN = 384, 64
_LEAST_ROWS, _LEAST_COLUMNS = 4, 16
# Numbers that are computed with at a time on a GPU where that takes several copies of them.
_PIECE = 1 << 22


class Distance:
    """A distance to the items of one gallery.

    Calling it gives *keys*, which increase with the distance and tie where it ties; `finish` makes distances of
    them. (A squared distance ranks as its root does, and is not rounded once more.)

    Parameters
    ----------
    gallery : (N, D) float32 or float64 tensor, or (N, bytes) uint8 where `packed`
        Kept, not copied.
    kept_bytes
        How much memory a prepared copy of the gallery may take; where it would be more, the copy is made anew, in
        tiles, for each block of queries.

    Attributes
    ----------
    packed
        Whether items are packed bits rather than numbers.
    levels
        For distances that are whole numbers: one more than the largest. None for all others.
    """

    packed = False
    levels: int | None = None

    def __init__(self, gallery: torch.Tensor, kept_bytes: int = 1 << 30) -> None:
        self.gallery = gallery
        self.kept_bytes = kept_bytes

    @classmethod
    def refuse_unusable(cls, rows: torch.Tensor) -> None:
        """Do nothing if all rows have this distance.

        Raises
        ------
        InputError
            If one has not; the message names rows.
        """
        if not cls.packed:
            squared_norms_and_sums(rows)

    def __call__(self, queries: torch.Tensor) -> torch.Tensor:
        """Return the keys of (B, D) queries, (B, N) float32, or integers where `levels` is set.

        Raises
        ------
        InputError
            If a row of the queries cannot be used; the message names rows of this block.
        """
        raise NotImplementedError

    def among_itself(self) -> torch.Tensor | None:
        """Return the keys of the gallery's items with each other, (N, N), each pair computed once.

        They are bit for bit those that a call gives. None where a distance has no such way, or not on this device.
        """
        return None

    def finish(self, keys: np.ndarray) -> np.ndarray:
        """Return the distances, float32, of keys that `__call__` gave."""
        return keys.astype(np.float32)


def pairwise(name: str, queries: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
    """Return the distances called `name` between (B, D) queries and an (N, D) gallery, (B, N) float32."""
    import torch

    to_gallery = distances.get(name)(gallery)
    return torch.from_numpy(to_gallery.finish(to_gallery(queries).cpu().numpy())).to(gallery.device)


def _cuts(size: int, tile: int) -> list[tuple[int, int]]:
    """Return [start, stop) ranges of about `tile` that cover `size`, cut at whole multiples of `_GRAIN`.

    None is shorter than `_GRAIN` but the only one.
    """
    pieces = max(1, round(size / tile))
    bounds = sorted({size * i // pieces // _GRAIN * _GRAIN for i in range(pieces)} | {0})
    return list(zip(bounds, [*bounds[1:], size], strict=True))


def _row_pieces(rows: int, width: int) -> list[slice]:
    """Return slices that cover (rows, width) numbers, `_PIECE` or fewer each, of one row at least."""
    step = max(1, _PIECE // max(1, width))
    return [slice(first, first + step) for first in range(0, rows, step)]


def _column_cuts(size: int, tile: int) -> list[tuple[int, int]]:
    """Return `_cuts` whose pieces are whole multiples of `_LEAST_COLUMNS` but for a last small one.

    That one is filled up with zeros, and so copied.
    """
    body = size if size % _LEAST_COLUMNS == 0 or size < 2 * _GRAIN else size // _GRAIN * _GRAIN - _GRAIN
    return [*_cuts(body, tile), *([(body, size)] if body < size else [])]


def _one_thread_each(work: Callable[..., None], tiles: list[tuple[int, ...]]) -> None:
    """Call `work(*tile)` for every tile, in as many threads as torch uses, each of them a single thread to torch.

    Tiles small enough for a core's cache, side by side, take less time than products split among threads; and a
    product's bits do not depend on the number of threads.
    """
    import torch

    from trazo.retrieval.kernels import over_items

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        over_items(lambda tile: work(*tile), tiles, threads)
    finally:
        torch.set_num_threads(threads)


def _filled_up(rows: torch.Tensor, least: int) -> torch.Tensor:
    """Return rows with as many of zeros after them as make their number a multiple of `least`."""
    import torch

    short = -len(rows) % least
    return torch.cat([rows, rows.new_zeros(short, rows.shape[1])]) if short else rows


def _product(rows: torch.Tensor, columns: torch.Tensor, out: torch.Tensor) -> None:
    """Write the inner products of (B, D) and (N, D) rows into `out`, (up to B, N); B is a multiple of `_LEAST_ROWS`.

    The bits of a product are the same whatever stands beside it, so that equal items are equally far, and a query's
    distances do not depend on its batch: no product is made of fewer rows, or columns, than take the common way.
    """
    import torch

    filled = _filled_up(columns, _LEAST_COLUMNS)
    if filled is columns and len(out) == len(rows):
        torch.mm(rows, columns.T, out=out)
    else:
        out.copy_((rows @ filled.T)[: len(out), : len(columns)])


def _products_by_tiles(
    rows: torch.Tensor,
    items: torch.Tensor,
    out: torch.Tensor,
    finish: Callable[[slice, slice], None] = lambda rows, columns: None,
) -> None:
    """Write the inner products of (B, D) rows and (N, D) items into `out`, (B, N), on the CPU.

    `finish(rows, columns)` is called for every tile, while it is still in a core's cache.
    """

    def fill(top: int, bottom: int, left: int, right: int) -> None:
        _product(filled[top:bottom], items[left:right], out[top:bottom, left:right])
        finish(slice(top, min(bottom, len(rows))), slice(left, right))

    filled = _filled_up(rows, _LEAST_ROWS)

    # Of few queries a tile takes more items, as long as every thread has one.
    width = max(_TILE, min(_TILE**2 // max(1, len(rows)), -(-len(items) // _threads())))
    columns = _column_cuts(len(items), width)
    _one_thread_each(fill, [(*each, *tile) for tile in columns for each in _cuts(len(filled), _TILE)])


def _fill_square(size: int, fill: Callable[[int, int, int, int], None], table: np.ndarray) -> None:
    """Fill an (N, N) table by `fill(top, bottom, left, right)` of its diagonal and upper tiles, and mirror these."""
    from trazo.retrieval.kernels import mirror

    def work(top: int, bottom: int, left: int, right: int) -> None:
        fill(top, bottom, left, right)
        if left > top:
            mirror(table, top, bottom, left, right)

    cuts = _column_cuts(size, _TILE)
    _one_thread_each(work, [(*rows, *columns) for i, rows in enumerate(cuts) for columns in cuts[i:]])


def _table(rows: int, columns: int, dtype: type) -> torch.Tensor:
    """Return uninitialised memory for a table, from NumPy: it asks for huge pages, which are touched in less time."""
    import torch

    return torch.from_numpy(np.empty((rows, columns), dtype))


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _refuse_rows(bad: np.ndarray, what: str, remedy: str) -> None:
    rows = np.flatnonzero(bad)
    if rows.size:
        shown = ", ".join(str(row) for row in rows[:10]) + (", …" if rows.size > 10 else "")
        raise InputError(f"{what} in {rows.size} of {bad.size} rows (counted from 0): {shown}. {remedy}")


def _refuse_zero(norms: np.ndarray) -> None:
    _refuse_rows(norms == 0, "zero vectors", "Cosine distance needs a direction; remove them or use euclidean.")


def _refuse_not_finite(rows: torch.Tensor, norms: np.ndarray) -> None:
    import torch

    bad = ~np.isfinite(norms)
    if not bad.any():
        return
    places = np.flatnonzero(bad)
    finite = torch.isfinite(rows[torch.from_numpy(places).to(rows.device)]).all(dim=1).cpu().numpy()
    bad[places[finite]] = False
    _refuse_rows(bad, "NaN or infinity", "Features must be finite numbers; look at what made them.")
    bad[places] = True
    _refuse_rows(bad, "numbers whose squares overflow", "Scale the features down.")


def squared_norms_and_sums(rows: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the squared norms (N,) and the column sums (D,) of (N, D) rows, float64.

    Raises
    ------
    InputError
        If a row holds NaN or infinity.
    """
    import torch

    from trazo.retrieval.kernels import norms_and_sums, over_rows

    if rows.device.type == "cpu":
        array = rows.numpy()
        norms = np.empty(len(array), np.float64)
        partial_sums: dict[int, np.ndarray] = {}

        def work(start: int, stop: int) -> None:
            partial_sums[start] = np.zeros(array.shape[1], np.float64)
            norms_and_sums(array, start, stop, norms, partial_sums[start])

        over_rows(work, *array.shape, _threads())
        sums = np.sum([partial_sums[start] for start in sorted(partial_sums)], axis=0)
    else:
        norms = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64).square().cpu().numpy()
        sums = rows.sum(0, dtype=torch.float64).cpu().numpy()
    _refuse_not_finite(rows, norms)
    return norms, sums


@distances.register("squared_euclidean")
class SquaredEuclidean(Distance):
    """Σ (q − g)², from matrix products, without losing small distances to cancellation.

    |q|² + |g|² − 2 q·g is off by about 1e-7 of |q|² + |g|², so (1) the origin is moved near the gallery's mean,
    where norms are as small as can be, and (2) every pair whose distance is small beside its norms is computed
    again from the difference of its vectors. What remains is off by less than 5e-6 of the distance, and equal
    vectors are at exactly 0.

    The origin is rounded to a grid about as coarse as the data's spread. It stays the same when the gallery is
    permuted, and on data that are themselves on a grid (counts, bits, pixels) products stay exact and equal
    distances tie.
    """

    def __init__(self, gallery: torch.Tensor, kept_bytes: int = 1 << 30) -> None:
        import torch

        super().__init__(gallery, kept_bytes)
        norms, sums = squared_norms_and_sums(gallery)
        self._scales = self._row_scales(norms, own=True)
        norms, sums = self._scaled_moments(norms, sums)
        mean = sums / len(norms)
        spread = max(norms.mean() - mean @ mean, 0.0) / len(mean)
        self._centre = np.zeros_like(mean)
        if spread > 1e-12 * norms.mean() / len(mean):
            step = 2.0 ** np.floor(np.log2(spread) / 2)
            self._centre = np.rint(mean / step) * step
            # A move that makes norms next to no smaller is not worth a copy of the gallery.
            if norms.mean() - self._centre @ (2 * mean - self._centre) > 0.98 * norms.mean():
                self._centre = np.zeros_like(mean)
        elif norms.any():
            self._centre = mean
        # How much of |q|² + |g|² a distance must be to be trusted: rounding errors of a sum of D products grow as
        # √D up to the length at which matrix products start a new sum.
        self._tolerance = 0.0125 + 0.0215 * np.sqrt(min(gallery.shape[1], 400) / 3)
        self._kept = None
        if gallery.dtype.itemsize == 4 and not self._centre.any() and (self._scales == 1).all():
            # There is nothing to move or to scale: the gallery serves as it is.
            self._kept = gallery, torch.from_numpy(norms.astype(np.float32)).to(gallery.device)
        elif gallery.shape[0] * gallery.shape[1] * 4 <= kept_bytes:
            self._kept = self._prepared(gallery, self._scales)

    def _row_scales(self, norms: np.ndarray, own: bool) -> np.ndarray:
        """Return what to multiply rows of these squared norms with, (N,) float64: here one power of two for all."""
        if own:
            largest = norms.max()
            inside = 1e-12 < largest < 1e12
            self._scale = 1.0 if inside or largest == 0 else 2.0 ** -np.round(np.log2(largest) / 2)
        if norms.size and norms.max() * self._scale**2 > 1e30:
            raise InputError("queries are over 1e15 times as long as any gallery item; are these the same features?")
        return np.full(len(norms), self._scale)

    def _scaled_moments(self, norms: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return norms * self._scale**2, sums * self._scale

    def _prepared(self, rows: torch.Tensor, scales: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rows · scale − centre, (n, D) float32, and its squared norms, (n,) float32."""
        import torch

        from trazo.retrieval.kernels import over_rows, scale_and_shift

        if rows.device.type != "cpu":
            factors, centre = (torch.from_numpy(each).to(rows.device) for each in (scales, self._centre))
            moved = torch.empty(rows.shape, dtype=torch.float32, device=rows.device)
            for piece in _row_pieces(*rows.shape):
                moved[piece] = (rows[piece] * factors[piece, None] - centre).float()
            return moved, torch.linalg.vector_norm(moved, dim=1, dtype=torch.float64).square().float()
        array = rows.numpy()
        moved, norms = torch.empty(rows.shape, dtype=torch.float32).numpy(), np.empty(len(array), np.float32)

        def work(start: int, stop: int) -> None:
            scale_and_shift(array, scales, self._centre, start, stop, moved, norms)

        over_rows(work, *array.shape, _threads())
        return torch.from_numpy(moved), torch.from_numpy(norms)

    def __call__(self, queries: torch.Tensor) -> torch.Tensor:
        import torch

        norms, _ = squared_norms_and_sums(queries)
        scales = self._row_scales(norms, own=False)
        moved, query_norms = self._prepared(queries, scales)
        size, dimensions = self.gallery.shape
        on_cpu = queries.device.type == "cpu"
        if on_cpu:
            out = _table(len(moved), size, np.float32)
        else:
            out = torch.empty(len(moved), size, dtype=torch.float32, device=queries.device)
        piece = max(1024, self.kept_bytes // (dimensions * 16))
        for first, last in [(0, size)] if self._kept else _cuts(size, piece):
            if self._kept:
                items, item_norms = self._kept
            else:
                items, item_norms = self._prepared(self.gallery[first:last], self._scales[first:last])
            products = out[:, first:last]
            given = (query_norms, item_norms, queries, scales, first)
            if on_cpu:
                _products_by_tiles(moved, items, products, functools.partial(self._complete, products, *given))
            else:
                with _full_precision():
                    torch.mm(moved, items.T, out=products)
                self._complete_on_device(products, *given)
        return out

    def among_itself(self) -> torch.Tensor | None:
        if self._kept is None or self.gallery.device.type != "cpu":
            return None
        moved, norms = self._kept
        table = _table(len(moved), len(moved), np.float32)

        def fill(top: int, bottom: int, left: int, right: int) -> None:
            rows = _filled_up(moved[top:bottom], _LEAST_ROWS)
            _product(rows, moved[left:right], table[top:bottom, left:right])
            self._complete(table, norms, norms, self.gallery, self._scales, 0, slice(top, bottom), slice(left, right))

        _fill_square(len(moved), fill, table.numpy())
        return table

    def _complete(
        self,
        products: torch.Tensor,
        query_norms: torch.Tensor,
        item_norms: torch.Tensor,
        queries: torch.Tensor,
        scales: np.ndarray,
        first: int,
        rows: slice,
        columns: slice,
    ) -> None:
        """Turn a tile of products into squared distances in place; the close ones are computed from differences.

        Columns of the products, and `item_norms`, are of the gallery's items from `first` on.
        """
        import torch

        from trazo.retrieval.kernels import squares_from_products

        items = slice(first + columns.start, first + columns.stop)
        gallery, gallery_scales = self.gallery[items], self._scales[items]
        plain = gallery.dtype == torch.float32 and bool((scales[rows] == 1).all() and (gallery_scales == 1).all())
        squares_from_products(
            products.numpy(),
            query_norms.numpy(),
            item_norms[columns].numpy(),
            np.float32(self._tolerance),
            queries.numpy(),
            gallery.numpy(),
            scales,
            gallery_scales,
            plain,
            columns.start,
            columns.stop,
            rows.start,
            rows.stop,
        )

    def _complete_on_device(
        self,
        products: torch.Tensor,
        query_norms: torch.Tensor,
        item_norms: torch.Tensor,
        queries: torch.Tensor,
        scales: np.ndarray,
        first: int,
    ) -> None:
        """Do what `_complete` does in torch operations alone, for all products at once."""
        import torch

        columns = slice(first, first + products.shape[1])
        gallery, gallery_scales = self.gallery[columns], self._scales[columns]
        both = query_norms[:, None] + item_norms
        products.mul_(-2).add_(both)
        close_queries, close_items = (products <= self._tolerance * both).nonzero(as_tuple=True)
        own = torch.from_numpy(scales).to(queries.device)
        others = torch.from_numpy(gallery_scales).to(queries.device)
        chunk = max(1, _PIECE // gallery.shape[1])
        for start in range(0, len(close_queries), chunk):
            i, j = close_queries[start : start + chunk], close_items[start : start + chunk]
            difference = queries[i] * own[i, None] - gallery[j] * others[j, None]
            products[i, j] = difference.square().sum(1).float()

    def finish(self, keys: np.ndarray) -> np.ndarray:
        # Beyond float32, infinity is the right value.
        with np.errstate(over="ignore"):
            return (keys.astype(np.float64) / self._scale**2).astype(np.float32)


class _full_precision:
    """Within it, float32 products on a GPU are float32 products, whatever the process has allowed elsewhere."""

    def __enter__(self) -> None:
        import torch

        self._before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False

    def __exit__(self, *_: object) -> None:
        import torch

        torch.backends.cuda.matmul.allow_tf32 = self._before


@distances.register("euclidean")
class Euclidean(SquaredEuclidean):
    """√Σ (q − g)²; see `SquaredEuclidean`."""

    def finish(self, keys: np.ndarray) -> np.ndarray:
        return (np.sqrt(keys, dtype=np.float64) / self._scale).astype(np.float32)


@distances.register("cosine")
class Cosine(SquaredEuclidean):
    """1 − q·g / (|q| |g|), computed as half the squared distance of the normalised vectors, which does not cancel."""

    _scale = 1.0

    @classmethod
    def refuse_unusable(cls, rows: torch.Tensor) -> None:
        """As `Distance.refuse_unusable`."""
        _refuse_zero(squared_norms_and_sums(rows)[0])

    def _row_scales(self, norms: np.ndarray, own: bool) -> np.ndarray:
        _refuse_zero(norms)
        return 1.0 / np.sqrt(norms)

    def _scaled_moments(self, norms: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import torch

        from trazo.retrieval.kernels import scaled_sums

        if self.gallery.device.type == "cpu":
            sums = np.zeros_like(sums)
            scaled_sums(self.gallery.numpy(), self._scales, 0, len(norms), sums)
        else:
            scales = torch.from_numpy(self._scales).to(self.gallery.device)
            pieces = (scales[piece] @ self.gallery[piece].double() for piece in _row_pieces(*self.gallery.shape))
            sums = sum(pieces).cpu().numpy()
        return np.ones_like(norms), sums

    def finish(self, keys: np.ndarray) -> np.ndarray:
        return (keys * np.float32(0.5)).astype(np.float32)


@distances.register("inner_product")
class InnerProduct(Distance):
    """−q·g: the larger the product, the closer."""

    def __init__(self, gallery: torch.Tensor, kept_bytes: int = 1 << 30) -> None:
        super().__init__(gallery, kept_bytes)
        self._longest = float(squared_norms_and_sums(gallery)[0].max()) ** 0.5

    def __call__(self, queries: torch.Tensor) -> torch.Tensor:

        norms, _ = squared_norms_and_sums(queries)
        if norms.size and float(norms.max()) ** 0.5 * self._longest > 1e38:
            raise InputError("inner products of these features overflow float32; scale them down.")
        if queries.device.type == "cpu":
            out = _table(len(queries), len(self.gallery), queries.numpy().dtype)
            _products_by_tiles(queries, self.gallery, out)
            return out.neg_().float()
        with _full_precision():
            return (queries @ self.gallery.T).neg_().float()


@distances.register("manhattan")
class Manhattan(Distance):
    """Σ |q − g|."""

    def __init__(self, gallery: torch.Tensor, kept_bytes: int = 1 << 30) -> None:
        super().__init__(gallery, kept_bytes)
        self._longest = float(squared_norms_and_sums(gallery)[0].max()) ** 0.5

    def __call__(self, queries: torch.Tensor) -> torch.Tensor:
        import torch

        from trazo.retrieval.kernels import manhattan, over_rows

        norms, _ = squared_norms_and_sums(queries)
        # A sum of absolute values is at most √D times the root of the sum of squares.
        if norms.size and (float(norms.max()) ** 0.5 + self._longest) * queries.shape[1] ** 0.5 > 3e38:
            raise InputError("Manhattan distances of these features may overflow float32; scale them down.")
        if queries.device.type != "cpu":
            return torch.cdist(queries, self.gallery, p=1).float()
        out = np.empty((len(queries), len(self.gallery)), np.float32)
        own, others = queries.numpy(), self.gallery.numpy()
        over_rows(lambda start, stop: manhattan(own, others, out, start, stop), len(own), others.size, _threads())
        return torch.from_numpy(out)


@distances.register("hamming")
class Hamming(Distance):
    """The number of bits that differ, of packed bits: population counts on the CPU, ±1 products on a GPU."""

    packed = True

    def __init__(self, gallery: torch.Tensor, kept_bytes: int = 1 << 30) -> None:

        super().__init__(gallery, kept_bytes)
        self.levels = gallery.shape[1] * 8 + 1
        self._kind = np.int16 if self.levels <= 1 << 15 else np.int32
        self._words = self._as_words(gallery) if gallery.device.type == "cpu" else None

    @staticmethod
    def _as_words(packed: torch.Tensor) -> np.ndarray:
        """Return (n, bytes) uint8 as (n, words) uint64, the last word filled up with zero bits."""
        rows = packed.numpy()
        short = -rows.shape[1] % 8
        if short:
            rows = np.pad(rows, ((0, 0), (0, short)))
        return np.ascontiguousarray(rows).view(np.uint64)

    def __call__(self, queries: torch.Tensor) -> torch.Tensor:

        from trazo.retrieval.kernels import hamming, over_rows

        if self._words is None:
            return self._by_products(queries)
        words = self._as_words(queries)
        out = _table(len(words), len(self._words), self._kind)
        over_rows(
            lambda start, stop: hamming(words, self._words, out.numpy(), 0, len(self._words), start, stop),
            len(words),
            self._words.size,
            _threads(),
        )
        return out

    def among_itself(self) -> torch.Tensor | None:

        if self._words is None:
            return None
        from trazo.retrieval.kernels import hamming

        size, words = len(self._words), self._words
        table = _table(size, size, self._kind)
        array = table.numpy()

        def fill(top: int, bottom: int, left: int, right: int) -> None:
            hamming(words, words, array, left, right, top, bottom)

        _fill_square(size, fill, array)
        return table

    def _by_products(self, queries: torch.Tensor) -> torch.Tensor:
        import torch

        kind = torch.float16 if queries.device.type == "cuda" else torch.float32
        products = torch.zeros(len(queries), len(self.gallery), dtype=torch.float32, device=queries.device)
        # 2,048 bits at a time: whole numbers up to there are exact in float16, in which the products are returned.
        for first in range(0, queries.shape[1], 256):
            own = _signs(queries[:, first : first + 256], kind)
            tile = max(1, self.kept_bytes // (own.shape[1] * 4))
            for start in range(0, len(self.gallery), tile):
                others = _signs(self.gallery[start : start + tile, first : first + 256], kind)
                products[:, start : start + tile] += (own @ others.T).float()
        return (self.levels - 1 - products).div_(2).to(torch.int32)


def _signs(packed: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    """Return (n, bytes) packed bits as (n, 8 · bytes) numbers, −1 and 1."""
    import torch

    shifts = torch.arange(8, device=packed.device, dtype=torch.uint8)
    bits = (packed[:, :, None] >> shifts) & 1
    return bits.reshape(len(packed), -1).to(kind).mul_(2).sub_(1)
