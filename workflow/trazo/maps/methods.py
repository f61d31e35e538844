"""Methods by name that lay features out on a plane, and each one's settings.

Light to import (umap-learn and scikit-learn load where they are used): the process that plans a run checks names and
options here. How good a map is, is measured in `quality`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from trazo.errors import InputError
from trazo.progress import warnings_in_the_log
from trazo.registry import Registry, checked_options


class MethodOptions(BaseModel):
    """Options of a method: a subclass per method, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Method:
    """Lays features out on a plane; made with its options and a seed.

    Features go in as they are, however wide: both methods look only at Euclidean distances between items, and a map
    of the leading principal components would be a map of something else.

    Attributes
    ----------
    options_type
        The class of its options.
    title
        The method's name as readers know it.
    """

    options_type: ClassVar[type[MethodOptions]] = MethodOptions
    title: ClassVar[str] = ""

    def __init__(self, options: Any, seed: int) -> None:
        self.options = options
        self.seed = seed

    def check(self, items: int) -> None:
        """Refuse options that do not fit so many items.

        Raises
        ------
        InputError
            If they do not fit.
        """

    def lay_out(self, values: np.ndarray) -> np.ndarray:
        """Return coordinates (N, 2) of features (N, D) float32; the same for the same features, options and seed."""
        raise NotImplementedError


methods: Registry[type[Method]] = Registry("method of a map")


class UmapOptions(MethodOptions):
    """Options of `umap`."""

    n_neighbors: int = Field(15, ge=2, le=1000, description="neighbours an item is to stay near to")
    min_dist: float = Field(0.1, ge=0, description="least distance between items on the map")
    spread: float = Field(1.0, gt=0, description="scale of the map; at least `min_dist`")


# The name stands here as it is: fingerprints of code read it from the text.
@methods.register("umap")
class Umap(Method):
    """UMAP by umap-learn (McInnes, Healy and Melville, 2018)."""

    options_type = UmapOptions
    title = "UMAP"

    def check(self, items: int) -> None:
        """As `Method.check`."""
        if self.options.min_dist > self.options.spread:
            raise InputError(f"umap: min_dist {self.options.min_dist} is above spread {self.options.spread}.")
        if self.options.n_neighbors >= items:
            raise InputError(
                f"umap: {self.options.n_neighbors} neighbours need more than {self.options.n_neighbors} items, and "
                f"there are {items}; choose a smaller `n_neighbors`."
            )

    def lay_out(self, values: np.ndarray) -> np.ndarray:
        """As `Method.lay_out`."""
        with warnings_in_the_log("umap-learn"):
            from umap import UMAP

            # A seed and several threads exclude each other.
            mapper = UMAP(n_components=2, random_state=self.seed, n_jobs=1, **self.options.model_dump())
            return mapper.fit_transform(values)


class TsneOptions(MethodOptions):
    """Options of `tsne`."""

    perplexity: float = Field(30.0, gt=0, description="about how many neighbours an item has; below the items")
    early_exaggeration: float = Field(12.0, ge=1, description="how far clusters are driven apart at first")
    max_iter: int = Field(1000, ge=250, le=100_000, description="steps of the optimisation")


@methods.register("tsne")
class Tsne(Method):
    """t-SNE by scikit-learn, Barnes–Hut (van der Maaten and Hinton, 2008; van der Maaten, 2014), PCA at first."""

    options_type = TsneOptions
    title = "t-SNE"

    def check(self, items: int) -> None:
        """As `Method.check`."""
        if self.options.perplexity >= items:
            raise InputError(
                f"tsne: a perplexity of {self.options.perplexity:g} needs more items than that, and there are {items}; "
                "choose a smaller `perplexity`."
            )

    def lay_out(self, values: np.ndarray) -> np.ndarray:
        """As `Method.lay_out`."""
        from sklearn.manifold import TSNE

        with warnings_in_the_log("scikit-learn"):
            mapper = TSNE(n_components=2, init="pca", random_state=self.seed, n_jobs=1, **self.options.model_dump())
            return mapper.fit_transform(values)


def method_of(name: str, options: Mapping[str, Any], seed: int) -> Method:
    """Return a method by name, made with options.

    Raises
    ------
    InputError
        If the name or an option is unknown, or an option has the wrong type.
    """
    kind = methods.get(name)
    return kind(checked_options(name, kind.options_type, options), seed)
