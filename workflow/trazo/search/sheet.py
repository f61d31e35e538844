"""What was found as a picture and a table: a contact sheet, a row for each query and method, and a CSV of all hits."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trazo.report.drawing import (
    INK,
    LINE,
    RIGHT,
    RIGHT_SIGN,
    SOFT,
    WRONG,
    WRONG_SIGN,
    Drawing,
    blank_axes,
    house_style,
    label,
    new_canvas,
    save,
)
from trazo.report.kinds.sheets import framed
from trazo.search.engine import Found, Search
from trazo.search.methods import Method
from trazo.search.queries import Query
from trazo.store import atomic_path, read_pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = (
    "query", "query_class", "model", "stage", "epoch", "seed", "retrieval", "reducer", "distance", "rank", "id",
    "class", "value",
)  # fmt: skip
# In inches: an image with its frame, a row, what stands to the left of rows, and the head of the sheet.
_CELL, _ROW, _HEAD, _TOP = 0.82, 1.2, 2.35, 0.42
# A sheet of more rows cannot be looked at, and takes long to draw.
MOST_ROWS = 100


@dataclass(frozen=True)
class Shown:
    """A query with what a method found.

    Attributes
    ----------
    query
        The query.
    seen
        What the network saw, (H, W) or (H, W, 3) uint8.
    found
        What was found.
    """

    query: Query
    seen: np.ndarray
    found: Found


def search_all(search: Search, queries: Sequence[Query], methods: Sequence[Method], top: int) -> list[Shown]:
    """Return what methods find for queries, query by query.

    Raises
    ------
    InputError
        If a query cannot be used, or a method not be searched by.
    """
    rows = []
    for query in queries:
        asked = search.asking(query)
        rows += [Shown(query, asked.pixels(method), asked.by(method, top)) for method in methods]
    return rows


def write_sheet(search: Search, shown: Sequence[Shown], output: Path) -> list[Path]:
    """Write `<output>.png`, `<output>.svg` and `<output>.csv`; return their paths.

    Parameters
    ----------
    search
        The study, for the images of what was found.
    shown
        The rows, from `search_all`.
    output
        Path without an ending.
    """
    png, svg, table = (output.with_name(f"{output.name}.{end}") for end in ("png", "svg", "csv"))
    with house_style(output.name):
        save(draw_sheet(search, shown), title=f"Search in {search.name}", svg=svg, png=png)
    write_hits(table, shown)
    return [png, svg, table]


def write_hits(path: Path, shown: Sequence[Shown]) -> None:
    """Write what was found as CSV, columns `COLUMNS`: one hit a row, ranks from 1, `value` the distance."""
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in shown:
            method = row.found.method
            about = (row.query.name, row.query.label, method.model, method.stage, method.epoch, method.seed,
                     method.retrieval, method.reducer, method.distance)  # fmt: skip
            writer.writerows(
                (*about, rank, hit.item, hit.label, repr(hit.distance)) for rank, hit in enumerate(row.found.hits, 1)
            )


def draw_sheet(search: Search, shown: Sequence[Shown]) -> Drawing:
    """Draw every query with what was found for it, nearest first.

    Where a query's class is known, hits of it are ticked in solid frames, others crossed in dashes, as on the contact
    sheets of a report.
    """
    top = max(len(row.found.hits) for row in shown)
    width, height = _HEAD + (top + 1.15) * _CELL + 0.1, _TOP + len(shown) * _ROW
    canvas = new_canvas(width, height)
    axes = blank_axes(canvas, width, height)
    axes.text(_HEAD + _CELL / 2, 0.24, "query", ha="center", color=SOFT)
    axes.text(_HEAD + 1.18 * _CELL, 0.24, f"nearest {top}, with class and distance", color=SOFT)
    words = [
        _drawn_row(search, axes, _TOP + place * _ROW, row, first=place == 0 or shown[place - 1].query is not row.query)
        for place, row in enumerate(shown)
    ]
    return Drawing(canvas, " ".join(words))


def _drawn_row(search: Search, axes: Axes, y: float, row: Shown, *, first: bool) -> str:
    method, hits = row.found.method, row.found.hits
    if first and y > _TOP:
        axes.plot([0.1, _HEAD + (len(hits) + 1.15) * _CELL], [y - 0.06] * 2, color=LINE, lw=0.8)
    trained = f"{method.stage}, epoch {method.epoch}" if method.stage else ""
    reduced = method.distance if method.reducer == "none" else f"{method.reducer}, {method.distance}"
    for line, (text, style) in enumerate(
        (
            (method.model, {"weight": "bold"}),
            (trained, {"color": SOFT, "size": 8}),
            (reduced, {"color": SOFT, "size": 8}),
        )
    ):
        axes.text(_HEAD - 0.12, y + 0.26 + 0.2 * line, label(text, 30), ha="right", va="center", **style)
    framed(axes, (_HEAD, y, _CELL), row.seen, INK, "solid", 1.2)
    name = row.query.label or row.query.name
    axes.text(_HEAD + _CELL / 2, y + _CELL + 0.1, label(name, 13), ha="center", size=8, weight="bold")
    rows = np.unique(np.array([hit.row for hit in hits], dtype=np.int64))
    pictures = dict(zip(rows.tolist(), read_pixels(search.files.images(method.gallery), rows)))
    for place, hit in enumerate(hits):
        x = _HEAD + (place + 1.15) * _CELL
        right = hit.label == row.query.label if row.query.label else None
        colour, style, sign = _MARKS[right]
        framed(axes, (x, y, _CELL), pictures[hit.row], colour, style, 1.2 if right is None else 1.8)
        text = f"{sign} {label(hit.label, 12)}".strip()
        axes.text(x + _CELL / 2, y + _CELL + 0.1, text, ha="center", size=7, color=INK if right is None else colour)
        axes.text(x + _CELL / 2, y + _CELL + 0.24, f"{hit.distance:.3g}", ha="center", size=6.8, color=SOFT)
    return f"{label(row.query.name)}, by {label(method.name, 80)}: {', '.join(label(hit.label) for hit in hits)}."


# Frames and signs of hits of the query's class, of others, and where the class is not known.
_MARKS = {
    True: (RIGHT, "solid", RIGHT_SIGN),
    False: (WRONG, (0, (3, 2)), WRONG_SIGN),
    None: (LINE, "solid", ""),
}
