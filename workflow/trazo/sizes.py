"""How large codes are, as metrics and tables tell it: floats and bits compared at equal bytes.

Light to import. What makes codes is in `models.heads` (learned) and `reducers` (fitted).
"""

from __future__ import annotations

from dataclasses import dataclass

FLOAT_BITS = 32
# The stage that a head puts before the classifier, and so the feature of every model with one.
CODE = "code"


def equal_floats(bits: int) -> int | float:
    """Return how many float32 values take as many bytes as a code of `bits` bits; a whole number where it is one.

    Study `sbir`, section 3.5: 2,048 bits are compared with 64 floats. What metrics and tables call `size`.
    """
    return bits // FLOAT_BITS if bits % FLOAT_BITS == 0 else bits / FLOAT_BITS


@dataclass(frozen=True)
class HeadChoice:
    """What planning and reports have to know of a model's head.

    Attributes
    ----------
    name
        Its name; what metrics and tables call the reducer.
    binary
        Whether its codes are packed bits, which `hamming` compares, or float32 values.
    width
        How many values the network gives: floats, or values that are cut to one bit each.
    """

    name: str
    binary: bool
    width: int

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return self.width if self.binary else FLOAT_BITS * self.width

    @property
    def size(self) -> int | float:
        """Float32 values of equal bytes."""
        return equal_floats(self.bits)
