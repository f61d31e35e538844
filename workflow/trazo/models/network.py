"""The shape all networks share: a chain of named stages that ends in a classifier.

A feature is the output of a stage, by its name. Architectures live in files of their own beside this one.
"""

from __future__ import annotations

import torch
from torch import nn

from trazo.errors import InputError
from trazo.registry import Registry, unknown_name

architectures: Registry = Registry("architecture")


class StagedNetwork(nn.Module):
    """Named stages applied one after the other.

    Parameters
    ----------
    stages
        Modules by name, in order; the last one gives the logits.
    """

    def __init__(self, stages: dict[str, nn.Module]) -> None:
        super().__init__()
        self.stages = nn.ModuleDict(stages)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (B, C) for images (B, channels, H, W) float."""
        for stage in self.stages.values():
            images = stage(images)
        return images

    def embed(self, images: torch.Tensor, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the feature (B, D) that stage `layer` gives, and the logits (B, C), from one pass.

        Raises
        ------
        InputError
            If there is no such stage.
        """
        if layer not in self.stages:
            raise InputError(unknown_name("feature layer", layer, self.stages))
        feature = images
        for name, stage in self.stages.items():
            images = stage(images)
            if name == layer:
                # A copy: the next stage may work in place.
                feature = images.clone()
        return feature.flatten(1), images


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
