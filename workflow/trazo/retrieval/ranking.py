"""From features and labels to metrics and nearest items, exactly, a block of queries at a time.

No ranking is kept: a query's distances are sorted by value (or counted, where they are whole numbers or few are
relevant), and its relevant items are found among them; ties come out of the same search. Distances and metrics are
their own modules.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
import torch

from trazo.device import Blocks, fits_or_says
from trazo.errors import InputError
from trazo.retrieval import kernels
from trazo.retrieval.distances import Distance, distances
from trazo.retrieval.metrics import Metric, TieGroups, evaluate, expand_metrics, validate_metric

# Up to this many times log2(N) relevant items, comparing all N with each takes less time than sorting them.
_FEW = 8


@dataclass
class Ranking:
    """What `rank` found of Q queries.

    Attributes
    ----------
    metrics : list of M names
        Families written out.
    values : (Q, M) float64
        NaN in the rows of queries that were not evaluated, so that no mean can take them in unnoticed.
    evaluated : (Q,) bool
        False where no item of the gallery is relevant.
    relevant : (Q,) int64
        How many are.
    top_indices, top_distances : (Q, K) int64, (Q, K) float32
        The nearest items, nearest first; those at one distance in the order that `rank` was given for ties.
    seconds : dict
        Time spent on "distances" (with their preparation) and on "ranking" (sorting, counting, metrics).
    excluded : int
        How many queries were not evaluated.
    """

    metrics: list[str]
    values: np.ndarray
    evaluated: np.ndarray
    relevant: np.ndarray
    top_indices: np.ndarray
    top_distances: np.ndarray
    seconds: dict[str, float]
    excluded: int


@dataclass
class GalleryClasses:
    """Where the gallery's items of each class are: class c at `members[offsets[c]:offsets[c + 1]]`."""

    classes: np.ndarray
    members: np.ndarray
    offsets: np.ndarray
    codes: np.ndarray
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.codes)

    @classmethod
    def of(cls, labels: np.ndarray) -> GalleryClasses:
        classes, codes = np.unique(labels, return_inverse=True)
        members = np.argsort(codes, kind="stable")
        offsets = np.searchsorted(codes[members], np.arange(len(classes) + 1))
        return cls(classes, members, offsets, codes)

    def codes_of(self, labels: np.ndarray) -> np.ndarray:
        """Return the class numbers of query labels, −1 for one that the gallery does not have.

        Raises
        ------
        InputError
            If one side's labels are text and the other's numbers, which are never equal.
        """
        sides = [_kind_of_labels(side) for side in (labels, self.classes)]
        if sides[0] != sides[1] and len(labels):
            raise InputError(
                f"query_labels are {sides[0]} and gallery_labels {sides[1]}; they must be of one kind to be compared."
            )
        found = np.minimum(np.searchsorted(self.classes, labels), len(self.classes) - 1)
        return np.where(self.classes[found] == labels, found, -1)


@dataclass(frozen=True)
class Task:
    """Checked input of a ranking.

    Attributes
    ----------
    queries, gallery
        C-ordered arrays of one type.
    own : (Q,) int64
        Each query's own gallery position, −1 for none.
    by_class
        Where the gallery's items of each class are.
    codes, relevant : (Q,) int64
        Each query's class among the gallery's, −1 for none of them, and how many relevant items it has.
    """

    queries: np.ndarray
    gallery: np.ndarray
    own: np.ndarray
    by_class: GalleryClasses
    codes: np.ndarray
    relevant: np.ndarray


def prepared(
    queries: np.ndarray,
    gallery: np.ndarray,
    query_labels: np.ndarray,
    gallery_labels: np.ndarray,
    distance: str,
    asked: Sequence[Metric],
    leave_one_out: np.ndarray | None,
    top: int,
    *,
    exact: bool = True,
) -> Task:
    """Return checked input; parameters and errors are those of `rank`. `exact`: for the exact ranker."""
    queries, gallery = _checked_features(queries, gallery, distances.get(distance).packed)
    query_labels = _checked_labels(query_labels, "query_labels", len(queries))
    gallery_labels = _checked_labels(gallery_labels, "gallery_labels", len(gallery))
    own = _checked_own(leave_one_out, len(queries), len(gallery))
    _check_depth(asked, top, len(gallery), own)
    # Here, not in blocks, where rows are counted from the block's first. The exact ranker's distance does it itself
    # for the gallery, and needs what is computed on the way.
    sides = {"queries": queries} if exact else {"queries": queries, "gallery": gallery}
    for side, rows in sides.items():
        _naming(side, lambda rows=rows: distances.get(distance).refuse_unusable(torch.from_numpy(rows)))
    by_class = GalleryClasses.of(gallery_labels)
    codes = by_class.codes_of(query_labels)
    relevant = np.where(codes >= 0, np.diff(by_class.offsets)[np.maximum(codes, 0)], 0)
    relevant -= (own >= 0) & (by_class.codes[np.maximum(own, 0)] == codes)
    return Task(queries, gallery, own, by_class, codes, relevant)


