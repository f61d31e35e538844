"""Layouts of image files: which classes, splits and files a source has."""

import os
import zipfile

import numpy as np
import pytest
from trazo.config import Dataset
from trazo.data.layouts import layouts
from trazo.errors import InputError

FOLDERS = layouts.get("folders")
SPLIT_FOLDERS = layouts.get("split_folders")
LISTED = layouts.get("listed")
NAMED = layouts.get("named")
GROUND_TRUTH = layouts.get("ground_truth")


def dataset(**settings):
    return Dataset(**{"split": {"train": 1}, **settings})


def keys_of(layout, source, spec, name):
    with layout.opened(source, spec, "train") as opened:
        return opened.items(name).ids()


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    for name in ("set/cat/1.png", "set/cat/more/2.JPG", "set/dog/1.png", "set/dog/notes.txt", "set/loose.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"not looked into")
    (folder / "set" / "empty").mkdir()
    return folder


def test_folders_classes_are_the_folders_with_images(pictures):
    spec = dataset(layout="folders", folder="set")
    assert FOLDERS.available(pictures, spec) == ["cat", "dog"]
    assert keys_of(FOLDERS, pictures, spec, "cat") == ["set/cat/1.png", "set/cat/more/2.JPG"]
    # A folder's time stamp says nothing of what lies deeper: its listing stands for it.
    assert FOLDERS.source_files(pictures, spec) == []


def test_zip_and_folder_have_the_same_items(pictures, tmp_path):
    packed = tmp_path / "p.zip"
    with zipfile.ZipFile(packed, "w") as file:
        for path in sorted(pictures.rglob("*")):
            file.write(path, path.relative_to(pictures))
    spec = dataset(layout="folders", folder="set/")
    assert FOLDERS.available(packed, spec) == ["cat", "dog"]
    assert FOLDERS.source_files(packed, spec) == [packed]
    assert FOLDERS.listing_digest(packed, spec) == ""
    with FOLDERS.opened(packed, spec, "train") as zipped, FOLDERS.opened(pictures, spec, "train") as plain:
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
    outer, inner = dataset(layout="folders", folder="set"), dataset(layout="folders")
    with FOLDERS.opened(pictures, outer, "train") as opened, FOLDERS.opened(pictures / "set", inner, "train") as inner:
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
    with FOLDERS.opened(shared_data / archive, spec, "train") as opened:
        assert len(opened.classes) == classes
        assert sum(len(opened.items(name)) for name in opened.classes) == images


# --- Given splits -----------------------------------------------------------------------------------------------------

GIVEN = {
    "train": {"coast": ["a.jpg", "b.jpg", "deep/c.jpg"], "street": ["a.jpg", "d.PNG"]},
    "test": {"coast": ["e.jpg"], "street": ["f.jpg", "g.jpg"]},
    "val": {"coast": ["h.jpg"]},
}
GIVEN_NAMES = [f"set/{s}/{c}/{n}" for s, classes in GIVEN.items() for c, names in classes.items() for n in names]


def given(**settings):
    return dataset(**{"layout": "split_folders", "folder": "set", "split": {"train": "all", "test": "all"}, **settings})


def written(folder, contents):
    """Write files whose content is their name, unless given; return the folder."""
    entries = contents if isinstance(contents, dict) else {name: name for name in contents}
    for name, content in entries.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def zipped(folder):
    packed = folder.with_suffix(".zip")
    with zipfile.ZipFile(packed, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder))
    return packed


def ids(layout, source, spec, split):
    with layout.opened(source, spec, split) as opened:
        return {name: opened.items(name).ids() for name in opened.classes}


@pytest.fixture(params=["folder", "zip"])
def place(request, tmp_path):
    """Return a function that writes files and returns the folder or zip archive that they lie in."""

    def make(contents):
        folder = written(tmp_path / "source", contents)
        return folder if request.param == "folder" else zipped(folder)

    return make


