"""Parts that many animals share: heads, faces, ears, legs, and the side view of a four-legged animal.

Which animal has which of them, and how often, is in `doodles.py`; how lines are drawn is in `pen.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trazo.data.pen import Floats, Pen, Point, place

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


def draw_eye(pen: Pen, x: float, y: float, size: float) -> None:
    """Draw one eye."""
    if pen.eye == "dot":
        pen.dot(x, y, 0.5 * size)
    elif pen.eye == "blot":
        pen.scribble(x, y, 0.6 * size, 0.6 * size)
    else:
        pen.ellipse(x, y, size, pen.about(size, 0.2))
        if pen.eye == "pupil":
            pen.dot(x + pen.bell(0.2) * size, y + pen.bell(0.2) * size, 0.3 * size)


def draw_smile(pen: Pen, x: float, y: float, width: float, depth: float) -> None:
    """Draw a mouth: an arc, a line, or open."""
    depth = depth * pen.pick([(7, 1.0), (2, 0.1), (1, -0.6)])
    pen.curve([(x - width, y), (x, y + depth), (x + width, y)])
    if pen.chance(0.12):
        pen.curve([(x - width, y), (x, y + 2.2 * depth), (x + width, y)])


def draw_legs(pen: Pen, build: Build, count: int) -> None:
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


def draw_tail(pen: Pen, build: Build, kind: str) -> None:
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


def draw_silhouette(pen: Pen, build: Build) -> None:
    """Draw the whole animal as one line: head, chest, legs, belly, rump, back."""
    a, b, half = build.length, build.height, build.leg_width / 2
    floor = b + build.leg
    front, hind = pen.between(0.6, 0.75) * a, -pen.between(0.65, 0.8) * a

    def leg(x: float) -> list[Point]:
        slant = pen.bell(0.05)
        sole = [(x + half + slant, floor), (x - half + slant, floor + pen.bell(0.03))]
        return [(x + half, 0.75 * b), *sole, (x - half, 0.85 * b)]

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


def draw_body(pen: Pen, build: Build) -> None:
    """Draw the trunk of the animal: an egg or a box, with its humps."""
    a, b = build.length, build.height
    if build.humps:
        back = [(0.9 * a * (2 * at - 1) + dx, -b * (0.7 + up)) for at, top in build.humps for dx, up in _hump(top)]
        pen.curve([(-a, 0.0), *back, (a, -0.2 * b), (0.8 * a, 0.8 * b), (-0.8 * a, 0.8 * b)], closed=True, jitter=0.012)
    elif pen.chance(0.75):
        pen.ellipse(0.0, 0.0, a, b)
    else:
        pen.lines([(-0.9 * a, -0.8 * b), (0.9 * a, -0.8 * b), (0.9 * a, 0.8 * b), (-0.9 * a, 0.8 * b)], closed=True)


def draw_neck(pen: Pen, build: Build) -> None:
    """Draw the neck as two lines, or as one where it is short."""
    x, y = build.head_at
    wide = 0.5 * build.head
    lean = math.sin(build.neck_rise)
    pen.curve([(0.6 * build.length, -0.75 * build.height), (x - 0.9 * wide * lean - 0.3 * wide, y + 0.5 * wide)])
    pen.curve([(0.95 * build.length, -0.2 * build.height), (x + 0.6 * wide * lean, y + 1.6 * wide)])


def draw_side_view(
    pen: Pen,
    build: Build,
    tails: Sequence[tuple[float, str]],
    leg_counts: Sequence[tuple[float, int]] = ((7, 4), (2, 2), (1, 3)),
) -> str:
    """Draw a four-legged animal from the side, but for its face; return the manner: `outline` or `parts`."""
    manner = pen.pick([(4, "outline"), (6, "parts")])
    if manner == "outline":
        draw_silhouette(pen, build)
    else:
        head_first = pen.chance(0.55)
        x, y = build.head_at
        for part in ("head", "body") if head_first else ("body", "head"):
            if part == "body":
                draw_body(pen, build)
            elif build.profile == "elephant" or pen.chance(0.5):
                pen.curve(build.head_points(pen), closed=pen.chance(0.6))
            else:
                muzzle = pen.between(1.0, 1.5)
                pen.ellipse(x, y, build.head * muzzle, build.head * 0.85, pen.bell(0.25) + 0.1)
        if build.neck > 0.3:
            draw_neck(pen, build)
        draw_legs(pen, build, pen.pick(leg_counts))
    if pen.chance(0.85):
        draw_tail(pen, build, pen.pick(tails))
    return manner


def draw_profile_face(pen: Pen, build: Build) -> None:
    """Draw eye, mouth and nostril on a head seen from the side."""
    x, y = build.head_at
    r = build.head
    if pen.bothers(0.8):
        draw_eye(pen, x + pen.between(0.05, 0.35) * r, y - pen.between(0.1, 0.4) * r, pen.about(0.15, 0.3) * r)
    if pen.bothers(0.4):
        pen.curve([(x + 1.2 * r, y + 0.3 * r), (x + 0.9 * r, y + 0.4 * r), (x + 0.5 * r, y + 0.3 * r)])
    if pen.bothers(0.3):
        pen.dot(x + 1.25 * r, y + 0.05 * r, 0.08 * r)


def draw_face(pen: Pen, build: Build, manner: str, muzzle: str) -> None:
    """Draw the face of an animal seen from the side: as children do, it may look at us all the same."""
    if manner == "parts" and pen.chance(0.3):
        draw_front_face(pen, *build.head_at, build.head, muzzle)
    else:
        draw_profile_face(pen, build)


def draw_head_ears(pen: Pen, build: Build, kind: str) -> None:
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


def draw_front_face(pen: Pen, x: float, y: float, r: float, muzzle: str) -> None:
    """Draw eyes, nose and mouth on a head seen from the front; `muzzle` is `cat`, `oval`, `snout` or `plain`."""
    apart, up = pen.between(0.28, 0.45) * r, pen.between(0.05, 0.35) * r
    size = pen.about(0.11, 0.3) * r
    state = pen.chance(0.9)
    if state:
        draw_eye(pen, x - apart, y - up, size)
        draw_eye(pen, x + apart, y - up, size)
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
        draw_smile(pen, x, low + 0.2 * r, 0.3 * r, 0.18 * r)


def draw_pointed_ears(pen: Pen, x: float, y: float, r: float) -> None:
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


def draw_round_ears(pen: Pen, x: float, y: float, r: float) -> None:
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


def draw_hanging_ears(pen: Pen, x: float, y: float, r: float) -> None:
    """Draw a dog's ears on a head seen from the front."""
    low, out = pen.between(0.1, 0.9) * r, pen.between(1.15, 1.6) * r
    for side in (-1, 1):
        pen.curve([
            (x + side * 0.5 * r, y - 0.85 * r), (x + side * 0.95 * out, y - 0.7 * r), (x + side * out, y + 0.6 * low),
            (x + side * 0.95 * r, y + low), (x + side * 0.85 * r, y - 0.3 * r),
        ])  # fmt: skip


def draw_whiskers(pen: Pen, x: float, y: float, r: float) -> None:
    """Draw a cat's whiskers."""
    count = pen.pick([(1, 1), (3, 2), (5, 3)])
    reach = pen.between(0.8, 1.5) * r
    for side in (-1, 1):
        for number in range(count):
            spread = (number - (count - 1) / 2) * pen.about(0.2, 0.3) * r
            pen.lines(
                [(x + side * 0.3 * r, y + 0.4 * spread), (x + side * reach, y + 1.5 * spread + pen.bell(0.05) * r)]
            )


def draw_spots(pen: Pen, build: Build, count: int, size: float) -> None:
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


def draw_upright_body(pen: Pen, x: float, y: float, r: float, tail: str) -> None:
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
