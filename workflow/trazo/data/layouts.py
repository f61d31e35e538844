"""Dataset layouts by name: which classes a source has, which items a class has, and how items become pixels.

The process that plans a run imports this module, so OpenCV and Pillow are imported only where pixels are made.
Which items go to which split is decided in `trazo.data.splits`; `trazo.data.images` puts all of it together.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np

from trazo.config import Dataset
from trazo.data.archives import Archive, ArchiveError, clean_folder, open_archive
from trazo.data.categories import choose
from trazo.data.quickdraw import HEADER, Drawings, iter_ndjson, read_bin, scan_bin
from trazo.data.splits import text_keys
from trazo.errors import InputError
from trazo.registry import Registry

T = TypeVar("T")
R = TypeVar("R")
Mapper = Callable[[Callable[[T], R], Iterable[T]], Iterator[R]]
"""The shape of `map`: applies a function to each of many jobs, in order; possibly in several threads."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm")
_BLOCK_BYTES = 16 << 20
_MOST_BLOCK = 512
_MOST_PHOTOS = 32


class Items(ABC):
    """Items of one class, in the order of their source.

    Attributes
    ----------
    keys
        (n,) uint64 numbers that tell the items of the class apart, and stay theirs when others come or go.
    """

    keys: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    @abstractmethod
    def select(self, positions: np.ndarray) -> Items:
        """Return the items at `positions`."""

    @abstractmethod
    def ids(self) -> list[str]:
        """Return the names of the items, unique in their dataset."""

    @abstractmethod
    def pixels(self, mapper: Mapper) -> Iterator[np.ndarray]:
        """Yield the items' pixels in order, in blocks (b, size, size) or (b, size, size, 3) uint8.

        Parameters
        ----------
        mapper
            How independent blocks or images are worked through.

        Raises
        ------
        UnreadableItemsError
            After all items of the class were tried, if some cannot be read.
        """


class UnreadableItemsError(InputError):
    """Items that cannot be read.

    Attributes
    ----------
    reasons
        Why, by name.
    """

    def __init__(self, reasons: dict[str, str]) -> None:
        super().__init__(f"{len(reasons)} items cannot be read")
        self.reasons = reasons


@dataclass(frozen=True)
class OpenedSource:
    """A source that is open for reading.

    Attributes
    ----------
    classes
        Names of the classes it has, sorted.
    items
        Gives the usable items of a class by its name.
    """

    classes: list[str]
    items: Callable[[str], Items]


class Layout(ABC):
    """How raw data are laid out in a folder, a file or an archive."""

    @abstractmethod
    def available(self, source: Path, dataset: Dataset) -> list[str]:
        """Return the names of the classes a source has, sorted.

        Raises
        ------
        InputError
            If the source does not exist, is not laid out so, or the dataset asks for what the layout has not.
        """

    @abstractmethod
    def source_files(self, source: Path, dataset: Dataset) -> list[Path]:
        """Return the files, or the folder, that building the dataset reads: when they change, it is stale."""

    def listing_digest(self, source: Path, dataset: Dataset) -> str:
        """Return what stands for the state of a folder in `source_files`; "" where the files tell it themselves."""
        return ""

    @abstractmethod
    def opened(self, source: Path, dataset: Dataset) -> AbstractContextManager[OpenedSource]:
        """Open a source for the time of a `with` block."""


layouts: Registry[Layout] = Registry("layout")
"""Dataset layouts by name."""


def _registered(name: str) -> Callable[[type[Layout]], type[Layout]]:
    def keep(kind: type[Layout]) -> type[Layout]:
        layouts.register(name)(kind())
        return kind

    return keep


# --- Quick, Draw! -----------------------------------------------------------------------------------------------------