def rank(
    queries: np.ndarray,
    gallery: np.ndarray,
    *,
    query_labels: np.ndarray,
    gallery_labels: np.ndarray,
    distance: str = "euclidean",
    metrics: Sequence[str] = ("map",),
    leave_one_out: np.ndarray | None = None,
    groups_first: tuple[np.ndarray, np.ndarray] | None = None,
    tie_order: np.ndarray | None = None,
    top: int = 0,
    device: str = "cpu",
    memory_mib: int = 512,
    block_size: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Ranking:
    """Rank the gallery for every query, and return metrics and nearest items.

    Parameters
    ----------
    queries, gallery : (Q, D), (N, D) numbers, or (·, bytes) uint8 packed bits for "hamming"
        Computed in float32 with compensation (see `distances`), from float64 where one of them is.
    query_labels, gallery_labels : (Q,), (N,)
        Numbers or strings, both sides alike; an item is relevant to a query if their labels are equal.
    distance, metrics
        Names; see `distances.distances` and `metrics.metrics`.
    leave_one_out : (Q,) integers, optional
        The gallery position of each query's own item, which is left out of its ranking; −1 for none.
    groups_first : (Q,), (N,) integers, optional
        Groups of queries and of gallery items, such as their predicted classes: items of a query's own group come
        first, by distance; then all others, by distance.
    tie_order : (N,) integers, optional
        In which order the nearest items are listed where their distances tie: lower first, then by position. Without
        it a fixed shuffle, since galleries are often sorted by class. Metrics do not depend on it.
    top
        How many of the nearest items to return.
    device
        A torch device.
    memory_mib
        What may be used beside the arrays given, MiB. It decides the size of a block.
    block_size
        Queries in a block, in place of what `memory_mib` would allow. Fewer where the device's memory does not suffice.
    progress
        Called with the number of queries finished, after each block.

    Raises
    ------
    InputError
        If the arrays do not fit each other, hold NaN or infinity (rows are named), or a zero vector under cosine;
        if k or `top` exceeds what there is to rank; if a name is unknown.
    DeviceMemoryError
        If the device's memory does not suffice for the gallery and one query.
    """
    started = time.perf_counter()
    if block_size is not None and block_size < 1:
        raise InputError(f"block_size is {block_size}; a block is of one query or more.")
    names = expand_metrics(metrics)
    asked = [validate_metric(name) for name in names]
    kind = distances.get(distance)
    task = prepared(queries, gallery, query_labels, gallery_labels, distance, asked, leave_one_out, top)
    queries, gallery, own, codes, relevant = task.queries, task.gallery, task.own, task.codes, task.relevant
    ties = TieOrder.of(tie_order, len(gallery))
    regroup = OwnGroupFirst.of(groups_first, len(queries), len(gallery), device)

    budget = memory_mib << 20
    to_gallery = _naming("gallery", lambda: laid_out(kind, gallery, device, budget // 2))
    block = block_size or block_size_for(budget // 2, len(gallery), int(relevant.max(initial=0)), len(queries), device)
    if regroup and block_size is None:
        # The keys of the two parts are float64, beside the float32 distances they are made from.
        block = max(1, block // 3)
    result = Ranking(
        metrics=names,
        values=np.full((len(queries), len(names)), np.nan),
        evaluated=relevant > 0,
        relevant=relevant,
        top_indices=np.empty((len(queries), top), np.int64),
        top_distances=np.empty((len(queries), top), np.float32),
        seconds={"distances": time.perf_counter() - started, "ranking": 0.0},
        excluded=int((relevant == 0).sum()),
    )
    square = None
    # A query's distance to an item is that item's distance to it: half of them are enough, where all can be kept.
    if 4 * len(gallery) ** 2 <= budget // 2 and _same(queries, gallery):
        started = time.perf_counter()
        square = to_gallery.among_itself()
        result.seconds["distances"] += time.perf_counter() - started
    find = _nearest_and_groups if to_gallery.gallery.device.type == "cpu" else nearest_and_groups_on_device

    def rank_block(part: slice) -> None:
        started = time.perf_counter()
        if square is not None:
            keys = square[part]
        else:
            rows = torch.from_numpy(queries[part]).to(device)
            keys = _naming("queries", lambda: to_gallery(rows))
        if keys.device.type == "cuda":
            torch.cuda.synchronize(keys.device)
        levels = to_gallery.levels
        if regroup:
            keys, levels = regroup.keys(keys, part, to_gallery.levels)
        measured = time.perf_counter()
        indices, near, groups = find(keys, own[part], codes[part], relevant[part], task.by_class, ties, top, levels)
        near = regroup.distances(near, to_gallery.levels) if regroup else near
        result.top_indices[part] = indices
        with np.errstate(over="ignore"):
            # Infinity is the float32 nearest to a distance beyond 3.4e38; in float64 no step on the way overflows.
            result.top_distances[part] = to_gallery.finish(near.astype(np.float64))
        result.values[part][result.evaluated[part]] = evaluate(groups, asked)
        result.seconds["distances"] += measured - started
        result.seconds["ranking"] += time.perf_counter() - measured

    # A function a block: what one block took is given back before the next one asks.
    for part, _ in Blocks(block, "ranking, queries at a time").over(len(queries), rank_block):
        if progress is not None:
            progress(part.stop - part.start)
    return result


def laid_out(kind: type[Distance], gallery: np.ndarray, device: str, kept_bytes: int) -> Distance:
    """Return a distance to the items of a gallery on a device, with less of a prepared copy where that does not fit.

    Parameters
    ----------
    kind
        The distance.
    gallery : (N, D) or (N, bytes)
    device
        A torch device.
    kept_bytes
        As of `Distance`.

    Raises
    ------
    InputError
        As the distance does.
    DeviceMemoryError
        If the device's memory does not suffice for the gallery as it is.
    """
    with fits_or_says(
        f"The {len(gallery)} items of the gallery take {gallery.nbytes >> 20} MiB there: end other programs that use "
        "the device, or use device: cpu, and run again."
    ):
        items = torch.from_numpy(gallery).to(device)
    copies = Blocks(kept_bytes, "preparing the gallery, bytes of a copy", least=1 << 20)
    return copies.fit(lambda kept: kind(items, kept))


@dataclass(frozen=True)
class TieOrder:
    """In which order the gallery's items are listed where they are at one distance.

    Attributes
    ----------
    places : (N,) int64
        Each item's place, from 0 on.
    positions : (N,) int64
        The items' positions in the gallery, in that order.
    """

    places: np.ndarray
    positions: np.ndarray

    @classmethod
    def of(cls, given: np.ndarray | None, size: int) -> TieOrder:
        """Return the order given, equal numbers by position; None for an arbitrary one that is always the same."""
        if given is None:
            given = np.random.default_rng(0).permutation(size)
        given = np.asarray(given)
        if given.shape != (size,) or given.dtype.kind not in "iu":
            raise InputError(
                f"tie_order must hold a whole number for each of {size} items; got {given.dtype} {given.shape}."
            )
        positions = np.argsort(given, kind="stable")
        places = np.empty(size, np.int64)
        places[positions] = np.arange(size)
        return cls(places, positions)


@dataclass
class OwnGroupFirst:
    """Makes keys whose order is: items of the query's own group by distance, then all others by distance.

    Exact, ties included: a float32 key is replaced by a whole number that orders alike, and the second part begins
    where the first one cannot reach.

    Attributes
    ----------
    queries : (Q,) int64 array
    gallery : (N,) int64 tensor
    """

    queries: np.ndarray
    gallery: torch.Tensor

    @classmethod
    def of(
        cls, groups: tuple[np.ndarray, np.ndarray] | None, queries: int, size: int, device: str
    ) -> OwnGroupFirst | None:
        """Return it for the groups of queries and gallery, None for None."""
        if groups is None:
            return None
        own, others = (np.asarray(side) for side in groups)
        if own.shape != (queries,) or others.shape != (size,) or {own.dtype.kind, others.dtype.kind} - {"i", "u"}:
            raise InputError(
                f"groups_first must hold a whole number for each of {queries} queries and {size} items; got "
                f"{own.dtype} {own.shape} and {others.dtype} {others.shape}."
            )
        return cls(own.astype(np.int64), torch.from_numpy(others.astype(np.int64)).to(device))

    def keys(self, keys: torch.Tensor, part: slice, levels: int | None) -> tuple[torch.Tensor, int | None]:
        """Return (B, N) keys in place of a block's, and their levels."""
        own = self.queries[part]
        if levels is not None:
            strangers = torch.from_numpy(own).to(keys.device)[:, None] != self.gallery
            return keys.to(torch.int32).add_(strangers.to(torch.int32), alpha=levels), 2 * levels
        if keys.device.type == "cpu":
            out = np.empty(keys.shape, np.float64)
            arrays = (keys.numpy().view(np.int32), own, self.gallery.numpy(), out)
            kernels.over_rows(
                lambda start, stop: kernels.own_group_first(*arrays, start, stop), *out.shape, torch.get_num_threads()
            )
            return torch.from_numpy(out), None
        return own_group_first_on_device(keys, torch.from_numpy(own).to(keys.device), self.gallery), None

    def distances(self, keys: np.ndarray, levels: int | None) -> np.ndarray:
        """Return the distances' own keys, as they were before `keys`."""
        if levels is not None:
            return keys.astype(np.int64) % levels
        ordered = np.where(keys >= kernels.SECOND_PART / 2, keys - kernels.SECOND_PART, keys).astype(np.int64)
        bits = np.where(ordered < 0, -ordered | 0x80000000, ordered)
        return np.ascontiguousarray(bits, np.uint32).view(np.float32)


def own_group_first_on_device(keys: torch.Tensor, own: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Do what `kernels.own_group_first` does in torch operations alone, for a GPU."""
    bits = keys.contiguous().view(torch.int32)
    ordered = torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits).double()
    return ordered.add_((own[:, None] != groups).double(), alpha=kernels.SECOND_PART)


def _nearest_and_groups(
    keys: torch.Tensor,
    own: np.ndarray,
    codes: np.ndarray,
    relevant: np.ndarray,
    gallery: GalleryClasses,
    ties: TieOrder,
    top: int,
    levels: int | None,
) -> tuple[np.ndarray, np.ndarray, TieGroups]:
    """Return positions and keys of the nearest items, (B, K) each, and the tie groups. Overwrites `keys`."""
    table = keys.numpy()
    rows, size = table.shape
    threads = torch.get_num_threads()
    near, where = np.empty((rows, top), table.dtype), np.empty((rows, top), np.int64)
    starts = np.concatenate([[0], np.cumsum(relevant)])
    counts = np.zeros((4, starts[-1]), np.int32)
    few = int(_FEW * np.log2(size + 1))
    classes = (own, codes, gallery.offsets, gallery.members)

    def by_sorting(start: int, stop: int) -> None:
        if top:
            kernels.nearest(table, own, ties.places, ties.positions, near, where, start, stop)
        kernels.gather_relevant(table, *classes, hits, starts, start, stop)
        for row in np.flatnonzero(relevant[start:stop] > few) + start:
            hits[starts[row] : starts[row + 1]].sort()
            table[row].sort()
        kernels.groups_of_few(table, hits, starts, few, *counts, start, stop)
        kernels.groups_of_sorted(table, hits, starts, few, *counts, start, stop)

    def by_counting(start: int, stop: int) -> None:
        if top:
            kernels.nearest(table, own, ties.places, ties.positions, near, where, start, stop)
        kernels.groups_of_counts(table, *classes, levels, starts, *counts, start, stop)

    if levels is None:
        hits = np.empty(starts[-1], table.dtype)
        kernels.over_rows(by_sorting, rows, 4 * size, threads)
    else:
        kernels.over_rows(by_counting, rows, 4 * size, threads)
    return where, near, _tie_groups(counts, starts, own, relevant, size)


def nearest_and_groups_on_device(
    keys: torch.Tensor,
    own: np.ndarray,
    codes: np.ndarray,
    relevant: np.ndarray,
    gallery: GalleryClasses,
    ties: TieOrder,
    top: int,
    levels: int | None,
) -> tuple[np.ndarray, np.ndarray, TieGroups]:
    """Do what `_nearest_and_groups` does in torch operations alone, for a GPU. Overwrites `keys`."""
    device = keys.device
    keys = keys if keys.is_floating_point() else keys.float()
    rows, size = keys.shape
    own_there = torch.from_numpy(own).to(device)
    masked = (own_there >= 0).nonzero().flatten()
    keys[masked, own_there[masked]] = torch.inf
    deepest = int(relevant.max(initial=0))
    code_there = torch.from_numpy(np.maximum(codes, 0)).to(device)
    members = torch.from_numpy(gallery.members).to(device)
    offsets = torch.from_numpy(gallery.offsets).to(device)
    # One place more than there are relevant items: a query's own item is among its class, and sorts last.
    place = torch.arange(deepest + 1, device=device)
    at = offsets[code_there][:, None] + place
    inside = at < offsets[code_there + 1][:, None]
    positions = members[at.clamp(max=size - 1)]
    hits = torch.where(inside, keys.gather(1, positions), torch.inf).sort(1).values
    near, where = keys[:, :0], own_there.new_empty(rows, 0)
    if top:
        positions = torch.from_numpy(ties.positions).to(device)
        ordered, order = keys[:, positions].sort(dim=1, stable=True)
        near, where = ordered[:, :top], positions[order[:, :top]]
    else:
        ordered = keys.sort(1).values
    before, until = torch.searchsorted(ordered, hits), torch.searchsorted(ordered, hits, right=True)
    hits_before, hits_until = torch.searchsorted(hits, hits), torch.searchsorted(hits, hits, right=True)
    wanted = torch.from_numpy(relevant).to(device)[:, None]
    first_of_group = (hits_before == place) & (place < wanted)
    counts = torch.stack([before, until - before, hits_before, hits_until - hits_before])[:, first_of_group]
    groups_each = np.concatenate([[0], first_of_group.sum(1).cumsum(0).cpu().numpy()])
    groups = _tie_groups(counts.to(torch.int32).cpu().numpy(), groups_each, own, relevant, size)
    return where.cpu().numpy(), near.cpu().numpy(), groups


def _tie_groups(counts: np.ndarray, starts: np.ndarray, own: np.ndarray, relevant: np.ndarray, size: int) -> TieGroups:
    """Return the groups of the queries that have relevant items; places that no group filled are dropped."""
    filled = counts[1] > 0
    if not filled.all():
        running = np.concatenate([[0], np.cumsum(filled)])
        counts, starts = counts[:, filled], running[starts]
    evaluated = relevant > 0
    kept = np.concatenate([starts[:-1][evaluated], starts[-1:]])
    return TieGroups(kept, *counts, (size - (own >= 0))[evaluated], relevant[evaluated])


def block_size_for(budget: int, size: int, relevant: int, queries: int, device: str) -> int:
    """Return how many queries fit into `budget` bytes; no more than are needed to keep the processor busy.

    Each has `size` distances, and `relevant` of them are looked at.
    """
    on_cpu = torch.device(device).type == "cpu"
    # On the CPU: distances; per relevant item its distance, four counts, and what a metric makes of them.
    each = size * 4 + relevant * 100 if on_cpu else size * 40 + relevant * 120
    enough = max(256, (1 << 23) // size) if on_cpu else max(256, (1 << 28) // size)
    return max(1, min(budget // each, enough, queries))


def _same(queries: np.ndarray, gallery: np.ndarray) -> bool:
    if queries.shape != gallery.shape:
        return False
    return queries.ctypes.data == gallery.ctypes.data or np.array_equal(queries, gallery)


def _naming(what: str, action: Callable[[], Any]) -> Any:
    try:
        return action()
    except InputError as error:
        raise InputError(f"{what}: {error}") from None


def _checked_features(queries: np.ndarray, gallery: np.ndarray, packed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return both as C-ordered arrays of one type that the distance takes."""
    given = {"queries": _unmasked(queries, "queries"), "gallery": _unmasked(gallery, "gallery")}
    for name, array in given.items():
        if array.ndim != 2 or array.shape[1] == 0:
            raise InputError(f"{name} must be a table of one row per item; got an array of shape {array.shape}.")
        if packed and array.dtype != np.uint8:
            raise InputError(
                f"hamming distance takes packed bits (uint8), but {name} is {array.dtype}; "
                "pack the bits with numpy.packbits(bits, axis=1)."
            )
        if not packed and (array.dtype.kind not in "fiub" or array.dtype.itemsize > 8):
            raise InputError(f"{name} must hold real numbers; got {array.dtype}.")
    queries, gallery = given.values()
    if queries.shape[1] != gallery.shape[1]:
        unit = "bytes" if packed else "dimensions"
        raise InputError(
            f"queries have {queries.shape[1]} {unit} and the gallery {gallery.shape[1]}; "
            "they must be the same features."
        )
    if not len(gallery):
        raise InputError("the gallery is empty; there is nothing to rank.")
    if packed:
        kind = np.uint8
    else:
        kind = np.promote_types(np.promote_types(queries.dtype, gallery.dtype), np.float32)
    return _as_writable(np.ascontiguousarray(queries, kind)), _as_writable(np.ascontiguousarray(gallery, kind))


class _Writable:
    """An array's memory under the interface of one that may be written to."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def _as_writable(array: np.ndarray) -> np.ndarray:
    """Return an array without its protection, not copied: torch warns of it, and features are only ever read."""
    return array if array.flags.writeable else np.asarray(_Writable(array))


def _unmasked(array: np.ndarray, name: str) -> np.ndarray:
    if np.ma.isMaskedArray(array):
        raise InputError(f"{name} is a masked array, and nothing can be ranked by a mask; fill it, or drop its items.")
    return np.asarray(array)


def _checked_labels(labels: np.ndarray, name: str, expected: int) -> np.ndarray:
    labels = _unmasked(labels, name)
    if labels.shape != (expected,):
        raise InputError(f"{name} has shape {labels.shape}; expected one label per item, ({expected},).")
    labels = _of_one_type(labels, name) if labels.dtype.kind == "O" else labels
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise InputError(f"{name} holds NaN; every item needs a label.")
    return labels


def _of_one_type(labels: np.ndarray, name: str) -> np.ndarray:
    """Return objects as an array of text or of numbers."""
    kinds = {"text" if isinstance(v, str) else "numbers" if isinstance(v, Real | np.bool_) else "" for v in labels}
    converted = np.array(labels.tolist()) if len(kinds) == 1 and "" not in kinds else labels
    if converted.dtype.kind == "O" and len(labels):
        types = sorted({type(value).__name__ for value in labels})
        raise InputError(f"{name} holds {' and '.join(types)}; labels must be all strings or all numbers.")
    return converted


def _kind_of_labels(labels: np.ndarray) -> str:
    return {"U": "text", "S": "bytes"}.get(labels.dtype.kind, "numbers")


def _checked_own(leave_one_out: np.ndarray | None, queries: int, size: int) -> np.ndarray:
    """Return each query's own gallery position, −1 for none, (Q,) int64."""
    if leave_one_out is None:
        return np.full(queries, -1, np.int64)
    own = np.asarray(leave_one_out)
    if own.shape != (queries,) or own.dtype.kind not in "iu":
        raise InputError(
            f"leave_one_out must hold a gallery position for each of {queries} queries (-1: none); "
            f"got {own.dtype} of shape {own.shape}."
        )
    own = own.astype(np.int64)
    wrong = np.flatnonzero((own < -1) | (own >= size))
    if wrong.size:
        raise InputError(f"leave_one_out gives query {wrong[0]} the position {own[wrong[0]]}; the gallery has {size}.")
    return own


def _check_depth(asked: Sequence[Metric], top: int, size: int, own: np.ndarray) -> None:
    """Refuse a k that goes beyond what is ranked for some query."""
    ranked = size - int((own >= 0).any())
    left_out = " once a query's own item is left out" if ranked < size else ""
    for each in asked:
        if each.cutoff is not None and each.cutoff > ranked:
            raise InputError(f"metric {each.name!r} goes beyond the gallery, which has {ranked} items{left_out}.")
    if top < 0 or top > ranked:
        raise InputError(f"top is {top}; it must be from 0 to the {ranked} items that the gallery has{left_out}.")
