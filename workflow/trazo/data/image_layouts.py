"""Layouts of image files, in a folder or a zip archive that is read in place.

The process that plans a run imports this module, so Pillow is imported only where pixels are made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np

from trazo.config import Dataset
from trazo.data.archives import Archive, ArchiveError, clean_folder, open_archive
from trazo.data.items import Items, Layout, Mapper, OpenedSource, UnreadableItemsError, block_length, registered
from trazo.data.splits import text_keys
from trazo.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm")
_MOST_PHOTOS = 32


@registered("folders")
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
        length = min(_MOST_PHOTOS, block_length(self._dataset))
        jobs = (self._names[start : start + length] for start in range(0, len(self), length))
        for images, reasons in mapper(decoded, jobs):
            unreadable.update(reasons)
            if images:
                yield np.stack(images)
        if unreadable:
            raise UnreadableItemsError(unreadable)
