"""Ranking against its peers, on the same arrays in one run: medians, ratios, and whether results are equal.

Run by hand: `PYTHONPATH=workflow python tests/benchmarks/bench_ranking.py [--rounds 3] [--only NAME …]`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from sklearn.metrics import average_precision_score
from trazo.retrieval.ranking import Ranking, rank


def clustered(size: int, dimensions: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, classes, size)
    centres = draw.normal(size=(classes, dimensions))
    return (centres[labels] + 1.5 * draw.normal(size=(size, dimensions))).astype(np.float32), labels


def bits_of(size: int, bits: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rows, labels = clustered(size, bits, classes)
    return np.packbits(rows > 0, axis=1), labels


def compare(title: str, contestants: dict[str, Callable[[], float]], rounds: int) -> None:
    """Time every contestant in every round, in turn, and print medians, ratios to the first, and what each found."""
    print(f"\n{title}")
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    found: dict[str, float] = {}
    for _ in range(rounds):
        for name, run in contestants.items():
            started = time.perf_counter()
            found[name] = run()
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    first = next(iter(medians.values()))
    for name, median in medians.items():
        print(f"  {name:<42} {median:9.3f} s   ×{median / first:7.2f}   mAP {found[name]:.8f}")


def leave_one_out(rows: np.ndarray, labels: np.ndarray, **settings: object) -> Ranking:
    own = np.arange(len(rows))
    return rank(rows, rows, query_labels=labels, gallery_labels=labels, leave_one_out=own, **settings)


def mean_ap(result: Ranking) -> float:
    return float(result.values[result.evaluated, result.metrics.index("map")].mean())


def bench_leave_one_out(rounds: int) -> None:
    rows, labels = clustered(5000, 1024, 100)

    def ours() -> float:
        return mean_ap(leave_one_out(rows, labels, metrics=("map", "mrr", "p@10")))

    def metric_learning() -> float:
        asked = ("mean_average_precision", "mean_reciprocal_rank", "precision_at_1")
        calculator = AccuracyCalculator(include=asked, k=None, device=torch.device("cpu"))
        found = calculator.get_accuracy(torch.from_numpy(rows), torch.from_numpy(labels))
        return float(found["mean_average_precision"])

    def scikit_learn() -> float:
        norms = np.square(rows).sum(1)
        others = np.ones(len(rows), bool)
        found = []
        for i in range(len(rows)):
            others[i] = False
            squares = norms + norms[i] - 2 * (rows @ rows[i])
            found.append(average_precision_score((labels == labels[i])[others], -squares[others]))
            others[i] = True
        return float(np.mean(found))

    contestants = {
        "trazo": ours,
        "pytorch-metric-learning, k=None": metric_learning,
        "scikit-learn, loop": scikit_learn,
    }
    compare("5,000 × 1,024, leave-one-out, full depth", contestants, rounds)


def bench_queries_apart(rounds: int) -> None:
    rows, labels = clustered(14990, 2048, 33)
    queries, gallery, of_queries, of_gallery = rows[:330], rows[330:], labels[:330], labels[330:]

    def first(count: int) -> Callable[[], float]:
        own = {"query_labels": of_queries[:count], "gallery_labels": of_gallery}
        return lambda: mean_ap(rank(queries[:count], gallery, **own))

    contestants = {"trazo, 330 queries": first(330), "trazo, 33 queries": first(33), "trazo, 1 query": first(1)}
    compare("14,660 × 2,048", contestants, rounds)


def bench_bits(rounds: int) -> None:
    bits, labels = bits_of(5000, 2048, 100)
    floats, _ = clustered(5000, 64, 100)
    contestants = {
        "trazo, 2,048 bits, hamming": lambda: mean_ap(leave_one_out(bits, labels, distance="hamming")),
        "trazo, 64 floats, euclidean": lambda: mean_ap(leave_one_out(floats, labels)),
    }
    try:
        import faiss
    except ImportError:
        print("faiss is not installed; its binary index is left out")
    else:

        def binary_index() -> float:
            index = faiss.IndexBinaryFlat(bits.shape[1] * 8)
            index.add(bits)
            _, order = index.search(bits, len(bits))
            kept = order[order != np.arange(len(bits))[:, None]].reshape(len(bits), -1)
            hits = labels[kept] == labels[:, None]
            precisions = hits.cumsum(1) / np.arange(1, len(bits))
            return float(((precisions * hits).sum(1) / hits.sum(1)).mean())

        contestants["FAISS binary Flat, full ranking (ties broken)"] = binary_index
    compare("5,000 codes of equal bytes, leave-one-out, full depth", contestants, rounds)


def bench_size(rounds: int) -> None:
    def of(size: int) -> Callable[[], float]:
        draw = np.random.default_rng(0)
        gallery, labels = draw.standard_normal((size, 64), np.float32), draw.integers(0, 100, size)
        queries = draw.standard_normal((1000, 64), np.float32)
        own = {"query_labels": np.arange(1000) % 100, "gallery_labels": labels}
        return lambda: mean_ap(rank(queries, gallery, **own))

    compare("1,000 queries × 64", {f"gallery of {size:,}": of(size) for size in (100_000, 1_000_000)}, rounds)


BENCHMARKS = {"loo": bench_leave_one_out, "apart": bench_queries_apart, "bits": bench_bits, "size": bench_size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=sorted(BENCHMARKS), default=list(BENCHMARKS))
    given = parser.parse_args()
    # Loading and compiling are not what is compared.
    for kind, distance in ((np.float32, "euclidean"), (np.uint8, "hamming")):
        leave_one_out(np.eye(8, dtype=kind), np.arange(8) // 2, distance=distance)
    for name in given.only:
        BENCHMARKS[name](given.rounds)


if __name__ == "__main__":
    main()
