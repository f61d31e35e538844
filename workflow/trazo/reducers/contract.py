"""The contract of a reducer (scikit-learn's fit and transform), reducers by name, and a choice as a study writes it.

Every module beside this one is read, so a new file is all that a new reducer needs; light to import, as each of them
must be: the process that plans a run checks names here. What is done with artifacts is in `codes`.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

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

    One called `size`, the number of values of a code, stands in a column of its own in metrics and tables. No option
    is a list: a list of values in a study stands for a reducer of each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(
        1.0, gt=0, le=1, description="part of the items it may see that it is fitted on; drawn before it sees them"
    )


class Reducer(ABC):
    """Makes features shorter: made with its options, fitted once, then applied to anything of the same width.

    The same features, options and number of threads give the same codes.

    Attributes
    ----------
    options_type
        The class of its options.
    needs_trust
        Whether reading it from a file may run code that the file holds (pickle), so that the reader has to ask for it.
    """

    options_type: ClassVar[type[ReducerOptions]] = ReducerOptions
    needs_trust: ClassVar[bool] = False

    def __init__(self, options: ReducerOptions) -> None:
        self.options = options

    @property
    def name(self) -> str:
        """The name under which it is registered."""
        return next(name for name in reducers.names() if reducers.get(name) is type(self))

    @abstractmethod
    def width(self, width: int) -> int:
        """Return how many values (or bytes of bits) `transform` gives for a feature of `width` values."""

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

    @classmethod
    def fit_several(cls, options: Sequence[Any], values: np.ndarray) -> list[Reducer]:
        """Return a fitted reducer for each of `options`, in their order: each as if fitted by itself.

        Reducers that share work between sizes or other options override this.

        Parameters
        ----------
        options
            Of `options_type`.
        values : (N, D) float32 features

        Raises
        ------
        InputError
            As `fit`.
        """
        return [cls(one).fit(values) for one in options]

    @abstractmethod
    def transform(self, values: np.ndarray) -> np.ndarray:
        """Return the codes of (M, D) float32 features: (M, d) float32 numbers or (M, bytes) uint8 packed bits."""

    def transform_queries(self, values: np.ndarray) -> np.ndarray:
        """Return what stands for (M, D) float32 features where they are queries: by default their codes."""
        return self.transform(values)

    def code_bytes(self, items: int, width: int) -> int:
        """Return how many bytes a searcher holds for the codes of `items` features of `width` values.

        By default those of float32 numbers.
        """
        return 4 * items * self.width(width)

    @abstractmethod
    def memory_bytes(self) -> int:
        """Return the size of what was learned: what a searcher holds beside the codes, to reduce its queries."""

    def facts(self) -> dict[str, float]:
        """Return what fitting found, for the record of the codes."""
        return {}

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that was learned, as arrays by name: what a saved reducer holds beside its options."""

    @abstractmethod
    def restore(self, arrays: Mapping[str, np.ndarray]) -> Reducer:
        """Take over what another one of the same options learned, as its `arrays` gave it; return itself.

        Raises
        ------
        InputError
            If arrays are missing, or of other shapes or types than `arrays` gives.
        """

    def save(self, path: Path | str, record: dict[str, Any] | None = None) -> None:
        """Write the fitted reducer to an HDF5 file, whole or not at all; `read_reducer` reads it.

        Parameters
        ----------
        path
            Where to.
        record
            How it was made (`provenance.describe`).
        """
        from trazo.store import FittedReducer, write_fitted

        options = self.options.model_dump(mode="json")
        write_fitted(path, FittedReducer(self.name, options, self.arrays(), record or {}))

    def need_learnable(self, values: np.ndarray) -> None:
        """Refuse (N, D) features that do not fit the options, are no numbers, or are all the same.

        Raises
        ------
        InputError
            If they cannot be learned from.
        """
        self.check(*values.shape)
        self.need_numbers(values, values.shape[1])
        if (values == values[:1]).all():
            raise InputError(
                f"{self.name}: the features of all {len(values)} items are the same, so that there is no direction in "
                "which they differ; look at what made them."
            )

    def need_numbers(self, values: np.ndarray, width: int) -> None:
        """Refuse (M, D) features of another width than `width`, or that are no finite numbers.

        Raises
        ------
        InputError
            If they cannot be computed with.
        """
        import numpy as np

        if values.ndim != 2 or values.shape[1] != width:
            raise InputError(f"{self.name}: got features of shape {values.shape}, expected (items, {width}).")
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            raise InputError(
                f"{self.name}: {len(bad)} of {len(values)} features hold values that are no finite numbers, the first "
                f"in row {bad[0]}; look at what made them."
            )


def saved_arrays(
    arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int | str, ...]]
) -> dict[str, np.ndarray]:
    """Return saved arrays of floats by name, checked: a letter in `shapes` stands for one and the same length.

    Raises
    ------
    InputError
        If one is missing, has another shape, is not of floats, or holds what is no number.
    """
    import numpy as np

    lengths: dict[str, int] = {}
    for name, shape in shapes.items():
        if name not in arrays:
            raise InputError(f"there is no array {name!r}, only {', '.join(sorted(arrays)) or 'none'}")
        found = arrays[name]
        if found.dtype.kind != "f" or found.ndim != len(shape) or not np.isfinite(found).all():
            raise InputError(f"array {name!r} is not what was saved: {found.ndim} dimensions of {found.dtype}")
        for length, expected in zip(found.shape, shape, strict=True):
            need = lengths.setdefault(expected, length) if isinstance(expected, str) else expected
            if length != need:
                raise InputError(f"array {name!r} has shape {found.shape}, and the others and its options fit {shape}")
    return {name: arrays[name] for name in shapes}


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


def read_reducer(path: Path | str, *, trust: bool = False) -> Reducer:
    """Read a fitted reducer that `Reducer.save` wrote.

    Most are arrays and can be read from anyone. One that `needs_trust` may run code that its file holds, and is read
    only where that is asked for.

    Parameters
    ----------
    path
        The file.
    trust
        Read it even so.

    Raises
    ------
    ArtifactError
        If it is missing, damaged or something else.
    InputError
        If it is of an unknown reducer, or one to be trusted that is not.
    """
    from trazo.store import ArtifactError, read_fitted

    saved = read_fitted(path)
    load_reducers()
    if saved.name not in reducers.names():
        raise InputError(f"{path}: {unknown_name('reducer', saved.name, reducers.names())}")
    kind = reducers.get(saved.name)
    if kind.needs_trust and not trust:
        raise InputError(
            f"{path} holds {saved.name}, which is saved by pickle: reading it runs whatever code the file holds. If "
            "you made it, or know who did, read it with trust=True; else fit it again."
        )
    try:
        return kind(checked_options(saved.name, kind.options_type, saved.options)).restore(saved.arrays)
    except InputError as error:
        raise ArtifactError(f"{path} is damaged ({error}); delete it and run again.") from error
