"""ResNet-50 as torchvision builds it, so that weights of torchvision and timm fit, and what its kind shares.

Squeeze-and-excitation is in `seresnets`, pre-activation in `resnets`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import nn

from trazo.models.network import Foreign, GlobalAveragePool, StagedNetwork, architectures, need_width, with_head

# By name, not "the default": the same weights with every version of torchvision.
_IMAGENET = "IMAGENET1K_V2"
_EXPANSION = 4


def _convolution(channels_in: int, channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    layer = nn.Conv2d(channels_in, channels, kernel, stride=stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


class _Projection(nn.Sequential):
    """Convolution 1×1 with a stride – BN, with torchvision's names."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__(_convolution(channels_in, channels, 1), nn.BatchNorm2d(channels))
        self.stride = stride

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        # The stride spelled out: oneDNN's own strided 1×1 convolution writes past its memory where channels are few
        # (github.com/uxlfoundation/oneDNN issue 6035).
        return super().forward(inputs[:, :, :: self.stride, :: self.stride])


class Bottleneck(nn.Module):
    """Convolutions 1×1, 3×3 (with the stride) and 1×1, each with BN, added to a shortcut; ReLU after the sum.

    Parameters
    ----------
    channels_in, channels, stride
        Of the input, of the narrow convolutions, of the 3×3 convolution.
    attention
        Makes, of a number of channels, what weighs them before the sum.
    """

    def __init__(
        self, channels_in: int, channels: int, stride: int, attention: Callable[[int], nn.Module] = nn.Identity
    ) -> None:
        super().__init__()
        wide = channels * _EXPANSION
        self.conv1 = _convolution(channels_in, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _convolution(channels, channels, 3, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = _convolution(channels, wide, 1)
        self.bn3 = nn.BatchNorm2d(wide)
        self.se = attention(wide)
        changes = stride != 1 or channels_in != wide
        self.downsample = _Projection(channels_in, wide, stride) if changes else None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (B, 4 · channels, H/stride, W/stride) for (B, channels_in, H, W)."""
        active = self.bn1(self.conv1(inputs)).relu_()
        active = self.bn2(self.conv2(active)).relu_()
        shortcut = inputs if self.downsample is None else self.downsample(inputs)
        return self.se(self.bn3(self.conv3(active))).add_(shortcut).relu_()


def own_name(key: str) -> str:
    """Return our key for a key of torchvision's or timm's residual networks."""
    first = key.partition(".")[0]
    return f"stages.stem.{key}" if first in ("conv1", "bn1") else f"stages.{key}"


def _download() -> dict[str, torch.Tensor]:
    from torchvision.models import ResNet50_Weights

    return ResNet50_Weights[_IMAGENET].get_state_dict(progress=False, check_hash=True, weights_only=True)


def bottleneck_network(
    blocks: Sequence[int],
    *,
    classes: int,
    channels: int,
    width: int,
    embedding: int | None,
    foreign: Foreign,
    attention: Callable[[int], nn.Module] = nn.Identity,
) -> StagedNetwork:
    """Build a residual network of bottleneck blocks: stages stem, layer1, …, pool, fc.

    Parameters
    ----------
    blocks
        How many each layer has.
    classes, channels, width, embedding
        As `resnet50` takes them.
    foreign
        How weights of another library fit.
    attention
        As `Bottleneck` takes it.

    Raises
    ------
    InputError
        If an option cannot be used.
    """
    width = need_width("width", width, "channels of the stem")
    stem = {
        "conv1": _convolution(channels, width, 7, 2),
        "bn1": nn.BatchNorm2d(width),
        "relu": nn.ReLU(inplace=True),
        "maxpool": nn.MaxPool2d(3, stride=2, padding=1),
    }
    stages: dict[str, nn.Module] = {"stem": nn.Sequential(OrderedDict(stem))}
    channels_in = width
    for index, count in enumerate(blocks):
        narrow = width * 2**index
        first = Bottleneck(channels_in, narrow, 1 if index == 0 else 2, attention)
        channels_in = narrow * _EXPANSION
        others = (Bottleneck(channels_in, narrow, 1, attention) for _ in range(count - 1))
        stages[f"layer{index + 1}"] = nn.Sequential(first, *others)
    stages["pool"] = GlobalAveragePool()
    return with_head(stages, channels_in, classes=classes, classifier="fc", embedding=embedding, foreign=foreign)


@architectures.register("resnet50")
def resnet50(*, classes: int, channels: int, size: int, width: int = 64, embedding: int | None = None) -> StagedNetwork:
    """Build ResNet-50 as torchvision builds it.

    Stem conv 7×7,64 stride 2 – BN – ReLU – P3/2; 3, 4, 6 and 3 bottleneck blocks of 256, 512, 1024 and 2048 channels,
    the stride in their 3×3 convolution; global average pool; a fully-connected classifier. He-normal convolutions
    (fan-out).

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
        Stages stem, layer1 … layer4, pool, fc; the `scenes` study's feature is pool, (B, 2048).

    Raises
    ------
    InputError
        If an option cannot be used.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, table 1; the stride's
    place is torchvision's; study `scenes`, task a.
    """
    foreign = Foreign(f"torchvision ResNet50_Weights.{_IMAGENET}", own_name, _download)
    return bottleneck_network(
        (3, 4, 6, 3), classes=classes, channels=channels, width=width, embedding=embedding, foreign=foreign
    )