def test_every_split_has_the_images_of_its_own_folder(place):
    source = place([*GIVEN_NAMES, "set/README.md", "set/train/loose.jpg", "set/loose.jpg", "other/x/y.jpg"])
    spec = given()
    assert SPLIT_FOLDERS.available(source, spec) == ["coast", "street"]
    for split in ("train", "test"):
        expected = {c: [f"set/{split}/{c}/{n}" for n in names] for c, names in GIVEN[split].items()}
        assert ids(SPLIT_FOLDERS, source, spec, split) == expected
    assert SPLIT_FOLDERS.counts(source, spec) == {
        "train": {"coast": 3, "street": 2},
        "test": {"coast": 1, "street": 2},
    }


def test_splits_may_lie_at_the_top_of_a_source(place):
    source = place([name.removeprefix("set/") for name in GIVEN_NAMES])
    assert SPLIT_FOLDERS.counts(source, given(folder=""))["test"] == {"coast": 1, "street": 2}


def test_keys_do_not_depend_on_where_a_split_lies(tmp_path):
    near, far = written(tmp_path / "near", GIVEN_NAMES), written(tmp_path / "far", [f"x/{n}" for n in GIVEN_NAMES])
    with (
        SPLIT_FOLDERS.opened(near, given(), "train") as one,
        SPLIT_FOLDERS.opened(far, given(folder="x/set"), "train") as other,
    ):
        np.testing.assert_array_equal(one.items("coast").keys, other.items("coast").keys)


def test_missing_split_folder_names_those_there_are(place):
    source = place(GIVEN_NAMES)
    with pytest.raises(InputError, match=r"folder 'set' of .*unknown split folder 'tset'\. Did you mean 'test'"):
        SPLIT_FOLDERS.available(source, given(split={"train": "all", "tset": "all"}))


def test_class_missing_from_one_side_is_named_with_the_side(place):
    source = place([*GIVEN_NAMES, "set/test/forest/x.jpg"])
    for categories in (None, ["street", "forest"], {"random": 2}):
        with pytest.raises(InputError, match=r"'forest' has images in test and none in train\. .*`categories`"):
            SPLIT_FOLDERS.available(source, given(categories=categories))
    assert SPLIT_FOLDERS.available(source, given(categories=["street", "coast"])) == ["coast", "forest", "street"]
    three = given(split=dict.fromkeys(GIVEN, "all"), categories=["street"])
    with pytest.raises(InputError, match="'street' has images in train and test and none in val"):
        SPLIT_FOLDERS.available(source, three)


def test_digest_of_a_split_is_moved_by_its_own_images_only(tmp_path):
    source = written(tmp_path / "s", GIVEN_NAMES)
    spec = given()

    def digests():
        return [SPLIT_FOLDERS.listing_digest(source, spec, split) for split in ("train", "test", None)]

    before = digests()
    assert len(set(before)) == 3
    written(source, ["set/val/coast/new.jpg", "set/test/coast/notes.txt"])
    assert digests() == before
    written(source, ["set/test/coast/new.jpg"])
    after = digests()
    assert [old == new for old, new in zip(before, after)] == [True, False, False]
    assert SPLIT_FOLDERS.source_files(source, spec) == []
    assert SPLIT_FOLDERS.listing_digest(zipped(source), spec, "test") == ""
    assert SPLIT_FOLDERS.source_files(zipped(source), spec) == [source.with_suffix(".zip")]


