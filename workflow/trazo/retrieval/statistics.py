"""What a metric's values over queries, seeds and folds amount to: means, intervals, tests. Pure functions of arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trazo.errors import InputError

Average = Literal["queries", "classes"]
_CHUNK = 1 << 22
# Fewer degrees of freedom than this in all other classes say too little of the spread in a class of one query.
_FEWEST_TO_LEND = 10
# Measured values that are no shares from 0 to 1.
_WITHOUT_LIMIT = ("loss",)


@dataclass(frozen=True)
class Summary:
    """A mean of one metric.

    Attributes
    ----------
    scope : "class", "mean over queries" or "mean over classes"
    label : str
        The class's name; empty for the two means.
    value : float or None
        None where no query could be evaluated.
    queries, excluded : int
        How many queries the mean is of, and how many had no relevant item and are left out.
    """

    scope: str
    label: str
    value: float | None
    queries: int
    excluded: int


def summarise(values: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> list[Summary]:
    """Return the mean of each class, over all queries, and over the classes that have one evaluated query at least.

    Parameters
    ----------
    values : (Q,) float
        One metric; NaN marks a query that was not evaluated.
    labels : (Q,) integers
        Classes, as positions in `class_names`.
    class_names
        Names in the order of the rows wanted; every one gets a row.
    """
    values, labels = np.asarray(values, np.float64), np.asarray(labels)
    classes = len(class_names)
    if values.ndim != 1 or values.shape != labels.shape:
        raise InputError(f"values have shape {values.shape} and labels {labels.shape}; expected one of each a query.")
    if labels.size and (labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes):
        raise InputError(f"labels must be whole numbers from 0 to {classes - 1}, positions among the class names.")
    evaluated = ~np.isnan(values)
    asked = np.bincount(labels.astype(np.int64), minlength=classes)
    counts = np.bincount(labels[evaluated], minlength=classes)
    sums = np.bincount(labels[evaluated], weights=values[evaluated], minlength=classes)
    rows = [
        Summary("class", str(name), float(sums[c] / counts[c]) if counts[c] else None, int(counts[c]), int(missing))
        for c, (name, missing) in enumerate(zip(class_names, asked - counts))
    ]
    means = [row.value for row in rows if row.value is not None]
    total, missing = int(counts.sum()), int((asked - counts).sum())
    over_queries = float(values[evaluated].mean()) if total else None
    over_classes = float(np.mean(means)) if means else None
    rows.append(Summary("mean over queries", "", over_queries, total, missing))
    rows.append(Summary("mean over classes", "", over_classes, total, missing))
    return rows


def bootstrap_interval(
    values: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    average: Average = "queries",
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the percentile bootstrap interval of the mean of each metric (Efron and Tibshirani 1993, chapter 13).

    Queries are drawn with replacement; for a mean over classes within each class, whose number of queries is part
    of the study's design and not of its chance. All metrics share the draws.

    What is drawn are deviations from the mean of the class (or of all), times √(n / (n − 1)) where that has n
    queries: as they stand, n values vary too little by a factor of (n − 1) / n (Hesterberg 2015, "What teachers
    should know about the bootstrap": narrowness bias). Of a mean over 33 classes of 2 or 3 queries, 95 % intervals so
    cover 90 to 95 % in simulation, without it 79 to 88 %; of one mean of few queries they stay too narrow (80 % of 3,
    86 % of 5, 92 % of 10), as its deviation is itself little known. A class of one query is lent the deviations of
    all other classes (89 to 96 %; taken as certain, 30 to 86 %), if these have 10 degrees of freedom or more.

    Parameters
    ----------
    values : (Q,) or (Q, M) float
        Evaluated queries only.
    labels : (Q,), needed where `average` is "classes"
    level
        The probability that the interval is to cover.

    Returns
    -------
    low, high : (M,) float64, or numbers for (Q,) values
        NaN where the queries do not tell their spread: there is one query, or there are classes of one query and the
        others have too few.

    Raises
    ------
    InputError
        If a value is NaN, there is no query, or labels are missing.
    """
    table = _evaluated(values)
    if not 0 < level < 1 or resamples < 1:
        raise InputError(f"level must be between 0 and 1 and resamples at least 1; got {level} and {resamples}.")
    weights, strata = _weights(len(table), labels, average)
    deviations = np.zeros_like(table)
    for members in strata:
        own, size = table[members], len(members)
        if size > 1:
            deviations[members] = (own - own.mean(0)) * np.sqrt(size / (size - 1))
    freedom = len(table) - len(strata)
    alone = any(len(members) == 1 for members in strata)
    if freedom < (_FEWEST_TO_LEND if alone else 1):
        unknown = np.full(table.shape[1], np.nan)
        return (unknown, unknown) if np.ndim(values) == 2 else (np.nan, np.nan)
    several = np.concatenate([members for members in strata if len(members) > 1])
    means = np.tile(weights @ table, (resamples, 1))
    draw = np.random.default_rng(seed)
    for members in strata:
        size, own = len(members), deviations[members] * weights[members, None]
        if size == 1:
            means += deviations[several[draw.integers(0, len(several), resamples)]] * weights[members]
            continue
        for part in _parts(resamples, size):
            rows = part.stop - part.start
            drawn = draw.integers(0, size, (rows, size)) + np.arange(rows)[:, None] * size
            counts = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
            means[part] += counts @ own
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return (low, high) if np.ndim(values) == 2 else (low[0], high[0])


