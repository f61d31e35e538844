"""Rasteriser: strokes to grey pixels, as the studies drew them. Reading strokes is `trazo.data.quickdraw`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from trazo.data.quickdraw import Drawings
from trazo.data.thick_lines import disc, draw_halved, draw_polylines
from trazo.errors import InputError

WHITE = 255
BLACK = 0
SPAN = 256
"""Coordinates of drawings run from 0 to 255, so a canvas of this side shows them as they are."""

_BLOCK = 512


@dataclass(frozen=True)
class RasterOptions:
    """How drawings become pixels; the defaults are those of the `quickdraw` studies (STUDIES §2 and §3).

    Attributes
    ----------
    size
        Side of the images in pixels. The canvas is shrunk to it by area; beyond the canvas it is enlarged.
    canvas
        Side of the canvas that is drawn on, in pixels. Coordinates 0…255 span it.
    thickness
        Thickness of the pen on the canvas, in pixels.
    centre
        Put the middle of the drawing's box in the middle of the canvas.
    margin
        Pixels of the canvas kept free on every side, pen included: each drawing is scaled so that its box fills
        what is left. 0 draws at the size the drawing has, and ink may touch the edge.
    keep_aspect
        Scale both directions alike, so that the longer side of the box fills what is left; otherwise each
        direction is stretched by itself, with a margin of 0 too.

    Raises
    ------
    InputError
        If a number is out of range, or the margin leaves nothing to draw on.
    """

    size: int = 128
    canvas: int = SPAN
    thickness: int = 3
    centre: bool = False
    margin: int = 0
    keep_aspect: bool = True

    def __post_init__(self) -> None:
        for name, low, high in (("size", 1, 4096), ("canvas", 8, 4096), ("thickness", 1, 255)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name} is {value} pixels, expected {low} to {high}.")
        if self.margin < 0 or self.room < 1:
            raise InputError(
                f"a margin of {self.margin} with a pen of {self.thickness} leaves no room on a canvas of "
                f"{self.canvas} pixels; expected at least 0 and less."
            )

    @property
    def fits(self) -> bool:
        """Is each drawing scaled to fill the canvas?"""
        return self.margin > 0 or not self.keep_aspect

    @property
    def edge(self) -> int:
        """Pixels between the canvas' edge and the outermost coordinate, so that the pen's ink stays inside."""
        # OpenCV widens odd pens: thickness 3 reaches 2 pixels to each side of its line.
        return self.margin + (self.thickness + 1) // 2

    @property
    def room(self) -> int:
        """Largest extent of coordinates, in pixels, that a margin leaves."""
        return self.canvas - 1 - 2 * self.edge


def _placed(drawings: Drawings, options: RasterOptions) -> np.ndarray:
    """Return (P, 2) int32 points of all drawings, each on its own canvas."""
    points = np.stack([drawings.x, drawings.y], axis=1).astype(np.int32)
    if options.canvas != SPAN:
        points = np.rint(points * ((options.canvas - 1) / (SPAN - 1))).astype(np.int32)
    if (not options.fits and not options.centre) or len(points) == 0:
        return points
    first = drawings.first_point[drawings.first_stroke]
    counts = np.diff(first)
    drawn = counts > 0
    low = np.minimum.reduceat(points, first[:-1][drawn], axis=0)
    extent = np.maximum.reduceat(points, first[:-1][drawn], axis=0) - low
    scale = np.ones(extent.shape)
    corner = low.astype(float)
    if options.fits:
        np.divide(options.room, extent, out=scale, where=extent > 0)
        if options.keep_aspect:
            # A direction without extent does not limit the other.
            scale[:] = np.where(extent > 0, scale, np.inf).min(axis=1, keepdims=True)
            scale[np.isinf(scale)] = 1.0
        corner[:] = options.edge
    if options.centre:
        corner = (options.canvas - 1 - extent * scale) / 2
    spread = [np.repeat(value, counts[drawn], axis=0) for value in (low, scale, corner)]
    # Halves go up, not to the nearest even number, so that all points of a drawing move alike.
    return np.floor((points - spread[0]) * spread[1] + spread[2] + 0.5).astype(np.int32)


def _draw(canvas: np.ndarray, points: np.ndarray, ends: np.ndarray, thickness: int) -> None:
    """Draw the strokes of one drawing, (P, 2) int32 points that end at (S + 1,) int64 `ends`, in black."""
    if thickness > 1:
        draw_polylines(canvas, points, ends, thickness, disc(thickness))
        return
    for start, end in pairwise(ends.tolist()):
        # OpenCV draws nothing for a line of one point; of two equal ones it draws the dot.
        line = points[start:end] if end - start > 1 else points[start:end].repeat(2, axis=0)
        cv2.polylines(canvas, [line], False, BLACK)


def rasterise(drawings: Drawings, options: RasterOptions | None = None) -> np.ndarray:
    """Draw each drawing in black on a white canvas and shrink the canvas by area.

    Parameters
    ----------
    drawings
        N drawings.
    options
        How; the default is a 256×256 canvas, a pen of thickness 3, 128×128 images.

    Returns
    -------
    np.ndarray
        (N, size, size) uint8, 255 white, 0 black.
    """
    options = options or RasterOptions()
    images = np.empty((len(drawings), options.size, options.size), np.uint8)
    canvas = np.empty((options.canvas, options.canvas), np.uint8)
    shape = (options.size, options.size)
    halved = options.thickness > 1 and options.canvas == 2 * options.size
    for start in range(0, len(drawings), _BLOCK):
        block = drawings.select(slice(start, start + _BLOCK))
        points = _placed(block, options)
        part = images[start : start + _BLOCK]
        if halved:
            # What the studies did, 100,000 times over: the same pixels as below, without a call for each image.
            ends = (block.first_point, block.first_stroke)
            draw_halved(part, canvas, points, *ends, options.thickness, disc(options.thickness))
            continue
        for image, (first, last) in zip(part, pairwise(block.first_stroke.tolist())):
            canvas.fill(WHITE)
            _draw(canvas, points, block.first_point[first : last + 1], options.thickness)
            cv2.resize(canvas, shape, dst=image, interpolation=cv2.INTER_AREA)
    return images