@_registered("quickdraw")
class QuickdrawLayout(Layout):
    """A folder of `<category>.bin` or simplified `<category>.ndjson` files, or one such file.

    Where a category has both, the .bin file is read. The prefixes `full_binary_` and `full_simplified_`, under which
    the files are also handed on, are no part of the category.
    """

    def available(self, source: Path, dataset: Dataset) -> list[str]:
        """Return the categories that have a file, sorted."""
        return sorted(self._files(source, dataset))

    def source_files(self, source: Path, dataset: Dataset) -> list[Path]:
        """Return the files of the dataset's categories."""
        files = self._files(source, dataset)
        return [files[name] for name in choose(dataset.categories, files)]

    def _files(self, source: Path, dataset: Dataset) -> dict[str, Path]:
        if dataset.folder:
            raise InputError(
                f"folder: {dataset.folder!r} has no meaning for layout `quickdraw`; let the source name the folder of "
                "the .bin files itself."
            )
        if not source.exists():
            raise InputError(f"{source} does not exist; expected a folder of .bin or .ndjson files, or one of them.")
        candidates = sorted(source.iterdir()) if source.is_dir() else [source]
        files: dict[str, Path] = {}
        for suffix in (".ndjson", ".bin"):
            for file in candidates:
                if file.suffix.lower() == suffix and not file.name.startswith(".") and file.is_file():
                    files[re.sub(r"^full_(simplified|binary)_", "", file.stem)] = file
        if not files:
            raise InputError(
                f"{source} has no Quick, Draw! drawings: expected files named `<category>.bin` or `<category>.ndjson`; "
                "for images use layout: folders."
            )
        return files

    @contextmanager
    def opened(self, source: Path, dataset: Dataset) -> Iterator[OpenedSource]:
        """Open a folder of drawings."""
        files = self._files(source, dataset)

        def items(name: str) -> Items:
            file = files[name]
            if file.suffix.lower() == ".bin":
                heads = _read_heads(file)
                key_ids, recognized = heads["key_id"], heads["recognized"] != 0
            else:
                columns = [(block.key_id, block.recognized) for block in iter_ndjson(file)]
                key_ids, recognized = (np.concatenate(column) for column in zip(*columns))
            records = np.flatnonzero(recognized) if dataset.recognized_only else np.arange(len(key_ids))
            return Sketches(name, file, dataset, records, key_ids[records])

        yield OpenedSource(sorted(files), items)


def _read_heads(file: Path) -> np.ndarray:
    """Return the (N,) heads of the records of a .bin file, no stroke decoded."""
    starts = scan_bin(file)[:-1]
    raw = np.memmap(file, dtype=np.uint8, mode="r")
    return raw[starts[:, None] + np.arange(HEADER.itemsize)].view(HEADER)[:, 0]


@dataclass(frozen=True)
class Sketches(Items):
    """Drawings of one file, by the numbers of their records."""

    name: str
    file: Path
    dataset: Dataset
    records: np.ndarray
    key_ids: np.ndarray

    @property
    def keys(self) -> np.ndarray:  # type: ignore[override]
        """(n,) uint64 record numbers: identifiers may repeat in a file."""
        return self.records.astype(np.uint64)

    def select(self, positions: np.ndarray) -> Sketches:
        """Return the drawings at `positions`."""
        return Sketches(self.name, self.file, self.dataset, self.records[positions], self.key_ids[positions])

    def ids(self) -> list[str]:
        """Return `<category>/<record number>-<identifier>` of each drawing."""
        return [f"{self.name}/{record}-{key}" for record, key in zip(self.records.tolist(), self.key_ids.tolist())]

    def pixels(self, mapper: Mapper) -> Iterator[np.ndarray]:
        """Yield the drawings' pixels in blocks."""
        from trazo.data.raster import RasterOptions, rasterise

        options = RasterOptions(size=self.dataset.size, **self.dataset.raster.model_dump())
        drawings = self._drawings()
        block = _block_length(self.dataset)

        def drawn(start: int) -> np.ndarray:
            images = rasterise(drawings.select(slice(start, start + block)), options)
            if self.dataset.channels == 1:
                return images
            return np.repeat(images[..., None], self.dataset.channels, axis=3)

        yield from mapper(drawn, range(0, len(self), block))

    def _drawings(self) -> Drawings:
        if self.file.suffix.lower() == ".bin":
            return read_bin(self.file, records=self.records)
        parts = []
        first = 0
        for part in iter_ndjson(self.file):
            low, high = np.searchsorted(self.records, [first, first + len(part)])
            parts.append(part.select(self.records[low:high] - first))
            first += len(part)
        return Drawings.concatenate(parts)


