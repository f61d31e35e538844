"""Features made elsewhere: an HDF5 or NPZ file is looked at before a run, and becomes `features.h5` in it.

The file's layout is known here and nowhere else; what is then searched in what is the study's business.
"""

from __future__ import annotations

import math
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from trazo.errors import InputError
from trazo.hdf5 import LeadsOutError, overstated, own_dataset
from trazo.progress import log
from trazo.provenance import describe
from trazo.store import Features, write_features

GALLERY, QUERIES = "gallery", "queries"
_QUERY_PREFIX = "query_"
_KEYS = frozenset(
    prefix + name for prefix in ("", _QUERY_PREFIX) for name in ("features", "bits", "labels", "ids", "classes")
)
_CHUNK = 1 << 22
_ARRAY_END = ".npy"


@dataclass(frozen=True)
class Header:
    """An array's shape and what it holds: "text", "objects", or the letter of a NumPy kind.

    `stored` counts the bytes that the file keeps of it, compressed or not.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    kind: str
    stored: int

    @property
    def words(self) -> str:
        """The array in words."""
        return f"{self.kind if len(self.kind) > 1 else self.dtype} of shape {self.shape}"


@dataclass(frozen=True)
class FeatureFile:
    """What a file of features holds.

    Attributes
    ----------
    packed
        Whether items are packed bits rather than numbers.
    width
        Values (or bytes of bits) an item.
    items, queries
        How many items there are to search; how many queries apart from them, 0 for none.
    """

    packed: bool
    width: int
    items: int
    queries: int


@dataclass(frozen=True)
class _Side:
    """Queries or gallery of a file: which keys hold them."""

    path: Path
    prefix: str
    headers: dict[str, Header]

    def key(self, name: str) -> str:
        return self.prefix + name

    def has(self, name: str) -> bool:
        return self.key(name) in self.headers

    def header(self, name: str) -> Header:
        return self.headers[self.key(name)]

    def refuse(self, name: str, got: str, wanted: str) -> InputError:
        return InputError(f"{self.path}: {self.key(name)!r} is {got}; {wanted}.")


def look(source: Path, queries: Path | None = None) -> FeatureFile:
    """Check the keys, shapes and types of a file of features, and return what it holds; no array is read.

    Parameters
    ----------
    source
        HDF5 or NPZ: `features` (N, D) numbers or `bits` (N, bytes) uint8, and `labels` (N,) whole numbers or text;
        optionally `query_features` or `query_bits` with `query_labels`, `ids`, `query_ids`, `classes`.
    queries
        A second such file whose items are the queries.

    Raises
    ------
    InputError
        If a file is missing, damaged or neither HDF5 nor NPZ; if a key is missing, leads out of the file or declares
        more than the file can hold; or if arrays do not fit each other.
    """
    sides = {name: _checked(side) for name, side in _sides(source, queries).items()}
    for path in (source, queries or source):
        _class_names(path, _headers(path), read=False)
    (packed, width, items), asked = sides[GALLERY], sides.get(QUERIES)
    if asked is None:
        return FeatureFile(packed, width, items, 0)
    if asked[:2] != (packed, width):
        words = [f"{w} {'bytes of bits' if p else 'values'}" for p, w, _ in (asked, sides[GALLERY])]
        raise InputError(
            f"{queries or source}: a query has {words[0]} and an item of the gallery {words[1]}; they must be the "
            "same features."
        )
    return FeatureFile(packed, width, items, asked[2])


def import_features(
    *, source: Path, queries: Path | None, side: str, output: Path, code: str, key: dict[str, object]
) -> None:
    """Read one side ("gallery" or "queries") of a file of features, check every value, and write `features.h5`.

    Numbers become float32, labels positions among the class names; a label that is a number is its class's name
    where the file has no `classes`.

    Raises
    ------
    InputError
        As `look`; or if a value is no finite float32 (rows are named), a text cannot be written, or a label has no
        class.
    """
    started = time.perf_counter()
    look(source, queries)
    wanted = _sides(source, queries)[side]
    if wanted.has("bits"):
        values = _read(wanted, "bits")
    else:
        values = _finite(_read(wanted, "features"), wanted)
    labels, classes = _classes(wanted, source)
    given = _read(wanted, "ids") if wanted.has("ids") else range(len(labels))
    record = describe(
        "import",
        settings={"key": key, "file": wanted.path.name, "side": side},
        code=code,
        seconds=round(time.perf_counter() - started, 3),
        items=len(labels),
    )
    write_features(output, Features(values, labels, [str(i) for i in given], classes, record=record))
    log.info("%d items of %d classes, %s", len(labels), len(np.unique(labels)), f"{values.dtype} {values.shape}")


def _sides(source: Path, queries: Path | None) -> dict[str, _Side]:
    headers = _headers(source)
    sides = {GALLERY: _Side(source, "", headers)}
    apart = sorted(key for key in headers if key.startswith(_QUERY_PREFIX))
    if apart and queries is not None:
        raise InputError(f"{source} holds queries itself ({', '.join(apart)}); leave out `queries: {queries.name}`.")
    if queries is not None:
        sides[QUERIES] = _Side(queries, "", _headers(queries))
    elif apart:
        sides[QUERIES] = _Side(source, _QUERY_PREFIX, headers)
    return sides


def _checked(side: _Side) -> tuple[bool, int, int]:
    """Return whether a side is packed bits, its width and its number of items."""
    found = ", ".join(f"{name} ({header.words})" for name, header in side.headers.items()) or "nothing"
    values = [name for name in ("features", "bits") if side.has(name)]
    if len(values) != 1:
        both = " or ".join(repr(side.key(name)) for name in ("features", "bits"))
        raise InputError(f"{side.path}: expected exactly one of the keys {both}; the file holds {found}.")
    if not side.has("labels"):
        raise InputError(f"{side.path}: the key {side.key('labels')!r} is missing; the file holds {found}.")
    (name,) = values
    header = side.header(name)
    if header.kind == "objects":
        raise side.refuse(name, "an array of Python objects", "save a table of numbers")
    if len(header.shape) != 2 or header.shape[1] == 0:
        raise side.refuse(name, header.words, "expected a table of one row per item")
    if name == "bits" and header.dtype != np.uint8:
        raise side.refuse(name, header.words, "pack bits with numpy.packbits(bits, axis=1), which gives uint8")
    if name == "features" and (header.kind not in "fiub" or header.dtype.itemsize > 8):
        raise side.refuse(name, header.words, "expected real numbers")
    count, width = header.shape
    if not count:
        raise side.refuse(name, header.words, "there is no item in it")
    for other in ("labels", "ids"):
        if not side.has(other):
            continue
        if side.header(other).shape != (count,):
            raise side.refuse(other, side.header(other).words, f"expected one for each of {count} items")
        if side.header(other).kind == "objects":
            raise side.refuse(
                other, "an array of Python objects, which are not loaded", "save numpy.array(…, dtype=str)"
            )
    if side.header("labels").kind not in ("i", "u", "text"):
        raise side.refuse("labels", side.header("labels").words, "expected whole numbers or text")
    return name == "bits", width, count


def _finite(values: np.ndarray, side: _Side) -> np.ndarray:
    """Return numbers as float32, all of them finite."""
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(values, np.float32)
    step = max(1, _CHUNK // converted.shape[1])
    bad = np.concatenate(
        [~np.isfinite(converted[i : i + step]).all(axis=1) for i in range(0, len(converted), step)]
    ).nonzero()[0]
    if len(bad):
        rows = ", ".join(map(str, bad[:10])) + (", …" if len(bad) > 10 else "")
        got = f"NaN, infinite or beyond float32 in {len(bad)} of {len(converted)} rows (counted from 0): {rows}"
        raise side.refuse("features", got, "features must be finite numbers; look at what made them")
    return converted


def _classes(side: _Side, source: Path) -> tuple[np.ndarray, list[str]]:
    """Return labels as (N,) int64 positions among class names, and these."""
    labels = _read(side, "labels")
    names = next((names for path in (side.path, source) if (names := _class_names(path, _headers(path)))), [])
    text = side.header("labels").kind == "text"
    if names and not text:
        wrong = np.flatnonzero((labels < 0) | (labels >= len(names)))
        if len(wrong):
            raise side.refuse(
                "labels", f"{labels[wrong[0]]} in row {wrong[0]}", f"{len(names)} `classes` want labels from 0 on"
            )
        return labels.astype(np.int64), names
    present, positions = np.unique(np.array([str(v) for v in labels]) if text else labels, return_inverse=True)
    found = [str(name) for name in present]
    if "" in found:
        raise side.refuse("labels", f"empty in row {int(np.flatnonzero(labels == '')[0])}", "every item needs a class")
    if names:
        strangers = [name for name in found if name not in names]
        if strangers:
            raise side.refuse("labels", f"{strangers[0]!r} for some items", f"`classes` are {', '.join(names[:10])}")
        return np.array([names.index(name) for name in found])[positions].astype(np.int64), names
    return positions.astype(np.int64), found


def _class_names(path: Path, headers: dict[str, Header], *, read: bool = True) -> list[str]:
    """Return a file's `classes`, none where it has none; without reading them, only their header is checked."""
    if "classes" not in headers:
        return []
    side = _Side(path, "", headers)
    header = side.header("classes")
    if header.kind != "text" or len(header.shape) != 1:
        raise side.refuse("classes", header.words, "expected a list of names, numpy.array(…, dtype=str)")
    names = [str(name) for name in _read(side, "classes")] if read else []
    if "" in names or len(set(names)) < len(names):
        raise side.refuse("classes", "a list with an empty or a repeated name", "every class needs a name of its own")
    return names


