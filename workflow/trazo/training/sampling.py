"""Which items a step learns from: samplings by name, and the schedule that cuts their passes into parts.

Every batch depends on the seed and the number of its pass alone, and a pass has always as many batches, so that an
interrupted training finds its place again by counting. What is made of a batch is in `objectives`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import torch

from trazo.errors import InputError
from trazo.registry import Registry


class Sampling(ABC):
    """Cuts a pass over the data into batches of rows.

    Parameters
    ----------
    labels
        (N,) whole numbers, the class of every row.
    classes
        Names of the classes, for messages.
    batch_size
        Images a batch, counting every image of a pair or triplet.

    Attributes
    ----------
    serves
        Names of the other samplings whose objectives can learn from its batches.
    groups
        How many images belong together: a batch holds all first ones, then all second ones, and so on.
    """

    serves: ClassVar[tuple[str, ...]] = ()
    groups: ClassVar[int] = 1

    def __init__(self, labels: np.ndarray, classes: Sequence[str], batch_size: int) -> None:
        self.labels = np.asarray(labels, dtype=np.int64)
        self.classes = classes
        self.batch_size = batch_size

    @classmethod
    def smallest_batch(cls, **options: Any) -> int:
        """Return how many images a batch needs, by the sampling's options."""
        return cls.groups

    @classmethod
    def smallest_class(cls, **options: Any) -> int:
        """Return how many images every class needs, by the sampling's options."""
        return 1

    @abstractmethod
    def batches(self, *, seed: int, number: int) -> list[torch.Tensor]:
        """Return the batches of pass `number`: (B,) int64 rows each."""


samplings: Registry[type[Sampling]] = Registry("sampling")


@samplings.register("items")
class Items(Sampling):
    """Every item once a pass, shuffled.

    A last batch of a single item joins the one before it, since batch normalisation has no variance to work with in a
    batch of one.
    """

    def batches(self, *, seed: int, number: int) -> list[torch.Tensor]:
        """As `Sampling.batches`."""
        generator = torch.Generator().manual_seed(mixed(seed, number))
        pieces = list(torch.randperm(len(self.labels), generator=generator).split(self.batch_size))
        if len(pieces) > 1 and len(pieces[-1]) == 1:
            pieces[-2:] = [torch.cat(pieces[-2:])]
        return pieces


