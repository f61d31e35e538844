"""The shape all networks share: a chain of named stages that ends in a classifier.

A feature is the output of a stage, by its name. Architectures live in files of their own beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from trazo.errors import InputError
from trazo.models.heads import Head
from trazo.registry import Registry, unknown_name
from trazo.sizes import CODE

architectures: Registry = Registry("architecture")
# By what stands before a colon: of a name after it, they return what builds that architecture.
libraries: Registry = Registry("library of architectures")

# The part of a network that all its images pass through.
SHARED = "shared"
_EMBEDDING = "embedding"


def prefix_of(part: str) -> str:
    """Return what stands before the stages' names in the keys of a part's weights."""
    return "stages." if part == SHARED else f"branches.{part}."


@dataclass(frozen=True)
class Foreign:
    """Weights that another library has for an architecture.

    Attributes
    ----------
    title
        What its default weights are called ("torchvision ResNet50_Weights.IMAGENET1K_V2"); empty if it has none.
    own_name
        From a key of its state dicts to the key here; None for what is not taken over.
    download
        Returns its default weights under its own keys, from its cache or the network.
    normalise
        How images are normalised for them, as `models.checkpoint.prepare` calls it; empty if it has no name for it.
    """

    title: str
    own_name: Callable[[str], str | None]
    download: Callable[[], dict[str, torch.Tensor]]
    normalise: str = "imagenet"


class StagedNetwork(nn.Module):
    """Named stages applied one after the other.

    Parameters
    ----------
    stages
        Modules by name, in order; the last one gives the logits.
    foreign
        How weights of another library fit, if they do.
    """

    def __init__(self, stages: dict[str, nn.Module], foreign: Foreign | None = None) -> None:
        super().__init__()
        self.stages = nn.ModuleDict(stages)
        self.foreign = foreign

    @property
    def classifier(self) -> str:
        """Name of the stage that gives the logits."""
        return list(self.stages)[-1]

    @property
    def parts(self) -> dict[str, list[str]]:
        """Names of the stages of each part, in order; a network without branches has one part, "shared"."""
        return {SHARED: list(self.stages)}

    @property
    def layers(self) -> list[str]:
        """Names of all stages, in order."""
        return list(dict.fromkeys(stage for stages in self.parts.values() for stage in stages))

    @property
    def added(self) -> list[str]:
        """Names of stages before the classifier that weights for the architecture need not have."""
        options = [_EMBEDDING] if self.foreign is not None else []
        return [stage for stage in (*options, CODE) if stage in self.layers]

    def forward(self, images: torch.Tensor, domains: torch.Tensor | int | None = None) -> torch.Tensor:
        """Return logits (B, C) for images (B, channels, H, W) float.

        Parameters
        ----------
        images
            The batch.
        domains
            (B,) uint8, or one number for all: what kind of image each is, by its place in `branches.DOMAINS`. Only a
            network with branches looks at it; to that one, a tensor in the CPU's memory spares waiting for a GPU.
        """
        return self._outputs(images, domains, "")[-1]

    def embed(
        self, images: torch.Tensor, layer: str, domains: torch.Tensor | int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the feature (B, D) that stage `layer` gives, and the logits (B, C), from one pass.

        Parameters
        ----------
        images, domains
            As `forward` takes them.
        layer
            Name of the stage.

        Raises
        ------
        InputError
            If there is no such stage.
        """
        if layer not in self.layers:
            raise InputError(unknown_name("feature layer", layer, self.layers))
        feature, logits = self._outputs(images, domains, layer)
        return feature.flatten(1), logits

    def _outputs(
        self, images: torch.Tensor, domains: torch.Tensor | int | None, layer: str
    ) -> tuple[torch.Tensor, ...]:
        """Return the output of stage `layer`, if there is one of this name, and the logits."""
        return outputs_of(self.stages, images, layer)


def outputs_of(stages: Mapping[str, nn.Module], inputs: torch.Tensor, layer: str) -> tuple[torch.Tensor, ...]:
    """Return the output of stage `layer`, if it is among the stages, and that of the last one."""
    kept: tuple[torch.Tensor, ...] = ()
    for name, stage in stages.items():
        inputs = stage(inputs)
        if name == layer:
            # A copy: the next stage may work in place.
            kept = (inputs.clone(),)
    return *kept, inputs


