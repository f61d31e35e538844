"""How far the lists of other rankers are from those of the exact one over the same features, and what explains it.

Reads rankings, writes `agreement.csv`; what of it stands in a report is the report's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trazo.errors import InputError
from trazo.progress import log
from trazo.retrieval.metrics import validate_metric
from trazo.retrieval.rankers import EXACT, rankers
from trazo.store import AGREEMENT_KEY, RankingArtifact, read_first_metrics, read_ranking, write_agreement


@dataclass(frozen=True)
class Agreement:
    """How many queries' first k items two lists agree on; every query is counted once.

    Attributes
    ----------
    same
        The same items in the same order.
    tied
        Other items, or another order, but at every place one at exactly the same distance.
    rounded
        As tied, but within the error that the other ranker's distances are seen to have.
    missed
        At some place an item farther away than that explains, or none.
    other_items
        Queries whose first k are other items and not only in another order; of all the above but `same`.
    distance_error
        The largest difference between the two rankers' distances of one item, relative to the larger.
    largest_gap
        The largest difference between the exact distances of two items at one place, relative to the larger.
    """

    queries: int
    same: int
    tied: int
    rounded: int
    missed: int
    other_items: int
    distance_error: float
    largest_gap: float


def compare_lists(exact: RankingArtifact, other: RankingArtifact, k: int, error: float | None = None) -> Agreement:
    """Compare the first k items of the lists of two rankers.

    The exact distance of an item that the exact ranker did not keep is taken to be what the other ranker says, and no
    less than that of the last item kept.

    Parameters
    ----------
    exact, other
        Rankings of the same queries and gallery by the same distance; k ≤ the length of both's lists.
    k
        How many items are compared.
    error
        Relative error of the other ranker's distances; measured over all that was kept if left out.
    """
    error = distance_error(exact, other) if error is None else error
    first, second = exact.top_indices[:, :k], other.top_indices[:, :k]
    there = second >= 0
    where = second[:, :, None] == exact.top_indices[:, None, :]
    known = where.any(axis=2) & there
    kept = exact.top_distances.astype(np.float64)
    beyond = np.maximum(np.where(there, other.top_distances[:, :k], 0).astype(np.float64), kept[:, -1:])
    true = np.where(known, np.take_along_axis(kept, where.argmax(axis=2), axis=1), beyond)
    gaps = np.where(there, _relative(true, kept[:, :k]), np.inf)
    differs = (first != second).any(axis=1)
    worst = gaps.max(axis=1)
    tied = differs & (worst == 0)
    # Either of two distances may be off, and both are.
    rounded = differs & ~tied & (worst <= 2 * error)
    found = gaps[differs]
    finite = found[np.isfinite(found)]
    return Agreement(
        queries=len(differs),
        same=int((~differs).sum()),
        tied=int(tied.sum()),
        rounded=int(rounded.sum()),
        missed=int((differs & ~tied & ~rounded).sum()),
        other_items=int((np.sort(first, axis=1) != np.sort(second, axis=1)).any(axis=1).sum()),
        distance_error=error,
        largest_gap=float(finite.max()) if finite.size else 0.0,
    )


def distance_error(exact: RankingArtifact, other: RankingArtifact) -> float:
    """Return the largest relative difference of two rankers' distances of one item, over all that both kept."""
    largest = 0.0
    for rows in np.array_split(np.arange(len(exact.top_indices)), max(1, len(exact.top_indices) // 256)):
        where = other.top_indices[rows][:, :, None] == exact.top_indices[rows][:, None, :]
        known = where.any(axis=2) & (other.top_indices[rows] >= 0)
        true = np.take_along_axis(exact.top_distances[rows].astype(np.float64), where.argmax(axis=2), axis=1)
        seen = np.where(known, other.top_distances[rows], true).astype(np.float64)
        largest = max(largest, float(_relative(seen, true).max(initial=0.0)))
    return largest


def _relative(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return |a − b| / max(|a|, |b|), 0 where they are equal."""
    largest = np.maximum(np.abs(values), np.abs(others))
    return np.divide(np.abs(values - others), largest, out=np.zeros_like(largest), where=values != others)


def compare_rankers(rankings: Sequence[Path | str], metrics: Sequence[Path | str], output: Path | str) -> None:
    """Compare all rankers with the exact one, and write a row for each of them and each number k of items.

    Numbers of items are those of the metrics `p@k`, as far as lists were kept, and the length of the lists.

    Parameters
    ----------
    rankings, metrics
        `ranking.h5` and its tidy CSV, one of each a method, in the same order; the CSV names the method. Those without
        an exact ranking of the same features are left out.
    output
        `agreement.csv` to write.

    Raises
    ------
    InputError
        If two rankings of one retrieval are of other queries or another gallery.
    """
    groups: dict[tuple[str, ...], dict[str, Path]] = {}
    for ranking, rows in zip(rankings, metrics, strict=True):
        named = read_first_metrics(rows)
        key = tuple(named[column] for column in AGREEMENT_KEY if column != "ranker")
        groups.setdefault(key, {})[named["ranker"]] = Path(ranking)
    found: list[dict[str, object]] = []
    for key, paths in sorted(groups.items()):
        if EXACT in paths and len(paths) > 1:
            exact = read_ranking(paths[EXACT])
            for ranker, path in paths.items():
                if ranker != EXACT and "+" not in ranker:
                    cells = dict(zip((c for c in AGREEMENT_KEY if c != "ranker"), key, strict=True))
                    # A label is the ranker's name and its options, if any (`config.ranker_label`).
                    kind = rankers.get(ranker.partition("-")[0])
                    cells |= {"ranker": ranker, "computes": kind.computes, "misses": kind.misses}
                    found += [cells | row for row in _rows(exact, read_ranking(path), path)]
    write_agreement(output, found)
    compared = {tuple(row[column] for column in AGREEMENT_KEY) for row in found}
    log.info("%d rankings were compared with the exact ones", len(compared))


def _rows(exact: RankingArtifact, other: RankingArtifact, path: Path) -> list[dict[str, object]]:
    if exact.query_ids != other.query_ids or exact.gallery_ids != other.gallery_ids:
        raise InputError(f"{path} is of other queries or another gallery than the exact ranking; delete both.")
    length = min(exact.top_indices.shape[1], other.top_indices.shape[1])
    asked = {validate_metric(name).cutoff for name in other.metrics if name.startswith("p@")}
    error = distance_error(exact, other)
    depths = sorted({k for k in asked if k is not None and k <= length} | {length})
    return [{"k": k, **vars(compare_lists(exact, other, k, error))} for k in depths]
