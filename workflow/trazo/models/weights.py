"""Where a network's first stage starts: weights from checkpoints, from files of other libraries, or downloaded.

Files are read without running anything they may hold. Which weights a study asks for is checked in `trazo.planning`.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from trazo.config import part_label
from trazo.errors import InputError, TrazoError
from trazo.models.branches import DOMAINS
from trazo.models.checkpoint import load_checkpoint, load_safely
from trazo.models.network import SHARED, StagedNetwork, prefix_of
from trazo.provenance import digest
from trazo.registry import unknown_name

ALTERNATIVES = (
    "Give a local file (`weights:` with a path or a name in `sources`), the checkpoint of another model (`weights: "
    "{model: …}`), or leave `weights` out to draw them at random."
)
# Where training scripts keep a state dict among other things, and what wrappers put before its keys.
_WRAPPED_AS = ("state_dict", "model_state_dict", "model", "net", "network", "state_dict_ema", "model_ema")
_PREFIXES = ("module.", "_orig_mod.", "model.")
# Batch normalisation counts its batches; the count changes nothing, and old files lack it.
_COUNTER = ".num_batches_tracked"
_MOST_LISTED = 10
_PARTS = (*DOMAINS, SHARED)


@dataclass(frozen=True)
class Weights:
    """Weights to start from.

    Attributes
    ----------
    state
        Tensors by key: our own keys (`stages.…`, `branches.…`), or those of another library.
    title
        What they are, in words.
    digest
        Stands for their content.
    classes
        Names of their logits; None where the file does not say.
    made_for
        What network they are of, in words; empty where the file does not say.
    normalise
        How the images were normalised that they learned from; empty where the file does not say.
    """

    state: Mapping[str, torch.Tensor]
    title: str
    digest: str
    classes: list[str] | None = None
    made_for: str = ""
    normalise: str = ""


@dataclass(frozen=True)
class Start:
    """Where a training starts.

    Attributes
    ----------
    words
        What weights it begins with.
    digest
        Stands for their content, where that does not follow from the settings.
    """

    words: str
    digest: str = ""


def read_weights(path: Path | str, *, epoch: int | None = None, named: bool = True) -> Weights:
    """Read weights from a checkpoint of trazo, or from a state dict in torch's or safetensors' format.

    Wrappings of common training scripts are taken off: `state_dict` and the like around the weights, `module.`,
    `model.` and `_orig_mod.` before all keys.

    Parameters
    ----------
    path
        The file; by its name, one that ends in `.safetensors` is in that format.
    epoch
        Of a checkpoint of trazo: the epoch that counts; the last it keeps if None.
    named
        Whether `title` says the file's name and hash; a checkpoint is told by its model, stage and epoch in any case.

    Raises
    ------
    InputError
        If the file is missing or damaged, holds more than weights, or does not have that epoch.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected a file of weights.")
    if path.suffix.lower() == ".safetensors":
        return Weights(_stripped(_read_safetensors(path)), *_file_words(path))
    content = load_safely(
        path,
        kind="file of weights",
        mapped=zipfile.is_zipfile(path),
        remedy="It is damaged, or holds more than weights, which could run as code; save the state dict alone, with "
        "torch.save(network.state_dict(), …) or as .safetensors.",
    )
    if content.get("artifact") != "checkpoint":
        return Weights(_stripped(_unwrapped(content, path)), *_file_words(path))
    checkpoint = load_checkpoint(path)
    chosen = max(checkpoint.weights) if epoch is None else epoch
    if chosen not in checkpoint.weights:
        raise InputError(f"{path}: epoch {epoch} was not kept; the checkpoint holds {sorted(checkpoint.weights)}.")
    settings = checkpoint.record.get("settings") or {}
    key = settings.get("key") or {}
    stage = f"stage {key['stage']} of {key['model']}" if {"stage", "model"} <= set(key) else "checkpoint"
    options = f" with options {checkpoint.options}" if checkpoint.options else ""
    shared = f", shared from {checkpoint.shared_from}" if checkpoint.shared_from else ""
    head = f", with the head {part_label(checkpoint.head)}" if checkpoint.head else ""
    # The record of a checkpoint that the workflow has just made tells it from all others, and is read sooner.
    file, content_digest = _file_words(path) if named else ("", digest([checkpoint.record, chosen]))
    return Weights(
        state=checkpoint.weights[chosen],
        title=", ".join(part for part in (f"{stage} at epoch {chosen}", file) if part),
        digest=content_digest,
        classes=checkpoint.classes,
        made_for=f"{checkpoint.architecture}{options} of {checkpoint.channels}×{checkpoint.size}×{checkpoint.size}"
        f"{shared}{head}",
        normalise=checkpoint.normalise,
    )