def metric_rows(
    metrics: list[str], values: np.ndarray, labels: np.ndarray, classes: list[str], *, by_class: bool = True
) -> Iterator[dict[str, Any]]:
    """Yield tidy rows of metrics: per class, mean over queries, mean over classes, each with a 95 % interval.

    Parameters
    ----------
    metrics
        Names of the columns of `values`.
    values
        (Q, M) float64; NaN rows are left out, and counted as `excluded`.
    labels
        (Q,) positions in `classes`.
    by_class
        False: the two means only.

    Notes
    -----
    Intervals are percentile bootstraps over queries (`bootstrap_interval`), cut at 0 and, but for losses, at 1; for
    a single class, over its own queries. Where there is none, `ci_low` and `ci_high` are None. A class without an
    evaluated query has no row.
    """
    counted = ~np.isnan(values).any(axis=1)
    every, asked = np.where(counted[:, None], values, np.nan), labels
    values, labels = values[counted], labels[counted]
    means = {
        "queries": bootstrap_interval(values),
        "classes": bootstrap_interval(values, labels=labels, average="classes"),
    }
    present = [(i, name) for i, name in enumerate(classes) if by_class and (labels == i).any()]
    own = {name: bootstrap_interval(values[labels == i]) for i, name in present}
    for column, metric in enumerate(metrics):
        largest = np.inf if metric in _WITHOUT_LIMIT else 1.0
        for summary in summarise(every[:, column], asked, classes):
            if summary.value is None or (summary.label and not by_class):
                continue
            average = "classes" if summary.scope == "mean over classes" else "queries"
            low, high = own[summary.label] if summary.label else means[average]
            yield {
                "metric": metric,
                "class": summary.label,
                "average": average,
                "queries": summary.queries,
                "excluded": summary.excluded,
                "value": summary.value,
                "ci_low": None if np.isnan(low[column]) else max(low[column], 0.0),
                "ci_high": None if np.isnan(high[column]) else min(high[column], largest),
            }


def randomisation_test(
    a: np.ndarray,
    b: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    average: Average = "queries",
    resamples: int = 10000,
    seed: int = 0,
) -> np.ndarray | float:
    """Return the two-sided p value of the difference of two methods' means over the same queries.

    Under the hypothesis that the methods are exchangeable, each query's difference has either sign; p is the share of
    sign patterns whose mean difference is at least the observed one, all patterns where there are no more than
    `resamples`, else (1 + count) / (1 + resamples) of random ones (Smucker, Allan and Carterette 2007).

    Parameters
    ----------
    a, b : (Q,) or (Q, M) float
        Evaluated queries only, in the same order.

    Returns
    -------
    (M,) float64, or a number for (Q,) values

    Raises
    ------
    InputError
        If the shapes differ, a value is NaN, there is no query, or labels are missing.
    """
    first, second = _evaluated(a), _evaluated(b)
    if np.shape(a) != np.shape(b):
        raise InputError(f"the two methods have values of shapes {np.shape(a)} and {np.shape(b)}; pair them by query.")
    queries = len(first)
    weights, _ = _weights(queries, labels, average)
    differences = (first - second) * weights[:, None]
    observed = np.abs(differences.sum(0)) - _same_sum(differences)
    as_large = np.zeros(differences.shape[1], np.int64)
    patterns, exhaustive = _patterns(queries, resamples)
    for sums in _signed_sums(differences, patterns, exhaustive, seed):
        as_large += (np.abs(sums) >= observed).sum(0)
    p = _p_value(as_large, patterns, exhaustive)
    return p if np.ndim(a) == 2 else float(p[0])


