"""Changes of images while a network trains, by name and strength: batched, on the device, drawn from a generator.

Only what happens to a batch is here; when it happens is decided in `loop`, and what becomes of it in `learner`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.nn import functional

from trazo.errors import InputError
from trazo.registry import Registry, checked_options
from trazo.training.joined import SKETCH

WHITE = 255.0
Fill = Literal["white", "edge", "reflect"]
_PADDING = {"white": "border", "edge": "border", "reflect": "reflection"}


class Augmentation(BaseModel):
    """A change of images, with its options: a subclass each, unknown options refused.

    Attributes
    ----------
    strength
        The option that a bare number stands for (`flip: 0.5`).
    turn
        Its place among the others, whatever order they are written in.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    strength: ClassVar[str]
    turn: ClassVar[int]


class Motion(Augmentation):
    """An augmentation that moves pixels: all those of a batch become one resampling."""

    def matrices(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return (B, 3, 3) float32 for (B, C, H, W) images: from places in the result to places in the image.

        Places are homogeneous (x, y, 1), from −1 to 1 over the width and over the height, as `affine_grid` has them.
        """
        raise NotImplementedError


class Retouch(Augmentation):
    """An augmentation that changes the drawing of sketches: dark strokes on white. Photos stay as they are."""

    def change(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return (B, C, H, W) float32 images in 0 … 255, changed."""
        raise NotImplementedError


augmentations: Registry[type[Augmentation]] = Registry("augmentation")


@augmentations.register("thickness")
class Thickness(Retouch):
    """Thicker or thinner strokes, by −n … n steps, all equally likely; a step adds or takes a pixel on every side.

    Dark pixels are dilated or eroded by squares of 3 × 3. Thin lines can vanish in places: a step that would leave
    nothing dark (below 128) of the whole drawing is not taken.
    """

    strength = "pixels"
    turn = 1

    pixels: int = Field(1, ge=1, le=8, description="most steps")

    def change(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """As `Retouch.change`."""
        shape = (len(images), 1, 1, 1)
        steps = torch.randint(-self.pixels, self.pixels + 1, shape, generator=generator, device=images.device)
        thicker = thinner = changed = images
        for step in range(1, self.pixels + 1):
            thicker, thinner = -_brightest(-thicker), _brightest(thinner)
            some_left = thinner.amin(dim=(1, 2, 3), keepdim=True) < WHITE / 2
            changed = torch.where(steps >= step, thicker, changed)
            changed = torch.where((steps <= -step) & some_left, thinner, changed)
        return changed


def _brightest(images: torch.Tensor) -> torch.Tensor:
    """Return the largest value around each pixel, itself included: of three in a row, then of three rows.

    Some ten times as fast as `max_pool2d` is on a CPU.
    """
    padded = functional.pad(images, (1, 1, 1, 1), value=-torch.inf)
    rows = torch.maximum(torch.maximum(padded[..., :-2], padded[..., 2:]), padded[..., 1:-1])
    return torch.maximum(torch.maximum(rows[..., :-2, :], rows[..., 2:, :]), rows[..., 1:-1, :])


@augmentations.register("erase")
class Erase(Retouch):
    """A square of the drawing turned white, its centre on a dark pixel.

    A stand-in for the removal of strokes: pixels do not say which stroke they are of.
    """

    strength = "probability"
    turn = 2

    probability: float = Field(0.5, gt=0, le=1, description="how likely an image loses a square")
    side: float = Field(0.2, gt=0, lt=1, description="its side, as a part of the image's")

    def change(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """As `Retouch.change`."""
        count, _, height, width = images.shape
        drawn = torch.rand(count, generator=generator, device=images.device) < self.probability
        ink = (WHITE - images.mean(dim=1)).flatten(1)
        # The largest of random numbers, times the ink: where there is none, nothing wins.
        centre = (torch.rand(ink.shape, generator=generator, device=images.device) * ink).argmax(dim=1)
        rows = _near(torch.div(centre, width, rounding_mode="floor"), height, self.side)
        columns = _near(centre % width, width, self.side)
        hole = rows[:, :, None] & columns[:, None, :] & drawn[:, None, None]
        return torch.where(hole[:, None], WHITE, images)


def _near(centre: torch.Tensor, length: int, side: float) -> torch.Tensor:
    """Return (B, length) bool: which places lie within half a side of (B,) centres."""
    places = torch.arange(length, device=centre.device)
    return (places - centre[:, None]).abs() <= side * length / 2


@augmentations.register("flip")
class Flip(Motion):
    """Left and right exchanged."""

    strength = "probability"
    turn = 3

    probability: float = Field(0.5, gt=0, le=1, description="how likely an image is flipped")

    def matrices(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """As `Motion.matrices`."""
        flipped = torch.rand(len(images), generator=generator, device=images.device) < self.probability
        matrices = _unchanged(images)
        matrices[:, 0, 0] = torch.where(flipped, -1.0, 1.0)
        return matrices


@augmentations.register("rotate")
class Rotate(Motion):
    """Turned about the centre, by an angle uniform in −degrees … degrees.

    Turned images are interpolated, and thin strokes become fainter than in those the network is tested on: with a
    `probability` below 1 it sees both.
    """

    strength = "degrees"
    turn = 4

    degrees: float = Field(10, gt=0, le=180, description="largest angle, either way")
    probability: float = Field(1.0, gt=0, le=1, description="how likely an image is turned")

    def matrices(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """As `Motion.matrices`."""
        matrices = turned(images, self.degrees * _between(-1, 1, len(images), generator, images.device))
        return _some(matrices, images, self.probability, generator)


@augmentations.register("crop")
class Crop(Motion):
    """A part of the image, brought back to its size: its sides uniform in smallest … 1 of the image's, at random.

    Interpolated, as `rotate` says.
    """

    strength = "smallest"
    turn = 5

    smallest: float = Field(0.9, gt=0, lt=1, description="least part of each side that is kept")
    probability: float = Field(1.0, gt=0, le=1, description="how likely an image is cropped")

    def matrices(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """As `Motion.matrices`."""
        kept = _between(self.smallest, 1, len(images), generator, images.device)
        matrices = _unchanged(images)
        for axis in range(2):
            matrices[:, axis, axis] = kept
            matrices[:, axis, 2] = (1 - kept) * _between(-1, 1, len(images), generator, images.device)
        return _some(matrices, images, self.probability, generator)


def turned(images: torch.Tensor, degrees: torch.Tensor) -> torch.Tensor:
    """Return the matrices (B, 3, 3) of `Motion` that turn (B, C, H, W) images by (B,) degrees, counter-clockwise."""
    height, width = images.shape[2:]
    angle = degrees * (math.pi / 180)
    matrices = _unchanged(images)
    matrices[:, 0, 0] = matrices[:, 1, 1] = angle.cos()
    # An image that is not square would be sheared: places count sides, not pixels.
    matrices[:, 0, 1] = -angle.sin() * (height / width)
    matrices[:, 1, 0] = angle.sin() * (width / height)
    return matrices


def _unchanged(images: torch.Tensor) -> torch.Tensor:
    return torch.eye(3, device=images.device).repeat(len(images), 1, 1)


def _some(matrices: torch.Tensor, images: torch.Tensor, probability: float, generator: torch.Generator) -> torch.Tensor:
    """Return the matrices of so large a part of the images; the others stay as they are."""
    if probability == 1:
        return matrices
    drawn = torch.rand(len(images), generator=generator, device=images.device) < probability
    return torch.where(drawn[:, None, None], matrices, _unchanged(images))


def _between(low: float, high: float, count: int, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    return low + (high - low) * torch.rand(count, generator=generator, device=device)


def moved(images: torch.Tensor, matrices: torch.Tensor, white: torch.Tensor, fill: Fill) -> torch.Tensor:
    """Return images resampled once, bilinearly.

    Parameters
    ----------
    images
        (B, C, H, W) float32 in 0 … 255.
    matrices
        (B, 3, 3) as in `Motion.matrices`.
    white
        (B,) bool, the images that are white outside.
    fill
        What the others have outside.
    """
    grid = functional.affine_grid(matrices[:, :2], list(images.shape), align_corners=False)
    resampled = functional.grid_sample(images, grid, padding_mode=_PADDING[fill], align_corners=False)
    outside = (grid.abs() > 1).any(dim=3) & white[:, None, None]
    return torch.where(outside[:, None], WHITE, resampled)


@dataclass(frozen=True)
class Augmenter:
    """What happens to the images of a stage while it trains.

    Attributes
    ----------
    parts
        In the order in which they happen.
    fill
        What stands outside of an image that is turned: white, its edge, or its reflection. Sketches are white there.
    """

    parts: tuple[Augmentation, ...]
    fill: Fill = "edge"

    def change(self, pixels: torch.Tensor, domains: torch.Tensor | None, generator: torch.Generator) -> torch.Tensor:
        """Return a changed batch, before it is resized and normalised.

        Parameters
        ----------
        pixels
            (B, H, W) or (B, H, W, 3) uint8.
        domains
            (B,) uint8 on any device, 0 a sketch and 1 a photo. None: all are changed as sketches are, and filled
            as photos are.
        generator
            On the device of the pixels; its state alone decides what is drawn.

        Returns
        -------
        torch.Tensor
            As `pixels`, float32 in 0 … 255.
        """
        images = (pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)).to(torch.float32)
        nobody = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        sketches = nobody if domains is None else domains.to(images.device, non_blocking=True) == SKETCH
        drawn = sketches | (domains is None)
        for part in self.parts:
            if isinstance(part, Retouch):
                images = torch.where(drawn[:, None, None, None], part.change(images, generator), images)
        motions = [part for part in self.parts if isinstance(part, Motion)]
        if motions:
            matrices = _unchanged(images)
            for motion in motions:
                matrices = matrices @ motion.matrices(images, generator)
            images = moved(images, matrices, sketches | (self.fill == "white"), self.fill)
        return images[:, 0] if pixels.ndim == 3 else images.permute(0, 2, 3, 1)


def augmenter(written: Mapping[str, Any]) -> Augmenter:
    """Return the augmentations of a stage from {name: strength or options}, and `fill` beside them.

    Raises
    ------
    InputError
        If a name or an option is unknown, or an option has a wrong value.
    """
    given = dict(written)
    fill = given.pop("fill", "edge")
    if fill not in get_args(Fill):
        raise InputError(f"fill: got {fill!r}; expected one of {', '.join(get_args(Fill))}.")
    if not given:
        raise InputError(f"no augmentation; name one of {', '.join(augmentations.names())}, such as flip: 0.5.")
    parts = [_augmentation(name, options) for name, options in given.items()]
    return Augmenter(tuple(sorted(parts, key=lambda part: part.turn)), fill)


def _augmentation(name: str, written: Any) -> Augmentation:
    kind = augmentations.get(name)
    return checked_options(name, kind, written if isinstance(written, Mapping) else {kind.strength: written})
