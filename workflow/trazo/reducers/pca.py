"""Principal components: the directions in which a gallery's features vary most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from trazo.errors import InputError
from trazo.reducers.contract import Reducer, ReducerOptions, reducers

if TYPE_CHECKING:
    import numpy as np

# Of the largest component's variance: below it, what double precision leaves of a covariance is rounding.
_NO_VARIANCE = 1e-12


class PcaOptions(ReducerOptions):
    """Options of `pca`."""

    size: int = Field(ge=1, description="components kept: values of a code")
    whiten: bool = Field(False, description="divide each component by its standard deviation over the gallery")


# The name stands here as it is: fingerprints of code read it from the text.
@reducers.register("pca")
class Pca(Reducer):
    """Principal component analysis, as `sklearn.decomposition.PCA`, in double precision.

    Components come from the eigenvectors of the covariance where there are more items than values, else from a full
    singular value decomposition: neither draws random numbers, and signs are fixed by scikit-learn, so that the same
    features give the same codes. The components of a smaller size are the first ones of a larger size.
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
        import numpy as np
        from sklearn.decomposition import PCA

        self.check(*values.shape)
        values = values.astype(np.float64)
        if not np.ptp(values, axis=0).any():
            raise InputError(
                f"pca: the features of all {len(values)} items are the same, so that there is no direction in which "
                "they differ; look at what made them."
            )
        solver = "covariance_eigh" if values.shape[0] > values.shape[1] else "full"
        self.pca_ = PCA(self.options.size, whiten=self.options.whiten, svd_solver=solver).fit(values)
        variance = self.pca_.explained_variance_
        varying = int((variance > _NO_VARIANCE * variance[0]).sum())
        if self.options.whiten and varying < len(variance):
            raise InputError(
                f"pca: whitening divides by the deviation of each component, and only {varying} of {len(variance)} "
                f"have one; choose a size up to {varying}, or whiten: false."
            )
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """As `Reducer.transform`; (M, size) float32."""
        import numpy as np

        return self.pca_.transform(values.astype(np.float64)).astype(np.float32)

    def memory_bytes(self) -> int:
        """As `Reducer.memory_bytes`: mean, components and, whitened, their deviations, in float32 as the codes are."""
        scales = self.options.size if self.options.whiten else 0
        return 4 * (self.pca_.mean_.size + self.pca_.components_.size + scales)

    def facts(self) -> dict[str, float]:
        """As `Reducer.facts`: `explained_variance`, the share of the gallery's variance that the codes keep."""
        return {"explained_variance": round(float(self.pca_.explained_variance_ratio_.sum()), 6)}
