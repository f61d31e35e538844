"""What a layout is: which classes a source has, which items a class has, and how items become pixels.

The layouts themselves stand in `drawing_layouts` and `image_layouts`, and are found by name in `trazo.data.layouts`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

import numpy as np

from trazo.config import Dataset
from trazo.errors import InputError
from trazo.registry import Registry

T = TypeVar("T")
R = TypeVar("R")
Mapper = Callable[[Callable[[T], R], Iterable[T]], Iterator[R]]
"""The shape of `map`: applies a function to each of many jobs, in order; possibly in several threads."""

_PARTICULAR = ("folder", "lists", "class_pattern", "rename", "instance", "stream", "recognized_only")
"""Keys of a dataset that only some layouts understand."""

_BLOCK_BYTES = 16 << 20
_MOST_BLOCK = 512
_MOST_NAMED = 5


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

    def stamps(self) -> list[tuple[int, int]]:
        """Return of every item's file its size in bytes, and its time of change or checksum.

        Raises
        ------
        InputError
            If the items are not a file each.
        UnreadableItemsError
            If a file is not there, or empty.
        """
        raise InputError("stream: the items are no files of their own, and cannot be streamed; leave it out.")

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


class OverlapError(InputError):
    """Items that are in several splits of a dataset; the message names the first of them."""

    def __init__(self, overlaps: list[list[tuple[str, str]]]) -> None:
        named = [" = ".join(f"{name} ({split})" for split, name in places) for places in overlaps[:_MOST_NAMED]]
        count = "1 image is" if len(overlaps) == 1 else f"{len(overlaps)} images are"
        more = f"; and {len(overlaps) - _MOST_NAMED} more" if len(overlaps) > _MOST_NAMED else ""
        super().__init__(
            f"{count} in more than one split: {'; '.join(named)}{more}. What a network learned from cannot test it: "
            "remove each from all splits but one, or name the images to use in lists of your own (layout: listed)."
        )


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
    """How raw data are laid out in a folder, a file or an archive.

    Attributes
    ----------
    name
        The name it is registered under.
    keys
        Those keys of a dataset that it understands and some other layouts do not.
    gives_splits
        Whether the source itself says which item is in which split.
    """

    name: ClassVar[str]
    keys: ClassVar[frozenset[str]] = frozenset()
    gives_splits: ClassVar[bool] = False

    def check(self, dataset: Dataset) -> None:
        """Refuse a dataset that asks for what the layout has not; looks at no file.

        Raises
        ------
        InputError
            If a key has no meaning for the layout, or a split asks for `all` or `rest` where there is no such thing.
        """
        for key in _PARTICULAR:
            default = Dataset.model_fields[key].get_default(call_default_factory=True)
            if key not in self.keys and getattr(dataset, key) != default:
                others = ", ".join(name for name in layouts.names() if key in layouts.get(name).keys)
                raise InputError(f"{key}: it has no meaning for layout `{self.name}`, only for {others}; leave it out.")
        for split, count in dataset.split.items():
            if count == "all" and not self.gives_splits:
                raise InputError(
                    f"split.{split}: `all` is for sources that say themselves what is in which split, and layout "
                    f"`{self.name}` has none; write `rest` for all that the other splits leave, or a number a class."
                )
            if count == "rest" and self.gives_splits:
                raise InputError(
                    f"split.{split}: `rest` is what other splits leave, and in layout `{self.name}` every split has "
                    "its own items; write `all` for all of them, or a number a class."
                )

    def dealt(self, dataset: Dataset, split: str) -> dict[str, int | Literal["rest"]]:
        """Return the splits that share one stock of items with `split`, itself included, and what each takes of it."""
        stock = {split: dataset.split[split]} if self.gives_splits else dataset.split
        return {name: "rest" if count == "all" else count for name, count in stock.items()}

    @abstractmethod
    def available(self, source: Path, dataset: Dataset) -> list[str]:
        """Return the names of the classes a source has, sorted.

        Raises
        ------
        InputError
            If the source does not exist, is not laid out so, or the dataset asks for what the layout has not.
        """

    def counts(self, source: Path, dataset: Dataset) -> dict[str, dict[str, int]] | None:
        """Return how many items each class has by split, where the source gives the splits; None where it does not."""
        return None

    @abstractmethod
    def source_files(self, source: Path, dataset: Dataset) -> list[Path]:
        """Return the files that building the dataset reads: when they change, it is stale."""

    def listing_digest(self, source: Path, dataset: Dataset, split: str | None = None) -> str:
        """Return what stands for the source as far as `source_files` do not tell it; "" where they do.

        Parameters
        ----------
        source, dataset
            The source, and the settings.
        split
            Only as far as this split depends on it; None: all of them.
        """
        return ""

    def distant_digest(self, dataset: Dataset, split: str | None = None) -> str:
        """Return what stands for files on disk that say what is taken of an archive still to be downloaded; "": none.

        It is the same once the archive is there. `split` as of `listing_digest`.
        """
        return ""

    @abstractmethod
    def opened(self, source: Path, dataset: Dataset, split: str) -> AbstractContextManager[OpenedSource]:
        """Open a source for the time of a `with` block; its items are those that `split` may take."""

    def overlaps(self, source: Path, dataset: Dataset) -> list[list[tuple[str, str]]]:
        """Return the items that several given splits share: for each, its places as (split, name)."""
        return []


layouts: Registry[Layout] = Registry("layout")
"""Dataset layouts by name."""


def registered(name: str) -> Callable[[type[Layout]], type[Layout]]:
    """Return a decorator that registers a layout under `name`."""

    def keep(kind: type[Layout]) -> type[Layout]:
        kind.name = name
        layouts.register(name)(kind())
        return kind

    return keep


def block_length(dataset: Dataset) -> int:
    """Return how many images are made pixels of at a time, so that a block stays small in memory."""
    return max(1, min(_MOST_BLOCK, _BLOCK_BYTES // (dataset.size**2 * dataset.channels)))