def downloaded(network: StagedNetwork, architecture: str) -> Weights:
    """Return the weights that the library behind an architecture publishes, from its cache or the network.

    Raises
    ------
    InputError
        If there are none.
    TrazoError
        If they cannot be had.
    """
    foreign = network.foreign
    if foreign is None or not foreign.title:
        raise InputError(f"weights: there are no pretrained ones for {architecture}. {ALTERNATIVES}")
    try:
        state = foreign.download()
    except Exception as error:
        # Whatever a download ends with, there are no weights.
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise TrazoError(
            f"weights: {foreign.title} could not be downloaded ({type(error).__name__}: {reason}). Run again where "
            f"there is a connection; a finished download is kept for later runs. {ALTERNATIVES}"
        ) from error
    return Weights(_stripped(state), foreign.title, foreign.title, normalise=foreign.normalise)


def begin_with(network: StagedNetwork, weights: Weights, *, architecture: str, classes: list[str], seed: int) -> Start:
    """Put weights into a network whose own were drawn from `seed`.

    The classifier is taken over if it is of the same classes in the same order, or, where the file does not name its
    classes, of as many. An embedding put before it by an option, or the code of a head, may be missing; it, and then
    the classifier too, stay as they were drawn. All else must fit. In a network with branches each takes its own from
    weights of another one; both take the same from weights of a network without.

    Parameters
    ----------
    network
        Changed in place.
    weights
        What to put into it.
    architecture
        The network's, for messages.
    classes
        Names of its logits.
    seed
        What its weights were drawn from.

    Raises
    ------
    InputError
        If keys are missing, unknown, of another shape, or hold values that are not finite; the message lists them.
    """
    parts = dict.fromkeys(network.parts, weights)
    return begin_by_part(network, parts, architecture=architecture, classes=classes, seed=seed)


def begin_by_part(
    network: StagedNetwork, parts: Mapping[str, Weights], *, architecture: str, classes: list[str], seed: int
) -> Start:
    """Put weights into the parts of a network, whose own were drawn from `seed`, each from where it is given.

    Each of the weights may be of the network without branches, or of one with branches, of which the part of the same
    name is taken, or what is shared there. Only a part's own stages are looked at. A part that is not given stays as it
    was drawn. The classifier, an embedding and a code are taken over, or not, as in `begin_with`.

    Parameters
    ----------
    network
        Changed in place.
    parts
        Weights of "sketch", "photo" and "shared", or some of them.
    architecture, classes, seed
        As `begin_with` takes them.

    Raises
    ------
    InputError
        If the network has no such part, or the weights do not fit as in `begin_with`.
    """
    for part in parts:
        if part not in network.parts:
            raise InputError(f"weights: {unknown_name('part of the network', part, network.parts)}")
    wanted = network.state_dict()
    # What several parts start from is one, so that a message lists its keys once.
    given = {id(weights): weights for weights in parts.values()}.values()
    fittings = [_found(network, w, [part for part in parts if parts[part] is w]) for w in given]
    drawn = [stage for stage in network.added if any(found.lacks(stage, network) for found in fittings)]
    shared = next((found for found in fittings if SHARED in found.parts), None)
    if shared is not None and (drawn or not _same_classes(network, shared, wanted, classes)):
        drawn.append(network.classifier)
    taken: dict[str, torch.Tensor] = {}
    for found in fittings:
        found.leave_out(drawn)
        stages = {part: [s for s in network.parts[part] if s not in drawn] for part in found.parts}
        ours = {key: value for key, value in wanted.items() if key.startswith(_prefixes(stages))}
        _need_fit(found, ours, architecture)
        _need_finite(found, ours)
        taken |= {key: found.tensors[key] for key in ours if key in found.tensors}
    network.load_state_dict({**wanted, **taken})
    return _start(network, parts, drawn, seed)


