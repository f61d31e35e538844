"""Queries look as the items that a study's networks learned from."""

import io
import json
import struct
import zlib
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from trazo.data.quickdraw import Drawings, read_bin, write_bin, write_ndjson
from trazo.data.raster import RasterOptions, rasterise
from trazo.decode import decode_image
from trazo.errors import InputError
from trazo.search.queries import (
    MOST_POINTS,
    MOST_STROKES,
    DrawingFiles,
    DrawnQuery,
    ImageQuery,
    Look,
    all_records,
    drawn_query,
    parse_strokes,
    simplified,
)
from trazo.store import read_images, write_images

from .studies import CLASSES, HOSTILE, strokes_of

PLAIN = Look(32, 1, RasterOptions(size=32), drawn=True)


def plain_rdp(points, epsilon):
    """Ramer, Douglas and Peucker as their papers have it, recursively."""
    if len(points) < 3:
        return list(points)
    (ax, ay), (bx, by) = points[0], points[-1]
    away = []
    for x, y in points[1:-1]:
        length = (bx - ax) ** 2 + (by - ay) ** 2
        part = 0 if length == 0 else min(1, max(0, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length))
        away.append(((x - ax - part * (bx - ax)) ** 2 + (y - ay - part * (by - ay)) ** 2) ** 0.5)
    if max(away) <= epsilon:
        return [points[0], points[-1]]
    middle = away.index(max(away)) + 1
    return plain_rdp(points[: middle + 1], epsilon)[:-1] + plain_rdp(points[middle:], epsilon)


def wavy(count=40, seed=0):
    draw = np.random.default_rng(seed)
    return np.cumsum(draw.normal(size=(count, 2)), axis=0) * 9 + 300


def test_strokes_are_simplified_as_the_data_set_s_are():
    strokes = [wavy(seed=1), wavy(seed=2)]
    low = np.concatenate(strokes).min(axis=0)
    scale = 255 / (np.concatenate(strokes).max(axis=0) - low).max()
    for stroke, found in zip(strokes, simplified(strokes), strict=True):
        placed = (stroke - low) * scale
        # Points a pixel apart, along each line by itself.
        dense = [placed[0]]
        for start, end in pairwise(placed):
            steps = int(np.ceil(np.hypot(*(end - start)) / 0.25))
            dense += [start + (end - start) * step / steps for step in range(1, steps + 1)]
        expected = np.array(plain_rdp(dense, 2.0))
        # Where points are set decides which are kept, by less than the epsilon.
        for mine, other in ((found, dense), (expected, found)):
            nearest = [np.hypot(*(np.asarray(other) - point).T).min() for point in mine]
            assert max(nearest) <= 3.5 if mine is expected else max(nearest) <= 1.0
        assert found.dtype == np.uint8
        assert len(found) < len(dense) / 4
    points = np.concatenate(simplified(strokes))
    assert points.min() == 0
    assert points.max() == 255


def test_it_does_not_matter_where_and_how_large_one_draws():
    strokes = [wavy(seed=3), wavy(seed=4)]
    images = [
        drawn_query([stroke * scale + shift for stroke in strokes]).pixels(PLAIN)
        for scale, shift in ((1, 0), (0.25, 7), (4, -100))
    ]
    for image in images[1:]:
        # The last bit of a scale may move a point by a pixel of 256.
        assert np.abs(images[0].astype(int) - image).mean() < 1
    assert images[0].min() == 0


def test_what_is_simplified_already_stays_nearly_the_same():
    strokes = strokes_of("cat")
    drawn = drawn_query([stroke.astype(float) for stroke in strokes]).pixels(PLAIN)
    stored = rasterise(Drawings.from_strokes([strokes]), RasterOptions(size=32))[0]
    assert np.abs(drawn.astype(int) - stored).mean() < 4


@pytest.mark.parametrize("strokes", [[[[5], [9]]], [[[5, 5], [9, 9]]], [[[0, 100, 100, 0, 0], [0, 0, 100, 100, 0]]]])
def test_dots_and_loops_leave_ink(strokes):
    found = simplified(parse_strokes(strokes))
    assert all(len(stroke) >= 1 for stroke in found)
    assert drawn_query(parse_strokes(strokes)).pixels(PLAIN).min() < 255


