"""Augmentations do what Pillow and NumPy do, are drawn from their generator alone, and leave photos' strokes alone."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from trazo.errors import InputError
from trazo.training.augment import augmentations, augmenter, moved, turned


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(count, height, width, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, height, width), dtype=np.uint8))


def changed(written, pixels, domains=None, seed=0):
    return augmenter(written).change(pixels, domains, seeded(seed))


def within(count, of, share):
    """Whether a count is within four standard deviations of a binomial's mean."""
    return abs(count - of * share) < 4 * (of * share * (1 - share)) ** 0.5


def floating(image):
    return Image.fromarray(np.asarray(image, dtype=np.float32), mode="F")


def test_a_sure_flip_is_numpy_s():
    pixels = noise(3, 8, 11)
    np.testing.assert_allclose(changed({"flip": 1}, pixels).numpy(), pixels.numpy()[:, :, ::-1], atol=0.01)


def test_flips_come_as_often_as_asked():
    pixels = noise(1, 4, 4).expand(4000, 4, 4)
    found = changed({"flip": 0.3}, pixels)
    flipped = (found - pixels.flip(2)).abs().amax(dim=(1, 2)) < 0.1
    same = (found - pixels).abs().amax(dim=(1, 2)) < 0.1
    assert (flipped ^ same).all()
    assert within(flipped.sum().item(), 4000, 0.3)


@pytest.mark.parametrize(
    ("angle", "shape"),
    [
        *((angle, (16, 16)) for angle in (0, 90, 180, -90, 20, -33.3, 135)),
        *((angle, (20, 31)) for angle in (0, 180, 20, -33.3, 135)),
    ],
)
def test_turning_is_pillow_s(angle, shape):
    pixels = noise(2, *shape)
    images = pixels[:, None].float()
    found = moved(images, turned(images, torch.full((2,), float(angle))), torch.tensor([True, True]), "edge")[:, 0]
    for ours, image in zip(found, pixels):
        theirs = floating(image).rotate(angle, resample=Image.Resampling.BILINEAR, fillcolor=255)
        np.testing.assert_allclose(ours.numpy(), np.asarray(theirs), atol=0.05)
    if angle == 90:
        np.testing.assert_allclose(found[0].numpy(), np.rot90(pixels[0].numpy()), atol=0.05)


