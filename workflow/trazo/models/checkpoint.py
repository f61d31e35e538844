"""Checkpoints: the weights of one training stage at the epochs that were asked for, and all needed to use them."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch

from trazo.errors import InputError
from trazo.models.factory import build
from trazo.models.network import StagedNetwork
from trazo.store import ArtifactError, atomic_file

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A trained stage.

    Attributes
    ----------
    architecture, options, channels, size
        What `models.factory.build` needs; `size` is the side of the network's input in pixels.
    classes
        Names of the logits.
    mean_image
        (channels of the data, size, size) float32 in 0…1, subtracted from every image; None: nothing is.
    weights
        State dicts by epoch.
    record
        How it was made.
    classifier
        Whether the stage trained the classifier; if not, its logits mean nothing.
    normalise
        "none", or the name of the colour statistics that images are normalised by.
    shared_from
        The first stage that sketches and photos share; empty for a network without branches.
    head
        What makes codes of its features, as {name: options}; None for a network without.
    """

    architecture: str
    options: dict[str, Any]
    channels: int
    size: int
    classes: list[str]
    mean_image: torch.Tensor | None
    weights: Mapping[int, dict[str, torch.Tensor]]
    record: dict[str, Any] = field(default_factory=dict)
    classifier: bool = True
    normalise: str = "none"
    shared_from: str = ""
    head: str | dict[str, Any] | None = None

    def network(self, epoch: int) -> StagedNetwork:
        """Return the network with the weights of `epoch`.

        Raises
        ------
        InputError
            If that epoch was not kept.
        """
        if epoch not in self.weights:
            raise InputError(f"epoch {epoch} was not kept; this checkpoint holds epochs {sorted(self.weights)}.")
        network = build(
            self.architecture,
            classes=len(self.classes),
            channels=self.channels,
            size=self.size,
            options=self.options,
            shared_from=self.shared_from or None,
            head=self.head,
        )
        network.load_state_dict(self.weights[epoch])
        return network


