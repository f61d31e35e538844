"""Which items a step learns from: samplings by name, and the schedule that cuts their passes into parts.

Every batch depends on the seed and the number of its pass alone, and a pass has always as many batches, so that an
interrupted training finds its place again by counting. What is made of a batch is in `objectives`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from trazo.errors import InputError
from trazo.registry import Registry
from trazo.training.joined import PHOTO, SKETCH, Members, told


class Sampling(ABC):
    """Cuts a pass over the data into batches of rows.

    Parameters
    ----------
    members
        Who the N rows are: classes, and where known domains and objects.
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

    def __init__(self, members: Members, batch_size: int) -> None:
        self.members = members
        self.labels = np.asarray(members.labels, dtype=np.int64)
        self.batch_size = batch_size

    @classmethod
    def smallest_batch(cls, **options: Any) -> int:
        """Return how many images a batch needs, by the sampling's options."""
        return cls.groups

    @classmethod
    def smallest_class(cls, **options: Any) -> int:
        """Return how many images every class needs, by the sampling's options."""
        return 1

    @classmethod
    def smallest_photos(cls, **options: Any) -> int | None:
        """Return how many photos every class needs beside sketches; None: both cannot be sampled together."""
        return 0

    @classmethod
    def need_able(cls, members: Members) -> None:
        """Raise InputError if what the sampling is for cannot learn from such members, however they are sampled."""
        if members.crossed and cls.smallest_photos() is None:
            raise InputError(
                "pairs chosen within a batch go by class alone, whether sketch or photo; for sketches and photos use "
                "`triplet` with mining: none, or `contrastive`."
            )

    @abstractmethod
    def batches(self, *, seed: int, number: int) -> list[torch.Tensor]:
        """Return the batches of pass `number`: (B,) int64 rows each."""


samplings: Registry[type[Sampling]] = Registry("sampling")


