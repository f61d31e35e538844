"""Registries by name: how architectures, objectives, reducers, distances, metrics and layouts are found.

A part registers itself where it is defined; nothing else lists it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from trazo.errors import InputError

T = TypeVar("T")
Options = TypeVar("Options", bound=BaseModel)


def nearest_names(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` of the `known` names that look most like `name`, best first."""
    near = difflib.get_close_matches(str(name), [str(k) for k in known], n=3 * count, cutoff=0.5)

    def unlikeness(other: str) -> tuple[float, int]:
        # Letters that changed places count for little: of equally like names, the one as long is meant.
        return -difflib.SequenceMatcher(None, other, str(name)).ratio(), abs(len(other) - len(str(name)))

    return sorted(near, key=unlikeness)[:count]


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence that says `name` is no known `kind`, with the nearest names and the choices."""
    known = sorted(str(k) for k in known)
    near = nearest_names(name, known)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    choices = ", ".join(known[:40]) + (f", … ({len(known)} in all)" if len(known) > 40 else "")
    return f"unknown {kind} {name!r}.{hint} Choices: {choices or 'none'}."


def checked_options(name: str, kind: type[Options], given: Mapping[str, Any]) -> Options:
    """Return the options of the part `name`, checked.

    Raises
    ------
    InputError
        If an option is unknown or missing, or has a wrong value.
    """
    for key in given:
        if key not in kind.model_fields:
            raise InputError(f"{name}: {unknown_name('option', str(key), kind.model_fields)}")
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "value_error":
            raise InputError(f"{name}: {first['ctx']['error']}") from error
        option = ".".join(str(step) for step in first["loc"])
        if first["type"] == "missing":
            raise InputError(f"{name}: option {option!r} is required, as in {{{name}: {{{option}: 32}}}}.") from error
        raise InputError(f"{name}: option {option!r}: got {first['input']!r}; {first['msg']}.") from error


class Registry(Generic[T]):
    """A mapping from names to parts of one kind.

    Parameters
    ----------
    kind
        What the parts are, as a user would say it ("distance"); used in error messages.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers its argument under `name`; a name is given out once."""

        def keep(part: T) -> T:
            if name in self._parts:
                raise InputError(f"{self.kind} {name!r} is registered twice; choose another name.")
            self._parts[name] = part
            return part

        return keep

    def get(self, name: str) -> T:
        """Return the part registered under `name`.

        Raises
        ------
        InputError
            If there is none; the message names the nearest known names.
        """
        if name not in self._parts:
            raise InputError(unknown_name(self.kind, name, self._parts))
        return self._parts[name]

    def names(self) -> list[str]:
        """Return the registered names, sorted."""
        return sorted(self._parts)