def test_angles_are_uniform_both_ways():
    images = torch.zeros(4000, 1, 6, 6)
    matrices = augmentations.get("rotate")(degrees=30).matrices(images, seeded())
    degrees = torch.rad2deg(torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert degrees.abs().max() <= 30
    for low in (-30, -15, 0, 15):
        assert within(((degrees >= low) & (degrees < low + 15)).sum().item(), 4000, 1 / 4)


def box_of(matrix, height, width):
    """The part of the image that a crop keeps: left, upper, right, lower."""
    sides = np.array([width, height])
    kept, shift = matrix.diagonal()[:2].numpy(), matrix[:2, 2].numpy()
    return [*((shift - kept + 1) / 2 * sides), *((shift + kept + 1) / 2 * sides)]


def test_a_crop_is_pillow_s_and_stays_within_the_image():
    pixels = noise(200, 14, 22)
    matrices = augmentations.get("crop")(smallest=0.5).matrices(pixels[:, None].float(), seeded(3))
    found = changed({"crop": 0.5}, pixels, seed=3)
    boxes = np.array([box_of(matrix, 14, 22) for matrix in matrices])
    for ours, image, box in zip(found, pixels, boxes):
        theirs = floating(image).transform((22, 14), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
        np.testing.assert_allclose(ours.numpy(), np.asarray(theirs), atol=0.05)
    assert boxes.min() >= -1e-4
    assert (boxes[:, 2] <= 22 + 1e-4).all()
    assert (boxes[:, 3] <= 14 + 1e-4).all()
    shares = (boxes[:, 2] - boxes[:, 0]) / 22
    np.testing.assert_allclose(shares, (boxes[:, 3] - boxes[:, 1]) / 14, atol=1e-5)
    assert shares.min() >= 0.5
    assert within((shares < 0.75).sum(), 200, 1 / 2)
    # Some crops lie at the upper left, some at the lower right.
    assert 0 < ((boxes[:, 0] + boxes[:, 2]) / 2 < 11).sum() < 200
    assert 0 < ((boxes[:, 1] + boxes[:, 3]) / 2 < 7).sum() < 200


def test_moves_together_are_a_flip_then_a_turn_then_a_crop():
    # Smooth, so that resampling three times as Pillow does here differs little from once.
    rows, columns = np.mgrid[:40, :40]
    smooth = 255 * np.exp(-((rows - 14) ** 2 / 120 + (columns - 25) ** 2 / 60))
    pixels = torch.from_numpy(smooth.astype(np.uint8)).expand(6, 40, 40)
    images, generator = pixels[:, None].float(), seeded(5)
    flips, turns, crops = (
        augmentations.get(name)(**options).matrices(images, generator)
        for name, options in (("flip", {}), ("rotate", {"degrees": 25}), ("crop", {"smallest": 0.6}))
    )
    assert len(set(flips[:, 0, 0].tolist())) == 2
    found = changed({"crop": 0.6, "rotate": 25, "flip": 0.5, "fill": "white"}, pixels, seed=5)
    for ours, flip, turn, crop in zip(found, flips, turns, crops):
        image = floating(pixels[0])
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip[0, 0] < 0 else image
        angle = math.degrees(math.atan2(turn[1, 0], turn[0, 0]))
        image = image.rotate(angle, resample=Image.Resampling.BILINEAR, fillcolor=255)
        image = image.transform((40, 40), Image.Transform.EXTENT, box_of(crop, 40, 40), Image.Resampling.BILINEAR)
        gaps = np.abs(ours.numpy() - np.asarray(image))
        # At the border to the white outside, one resampling is sharper than two.
        assert np.quantile(gaps, 0.9) < 4
        assert np.median(gaps) < 0.5


def test_what_stands_outside_a_turned_image():
    black = torch.zeros(2, 20, 20, dtype=torch.uint8)
    domains = torch.tensor([0, 1], dtype=torch.uint8)

    def corners(fill, domains):
        images = black[:, None].float()
        maker = augmenter({"rotate": 45, **fill})
        # The largest angle that a generator gives within reach.
        found = [maker.change(black, domains, seeded(seed)) for seed in range(40)]
        assert all(each.shape == images[:, 0].shape for each in found)
        return torch.stack(found)[:, :, 0, 0].amax(dim=0).tolist()

    assert corners({}, domains) == [255, 0]
    assert corners({"fill": "reflect"}, domains) == [255, 0]
    assert corners({"fill": "white"}, domains) == [255, 255]
    assert corners({}, None) == [0, 0]
    assert corners({"fill": "white"}, None) == [255, 255]


def test_reflections_continue_the_image():
    # Stripes down to the border: a turned image goes on with stripes when reflected, and with its edge otherwise.
    striped = (torch.arange(32) // 4 % 2 * 255).to(torch.uint8)[:, None].expand(1, 32, 32)
    images = striped[:, None].float()
    turn = turned(images, torch.tensor([45.0]))
    nobody = torch.tensor([False])
    reflected = moved(images, turn, nobody, "reflect")[0, 0]
    edged = moved(images, turn, nobody, "edge")[0, 0]
    outside = (moved(torch.zeros_like(images), turn, ~nobody, "edge") > 0)[0, 0]
    assert outside.any()
    assert not torch.allclose(reflected[outside], edged[outside])
    torch.testing.assert_close(reflected[~outside], edged[~outside])


def sketches(count, side=24, seed=0):
    """Black strokes of three pixels and more on white."""
    rng = np.random.default_rng(seed)
    pixels = np.full((count, side, side), 255, np.uint8)
    for image in pixels:
        for _ in range(2):
            at, begin = rng.integers(4, side - 7), rng.integers(2, 8)
            image[at : at + 3, begin : begin + 12] = rng.integers(0, 100)
            image[begin : begin + 12, at : at + 3] = 0
    return torch.from_numpy(pixels)


def test_strokes_are_as_thick_as_pillow_s_filters_make_them():
    pixels = sketches(400)
    found = changed({"thickness": 2}, pixels).numpy()
    counts = dict.fromkeys(range(-2, 3), 0)
    for ours, image in zip(found, pixels.numpy()):
        versions = {0: Image.fromarray(image)}
        for step in (1, 2):
            versions[step] = versions[step - 1].filter(ImageFilter.MinFilter(3))
            versions[-step] = versions[1 - step].filter(ImageFilter.MaxFilter(3))
        # Two steps leave nothing of strokes of three pixels: then one is taken.
        lost = np.asarray(versions[-2]).min() >= 128
        steps = [step for step in range(-2 + lost, 3) if (np.asarray(versions[step]) == ours).all()]
        assert len(steps) == 1
        counts[steps[0]] += 1
    assert sum(counts.values()) == 400
    for step in (0, 1, 2):
        assert within(counts[step], 400, 1 / 5)
    assert within(counts[-1] + counts[-2], 400, 2 / 5)


def test_thin_strokes_do_not_vanish():
    pixels = torch.full((50, 9, 9), 255, dtype=torch.uint8)
    pixels[:, 4, 1:8] = 0
    assert (changed({"thickness": 3}, pixels).amin(dim=(1, 2)) == 0).all()


def test_erasing_whitens_a_square_around_a_dark_pixel():
    pixels = sketches(500)
    found = changed({"erase": {"probability": 0.4, "side": 0.25}}, pixels)
    differing = found != pixels
    assert (found[differing] == 255).all()
    erased = differing.flatten(1).any(dim=1)
    # Every square has a dark pixel at its centre, so it shows.
    assert within(erased.sum().item(), 500, 0.4)
    for each in differing[erased]:
        rows, columns = torch.nonzero(each, as_tuple=True)
        assert rows.max() - rows.min() <= 24 * 0.25
        assert columns.max() - columns.min() <= 24 * 0.25
    centres = [torch.nonzero(each).float().mean(dim=0) for each in differing[erased]]
    assert torch.stack(centres).std(dim=0).min() > 2
    blank = torch.full((4, 8, 8), 255, dtype=torch.uint8)
    assert (changed({"erase": 1}, blank) == 255).all()


def test_strokes_of_photos_are_left_alone_and_moves_are_for_both():
    pixels = sketches(40)
    domains = (torch.arange(40) % 2).to(torch.uint8)
    found = changed({"thickness": 2, "erase": 1}, pixels, domains)
    assert torch.equal(found[1::2], pixels[1::2].float())
    assert (found[::2] != pixels[::2]).flatten(1).any(dim=1).all()
    # What a sketch becomes does not depend on what stands beside it.
    assert torch.equal(found[::2], changed({"thickness": 2, "erase": 1}, pixels)[::2])
    flipped = changed({"flip": 1}, pixels, domains)
    np.testing.assert_allclose(flipped.numpy(), pixels.numpy()[:, :, ::-1], atol=0.05)


ALL = {"flip": 0.5, "rotate": 10, "crop": 0.9, "thickness": 1, "erase": 0.5}


def test_colour_images_change_like_their_channels():
    pixels = sketches(6)
    colour = pixels[..., None].expand(6, 24, 24, 3).contiguous()
    grey = changed(ALL, pixels)
    found = changed(ALL, colour)
    assert found.shape == (6, 24, 24, 3)
    assert found.dtype == grey.dtype == torch.float32
    for channel in range(3):
        torch.testing.assert_close(found[..., channel], grey)
    assert found.min() >= 0
    assert found.max() <= 255.001


def test_the_generator_alone_decides():
    pixels = sketches(6)
    kept = pixels.clone()
    torch.manual_seed(1)
    first = changed(ALL, pixels)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(first, changed(ALL, pixels))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, changed(ALL, pixels, seed=1))
    assert torch.equal(first, changed(dict(reversed(ALL.items())), pixels))
    assert torch.equal(pixels, kept)


def test_batches_change_under_deterministic_algorithms():
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(changed(ALL, sketches(6)), changed(ALL, sketches(6)))
    finally:
        torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"flipp": 0.5}, "unknown augmentation 'flipp'. Did you mean 'flip'"),
        ({"flip": 1.5}, "flip: option 'probability': got 1.5"),
        ({"flip": True}, "flip: option 'probability': got True"),
        ({"flip": None}, "flip: option 'probability': got None"),
        ({"rotate": -5}, "rotate: option 'degrees': got -5"),
        ({"crop": 1}, "crop: option 'smallest': got 1"),
        ({"thickness": 1.5}, "thickness: option 'pixels': got 1.5"),
        ({"erase": {"sid": 0.2}}, "erase: unknown option 'sid'. Did you mean 'side'"),
        ({"flip": 0.5, "fill": "black"}, "fill: got 'black'; expected one of white, edge, reflect"),
        ({}, "no augmentation; name one of crop, erase, flip, rotate, thickness"),
        ({"fill": "white"}, "no augmentation"),
    ],
)
def test_mistakes_are_named(written, words):
    with pytest.raises(InputError, match=words):
        augmenter(written)


def test_every_augmentation_has_a_turn_of_its_own():
    kinds = [augmentations.get(name) for name in augmentations.names()]
    assert len({kind.turn for kind in kinds}) == len(kinds)
    assert all(kind.strength in kind.model_fields for kind in kinds)


@pytest.mark.parametrize("motion", ["rotate", "crop"])
def test_moves_of_some_leave_the_others_as_they_are(motion):
    pixels = noise(1, 9, 9).expand(2000, 9, 9)
    found = changed({motion: {"probability": 0.3}}, pixels)
    same = (found - pixels).abs().amax(dim=(1, 2)) < 0.01
    assert within((~same).sum().item(), 2000, 0.3)
    # Those that move do so as all would.
    moved = changed({motion: {"probability": 1.0}}, pixels)
    torch.testing.assert_close(found[~same], moved[~same])
