"""skNet and skResNet, the networks of the `quickdraw` study, each in the forms that its two reproductions describe.

Unpadded (Garrido): valid convolutions and pools, conv – ReLU – BN. Padded (Hernández): "same" convolutions and pools,
conv – BN – ReLU, dropout before the last layer, Gaussian weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from trazo.errors import InputError
from trazo.models.network import StagedNetwork, architectures, convolution, flat_size, linear
from trazo.registry import unknown_name


class SamePool(nn.Module):
    """Max-pool 3×3, stride 2, that gives ⌈n/2⌉ of n pixels, its windows placed as TensorFlow's "SAME" places them.

    The padding of an even side is one row after the image, not one on each side.
    """

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (B, C, ⌈H/2⌉, ⌈H/2⌉) for square (B, C, H, H)."""
        odd = inputs.shape[-1] % 2 == 1
        return functional.max_pool2d(inputs, 3, stride=2, padding=int(odd), ceil_mode=not odd)


class SumBlock(nn.Module):
    """Two convolutions whose output is added to their input, as it is: no projection, nothing after the sum."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (B, C, H, W) for (B, C, H, W)."""
        return inputs + self.second(self.first(inputs))


@dataclass(frozen=True)
class _Form:
    """How one of the two reproductions builds its layers.

    Attributes
    ----------
    padding
        Of convolutions outside residual blocks; inside, the size is kept in both forms.
    norm_first
        Whether batch normalisation comes before ReLU.
    dropout
        Share of fc1's outputs that is dropped before fc2.
    deviations
        Standard deviations of the weights of convolutions and of fully-connected layers; None: He-normal. The study
        of the unpadded form gives none, and its networks have the ReLUs that He's are made for.
    """

    padding: int
    norm_first: bool
    dropout: float
    deviations: tuple[float, float] | None

    def unit(self, channels_in: int, channels: int, *, keep_size: bool = False) -> nn.Sequential:
        """Return a convolution 3×3 with its normalisation and activation."""
        # A bias is undone by a normalisation that follows at once, but not by one that follows a ReLU.
        layer = convolution(
            channels_in, channels, 3, padding=1 if keep_size else self.padding, bias=not self.norm_first
        )
        if self.deviations is not None:
            nn.init.normal_(layer.weight, std=self.deviations[0])
        norm, active = nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        return nn.Sequential(layer, norm, active) if self.norm_first else nn.Sequential(layer, active, norm)

    def pool(self) -> nn.Module:
        """Return the max-pool 3×3, stride 2."""
        return SamePool() if self.padding else nn.MaxPool2d(3, stride=2)

    def residual(self, channels: int) -> SumBlock:
        """Return a residual block."""
        units = [self.unit(channels, channels, keep_size=True) for _ in range(2)]
        return SumBlock(*units)

    def full(self, features_in: int, features: int) -> nn.Linear:
        """Return a fully-connected layer."""
        layer = linear(features_in, features)
        if self.deviations is not None:
            nn.init.normal_(layer.weight, std=self.deviations[1])
        return layer


_FORMS = {
    "unpadded": _Form(padding=0, norm_first=False, dropout=0.0, deviations=None),
    "padded": _Form(padding=1, norm_first=True, dropout=0.25, deviations=(0.01, 0.02)),
}


def _checked(form: str, widths: Sequence[int], fc: int, dropout: float | None) -> tuple[_Form, float]:
    """Return the form and the share dropped, or say which option cannot be used."""
    if form not in _FORMS:
        raise InputError(f"option form: {unknown_name('form', str(form), _FORMS)}")
    if not isinstance(widths, Sequence) or len(widths) != 4 or not all(_is_width(width) for width in widths):
        raise InputError(
            f"option widths: got {widths!r}; expected four whole numbers from 1, the channels of the four blocks."
        )
    if not _is_width(fc):
        raise InputError(f"option fc: got {fc!r}; expected a whole number from 1, the units of fc1.")
    if dropout is None:
        return _FORMS[form], _FORMS[form].dropout
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise InputError(f"option dropout: got {dropout!r}; expected the share dropped, from 0 to below 1.")
    return _FORMS[form], float(dropout)


