"""SE-ResNet as timm builds it, so that timm's weights fit: `bottlenecks`' network with squeeze-and-excitation."""

from __future__ import annotations

import torch
from torch import nn

from trazo.models.bottlenecks import bottleneck_network, own_name
from trazo.models.network import Foreign, StagedNetwork, architectures

# By name, not "the default": the same weights with every version of timm.
_IMAGENET = "seresnet50.a1_in1k"
_REDUCTION, _DIVISOR = 16, 8


class SqueezeExcitation(nn.Module):
    """Channels weighed by what an image has of all of them: mean – 1×1 – ReLU – 1×1 – sigmoid, times the input.

    A sixteenth of the channels in between, rounded to a multiple of 8 as timm rounds it; He-normal weights (fan-out).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(_DIVISOR, (channels // _REDUCTION + _DIVISOR // 2) // _DIVISOR * _DIVISOR)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (B, channels, H, W) for the same."""
        means = inputs.mean(dim=(2, 3), keepdim=True)
        return inputs * torch.sigmoid(self.fc2(torch.relu(self.fc1(means))))


def _download() -> dict[str, torch.Tensor]:
    import timm

    return timm.create_model(_IMAGENET, pretrained=True).state_dict()


@architectures.register("seresnet50")
def seresnet50(
    *, classes: int, channels: int, size: int, width: int = 64, embedding: int | None = None
) -> StagedNetwork:
    """Build SE-ResNet-50 as timm builds it.

    `resnet50`, each block's channels weighed by squeeze-and-excitation (reduction 16) before the sum.

    Parameters
    ----------
    classes
        Number of logits.
    channels
        Input channels.
    size
        Side of the square input in pixels; the network takes any.
    width
        Channels of the stem; published weights need 64.
    embedding
        Width of a linear stage `embedding` between pool and classifier; None: no such stage.

    Returns
    -------
    StagedNetwork
        Stages stem, layer1 … layer4, pool, fc; the `sbir` study's feature is pool, (B, 2048).

    Raises
    ------
    InputError
        If an option cannot be used.

    References
    ----------
    J. Hu, L. Shen, G. Sun, "Squeeze-and-excitation networks", CVPR 2018, table 1; study `sbir`.
    """
    return bottleneck_network(
        (3, 4, 6, 3),
        classes=classes,
        channels=channels,
        width=width,
        embedding=embedding,
        foreign=Foreign(f"timm {_IMAGENET}", own_name, _download),
        attention=SqueezeExcitation,
    )


@architectures.register("seresnet26")
def seresnet26(
    *, classes: int, channels: int, size: int, width: int = 64, embedding: int | None = None
) -> StagedNetwork:
    """Build SE-ResNet-26: as `seresnet50`, with 2, 2, 2 and 2 blocks, for two CPU cores; nobody publishes weights."""
    return bottleneck_network(
        (2, 2, 2, 2),
        classes=classes,
        channels=channels,
        width=width,
        embedding=embedding,
        foreign=Foreign("", own_name, dict),
        attention=SqueezeExcitation,
    )
