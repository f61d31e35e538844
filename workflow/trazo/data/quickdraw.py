"""Codec for Quick, Draw! files: the official binary records (.bin) and the official simplified .ndjson.

Drawings stay strokes here; pixels are made in `trazo.data.raster`, files are found and split elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from trazo.errors import InputError
from trazo.store import atomic_path

HEADER = np.dtype(
    [("key_id", "<u8"), ("country", "S2"), ("recognized", "i1"), ("timestamp", "<u4"), ("strokes", "<u2")]
)
"""Layout of a record's first 17 bytes; its strokes follow: u16 number of points, all x (u8), all y (u8)."""

MOST = 0xFFFF
"""The most strokes a drawing, and points a stroke, can have: both counts are unsigned 16-bit."""

_READ_BYTES = 1 << 20
_LONGEST_LINE = 1 << 24
_BLOCK = 4096
_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"\x1f\x8b\x08", "a gzip file; unpack it first"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"%PDF", "a PDF document"),
)


class CorruptSourceError(InputError):
    """A source file that is cut short, damaged, or of another type than its name says."""


@dataclass(frozen=True)
class Drawings:
    """Drawings as strokes, in columns: one array per field, however many drawings there are.

    Drawing `i` has the strokes `first_stroke[i]` to `first_stroke[i + 1]` (exclusive), and stroke `s` the
    points `first_point[s]` to `first_point[s + 1]`.

    Attributes
    ----------
    key_id
        (N,) uint64 identifiers.
    country
        (N,) S2 country codes; b"ZZ" where unknown.
    recognized
        (N,) bool: did the game recognise it.
    timestamp
        (N,) uint32 seconds since 1970 (UTC); 0 where unknown.
    first_stroke
        (N + 1,) int64, from 0 to the number of strokes S.
    first_point
        (S + 1,) int64, from 0 to the number of points P.
    x, y
        (P,) uint8 coordinates; the origin is at the top left.

    Raises
    ------
    InputError
        If the arrays do not fit together.
    """

    key_id: np.ndarray
    country: np.ndarray
    recognized: np.ndarray
    timestamp: np.ndarray
    first_stroke: np.ndarray
    first_point: np.ndarray
    x: np.ndarray
    y: np.ndarray

    def __post_init__(self) -> None:
        for name, dtype in _COLUMNS.items():
            # A field of packed records is a strided view that keeps the whole block alive; a column stands alone.
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=dtype))
        number = len(self.key_id)
        per_drawing = (len(self.country), len(self.recognized), len(self.timestamp))
        if per_drawing != (number,) * 3 or len(self.first_stroke) != number + 1:
            raise InputError(
                f"{number} key ids need as many countries, recognized, timestamps, and one first_stroke more; "
                f"got {per_drawing} and {len(self.first_stroke)}."
            )
        for name, ends, total in (
            ("first_stroke", self.first_stroke, len(self.first_point) - 1),
            ("first_point", self.first_point, len(self.x)),
        ):
            if len(ends) == 0 or ends[0] != 0 or ends[-1] != total or (np.diff(ends) < 0).any():
                raise InputError(f"{name} must rise from 0 to {total}, the number of what it counts.")
        if len(self.x) != len(self.y):
            raise InputError(f"got {len(self.x)} x and {len(self.y)} y coordinates; every point has both.")

    def __len__(self) -> int:
        return len(self.key_id)

    def strokes(self, index: int) -> list[np.ndarray]:
        """Return the strokes of one drawing, each as (n, 2) uint8 points (x, y)."""
        index = range(len(self))[index]
        ends = self.first_point[self.first_stroke[index] : self.first_stroke[index + 1] + 1]
        return [np.stack([self.x[a:b], self.y[a:b]], axis=1) for a, b in pairwise(ends)]

    def select(self, indices: ArrayLike | slice) -> Drawings:
        """Return the drawings at `indices`, in that order; repeats, a boolean mask and a slice are all right.

        Raises
        ------
        InputError
            If an index is out of range; the message says how many drawings there are.
        """
        try:
            rows = np.arange(len(self))[indices if isinstance(indices, slice) else _as_index(indices)]
        except IndexError as error:
            raise InputError(f"there are {len(self)} drawings: {error}.") from error
        strokes, first_stroke = _ragged(self.first_stroke[rows], np.diff(self.first_stroke)[rows])
        points, first_point = _ragged(self.first_point[strokes], np.diff(self.first_point)[strokes])
        return Drawings(
            key_id=self.key_id[rows],
            country=self.country[rows],
            recognized=self.recognized[rows],
            timestamp=self.timestamp[rows],
            first_stroke=first_stroke,
            first_point=first_point,
            x=self.x[points],
            y=self.y[points],
        )

    @classmethod
    def concatenate(cls, parts: Iterable[Drawings]) -> Drawings:
        """Return the drawings of all `parts`, in order; of no parts, no drawings."""
        parts = list(parts)
        columns = {
            name: np.concatenate([np.empty(0, dtype), *(getattr(part, name) for part in parts)])
            for name, dtype in _COLUMNS.items()
            if not name.startswith("first_")
        }
        for name in ("first_stroke", "first_point"):
            lengths = [np.diff(getattr(part, name)) for part in parts]
            columns[name] = _ends(np.concatenate([np.empty(0, np.int64), *lengths]))
        return cls(**columns)

    @classmethod
    def from_strokes(
        cls,
        drawings: Sequence[Sequence[ArrayLike]],
        *,
        key_id: ArrayLike | None = None,
        country: ArrayLike | None = None,
        recognized: ArrayLike | None = None,
        timestamp: ArrayLike | None = None,
    ) -> Drawings:
        """Return drawings given as lists of strokes, a stroke being (n, 2) points (x, y) in 0…255.

        Where not given, identifiers count from 0, the country is unknown (ZZ), all are recognized, time is 0.

        Raises
        ------
        InputError
            If a stroke has another shape or a coordinate is not a whole number from 0 to 255.
        """
        number = len(drawings)
        arrays = [np.asarray(stroke) for drawing in drawings for stroke in drawing]
        for array in arrays:
            if array.ndim != 2 or array.shape[1] != 2:
                raise InputError(f"a stroke must be (n, 2) points, got an array of shape {array.shape}.")
        points = np.concatenate([np.empty((0, 2), np.uint8), *arrays])
        if points.size and (points.min() < 0 or points.max() > 255 or (points != np.round(points)).any()):
            raise InputError("coordinates of strokes must be whole numbers from 0 to 255; round and clip them.")
        return cls(
            key_id=np.arange(number) if key_id is None else key_id,
            country=np.full(number, b"ZZ") if country is None else country,
            recognized=np.ones(number) if recognized is None else recognized,
            timestamp=np.zeros(number) if timestamp is None else timestamp,
            first_stroke=_ends([len(drawing) for drawing in drawings]),
            first_point=_ends([len(array) for array in arrays]),
            x=points[:, 0],
            y=points[:, 1],
        )


