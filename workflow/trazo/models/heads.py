"""Heads by name: a layer before the classifier whose output is a code, so that a network learns short features.

Light to import, as the process that plans a run asks how large codes are: torch is loaded where a layer is made. What
heads are trained by is decided in `training.objectives`, what is done with codes in `features`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from trazo.errors import InputError
from trazo.registry import Registry, checked_options
from trazo.sizes import HeadChoice

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

_BYTE = 8


class Head(BaseModel):
    """A fully-connected layer of so many units, with its options: a subclass per head, unknown options refused.

    Attributes
    ----------
    threshold
        What an output has to be above to be a one; None where the outputs themselves are the code.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    threshold: ClassVar[float | None] = None

    @property
    def units(self) -> int:
        """How many values the layer gives."""
        raise NotImplementedError

    def activation(self) -> nn.Module | None:
        """Return what follows the linear layer, None if nothing does."""
        return None

    def layer(self, features: int) -> nn.Module:
        """Return the stage `code`: (B, …) of `features` values an image to (B, units); torch's own initial weights."""
        from torch import nn

        parts = {"flatten": nn.Flatten(), "linear": nn.Linear(features, self.units)}
        after = self.activation()
        return nn.Sequential(OrderedDict(parts if after is None else {**parts, "activation": after}))

    def packed(self, values: np.ndarray) -> np.ndarray:
        """Return (N, units/8) uint8 for (N, units) float outputs: of every eight the first is the highest bit."""
        import numpy as np

        return np.packbits(values > self.threshold, axis=1)


heads: Registry[type[Head]] = Registry("head")


@heads.register("crs")
class SimpleReduction(Head):
    """Simple reduction layer (CRS): a linear layer of `size` units, whose outputs are the code.

    Study `sbir`, section 3.3.2. It is trained on what stage 3 of the study minimises, with the code for the embedding.
    """

    size: int = Field(ge=1, strict=True, description="values of a code")

    @property
    def units(self) -> int:
        """As `Head.units`."""
        return self.size


class _Binary(Head):
    """A head whose outputs are cut to one bit each."""

    threshold = 0.0

    bits: int = Field(ge=_BYTE, strict=True, description="bits of a code, a multiple of 8")

    @field_validator("bits")
    @classmethod
    def _whole_bytes(cls, bits: int) -> int:
        if bits % _BYTE:
            below = bits // _BYTE * _BYTE
            raise ValueError(
                f"codes of {bits} bits do not fill whole bytes; expected a multiple of {_BYTE}, such as {below} or "
                f"{below + _BYTE}"
            )
        return bits

    @property
    def units(self) -> int:
        """As `Head.units`."""
        return self.bits


@heads.register("cbs")
class SigmoidBits(_Binary):
    """Binary sigmoid layer (CBS): a linear layer of `bits` units and a sigmoid; bits are outputs above ½.

    Study `sbir`, section 3.3.4. It is trained as `crs` is.
    """

    threshold = 0.5

    def activation(self) -> nn.Module:
        """As `Head.activation`."""
        from torch import nn

        return nn.Sigmoid()


@heads.register("dsh")
class SupervisedHash(_Binary):
    """Deep supervised hashing: a linear layer of `bits` units; bits are their signs (above 0: a one).

    Study `sbir`, section 3.3.5. It is for the objective `dsh`, which draws the outputs to −1 and 1.
    """


@heads.register("dtsh")
class TripletSupervisedHash(_Binary):
    """Deep triplet supervised hashing: a linear layer of `bits` units; bits are their signs (above 0: a one).

    Study `sbir`, section 3.3.6. It is for the objective `dtsh`, which draws the outputs to −1 and 1.
    """


# A head as a study has it: a name with its options.
WrittenHead = Mapping[str, Mapping[str, Any] | None]


def head_of(written: str | WrittenHead) -> Head:
    """Return a head from {name: options}, its options checked.

    Raises
    ------
    InputError
        If there is not one name, or the name or an option is unknown, missing or has a value that cannot be used.
    """
    return _named(written)[1]


def head_choice(written: str | WrittenHead) -> HeadChoice:
    """Return what planning has to know of a head; raises as `head_of`."""
    name, head = _named(written)
    return HeadChoice(name, head.threshold is not None, head.units)


def _named(written: str | WrittenHead) -> tuple[str, Head]:
    if isinstance(written, str):
        written = {written: {}}
    if len(written) != 1:
        raise InputError(f"a head is one name with its options, as in {{cbs: {{bits: 128}}}}; got {dict(written)}.")
    ((name, given),) = written.items()
    return name, checked_options(name, heads.get(name), given or {})
