"""How well the labels of the nearest items classify a query: average precision of label against label.

Counts of labels alone; the lists come from rankers (`lists`, `ranking`), votes among them are in `lists`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

_CHUNK = 1 << 22


def vote_metrics(counts: Sequence[int]) -> list[str]:
    """Return the names of all metrics that a retrieval with `votes: counts` gives."""
    return [*(f"knn_accuracy@{k}" for k in counts), *label_metrics(counts)]


def label_metrics(counts: Sequence[int]) -> list[str]:
    """Return the names of the metrics of labels: one a depth, and of several depths their mean."""
    several = [f"label_ap@{'+'.join(map(str, counts))}"] if len(counts) > 1 else []
    return [*(f"label_ap@{k}" for k in counts), *several]


def label_counts(where: np.ndarray, gallery_labels: np.ndarray, classes: int) -> np.ndarray:
    """Return how many of each query's items have each class, (Q, classes) int64.

    Parameters
    ----------
    where : (Q, K) int64
        Positions in the gallery, −1 where nothing was found.
    gallery_labels : (N,) integers from 0 to `classes` − 1
    """
    rows, places = np.nonzero(where >= 0)
    counts = np.zeros((len(where), classes), dtype=np.int64)
    np.add.at(counts, (rows, gallery_labels[where[rows, places]]), 1)
    return counts


def label_average_precision(confusion: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the average precision of each class, one against all others, (…, C) float64.

    Every item found among a query's first k predicts the query to be of its own class. Of class c, with recall r (share
    of the items found for its queries that are of c) and precision p (share of the items of c that were found for
    its queries), a score that is 1 for such a prediction and else 0 has the average precision r·p + (1 − r)·b, where
    b is the share of c among the queries: the area below the steps of a precision–recall curve with one corner, as
    scikit-learn's `average_precision_score` has it. What López, Conde and Martín print as "AP@k" is the mean over
    the classes: their confusion matrices of the first neighbour give their AP@1 to both digits (0.18, 0.19, 0.59).

    Parameters
    ----------
    confusion : (…, C, C)
        Items of each class (last axis) found for the queries of each class.
    asked : (…, C)
        Items looked for, of each class' queries: k a query.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    found = confusion.sum(axis=-2)
    recall = right / np.maximum(asked, 1)
    precision = right / np.maximum(found, 1)
    return recall * precision + (1 - recall) * asked / asked.sum(axis=-1, keepdims=True)


def label_rows(
    where: np.ndarray,
    query_labels: np.ndarray,
    gallery_labels: np.ndarray,
    classes: Sequence[str],
    counts: Sequence[int],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Iterator[dict[str, Any]]:
    """Yield tidy rows of `label_ap@k` for every k of `counts` and of their mean, per class and as the mean of classes.

    Intervals are 95 % percentile bootstraps: queries are drawn with replacement within their classes, all depths share
    the draws. A class with one query alone widens none.

    Parameters
    ----------
    where : (Q, K) or (F, Q, K) int64
        Positions in the gallery, nearest first, −1 after the last found; K ≥ all of `counts`. Of F lists a query, one
        for each fold of the gallery, the items of all are counted together.
    query_labels, gallery_labels
        (Q,) and (N,) positions in `classes`.
    """
    lists = where.reshape(-1, *where.shape[-2:])
    # Classes without a query have no recall; their items are wrong answers all the same.
    present = np.unique(query_labels)
    order = np.concatenate([present, np.setdiff1d(np.arange(len(classes)), present)])
    codes = np.searchsorted(present, query_labels)
    members = [np.flatnonzero(codes == c) for c in range(len(present))]
    sizes = np.array([len(rows) for rows in members])
    tables = [sum(label_counts(each[:, :k], gallery_labels, len(classes)) for each in lists)[:, order] for k in counts]
    asked = [sizes * k * len(lists) for k in counts]
    values = [_of_classes(np.stack([t[rows].sum(0) for rows in members]), of) for t, of in zip(tables, asked)]
    drawn: list[list[np.ndarray]] = [[] for _ in counts]
    draw = np.random.default_rng(seed)
    step = max(1, _CHUNK // (len(present) * len(classes)))
    for start in range(0, resamples, step):
        several = min(step, resamples - start)
        weights = [draw.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=several) for rows in members]
        for found, table, of in zip(drawn, tables, asked):
            confusion = np.stack([w @ table[rows] for w, rows in zip(weights, members)], axis=1)
            found.append(_of_classes(confusion, of))
    samples = [np.concatenate(found) for found in drawn]
    if len(counts) > 1:
        values.append(np.mean(values, axis=0))
        samples.append(np.mean(samples, axis=0))
    for metric, value, sample in zip(label_metrics(counts), values, samples, strict=True):
        yield from (
            _row(metric, classes[label], int(sizes[c]), value[c], sample[:, c]) for c, label in enumerate(present)
        )
        yield _row(metric, "", len(query_labels), value.mean(), sample.mean(axis=1))


def _of_classes(confusion: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the average precision of the classes that have queries, which come first among the columns."""
    rows = confusion.shape[-2]
    square = confusion[..., :rows]
    return label_average_precision(square, np.broadcast_to(asked, square.shape[:-1]))


def _row(metric: str, name: str, queries: int, value: float, sample: np.ndarray) -> dict[str, Any]:
    known = queries > 1
    low, high = np.quantile(sample, [0.025, 0.975]) if known else (None, None)
    cells = {"metric": metric, "class": name, "average": "", "queries": queries, "excluded": 0, "value": float(value)}
    return cells | {"ci_low": low, "ci_high": high}