_COLUMNS = dict(
    zip(
        (column.name for column in fields(Drawings)),
        (np.uint64, "S2", np.bool_, np.uint32, np.int64, np.int64, np.uint8, np.uint8),
    )
)


def _as_index(indices: ArrayLike) -> np.ndarray:
    index = np.asarray(indices)
    return index.astype(np.int64) if index.size == 0 else index


def _ends(lengths: ArrayLike) -> np.ndarray:
    """Return (n + 1,) int64 running sums of `lengths`, from 0."""
    lengths = np.asarray(lengths, dtype=np.int64)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def _ragged(starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the flat positions of runs that begin at `starts`, and where each run begins among them."""
    ends = _ends(lengths)
    return np.repeat(starts - ends[:-1], lengths) + np.arange(ends[-1]), ends


# --- .bin ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Layout:
    """Where records and strokes lie in a buffer: offsets and counts, before any point is decoded."""

    starts: np.ndarray
    end: int
    stroke_counts: np.ndarray
    points_at: np.ndarray
    point_counts: np.ndarray


def _corrupt(path: Path, record: int, offset: int, problem: str) -> CorruptSourceError:
    kind = _kind_of(path)
    if kind is not None:
        problem = f"this is {kind}, not a Quick, Draw! .bin file ({problem})"
    return CorruptSourceError(
        f"{path}: record {record} (counted from 0), at byte {offset}: {problem}. Fetch the file again, or remove it."
    )


def _kind_of(path: Path) -> str | None:
    """Return what a damaged .bin really is, as far as its first bytes tell, or None.

    Asked only once reading failed: the first bytes of a good file are a number that may look like anything.
    """
    with path.open("rb") as file:
        head = file.read(512)
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page or XML document (an error page saved in its place?)"
    if text.startswith((b'{"', b'[{"')):
        return "JSON text; name it .ndjson if it holds one drawing a line"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file it points to"
    return None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); expected a file of drawings.") from error
    with file:
        yield file


def _scan(data: bytes, limit: int, last: bool, path: Path, record: int, offset: int) -> _Layout:
    """Find up to `limit` whole records at the front of `data`, which holds the file from byte `offset` on.

    A record that `data` cuts off is left for the next call, unless `data` is the `last` of the file: then
    it is an error. Counts only ever move a position forward; nothing is allocated from them.
    """
    starts: list[int] = []
    stroke_counts: list[int] = []
    points_at: list[int] = []
    point_counts: list[int] = []
    position = 0
    end = len(data)
    while position < end and len(starts) < limit:
        start = position
        whole = len(points_at)
        try:
            strokes = data[start + 15] | data[start + 16] << 8
            if data[start + 10] > 1:
                raise _corrupt(
                    path,
                    record + len(starts),
                    offset + start,
                    f"`recognized` is {data[start + 10]}, expected 0 or 1",
                )
            if strokes == 0:
                raise _corrupt(path, record + len(starts), offset + start, "the drawing has no strokes")
            position += 17
            for _ in range(strokes):
                points = data[position] | data[position + 1] << 8
                if points == 0:
                    problem = f"stroke {len(points_at) - whole} of {strokes} has no points"
                    raise _corrupt(path, record + len(starts), offset + start, problem)
                points_at.append(position + 2)
                point_counts.append(points)
                position += 2 + 2 * points
            cut = position > end
        except IndexError:
            cut = True
        if cut:
            if last:
                if end - start < HEADER.itemsize:
                    problem = f"the last {end - start} bytes are too few for a record's {HEADER.itemsize}-byte head"
                else:
                    problem = (
                        f"the record is cut short: it declares {strokes} strokes, and the file ends "
                        f"{end - start} bytes on, in stroke {max(len(points_at) - whole - 1, 0)}"
                    )
                raise _corrupt(path, record + len(starts), offset + start, problem)
            del points_at[whole:], point_counts[whole:]
            position = start
            break
        starts.append(start)
        stroke_counts.append(strokes)
    return _Layout(
        starts=np.array(starts, np.int64),
        end=position,
        stroke_counts=np.array(stroke_counts, np.int64),
        points_at=np.array(points_at, np.int64),
        point_counts=np.array(point_counts, np.int64),
    )


def _scanned(path: Path, block: int) -> Iterator[tuple[bytes, _Layout, int]]:
    """Yield buffers, the layout of up to `block` records in each, and the buffer's offset in the file."""
    if block < 1:
        raise InputError(f"block must be at least 1 drawing, got {block}.")
    with _opened(path) as file:
        data = file.read(_READ_BYTES)
        if not data:
            raise CorruptSourceError(
                f"{path}: the file is empty (record 0, byte 0); expected at least one drawing. Fetch it again."
            )
        record = offset = 0
        last = False
        while data or not last:
            layout = _scan(data, block, last, path, record, offset)
            if len(layout.starts):
                yield data, layout, offset
            data = data[layout.end :]
            record += len(layout.starts)
            offset += layout.end
            if len(layout.starts) < block and not last:
                # A record longer than what is at hand doubles it, so that the work stays linear.
                more = file.read(max(_READ_BYTES, len(data)))
                last = not more
                data += more


def _decode(data: bytes, layout: _Layout) -> Drawings:
    raw = np.frombuffer(data, np.uint8)
    heads = raw[layout.starts[:, None] + np.arange(HEADER.itemsize)].view(HEADER)[:, 0]
    at_x, first_point = _ragged(layout.points_at, layout.point_counts)
    return Drawings(
        key_id=heads["key_id"],
        country=heads["country"],
        recognized=heads["recognized"],
        timestamp=heads["timestamp"],
        first_stroke=_ends(layout.stroke_counts),
        first_point=first_point,
        x=raw[at_x],
        y=raw[at_x + np.repeat(layout.point_counts, layout.point_counts)],
    )


def scan_bin(path: Path | str) -> np.ndarray:
    """Return where the records of a .bin file begin, decoding no points.

    Returns
    -------
    np.ndarray
        (N + 1,) int64 byte offsets; the last is the file's size.

    Raises
    ------
    CorruptSourceError
        If the file is empty, damaged or something else.
    """
    parts = []
    end = 0
    for _, layout, offset in _scanned(Path(path), _BLOCK):
        parts.append(layout.starts + offset)
        end = offset + layout.end
    return np.concatenate([*parts, np.array([end], np.int64)])


def count_drawings(path: Path | str) -> int:
    """Return how many drawings a .bin or .ndjson file holds, reading it once.

    Raises
    ------
    CorruptSourceError
        If the file is empty, damaged or something else (the fields of .ndjson lines are not looked into).
    """
    path = Path(path)
    if path.suffix.lower() == ".ndjson":
        count = sum(1 for _ in _lines(path))
        if count == 0:
            raise CorruptSourceError(f"{path}: the file is empty (line 1); expected one drawing a line.")
        return count
    return sum(len(layout.starts) for _, layout, _ in _scanned(path, _BLOCK))


def iter_bin(path: Path | str, block: int = _BLOCK) -> Iterator[Drawings]:
    """Yield the drawings of a .bin file in order, up to `block` at a time, in memory that does not grow.

    Raises
    ------
    CorruptSourceError
        When the damage is reached: file, record and byte offset are named. Drawings before it were yielded.
    """
    for data, layout, _ in _scanned(Path(path), block):
        yield _decode(data, layout)


def read_bin(path: Path | str, records: ArrayLike | None = None) -> Drawings:
    """Return all drawings of a .bin file, or those at the positions `records`, in that order.

    Parameters
    ----------
    path
        The file.
    records
        (n,) positions from 0; only these are decoded. The whole file is checked all the same.

    Raises
    ------
    CorruptSourceError
        If the file is empty, damaged or something else, anywhere in it.
    InputError
        If it has too few drawings; the message says how many there are.
    """
    path = Path(path)
    if records is None:
        return Drawings.concatenate(iter_bin(path))
    wanted = np.asarray(records, dtype=np.int64).reshape(-1)
    unique, inverse = np.unique(wanted, return_inverse=True)
    parts = []
    count = 0
    for data, layout, _ in _scanned(path, _BLOCK):
        low, high = np.searchsorted(unique, [count, count + len(layout.starts)])
        if high > low:
            parts.append(_decode(data, _rows(layout, unique[low:high] - count)))
        count += len(layout.starts)
    if len(unique) and (unique[0] < 0 or unique[-1] >= count):
        wrong = unique[0] if unique[0] < 0 else unique[-1]
        raise InputError(f"{path} holds {count} drawings, 0 to {count - 1}; number {wrong} was asked for.")
    return Drawings.concatenate(parts).select(inverse)


def _rows(layout: _Layout, rows: np.ndarray) -> _Layout:
    """Return the layout of some records of a buffer."""
    strokes, _ = _ragged(_ends(layout.stroke_counts)[rows], layout.stroke_counts[rows])
    return _Layout(
        starts=layout.starts[rows],
        end=layout.end,
        stroke_counts=layout.stroke_counts[rows],
        points_at=layout.points_at[strokes],
        point_counts=layout.point_counts[strokes],
    )


def _encode(drawings: Drawings) -> bytes:
    stroke_counts = np.diff(drawings.first_stroke)
    point_counts = np.diff(drawings.first_point)
    heads = np.empty(len(drawings), HEADER)
    for name in ("key_id", "country", "recognized", "timestamp"):
        heads[name] = getattr(drawings, name)
    heads["strokes"] = stroke_counts
    # A stroke lies behind its own drawing's head and those before it, and behind the strokes before it.
    stroke_at = _ends(2 + 2 * point_counts)
    stroke_at[:-1] += HEADER.itemsize * np.repeat(np.arange(1, len(drawings) + 1), stroke_counts)
    head_at = HEADER.itemsize * np.arange(len(drawings)) + _ends(2 + 2 * point_counts)[drawings.first_stroke[:-1]]
    out = np.empty(HEADER.itemsize * len(drawings) + 2 * len(point_counts) + 2 * len(drawings.x), np.uint8)
    out[head_at[:, None] + np.arange(HEADER.itemsize)] = heads.view(np.uint8).reshape(-1, HEADER.itemsize)
    out[stroke_at[:-1, None] + np.arange(2)] = point_counts.astype("<u2").view(np.uint8).reshape(-1, 2)
    at_x, _ = _ragged(stroke_at[:-1] + 2, point_counts)
    out[at_x] = drawings.x
    out[at_x + np.repeat(point_counts, point_counts)] = drawings.y
    return out.tobytes()


def _check_counts(path: Path, drawings: Drawings) -> None:
    """Refuse what a file cannot hold or `read_bin` would refuse to read back."""
    if len(drawings) == 0:
        raise InputError(f"{path}: there are no drawings to write; expected at least one.")
    strokes = np.diff(drawings.first_stroke)
    wrong = np.flatnonzero((strokes < 1) | (strokes > MOST))
    if len(wrong):
        raise InputError(
            f"{path}: drawing {wrong[0]} has {strokes[wrong[0]]} strokes; a file holds 1 to {MOST} a drawing."
        )
    points = np.diff(drawings.first_point)
    wrong = np.flatnonzero((points < 1) | (points > MOST))
    if len(wrong):
        drawing = np.searchsorted(drawings.first_stroke, wrong[0], side="right") - 1
        raise InputError(
            f"{path}: drawing {drawing} has a stroke of {points[wrong[0]]} points; a file holds 1 to {MOST} a stroke."
        )


def write_bin(path: Path | str, drawings: Drawings) -> None:
    """Write drawings as an official .bin file, whole or not at all; `read_bin` returns the same drawings.

    Raises
    ------
    InputError
        If there are no drawings, or one has no strokes, a stroke no points, or more than 65,535 of them.
    """
    path = Path(path)
    _check_counts(path, drawings)
    with atomic_path(path) as part, part.open("wb") as file:
        for start in range(0, len(drawings), _BLOCK):
            file.write(_encode(drawings.select(slice(start, start + _BLOCK))))


# --- .ndjson ------------------------------------------------------------------------------------------

_FIELDS = ("key_id", "countrycode", "timestamp", "recognized", "drawing", "word")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(\.\d+)? UTC", re.ASCII)


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield line number (from 1), byte offset and text of every line that is not blank."""
    with _opened(path) as file:
        number = offset = 0
        while line := file.readline(_LONGEST_LINE):
            number += 1
            if len(line) == _LONGEST_LINE:
                raise _bad_line(path, number, offset, f"the line is longer than {_LONGEST_LINE} bytes")
            if line.strip():
                yield number, offset, line
            offset += len(line)


def _bad_line(path: Path, line: int, offset: int, problem: str) -> CorruptSourceError:
    kind = _kind_of(path)
    if kind is not None and not kind.startswith("JSON"):
        problem = f"this is {kind}, not .ndjson ({problem})"
    return CorruptSourceError(
        f"{path}: line {line} (counted from 1), at byte {offset}: {problem}. Correct it, or fetch the file again."
    )


def _parse_line(line: bytes) -> tuple[int, bytes, bool, int, list[tuple[bytes, bytes]]]:
    """Return key_id, country, recognized, timestamp and strokes; a ValueError says what is wrong."""
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON ({error})") from error
    if not isinstance(item, dict):
        raise ValueError(f"expected an object with {', '.join(_FIELDS)}, got {type(item).__name__}")
    missing = [name for name in _FIELDS if name not in item]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing; a drawing has {', '.join(_FIELDS)}")
    if not isinstance(item["word"], str):
        raise ValueError("`word` must be text")
    key_id = item["key_id"]
    if not (isinstance(key_id, str) and re.fullmatch("[0-9]{1,20}", key_id) and int(key_id) < 1 << 64):
        raise ValueError(f"`key_id` must be a number below 2^64 as text, got {_shown(key_id)}")
    country = item["countrycode"]
    if not (isinstance(country, str) and country.isascii() and len(country) == 2):
        raise ValueError(f"`countrycode` must be two letters, got {_shown(country)}")
    if not isinstance(item["recognized"], bool):
        raise ValueError(f"`recognized` must be true or false, got {_shown(item['recognized'])}")
    return (
        int(key_id),
        country.encode(),
        item["recognized"],
        _parse_time(item["timestamp"]),
        _parse_strokes(item["drawing"]),
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _parse_time(value: Any) -> int:
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    try:
        seconds = datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp() if match else -1
    except ValueError:
        seconds = -1
    if not 0 <= seconds < 1 << 32:
        raise ValueError(f"`timestamp` must look like '2017-03-01 20:14:39.123 UTC', got {_shown(value)}")
    return int(seconds)


def _parse_strokes(value: Any) -> list[tuple[bytes, bytes]]:
    if not (isinstance(value, list) and 1 <= len(value) <= MOST):
        raise ValueError(f"`drawing` must be a list of 1 to {MOST} strokes, got {_shown(value)}")
    strokes = []
    for number, stroke in enumerate(value):
        if isinstance(stroke, list) and len(stroke) == 3:
            raise ValueError(f"stroke {number} has three lists: this is the raw format; get the simplified files")
        if not (isinstance(stroke, list) and len(stroke) == 2 and all(isinstance(c, list) for c in stroke)):
            raise ValueError(f"stroke {number} must be [[x, …], [y, …]], got {_shown(stroke)}")
        x, y = stroke
        if len(x) != len(y):
            raise ValueError(f"stroke {number} has {len(x)} x and {len(y)} y coordinates")
        if not 1 <= len(x) <= MOST:
            raise ValueError(f"stroke {number} has {len(x)} points, expected 1 to {MOST}")
        # JSON's true is Python's 1, so the type is asked for and not only the value.
        wrong = [c for c in (*x, *y) if type(c) is not int or not 0 <= c <= 255]
        if wrong:
            raise ValueError(
                f"stroke {number} has the coordinate {_shown(wrong[0])}; the simplified format has "
                "whole numbers from 0 to 255"
            )
        strokes.append((bytes(x), bytes(y)))
    return strokes


def _gather(items: list[tuple[int, bytes, bool, int, list[tuple[bytes, bytes]]]]) -> Drawings:
    strokes = [stroke for item in items for stroke in item[4]]
    return Drawings(
        key_id=np.array([item[0] for item in items], np.uint64),
        country=np.array([item[1] for item in items], "S2"),
        recognized=np.array([item[2] for item in items], np.bool_),
        timestamp=np.array([item[3] for item in items], np.uint32),
        first_stroke=_ends([len(item[4]) for item in items]),
        first_point=_ends([len(x) for x, _ in strokes]),
        x=np.frombuffer(b"".join(x for x, _ in strokes), np.uint8),
        y=np.frombuffer(b"".join(y for _, y in strokes), np.uint8),
    )


def iter_ndjson(path: Path | str, block: int = _BLOCK) -> Iterator[Drawings]:
    """Yield the drawings of a simplified .ndjson file in order, up to `block` at a time.

    Fractions of seconds are dropped, as the .bin format does.

    Raises
    ------
    CorruptSourceError
        When a wrong line is reached: file, line number and byte offset are named.
    """
    path = Path(path)
    if block < 1:
        raise InputError(f"block must be at least 1 drawing, got {block}.")
    items = []
    empty = True
    for number, offset, line in _lines(path):
        empty = False
        try:
            items.append(_parse_line(line))
        except ValueError as error:
            raise _bad_line(path, number, offset, str(error)) from error
        if len(items) == block:
            yield _gather(items)
            items = []
    if empty:
        raise CorruptSourceError(f"{path}: the file is empty (line 1); expected one drawing a line.")
    if items:
        yield _gather(items)


def read_ndjson(path: Path | str) -> Drawings:
    """Return all drawings of a simplified .ndjson file.

    Raises
    ------
    CorruptSourceError
        If a line is wrong or there is none: file, line number and byte offset are named.
    """
    return Drawings.concatenate(iter_ndjson(path))


def write_ndjson(path: Path | str, drawings: Drawings, word: str) -> None:
    """Write drawings of the category `word` as a simplified .ndjson file, whole or not at all.

    Raises
    ------
    InputError
        If there are no drawings, or one that a file cannot hold.
    """
    path = Path(path)
    _check_counts(path, drawings)
    with atomic_path(path) as part, part.open("w", encoding="utf-8") as file:
        for index in range(len(drawings)):
            moment = datetime.fromtimestamp(int(drawings.timestamp[index]), UTC)
            item = {
                "word": word,
                "countrycode": drawings.country[index].decode("ascii"),
                "timestamp": f"{moment:%Y-%m-%d %H:%M:%S}.000 UTC",
                "recognized": bool(drawings.recognized[index]),
                "key_id": str(drawings.key_id[index]),
                "drawing": [stroke.T.tolist() for stroke in drawings.strokes(index)],
            }
            file.write(json.dumps(item, ensure_ascii=False, separators=(",", ":")) + "\n")
