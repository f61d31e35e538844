"""What a layout is: which classes a source has, which items a class has, and how items become pixels.

The layouts themselves stand in `drawing_layouts` and `image_layouts`, and are found by name in `trazo.data.layouts`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from trazo.config import Dataset
from trazo.errors import InputError
from trazo.registry import Registry

T = TypeVar("T")
R = TypeVar("R")
Mapper = Callable[[Callable[[T], R], Iterable[T]], Iterator[R]]
"""The shape of `map`: applies a function to each of many jobs, in order; possibly in several threads."""

_BLOCK_BYTES = 16 << 20
_MOST_BLOCK = 512


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


def registered(name: str) -> Callable[[type[Layout]], type[Layout]]:
    """Return a decorator that registers a layout under `name`."""

    def keep(kind: type[Layout]) -> type[Layout]:
        layouts.register(name)(kind())
        return kind

    return keep


def block_length(dataset: Dataset) -> int:
    """Return how many images are made pixels of at a time, so that a block stays small in memory."""
    return max(1, min(_MOST_BLOCK, _BLOCK_BYTES // (dataset.size**2 * dataset.channels)))
