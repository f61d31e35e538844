"""Drawings as pixels, against a plain loop over records with OpenCV and against cases worked by hand."""

import cv2
import numpy as np
import pytest
from trazo.data.quickdraw import Drawings, read_bin
from trazo.data.raster import RasterOptions, rasterise
from trazo.data.thick_lines import disc, draw_polylines
from trazo.errors import InputError


def draw_plainly(drawings: Drawings, canvas: int = 256, thickness: int = 3, size: int = 128) -> np.ndarray:
    """Draw record by record, line by line, and shrink by area, as the studies did."""
    images = []
    for index in range(len(drawings)):
        image = np.full((canvas, canvas), 255, np.uint8)
        for stroke in drawings.strokes(index):
            points = [(int(x), int(y)) for x, y in stroke]
            for start, end in zip(points[:-1] or points, points[1:] or points):
                cv2.line(image, start, end, 0, thickness)
        images.append(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA))
    return np.stack(images)


def scribbles(number: int, seed: int = 0, longest: int = 12) -> Drawings:
    """Return random drawings that touch all edges: long jumps, short steps, dots, repeated points."""
    rng = np.random.default_rng(seed)
    drawings = []
    for _ in range(number):
        strokes = []
        for _ in range(rng.integers(1, 6)):
            spread = rng.choice([1, 8, 60, 400])
            walk = rng.integers(0, 256, 2) + rng.normal(0, spread, (rng.integers(1, longest), 2)).cumsum(axis=0)
            strokes.append(np.clip(np.rint(walk), 0, 255))
        drawings.append(strokes)
    return Drawings.from_strokes(drawings)


