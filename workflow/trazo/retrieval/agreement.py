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

# What share of the queries the error that is usual for a ranker holds for, so that single ones do not decide it.
_USUAL = 0.9


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
        As tied, but within the error that the other ranker's distances are seen to have; never if it compares codes.
    missed
        At some place an item farther away than that explains, or none.
    other_items
        Queries whose first k are other items and not only in another order; of all the above but `same`.
    distance_error
        The largest difference between the two rankers' distances of one item, relative to the largest distance that
        the exact one kept for the query.
    largest_gap
        The largest difference between the exact distances of two items at one place, relative to the same.
    """

    queries: int
    same: int
    tied: int
    rounded: int
    missed: int
    other_items: int
    distance_error: float
    largest_gap: float


@dataclass(frozen=True)
class DistanceErrors:
    """How far a ranker's distances are from exact ones.

    Attributes
    ----------
    by_query
        (Q,) float64 the largest error to expect for each query, of squares if the distance is Euclidean.
    largest
        As `Agreement.distance_error`.
    """

    by_query: np.ndarray
    largest: float


def compare_lists(
    exact: RankingArtifact,
    other: RankingArtifact,
    k: int,
    *,
    distance: str,
    codes: bool = False,
    errors: DistanceErrors | None = None,
) -> Agreement:
    """Compare the first k items of the lists of two rankers.

    The exact distance of an item that the exact ranker did not keep is taken to be what the other ranker says, and no
    less than that of the last item kept. It may be more, so that such an item is tied only if the other ranker's
    distances have no error.

    Parameters
    ----------
    exact, other
        Rankings of the same queries and gallery by the same distance; k ≤ the length of both's lists.
    k
        How many items are compared.
    distance
        The distance's name.
    codes
        Whether the other ranker compares codes: what its distances are off by is no rounding.
    errors
        Those of the other ranker's distances; `distance_errors` if left out.
    """
    errors = distance_errors(exact, other, distance) if errors is None else errors
    first, second = exact.top_indices[:, :k], other.top_indices[:, :k]
    there = second >= 0
    where = second[:, :, None] == exact.top_indices[:, None, :]
    known = where.any(axis=2) & there
    unknown = there & ~known
    kept = exact.top_distances.astype(np.float64)
    last = kept[:, -1:]
    said = np.where(there, other.top_distances[:, :k], last).astype(np.float64)
    true = np.where(known, np.take_along_axis(kept, where.argmax(axis=2), axis=1), np.maximum(said, last))
    gaps = np.where(there, np.abs(_even(true, distance) - _even(kept[:, :k], distance)), np.inf)
    # Nearer than the last one kept it cannot be: its distance is off by no less than that.
    off = np.where(unknown, _even(last, distance) - _even(said, distance), 0)
    worst = np.maximum(gaps, off).max(axis=1)
    differs = (first != second).any(axis=1)
    certain = ~unknown.any(axis=1) | ((errors.by_query == 0) & (not codes))
    tied = differs & certain & (worst == 0)
    # Either of two distances may be off, and both are.
    rounded = differs & ~tied & (worst <= 2 * errors.by_query) & (not codes)
    found = _shares(np.abs(true - kept[:, :k]), kept)[differs[:, None] & there]
    return Agreement(
        queries=len(differs),
        same=int((~differs).sum()),
        tied=int(tied.sum()),
        rounded=int(rounded.sum()),
        missed=int((differs & ~tied & ~rounded).sum()),
        other_items=int((np.sort(first, axis=1) != np.sort(second, axis=1)).any(axis=1).sum()),
        distance_error=errors.largest,
        largest_gap=float(found.max(initial=0.0)),
    )


def distance_errors(exact: RankingArtifact, other: RankingArtifact, distance: str) -> DistanceErrors:
    """Measure the errors of a ranker's distances on the items that both rankers kept.

    A query's error is the largest seen of its own items. As these may be few, it is no less than what is usual
    for its scale of distances, nor than the largest seen of any query, whichever of the two is less: among near
    duplicates an error is many times the scale, and where features are long it is large for all others.
    """
    kept = exact.top_distances.astype(np.float64)
    own = np.zeros(len(kept))
    largest = 0.0
    for rows in np.array_split(np.arange(len(kept)), max(1, len(kept) // 256)):
        where = other.top_indices[rows][:, :, None] == exact.top_indices[rows][:, None, :]
        known = where.any(axis=2) & (other.top_indices[rows] >= 0)
        true = np.take_along_axis(kept[rows], where.argmax(axis=2), axis=1)
        seen = np.where(known, other.top_distances[rows], true).astype(np.float64)
        own[rows] = np.abs(_even(seen, distance) - _even(true, distance)).max(axis=1, initial=0.0)
        largest = max(largest, float(_shares(np.abs(seen - true), kept[rows]).max(initial=0.0)))
    scale = _even(np.abs(kept).max(axis=1, initial=0.0), distance)
    shares = own[scale > 0] / scale[scale > 0]
    usual = float(np.quantile(shares, _USUAL)) if shares.size else 0.0
    return DistanceErrors(np.maximum(own, np.minimum(usual * scale, own.max(initial=0.0))), largest)


def _even(distances: np.ndarray, distance: str) -> np.ndarray:
    """Return distances on the scale on which rounding is about the same for near and far items.

    Euclidean distances are roots of sums that were rounded: the root of an error of 1e-7 is 3e-4 where the sum is 0.
    """
    return distances**2 if distance == "euclidean" else distances


def _shares(differences: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return (Q, k) differences of distances by the largest of each query's (Q, K) kept ones; 0 where that is 0."""
    largest = np.broadcast_to(np.abs(kept).max(axis=1, keepdims=True, initial=0.0), differences.shape)
    return np.divide(differences, largest, out=np.zeros_like(differences), where=largest > 0)


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
                    rows = _rows(exact, read_ranking(path), path, distance=cells["distance"], codes=kind.codes)
                    found += [cells | row for row in rows]
    write_agreement(output, found)
    compared = {tuple(row[column] for column in AGREEMENT_KEY) for row in found}
    log.info("%d rankings were compared with the exact ones", len(compared))


def _rows(
    exact: RankingArtifact, other: RankingArtifact, path: Path, *, distance: str, codes: bool
) -> list[dict[str, object]]:
    if exact.query_ids != other.query_ids or exact.gallery_ids != other.gallery_ids:
        raise InputError(f"{path} is of other queries or another gallery than the exact ranking; delete both.")
    length = min(exact.top_indices.shape[1], other.top_indices.shape[1])
    asked = {validate_metric(name).cutoff for name in other.metrics if name.startswith("p@")}
    errors = distance_errors(exact, other, distance)
    depths = sorted({k for k in asked if k is not None and k <= length} | {length})
    return [
        {"k": k, **vars(compare_lists(exact, other, k, distance=distance, codes=codes, errors=errors))} for k in depths
    ]
