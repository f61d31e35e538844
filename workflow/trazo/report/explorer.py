"""Maps as the page makes them interactive: points, classes and thumbnails as one JSON text.

What is drawn and how it behaves is in `templates/maps.js`; the still pictures are in `kinds.maps`.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trazo.config import Study
from trazo.report.artifacts import Keyed, Pictures
from trazo.report.panels import MapPanel, arranged, centred, figure_panels, joint_classes

# Thumbnails of one split take at most so many bytes (a third more as text): smaller tiles beyond, then fewer.
MOST_SPRITE_BYTES = 2 << 20
TILES = (48, 32)
# Steps of the grid that coordinates are rounded to: finer than any screen at the deepest zoom that helps.
GRID = 10_000
_ACROSS, _AT_ONCE = 32, 256


@dataclass(frozen=True)
class Sprite:
    """Thumbnails of one split in one picture.

    Attributes
    ----------
    source
        The picture, a data URI.
    tile, columns, rows
        Side of a thumbnail in pixels; how many stand side by side, and in how many rows.
    every
        The n-th thumbnail is of item n × every: 1 where every item has one.
    """

    source: str
    tile: int
    columns: int
    rows: int
    every: int


def explorer_json(study: Study, artifacts: Sequence[Keyed]) -> str:
    """Return what the page's maps show, as JSON that can stand in a `script` element; empty without maps.

    `sets` holds the items of every split shown (`ids`, `labels`, `classes`, and `sprite`, null without pictures),
    `figures` by name the `classes` in the order of their colours, `columns`, and `panels`: `title`, `words`, `model`,
    the `set` its items are of, their positions in it (`items`, null for all), and `points` x₀, y₀, x₁, y₁, … from 0 to
    `GRID`, y pointing down.

    Parameters
    ----------
    study
        The study, whose figures of kind `embedding_map` are shown.
    artifacts
        Artifacts of the run, among them maps and the images that they show.
    """
    maps = [a for a in artifacts if a.step == "map"]
    figures = {name: panels for name in study.figures if (panels := figure_panels(maps, study, name))}
    if not figures:
        return ""
    every = [panel for panels in figures.values() for panel in panels]
    pictures = Pictures([a.path for a in artifacts if a.step == "images"])
    rows = {panel.reference: np.empty(0, dtype=np.int64) for panel in every}
    for panel in every:
        rows[panel.reference] = np.union1d(rows[panel.reference], panel.drawn.rows)
    sets = {reference: _set(reference, positions, every, pictures) for reference, positions in rows.items()}
    shown = {name: _figure(panels, rows) for name, panels in figures.items()}
    text = json.dumps({"grid": GRID, "sets": sets, "figures": shown}, ensure_ascii=False, separators=(",", ":"))
    # Inside a script element only "</script" and "<!--" mean anything; no "<" is left to begin one.
    return text.replace("<", "\\u003c")


def _set(reference: str, rows: np.ndarray, panels: Sequence[MapPanel], pictures: Pictures) -> dict[str, Any]:
    mine = [panel for panel in panels if panel.reference == reference]
    items: dict[int, tuple[str, int]] = {}
    for panel in mine:
        items |= dict(zip(panel.drawn.rows.tolist(), zip(panel.drawn.ids, panel.drawn.labels.tolist())))
    sprite = make_sprite(pictures, reference, rows) if mine[0].pictured and pictures.has(reference) else None
    return {
        "ids": [items[row][0] for row in rows.tolist()],
        "labels": [items[row][1] for row in rows.tolist()],
        "classes": mine[0].drawn.classes,
        "sprite": sprite and vars(sprite),
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


def make_sprite(pictures: Pictures, reference: str, rows: np.ndarray, *, most_bytes: int = MOST_SPRITE_BYTES) -> Sprite:
    """Return thumbnails of the items of a split at `rows` in one picture of at most `most_bytes`.

    Tiles are 48 pixels wide, or as wide as the images are; where that takes too many bytes, 32; where that does too,
    only every second item gets a tile, every third, ….
    """
    for side in TILES:
        tiles = _tiles(pictures, reference, rows, side)
        encoded = _encoded(tiles)
        if len(encoded[1]) <= most_bytes:
            return _sprite(tiles, encoded, 1)
    every = 1
    while len(encoded[1]) > most_bytes and every < len(rows):
        every = max(every + 1, -(-every * len(encoded[1]) // most_bytes))
        encoded = _encoded(tiles[::every])
    return _sprite(tiles[::every], encoded, every)


def _tiles(pictures: Pictures, reference: str, rows: np.ndarray, side: int) -> np.ndarray:
    """Return thumbnails (N, side, side) or (N, side, side, 3) uint8; images that are smaller stay as they are."""
    found: list[np.ndarray] = []
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE].tolist()
        read = pictures.read(reference, part, side=side)
        found += [read[row] for row in part]
    return np.stack(found)


def _encoded(tiles: np.ndarray) -> tuple[str, bytes]:
    """Return tiles side by side as PNG or JPEG, whichever is smaller: drawings are one, photos the other."""
    from PIL import Image

    across = min(_ACROSS, len(tiles))
    down = -(-len(tiles) // across)
    height, width, *colour = tiles.shape[1:]
    sheet = np.full((down * across, height, width, *colour), 255, dtype=np.uint8)
    sheet[: len(tiles)] = tiles
    sheet = sheet.reshape(down, across, height, width, *colour).swapaxes(1, 2)
    picture = Image.fromarray(np.ascontiguousarray(sheet.reshape(down * height, across * width, *colour)))
    kinds = (("png", {"optimize": True}), ("jpeg", {"quality": 78, "optimize": True}))
    written = []
    for kind, options in kinds:
        buffer = io.BytesIO()
        picture.save(buffer, format=kind, **options)
        written.append((kind, buffer.getvalue()))
    return min(written, key=lambda one: len(one[1]))


def _sprite(tiles: np.ndarray, encoded: tuple[str, bytes], every: int) -> Sprite:
    kind, content = encoded
    columns = min(_ACROSS, len(tiles))
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
    return Sprite(source, int(tiles.shape[1]), columns, -(-len(tiles) // columns), every)