def box(image: np.ndarray) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom (inclusive) of the ink."""
    rows, columns = np.nonzero(image < 255)
    return columns.min(), rows.min(), columns.max(), rows.max()


SQUARE = [[(0, 0), (100, 0), (100, 100), (0, 100), (0, 0)]]
WIDE = [[(10, 20), (210, 20), (210, 70), (10, 70), (10, 20)]]


def test_default_images_are_those_of_a_plain_loop_to_the_pixel():
    drawings = scribbles(600)
    assert np.array_equal(rasterise(drawings), draw_plainly(drawings))


@pytest.mark.parametrize("size", [32, 64, 128, 200, 224, 256, 300, 512])
@pytest.mark.parametrize("thickness", [1, 2, 3, 4, 7])
def test_any_size_and_thickness_agree_with_a_plain_loop(size, thickness):
    drawings = scribbles(25, seed=size + thickness)
    images = rasterise(drawings, RasterOptions(size=size, thickness=thickness))
    assert np.array_equal(images, draw_plainly(drawings, thickness=thickness, size=size))


def test_real_drawings_are_those_of_a_plain_loop_to_the_pixel(shared_data):
    files = sorted((shared_data / "quickdraw").glob("*.bin"))
    drawings = Drawings.concatenate(read_bin(file, np.arange(8)) for file in files)
    assert np.array_equal(rasterise(drawings), draw_plainly(drawings))


@pytest.mark.parametrize("thickness", [2, 3, 4, 9, 30])
@pytest.mark.parametrize("shape", [(8, 8), (9, 40), (256, 256), (37, 300)])
def test_compiled_segments_are_those_of_opencv_at_every_edge(shape, thickness):
    rng = np.random.default_rng(thickness)
    height, width = shape
    for trial in range(300):
        points = np.stack([rng.integers(0, width, 2), rng.integers(0, height, 2)], axis=1).astype(np.int32)
        if trial % 3 == 0:
            points[1] = np.clip(points[0] + rng.integers(-2, 3, 2), 0, (width - 1, height - 1))
        ours = np.full(shape, 255, np.uint8)
        theirs = ours.copy()
        draw_polylines(ours, points, np.array([0, 2]), thickness, disc(thickness))
        cv2.line(theirs, points[0].tolist(), points[1].tolist(), 0, thickness)
        assert np.array_equal(ours, theirs), points


def test_strokes_are_black_on_white():
    image = rasterise(Drawings.from_strokes([SQUARE]), RasterOptions(size=256))[0]
    assert image.dtype == np.uint8
    assert set(np.unique(image)) == {0, 255}
    assert image[50, 100] == 0
    assert image[50, 50] == 255
    # A pen of 3 reaches from 49 to 51 about a level line at 50, as it would be drawn on paper, or one more.
    assert image[100, 50] == image[99, 50] == image[101, 50] == 0
    assert image[97, 50] == image[103, 50] == 255


def test_a_stroke_of_one_point_is_a_dot():
    image = rasterise(Drawings.from_strokes([[[(100, 60)]]]), RasterOptions(size=256))[0]
    assert image[60, 100] == 0
    left, top, right, bottom = box(image)
    assert (left + right, top + bottom) == (200, 120)
    assert 2 <= right - left <= 4


def test_a_drawing_without_strokes_is_white_and_no_drawings_are_no_images():
    drawings = Drawings.from_strokes([[], SQUARE, []])
    for options in (RasterOptions(), RasterOptions(centre=True, margin=4)):
        images = rasterise(drawings, options)
        assert (images[[0, 2]] == 255).all()
        assert (images[1] < 255).any()
    assert rasterise(drawings.select([])).shape == (0, 128, 128)


def test_many_drawings_do_not_depend_on_their_neighbours():
    drawings = scribbles(700, longest=4)
    images = rasterise(drawings)
    for index in (0, 511, 512, 699):
        assert np.array_equal(images[index], rasterise(drawings.select([index]))[0])


def test_centring_moves_the_box_to_the_middle_and_nothing_else():
    for strokes in (SQUARE, WIDE, [[(3, 200)]]):
        drawings = Drawings.from_strokes([strokes])
        plain = rasterise(drawings, RasterOptions(size=256))[0]
        image = rasterise(drawings, RasterOptions(size=256, centre=True))[0]
        left, top, right, bottom = box(image)
        assert abs(left + right - 255) <= 1
        assert abs(top + bottom - 255) <= 1
        if strokes is not SQUARE:  # the square's pen is cut by the edge it touches
            a, b, c, d = box(plain)
            assert np.array_equal(image[top : bottom + 1, left : right + 1], plain[b : d + 1, a : c + 1])


@pytest.mark.parametrize("thickness", [1, 2, 3, 8])
@pytest.mark.parametrize("margin", [1, 20, 100])
def test_a_margin_is_kept_free_and_the_longer_side_fills_the_rest(margin, thickness):
    options = RasterOptions(size=256, margin=margin, thickness=thickness)
    for strokes in (SQUARE, WIDE):
        left, top, right, bottom = box(rasterise(Drawings.from_strokes([strokes]), options)[0])
        assert min(left, top) >= margin
        assert max(right, bottom) <= 255 - margin
        assert left <= margin + 2
        assert right >= 253 - margin
    height, width = bottom - top, right - left
    assert height < width / 2


def test_stretching_fills_both_directions():
    drawings = Drawings.from_strokes([WIDE])
    for margin in (0, 30):
        left, top, right, bottom = box(
            rasterise(drawings, RasterOptions(size=256, keep_aspect=False, margin=margin))[0]
        )
        for low, high in ((left, right), (top, bottom)):
            assert margin <= low <= margin + 2
            assert 253 - margin <= high <= 255 - margin


def test_lines_and_dots_without_extent_are_placed_without_harm():
    drawings = Drawings.from_strokes([[[(0, 9), (255, 9)]], [[(9, 0), (9, 255)]], [[(0, 0)]]])
    for keep_aspect in (True, False):
        images = rasterise(drawings, RasterOptions(size=256, margin=10, centre=True, keep_aspect=keep_aspect))
        assert [np.ptp(box(image)[1::2]) < 6 for image in images] == [True, False, True]
        assert [np.ptp(box(image)[0::2]) < 6 for image in images] == [False, True, True]
        for image in images:
            left, top, right, bottom = box(image)
            assert abs(left + right - 255) <= 1
            assert abs(top + bottom - 255) <= 1


def test_a_larger_canvas_shows_the_same_drawing():
    drawings = scribbles(10)
    small = rasterise(drawings, RasterOptions(size=64)).astype(float)
    large = rasterise(drawings, RasterOptions(size=64, canvas=512, thickness=6)).astype(float)
    assert np.abs(small - large).mean() < 12
    corners = Drawings.from_strokes([[[(0, 0)], [(255, 255)]]])
    image = rasterise(corners, RasterOptions(size=512, canvas=512))[0]
    assert image[0, 0] == image[511, 511] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"canvas": 4}, "canvas is 4"),
        ({"thickness": 0}, "thickness is 0"),
        ({"margin": -1}, "margin of -1"),
        ({"margin": 126}, "margin of 126"),
    ],
)
def test_options_that_cannot_be_drawn_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        RasterOptions(**options)
