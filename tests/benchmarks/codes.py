"""Bits against floats of equal bytes: how long one query takes, and what a searcher of each holds.

The study's codes (`sbir`, tables 4.7 and 4.8) in a gallery of its size, searched as the step `measure_cost` does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from tests.benchmarks.harness import Contestant, benchmark

SIZES = (4, 8, 16, 32, 64)
# Mean distance of so many nearest items: what contestants are held to find alike.
_NEAREST = 10
Values = dict[str, float]
Task = tuple[np.ndarray, np.ndarray]


def searched(queries: int, gallery: int, size: int, bits: bool) -> Task:
    """Return codes of queries and gallery: (·, size) float32, or as many bytes of bits."""
    draw = np.random.default_rng(size)
    rows = draw.standard_normal((queries + gallery, 32 * size if bits else size), np.float32)
    codes = np.packbits(rows > 0, axis=1) if bits else rows
    return codes[:queries], codes[queries:]


def one_at_a_time(task: Task, distance: str) -> Values:
    """Search the whole gallery for every query by itself, full depth: distances, then their order."""
    found = []
    import torch
    from trazo.costs import Held, Searcher

    queries, gallery = task
    search = Searcher(Held("", 0, gallery, None, 0, 0, 0), distance, torch.device("cpu"))
    for place in range(len(queries)):
        keys = search.keys(queries[place : place + 1])
        nearest = keys[0, search.sorted(keys)[0, :_NEAREST].tolist()].double().mean()
        # Of floats, the query's own square is left out of what they are sorted by.
        found.append(float(nearest) + (0.0 if distance == "hamming" else float(np.square(queries[place]).sum())))
    return {distance: float(np.mean(found))}


def study_bits(task: Task) -> Values:
    """Compare bits as the study did: by NumPy, which has no Hamming distance of its own, and sort with Python."""
    queries, gallery = task
    unpacked, found = np.unpackbits(gallery, axis=1), []
    for query in np.unpackbits(queries, axis=1):
        ranked = sorted(enumerate((unpacked != query).sum(1).tolist()), key=lambda pair: pair[1])
        found.append(np.mean([distance for _, distance in ranked[:_NEAREST]]))
    return {"hamming": float(np.mean(found))}


def study_floats(task: Task) -> Values:
    """Compare floats as the study did: by NumPy's norm, and sort with Python."""
    (queries, gallery), found = task, []
    for query in queries:
        ranked = sorted(enumerate(np.linalg.norm(gallery - query, axis=1).tolist()), key=lambda pair: pair[1])
        found.append(np.mean([distance**2 for _, distance in ranked[:_NEAREST]]))
    return {"euclidean": float(np.mean(found))}


def pair(size: int) -> Callable[[bool], list[Contestant]]:
    """Return what prepares the benchmark of one size: bits first, then floats of equal bytes."""

    def prepare(small: bool) -> list[Contestant]:
        shape = (5, 300) if small else (330, 14_660)
        bits, floats = (partial(searched, *shape, size, bits=kind) for kind in (True, False))
        others = {"comparable": False, "note": "other codes"}
        return [
            Contestant(f"trazo, {32 * size:,} bits, Hamming", bits, partial(one_at_a_time, distance="hamming")),
            Contestant(
                f"trazo, {size} floats, Euclidean",
                floats,
                partial(one_at_a_time, distance="euclidean"),
                wanted=1,
                **others,
            ),
            Contestant(f"the study's own way, {32 * size:,} bits", bits, study_bits, rounds=2),
            Contestant(f"the study's own way, {size} floats", floats, study_floats, rounds=2, **others),
        ]

    return prepare


for _size in SIZES:
    benchmark(
        f"equal_bytes_{4 * _size}", f"codes of {4 * _size} bytes, one query at a time in 14,660, full depth", units=330
    )(pair(_size))
