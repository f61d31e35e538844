"""Thumbnails that the page carries: small pictures of a study's items, many to a sheet, for all that shows some.

`templates/pictures.js` shows them; a sheet is unpacked when one of its pictures is looked at.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trazo.report.artifacts import Pictures
from trazo.report.story import number

# All sheets of a page together (a third more as text). Of 5,000 items each has about 1 KiB, which is enough for a
# drawing of 64 pixels or a photo of 48.
MOST_BYTES = 5 << 20
SIDES = (64, 48, 32)
ACROSS, EACH = 16, 256
_LOSSLESS = {"lossless": True, "quality": 50, "method": 4}
_LOSSY = {"quality": 70, "method": 4}


@dataclass(frozen=True)
class Sheets:
    """Thumbnails of one split.

    Attributes
    ----------
    tile
        Side of a thumbnail in pixels.
    rows
        (N,) int64 positions in the split of the items that have one, ascending, in the order of the thumbnails.
    sheets
        WebP pictures of `ACROSS` thumbnails side by side, `EACH` in all (the last one fewer).
    asked
        How many items were asked for; more than N if there was no room for all.
    """

    tile: int
    rows: np.ndarray
    sheets: list[bytes]
    asked: int

    @property
    def payload(self) -> dict[str, Any]:
        """What the page must know of them, as plain values; `rows` is null where they are 0, 1, 2, …."""
        counted = np.array_equal(self.rows, np.arange(len(self.rows)))
        return {
            "tile": self.tile,
            "across": ACROSS,
            "each": EACH,
            "count": len(self.rows),
            "rows": None if counted else self.rows.tolist(),
        }

    @property
    def texts(self) -> list[str]:
        """The sheets in base64."""
        return [base64.b64encode(sheet).decode("ascii") for sheet in self.sheets]


def make_sheets(
    pictures: Pictures, wanted: Mapping[str, np.ndarray], *, most_bytes: int = MOST_BYTES
) -> dict[str, Sheets]:
    """Return thumbnails of some items of some splits in at most `most_bytes`, shared out by numbers of items.

    Tiles are 64 pixels wide, or as wide as the images are; where that takes too many bytes 48, then 32, and then only
    every second item has one, every third, ….

    Parameters
    ----------
    pictures
        Images of the study.
    wanted
        By `<dataset>/<split>`, (N,) positions of items; splits whose images are not at hand are left out.
    most_bytes
        Of all sheets together.
    """
    wanted = {reference: np.unique(rows) for reference, rows in wanted.items() if pictures.has(reference) and len(rows)}
    total = sum(len(rows) for rows in wanted.values())
    return {
        reference: _of_split(pictures, reference, rows, most_bytes * len(rows) // total)
        for reference, rows in wanted.items()
    }


def _of_split(pictures: Pictures, reference: str, rows: np.ndarray, most: int) -> Sheets:
    sample = rows[np.linspace(0, len(rows) - 1, min(EACH, len(rows))).astype(int)]
    for side in SIDES:
        tiles = _tiles(pictures, reference, sample, side)
        way, size = _smallest(tiles)
        every = -(-size * len(rows) // (len(sample) * most))
        if every <= 1:
            break
    while True:
        kept = rows[::every]
        sheets = []
        # A sheet at a time: the thumbnails of a large split are never all in memory.
        for start in range(0, len(kept), EACH):
            sheets.append(_encoded(_tiles(pictures, reference, kept[start : start + EACH], side), way))
        size = sum(map(len, sheets))
        if size <= most or len(kept) == 1:
            return Sheets(int(tiles.shape[1]), kept, sheets, len(rows))
        every = max(every + 1, -(-every * size // most))


def _tiles(pictures: Pictures, reference: str, rows: np.ndarray, side: int) -> np.ndarray:
    """Return thumbnails (N, side, side) or (N, side, side, 3) uint8; images that are smaller stay as they are."""
    read = pictures.read(reference, rows.tolist(), side=side)
    return np.stack([read[row] for row in rows.tolist()])


def _smallest(tiles: np.ndarray) -> tuple[dict[str, Any], int]:
    """Return how to write WebP so that some thumbnails take fewest bytes, and how many: drawings one way, photos the
    other.
    """
    sizes = [(len(_encoded(tiles, way)), place, way) for place, way in enumerate((_LOSSLESS, _LOSSY))]
    size, _, way = min(sizes, key=lambda one: one[:2])
    return way, size


def _encoded(tiles: np.ndarray, way: Mapping[str, Any]) -> bytes:
    from PIL import Image

    down = -(-len(tiles) // ACROSS)
    height, width, *colour = tiles.shape[1:]
    sheet = np.full((down * ACROSS, height, width, *colour), 255, dtype=np.uint8)
    sheet[: len(tiles)] = tiles
    sheet = sheet.reshape(down, ACROSS, height, width, *colour).swapaxes(1, 2)
    picture = Image.fromarray(np.ascontiguousarray(sheet.reshape(down * height, ACROSS * width, *colour)))
    buffer = io.BytesIO()
    picture.save(buffer, format="webp", **way)
    return buffer.getvalue()


def left_out_words(sheets: Mapping[str, Sheets]) -> Sequence[str]:
    """Return a sentence for every split of which not all items that could be shown have a thumbnail."""
    return [
        f"{reference}: {number(len(made.rows))} of {number(made.asked)} items have a picture here, to keep the page "
        "small; the others are named."
        for reference, made in sheets.items()
        if len(made.rows) < made.asked
    ]
