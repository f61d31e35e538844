"""Splits: disjoint, deterministic, and moved by nothing that does not concern them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trazo.data.splits import SplitError, split_positions, text_keys


def numbered(count):
    return np.arange(count, dtype=np.uint64)


@given(
    count=st.integers(0, 300),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    rest_at=st.none() | st.integers(0, 4),
    seed=st.integers(0, 2**40),
)
def test_splits_are_disjoint_and_as_large_as_asked(count, sizes, rest_at, seed):
    splits = {f"s{i}": size for i, size in enumerate(sizes)}
    if rest_at is not None:
        entries = list(splits.items())
        splits = dict([*entries[:rest_at], ("others", "rest"), *entries[rest_at:]])
    if sum(sizes) + (rest_at is not None) > count:
        with pytest.raises(SplitError, match=f"has {count} items"):
            split_positions(numbered(count), splits, seed=seed, name="cat")
        return
    dealt = split_positions(numbered(count), splits, seed=seed, name="cat")
    assert list(dealt) == list(splits)
    together = np.concatenate(list(dealt.values()))
    assert len(np.unique(together)) == len(together)
    assert all(len(dealt[f"s{i}"]) == size for i, size in enumerate(sizes))
    if rest_at is not None:
        assert sorted(together.tolist()) == list(range(count))
    assert all((np.diff(positions) > 0).all() for positions in dealt.values())


def test_larger_later_split_leaves_the_earlier_one():
    small = split_positions(numbered(500), {"train": 100, "test": 10}, seed=0, name="cat")
    large = split_positions(numbered(500), {"train": 100, "test": 200}, seed=0, name="cat")
    np.testing.assert_array_equal(small["train"], large["train"])
    assert set(small["test"]) < set(large["test"])


def test_rest_is_what_the_others_leave_wherever_it_is_declared():
    first = split_positions(numbered(50), {"train": "rest", "test": 10}, seed=0, name="cat")
    last = split_positions(numbered(50), {"test": 10, "train": "rest"}, seed=0, name="cat")
    np.testing.assert_array_equal(first["test"], last["test"])
    np.testing.assert_array_equal(first["train"], last["train"])


def test_seed_and_class_give_other_splits():
    dealt = [
        tuple(split_positions(numbered(200), {"train": 50}, seed=seed, name=name)["train"])
        for seed, name in ((0, "cat"), (1, "cat"), (0, "dog"))
    ]
    assert len(set(dealt)) == 3


def test_split_is_the_same_on_every_machine():
    dealt = split_positions(numbered(12), {"train": 4, "test": 2}, seed=3, name="The Eiffel Tower")
    assert {split: positions.tolist() for split, positions in dealt.items()} == {
        "train": [0, 2, 10, 11],
        "test": [5, 8],
    }


def test_new_item_displaces_at_most_one():
    before = split_positions(numbered(300), {"train": 100}, seed=0, name="cat")["train"]
    after = split_positions(numbered(301), {"train": 100}, seed=0, name="cat")["train"]
    assert len(set(before) - set(after)) <= 1


def test_items_go_with_their_keys_not_their_positions():
    names = [f"{i}.png" for i in range(80)]
    turned = names[::-1]
    one = split_positions(text_keys(names), {"train": 20}, seed=0, name="cat")["train"]
    other = split_positions(text_keys(turned), {"train": 20}, seed=0, name="cat")["train"]
    assert {names[i] for i in one} == {turned[i] for i in other}


def test_every_item_is_as_likely_as_any_other():
    counts = np.zeros(40)
    for seed in range(1000):
        counts[split_positions(numbered(40), {"train": 10}, seed=seed, name="cat")["train"]] += 1
    # Chi-squared of 39 degrees of freedom, scaled by the draw's lack of replacement: mean 39, far tail at 90.
    chi_squared = ((counts - 250) ** 2 / 250 / (1 - 10 / 40) * 39 / 40).sum()
    assert chi_squared < 90


def test_too_few_items_say_how_many_there_are():
    with pytest.raises(SplitError, match=r"'cat' has 40 items, and 60 are asked for \(50 train \+ 10 test\)"):
        split_positions(numbered(40), {"train": 50, "test": 10}, seed=0, name="cat")


def test_empty_rest_is_an_error():
    with pytest.raises(SplitError, match="'test', which takes the rest"):
        split_positions(numbered(40), {"train": 40, "test": "rest"}, seed=0, name="cat")
