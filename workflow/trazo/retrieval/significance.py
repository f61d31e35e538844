"""Which methods of a retrieval can be told apart: paired randomisation tests over the queries that they share.

Reads rankings, writes `significance.csv`; how tables mark it is the report's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np

from trazo.errors import InputError
from trazo.progress import log
from trazo.retrieval.statistics import Average, pairwise_randomisation_test
from trazo.store import METHOD_COLUMNS, read_first_metrics, read_ranking, write_significance

# A curve's points are no measures to choose a method by, and they are many.
_CURVES = ("precision_at_recall@", "interpolated_precision@")


@dataclass
class _Method:
    """What was found by one method of a retrieval, over its seeds and folds."""

    metrics: list[str]
    query_ids: list[str]
    labels: np.ndarray
    values: list[np.ndarray] = field(default_factory=list)

    def of(self, metric: str) -> np.ndarray:
        """Return (Q,) float64, each query's mean over seeds and folds; NaN where it could not be evaluated."""
        return np.mean([found[:, self.metrics.index(metric)] for found in self.values], axis=0)


def compare_methods(rankings: Sequence[Path | str], metrics: Sequence[Path | str], output: Path | str) -> None:
    """Test all pairs of methods of every retrieval, and write a row for each pair, metric and mean.

    Each query's values are averaged over seeds and folds first: what is tested is the difference over these queries
    for these trainings. p values are two-sided, and not corrected for the number of pairs.

    Parameters
    ----------
    rankings, metrics
        `ranking.h5` and its tidy CSV, one of each a method, in the same order; the CSV names the method.
    output
        `significance.csv` to write.

    Raises
    ------
    InputError
        If two rankings of one retrieval are of other queries.

    References
    ----------
    M. Smucker, J. Allan, B. Carterette, "A comparison of statistical significance tests for information retrieval
    evaluation", CIKM 2007.
    """
    retrievals: dict[str, dict[tuple[str, ...], _Method]] = {}
    for ranking, rows in zip(rankings, metrics, strict=True):
        dataset, method = _named(Path(rows))
        _add(retrievals.setdefault(dataset, {}), method, Path(ranking))
    write_significance(
        output,
        (row for dataset, methods in sorted(retrievals.items()) for row in _rows(dataset, methods)),
    )


def _named(rows: Path) -> tuple[str, tuple[str, ...]]:
    """Return the retrieval and the method that a ranking's metrics are of, as its first row says."""
    first = read_first_metrics(rows)
    return first["dataset"], tuple(first[column] for column in METHOD_COLUMNS)


def _add(methods: dict[tuple[str, ...], _Method], name: tuple[str, ...], ranking: Path) -> None:
    found = read_ranking(ranking)
    labels = np.asarray(found.query_labels)
    for other in methods.values():
        if other.query_ids != found.query_ids or not np.array_equal(other.labels, labels):
            raise InputError(f"{ranking} is of other queries than the rankings beside it; delete both and run again.")
        break
    method = methods.setdefault(name, _Method(found.metrics, found.query_ids, labels))
    method.values.append(found.values)


def _rows(dataset: str, methods: dict[tuple[str, ...], _Method]) -> list[dict[str, object]]:
    """Return a row for every pair of methods, by metric and mean; nothing for a single method."""
    names = list(methods)
    rows: list[dict[str, object]] = []
    wanted = dict.fromkeys(metric for method in methods.values() for metric in method.metrics)
    for group, shared in _same_methods([m for m in wanted if not m.startswith(_CURVES)], methods).items():
        if len(group) < 2:
            continue
        values = np.stack([[methods[names[i]].of(metric) for metric in shared] for i in group], axis=0)
        values = np.moveaxis(values, 2, 0)
        counted = ~np.isnan(values).any(axis=(1, 2))
        if not counted.any():
            log.info("%s: no query was evaluated by all of %d methods", dataset, len(group))
            continue
        values, labels = values[counted], methods[names[group[0]]].labels[counted]
        for average in get_args(Average):
            p = pairwise_randomisation_test(values, labels=labels, average=average)
            means = _means(values, labels, average)
            rows.extend(
                {
                    "dataset": dataset,
                    "metric": metric,
                    "average": average,
                    **dict(zip(METHOD_COLUMNS, names[group[i]], strict=True)),
                    **{f"other_{c}": v for c, v in zip(METHOD_COLUMNS, names[group[j]], strict=True)},
                    "queries": len(values),
                    "difference": float(means[i, m] - means[j, m]),
                    "p": float(p[i, j, m]),
                }
                for m, metric in enumerate(shared)
                for i in range(len(group))
                for j in range(i + 1, len(group))
            )
    return rows


def _same_methods(metrics: list[str], methods: dict[tuple[str, ...], _Method]) -> dict[tuple[int, ...], list[str]]:
    """Return metrics by which methods have them: those that return lists have fewer."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for metric in metrics:
        having = tuple(i for i, method in enumerate(methods.values()) if metric in method.metrics)
        groups.setdefault(having, []).append(metric)
    return groups


def _means(values: np.ndarray, labels: np.ndarray, average: Average) -> np.ndarray:
    """Return (K, M) means of (Q, K, M) values."""
    if average == "queries":
        return values.mean(axis=0)
    return np.mean([values[labels == c].mean(axis=0) for c in np.unique(labels)], axis=0)
