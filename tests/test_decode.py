"""Decoding image files: every pixel format ends as the same 8-bit picture, upright and on white."""

import io
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from trazo import decode
from trazo.decode import UnreadableImageError, decode_image


def saved(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(width=64, height=64):
    """Left half dark, right half light."""
    values = np.full((height, width), 40, np.uint8)
    values[:, width // 2 :] = 200
    return values


def test_picture_of_the_size_asked_is_not_touched():
    values = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode_image(saved(Image.fromarray(values)), size=32, channels=3), values)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "CMYK", "I;16"])
def test_every_pixel_format_gives_the_same_picture(mode):
    grey = Image.fromarray(picture())
    if mode == "I;16":
        content = saved(Image.fromarray(picture().astype(np.uint16) * 257))
    elif mode == "CMYK":
        content = saved(grey.convert("RGB").convert("CMYK"), "TIFF")
    else:
        content = saved((grey if mode == "P" else grey.convert("RGB")).convert(mode))
    for channels, expected in ((1, picture()), (3, np.repeat(picture()[..., None], 3, axis=2))):
        decoded = decode_image(content, size=64, channels=channels)
        assert decoded.dtype == np.uint8
        np.testing.assert_array_equal(decoded, expected)


def test_one_bit_image_is_black_and_white():
    content = saved(Image.fromarray(picture() > 100))
    assert np.unique(decode_image(content, size=64, channels=1)).tolist() == [0, 255]


def test_16_bit_values_keep_their_brightness():
    values = np.array([[0, 257 * 90], [257 * 181 + 60, 65535]], np.uint16)
    decoded = decode_image(saved(Image.fromarray(values)), size=2, channels=1)
    assert decoded.tolist() == [[0, 90], [181, 255]]