def test_content_in_two_splits_is_found_under_any_name(place):
    contents = {name: name for name in GIVEN_NAMES}
    # The same in two splits, twice in one split only, and of the same length as others but different.
    contents["set/test/street/f.jpg"] = contents["set/train/coast/b.jpg"]
    contents["set/train/street/d.PNG"] = contents["set/train/street/a.jpg"]
    contents["set/val/coast/h.jpg"] = contents["set/test/coast/e.jpg"]
    contents["set/train/coast/a.jpg"] = contents["set/test/street/g.jpg"] = ""
    source = place(contents)
    shared = [("train", "set/train/coast/b.jpg"), ("test", "set/test/street/f.jpg")]
    assert SPLIT_FOLDERS.overlaps(source, given()) == [shared]
    # Neither a class nor a split that the dataset leaves out counts.
    assert SPLIT_FOLDERS.overlaps(source, given(categories=["coast"])) == []
    three = given(split=dict.fromkeys(GIVEN, "all"), categories=["coast"])
    assert SPLIT_FOLDERS.overlaps(source, three) == [[("test", "set/test/coast/e.jpg"), ("val", "set/val/coast/h.jpg")]]


def test_damaged_member_overlaps_nothing(tmp_path):
    packed = zipped(written(tmp_path / "s", dict.fromkeys(GIVEN_NAMES, "one content")))
    # Members are stored as they are, in the order of their names.
    packed.write_bytes(packed.read_bytes().replace(b"one content", b"0ne content", 1))
    (group,) = SPLIT_FOLDERS.overlaps(packed, given())
    expected = {name for name in GIVEN_NAMES if "/val/" not in name} - {"set/test/coast/e.jpg"}
    assert {name for _, name in group} == expected


FLAT = ["coast_arnat59.jpg", "coast_bea1.jpg", "inside_city_art.jpg", "inside_city_art2.jpg", "coast_n1.jpg"]
LISTS = {
    "train.txt": "coast_arnat59.jpg\n\n# a comment\ninside_city_art.jpg\n",
    "test.txt": "\ufeffcoast_bea1.jpg\r\ninside_city_art2.jpg\r\n",
}


def listed(**settings):
    lists = {"train": "train.txt", "test": "test.txt"}
    return dataset(**{"layout": "listed", "lists": lists, "split": {"train": "all", "test": "all"}, **settings})


def files(folder="", lists=LISTS, images=FLAT):
    return {f"{folder}{name}": name for name in images} | {f"{folder}{name}": text for name, text in lists.items()}


def test_lists_say_which_images_a_split_has_and_names_their_class(place):
    source = place(files())
    assert LISTED.available(source, listed()) == ["coast", "inside_city"]
    assert ids(LISTED, source, listed(), "train") == {
        "coast": ["coast_arnat59.jpg"],
        "inside_city": ["inside_city_art.jpg"],
    }
    assert ids(LISTED, source, listed(), "test") == {
        "coast": ["coast_bea1.jpg"],
        "inside_city": ["inside_city_art2.jpg"],
    }


def test_lists_may_lie_beside_the_images_or_at_the_top_or_on_disk(place, tmp_path):
    images = {f"all/deep/{name}": name for name in FLAT}
    source = place(images | {"all/train.txt": LISTS["train.txt"], "test.txt": LISTS["test.txt"]})
    expected = {"coast": ["all/deep/coast_bea1.jpg"], "inside_city": ["all/deep/inside_city_art2.jpg"]}
    assert ids(LISTED, source, listed(folder="all"), "test") == expected
    (tmp_path / "mine.txt").write_text("coast_n1.jpg\ninside_city_art2.jpg\n")
    spec = listed(folder="all", lists={"train": "train.txt", "test": str(tmp_path / "mine.txt")})
    assert ids(LISTED, source, spec, "test")["coast"] == ["all/deep/coast_n1.jpg"]
    # A list on disk decides what is taken from a source that stays as it is.
    before = [LISTED.listing_digest(source, spec, split) for split in ("train", "test")]
    (tmp_path / "mine.txt").write_text("# another order\ninside_city_art2.jpg\ncoast_n1.jpg\n")
    assert [LISTED.listing_digest(source, spec, split) for split in ("train", "test")] == before
    (tmp_path / "mine.txt").write_text("coast_bea1.jpg\ninside_city_art2.jpg\n")
    after = [LISTED.listing_digest(source, spec, split) for split in ("train", "test")]
    assert [old == new for old, new in zip(before, after)] == [True, False]
    assert ids(LISTED, source, spec, "test") == expected


