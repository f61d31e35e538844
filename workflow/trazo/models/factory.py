"""Architectures by name. Every module beside this one is read, so a new file is all that a new one needs."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

import torch

import trazo.models
from trazo.errors import InputError
from trazo.models.network import StagedNetwork, architectures, flat_size
from trazo.registry import unknown_name

# Deeper than any input a study of drawings feeds; where a network takes nothing below, it takes nothing.
_LARGEST_SIZE = 1024


def load_architectures() -> None:
    """Import every module of `trazo.models`, so that all architectures are registered."""
    for module in pkgutil.iter_modules(trazo.models.__path__):
        importlib.import_module(f"trazo.models.{module.name}")


def _own_options(builder: Any) -> dict[str, inspect.Parameter]:
    given = {"classes", "channels", "size"}
    return {k: p for k, p in inspect.signature(builder).parameters.items() if k not in given}


def build(
    architecture: str, *, classes: int, channels: int, size: int, options: dict[str, Any] | None = None, seed: int = 0
) -> StagedNetwork:
    """Build a network with weights drawn from `seed`.

    Parameters
    ----------
    architecture
        A registered name.
    classes
        Number of logits.
    channels
        Input channels, 1 or 3.
    size
        Side of the square input in pixels.
    options
        The architecture's own options.
    seed
        Seed of the weights; the global random state is left as it was.

    Raises
    ------
    InputError
        If the name or an option is unknown, or the input is too small.
    """
    load_architectures()
    builder = architectures.get(architecture)
    known = _own_options(builder)
    for option in options or {}:
        if option not in known:
            raise InputError(f"{architecture}: {unknown_name('option', option, known)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return builder(classes=classes, channels=channels, size=size, **(options or {}))


def describe(architecture: str, *, channels: int, size: int, options: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what can be known of a network without training it.

    Returns
    -------
    dict
        `module`: where it is defined; `features`: width of each stage's flattened output by name;
        `parameters`: number of weights; `smallest`: smallest side of input it takes, in pixels; where `size` is
        below that, `features` is empty.

    Raises
    ------
    InputError
        If the name or an option is unknown or unusable.
    """
    load_architectures()
    builder = architectures.get(architecture)
    facts: dict[str, Any] = {"module": builder.__module__, "features": {}, "parameters": 0}
    facts["smallest"] = _smallest_size(architecture, channels, options)
    if facts["smallest"] is not None and size >= facts["smallest"]:
        with torch.device("meta"):
            network = build(architecture, classes=2, channels=channels, size=size, options=options)
        chain: dict[str, Any] = {}
        for name, stage in network.stages.items():
            chain[name] = stage
            facts["features"][name] = flat_size(chain, channels, size)
        facts["parameters"] = sum(p.numel() for p in network.parameters())
    return facts


def _takes(architecture: str, channels: int, size: int, options: dict[str, Any] | None) -> bool:
    with torch.device("meta"):
        try:
            network = build(architecture, classes=2, channels=channels, size=size, options=options)
            flat_size(dict(network.stages), channels, size)
        except InputError as error:
            if "too small" in str(error):
                return False
            raise
    return True


def _smallest_size(architecture: str, channels: int, options: dict[str, Any] | None) -> int | None:
    """Return the smallest side of input that leaves every stage something to work on, or None if none does."""
    low, high = 1, _LARGEST_SIZE
    if not _takes(architecture, channels, high, options):
        # No size is large enough: what stands in the way is something else, and building it says what.
        with torch.device("meta"):
            network = build(architecture, classes=2, channels=channels, size=high, options=options)
        torch.nn.Sequential(*network.stages.values()).eval()(torch.empty(1, channels, high, high, device="meta"))
        return None
    while low < high:
        middle = (low + high) // 2
        if _takes(architecture, channels, middle, options):
            high = middle
        else:
            low = middle + 1
    return low
