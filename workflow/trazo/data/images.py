"""One split of a dataset into `images.h5`: choose the classes, deal out the items, make pixels block by block."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trazo.config import Dataset
from trazo.data.categories import choose
from trazo.data.instances import instance_names
from trazo.data.items import Items, Mapper, OverlapError, UnreadableItemsError
from trazo.data.layouts import layouts, source_words
from trazo.data.splits import SplitError, split_positions
from trazo.errors import InputError
from trazo.provenance import describe, digest
from trazo.registry import unknown_name
from trazo.store import write_images
from trazo.streams import StreamedPixels

_MOST_NAMED = 50


class UnreadableImagesError(InputError):
    """Images of a source that cannot be read; the message lists them by name."""


def build_images(
    *,
    source: Path,
    dataset_name: str,
    dataset: Dataset,
    split: str,
    output: Path,
    code: str,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the images of one split, class by class in label order, in memory that does not grow with their number.

    Of a dataset with `stream` no pixels are made: what is written is where its files are.

    Parameters
    ----------
    source
        Folder, file or archive that holds the raw data, laid out as `dataset.layout` says.
    dataset_name
        The dataset's name, for the record and for messages.
    dataset
        Its settings.
    split
        Which of its splits.
    output
        Where `images.h5` goes.
    code
        Fingerprint of the step's code.
    threads
        Threads that draw or decode. The result does not depend on it.
    progress
        Called with the number of images done and of all images.

    Raises
    ------
    InputError
        If the source is not laid out so, has not the classes, or too few items for the splits; or if `instance` does
        not fit a file's name.
    OverlapError
        If `split` is given by the source, and has items in common with another given split of the dataset.
    UnreadableImagesError
        If images cannot be read. All are tried before. Of streamed ones it is known here that they are there and not
        empty; one that cannot be decoded is named when it is read.
    CorruptSourceError
        If a file of drawings is damaged.
    """
    started = time.perf_counter()
    if split not in dataset.split:
        raise InputError(f"dataset {dataset_name!r}: {unknown_name('split', split, dataset.split)}")
    layout = layouts.get(dataset.layout)
    if overlaps := layout.overlaps(source, dataset):
        raise OverlapError(overlaps)
    with layout.opened(source, dataset, split) as opened, _mapper(threads) as mapper, warnings.catch_warnings():
        # Pillow warns of odd metadata, which decide nothing here but the orientation.
        warnings.simplefilter("ignore")
        classes = choose(dataset.categories, opened.classes)
        shares = layout.dealt(dataset, split)
        chosen, available = _deal(opened.items, classes, dataset_name, dataset, split, shares)
        total = sum(len(items) for items in chosen)
        labels = np.repeat(np.arange(len(classes)), [len(items) for items in chosen])
        ids = [name for items in chosen for name in items.ids()]
        # Names that do not fit are told before the first of many pixels is made.
        instances = _instances(ids, labels, classes, dataset_name, dataset)
        settings = {
            "key": {"dataset": dataset_name, "split": split},
            "source": source_words(source),
            "classes": classes,
            "available": available,
            "dataset": dataset.model_dump(mode="json"),
        }
        record = describe("images", settings=settings, code=code, images=total, threads=threads)

        def finish() -> None:
            seconds = time.perf_counter() - started
            record["figures"].update(seconds=seconds, items_per_second=total / seconds)

        def blocks() -> Iterator[np.ndarray]:
            yield from _pixels(chosen, source, total, mapper, progress)
            # The record is written after the last block, when the time is known.
            finish()

        if dataset.stream:
            pixels: Iterator[np.ndarray] | StreamedPixels = _streamed(chosen, source, dataset, total, progress)
            finish()
        else:
            pixels = blocks()
        write_images(
            output,
            pixels,
            shape=(total, dataset.size, dataset.size, *((3,) if dataset.channels == 3 else ())),
            labels=labels,
            ids=ids,
            classes=classes,
            record=record,
            instances=instances,
        )


def split_instances(*, source: Path, dataset_name: str, dataset: Dataset, split: str) -> list[str] | None:
    """Return the names of the objects that the images of a split show, as `build_images` writes them; no pixel is made.

    Parameters
    ----------
    source, dataset_name, dataset, split
        As in `build_images`.

    Returns
    -------
    list of str or None
        (N,) names, in the order of the images; None if the dataset has no `instance`.

    Raises
    ------
    InputError
        If the source is not laid out so, has not the classes or too few items, or a file's name does not fit.
    """
    if dataset.instance is None:
        return None
    layout = layouts.get(dataset.layout)
    with layout.opened(source, dataset, split) as opened:
        classes = choose(dataset.categories, opened.classes)
        chosen, _ = _deal(opened.items, classes, dataset_name, dataset, split, layout.dealt(dataset, split))
        labels = np.repeat(np.arange(len(classes)), [len(items) for items in chosen])
        return _instances([name for items in chosen for name in items.ids()], labels, classes, dataset_name, dataset)


