"""The contract of a reducer (scikit-learn's fit and transform), reducers by name, and a choice as a study writes it.

Every module beside this one is read, so a new file is all that a new reducer needs; light to import, as each of them
must be: the process that plans a run checks names here. What is done with artifacts is in `codes`.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict

import trazo.reducers
from trazo.config import Written, part_label
from trazo.errors import InputError
from trazo.registry import Registry, checked_options, unknown_name

if TYPE_CHECKING:
    import numpy as np

# What a study calls features as they are.
NONE = "none"


class ReducerOptions(BaseModel):
    """Options of a reducer: a subclass per reducer, unknown keys refused.

    One called `size`, the number of values of a code, stands in a column of its own in metrics and tables.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


class Reducer(ABC):
    """Makes features shorter: made with its options, fitted once, then applied to anything of the same width.

    The same features, options and number of threads give the same codes.

    Attributes
    ----------
    options_type
        The class of its options.
    """

    options_type: ClassVar[type[ReducerOptions]] = ReducerOptions

    def __init__(self, options: ReducerOptions) -> None:
        self.options = options

    @abstractmethod
    def width(self, width: int) -> int:
        """Return how many values (or bytes of bits) a code of a feature of `width` values has."""

    @abstractmethod
    def check(self, items: int, width: int) -> None:
        """Refuse options that do not fit features of `items` items of `width` values each.

        Raises
        ------
        InputError
            If they do not fit; the message says what would.
        """

    @abstractmethod
    def load(self) -> None:
        """Import and compile what fitting needs, once a process, so that it is not timed as fitting."""

    @abstractmethod
    def fit(self, values: np.ndarray) -> Reducer:
        """Learn from (N, D) float32 features; return itself.

        Raises
        ------
        InputError
            If the options do not fit the features, or nothing can be learned from them.
        """

    @abstractmethod
    def transform(self, values: np.ndarray) -> np.ndarray:
        """Return the codes of (M, D) float32 features: (M, d) float32 numbers or (M, bytes) uint8 packed bits."""

    @abstractmethod
    def memory_bytes(self) -> int:
        """Return the size of what was learned: what a searcher holds beside the codes, to reduce its queries."""

    def facts(self) -> dict[str, float]:
        """Return what fitting found, for the record of the codes."""
        return {}


reducers: Registry[type[Reducer]] = Registry("reducer")


def load_reducers() -> None:
    """Import every module of `trazo.reducers`, so that all reducers are registered."""
    for module in pkgutil.iter_modules(trazo.reducers.__path__):
        importlib.import_module(f"trazo.reducers.{module.name}")


@dataclass(frozen=True)
class ReducerChoice:
    """A reducer as a study names it.

    Attributes
    ----------
    name
        Its name in the registry.
    options
        All its options, checked.
    label
        What paths call it, options and all (`config.part_label`).
    method
        What metrics and tables call it: the label without the size.
    """

    name: str
    options: ReducerOptions
    label: str
    method: str

    @property
    def kind(self) -> type[Reducer]:
        """The reducer's class."""
        return reducers.get(self.name)

    def make(self) -> Reducer:
        """Return the reducer, not fitted yet."""
        return self.kind(self.options)


def reducer_choice(written: Written) -> ReducerChoice | None:
    """Return a reducer from a name, or from {name: options}; None for `none`.

    Raises
    ------
    InputError
        If the name or an option is unknown, or an option is missing or has a wrong value.
    """
    if isinstance(written, str):
        name, given = written, {}
    elif len(written) == 1:
        ((name, given),) = written.items()
    else:
        raise InputError(
            f"a reducer is a name, or one name with its options ({{pca: {{size: 32}}}}); got {dict(written)}."
        )
    given = dict(given or {})
    load_reducers()
    if name == NONE:
        if given:
            raise InputError(f"{NONE} takes no options, got {', '.join(given)}.")
        return None
    if name not in reducers.names():
        raise InputError(unknown_name("reducer", name, [NONE, *reducers.names()]))
    options = checked_options(name, reducers.get(name).options_type, given)
    return ReducerChoice(name, options, part_label(written), part_label(written, without="size"))