def _start(network: StagedNetwork, parts: Mapping[str, Weights], drawn: list[str], seed: int) -> Start:
    from_seed = f"drawn from seed {seed}"
    titles: dict[str, list[str]] = {}
    for part in network.parts:
        titles.setdefault(parts[part].title if part in parts else from_seed, []).append(part)
    told = [f"{_and(named)}: {title}" for title, named in titles.items()] if len(titles) > 1 else list(titles)
    words = "; ".join([*told, *([f"{_and(drawn)} {from_seed}"] if drawn else [])])
    digests = {part: weights.digest for part, weights in parts.items()}
    alike = len(parts) == len(network.parts) and len(set(digests.values())) == 1
    return Start(words, next(iter(digests.values())) if alike else digest(digests))


@dataclass
class _Fitting:
    """Weights for some parts of a network, by the network's keys, with the keys they have in their file."""

    weights: Weights
    parts: list[str]
    where: str
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)

    def add(self, own: str, key: str, tensor: torch.Tensor) -> None:
        self.tensors[own], self.named[own] = tensor, key

    def of_stage(self, stage: str, part: str) -> list[str]:
        return [key for key in self.tensors if key.startswith(f"{prefix_of(part)}{stage}.")]

    def lacks(self, stage: str, network: StagedNetwork) -> bool:
        return any(stage in network.parts[part] and not self.of_stage(stage, part) for part in self.parts)

    def leave_out(self, stages: Iterable[str]) -> None:
        for key in [key for stage in stages for part in self.parts for key in self.of_stage(stage, part)]:
            del self.tensors[key]


def _found(network: StagedNetwork, weights: Weights, parts: list[str]) -> _Fitting:
    """Return weights by the keys of those parts of the network that they are for."""
    found = _Fitting(weights, parts, "weights" if len(parts) == len(network.parts) else f"weights for {_and(parts)}")
    # Other libraries have stages too: a file has our keys only if it is of such stages as the network's throughout.
    stages = _prefixes(dict.fromkeys(_PARTS, network.layers))
    ours_throughout = bool(weights.made_for) or all(key.startswith(stages) for key in weights.state)
    foreign = None if ours_throughout else network.foreign
    for key, tensor in weights.state.items():
        own = key if foreign is None else foreign.own_name(key)
        if own is not None:
            for place in _places(network, own, parts):
                found.add(place, key, tensor)
    return found


def _places(network: StagedNetwork, own: str, parts: list[str]) -> list[str]:
    """Return the keys that a tensor is for in those parts of the network; without a place, its own, which is none."""
    origin = next((part for part in _PARTS if own.startswith(prefix_of(part))), None)
    if origin is None:
        return [own]
    rest = own.removeprefix(prefix_of(origin))
    homes = [part for part in parts if rest.partition(".")[0] in network.parts[part]]
    if rest.partition(".")[0] not in network.layers or (origin != SHARED and SHARED in homes):
        # Of a stage that the network does not have, or of one that exists twice there and once here.
        return [own]
    return [f"{prefix_of(part)}{rest}" for part in homes if origin in (part, SHARED)]