def test_a_loop_stays_closed():
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    circle[-1] = circle[0]
    (found,) = simplified([circle])
    np.testing.assert_array_equal(found[0], found[-1])
    radius = np.hypot(*(found - 127.5).T)
    assert radius.min() > 125
    assert 8 <= len(found) <= 60


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "one at least"),
        ("x", "one at least"),
        (None, "one at least"),
        ([[[1, 2], [1]]], "stroke 0 is no"),
        ([[[1], [1]], [[], []]], "stroke 1 is no"),
        ([[[1], ["a"]]], "stroke 0 is no"),
        ([[[True], [1]]], "stroke 0 is no"),
        ([[[None], [1]]], "stroke 0 is no"),
        ([{"x": [1], "y": [1]}], "stroke 0 is no"),
        ([[[float("inf")], [1]]], "no numbers from"),
        ([[[float("nan")], [1]]], "no numbers from"),
        ([[[10**400], [1]]], "no numbers from|stroke 0"),
        ([[[1], [1]]] * (MOST_STROKES + 1), f"expected up to {MOST_STROKES}"),
        ([[[1] * 30_000, [1] * 30_000]] * 2, f"more than {MOST_POINTS:,} points"),
    ],
)
def test_what_is_no_drawing_is_refused(value, message):
    with pytest.raises(InputError, match=message):
        parse_strokes(value)


def test_a_drawing_is_rasterised_with_the_query_dataset_s_own_settings(finished):
    record = finished / "images" / "toys" / "test.h5"
    look = Look.of(record)
    assert (look.size, look.channels, look.drawn) == (32, 1, True)
    # A record of the source gives the very pixels that the study has of it.
    images = read_images(record)
    for row in (0, 8, 17):
        name, _, tail = images.ids[row].rpartition("/")
        number = int(tail.partition("-")[0])
        drawing = read_bin(finished / "doodles" / "toys" / f"{name}.bin", records=[number])
        np.testing.assert_array_equal(DrawnQuery(drawing).pixels(look), images.pixels[row])


def test_drawings_for_a_dataset_of_colour_images_have_a_rim(tmp_path):
    dataset = {"layout": "folders", "size": 64, "channels": 3, "raster": {}}
    write_images(
        tmp_path / "i.h5", [np.zeros((1, 64, 64, 3), np.uint8)], shape=(1, 64, 64, 3), labels=np.zeros(1), ids=["a"],
        classes=["x"], record={"settings": {"dataset": dataset}},
    )  # fmt: skip
    look = Look.of(tmp_path / "i.h5")
    pixels = drawn_query([wavy()]).pixels(look)
    assert pixels.shape == (64, 64, 3)
    assert (pixels[..., 0] == pixels[..., 2]).all()
    rim = np.ones((64, 64), bool)
    rim[3:-3, 3:-3] = False
    assert (pixels[rim] == 255).all()
    assert pixels.min() < 60


def test_images_of_another_version_are_told(tmp_path):
    write_images(
        tmp_path / "i.h5", [np.zeros((1, 4, 4), np.uint8)], shape=(1, 4, 4), labels=np.zeros(1), ids=["a"],
        classes=["x"], record={"settings": {}},
    )  # fmt: skip
    with pytest.raises(InputError, match="does not say how its pixels were made"):
        Look.of(tmp_path / "i.h5")


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="png")
    return buffer.getvalue()


def test_an_image_goes_the_way_of_the_dataset_s_images():
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    for channels in (1, 3):
        look = Look(32, channels, RasterOptions(size=32), drawn=False)
        found = ImageQuery(png(image)).pixels(look)
        np.testing.assert_array_equal(found, decode_image(png(image), size=32, channels=channels))