def _block_length(dataset: Dataset) -> int:
    return max(1, min(_MOST_BLOCK, _BLOCK_BYTES // (dataset.size**2 * dataset.channels)))


# --- Folders of images ------------------------------------------------------------------------------------------------


@_registered("folders")
class FoldersLayout(Layout):
    """`<folder>/<class>/<image>` in a folder or a zip archive, read in place.

    Images that lie deeper below a class count as its own; files that are no images by name are passed over, and so
    are images that lie in no class.
    """

    def available(self, source: Path, dataset: Dataset) -> list[str]:
        """Return the classes that have an image, sorted."""
        self._check(dataset)
        if source.is_file():
            status = source.stat()
            return list(self._available_in(source, (status.st_mtime_ns, status.st_size), dataset.folder))
        with self._open(source, dataset) as archive:
            return sorted(_by_class(archive, dataset.folder))

    @staticmethod
    @cache
    def _available_in(source: Path, stamp: tuple[int, int], folder: str) -> tuple[str, ...]:
        # Planning asks again for every job, and listing an archive of 20,000 images takes a third of a second.
        with open_archive(source, folder) as archive:
            return tuple(sorted(_by_class(archive, folder)))

    def source_files(self, source: Path, dataset: Dataset) -> list[Path]:
        """Return the source itself: the archive or the folder."""
        if not source.exists():
            raise ArchiveError(f"{source} does not exist; expected a folder or a zip archive.")
        return [source]

    def listing_digest(self, source: Path, dataset: Dataset) -> str:
        """Return a digest of the names, sizes and times of a folder's images; "" for an archive."""
        if not source.is_dir():
            return ""
        total = hashlib.sha256()
        with self._open(source, dataset) as archive:
            for names in _by_class(archive, dataset.folder).values():
                for name in names:
                    total.update(f"{name}\0{archive.stamp(name)}\n".encode("utf-8", "surrogateescape"))
        return total.hexdigest()[:16]

    def _check(self, dataset: Dataset) -> None:
        if dataset.recognized_only:
            raise InputError("recognized_only: true has no meaning for layout `folders`; leave it out.")

    def _open(self, source: Path, dataset: Dataset) -> Archive:
        self._check(dataset)
        return open_archive(source, dataset.folder)

    @contextmanager
    def opened(self, source: Path, dataset: Dataset) -> Iterator[OpenedSource]:
        """Open a folder or archive of images."""
        with self._open(source, dataset) as archive:
            classes = _by_class(archive, dataset.folder)
            yield OpenedSource(sorted(classes), lambda name: Photos(name, archive, dataset, classes[name]))


def _by_class(archive: Archive, folder: str) -> dict[str, list[str]]:
    """Return the names of the images of every class, both sorted."""
    depth = len(PurePosixPath(clean_folder(folder)).parts)
    classes: dict[str, list[str]] = {}
    loose = 0
    for name in archive.names():
        if not name.lower().endswith(IMAGE_SUFFIXES):
            continue
        parts = name.split("/")
        if len(parts) < depth + 2:
            loose += 1
            continue
        classes.setdefault(parts[depth], []).append(name)
    if not classes:
        where = f"folder {folder!r} of {archive.path}" if folder else str(archive.path)
        found = f"it has {loose} images, but in no folder of a class" if loose else "it has no images"
        raise ArchiveError(
            f"{where}: {found}; expected `<class>/<image>`. If the classes lie deeper, name that folder as `folder`."
        )
    for name in (n for names in classes.values() for n in names):
        try:
            name.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ArchiveError(f"{archive.path}: the name {name!r} is no UTF-8; rename the file.") from error
    return classes


class Photos(Items):
    """Image files of one class, by name."""

    def __init__(self, name: str, archive: Archive, dataset: Dataset, names: list[str]) -> None:
        self._name = name
        self._archive = archive
        self._dataset = dataset
        self._names = names
        # Names from the class down: the same images give the same splits wherever they were put.
        within = f"{clean_folder(dataset.folder)}/{name}/".lstrip("/")
        self.keys = text_keys(item.removeprefix(within) for item in names)

    def select(self, positions: np.ndarray) -> Photos:
        """Return the images at `positions`."""
        return Photos(self._name, self._archive, self._dataset, [self._names[i] for i in positions.tolist()])

    def ids(self) -> list[str]:
        """Return the paths of the images inside their source."""
        return list(self._names)

    def pixels(self, mapper: Mapper) -> Iterator[np.ndarray]:
        """Yield the images' pixels in blocks."""
        from trazo.data.decode import UnreadableImageError, decode_image

        size, channels = self._dataset.size, self._dataset.channels

        def decoded(names: list[str]) -> tuple[list[np.ndarray], dict[str, str]]:
            images: list[np.ndarray] = []
            reasons: dict[str, str] = {}
            for name in names:
                try:
                    images.append(decode_image(self._archive.read(name), size=size, channels=channels))
                except (ArchiveError, UnreadableImageError) as error:
                    reasons[name] = str(error)
            return images, reasons

        unreadable: dict[str, str] = {}
        length = min(_MOST_PHOTOS, _block_length(self._dataset))
        jobs = (self._names[start : start + length] for start in range(0, len(self), length))
        for images, reasons in mapper(decoded, jobs):
            unreadable.update(reasons)
            if images:
                yield np.stack(images)
        if unreadable:
            raise UnreadableItemsError(unreadable)


def source_words(source: Path) -> str:
    """Return what a source is, naming no folder of this machine."""
    return f"{'folder' if source.is_dir() else 'file'} {source.resolve().name}"