class _ByClass(Sampling):
    """A sampling that looks for partners of the same and of other classes, all drawn at once.

    Raises
    ------
    InputError
        If there is one class only, or a class has too few images.
    """

    def __init__(self, labels: np.ndarray, classes: Sequence[str], batch_size: int, *, per_class: int = 2) -> None:
        super().__init__(labels, classes, batch_size)
        present, self._class_of, self._counts = np.unique(self.labels, return_inverse=True, return_counts=True)
        if len(present) < 2:
            raise InputError(f"pairs and triplets need images of 2 classes; got {len(present)}.")
        if len(few := present[self._counts < per_class]):
            shown = ", ".join(
                f"{classes[c]} ({n})" for c, n in zip(few[:10], self._counts[self._counts < per_class][:10])
            )
            more = f" and {len(few) - 10} more classes" if len(few) > 10 else ""
            raise InputError(
                f"pairs and triplets need {per_class} images of every class; too few of: {shown}{more}. Add images, or "
                "leave the class out."
            )
        # Rows sorted by class: row `i` of class c is the `_place[i]`-th of those from `_starts[c]`.
        self._rows = np.argsort(self._class_of, kind="stable")
        self._starts = np.cumsum(self._counts) - self._counts
        self._place = np.empty(len(self._rows), np.int64)
        self._place[self._rows] = np.arange(len(self._rows)) - np.repeat(self._starts, self._counts)

    @classmethod
    def smallest_class(cls, **options: Any) -> int:
        """As `Sampling.smallest_class`."""
        return options.get("per_class", 2)

    def _positives(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return for each row another one of its class, all equally likely."""
        kind = self._class_of[rows]
        place = (self._place[rows] + rng.integers(1, self._counts[kind])) % self._counts[kind]
        return self._rows[self._starts[kind] + place]

    def _negatives(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return for each row one of another class: classes are equally likely, and so are the rows of the class."""
        kinds = len(self._counts)
        kind = (self._class_of[rows] + rng.integers(1, kinds, len(rows))) % kinds
        return self._rows[self._starts[kind] + rng.integers(0, self._counts[kind])]

    def _cut(self, *groups: np.ndarray) -> list[torch.Tensor]:
        """Return batches of images that belong together."""
        size = max(1, self.batch_size // len(groups))
        table = torch.from_numpy(np.stack(groups))
        return [piece.flatten() for piece in table.split(size, dim=1)]


@samplings.register("pairs")
class Pairs(_ByClass):
    """Pairs of the same class or of different ones, by a fair coin each.

    A pass takes half of the items, shuffled, as first images, and so sees N images (N − 1 if N is odd). The second is
    another item of the class, or an item of another class, each other class being equally likely.
    """

    serves = ("items",)
    groups = 2

    def batches(self, *, seed: int, number: int) -> list[torch.Tensor]:
        """As `Sampling.batches`."""
        rng = _generator(seed, number)
        first = rng.permutation(len(self.labels))[: len(self.labels) // 2]
        same = rng.random(len(first)) < 0.5
        return self._cut(first, np.where(same, self._positives(first, rng), self._negatives(first, rng)))


@samplings.register("triplets")
class Triplets(_ByClass):
    """Anchor, positive and negative: every item is an anchor once a pass, which so sees 3·N images.

    The positive is another item of the anchor's class, the negative an item of another class, each other class being
    equally likely.
    """

    serves = ("items", "pairs", "balanced")
    groups = 3

    def batches(self, *, seed: int, number: int) -> list[torch.Tensor]:
        """As `Sampling.batches`."""
        rng = _generator(seed, number)
        anchors = rng.permutation(len(self.labels))
        return self._cut(anchors, self._positives(anchors, rng), self._negatives(anchors, rng))


@samplings.register("balanced")
class Balanced(_ByClass):
    """Batches of P classes with K = `per_class` items each, to be paired within the batch.

    P is the whole number of K in the batch size, at most the number of classes. A pass has the whole number of P·K in
    N of such batches, at least one: it sees N images, less a part of a batch. Classes are drawn anew for every batch;
    within a pass, a class gives its items in turn, shuffled.
    """

    serves = ("items",)

    def __init__(self, labels: np.ndarray, classes: Sequence[str], batch_size: int, *, per_class: int = 4) -> None:
        super().__init__(labels, classes, batch_size, per_class=per_class)
        self.per_class = per_class
        self.classes_a_batch = min(batch_size // per_class, len(self._counts))
        if self.classes_a_batch < 2:
            raise InputError(
                f"a batch of {batch_size} has no room for 2 classes of {per_class} images; make batch_size at least "
                f"{self.smallest_batch(per_class=per_class)}, or per_class smaller."
            )

    @classmethod
    def smallest_batch(cls, **options: Any) -> int:
        """As `Sampling.smallest_batch`."""
        return 2 * options["per_class"]

    def batches(self, *, seed: int, number: int) -> list[torch.Tensor]:
        """As `Sampling.batches`."""
        rng = _generator(seed, number)
        count = max(1, len(self.labels) // (self.classes_a_batch * self.per_class))
        chosen = rng.random((count, len(self._counts))).argsort(axis=1)[:, : self.classes_a_batch].ravel()
        # The how-manieth time in this pass that a class is chosen: its turn among those of the class.
        by_class = np.argsort(chosen, kind="stable")
        times = np.bincount(chosen, minlength=len(self._counts))
        turn = np.empty(len(chosen), np.int64)
        turn[by_class] = np.arange(len(chosen)) - np.repeat(np.cumsum(times) - times, times)
        # Rows by class, shuffled within each.
        shuffled = self._rows[np.lexsort((rng.random(len(self._rows)), self._class_of[self._rows]))]
        place = (turn[:, None] * self.per_class + np.arange(self.per_class)) % self._counts[chosen][:, None]
        rows = shuffled[self._starts[chosen][:, None] + place]
        return list(torch.from_numpy(rows.reshape(count, -1)))


def _generator(seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence((seed, number)))


@dataclass(frozen=True)
class Schedule:
    """What a stage sees, part by part.

    Without `iterations`, part e is pass e over the data. With them, the optimiser takes so many steps altogether, part
    e ends at step e · iterations / parts, rounded (halves up), and passes run on across parts.

    Attributes
    ----------
    sampling
        Cuts passes into batches.
    parts
        Number of parts: the stage's epochs.
    iterations
        Optimiser steps altogether, or None.
    seed
        Seed of every shuffle.
    """

    sampling: Sampling
    parts: int
    iterations: int | None
    seed: int

    def batches(self, part: int) -> list[torch.Tensor]:
        """Return the batches of part 1 … `parts`: (B,) int64 rows each."""
        if self.iterations is None:
            return self.sampling.batches(seed=self.seed, number=part)
        begin, end = (self._step_after(p) for p in (part - 1, part))
        number, skipped = divmod(begin, len(self.sampling.batches(seed=self.seed, number=1)))
        found: list[torch.Tensor] = []
        while len(found) < end - begin:
            number += 1
            left = end - begin - len(found)
            found += islice(self.sampling.batches(seed=self.seed, number=number), skipped, skipped + left)
            skipped = 0
        return found

    def _step_after(self, part: int) -> int:
        return (2 * part * self.iterations + self.parts) // (2 * self.parts)


def mixed(*numbers: int) -> int:
    """Return one well-mixed 63-bit seed for several numbers, so that (0, 1) and (1, 0) share nothing."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
