"""A hand that draws: loops, curves, legs and faces, and the sloppiness of a person in a hurry.

Shapes are laid down in free coordinates (x to the right, y down); `Pen.finish` shakes them and brings them into
the frame of Quick, Draw!'s simplified drawings. What an animal consists of is in `doodles.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

T = TypeVar("T")
Point = tuple[float, float]
Floats = NDArray[np.float64]

LONGEST_SIDE = 255.0
RDP_EPSILON = 2.0
SAMPLES_PER_SEGMENT = 6
UNIFORMS_AT_ONCE = 256
TURN = 2.0 * math.pi


@lru_cache(maxsize=256)
def _smooth_basis(count: int, closed: bool) -> Floats:
    """Return the (samples, count) matrix that takes control points to a Catmull–Rom curve through them."""
    segments = count if closed else count - 1
    t = np.arange(SAMPLES_PER_SEGMENT) / SAMPLES_PER_SEGMENT
    weights = 0.5 * np.stack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3])
    basis = np.zeros((segments * SAMPLES_PER_SEGMENT + 1, count))
    for segment in range(segments):
        rows = slice(segment * SAMPLES_PER_SEGMENT, (segment + 1) * SAMPLES_PER_SEGMENT)
        for offset in range(4):
            at = segment + offset - 1
            at = at % count if closed else min(max(at, 0), count - 1)
            basis[rows, at] += weights[offset]
    basis[-1, 0 if closed else count - 1] = 1.0
    return basis


@lru_cache(maxsize=256)
def _corner_basis(count: int, closed: bool) -> Floats:
    """Return the (samples, count) matrix that takes corners to points along the lines between them."""
    segments = count if closed else count - 1
    at = np.arange(segments * SAMPLES_PER_SEGMENT + 1) / SAMPLES_PER_SEGMENT
    first = np.minimum(at.astype(np.int64), segments - 1)
    basis = np.zeros((at.size, count))
    rows = np.arange(at.size)
    basis[rows, first] += 1.0 - (at - first)
    basis[rows, (first + 1) % count] += at - first
    return basis


@lru_cache(maxsize=64)
def _fractions(count: int) -> Floats:
    """Return `count` numbers that divide 0..1 evenly, both ends included."""
    return np.linspace(0.0, 1.0, count)


def place(points: ArrayLike, x: float, y: float, scale: float, tilt: float = 0.0) -> Floats:
    """Return (P, 2) `points` turned by `tilt` radians, scaled, and moved to (x, y)."""
    cos, sin = scale * math.cos(tilt), scale * math.sin(tilt)
    return np.asarray(points, dtype=np.float64) @ np.array([[cos, sin], [-sin, cos]]) + (x, y)


class Pen:
    """Strokes so far, and the temper of the hand that draws them.

    Parameters
    ----------
    rng
        The only source of randomness: the same state gives the same drawing.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._uniforms: list[float] = []
        self._strokes: list[Floats] = []
        # People differ more from each other than one does from stroke to stroke, so care is drawn once.
        self.sloppiness = 0.42 * math.exp(abs(self.bell(0.7)))
        self.detail = self.between(0.0, 1.0)
        self.keeps_down = self.chance(0.3)
        self.eye = self.pick([(5, "dot"), (3, "circle"), (2, "pupil"), (1, "blot")])

    # Choices. Single calls of a NumPy generator cost more than the arithmetic around them, hence the buffer.

    def uniform(self) -> float:
        """Return a number in [0, 1)."""
        if not self._uniforms:
            self._uniforms = self._rng.random(UNIFORMS_AT_ONCE).tolist()
        return self._uniforms.pop()

    def between(self, low: float, high: float) -> float:
        """Return a number in [low, high), all alike likely."""
        return low + (high - low) * self.uniform()

    def bell(self, spread: float) -> float:
        """Return a number around 0 of standard deviation `spread`, never beyond three of them."""
        return spread * 2.0 * (self.uniform() + self.uniform() + self.uniform() - 1.5)

    def about(self, value: float, spread: float = 0.12) -> float:
        """Return `value` give or take a share of `spread`."""
        return value * (1.0 + self.bell(spread))

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.uniform() < probability

    def bothers(self, probability: float) -> bool:
        """Return True with about this probability, more often for a hand that likes detail."""
        return self.uniform() < probability * (0.45 + 1.1 * self.detail)

    def whole(self, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`, both included."""
        return low + int(self.uniform() * (high - low + 1))

    def pick(self, options: Sequence[tuple[float, T]]) -> T:
        """Return one of the (weight, option) pairs' options, by weight."""
        left = self.uniform() * sum(weight for weight, _ in options)
        for weight, option in options:
            left -= weight
            if left < 0:
                return option
        return options[-1][1]

    # Strokes.

    def curve(self, points: ArrayLike, closed: bool = False, jitter: float = 0.03) -> None:
        """Draw one smooth stroke through (P, 2) `points`, each missed by a `jitter` of the stroke's size."""
        self._through(points, _smooth_basis, closed, jitter)

    def lines(self, points: ArrayLike, closed: bool = False, jitter: float = 0.03) -> None:
        """Draw one stroke with corners at (P, 2) `points`, each missed by a `jitter` of the stroke's size."""
        self._through(points, _corner_basis, closed, jitter)

    def _through(self, points: ArrayLike, basis, closed: bool, jitter: float) -> None:
        points = np.asarray(points, dtype=np.float64)
        reach = float(np.abs(points - points[0]).max())
        points = points + self._rng.standard_normal(points.shape) * (jitter * self.sloppiness * reach)
        stroke = basis(len(points), closed) @ points
        self._strokes.append(stroke[::-1] if self.chance(0.2) else stroke)

    def ellipse(self, x: float, y: float, rx: float, ry: float, tilt: float = 0.0) -> None:
        """Draw a loop around (x, y) that starts anywhere and may stop short of closing, or run past it."""
        turns = 1.0 + self.bell(0.04 * self.sloppiness) + (0.03 if self.chance(0.6) else -0.02)
        self.arc(x, y, rx, ry, start=self.pick([(3, -0.25), (1, self.uniform())]), turns=turns, tilt=tilt)

    def arc(self, x: float, y: float, rx: float, ry: float, start: float, turns: float, tilt: float = 0.0) -> None:
        """Draw a part of an ellipse, from `start` for `turns`, in whole turns clockwise from the right."""
        t = (start + turns * _fractions(9 + int(20 * abs(turns)))) * TURN
        # An egg, not an ellipse: two low harmonics on the radius.
        lumps = 0.05 * self.sloppiness
        radius = 1.0 + self.bell(lumps) * np.cos(2 * t + 6 * self.uniform())
        radius += self.bell(lumps) * np.cos(t + 6 * self.uniform())
        stroke = place(np.stack([rx * radius * np.cos(t), ry * radius * np.sin(t)], axis=1), x, y, 1.0, tilt)
        self._strokes.append(stroke if self.chance(0.35) else stroke[::-1])

    def scallops(self, x: float, y: float, rx: float, ry: float, bumps: int, depth: float) -> None:
        """Draw a cloud: a loop of `bumps` outward arcs, each `depth` of the radius high."""
        t = _fractions(bumps * 7 + 1)
        phase = self.uniform()
        uneven = t + self.bell(0.35 / bumps) * np.sin(TURN * (2 * t + phase))
        radius = 1.0 - depth + 2 * depth * np.abs(np.sin(math.pi * bumps * t)) ** 0.7
        turn = TURN * (uneven + phase)
        self._strokes.append(np.stack([x + rx * radius * np.cos(turn), y + ry * radius * np.sin(turn)], axis=1))

    def zigzag(self, start: Point, end: Point, teeth: int, height: float) -> None:
        """Draw `teeth` teeth from `start` to `end`; a positive `height` points to the right of the way."""
        t = _fractions(2 * teeth + 1)
        away = np.where(np.arange(2 * teeth + 1) % 2, height, 0.0)
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.hypot(dx, dy) or 1.0
        x = start[0] + t * dx - away * dy / length
        y = start[1] + t * dy + away * dx / length
        self.lines(np.stack([x, y], axis=1), jitter=0.02)

    def scribble(self, x: float, y: float, rx: float, ry: float, slant: float = 0.5) -> None:
        """Blacken a patch with a back-and-forth of the pen, off the level by about `slant` radians."""
        count = self.whole(5, 8) + int(3 * max(rx, ry) / min(rx, ry) * self.between(0.6, 1.2))
        t = _fractions(count)
        side = np.where(np.arange(count) % 2, 1.0, -1.0) * np.sqrt(np.maximum(0.1, 1 - (2 * t - 1) ** 2))
        self.curve(place(np.stack([rx * side, ry * (2 * t - 1)], axis=1), x, y, 1.0, self.bell(slant)))

    def spiral(self, x: float, y: float, radius: float, turns: float) -> None:
        """Draw a curl that winds outwards."""
        t = _fractions(8 + int(12 * turns))
        turn = TURN * (turns * t + self.uniform())
        self._strokes.append(np.stack([x + radius * t * np.cos(turn), y + radius * t * np.sin(turn)], axis=1))

    def dot(self, x: float, y: float, radius: float) -> None:
        """Draw a small mark: a tiny loop, a tick or a blot."""
        if self.chance(0.6):
            self.arc(x, y, radius, radius, start=self.uniform(), turns=self.between(0.8, 1.7))
        else:
            self.lines([(x, y - radius), (x + self.bell(0.4) * radius, y + radius)])

    # The whole drawing.

    def finish(self) -> list[NDArray[np.uint8]]:
        """Return the drawing as a hurried hand leaves it, in the frame of Quick, Draw!'s simplified data.

        Returns
        -------
        list of (n_points, 2) uint8
            Strokes as x, y: top and left at 0, the longer side from 0 to 255, simplified by
            Ramer–Douglas–Peucker with epsilon 2 (the steps of the data set's README, "simplified drawing files").
        """
        strokes = self._joined() if self.keeps_down else self._strokes
        # Some lines are gone over twice.
        if self.chance(0.1):
            strokes = [*strokes, strokes[int(self.uniform() * min(3, len(strokes)))]]
        # The game stops as soon as it recognises the drawing: some are missing their last strokes.
        if len(strokes) > 4 and self.chance(0.25):
            strokes = strokes[: max(3, round(len(strokes) * self.between(0.55, 1.0)))]
        points, first = self._shaken(strokes)
        points -= points.min(axis=0)
        points *= LONGEST_SIDE / points.max()
        points = points.astype(np.float32)
        simplified = [
            cv2.approxPolyDP(points[start:end, None], RDP_EPSILON, closed=False)[:, 0]
            for start, end in pairwise(first.tolist())
        ]
        # Simplifying may cut off the tip that touched the border: put the rest back to the border.
        kept = np.concatenate(simplified)
        kept -= kept.min(axis=0)
        pixels = np.rint(kept * (LONGEST_SIDE / kept.max())).astype(np.uint8)
        ends = np.cumsum([len(stroke) for stroke in simplified[:-1]])
        return [pixels[start:end] for start, end in pairwise([0, *ends.tolist(), len(pixels)])]

    def _joined(self) -> list[Floats]:
        """Return the strokes of a hand that does not lift the pen where the next stroke begins close by."""
        joined = [self._strokes[0]]
        for stroke in self._strokes[1:]:
            last = joined[-1][-1]
            ahead, back = (math.hypot(*(end - last)) for end in (stroke[0], stroke[-1]))
            if min(ahead, back) < 0.3 and self.chance(0.8):
                joined[-1] = np.concatenate([joined[-1], stroke if ahead <= back else stroke[::-1]])
            else:
                joined.append(stroke)
        return joined

    def _shaken(self, strokes: list[Floats]) -> tuple[Floats, NDArray[np.int64]]:
        """Return all points of `strokes` (P, 2), misplaced and trembling, and where each stroke starts (S+1,)."""
        rng, sloppy = self._rng, self.sloppiness
        first = np.concatenate([[0], np.cumsum([len(stroke) for stroke in strokes])])
        points = np.concatenate(strokes)
        count = len(strokes)
        counts = np.diff(first)
        low, high = points.min(axis=0), points.max(axis=0)
        points = (points - (low + high) / 2) * (2.0 / (high - low).max())

        # Strokes land beside where they were meant to, a little too big or too small.
        stroke = np.repeat(np.arange(count), counts)
        centre = np.add.reduceat(points, first[:-1]) / counts[:, None]
        grown = 1.0 + 0.04 * sloppy * rng.standard_normal((count, 2))
        moved = centre * (1.0 - grown) + 0.018 * sloppy * rng.standard_normal((count, 2))
        points = points * grown[stroke] + moved[stroke]

        # The pen drifts slowly along its way and trembles faster: four sines of arc length, their phases by stroke.
        steps = np.zeros(len(points))
        steps[1:] = np.hypot(*np.diff(points, axis=0).T)
        steps[first[:-1]] = 0.0
        way = np.cumsum(steps)
        frequency = np.array([0.35, 0.8, 1.7, 4.5]) * (1.0 + 0.2 * rng.standard_normal(4))
        reach = np.array([0.022, 0.018, 0.010, 0.0035]) * sloppy
        phase = rng.random((count, 2, 4))[stroke]
        points += np.sin(TURN * (phase + way[:, None, None] * frequency)) @ reach

        # The whole picture leans, is squeezed, and bends: nobody's paper is a grid.
        x, y = points.T
        bend = 0.07 * sloppy * rng.standard_normal(6)
        x, y = (
            x + bend[0] * x * y + bend[1] * y * y + 1.2 * bend[4] * y,
            y + bend[2] * x * y + 0.6 * bend[3] * x * x,
        )
        points = np.stack([x * math.exp(self.bell(0.09)), y], axis=1)
        if self.chance(0.5):
            points[:, 0] *= -1.0
        return place(points, 0.0, 0.0, 1.0, self.bell(0.07)), first
