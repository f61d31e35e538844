"""Nearest neighbours, and UMAP's graph of them: what the reducers share that learn from it.

Neighbours are exact: for the tens of thousands of items of a gallery a product of matrices finds them as fast as an
approximate index does, leaves nothing to be saved but the features, and gives each item the same ones alone or among
others. Light to import, as all modules beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from trazo.errors import InputError
from trazo.progress import warnings_in_the_log
from trazo.reducers.contract import Reducer, ReducerOptions

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

# Of values of vectors of length 1, in single precision.
_ROUNDING = 1e-6
# Values of one block of distances, and of one block of differences between features.
_BLOCK = 1 << 23


class NeighbourOptions(ReducerOptions):
    """Options of reducers that learn from UMAP's graph."""

    size: int = Field(ge=1, description="values of a code")
    n_neighbors: int = Field(15, ge=2, le=1000, description="neighbours an item is to stay near to, itself one of them")
    min_dist: float = Field(0.1, ge=0, le=1, description="least distance between codes that are to lie together")
    metric: Literal["euclidean", "cosine", "correlation"] = Field(
        "euclidean", description="distance between features: `euclidean`, `cosine` or `correlation`"
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of all that is drawn")


def check_neighbours(name: str, options: NeighbourOptions, items: int, width: int) -> None:
    """Refuse options that do not fit `items` features of `width` values; `name` is the reducer's.

    Raises
    ------
    InputError
        If they do not fit; the message says what would.
    """
    if options.size > width:
        raise InputError(
            f"{name}: codes of {options.size} values are longer than features of {width}; choose a size up to {width}."
        )
    if options.n_neighbors >= items:
        fits = f"choose `n_neighbors` up to {items - 1}, or add items" if items > 2 else "add items"
        raise InputError(
            f"{name}: {options.n_neighbors} neighbours need more than {options.n_neighbors} items, and there are "
            f"{items}; {fits}."
        )


def by_metric(values: np.ndarray, metric: str) -> np.ndarray:
    """Return features (N, D) float32 whose Euclidean distances order items as the metric does.

    By cosine and correlation they are of unit length; one of zeros only (one value only) has no direction and stays
    zero, as far from all others.
    """
    if metric == "euclidean":
        return np.ascontiguousarray(values, dtype=np.float32)
    exact = values.astype(np.float64)
    if metric == "correlation":
        exact -= exact.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    return (exact / np.where(lengths > 0, lengths, 1)).astype(np.float32)


class Neighbours:
    """Exact nearest neighbours among items, the same whatever is asked for beside.

    Attributes
    ----------
    items
        (N, D) float32, as `by_metric` gives them.
    norms
        (N,) float32 squared lengths.
    """

    def __init__(self, items: np.ndarray, metric: str) -> None:
        self.items = items
        self.metric = metric
        with np.errstate(over="ignore"):
            self.norms = np.einsum("nd,nd->n", items, items, dtype=np.float64).astype(np.float32)
        if not np.isfinite(self.norms).all():
            raise InputError(
                f"features as large as {np.abs(items).max():.3g} have no distances in single precision; scale them."
            )

    def nearest(self, values: np.ndarray, count: int, *, themselves: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return positions (M, count) int32 and distances (M, count) float32 of each value's nearest items.

        Nearest first; of items at one distance the first in place comes first.

        Parameters
        ----------
        values : (M, D) float32, as `by_metric` gives them
        count
            At most as many as there are items.
        themselves
            The values are the items: each comes first in its own list, before others that equal it.
        """
        rows = max(1, _BLOCK // len(self.items))
        starts = range(0, len(values), rows)
        found = [self._nearest(values[s : s + rows], count, s if themselves else None) for s in starts]
        if not found:
            return np.empty((0, count), np.int32), np.empty((0, count), np.float32)
        indices, distances = (np.concatenate(part) for part in zip(*found, strict=True))
        return indices, distances

    def _nearest(self, block: np.ndarray, count: int, first: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Return `nearest` of a block of values; of the items themselves, the block begins at the `first`."""
        own = np.einsum("nd,nd->n", block, block, dtype=np.float64)
        # Without the value's own length, which is the same for all items.
        rough = self.norms - 2 * (block @ self.items.T)
        # What single precision may be wrong by, several times over: all that might be among the nearest are kept.
        error = 4 * np.finfo(np.float32).eps * np.sqrt(block.shape[1]) * (own + float(self.norms.max()))
        cut = np.partition(rough, count - 1, axis=1)[:, count - 1] + 2 * error
        rows, items = np.nonzero(rough <= cut[:, None])
        squared = self._squared_distances(block, rows, items)
        order = squared if first is None else np.where(rows + first == items, -1, squared)
        chosen = np.lexsort((items, order, rows))
        chosen = chosen[np.searchsorted(rows, np.arange(len(block)))[:, None] + np.arange(count)]
        exact = squared[chosen]
        distances = np.sqrt(exact) if self.metric == "euclidean" else exact / 2
        return items[chosen].astype(np.int32), distances.astype(np.float32)

    def _squared_distances(self, block: np.ndarray, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return (P,) float64 squared distances of pairs of a row of the block and an item."""
        pairs = max(1, _BLOCK // block.shape[1])
        found = np.empty(len(rows))
        for start in range(0, len(rows), pairs):
            some = slice(start, start + pairs)
            apart = block[rows[some]].astype(np.float64) - self.items[items[some]]
            found[some] = np.einsum("pd,pd->p", apart, apart)
        return found


def learnable_graphs(several: Sequence[Reducer], values: np.ndarray) -> Graphs:
    """Return the graphs of (N, D) features for some reducers that are to learn from them.

    Raises
    ------
    InputError
        If the features do not fit the options, are no numbers, or are all the same by a metric asked for.
    """
    for one in several:
        one.check(*values.shape)
    several[0].need_learnable(values)
    graphs = Graphs(values, [one.options for one in several])
    for one in several:
        if one.options.metric != "euclidean":
            items = graphs.neighbours(one.options.metric).items
            # Of length 1: what differs less than their rounding is the same.
            if np.abs(items - items[:1]).max() <= _ROUNDING:
                raise InputError(
                    f"{one.name}: by `metric: {one.options.metric}` the features of all {len(items)} items are the "
                    "same; choose `metric: euclidean`, or look at what made them."
                )
    return graphs


class Graphs:
    """UMAP's graphs of one set of features: each is made once, for all options that ask for it.

    Parameters
    ----------
    values : (N, D) float32 features
    options
        Of all reducers that will ask.
    """

    def __init__(self, values: np.ndarray, options: Sequence[NeighbourOptions]) -> None:
        self._values = values
        self._options = options
        self._neighbours: dict[str, Neighbours] = {}
        self._nearest: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._graphs: dict[tuple[str, int], csr_matrix] = {}

    def neighbours(self, metric: str) -> Neighbours:
        """Return the features by a metric, to be searched."""
        if metric not in self._neighbours:
            self._neighbours[metric] = Neighbours(by_metric(self._values, metric), metric)
        return self._neighbours[metric]

    def nearest(self, metric: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the `count` nearest items of each, itself first: positions and distances (N, count)."""
        if metric not in self._nearest:
            most = max(one.n_neighbors for one in self._options if one.metric == metric)
            searched = self.neighbours(metric)
            self._nearest[metric] = searched.nearest(searched.items, most, themselves=True)
        indices, distances = self._nearest[metric]
        return np.ascontiguousarray(indices[:, :count]), np.ascontiguousarray(distances[:, :count])

    def graph(self, options: NeighbourOptions) -> csr_matrix:
        """Return the graph of nearest neighbours, (N, N) sparse float32 weights from 0 to 1, symmetric."""
        key = options.metric, options.n_neighbors
        if key not in self._graphs:
            from umap.umap_ import fuzzy_simplicial_set

            indices, distances = self.nearest(*key)
            with one_thread():
                self._graphs[key], _, _ = fuzzy_simplicial_set(
                    indices, options.n_neighbors, None, options.metric, knn_indices=indices, knn_dists=distances
                )
        return self._graphs[key]


def curve(min_dist: float) -> tuple[float, float]:
    """Return a, b of 1 / (1 + a d^2b), how near codes at distance d count as, for UMAP's spread of 1."""
    from umap.umap_ import find_ab_params

    a, b = find_ab_params(1.0, min_dist)
    return float(a), float(b)


@cache
def keep_compiled() -> None:
    """Let numba keep on disk what it compiles of umap-learn, so that only a machine's first job waits for it.

    Where numba finds no folder to write to, each job compiles anew.
    """
    import umap.layouts
    import umap.umap_
    from numba.core.dispatcher import Dispatcher

    for module in (umap.umap_, umap.layouts):
        for function in vars(module).values():
            if isinstance(function, Dispatcher) and function.__module__ == module.__name__:
                with suppress(RuntimeError):
                    function.enable_caching()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let umap-learn compute in one thread, and say in the log what it warns of."""
    import numba

    keep_compiled()
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with warnings_in_the_log("umap-learn"):
            yield
    finally:
        numba.set_num_threads(threads)
