"""The embedded drawings: twelve animals as people doodle them in twenty seconds, made from a seed, without data.

What each animal consists of, and the ways of drawing it, live here; the parts they share are in
`creatures.py`, the hand that draws in `pen.py`, and the codec of `.bin` files in `quickdraw.py`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trazo.data.creatures import (
    Build,
    draw_eye,
    draw_face,
    draw_front_face,
    draw_hanging_ears,
    draw_head_ears,
    draw_legs,
    draw_neck,
    draw_pointed_ears,
    draw_profile_face,
    draw_round_ears,
    draw_side_view,
    draw_smile,
    draw_spots,
    draw_tail,
    draw_upright_body,
    draw_whiskers,
)
from trazo.data.pen import Pen, place
from trazo.data.quickdraw import Drawings, write_bin
from trazo.errors import InputError
from trazo.registry import Registry

Artist = Callable[[Pen], None]
_ARTISTS: Registry[Artist] = Registry("doodle")

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
        draw_front_face(pen, x, y, r, pen.pick([(2, "plain"), (1, "oval")]))
    else:
        draw_profile_face(pen, build)
    if pen.chance(0.6):
        for side in (-1, 1) if front else (-1,):
            pen.ellipse(x + side * 0.95 * r, y - 0.4 * r, 0.4 * r, 0.18 * r, side * 0.4)
    if pen.chance(0.92):
        draw_legs(pen, build, pen.pick([(7, 4), (3, 2)]))
    if pen.bothers(0.3):
        pen.scallops(x - 0.1 * r, y - 0.8 * r, 0.6 * r, 0.35 * r, pen.whole(4, 6), 0.15)
    if not front and pen.chance(0.35):
        draw_tail(pen, build, pen.pick([(3, "stub"), (1, "curl")]))
    if pen.bothers(0.25):
        for _ in range(pen.whole(2, 5)):
            pen.spiral(pen.between(-0.6, 0.4) * a, pen.between(-0.5, 0.5) * b, 0.12, pen.between(0.8, 1.6))


@_ARTISTS.register("bear")
def _bear(pen: Pen) -> None:
    manner = pen.pick([(5, "head"), (4, "upright"), (3, "side")])
    if manner == "side":
        build = Build("bear", height=0.58, leg=0.5, leg_width=0.3, neck=0.1, neck_rise=0.5, head=0.42).varied(pen)
        manner = draw_side_view(pen, build, [(1, "stub")])
        draw_head_ears(pen, build, "round")
        draw_face(pen, build, manner, "oval")
        return
    tall = pen.about(1.0, 0.12)
    pen.ellipse(0.0, 0.0, 1.0, tall)
    draw_round_ears(pen, 0.0, 0.0, 1.0)
    if manner == "head" or pen.chance(0.85):
        draw_front_face(pen, 0.0, 0.0, 1.0, pen.pick([(3, "oval"), (1, "plain")]))
    if manner == "upright":
        draw_upright_body(pen, 0.0, 0.0, 1.0, "none")


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
            pen.scribble(u * a, 0.0, 0.09 * a, half, slant=0.06)
        else:
            bow = pen.between(0.0, 0.14)
            pen.curve([(u * a, -half), (u * a + bow, 0.0), (u * a, half)])
    x, r = 0.62 * a, 0.3
    if pen.chance(0.5):
        r = pen.between(0.3, 0.5)
        x = a + 0.75 * r
        pen.ellipse(x, 0.0, r, r)
    if pen.chance(0.75):
        draw_eye(pen, x + 0.2 * r, -0.25 * r, 0.25 * r)
    if pen.bothers(0.5):
        draw_smile(pen, x + 0.2 * r, 0.35 * r, 0.35 * r, 0.2 * r)
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
        outline = draw_side_view(pen, build, [(4, "up"), (1, "curl"), (1, "down")]) == "outline"
        x, y = build.head_at
        if outline:
            draw_profile_face(pen, build)
        else:
            draw_head_ears(pen, build, "pointed")
            draw_front_face(pen, x, y, build.head, "cat")
        if pen.chance(0.5):
            draw_whiskers(pen, x + 0.1, y + 0.15 * build.head, build.head)
        return
    if pen.chance(0.25):
        # Head and ears in one line.
        side = [(0.35, -0.85), (0.85, -1.3), (0.95, 0.1), (0.5, 0.85)]
        pen.lines([*side, *[(-x, y) for x, y in reversed(side)]], closed=True)
    else:
        pen.ellipse(0.0, 0.0, pen.about(1.08, 0.1), pen.about(0.95, 0.1))
        draw_pointed_ears(pen, 0.0, 0.0, 1.0)
    draw_front_face(pen, 0.0, 0.0, 1.0, "cat")
    if pen.chance(0.75):
        draw_whiskers(pen, 0.0, 0.35, 1.0)
    if manner == "sitting":
        draw_upright_body(pen, 0.0, 0.0, 1.0, "long")


@_ARTISTS.register("camel")
def _camel(pen: Pen) -> None:
    humps = pen.pick([(6, ((0.3, 0.75), (0.72, 0.75))), (4, ((0.5, 0.95),))])
    build = Build(
        "camel", height=0.42, leg=0.75, leg_width=0.2, neck=0.6, neck_rise=0.9, head=0.28, humps=humps
    ).varied(pen)
    draw_side_view(pen, build, [(2, "down"), (2, "tuft"), (0.5, "up")])
    if pen.bothers(0.5):
        draw_head_ears(pen, build, pen.pick([(2, "pointed"), (1, "leaf")]))
    draw_profile_face(pen, build)


@_ARTISTS.register("cow")
def _cow(pen: Pen) -> None:
    if pen.chance(0.22):
        _cow_from_the_front(pen)
        return
    build = Build("cow", height=0.52, leg=0.55, leg_width=0.2, neck=0.2, neck_rise=0.35, head=0.36).varied(pen)
    manner = draw_side_view(pen, build, [(4, "tuft"), (2, "down")])
    x, y = build.head_at
    r = build.head
    if pen.chance(0.7):
        for shift in (-0.25, 0.3):
            tip = (x + shift * r + pen.between(0.0, 0.25), y - pen.between(1.4, 1.8) * r)
            pen.curve([(x + shift * r, y - 0.75 * r), (x + shift * r - 0.06, y - 1.1 * r), tip])
    if pen.chance(0.5):
        draw_head_ears(pen, build, "leaf")
    draw_face(pen, build, manner, "snout")
    if pen.chance(0.75):
        draw_spots(pen, build, pen.whole(2, 5), pen.between(0.12, 0.22))
    if pen.chance(0.55):
        udder = -pen.between(0.15, 0.4)
        pen.arc(udder, 0.95 * build.height, 0.2, 0.16, start=0.0, turns=0.5)
        for shift in (-0.08, 0.08):
            if pen.bothers(0.6):
                pen.lines([(udder + shift, build.height + 0.1), (udder + shift, build.height + 0.22)])


def _cow_from_the_front(pen: Pen) -> None:
    """Draw a cow's head as seen from the front."""
    brow, jaw, deep = pen.between(0.6, 0.9), pen.between(0.45, 0.75), pen.between(0.9, 1.2)
    if pen.chance(0.3):
        pen.ellipse(0.0, 0.0, brow, 0.95 * deep)
    else:
        side = [(brow, -0.75), (0.95 * brow, 0.1), (jaw, 0.85 * deep)]
        pen.curve([(0.0, -1.0), *side, (0.0, deep), *[(-x, y) for x, y in reversed(side)]], closed=True)
    droop, horns = pen.between(-0.4, 0.5), pen.pick([(4, "bent"), (2, "spikes"), (2, "none")])
    for side in (-1, 1):
        if pen.chance(0.93):
            pen.ellipse(side * (brow + 0.32), -0.6 + 0.3 * droop, pen.about(0.36, 0.15), 0.19, side * droop)
        if horns == "bent":
            tip = (side * pen.between(0.5, 0.85), -pen.between(1.4, 1.7))
            pen.curve([(side * 0.35, -0.9), (side * 0.72, -1.15), tip, (side * 0.55, -1.1), (side * 0.55, -0.85)])
        elif horns == "spikes":
            pen.lines([(side * 0.25, -0.92), (side * 0.55, -1.45), (side * 0.5, -0.85)])
    draw_front_face(pen, 0.0, 0.0, deep, "snout")
    if pen.bothers(0.4):
        pen.ellipse(-0.4, -0.35, 0.3, 0.35, pen.bell(0.4))
    if pen.chance(0.12):
        draw_upright_body(pen, 0.0, 0.0, 1.0, "none")


