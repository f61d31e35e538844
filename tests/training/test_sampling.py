"""Samplings give what they promise, from seed and pass number alone."""

import numpy as np
import pytest
import torch
from trazo.training.sampling import Items, Schedule


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