def test_an_image_that_goes_from_one_list_to_another_moves_the_digest_of_all(place, tmp_path):
    source = place({name: name for name in FLAT})
    spec = listed(lists={split: str(tmp_path / f"{split}.txt") for split in ("train", "test")})
    digests = []
    for moved in ("train", "test"):
        for split in ("train", "test"):
            names = ["coast_arnat59.jpg", "inside_city_art.jpg"]
            names = names if split == "train" else ["coast_bea1.jpg", "inside_city_art2.jpg"]
            (tmp_path / f"{split}.txt").write_text("\n".join([*names, *(["coast_n1.jpg"] * (split == moved))]))
        digests.append(LISTED.listing_digest(source, spec))
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    ("line", "pattern", "name", "kind"),
    [
        ("one_two_3.jpg", None, "one_two_3.jpg", "one_two"),
        ("sub_folder/a_1.jpg", None, "sub_folder/a_1.jpg", "a"),
        ("sub_folder\\a_1.jpg", None, "sub_folder/a_1.jpg", "a"),
        ("./sub_folder/a_1.jpg", None, "sub_folder/a_1.jpg", "a"),
        ("a_1.jpg coast", None, "sub_folder/a_1.jpg", "coast"),
        ("a_1.jpg, tall building ", None, "sub_folder/a_1.jpg", "tall building"),
        ("my photo.jpg.png\tcoast", None, "my photo.jpg.png", "coast"),
        ("noclass.jpg,7", None, "noclass.jpg", "7"),
        ("sub_folder/a_1.jpg", "^([^/]+)/", "sub_folder/a_1.jpg", "sub_folder"),
        ("noclass.jpg", r"^(no)", "noclass.jpg", "no"),
        ("twin.jpg coast", None, "twin.jpg", "coast"),
        ("x/twin.jpg coast", None, "x/twin.jpg", "coast"),
        ("y/x/twin.jpg coast", None, "y/x/twin.jpg", "coast"),
    ],
)
def test_lines_of_a_list(tmp_path, line, pattern, name, kind):
    images = ["one_two_3.jpg", "sub_folder/a_1.jpg", "my photo.jpg.png", "noclass.jpg"]
    images += ["twin.jpg", "x/twin.jpg", "y/x/twin.jpg"]
    source = written(tmp_path / "s", files(lists={"l.txt": line + "\n"}, images=images))
    settings = {"class_pattern": pattern} if pattern else {}
    spec = listed(lists={"train": "l.txt"}, split={"train": "all"}, **settings)
    assert ids(LISTED, source, spec, "train") == {kind: [name]}


def test_ambiguous_name_asks_for_more_of_its_path(place):
    source = place(files(lists={"l.txt": "a_1.jpg\n"}, images=["x/a_1.jpg", "y/a_1.jpg"]))
    with pytest.raises(InputError, match=r"l.txt, line 1: 'a_1.jpg' may be x/a_1.jpg or y/a_1.jpg; write more of"):
        LISTED.available(source, listed(lists={"train": "l.txt"}, split={"train": "all"}))


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        ("coast_arnat59.jpg\ncoast_x.jpg", "coast_bea1.jpg", "train.txt, line 2: 'coast_x.jpg' is not there"),
        (
            "coast_n1.jpg\n#\ncoast_n1.jpg",
            "coast_bea1.jpg",
            "train.txt, line 3: 'coast_n1.jpg' is listed already in train.txt, line 1",
        ),
        (
            "coast_n1.jpg\n",
            "coast_bea1.jpg\n./coast_n1.jpg",
            "test.txt, line 2: 'coast_n1.jpg' is listed already in train.txt, line 1",
        ),
        ("plain.jpg", "coast_bea1.jpg", r"train.txt, line 1: class_pattern .* finds no class in 'plain.jpg'"),
        ("file,class", "coast_bea1.jpg", "train.txt, line 1: 'file,class' is no image's name"),
        ("# nothing\n", "coast_bea1.jpg", "lists.train: train.txt lists no image"),
        ("../coast_n1.jpg", "coast_bea1.jpg", "train.txt, line 1: '../coast_n1.jpg' is not there"),
        ("/etc/coast_n1.jpg", "coast_bea1.jpg", "train.txt, line 1: '/etc/coast_n1.jpg' is not there"),
        ("a_1.jpg\n" * 9, "coast_bea1.jpg", "9 lines of its lists .*line 5: 'a_1.jpg' is not there; and 4 more"),
    ],
)
def test_mistakes_in_lists_are_named_by_list_and_line(place, train, test, words):
    source = place(files(lists={"train.txt": train, "test.txt": test}, images=[*FLAT, "plain.jpg"]))
    with pytest.raises(InputError, match=words):
        LISTED.available(source, listed())


