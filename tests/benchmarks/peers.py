"""The same search and metrics with other libraries, each as its documentation shows, or faster where it can be.

Every function takes a `Task` and returns values by name: what it has no metric for, it leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

Values = dict[str, float]
_BLOCK = 512


@dataclass(frozen=True)
class Task:
    """Queries and a gallery, with labels; in leave-one-out both are the same, and each query skips itself."""

    queries: np.ndarray
    gallery: np.ndarray
    query_labels: np.ndarray
    gallery_labels: np.ndarray
    leave_one_out: bool

    def first(self, count: int) -> Task:
        """Return the task with its first `count` queries alone, against the same gallery."""
        return Task(self.queries[:count], self.gallery, self.query_labels[:count], self.gallery_labels, False)

    def relevant(self, rows: slice) -> np.ndarray:
        """Return which items are relevant, (B, N) bool; a query's own item is."""
        return self.query_labels[rows, None] == self.gallery_labels


def trazo(task: Task, distance: str = "euclidean", metrics: tuple[str, ...] = ("map", "mrr", "p@1", "p@10")) -> Values:
    from trazo.retrieval.ranking import rank

    result = rank(
        task.queries,
        task.gallery,
        query_labels=task.query_labels,
        gallery_labels=task.gallery_labels,
        distance=distance,
        metrics=metrics,
        leave_one_out=np.arange(len(task.gallery)) if task.leave_one_out else None,
    )
    if not result.evaluated.any():
        return {}
    return dict(zip(result.metrics, result.values[result.evaluated].mean(0).tolist()))


def squared_distances(task: Task) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield squared distances by blocks of queries, from matrix products, as peers that bring no search are given."""
    norms = np.square(task.gallery).sum(1)
    for start in range(0, len(task.queries), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(task.queries)))
        own = task.queries[rows]
        squares = own @ task.gallery.T
        squares *= -2
        squares += norms
        squares += np.square(own).sum(1)[:, None]
        # Products of equal rows cancel to a little more or less than nothing.
        np.maximum(squares, 1e-30, out=squares)
        yield rows, squares


def others_than_own(task: Task, rows: slice, size: int) -> np.ndarray:
    """Return the columns of the gallery that each query of a block is searched in, (B, N or N − 1)."""
    columns = np.arange(size)
    if not task.leave_one_out:
        return np.broadcast_to(columns, (rows.stop - rows.start, size))
    own = np.arange(rows.start, rows.stop)[:, None]
    shorter = columns[:-1]
    return shorter + (shorter >= own)


def scores_and_targets(task: Task) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the squared distances and relevance of each block, without the queries' own items."""
    for rows, squares in squared_distances(task):
        hits = task.relevant(rows)
        if task.leave_one_out:
            kept = others_than_own(task, rows, squares.shape[1])
            squares, hits = np.take_along_axis(squares, kept, 1), np.take_along_axis(hits, kept, 1)
        yield squares, hits


def metrics_of_hits(hits: np.ndarray) -> np.ndarray:
    """Return AP, reciprocal rank, P@1 and P@10 of (B, N) hits in order, (B, 4): textbook definitions in NumPy."""
    places = np.arange(1, hits.shape[1] + 1)
    precisions = hits.cumsum(1) / places
    return np.column_stack(
        [
            (precisions * hits).sum(1) / hits.sum(1),
            1 / (hits.argmax(1) + 1),
            hits[:, 0],
            hits[:, :10].sum(1) / 10,
        ]
    )


def as_values(rows: list[np.ndarray]) -> Values:
    return dict(zip(("map", "mrr", "p@1", "p@10"), np.concatenate(rows).mean(0).tolist()))


def metric_learning(task: Task) -> Values:
    import torch
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    names = {"mean_average_precision": "map", "mean_reciprocal_rank": "mrr", "precision_at_1": "p@1"}
    calculator = AccuracyCalculator(include=tuple(names), k=None, device=torch.device("cpu"))
    queries, labels = torch.from_numpy(task.queries), torch.from_numpy(task.query_labels)
    if task.leave_one_out:
        found = calculator.get_accuracy(queries, labels)
    else:
        found = calculator.get_accuracy(
            queries, labels, torch.from_numpy(task.gallery), torch.from_numpy(task.gallery_labels)
        )
    return {ours: float(found[theirs]) for theirs, ours in names.items()}


def scikit_learn(task: Task) -> Values:
    from sklearn.metrics import average_precision_score

    found = []
    for squares, hits in scores_and_targets(task):
        np.negative(squares, out=squares)
        found += [average_precision_score(own, scores) for own, scores in zip(hits, squares)]
    return {"map": float(np.mean(found))}


