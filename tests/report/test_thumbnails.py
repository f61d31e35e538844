"""Thumbnails: every item's own picture at its place, within their bytes."""

import io

import numpy as np
import pytest
from PIL import Image
from trazo import store
from trazo.provenance import describe
from trazo.report.artifacts import Pictures
from trazo.report.thumbnails import ACROSS, EACH, left_out_words, make_sheets


def write(folder, pixels, split="test"):
    path = folder / f"{split}.h5"
    key = {"dataset": "toys", "split": split}
    store.write_images(
        path, [pixels], shape=pixels.shape, labels=np.zeros(len(pixels)), ids=[str(i) for i in range(len(pixels))],
        classes=["a"], record=describe("images", settings={"key": key}, code="0", seconds=1.0),
    )  # fmt: skip
    return path


def tile(sheets, place):
    """Return the n-th thumbnail, as a browser cuts it out."""
    side, within = sheets.tile, place % EACH
    with Image.open(io.BytesIO(sheets.sheets[place // EACH])) as sheet:
        shown = np.asarray(sheet.convert("L"))
    y, x = within // ACROSS * side, within % ACROSS * side
    return shown[y : y + side, x : x + side]


def test_every_item_s_picture_is_at_its_place(tmp_path):
    count = EACH + 40
    # Every image is of one brightness: a tile tells which item it is of.
    pixels = np.repeat((np.arange(count) % 250).astype(np.uint8), 24 * 24).reshape(count, 24, 24)
    wanted = np.delete(np.arange(count), [3, 200])
    made = make_sheets(Pictures([write(tmp_path, pixels)]), {"toys/test": wanted})["toys/test"]
    assert made.tile == 24
    assert len(made.sheets) == 2
    assert made.rows.tolist() == wanted.tolist()
    assert made.payload["rows"] == wanted.tolist()
    for place in (0, 2, 3, 17, EACH - 1, EACH, len(wanted) - 1):
        assert tile(made, place).mean() == pytest.approx(wanted[place] % 250, abs=2)


def test_larger_images_become_small_and_rows_in_order_need_no_list(tmp_path):
    pixels = np.full((20, 128, 128, 3), 90, dtype=np.uint8)
    made = make_sheets(Pictures([write(tmp_path, pixels)]), {"toys/test": np.arange(20)})["toys/test"]
    assert made.tile == 64
    assert made.payload == {"tile": 64, "across": ACROSS, "each": EACH, "count": 20, "rows": None}
    assert tile(made, 19).mean() == pytest.approx(90, abs=2)


def test_thumbnails_keep_to_their_bytes_and_say_what_is_left_out(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (120, 70, 70, 3), dtype=np.uint8)
    pictures = Pictures([write(tmp_path, noise), write(tmp_path, noise[:60], "train")])
    seen = {}
    for most in (4 << 20, 300_000, 30_000):
        made = make_sheets(pictures, {"toys/test": np.arange(120), "toys/train": np.arange(60)}, most_bytes=most)
        assert sum(len(sheet) for one in made.values() for sheet in one.sheets) <= most
        seen[most] = (made["toys/test"].tile, len(made["toys/test"].rows))
        told = left_out_words(made)
        assert bool(told) == (len(made["toys/test"].rows) < 120)
    assert seen[4 << 20] == (64, 120)
    assert seen[300_000][0] < 64
    assert seen[30_000][0] == 32
    assert seen[30_000][1] < 120


def test_splits_without_images_have_no_thumbnails(tmp_path):
    pictures = Pictures([write(tmp_path, np.zeros((4, 16, 16), np.uint8))])
    assert make_sheets(pictures, {"mine/gallery": np.arange(3), "toys/test": np.empty(0, np.int64)}) == {}
