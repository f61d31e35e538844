"""The artifacts on disk: images, features and rankings in HDF5, each with the record of how it was made.

The only module that knows their layout. Every write goes to a temporary name and is renamed when complete; every HDF5
file carries a checksum of its bytes, which reading compares.
Checkpoints hold weights and live in `trazo.models.checkpoint`; they share the atomic writing.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import socket
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from trazo.errors import InputError, TrazoError
from trazo.hdf5 import LeadsOutError, OverstatedError, need_self_contained
from trazo.streams import Pixels, StreamedPixels

FORMAT = 1
_CHUNK_BYTES = 1 << 20
# Before the HDF5 data of an artifact: its checksum (HDF5's "user block", which readers of HDF5 pass over).
_SEAL_BYTES = 512
_SEAL = b"trazo artifact, crc32 of all bytes after these 512: "
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
# What a process on another machine left is removed once nobody has written to it for so long, in seconds.
_ABANDONED = 24 * 3600


class ArtifactError(InputError):
    """An artifact that is missing, cut short, of another kind or of another format."""


class UnwritableError(TrazoError):
    """A file that cannot be written: the disk is full or for reading only, or the folder is somebody else's."""


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well, else delete it.

    The file is flushed to disk before the rename, so a machine that dies leaves the old file or the new one. What a
    process that was killed left of the same file is deleted.

    Raises
    ------
    UnwritableError
        If the disk is full or nothing may be written there; the message says what to do.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        handle, name = tempfile.mkstemp(prefix=f"{_part_prefix(path)}{_maker()}.", suffix=".part", dir=path.parent)
        os.close(handle)
    except OSError as error:
        _tell_unwritable(path, error)
        raise
    part = Path(name)
    try:
        yield part
        # mkstemp makes files private; an artifact follows the user's umask like any other file.
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        # What the block reads is none of this: there, the error names another file.
        if error.errno in (*_NO_ROOM, errno.EROFS) or str(error.filename) == name:
            _tell_unwritable(path, error, part)
        raise
    finally:
        with suppress(OSError):
            part.unlink()


def _part_prefix(path: Path) -> str:
    return f".{path.name}."


def _maker() -> str:
    """Return what tells this process from others, on this machine and elsewhere, in a temporary file's name."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}-{os.getpid()}"


def _remove_leftovers(path: Path) -> None:
    """Delete the temporary files of `path` whose process is gone."""
    here, own = _maker().partition("-")[0], os.getpid()
    # Clearing up is no reason to fail.
    with suppress(OSError):
        names = [part.name for part in os.scandir(path.parent)]
        for name in names:
            if not (name.startswith(_part_prefix(path)) and name.endswith(".part")):
                continue
            part = path.parent / name
            machine, _, process = name.removeprefix(_part_prefix(path)).partition(".")[0].partition("-")
            if machine == here and process.isdigit():
                gone = int(process) != own and not _runs(int(process))
            else:
                gone = time.time() - part.stat().st_mtime > _ABANDONED
            if gone:
                part.unlink()


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        # It is there, and another user's.
        return True
    return True


def _tell_unwritable(path: Path, error: OSError, part: Path | None = None) -> None:
    """Raise an `UnwritableError` if an error is about a disk's room or the right to write there."""
    folder = _first_there(*path.parents, *path.absolute().parents)
    if error.errno in _NO_ROOM:
        disk = shutil.disk_usage(folder)
        written = part.stat().st_size if part is not None and part.exists() else 0
        raise UnwritableError(
            f"{path} cannot be written: {os.strerror(error.errno)}. {_mebibytes(written)} of it were written when "
            f"{_mebibytes(disk.free)} were left of the {_mebibytes(disk.total)} of the disk that holds {folder}; they "
            "are deleted again. Make room there, or make `results` a link to a folder on a larger disk, and run again: "
            "what was finished before stays."
        ) from error
    if error.errno in _FORBIDDEN:
        why = "its disk is for reading only" if error.errno == errno.EROFS else f"{folder} is not this user's to change"
        raise UnwritableError(
            f"{path} cannot be written: {why} ({os.strerror(error.errno)}). Give this user the right to write there, "
            "or run in a folder of your own, and run again: what was finished before stays."
        ) from error


def _first_there(*folders: Path) -> Path:
    # Not `Path.exists`, which fails below a folder that this user may not look into.
    return next(folder for folder in folders if os.path.isdir(folder))


def _mebibytes(count: int) -> str:
    return f"{count / (1 << 20):.1f} MiB"


