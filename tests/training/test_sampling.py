"""Samplings give what they promise, from seed and pass number alone."""

import numpy as np
import pytest
import torch
from trazo.errors import InputError
from trazo.training.sampling import Items, Schedule, samplings


def items(count, size):
    return Items(np.zeros(count), ["a"], size)


@pytest.mark.parametrize(("count", "size"), [(193, 32), (64, 64), (5, 128), (3, 1), (2, 1)])
def test_every_item_comes_once_a_pass(count, size):
    batches = items(count, size).batches(seed=0, number=1)
    assert sorted(torch.cat(batches).tolist()) == list(range(count))
    if size > 1:
        assert all(len(batch) > 1 for batch in batches)
    assert [b.tolist() for b in batches] == [b.tolist() for b in items(count, size).batches(seed=0, number=1)]


def test_passes_and_seeds_shuffle_differently():
    orders = {
        (seed, number): tuple(torch.cat(items(100, 10).batches(seed=seed, number=number)).tolist())
        for seed in (0, 1, 2)
        for number in (0, 1, 2)
    }
    assert len(set(orders.values())) == 9


@pytest.mark.parametrize(("steps", "parts"), [(23, 4), (7, 7), (100, 3), (2, 1)])
def test_parts_follow_one_another_over_the_passes(steps, parts):
    sampling = items(193, 32)
    schedule = Schedule(sampling, parts, steps, 5)
    found = [rows.tolist() for part in range(1, parts + 1) for rows in schedule.batches(part)]
    every = [rows.tolist() for number in range(1, 20) for rows in sampling.batches(seed=5, number=number)]
    assert found == every[:steps]
    sizes = [len(schedule.batches(part)) for part in range(1, parts + 1)]
    assert max(sizes) - min(sizes) <= 1


def test_without_iterations_a_part_is_a_pass():
    sampling = items(10, 4)
    found = Schedule(sampling, 3, None, 1).batches(2)
    assert [rows.tolist() for rows in found] == [rows.tolist() for rows in sampling.batches(seed=1, number=2)]


# Five classes of 40, 30, 20, 10 and 5, shuffled; numbered with a gap, as a subset of a dataset's classes is.
LABELS = np.random.default_rng(1).permutation(np.repeat([0, 1, 2, 4, 5], [40, 30, 20, 10, 5]))
CLASSES = ["ant", "bee", "cat", "absent", "dog", "elk"]


def rows_of(kind, passes=range(1, 101), size=32, **options):
    """All rows of many passes: (groups, images that belong together)."""
    sampling = samplings.get(kind)(LABELS, CLASSES, size, **options)
    batches = [b for number in passes for b in sampling.batches(seed=3, number=number)]
    return np.concatenate([b.numpy().reshape(sampling.groups, -1) for b in batches], axis=1)


def within(count, of, share):
    """Whether a count is within four standard deviations of a binomial's mean."""
    return abs(count - of * share) < 4 * (of * share * (1 - share)) ** 0.5


def test_pairs_are_of_the_same_class_by_a_fair_coin():
    first, second = rows_of("pairs")
    same = LABELS[first] == LABELS[second]
    assert len(first) == 100 * (len(LABELS) // 2)
    assert within(same.sum(), len(same), 0.5)
    assert (first != second).all()
    # Of the pairs of different classes, every other class is equally likely.
    of_ants = LABELS[second[(LABELS[first] == 0) & ~same]]
    for other in (1, 2, 4, 5):
        assert within((of_ants == other).sum(), len(of_ants), 1 / 4)


def test_an_item_s_positives_and_negatives_are_all_the_others():
    anchor, positive, negative = rows_of("triplets", range(1, 201))
    elk = np.flatnonzero(LABELS == 5)[0]
    assert sorted(set(positive[anchor == elk])) == [row for row in np.flatnonzero(LABELS == 5) if row != elk]
    assert set(negative[LABELS[anchor] == 0]) == set(np.flatnonzero(LABELS != 0))


def test_every_item_is_an_anchor_once_a_pass():
    anchor, positive, negative = rows_of("triplets", [7])
    assert sorted(anchor) == list(range(len(LABELS)))
    assert (LABELS[anchor] == LABELS[positive]).all()
    assert (anchor != positive).all()
    assert (LABELS[anchor] != LABELS[negative]).all()


def test_balanced_batches_have_p_classes_of_k_items():
    sampling = samplings.get("balanced")(LABELS, CLASSES, 17, per_class=5)
    counts = np.zeros(len(LABELS), int)
    for number in range(1, 51):
        batches = sampling.batches(seed=0, number=number)
        assert len(batches) == len(LABELS) // 15
        for rows in batches:
            classes, times = np.unique(LABELS[rows], return_counts=True)
            assert times.tolist() == [5, 5, 5]
            assert len(set(rows.tolist())) == 15
            assert len(classes) == 3
            counts[rows] += 1
    # Three of the five classes, drawn anew for each of 350 batches.
    assert all(within(counts[label == LABELS].sum() / 5, 350, 3 / 5) for label in (0, 1, 2, 4, 5))
    assert counts.min() > 0


@pytest.mark.parametrize("kind", samplings.names())
def test_a_pass_depends_on_seed_and_number_alone_and_has_always_as_many_batches(kind):
    sampling = samplings.get(kind)(LABELS, CLASSES, 16)
    other = samplings.get(kind)(LABELS, CLASSES, 16)
    other.batches(seed=9, number=9)

    def flat(sampling, seed, number):
        return [rows.tolist() for rows in sampling.batches(seed=seed, number=number)]

    assert flat(sampling, 1, 2) == flat(other, 1, 2)
    passes = [flat(sampling, seed, number) for seed in (1, 2) for number in (1, 2)]
    assert len({str(rows) for rows in passes}) == 4
    assert len({len(rows) for rows in passes}) == 1
    assert all(2 <= len(rows) <= 17 for rows in passes[0])
    seen = {"items": 105, "pairs": 104, "triplets": 315, "balanced": 96}[kind]
    assert sum(map(len, passes[0])) == seen


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("pairs", {}, r"2 images of every class.*dog \(1\), elk \(1\)"),
        ("triplets", {}, r"dog \(1\)"),
        ("balanced", {"per_class": 3}, r"3 images of every class.*cat \(2\), dog \(1\)"),
    ],
)
def test_classes_with_too_few_images_are_named(kind, options, words):
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2, 4, 5])
    with pytest.raises(InputError, match=words):
        samplings.get(kind)(labels, CLASSES, 32, **options)


def test_one_class_and_no_room_are_refused():
    with pytest.raises(InputError, match="2 classes; got 1"):
        samplings.get("pairs")(np.zeros(5), CLASSES, 32)
    with pytest.raises(InputError, match=r"batch of 7.*at least 8"):
        samplings.get("balanced")(LABELS, CLASSES, 7, per_class=4)