@_ARTISTS.register("crab")
def _crab(pen: Pen) -> None:
    a, b = pen.about(1.0, 0.1), pen.between(0.45, 0.9)
    shell = pen.pick([(6, "oval"), (2, "trapeze"), (2, "dome"), (1, "box")])
    if shell == "oval":
        pen.ellipse(0.0, 0.0, a, b)
    elif shell == "trapeze":
        corners = [(-a, -0.1), (-0.6 * a, -b), (0.6 * a, -b), (a, -0.1), (0.5 * a, 0.7 * b), (-0.5 * a, 0.7 * b)]
        pen.curve(corners, closed=True)
    elif shell == "dome":
        pen.arc(0.0, 0.4 * b, a, 1.4 * b, start=0.5, turns=0.5)
        pen.curve([(-a, 0.4 * b), (0.0, pen.between(0.3, 0.9) * b), (a, 0.4 * b)])
    else:
        pen.lines([(-a, -0.8 * b), (a, -0.8 * b), (0.8 * a, 0.8 * b), (-0.8 * a, 0.8 * b)], closed=True)
    arms = pen.pick([(5, "bent"), (3, "bowed"), (2, "none")])
    claw = pen.pick([(4, "jaws"), (3, "bitten"), (2, "fork"), (2, "mitten")])
    size, raised = pen.between(0.22, 0.6), pen.between(-0.4, 1.0)
    for side in (-1, 1):
        shoulder = (side * 0.88 * a, -0.35 * b)
        elbow = (side * (a + pen.between(0.2, 0.5)), -0.2 - 0.3 * raised)
        wrist = (side * (a + pen.between(0.1, 0.7)), -0.5 * b - 0.65 * raised - 0.1)
        if arms == "bent":
            pen.lines([shoulder, elbow, wrist])
        elif arms == "bowed":
            pen.curve([shoulder, elbow, wrist])
        else:
            wrist = (side * (0.95 * a + 0.2 * size), -0.5 * b)
        _claw(pen, claw, wrist[0] + side * 0.1, wrist[1] - 0.8 * size, size, side * pen.between(-0.3, 0.7))
    if pen.chance(0.93):
        _crab_legs(pen, a, b)
    seat = pen.pick([(5, "stalks"), (4, "shell"), (1, "none")])
    apart = pen.between(0.15, 0.45) * a
    for side in (-1, 1):
        if seat == "stalks":
            y = -b - pen.between(0.15, 0.45)
            pen.lines([(side * 0.9 * apart, -0.92 * b), (side * apart, y + 0.1)])
            draw_eye(pen, side * apart, y, 0.11)
        elif seat == "shell":
            draw_eye(pen, side * apart, -0.3 * b, pen.about(0.12, 0.2))
    if pen.chance(0.45):
        draw_smile(pen, 0.0, 0.25 * b, 0.3 * a, 0.2 * b)


