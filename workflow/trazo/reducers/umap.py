"""UMAP: codes in which nearest neighbours stay near."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field

from trazo.errors import InputError
from trazo.reducers.contract import Reducer, reducers, saved_arrays
from trazo.reducers.neighbours import (
    Graphs,
    NeighbourOptions,
    Neighbours,
    by_metric,
    check_neighbours,
    curve,
    learnable_graphs,
    one_thread,
)

# umap-learn's: steps by which what it was not fitted on is placed, and of what length.
_TRANSFORM_EPOCHS, _TRANSFORM_RATE, _NEGATIVES = 100, 0.25, 5


class UmapOptions(NeighbourOptions):
    """Options of `umap`."""

    n_epochs: int | None = Field(
        None, ge=11, description="steps of the layout; umap-learn's if left out: 500, or 200 of more than 10,000 items"
    )


# The name stands here as it is: fingerprints of code read it from the text.
@reducers.register("umap")
class Umap(Reducer):
    """UMAP (McInnes, Healy and Melville, 2018) by umap-learn's functions, with exact neighbours, in one thread.

    Fitted on the same neighbours, its layout is umap-learn's, bit for bit. umap-learn's `transform` depends on the
    batch it is given: weights of neighbours are compared with the largest one of the batch. Here each feature is
    placed as if it came alone, which is what a searcher's queries do, so that a code depends on the feature and on
    nothing else. A feature that it was fitted on has the place that the fit gave it (of several equal ones, the first).

    What it learned are the features themselves and their places: it is as large as they are, and saved without pickle.

    Attributes
    ----------
    neighbours_
        The features that it was fitted on, to be searched.
    embedding_
        (N, size) float32 places of these.
    curve_
        (2,) float64: a and b, see `neighbours.curve`.
    """

    options_type = UmapOptions

    def width(self, width: int) -> int:
        """As `Reducer.width`."""
        return self.options.size

    def check(self, items: int, width: int) -> None:
        """As `Reducer.check`."""
        check_neighbours("umap", self.options, items, width)
        # The layout starts from so many eigenvectors of an items × items matrix, and one more that says nothing.
        if self.options.size > items - 2:
            raise InputError(
                f"umap: codes of {self.options.size} values need at least {self.options.size + 2} items, and there are "
                f"{items}; choose a size up to {items - 2}, or add items."
            )

    def load(self) -> None:
        """As `Reducer.load`: fits something small, as umap-learn compiles what it uses."""
        values = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
        Umap(UmapOptions(size=2, n_neighbors=8, n_epochs=11)).fit(values).transform(values[:2] + 0.5)

    def fit(self, values: np.ndarray) -> Umap:
        """As `Reducer.fit`."""
        return self._lay_out(learnable_graphs([self], values))

    @classmethod
    def fit_several(cls, options: Sequence[UmapOptions], values: np.ndarray) -> list[Umap]:
        """As `Reducer.fit_several`: neighbours are searched once, a graph is made once for all sizes and min_dist."""
        several = [cls(one) for one in options]
        graphs = learnable_graphs(several, values)
        return [one._lay_out(graphs) for one in several]

    def _lay_out(self, graphs: Graphs) -> Umap:
        from umap.distances import euclidean
        from umap.umap_ import simplicial_set_embedding

        options = self.options
        graph = graphs.graph(options)
        self.neighbours_ = graphs.neighbours(options.metric)
        self.curve_ = np.array(curve(options.min_dist))
        a, b = self.curve_.tolist()
        with one_thread():
            places, _ = simplicial_set_embedding(
                self.neighbours_.items, graph, options.size, 1.0, a, b, 1.0, _NEGATIVES, options.n_epochs, "spectral",
                np.random.RandomState(options.seed), euclidean, {}, False, {}, False,
            )  # fmt: skip
        if not np.isfinite(places).all():
            raise InputError(
                f"umap: the layout of {len(places)} items in {options.size} values gave what is no number; choose a "
                "smaller size or more neighbours."
            )
        self.embedding_ = np.ascontiguousarray(places, dtype=np.float32)
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """As `Reducer.transform`; (M, size) float32."""
        self.need_numbers(values, self.neighbours_.items.shape[1])
        indices, distances = self.neighbours_.nearest(by_metric(values, self.options.metric), self.options.n_neighbors)
        known = distances[:, 0] == 0
        codes = np.empty((len(values), self.options.size), np.float32)
        codes[known] = self.embedding_[indices[known, 0]]
        if not known.all():
            codes[~known] = self._place(indices[~known], distances[~known])
        return codes

    def _place(self, indices: np.ndarray, distances: np.ndarray) -> np.ndarray:
        """Return codes (M, size) by the neighbours (M, k) of features: what umap-learn gives for each of them alone."""
        from scipy.sparse import coo_matrix
        from umap.layouts import optimize_layout_euclidean
        from umap.umap_ import (
            compute_membership_strengths,
            init_graph_transform,
            make_epochs_per_sample,
            smooth_knn_dist,
        )

        epochs = _TRANSFORM_EPOCHS if self.options.n_epochs is None else self.options.n_epochs // 3
        limits = np.iinfo(np.int32)
        state = np.random.RandomState(self.options.seed).randint(limits.min + 1, limits.max - 1, 3).astype(np.int64)
        a, b = self.curve_.tolist()
        with one_thread():
            # One by one: among others, their mean distance would count.
            count = float(indices.shape[1])
            alone = [smooth_knn_dist(row[None], count, local_connectivity=0.0) for row in distances]
            sigmas, rhos = (np.concatenate(part) for part in zip(*alone, strict=True))
            rows, columns, weights, _ = compute_membership_strengths(indices, distances, sigmas, rhos, bipartite=True)
            graph = coo_matrix((weights, (rows, columns)), shape=(len(indices), len(self.embedding_))).tocsr()
            graph.eliminate_zeros()
            places = init_graph_transform(graph, self.embedding_)
            # A neighbour draws as often as it weighs; in umap-learn, beside the heaviest one of the batch.
            largest = weights.reshape(indices.shape).max(axis=1)[rows]
            used = weights >= largest / float(epochs)
            every = make_epochs_per_sample((weights / largest)[used], epochs)
            return optimize_layout_euclidean(
                places, self.embedding_, rows[used], columns[used], epochs, len(self.embedding_), every, a, b, state,
                1.0, _TRANSFORM_RATE, _NEGATIVES,
            )  # fmt: skip

    def memory_bytes(self) -> int:
        """As `Reducer.memory_bytes`: the features, their lengths and their places."""
        return self.neighbours_.items.nbytes + self.neighbours_.norms.nbytes + self.embedding_.nbytes

    def facts(self) -> dict[str, float]:
        """As `Reducer.facts`: `fitted_items`, which it holds."""
        return {"fitted_items": len(self.embedding_)}

    def arrays(self) -> dict[str, np.ndarray]:
        """As `Reducer.arrays`."""
        return {"items": self.neighbours_.items, "embedding": self.embedding_, "curve": self.curve_}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> Umap:
        """As `Reducer.restore`."""
        found = saved_arrays(arrays, {"items": ("N", "D"), "embedding": ("N", self.options.size), "curve": (2,)})
        if len(found["items"]) <= self.options.n_neighbors:
            raise InputError(f"{len(found['items'])} items are too few for {self.options.n_neighbors} neighbours")
        self.neighbours_ = Neighbours(np.ascontiguousarray(found["items"], dtype=np.float32), self.options.metric)
        self.embedding_ = np.ascontiguousarray(found["embedding"], dtype=np.float32)
        self.curve_ = found["curve"].astype(np.float64)
        return self
