"""Layouts of drawings as strokes. The process that plans a run imports this: OpenCV only where pixels are made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trazo.config import Dataset
from trazo.data.categories import choose
from trazo.data.items import Items, Layout, Mapper, OpenedSource, block_length, registered
from trazo.data.quickdraw import HEADER, Drawings, iter_ndjson, read_bin, scan_bin
from trazo.errors import InputError


@registered("quickdraw")
class QuickdrawLayout(Layout):
    """A folder of `<category>.bin` or simplified `<category>.ndjson` files, or one such file.

    Where a category has both, the .bin file is read. The prefixes `full_binary_` and `full_simplified_`, under which
    the files are also handed on, are no part of the category.
    """

    keys = frozenset({"recognized_only"})

    def available(self, source: Path, dataset: Dataset) -> list[str]:
        """Return the categories that have a file, sorted."""
        return sorted(self._files(source, dataset))

    def source_files(self, source: Path, dataset: Dataset) -> list[Path]:
        """Return the files of the dataset's categories."""
        files = self._files(source, dataset)
        return [files[name] for name in choose(dataset.categories, files)]

    def _files(self, source: Path, dataset: Dataset) -> dict[str, Path]:
        self.check(dataset)
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
    def opened(self, source: Path, dataset: Dataset, split: str) -> Iterator[OpenedSource]:
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
        block = block_length(self.dataset)

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