def _claw(pen: Pen, kind: str, x: float, y: float, size: float, lean: float) -> None:
    """Draw a crab's pincer: two `jaws`, a `bitten` disc, a `fork` or a `mitten`."""
    if kind == "bitten":
        disc = [(0.3, -1), (0.9, -0.4), (0.7, 0.5), (0, 0.9), (-0.7, 0.5), (-0.9, -0.4), (-0.3, -1), (0, 0)]
        pen.lines(place(disc, x, y, size, lean), closed=True)
    elif kind == "jaws":
        for side in (1, -1):
            jaw = [(0, 1), (0.8 * side, 0.4), (0.8 * side, -0.4), (0.2 * side, -1.1), (0.3 * side, -0.2), (0, 0.1)]
            pen.curve(place(jaw, x, y, size, lean))
    elif kind == "fork":
        pen.lines(place([(-0.6, -0.9), (0, 0.9), (0.6, -0.9)], x, y, size, lean))
    else:
        pen.ellipse(x, y, 0.75 * size, size, lean)
        pen.lines(place([(0.1, -1), (0, 0)], x, y, size, lean))


def _crab_legs(pen: Pen, a: float, b: float) -> None:
    """Draw the walking legs of a crab whose shell has half axes `a` and `b`."""
    count = pen.pick([(3, 2), (5, 3), (3, 4)])
    manner = pen.pick([(4, "bent"), (3, "straight"), (2, "bowed")])
    reach, drop = pen.between(0.35, 0.75), pen.between(0.2, 0.55)
    for side in (-1, 1):
        for number in range(count + (pen.chance(0.1) and -1)):
            out = 0.88 - 0.55 * number / max(1, count - 1)
            x, y = side * out * a, b * math.sqrt(1 - out * out) * 0.95
            far = reach - 0.2 * number + pen.bell(0.06)
            knee = (x + side * far, y - 0.05 + 0.13 * number)
            foot = (x + side * (far + 0.12), y + drop + pen.bell(0.06))
            if manner == "bent":
                pen.lines([(x, y), knee, foot])
            elif manner == "bowed":
                pen.curve([(x, y), knee, foot])
            else:
                pen.lines([(x, y), ((knee[0] + foot[0]) / 2, foot[1] - 0.1)])