def test_a_list_leads_to_no_image_outside_the_source(tmp_path):
    outside = written(tmp_path / "outside", ["coast_n1.jpg"])
    for line in ("../outside/coast_n1.jpg", str(outside / "coast_n1.jpg"), "s/../../outside/coast_n1.jpg"):
        source = written(tmp_path / "s", files(lists={"l.txt": line}, images=["coast_bea1.jpg"]))
        with pytest.raises(InputError, match=r"line 1: .*outside/coast_n1\.jpg' is not there"):
            LISTED.available(source, listed(lists={"train": "l.txt"}, split={"train": "all"}))


def test_list_that_is_missing_or_no_text_is_named(place):
    source = place(files("in/"))
    spec = listed(folder="in", lists={"train": "train.txt", "test": "tst.txt"})
    with pytest.raises(InputError, match=r"lists.test: 'tst.txt' is neither in .* \(as in/tst.txt or tst.txt\) nor"):
        LISTED.available(source, spec)
    with pytest.raises(InputError, match=r"lists: there is none for split 'test'.*lists: {test: test.txt}"):
        LISTED.available(source, listed(folder="in", lists={"train": "train.txt"}))


def test_list_in_another_encoding_is_refused(tmp_path):
    source = written(tmp_path / "s", files())
    (source / "test.txt").write_bytes(b"coast_\xe9.jpg")
    with pytest.raises(InputError, match=r"lists.test: test.txt is no UTF-8 text \(byte 6\)"):
        LISTED.available(source, listed())


def test_listed_class_missing_from_one_side_is_named(place):
    source = place(files(lists=LISTS | {"test.txt": "coast_bea1.jpg"}))
    with pytest.raises(InputError, match="'inside_city' has images in train and none in test"):
        LISTED.available(source, listed())


def test_changed_list_in_an_archive_is_read_anew(tmp_path):
    folder = written(tmp_path / "s", files())
    assert LISTED.counts(zipped(folder), listed())["test"] == {"coast": 1, "inside_city": 1}
    written(folder, {"test.txt": "coast_bea1.jpg\ncoast_n1.jpg\ninside_city_art2.jpg"})
    assert LISTED.counts(zipped(folder), listed())["test"] == {"coast": 2, "inside_city": 1}


def test_same_content_under_two_listed_names_overlaps(place):
    contents = files() | {"coast_arnat59.jpg": "same", "inside_city_art2.jpg": "same"}
    shared = [("train", "coast_arnat59.jpg"), ("test", "inside_city_art2.jpg")]
    assert LISTED.overlaps(place(contents), listed()) == [shared]


