"""Ranking and metrics beside their peers: the sizes of the studies, bits against floats, large galleries."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.benchmarks import peers
from tests.benchmarks.harness import Contestant, benchmark
from tests.benchmarks.peers import Task

TIES = "one order of the tied"
GIVEN = "given distances by NumPy"


def clustered(size: int, dimensions: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features in overlapping clusters, (N, D) float32, and labels, (N,) int64."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, classes, size)
    centres = draw.standard_normal((classes, dimensions), np.float32)
    rows = draw.standard_normal((size, dimensions), np.float32)
    rows *= np.float32(1.5)
    for start in range(0, size, 1 << 14):
        part = slice(start, start + (1 << 14))
        rows[part] += centres[labels[part]]
    return rows, labels


def among_themselves(size: int, dimensions: int, classes: int, bits: bool = False) -> Task:
    """Return a leave-one-out task; of `bits`, packed, by the signs of the features."""
    rows, labels = clustered(size, dimensions, classes)
    if bits:
        rows = np.packbits(rows > 0, axis=1)
    return Task(rows, rows, labels, labels, True)


def apart(queries: int, gallery: int, dimensions: int, classes: int) -> Task:
    rows, labels = clustered(queries + gallery, dimensions, classes)
    return Task(rows[:queries], rows[queries:], labels[:queries], labels[queries:], False)


@benchmark("leave_one_out", "5,000 × 1,024 floats, leave-one-out, full depth", units=5000)
def leave_one_out(small: bool) -> list[Contestant]:
    task = partial(among_themselves, *((300, 32, 10) if small else (5000, 1024, 100)))
    return [
        Contestant("trazo", task, peers.trazo),
        Contestant("FAISS Flat + NumPy", task, peers.faiss_and_numpy, rounds=2),
        Contestant("pytorch-metric-learning, k=None", task, peers.metric_learning, rounds=4, wanted=15, note="no P@10"),
        Contestant("ranx", task, peers.ranx, rounds=1, note=GIVEN),
        Contestant(
            "scikit-learn, a query at a time",
            task,
            peers.scikit_learn,
            rounds=2,
            wanted=40,
            note=f"{GIVEN}; mAP only",
        ),
        Contestant("torchmetrics", task, peers.torchmetrics, rounds=1, note=GIVEN),
        Contestant("pytrec_eval", task, peers.pytrec_eval, rounds=1, note=GIVEN),
        Contestant("the study's own loop", task, peers.study_loop, rounds=1),
    ]


@benchmark("sbir_size", "330 queries, gallery of 14,660 × 2,048 floats, full depth", units=330)
def sbir_size(small: bool) -> list[Contestant]:
    task = partial(apart, *((30, 300, 32, 10) if small else (330, 14_660, 2048, 33)))
    return [
        Contestant("trazo", task, peers.trazo, wanted_ms=1),
        Contestant("FAISS Flat + NumPy", task, peers.faiss_and_numpy, rounds=2),
        Contestant("pytorch-metric-learning, k=None", task, peers.metric_learning, rounds=2, note="no P@10"),
        Contestant("scikit-learn, a query at a time", task, peers.scikit_learn, rounds=2, note=f"{GIVEN}; mAP only"),
        Contestant("the study's own loop", task, peers.study_loop, rounds=1),
    ]


@benchmark("hamming", "5,000 codes of 256 bytes each, leave-one-out, full depth", units=5000)
def hamming(small: bool) -> list[Contestant]:
    size, bits, dimensions, classes = (200, 128, 4, 10) if small else (5000, 2048, 64, 100)
    codes = partial(among_themselves, size, bits, classes, bits=True)
    floats = partial(among_themselves, size, dimensions, classes)
    in_order = {"comparable": False, "note": TIES}
    return [
        Contestant("trazo, 2,048 bits, Hamming", codes, partial(peers.trazo, distance="hamming")),
        Contestant("trazo, 64 floats, Euclidean", floats, peers.trazo, wanted=1, comparable=False, note="other codes"),
        Contestant("FAISS binary Flat + NumPy", codes, peers.faiss_binary_and_numpy, rounds=2, wanted=1, **in_order),
        Contestant("the study's own loop, bits", codes, peers.study_loop_hamming, rounds=1, **in_order),
    ]


@benchmark("large_gallery", "1,000 queries, galleries of 64 floats an item, full depth", units=1000)
def large_gallery(small: bool) -> list[Contestant]:
    count, few, many = (20, 1000, 4000) if small else (1000, 100_000, 1_000_000)
    hundred_thousand, million = partial(apart, count, few, 64, 100), partial(apart, count, many, 64, 100)
    return [
        Contestant("trazo, 100,000", hundred_thousand, peers.trazo, rounds=2),
        Contestant(
            "trazo, 1,000,000",
            million,
            peers.trazo,
            rounds=2,
            wanted_most=11,
            comparable=False,
            note="ten times the gallery; wanted too: ≤ 1,024 MiB",
        ),
        Contestant("FAISS Flat + NumPy, 100,000", hundred_thousand, peers.faiss_and_numpy, rounds=1),
    ]


@benchmark("large_leave_one_out", "100,000 × 64 floats, leave-one-out, full depth", units=100_000)
def large_leave_one_out(small: bool) -> list[Contestant]:
    task = partial(among_themselves, *((300, 8, 10) if small else (100_000, 64, 100)))
    return [
        Contestant("trazo", task, peers.trazo, rounds=1),
        Contestant("pytorch-metric-learning, k=None", task, peers.metric_learning, rounds=1),
    ]


@benchmark("single_query", "one query and many, gallery of 14,660 × 2,048 floats", unit="run", units=1)
def single_query(small: bool) -> list[Contestant]:
    shape = (30, 300, 32, 10) if small else (330, 14_660, 2048, 33)

    def first(count: int) -> Task:
        return apart(*shape).first(count)

    return [
        Contestant("trazo, 330 queries", partial(first, shape[0]), peers.trazo),
        Contestant("trazo, 1 query", partial(first, 1), peers.trazo, comparable=False),
        Contestant(
            "trazo, no query",
            partial(first, 0),
            peers.trazo,
            comparable=False,
            note="the set-up: what any number of queries share",
        ),
    ]
