"""How contestants are compared: each in a process of its own, rounds in turn, results held against the first one's.

What is compared is in the modules beside this one; what becomes of the rows is in `tables`.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

Values = dict[str, float]
MIB = 1 << 20
_WARMED_SECONDS = 10.0


@dataclass(frozen=True)
class Contestant:
    """One way to the same result.

    Attributes
    ----------
    name
    arrays
        Makes what it works on, before it is timed.
    run
        Computes everything from these, and returns the values it found by name.
    units
        How many things (queries, drawings) it works on, where that is not the benchmark's number.
    rounds
        In how many rounds it takes part, at most; None: in all of them.
    wanted
        Against the first contestant: how many times longer this one is wanted to take, at least. None: no aim.
    wanted_most
        The same, at most.
    wanted_ms
        How long a unit may take, at most, in ms.
    comparable
        Whether its values must be the first contestant's.
    note
        What a reader has to know of it.
    """

    name: str
    arrays: Callable[[], Any]
    run: Callable[[Any], Values]
    units: int | None = None
    rounds: int | None = None
    wanted: float | None = None
    wanted_most: float | None = None
    wanted_ms: float | None = None
    comparable: bool = True
    note: str = ""


@dataclass(frozen=True)
class Benchmark:
    """A set of contestants on the same arrays.

    `prepare(small)` returns the contestants; small ones are for warming up and for the tests.
    """

    name: str
    title: str
    unit: str
    units: int
    prepare: Callable[[bool], list[Contestant]]
    tolerance: float = 1e-6
    cores: int | None = None


benchmarks: dict[str, Benchmark] = {}


def benchmark(name: str, title: str, *, unit: str = "query", units: int, **settings: Any) -> Callable:
    """Return a decorator that registers the function which prepares a benchmark."""

    def keep(prepare: Callable[[bool], list[Contestant]]) -> Callable[[bool], list[Contestant]]:
        benchmarks[name] = Benchmark(name, title, unit, units, prepare, **settings)
        return prepare

    return keep


@dataclass
class Row:
    """What was found of one contestant; the columns of the table.

    `slower` is the median over rounds of its time by the first contestant's in that round. `peak_mib` is the most
    memory it held beyond what its process held before, arrays included. `difference` is the largest of its values
    from the first contestant's, of those both give.
    """

    benchmark: str
    contestant: str
    rounds: int
    seconds: float | None
    milliseconds_each: float | None
    slower: float | None
    wanted: str
    reached: str
    peak_mib: float | None
    difference: float | None
    values: str
    note: str


def machine() -> str:
    """Return what a reader needs to know of the machine, and nothing that tells it from its like."""
    model = platform.processor() or platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    info = Path("/proc/cpuinfo")
    extensions = ""
    if info.exists():
        text = info.read_text()
        named = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
        model = named[0] if named else model
        extensions = ", AVX-512" if " avx512f" in text else ", AVX2" if " avx2" in text else ""
    return f"{cores()} cores ({model}{extensions}), {memory:.0f} GiB of memory, no GPU used"


def cores() -> int:
    """Return how many cores this process may use; every contestant gets as many threads."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def taken_by_others(seconds: float = 2.0) -> float | None:
    """Return how many cores are busy while this process waits; None where the system does not say."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None

    def idle() -> int:
        fields = stat.read_text().split("\n", 1)[0].split()
        return int(fields[4]) + int(fields[5])

    before = idle()
    time.sleep(seconds)
    ticks = os.sysconf("SC_CLK_TCK") * seconds
    return min(max(cores() - (idle() - before) / ticks, 0.0), float(cores()))


def held_memory(peak: bool) -> int:
    """Return the bytes of memory this process holds, or has held at most since it was last asked to forget."""
    status = Path("/proc/self/status")
    if status.exists():
        key = "VmHWM:" if peak else "VmRSS:"
        (line,) = (each for each in status.read_text().splitlines() if each.startswith(key))
        return int(line.split()[1]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _forget_peak() -> None:
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def timed(run: Callable[[Any], Values], arrays: Any) -> tuple[float, float, Values]:
    """Run once; return seconds, peak memory beyond what was held before (MiB), and the values."""
    _forget_peak()
    before = held_memory(peak=False)
    started = time.perf_counter()
    values = run(arrays)
    seconds = time.perf_counter() - started
    return seconds, max(0, held_memory(peak=True) - before) / MIB, values


def timed_warm(run: Callable[[Any], Values], arrays: Any) -> tuple[float, float, Values]:
    """As `timed`, of the second of two runs where one takes no longer than `_WARMED_SECONDS`.

    While others had their turn, this process waited, and the system may have taken its memory and its place in caches.
    """
    seconds, peak, values = timed(run, arrays)
    if seconds > _WARMED_SECONDS:
        return seconds, peak, values
    seconds, again, values = timed(run, arrays)
    return seconds, max(peak, again), values


def _child(name: str, position: int, small: bool, threads: int, connection: Connection) -> None:
    """Warm one contestant up, then run it each time it is told to."""
    chosen = load()[name]
    if chosen.cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: chosen.cores])
    try:
        import torch

        torch.set_num_threads(min(threads, chosen.cores or threads))
        # Who would need more memory than there is shall be told so, not bring the machine down.
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        resource.setrlimit(resource.RLIMIT_AS, (physical, physical))
        warming = chosen.prepare(True)[position]
        warming.run(warming.arrays())
        contestant = chosen.prepare(small)[position]
        arrays = contestant.arrays()
        connection.send("ready")
        while connection.recv() == "run":
            connection.send(timed_warm(contestant.run, arrays))
    except ModuleNotFoundError as error:
        connection.send(f"{error.name} is not installed")
    except (MemoryError, RuntimeError) as error:
        out = isinstance(error, MemoryError) or "memory" in str(error) or "bad_alloc" in str(error)
        if not out:
            traceback.print_exc()
        connection.send("out of memory" if out else f"failed: {error}")
    except Exception as error:
        traceback.print_exc()
        connection.send(f"failed: {error}")


def load() -> dict[str, Benchmark]:
    """Import the modules that register benchmarks, and return these."""
    for module in ("retrieval", "codes", "decode", "training", "streaming", "search"):
        importlib.import_module(f"tests.benchmarks.{module}")
    return benchmarks


class _Runner:
    """A contestant in its own process, so that what one leaves behind is not in another's way."""

    def __init__(self, chosen: Benchmark, position: int, small: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (chosen.name, position, small, cores(), theirs)
        # No daemon: a contestant may have processes of its own.
        self._process = context.Process(target=_child, args=arguments)
        self._process.start()
        theirs.close()
        self.trouble = ""
        self._receive()

    def _receive(self) -> object:
        try:
            found = self._connection.recv()
        except EOFError:
            found = "ended by the system, out of memory"
        if isinstance(found, str) and found != "ready":
            self.trouble = found
        return found

    def run(self) -> tuple[float, float, Values] | None:
        self._connection.send("run")
        found = self._receive()
        return None if self.trouble else found

    def end(self) -> None:
        if self._process.is_alive() and not self.trouble:
            self._connection.send("end")
        self._process.join()


def difference(values: Values, reference: Values) -> float | None:
    """Return the largest difference of the values that both have; None if they share none."""
    shared = [abs(values[name] - reference[name]) for name in values.keys() & reference.keys()]
    return float(np.max(shared)) if shared else None


def compare(chosen: Benchmark, rounds: int, small: bool = False) -> Iterator[Row]:
    """Run all contestants in turn, round by round, and yield what was found of each."""
    contestants = chosen.prepare(True)
    # Whoever prepares its arrays does so before the first round, alone: nothing else runs while one is timed.
    runners: list[_Runner] = []
    taken: list[list[tuple[float, float, Values]]] = [[] for _ in contestants]
    try:
        for position in range(len(contestants)):
            runners.append(_Runner(chosen, position, small))
        for number in range(rounds):
            for contestant, runner, own in zip(contestants, runners, taken):
                if runner.trouble or number >= (contestant.rounds or rounds):
                    continue
                found = runner.run()
                if found is not None:
                    own.append(found)
                    print(f"  {contestant.name:<42} {found[0]:9.3f} s {found[1]:8.0f} MiB", flush=True)
                else:
                    print(f"  {contestant.name:<42} {runner.trouble}", flush=True)
    finally:
        for runner in runners:
            runner.end()
    for contestant, runner, own in zip(contestants, runners, taken):
        yield summed_up(chosen, contestant, own, taken[0], runner.trouble)


def summed_up(
    chosen: Benchmark,
    contestant: Contestant,
    own: Sequence[tuple[float, float, Values]],
    first: Sequence[tuple[float, float, Values]],
    trouble: str,
) -> Row:
    """Return the row of one contestant from what its rounds gave, and what the first contestant's did."""
    units = contestant.units or chosen.units
    row = Row(chosen.name, contestant.name, len(own), *[None] * 3, "", "", None, None, "", contestant.note)
    if contestant.wanted:
        row.wanted = f"≥ {contestant.wanted:g}×"
    if contestant.wanted_most:
        row.wanted = f"≤ {contestant.wanted_most:g}×"
    if contestant.wanted_ms:
        row.wanted = f"≤ {contestant.wanted_ms:g} ms"
    if trouble or not own:
        row.note = "; ".join(part for part in (trouble, contestant.note) if part)
        return row
    row.seconds = statistics.median(each[0] for each in own)
    row.milliseconds_each = 1000 * row.seconds / units
    row.slower = statistics.median(theirs[0] / ours[0] for theirs, ours in zip(own, first)) if first else None
    row.peak_mib = max(each[1] for each in own)
    values = own[0][2]
    row.values = " ".join(f"{name}={value:.8f}" for name, value in values.items())
    if first and own is not first and contestant.comparable:
        row.difference = difference(values, first[0][2])
        if row.difference is not None and row.difference > chosen.tolerance:
            row.note = "; ".join(part for part in ("results differ", contestant.note) if part)
    if contestant.wanted and row.slower is not None:
        row.reached = "yes" if row.slower >= contestant.wanted else "no"
    if contestant.wanted_most and row.slower is not None:
        row.reached = "yes" if row.slower <= contestant.wanted_most else "no"
    if contestant.wanted_ms:
        row.reached = "yes" if row.milliseconds_each <= contestant.wanted_ms else "no"
    return row


def as_record(row: Row) -> dict[str, object]:
    """Return the row for a table, numbers rounded to what their spread allows."""
    record = asdict(row)
    for name, digits in (("seconds", 3), ("milliseconds_each", 3), ("slower", 3), ("peak_mib", 3), ("difference", 2)):
        value = record[name]
        record[name] = "" if value is None else f"{value:.{digits}g}" if value < 10**digits else f"{value:.0f}"
    return record