def test_real_scenes_have_the_published_splits_and_no_image_in_both(shared_data):
    archive = shared_data / "mit-scenes.zip"
    spec = given(folder="MIT_split")
    classes = ["Opencountry", "coast", "forest", "highway", "inside_city", "mountain", "street", "tallbuilding"]
    assert SPLIT_FOLDERS.available(archive, spec) == classes
    counts = SPLIT_FOLDERS.counts(archive, spec)
    assert {split: sum(of_split.values()) for split, of_split in counts.items()} == {"train": 1881, "test": 807}
    assert SPLIT_FOLDERS.overlaps(archive, spec) == []
    # By another way: the bytes of every member.
    with zipfile.ZipFile(archive) as file:
        members = {name: file.read(name) for name in file.namelist() if name.endswith(".jpg")}
    train, test = ({c for n, c in members.items() if n.startswith(f"MIT_split/{s}/")} for s in ("train", "test"))
    assert not train & test


def test_real_scenes_as_lists_are_the_same_images(shared_data, tmp_path):
    archive = shared_data / "mit-scenes.zip"
    with zipfile.ZipFile(archive) as file:
        names = [name.removeprefix("MIT_split/") for name in file.namelist() if name.endswith(".jpg")]
    for split in ("train", "test"):
        (tmp_path / f"{split}.txt").write_text("\n".join(n for n in names if n.startswith(f"{split}/")))
    lists = {split: str(tmp_path / f"{split}.txt") for split in ("train", "test")}
    by_list = listed(folder="MIT_split", lists=lists, class_pattern="^[^/]+/([^/]+)/")
    for split in ("train", "test"):
        assert ids(LISTED, archive, by_list, split) == ids(SPLIT_FOLDERS, archive, given(folder="MIT_split"), split)


# --- Other names of classes -------------------------------------------------------------------------------------------


def test_classes_have_the_names_that_the_dataset_gives_them(place):
    source = place(GIVEN_NAMES)
    spec = given(rename={"coast": "sea shore"}, categories=["sea shore", "street"])
    assert SPLIT_FOLDERS.available(source, spec) == ["sea shore", "street"]
    assert SPLIT_FOLDERS.counts(source, spec)["train"] == {"sea shore": 3, "street": 2}
    assert ids(SPLIT_FOLDERS, source, spec, "test")["sea shore"] == ["set/test/coast/e.jpg"]
    plain = given()
    with (
        SPLIT_FOLDERS.opened(source, spec, "train") as renamed,
        SPLIT_FOLDERS.opened(source, plain, "train") as opened,
    ):
        np.testing.assert_array_equal(renamed.items("sea shore").keys, opened.items("coast").keys)


def test_classes_may_change_names_with_each_other(place):
    source = place(GIVEN_NAMES)
    spec = given(rename={"coast": "street", "street": "coast"})
    assert SPLIT_FOLDERS.counts(source, spec) == {"train": {"street": 3, "coast": 2}, "test": {"street": 1, "coast": 2}}


def test_a_list_names_classes_that_are_renamed(place):
    source = place(files())
    assert LISTED.available(source, listed(rename={"inside_city": "city"})) == ["city", "coast"]


def test_mistakes_in_names_are_told_with_the_classes_there_are(place):
    source = place(GIVEN_NAMES)
    with pytest.raises(InputError, match=r"rename: unknown class 'caost'\. Did you mean 'coast'"):
        SPLIT_FOLDERS.available(source, given(rename={"caost": "sea"}))
    with pytest.raises(InputError, match=r"'coast' becomes 'street', and the source has a class 'street' already"):
        SPLIT_FOLDERS.available(source, given(rename={"coast": "street"}))


def test_other_names_of_a_class_move_the_digest_of_a_folder(tmp_path):
    source = written(tmp_path / "s", GIVEN_NAMES)
    digests = {SPLIT_FOLDERS.listing_digest(source, given(rename=names)) for names in ({}, {"coast": "sea"})}
    assert len(digests) == 2


# --- Names that say a class -------------------------------------------------------------------------------------------


def test_names_say_the_class(place):
    source = place(["330/1/1.png", "330/1/2.png", "330/10/1.png", "330/note.txt", "other/7.png"])
    spec = dataset(layout="named", folder="330", class_pattern=r"/(\d+)\.png$", split={"train": 1, "test": "rest"})
    assert NAMED.available(source, spec) == ["1", "2"]
    assert ids(NAMED, source, spec, "train") == {"1": ["330/1/1.png", "330/10/1.png"], "2": ["330/1/2.png"]}


