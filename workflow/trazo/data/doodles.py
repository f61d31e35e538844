"""The embedded drawings: twelve animals as people doodle them in twenty seconds, made from a seed, without data.

What each animal consists of, and the ways of drawing it, live here; the hand that draws is `pen.py`, and the
`.bin` files it ends up in are `quickdraw.py`'s.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trazo.data.pen import Floats, Pen, Point, place
from trazo.data.quickdraw import Drawings
from trazo.errors import InputError
from trazo.registry import Registry

Artist = Callable[[Pen], None]
_ARTISTS: Registry[Artist] = Registry("doodle")

# Heads in profile, facing right, about one unit in radius: from the nape over the muzzle to the throat.
_PROFILES = {
    "dog": [(-0.7, -0.5), (-0.1, -0.9), (0.5, -0.6), (0.75, -0.2), (1.5, -0.1), (1.6, 0.3), (0.9, 0.55), (-0.3, 0.7)],
    "cat": [
        (-0.8, -0.3), (-0.6, -0.8), (-0.5, -1.5), (-0.1, -0.9), (0.3, -0.9), (0.6, -1.4), (0.75, -0.6), (1.0, 0.1),
        (0.6, 0.6), (-0.3, 0.7),
    ],
    "cow": [(-0.7, -0.6), (0.0, -0.9), (0.6, -0.6), (1.3, 0.2), (1.45, 0.7), (1.0, 0.95), (0.3, 0.5), (-0.3, 0.7)],
    "bear": [(-0.8, -0.4), (-0.2, -0.9), (0.4, -0.7), (0.7, -0.25), (1.2, -0.1), (1.25, 0.3), (0.6, 0.55), (-0.2, 0.7)],
    "sheep": [(-0.6, -0.5), (0.0, -0.8), (0.6, -0.3), (1.1, 0.3), (0.9, 0.75), (0.3, 0.7), (-0.3, 0.6)],
    "camel": [(-0.6, -0.2), (-0.3, -0.7), (0.3, -0.7), (0.9, -0.35), (1.5, -0.2), (1.6, 0.2), (1.0, 0.45), (0.0, 0.45)],
    "giraffe": [(-0.5, -0.2), (-0.2, -0.7), (0.3, -0.6), (1.1, -0.1), (1.5, 0.2), (1.3, 0.55), (0.5, 0.4), (0.0, 0.5)],
}  # fmt: skip
_TRUNKS = {
    "hanging": [(1.0, -0.1), (1.25, 0.8), (1.25, 1.9), (0.85, 1.9), (0.8, 1.0), (0.5, 0.5)],
    "forward": [(1.0, -0.1), (1.25, 0.8), (1.7, 1.3), (2.2, 0.9), (2.5, 1.2), (1.9, 1.8), (1.1, 1.5), (0.6, 0.6)],
    "raised": [(1.0, -0.3), (1.7, -0.2), (2.0, -1.2), (2.4, -1.2), (2.3, 0.1), (1.6, 0.6), (0.7, 0.5)],
}


@dataclass(frozen=True)
class Build:
    """The proportions of a four-legged animal that faces right; lengths in halves of a usual body's length.

    `neck_rise` is the neck's angle above the horizontal in radians; `humps` are (where along the back from 0, the
    rump, to 1, the shoulder; height) pairs; `profile` names a head, or gives its points.
    """

    profile: str
    length: float = 1.0
    height: float = 0.5
    leg: float = 0.7
    leg_width: float = 0.2
    neck: float = 0.4
    neck_rise: float = 0.7
    head: float = 0.38
    humps: tuple[Point, ...] = ()

    def varied(self, pen: Pen) -> Build:
        """Return this build as one person remembers it."""
        return Build(
            profile=self.profile,
            length=pen.about(self.length, 0.12),
            height=pen.about(self.height, 0.18),
            leg=pen.about(self.leg, 0.25),
            leg_width=pen.about(self.leg_width, 0.25),
            neck=pen.about(self.neck, 0.2),
            neck_rise=self.neck_rise + pen.bell(0.15),
            head=pen.about(self.head, 0.18),
            humps=tuple((at + pen.bell(0.03), pen.about(height, 0.2)) for at, height in self.humps),
        )

    @property
    def head_at(self) -> Point:
        """Where the middle of the head is; the body's is at (0, 0)."""
        reach = self.neck + 0.6 * self.head
        return (
            0.82 * self.length + reach * math.cos(self.neck_rise),
            -0.55 * self.height - reach * math.sin(self.neck_rise),
        )

    def head_points(self, pen: Pen) -> Floats:
        """Return the (P, 2) outline of the head, from nape to throat."""
        if self.profile == "elephant":
            trunk = _TRUNKS[pen.pick([(5, "hanging"), (3, "forward"), (2, "raised")])]
            points = [(-0.8, -0.6), (-0.1, -1.0), (0.7, -0.8), *trunk, (-0.1, 0.8)]
        else:
            points = _PROFILES[self.profile]
        return place(points, *self.head_at, self.head, pen.bell(0.15))


# Parts that many animals share.


def _eye(pen: Pen, x: float, y: float, size: float) -> None:
    """Draw one eye."""
    if pen.eye == "dot":
        pen.dot(x, y, 0.5 * size)
    elif pen.eye == "blot":
        pen.scribble(x, y, 0.6 * size, 0.6 * size)
    else:
        pen.ellipse(x, y, size, pen.about(size, 0.2))
        if pen.eye == "pupil":
            pen.dot(x + pen.bell(0.2) * size, y + pen.bell(0.2) * size, 0.3 * size)


def _smile(pen: Pen, x: float, y: float, width: float, depth: float) -> None:
    """Draw a mouth: an arc, a line, or open."""
    depth = depth * pen.pick([(7, 1.0), (2, 0.1), (1, -0.6)])
    pen.curve([(x - width, y), (x, y + depth), (x + width, y)])
    if pen.chance(0.12):
        pen.curve([(x - width, y), (x, y + 2.2 * depth), (x + width, y)])


