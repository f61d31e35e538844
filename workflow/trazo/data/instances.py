"""Which very object an image shows, and what sketches and photos have in common; names alone, no files and no pixels.

Where the names come from is decided in `trazo.data.images`; an object's name is `<class>/<what the file's name says>`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePosixPath

from trazo.errors import InputError

_MOST_NAMED = 10


def instance_names(ids: Sequence[str], kinds: Sequence[str], pattern: str) -> list[str]:
    r"""Return the names of the objects that images show.

    Parameters
    ----------
    ids
        (N,) paths of the images, folders separated by `/`.
    kinds
        (N,) their classes.
    pattern
        A regular expression that fits all of a file's name without its ending; its one group names the object.

    Returns
    -------
    list of str
        (N,) `<class>/<object>`.

    Raises
    ------
    InputError
        If a name does not fit, or the group is empty.

    Examples
    --------
    >>> instance_names(["sketch/airplane/n02691156_10151-3.png"], ["airplane"], r"(.+)-\d+")
    ['airplane/n02691156_10151']
    """
    stems = [PurePosixPath(name).stem for name in ids]
    found = [re.fullmatch(pattern, stem) for stem in stems]
    strangers = [repr(stem) for stem, match in zip(stems, found) if match is None or not match[1]]
    if strangers:
        raise InputError(
            f"instance: {pattern!r} names no object in {len(strangers):,} of {len(stems):,} file names: "
            f"{_listed(strangers)}. It has to fit all of a name without its ending, and its group must not be empty; "
            "correct it, or leave `instance` out."
        )
    return [f"{kind}/{match[1]}" for kind, match in zip(kinds, found) if match is not None]


def sketches_without_photo(photos: Iterable[str], sketches: Sequence[str]) -> list[int]:
    """Return the rows of the sketches whose object no photo shows, ascending.

    Parameters
    ----------
    photos, sketches
        Names of the objects that they show, as `instance_names` gives them.
    """
    shown = set(photos)
    return [row for row, name in enumerate(sketches) if name not in shown]


def check_photos(photos: Collection[str], sketches: Sequence[str], ids: Sequence[str] | None = None) -> None:
    """Refuse sketches whose photo is missing.

    Parameters
    ----------
    photos, sketches
        As in `sketches_without_photo`.
    ids
        Names of the sketches, for the message; the names of their objects if left out.

    Raises
    ------
    InputError
        If a sketch has no photo; up to ten are named, the others counted.
    """
    missing = sketches_without_photo(photos, sketches)
    if not missing:
        return
    named = [f"{sketches[row]!r}" if ids is None else f"{ids[row]!r} (of {sketches[row]!r})" for row in missing]
    advice = "Add the photos, or give them to this split."
    if len(missing) == len(sketches):
        example = next(iter(photos), None)
        shown = f" Photos have names such as {example!r}." if example is not None else " There are no photos."
        advice = f"Not one has; correct `instance`, or `rename` so that classes have the same names.{shown}"
    raise InputError(
        f"{len(missing):,} of {len(sketches):,} sketches have no photo of their object: {_listed(named)}. {advice}"
    )


def classes_of_one_domain(photos: Collection[str], sketches: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the classes that only photos have and those that only sketches have, both sorted."""
    return sorted(set(photos) - set(sketches)), sorted(set(sketches) - set(photos))


def check_classes(photos: Collection[str], sketches: Collection[str]) -> None:
    """Refuse classes that photos or sketches alone have.

    Parameters
    ----------
    photos, sketches
        Names of their classes.

    Raises
    ------
    InputError
        If there is such a class; up to ten are named on each side, the others counted. Names that differ only in
        capitals, blanks or punctuation are taken for one class, and the message says how to rename it.
    """
    of_photos, of_sketches = classes_of_one_domain(photos, sketches)
    if not of_photos and not of_sketches:
        return
    told = [
        f"{len(names)} {'class has' if len(names) == 1 else 'classes have'} {words}: {_listed(map(repr, names))}"
        for names, words in ((of_photos, "photos and no sketch"), (of_sketches, "sketches and no photo"))
        if names
    ]
    plain = {_plain(name): name for name in of_sketches}
    same = [f"{name}: {plain[_plain(name)]}" for name in of_photos if _plain(name) in plain]
    hint = f" Perhaps these are the same: give the photos rename: {{{_listed(same)}}}." if same else ""
    raise InputError(f"{'; '.join(told)}. List the classes that both have as `categories` of both.{hint}")


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def _listed(entries: Iterable[str]) -> str:
    entries = list(entries)
    more = f", and {len(entries) - _MOST_NAMED:,} more" if len(entries) > _MOST_NAMED else ""
    return ", ".join(entries[:_MOST_NAMED]) + more