# Files -------------------------------------------------------------------------------------------------------------


@contextmanager
def _reading(path: Path, key: str = "") -> Iterator[None]:
    """Turn whatever a file's reader raises into one sentence."""
    what = f"{path}: {key!r}" if key else str(path)
    try:
        yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{what} does not fit into memory ({error}); give a machine with more, or fewer items.") from (
            error
        )
    except UnicodeDecodeError as error:
        raise InputError(f"{what} holds text that is no UTF-8 ({error}); save numpy.array(…, dtype=str).") from error
    # What a damaged file leads the libraries to is theirs: h5py alone raises seven kinds of errors.
    except Exception as error:
        raise InputError(f"{what} cannot be read ({error}); it is damaged or cut short.") from error


def _headers(path: Path) -> dict[str, Header]:
    """Return the arrays at the top of an HDF5 or NPZ file by key, from their headers alone."""
    if not path.is_file():
        raise InputError(f"{path} is no file; expected an HDF5 or NPZ file with features and labels.")
    with _reading(path):
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                found = {name: _hdf5_header(path, file, name) for name in file}
            return _plausible(path, {name: header for name, header in found.items() if header is not None})
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                members = [name for name in archive.namelist() if name.endswith(_ARRAY_END)]
                headers = {name.removesuffix(_ARRAY_END): _npz_header(path, archive, name) for name in members}
            return _plausible(path, headers)
    hint = " Save its arrays by name, with numpy.savez." if path.suffix == _ARRAY_END else ""
    raise InputError(f"{path} is neither an HDF5 nor an NPZ file.{hint}")


