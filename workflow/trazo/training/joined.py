"""Sketches and photos of the same classes made into one set to learn from, and who its members are.

Samplings see members only: classes, domains and objects, no pixel. Which images are drawn is decided in `sampling`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trazo.errors import InputError
from trazo.models.branches import DOMAINS
from trazo.store import Images, read_images
from trazo.streams import JoinedPixels, LazyPixels, Pixels

SKETCH, PHOTO = range(len(DOMAINS))
_MOST_TOLD = 10


@dataclass(frozen=True)
class Members:
    """Who the images of a set are.

    Attributes
    ----------
    labels
        (N,) int64 positions in `classes`.
    classes
        Class names.
    domains
        (N,) uint8, 0 a sketch and 1 a photo; None where nothing says.
    instances
        (N,) int64: the same number is the same object, −1 an unknown one; None where none is known.
    ids
        (N,) names, for messages; numbers of rows stand in for none.
    """

    labels: np.ndarray
    classes: Sequence[str]
    domains: np.ndarray | None = None
    instances: np.ndarray | None = None
    ids: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def crossed(self) -> bool:
        """Whether there are both sketches and photos."""
        return self.domains is not None and len(np.unique(self.domains)) > 1

    def told(self, rows: np.ndarray) -> str:
        """Return the names of (n,) rows for a message, the first ones of many."""
        return told([self.ids[row] if len(self.ids) else f"row {row}" for row in rows])


@dataclass(frozen=True)
class DomainImages(Images):
    """Images with the domain of each.

    Attributes
    ----------
    domains
        (N,) uint8, as in `Members`.
    """

    domains: np.ndarray | None = None


def told(names: Sequence[str]) -> str:
    """Return names for a message, the first ones of many."""
    more = f" and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
    return ", ".join(names[:_MOST_TOLD]) + more


def members_of(images: Images) -> Members:
    """Return who the images are; an object is told from others by its class and its name."""
    domains = images.domains if isinstance(images, DomainImages) else None
    numbers = None if images.instances is None else _numbers(images.labels.tolist(), images.instances)
    return Members(np.asarray(images.labels, dtype=np.int64), images.classes, domains, numbers, images.ids)


def _numbers(labels: list[int], names: Sequence[str]) -> np.ndarray:
    # Names count within a class: folders of photos that are numbered from 1 each have their own "1".
    known: dict[tuple[int, str], int] = {}
    numbers = [known.setdefault(own, len(known)) if own[1] else -1 for own in zip(labels, names, strict=True)]
    return np.array(numbers, dtype=np.int64)


def of_domain(images: Images, domain: str) -> DomainImages:
    """Return images that are all sketches ("sketch") or all photos ("photo").

    Raises
    ------
    InputError
        If the domain is neither.
    """
    if domain not in DOMAINS:
        raise InputError(f"domain: got {domain!r}; expected one of {', '.join(DOMAINS)}.")
    return DomainImages(
        **{**vars(images), "domains": np.full(len(images), DOMAINS.index(domain), dtype=np.uint8)},
    )


def subset(images: Images, rows: np.ndarray) -> Images:
    """Return the (n,) rows of images, with all that is known of them."""
    changes: dict[str, Any] = {"ids": [images.ids[row] for row in rows]}
    if images.instances is not None:
        changes["instances"] = [images.instances[row] for row in rows]
    if isinstance(images, DomainImages):
        changes["domains"] = images.domains[rows]
    return replace(images, pixels=images.pixels.take(rows, axis=0), labels=images.labels[rows], **changes)


def join(sketches: Images, photos: Images, pixels: Any = None) -> DomainImages:
    """Return sketches and photos as one set: rows 0 … S − 1 are the sketches, the others the photos.

    Parameters
    ----------
    sketches, photos
        Sets of the same classes in the same order.
    pixels
        Theirs, where they are joined already; None: `join_pixels` joins them, and both copies are in memory for as long
        as the caller keeps the two sets.

    Raises
    ------
    InputError
        If their classes or sizes differ; the message says how.
    """
    _need_same_classes(sketches.classes, photos.classes)
    instances = None
    if sketches.instances is not None or photos.instances is not None:
        instances = [name for each in (sketches, photos) for name in each.instances or [""] * len(each)]
    return DomainImages(
        pixels=join_pixels([sketches.pixels, photos.pixels]) if pixels is None else pixels,
        labels=np.concatenate([sketches.labels, photos.labels]),
        ids=[*sketches.ids, *photos.ids],
        classes=sketches.classes,
        record={"sketches": sketches.record, "photos": photos.record},
        instances=instances,
        domains=np.repeat(np.array([SKETCH, PHOTO], dtype=np.uint8), [len(sketches), len(photos)]),
    )


def join_pixels(parts: list[Pixels]) -> Pixels:
    """Return the pixels of sketches and photos as one array (S + P, H, W[, 3]) uint8, in colour if either is.

    If either is streamed, what comes back is streamed.

    Grey becomes colour by repeating it three times. Heights and widths have to be the same; nothing is resized here.

    Parameters
    ----------
    parts
        Sketches' and photos' pixels, (n, H, W) or (n, H, W, 3) uint8. They are taken out of the list, so that what
        nobody else holds is freed as soon as it is copied: besides the result, as far as it is filled, no more than the
        part being copied and those that come after it.

    Raises
    ------
    InputError
        If heights or widths differ.
    """
    sides = [part.shape[1:3] for part in parts]
    if len(set(sides)) > 1:
        (tall, wide), (other_tall, other_wide) = sides
        raise InputError(
            f"the sketches are {tall}×{wide} pixels, the photos {other_tall}×{other_wide}; give both datasets the same "
            "`size`."
        )
    if any(isinstance(part, LazyPixels) for part in parts):
        return JoinedPixels(parts)
    colours = (3,) if any(part.ndim == 4 for part in parts) else ()
    joined = np.empty((sum(map(len, parts)), *sides[0], *colours), dtype=np.uint8)
    begin = 0
    while parts:
        part = parts.pop(0)
        joined[begin : begin + len(part)] = part if part.ndim == joined.ndim else part[..., None]
        begin += len(part)
    return joined


def read_set(paths: Path | str | Sequence[Path | str], domains: Sequence[str | None] = ()) -> Images:
    """Read what a stage learns from or is measured on: one `images.h5`, or two, sketches and photos, joined.

    Parameters
    ----------
    paths
        One or two files.
    domains
        The domain of each: "sketch", "photo", or None if nothing says; left out: nothing says of any.

    Raises
    ------
    InputError
        If there are two and they are not sketches and photos of the same classes and size, or a file cannot be read.
    """
    files = [paths] if isinstance(paths, Path | str) else list(paths)
    said = list(domains) or [None] * len(files)
    if len(files) == len(said) == 1:
        images = read_images(files[0])
        return images if said[0] is None else of_domain(images, said[0])
    if sorted(map(str, said)) != sorted(DOMAINS) or len(files) != len(DOMAINS):
        raise InputError(
            f"got {len(files)} sets of images of domains {', '.join(map(str, said))}; expected one, or two, one of "
            "sketches and one of photos: give each dataset its `domain`."
        )
    read = [read_images(files[said.index(domain)]) for domain in DOMAINS]
    pixels = [each.pixels for each in read]
    # Without their pixels, which only the list holds now and gives up one after the other.
    sketches, photos = (replace(each, pixels=np.empty(0, np.uint8)) for each in read)
    del read
    return join(sketches, photos, join_pixels(pixels))


def _need_same_classes(sketches: Sequence[str], photos: Sequence[str]) -> None:
    if list(sketches) == list(photos):
        return
    sides = {
        "sketches": [c for c in sketches if c not in set(photos)],
        "photos": [c for c in photos if c not in set(sketches)],
    }
    lone = "; ".join(f"only the {side} have {told(names)}" for side, names in sides.items() if names)
    if not lone:
        place = next(i for i, (ours, theirs) in enumerate(zip(sketches, photos)) if ours != theirs)
        lone = f"class {place} of the sketches is {sketches[place]}, of the photos {photos[place]}"
    raise InputError(f"sketches and photos differ in their classes: {lone}. Give both the same classes in one order.")