@_ARTISTS.register("crocodile")
def _crocodile(pen: Pen) -> None:
    b = pen.between(0.22, 0.55)
    gape = pen.pick([(4, pen.between(0.0, 0.06)), (6, pen.between(0.15, 0.6))])
    snout, tail = pen.between(0.6, 1.3), pen.between(0.6, 1.5)
    manner = pen.pick([(5, "outline"), (3, "sides"), (3, "parts"), (1.5, "head")])
    if manner == "head":
        _crocodile_head(pen, gape, snout)
        return
    teeth = pen.whole(3, 8)
    if manner == "parts":
        pen.ellipse(0.0, 0.0, 1.0, b)
        tip = (-1.0 - tail, pen.between(-0.6, 0.3))
        swing = pen.bell(0.2)
        pen.curve([(-0.9, -0.4 * b), (-1.0 - 0.5 * tail, 0.5 * tip[1] - 0.1 + swing), tip, (-0.95, 0.3 * b)])
        hinge, top, low = (1.05, 0.1 * b), (1.1 + snout, -0.4 * b - gape), (1.1 + snout, 0.5 * b + 0.2 * gape)
        pen.lines([(0.9, -0.5 * b), top, hinge])
        pen.lines([hinge, low, (0.9, 0.6 * b)])
    else:
        hinge, top, low = (1.15, 0.15 * b), (1.1 + snout, -0.5 * b - gape), (1.1 + snout, 0.6 * b + 0.3 * gape)
        tip, sag = (-1.0 - tail, pen.bell(0.35)), pen.bell(0.15)
        brow = (0.95, -pen.between(1.05, 1.6) * b)
        upper = [tip, (-1.0, -0.75 * b + sag), (-0.2, -b), (0.7, -0.95 * b), brow, (1.2, -0.8 * b)]
        upper += [(1.1 + 0.6 * snout, -0.6 * b - 0.6 * gape), top]
        mouth = [top, (top[0] + 0.08, top[1] + 0.12), hinge, (low[0], low[1] - 0.1), low]
        lower = [low, (1.0, 0.8 * b), (0.0, b), (-0.9, 0.8 * b + sag), tip]
        stroke = pen.lines if pen.chance(0.3) else pen.curve
        if manner == "outline":
            stroke([*upper, *mouth[1:], *lower[1:]], jitter=0.012)
        else:
            stroke(upper, jitter=0.015)
            pen.lines(mouth, jitter=0.02)
            stroke(lower, jitter=0.015)
    if pen.chance(0.7):
        bite = pen.between(0.08, 0.16)
        pen.zigzag((hinge[0] + 0.1, hinge[1]), (top[0], top[1] + 0.1), teeth, bite)
        if pen.chance(0.45):
            pen.zigzag((low[0], low[1] - 0.1), (hinge[0] + 0.1, hinge[1]), teeth, bite)
    if pen.chance(0.5):
        pen.zigzag((-0.9 - 0.4 * tail, -0.55 * b + 0.4 * tip[1]), (0.7, -b), pen.whole(4, 11), -pen.between(0.07, 0.16))
    if pen.chance(0.85):
        draw_eye(pen, 0.97, -pen.between(0.6, 1.1) * b, 0.08)
    legs = pen.pick([(1, "stick"), (2, "tube")])
    down, slant = b + pen.between(0.15, 0.5), pen.between(-0.05, 0.2)
    for x in pen.pick([(3, (-0.7, 0.6)), (5, (-0.8, -0.5, 0.4, 0.7)), (1, ())]):
        bottom = down + pen.bell(0.03)
        if legs == "stick":
            pen.lines([(x, 0.85 * b), (x + slant, bottom), (x + slant + 0.14, bottom)])
        else:
            pen.lines(
                [(x - 0.1, 0.85 * b), (x - 0.09 + slant, bottom), (x + 0.15 + slant, bottom), (x + 0.1, 0.85 * b)]
            )
    if pen.bothers(0.2):
        for _ in range(pen.whole(3, 7)):
            pen.arc(pen.between(-0.7, 0.6), pen.between(-0.5, 0.4) * b, 0.08, 0.06, start=0.5, turns=0.5)


