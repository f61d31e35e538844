"""Principal components: the directions in which a gallery's features vary most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from trazo.errors import InputError
from trazo.reducers.contract import Reducer, ReducerOptions, reducers, saved_arrays

if TYPE_CHECKING:
    import numpy as np
    import sklearn.decomposition

# Of the largest component's variance: below it, what double precision leaves of a covariance is rounding.
_NO_VARIANCE = 1e-12


class PcaOptions(ReducerOptions):
    """Options of `pca`."""

    size: int = Field(ge=1, description="components kept: values of a code")
    whiten: bool = Field(False, description="divide each component by its standard deviation over the gallery")


# The name stands here as it is: fingerprints of code read it from the text.
@reducers.register("pca")
class Pca(Reducer):
    """Principal component analysis, by `sklearn.decomposition.PCA` in double precision.

    Components come from the eigenvectors of the covariance where there are more items than values, else from a full
    singular value decomposition: neither draws random numbers, and signs are fixed by scikit-learn, so that the same
    features give the same codes. The components of a smaller size are the first ones of a larger size, so that one
    fit serves all sizes.

    Attributes
    ----------
    mean_, components_, deviations_
        (D,), (size, D) and (size,) float32: what is subtracted, the directions, and the standard deviation along each.
    explained_variance_ratio_
        (size,) float32 shares of all variance.
    """

    options_type = PcaOptions

    def width(self, width: int) -> int:
        """As `Reducer.width`."""
        return self.options.size

    def check(self, items: int, width: int) -> None:
        """As `Reducer.check`."""
        size = self.options.size
        if size > width:
            raise InputError(f"pca: {size} components of features of {width} values; choose a size up to {width}.")
        if size > items:
            raise InputError(f"pca: {size} components of {items} items; choose a size up to {items}, or add items.")

    def load(self) -> None:
        """As `Reducer.load`."""
        import sklearn.decomposition  # noqa: F401

    def fit(self, values: np.ndarray) -> Pca:
        """As `Reducer.fit`."""
        _decompose([self], values)
        return self

    @classmethod
    def fit_several(cls, options: Sequence[PcaOptions], values: np.ndarray) -> list[Pca]:
        """As `Reducer.fit_several`: decomposes once, at the largest size."""
        several = [cls(one) for one in options]
        _decompose(several, values)
        return several

    def take(self, found: sklearn.decomposition.PCA) -> None:
        """Keep the first components of a decomposition."""
        import numpy as np

        size = self.options.size
        variance = found.explained_variance_[:size]
        varying = int((variance > _NO_VARIANCE * variance[0]).sum())
        if self.options.whiten and varying < size:
            raise InputError(
                f"pca: whitening divides by the deviation of each component, and only {varying} of {size} "
                f"have one; choose a size up to {varying}, or whiten: false."
            )
        self.mean_ = found.mean_.astype(np.float32)
        self.components_ = found.components_[:size].astype(np.float32)
        self.deviations_ = np.sqrt(variance).astype(np.float32)
        self.explained_variance_ratio_ = found.explained_variance_ratio_[:size].astype(np.float32)
        self._prepare()

    def _prepare(self) -> None:
        """Widen what is multiplied with: in single precision, a code would depend on what else is transformed."""
        import numpy as np

        directions = self.components_.T.astype(np.float64)
        self._directions = directions / self.deviations_ if self.options.whiten else directions

    def transform(self, values: np.ndarray) -> np.ndarray:
        """As `Reducer.transform`; (M, size) float32."""
        import numpy as np

        self.need_numbers(values, len(self.mean_))
        return ((values - self.mean_.astype(np.float64)) @ self._directions).astype(np.float32)

    def memory_bytes(self) -> int:
        """As `Reducer.memory_bytes`: the mean, and the directions in the double precision that they multiply in."""
        return self.mean_.nbytes + self._directions.nbytes

    def facts(self) -> dict[str, float]:
        """As `Reducer.facts`: `explained_variance`, the share of the gallery's variance that the codes keep."""
        return {"explained_variance": round(float(self.explained_variance_ratio_.sum(dtype=float)), 6)}

    def arrays(self) -> dict[str, np.ndarray]:
        """As `Reducer.arrays`."""
        return {
            "mean": self.mean_,
            "components": self.components_,
            "deviations": self.deviations_,
            "explained_variance_ratio": self.explained_variance_ratio_,
        }

    def restore(self, arrays: Mapping[str, np.ndarray]) -> Pca:
        """As `Reducer.restore`."""
        size = self.options.size
        shapes = {"mean": ("D",), "components": (size, "D"), "deviations": (size,), "explained_variance_ratio": (size,)}
        for name, values in saved_arrays(arrays, shapes).items():
            setattr(self, f"{name}_", values)
        self._prepare()
        return self


def _decompose(several: Sequence[Pca], values: np.ndarray) -> None:
    """Fit reducers of any sizes by one decomposition at the largest."""
    import numpy as np
    from sklearn.decomposition import PCA

    if not several:
        return
    for one in several:
        one.check(*values.shape)
    several[0].need_learnable(values)
    solver = "covariance_eigh" if values.shape[0] > values.shape[1] else "full"
    largest = max(one.options.size for one in several)
    found = PCA(largest, svd_solver=solver).fit(values.astype(np.float64))
    for one in several:
        one.take(found)
