"""Names of objects, and what sketches and photos lack of each other."""

import pytest
from trazo.data.instances import (
    check_classes,
    check_photos,
    classes_of_one_domain,
    instance_names,
    sketches_without_photo,
)
from trazo.errors import InputError


def test_objects_are_named_by_class_and_group():
    ids = ["sketch/airplane/n02691156_10151-1.png", "sketch/airplane/n02691156_10151-12.png", "deep/er/ant/a.b-3.PNG"]
    kinds = ["airplane", "airplane", "ant"]
    assert instance_names(ids, kinds, r"(.+)-\d+") == ["airplane/n02691156_10151"] * 2 + ["ant/a.b"]
    assert instance_names(["photo/ant/a.b.jpg"], ["ant"], "(.+)") == ["ant/a.b"]
    # The same name in another class is another object.
    assert len(set(instance_names(["x/1.png", "y/1.png"], ["x", "y"], "(.+)"))) == 2


def test_a_name_is_to_fit_as_a_whole():
    assert instance_names(["1135_2.png"], ["shoe"], r"(\d+)_\d+") == ["shoe/1135"]
    for pattern in (r"(\d+)", r"(\d+)_", r"_(\d+)", r"(\d*)1135_2"):
        with pytest.raises(InputError, match=r"names no object in 1 of 1 file names: '1135_2'"):
            instance_names(["1135_2.png"], ["shoe"], pattern)


def test_names_that_do_not_fit_are_listed_with_the_pattern_and_counted():
    ids = [f"c/odd{i}.png" for i in range(14)] + ["c/right-1.png"]
    with pytest.raises(InputError) as caught:
        instance_names(ids, ["c"] * 15, r"(.+)-\d+")
    message = str(caught.value)
    assert r"instance: '(.+)-\\d+' names no object in 14 of 15 file names: 'odd0', 'odd1'" in message
    assert "'odd9', and 4 more. " in message
    assert "odd10" not in message
    assert "right" not in message


def test_sketches_whose_photo_is_missing_are_told_by_row():
    photos = {"ant/1", "ant/2", "bee/1"}
    assert sketches_without_photo(photos, ["ant/2", "bee/2", "ant/2", "cat/1", "bee/1"]) == [1, 3]
    assert sketches_without_photo(iter(photos), []) == []


def test_missing_photos_are_named_up_to_ten_and_counted():
    check_photos({"ant/1"}, ["ant/1", "ant/1"])
    with pytest.raises(
        InputError, match=r"1 of 2 sketches have no photo of their object: 'b/1-2\.png' \(of 'b/1'\)\. "
    ):
        check_photos({"a/1"}, ["a/1", "b/1"], ["a/1-1.png", "b/1-2.png"])
    with pytest.raises(InputError) as caught:
        check_photos({"a/0"}, [f"a/{i}" for i in range(13)])
    message = str(caught.value)
    assert message.startswith("12 of 13 sketches have no photo of their object: 'a/1', 'a/2', ")
    assert "'a/10', and 2 more. Add the photos" in message
    assert "'a/11'" not in message


def test_where_no_sketch_has_a_photo_the_names_are_blamed():
    with pytest.raises(InputError, match=r"Not one has; correct `instance`, .* Photos have names such as 'ant/1-1'"):
        check_photos(["ant/1-1"], ["ant/1"])
    with pytest.raises(InputError, match="There are no photos"):
        check_photos([], ["ant/1"])


def test_classes_of_one_domain_are_named_by_domain():
    assert classes_of_one_domain(["b", "a", "c"], ["c", "d"]) == (["a", "b"], ["d"])
    check_classes(["a", "b"], ["b", "a"])
    with pytest.raises(InputError) as caught:
        check_classes([f"p{i:02}" for i in range(12)] + ["both"], ["both", "s"])
    message = str(caught.value)
    assert "12 classes have photos and no sketch: 'p00', 'p01', " in message
    assert "'p09', and 2 more; 1 class has sketches and no photo: 's'. " in message
    assert "`categories`" in message
    assert "rename" not in message


def test_classes_spelled_in_two_ways_lead_to_rename():
    with pytest.raises(InputError, match=r"the photos rename: \{Hot-Air Balloon: hot_air_balloon, alarm clock: alarm_"):
        check_classes(["alarm clock", "Hot-Air Balloon", "ant"], ["alarm_clock", "hot_air_balloon", "ant"])
