"""Joining the metrics of all steps into a study's one `metrics.csv`; reading them is in `measures`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from trazo.errors import InputError
from trazo.report.significance import Significance
from trazo.store import METHOD_COLUMNS, METRIC_COLUMNS, atomic_path

_KEY = METRIC_COLUMNS[: METRIC_COLUMNS.index("metric")]
_IDENTITY = METRIC_COLUMNS[: METRIC_COLUMNS.index("queries")]


def collect(parts: Sequence[Path], output: Path, significance: Path | None = None) -> None:
    """Join metrics files into one, in an order that does not depend on the order of `parts`.

    Rows are sorted by study, dataset, model, stage, epoch, seed, … and distance; within one of these, metrics and
    classes stay as their step wrote them. Numbers are copied as text, so no digit changes. With `significance.csv`,
    `p_best` tells of every mean over queries or classes whether it can be told from the best one.

    Raises
    ------
    InputError
        If a file has other columns, or two files hold a value for the same thing.
    """
    rows: list[dict[str, str]] = []
    origin: dict[tuple[str, ...], Path] = {}
    for part in sorted(Path(p) for p in parts):
        for row in _rows(part):
            identity = tuple(row[c] for c in _IDENTITY)
            if identity in origin:
                what = ", ".join(f"{c}={v}" for c, v in zip(_IDENTITY, identity) if v)
                raise InputError(f"{part} measures again what {origin[identity]} holds ({what}); expected it once.")
            origin[identity] = part
            rows.append(row)
    if significance is not None:
        tests = Significance.read(significance)
        for row in rows:
            if not row["class"]:
                method = tuple(row[c] for c in METHOD_COLUMNS)
                p = tests.against_best(row["dataset"], row["metric"], row["average"], method)
                row["p_best"] = "" if p is None else repr(p)
    rows.sort(key=lambda row: tuple(_natural(row[c]) for c in _KEY))
    with atomic_path(output) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, METRIC_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _rows(part: Path) -> list[dict[str, str]]:
    with part.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != METRIC_COLUMNS:
            raise InputError(f"{part} has the columns {reader.fieldnames}, expected {', '.join(METRIC_COLUMNS)}.")
        return list(reader)


def _natural(text: str) -> tuple[int, float, str]:
    """Sort numbers as numbers, before names."""
    try:
        return (0, float(text), "")
    except ValueError:
        return (1, 0.0, text)
