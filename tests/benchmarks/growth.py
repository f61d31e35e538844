"""How time and memory grow with the data: every step of the pipeline on 1×, 4× and 16×, each in a process of its own.

`make bench ONLY=growth`. What the workflow's own scripts call is called here, on files, as they do; what runs is a step
as users know it, with reading and writing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count as counting
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.harness import MIB, cores, held_memory, machine, taken_by_others

FACTORS = (1, 4, 16)
_ROOT = Path(__file__).resolve().parents[2]
_PUBLISHED = _ROOT / "workflow" / "published" / "published.csv"
_ENOUGH_RUNS, _ENOUGH_SECONDS = 3, 5.0
_SIDE, _CLASSES, _BATCH = 64, 20, 64
BEGIN, END = "<!-- growth: begin -->", "<!-- growth: end -->"


@dataclass(frozen=True)
class Step:
    """A step of the pipeline.

    Attributes
    ----------
    title
        What it does, to whom.
    grows
        What there is more of.
    base
        How many of it there are at 1×.
    prepare
        Writes what the step reads, for so many, into a folder.
    run
        Does the step on a folder that was prepared, writing into another.
    why
        What makes time or memory grow otherwise than with the data; what a reader has to know.
    """

    title: str
    grows: str
    base: int
    prepare: Callable[[Path, int], None]
    run: Callable[[Path, Path], None]
    why: str = ""


@dataclass(frozen=True)
class Point:
    """What one step took on data of one size.

    Attributes
    ----------
    started
        Seconds before the step began: Python, libraries, and once the step on a handful.
    seconds
        Of the step: the median of `runs`.
    held_mib, peak_mib
        Memory of the process as the step began, and the most it had up to its end; nothing is subtracted from it.
    """

    step: str
    factor: int
    count: int
    started: float
    seconds: float
    runs: int
    held_mib: float
    peak_mib: float


def exponent(factors: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of a line through logarithms by least squares: b of values ≈ a · factors^b."""
    slope, _ = np.polyfit(np.log(factors), np.log(values), 1)
    return float(slope)


# What the steps read -----------------------------------------------------------------------------------------------