@samplings.register("items")
class Items(Sampling):
    """Every item once a pass, shuffled, sketches and photos together.

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

    Of sketches and photos, first images are sketches and their partners photos.

    Raises
    ------
    InputError
        If there is one class only, or a class has too few images.
    """

    def __init__(self, members: Members, batch_size: int, *, per_class: int = 2) -> None:
        super().__init__(members, batch_size)
        present, self._class_of = np.unique(self.labels, return_inverse=True)
        if len(present) < 2:
            raise InputError(f"pairs and triplets need images of 2 classes; got {len(present)}.")
        everyone = np.arange(len(self.labels))
        self._first = everyone[members.domains == SKETCH] if members.crossed else everyone
        partners = everyone[members.domains == PHOTO] if members.crossed else everyone
        self._counts = np.bincount(self._class_of[partners], minlength=len(present))
        needed, of_what = (1, "a photo") if members.crossed else (per_class, f"{per_class} images")
        if len(few := np.flatnonzero(self._counts < needed)):
            named = told([f"{members.classes[present[kind]]} ({self._counts[kind]})" for kind in few])
            raise InputError(
                f"pairs and triplets need {of_what} of every class; too few of: {named}. Add images, or leave the "
                "class out."
            )
        # Partners sorted by class: row `i` of class c is the `_place[i]`-th of those from `_starts[c]`.
        self._rows = partners[np.argsort(self._class_of[partners], kind="stable")]
        self._starts = np.cumsum(self._counts) - self._counts
        self._place = np.zeros(len(self.labels), np.int64)
        self._place[self._rows] = np.arange(len(self._rows)) - np.repeat(self._starts, self._counts)

    @classmethod
    def smallest_class(cls, **options: Any) -> int:
        """As `Sampling.smallest_class`."""
        return options.get("per_class", 2)

    @classmethod
    def smallest_photos(cls, **options: Any) -> int | None:
        """As `Sampling.smallest_photos`."""
        return 1

    def _anchors(self, rng: np.random.Generator) -> np.ndarray:
        """Return the first images of a pass, shuffled: every image, or every sketch where partners are photos."""
        return self._first[rng.permutation(len(self._first))]

    def _positives(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return for each row another one of its class, all equally likely."""
        kind = self._class_of[rows]
        if self.members.crossed:
            return self._rows[self._starts[kind] + rng.integers(0, self._counts[kind])]
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
        pieces = list(torch.from_numpy(np.stack(groups)).split(size, dim=1))
        if len(pieces) > 1 and pieces[-1].shape[1] == 1:
            # One image of a branch alone has no variance to normalise with, as in `Items`.
            pieces[-2:] = [torch.cat(pieces[-2:], dim=1)]
        return [piece.flatten() for piece in pieces]


@samplings.register("pairs")
class Pairs(_ByClass):
    """Pairs of the same class or of different ones, by a fair coin each.

    A pass takes half of the items, shuffled, as first images, and so sees N images (N − 1 if N is odd). The second is
    another item of the class, or an item of another class, each other class being equally likely.

    Of S sketches and photos, a pass takes every sketch as a first image, and so sees 2·S images; the second is a photo.
    """

    serves = ("items",)
    groups = 2

    def batches(self, *, seed: int, number: int) -> list[torch.Tensor]:
        """As `Sampling.batches`."""
        rng = _generator(seed, number)
        first = self._anchors(rng)
        if not self.members.crossed:
            first = first[: len(first) // 2]
        same = rng.random(len(first)) < 0.5
        return self._cut(first, np.where(same, self._positives(first, rng), self._negatives(first, rng)))


@samplings.register("triplets")
class Triplets(_ByClass):
    """Anchor, positive and negative: every item is an anchor once a pass, which so sees 3·N images.

    The positive is another item of the anchor's class, the negative an item of another class, each other class being
    equally likely.

    Of S sketches and photos, every sketch is an anchor once a pass, which so sees 3·S images; positives and negatives
    are photos (study `sbir`, its stage 2). With `draw: instances` the positive is the very photo that the sketch was
    drawn from, one of them if there are several, and the negative by a fair coin another photo of the class or a photo
    of another class (its stage 3). A photo of no known object is another one.

    Raises
    ------
    InputError
        If `draw: instances` is asked for and there are no sketches and photos whose objects are known, if a sketch has
        no photo, or if its class has no other.
    """

    serves = ("items", "pairs", "balanced")
    groups = 3

    def __init__(self, members: Members, batch_size: int, *, draw: Literal["classes", "instances"] = "classes") -> None:
        super().__init__(members, batch_size)
        self.draw = draw
        if draw == "instances":
            self._find_own_photos()

    @classmethod
    def smallest_photos(cls, **options: Any) -> int | None:
        """As `Sampling.smallest_photos`."""
        return 2 if options.get("draw") == "instances" else 1

    def batches(self, *, seed: int, number: int) -> list[torch.Tensor]:
        """As `Sampling.batches`."""
        rng = _generator(seed, number)
        anchors = self._anchors(rng)
        if self.draw == "classes":
            return self._cut(anchors, self._positives(anchors, rng), self._negatives(anchors, rng))
        same_class = rng.random(len(anchors)) < 0.5
        negatives = np.where(same_class, self._other_photos(anchors, rng), self._negatives(anchors, rng))
        return self._cut(anchors, self._own_photos(anchors, rng), negatives)

    def _find_own_photos(self) -> None:
        members, sketches = self.members, self._first
        if not members.crossed or members.instances is None:
            raise InputError(
                "draw: instances pairs each sketch with the very photo that it was drawn from: it needs sketches and "
                "photos, and both datasets' `instance`. Give them, or use draw: classes."
            )
        # One number for class and object, unknown objects first; photos sorted by it are sorted by class, too.
        keys = self._class_of * (members.instances.max() + 2) + members.instances + 1
        self._by_object = self._rows[np.argsort(keys[self._rows], kind="stable")]
        of_photos = keys[self._by_object]
        # Where a sketch's own photos begin there, and how many they are.
        self._own_begin = np.searchsorted(of_photos, keys, side="left")
        self._own_count = np.searchsorted(of_photos, keys, side="right") - self._own_begin
        lost = sketches[(self._own_count[sketches] == 0) | (members.instances[sketches] < 0)]
        if len(lost):
            raise InputError(
                f"draw: instances: {len(lost)} of {len(sketches)} sketches have no photo that they were drawn from: "
                f"{members.told(lost)}. Add these photos, leave these sketches out, or use draw: classes."
            )
        lone = sketches[self._own_count[sketches] == self._counts[self._class_of[sketches]]]
        if len(lone):
            named = told([members.classes[label] for label in np.unique(self.labels[lone])])
            raise InputError(
                f"draw: instances needs photos of 2 objects of every class; of one object are those of: {named}. "
                "Add photos, leave these classes out, or use draw: classes."
            )

    def _own_photos(self, sketches: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return for each sketch a photo of its object."""
        return self._by_object[self._own_begin[sketches] + rng.integers(0, self._own_count[sketches])]

    def _other_photos(self, sketches: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return for each sketch a photo of its class that is of another object, all equally likely."""
        kind, own = self._class_of[sketches], self._own_count[sketches]
        beyond = own + rng.integers(0, self._counts[kind] - own)
        place = (self._own_begin[sketches] - self._starts[kind] + beyond) % self._counts[kind]
        return self._by_object[self._starts[kind] + place]


@samplings.register("balanced")
class Balanced(_ByClass):
    """Batches of P classes with K = `per_class` items each, to be paired within the batch.

    P is the whole number of K in the batch size, at most the number of classes. A pass has the whole number of P·K in
    N of such batches, at least one: it sees N images, less a part of a batch. Classes are drawn anew for every batch;
    within a pass, a class gives its items in turn, shuffled.

    Raises
    ------
    InputError
        Of sketches and photos: objectives that pair within a batch go by classes alone, and would pair sketches with
        sketches and photos with photos.
    """

    serves = ("items",)

    def __init__(self, members: Members, batch_size: int, *, per_class: int = 4) -> None:
        self.need_able(members)
        super().__init__(members, batch_size, per_class=per_class)
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

    @classmethod
    def smallest_photos(cls, **options: Any) -> int | None:
        """As `Sampling.smallest_photos`."""
        return None

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