def need_writable(folder: Path | str) -> None:
    """Do nothing if files can be made in `folder`, or in the one that it will be made in.

    Raises
    ------
    UnwritableError
        If not; the message says why, and what to do.
    """
    folder = Path(folder)
    try:
        with tempfile.TemporaryFile(dir=_first_there(folder, *folder.parents, *folder.absolute().parents)):
            pass
    except OSError as error:
        _tell_unwritable(folder, error)
        raise


class Sink(io.FileIO):
    """A file that never fails while it is written; the first error is kept, and whatever comes after it is dropped.

    HDF5 ends the process with a segmentation fault where a disk is full for the second time, as it lets go of what it
    could not write; torch's writer forgets what went wrong.

    Attributes
    ----------
    error
        The first error, None while there is none.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+b")
        self.error: OSError | None = None

    def need_sound(self) -> None:
        """Raise the error that was kept, if any."""
        if self.error is not None:
            raise self.error

    def write(self, data: Any) -> int:
        """Write all of `data`, or pretend to."""
        view = memoryview(data).cast("B")
        done = 0
        while self.error is None and done < len(view):
            try:
                done += super().write(view[done:])
            except OSError as error:
                self.error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """As of any file, or pretend to."""
        try:
            return super().truncate(size) if self.error is None else size or 0
        except OSError as error:
            self.error = error
            return size or 0

    def readinto(self, buffer: Any) -> int:
        """Read as from a file that ends in zeros: HDF5 reads what it believes to have written."""
        view = memoryview(buffer).cast("B")
        done = 0
        while more := super().readinto(view[done:]):
            done += more
        view[done:] = bytes(len(view) - done)
        return len(view)


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Sink]:
    """As `atomic_path`, but yield a file that is open for reading and writing.

    Raises
    ------
    UnwritableError
        Whatever else its not being written led to.
    """
    with atomic_path(path) as part, Sink(part) as sink:
        try:
            yield sink
        finally:
            sink.need_sound()


class _NewArtifact(h5py.File):
    """An artifact that is being written."""

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink, "w", userblock_size=_SEAL_BYTES)
        self._sink = sink

    def need_room(self) -> None:
        """Raise an OSError if something could not be written: to be asked now and then where much is written."""
        self._sink.need_sound()


@contextmanager
def _new_artifact(path: Path | str, kind: str, record: dict[str, Any]) -> Iterator[_NewArtifact]:
    """Yield an HDF5 file to fill; stamped and sealed, it becomes `path` when the block ends well."""
    with atomic_file(path) as sink:
        with _NewArtifact(sink) as file:
            yield file
            _stamp(file, kind, record)
        sink.need_sound()
        _seal(sink)


def _seal(file: BinaryIO) -> None:
    """Write the checksum of an artifact into the bytes that are free for it."""
    seal = _seal_of(file)
    file.seek(0)
    file.write(seal)


def _seal_of(file: BinaryIO) -> bytes:
    """Return what the first bytes of an artifact should be."""
    found, block = 0, bytearray(1 << 20)
    file.seek(_SEAL_BYTES)
    end = os.fstat(file.fileno()).st_size
    for start in range(_SEAL_BYTES, end, len(block)):
        view = memoryview(block)[: min(len(block), end - start)]
        file.readinto(view)
        found = zlib.crc32(view, found)
    return (_SEAL + f"{found:08x}\n".encode()).ljust(_SEAL_BYTES, b"\0")


def _is_sealed(path: Path, *, whole: bool = True) -> bool | None:
    """Return whether an artifact's bytes are those that were written; None where there is no checksum.

    Files made by others have none, nor have those of earlier versions. Unless `whole`, that there is one is enough.
    """
    with path.open("rb") as file:
        head = file.read(_SEAL_BYTES)
        if not head.startswith(_SEAL):
            return None
        return not whole or head == _seal_of(file)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Images:
    """Images with their labels.

    Attributes
    ----------
    pixels
        (N, H, W) uint8 grey or (N, H, W, 3) uint8 RGB; of a streamed dataset not an array, but `StreamedPixels`.
    labels
        (N,) int64 positions in `classes`.
    ids
        (N,) names that tell an item from all others of its dataset.
    classes
        Class names.
    record
        How it was made (`provenance.describe`).
    instances
        (N,) names of the very objects: items of one name show one object, those of "" an unknown one. None where
        none is known.
    """

    pixels: Pixels
    labels: np.ndarray
    ids: list[str]
    classes: list[str]
    record: dict[str, Any] = field(default_factory=dict)
    instances: list[str] | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Features:
    """Features of items, float or packed bits, with their labels.

    Attributes
    ----------
    values
        (N, D) float32 features or (N, B/8) uint8 packed bits.
    labels, ids, classes, record, instances
        As in `Images`.
    logits
        (N, C) float32 outputs of the network's classifier over `logit_classes`, or None.
    logit_classes
        Names of the classes the classifier was trained on.
    """

    values: np.ndarray
    labels: np.ndarray
    ids: list[str]
    classes: list[str]
    logits: np.ndarray | None = None
    logit_classes: list[str] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)
    instances: list[str] | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Codes:
    """What one reducer made of queries and of that part of a gallery that is searched.

    Attributes
    ----------
    queries
        (Q, d) float32 numbers or (Q, bytes) uint8 packed bits; None: queries stay the features that they are. The same
        array as `gallery` where the queries are searched among themselves.
    gallery
        (n, d) or (n, bytes) of the same kind.
    record
        About the reducer: its `label`, what metrics call it (`method`), how many `bits` of memory a code takes, and
        what fitting and applying it took.
    """

    queries: np.ndarray | None
    gallery: np.ndarray
    record: dict[str, Any]


@dataclass(frozen=True)
class CodesArtifact:
    """The codes of one fold (or of a whole gallery) by the reducers that were fitted together.

    Attributes
    ----------
    codes
        By what paths call the reducers.
    rows
        (n,) int64 positions in the whole gallery of the items that are searched, ascending.
    query_ids, gallery_ids
        Names of the (Q,) queries and of the (n,) items that are searched.
    record
        How they were made.
    """

    codes: dict[str, Codes]
    rows: np.ndarray
    query_ids: list[str]
    gallery_ids: list[str]
    record: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RankingArtifact:
    """What ranking one gallery for many queries gave.

    Attributes
    ----------
    metrics
        Names of the columns of `values`.
    values
        (Q, M) float64; rows of queries that were left out are NaN.
    evaluated
        (Q,) bool; False where a query has no relevant item and is left out.
    relevant
        (Q,) int64 relevant items of each query.
    top_indices, top_distances
        (Q, K) int64 positions in the gallery and float32 distances of each query's nearest items.
    query_labels, gallery_labels
        (Q,) and (G,) int64 positions in `classes`.
    query_ids, gallery_ids
        Names of the items.
    classes
        Class names.
    record
        How it was made.
    votes
        (Q, V) int64 positions in `classes` that the nearest items vote each query into, −1 where none was found.
    vote_counts
        How many of the nearest items vote, for each column of `votes`.
    query_objects, gallery_objects
        (Q,) and (G,) int64, where items of the very object that a query shows were relevant: equal ones are the same.
    """

    metrics: list[str]
    values: np.ndarray
    evaluated: np.ndarray
    relevant: np.ndarray
    top_indices: np.ndarray
    top_distances: np.ndarray
    query_labels: np.ndarray
    gallery_labels: np.ndarray
    query_ids: list[str]
    gallery_ids: list[str]
    classes: list[str]
    record: dict[str, Any] = field(default_factory=dict)
    votes: np.ndarray | None = None
    vote_counts: list[int] = field(default_factory=list)
    query_objects: np.ndarray | None = None
    gallery_objects: np.ndarray | None = None

    def right(self, query: int, items: np.ndarray) -> np.ndarray:
        """Return which items of the gallery, (K,) positions, are relevant to a query: (K,) bool."""
        if self.query_objects is not None:
            return self.gallery_objects[items] == self.query_objects[query]
        return self.gallery_labels[items] == self.query_labels[query]


@dataclass(frozen=True)
class MapArtifact:
    """Items laid out on a plane.

    Attributes
    ----------
    coordinates
        (N, 2) float32; only distances mean something, and of these the small ones.
    rows
        (N,) int64 positions of the items in their split, ascending: a map may show a part of it.
    labels, ids, classes, record
        As in `Images`.
    quality
        Metrics of the map by name.
    title
        The method's name as readers know it ("UMAP").
    """

    coordinates: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    ids: list[str]
    classes: list[str]
    quality: dict[str, float]
    title: str
    record: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class FittedReducer:
    """A fitted reducer, as far as a file knows it.

    Attributes
    ----------
    name
        Of the reducer, in its registry.
    options
        Its options.
    arrays
        What it learned, by name.
    record
        As in `Images`.
    """

    name: str
    options: dict[str, Any]
    arrays: dict[str, np.ndarray]
    record: dict[str, Any] = field(default_factory=dict)


def _put_strings(file: h5py.File, name: str, values: Sequence[str]) -> None:
    file.create_dataset(name, data=np.array(list(values), dtype=object), dtype=h5py.string_dtype())


def _get_strings(file: h5py.File, name: str) -> list[str]:
    return [str(value) for value in file[name].asstr()[:]]


def _put_items(
    file: h5py.File, path: Path | str, labels: np.ndarray, ids: Sequence[str], instances: Sequence[str] | None
) -> None:
    """Write what is known of each item beside its values; `path` is for messages."""
    for name, values in (("ids", ids), ("instances", instances)):
        if values is not None and len(values) != len(labels):
            raise ArtifactError(f"{path}: got {len(values)} {name} for {len(labels)} labels.")
    file.create_dataset("labels", data=np.asarray(labels, dtype=np.int64))
    _put_strings(file, "ids", ids)
    if instances is not None:
        _put_strings(file, "instances", instances)


def _get_instances(file: h5py.File) -> list[str] | None:
    """Return the names of the items' objects; None in files without, such as those of earlier versions."""
    if "instances" not in file:
        return None
    if file["instances"].shape != file["ids"].shape:
        raise KeyError(f"{file['instances'].shape} instances for {file['ids'].shape} ids")
    return _get_strings(file, "instances")