def _instances(
    ids: list[str], labels: np.ndarray, classes: list[str], dataset_name: str, dataset: Dataset
) -> list[str] | None:
    """Return the names of the objects that images show, None if the dataset does not say how they are named."""
    if dataset.instance is None:
        return None
    try:
        return instance_names(ids, [classes[label] for label in labels.tolist()], dataset.instance)
    except InputError as error:
        raise InputError(f"dataset {dataset_name!r}: {error}") from error


def _deal(
    items_of: Callable[[str], Items],
    classes: list[str],
    dataset_name: str,
    dataset: Dataset,
    split: str,
    shares: Mapping[str, int | Literal["rest"]],
) -> tuple[list[Items], dict[str, int]]:
    """Return the chosen items of every class, and how many items each class has."""
    chosen: list[Items] = []
    available: dict[str, int] = {}
    short: list[str] = []
    for name in classes:
        items = items_of(name)
        available[name] = len(items)
        try:
            positions = split_positions(items.keys, shares, seed=dataset.seed, name=name)[split]
        except SplitError as error:
            short.append(str(error))
            continue
        chosen.append(items.select(positions))
    if short:
        kind = "recognized items" if dataset.recognized_only else "items"
        fewest = min(available.values())
        raise SplitError(
            f"dataset {dataset_name!r}: too few {kind} in {len(short)} of {len(classes)} classes: "
            f"{_listed(short, ' ')} Every class has at least {fewest}; ask for less in `split`, or leave these "
            "classes out."
        )
    return chosen, available


def _pixels(
    chosen: list[Items],
    source: Path,
    total: int,
    mapper: Mapper,
    progress: Callable[[int, int], None] | None,
) -> Iterator[np.ndarray]:
    """Yield the pixels of all chosen items; what cannot be read is an error once everything was tried."""
    done = 0
    reasons: dict[str, str] = {}
    for items in chosen:
        try:
            for block in items.pixels(mapper):
                yield block
                done += len(block)
                if progress is not None:
                    progress(done, total)
        except UnreadableItemsError as error:
            reasons.update(error.reasons)
    _need_readable(reasons, total, source)


def _streamed(
    chosen: list[Items], source: Path, dataset: Dataset, total: int, progress: Callable[[int, int], None] | None
) -> StreamedPixels:
    """Return the pixels of all chosen items as files to be decoded later; one that is missing or empty is an error."""
    names: list[str] = []
    stamps: list[tuple[int, int]] = []
    reasons: dict[str, str] = {}
    for items in chosen:
        try:
            stamps += items.stamps()
        except UnreadableItemsError as error:
            reasons.update(error.reasons)
        # The id of an item that is a file is the file's name in the source.
        names += items.ids()
        if progress is not None:
            progress(len(names), total)
    _need_readable(reasons, total, source)
    content = digest([dataset.size, dataset.channels, names, stamps])
    return StreamedPixels(source, names, size=dataset.size, channels=dataset.channels, digest=content)


def _need_readable(reasons: dict[str, str], total: int, source: Path) -> None:
    if reasons:
        listed = [f"{name} ({reason})" for name, reason in reasons.items()]
        raise UnreadableImagesError(
            f"{len(reasons)} of {total} images of {source} cannot be read: {_listed(listed, '; ')}. Replace or remove "
            "them."
        )


def _listed(entries: list[str], between: str) -> str:
    more = f"{between}… and {len(entries) - _MOST_NAMED} more" if len(entries) > _MOST_NAMED else ""
    return between.join(entries[:_MOST_NAMED]) + more


@contextmanager
def _mapper(threads: int) -> Iterator[Mapper]:
    """Give a `map` that keeps the order and works in `threads` threads, a few jobs ahead of what was asked for."""
    if threads <= 1:
        yield map
        return
    with ThreadPoolExecutor(threads) as pool:

        def ordered(function: Callable[[Any], Any], jobs: Iterable[Any]) -> Iterator[Any]:
            waiting: deque[Future[Any]] = deque()
            for job in jobs:
                waiting.append(pool.submit(function, job))
                # `Executor.map` would start all jobs at once, and hold all their results.
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

        yield ordered