def test_cmyk_jpeg_is_no_negative():
    values = np.full((32, 32, 3), 200, np.uint8)
    values[:, 16:] = (60, 120, 180)
    decoded = decode_image(saved(Image.fromarray(values).convert("CMYK"), "JPEG", quality=100), size=32, channels=3)
    assert np.abs(decoded.astype(int) - values)[:, 2:14].max() <= 4
    assert np.abs(decoded.astype(int) - values)[:, 18:30].max() <= 4


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_colour_keeps_its_brightness(suffix):
    # Pillow cannot write such files.
    values = np.zeros((8, 8, 3), np.uint16)
    values[:, :4] = (257 * 30, 257 * 130, 257 * 230)
    written, content = cv2.imencode(suffix, values[..., ::-1])
    assert written
    decoded = decode_image(content.tobytes(), size=8, channels=3)
    assert (np.abs(decoded.astype(int) - values // 257) <= 1).all()


def test_exif_turns_a_transparent_picture_before_it_is_cut():
    values = np.zeros((32, 96, 4), np.uint8)
    values[:, 32:64, 3] = 255
    values[:8, 32:64, :3] = 200
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode_image(saved(Image.fromarray(values), exif=exif), size=32, channels=1)
    # Orientation 6: the stored top is the right side. Cut to its opaque middle, of which nothing is white.
    assert (decoded[:, 24:] == 200).all()
    assert (decoded[:, :24] == 0).all()


def test_transparent_becomes_white_and_half_transparent_half_white():
    values = np.zeros((8, 8, 4), np.uint8)
    values[:4, :, 3] = 0
    values[4:, :4, 3] = 255
    values[4:, 4:, 3] = 128
    decoded = decode_image(saved(Image.fromarray(values)), size=8, channels=3)
    assert (decoded[:4] == 255).all()
    assert (decoded[4:, :4] == 0).all()
    assert (np.abs(decoded[4:, 4:].astype(int) - 127) <= 1).all()


def test_transparent_palette_colour_becomes_white():
    image = Image.fromarray(picture()).convert("P")
    index = image.getpixel((0, 0))
    decoded = decode_image(saved(image, transparency=index), size=64, channels=1)
    assert (decoded[:, :32] == 255).all()
    assert (decoded[:, 32:] == 200).all()


def test_colour_becomes_luma():
    for colour, luma in (((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29)):
        decoded = decode_image(saved(Image.new("RGB", (4, 4), colour)), size=4, channels=1)
        assert (np.abs(decoded.astype(int) - luma) <= 1).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation):
    upright = np.zeros((16, 16), np.uint8)
    upright[:8, :8] = 80
    upright[:8, 8:] = 160
    upright[8:, :8] = 240
    # What a camera stores for each orientation (EXIF 2.3, tag 0x0112), by NumPy alone.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    np.testing.assert_array_equal(decode_image(content, size=16, channels=1), upright)


@pytest.mark.parametrize(("width", "height"), [(96, 32), (32, 96)])
def test_middle_of_the_long_side_is_kept(width, height):
    values = np.zeros((height, width), np.uint8)
    middle = (slice(None), slice(32, 64)) if width > height else (slice(32, 64), slice(None))
    values[middle] = 255
    assert (decode_image(saved(Image.fromarray(values)), size=32, channels=1) == 255).all()


def test_shrinking_averages_instead_of_picking():
    stripes = np.zeros((256, 256), np.uint8)
    stripes[:, ::2] = 255
    decoded = decode_image(saved(Image.fromarray(stripes)), size=32, channels=1)
    assert np.abs(decoded.astype(int) - 127).max() <= 10


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM"])
def test_common_formats_are_read(kind):
    decoded = decode_image(saved(Image.fromarray(picture()), kind), size=64, channels=1)
    assert np.abs(decoded[:, 8:24].astype(int) - 40).max() <= 4
    assert np.abs(decoded[:, 40:56].astype(int) - 200).max() <= 4


def test_cut_short_image_is_unreadable():
    content = saved(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)))
    with pytest.raises(UnreadableImageError):
        decode_image(content[: len(content) // 2], size=32, channels=1)


@pytest.mark.parametrize("content", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_no_image_is_unreadable(content):
    with pytest.raises(UnreadableImageError, match="no image in a known format"):
        decode_image(content, size=32, channels=1)


def test_floating_point_image_is_refused():
    content = saved(Image.fromarray(picture().astype(np.float32) / 255), "TIFF")
    with pytest.raises(UnreadableImageError, match="floating-point"):
        decode_image(content, size=32, channels=1)


def test_decompression_bomb_is_refused_before_it_is_unpacked(monkeypatch):
    content = saved(Image.new("1", (20_000, 20_000)))
    assert len(content) < 100_000
    with pytest.raises(UnreadableImageError, match=r"20000×20000|400000000 pixels"):
        decode_image(content, size=32, channels=1)
    monkeypatch.setattr(decode, "MOST_PIXELS", 64 * 64 - 1)
    with pytest.raises(UnreadableImageError, match="64×64 pixels"):
        decode_image(saved(Image.fromarray(picture())), size=32, channels=1)


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_a_bomb_in_what_describes_an_image_is_not_unpacked(kind):
    packed = zlib.compress(bytes(80 << 20))
    body = b"name\0\0" + packed
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    whole = saved(Image.fromarray(picture()))
    # Chunks follow the signature and the header, 33 bytes together.
    content = whole[:33] + chunk + whole[33:]
    assert len(content) < 200_000
    tracemalloc.start()
    with pytest.raises(UnreadableImageError, match="too large"):
        decode_image(content, size=64, channels=1)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 16 << 20


@pytest.mark.filterwarnings("ignore")
def test_mutated_images_are_decoded_or_unreadable():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    outcomes = set()
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        content = saved(Image.fromarray(noise), kind)
        for _ in range(150):
            mutated = bytearray(content)
            for position in rng.integers(0, len(mutated), 3):
                mutated[position] = rng.integers(0, 256)
            try:
                outcomes.add(decode_image(bytes(mutated), size=16, channels=3).shape)
            except UnreadableImageError:
                outcomes.add("unreadable")
    assert outcomes == {(16, 16, 3), "unreadable"}