def _stamp(file: h5py.File, kind: str, record: dict[str, Any]) -> None:
    file.attrs["artifact"] = kind
    file.attrs["format"] = FORMAT
    text = json.dumps(record, sort_keys=True, default=str)
    file.attrs["record"] = text
    # Of its own, as it is also read without the rest.
    file.attrs["record_crc32"] = zlib.crc32(text.encode())


def _get_record(file: h5py.File) -> dict[str, Any]:
    text = file.attrs["record"]
    if file.attrs.get("record_crc32", zlib.crc32(text.encode())) != zlib.crc32(text.encode()):
        raise KeyError("its record is not the one that was written")
    return json.loads(text)


@contextmanager
def _opened(path: Path | str, kind: str, *, whole: bool = True) -> Iterator[h5py.File]:
    """Open an artifact of `kind` for reading, or say in one sentence why it is not one.

    `whole`: its bytes are compared with their checksum, which takes reading them all; who wants little of a large file
    does without.
    """
    path = Path(path)
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist; expected {kind}.")
    damage = (
        f"{path} is damaged or was cut short: its bytes are not those that were written. Delete it and run again, "
        "which makes it anew."
    )
    # First of all, as HDF5 may do anything with bytes that are not its own.
    sealed = _is_sealed(path, whole=whole)
    if sealed is False:
        raise ArtifactError(damage)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ArtifactError(
            f"{path} cannot be read as HDF5 ({error}); it was cut short or is no {kind} file. Delete it and run again."
        ) from error
    with file:
        found = file.attrs.get("artifact")
        if found != kind:
            raise ArtifactError(f"{path} holds {found or 'no trazo artifact'}, expected {kind}.")
        if file.attrs.get("format") != FORMAT:
            raise ArtifactError(
                f"{path} has format {file.attrs.get('format')}, this version reads format {FORMAT}; "
                "delete it and run again."
            )
        if file.userblock_size and sealed is None:
            # The checksum itself was hit.
            raise ArtifactError(damage)
        try:
            need_self_contained(file)
        except (LeadsOutError, OverstatedError) as error:
            raise ArtifactError(f"{path} was not written by trazo: {error}; delete it and run again.") from error
        try:
            yield file
        except TrazoError:
            # It is about something else that was read meanwhile, such as a photo.
            raise
        except (KeyError, OSError, RuntimeError, ValueError) as error:
            raise ArtifactError(f"{path} is damaged ({error}); delete it and run again.") from error


