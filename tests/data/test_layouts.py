"""Layouts: which classes and files a source has."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from trazo.config import Dataset
from trazo.data.layouts import layouts
from trazo.data.quickdraw import Drawings, write_bin, write_ndjson
from trazo.errors import InputError

DRAWN = layouts.get("quickdraw")
FOLDERS = layouts.get("folders")


def dataset(**settings):
    return Dataset(**{"split": {"train": 1}, **settings})


def drawings(count):
    return Drawings.from_strokes([[[(i % 256, 0), (9, 9)]] for i in range(count)], key_id=np.arange(count) + 100)


def keys_of(layout, source, spec, name):
    with layout.opened(source, spec) as opened:
        return opened.items(name).ids()


@pytest.fixture
def drawn(tmp_path):
    folder = tmp_path / "drawn"
    write_bin(folder / "The Eiffel Tower.bin", drawings(3))
    write_bin(folder / "cat.bin", drawings(4))
    write_ndjson(folder / "dog.ndjson", drawings(5), "dog")
    (folder / "notes.txt").write_text("x")
    return folder


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    for name in ("set/cat/1.png", "set/cat/more/2.JPG", "set/dog/1.png", "set/dog/notes.txt", "set/loose.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"not looked into")
    (folder / "set" / "empty").mkdir()
    return folder


def test_planning_imports_neither_opencv_nor_pillow_nor_torch():
    code = "import sys, trazo.data.layouts; print({'cv2', 'PIL', 'torch'} & set(sys.modules))"
    library = Path(sys.modules["trazo"].__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(library)}
    )
    assert done.stdout.strip() == "set()"


def test_quickdraw_classes_are_the_files(drawn):
    assert DRAWN.available(drawn, dataset()) == ["The Eiffel Tower", "cat", "dog"]
    assert DRAWN.source_files(drawn, dataset(categories=["dog", "cat"])) == [drawn / "dog.ndjson", drawn / "cat.bin"]


def test_quickdraw_source_may_be_one_file(drawn):
    assert DRAWN.available(drawn / "cat.bin", dataset()) == ["cat"]
    assert DRAWN.source_files(drawn / "cat.bin", dataset()) == [drawn / "cat.bin"]


def test_prefixes_of_handed_on_files_are_no_part_of_the_category(drawn):
    (drawn / "cat.bin").rename(drawn / "full_binary_cat.bin")
    (drawn / "dog.ndjson").rename(drawn / "full_simplified_dog.ndjson")
    assert DRAWN.available(drawn, dataset()) == ["The Eiffel Tower", "cat", "dog"]


def test_bin_is_read_where_a_category_has_both(drawn):
    write_ndjson(drawn / "cat.ndjson", drawings(9), "cat")
    assert DRAWN.source_files(drawn, dataset(categories=["cat"])) == [drawn / "cat.bin"]


def test_unknown_category_names_the_nearest(drawn):
    with pytest.raises(InputError, match=r"'dgo'.*'dog'"):
        DRAWN.source_files(drawn, dataset(categories=["dgo"]))


def test_ids_are_unique_where_identifiers_repeat(tmp_path):
    write_bin(tmp_path / "cat.bin", Drawings.concatenate([drawings(2), drawings(2)]))
    assert keys_of(DRAWN, tmp_path, dataset(), "cat") == ["cat/0-100", "cat/1-101", "cat/2-100", "cat/3-101"]


def test_bin_and_ndjson_of_the_same_drawings_have_the_same_items(tmp_path):
    write_bin(tmp_path / "a" / "cat.bin", drawings(7))
    write_ndjson(tmp_path / "b" / "cat.ndjson", drawings(7), "cat")
    ids = keys_of(DRAWN, tmp_path / "a", dataset(), "cat")
    assert ids == keys_of(DRAWN, tmp_path / "b", dataset(), "cat")
    assert len(ids) == 7


def test_folder_without_drawings_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no Quick, Draw! drawings"):
        DRAWN.available(tmp_path, dataset())
    with pytest.raises(InputError, match="does not exist"):
        DRAWN.available(tmp_path / "nowhere", dataset())


def test_settings_of_the_other_layout_are_refused(drawn, pictures):
    with pytest.raises(InputError, match="folder: 'x'"):
        DRAWN.available(drawn, dataset(folder="x"))
    with pytest.raises(InputError, match="recognized_only"):
        FOLDERS.available(pictures, dataset(layout="folders", recognized_only=True))


def test_folders_classes_are_the_folders_with_images(pictures):
    spec = dataset(layout="folders", folder="set")
    assert FOLDERS.available(pictures, spec) == ["cat", "dog"]
    assert keys_of(FOLDERS, pictures, spec, "cat") == ["set/cat/1.png", "set/cat/more/2.JPG"]
    assert FOLDERS.source_files(pictures, spec) == [pictures]


def test_zip_and_folder_have_the_same_items(pictures, tmp_path):
    packed = tmp_path / "p.zip"
    with zipfile.ZipFile(packed, "w") as file:
        for path in sorted(pictures.rglob("*")):
            file.write(path, path.relative_to(pictures))
    spec = dataset(layout="folders", folder="set/")
    assert FOLDERS.available(packed, spec) == ["cat", "dog"]
    assert FOLDERS.source_files(packed, spec) == [packed]
    assert FOLDERS.listing_digest(packed, spec) == ""
    with FOLDERS.opened(packed, spec) as zipped, FOLDERS.opened(pictures, spec) as plain:
        assert zipped.items("cat").ids() == plain.items("cat").ids()
        np.testing.assert_array_equal(zipped.items("cat").keys, plain.items("cat").keys)


def test_changed_archive_is_listed_anew(tmp_path):
    packed = tmp_path / "p.zip"
    for names in (["cat/1.png"], ["cat/1.png", "dog/1.png"]):
        with zipfile.ZipFile(packed, "w") as file:
            for name in names:
                file.writestr(name, b"x")
        assert FOLDERS.available(packed, dataset(layout="folders")) == [name.partition("/")[0] for name in names]


def test_same_images_have_the_same_keys_wherever_they_lie(pictures):
    spec = dataset(layout="folders", folder="set")
    with FOLDERS.opened(pictures, spec) as opened, FOLDERS.opened(pictures / "set", dataset(layout="folders")) as inner:
        np.testing.assert_array_equal(opened.items("cat").keys, inner.items("cat").keys)


def test_listing_digest_changes_with_any_image_and_only_then(pictures):
    spec = dataset(layout="folders", folder="set")
    digests = [FOLDERS.listing_digest(pictures, spec)]
    (pictures / "set/dog/notes.txt").write_bytes(b"other notes")
    assert FOLDERS.listing_digest(pictures, spec) == digests[0]
    (pictures / "set/dog/1.png").write_bytes(b"longer than it was before")
    digests.append(FOLDERS.listing_digest(pictures, spec))
    os.utime(pictures / "set/dog/1.png", ns=(5, 5))
    digests.append(FOLDERS.listing_digest(pictures, spec))
    (pictures / "set/dog/1.png").rename(pictures / "set/dog/2.png")
    digests.append(FOLDERS.listing_digest(pictures, spec))
    (pictures / "set/dog/2.png").unlink()
    digests.append(FOLDERS.listing_digest(pictures, spec))
    assert len(set(digests)) == len(digests)


def test_images_in_no_class_are_explained(pictures):
    (pictures / "flat").mkdir()
    (pictures / "flat" / "1.png").write_bytes(b"")
    with pytest.raises(InputError, match="1 images, but in no folder of a class"):
        FOLDERS.available(pictures, dataset(layout="folders", folder="flat"))
    with pytest.raises(InputError, match="no folder 'sett'"):
        FOLDERS.available(pictures, dataset(layout="folders", folder="sett"))


def test_file_name_that_is_no_utf8_is_named(pictures):
    (pictures / "set/cat" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"")
    with pytest.raises(InputError, match="no UTF-8"):
        FOLDERS.available(pictures, dataset(layout="folders", folder="set"))


@pytest.mark.parametrize(
    ("archive", "folder", "classes", "images"),
    [
        ("tu-berlin.zip", "png", 250, 250 * 80),
        ("imagenette.zip", "val", 10, 3925),
        ("sketchy.zip", "photo", 125, 3125),
        ("mit-scenes.zip", "MIT_split/train", 8, 1881),
    ],
)
def test_real_archives_have_the_classes_and_images_their_page_says(shared_data, archive, folder, classes, images):
    spec = dataset(layout="folders", folder=folder)
    with FOLDERS.opened(shared_data / archive, spec) as opened:
        assert len(opened.classes) == classes
        assert sum(len(opened.items(name)) for name in opened.classes) == images
