"""Building images.h5: right pixels, labels and splits, whatever the source and the number of threads."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image
from trazo.config import Dataset
from trazo.data.images import UnreadableImagesError, build_images, split_instances
from trazo.data.items import OverlapError
from trazo.data.quickdraw import CorruptSourceError, Drawings, read_bin, write_bin
from trazo.data.raster import RasterOptions, rasterise
from trazo.errors import InputError
from trazo.store import read_images
from trazo.streams import StreamedPixels


def dataset(**settings):
    return Dataset(**{"split": {"train": 5, "test": 2}, "size": 32, **settings})


def drawings(count, seed, recognized=None):
    rng = np.random.default_rng(seed)
    return Drawings.from_strokes(
        [[rng.integers(0, 256, (rng.integers(1, 9), 2)) for _ in range(3)] for _ in range(count)],
        key_id=rng.integers(0, 2**60, count),
        recognized=recognized,
    )


def build(tmp_path, source, spec, split="train", threads=1, **options):
    output = tmp_path / f"{split}-{threads}.h5"
    build_images(
        source=source, dataset_name="d", dataset=spec, split=split, output=output, code="c", threads=threads, **options
    )
    return read_images(output)


@pytest.fixture
def drawn(tmp_path):
    folder = tmp_path / "drawn"
    for seed, name in enumerate(("cat", "dog", "sea turtle")):
        write_bin(folder / f"{name}.bin", drawings(20 + seed, seed, recognized=np.arange(20 + seed) % 2 == 0))
    return folder


def png(values):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def pictures(tmp_path, damaged=()):
    """A zip of 2 classes of 9 images, each of one grey of its own; those `damaged` are no images."""
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w") as file:
        for label, name in enumerate(("cat", "dog")):
            for i in range(9):
                member = f"png/{name}/{i}.png"
                file.writestr(member, b"broken" if member in damaged else png(grey(label, i)))
    return path


def grey(label, i):
    return np.full((40, 50), 100 * label + i, np.uint8)


def test_drawings_are_those_of_the_records_named_by_their_ids(drawn, tmp_path):
    spec = dataset(categories=["sea turtle", "cat"])
    images = build(tmp_path, drawn, spec)
    assert images.classes == ["sea turtle", "cat"]
    assert images.labels.tolist() == [0] * 5 + [1] * 5
    for pixels, label, name in zip(images.pixels, images.labels, images.ids):
        category, _, rest = name.partition("/")
        record, key_id = map(int, rest.split("-"))
        drawing = read_bin(drawn / f"{category}.bin").select([record])
        assert category == images.classes[label]
        assert key_id == drawing.key_id[0]
        np.testing.assert_array_equal(pixels, rasterise(drawing, RasterOptions(size=32))[0])


def test_raster_settings_reach_the_rasteriser(drawn, tmp_path):
    settings = {"canvas": 64, "thickness": 5, "centre": True, "margin": 4, "keep_aspect": False}
    images = build(tmp_path, drawn, dataset(categories=["dog"], raster=settings))
    records = [int(name.partition("/")[2].split("-")[0]) for name in images.ids]
    expected = rasterise(read_bin(drawn / "dog.bin").select(records), RasterOptions(size=32, **settings))
    np.testing.assert_array_equal(images.pixels, expected)


def test_three_channels_repeat_the_grey_of_drawings(drawn, tmp_path):
    grey_images = build(tmp_path, drawn, dataset())
    colour = build(tmp_path, drawn, dataset(channels=3))
    np.testing.assert_array_equal(colour.pixels, np.repeat(grey_images.pixels[..., None], 3, axis=3))


def test_splits_share_no_item_and_another_category_changes_none(drawn, tmp_path):
    train = build(tmp_path, drawn, dataset(categories=["cat", "dog"]))
    test = build(tmp_path, drawn, dataset(categories=["cat", "dog"]), split="test")
    assert not set(train.ids) & set(test.ids)
    more = build(tmp_path, drawn, dataset(categories=["sea turtle", "dog", "cat"]))
    assert set(train.ids) < set(more.ids)


def test_larger_test_split_leaves_training_images(drawn, tmp_path):
    train = build(tmp_path, drawn, dataset())
    again = build(tmp_path, drawn, dataset(split={"train": 5, "test": 9}))
    assert train.ids == again.ids
    np.testing.assert_array_equal(train.pixels, again.pixels)


def test_recognized_only_leaves_the_others_out_before_splitting(drawn, tmp_path):
    images = build(tmp_path, drawn, dataset(recognized_only=True, split={"train": "rest"}))
    records = [int(name.partition("/")[2].split("-")[0]) for name in images.ids]
    assert all(record % 2 == 0 for record in records)
    assert len(images) == 10 + 11 + 11


def test_random_categories_are_drawn_from_the_files(drawn, tmp_path):
    images = build(tmp_path, drawn, dataset(categories={"random": 2, "seed": 5}))
    assert len(images.classes) == 2
    with pytest.raises(InputError, match="4 random categories, and 3 are available"):
        build(tmp_path, drawn, dataset(categories={"random": 4}))


@pytest.mark.parametrize("kind", ["drawings", "pictures"])
def test_threads_change_nothing(drawn, tmp_path, kind):
    source = drawn if kind == "drawings" else pictures(tmp_path)
    extra = {} if kind == "drawings" else {"layout": "folders", "folder": "png"}
    spec = dataset(split={"train": "rest"}, **extra)
    one, three = (build(tmp_path, source, spec, threads=threads) for threads in (1, 3))
    assert one.ids == three.ids
    np.testing.assert_array_equal(one.pixels, three.pixels)


def test_images_of_an_archive_keep_pixels_labels_and_names(tmp_path):
    images = build(tmp_path, pictures(tmp_path), dataset(layout="folders", folder="png", split={"train": "rest"}))
    assert images.classes == ["cat", "dog"]
    assert images.ids == [f"png/{name}/{i}.png" for name in ("cat", "dog") for i in range(9)]
    assert images.pixels.shape == (18, 32, 32)
    expected = [100 * label + i for label in range(2) for i in range(9)]
    assert [np.unique(p).tolist() for p in images.pixels] == [[value] for value in expected]


def test_all_unreadable_images_are_named_and_nothing_is_written(tmp_path):
    damaged = ["png/cat/3.png", "png/dog/0.png", "png/dog/8.png"]
    source = pictures(tmp_path, damaged)
    spec = dataset(layout="folders", folder="png", split={"train": "rest"})
    for threads in (1, 2):
        with pytest.raises(UnreadableImagesError) as caught:
            build(tmp_path, source, spec, threads=threads)
        assert "3 of 18 images" in str(caught.value)
        assert all(name in str(caught.value) for name in damaged)
        assert "dog/1.png" not in str(caught.value)
    assert not list(tmp_path.glob("*.h5"))
    assert not list(tmp_path.glob(".*.part"))


def given_splits(tmp_path, damaged=()):
    """A zip of 2 splits of 2 classes of 9 and 4 images; brightness tells all of them apart."""
    path = tmp_path / "given.zip"
    with zipfile.ZipFile(path, "w") as file:
        for member, level in given_levels().items():
            values = np.full((40, 50), level, np.uint8)
            file.writestr(member, b"broken" if member in damaged else png(values))
    return path


def given_levels():
    names = [f"s/{s}/{c}/{i}.png" for s, n in (("train", 9), ("test", 4)) for c in ("cat", "dog") for i in range(n)]
    return {name: 5 * position for position, name in enumerate(names)}


GIVEN = {"layout": "split_folders", "folder": "s"}


def test_given_splits_come_whole_from_their_own_folders(tmp_path):
    source = given_splits(tmp_path)
    spec = dataset(**GIVEN, split={"train": "all", "test": "all"})
    for split, count in (("train", 9), ("test", 4)):
        images = build(tmp_path, source, spec, split=split)
        assert images.ids == [f"s/{split}/{name}/{i}.png" for name in ("cat", "dog") for i in range(count)]
        assert images.labels.tolist() == [0] * count + [1] * count
        assert [np.unique(p).tolist() for p in images.pixels] == [[given_levels()[name]] for name in images.ids]


def test_number_of_a_given_split_is_drawn_from_that_split_and_grows(tmp_path):
    source = given_splits(tmp_path)
    drawn = {}
    for count in (3, 6):
        images = build(tmp_path, source, dataset(**GIVEN, split={"train": count, "test": "all"}))
        assert np.bincount(images.labels).tolist() == [count, count]
        drawn[count] = set(images.ids)
    assert drawn[3] < drawn[6]
    assert all(name.startswith("s/train/") for name in drawn[6])
    alone = build(tmp_path, source, dataset(**GIVEN, split={"train": 3}))
    assert set(alone.ids) == drawn[3]
    assert set(build(tmp_path, source, dataset(**GIVEN, split={"train": 3}, seed=1)).ids) != drawn[3]
    with pytest.raises(InputError, match=r"'cat' has 4 items, and 5 are asked for \(5 test\)"):
        build(tmp_path, source, dataset(**GIVEN, split={"train": 3, "test": 5}), split="test")


def test_lists_give_the_same_images_as_folders_do(tmp_path):
    source = given_splits(tmp_path)
    lists = {}
    for split in ("train", "test"):
        lists[split] = str(tmp_path / f"{split}.txt")
        names = [name for name in given_levels() if f"/{split}/" in name]
        (tmp_path / f"{split}.txt").write_text("\n".join(f"{name}, {name.split('/')[2]}" for name in names))
    shares = {"split": {"train": "all", "test": "all"}}
    by_list = dataset(layout="listed", folder="s", lists=lists, **shares)
    for split in ("train", "test"):
        one = build(tmp_path, source, by_list, split=split)
        other = build(tmp_path, source, dataset(**GIVEN, **shares), split=split, threads=2)
        assert (one.ids, one.classes) == (other.ids, other.classes)
        np.testing.assert_array_equal(one.pixels, other.pixels)


def test_images_that_another_given_split_has_too_are_named_with_their_splits(tmp_path):
    folder = tmp_path / "photos"
    for split, first in (("train", 0), ("test", 3)):
        (folder / split / "cat").mkdir(parents=True)
        for i in range(9):
            (folder / split / "cat" / f"{i}.png").write_bytes(png(grey(0, first + i)))
    spec = dataset(layout="split_folders", split={"train": "all", "test": 1})
    with pytest.raises(OverlapError) as caught:
        build(tmp_path, folder, spec, split="test")
    message = str(caught.value)
    # By the levels of grey: 3 of train is 0 of test, and so on up to 8 and 5.
    assert "6 images are in more than one split: train/cat/3.png (train) = test/cat/0.png (test); " in message
    assert "train/cat/7.png (train) = test/cat/4.png (test); and 1 more. " in message
    assert "remove each from all splits but one" in message
    assert not list(tmp_path.glob("*.h5"))
    # With nothing to compare with, nothing is wrong.
    assert len(build(tmp_path, folder, dataset(layout="split_folders", split={"test": "all"}), split="test")) == 9


@pytest.mark.parametrize("layout", ["split_folders", "listed"])
def test_unreadable_images_of_given_splits_are_named(tmp_path, layout):
    damaged = ["s/train/cat/3.png", "s/train/dog/0.png", "s/test/dog/2.png"]
    source = given_splits(tmp_path, damaged)
    settings = {"layout": layout, "folder": "s", "split": {"train": "all"}}
    if layout == "listed":
        names = [name for name in given_levels() if "/train/" in name]
        (tmp_path / "l.txt").write_text("\n".join(names))
        settings |= {"lists": {"train": str(tmp_path / "l.txt")}, "class_pattern": "/(cat|dog)/"}
    with pytest.raises(UnreadableImagesError, match="2 of 18 images") as caught:
        build(tmp_path, source, dataset(**settings))
    assert [name in str(caught.value) for name in damaged] == [True, True, False]


def test_truncated_image_of_a_folder_is_named(tmp_path):
    folder = tmp_path / "f"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    for split, pixels in (("train", noise), ("test", noise.T)):
        (folder / split / "cat").mkdir(parents=True)
        (folder / split / "cat" / "1.png").write_bytes(png(pixels))
    (folder / "test" / "cat" / "2.png").write_bytes(png(noise)[:700])
    spec = dataset(layout="split_folders", split={"train": "all", "test": "all"})
    with pytest.raises(UnreadableImagesError, match=r"1 of 2 images .*test/cat/2\.png \("):
        build(tmp_path, folder, spec, split="test")


def test_images_of_any_size_and_pixel_format_stand_side_by_side(tmp_path):
    folder = tmp_path / "f" / "train" / "cat"
    folder.mkdir(parents=True)
    grey_pixels = Image.fromarray(np.full((50, 70), 120, np.uint8))
    forms = {"L": (20, 90), "P": (64, 64), "RGBA": (33, 31), "CMYK": (200, 20), "1": (8, 8), "I;16": (40, 41)}
    for mode, size in forms.items():
        image = grey_pixels.resize(size)
        if mode == "I;16":
            image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
        elif mode == "1":
            image = Image.new("1", size, 1)
        else:
            image = image.convert("RGB").convert(mode) if mode != "P" else image.convert("P")
        image.save(folder / f"{mode.replace(';', '')}.{'tif' if mode == 'CMYK' else 'png'}")
    for channels in (1, 3):
        spec = dataset(layout="split_folders", split={"train": "all"}, channels=channels)
        images = build(tmp_path, tmp_path / "f", spec)
        levels = {
            name.rpartition("/")[2]: np.unique(pixels).tolist() for name, pixels in zip(images.ids, images.pixels)
        }
        white = levels.pop("1.png")
        assert white == [255]
        assert set(map(tuple, levels.values())) == {(120,)}


def test_long_list_of_unreadable_images_ends_with_their_number(tmp_path):
    for i in range(60):
        (tmp_path / "p" / "cat").mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / "cat" / f"{i:02}.png").write_bytes(b"broken")
    spec = dataset(layout="folders", split={"train": "rest"})
    with pytest.raises(UnreadableImagesError, match=r"60 of 60 images.*cat/49.png.* and 10 more"):
        build(tmp_path, tmp_path / "p", spec)


def test_too_few_items_name_every_short_class_and_its_number(drawn, tmp_path):
    with pytest.raises(InputError) as caught:
        build(tmp_path, drawn, dataset(split={"train": 15, "test": 6}))
    assert "1 of 3 classes: 'cat' has 20 items, and 21 are asked for (15 train + 6 test)" in str(caught.value)
    with pytest.raises(InputError, match="too few recognized items in 3 of 3 classes"):
        build(tmp_path, drawn, dataset(split={"train": 12}, recognized_only=True))


def test_unknown_split_and_layout_are_named(drawn, tmp_path):
    with pytest.raises(InputError, match=r"unknown split 'trian'.*'train'"):
        build(tmp_path, drawn, dataset(), split="trian")
    with pytest.raises(InputError, match=r"unknown layout 'folder'.*'folders'"):
        build(tmp_path, drawn, dataset(layout="folder"))


def test_damaged_drawings_are_an_error_and_nothing_is_written(drawn, tmp_path):
    content = (drawn / "dog.bin").read_bytes()
    (drawn / "dog.bin").write_bytes(content[:-3])
    with pytest.raises(CorruptSourceError, match=r"dog.bin: record 20 .* at byte"):
        build(tmp_path, drawn, dataset())
    assert not list(tmp_path.glob("*.h5"))


def test_record_says_what_was_built(drawn, tmp_path):
    record = build(tmp_path, drawn, dataset()).record
    assert record["settings"]["key"] == {"dataset": "d", "split": "train"}
    assert record["settings"]["available"] == {"cat": 20, "dog": 21, "sea turtle": 22}
    assert record["settings"]["dataset"]["size"] == 32
    assert record["settings"]["source"] == "folder drawn"
    assert record["code"] == "c"
    assert record["figures"]["images"] == 15
    assert record["figures"]["items_per_second"] == pytest.approx(15 / record["figures"]["seconds"])


def test_progress_ends_at_the_total(drawn, tmp_path):
    seen = []
    build(tmp_path, drawn, dataset(), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(5, 15), (10, 15), (15, 15)]


def test_real_scenes_are_built_as_given(shared_data, tmp_path):
    spec = dataset(layout="split_folders", folder="MIT_split", split={"train": 20, "test": "all"}, channels=3)
    images = build(tmp_path, shared_data / "mit-scenes.zip", spec, split="test")
    # Counted in the archive by hand.
    assert dict(zip(images.classes, np.bincount(images.labels).tolist())) == {
        "Opencountry": 118, "coast": 116, "forest": 101, "highway": 76,
        "inside_city": 94, "mountain": 114, "street": 80, "tallbuilding": 108,
    }  # fmt: skip
    assert all(name.startswith("MIT_split/test/") for name in images.ids)


def test_real_drawings_of_the_animals_study(shared_data, tmp_path):
    animals = ["sheep", "bear", "bee", "cat", "camel", "cow", "crab", "crocodile", "duck", "elephant", "dog", "giraffe"]
    spec = dataset(categories=animals, split={"train": 400, "test": 37}, size=64)
    images = build(tmp_path, shared_data / "quickdraw", spec, split="test")
    assert images.classes == animals
    assert np.bincount(images.labels).tolist() == [37] * 12
    assert len(set(images.ids)) == len(images)
    # Black lines on white: mostly white, and no drawing is empty.
    assert 200 < images.pixels.mean() < 254
    assert images.pixels.min(axis=(1, 2)).max() < 128


@pytest.mark.parametrize(("archive", "folder", "channels"), [("tu-berlin.zip", "png", 1), ("imagenette.zip", "val", 3)])
def test_real_archives_become_images(shared_data, tmp_path, archive, folder, channels):
    spec = dataset(layout="folders", folder=folder, channels=channels, split={"few": 2}, categories={"random": 8})
    images = build(tmp_path, shared_data / archive, spec, split="few")
    assert images.pixels.shape == ((16, 32, 32) if channels == 1 else (16, 32, 32, 3))
    with zipfile.ZipFile(shared_data / archive) as file:
        contents = [file.read(name) for name in images.ids]
    for pixels, content in zip(images.pixels, contents):
        whole = Image.open(io.BytesIO(content)).convert("L" if channels == 1 else "RGB")
        side = min(whole.size)
        left, top = (whole.width - side) // 2, (whole.height - side) // 2
        middle = whole.crop((left, top, left + side, top + side))
        # Independent of the library's way: mean brightness survives shrinking.
        assert abs(float(np.asarray(middle).mean()) - float(pixels.mean())) < 2


def test_images_are_kept_with_the_names_of_their_objects(tmp_path):
    source = pictures(tmp_path)
    spec = dataset(
        layout="folders", folder="png", instance=r"\d*(\d)", rename={"cat": "Katze"}, split={"train": "rest"}
    )
    images = build(tmp_path, source, spec)
    expected = [f"{'Katze' if '/cat/' in name else 'dog'}/{name[-5]}" for name in images.ids]
    assert images.classes == ["Katze", "dog"]
    assert images.instances == expected
    assert split_instances(source=source, dataset_name="d", dataset=spec, split="train") == expected
    plain = spec.model_copy(update={"instance": None})
    assert build(tmp_path, source, plain).instances is None
    assert split_instances(source=source, dataset_name="d", dataset=plain, split="train") is None


def test_objects_of_a_split_are_those_of_its_images(tmp_path):
    source = pictures(tmp_path)
    spec = dataset(layout="folders", folder="png", instance="(.+)", split={"train": 5, "test": 2}, seed=3)
    for split in ("train", "test"):
        images = build(tmp_path, source, spec, split=split)
        assert images.instances == split_instances(source=source, dataset_name="d", dataset=spec, split=split)
        assert images.instances == [name.removeprefix("png/").removesuffix(".png") for name in images.ids]


def test_names_without_an_object_are_told_before_any_pixel_is_made(tmp_path):
    source = pictures(tmp_path, ["png/cat/3.png"])
    spec = dataset(layout="folders", folder="png", instance="([0-6])", split={"train": "rest"})
    with pytest.raises(InputError, match=r"dataset 'd': instance: .* in 4 of 18 file names: '7', '8', '7', '8'\. "):
        build(tmp_path, source, spec)
    assert not list(tmp_path.glob("*.h5"))


def test_renamed_classes_have_the_same_pixels_under_another_name(tmp_path):
    source = pictures(tmp_path)
    spec = dataset(layout="folders", folder="png", split={"train": "rest"}, categories=["Hund", "cat"])
    renamed = build(tmp_path, source, spec.model_copy(update={"rename": {"dog": "Hund"}}))
    plain = build(tmp_path, source, spec.model_copy(update={"categories": ["dog", "cat"]}))
    assert (renamed.classes, plain.classes) == (["Hund", "cat"], ["dog", "cat"])
    assert renamed.ids == plain.ids
    np.testing.assert_array_equal(renamed.pixels, plain.pixels)
    assert renamed.record["settings"]["dataset"]["rename"] == {"dog": "Hund"}


STREAMED = {"layout": "folders", "split": {"train": 15, "test": "rest"}}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("packed", [False, True])
def test_streamed_images_are_those_that_would_have_been_stored(photos, tmp_path, monkeypatch, packed, channels):
    source = photos
    if packed:
        source = tmp_path / "photos.zip"
        with zipfile.ZipFile(source, "w") as file:
            for photo in sorted(photos.glob("*/*.jpg")):
                file.write(photo, photo.relative_to(photos))
    for split in ("train", "test"):
        stored = build(tmp_path, source, dataset(**STREAMED, channels=channels), split=split)
        with monkeypatch.context() as patch:
            patch.setattr("trazo.decode.decode_image", None)
            streamed = build(tmp_path, source, dataset(**STREAMED, channels=channels, stream=True), split=split)
        assert isinstance(streamed.pixels, StreamedPixels)
        assert (streamed.ids, streamed.classes) == (stored.ids, stored.classes)
        np.testing.assert_array_equal(streamed.labels, stored.labels)
        assert streamed.pixels.shape == stored.pixels.shape
        np.testing.assert_array_equal(streamed.pixels[:], stored.pixels)
        assert (tmp_path / f"{split}-1.h5").stat().st_size < stored.pixels.nbytes


def test_rows_of_streamed_images_are_those_rows(photos, tmp_path):
    whole = build(tmp_path, photos, dataset(**STREAMED, stream=True))
    rows = np.array([0, 17, 44])
    some = read_images(tmp_path / "train-1.h5", rows=rows)
    np.testing.assert_array_equal(some.pixels[:], whole.pixels[rows])
    assert some.ids == [whole.ids[row] for row in rows]


def test_streamed_images_stand_for_their_files(tmp_path):
    folder = tmp_path / "photos" / "cat"
    folder.mkdir(parents=True)
    for i in range(4):
        (folder / f"{i}.png").write_bytes(png(grey(0, i)))
    spec = dataset(layout="folders", split={"train": "rest"}, stream=True)

    def found():
        return build(tmp_path, folder.parent, spec).pixels.digest

    first = found()
    assert found() == first
    (folder / "3.png").write_bytes(png(grey(0, 9)))
    changed = found()
    (folder / "4.png").write_bytes(png(grey(0, 4)))
    assert len({first, changed, found()}) == 3


def test_streamed_files_that_are_empty_are_named_at_once_and_damaged_ones_as_they_are_read(tmp_path):
    damaged = ["png/cat/3.png"]
    spec = dataset(layout="folders", folder="png", split={"train": "rest"}, stream=True)
    images = build(tmp_path, pictures(tmp_path, damaged), spec)
    assert images.pixels[2].shape == (32, 32)
    with pytest.raises(InputError, match=r"png/cat/3\.png of .*pictures\.zip cannot be read: no image"):
        images.pixels[:]
    folder = tmp_path / "png" / "cat"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"")
    (folder / "b.png").symlink_to(tmp_path / "gone.png")
    (folder / "c.png").write_bytes(png(grey(0, 0)))
    with pytest.raises(UnreadableImagesError, match=r"2 of 3 images .*a\.png \(an empty file\); .*b\.png"):
        build(tmp_path, tmp_path, spec)


def test_drawings_are_not_streamed(drawn, tmp_path):
    with pytest.raises(InputError, match=r"stream: .*`quickdraw`, only for folders"):
        build(tmp_path, drawn, dataset(stream=True))
