"""Streamed pixels are an array to whoever takes rows of them, and hold none."""

import pickle

import numpy as np
import pytest
from PIL import Image
from trazo.decode import decode_image
from trazo.errors import InputError
from trazo.streams import JoinedPixels, StreamedPixels, digest_of


def names_of(photos):
    return sorted(str(file.relative_to(photos)) for file in photos.glob("*/*.jpg"))


@pytest.fixture
def streamed(photos):
    return StreamedPixels(photos, names_of(photos), size=24, channels=3, digest="d")


@pytest.fixture(scope="module")
def pixels(photos):
    """The same, decoded here."""
    return np.stack([decode_image((photos / n).read_bytes(), size=24, channels=3) for n in names_of(photos)])


@pytest.mark.parametrize(
    "rows",
    [5, -1, slice(3, 9), slice(None, None, -7), [4, 0, 4], np.array([62, 1]), np.arange(63) % 5 == 0, slice(9, 9)],
    ids=str,
)
def test_rows_are_those_of_an_array(streamed, pixels, rows):
    np.testing.assert_array_equal(streamed[rows], pixels[rows])
    assert streamed[rows].dtype == np.uint8


def test_it_looks_like_an_array_and_refuses_to_become_one(streamed, pixels):
    assert (streamed.shape, streamed.ndim, streamed.dtype, len(streamed)) == (pixels.shape, 4, pixels.dtype, 63)
    np.testing.assert_array_equal(list(streamed), list(pixels))
    with pytest.raises(TypeError, match="not held in memory"):
        np.concatenate([streamed, streamed])
    with pytest.raises(IndexError):
        streamed[63]


def test_grey_is_what_decoding_to_grey_gives(photos):
    name = names_of(photos)[7]
    grey = StreamedPixels(photos, [name], size=16, channels=1, digest="")
    assert grey.shape == (1, 16, 16)
    np.testing.assert_array_equal(grey[0], decode_image((photos / name).read_bytes(), size=16, channels=1))


def test_a_part_is_as_lazy_and_stands_for_its_own_rows(streamed, pixels):
    rows = np.array([2, 3, 50])
    part = streamed.take(rows)
    np.testing.assert_array_equal(part[:], pixels[rows])
    assert len({streamed.digest, part.digest, streamed.take(rows + 1).digest}) == 3
    assert part.digest == streamed.take(rows).digest


def test_it_goes_to_another_process_without_its_open_archive(streamed, pixels):
    np.testing.assert_array_equal(streamed[0], pixels[0])
    again = pickle.loads(pickle.dumps(streamed))
    assert again._archive is None
    np.testing.assert_array_equal(again[60:], pixels[60:])


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    Image.new("L", (9, 9)).save(tmp_path / "good.png")
    for name, words in (("bad.jpg", "no image in a known format"), ("gone.jpg", "No such file")):
        streamed = StreamedPixels(tmp_path, ["good.png", name], size=8, channels=1, digest="")
        assert streamed[0].shape == (8, 8)
        with pytest.raises(InputError, match=rf"{name} of .*{tmp_path.name} cannot be read: .*{words}"):
            streamed[:]


def test_joined_sets_are_one_in_their_order(streamed, pixels):
    held = pixels[:10] // 2
    both = JoinedPixels([held, streamed, streamed.take(np.arange(5))])
    expected = np.concatenate([held, pixels, pixels[:5]])
    assert both.shape == expected.shape
    for rows in (slice(None), [77, 0, 40, 9, 10], np.array([3])):
        np.testing.assert_array_equal(both[rows], expected[rows])
    chosen = np.array([1, 9, 10, 70, 77])
    np.testing.assert_array_equal(both.take(chosen, axis=0)[:], expected[chosen])
    assert both.digest != JoinedPixels([streamed, held]).digest


def test_grey_sets_become_colour_beside_colour(streamed, pixels):
    grey = pixels[:4, :, :, 0]
    both = JoinedPixels([grey, streamed])
    assert both.shape == (67, 24, 24, 3)
    np.testing.assert_array_equal(both[[2, 4]], np.stack([np.repeat(grey[2, :, :, None], 3, axis=2), pixels[0]]))


def test_sets_of_other_sizes_are_not_joined(streamed, pixels):
    with pytest.raises(InputError, match="24×24 and 23×24"):
        JoinedPixels([streamed, pixels[:, 1:]])


def test_the_digest_of_an_array_is_of_its_values():
    one = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert digest_of(one) == digest_of(one.copy())
    assert digest_of(one) != digest_of(one[::-1])