def read_record(path: Path | str) -> dict[str, Any]:
    """Return how an artifact was made, reading nothing else of it.

    Parameters
    ----------
    path
        An HDF5 artifact or a `history.json`; the history beside a checkpoint carries the checkpoint's record.

    Raises
    ------
    ArtifactError
        If it is neither.
    """
    path = Path(path)
    if path.suffix == ".json":
        return read_history(path)[0]
    try:
        with h5py.File(path, "r") as file:
            return _get_record(file)
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise ArtifactError(
            f"{path} carries no record ({error}); expected an .h5 artifact or a history.json (a checkpoint's record is "
            "in the history.json beside it)."
        ) from error


def write_images(
    path: Path | str,
    blocks: Iterable[np.ndarray] | StreamedPixels,
    *,
    shape: tuple[int, ...],
    labels: np.ndarray,
    ids: Sequence[str],
    classes: Sequence[str],
    record: dict[str, Any],
    instances: Sequence[str] | None = None,
) -> None:
    """Write `images.h5` from blocks of pixels, so that a whole dataset never has to be in memory.

    Of streamed pixels none are written, but where their files are.

    Parameters
    ----------
    path
        Where to.
    blocks
        Arrays (n, H, W) or (n, H, W, 3) uint8 that add up to `shape`, or all of them streamed.
    shape
        (N, H, W) or (N, H, W, 3).
    labels, ids, classes, record, instances
        As in `Images`.

    Raises
    ------
    ArtifactError
        If the blocks do not add up to `shape`, or there are more or fewer ids or instances than labels.
    """
    with _new_artifact(path, "images", record) as file:
        if isinstance(blocks, StreamedPixels):
            written = _put_streamed(file, blocks)
        else:
            written = _put_blocks(file, path, blocks, shape)
        if written != shape[0]:
            raise ArtifactError(f"{path}: got {written} images, expected {shape[0]}.")
        _put_items(file, path, labels, ids, instances)
        _put_strings(file, "classes", classes)


