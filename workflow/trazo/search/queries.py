"""What a person searches with: a drawing, an image, a record of a file, an item of the study; and their pixels.

A drawing becomes pixels as the drawings of the study's own queries did, an image as its images did.
"""

from __future__ import annotations

import io
import math
import mmap
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from trazo.config import Dataset
from trazo.data.layouts import layouts
from trazo.data.quickdraw import Drawings, iter_ndjson, read_bin, scan_bin
from trazo.data.raster import RasterOptions, rasterise
from trazo.decode import FORMATS, UnreadableImageError, decode_image
from trazo.errors import InputError
from trazo.store import ArtifactError, read_ids, read_labels, read_pixels, read_record

DRAWINGS = "quickdraw"
# What Quick, Draw!'s "simplified drawing files" are made by (the data set's README): the box' longer side, the spacing
# of points before simplifying, and the epsilon of Ramer, Douglas and Peucker.
_SIDE, _SPACING, _EPSILON = 255.0, 1.0, 2.0
_MOST_SPACED = 20_000
# Of one drawing that comes from outside.
MOST_STROKES, MOST_POINTS = 2_000, 50_000
_FARTHEST = 10**6
# Of one image that comes from outside: those of phones have 12 to 50 million.
MOST_PIXELS = 50_000_000
# Images have a rim; drawings for them are given one, in pixels of a canvas of 256.
_RIM = 16
_KEY = re.compile(r"\d{1,20}", re.ASCII)


@dataclass(frozen=True)
class Look:
    """How queries of a dataset become pixels.

    Attributes
    ----------
    size, channels
        Side in pixels; 1: grey, 3: colour.
    raster
        How strokes are drawn.
    drawn
        Whether the dataset's own items are strokes.
    """

    size: int
    channels: int
    raster: RasterOptions
    drawn: bool

    @classmethod
    def of(cls, images: Path) -> Look:
        """Return the look of the items of an `images.h5`, from its record.

        Where they are no strokes, drawings are put in their middle, with a rim.

        Raises
        ------
        ArtifactError
            If its record does not say it.
        """
        try:
            dataset = read_record(images)["settings"]["dataset"]
            size, channels, drawn = int(dataset["size"]), int(dataset["channels"]), dataset["layout"] == DRAWINGS
            given = dataset["raster"] if drawn else {"centre": True, "margin": _RIM}
            return cls(size, channels, RasterOptions(size=size, **given), drawn)
        except (KeyError, TypeError) as error:
            raise ArtifactError(
                f"{images} does not say how its pixels were made ({error}); it is of another version: run the study "
                "again."
            ) from error


class Query(ABC):
    """Something to search with.

    Attributes
    ----------
    name
        What a reader calls it.
    label
        The class it is known to be of; empty if it is not known.
    item
        The id of the dataset's item that it is; empty if it is none. Such an item does not find itself.
    reference
        The `<dataset>/<split>` that this item is of; empty if any with such an item is meant.
    """

    name: str
    label: str
    item: str
    reference: str

    @abstractmethod
    def pixels(self, look: Look) -> np.ndarray:
        """Return (H, W) or (H, W, 3) uint8 as a dataset's items look.

        Raises
        ------
        InputError
            If it cannot be made into pixels.
        """


@dataclass(frozen=True)
class DrawnQuery(Query):
    """One drawing, in the coordinates of Quick, Draw!'s simplified files."""

    drawing: Drawings
    name: str = "drawing"
    label: str = ""
    item: str = ""
    reference: str = ""

    def pixels(self, look: Look) -> np.ndarray:
        """As `Query.pixels`: by the rasteriser that drew the study's drawings."""
        image = rasterise(self.drawing, look.raster)[0]
        return image if look.channels == 1 else np.repeat(image[..., None], look.channels, axis=2)


@dataclass(frozen=True)
class ImageQuery(Query):
    """An image file, by its bytes."""

    content: bytes
    name: str = "image"
    label: str = ""
    item: str = ""
    reference: str = ""

    def pixels(self, look: Look) -> np.ndarray:
        """As `Query.pixels`: decoded as the study's image files are.

        Raises
        ------
        UnreadableImageError
            If it cannot be decoded, or has more pixels than `MOST_PIXELS`.
        """
        # Pillow warns of odd metadata, which decide nothing here but the orientation.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                self._need_small()
                return decode_image(self.content, size=look.size, channels=look.channels)
            except UnreadableImageError as error:
                raise UnreadableImageError(
                    f"{self.name} cannot be used: {str(error).rstrip('.')}. Expected an image file "
                    f"({', '.join(form for form in FORMATS if form != 'DIB')}) of up to {MOST_PIXELS // 10**6} million "
                    "pixels."
                ) from error

    def _need_small(self) -> None:
        """Refuse images of too many pixels, reading no more of them than says how many."""
        from PIL import Image

        try:
            with Image.open(io.BytesIO(self.content), formats=FORMATS) as image:
                width, height = image.size
        except Exception:
            # Whatever is wrong with it is said when it is decoded.
            return
        if width * height > MOST_PIXELS:
            raise UnreadableImageError(f"it has {width} × {height} pixels")