def pairwise_randomisation_test(
    values: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    average: Average = "queries",
    resamples: int = 10000,
    seed: int = 0,
) -> np.ndarray:
    """Return the p values of `randomisation_test` for all pairs of several methods over the same queries.

    The sign patterns are shared by all pairs, so that a sum of signed differences is the difference of two signed
    sums: each method is summed once, not once a pair.

    Parameters
    ----------
    values : (Q, K, M) float
        M metrics of K methods; evaluated queries only.

    Returns
    -------
    (K, K, M) float64, symmetric, 1 on the diagonal

    Raises
    ------
    InputError
        If the shape is another, a value is NaN, there is no query, or labels are missing.
    """
    if np.ndim(values) != 3:
        raise InputError(f"expected values of shape (queries, methods, metrics), got {np.shape(values)}.")
    queries, methods, metrics = np.shape(values)
    table = _evaluated(np.reshape(values, (queries, methods * metrics)))
    weights, _ = _weights(queries, labels, average)
    weighted = table * weights[:, None]
    left, right = np.triu_indices(methods, 1)
    means = weighted.sum(0).reshape(methods, metrics)
    allowance = _same_sum(weighted).reshape(methods, metrics)
    observed = np.abs(means[left] - means[right]) - allowance[left] - allowance[right]
    as_large = np.zeros(observed.shape, np.int64)
    patterns, exhaustive = _patterns(queries, resamples)
    for sums in _signed_sums(weighted, patterns, exhaustive, seed):
        for row in sums.reshape(-1, methods, metrics):
            as_large += np.abs(row[left] - row[right]) >= observed
    p = np.ones((methods, methods, metrics))
    p[left, right] = p[right, left] = _p_value(as_large, patterns, exhaustive)
    return p


def _patterns(queries: int, resamples: int) -> tuple[int, bool]:
    """Return how many sign patterns to look at, and whether these are all there are."""
    if resamples < 1:
        raise InputError(f"resamples must be at least 1; got {resamples}.")
    exhaustive = queries < 63 and 2**queries <= resamples
    return (2**queries if exhaustive else resamples), exhaustive


def _signed_sums(table: np.ndarray, patterns: int, exhaustive: bool, seed: int) -> Iterator[np.ndarray]:
    """Yield sums over queries of a (Q, C) table under sign patterns, (patterns of a part, C)."""
    queries = len(table)
    draw = np.random.default_rng(seed)
    for part in _parts(patterns, queries):
        if exhaustive:
            positive = (np.arange(part.start, part.stop)[:, None] >> np.arange(queries)) & 1
        else:
            positive = draw.integers(0, 2, (part.stop - part.start, queries), dtype=np.int8)
        yield (positive * 2.0 - 1.0) @ table


def _same_sum(table: np.ndarray) -> np.ndarray:
    """Return by how much sums of the same numbers in another order may differ, and must still count as equal."""
    return 1e-12 * np.abs(table).sum(0)


def _p_value(as_large: np.ndarray, patterns: int, exhaustive: bool) -> np.ndarray:
    return as_large / patterns if exhaustive else (1 + as_large) / (1 + patterns)


def mean_and_deviation(values: Sequence[float] | np.ndarray) -> tuple[float, float | None]:
    """Return mean and sample standard deviation (n − 1) over seeds or folds; None for the deviation of one value.

    Raises
    ------
    InputError
        If there is no value, or one is NaN.
    """
    column = _evaluated(np.asarray(values, np.float64).reshape(-1))[:, 0]
    return float(column.mean()), float(column.std(ddof=1)) if len(column) > 1 else None


def _evaluated(values: np.ndarray) -> np.ndarray:
    """Return the values as (Q, M) float64, none of them NaN."""
    table = np.asarray(values, np.float64)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or not len(table):
        raise InputError(f"expected values of one query or more, (Q,) or (Q, M); got shape {np.shape(values)}.")
    if np.isnan(table).any():
        rows = int(np.isnan(table).any(1).sum())
        raise InputError(f"{rows} of {len(table)} rows hold NaN; pass the evaluated queries only.")
    return table


def _weights(queries: int, labels: np.ndarray | None, average: Average) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return each query's weight in the mean, (Q,), and the groups of queries that are resampled apart."""
    if average == "queries":
        return np.full(queries, 1 / queries), [np.arange(queries)]
    if average != "classes":
        raise InputError(f"average is {average!r}; it must be 'queries' or 'classes'.")
    if labels is None or np.shape(labels) != (queries,):
        raise InputError(f"a mean over classes needs one label for each of the {queries} queries.")
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    strata = np.split(np.argsort(codes, kind="stable"), np.cumsum(counts)[:-1])
    return 1 / (counts[codes] * len(counts)), strata


def _parts(rows: int, width: int) -> Iterator[slice]:
    """Yield slices of `rows` rows such that a table of one of them, `width` wide, stays small."""
    step = max(1, _CHUNK // width)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