def _crocodile_head(pen: Pen, gape: float, snout: float) -> None:
    """Draw a crocodile's head alone: two long jaws."""
    end = 0.9 + snout
    brow = [(0.0, -0.5), (0.45, -0.65), (0.7, -0.4)]
    pen.curve([*brow, (end - 0.1, -0.35 - gape), (end, -0.15 - gape), (0.8, 0.05)], jitter=0.02)
    pen.curve([(0.8, 0.05), (end - 0.1, 0.15), (end - 0.1, 0.4), (0.6, 0.5), (0.0, 0.55)], jitter=0.02)
    if pen.chance(0.85):
        pen.zigzag((0.9, 0.03), (end, -0.13 - gape), pen.whole(4, 7), 0.13)
    draw_eye(pen, 0.45, -0.35, 0.1)
    if pen.bothers(0.5):
        pen.dot(end - 0.15, -0.28 - gape, 0.03)


@_ARTISTS.register("duck")
def _duck(pen: Pen) -> None:
    r = pen.between(0.3, 0.45)
    hx, hy = pen.between(0.5, 0.8), -pen.between(0.75, 1.15)
    beak = pen.between(0.25, 0.5)
    manner = pen.pick([(5, "outline"), (4, "parts"), (1, "bust")])
    if manner == "outline":
        start = pen.pick([(2, 0), (1, 6)])
        points = [
            (hx + 0.95 * r, hy - 0.1), (hx + 0.3 * r, hy - r), (hx - 0.8 * r, hy - 0.6 * r),
            (hx - 0.9 * r, hy + 0.6 * r), (hx - r, -0.25), (-0.4, -0.2),
            (-1.1, -pen.between(0.3, 0.7)), (-0.95, 0.25), (-0.5, 0.6), (0.4, 0.62),
            (hx + 0.35, 0.2), (hx + 0.15, -0.25), (hx + 0.6 * r, hy + 0.8 * r),
        ]  # fmt: skip
        pen.curve([*points[start:], *points[: start + 1]], jitter=0.012)
    elif manner == "parts":
        pen.ellipse(hx, hy, r, r)
        if -hy > 0.25 + r:
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
        draw_eye(pen, hx + 0.25 * r, hy - 0.2 * r, 0.15 * r)
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
    if pen.chance(0.27):
        _elephant_from_the_front(pen)
        return
    build = Build("elephant", height=0.68, leg=0.55, leg_width=0.34, neck=0.05, neck_rise=0.35, head=0.5).varied(pen)
    draw_side_view(pen, build, [(3, "down"), (2, "tuft")])
    x, y = build.head_at
    r = build.head
    if pen.chance(0.85):
        out, low = pen.between(0.5, 1.2), pen.between(0.5, 1.1)
        flap = [(-0.1, -0.7), (-out, -0.8), (-1.2 * out, 0.1), (-0.5, low), (-0.05, 0.3)]
        pen.curve(place(flap, x, y, r), closed=pen.chance(0.4))
    if pen.chance(0.8):
        draw_eye(pen, x + 0.4 * r, y - 0.25 * r, 0.12 * r)
    if pen.chance(0.4):
        pen.curve(place([(0.6, 0.5), (0.9, 1.0), (1.6, 0.9)], x, y, r))
    if pen.bothers(0.3):
        for foot in (-0.7 * build.length, 0.7 * build.length):
            pen.arc(foot, build.height + build.leg, 0.1, 0.08, start=0.5, turns=0.5)


