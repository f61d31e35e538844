"""Product quantisation: parts of a feature, each replaced by the nearest of a few centroids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from trazo.errors import InputError
from trazo.reducers.contract import Reducer, ReducerOptions, reducers, saved_arrays

if TYPE_CHECKING:
    import numpy as np

# Bytes of a float32 value, by which sizes of codes are compared.
_VALUE = 4


class PqOptions(ReducerOptions):
    """Options of `pq`."""

    size: int = Field(ge=1, description="bytes of a code / 4: as many as so many float32 values have")
    bits: Literal[1, 2, 4, 8] = Field(8, description="bits a part: 2^bits centroids, and 32·size/bits parts")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of the k-means that finds the centroids")


# The name stands here as it is: fingerprints of code read it from the text.
@reducers.register("pq")
class Pq(Reducer):
    """Product quantisation (Jégou, Douze and Schmid, PAMI 2011) by FAISS: k-means on each part of a feature by itself.

    A code has 32·size bits, 4·size bytes. Only the gallery is coded: queries stay as they are, and are compared with
    the centroids that an item's code names (asymmetric distances). `transform` therefore gives these, put together to
    a feature as wide as before: a Euclidean search among them is that of asymmetric distances, digit by digit. What a
    searcher has to hold are the codes (`encode`), which `index` searches.

    Attributes
    ----------
    codebooks_
        (parts, 2^bits, D / parts) float32 centroids.
    """

    options_type = PqOptions

    @property
    def parts(self) -> int:
        """Parts that a feature is cut into."""
        return 8 * _VALUE * self.options.size // self.options.bits

    def width(self, width: int) -> int:
        """As `Reducer.width`: as wide as the feature."""
        return width

    def code_bytes(self, items: int, width: int) -> int:
        """As `Reducer.code_bytes`: 4·size an item, whatever its width."""
        return _VALUE * self.options.size * items

    def check(self, items: int, width: int) -> None:
        """As `Reducer.check`."""
        bits, parts = self.options.bits, self.parts
        if width % parts:
            fit = [size for size in range(1, width + 1) if 32 * size % bits == 0 and width % (32 * size // bits) == 0]
            raise InputError(
                f"pq: size {self.options.size} cuts a feature into {parts} parts of {bits} bits, and {width} values "
                f"cannot be cut into so many equal ones; sizes that fit: {', '.join(map(str, fit)) or 'none'}."
            )
        if items < 2**bits:
            fewer = [b for b in (4, 2, 1) if 2**b <= items]
            raise InputError(
                f"pq: {2**bits} centroids a part ({bits} bits) need at least {2**bits} items, and there are {items}; "
                f"{f'choose `bits: {fewer[0]}`, or ' if fewer else ''}add items."
            )

    def load(self) -> None:
        """As `Reducer.load`."""
        import faiss  # noqa: F401

    def fit(self, values: np.ndarray) -> Pq:
        """As `Reducer.fit`."""
        import faiss
        import numpy as np

        self.need_learnable(values)
        quantizer = faiss.ProductQuantizer(values.shape[1], self.parts, self.options.bits)
        quantizer.cp.seed = self.options.seed
        # FAISS would print that 39 items a centroid are better: `check` says what is needed.
        quantizer.cp.min_points_per_centroid = 1
        quantizer.train(np.ascontiguousarray(values, dtype=np.float32))
        centroids = faiss.vector_to_array(quantizer.centroids)
        self.codebooks_ = centroids.reshape(self.parts, 2**self.options.bits, -1).copy()
        return self

    def _quantizer(self) -> Any:
        """Return FAISS's quantizer of these centroids."""
        import faiss

        parts, _, part = self.codebooks_.shape
        quantizer = faiss.ProductQuantizer(parts * part, parts, self.options.bits)
        faiss.copy_array_to_vector(self.codebooks_.ravel(), quantizer.centroids)
        return quantizer

    @property
    def _trained_width(self) -> int:
        return self.codebooks_.shape[0] * self.codebooks_.shape[2]

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Return the packed codes (M, 4·size) uint8 of (M, D) features."""
        import numpy as np

        self.need_numbers(values, self._trained_width)
        return self._quantizer().compute_codes(np.ascontiguousarray(values, dtype=np.float32))

    def transform(self, values: np.ndarray) -> np.ndarray:
        """As `Reducer.transform`: (M, D) float32, the nearest centroid of each part; of these themselves, the same."""
        return self._quantizer().decode(self.encode(values))

    def transform_queries(self, values: np.ndarray) -> np.ndarray:
        """As `Reducer.transform_queries`: as they are."""
        import numpy as np

        self.need_numbers(values, self._trained_width)
        return values.astype(np.float32, copy=False)

    def index(self, values: np.ndarray) -> Any:
        """Return a `faiss.IndexPQ` over (M, D) features, or what `transform` made of them.

        It holds only codes, and finds items by asymmetric squared Euclidean distances.
        """
        import faiss
        import numpy as np

        self.need_numbers(values, self._trained_width)
        index = faiss.IndexPQ(self._trained_width, self.parts, self.options.bits)
        index.pq = self._quantizer()
        index.is_trained = True
        index.add(np.ascontiguousarray(values, dtype=np.float32))
        return index

    def memory_bytes(self) -> int:
        """As `Reducer.memory_bytes`: the centroids."""
        return self.codebooks_.nbytes

    def facts(self) -> dict[str, float]:
        """As `Reducer.facts`: `parts`, into which a feature is cut."""
        return {"parts": self.parts}

    def arrays(self) -> dict[str, np.ndarray]:
        """As `Reducer.arrays`."""
        return {"codebooks": self.codebooks_}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> Pq:
        """As `Reducer.restore`."""
        import numpy as np

        shapes = {"codebooks": (self.parts, 2**self.options.bits, "part")}
        self.codebooks_ = np.ascontiguousarray(saved_arrays(arrays, shapes)["codebooks"], dtype=np.float32)
        return self
