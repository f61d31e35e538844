"""Losses and miners of pytorch-metric-learning by their names there: what they take, and whether they can be used here.

Imported only by the objective that names one. How batches are sampled, and what a loss is part of, is not decided here.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from pytorch_metric_learning import distances, losses, miners, reducers, regularizers

from trazo.errors import InputError
from trazo.registry import unknown_name

# Options that are again parts of the package, by name.
_PARTS = {"distance": distances, "reducer": reducers, "embedding_regularizer": regularizers}
# What the package is given as objects, or keeps for its own statistics.
_UNSAID = {"self", "weight_init_func", "weight_regularizer", "weight_reg_weight", "collect_stats"}
_ABSTRACT = {"GenericPairLoss"}
_TRIED_CLASSES, _TRIED_EACH, _TRIED_WIDTH = 3, 4, 8


@dataclass(frozen=True)
class Borrowed:
    """A loss of the package, with the miner that chooses what it sees of a batch, if any."""

    loss: torch.nn.Module
    miner: torch.nn.Module | None

    def measure(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss () of (B, D) float embeddings with (B,) int64 labels.

        Whatever is drawn at random comes from torch's global state, which training sets by seed and epoch.

        Raises
        ------
        InputError
            If the loss or the miner cannot work with them.
        """
        try:
            mined = None if self.miner is None else self.miner(embeddings, labels)
            return self.loss(embeddings, labels, mined)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            # It is the package's own code: whatever it says of its input is the user's to read.
            raise InputError(
                f"{type(self.loss).__name__} cannot learn from one batch of embeddings and their labels, which is what "
                f"there is: {type(error).__name__}: {error}"
            ) from error

    def try_out(self) -> None:
        """Measure a small batch twice, and say what stands in the way of training with it.

        Raises
        ------
        InputError
            If the loss has parameters of its own, wants other input, gives no single number, or remembers batches; or
            if the miner chooses pairs that are none.
        """
        name = type(self.loss).__name__
        if any(True for part in (self.loss, self.miner) if part is not None for _ in part.parameters()):
            raise InputError(_learns(name))
        labels = torch.arange(_TRIED_CLASSES).repeat_interleave(_TRIED_EACH)
        found: list[float] = []
        with torch.random.fork_rng(devices=[]), _deterministic():
            for seed in (0, 1, 0):
                torch.manual_seed(seed)
                points = torch.randn(len(labels), _TRIED_WIDTH, requires_grad=True)
                loss = self.measure(points, labels)
                if not isinstance(loss, torch.Tensor) or loss.ndim:
                    raise InputError(
                        f"{name} gives no single number with this `reducer`; expected one, as MeanReducer."
                    )
                try:
                    loss.backward()
                except RuntimeError as error:
                    # The second time through a graph that a batch before was part of.
                    raise InputError(_remembers(name) if found else f"{name} has no gradient: {error}") from error
                found.append(float(loss.detach()))
            if self.miner is not None:
                _check_mined(self.miner(points, labels), labels, type(self.miner).__name__)
        if found[0] != found[-1]:
            raise InputError(_remembers(name))


@contextmanager
def _deterministic() -> Iterator[None]:
    """Insist on repeatable computation, as training does, within the block."""
    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)


def _learns(name: str) -> str:
    return (
        f"{name} has parameters of its own that would have to be learned and kept, and a checkpoint keeps the "
        "network's alone. Choose a loss without (no proxies, no class weights), or cross_entropy."
    )


def _remembers(name: str) -> str:
    return (
        f"{name} remembers batches: it makes something else of a batch that it sees again, and an interrupted training "
        "could not go on as if nothing had happened. Choose another loss."
    )


def _check_mined(mined: tuple[torch.Tensor, ...], labels: torch.Tensor, name: str) -> None:
    """Refuse a miner that does not go by the labels of a balanced batch."""
    anchors, positives, *others = mined
    first, negatives = others if len(others) == 2 else (anchors, others[0])
    if (labels[anchors] != labels[positives]).any() or (labels[first] == labels[negatives]).any():
        raise InputError(
            f"{name} takes items for pairs by their place in the batch, not by their labels; choose another."
        )