def _plausible(path: Path, headers: dict[str, Header]) -> dict[str, Header]:
    """Refuse arrays that claim to be far larger than what the file keeps of them: reading would fill the memory."""
    size = path.stat().st_size
    for key, header in headers.items():
        declared = math.prod(header.shape) * max(1, header.dtype.itemsize)
        if key in _KEYS and overstated(declared, min(header.stored, size)):
            raise InputError(
                f"{path}: {key!r} declares {header.words}, {declared / (1 << 20):,.0f} MiB, and the file keeps "
                f"{min(header.stored, size):,} bytes of it; it is damaged, or was never filled."
            )
    return headers


def _hdf5_header(path: Path, file: h5py.File, name: str) -> Header | None:
    """Return an array's header; None for a group, for a link to nothing, and for what leads out where nobody reads."""
    try:
        dataset = own_dataset(file, name)
    except LeadsOutError as way:
        if name not in _KEYS:
            return None
        raise InputError(f"{path}: {name!r} {way}; copy the values into the file itself.") from None
    if dataset is None:
        return None
    text = h5py.check_string_dtype(dataset.dtype) is not None
    kind = "text" if text else "objects" if dataset.dtype.kind == "O" else dataset.dtype.kind
    return Header(tuple(dataset.shape or ()), dataset.dtype, kind, dataset.id.get_storage_size())


def _npz_header(path: Path, archive: zipfile.ZipFile, member: str) -> Header:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        info, began = archive.getinfo(member), file.tell()
    kinds = {"O": "objects", "U": "text", "S": "text"}
    kind = "objects" if dtype.hasobject else kinds.get(dtype.kind, dtype.kind)
    header = Header(shape, dtype, kind, info.compress_size)
    key = member.removesuffix(_ARRAY_END)
    if any(count < 0 for count in shape):
        raise InputError(f"{path}: {key!r} declares {header.words}, fewer items than none; it is damaged.")
    declared, held = math.prod(shape) * dtype.itemsize, info.file_size - began
    if key in _KEYS and header.kind != "objects" and declared != held:
        raise InputError(
            f"{path}: {key!r} declares {header.words}, {declared:,} bytes, and holds {held:,}; it is damaged or cut "
            "short."
        )
    return header


def _read(side: _Side, name: str) -> np.ndarray:
    """Return an array; text as (N,) str objects, each of which can be written as UTF-8."""
    key, text = side.key(name), side.header(name).kind == "text"
    with _reading(side.path, key):
        if h5py.is_hdf5(side.path):
            with h5py.File(side.path, "r") as file:
                dataset = own_dataset(file, key)
                array = dataset.asstr("utf-8")[:] if text else dataset[:]
        else:
            with np.load(side.path, allow_pickle=False) as file:
                array = file[key]
        if array.dtype.kind == "S":
            array = np.array([value.decode("utf-8") for value in array], dtype=object)
        array = array.astype(object) if text else array
    if text:
        _check_text(side, name, array)
    return array


def _check_text(side: _Side, name: str, values: np.ndarray) -> None:
    """Refuse text that neither HDF5 nor UTF-8 can hold."""
    for row, value in enumerate(values):
        if "\0" in value:
            raise side.refuse(name, f"{value!a} in row {row}, with a zero character", "a text must have none")
        # A surrogate pair's half is a character of its own here, and none in a file.
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise side.refuse(name, f"{value!a} in row {row}, with half a character", "a text must be valid Unicode")
