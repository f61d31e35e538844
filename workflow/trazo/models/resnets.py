"""Residual networks with full pre-activation (He et al., 2016), as the `animals` study uses them."""

from __future__ import annotations

import torch
from torch import nn

from trazo.models.network import GlobalAveragePool, StagedNetwork, architectures, convolution, linear


class PreActivationBlock(nn.Module):
    """BN – ReLU – conv 3×3, twice, added to a shortcut; projected 1×1 where the shape changes.

    The projection reads the activated input, as in figure 4(e) of He et al., "Identity mappings in deep residual
    networks", ECCV 2016, and the code behind it.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.conv1 = convolution(channels_in, channels, 3, stride=stride, padding=1)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = convolution(channels, channels, 3, padding=1)
        self.stride = stride
        changes = stride != 1 or channels_in != channels
        self.projection = convolution(channels_in, channels, 1) if changes else None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (B, channels, H/stride, W/stride) for (B, channels_in, H, W)."""
        active = torch.relu(self.norm1(inputs))
        if self.projection is None:
            shortcut = inputs
        else:
            # A 1×1 convolution with a stride, spelled out: oneDNN's own writes past its memory where channels are
            # few (github.com/uxlfoundation/oneDNN issue 6035).
            shortcut = self.projection(active[:, :, :: self.stride, :: self.stride])
        return shortcut + self.conv2(torch.relu(self.norm2(self.conv1(active))))


def _residual_network(blocks: tuple[int, ...], *, classes: int, channels: int, width: int) -> StagedNetwork:
    widths = [width * 2**i for i in range(len(blocks))]
    stages: dict[str, nn.Module] = {
        "stem": nn.Sequential(
            convolution(channels, width, 7, stride=2, padding=3), nn.MaxPool2d(3, stride=2, padding=1)
        )
    }
    channels_in = width
    for index, (count, channels_out) in enumerate(zip(blocks, widths, strict=True)):
        first = PreActivationBlock(channels_in, channels_out, stride=1 if index == 0 else 2)
        others = [PreActivationBlock(channels_out, channels_out, stride=1) for _ in range(count - 1)]
        stages[f"stage{index + 1}"] = nn.Sequential(first, *others)
        channels_in = channels_out
    stages["pool"] = nn.Sequential(nn.BatchNorm2d(channels_in), nn.ReLU(inplace=True), GlobalAveragePool())
    stages["head"] = linear(channels_in, classes)
    return StagedNetwork(stages)


@architectures.register("resnet34")
def resnet34(*, classes: int, channels: int, size: int, width: int = 64) -> StagedNetwork:
    """Build ResNet-34 with full pre-activation.

    Stem conv 7×7,64 stride 2 – P3/2; 3, 4, 6 and 3 blocks of 64, 128, 256 and 512 channels; BN – ReLU; global
    average pool; a fully-connected head. He-normal weights.

    Parameters
    ----------
    classes
        Number of logits.
    channels
        Input channels.
    size
        Side of the square input in pixels; the network takes any.
    width
        Channels of the first stage; the others are 2, 4 and 8 times as wide.

    Returns
    -------
    StagedNetwork
        Stages stem, stage1 … stage4, pool, head; the study's feature is pool, (B, 512).

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, and "Identity
    mappings in deep residual networks", ECCV 2016; study `animals`, figure 6 and section 3a.
    """
    return _residual_network((3, 4, 6, 3), classes=classes, channels=channels, width=width)


@architectures.register("resnet18")
def resnet18(*, classes: int, channels: int, size: int, width: int = 64) -> StagedNetwork:
    """Build ResNet-18 with full pre-activation: as `resnet34`, with 2, 2, 2 and 2 blocks."""
    return _residual_network((2, 2, 2, 2), classes=classes, channels=channels, width=width)