def _put_drawings(folder: Path, number: int) -> None:
    from trazo.data.quickdraw import Drawings, write_bin

    draw = np.random.default_rng(0)
    walks = [
        [
            np.clip(draw.integers(0, 256, 2) + draw.normal(0, 25, (points, 2)).cumsum(axis=0), 0, 255).astype(np.uint8)
            for points in draw.integers(2, 16, size=draw.integers(1, 10))
        ]
        for _ in range(200)
    ]
    drawings = Drawings.from_strokes(walks)
    for kind in range(10):
        write_bin(folder / "drawings" / f"kind {kind}.bin", drawings.select(np.arange(number // 10) % len(drawings)))


def _put_images(folder: Path, number: int) -> None:
    from trazo.store import write_images

    pixels = np.random.default_rng(0).integers(0, 256, (number, _SIDE, _SIDE), dtype=np.uint8)
    write_images(
        folder / "images.h5",
        [pixels],
        shape=pixels.shape,
        labels=np.arange(number) % _CLASSES,
        ids=[str(i) for i in range(number)],
        classes=[f"class {i}" for i in range(_CLASSES)],
        record={"settings": {"key": {"dataset": "d", "split": "train"}}},
    )


def _put_trained(folder: Path, number: int) -> None:
    _put_images(folder, number)
    handful = folder / "handful"
    _put_images(handful, 2 * _BATCH)
    _train(handful, folder)


def _put_features(
    folder: Path, number: int, *, width: int, classes: int = 100, name: str = "gallery", model: str = "net"
) -> None:
    from trazo.store import Features, write_features

    draw = np.random.default_rng(number)
    # Even, so that every item has others of its class.
    labels = np.arange(number) % classes
    values = draw.standard_normal((classes, width), np.float32)[labels]
    values += 1.5 * draw.standard_normal(values.shape, np.float32)
    key = {"model": model, "stage": "train", "epoch": 1, "seed": 0, "dataset": "d", "split": name}
    write_features(
        folder / f"{name}.h5",
        Features(
            values=values,
            labels=labels,
            ids=[f"{name} {i}" for i in range(number)],
            classes=[f"class {i}" for i in range(classes)],
            record={"step": "features", "settings": {"key": key}},
        ),
    )


def _put_both_sides(folder: Path, number: int) -> None:
    _put_features(folder, number, width=64)
    _put_features(folder, min(500, number), width=64, name="queries")


def _put_64_wide(folder: Path, number: int) -> None:
    _put_features(folder, number, width=64)


def _put_256_wide(folder: Path, number: int) -> None:
    _put_features(folder, number, width=256)


def _put_rankings(folder: Path, number: int) -> None:
    for model in ("one", "two"):
        features = folder / model / "test.h5"
        _put_features(folder / model, 20 * number, width=16, classes=number, name="test", model=model)
        _rank(features, features, folder / model)


# The steps ---------------------------------------------------------------------------------------------------------


def _build(folder: Path, output: Path) -> None:
    from trazo.config import Dataset
    from trazo.data.images import build_images

    build_images(
        source=folder / "drawings",
        dataset_name="d",
        dataset=Dataset(split={"train": "rest"}, size=128),
        split="train",
        output=output / "images.h5",
        code="",
        threads=cores(),
    )


def _train(folder: Path, output: Path) -> None:
    from trazo.training.loop import train_stage

    stage = {"name": "train", "data": "d/train", "epochs": 1, "batch_size": _BATCH, "optimizer": {"adam": {}}}
    train_stage(
        images=folder / "images.h5",
        output=output / "checkpoint.pt",
        history=output / "history.json",
        model={
            "architecture": "sknet",
            "options": {"form": "padded", "widths": [16, 32, 32, 64]},
            "channels": 1,
            "feature": "fc1",
            "stages": [stage],
        },
        stage="train",
        seed=0,
        code="",
        key={},
        device="cpu",
        threads=cores(),
    )


def _extract(folder: Path, output: Path) -> None:
    from trazo.features import extract_features

    extract_features(
        images=folder / "images.h5",
        checkpoint=folder / "checkpoint.pt",
        epoch=1,
        output=output / "features.h5",
        layer="fc1",
        code="",
        key={},
        device="cpu",
        threads=cores(),
    )


def _rank(queries: Path, gallery: Path, output: Path) -> None:
    from trazo.retrieval.gallery import rank_gallery

    rank_gallery(
        queries=queries,
        gallery=gallery,
        ranking=output / "ranking.h5",
        metrics=output / "ranking.csv",
        study="growth",
        retrieval="d-test",
        distance="euclidean",
        settings={
            "queries": "d/test",
            "gallery": "d/test",
            "leave_one_out": queries == gallery,
            "metrics": ["map", "p@1", "mrr"],
            "top": 20,
            "rerank": "none",
            "votes": [],
        },
        code="",
        device="cpu",
        memory_mib=256,
        threads=cores(),
    )


def _rank_queries(folder: Path, output: Path) -> None:
    _rank(folder / "queries.h5", folder / "gallery.h5", output)


def _rank_all(folder: Path, output: Path) -> None:
    _rank(folder / "gallery.h5", folder / "gallery.h5", output)


def _reduce(folder: Path, output: Path, reducer: dict[str, Any]) -> None:
    from trazo.config import reducer_batch
    from trazo.reducers.codes import reduce_features

    batch = reducer_batch(reducer)
    reduce_features(
        queries=folder / "gallery.h5",
        gallery=folder / "gallery.h5",
        codes=output / "codes.h5",
        fitted=output / "fitted",
        reducers=batch.reducers,
        retrieval="d-test",
        batch=batch.label,
        code="",
        threads=cores(),
    )


def _reduce_by_pca(folder: Path, output: Path) -> None:
    _reduce(folder, output, {"pca": {"size": 32}})


def _reduce_by_umap(folder: Path, output: Path) -> None:
    # As many epochs whatever the number of items: umap-learn itself takes fewer beyond 10,000.
    _reduce(folder, output, {"umap": {"size": 16, "n_epochs": 200}})


def _report(folder: Path, output: Path) -> None:
    from trazo.config import Settings
    from trazo.report.comparison import compare
    from trazo.report.drawing import Material
    from trazo.report.figures import render_figure
    from trazo.report.metrics import collect
    from trazo.report.page import render_page
    from trazo.report.tables import render_table
    from trazo.retrieval.significance import compare_methods
    from trazo.store import read_ranking

    rankings = [folder / model / "ranking.h5" for model in ("one", "two")]
    rows = [path.with_suffix(".csv") for path in rankings]
    study = _study(read_ranking(rankings[0]).classes)
    significance, metrics, comparison = (output / f"{name}.csv" for name in ("significance", "metrics", "comparison"))
    compare_methods(rankings, rows, significance)
    collect(rows, metrics, significance)
    compare(study=study, metrics=metrics, published=_PUBLISHED, output=comparison)
    tables = {end: output / f"by-class.{end}" for end in ("csv", "md", "tex")}
    render_table(
        table=study.tables["by-class"],
        study=study,
        metrics=metrics,
        published=_PUBLISHED,
        significance=significance,
        **tables,
    )
    figures = {end: output / f"bars.{end}" for end in ("svg", "png")}
    render_figure(figure=study.figures["bars"], study=study, material=Material(metrics=metrics), **figures)
    render_page(
        study=study,
        original=study,
        settings=Settings(),
        sources={"d": "made here"},
        metrics=metrics,
        comparison=comparison,
        significance=significance,
        tables=list(tables.values()),
        figures=list(figures.values()),
        records=rankings,
        output=output / "report.html",
    )


def _study(classes: list[str]) -> Any:
    from trazo.config import Study

    stage = {"name": "train", "data": "d/test", "epochs": 1, "optimizer": {"adam": {}}}
    return Study.model_validate(
        {
            "title": "Growth",
            "datasets": {"d": {"categories": classes, "split": {"test": 20}, "size": 16}},
            "models": {
                name: {"architecture": "alexnet", "feature": "fc7", "stages": [stage]} for name in ("one", "two")
            },
            "retrievals": [
                {
                    "models": ["one", "two"],
                    "queries": "d/test",
                    "gallery": "d/test",
                    "leave_one_out": True,
                    "metrics": ["map", "p@1", "mrr"],
                }
            ],
            "tables": {"by-class": {"title": "By class", "metrics": ["map"]}},
            "figures": {"bars": {"title": "By class", "kind": "class_bars", "options": {"limit": 1000}}},
        }
    )


STEPS: dict[str, Step] = {
    "images": Step(
        "drawings to images of 128 × 128",
        "drawings",
        2_000,
        _put_drawings,
        _build,
        "drawings and pixels pass through in blocks; what stays is their names",
    ),
    "train": Step(
        "an epoch of a narrow skNet on images of 64 × 64",
        "images",
        480,
        _put_images,
        _train,
        "all images are held as bytes, 4 KiB each; weights and a batch are the same for any number",
    ),
    "features": Step(
        "features of 1,024 values of images of 64 × 64",
        "images",
        1_000,
        _put_trained,
        _extract,
        "images and features are held, 8 KiB an image; a batch is the same for any number",
    ),
    "search": Step(
        "500 queries in a gallery of 64 floats an item, full depth",
        "gallery",
        10_000,
        _put_both_sides,
        _rank_queries,
        "distances in blocks within `memory_mib`; the gallery itself is held",
    ),
    "leave_one_out": Step(
        "every item searched among all others, 64 floats, full depth",
        "gallery and queries",
        2_500,
        _put_64_wide,
        _rank_all,
        "N queries in N items are N² distances, hence 2 in time; made in blocks and forgotten, hence not in memory",
    ),
    "pca": Step(
        "PCA of 256 values to 32, fitted and applied",
        "gallery",
        2_500,
        _put_256_wide,
        _reduce_by_pca,
        "the fit is in double precision: twice the features are held",
    ),
    "umap": Step(
        "UMAP of 64 values to 16, fitted and applied",
        "gallery",
        500,
        _put_64_wide,
        _reduce_by_umap,
        "neighbours are exact, N² distances, a small part of the time here; the lay-out takes N",
    ),
    "report": Step(
        "tests, metrics, table, bars by class and page",
        "classes",
        10,
        _put_rankings,
        _report,
        "what the page always has is the most of it; tests go over all queries, 20 a class",
    ),
}


# Measuring ---------------------------------------------------------------------------------------------------------


def measure(name: str, folder: Path, factor: int, count: int, began: float) -> Point:
    """Run a step that was prepared in `folder`, after a handful beside it; in a process that has done nothing else."""
    step = STEPS[name]
    outputs = (folder / f"run {number}" for number in counting())
    _once(step, folder / "handful of all", next(outputs))
    started, held = time.time() - began, held_memory(peak=False)
    seconds: list[float] = []
    while len(seconds) < _ENOUGH_RUNS and sum(seconds) < _ENOUGH_SECONDS:
        seconds.append(_once(step, folder / "data", next(outputs)))
    peak = held_memory(peak=True)
    return Point(name, factor, count, started, statistics.median(seconds), len(seconds), held / MIB, peak / MIB)


def _once(step: Step, folder: Path, output: Path) -> float:
    output.mkdir()
    begin = time.perf_counter()
    step.run(folder, output)
    return time.perf_counter() - begin


def points(names: Sequence[str], *, small: bool = False, show: Callable[[str], None] = print) -> Iterator[Point]:
    """Measure steps on data of every size, each in a process of its own, and yield what was found."""
    for name in names:
        step = STEPS[name]
        base = handful(step) if small else step.base
        for factor in FACTORS:
            with tempfile.TemporaryDirectory() as folder:
                task = {"name": name, "folder": folder, "factor": factor, "count": base * factor}
                _child("prepare", task)
                point = Point(**_child("measure", task))
            show(f"  {name:<14} {point.count:8,} {point.seconds:9.3f} s {point.peak_mib:8.0f} MiB")
            yield point


def handful(step: Step) -> int:
    """Return how many are enough to have every library loaded, and everything compiled."""
    return {"classes": 3, "images": 2 * _BATCH, "drawings": 40}.get(step.grows, 200)


def _child(action: str, task: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.growth", action, json.dumps({**task, "began": time.time()})]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT / "workflow")}
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        ended = f"{action} {task['name']} at {task['count']:,} ended with {done.returncode}"
        raise RuntimeError(f"{ended}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def act(action: str, task: dict[str, Any]) -> dict[str, Any]:
    """Prepare data for a step, or measure it on them: what a child process is for."""
    step, folder = STEPS[task["name"]], Path(task["folder"])
    if action == "prepare":
        step.prepare(folder / "data", task["count"])
        step.prepare(folder / "handful of all", handful(step))
        return {}
    return asdict(measure(task["name"], folder, task["factor"], task["count"], task["began"]))


# What is shown -----------------------------------------------------------------------------------------------------


def as_records(found: Sequence[Point], others: float | None) -> list[dict[str, str]]:
    """Return points as rows of a table of text, with the machine they were measured on."""
    busy = "" if others is None else f"{others:.1f}"
    return [
        {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in asdict(point).items()}
        | {"machine": machine(), "others": busy}
        for point in found
    ]


def as_markdown(records: Sequence[dict[str, str]]) -> str:
    """Return the table: a line a step, time and memory at every size, and the exponents of both."""
    times = " | ".join(f"{factor}×" for factor in FACTORS)
    lines = [
        f"| step | grows | {times} | time | {times} | memory | start-up | |",
        f"| --- | --- |{' ---: |' * (2 * len(FACTORS) + 3)} --- |",
    ]
    for name, step in STEPS.items():
        mine = sorted((r for r in records if r["step"] == name), key=lambda r: int(r["factor"]))
        if not mine:
            continue
        factors = [float(r["factor"]) for r in mine]
        seconds, peaks = ([float(r[key]) for r in mine] for key in ("seconds", "peak_mib"))
        last = mine[-1]
        shown = [_seconds(value) for value in seconds] + [_power(factors, seconds)]
        shown += [f"{value:.0f} MiB" for value in peaks] + [_power(factors, peaks)]
        start = f"{_seconds(float(last['started']))}, {float(last['held_mib']):.0f} MiB"
        grown = f"{step.grows}, from {int(mine[0]['count']):,}"
        lines.append(f"| {step.title} | {grown} | {' | '.join(shown)} | {start} | {step.why} |")
    machines = sorted({record["machine"] for record in records})
    busy = max((float(record["others"] or 0) for record in records), default=0.0)
    beside = f" Other programs kept up to {busy:.1f} cores busy as steps began." if busy > 0.2 else ""
    lines += ["", f"Measured on {'; '.join(machines)}.{beside}"]
    return "\n".join(lines) + "\n"


def _power(factors: Sequence[float], values: Sequence[float]) -> str:
    # What is rounded to −0 is 0.
    return f"**{round(exponent(factors, values), 2) + 0.0:.2f}**"


def _seconds(value: float) -> str:
    digits = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:.{min(digits, 3)}f} s"


def publish(records: Sequence[dict[str, str]], folder: Path, readme: Path) -> None:
    """Write the points and the table, and lay the table into the README."""
    from trazo.store import write_text

    from tests.benchmarks.tables import as_csv, into

    table = as_markdown(records)
    write_text(folder / "growth.csv", as_csv(records))
    write_text(folder / "growth.md", table)
    if readme.exists():
        text = readme.read_text(encoding="utf-8")
        changed = into(text, table, begin=BEGIN, end=END)
        if changed != text:
            write_text(readme, changed)


def run(folder: Path, readme: Path, *, small: bool = False, names: Sequence[str] = tuple(STEPS)) -> None:
    """Measure all steps; keep what was found, unless it is a trial on a handful."""
    found: list[dict[str, str]] = []
    for name in names:
        others = taken_by_others()
        found += as_records(list(points([name], small=small)), others)
    print(as_markdown(found))
    if not small:
        publish(found, folder, readme)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["prepare", "measure"])
    parser.add_argument("task", type=json.loads)
    given = parser.parse_args()
    print(json.dumps(act(given.action, given.task)))
