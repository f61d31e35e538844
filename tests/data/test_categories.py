"""Categories: the official names, and the choice of classes."""

import random

import pytest
from trazo.config import RandomCategories
from trazo.data.categories import QUICKDRAW_CATEGORIES, choose
from trazo.errors import InputError


def test_official_list_has_345_distinct_names():
    assert len(QUICKDRAW_CATEGORIES) == 345
    assert len(set(QUICKDRAW_CATEGORIES)) == 345
    assert {"The Eiffel Tower", "t-shirt", "teddy-bear", "see saw", "house plant"} <= set(QUICKDRAW_CATEGORIES)


def test_official_list_names_every_real_file(shared_data):
    stems = {file.stem for file in (shared_data / "quickdraw").glob("*.bin")}
    assert len(stems) == 300
    assert stems <= set(QUICKDRAW_CATEGORIES)


def test_names_keep_their_order():
    assert choose(["dog", "ant", "cat"], ["ant", "cat", "dog", "eel"]) == ["dog", "ant", "cat"]


def test_no_choice_is_all_of_them_sorted():
    assert choose(None, ["b", "c", "a"]) == ["a", "b", "c"]


def test_unknown_name_names_the_nearest():
    with pytest.raises(InputError, match=r"'girafe'.*'giraffe'"):
        choose(["girafe"], QUICKDRAW_CATEGORIES)


def test_name_given_twice_is_refused():
    with pytest.raises(InputError, match="twice: cat"):
        choose(["cat", "dog", "cat"], ["cat", "dog"])


def test_source_without_classes_is_an_error():
    with pytest.raises(InputError, match="no classes"):
        choose(None, [])


def test_random_draw_depends_on_seed_and_names_only():
    shuffled = list(QUICKDRAW_CATEGORIES)
    random.Random(3).shuffle(shuffled)
    draw = choose(RandomCategories(random=100, seed=7), QUICKDRAW_CATEGORIES)
    assert len(set(draw)) == 100
    assert draw == sorted(draw)
    assert choose(RandomCategories(random=100, seed=7), shuffled) == draw
    assert choose(RandomCategories(random=100, seed=8), shuffled) != draw


def test_smaller_draw_is_part_of_a_larger_one():
    small = choose(RandomCategories(random=10, seed=1), QUICKDRAW_CATEGORIES)
    large = choose(RandomCategories(random=60, seed=1), QUICKDRAW_CATEGORIES)
    assert set(small) < set(large)


def test_draws_over_many_seeds_favour_no_name():
    names = [f"class {i}" for i in range(20)]
    counts = dict.fromkeys(names, 0)
    for seed in range(400):
        for name in choose(RandomCategories(random=5, seed=seed), names):
            counts[name] += 1
    # Binomial(400, 1/4): mean 100, deviation 8.7; five deviations to each side.
    assert all(57 <= count <= 143 for count in counts.values())


def test_draw_of_too_many_says_how_many_there_are():
    with pytest.raises(InputError, match="346 random categories, and 345 are available"):
        choose(RandomCategories(random=346, seed=0), QUICKDRAW_CATEGORIES)
