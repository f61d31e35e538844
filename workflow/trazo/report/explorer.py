"""Maps as the page makes them interactive: points, classes and names of items as one JSON text.

What is drawn and how it behaves is in `templates/maps.js`, thumbnails are in `thumbnails`; the still pictures are in
`kinds.maps`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trazo.config import Study
from trazo.printable import printable
from trazo.report.artifacts import Keyed
from trazo.report.panels import MapPanel, arranged, centred, figure_panels, joint_classes

# Steps of the grid that coordinates are rounded to: finer than any screen at the deepest zoom that helps.
GRID = 10_000


def as_script(values: Any) -> str:
    """Return plain values as JSON that can stand in a `script` element."""
    text = printable(json.dumps(values, ensure_ascii=False, separators=(",", ":")))
    # Inside a script element only "</script" and "<!--" mean anything; no "<" is left to begin one.
    return text.replace("<", "\\u003c")


def shown_maps(study: Study, artifacts: Sequence[Keyed]) -> dict[str, list[MapPanel]]:
    """Return the panels of every figure of maps, by its name."""
    maps = [a for a in artifacts if a.step == "map"]
    return {name: panels for name in study.figures if (panels := figure_panels(maps, study, name))}


def mapped_rows(figures: Mapping[str, Sequence[MapPanel]]) -> dict[str, np.ndarray]:
    """Return by split the positions of the items that maps show, ascending; items without images have none."""
    rows: dict[str, np.ndarray] = {}
    for panel in (panel for panels in figures.values() for panel in panels):
        rows[panel.reference] = np.union1d(rows.get(panel.reference, np.empty(0, np.int64)), panel.drawn.rows)
    return rows


def explorer_json(figures: Mapping[str, Sequence[MapPanel]]) -> str:
    """Return what the page's maps show, as JSON that can stand in a `script` element; empty without maps.

    `sets` holds the items of every split shown (`ids`, `labels`, `classes`, their positions in the split as `rows`,
    null where these are 0, 1, 2, …, and whether they are `pictured`), `figures` by name the `classes` in the order of
    their colours, `columns`, and `panels`: `title`, `words`, `model`, the `set` its items are of, their positions in it
    (`items`, null for all), and `points` x₀, y₀, x₁, y₁, … from 0 to `GRID`, y pointing down.

    Parameters
    ----------
    figures
        As `shown_maps`.
    """
    if not figures:
        return ""
    every = [panel for panels in figures.values() for panel in panels]
    rows = mapped_rows(figures)
    sets = {reference: _set(reference, positions, every) for reference, positions in rows.items()}
    shown = {name: _figure(panels, rows) for name, panels in figures.items()}
    return as_script({"grid": GRID, "sets": sets, "figures": shown})


def _set(reference: str, rows: np.ndarray, panels: Sequence[MapPanel]) -> dict[str, Any]:
    mine = [panel for panel in panels if panel.reference == reference]
    items: dict[int, tuple[str, int]] = {}
    for panel in mine:
        items |= dict(zip(panel.drawn.rows.tolist(), zip(panel.drawn.ids, panel.drawn.labels.tolist())))
    return {
        "ids": [items[row][0] for row in rows.tolist()],
        "labels": [items[row][1] for row in rows.tolist()],
        "classes": mine[0].drawn.classes,
        "rows": None if np.array_equal(rows, np.arange(len(rows))) else rows.tolist(),
        "pictured": mine[0].pictured,
    }


def _figure(panels: Sequence[MapPanel], rows: Mapping[str, np.ndarray]) -> dict[str, Any]:
    classes = joint_classes(panels)
    panels, columns = arranged(panels)
    return {
        "classes": classes,
        "columns": columns,
        "panels": [_panel(panel, rows[panel.reference]) for panel in panels],
    }


def _panel(panel: MapPanel, rows: np.ndarray) -> dict[str, Any]:
    place = centred(panel.drawn.coordinates)
    place[:, 1] = 1 - place[:, 1]
    whole = len(rows) == len(panel.drawn)
    return {
        "title": panel.title,
        "words": panel.words,
        "quality": panel.quality,
        "set": panel.reference,
        "items": None if whole else np.searchsorted(rows, panel.drawn.rows).tolist(),
        "points": np.rint(GRID * place).astype(int).ravel().tolist(),
    }
