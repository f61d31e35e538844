"""Architectures by name. Every module beside this one is read, so a new file is all that a new one needs."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import torch

import trazo.models
from trazo.errors import InputError
from trazo.models.branches import BranchedNetwork
from trazo.models.heads import WrittenHead, head_of
from trazo.models.network import StagedNetwork, architectures, flat_size, libraries, with_code
from trazo.registry import unknown_name
from trazo.sizes import CODE

# Deeper than any input a study of drawings feeds; where a network takes nothing below, it takes nothing.
_LARGEST_SIZE = 1024


def load_architectures() -> None:
    """Import every module of `trazo.models`, so that all architectures are registered."""
    for module in pkgutil.iter_modules(trazo.models.__path__):
        importlib.import_module(f"trazo.models.{module.name}")


def builder_of(architecture: str) -> Callable[..., StagedNetwork]:
    """Return what builds an architecture: a registered name, or `<library>:<name>`.

    Raises
    ------
    InputError
        If there is none of this name; the message names the nearest ones.
    """
    load_architectures()
    library, colon, name = architecture.partition(":")
    if colon:
        return libraries.get(library)(name)
    known = architectures.names()
    if architecture not in known:
        others = ", ".join(f"{library}:<name>" for library in libraries.names())
        raise InputError(f"{unknown_name('architecture', architecture, known)} Or any of {others}.")
    return architectures.get(architecture)


def _need_known(architecture: str, builder: Any, options: dict[str, Any]) -> None:
    parameters = inspect.signature(builder).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    known = [name for name in parameters if name not in {"classes", "channels", "size"}]
    for option in options:
        if option not in known:
            raise InputError(f"{architecture}: {unknown_name('option', option, known)}")


def build(
    architecture: str,
    *,
    classes: int,
    channels: int,
    size: int,
    options: dict[str, Any] | None = None,
    seed: int = 0,
    shared_from: str | None = None,
    head: str | WrittenHead | None = None,
) -> StagedNetwork:
    """Build a network with weights drawn from `seed`.

    Parameters
    ----------
    architecture
        A registered name, or `<library>:<name>`.
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
    shared_from
        Name of the first stage that sketches and photos share, those before it existing once for each with the same
        weights; None: a network without branches.
    head
        What makes short codes of the features before the classifier, as {name: options}; sketches and photos share it.
        The weights of all other stages are those of the network without.

    Raises
    ------
    InputError
        If the name, an option, the stage or the head is unknown, or the input is too small.
    """
    builder = builder_of(architecture)
    _need_known(architecture, builder, options or {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = builder(classes=classes, channels=channels, size=size, **(options or {}))
        if head is not None:
            network = with_code(network, head_of(head), classes=classes, channels=channels, size=size)
    if shared_from is None:
        return network
    # Codes of sketches and photos are compared: one layer makes both, also where only the classifier is to be shared.
    return BranchedNetwork(network, CODE if head is not None and shared_from == network.classifier else shared_from)


def describe(
    architecture: str,
    *,
    channels: int,
    size: int,
    options: dict[str, Any] | None = None,
    search: bool = True,
    shared_from: str | None = None,
    head: str | WrittenHead | None = None,
) -> dict[str, Any]:
    """Return what can be known of a network without training it.

    Parameters
    ----------
    architecture, channels, size, options, shared_from, head
        As `build` takes them.
    search
        Whether the smallest size is looked for where `size` is large enough; if not, `smallest` is `size` then.

    Returns
    -------
    dict
        `module`: where it is defined; `features`: width of each stage's flattened output by name;
        `parameters`: number of weights, of both branches; `smallest`: smallest side of input it takes, in pixels (of
        networks that do not take every size above it, one that is no larger than `size`); `pretrained`: what weights
        its library has for it, empty if none. Where `size` is below the smallest, `features` is empty.

    Raises
    ------
    InputError
        If the name, an option or the stage is unknown or unusable.
    """
    facts: dict[str, Any] = {"module": builder_of(architecture).__module__, "features": {}, "parameters": 0}
    facts |= {"smallest": _smallest_size(architecture, channels, size, options, search), "pretrained": ""}
    if facts["smallest"] is not None and size >= facts["smallest"]:
        with torch.device("meta"):
            network = build(architecture, classes=2, channels=channels, size=size, options=options, head=head)
        chain: dict[str, Any] = {}
        for name, stage in network.stages.items():
            chain[name] = stage
            facts["features"][name] = flat_size(chain, channels, size)
        if shared_from is not None:
            network = BranchedNetwork(network, shared_from)
        facts["parameters"] = sum(p.numel() for p in network.parameters())
        facts["pretrained"] = network.foreign.title if network.foreign is not None else ""
    return facts


def _refusal(architecture: str, channels: int, size: int, options: dict[str, Any] | None) -> InputError | None:
    """Return why a network does not take inputs of a size, None if it does."""
    with torch.device("meta"):
        try:
            network = build(architecture, classes=2, channels=channels, size=size, options=options)
            flat_size(dict(network.stages), channels, size)
        except InputError as error:
            return error
    return None


def _smallest_size(
    architecture: str, channels: int, size: int, options: dict[str, Any] | None, search: bool
) -> int | None:
    """Return the smallest side of input that leaves every stage something to work on, or None if none does."""
    refusal = _refusal(architecture, channels, size, options)
    if refusal is None:
        low, high = 1 if search else size, size
    elif "too small" not in str(refusal):
        raise refusal
    elif _refusal(architecture, channels, _LARGEST_SIZE, options) is None:
        low, high = size + 1, _LARGEST_SIZE
    else:
        # No size is large enough: what stands in the way is something else, and running it says what.
        with torch.device("meta"):
            network = build(architecture, classes=2, channels=channels, size=_LARGEST_SIZE, options=options)
        shape = (1, channels, _LARGEST_SIZE, _LARGEST_SIZE)
        torch.nn.Sequential(*network.stages.values()).eval()(torch.empty(*shape, device="meta"))
        return None
    while low < high:
        middle = (low + high) // 2
        if _refusal(architecture, channels, middle, options) is None:
            high = middle
        else:
            low = middle + 1
    return low
