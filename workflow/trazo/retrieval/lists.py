"""Metrics of rankers that return the nearest items only, how much they miss of the exact ranking, and kNN votes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from trazo.device import Blocks
from trazo.errors import InputError
from trazo.retrieval.distances import distances
from trazo.retrieval.metrics import TieGroups, evaluate, validate_metric
from trazo.retrieval.rankers import Ranker
from trazo.retrieval.ranking import Ranking, Task, block_size_for, laid_out, prepared


@dataclass
class Searched:
    """What a ranker found, and what it cost.

    Attributes
    ----------
    ranking
        Metrics and lists, as of the exact ranker; its `seconds` are those to "build" the index and to "search" all
        queries, after a first one.
    shares : (Q,) float64
        Share of a list's first `depth` places whose items the exact ranker could have given: no farther than its last.
    depth
        The largest k of the metrics; without one, the length of the lists.
    differing
        How many of these items, over all queries, the exact ranker could not have given, those not found among them.
    index_bytes
        The index's size.
    """

    ranking: Ranking
    shares: np.ndarray
    depth: int
    differing: int
    index_bytes: int


def cutoffs(names: Sequence[str]) -> dict[str, int]:
    """Return those metrics that need no more than the first k items, with their k."""
    found = {name: validate_metric(name).cutoff for name in names}
    return {name: k for name, k in found.items() if k is not None}


def search(
    ranker: Ranker,
    queries: np.ndarray,
    gallery: np.ndarray,
    *,
    query_labels: np.ndarray,
    gallery_labels: np.ndarray,
    distance: str,
    metrics: Sequence[str],
    leave_one_out: np.ndarray | None = None,
    top: int = 0,
    device: str = "cpu",
    memory_mib: int = 512,
    progress: Callable[[int], object] | None = None,
) -> Searched:
    """Search with a ranker, score its lists in the order it gives, and compare them with exact distances.

    Parameters
    ----------
    ranker
        Not built yet.
    metrics
        Metrics with a k, such as `p@10`. Relevant items that a list lacks count as not found.
    top
        How many items to keep; lists are as long as this or the largest k.
    others
        As of `ranking.rank`.

    Raises
    ------
    InputError
        As `ranking.rank`; or if a metric needs the whole ranking, or the ranker does not search by the distance.
    """
    depths = cutoffs(metrics)
    whole = [name for name in metrics if name not in depths]
    if whole:
        raise InputError(f"{', '.join(whole)} need the whole ranking; this ranker returns the nearest items only.")
    if ranker.distances and distance not in ranker.distances:
        raise InputError(f"this ranker does not search by {distance!r}, but by {', '.join(ranker.distances)}.")
    asked = [validate_metric(name) for name in metrics]
    task = prepared(queries, gallery, query_labels, gallery_labels, distance, asked, leave_one_out, top, exact=False)
    length = max([top, *depths.values()])
    depth = max(depths.values(), default=top)
    if length == 0:
        raise InputError("nothing to search for: neither a metric with a k nor nearest items are asked for.")
    started = time.perf_counter()
    ranker.build(task.gallery, distance)
    built = time.perf_counter()
    left_out = int((task.own >= 0).any())
    found, far = np.empty((0, length), np.int64), np.empty((0, length), np.float32)
    # The first search loads and allocates what all others share.
    if len(task.queries):
        ranker.search(task.queries[:1], length + left_out)
    searching = time.perf_counter()
    if len(task.queries):
        found, far = ranker.search(task.queries, length + left_out)
    searched = time.perf_counter()
    where, far = without_own(found, far, task.own, length)
    values = np.full((len(task.queries), len(asked)), np.nan)
    evaluated = task.relevant > 0
    values[evaluated] = evaluate(groups_of_lists(where, task), asked)
    shares = share_of_exact(where[:, :depth], task, distance, device=device, memory_mib=memory_mib, progress=progress)
    ranking = Ranking(
        metrics=list(metrics),
        values=values,
        evaluated=evaluated,
        relevant=task.relevant,
        top_indices=where[:, :top],
        top_distances=far[:, :top],
        seconds={"build": built - started, "search": searched - searching},
        excluded=int((~evaluated).sum()),
    )
    differing = int(np.rint(((1 - shares) * depth).sum()))
    return Searched(ranking, shares, depth, differing, ranker.memory_bytes())


def without_own(found: np.ndarray, far: np.ndarray, own: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Return lists of `depth` items without each query's own item, −1 and infinity after the last found."""
    kept = (found != own[:, None]) & (found >= 0)
    order = np.argsort(~kept, axis=1, kind="stable")[:, :depth]
    there = np.take_along_axis(kept, order, 1)
    where = np.where(there, np.take_along_axis(found, order, 1), -1)
    return where, np.where(there, np.take_along_axis(far, order, 1), np.inf).astype(np.float32)


