"""Batches of pixels in the order asked for: out of memory, or decoded ahead by processes while the network computes.

Which pixels there are is the business of `trazo.store` and `trazo.streams`; what a batch is made of is the caller's.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from types import ModuleType

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from trazo.device import free_cached, is_out_of_memory
from trazo.errors import InputError, TrazoError
from trazo.progress import log
from trazo.streams import JoinedPixels, LazyPixels, Pixels

WORKERS = 2
"""Processes that decode, unless others are asked for."""


class LoadingError(TrazoError):
    """Processes that decode images and ended before their work did."""


class Source(ABC):
    """Where a step's batches come from; a `with` block ends the processes it may have."""

    @abstractmethod
    def batches(self, batches: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Yield (B, H, W[, 3]) uint8 pixels for (B,) int64 rows each, in the order of `batches`.

        Raises
        ------
        InputError
            If an image cannot be read; the message names it.
        LoadingError
            If a process that reads images ended.
        """

    def close(self) -> None:  # noqa: B027 – what is in memory has nothing to close
        """End what runs."""

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def source_of(pixels: Pixels, device: torch.device, *, workers: int = WORKERS, resident: bool = False) -> Source:
    """Return where batches of pixels come from; the batches are the same for any number of workers.

    Parameters
    ----------
    pixels
        (N, H, W[, 3]) uint8, an array or streamed.
    device
        Where the network computes.
    workers
        Processes that decode streamed pixels, for each streamed dataset; 0: this process decodes.
    resident
        Whether what is in memory is laid on the device whole, for who goes over it again and again. Where the device's
        memory does not suffice for that, it stays where it is, and the log says so.
    """
    if isinstance(pixels, JoinedPixels):
        return Joined(pixels, [source_of(p, device, workers=workers, resident=resident) for p in pixels.parts])
    if isinstance(pixels, LazyPixels):
        return Streamed(pixels, device, workers)
    held = torch.from_numpy(pixels)
    return Held(_resident(held, device) if resident else held)


def _resident(pixels: torch.Tensor, device: torch.device) -> torch.Tensor:
    try:
        return pixels.to(device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    free_cached()
    log.warning(
        "the %d images take %d MiB, for which the device's memory does not suffice: they stay in the computer's, and "
        "batches are copied",
        len(pixels),
        pixels.nbytes >> 20,
    )
    return pixels


def laid_on(batches: Sequence[torch.Tensor], device: torch.device) -> Sequence[torch.Tensor]:
    """Return batches of rows on a device, copied there at once: a copy in every step would wait for it."""
    return torch.cat(list(batches)).to(device).split([len(rows) for rows in batches]) if len(batches) else []


class Held(Source):
    """Pixels in memory, on any device.

    Attributes
    ----------
    pixels
        (N, H, W[, 3]) uint8.
    """

    def __init__(self, pixels: torch.Tensor) -> None:
        self.pixels = pixels

    def batches(self, batches: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """As `Source.batches`."""
        return (self.pixels[rows] for rows in laid_on(batches, self.pixels.device))


class Streamed(Source):
    """Pixels that are decoded when their turn comes, a batch in each of several processes.

    The processes start with the first batches, and stay until `close`: each opens its archive once.

    Parameters
    ----------
    pixels
        What is decoded.
    device
        Where the batches go.
    workers
        How many processes; 0: this one decodes.
    """

    def __init__(self, pixels: LazyPixels, device: torch.device, workers: int = WORKERS) -> None:
        self.pixels = pixels
        self.device = device
        self.workers = workers
        self._order = _Order()
        self._loader: DataLoader | None = None

    def batches(self, batches: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """As `Source.batches`."""
        self._order.batches = [rows.numpy() for rows in batches]
        decoding = _Decoding(self.pixels)
        decoded = self._from_workers(decoding) if self.workers else map(decoding.__getitem__, self._order)
        for batch in decoded:
            if isinstance(batch, InputError):
                raise batch
            yield batch.to(self.device, non_blocking=True)

    def _from_workers(self, decoding: _Decoding) -> Iterator[torch.Tensor | InputError]:
        if self._loader is None:
            self._loader = DataLoader(
                decoding,
                sampler=self._order,
                batch_size=None,
                num_workers=self.workers,
                persistent_workers=True,
                pin_memory=self.device.type == "cuda",
                multiprocessing_context=_context(),
                worker_init_fn=_end_with_parent,
                # Its own: a loader draws a seed, and would change the random numbers of whoever trains.
                generator=torch.Generator(),
            )
        try:
            with _without_main():
                loaded = iter(self._loader)
            yield from loaded
        except (RuntimeError, OSError, EOFError) as error:
            raise LoadingError(
                f"a process that decodes images ended before its work did ({error}). It may have run out of memory, or "
                "of shared memory (/dev/shm: containers have little of it unless told otherwise); give it more, or "
                "decode with fewer workers, 0 at the least."
            ) from error

    def close(self) -> None:
        """End the processes."""
        loader, self._loader = self._loader, None
        if loader is not None and loader._iterator is not None:
            # Torch ends them as nobody refers to them any more, and the traceback of an error still does.
            loader._iterator._shutdown_workers()


class Joined(Source):
    """Several sources as one, as `JoinedPixels` has it: each gives its own rows of every batch."""

    def __init__(self, pixels: JoinedPixels, parts: Sequence[Source]) -> None:
        self.pixels = pixels
        self.parts = parts

    def batches(self, batches: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """As `Source.batches`."""
        shares = [self.pixels.shares(rows.numpy()) for rows in batches]
        own = [
            part.batches([rows[own[place]] - low for rows, own in zip(batches, shares)])
            for place, (part, low) in enumerate(zip(self.parts, self.pixels.bounds.tolist()))
        ]
        for share, *pixels in zip(shares, *own):
            # Where each row of the batch is among those of all parts, one part after the other.
            order = np.argsort(np.concatenate([np.flatnonzero(mask) for mask in share]))
            device = pixels[0].device
            alike = [self._coloured(each.to(device)) for each in pixels]
            yield torch.cat(alike)[torch.from_numpy(order).to(device)]

    def _coloured(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels if pixels.ndim == self.pixels.ndim else pixels.unsqueeze(-1).expand(-1, -1, -1, 3)

    def close(self) -> None:
        """End the processes of all parts."""
        for part in self.parts:
            part.close()


class _Order(Sampler):
    """The batches of rows that a loader hands out to its workers, whole; others for every pass."""

    def __init__(self) -> None:
        self.batches: list[np.ndarray] = []

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Decoding(Dataset):
    """What a worker does: a batch of rows to pixels."""

    def __init__(self, pixels: LazyPixels) -> None:
        self.pixels = pixels

    def __getitem__(self, rows: np.ndarray) -> torch.Tensor | InputError:
        try:
            return torch.from_numpy(self.pixels[rows])
        except InputError as error:
            # As a value it reaches the other process with its own words; torch would wrap a traceback around them.
            return error


def _context() -> BaseContext:
    """Return how workers are started: forked off a process that does nothing else.

    Forking the training process itself would copy its locks and a CUDA context that cannot be used, but not the
    threads of OpenMP and CUDA that hold them: a worker may then wait for ever. Starting each worker afresh is as safe,
    and imports torch each time; the server imports it once.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch.utils.data", "PIL.Image"])
    return context


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the program from workers as they start: they would import it, and a script that trains would train."""
    program = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program


def _end_with_parent(worker: int) -> None:
    """End this worker when the training process is gone: torch watches the server that forked it, which waits on."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