def convolution(
    channels_in: int, channels: int, kernel: int, *, stride: int = 1, padding: int = 0, bias: bool = False
) -> nn.Conv2d:
    """Return a convolution with He-normal weights (fan-in), the initialisation both `animals` networks use."""
    layer = nn.Conv2d(channels_in, channels, kernel, stride=stride, padding=padding, bias=bias)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def linear(features_in: int, features: int, *, bias: bool = True) -> nn.Linear:
    """Return a fully-connected layer with He-normal weights (fan-in) and zero bias."""
    layer = nn.Linear(features_in, features, bias=bias)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class GlobalAveragePool(nn.Module):
    """Mean over the image plane: (B, C, H, W) to (B, C).

    A plain mean has a deterministic gradient on a GPU, which adaptive pooling lacks.
    """

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (B, C)."""
        return inputs.mean(dim=(2, 3))


def with_head(
    stages: dict[str, nn.Module],
    features: int,
    *,
    classes: int,
    classifier: str,
    embedding: int | None,
    foreign: Foreign,
) -> StagedNetwork:
    """Return a backbone with its classifier, a linear stage `embedding` before it if asked for.

    Both have torch's own initial weights, as the libraries that the backbones come from.

    Parameters
    ----------
    stages, features
        The backbone, and how many values an image it ends in: (B, features).
    classes, classifier
        Number of logits, and the name of the stage that gives them.
    embedding
        Width of the stage `embedding`; None: no such stage.
    foreign
        How weights of the library fit.

    Raises
    ------
    InputError
        If the width cannot be used.
    """
    stages = dict(stages)
    if embedding is not None:
        stages[_EMBEDDING] = nn.Linear(features, need_width("embedding", embedding, "values of the stage `embedding`"))
        features = embedding
    stages[classifier] = nn.Linear(features, classes)
    return StagedNetwork(stages, foreign)


def with_code(network: StagedNetwork, head: Head, *, classes: int, channels: int, size: int) -> StagedNetwork:
    """Return a network with a head: its stages but the last, a stage `code`, and a linear classifier of the code.

    Whatever the last stage was called, it keeps its name. Both new ones have torch's own initial weights.

    Parameters
    ----------
    network
        The network without a head; its stages become those of the one returned.
    head
        What makes the code.
    classes, channels, size
        Number of logits, input channels, and side of the square input in pixels.

    Raises
    ------
    InputError
        If the network has a stage `code` of its own, or the input is too small.
    """
    stages = dict(network.stages)
    if CODE in stages:
        raise InputError(f"the network has a stage {CODE!r} already, which is what a head adds; leave `head` out.")
    stages.pop(network.classifier)
    stages[CODE] = head.layer(flat_size(stages, channels, size))
    stages[network.classifier] = nn.Linear(head.units, classes)
    return StagedNetwork(stages, network.foreign)


def need_width(option: str, value: object, meaning: str) -> int:
    """Return the value of an option that is a number of channels or units.

    Raises
    ------
    InputError
        If it is no whole number from 1.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"option {option}: got {value!r}; expected a whole number from 1, the {meaning}.")
    return value


def flat_size(stages: dict[str, nn.Module], channels: int, size: int) -> int:
    """Return how many values a chain of stages gives for one image of `size` × `size`, computing nothing.

    Raises
    ------
    InputError
        If the image is too small for the stages.
    """
    # Copies on the meta device have shapes only.
    chain = nn.Sequential(*(_on_meta(stage) for stage in stages.values())).eval()
    try:
        return chain(torch.empty(1, channels, size, size, device="meta")).flatten(1).shape[1]
    except RuntimeError as error:
        raise InputError(f"an input of {size}×{size} is too small: its layers leave nothing of it.") from error


def _on_meta(module: nn.Module) -> nn.Module:
    import copy

    return copy.deepcopy(module).to("meta")