@dataclass(frozen=True)
class StoredQuery(Query):
    """An item of the study, with the pixels it has there."""

    stored: np.ndarray
    name: str
    label: str
    item: str
    reference: str

    def pixels(self, look: Look) -> np.ndarray:
        """As `Query.pixels`: as they are; networks take other sizes too."""
        return self.stored


def stored_query(images: Path, row: int, reference: str = "") -> StoredQuery:
    """Return an item of `images.h5`, which is that of `reference`, as a query.

    Raises
    ------
    InputError
        If there is no such row.
    """
    ids = read_ids(images)
    if not 0 <= row < len(ids):
        raise InputError(f"there are {len(ids)} items, 0 to {len(ids) - 1}; number {row} was asked for.")
    labels, classes = read_labels(images)
    pixels = read_pixels(images, np.array([row]))[0]
    return StoredQuery(pixels, ids[row], classes[labels[row]], ids[row], reference)


# Strokes ----------------------------------------------------------------------------------------------------------


def simplified(strokes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return strokes as Quick, Draw! hands them out, so that a drawing looks like those that networks learned from.

    Moved to the top left, scaled alike in both directions until the longer side runs from 0 to 255, points set a
    pixel apart, and those left out that are within 2 pixels of a line (Ramer, 1972; Douglas and Peucker, 1973).

    Parameters
    ----------
    strokes
        (n, 2) numbers each, x to the right and y down, in any unit.

    Returns
    -------
    list of (n, 2) uint8

    References
    ----------
    "The Quick, Draw! Dataset", README, section "Simplified Drawing files".
    """
    points = np.concatenate(strokes).astype(np.float64)
    low = points.min(axis=0)
    extent = float((points.max(axis=0) - low).max())
    scale = _SIDE / extent if extent > 0 else 1.0
    placed = [_evenly((np.asarray(stroke, np.float64) - low) * scale) for stroke in strokes]
    return [np.rint(_without_near(stroke)).clip(0, _SIDE).astype(np.uint8) for stroke in placed]


def _evenly(points: np.ndarray) -> np.ndarray:
    """Return points along a stroke, as far apart as `_SPACING` says."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    count = min(math.ceil(along[-1] / _SPACING), _MOST_SPACED)
    if count == 0:
        return points[:1]
    at = np.linspace(0.0, along[-1], count + 1)
    return np.stack([np.interp(at, along, column) for column in points.T], axis=1)


def _without_near(points: np.ndarray) -> np.ndarray:
    """Return a stroke without the points that are nearer than `_EPSILON` to a line between those kept."""
    kept = np.zeros(len(points), bool)
    kept[[0, -1]] = True
    waiting = [(0, len(points) - 1)]
    while waiting:
        first, last = waiting.pop()
        if last - first < 2:
            continue
        away = _distances_to_line(points[first + 1 : last], points[first], points[last])
        farthest = int(away.argmax())
        if away[farthest] > _EPSILON:
            middle = first + 1 + farthest
            kept[middle] = True
            waiting += [(first, middle), (middle, last)]
    return points[kept]


def _distances_to_line(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the distances of (n, 2) points to the piece of a line from `start` to `end`, which may be one point."""
    way = end - start
    length = float(way @ way)
    part = ((points - start) @ way / length).clip(0, 1) if length > 0 else np.zeros(len(points))
    return np.hypot(*(points - start - part[:, None] * way).T)


def parse_strokes(value: Any) -> list[np.ndarray]:
    """Return strokes, (n, 2) float64 each, from plain lists: [[x, …], [y, …]] for each stroke, in any unit.

    Raises
    ------
    InputError
        If they are something else, none, or more than a drawing has.
    """
    if not isinstance(value, list) or not value:
        raise InputError("a drawing is a list of strokes, and has one at least; draw something.")
    if len(value) > MOST_STROKES:
        raise InputError(f"the drawing has {len(value)} strokes; expected up to {MOST_STROKES}.")
    strokes: list[np.ndarray] = []
    for number, stroke in enumerate(value):
        wrong = f"stroke {number} is no [[x, …], [y, …]] of as many numbers each, one at least."
        if not (isinstance(stroke, list) and len(stroke) == 2 and all(isinstance(axis, list) for axis in stroke)):
            raise InputError(wrong)
        # JSON's true is Python's 1, so the type is asked for and not only the value.
        if any(type(at) not in (int, float) for axis in stroke for at in axis):
            raise InputError(wrong)
        if len(stroke[0]) != len(stroke[1]) or not stroke[0]:
            raise InputError(wrong)
        # Whole numbers of JSON may be too large for a float, and its NaN compares as nothing.
        if not all(-_FARTHEST <= at <= _FARTHEST for axis in stroke for at in axis):
            raise InputError(
                f"stroke {number} has coordinates that are no numbers from −{_FARTHEST:,} to {_FARTHEST:,}."
            )
        strokes.append(np.array(stroke, dtype=np.float64).T)
    if sum(map(len, strokes)) > MOST_POINTS:
        raise InputError(f"the drawing has more than {MOST_POINTS:,} points; draw less, or clear it.")
    return strokes


def drawn_query(strokes: Sequence[np.ndarray], name: str = "drawing") -> DrawnQuery:
    """Return what a person drew as a query, (n, 2) points each stroke in any unit."""
    return DrawnQuery(Drawings.from_strokes([simplified(strokes)]), name)


# Records of files ---------------------------------------------------------------------------------------------------


class DrawingFiles:
    """Files of drawings, .bin and simplified .ndjson, in which a record is looked up by its key id.

    Parameters
    ----------
    places
        Folders and files; those that are not there are passed over.
    """

    def __init__(self, places: Iterable[Path]) -> None:
        self.places = list(dict.fromkeys(places))

    @cached_property
    def files(self) -> list[tuple[str, Path]]:
        """The files with their categories."""
        found: list[tuple[str, Path]] = []
        layout, everything = layouts.get(DRAWINGS), Dataset(split={"all": 1})
        for place in self.places:
            if not place.exists():
                continue
            # Both are sorted by category.
            names = layout.available(place, everything)
            found += zip(names, layout.source_files(place, everything), strict=True)
        return found

    def find(self, key_id: str) -> DrawnQuery:
        """Return the first record with a key id.

        Raises
        ------
        InputError
            If it is no key id, or no file has it.
        CorruptSourceError
            If a file that may have it is damaged.
        """
        key = parse_key(key_id)
        for category, file in self.files:
            for record, drawing in _records(file, key):
                name = f"{category}/{record}-{key}"
                return DrawnQuery(drawing, name, category, name)
        looked = ", ".join(str(place) for place in self.places if place.exists())
        raise InputError(
            f"no drawing has the key id {key}; looked in {looked or 'no file, as there is none'}. Give a file or "
            "folder of drawings that has it: --drawings PATH."
        )


def parse_key(text: str) -> int:
    """Return a key id from text.

    Raises
    ------
    InputError
        If it is none.
    """
    text = text.strip()
    if not _KEY.fullmatch(text) or int(text) >= 1 << 64:
        shown = text if len(text) <= 40 else f"{text[:40]}…"
        raise InputError(f"{shown!r} is no key id; expected a whole number below 2^64, such as 5201136883597312.")
    return int(text)


def _records(file: Path, key: int) -> Iterator[tuple[int, Drawings]]:
    """Yield the records of a file with a key id, and their numbers; a file without costs no more than reading it."""
    with_key = key.to_bytes(8, "little") if file.suffix.lower() == ".bin" else f'"{key}"'.encode()
    places = np.array(list(_occurrences(file, with_key)), dtype=np.int64)
    if not len(places):
        return
    if file.suffix.lower() == ".bin":
        # These bytes may be points of another drawing.
        for record in np.flatnonzero(np.isin(scan_bin(file)[:-1], places)).tolist():
            yield record, read_bin(file, records=[record])
        return
    first = 0
    for block in iter_ndjson(file):
        for row in np.flatnonzero(block.key_id == key).tolist():
            yield first + row, block.select([row])
        first += len(block)


def _occurrences(file: Path, wanted: bytes) -> Iterator[int]:
    if file.stat().st_size == 0:
        return
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        place = content.find(wanted)
        while place >= 0:
            yield place
            place = content.find(wanted, place + 1)


def all_records(file: Path, most: int) -> list[DrawnQuery]:
    """Return all drawings of a .bin or .ndjson file as queries.

    Raises
    ------
    InputError
        If there are more than `most`.
    """
    ((category, path),) = DrawingFiles([file]).files
    drawings = read_bin(path) if path.suffix.lower() == ".bin" else Drawings.concatenate(iter_ndjson(path))
    if len(drawings) > most:
        raise InputError(
            f"{file} holds {len(drawings):,} drawings, more than the {most} that one sheet shows; choose one by its "
            f"key id, such as {file}:{drawings.key_id[0]}."
        )
    names = [f"{category}/{record}-{key}" for record, key in enumerate(drawings.key_id.tolist())]
    return [DrawnQuery(drawings.select([row]), name, category, name) for row, name in enumerate(names)]