def _legs(pen: Pen, build: Build, count: int) -> None:
    """Draw `count` legs below the body, all in one manner."""
    manner = pen.pick([(5, "stick"), (3, "tube"), (1, "wedge"), (1, "foot")])
    pairs = pen.chance(0.5)
    for number in range(count):
        share = number / max(1, count - 1)
        at = -0.75 + 1.5 * share
        if pairs and count == 4:
            at = (-0.75, -0.4, 0.4, 0.75)[number] + pen.bell(0.03)
        x = at * build.length + pen.bell(0.05)
        top = build.height * math.sqrt(max(0.0, 1 - at * at)) - pen.between(-0.02, 0.08)
        bottom = build.height + pen.about(build.leg, 0.08)
        slant, half = pen.bell(0.06), build.leg_width / 2
        if manner == "stick":
            pen.lines([(x, top), (x + slant, bottom)])
        elif manner == "foot":
            pen.lines([(x, top), (x + slant, bottom), (x + slant + 1.6 * half, bottom - 0.02)])
        elif manner == "tube":
            low = [(x - half + slant, bottom), (x + half + slant, bottom + pen.bell(0.02))]
            pen.lines([(x - half, top), *low, (x + half, top)])
        else:
            pen.lines([(x - half, top), (x + slant, bottom), (x + half, top)])


def _tail(pen: Pen, build: Build, kind: str) -> None:
    """Draw a tail at the rump: `up`, `down`, `tuft`, `stub`, `curl` or `bushy`."""
    x, y = -0.97 * build.length, -0.2 * build.height
    long = pen.about(0.5, 0.25)
    if kind == "up":
        pen.curve(
            [
                (x, y),
                (x - 0.5 * long, y - 0.4 * long),
                (x - 0.45 * long, y - 1.2 * long),
                (x - 0.8 * long, y - 1.6 * long),
            ]
        )
    elif kind == "down":
        pen.curve([(x, y), (x - 0.35 * long, y + 0.3 * long), (x - 0.45 * long, y + 1.3 * long)])
    elif kind == "tuft":
        tip = (x - 0.45 * long, y + 1.4 * long)
        pen.curve([(x, y), (x - 0.35 * long, y + 0.3 * long), tip])
        if pen.bothers(0.8):
            pen.ellipse(tip[0], tip[1] + 0.1, 0.07, 0.12)
    elif kind == "stub":
        pen.ellipse(x - 0.08, y, 0.14, pen.about(0.11, 0.2))
    elif kind == "curl":
        pen.spiral(x - 0.15, y - 0.1, 0.2, pen.between(1.0, 1.8))
    else:
        pen.curve(
            [
                (x, y - 0.1),
                (x - 0.7 * long, y - 0.8 * long),
                (x - 1.0 * long, y - 0.6 * long),
                (x - 0.3 * long, y + 0.2),
            ]
        )