def _elephant_from_the_front(pen: Pen) -> None:
    """Draw an elephant's head as seen from the front, sometimes above a body."""
    wide = pen.between(0.6, 0.85)
    pen.ellipse(0.0, 0.0, wide, pen.about(0.9, 0.12))
    big, ears = pen.between(0.4, 0.75), pen.pick([(3, "flaps"), (2, "discs")])
    for side in (-1, 1):
        x = side * (wide + 0.65 * big)
        if ears == "flaps":
            low = (x + side * 0.2 * big, 0.3 + big)
            pen.curve([(side * 0.6, -0.5), (x, -0.5 - big), (x + side * 0.7 * big, -0.3), low, (side * 0.65, 0.35)])
        else:
            pen.ellipse(x, -0.1, 0.8 * big, 1.15 * big, side * pen.bell(0.2))
    sway, long = pen.pick([(3, pen.bell(0.25)), (2, 0.7)]), pen.between(0.9, 2.0)
    tip = (sway, 0.2 + long)
    if pen.chance(0.2):
        pen.curve([(0.0, 0.1), (0.4 * sway, 0.1 + 0.6 * long), tip])
    elif pen.chance(0.5):
        side = [(-0.2, 0.2), (-0.2 + 0.3 * sway, 0.2 + 0.6 * long), (tip[0] - 0.12, tip[1])]
        pen.curve([*side, (tip[0] + 0.12, tip[1] - 0.05), (0.2 + 0.3 * sway, 0.2 + 0.5 * long), (0.2, 0.2)])
    else:
        for shift in (-0.2, 0.2):
            pen.curve([(shift, 0.2), (shift + 0.3 * sway, 0.2 + 0.5 * long), (0.7 * shift + tip[0], tip[1])])
    if pen.bothers(0.5):
        for number in range(pen.whole(1, 4)):
            y = 0.5 + 0.2 * number
            pen.curve([(-0.18 + 0.1 * sway, y), (0.1 * sway, y + 0.05), (0.2 + 0.1 * sway, y)])
    high = pen.between(0.1, 0.4)
    for side in (-1, 1):
        draw_eye(pen, side * 0.45 * wide, -high, pen.about(0.09, 0.3))
    if pen.chance(0.35):
        for side in (-1, 1):
            pen.curve([(side * 0.3, 0.6), (side * 0.5, 0.95), (side * 0.75, 1.0), (side * 0.55, 0.65)])
    if pen.chance(0.2):
        draw_upright_body(pen, 0.0, 0.0, 1.0, "none")


@_ARTISTS.register("dog")
def _dog(pen: Pen) -> None:
    manner = pen.pick([(4, "head"), (2, "sitting"), (5, "side")])
    if manner == "side":
        build = Build("dog", height=0.38, leg=0.6, leg_width=0.18, neck=0.25, neck_rise=0.75, head=0.38).varied(pen)
        manner = draw_side_view(pen, build, [(4, "up"), (1, "curl"), (1, "down"), (1, "bushy")])
        if pen.chance(0.9):
            draw_head_ears(pen, build, pen.pick([(5, "hanging"), (2, "pointed")]))
        draw_face(pen, build, manner, "plain")
        x, y = build.head_at
        if pen.chance(0.4):
            pen.scribble(x + 1.5 * build.head, y, 0.12 * build.head, 0.1 * build.head)
        if pen.bothers(0.15):
            draw_spots(pen, build, pen.whole(1, 3), 0.14)
        return
    tall = pen.about(1.05, 0.12)
    pen.ellipse(0.0, 0.0, pen.about(0.95, 0.08), tall)
    draw_hanging_ears(pen, 0.0, 0.0, 1.0)
    draw_front_face(pen, 0.0, 0.0, 1.0, pen.pick([(2, "oval"), (2, "plain")]))
    if pen.chance(0.4):
        pen.curve([(-0.12, 0.7), (-0.14, 1.0), (0.0, 1.1), (0.14, 1.0), (0.12, 0.7)])
    if manner == "sitting":
        draw_upright_body(pen, 0.0, 0.0, 1.0, "long")


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
        draw_neck(pen, build)
    else:
        draw_side_view(pen, build, [(2, "down"), (3, "tuft")])
    if pen.chance(0.8):
        for shift in (-0.2, 0.15):
            tip = (x + shift * r + pen.bell(0.03), y - pen.between(1.3, 1.7) * r)
            pen.lines([(x + shift * r, y - 0.7 * r), tip])
            if pen.bothers(0.5):
                pen.dot(*tip, 0.2 * r)
    if pen.bothers(0.3):
        draw_head_ears(pen, build, "leaf")
    draw_profile_face(pen, build)
    if pen.bothers(0.55):
        if not bust:
            draw_spots(pen, build, pen.whole(1, 5), pen.between(0.07, 0.14))
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


def write_doodles(folder: Path, *, categories: Sequence[str], count: int, seed: int) -> None:
    """Write `<category>.bin` with `count` doodles for each of the categories into `folder`.

    Raises
    ------
    InputError
        If a category is none of `ANIMALS`.
    """
    for category in categories:
        write_bin(folder / f"{category}.bin", draw_many(category, count, seed))