def huge_png(width: int, height: int) -> bytes:
    """A PNG that says it has so many pixels, and holds none of them."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no image in a known format"),
        (b"not an image", "no image in a known format"),
        (png(np.zeros((40, 40), np.uint8))[:-30], "cannot be used"),
        (huge_png(10_000, 6_000), "10000 × 6000 pixels"),
        (huge_png(100_000, 100_000), "cannot be used"),
    ],
)
def test_an_image_that_cannot_be_used_says_why_and_what_is_expected(content, reason):
    with pytest.raises(InputError, match=reason) as told:
        ImageQuery(content, "dog.png").pixels(PLAIN)
    assert "dog.png cannot be used" in str(told.value)
    assert "PNG, JPEG" in str(told.value)
    assert "50 million pixels" in str(told.value)


# Key ids -------------------------------------------------------------------------------------------------------------


def test_an_item_of_the_study_is_found_by_its_key_id(search, finished):
    images = read_images(finished / "images" / "toys" / "test.h5")
    row = 9
    key = images.ids[row].rpartition("-")[2]
    query = search.drawing(f" {key} ")
    assert (query.item, query.label) == (images.ids[row], images.classes[images.labels[row]])
    np.testing.assert_array_equal(query.pixels(PLAIN), images.pixels[row])


def test_a_drawing_of_the_sources_that_no_split_took_is_found_too(search, finished):
    taken = {item for split in ("train", "test") for item in read_images(finished / f"images/toys/{split}.h5").ids}
    drawings = read_bin(finished / "doodles" / "toys" / f"{HOSTILE}.bin")
    record = next(r for r in range(20) if f"{HOSTILE}/{r}-{drawings.key_id[r]}" not in taken)
    query = search.drawing(str(drawings.key_id[record]))
    assert (query.name, query.label) == (f"{HOSTILE}/{record}-{drawings.key_id[record]}", HOSTILE)
    np.testing.assert_array_equal(query.pixels(PLAIN), rasterise(drawings.select([record]), PLAIN.raster)[0])


def test_bytes_that_look_like_a_key_id_are_no_record(tmp_path):
    key = 0x0102030405060708
    line = np.stack([np.frombuffer(key.to_bytes(8, "little"), np.uint8)] * 2, axis=1)
    drawings = Drawings.from_strokes([[line], [line + 1], [line]], key_id=[5, key, 9])
    write_bin(tmp_path / "cat.bin", drawings)
    assert (tmp_path / "cat.bin").read_bytes().count(key.to_bytes(8, "little")) > 1
    found = DrawingFiles([tmp_path / "cat.bin"]).find(str(key))
    assert found.name == f"cat/1-{key}"
    np.testing.assert_array_equal(found.drawing.strokes(0)[0], line + 1)


def test_key_ids_are_found_in_ndjson_and_in_several_places(tmp_path):
    first = Drawings.from_strokes([[wavy(9).clip(0, 255).round()]] * 3, key_id=[1, 22, 333])
    write_ndjson(tmp_path / "a" / "full_simplified_dog.ndjson", first, "dog")
    write_bin(tmp_path / "b" / "owl.bin", Drawings.from_strokes([[wavy(5).clip(0, 255).round()]], key_id=[4444]))
    files = DrawingFiles([tmp_path / "nowhere", tmp_path / "a", tmp_path / "b"])
    assert [files.find(key).name for key in ("22", "4444", "333")] == ["dog/1-22", "owl/0-4444", "dog/2-333"]
    # A number that is the beginning of another is not that one.
    with pytest.raises(InputError, match=r"no drawing has the key id 33; looked in .*a, .*b"):
        files.find("33")


@pytest.mark.parametrize("text", ["", "cat", "-5", "1.5", str(1 << 64), "1" * 500, "١٢"])
def test_what_is_no_key_id_is_refused(text, tmp_path):
    with pytest.raises(InputError, match="is no key id"):
        DrawingFiles([tmp_path]).find(text)


def test_sources_named_in_the_configuration_are_looked_into(search, finished, tmp_path):
    import shutil

    from trazo.search.engine import Search

    root = tmp_path / "results" / "toys"
    shutil.copytree(finished, root)
    shutil.move(root / "doodles" / "toys", tmp_path / "elsewhere")
    taken = {item for split in ("train", "test") for item in read_images(root / f"images/toys/{split}.h5").ids}
    drawings = read_bin(tmp_path / "elsewhere" / "cat.bin")
    record = next(r for r in range(20) if f"cat/{r}-{drawings.key_id[r]}" not in taken)
    key = str(drawings.key_id[record])
    with pytest.raises(InputError, match="--drawings PATH"):
        Search(root, device="cpu").drawing(key)
    (tmp_path / "config.yaml").write_text("studies: [toys]\nsources: {doodles: elsewhere, web: https://example.org}\n")
    assert Search(root, device="cpu").drawing(key).label == "cat"
    (tmp_path / "config.yaml").unlink()
    assert Search(root, device="cpu").drawing(key, [tmp_path / "elsewhere"]).label == "cat"


def test_all_drawings_of_a_file_are_queries(tmp_path):
    drawings = Drawings.from_strokes([[wavy(9, seed).clip(0, 255).round()] for seed in range(3)])
    write_ndjson(tmp_path / "dog.ndjson", drawings, "dog")
    queries = all_records(tmp_path / "dog.ndjson", 3)
    assert [query.name for query in queries] == ["dog/0-0", "dog/1-1", "dog/2-2"]
    with pytest.raises(InputError, match=r"3 drawings, more than the 2.*dog.ndjson:0"):
        all_records(tmp_path / "dog.ndjson", 2)


def test_strokes_survive_the_way_through_json():
    sent = json.loads(json.dumps([stroke.T.tolist() for stroke in strokes_of("crab")]))
    for parsed, stroke in zip(parse_strokes(sent), strokes_of("crab"), strict=True):
        np.testing.assert_array_equal(parsed, stroke)
    assert CLASSES
