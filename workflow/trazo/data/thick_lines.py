"""Compiled drawing of thick polylines, to the pixel as `cv2.polylines` draws them, in less time.

OpenCV draws a thick segment as a quadrangle (its outline, then its inside) with a disc at either end, in 16-bit fixed
point, and clips the outline at the canvas' edge; the same rounding is kept here, and tests hold the two together.
Placing and shrinking are in `trazo.data.raster`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import cv2
import numpy as np
from numba import njit

_SHIFT = 16
_ONE = 1 << _SHIFT
_HALF = _ONE >> 1


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function`, and keep the result on disk where that can be done (a read-only installation cannot)."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)


@cache
def disc(thickness: int) -> np.ndarray:
    """Return the half-widths (2 r + 1,) int64 of the rows of the disc that ends a line of `thickness`."""
    radius = (thickness + 1) // 2
    side = 2 * radius + 1
    image = cv2.circle(np.zeros((side, side), np.uint8), (radius, radius), radius, 1, cv2.FILLED)
    return (image.sum(axis=1, dtype=np.int64) - 1) // 2


@_compiled
def _quotient(a, b):
    """Return a / b without its fraction, as C divides (Python rounds down)."""
    return a // b if (a < 0) == (b < 0) or a % b == 0 else a // b + 1


@_compiled
def _step(a, b):
    """Return a / b without its fraction; floats are quicker, and exact for slopes on any canvas allowed."""
    return np.int64(float(a) / float(b))


@_compiled
def _outline(canvas, x1, y1, x2, y2):
    """Draw a line one pixel wide between points in fixed point."""
    height, width = canvas.shape
    right = (width << _SHIFT) - 1
    bottom = (height << _SHIFT) - 1
    if (x1 < 0 and x2 < 0) or (x1 > right and x2 > right) or (y1 < 0 and y2 < 0) or (y1 > bottom and y2 > bottom):
        return
    # Each end is moved along the line as the other end stands by then: the order decides the rounding.
    if y1 < 0 or y1 > bottom:
        edge = 0 if y1 < 0 else bottom
        x1 += _quotient((edge - y1) * (x2 - x1), y2 - y1)
        y1 = edge
    if y2 < 0 or y2 > bottom:
        edge = 0 if y2 < 0 else bottom
        x2 += _quotient((edge - y2) * (x2 - x1), y2 - y1)
        y2 = edge
    if (x1 < 0 and x2 < 0) or (x1 > right and x2 > right):
        return
    if x1 < 0 or x1 > right:
        edge = 0 if x1 < 0 else right
        y1 += _quotient((edge - x1) * (y2 - y1), x2 - x1)
        x1 = edge
    if x2 < 0 or x2 > right:
        edge = 0 if x2 < 0 else right
        y2 += _quotient((edge - x2) * (y2 - y1), x2 - x1)
        x2 = edge
    across = abs(x2 - x1)
    down = abs(y2 - y1)
    if (x2 < x1) if across > down else (y2 < y1):
        x1, y1, x2, y2 = x2, y2, x1, y1
    x = (x2 + _HALF) >> _SHIFT
    y = (y2 + _HALF) >> _SHIFT
    if x < width and y < height:
        canvas[y, x] = 0
    if across > down:
        step = _step((y2 - y1) << _SHIFT, across | 1)
        first = (x1 + _HALF) >> _SHIFT
        y1 += _HALF
        for x in range(first, min(first + (across >> _SHIFT) + 1, width)):
            y = y1 >> _SHIFT
            if 0 <= y < height:
                canvas[y, x] = 0
            y1 += step
    else:
        step = _step((x2 - x1) << _SHIFT, down | 1)
        first = (y1 + _HALF) >> _SHIFT
        x1 += _HALF
        for y in range(first, min(first + (down >> _SHIFT) + 1, height)):
            x = x1 >> _SHIFT
            if 0 <= x < width:
                canvas[y, x] = 0
            x1 += step


@_compiled
def _inside(canvas, xs, ys, corner, until, at, slope):
    """Fill the quadrangle with corners (xs, ys) in fixed point, row by row between a chain of edges on either side.

    `corner`, `until`, `at` and `slope` are scratch for the two chains: where each stands.
    """
    height, width = canvas.shape
    top = 0
    lowest = ys[0]
    for i in range(1, 4):
        if ys[i] < ys[top]:
            top = i
        lowest = max(lowest, ys[i])
    y = (ys[top] + _HALF) >> _SHIFT
    last = min((lowest + _HALF) >> _SHIFT, height - 1)
    for i in range(2):
        corner[i] = top
        until[i] = y
        at[i] = -_ONE
        slope[i] = 0
    left = 4
    while y <= last:
        for i in range(2):
            if y < until[i]:
                continue
            here = corner[i]
            while left > 0:
                left -= 1
                there = (here + (1 if i == 0 else 3)) & 3
                end = (ys[there] + _HALF) >> _SHIFT
                if end > y:
                    rows = end - y
                    until[i] = end
                    slope[i] = _step((xs[there] - xs[here]) * 2 + rows, 2 * rows)
                    at[i] = xs[here]
                    corner[i] = there
                    break
                here = there
            else:
                # All four edges are used up: OpenCV leaves the last row to the outline.
                return
        if y >= 0:
            low = min(at[0], at[1])
            high = max(at[0], at[1])
            for x in range(max((low + _HALF) >> _SHIFT, 0), min((high + _HALF) >> _SHIFT, width - 1) + 1):
                canvas[y, x] = 0
        at[0] += slope[0]
        at[1] += slope[1]
        y += 1


@_compiled
def draw_polylines(canvas, points, ends, thickness, disc):
    """Draw polylines in black (0).

    Parameters
    ----------
    canvas
        (H, W) uint8, drawn on in place.
    points
        (P, 2) int32 points (x, y) inside the canvas.
    ends
        (S + 1,) int64: line s has the points `ends[s]` to `ends[s + 1]` (exclusive); of one point it is a dot.
    thickness
        2 or more, in pixels.
    disc
        What `disc(thickness)` gives.
    """
    height, width = canvas.shape
    radius = len(disc) // 2
    reach = (thickness << (_SHIFT - 1)) + (thickness & 1) * _HALF
    xs = np.empty(4, np.int64)
    ys = np.empty(4, np.int64)
    corner = np.empty(2, np.int64)
    until = np.empty(2, np.int64)
    at = np.empty(2, np.int64)
    slope = np.empty(2, np.int64)
    for line in range(len(ends) - 1):
        for p in range(ends[line], ends[line + 1]):
            x = np.int64(points[p, 0])
            y = np.int64(points[p, 1])
            for row in range(max(y - radius, 0), min(y + radius, height - 1) + 1):
                half = disc[row - y + radius]
                for column in range(max(x - half, 0), min(x + half, width - 1) + 1):
                    canvas[row, column] = 0
            if p == ends[line]:
                continue
            before_x = np.int64(points[p - 1, 0])
            before_y = np.int64(points[p - 1, 1])
            dx = float(before_x - x)
            dy = float(y - before_y)
            if dx == 0 and dy == 0:
                continue
            scale = reach / math.sqrt(dx * dx + dy * dy)
            aside_x = np.int64(np.rint(dy * scale))
            aside_y = np.int64(np.rint(dx * scale))
            xs[0] = (before_x << _SHIFT) + aside_x
            ys[0] = (before_y << _SHIFT) + aside_y
            xs[1] = (before_x << _SHIFT) - aside_x
            ys[1] = (before_y << _SHIFT) - aside_y
            xs[2] = (x << _SHIFT) - aside_x
            ys[2] = (y << _SHIFT) - aside_y
            xs[3] = (x << _SHIFT) + aside_x
            ys[3] = (y << _SHIFT) + aside_y
            for i in range(4):
                _outline(canvas, xs[i - 1], ys[i - 1], xs[i], ys[i])
            _inside(canvas, xs, ys, corner, until, at, slope)


@_compiled
def draw_halved(images, canvas, points, first_point, first_stroke, thickness, disc):
    """Draw each drawing on a white `canvas` (2 H, 2 W), and write the means of 2 × 2 pixels to `images` (N, H, W)."""
    for drawing in range(len(images)):
        canvas[:] = 255
        ends = first_point[first_stroke[drawing] : first_stroke[drawing + 1] + 1]
        draw_polylines(canvas, points, ends, thickness, disc)
        for y in range(images.shape[1]):
            for x in range(images.shape[2]):
                total = np.uint16(canvas[2 * y, 2 * x]) + np.uint16(canvas[2 * y, 2 * x + 1])
                total += np.uint16(canvas[2 * y + 1, 2 * x]) + np.uint16(canvas[2 * y + 1, 2 * x + 1])
                images[drawing, y, x] = np.uint8((total + 2) >> 2)