def save_checkpoint(path: Path | str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all."""
    content = {
        "artifact": "checkpoint",
        "format": FORMAT,
        "architecture": checkpoint.architecture,
        "options": json.dumps(checkpoint.options),
        "channels": checkpoint.channels,
        "size": checkpoint.size,
        "classes": checkpoint.classes,
        "mean_image": checkpoint.mean_image,
        "classifier": checkpoint.classifier,
        "normalise": checkpoint.normalise,
        "shared_from": checkpoint.shared_from,
        "head": json.dumps(checkpoint.head),
        "weights": dict(checkpoint.weights),
        "checksums": {epoch: _checksum(state) for epoch, state in checkpoint.weights.items()},
        "record": json.dumps(checkpoint.record, sort_keys=True, default=str),
    }
    if checkpoint.mean_image is not None:
        content["mean_checksum"] = _checksum({"mean_image": checkpoint.mean_image})
    with atomic_file(path) as file:
        torch.save(content, file)


def _checksum(state: Mapping[str, torch.Tensor]) -> int:
    """Return the CRC-32 of all bytes of a state dict, in the order of its keys."""
    found = 0
    for value in state.values():
        plain = value.detach().to("cpu").contiguous()
        found = zlib.crc32(plain.reshape(-1).view(torch.uint8).numpy(), found)
    return found


class _CheckedWeights(Mapping[int, dict[str, torch.Tensor]]):
    """State dicts by epoch, each compared with its checksum when it is asked for: the others stay unread."""

    def __init__(self, path: Path | str, weights: dict[int, dict[str, torch.Tensor]], checksums: dict[int, int]):
        self._path = path
        self._weights = weights
        # Those that are still to be compared.
        self._checksums = checksums

    def __getitem__(self, epoch: int) -> dict[str, torch.Tensor]:
        state = self._weights[epoch]
        if epoch in self._checksums:
            if self._checksums[epoch] != _checksum(state):
                raise ArtifactError(_damaged(self._path, f"the weights of epoch {epoch}"))
            del self._checksums[epoch]
        return state

    def __iter__(self) -> Iterator[int]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def _damaged(path: Path | str, what: str) -> str:
    return f"{path} is damaged: {what} are not those that were written. Delete it and run again, which makes it anew."


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint without running anything that it may contain.

    Weights are mapped from disk, so that the epochs nobody asks for cost nothing; those of an epoch are compared with
    their checksum when they are first asked for, which may raise the same.

    Raises
    ------
    ArtifactError
        If it is missing, damaged, of another format, or holds more than tensors and plain values.
    """
    content = load_safely(path, kind="checkpoint")
    if content.get("artifact") != "checkpoint" or content.get("format") != FORMAT:
        raise ArtifactError(
            f"{path} is no trazo checkpoint of format {FORMAT} (found {content.get('artifact')!r}, "
            f"format {content.get('format')!r}); delete it and run again."
        )
    need_sound(path, whole=False)
    try:
        return _checked(path, content)
    except ArtifactError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ArtifactError(f"{path} is no whole checkpoint: {reason}; delete it and run again.") from error


def _checked(path: Path | str, content: dict[str, Any]) -> Checkpoint:
    """Return a checkpoint from the content of its file, whose weights must be tensors by name."""
    weights = content["weights"]
    for epoch, state in weights.items():
        if not isinstance(epoch, int) or not all(isinstance(value, torch.Tensor) for value in state.values()):
            raise ValueError(f"its weights of epoch {epoch!r} are not tensors by name")
    mean_image = content["mean_image"]
    # Checkpoints of earlier versions have no checksums.
    if "mean_checksum" in content and content["mean_checksum"] != _checksum({"mean_image": mean_image}):
        raise ArtifactError(_damaged(path, "the pixels of the mean image"))
    return Checkpoint(
        architecture=str(content["architecture"]),
        options=json.loads(content["options"]),
        channels=content["channels"],
        size=content["size"],
        classes=list(content["classes"]),
        mean_image=mean_image,
        weights=_CheckedWeights(path, weights, dict(content.get("checksums", {}))),
        record=json.loads(content["record"]),
        # Checkpoints made before there was a choice do not say it.
        classifier=content.get("classifier", True),
        normalise=content.get("normalise", "none"),
        shared_from=content.get("shared_from", ""),
        head=json.loads(content.get("head", "null")),
    )


def need_sound(path: Path | str, *, whole: bool) -> None:
    """Compare the members of a file of torch's with the checksums that it writes, and never reads.

    Parameters
    ----------
    path
        A file that this library wrote.
    whole
        Whether the bytes of tensors count too; if not, only what says which tensors there are.

    Raises
    ------
    ArtifactError
        If they differ.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                # Tensors are below archive/data/.
                if whole or name.partition("/")[2].partition("/")[0] != "data":
                    with archive.open(name) as member:
                        while member.read(1 << 20):
                            pass
    # What a mangled zip file ends the reader with is manifold.
    except Exception as error:
        raise ArtifactError(_damaged(path, f"its bytes ({error})")) from error


def load_safely(
    path: Path | str,
    *,
    kind: str,
    mapped: bool = True,
    remedy: str = "It is damaged, or holds more than weights; delete it.",
) -> dict[str, Any]:
    """Load a file of tensors and plain values with torch's weights-only reader.

    Parameters
    ----------
    path
        The file.
    kind
        What it should be, for messages.
    mapped
        Map tensors from disk, which files of torch before 1.6 do not allow.
    remedy
        What to say where it cannot be loaded.

    Raises
    ------
    ArtifactError
        If it is missing, damaged or holds anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist; expected a {kind}.")
    _need_unpacked(path, kind, remedy)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:
        # A mangled file may end the reader with anything: struct.error, AssertionError, IndexError, …
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArtifactError(f"{path} cannot be loaded as a {kind}: {reason} {remedy}") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{path} holds a {type(content).__name__}, expected a {kind}.")
    return content


def _need_unpacked(path: Path, kind: str, remedy: str) -> None:
    """Refuse a zip archive that unpacks to more than it is: torch packs nothing, and would unpack all of it."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    # As of torch's own reader: a mangled directory ends zipfile's with anything.
    except Exception as error:
        raise ArtifactError(f"{path} cannot be loaded as a {kind}: {error} {remedy}") from error
    if unpacked > path.stat().st_size:
        raise ArtifactError(
            f"{path} would unpack from {path.stat().st_size:,} to {unpacked:,} bytes, which no {kind} that torch saved "
            f"does. {remedy}"
        )


# Mean and deviation of the colours in 0…1 by name. ImageNet's are what torchvision's weights, and most of timm's, are
# made for (torchvision.transforms._presets.ImageClassification).
_STATISTICS = {"imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}


@cache
def _statistics(name: str, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    # Kept for training also where a validation, which nothing can be learned from, asks first.
    with torch.inference_mode(False):
        mean, deviation = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in _STATISTICS[name])
    return mean, deviation


def prepare(
    pixels: torch.Tensor,
    *,
    channels: int,
    size: int,
    mean_image: torch.Tensor | None,
    device: torch.device,
    normalise: str = "none",
) -> torch.Tensor:
    """Turn a batch of bytes into what a network takes.

    Parameters
    ----------
    pixels
        (B, H, W) or (B, H, W, 3) uint8, on any device.
    channels
        Input channels of the network; a grey image is repeated to 3, a colour one averaged to 1.
    size
        Side of the network's input in pixels; other sizes are resized, shrinking by area.
    mean_image
        (data channels, size, size) float32 in 0…1, or None.
    device
        Where to.
    normalise
        "imagenet": each colour less its mean over ImageNet, by its deviation there, for networks of 3 channels.

    Returns
    -------
    torch.Tensor
        (B, channels, size, size) float32, channels last in memory. Divided by 255: the mean image is too, and
        batch normalisation makes the scale immaterial to what the studies' networks can learn.

    Raises
    ------
    InputError
        If images for a network of another number of channels are to be normalised.
    """
    images = pixels.to(device, non_blocking=True)
    images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
    images = images.to(torch.float32).div_(255.0)
    if images.shape[-2:] != (size, size):
        mode = "area" if images.shape[-1] > size else "bilinear"
        images = torch.nn.functional.interpolate(images, size=(size, size), mode=mode)
    if mean_image is not None:
        images = images - mean_image.to(device)
    if normalise != "none":
        if channels != 3:
            raise InputError(f"normalise: {normalise} is of 3 colours, and the network takes {channels}; channels: 3.")
        mean, deviation = _statistics(normalise, images.device)
        # A grey image becomes three.
        images = (images - mean).div_(deviation)
    if images.shape[1] == 1 and channels == 3:
        images = images.expand(-1, 3, -1, -1)
    elif images.shape[1] == 3 and channels == 1:
        images = images.mean(dim=1, keepdim=True)
    return images.contiguous(memory_format=torch.channels_last)


def mean_of(blocks: Iterable[torch.Tensor], size: int) -> torch.Tensor:
    """Return the mean image (data channels, size, size) float32 in 0…1 of blocks (B, H, W[, 3]) uint8.

    It is summed in float64.
    """
    total: torch.Tensor | None = None
    count = 0
    for pixels in blocks:
        channels = 3 if pixels.ndim == 4 else 1
        images = prepare(pixels, channels=channels, size=size, mean_image=None, device=torch.device("cpu"))
        part = images.to(torch.float64).sum(dim=0)
        total = part if total is None else total + part
        count += len(pixels)
    if total is None:
        raise InputError("the mean image of no images is not defined.")
    return (total / count).to(torch.float32)