def _put_blocks(file: _NewArtifact, path: Path | str, blocks: Iterable[np.ndarray], shape: tuple[int, ...]) -> int:
    """Write pixels block by block; return how many images they are."""
    item = int(np.prod(shape[1:]))
    chunk = (max(1, min(shape[0], _CHUNK_BYTES // max(item, 1))), *shape[1:])
    # Line drawings shrink tenfold under LZF, which costs next to no time to undo.
    pixels = file.create_dataset("pixels", shape=shape, dtype="uint8", chunks=chunk, compression="lzf")
    start = 0
    for block in blocks:
        if block.shape[1:] != tuple(shape[1:]) or start + len(block) > shape[0]:
            raise ArtifactError(f"{path}: a block of {block.shape} does not fit images of {shape}.")
        pixels[start : start + len(block)] = block
        file.need_room()
        start += len(block)
    return start


def _put_streamed(file: h5py.File, pixels: StreamedPixels) -> int:
    """Write where the files of streamed pixels are; return how many they are."""
    files = file.create_dataset("files", data=pixels.names, compression="lzf")
    files.attrs.update(source=str(pixels.source), size=pixels.size, channels=pixels.channels, digest=pixels.digest)
    return len(pixels)


def _get_streamed(files: h5py.Dataset) -> StreamedPixels:
    size, channels = int(files.attrs["size"]), int(files.attrs["channels"])
    return StreamedPixels(
        files.attrs["source"], files[:], size=size, channels=channels, digest=str(files.attrs["digest"])
    )


def read_images(path: Path | str, rows: np.ndarray | None = None) -> Images:
    """Read `images.h5`; with `rows` (sorted, unique positions) only those pixels, labels and ids.

    Pixels of a streamed dataset are read when they are asked for, from where its files were as it was built.

    Raises
    ------
    ArtifactError
        If it is missing, damaged or something else.
    """
    with _opened(path, "images", whole=rows is None) as file:
        take = slice(None) if rows is None else np.asarray(rows)
        ids = np.array(_get_strings(file, "ids"), dtype=object)[take]
        instances = _get_instances(file)
        if "files" in file:
            streamed = _get_streamed(file["files"])
            pixels: Pixels = streamed if rows is None else streamed.take(take)
        else:
            pixels = file["pixels"][take]
        return Images(
            pixels=pixels,
            labels=file["labels"][:][take],
            ids=[str(i) for i in ids],
            classes=_get_strings(file, "classes"),
            record=_get_record(file),
            instances=None if instances is None else np.array(instances, dtype=object)[take].tolist(),
        )


def read_labels(path: Path | str) -> tuple[np.ndarray, list[str]]:
    """Return (N,) int64 labels and the class names of `images.h5`, reading no pixel.

    Raises
    ------
    ArtifactError
        If it is missing, damaged or something else.
    """
    with _opened(path, "images", whole=False) as file:
        return file["labels"][:], _get_strings(file, "classes")


def read_ids(path: Path | str) -> list[str]:
    """Return the (N,) names of the items of `images.h5`, reading no pixel.

    Raises
    ------
    ArtifactError
        If it is missing, damaged or something else.
    """
    with _opened(path, "images", whole=False) as file:
        return _get_strings(file, "ids")


def read_pixels(path: Path | str, rows: np.ndarray) -> np.ndarray:
    """Return the pixels of some items of `images.h5`, (n, H, W) or (n, H, W, 3) uint8, reading nothing else of it.

    Parameters
    ----------
    path
        The images.
    rows
        (n,) positions, sorted and unique.

    Raises
    ------
    ArtifactError
        If it is missing, damaged or something else.
    InputError
        If an image of a streamed dataset cannot be read.
    """
    with _opened(path, "images") as file:
        return _get_streamed(file["files"])[rows] if "files" in file else file["pixels"][np.asarray(rows)]


def write_features(path: Path | str, features: Features) -> None:
    """Write `features.h5`, whole or not at all.

    Raises
    ------
    ArtifactError
        If there are more or fewer ids or instances than labels.
    """
    with _new_artifact(path, "features", features.record) as file:
        file.create_dataset("values", data=features.values)
        _put_items(file, path, features.labels, features.ids, features.instances)
        _put_strings(file, "classes", features.classes)
        if features.logits is not None:
            file.create_dataset("logits", data=features.logits)
            _put_strings(file, "logit_classes", features.logit_classes)


def read_features(path: Path | str) -> Features:
    """Read `features.h5`.

    Raises
    ------
    ArtifactError
        If it is missing, damaged or something else.
    """
    with _opened(path, "features") as file:
        has_logits = "logits" in file
        return Features(
            values=file["values"][:],
            labels=file["labels"][:],
            ids=_get_strings(file, "ids"),
            classes=_get_strings(file, "classes"),
            logits=file["logits"][:] if has_logits else None,
            logit_classes=_get_strings(file, "logit_classes") if has_logits else [],
            record=_get_record(file),
            instances=_get_instances(file),
        )


# Of the queries of a reducer's codes: an array of their own, the gallery's, or the features as they are.
_OWN, _SAME, _FEATURES = "own", "gallery", "features"


def write_codes(path: Path | str, artifact: CodesArtifact) -> None:
    """Write codes, whole or not at all; queries that are the gallery are written once."""
    with _new_artifact(path, "codes", artifact.record) as file:
        file.create_dataset("rows", data=np.asarray(artifact.rows, dtype=np.int64))
        _put_strings(file, "query_ids", artifact.query_ids)
        _put_strings(file, "gallery_ids", artifact.gallery_ids)
        groups = file.create_group("codes", track_order=True)
        for label, codes in artifact.codes.items():
            group = groups.create_group(label)
            group.create_dataset("gallery", data=codes.gallery)
            group.attrs["queries"] = _FEATURES if codes.queries is None else _OWN
            if codes.queries is codes.gallery:
                group.attrs["queries"] = _SAME
            elif codes.queries is not None:
                group.create_dataset("queries", data=codes.queries)
            group.attrs["record"] = json.dumps(codes.record, sort_keys=True, default=str)


def read_codes(
    path: Path | str,
    labels: Sequence[str] | None = None,
    *,
    query_ids: Sequence[str] | None = None,
    gallery_ids: Sequence[str] | None = None,
) -> CodesArtifact:
    """Read codes.

    Parameters
    ----------
    path
        Where they are.
    labels
        The reducers whose codes are wanted, as paths call them; all of them if left out.
    query_ids, gallery_ids
        Names of the queries and of the whole gallery that the codes are to be of.

    Raises
    ------
    ArtifactError
        If it is missing, damaged or something else, has no codes by a reducer that is asked for, or is of other items.
    """
    with _opened(path, "codes") as file:
        held = list(file["codes"])
        wanted = held if labels is None else list(labels)
        lacking = [label for label in wanted if label not in held]
        if lacking:
            raise ArtifactError(f"{path} holds codes by {', '.join(held)}, not {lacking[0]}; delete it and run again.")
        found = CodesArtifact(
            codes={label: _get_codes(file["codes"][label]) for label in wanted},
            rows=file["rows"][:],
            query_ids=_get_strings(file, "query_ids"),
            gallery_ids=_get_strings(file, "gallery_ids"),
            record=_get_record(file),
        )
    expected = None if gallery_ids is None else [gallery_ids[row] for row in found.rows if row < len(gallery_ids)]
    sides = (("other queries", found.query_ids, query_ids), ("another gallery", found.gallery_ids, expected))
    for what, own, other in sides:
        if other is not None and own != list(other):
            raise ArtifactError(f"{path}: its codes are of {what} than the features; delete it and run again.")
    return found


def _get_codes(group: h5py.Group) -> Codes:
    gallery = group["gallery"][:]
    kept = {_OWN: lambda: group["queries"][:], _SAME: lambda: gallery, _FEATURES: lambda: None}
    return Codes(kept[group.attrs["queries"]](), gallery, json.loads(group.attrs["record"]))


_RANKING_ARRAYS = (
    "values",
    "evaluated",
    "relevant",
    "top_indices",
    "top_distances",
    "query_labels",
    "gallery_labels",
)
_RANKING_STRINGS = ("metrics", "query_ids", "gallery_ids", "classes")


_RANKING_OBJECTS = ("query_objects", "gallery_objects")


def write_ranking(path: Path | str, ranking: RankingArtifact) -> None:
    """Write `ranking.h5`, whole or not at all."""
    with _new_artifact(path, "ranking", ranking.record) as file:
        for name in _RANKING_ARRAYS:
            file.create_dataset(name, data=getattr(ranking, name))
        for name in _RANKING_STRINGS:
            _put_strings(file, name, getattr(ranking, name))
        if ranking.votes is not None:
            file.create_dataset("votes", data=ranking.votes)
            file.create_dataset("vote_counts", data=np.asarray(ranking.vote_counts, dtype=np.int64))
        if ranking.query_objects is not None:
            for name in _RANKING_OBJECTS:
                file.create_dataset(name, data=getattr(ranking, name))


def read_ranking(path: Path | str) -> RankingArtifact:
    """Read `ranking.h5`.

    Raises
    ------
    ArtifactError
        If it is missing, damaged or something else.
    """
    with _opened(path, "ranking") as file:
        arrays = {name: file[name][:] for name in _RANKING_ARRAYS}
        strings = {name: _get_strings(file, name) for name in _RANKING_STRINGS}
        return RankingArtifact(
            **arrays,
            **strings,
            record=_get_record(file),
            votes=file["votes"][:] if "votes" in file else None,
            vote_counts=file["vote_counts"][:].tolist() if "votes" in file else [],
            **{name: file[name][:] for name in _RANKING_OBJECTS if name in file},
        )


def write_map(path: Path | str, drawn: MapArtifact) -> None:
    """Write a map, whole or not at all."""
    with _new_artifact(path, "map", drawn.record) as file:
        file.create_dataset("coordinates", data=np.asarray(drawn.coordinates, dtype=np.float32))
        file.create_dataset("rows", data=np.asarray(drawn.rows, dtype=np.int64))
        file.create_dataset("labels", data=np.asarray(drawn.labels, dtype=np.int64))
        _put_strings(file, "ids", drawn.ids)
        _put_strings(file, "classes", drawn.classes)
        file.attrs["quality"] = json.dumps(drawn.quality)
        file.attrs["title"] = drawn.title


def read_map(path: Path | str) -> MapArtifact:
    """Read a map.

    Raises
    ------
    ArtifactError
        If it is missing, damaged or something else.
    """
    with _opened(path, "map") as file:
        return MapArtifact(
            coordinates=file["coordinates"][:],
            rows=file["rows"][:],
            labels=file["labels"][:],
            ids=_get_strings(file, "ids"),
            classes=_get_strings(file, "classes"),
            quality=json.loads(file.attrs["quality"]),
            title=str(file.attrs["title"]),
            record=_get_record(file),
        )


_FITTED = "fitted reducer"


def write_fitted(path: Path | str, fitted: FittedReducer) -> None:
    """Write a fitted reducer, whole or not at all."""
    with _new_artifact(path, _FITTED, fitted.record) as file:
        file.attrs["name"] = fitted.name
        file.attrs["options"] = json.dumps(fitted.options, sort_keys=True)
        arrays = file.create_group("arrays")
        for name, values in fitted.arrays.items():
            arrays.create_dataset(name, data=values)


def read_fitted(path: Path | str) -> FittedReducer:
    """Read a fitted reducer's name, options and arrays; runs nothing that the file may hold.

    Raises
    ------
    ArtifactError
        If it is missing, damaged or something else.
    """
    with _opened(path, _FITTED) as file:
        saved = dict(file["arrays"])
        if any(not isinstance(part, h5py.Dataset) or part.dtype.hasobject for part in saved.values()):
            raise KeyError("arrays that are not of numbers")
        try:
            options = dict(json.loads(file.attrs["options"]))
        except (TypeError, ValueError) as error:
            raise KeyError("options that are no mapping") from error
        return FittedReducer(
            name=str(file.attrs["name"]),
            options=options,
            arrays={name: np.atleast_1d(part[()]) for name, part in saved.items()},
            record=_get_record(file),
        )


METRIC_COLUMNS = (
    "study",
    "dataset",
    "model",
    "stage",
    "epoch",
    "seed",
    "reducer",
    "size",
    "bits",
    "fold",
    "ranker",
    "distance",
    "metric",
    "class",
    "average",
    "queries",
    "excluded",
    "value",
    "ci_low",
    "ci_high",
    "p_best",
)


def write_metrics(path: Path | str, rows: Iterable[dict[str, Any]]) -> None:
    """Write tidy metrics, one value a row, columns `METRIC_COLUMNS`; a key left out is an empty cell.

    `dataset` names the retrieval (or the split that was classified or mapped), `class` is empty where all classes
    count, and `average` then says whether `value` is the mean over queries or the unweighted mean of the class means.
    `queries` counts the queries behind the value, `excluded` those that had no relevant item and are left out of it.
    Floats are written with all their digits. `p_best` is filled in where a study's metrics are joined: the p value of
    a paired randomisation test against the best method of the retrieval by that metric, over the same queries; empty
    for the best one itself.

    Raises
    ------
    ArtifactError
        If a row has a key that is no column, or a value that is no finite number.
    """
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, METRIC_COLUMNS, lineterminator="\n", restval="")
        writer.writeheader()
        for row in rows:
            unknown = set(row) - set(METRIC_COLUMNS)
            if unknown or not np.isfinite(row["value"]):
                raise ArtifactError(f"{path}: cannot write {row}: unknown columns {unknown} or no finite value.")
            writer.writerow({k: repr(float(v)) if isinstance(v, float | np.floating) else v for k, v in row.items()})


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """Return the rows of a tidy metrics file as `write_metrics` takes them: cells that are empty left out.

    Raises
    ------
    ArtifactError
        If its columns are others, or a value is no number.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != METRIC_COLUMNS:
            raise ArtifactError(f"{path} has the columns {reader.fieldnames}, expected {', '.join(METRIC_COLUMNS)}.")
        try:
            return [{**{k: v for k, v in row.items() if v}, "value": float(row["value"])} for row in reader]
        except (TypeError, ValueError) as error:
            raise ArtifactError(f"{path}, line {reader.line_num}: {error}; delete it and run again.") from error


def read_first_metrics(path: Path | str) -> dict[str, str]:
    """Return the first row of a tidy metrics file: it names what all rows of a ranking are of.

    Raises
    ------
    ArtifactError
        If there is none.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        first = next(csv.DictReader(file), None)
    if first is None:
        raise ArtifactError(f"{path} holds no metric; delete it and run again.")
    return first


def read_overall(path: Path | str, metric: str) -> float | None:
    """Return a metric over all classes and folds from the metrics of one ranking, None where it is not among them.

    Reads no further than to its row.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["metric"] == metric and not row["class"] and not row["fold"]:
                return float(row["value"])
    return None


# What tells the methods of a retrieval apart; seeds and folds are repetitions of one method.
METHOD_COLUMNS = ("model", "stage", "epoch", "reducer", "size", "bits", "ranker", "distance")
SIGNIFICANCE_COLUMNS = (
    "dataset",
    "metric",
    "average",
    *METHOD_COLUMNS,
    *(f"other_{column}" for column in METHOD_COLUMNS),
    "queries",
    "difference",
    "p",
)


def write_significance(path: Path | str, rows: Iterable[dict[str, Any]]) -> None:
    """Write the tests between pairs of methods, columns `SIGNIFICANCE_COLUMNS`.

    `difference` is the mean of the first method minus that of the other; `p` is two-sided.
    """
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, SIGNIFICANCE_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: repr(float(v)) if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def read_significance(path: Path | str) -> list[dict[str, str]]:
    """Return the rows of `significance.csv`, as text.

    Raises
    ------
    ArtifactError
        If its columns are others.
    """
    return _read_columns(path, SIGNIFICANCE_COLUMNS)


# What tells rankings of the same features apart, and their features from others.
AGREEMENT_KEY = ("study", "dataset", "model", "stage", "epoch", "seed", "reducer", "size", "bits", "fold", "distance",
                 "ranker")  # fmt: skip
AGREEMENT_COLUMNS = (
    *AGREEMENT_KEY,
    "k",
    "queries",
    "same",
    "tied",
    "rounded",
    "missed",
    "other_items",
    "distance_error",
    "largest_gap",
    "computes",
    "misses",
)


def write_agreement(path: Path | str, rows: Iterable[dict[str, Any]]) -> None:
    """Write how far rankers' lists are from exact ones, columns `AGREEMENT_COLUMNS`.

    Of `queries`, the first k items of a list are the `same` in the same order, or differ by no more than the order of
    `tied` items or what was `rounded`, or items were `missed`; `distance_error` and `largest_gap` are shares of
    the largest distance in a query's exact list. `computes` and `misses` say in words how the ranker computes
    distances, and why it may miss items.
    """
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, AGREEMENT_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: repr(v) if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def read_agreement(path: Path | str) -> list[dict[str, str]]:
    """Return the rows of `agreement.csv`, as text.

    Raises
    ------
    ArtifactError
        If its columns are others.
    """
    return _read_columns(path, AGREEMENT_COLUMNS)


def _read_columns(path: Path | str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != columns:
            raise ArtifactError(f"{path} has the columns {reader.fieldnames}; delete it and run again.")
        return list(reader)


def write_history(path: Path | str, *, record: dict[str, Any], epochs: Sequence[dict[str, Any]]) -> None:
    """Write a training stage's history: one mapping an epoch, and how the stage was run, as JSON."""
    write_text(path, json.dumps({"record": record, "epochs": list(epochs)}, indent=1, default=str) + "\n")


def read_history(path: Path | str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return (record, epochs) of a training stage.

    Raises
    ------
    ArtifactError
        If the file is missing or damaged.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return content["record"], content["epochs"]
    except (OSError, KeyError, ValueError) as error:
        raise ArtifactError(f"{path} is no training history ({error}); delete it and run again.") from error