def _is_width(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _with_head(
    blocks: dict[str, nn.Module], form: _Form, *, classes: int, channels: int, size: int, fc: int, dropout: float
) -> StagedNetwork:
    fc1 = nn.Sequential(nn.Flatten(), form.full(flat_size(blocks, channels, size), fc), nn.ReLU(inplace=True))
    last = form.full(fc, classes)
    fc2 = nn.Sequential(nn.Dropout(dropout), last) if dropout else nn.Sequential(last)
    return StagedNetwork({**blocks, "fc1": fc1, "fc2": fc2})


@architectures.register("sknet")
def sknet(
    *,
    classes: int,
    channels: int,
    size: int,
    form: str = "unpadded",
    widths: Sequence[int] = (64, 128, 128, 256),
    fc: int = 1024,
    dropout: float | None = None,
) -> StagedNetwork:
    """Build skNet: four blocks of conv 3×3 ×2 – P3/2; fc1 – ReLU; fc2. 8 convolutions.

    Unpadded sizes of 128×128: 126, 124, 61 | 59, 57, 28 | 26, 24, 11 | 9, 7, 3. That is what pools of 3×3 with stride
    2 give, as the study's text has them. Its figure counts 27 for 28, and ends with 2: half the side less one, which
    fits pools of 4×4; the text decides. Padded sizes: 64, 32, 16, 8 after the pools.

    Parameters
    ----------
    classes
        Number of logits.
    channels
        Input channels.
    size
        Side of the square input in pixels.
    form
        "unpadded" or "padded" (see the module).
    widths
        Channels of the four blocks; the study's figure has 64, 128, 128, 256, its code 64 throughout.
    fc
        Units of fc1.
    dropout
        Share of fc1's outputs dropped before fc2; None: none unpadded, 0.25 padded.

    Returns
    -------
    StagedNetwork
        Stages block1 … block4, fc1, fc2; the study's feature is fc1 after its ReLU, (B, 1024).

    Raises
    ------
    InputError
        If an option cannot be used, or the input is too small.

    References
    ----------
    Study `quickdraw`, figure 1 and section 1 of its paper (unpadded), and its second reproduction (padded).
    """
    kind, share = _checked(form, widths, fc, dropout)
    blocks: dict[str, nn.Module] = {}
    channels_in = channels
    for index, width in enumerate(widths, start=1):
        blocks[f"block{index}"] = nn.Sequential(kind.unit(channels_in, width), kind.unit(width, width), kind.pool())
        channels_in = width
    return _with_head(blocks, kind, classes=classes, channels=channels, size=size, fc=fc, dropout=share)


@architectures.register("skresnet")
def skresnet(
    *,
    classes: int,
    channels: int,
    size: int,
    form: str = "unpadded",
    widths: Sequence[int] = (64, 128, 256, 256),
    fc: int = 1024,
    dropout: float | None = None,
) -> StagedNetwork:
    """Build skResNet: conv ×2 – P3/2 – 2 residual blocks; twice conv – P3/2 – 2 residual blocks; conv – P3/2; fc1; fc2.

    17 convolutions. Unpadded sizes of 128×128: 126, 124, 61 | 59, 29 | 27, 13 | 11, 5; a residual block keeps its
    size in both forms. Padded sizes: 64, 32, 16, 8 after the pools.

    Parameters
    ----------
    classes, channels, size, form, fc, dropout
        As `sknet`.
    widths
        Channels of the four blocks, as the study's figure 2 has them.

    Returns
    -------
    StagedNetwork
        Stages block1 … block4, fc1, fc2; the study's feature is fc1 after its ReLU, (B, 1024).

    Raises
    ------
    InputError
        If an option cannot be used, or the input is too small.

    References
    ----------
    Study `quickdraw`, figure 2 and section 1 of its paper (unpadded), and its second reproduction (padded).
    """
    kind, share = _checked(form, widths, fc, dropout)
    first, second, third, fourth = widths
    blocks: dict[str, nn.Module] = {
        "block1": nn.Sequential(
            kind.unit(channels, first), kind.unit(first, first), kind.pool(), kind.residual(first), kind.residual(first)
        ),
        "block2": nn.Sequential(kind.unit(first, second), kind.pool(), kind.residual(second), kind.residual(second)),
        "block3": nn.Sequential(kind.unit(second, third), kind.pool(), kind.residual(third), kind.residual(third)),
        "block4": nn.Sequential(kind.unit(third, fourth), kind.pool()),
    }
    return _with_head(blocks, kind, classes=classes, channels=channels, size=size, fc=fc, dropout=share)