def groups_of_lists(where: np.ndarray, task: Task) -> TieGroups:
    """Return the tie groups of lists read in their order; relevant items that a list lacks stand beyond all ranks.

    Parameters
    ----------
    where : (Q, K) int64
        Positions in the gallery, −1 after the last found.
    """
    evaluated = np.flatnonzero(task.relevant > 0)
    lists = where[evaluated]
    hit = (lists >= 0) & (task.by_class.codes[np.maximum(lists, 0)] == task.codes[evaluated, None])
    sizes = len(task.gallery) - (task.own[evaluated] >= 0)
    relevant = task.relevant[evaluated]
    hits = hit.sum(1)
    missing = relevant - hits
    rows, places = hit.nonzero()
    ahead = (np.cumsum(hit, axis=1) - 1)[rows, places]
    lacking = np.flatnonzero(missing)
    table = np.concatenate(
        [
            [rows, places, np.ones_like(rows), ahead, np.ones_like(rows)],
            [lacking, sizes[lacking], missing[lacking], hits[lacking], missing[lacking]],
        ],
        axis=1,
    )
    table = table[:, np.lexsort(table[1::-1])]
    starts = np.searchsorted(table[0], np.arange(len(evaluated) + 1))
    return TieGroups(starts, *table[1:], sizes, relevant)


def share_of_exact(
    where: np.ndarray,
    task: Task,
    distance: str,
    *,
    device: str = "cpu",
    memory_mib: int = 512,
    progress: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Return the share of each list's K places whose item is no farther than the exact K-th nearest, (Q,) float64.

    Among items at one distance it does not matter which were returned.
    """
    queries, depth = where.shape
    to_gallery = laid_out(distances.get(distance), task.gallery, device, (memory_mib << 20) // 2)
    block = block_size_for((memory_mib << 20) // 2, len(task.gallery), depth, queries, device)
    shares = np.empty(queries)

    def compare(part: slice) -> None:
        keys = to_gallery(torch.from_numpy(task.queries[part]).to(device)).float()
        own = torch.from_numpy(task.own[part]).to(device)
        masked = (own >= 0).nonzero().flatten()
        keys[masked, own[masked]] = torch.inf
        limit = keys.topk(depth, dim=1, largest=False).values[:, -1:]
        there = torch.from_numpy(where[part]).to(device)
        near = (keys.gather(1, there.clamp(min=0)) <= limit) & (there >= 0)
        shares[part] = near.double().mean(1).cpu().numpy()

    for part, _ in Blocks(block, "comparing with exact lists, queries at a time").over(queries, compare):
        if progress is not None:
            progress(part.stop - part.start)
    return shares


def vote(where: np.ndarray, gallery_labels: np.ndarray, count: int) -> np.ndarray:
    """Return the class that most of each query's `count` nearest items have, (Q,) int64; −1 where nothing was found.

    Among classes with as many votes, the one whose nearest item is nearest wins.

    Parameters
    ----------
    where : (Q, K) int64
        Positions in the gallery, nearest first, −1 after the last found; K ≥ count.
    gallery_labels : (N,) integers from 0 on
    """
    if not 1 <= count <= where.shape[1]:
        raise InputError(f"a vote of {count} items needs lists that long; these have {where.shape[1]}.")
    lists = where[:, :count]
    labels = np.where(lists >= 0, gallery_labels[np.maximum(lists, 0)], -1).astype(np.int64)
    winners = np.empty(len(labels), np.int64)
    step = max(1, (1 << 24) // count**2)
    for first in range(0, len(labels), step):
        rows = labels[first : first + step]
        votes = (rows[:, :, None] == rows[:, None, :]).sum(2) * (rows >= 0)
        winners[first : first + step] = rows[np.arange(len(rows)), votes.argmax(1)]
    return winners
