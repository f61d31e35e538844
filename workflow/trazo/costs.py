"""The costing step: how long a query takes, part by part, and how much a searcher must hold, by features or codes.

Above the rooms, since it times what several of them do: reducers, distances, sorting. What is found is no part of it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from trazo.device import Blocks, choose_device, device_name, fits_or_says
from trazo.errors import InputError
from trazo.progress import log
from trazo.reducers.contract import NONE, Reducer, read_reducer
from trazo.retrieval.distances import distances as distance_kinds
from trazo.sizes import FLOAT_BITS, equal_floats
from trazo.store import Features, read_codes, read_features, write_metrics

# Queries timed one at a time, and those before them that are not counted.
_TIMED, _WARMING = 60, 5
# Queries at once in a batch, and how often: the median counts.
_BATCH, _ROUNDS = 256, 5
_MEGABYTE = 1e6
_EXACT = "exact"


@dataclass(frozen=True)
class Held:
    """What a searcher holds, and how it searches.

    Attributes
    ----------
    method, bits
        The columns `reducer` and `bits`.
    gallery
        (N, d) float32 or (N, bytes) uint8 codes of the whole gallery.
    reducer
        What makes a query's code, None where queries are searched as they are.
    code_bytes, reducer_bytes
        Bytes of all codes, and of what makes a query's code.
    saved_bytes
        Bytes of the same in files.
    """

    method: str
    bits: int
    gallery: np.ndarray
    reducer: Reducer | None
    code_bytes: int
    reducer_bytes: int
    saved_bytes: int


@dataclass(frozen=True)
class Times:
    """Milliseconds of queries one at a time, (n,) each, in the order asked; and of one in a batch."""

    transform: np.ndarray
    distances: np.ndarray
    ranking: np.ndarray
    batch: float

    @property
    def total(self) -> np.ndarray:
        """(n,) milliseconds of the whole search of a query."""
        return self.transform + self.distances + self.ranking


def measure_cost(
    *,
    queries: Path | str,
    gallery: Path | str,
    sizes: Path | str,
    times: Path | str,
    study: str,
    retrieval: str,
    distances: Sequence[str],
    reducers: Sequence[str] = (),
    codes: Path | str = "",
    fitted: Path | str = "",
    device: str = "auto",
    threads: int = 1,
) -> None:
    """Time searches of single queries, and add up what a searcher holds; write both as tidy metrics.

    A query is transformed by the reducer, its distances to all items of the gallery are computed, and these sorted;
    what the network takes to make its feature is not counted, as it is the same for all codes (study `sbir`, section
    4.5). Of a folded gallery, too, the whole is searched, by reducers fitted on all of it: what a searcher would do
    (the study's 15,000 items). In leave-one-out, queries for reducers stand halfway between two items of the gallery,
    since reducers may know the items themselves.

    Parameters
    ----------
    queries, gallery
        `features.h5` of both sides; the same file for leave-one-out.
    sizes
        Where to write `memory`, MB (10^6 bytes) of codes and reducer as a searcher holds them, and `saved_size`, MB
        of the saved reducer and of the codes as they are.
    times
        Where to write, in ms: `query_time`, the median over single queries with its 95 % interval (order statistics),
        its parts `query_time_transform`, `query_time_distances` and `query_time_ranking`, and `query_time_batch`, a
        query's share of a search of many at once. Apart, since they differ from run to run.
    study, retrieval
        Names that the rows carry.
    distances
        Names of the distances searched by.
    reducers
        Reducers, as paths name them; none: the features as they are.
    codes, fitted
        Codes of the whole gallery by these reducers, and the folder of the fitted reducers.
    device, threads
        Where to compute, and CPU threads.

    Raises
    ------
    InputError
        If codes and features are of other items.
    """
    chosen = choose_device(device)
    torch.set_num_threads(max(1, threads))
    stored = read_features(gallery)
    asked = stored if Path(queries) == Path(gallery) else read_features(queries)
    held = _reduced(reducers, Path(codes), Path(fitted), asked, stored) if reducers else [_as_they_are(stored)]
    timed = _between(stored.values) if reducers and asked is stored else asked.values
    key = asked.record.get("settings", {}).get("key", {})
    rows: dict[str, list[dict[str, Any]]] = {"sizes": [], "times": []}
    log.info("on %s, %d threads: %d items, %d queries", device_name(chosen), max(1, threads), len(stored), len(asked))
    for one in held:
        for distance in distances:
            identity = {
                "study": study,
                "dataset": retrieval,
                **{name: key.get(name) for name in ("model", "stage", "epoch", "seed")},
                "reducer": one.method,
                "size": equal_floats(one.bits),
                "bits": one.bits,
                "ranker": _EXACT,
                "distance": distance,
            }
            needs = fits_or_says("Measure on the CPU: use device: cpu, and run again.")
            with threadpool_limits(limits=max(1, threads)), needs:
                taken = time_queries(one, timed, distance, chosen)
            rows["sizes"] += [identity | row for row in _size_rows(one)]
            rows["times"] += [identity | row for row in _time_rows(taken)]
            log.info("%s", _sentence(one, distance, taken))
    write_metrics(sizes, rows["sizes"])
    write_metrics(times, rows["times"])


def _as_they_are(stored: Features) -> Held:
    """Return what a searcher by features, or by codes that a network gave, holds."""
    packed = stored.values.dtype == np.uint8
    bits = stored.values.shape[1] * (8 if packed else FLOAT_BITS)
    method = stored.record.get("settings", {}).get("key", {}).get("method", NONE)
    size = stored.values.nbytes
    return Held(method, bits, stored.values, None, size, 0, size)


def _reduced(labels: Sequence[str], path: Path, fitted: Path, asked: Features, stored: Features) -> list[Held]:
    """Return what searchers by reducers hold."""
    artifact = read_codes(path, labels, query_ids=asked.ids, gallery_ids=stored.ids)
    if len(artifact.rows) < len(stored):
        raise InputError(
            f"{path} holds codes of {len(artifact.rows)} of the gallery's {len(stored)} items, expected all; delete it "
            "and run again."
        )
    found = []
    for label in labels:
        codes = artifact.codes[label]
        # The run made the file itself a moment ago.
        reducer = read_reducer(fitted / f"{label}.h5", trust=True)
        if not found:
            reducer.load()
        code_bytes = reducer.code_bytes(len(stored), stored.values.shape[1])
        saved = (fitted / f"{label}.h5").stat().st_size + code_bytes
        held = reducer.memory_bytes()
        found.append(
            Held(codes.record["method"], codes.record["bits"], codes.gallery, reducer, code_bytes, held, saved)
        )
    return found


def _between(values: np.ndarray) -> np.ndarray:
    """Return features (N, D) halfway between others: like these, and none that a reducer was fitted on.

    A query of leave-one-out is an item of the gallery, whose code a reducer may know; a searcher's is not.
    """
    return ((values + np.roll(values, 1, axis=0)) / 2).astype(np.float32)


def time_queries(held: Held, queries: np.ndarray, distance: str, device: torch.device) -> Times:
    """Return how long queries take, warm: one at a time, and many at once.

    Parameters
    ----------
    held
        What is searched.
    queries : (Q, D) features
        Those timed are spread over them; fewer than are timed are asked again.
    distance
        Name of the distance.
    device
        Where distances are computed and sorted.
    """
    search = Searcher(held, distance, device)
    places = np.linspace(0, len(queries), _TIMED, endpoint=False).astype(int) if len(queries) else []
    if not len(places):
        raise InputError("there are no queries to time; expected one or more.")
    single = [queries[place : place + 1] for place in places]
    for query in single[:_WARMING]:
        search(query)
    seconds = np.array([search(query) for query in single])
    batch = queries[np.linspace(0, len(queries), min(_BATCH, len(queries)), endpoint=False).astype(int)]
    fitting = Blocks(len(batch), "costs, queries in a batch")
    fitting.fit(lambda count: search(batch[:count]))
    shares = [fitting.fit(lambda count: sum(search(batch[:count])) / count) for _ in range(_ROUNDS)]
    return Times(*(1000 * seconds.T), batch=1000 * float(np.median(shares)))


class Searcher:
    """Searches a gallery for some queries, and says how long it took.

    Distances of several queries are the ranking's own. Of one query, where a distance is a matter of inner products,
    they are one product of a matrix and a vector, as a searcher of single queries would make it: the ranking's products
    have bits that do not depend on how many queries stand beside each other, and take several times longer for one.
    What FAISS searches (a reducer with an `index`) gives distances without their table: those of one scan are timed,
    and the table that is sorted is made apart.
    """

    def __init__(self, held: Held, distance: str, device: torch.device) -> None:
        self._reducer = held.reducer
        self._device = device
        items = torch.from_numpy(held.gallery).to(device)
        self._to_gallery = distance_kinds.get(distance)(items)
        self._single = _products_of_one(distance, items)
        make_index: Callable[[np.ndarray], Any] | None = getattr(held.reducer, "index", None)
        self._index = make_index(held.gallery) if make_index else None

    def __call__(self, queries: np.ndarray) -> tuple[float, float, float]:
        """Return seconds of transforming (n, D) queries, of all their distances, and of sorting these."""
        start = time.perf_counter()
        codes = queries if self._reducer is None else self._reducer.transform_queries(queries)
        transformed = time.perf_counter()
        if self._index is not None:
            self._index.search(np.ascontiguousarray(codes, dtype=np.float32), 1)
            measured = time.perf_counter()
            keys = self.keys(codes)
            again = time.perf_counter()
        else:
            keys = self.keys(codes)
            measured = again = time.perf_counter()
        self.sorted(keys)
        return transformed - start, measured - transformed, time.perf_counter() - again

    def keys(self, codes: np.ndarray) -> torch.Tensor:
        """Return what the distances of (n, d) codes to all items, (n, N), are ordered by."""
        rows = torch.from_numpy(np.ascontiguousarray(codes)).to(self._device)
        keys = self._single(rows[0])[None] if self._single and len(rows) == 1 else self._to_gallery(rows)
        if keys.device.type == "cuda":
            torch.cuda.synchronize(keys.device)
        return keys

    def sorted(self, keys: torch.Tensor) -> np.ndarray:
        """Return the positions of the items by distance."""
        if keys.device.type != "cpu":
            return keys.argsort(dim=1).cpu().numpy()
        table = keys.numpy()
        # Whole numbers of few bits are sorted digit by digit (radix), which NumPy does where order has to be kept.
        return table.argsort(axis=1, kind="stable" if table.dtype.kind == "i" else None)


def _products_of_one(distance: str, items: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Return what gives for a query, (D,), numbers (N,) in the order of its distances; None for other distances."""
    if distance in ("euclidean", "squared_euclidean"):
        # |q|² is the same for all items.
        squares = torch.linalg.vector_norm(items, dim=1).square()
        return lambda query: torch.addmv(squares, items, query, alpha=-2)
    if distance == "cosine":
        items = torch.nn.functional.normalize(items)
    if distance in ("cosine", "inner_product"):
        nothing = torch.zeros(len(items), dtype=items.dtype, device=items.device)
        return lambda query: torch.addmv(nothing, items, query, alpha=-1)
    return None


def median_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the median of (n,) values by order statistics, whatever their distribution.

    With fewer than 6 values none is so sure: the least and the largest are returned. (W. J. Conover, "Practical
    nonparametric statistics", section 3.2.)
    """
    ordered = np.sort(values)
    count = len(ordered)
    # Ranks r and n + 1 - r cover the median with probability 1 - 2 P(B < r), B binomial (n, 1/2).
    below, rank = 0.0, 0
    while rank < count // 2:
        below += math.comb(count, rank) / 2**count
        if below > 0.025:
            break
        rank += 1
    first = max(rank, 1)
    return float(ordered[first - 1]), float(ordered[count - first])


def _size_rows(held: Held) -> list[dict[str, Any]]:
    memory = (held.code_bytes + held.reducer_bytes) / _MEGABYTE
    return [
        {"metric": "memory", "value": memory},
        {"metric": "saved_size", "value": held.saved_bytes / _MEGABYTE},
    ]


def _time_rows(times: Times) -> list[dict[str, Any]]:
    parts: Mapping[str, np.ndarray] = {
        "query_time": times.total,
        "query_time_transform": times.transform,
        "query_time_distances": times.distances,
        "query_time_ranking": times.ranking,
    }
    rows = []
    for metric, values in parts.items():
        low, high = median_interval(values)
        row = {"metric": metric, "value": float(np.median(values)), "ci_low": low, "ci_high": high}
        rows.append({**row, "queries": len(values)})
    return [*rows, {"metric": "query_time_batch", "value": times.batch}]


def _sentence(held: Held, distance: str, times: Times) -> str:
    parts = ", ".join(f"{name} {np.median(getattr(times, name)):.3f}" for name in ("transform", "distances", "ranking"))
    memory = (held.code_bytes + held.reducer_bytes) / _MEGABYTE
    return (
        f"{held.method} of {held.bits} bits by {distance}: {np.median(times.total):.3f} ms a query ({parts}), "
        f"{times.batch:.3f} ms in a batch, {memory:.2f} MB"
    )
