"""Splits: which items of a class go to which part of a dataset. Knows keys and counts, no files and no pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np

from trazo.errors import InputError


class SplitError(InputError):
    """A class with too few items for the splits that are asked of it."""


def text_keys(names: Iterable[str]) -> np.ndarray:
    """Return (n,) uint64 numbers that stand for names, whatever their order and wherever they are computed."""
    digests = (hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest() for name in names)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def split_positions(
    keys: np.ndarray, splits: Mapping[str, int | Literal["rest"]], *, seed: int, name: str
) -> dict[str, np.ndarray]:
    """Deal the items of one class out to disjoint splits.

    Items are put in an order that depends on their keys, the seed and the class' name alone, and splits take theirs
    from its front as they are declared; `rest` takes what the others leave. So another class changes nothing, a
    larger split leaves those before it as they were, and an item that is added or filtered out moves no other
    item's place in the order.

    Parameters
    ----------
    keys
        (n,) uint64 numbers that tell the items of the class apart.
    splits
        Items of every split, in the order of declaration.
    seed
        Seed of the order.
    name
        Name of the class.

    Returns
    -------
    dict
        Split to (k,) int64 positions in `keys`, ascending.

    Raises
    ------
    SplitError
        If there are fewer items than are asked for, or none for `rest`.
    """
    asked = sum(count for count in splits.values() if count != "rest")
    rest = next((split for split, count in splits.items() if count == "rest"), None)
    if asked + (rest is not None) > len(keys):
        wanted = " + ".join(f"{count} {split}" for split, count in splits.items() if count != "rest")
        needed = f"{asked} are asked for ({wanted})" if wanted else "at least 1 is asked for"
        if wanted and rest is not None:
            needed += f", and at least 1 more for {rest!r}, which takes the rest"
        raise SplitError(f"{name!r} has {len(keys)} items, and {needed}.")
    order = _shuffled(np.asarray(keys, dtype=np.uint64), seed, name)
    taken = 0
    positions = {}
    for split, count in splits.items():
        if count != "rest":
            positions[split] = np.sort(order[taken : taken + count])
            taken += count
    if rest is not None:
        positions[rest] = np.sort(order[taken:])
    return {split: positions[split] for split in splits}


def _shuffled(keys: np.ndarray, seed: int, name: str) -> np.ndarray:
    digest = hashlib.blake2b(f"split\0{seed}\0{name}".encode(), digest_size=8).digest()
    of_class = np.uint64(int.from_bytes(digest, "little"))
    # Hashing rather than a generator's permutation: an item's place must not depend on how many others there are.
    return np.argsort(_mixed(_mixed(keys) ^ of_class), kind="stable")


def _mixed(values: np.ndarray) -> np.ndarray:
    """Return the finaliser of SplitMix64 of (n,) uint64 values: one to one, and without visible pattern.

    Source: G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
