"""The embedded drawings: valid, repeatable, varied, and told apart about as well as people's."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from sklearn.neighbors import KNeighborsClassifier
from trazo.data.doodles import ANIMALS, draw, draw_many, key_of
from trazo.data.pen import Pen, place
from trazo.data.quickdraw import read_bin, write_bin
from trazo.errors import InputError

PER_ANIMAL = 150
STUDIES = Path(__file__).resolve().parents[2] / "workflow" / "studies"


@pytest.fixture(scope="module")
def many():
    return {animal: draw_many(animal, PER_ANIMAL, seed=0) for animal in ANIMALS}


def pixels(strokes: list[np.ndarray], side: int = 32) -> np.ndarray:
    """Return a (side, side) uint8 image of a drawing, made without the library's rasteriser."""
    canvas = np.zeros((256, 256), np.uint8)
    for stroke in strokes:
        cv2.polylines(canvas, [stroke.astype(np.int32)], False, 255, 7)
    return cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)


def test_the_animals_are_those_of_the_animals_study():
    study = yaml.safe_load((STUDIES / "animals.yaml").read_text())
    assert list(ANIMALS) == study["datasets"]["animals"]["categories"]


@pytest.mark.parametrize("animal", ANIMALS)
def test_drawings_are_valid_simplified_drawings(animal, many):
    drawings = many[animal]
    for index in range(PER_ANIMAL):
        strokes = drawings.strokes(index)
        assert strokes
        assert all(stroke.dtype == np.uint8 and stroke.ndim == 2 and len(stroke) for stroke in strokes)
        points = np.concatenate(strokes)
        assert points.min(axis=0).tolist() == [0, 0]
        assert points.max() == 255
        assert np.ptp(points, axis=0).min() > 20


@pytest.mark.parametrize("animal", ANIMALS)
def test_strokes_have_no_points_that_simplifying_would_drop(animal, many):
    # A kept point lies off the line between its neighbours, as a rule by about epsilon or more.
    off = []
    for index in range(40):
        for stroke in many[animal].strokes(index):
            a, b, c = (stroke[shift : len(stroke) - 2 + shift].astype(float) for shift in range(3))
            chord = c - a
            length = np.maximum(np.hypot(*chord.T), 1e-9)
            off.extend(np.abs(chord[:, 0] * (b - a)[:, 1] - chord[:, 1] * (b - a)[:, 0]) / length)
    assert np.mean(np.array(off) < 1.0) < 0.1


def test_the_same_state_gives_the_same_drawing():
    for animal in ANIMALS:
        first, again = (draw(animal, np.random.default_rng(7)) for _ in range(2))
        assert [stroke.tolist() for stroke in first] == [stroke.tolist() for stroke in again]


def test_draw_many_repeats_itself_byte_for_byte(tmp_path):
    for name in ("first", "again"):
        write_bin(tmp_path / name, draw_many("cow", 30, seed=4))
    assert (tmp_path / "first").read_bytes() == (tmp_path / "again").read_bytes()


def test_asking_for_more_extends(many):
    few = draw_many("dog", 20, seed=0)
    for column in ("key_id", "x", "y", "first_stroke", "first_point"):
        longer = getattr(many["dog"], column)
        shorter = getattr(few, column)
        np.testing.assert_array_equal(shorter, longer[: len(shorter)])


def test_drawings_follow_from_their_keys(many):
    drawings = many["bee"]
    key = int(drawings.key_id[17])
    assert key == key_of("bee", 0, 17)
    redrawn = draw("bee", np.random.default_rng(key))
    assert [stroke.tolist() for stroke in redrawn] == [stroke.tolist() for stroke in drawings.strokes(17)]


def test_records_say_that_nobody_drew_them(many):
    drawings = many["duck"]
    assert set(drawings.country.tolist()) == {b"ZZ"}
    assert drawings.recognized.all()
    assert not drawings.timestamp.any()


def test_keys_are_unique_across_animals_and_seeds(many):
    keys = [key for drawings in many.values() for key in drawings.key_id.tolist()]
    keys += draw_many("cat", 50, seed=1).key_id.tolist()
    assert len(set(keys)) == len(keys)


def test_no_two_drawings_are_alike(many):
    seen = set()
    for animal in ANIMALS:
        for index in range(PER_ANIMAL):
            seen.add(pixels(many[animal].strokes(index), 64).tobytes())
    assert len(seen) == len(ANIMALS) * PER_ANIMAL


@pytest.mark.parametrize("animal", ANIMALS)
def test_an_animal_varies_in_strokes_and_proportions(animal, many):
    drawings = many[animal]
    strokes = np.diff(drawings.first_stroke)
    assert len(np.unique(strokes)) >= 5
    shapes = [np.ptp(np.concatenate(drawings.strokes(index)).astype(int), axis=0) for index in range(PER_ANIMAL)]
    aspect = np.array([width / height for width, height in shapes])
    assert np.quantile(aspect, 0.9) / np.quantile(aspect, 0.1) > 1.3


@pytest.mark.parametrize("animal", ["camel", "crocodile", "duck", "giraffe"])
def test_animals_face_left_as_often_as_right(animal, many):
    # Averages of many drawings are symmetrical though no single drawing is.
    images = np.stack([pixels(many[animal].strokes(index)) for index in range(PER_ANIMAL)]).astype(float)
    wide = np.array([np.ptp(np.concatenate(many[animal].strokes(index))[:, 0]) for index in range(PER_ANIMAL)])
    balance = (images * np.arange(32)).sum(axis=(1, 2)) / images.sum(axis=(1, 2)) - wide / 16
    assert 0.25 < np.mean(balance > 0) < 0.75


def test_animals_are_told_apart_well_but_not_perfectly(many):
    images = np.stack([pixels(many[a].strokes(index)).ravel() for a in ANIMALS for index in range(PER_ANIMAL)])
    labels = np.repeat(np.arange(len(ANIMALS)), PER_ANIMAL)
    held_out = np.tile(np.arange(PER_ANIMAL) % 5 == 0, len(ANIMALS))
    neighbours = KNeighborsClassifier(5, weights="distance").fit(images[~held_out] / 255, labels[~held_out])
    accuracy = neighbours.score(images[held_out] / 255, labels[held_out])
    assert 0.4 < accuracy < 0.99


def test_bin_files_hold_the_drawings(tmp_path, many):
    write_bin(tmp_path / "crab.bin", many["crab"])
    back = read_bin(tmp_path / "crab.bin")
    for column in ("key_id", "country", "recognized", "timestamp", "first_stroke", "first_point", "x", "y"):
        np.testing.assert_array_equal(getattr(back, column), getattr(many["crab"], column))


def test_an_unknown_animal_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="giraffe"):
        draw_many("girafe", 1, seed=0)


def test_a_negative_count_is_refused():
    with pytest.raises(InputError, match="-1"):
        draw_many("cat", -1, seed=0)


def test_none_at_all_are_none():
    assert len(draw_many("cat", 0, seed=0)) == 0


def test_place_turns_scales_and_moves():
    turned = place([(1.0, 0.0), (0.0, 1.0)], 10.0, 20.0, 2.0, np.pi / 2)
    np.testing.assert_allclose(turned, [(10.0, 22.0), (8.0, 20.0)], atol=1e-12)


def test_picks_follow_their_weights():
    pen = Pen(np.random.default_rng(0))
    picked = [pen.pick([(3, "often"), (1, "seldom"), (0, "never")]) for _ in range(2000)]
    assert "never" not in picked
    assert 0.7 < picked.count("often") / 2000 < 0.8
