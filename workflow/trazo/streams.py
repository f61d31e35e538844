"""Pixels that are not in memory: image files, decoded when they are asked for, and forgotten.

To whoever takes rows of them they are an array. Who decodes ahead, in processes of their own, is `trazo.loading`. The
process that plans a run imports this module, so Pillow is imported only where pixels are made.
"""

from __future__ import annotations

import hashlib
import warnings
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from trazo.archives import Archive, ArchiveError, open_archive
from trazo.errors import InputError

_BLOCK = 64


class LazyPixels(ABC):
    """(N, H, W) grey or (N, H, W, 3) RGB uint8 pixels of which only the rows asked for are made.

    Attributes
    ----------
    shape, ndim, dtype
        As of an array.
    digest
        Stands for all pixels, as far as it is known without decoding them.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, shape: tuple[int, ...], digest: str) -> None:
        self.shape = shape
        self.digest = digest

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Return the pixels of rows, which are given as of an array: a number, a slice, numbers, or a mask.

        Raises
        ------
        InputError
            If one cannot be read; the message names it.
        """
        chosen = np.arange(len(self))[rows]
        return self._read(chosen) if chosen.ndim else self._read(chosen[None])[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self), _BLOCK):
            yield from self[start : start + _BLOCK]

    def __array__(self, *arguments: Any, **options: Any) -> NoReturn:
        """Refuse: NumPy would decode all of them into memory."""
        raise TypeError("streamed pixels are not held in memory; take rows of them.")

    def take(self, rows: np.ndarray, axis: int = 0) -> LazyPixels:
        """Return the pixels of (n,) int64 rows, as lazy as these; `axis` is 0 and there for being NumPy's `take`."""
        if axis:
            raise ValueError(f"axis {axis}: rows are taken of axis 0.")
        rows = np.asarray(rows, dtype=np.int64)
        return self._taken(rows, hashlib.sha256(self.digest.encode() + rows.tobytes()).hexdigest()[:16])

    @abstractmethod
    def _read(self, rows: np.ndarray) -> np.ndarray:
        """Return the pixels of (n,) int64 rows."""

    @abstractmethod
    def _taken(self, rows: np.ndarray, digest: str) -> LazyPixels:
        """Return rows of them as lazy pixels."""


class StreamedPixels(LazyPixels):
    """Image files in a folder or a zip archive, decoded by `trazo.decode.decode_image`.

    Parameters
    ----------
    source
        The folder or archive. It is opened when the first pixels are asked for, once in every process.
    names
        Names of the files in it, as `Archive.read` takes them.
    size, channels
        What they are decoded to: side in pixels; 1 for grey, 3 for RGB.
    digest
        As of `LazyPixels`.
    """

    def __init__(self, source: Path | str, names: Sequence[str] | np.ndarray, *, size: int, channels: int, digest: str):
        # A million names as bytes are a third of what they are as texts, and are handed to a process in no time.
        self.names = names if isinstance(names, np.ndarray) else np.array([name.encode() for name in names], dtype="S")
        super().__init__((len(names), size, size, *((3,) if channels == 3 else ())), digest)
        self.source = Path(source)
        self.size = size
        self.channels = channels
        self._archive: Archive | None = None

    def __getstate__(self) -> dict[str, Any]:
        # An open archive cannot go to another process, and need not.
        return {**self.__dict__, "_archive": None}

    def _read(self, rows: np.ndarray) -> np.ndarray:
        from trazo.decode import UnreadableImageError, decode_image

        if self._archive is None:
            self._archive = open_archive(self.source)
        pixels = np.empty((len(rows), *self.shape[1:]), np.uint8)
        with warnings.catch_warnings():
            # Pillow warns of odd metadata, which decide nothing here but the orientation.
            warnings.simplefilter("ignore")
            for place, name in zip(pixels, self.names[rows].tolist()):
                try:
                    content = self._archive.read(name.decode())
                    place[:] = decode_image(content, size=self.size, channels=self.channels)
                except (ArchiveError, UnreadableImageError) as error:
                    raise InputError(
                        f"{name.decode()} of {self.source} cannot be read: {str(error).rstrip('.')}. Replace or remove "
                        "it, and run again."
                    ) from error
        return pixels

    def _taken(self, rows: np.ndarray, digest: str) -> StreamedPixels:
        return StreamedPixels(self.source, self.names[rows], size=self.size, channels=self.channels, digest=digest)


class JoinedPixels(LazyPixels):
    """Several sets of pixels as one: the rows of the second come after those of the first, and so on.

    Grey ones become colour beside colour, repeated three times.

    Attributes
    ----------
    parts
        The sets, arrays or lazy.
    bounds
        (len(parts) + 1,) int64; part i has the rows from `bounds[i]` to before `bounds[i + 1]`.

    Raises
    ------
    InputError
        If their images differ in height or width.
    """

    def __init__(self, parts: Sequence[np.ndarray | LazyPixels]) -> None:
        sides = [part.shape[1:3] for part in parts]
        if len(set(sides)) > 1:
            words = " and ".join(f"{height}×{width}" for height, width in sides)
            raise InputError(f"images of {words} pixels cannot be joined; give the datasets the same `size`.")
        self.parts = list(parts)
        self.bounds = np.cumsum([0, *map(len, parts)])
        colours = (3,) if any(len(part.shape) == 4 for part in parts) else ()
        digests = "".join(digest_of(part) for part in parts)
        super().__init__((int(self.bounds[-1]), *sides[0], *colours), hashlib.sha256(digests.encode()).hexdigest()[:16])

    def shares(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return for each part a (n,) bool mask of the rows that are its own."""
        return [(rows >= low) & (rows < high) for low, high in pairwise(self.bounds)]

    def _read(self, rows: np.ndarray) -> np.ndarray:
        pixels = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for part, low, own in zip(self.parts, self.bounds, self.shares(rows)):
            if own.any():
                block = part[rows[own] - low]
                pixels[own] = block if block.ndim == self.ndim else block[..., None]
        return pixels

    def _taken(self, rows: np.ndarray, digest: str) -> LazyPixels:
        if (np.diff(rows) < 0).any():
            raise ValueError("rows of joined pixels are taken in ascending order.")
        shares = zip(self.parts, self.bounds, self.shares(rows))
        return JoinedPixels([part.take(rows[own] - low, axis=0) for part, low, own in shares])


Pixels = np.ndarray | LazyPixels


def digest_of(pixels: Pixels) -> str:
    """Return hexadecimal digits that stand for pixels; streamed ones are not decoded for it."""
    if isinstance(pixels, LazyPixels):
        return pixels.digest
    return f"{zlib.crc32(np.ascontiguousarray(pixels)):08x}"
