"""Sketches and photos become one set that says of every row what it is, or the message says why they cannot."""

import weakref

import numpy as np
import pytest
from trazo.errors import InputError
from trazo.store import Images, write_images
from trazo.training.joined import Members, join, join_pixels, members_of, of_domain, read_set, subset

CLASSES = ["ant", "bee", "cat"]


def images(count, *, colour=False, side=4, classes=CLASSES, instances=None, seed=0):
    shape = (count, side, side, 3) if colour else (count, side, side)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    names = [f"{'p' if colour else 's'}{i}" for i in range(count)]
    return Images(pixels, np.arange(count) % len(classes), names, list(classes), {"of": seed}, instances)


def test_sketches_come_first_and_grey_is_repeated():
    sketches, photos = images(5, seed=1), images(3, colour=True, seed=2)
    joined = join(sketches, photos)
    assert joined.pixels.shape == (8, 4, 4, 3)
    assert joined.pixels.dtype == np.uint8
    for channel in range(3):
        np.testing.assert_array_equal(joined.pixels[:5, ..., channel], sketches.pixels)
    np.testing.assert_array_equal(joined.pixels[5:], photos.pixels)
    assert joined.labels.tolist() == [0, 1, 2, 0, 1, 0, 1, 2]
    assert joined.ids == ["s0", "s1", "s2", "s3", "s4", "p0", "p1", "p2"]
    assert joined.domains.tolist() == [0] * 5 + [1] * 3
    assert joined.classes == CLASSES
    assert joined.record == {"sketches": {"of": 1}, "photos": {"of": 2}}
    assert len(joined) == 8


def test_two_grey_sets_stay_grey_and_colour_sketches_make_grey_photos_colour():
    assert join(images(2), images(3, seed=1)).pixels.shape == (5, 4, 4)
    joined = join(images(2, colour=True), images(3))
    assert joined.pixels.shape == (5, 4, 4, 3)
    assert (joined.pixels[2:, ..., 0] == joined.pixels[2:, ..., 2]).all()


def test_what_is_copied_is_let_go():
    parts = [images(2).pixels, images(3, colour=True).pixels]
    gone = [weakref.ref(part) for part in parts]
    joined = join_pixels(parts)
    assert parts == []
    assert [ref() for ref in gone] == [None, None]
    assert joined.base is None


def test_pixels_that_are_joined_elsewhere_are_taken_as_they_are():
    streamed = object()
    joined = join(images(2), images(3, side=9), streamed)
    assert joined.pixels is streamed
    assert len(joined) == 5


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (["ant", "bee"], "only the sketches have cat"),
        (["ant", "bee", "cat", "dog", "elk"], "only the photos have dog, elk"),
        (["ant", "dog", "cat"], "only the sketches have bee; only the photos have dog"),
        (["ant", "cat", "bee"], "class 1 of the sketches is bee, of the photos cat"),
        (["ant", "bee", "cat", *(f"x{i}" for i in range(30))], r"x0, .*x9 and 20 more\."),
    ],
)
def test_classes_that_differ_are_named(theirs, words):
    with pytest.raises(InputError, match=words):
        join(images(3), images(9, classes=theirs))


def test_other_sides_are_refused():
    with pytest.raises(InputError, match=r"sketches are 4×4 pixels, the photos 6×6; .*same `size`"):
        join(images(3), images(3, side=6, colour=True))


def test_objects_are_told_apart_by_class_and_name():
    # Classes 0, 1, 2, 0 and 0, 1, 2: "1" is another object in another class, and no name is no object.
    sketches = images(4, instances=["1", "1", "", "2"])
    photos = images(3, colour=True, instances=["1", "1", "1"])
    members = members_of(join(sketches, photos))
    found = members.instances.tolist()
    assert found[0] == found[4]
    assert found[1] == found[5]
    assert found[2] == -1
    assert len({found[0], found[1], found[3], found[6]}) == 4
    half = members_of(join(sketches, images(3, colour=True)))
    assert half.instances.tolist()[4:] == [-1] * 3
    assert members_of(join(images(2), images(2))).instances is None
    assert members_of(sketches).domains is None


def test_both_domains_are_crossed_and_one_is_not():
    assert members_of(join(images(2), images(2))).crossed
    assert not members_of(of_domain(images(2), "photo")).crossed
    assert not members_of(images(2)).crossed
    assert of_domain(images(2), "photo").domains.tolist() == [1, 1]
    assert of_domain(images(2), "sketch").domains.tolist() == [0, 0]
    with pytest.raises(InputError, match="domain: got 'drawing'; expected one of sketch, photo"):
        of_domain(images(2), "drawing")


def test_a_subset_keeps_what_is_known_of_its_rows():
    joined = join(images(4, instances=list("abcd")), images(3, instances=list("efg")))
    taken = subset(joined, np.array([1, 5]))
    np.testing.assert_array_equal(taken.pixels, joined.pixels[[1, 5]])
    assert (taken.ids, taken.instances) == (["s1", "s1"], ["b", "f"])
    assert taken.labels.tolist() == [1, 1]
    assert taken.domains.tolist() == [0, 1]
    plain = subset(images(4), np.array([2]))
    assert (plain.ids, plain.instances) == (["s2"], None)


def test_names_of_rows_for_messages():
    members = Members(np.zeros(12, int), ["a"], ids=[f"i{n}" for n in range(12)])
    assert members.told(np.array([3, 4])) == "i3, i4"
    assert members.told(np.arange(12)).endswith("i9 and 2 more")
    assert Members(np.zeros(12, int), ["a"]).told(np.array([3])) == "row 3"


def write(path, each):
    write_images(
        path, [each.pixels], shape=each.pixels.shape, labels=each.labels, ids=each.ids, classes=each.classes,
        record=each.record,
    )  # fmt: skip
    return path


def test_sets_are_read_by_their_domains_in_either_order(tmp_path):
    sketches, photos = images(5, seed=1), images(3, colour=True, seed=2)
    files = [write(tmp_path / "s.h5", sketches), write(tmp_path / "p.h5", photos)]
    expected = join(sketches, photos)
    for paths, domains in ((files, ["sketch", "photo"]), (files[::-1], ["photo", "sketch"])):
        read = read_set(paths, domains)
        np.testing.assert_array_equal(read.pixels, expected.pixels)
        assert (read.ids, read.record) == (expected.ids, expected.record)
        assert read.domains.tolist() == expected.domains.tolist()
    assert members_of(read_set(files[0])).domains is None
    assert members_of(read_set(str(files[1]), ["photo"])).domains.tolist() == [1, 1, 1]
    assert members_of(read_set([files[1]], [None])).domains is None


@pytest.mark.parametrize(
    ("count", "domains", "words"),
    [
        (2, (), "2 sets of images of domains None, None; expected one, or two"),
        (2, ("photo", "photo"), "domains photo, photo"),
        (2, ("photo",), "2 sets"),
        (3, ("sketch", "photo", "photo"), "3 sets"),
    ],
)
def test_two_sets_have_to_be_sketches_and_photos(tmp_path, count, domains, words):
    with pytest.raises(InputError, match=words):
        read_set([tmp_path / f"{i}.h5" for i in range(count)], domains)
