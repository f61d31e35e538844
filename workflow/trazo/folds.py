"""Which items of a gallery are searched in which fold, and on which of the others a reducer is fitted.

Pure functions of labels and ids: the same items fall into the same folds wherever they stand in a file. What is fitted
and searched then is in `reducers.codes` and `retrieval.gallery`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b

import numpy as np

from trazo.errors import InputError

_MOST_TOLD = 5


def fold_numbers(
    labels: np.ndarray, ids: Sequence[str], folds: int, seed: int = 0, *, classes: Sequence[str]
) -> np.ndarray:
    """Return the fold of every item, (N,) int64 from 1 to `folds`.

    Items go round the folds class by class, within a class in the order of hashes of their ids: of every class, and of
    all, the folds hold the same number of items to within one. Neither the order of the items decides nor that of the
    classes.

    Parameters
    ----------
    labels : (N,) integers
        Classes of the items, as positions in `classes`.
    ids
        (N,) names of the items; those of one name stand in the order they have.
    folds
        How many, from 2 up.
    seed
        Another seed is another order of the ids.
    classes
        Names of the classes.

    Raises
    ------
    InputError
        If a class has fewer items than there are folds.

    References
    ----------
    As `sklearn.model_selection.StratifiedKFold` with `shuffle`, but for the shuffle: R. Kohavi, "A study of
    cross-validation and bootstrap for accuracy estimation and model selection", IJCAI 1995.
    """
    labels = np.asarray(labels)
    if folds < 2:
        raise InputError(f"{folds} folds leave nothing to fit on; expected 2 or more.")
    if len(labels) != len(ids):
        raise InputError(f"got {len(labels)} labels of {len(ids)} items; expected one of each.")
    counts = np.bincount(labels, minlength=len(classes))
    few = [f"{name} ({count})" for name, count in zip(classes, counts.tolist(), strict=True) if 0 < count < folds]
    if few:
        raise InputError(too_small(few, folds))
    place = np.empty(len(classes), np.int64)
    place[sorted(range(len(classes)), key=lambda label: str(classes[label]))] = np.arange(len(classes))
    order = np.lexsort((_hashed(ids, f"fold {seed}"), place[labels]))
    numbers = np.empty(len(labels), np.int64)
    numbers[order] = np.arange(len(labels)) % folds + 1
    return numbers


def too_small(few: Sequence[str], folds: int) -> str:
    """Return the sentence on classes, named with their sizes, that have fewer items than there are folds."""
    more = f" and {len(few) - _MOST_TOLD} more" if len(few) > _MOST_TOLD else ""
    return (
        f"{folds} folds need {folds} items of every class, and the gallery has too few of "
        f"{', '.join(few[:_MOST_TOLD])}{more}; ask for fewer folds, add items, or leave classes out."
    )


def searched_rows(labels: np.ndarray, ids: Sequence[str], folds: int, *, classes: Sequence[str]) -> list[np.ndarray]:
    """Return the positions of the items that are searched in each fold, ascending; without folds all of them, once.

    Raises
    ------
    InputError
        As `fold_numbers`.
    """
    if not folds:
        return [np.arange(len(labels))]
    numbers = fold_numbers(labels, ids, folds, classes=classes)
    return [np.flatnonzero(numbers == number) for number in range(1, folds + 1)]


def drawn_rows(ids: Sequence[str], share: float, seed: int = 0) -> np.ndarray:
    """Return the positions of a share of the items, ascending: drawn by hashes of their ids, whatever their class.

    A smaller share is a part of a larger one.

    Parameters
    ----------
    ids
        (N,) names of the items.
    share
        Above 0, up to 1.
    """
    if share >= 1:
        return np.arange(len(ids))
    order = np.argsort(_hashed(ids, f"share {seed}"), kind="stable")
    return np.sort(order[: drawn_count(len(ids), share)])


def drawn_count(items: int, share: float) -> int:
    """Return how many of some items a share of them is: rounded, one at least."""
    return items if share >= 1 else max(1, round(share * items))


def fitted_count(items: int, folds: int) -> int:
    """Return how many of a gallery's items a reducer is fitted on at least: all but the largest fold's."""
    return items - -(-items // folds) if folds else items


def searched_count(items: int, folds: int) -> int:
    """Return how many of a gallery's items are searched at once at least: the smallest fold's."""
    return items // folds if folds else items


def check_fitted(check: Callable[[int, int], None], items: int, fitted: int, width: int) -> None:
    """Refuse what does not fit the part of a gallery that it is fitted on.

    Parameters
    ----------
    check
        `Reducer.check` of one with its options: of so many items of so many values.
    items, fitted, width
        How many items the gallery has, how many of them are fitted on, and of how many values.

    Raises
    ------
    InputError
        As `check`; if it would fit all items, the message says how many are left of them.
    """
    try:
        check(fitted, width)
    except InputError as error:
        check(items, width)
        raise InputError(
            f"{error} Folds and `share` leave {fitted} of the gallery's {items} items to fit on."
        ) from error


def _hashed(ids: Sequence[str], key: str) -> np.ndarray:
    """Return (N,) uint64 hashes of ids."""
    digests = (blake2b(str(name).encode(), digest_size=8, key=key.encode()).digest() for name in ids)
    return np.frombuffer(b"".join(digests), dtype="<u8")