def test_named_images_have_keys_that_do_not_depend_on_where_they_lie(tmp_path):
    near, far = written(tmp_path / "near", ["d/x_1.png"]), written(tmp_path / "far", ["deep/d/x_1.png"])
    with (
        NAMED.opened(near, dataset(layout="named", folder="d"), "train") as one,
        NAMED.opened(far, dataset(layout="named", folder="deep/d"), "train") as other,
    ):
        assert one.classes == other.classes == ["x"]
        np.testing.assert_array_equal(one.items("x").keys, other.items("x").keys)


def test_names_without_a_class_are_told(place):
    source = place(["a_1.png", "b_2.png", *(f"{i}.png" for i in range(7))])
    with pytest.raises(InputError, match=r"finds no class in 7 of 9 names: '0.png'; .*'4.png'; and 2 more\. Correct"):
        NAMED.available(source, dataset(layout="named"))
    with pytest.raises(InputError, match=r"it has no images, but files that end in \.md \(1\); check `folder`"):
        NAMED.available(place(["d/x.md"]), dataset(layout="named", folder="d"))


def test_ground_truth_has_the_class_first(place):
    truth = "1 ball/9.jpg\n2, moon/9.jpg\n# a comment\n\n10\tmoon\\my 10.jpg\n"
    source = place({"images/ball/9.jpg": "a", "images/moon/9.jpg": "b", "images/moon/my 10.jpg": "c", "truth": truth})
    spec = dataset(layout="ground_truth", folder="images", lists={"train": "truth"}, split={"train": "all"})
    assert ids(GROUND_TRUTH, source, spec, "train") == {
        "1": ["images/ball/9.jpg"],
        "10": ["images/moon/my 10.jpg"],
        "2": ["images/moon/9.jpg"],
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("9.jpg", "'9.jpg' is no class with an image's name behind it"),
        ("9.jpg 1", "'9.jpg 1' is no class with"),
        ("1 8.jpg", "'8.jpg' is not there"),
        ("1 9.jpg\n2 9.jpg", "line 2: '9.jpg' is listed already in truth, line 1"),
    ],
)
def test_mistakes_in_a_ground_truth_are_named(place, line, words):
    spec = dataset(layout="ground_truth", lists={"train": "truth"}, split={"train": "all"})
    with pytest.raises(InputError, match=words):
        GROUND_TRUTH.available(place({"9.jpg": "x", "truth": line}), spec)


def test_a_list_may_name_what_an_image_was_made_of(place):
    source = place(
        files(lists={"l.txt": "a_1.svg\nx/b_1.JPG\nc_1.png\n"}, images=["a_1.png", "x/b_1.png", "c_1.png", "c_1.jpg"])
    )
    spec = listed(lists={"train": "l.txt"}, split={"train": "all"})
    assert ids(LISTED, source, spec, "train") == {"a": ["a_1.png"], "b": ["x/b_1.png"], "c": ["c_1.png"]}
    source = place(files(lists={"l.txt": "c_1.svg\n"}, images=["c_1.png", "c_1.jpg"]))
    with pytest.raises(InputError, match=r"'c_1.svg' may be c_1.jpg or c_1.png; write more of its path"):
        LISTED.available(source, spec)


def test_the_place_of_an_image_says_its_class_where_its_name_does_not(place):
    source = place(files("ShoeV2_photo/", lists={}, images=["1.png", "2.png"]) | {"l.txt": "1.png\n2.png\n"})
    spec = listed(folder="ShoeV2_photo", lists={"train": "l.txt"}, split={"train": "all"}, class_pattern="(Shoe)V2_")
    assert ids(LISTED, source, spec, "train") == {"Shoe": ["ShoeV2_photo/1.png", "ShoeV2_photo/2.png"]}
