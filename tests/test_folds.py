"""Folds are even over classes and go by ids; shares are nested; what is counted beforehand is what is drawn."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold
from trazo.errors import InputError
from trazo.folds import check_fitted, drawn_count, drawn_rows, fitted_count, fold_numbers, searched_count, searched_rows

CLASSES = ["owl", "cat", "dog", "never seen"]


def gallery(seed=0, size=101):
    """Return labels of three classes, 7 of the smallest, and ids."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.zeros(7), np.ones(30), np.full(size - 37, 2)]).astype(np.int64)
    return rng.permutation(labels), [f"item {i}" for i in range(size)]


@pytest.mark.parametrize("folds", [2, 3, 5, 7])
def test_folds_are_even_over_classes_and_altogether(folds):
    labels, ids = gallery()
    numbers = fold_numbers(labels, ids, folds, classes=CLASSES)
    assert set(numbers.tolist()) == set(range(1, folds + 1))
    for rows in (labels == 0, labels == 1, labels == 2, labels >= 0):
        sizes = np.bincount(numbers[rows], minlength=folds + 1)[1:]
        assert sizes.max() - sizes.min() <= 1
    # As even as scikit-learn makes them.
    theirs = [len(test) for _, test in StratifiedKFold(folds).split(labels, labels)]
    assert sorted(theirs) == sorted(np.bincount(numbers)[1:].tolist())


def test_an_item_s_fold_depends_on_neither_order():
    labels, ids = gallery()
    numbers = fold_numbers(labels, ids, 3, classes=CLASSES)
    order = np.random.default_rng(1).permutation(len(ids))
    moved = fold_numbers(labels[order], [ids[i] for i in order], 3, classes=CLASSES)
    np.testing.assert_array_equal(moved, numbers[order])
    renamed = np.array([3, 0, 1, 2])
    others = [CLASSES[i] for i in np.argsort(renamed)]
    np.testing.assert_array_equal(fold_numbers(renamed[labels], ids, 3, classes=others), numbers)


def test_ids_and_seed_decide_and_not_the_place_in_a_class():
    labels, ids = gallery()
    numbers = fold_numbers(labels, ids, 3, classes=CLASSES)
    assert (fold_numbers(labels, ids, 3, seed=1, classes=CLASSES) != numbers).any()
    largest = numbers[labels == 2]
    # Going round in the order of the items would change the fold at each step.
    assert (np.diff(largest) == 0).any()
    assert 0.1 < (np.diff(largest) == 0).mean() < 0.6


def test_a_class_smaller_than_the_folds_is_named_with_its_size():
    labels, ids = gallery()
    message = r"8 folds need 8 items of every class, and the gallery has too few of owl \(7\); ask for fewer folds"
    with pytest.raises(InputError, match=message):
        fold_numbers(labels, ids, 8, classes=CLASSES)
    with pytest.raises(InputError, match="1 folds leave nothing to fit on"):
        fold_numbers(labels, ids, 1, classes=CLASSES)
    many = np.arange(9)
    with pytest.raises(InputError, match=r"a \(1\), b \(1\), c \(1\), d \(1\), e \(1\) and 4 more"):
        fold_numbers(many, [str(i) for i in many], 2, classes=list("abcdefghi"))
    with pytest.raises(InputError, match="got 101 labels of 100 items"):
        fold_numbers(labels, ids[1:], 3, classes=CLASSES)


def test_every_item_is_searched_once_and_all_at_once_without_folds():
    labels, ids = gallery()
    rows = searched_rows(labels, ids, 3, classes=CLASSES)
    assert np.sort(np.concatenate(rows)).tolist() == list(range(101))
    assert all((np.diff(each) > 0).all() for each in rows)
    (whole,) = searched_rows(labels, ids, 0, classes=CLASSES)
    assert whole.tolist() == list(range(101))


@pytest.mark.parametrize("folds", [0, 2, 3, 7])
def test_what_is_counted_beforehand_is_the_least_that_is_drawn(folds):
    labels, ids = gallery()
    sizes = [len(rows) for rows in searched_rows(labels, ids, folds, classes=CLASSES)]
    assert searched_count(101, folds) == min(sizes)
    assert fitted_count(101, folds) == (101 - max(sizes) if folds else 101)


def test_smaller_shares_are_parts_of_larger_ones_whatever_the_order():
    _, ids = gallery()
    drawn = {share: drawn_rows(ids, share) for share in (0.001, 0.1, 0.5, 0.9, 1.0)}
    assert [len(rows) for rows in drawn.values()] == [1, 10, 50, 91, 101]
    assert [drawn_count(101, share) for share in drawn] == [1, 10, 50, 91, 101]
    for smaller, larger in zip(list(drawn.values())[:-1], list(drawn.values())[1:], strict=True):
        assert set(smaller.tolist()) <= set(larger.tolist())
    order = np.random.default_rng(2).permutation(len(ids))
    moved = drawn_rows([ids[i] for i in order], 0.5)
    assert set(order[moved].tolist()) == set(drawn[0.5].tolist())
    # Neither the first items nor every other one.
    assert 10 < (drawn[0.5] < 50).sum() < 40
    assert set(drawn_rows(ids, 0.5, seed=1).tolist()) != set(drawn[0.5].tolist())


def test_what_folds_leave_too_little_of_is_told_with_how_many_are_left():
    def check(items, width):
        if items < 50 or width < 4:
            raise InputError(f"{items} items of {width} values.")

    check_fitted(check, 101, 60, 4)
    with pytest.raises(
        InputError, match=r"40 items of 4 values\. Folds and `share` leave 40 of the gallery's 101 items"
    ):
        check_fitted(check, 101, 40, 4)
    # What fits no number of items is not for the folds to explain.
    with pytest.raises(InputError, match=r"101 items of 3 values\.$"):
        check_fitted(check, 101, 60, 3)