def _prefixes(stages: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Return what the keys of stages, given by part, begin with."""
    return tuple(f"{prefix_of(part)}{stage}." for part, named in stages.items() for stage in named)


def _same_classes(
    network: StagedNetwork, found: _Fitting, wanted: Mapping[str, torch.Tensor], classes: list[str]
) -> bool:
    if found.weights.classes is not None:
        return found.weights.classes == classes
    keys = [key for key in wanted if key.startswith(f"{prefix_of(SHARED)}{network.classifier}.")]
    return all(key in found.tensors and found.tensors[key].shape == wanted[key].shape for key in keys)


def _need_fit(found: _Fitting, ours: Mapping[str, torch.Tensor], architecture: str) -> None:
    shapes = {key: (tuple(found.tensors[key].shape), tuple(ours[key].shape)) for key in ours if key in found.tensors}
    # By their keys in the file: both branches may take the same.
    misshapen = {
        found.named[key]: pair for key, pair in shapes.items() if pair[0] != pair[1] and not key.endswith(_COUNTER)
    }
    missing = [key for key in ours if key not in found.tensors and not key.endswith(_COUNTER)]
    unknown = list(dict.fromkeys(found.named[key] for key in found.tensors if key not in ours))
    if not (misshapen or missing or unknown):
        return
    told = []
    if misshapen:
        pairs = (f"{key} {_shape(there)} for {_shape(here)}" for key, (there, here) in misshapen.items())
        told.append(f"{len(misshapen)} of another shape than the network's: {_listed(pairs, len(misshapen))}")
    if missing:
        told.append(
            f"{len(missing)} missing: {_listed((f'{k} {_shape(ours[k].shape)}' for k in missing), len(missing))}"
        )
    if unknown:
        told.append(f"{len(unknown)} that the network does not have: {_listed(unknown, len(unknown))}")
    of = f" (of {found.weights.made_for})" if found.weights.made_for else ""
    raise InputError(
        f"{found.where}: {found.weights.title}{of} do not fit {architecture}. Keys: {'; '.join(told)}. "
        f"{_remedy(list(misshapen.values()), found.weights)}"
    )


def _need_finite(found: _Fitting, ours: Mapping[str, torch.Tensor]) -> None:
    # As the network would hold them: what a wider type can say may be infinite in its own.
    bad = dict.fromkeys(
        found.named[key]
        for key, here in ours.items()
        if key in found.tensors and not torch.isfinite(found.tensors[key].to(here.dtype)).all()
    )
    if bad:
        raise InputError(
            f"{found.where}: {found.weights.title} hold NaN or infinite values, in {_listed(bad, len(bad))}; expected "
            "finite ones. The training they are from diverged, or the file is damaged: choose an earlier epoch, or "
            "another file."
        )


def _remedy(misshapen: list[tuple[tuple[int, ...], tuple[int, ...]]], weights: Weights) -> str:
    """Return what to do about weights that do not fit."""
    for there, here in misshapen:
        if len(there) == len(here) == 4 and there[1] != here[1] and {there[1], here[1]} == {1, 3}:
            grey = "; a grey image is then repeated" if there[1] == 3 else ""
            return (
                f"They take images of {there[1]} channel{'s' if there[1] > 1 else ''}: set channels: {there[1]}{grey}."
            )
    if any(key.startswith(tuple(map(prefix_of, DOMAINS))) for key in weights.state):
        return "Give both models the same architecture, options, channels, size and `branches`."
    if weights.made_for:
        return "Give both models the same architecture, options, channels and size."
    return "Check that the file is of this architecture with these options, or choose the architecture it is of."


def _and(names: Iterable[str]) -> str:
    return " and ".join(names)


def _shape(shape: Iterable[int]) -> str:
    return f"({', '.join(map(str, shape))})"


def _listed(words: Iterable[str], count: int) -> str:
    shown = [word for word, _ in zip(words, range(_MOST_LISTED))]
    return ", ".join(shown) + (f" and {count - len(shown)} more" if count > len(shown) else "")


def _unwrapped(content: Mapping[str, Any], path: Path) -> dict[str, torch.Tensor]:
    for name in _WRAPPED_AS:
        inner = content.get(name)
        if isinstance(inner, Mapping) and any(isinstance(value, torch.Tensor) for value in inner.values()):
            content = inner
            break
    state = {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}
    if not state:
        raise InputError(
            f"{path} holds no weights but {', '.join(map(repr, list(content)[:_MOST_LISTED])) or 'nothing'}; expected "
            "a state dict, or one under a key such as 'state_dict'."
        )
    return state


def _stripped(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    state = dict(state)
    while prefix := next((p for p in _PREFIXES if state and all(key.startswith(p) for key in state)), ""):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as safetensors ({error}); it is damaged or of another format."
        ) from error


def _file_words(path: Path) -> tuple[str, str]:
    """Return a file's name with the beginning of its SHA-256, and all of that."""
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return f"file {path.name} (sha256 {content[:16]})", content
