"""Devices: which one to use, how precisely, how to repeat a computation on it, and what it cost.

Imported by every room that computes with torch; knows nothing of networks or data.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

from trazo.claims import claim, own_folder
from trazo.errors import InputError, TrazoError
from trazo.progress import log

Result = TypeVar("Result")
# How the libraries below torch say it.
_OUT_OF_MEMORY = ("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "CUDA error: out of memory")


class DeviceMemoryError(TrazoError):
    """A computation that does not fit into the device's memory, not even in the smallest blocks."""


def choose_device(name: str, *, own: bool = True) -> torch.device:
    """Return the device for "auto", "cpu" or "cuda": of several GPUs one that no other process of this user has.

    A GPU is this process's own until it ends. Where all are taken, it waits, and the log says for whom. With
    TRAZO_SHARE_GPU=1 in the environment, all take the first GPU that they see.

    Parameters
    ----------
    name
        What is asked for.
    own
        False: the first GPU, whoever uses it besides; of who serves for long and computes little.

    Raises
    ------
    InputError
        If a GPU is asked for and there is none.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InputError("device: got 'cuda', but torch sees no GPU here; use 'auto' or 'cpu'.")
    alone = own and os.environ.get("TRAZO_SHARE_GPU") != "1"
    return torch.device("cuda", _claimed_gpu() if alone else 0)


@cache
def _claimed_gpu() -> int:
    """Return the number of the GPU that is this process's own, counted among those it can see."""
    names = gpu_names(
        os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        [str(torch.cuda.get_device_properties(number).uuid) for number in range(torch.cuda.device_count())],
    )
    number = claim(
        names, own_folder("trazo-gpus"), waiting=lambda holders: log.info("waiting for a GPU: taken are %s", holders)
    )
    # Some calls take the current device: it should be the same.
    torch.cuda.set_device(number)
    return number


def gpu_names(visible: str, uuids: Sequence[str]) -> list[str]:
    """Return names of GPUs that are the same in every process, whatever it sees of them and in which order.

    Parameters
    ----------
    visible
        CUDA_VISIBLE_DEVICES. It may name parts of one GPU (MIG-…), which all have its UUID.
    uuids
        UUIDs of the GPUs seen, in order.
    """
    listed = [name.strip() for name in visible.split(",")]
    # Of parts, CUDA sees the first ones only.
    parts = len(listed) >= len(uuids) and all(name.startswith("MIG-") for name in listed)
    return listed[: len(uuids)] if parts else [f"GPU-{uuid}" for uuid in uuids]


def device_name(device: torch.device) -> str:
    """Return what a person calls the device ("NVIDIA H200", "cpu (x86_64)")."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype of a network's arithmetic: bfloat16 where "auto" finds that the device computes it fast."""
    if name == "float32":
        return torch.float32
    if name == "bfloat16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32


def make_repeatable(device: torch.device, threads: int) -> None:
    """Make the same computation give the same bits again on this device.

    `threads` is part of "the same": sums are split among them.
    """
    torch.set_num_threads(max(1, threads))
    torch.backends.cudnn.benchmark = False
    # TF32 keeps 10 bits of a float32's 23: whoever wants that speed asks for bfloat16.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    # cuBLAS needs a fixed workspace to be repeatable; it reads this when first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # The gradient of max pooling has no strictly deterministic kernel on a GPU: warn there, insist on a CPU.
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")


class Blocks:
    """How many items are computed with at a time: halved, and said, whenever the device's memory does not suffice.

    Once smaller, blocks stay so: what did not fit will not fit the next time.

    Parameters
    ----------
    size
        Items of a block, as long as that fits.
    what
        What is done with how much, for messages ("ranking, queries at a time").
    remedy
        What else may help where not even a block of `least` fits.

    Attributes
    ----------
    size
        Items of a block from now on.
    """

    def __init__(self, size: int, what: str, *, remedy: str = "use device: cpu", least: int = 1) -> None:
        self.size = max(size, least)
        self._what = what
        self._remedy = remedy
        self._least = least

    def over(self, count: int, work: Callable[[slice], Result]) -> Iterator[tuple[slice, Result]]:
        """Yield (part, work(part)) of consecutive parts of `count` items; one that does not fit is done again, smaller.

        Raises
        ------
        DeviceMemoryError
            If a block of the least size does not fit.
        """

        def from_first(size: int) -> tuple[slice, Result]:
            part = slice(first, first + size)
            return part, work(part)

        first = 0
        while first < count:
            part, done = self.fit(from_first, most=count - first)
            yield part, done
            first = part.stop

    def fit(self, work: Callable[[int], Result], most: int | None = None) -> Result:
        """Return work(size) for the largest size that fits: the present one (`most` at most), its half, and so on.

        Raises
        ------
        DeviceMemoryError
            If the least size does not fit.
        """
        while True:
            tried = self.size if most is None else min(self.size, most)
            try:
                return work(tried)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._shrink(tried, error)
            # Here and not above: the error's traceback holds on to what the failed attempt had computed.
            free_cached()

    def _shrink(self, tried: int, error: RuntimeError) -> None:
        if tried <= self._least:
            raise DeviceMemoryError(
                f"{self._what}: the device's memory does not suffice for {tried}, the fewest possible "
                f"({first_sentence(error)}). End other programs that use the device, or {self._remedy}, and run again."
            ) from error
        self.size = max(self._least, tried // 2)
        log.warning("%s: the device's memory does not suffice for %d, going on with %d", self._what, tried, self.size)


@contextmanager
def fits_or_says(remedy: str) -> Iterator[None]:
    """Turn running out of the device's memory within the block into a message that ends in what to do.

    For computations whose result depends on how many items they take at a time, so that no smaller blocks are tried.

    Raises
    ------
    DeviceMemoryError
        If the device's memory does not suffice.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceMemoryError(f"the device's memory does not suffice ({first_sentence(error)}). {remedy}") from error


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that the device's memory does not suffice."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)


def free_cached() -> None:
    """Give the device back what torch keeps for later, so that larger pieces can be had."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def first_sentence(error: Exception) -> str:
    """Return the first sentence of an error of torch's, which may go on for many lines."""
    return (str(error).splitlines() or [""])[0].partition(". ")[0].rstrip(".") or type(error).__name__


class Stopwatch:
    """Seconds since it was made, after the device has finished what it was given; and peak memory."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            torch.cuda.reset_peak_memory_stats(device)
        self._start = time.perf_counter()

    def seconds(self) -> float:
        """Return the seconds passed."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - self._start

    def figures(self) -> dict[str, float | str]:
        """Return seconds, the device's name, and peak memory in MiB (process, and GPU where there is one)."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
        figures: dict[str, float | str] = {
            "seconds": round(self.seconds(), 3),
            "device": device_name(self.device),
            "peak_memory_mib": round(peak, 1),
        }
        if self.device.type == "cuda":
            figures["peak_gpu_memory_mib"] = round(torch.cuda.max_memory_allocated(self.device) / (1 << 20), 1)
        return figures