def borrow(loss: str, options: Mapping[str, Any], miner: str, miner_options: Mapping[str, Any]) -> Borrowed:
    """Return a loss with its miner, made from names and options.

    Raises
    ------
    InputError
        If a name or an option is unknown or missing, or an option has a value that cannot be used.
    """
    if not loss:
        raise InputError(f"no loss; name one after a colon, such as pml:TripletMarginLoss. {_choices(losses)}")
    wraps = _known(losses).get(loss)
    if wraps is not None and {"loss", "losses"} & set(inspect.signature(wraps).parameters):
        raise InputError(f"{loss} is made of other losses; name those themselves, several objectives are summed.")
    return Borrowed(
        _made(losses, "loss", loss, options),
        _made(miners, "miner", miner, miner_options) if miner else None,
    )


def _choices(package: ModuleType) -> str:
    return f"Choices: {', '.join(_known(package))}."


def _known(package: ModuleType) -> dict[str, type[torch.nn.Module]]:
    """Return the classes that a part of the package offers, by name; those to build on left out."""
    classes = inspect.getmembers(package, inspect.isclass)
    return {
        name: kind
        for name, kind in classes
        if issubclass(kind, torch.nn.Module) and not name.startswith("Base") and name not in _ABSTRACT
    }


def _made(package: ModuleType, kind: str, name: str, options: Mapping[str, Any]) -> torch.nn.Module:
    known = _known(package)
    if name not in known:
        raise InputError(unknown_name(kind, name, known))
    takes = _options(known[name])
    for option in options:
        if option not in takes:
            raise InputError(unknown_name(f"option of {name}", str(option), takes))
    given = {option: _part(option, value) if option in _PARTS else value for option, value in options.items()}
    missing = [option for option, parameter in takes.items() if parameter.default is parameter.empty]
    missing = [option for option in missing if option not in given]
    try:
        made = None if missing else known[name](**given)
    except Exception as error:
        if _learns_something(known[name], given, missing):
            raise InputError(_learns(name)) from error
        raise InputError(f"{name} cannot be made with options {dict(options)}: {error}") from error
    if made is None:
        several = "s" if len(missing) > 1 else ""
        needs = f"{name} needs the option{several} {' and '.join(missing)}."
        raise InputError(_learns(name) if _learns_something(known[name], given, missing) else needs)
    _check_margins(made, name, options)
    return made


def _learns_something(kind: type[torch.nn.Module], given: Mapping[str, Any], missing: list[str]) -> bool:
    """Return whether a class that could not be made would have parameters, given small numbers for what it lacks."""
    for assumed in (missing, ["num_classes", "embedding_size"]):
        try:
            return any(True for _ in kind(**{**dict.fromkeys(assumed, 2), **given}).parameters())
        except Exception:
            continue
    return False


def _options(kind: type) -> dict[str, inspect.Parameter]:
    """Return what a class takes by keyword, itself or by way of the classes it is built on."""
    found: dict[str, inspect.Parameter] = {}
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters
        for name, parameter in parameters.items():
            own = base is kind or parameter.default is not parameter.empty
            if (
                own
                and name not in _UNSAID
                and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            ):
                found.setdefault(name, parameter)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            break
    return found


def _part(option: str, written: Any) -> torch.nn.Module:
    """Return a part of the package from its name, or from {name: options}."""
    if isinstance(written, Mapping) and len(written) == 1:
        ((name, options),) = written.items()
        return _made(_PARTS[option], option, name, options or {})
    if isinstance(written, str):
        return _made(_PARTS[option], option, written, {})
    raise InputError(f"{option}: got {written!r}; expected a name, or one name with its options, such as "
                     f"{option}: {next(iter(_known(_PARTS[option])))}.")  # fmt: skip


def _check_margins(made: torch.nn.Module, name: str, options: Mapping[str, Any]) -> None:
    # A similarity may well be below zero; a distance is not.
    if getattr(getattr(made, "distance", None), "is_inverted", False):
        return
    for option, value in options.items():
        if "margin" in option and isinstance(value, int | float) and value < 0:
            raise InputError(f"{name}: option {option!r}: got {value}; expected a margin of 0 or more.")