def _silhouette(pen: Pen, build: Build) -> None:
    """Draw the whole animal as one line: head, chest, legs, belly, rump, back."""
    a, b, half = build.length, build.height, build.leg_width / 2
    floor = b + build.leg
    front, hind = pen.between(0.6, 0.75) * a, -pen.between(0.65, 0.8) * a

    def leg(x: float) -> list[Point]:
        slant = pen.bell(0.05)
        return [
            (x + half, 0.75 * b), (x + half + slant, floor), (x - half + slant, floor + pen.bell(0.03)), (x - half, 0.85 * b),
        ]  # fmt: skip

    points = [*build.head_points(pen).tolist(), (0.98 * a, 0.1 * b), *leg(front)]
    if pen.chance(0.45):
        points += leg(front - pen.between(2.6, 3.6) * half)
        points += leg(hind + pen.between(2.6, 3.6) * half)
    elif pen.chance(0.8):
        points += [(0.0, pen.about(0.85, 0.1) * b)]
    points += [*leg(hind), (-a, 0.2 * b), (-0.9 * a, -0.7 * b)]
    points += [(0.9 * a * (2 * at - 1) + dx, -b * (0.9 + up)) for at, top in build.humps for dx, up in _hump(top)]
    if not build.humps:
        points += [(-0.3 * a, pen.about(-0.95, 0.06) * b), (0.4 * a, pen.about(-0.9, 0.08) * b)]
    points += [(0.7 * a, -0.8 * b)]
    if build.neck > 0.7:
        points += [(0.7 * a + 0.45 * (build.head_at[0] - 0.9 * a), -0.8 * b + 0.5 * (build.head_at[1] + 0.6 * b))]
    # People start at the head or the tail, and rarely come out exactly where they began.
    start = pen.pick([(2, 0), (1, len(points) // 2), (1, pen.whole(0, len(points) - 1))])
    points = points[start:] + points[: start + 1]
    points[-1] = (points[-1][0] + pen.bell(0.05), points[-1][1] + pen.bell(0.05))
    if pen.chance(0.12):
        points = points[: -pen.whole(1, 3)]
    jitter = 0.008
    if pen.chance(0.3):
        pen.lines(points, jitter=jitter)
    else:
        pen.curve(points, jitter=jitter)


def _hump(top: float) -> list[Point]:
    """Return the points of a hump `top` high, from its left foot to its right, as offsets."""
    return [(-0.25, 0.0), (-0.1, 0.85 * top), (0.1, 0.85 * top), (0.26, 0.0)]


def _body(pen: Pen, build: Build) -> None:
    """Draw the trunk of the animal: an egg or a box, with its humps."""
    a, b = build.length, build.height
    if build.humps:
        back = [(0.9 * a * (2 * at - 1) + dx, -b * (0.7 + up)) for at, top in build.humps for dx, up in _hump(top)]
        pen.curve([(-a, 0.0), *back, (a, -0.2 * b), (0.8 * a, 0.8 * b), (-0.8 * a, 0.8 * b)], closed=True, jitter=0.012)
    elif pen.chance(0.75):
        pen.ellipse(0.0, 0.0, a, b)
    else:
        pen.lines([(-0.9 * a, -0.8 * b), (0.9 * a, -0.8 * b), (0.9 * a, 0.8 * b), (-0.9 * a, 0.8 * b)], closed=True)


def _neck(pen: Pen, build: Build) -> None:
    """Draw the neck as two lines, or as one where it is short."""
    x, y = build.head_at
    wide = 0.5 * build.head
    lean = math.sin(build.neck_rise)
    pen.curve([(0.6 * build.length, -0.75 * build.height), (x - 0.9 * wide * lean - 0.3 * wide, y + 0.5 * wide)])
    pen.curve([(0.95 * build.length, -0.2 * build.height), (x + 0.6 * wide * lean, y + 1.6 * wide)])


def _side_view(pen: Pen, build: Build, tails: Sequence[tuple[float, str]], leg_counts=((7, 4), (2, 2), (1, 3))) -> str:
    """Draw a four-legged animal from the side, but for its face; return the manner: `outline` or `parts`."""
    manner = pen.pick([(4, "outline"), (6, "parts")])
    if manner == "outline":
        _silhouette(pen, build)
    else:
        head_first = pen.chance(0.55)
        x, y = build.head_at
        for part in ("head", "body") if head_first else ("body", "head"):
            if part == "body":
                _body(pen, build)
            elif build.profile == "elephant" or pen.chance(0.5):
                pen.curve(build.head_points(pen), closed=pen.chance(0.6))
            else:
                muzzle = pen.between(1.0, 1.5)
                pen.ellipse(x, y, build.head * muzzle, build.head * 0.85, pen.bell(0.25) + 0.1)
        if build.neck > 0.3:
            _neck(pen, build)
        _legs(pen, build, pen.pick(leg_counts))
    if pen.chance(0.85):
        _tail(pen, build, pen.pick(tails))
    return manner


def _profile_face(pen: Pen, build: Build) -> None:
    """Draw eye, mouth and nostril on a head seen from the side."""
    x, y = build.head_at
    r = build.head
    if pen.bothers(0.8):
        _eye(pen, x + pen.between(0.05, 0.35) * r, y - pen.between(0.1, 0.4) * r, pen.about(0.15, 0.3) * r)
    if pen.bothers(0.4):
        pen.curve([(x + 1.2 * r, y + 0.3 * r), (x + 0.9 * r, y + 0.4 * r), (x + 0.5 * r, y + 0.3 * r)])
    if pen.bothers(0.3):
        pen.dot(x + 1.25 * r, y + 0.05 * r, 0.08 * r)


def _head_ears(pen: Pen, build: Build, kind: str) -> None:
    """Draw ears on a head seen from the side: `pointed`, `round`, `leaf` or `hanging`."""
    x, y = build.head_at
    r = build.head
    for shift in (-0.35, 0.25)[: pen.pick([(2, 2), (1, 1)])]:
        foot = x + shift * r
        top = y - 0.8 * r
        if kind == "pointed":
            pen.lines(
                [
                    (foot - 0.25 * r, top + 0.1 * r),
                    (foot + pen.bell(0.1) * r, top - pen.about(0.75, 0.2) * r),
                    (foot + 0.25 * r, top),
                ]
            )
        elif kind == "round":
            pen.arc(foot, top, 0.3 * r, 0.32 * r, start=0.4, turns=pen.between(0.6, 0.8))
        elif kind == "leaf":
            pen.ellipse(foot - 0.3 * r, top + 0.15 * r, 0.42 * r, 0.17 * r, pen.between(0.2, 0.8))
        else:
            pen.curve(
                [
                    (foot - 0.1 * r, top + 0.2 * r),
                    (foot - 0.55 * r, top + 0.7 * r),
                    (foot - 0.35 * r, top + 1.5 * r),
                    (foot + 0.05 * r, top + 0.9 * r),
                ]
            )


def _front_face(pen: Pen, x: float, y: float, r: float, muzzle: str) -> None:
    """Draw eyes, nose and mouth on a head seen from the front; `muzzle` is `cat`, `oval`, `snout` or `plain`."""
    apart, up = pen.between(0.28, 0.45) * r, pen.between(0.05, 0.35) * r
    size = pen.about(0.11, 0.3) * r
    state = pen.chance(0.9)
    if state:
        _eye(pen, x - apart, y - up, size)
        _eye(pen, x + apart, y - up, size)
    low = y + pen.between(0.15, 0.35) * r
    if muzzle == "snout":
        pen.ellipse(x, y + 0.5 * r, 0.6 * r, 0.33 * r)
        pen.dot(x - 0.22 * r, y + 0.48 * r, 0.07 * r)
        pen.dot(x + 0.22 * r, y + 0.48 * r, 0.07 * r)
        return
    if muzzle == "oval" and pen.chance(0.6):
        pen.ellipse(x, low + 0.12 * r, 0.42 * r, 0.33 * r)
    nose = pen.pick([(3, "triangle"), (3, "oval"), (2, "blot"), (1, "none")])
    if nose == "triangle":
        pen.lines([(x - 0.12 * r, low - 0.06 * r), (x + 0.12 * r, low - 0.06 * r), (x, low + 0.08 * r)], closed=True)
    elif nose == "oval":
        pen.ellipse(x, low, 0.13 * r, 0.09 * r)
    elif nose == "blot":
        pen.scribble(x, low, 0.12 * r, 0.08 * r)
    mouth = pen.pick([(3, "w"), (3, "smile"), (1, "none")])
    if mouth == "w":
        drop = low + 0.22 * r
        pen.curve(
            [
                (x - 0.3 * r, drop),
                (x - 0.15 * r, drop + 0.12 * r),
                (x, drop - 0.1 * r),
                (x + 0.15 * r, drop + 0.12 * r),
                (x + 0.3 * r, drop),
            ]
        )
    elif mouth == "smile":
        _smile(pen, x, low + 0.2 * r, 0.3 * r, 0.18 * r)


def _pointed_ears(pen: Pen, x: float, y: float, r: float) -> None:
    """Draw a cat's ears on a head seen from the front."""
    high = pen.between(1.25, 1.7) * r
    for side in (-1, 1):
        foot, root = (x + side * 0.88 * r, y - 0.5 * r), (x + side * 0.22 * r, y - 0.95 * r)
        pen.lines([foot, (x + side * pen.about(0.75, 0.1) * r, y - high), root])
        if pen.bothers(0.15):
            pen.lines(
                [
                    (x + side * 0.75 * r, y - 0.75 * r),
                    (x + side * 0.72 * r, y - 0.85 * high),
                    (x + side * 0.42 * r, y - 0.92 * r),
                ]
            )


def _round_ears(pen: Pen, x: float, y: float, r: float) -> None:
    """Draw a bear's ears on a head seen from the front."""
    size, out = pen.between(0.22, 0.42) * r, pen.between(0.6, 0.8)
    whole = pen.chance(0.35)
    inner = pen.bothers(0.3)
    for side in (-1, 1):
        ex, ey = x + side * out * r, y - math.sqrt(1 - out * out) * r * 1.08
        if whole:
            pen.ellipse(ex, ey, size, size)
        else:
            pen.arc(ex, ey, size, size, start=0.37 if side < 0 else 0.52, turns=pen.between(0.55, 0.75))
        if inner:
            pen.arc(ex, ey, 0.5 * size, 0.5 * size, start=0.4, turns=0.7)


def _hanging_ears(pen: Pen, x: float, y: float, r: float) -> None:
    """Draw a dog's ears on a head seen from the front."""
    low, out = pen.between(0.1, 0.9) * r, pen.between(1.15, 1.6) * r
    for side in (-1, 1):
        pen.curve([
            (x + side * 0.5 * r, y - 0.85 * r), (x + side * 0.95 * out, y - 0.7 * r), (x + side * out, y + 0.6 * low),
            (x + side * 0.95 * r, y + low), (x + side * 0.85 * r, y - 0.3 * r),
        ])  # fmt: skip


def _whiskers(pen: Pen, x: float, y: float, r: float) -> None:
    """Draw a cat's whiskers."""
    count = pen.pick([(1, 1), (3, 2), (5, 3)])
    reach = pen.between(0.8, 1.5) * r
    for side in (-1, 1):
        for number in range(count):
            spread = (number - (count - 1) / 2) * pen.about(0.2, 0.3) * r
            pen.lines(
                [(x + side * 0.3 * r, y + 0.4 * spread), (x + side * reach, y + 1.5 * spread + pen.bell(0.05) * r)]
            )


def _spots(pen: Pen, build: Build, count: int, size: float) -> None:
    """Draw patches on the body."""
    filled = pen.chance(0.35)
    for _ in range(count):
        turn, out = pen.between(0, 2 * math.pi), math.sqrt(pen.uniform()) * 0.7
        x, y = out * math.cos(turn) * build.length, out * math.sin(turn) * build.height
        rx, ry = pen.about(size, 0.35), pen.about(0.75 * size, 0.35)
        if filled:
            pen.scribble(x, y, rx, ry)
        else:
            pen.ellipse(x, y, rx, ry, pen.bell(0.6))


def _sitting_body(pen: Pen, x: float, y: float, r: float, tail: str) -> None:
    """Draw the body below a head seen from the front: sitting or standing upright."""
    wide, tall = pen.between(0.8, 1.2) * r, pen.between(1.0, 1.5) * r
    middle = y + 0.85 * r + tall
    pen.ellipse(x, middle, wide, tall)
    limbs = pen.pick([(3, "paws"), (3, "legs"), (2, "arms"), (2, "none")])
    if limbs in ("paws", "arms"):
        for side in (-1, 1):
            pen.ellipse(x + side * 0.6 * wide, middle + 0.95 * tall, 0.38 * wide, 0.2 * tall)
    if limbs == "arms":
        for side in (-1, 1):
            shoulder = (x + side * 0.85 * wide, middle - 0.55 * tall)
            pen.curve(
                [
                    shoulder,
                    (x + side * 1.5 * wide, middle - 0.3 * tall),
                    (x + side * 1.45 * wide, middle),
                    (x + side * 0.98 * wide, middle - 0.15 * tall),
                ]
            )
    if limbs == "legs":
        for side in (-1, 1):
            pen.lines([(x + side * 0.25 * wide, middle + 0.1 * tall), (x + side * 0.28 * wide, middle + tall)])
    if tail == "long" and pen.chance(0.8):
        pen.curve(
            [
                (x + 0.9 * wide, middle + 0.6 * tall),
                (x + 1.6 * wide, middle + 0.5 * tall),
                (x + 1.7 * wide, middle - 0.3 * tall),
                (x + 2.0 * wide, middle - 0.6 * tall),
            ]
        )


# The animals, each in the ways people draw it.


@_ARTISTS.register("sheep")
def _sheep(pen: Pen) -> None:
    build = Build(
        "sheep", length=0.95, height=0.62, leg=0.5, leg_width=0.14, neck=0.05, neck_rise=0.3, head=0.33
    ).varied(pen)
    a, b = build.length, build.height
    front = pen.chance(0.2)
    x, y = (0.0, pen.bell(0.1)) if front else build.head_at
    r = build.head

    def wool() -> None:
        kind = pen.pick([(7, "cloud"), (1.2, "smooth"), (1, "spiky")])
        if kind == "cloud":
            pen.scallops(0.0, 0.0, a, b, pen.whole(7, 15), pen.between(0.06, 0.14))
        elif kind == "smooth":
            pen.ellipse(0.0, 0.0, a, b)
        else:
            pen.scallops(0.0, 0.0, a, b, pen.whole(16, 26), pen.between(0.06, 0.1))

    def head() -> None:
        if front:
            pen.ellipse(x, y, r, 1.15 * r)
        elif pen.chance(0.7):
            pen.ellipse(x, y, pen.about(1.1, 0.2) * r, pen.about(0.85, 0.2) * r, pen.between(-0.2, 0.9))
        else:
            pen.curve(build.head_points(pen))

    for part in (wool, head) if pen.chance(0.7) else (head, wool):
        part()
    if front:
        _front_face(pen, x, y, r, pen.pick([(2, "plain"), (1, "oval")]))
    else:
        _profile_face(pen, build)
    if pen.chance(0.6):
        for side in (-1, 1) if front else (-1,):
            pen.ellipse(x + side * 0.95 * r, y - 0.4 * r, 0.4 * r, 0.18 * r, side * 0.4)
    if pen.chance(0.92):
        _legs(pen, build, pen.pick([(7, 4), (3, 2)]))
    if pen.bothers(0.3):
        pen.scallops(x - 0.1 * r, y - 0.8 * r, 0.6 * r, 0.35 * r, pen.whole(4, 6), 0.15)
    if not front and pen.chance(0.35):
        _tail(pen, build, pen.pick([(3, "stub"), (1, "curl")]))
    if pen.bothers(0.25):
        for _ in range(pen.whole(2, 5)):
            pen.spiral(pen.between(-0.6, 0.4) * a, pen.between(-0.5, 0.5) * b, 0.12, pen.between(0.8, 1.6))


@_ARTISTS.register("bear")
def _bear(pen: Pen) -> None:
    manner = pen.pick([(5, "head"), (4, "upright"), (3, "side")])
    if manner == "side":
        build = Build("bear", height=0.58, leg=0.5, leg_width=0.3, neck=0.1, neck_rise=0.5, head=0.42).varied(pen)
        _side_view(pen, build, [(1, "stub")])
        _head_ears(pen, build, "round")
        _profile_face(pen, build)
        return
    tall = pen.about(1.0, 0.12)
    pen.ellipse(0.0, 0.0, 1.0, tall)
    _round_ears(pen, 0.0, 0.0, 1.0)
    if manner == "head" or pen.chance(0.85):
        _front_face(pen, 0.0, 0.0, 1.0, pen.pick([(3, "oval"), (1, "plain")]))
    if manner == "upright":
        _sitting_body(pen, 0.0, 0.0, 1.0, "none")


@_ARTISTS.register("bee")
def _bee(pen: Pen) -> None:
    a, b = pen.about(1.0, 0.1), pen.between(0.45, 0.75)
    tilt = pen.bell(0.15)

    def body() -> None:
        if pen.chance(0.75):
            pen.ellipse(0.0, 0.0, a, b)
        else:
            pen.curve(
                [(a, 0.0), (0.5 * a, b), (-0.4 * a, b), (-1.1 * a, 0.0), (-0.4 * a, -b), (0.5 * a, -b)], closed=True
            )

    def wings() -> None:
        long, wide = pen.between(0.5, 1.0), pen.between(0.2, 0.4)
        for number in range(pen.pick([(2, 1), (7, 2), (1, 3)])):
            lean = pen.pick([(1, -0.35), (1, 0.15)]) + 0.55 * number + pen.bell(0.12)
            x = -0.1 * a + 0.3 * a * number * pen.between(0.4, 1.2)
            y = -0.9 * b
            if pen.chance(0.7):
                pen.ellipse(x + long * math.sin(lean), y - long * math.cos(lean), wide, long, lean)
            else:
                drop = place(
                    [(0, 0), (-wide, -1.2 * long), (0, -2 * long), (wide, -1.2 * long), (0.05, 0)], x, y, 1.0, lean
                )
                pen.curve(drop)
        if pen.chance(0.12):
            pen.ellipse(0.0, b + 0.5 * long, wide, 0.6 * long, pen.bell(0.3))

    for part in (body, wings) if pen.chance(0.75) else (wings, body):
        part()
    count = pen.whole(2, 5)
    filled = pen.chance(0.2)
    for number in range(count):
        u = -0.65 + 1.25 * (number + 0.5) / count + pen.bell(0.04)
        half = b * math.sqrt(1 - u * u) * pen.about(1.0, 0.05)
        if filled and pen.chance(0.85):
            pen.scribble(u * a, 0.0, 0.09 * a, half)
        else:
            bow = pen.between(0.0, 0.14)
            pen.curve([(u * a, -half), (u * a + bow, 0.0), (u * a, half)])
    x, r = 0.62 * a, 0.3
    if pen.chance(0.5):
        r = pen.between(0.3, 0.5)
        x = a + 0.75 * r
        pen.ellipse(x, 0.0, r, r)
    if pen.chance(0.75):
        _eye(pen, x + 0.2 * r, -0.25 * r, 0.25 * r)
    if pen.bothers(0.5):
        _smile(pen, x + 0.2 * r, 0.35 * r, 0.35 * r, 0.2 * r)
    if pen.chance(0.65):
        for shift in (0.0, 0.3):
            tip = (x + (0.5 + 2 * shift) * r + 0.15, -r - pen.between(0.3, 0.6))
            pen.curve([(x + shift * r, -0.9 * r), (x + 0.3 * r + shift * r, -r - 0.25), tip])
            if pen.bothers(0.35):
                pen.dot(*tip, 0.06)
    if pen.chance(0.6):
        pen.lines([(-0.93 * a, -0.12), (-a - pen.between(0.2, 0.4), tilt), (-0.93 * a, 0.12)])
    if pen.bothers(0.25):
        for number in range(pen.whole(2, 3)):
            foot = -0.4 * a + 0.35 * a * number
            pen.lines([(foot, 0.9 * b), (foot + pen.bell(0.08), b + 0.3)])


@_ARTISTS.register("cat")
def _cat(pen: Pen) -> None:
    manner = pen.pick([(6, "head"), (3, "sitting"), (4, "side")])
    if manner == "side":
        build = Build("cat", height=0.42, leg=0.6, leg_width=0.18, neck=0.15, neck_rise=0.6, head=0.42).varied(pen)
        outline = _side_view(pen, build, [(4, "up"), (1, "curl"), (1, "down")]) == "outline"
        x, y = build.head_at
        if outline:
            _profile_face(pen, build)
        else:
            _head_ears(pen, build, "pointed")
            _front_face(pen, x, y, build.head, "cat")
        if pen.chance(0.5):
            _whiskers(pen, x + 0.1, y + 0.15 * build.head, build.head)
        return
    if pen.chance(0.25):
        # Head and ears in one line.
        pen.lines([
            (-0.95, 0.1), (-0.85, -1.3), (-0.35, -0.85), (0.35, -0.85), (0.85, -1.3), (0.95, 0.1), (0.5, 0.85), (-0.5, 0.85),
        ], closed=True)  # fmt: skip
    else:
        pen.ellipse(0.0, 0.0, pen.about(1.08, 0.1), pen.about(0.95, 0.1))
        _pointed_ears(pen, 0.0, 0.0, 1.0)
    _front_face(pen, 0.0, 0.0, 1.0, "cat")
    if pen.chance(0.75):
        _whiskers(pen, 0.0, 0.35, 1.0)
    if manner == "sitting":
        _sitting_body(pen, 0.0, 0.0, 1.0, "long")


@_ARTISTS.register("camel")
def _camel(pen: Pen) -> None:
    humps = pen.pick([(6, ((0.3, 0.75), (0.72, 0.75))), (4, ((0.5, 0.95),))])
    build = Build(
        "camel", height=0.42, leg=0.75, leg_width=0.2, neck=0.6, neck_rise=0.9, head=0.28, humps=humps
    ).varied(pen)
    _side_view(pen, build, [(2, "down"), (2, "tuft"), (0.5, "up")])
    if pen.bothers(0.5):
        _head_ears(pen, build, pen.pick([(2, "pointed"), (1, "leaf")]))
    _profile_face(pen, build)


@_ARTISTS.register("cow")
def _cow(pen: Pen) -> None:
    if pen.chance(0.25):
        pen.curve(
            [(0.0, -1.0), (0.75, -0.75), (0.7, 0.2), (0.6, 0.9), (0.0, 1.05), (-0.6, 0.9), (-0.7, 0.2), (-0.75, -0.75)],
            closed=True,
        )
        for side in (-1, 1):
            pen.ellipse(side * 1.1, -0.55, pen.about(0.38, 0.15), 0.2, side * pen.between(-0.3, 0.3))
            if pen.chance(0.7):
                pen.curve(
                    [
                        (side * 0.35, -0.9),
                        (side * 0.75, -1.2),
                        (side * 0.65, -1.6),
                        (side * 0.6, -1.15),
                        (side * 0.6, -0.85),
                    ]
                )
        _front_face(pen, 0.0, 0.0, 1.0, "snout")
        if pen.bothers(0.4):
            pen.ellipse(-0.4, -0.35, 0.3, 0.35, pen.bell(0.4))
        return
    build = Build("cow", height=0.52, leg=0.55, leg_width=0.2, neck=0.2, neck_rise=0.35, head=0.36).varied(pen)
    _side_view(pen, build, [(4, "tuft"), (2, "down")])
    x, y = build.head_at
    r = build.head
    if pen.chance(0.7):
        for shift in (-0.25, 0.3):
            tip = (x + shift * r + pen.between(0.0, 0.25), y - pen.between(1.4, 1.8) * r)
            pen.curve([(x + shift * r, y - 0.75 * r), (x + shift * r - 0.06, y - 1.1 * r), tip])
    if pen.chance(0.5):
        _head_ears(pen, build, "leaf")
    _profile_face(pen, build)
    if pen.chance(0.8):
        _spots(pen, build, pen.whole(2, 5), 0.17)
    if pen.chance(0.6):
        u = -pen.between(0.15, 0.4)
        pen.arc(u, 0.95 * build.height, 0.2, 0.16, start=0.0, turns=0.5)
        for shift in (-0.08, 0.08):
            if pen.bothers(0.6):
                pen.lines([(u + shift, build.height + 0.1), (u + shift, build.height + 0.22)])


@_ARTISTS.register("crab")
def _crab(pen: Pen) -> None:
    a, b = pen.about(1.0, 0.1), pen.between(0.45, 0.8)
    if pen.chance(0.75):
        pen.ellipse(0.0, 0.0, a, b)
    else:
        pen.curve(
            [(-a, -0.1), (-0.6 * a, -b), (0.6 * a, -b), (a, -0.1), (0.5 * a, 0.7 * b), (-0.5 * a, 0.7 * b)], closed=True
        )
    size = pen.between(0.25, 0.5)
    raised = pen.between(-0.1, 1.0)
    claw = pen.pick([(4, "jaws"), (3, "bitten"), (2, "fork"), (2, "mitten")])
    for side in (-1, 1):
        elbow = (side * (a + pen.between(0.25, 0.5)), -0.2 - 0.3 * raised)
        wrist = (side * (a + pen.between(0.2, 0.55)), -0.5 * b - 0.65 * raised - 0.1)
        pen.lines([(side * 0.88 * a, -0.35 * b), elbow, wrist])
        x, y = wrist[0] + side * 0.1, wrist[1] - 0.8 * size
        lean = side * pen.between(-0.3, 0.5)
        if claw == "bitten":
            pen.lines(
                place(
                    [(0.3, -1), (0.9, -0.4), (0.7, 0.5), (0, 0.9), (-0.7, 0.5), (-0.9, -0.4), (-0.3, -1), (0, 0)],
                    x,
                    y,
                    size,
                    lean,
                ),
                closed=True,
            )
        elif claw == "jaws":
            pen.curve(place([(0, 1), (0.8, 0.4), (0.8, -0.4), (0.2, -1.1), (0.3, -0.2), (0, 0.1)], x, y, size, lean))
            pen.curve(
                place([(0, 1), (-0.8, 0.4), (-0.8, -0.4), (-0.2, -1.1), (-0.3, -0.2), (0, 0.1)], x, y, size, lean)
            )
        elif claw == "fork":
            pen.lines(place([(-0.6, -0.9), (0, 0.9), (0.6, -0.9)], x, y, size, lean))
        else:
            pen.ellipse(x, y, 0.75 * size, size, lean)
            pen.lines(place([(0.1, -1), (0, 0)], x, y, size, lean))
    count = pen.pick([(1, 2), (5, 3), (3, 4)])
    bent = pen.chance(0.65)
    for side in (-1, 1):
        for number in range(count):
            out = 0.85 - 0.5 * number / max(1, count - 1)
            root = (side * out * a, b * math.sqrt(1 - out * out) * 0.95)
            reach = 0.6 - 0.22 * number + pen.bell(0.06)
            knee = (root[0] + side * reach, root[1] - 0.05 + 0.13 * number)
            foot = (root[0] + side * (reach + 0.12), root[1] + 0.4 + pen.bell(0.06))
            pen.lines([root, knee, foot] if bent else [root, ((knee[0] + foot[0]) / 2, foot[1] - 0.1)])
    stalks = pen.chance(0.65)
    apart = pen.between(0.2, 0.4) * a
    for side in (-1, 1):
        y = -b - pen.between(0.2, 0.4) if stalks else -0.3 * b
        if stalks:
            pen.lines([(side * 0.9 * apart, -0.92 * b), (side * apart, y + 0.1)])
        _eye(pen, side * apart, y, 0.11)
    if pen.chance(0.5):
        _smile(pen, 0.0, 0.25 * b, 0.3 * a, 0.2 * b)


@_ARTISTS.register("crocodile")
def _crocodile(pen: Pen) -> None:
    b = pen.between(0.22, 0.38)
    gape = pen.pick([(4, pen.between(0.0, 0.06)), (6, pen.between(0.15, 0.5))])
    snout = pen.between(0.8, 1.3)
    tail = pen.between(0.9, 1.5)
    rise = pen.bell(0.25)
    jaw_top, jaw_low = (1.1 + snout, -0.5 * b - gape), (1.1 + snout, 0.6 * b + 0.3 * gape)
    hinge = (1.15, 0.15 * b)
    if pen.chance(0.12):
        # The head alone: two long jaws.
        pen.curve(
            [(0.0, -0.5), (0.5, -0.6), (0.7, -0.35), (2.2, -0.35 - gape), (2.35, -0.15 - gape), (0.9, 0.05)],
            jitter=0.02,
        )
        pen.curve([(0.9, 0.05), (2.2, 0.15), (2.2, 0.4), (0.6, 0.5), (0.0, 0.55)], jitter=0.02)
        pen.zigzag((1.0, 0.05), (2.2, -0.12 - gape), pen.whole(4, 7), 0.13)
        _eye(pen, 0.5, -0.3, 0.12)
        return
    back_up = (-1.0 - tail, -rise)
    top = [
        back_up,
        (-1.0, -0.75 * b),
        (-0.2, -b),
        (0.7, -0.95 * b),
        (0.95, -1.35 * b),
        (1.2, -0.8 * b),
        (1.1 + 0.6 * snout, -0.6 * b - 0.6 * gape),
        jaw_top,
    ]
    mouth = [jaw_top, (jaw_top[0] + 0.08, jaw_top[1] + 0.12), hinge, (jaw_low[0], jaw_low[1] - 0.1), jaw_low]
    bottom = [jaw_low, (1.0, 0.8 * b), (0.0, b), (-0.9, 0.8 * b), back_up]
    corners = pen.chance(0.3)
    stroke = pen.lines if corners else pen.curve
    legs = pen.pick([(1, "stick"), (2, "tube")])
    if pen.chance(0.5):
        stroke([*top, *mouth[1:], *bottom[1:]], jitter=0.01)
    else:
        stroke(top, jitter=0.015)
        pen.lines(mouth, jitter=0.02)
        stroke(bottom, jitter=0.015)
    if pen.chance(0.75):
        teeth = pen.whole(3, 8)
        pen.zigzag((hinge[0] + 0.1, hinge[1]), (jaw_top[0], jaw_top[1] + 0.1), teeth, 0.4 * b)
        if pen.chance(0.45):
            pen.zigzag((jaw_low[0], jaw_low[1] - 0.1), (hinge[0] + 0.1, hinge[1]), teeth, 0.35 * b)
    if pen.chance(0.55):
        pen.zigzag((-0.9 - 0.4 * tail, -0.6 * b - 0.3 * rise), (0.7, -b), pen.whole(5, 11), -0.4 * b)
    if pen.chance(0.85):
        _eye(pen, 0.97, -pen.between(0.7, 1.1) * b, 0.08)
    for x in ((-0.75, 0.6), (-0.8, -0.55, 0.45, 0.7))[pen.pick([(1, 0), (1, 1)])]:
        down, slant = b + pen.between(0.2, 0.4), pen.between(-0.05, 0.15)
        if legs == "stick":
            pen.lines([(x, 0.9 * b), (x + slant, down), (x + slant + 0.14, down)])
        else:
            pen.lines([(x - 0.09, 0.9 * b), (x - 0.08 + slant, down), (x + 0.16 + slant, down), (x + 0.09, 0.9 * b)])


@_ARTISTS.register("duck")
def _duck(pen: Pen) -> None:
    r = pen.between(0.3, 0.45)
    hx, hy = pen.between(0.5, 0.8), -pen.between(0.75, 1.15)
    beak = pen.between(0.25, 0.5)
    manner = pen.pick([(5, "outline"), (4, "parts"), (1, "bust")])
    if manner == "outline":
        start = pen.pick([(2, 0), (1, 6)])
        points = [
            (hx + 0.95 * r, hy - 0.1), (hx + 0.3 * r, hy - r), (hx - 0.8 * r, hy - 0.6 * r), (hx - 0.9 * r, hy + 0.6 * r),
            (hx - r, -0.25), (-0.4, -0.2), (-1.1, -pen.between(0.3, 0.7)), (-0.95, 0.25), (-0.5, 0.6), (0.4, 0.62),
            (hx + 0.35, 0.2), (hx + 0.15, -0.25), (hx + 0.6 * r, hy + 0.8 * r),
        ]  # fmt: skip
        pen.curve([*points[start:], *points[: start + 1]], jitter=0.012)
    elif manner == "parts":
        pen.ellipse(hx, hy, r, r)
        if -hy > 0.55 + r:
            pen.curve([(hx - 0.5 * r, hy + 0.85 * r), (hx - 0.65 * r, -0.35)])
            pen.curve([(hx + 0.5 * r, hy + 0.85 * r), (hx + 0.4 * r, -0.2)])
        pen.ellipse(0.0, 0.15, pen.about(0.95, 0.1), pen.about(0.5, 0.15), pen.bell(0.1))
        if pen.chance(0.6):
            pen.lines([(-0.8, -0.1), (-1.2, -pen.between(0.2, 0.5)), (-0.95, 0.2)])
    else:
        pen.curve(
            [
                (hx - 0.5, 0.5),
                (hx - 0.35, -0.2),
                (hx - r, hy),
                (hx, hy - r),
                (hx + r, hy),
                (hx + 0.4, -0.2),
                (hx + 0.6, 0.5),
            ]
        )
    bill = pen.pick([(4, "flat"), (3, "triangle"), (2, "open")])
    bx = hx + 0.88 * r
    if bill == "flat":
        pen.curve(
            [
                (bx, hy - 0.12),
                (bx + 0.6 * beak, hy - 0.05),
                (bx + beak, hy),
                (bx + 0.9 * beak, hy + 0.13),
                (bx, hy + 0.16),
            ]
        )
    elif bill == "triangle":
        pen.lines([(bx, hy - 0.12), (bx + beak, hy + pen.bell(0.04)), (bx, hy + 0.16)])
    else:
        pen.lines(
            [
                (bx, hy - 0.14),
                (bx + beak, hy - 0.1),
                (bx + 0.1, hy + 0.03),
                (bx + 0.9 * beak, hy + 0.16),
                (bx - 0.02, hy + 0.2),
            ]
        )
    if pen.chance(0.88):
        _eye(pen, hx + 0.25 * r, hy - 0.2 * r, 0.15 * r)
    if manner != "bust" and pen.chance(0.6):
        if pen.chance(0.6):
            pen.curve([(0.25, -0.02), (0.05, 0.3), (-0.35, 0.3), (-0.65, pen.between(-0.2, 0.1))])
        else:
            pen.curve([(0.3, 0.05), (-0.1, -0.15), (-0.65, 0.0), (-0.2, 0.35), (0.3, 0.05)])
    below = pen.pick([(4, "legs"), (3, "water"), (4, "nothing")])
    if manner == "bust":
        return
    if below == "legs":
        down = pen.between(0.85, 1.2)
        for x in (-0.15, 0.2):
            pen.lines([(x, 0.6), (x + pen.bell(0.04), down)])
            if pen.chance(0.7):
                pen.lines([(x, down - 0.05), (x - 0.1, down + 0.13), (x + 0.22, down + 0.1), (x, down - 0.05)])
            else:
                pen.lines([(x, down), (x + 0.2, down + 0.03)])
    elif below == "water":
        waves = [(-1.5 + 0.3 * step, pen.between(0.3, 0.5) + (0.07 if step % 2 else -0.07)) for step in range(11)]
        level = pen.between(0.35, 0.6)
        pen.curve([(x, level + 0.3 * y) for x, y in waves], jitter=0.004)


@_ARTISTS.register("elephant")
def _elephant(pen: Pen) -> None:
    if pen.chance(0.3):
        pen.ellipse(0.0, 0.0, 0.75, pen.about(0.9, 0.1))
        big = pen.between(0.45, 0.7)
        for side in (-1, 1):
            x = side * (0.65 + 0.75 * big)
            pen.curve([
                (side * 0.6, -0.5), (x, -0.5 - big), (x + side * 0.7 * big, -0.3), (x + side * 0.2 * big, 0.3 + big), (side * 0.65, 0.35),
            ])  # fmt: skip
        sway, long = pen.bell(0.4), pen.between(1.3, 2.0)
        for shift in (-0.2, 0.2):
            pen.curve([(shift, 0.2), (shift + 0.3 * sway, 0.2 + 0.5 * long), (0.7 * shift + sway, 0.2 + long)])
        if pen.chance(0.6):
            pen.curve([(-0.16 + sway, 0.2 + long), (sway, 0.3 + long), (0.16 + sway, 0.2 + long)])
        for number in range(pen.whole(0, 4)):
            pen.curve(
                [
                    (-0.18 + 0.1 * sway, 0.5 + 0.2 * number),
                    (0.0, 0.55 + 0.2 * number),
                    (0.2 + 0.1 * sway, 0.5 + 0.2 * number),
                ]
            )
        for side in (-1, 1):
            _eye(pen, side * 0.35, -0.2, 0.09)
            if pen.chance(0.4):
                pen.curve([(side * 0.3, 0.6), (side * 0.5, 0.95), (side * 0.75, 1.0), (side * 0.55, 0.65)])
        return
    build = Build("elephant", height=0.68, leg=0.55, leg_width=0.34, neck=0.05, neck_rise=0.35, head=0.5).varied(pen)
    _side_view(pen, build, [(3, "down"), (2, "tuft")])
    x, y = build.head_at
    r = build.head
    if pen.chance(0.85):
        out = pen.between(0.6, 1.1)
        pen.curve([
            (x - 0.1 * r, y - 0.7 * r), (x - out * r, y - 0.8 * r), (x - 1.2 * out * r, y + 0.1 * r), (x - 0.5 * r, y + 0.9 * r), (x - 0.05 * r, y + 0.3 * r),
        ], closed=pen.chance(0.4))  # fmt: skip
    if pen.chance(0.8):
        _eye(pen, x + 0.4 * r, y - 0.25 * r, 0.12 * r)
    if pen.chance(0.4):
        pen.curve([(x + 0.6 * r, y + 0.5 * r), (x + 0.9 * r, y + 1.0 * r), (x + 1.6 * r, y + 0.9 * r)])
    if pen.bothers(0.3):
        for x in (-0.7 * build.length, 0.7 * build.length):
            pen.arc(x, build.height + build.leg, 0.1, 0.08, start=0.5, turns=0.5)


@_ARTISTS.register("dog")
def _dog(pen: Pen) -> None:
    manner = pen.pick([(3, "head"), (1, "sitting"), (6, "side")])
    if manner == "side":
        build = Build("dog", height=0.38, leg=0.6, leg_width=0.18, neck=0.25, neck_rise=0.75, head=0.38).varied(pen)
        _side_view(pen, build, [(4, "up"), (1, "curl"), (1, "down"), (1, "bushy")])
        if pen.chance(0.9):
            _head_ears(pen, build, pen.pick([(5, "hanging"), (2, "pointed")]))
        _profile_face(pen, build)
        x, y = build.head_at
        if pen.chance(0.4):
            pen.scribble(x + 1.5 * build.head, y, 0.12 * build.head, 0.1 * build.head)
        if pen.bothers(0.15):
            _spots(pen, build, pen.whole(1, 3), 0.14)
        return
    tall = pen.about(1.05, 0.12)
    pen.ellipse(0.0, 0.0, pen.about(0.95, 0.08), tall)
    _hanging_ears(pen, 0.0, 0.0, 1.0)
    _front_face(pen, 0.0, 0.0, 1.0, pen.pick([(2, "oval"), (2, "plain")]))
    if pen.chance(0.4):
        pen.curve([(-0.12, 0.7), (-0.14, 1.0), (0.0, 1.1), (0.14, 1.0), (0.12, 0.7)])
    if manner == "sitting":
        _sitting_body(pen, 0.0, 0.0, 1.0, "long")


@_ARTISTS.register("giraffe")
def _giraffe(pen: Pen) -> None:
    build = Build(
        "giraffe", length=0.75, height=0.38, leg=0.95, leg_width=0.17, neck=1.5, neck_rise=1.15, head=0.27
    ).varied(pen)
    bust = pen.chance(0.12)
    x, y = build.head_at
    r = build.head
    if bust:
        pen.curve(build.head_points(pen))
        _neck(pen, build)
    else:
        _side_view(pen, build, [(2, "down"), (3, "tuft")])
    if pen.chance(0.8):
        for shift in (-0.2, 0.15):
            tip = (x + shift * r + pen.bell(0.03), y - pen.between(1.3, 1.7) * r)
            pen.lines([(x + shift * r, y - 0.7 * r), tip])
            if pen.bothers(0.5):
                pen.dot(*tip, 0.2 * r)
    if pen.bothers(0.3):
        _head_ears(pen, build, "leaf")
    _profile_face(pen, build)
    if pen.chance(0.65):
        if not bust:
            _spots(pen, build, pen.whole(2, 6), 0.1)
        foot = (0.8 * build.length, -0.5 * build.height)
        for number in range(pen.whole(1, 5)):
            way = 0.15 + 0.14 * number
            px, py = foot[0] + way * (x - foot[0]), foot[1] + way * (y - foot[1])
            pen.ellipse(px + pen.bell(0.03), py, pen.about(0.08, 0.3), pen.about(0.07, 0.3))


ANIMALS: tuple[str, ...] = (
    "sheep", "bear", "bee", "cat", "camel", "cow", "crab", "crocodile", "duck", "elephant", "dog", "giraffe",
)  # fmt: skip


def draw(animal: str, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    """Return one doodle of `animal`.

    Parameters
    ----------
    animal
        One of `ANIMALS`.
    rng
        Decides everything about the drawing: the same state gives the same strokes.

    Returns
    -------
    list of (n_points, 2) uint8
        Strokes in the order drawn, as x, y in 0..255: aligned to the top left corner, the longer side 255.

    Raises
    ------
    InputError
        If there is no such animal; the message names the nearest.
    """
    pen = Pen(rng)
    _ARTISTS.get(animal)(pen)
    return pen.finish()


def key_of(animal: str, seed: int, number: int) -> int:
    """Return the 64-bit key of drawing `number` of (`animal`, `seed`): the seed of that drawing's generator.

    Raises
    ------
    InputError
        If there is no such animal.
    """
    _ARTISTS.get(animal)
    digest = hashlib.blake2b(f"{animal}/{seed}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def draw_many(animal: str, count: int, seed: int) -> Drawings:
    """Return the first `count` doodles of `animal` that `seed` holds; asking for more adds to the end.

    Their country is unknown (`ZZ`), their time 0, and all are recognized.

    Raises
    ------
    InputError
        If there is no such animal, or `count` is negative.
    """
    if count < 0:
        raise InputError(f"got a count of {count} doodles; ask for 0 or more.")
    keys = [key_of(animal, seed, number) for number in range(count)]
    return Drawings.from_strokes(
        [draw(animal, np.random.default_rng(key)) for key in keys], key_id=np.array(keys, dtype=np.uint64)
    )
