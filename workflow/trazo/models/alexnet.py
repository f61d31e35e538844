"""AlexNet as the `animals` study uses it: batch-normalised, without padding, 1024 units in fc6 and fc7."""

from __future__ import annotations

from torch import nn

from trazo.models.network import StagedNetwork, architectures, convolution, flat_size, linear


def _convolution(channels_in: int, channels: int, kernel: int, stride: int = 1, *, pool: bool = False) -> nn.Sequential:
    # The bias would be undone by the batch normalisation that follows.
    layers = [
        convolution(channels_in, channels, kernel, stride=stride),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    ]
    return nn.Sequential(*layers, *([nn.MaxPool2d(3, stride=2)] if pool else []))


def _fully_connected(features_in: int, features: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), linear(features_in, features, bias=False), nn.BatchNorm1d(features), nn.ReLU(inplace=True)
    )


@architectures.register("alexnet")
def alexnet(*, classes: int, channels: int, size: int, width: int = 1024) -> StagedNetwork:
    """Build AlexNet (BN variant).

    conv 11×11,96 stride 4 – BN – ReLU – P3/2; conv 5×5,256 – BN – ReLU – P3/2; conv 3×3,384; conv 3×3,384;
    conv 3×3,256 (each BN – ReLU); fc6 – BN – ReLU; fc7 – BN – ReLU; fc8. No padding; He-normal weights.

    Parameters
    ----------
    classes
        Number of logits.
    channels
        Input channels.
    size
        Side of the square input in pixels; at least 163.
    width
        Units of fc6 and fc7.

    Returns
    -------
    StagedNetwork
        Stages conv1 … conv5, fc6, fc7, fc8; the study's feature is fc7, (B, 1024).

    References
    ----------
    A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional neural networks",
    NIPS 2012; study `animals`, figure 4 and section 3a.
    """
    stages: dict[str, nn.Module] = {
        "conv1": _convolution(channels, 96, 11, 4, pool=True),
        "conv2": _convolution(96, 256, 5, pool=True),
        "conv3": _convolution(256, 384, 3),
        "conv4": _convolution(384, 384, 3),
        "conv5": _convolution(384, 256, 3),
    }
    stages["fc6"] = _fully_connected(flat_size(stages, channels, size), width)
    stages["fc7"] = _fully_connected(width, width)
    stages["fc8"] = linear(width, classes)
    return StagedNetwork(stages)