def torchmetrics(task: Task) -> Values:
    import torch
    from torchmetrics.functional.retrieval import (
        retrieval_average_precision,
        retrieval_precision,
        retrieval_reciprocal_rank,
    )

    found = []
    for squares, hits in scores_and_targets(task):
        # Items of a score that is not positive would count as not retrieved.
        for scores, own in zip(torch.from_numpy(1 / squares), torch.from_numpy(hits)):
            found.append(
                [
                    float(retrieval_average_precision(scores, own)),
                    float(retrieval_reciprocal_rank(scores, own)),
                    float(retrieval_precision(scores, own, top_k=1)),
                    float(retrieval_precision(scores, own, top_k=10)),
                ]
            )
    return as_values([np.array(found)])


def ranx(task: Task) -> Values:
    from ranx import evaluate

    names = {"map": "map", "mrr": "mrr", "precision@1": "p@1", "precision@10": "p@10"}
    found, counts = [], []
    for squares, hits in scores_and_targets(task):
        # Arrays, which it takes as well as dictionaries of strings, save it the conversion.
        order = np.argsort(squares, axis=1)
        run = np.stack([order, -np.take_along_axis(squares, order, 1)], axis=2).astype(np.float64)
        deepest = int(hits.sum(1).max())
        relevant = np.argsort(~hits, axis=1, kind="stable")[:, :deepest]
        judged = np.stack([relevant, np.take_along_axis(hits, relevant, 1)], axis=2).astype(np.float64)
        scores = evaluate(judged, run, list(names))
        found.append([float(scores[name]) for name in names])
        counts.append(len(hits))
    return dict(zip(names.values(), np.average(found, axis=0, weights=counts).tolist()))


def pytrec_eval(task: Task) -> Values:
    import pytrec_eval as library

    names = {"map": "map", "recip_rank": "mrr", "P_1": "p@1", "P_10": "p@10"}
    columns = [str(column) for column in range(len(task.gallery))]
    found = []
    for squares, hits in scores_and_targets(task):
        judged = {str(i): {columns[j]: 1 for j in np.flatnonzero(own)} for i, own in enumerate(hits)}
        run = {str(i): dict(zip(columns, scores)) for i, scores in enumerate((-squares).tolist())}
        evaluator = library.RelevanceEvaluator(judged, {"map", "recip_rank", "P.1,10"})
        results = evaluator.evaluate(run)
        found += [[result[name] for name in names] for result in results.values()]
    return dict(zip(names.values(), np.mean(found, axis=0).tolist()))


def faiss_and_numpy(task: Task) -> Values:
    import faiss

    index = faiss.IndexFlatL2(task.gallery.shape[1])
    index.add(task.gallery)
    return _from_index(index, task)


def faiss_binary_and_numpy(task: Task) -> Values:
    import faiss

    index = faiss.IndexBinaryFlat(task.gallery.shape[1] * 8)
    index.add(task.gallery)
    return _from_index(index, task)


def _from_index(index: object, task: Task) -> Values:
    size = len(task.gallery)
    found = []
    for start in range(0, len(task.queries), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(task.queries)))
        _, order = index.search(task.queries[rows], size)
        if task.leave_one_out:
            own = np.arange(rows.start, rows.stop)[:, None]
            order = order[order != own].reshape(len(order), size - 1)
        found.append(metrics_of_hits(task.gallery_labels[order] == task.query_labels[rows, None]))
    return as_values(found)


def study_loop(task: Task) -> Values:
    """Do as the studies did: query by query, differences, a full argsort, and a pass over the ranked labels."""
    found = []
    for query, label in zip(task.queries, task.query_labels):
        distances = np.sqrt(np.square(task.gallery - query).sum(1))
        order = np.argsort(distances)[int(task.leave_one_out) :]
        found.append(metrics_of_hits((task.gallery_labels[order] == label)[None]))
    return as_values(found)


def study_loop_hamming(task: Task) -> Values:
    """Do as study 4 did with bits, one a byte: query by query, count what differs, a full argsort."""
    queries, gallery = np.unpackbits(task.queries, axis=1), np.unpackbits(task.gallery, axis=1)
    found = []
    for query, label in zip(queries, task.query_labels):
        order = np.argsort(np.count_nonzero(gallery != query, axis=1), kind="stable")
        order = order[int(task.leave_one_out) :]
        found.append(metrics_of_hits((task.gallery_labels[order] == label)[None]))
    return as_values(found)
