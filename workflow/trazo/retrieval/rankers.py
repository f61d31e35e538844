"""Rankers by name: what finds the nearest items of a gallery, exactly or nearly so, and each one's settings.

Light to import (scikit-learn and FAISS load where they are used): the process that plans a run checks names here.
What is made of the lists is in `lists`; the exact ranker's own work is in `ranking`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from trazo.config import part_label
from trazo.errors import InputError
from trazo.progress import log
from trazo.registry import Registry, checked_options

if TYPE_CHECKING:
    import faiss


class RankerOptions(BaseModel):
    """Options of a ranker: a subclass per ranker that has some, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Ranker:
    """Finds the nearest items of one gallery; made with its options, then built once, then searched.

    Attributes
    ----------
    options_type
        The class of its options.
    distances
        Names of the distances it can search by; empty for all.
    whole
        Whether it ranks the whole gallery (`ranking.rank`) and not only the nearest items.
    codes
        Whether it compares codes of features, so that its distances are off by more than rounding.
    computes, misses
        In words, how it computes distances, and why it may miss items that are nearer than those it finds.
    """

    options_type: ClassVar[type[RankerOptions]] = RankerOptions
    distances: ClassVar[tuple[str, ...]] = ()
    whole: ClassVar[bool] = False
    codes: ClassVar[bool] = False
    computes: ClassVar[str] = ""
    misses: ClassVar[str] = ""

    def __init__(self, options: RankerOptions, *, threads: int = 1) -> None:
        self.options = options
        self.threads = threads

    def check(self, items: int, width: int) -> None:
        """Refuse options that do not fit a gallery of `items` items of `width` values (or bytes of bits) each.

        Raises
        ------
        InputError
            If they do not fit.
        """

    def build(self, gallery: np.ndarray, distance: str) -> None:
        """Prepare for searches in (N, D) float32 numbers, or (N, bytes) uint8 packed bits.

        Raises
        ------
        InputError
            If the options do not fit the gallery.
        """
        raise NotImplementedError

    def search(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return positions (Q, count) int64, nearest first and −1 after the last found, and distances as it has them.

        Parameters
        ----------
        queries : (Q, D) float32 or (Q, bytes) uint8
        count
            No more than the gallery has.
        """
        raise NotImplementedError

    def memory_bytes(self) -> int:
        """Return the size of what was built."""
        raise NotImplementedError


rankers: Registry[type[Ranker]] = Registry("ranker")
EXACT = "exact"


# The name stands here as it is: fingerprints of code read it from the text.
@rankers.register("exact")
class Exact(Ranker):
    """Every distance, exactly, ties and all (torch, numba): the whole ranking."""

    whole = True


@rankers.register("sklearn")
class ScikitLearn(Ranker):
    """scikit-learn's `NearestNeighbors` by brute force."""

    distances = ("cosine", "euclidean", "manhattan", "squared_euclidean")
    computes = "in float64 (cosine: in float32), from ‖x‖² − 2xy + ‖y‖²"

    def build(self, gallery: np.ndarray, distance: str) -> None:
        """Keep the gallery; there is no index."""
        from sklearn.neighbors import NearestNeighbors

        metric = {"squared_euclidean": "sqeuclidean"}.get(distance, distance)
        self._neighbours = NearestNeighbors(algorithm="brute", metric=metric, n_jobs=self.threads).fit(gallery)
        self._bytes = gallery.nbytes

    def search(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """As `Ranker.search`."""
        far, where = self._neighbours.kneighbors(queries, n_neighbors=count)
        return where.astype(np.int64), far.astype(np.float32)

    def memory_bytes(self) -> int:
        """As `Ranker.memory_bytes`."""
        return self._bytes


def _train_on_few(clustering: faiss.ClusteringParameters, name: str, centroids: int, items: int) -> None:
    """Say once, in words, what FAISS would say of every clustering of few items, on a stream that no log catches."""
    wanted = clustering.min_points_per_centroid * centroids
    if items < wanted:
        clustering.min_points_per_centroid = 1
        log.warning(
            "%s: %d items train %d centroids, where FAISS advises %d or more; the lists may miss more for it",
            name,
            items,
            centroids,
            wanted,
        )


class _Faiss(Ranker):
    """A FAISS index over numbers. Cosine is searched as Euclidean distance of the normalised vectors."""

    distances = ("cosine", "euclidean", "inner_product", "squared_euclidean")

    def build(self, gallery: np.ndarray, distance: str) -> None:
        """Train and fill the index."""
        import faiss

        # Threads share out the queries of a search; an index built by several is another one every time.
        faiss.omp_set_num_threads(1)
        self.distance = distance
        self.check(*gallery.shape)
        gallery = self._prepared(gallery)
        metric = faiss.METRIC_INNER_PRODUCT if distance == "inner_product" else faiss.METRIC_L2
        self.index = self.make(*gallery.shape, metric)
        if not self.index.is_trained:
            self.index.train(gallery)
        self.index.add(gallery)

    def make(self, items: int, width: int, metric: int) -> faiss.Index:
        """Return the empty index."""
        raise NotImplementedError

    def _prepared(self, rows: np.ndarray) -> np.ndarray:
        rows = np.ascontiguousarray(rows, np.float32)
        if self.distance == "cosine":
            norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
            rows = (rows / np.where(norms > 0, norms, 1)).astype(np.float32)
        return rows

    def search(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """As `Ranker.search`."""
        import faiss

        faiss.omp_set_num_threads(self.threads)
        far, where = self.index.search(self._prepared(queries), count)
        far = {
            "inner_product": lambda: -far,
            "cosine": lambda: far / 2,
            "euclidean": lambda: np.sqrt(np.maximum(far, 0)),
            "squared_euclidean": lambda: far,
        }[self.distance]()
        return where, np.where(where >= 0, far, np.inf).astype(np.float32)

    def memory_bytes(self) -> int:
        """As `Ranker.memory_bytes`: of the index as it would be saved, vectors and all."""
        import faiss

        return int(faiss.serialize_index(self.index).nbytes)


@rankers.register("faiss_flat")
class FaissFlat(_Faiss):
    """FAISS's exhaustive search."""

    computes = "in float32, and in larger searches from ‖x‖² − 2xy + ‖y‖²"

    def make(self, items: int, width: int, metric: int) -> faiss.Index:
        """As `_Faiss.make`."""
        import faiss

        return faiss.IndexFlat(width, metric)


class IvfOptions(RankerOptions):
    """Options of `faiss_ivf`."""

    lists: int = Field(64, ge=1, description="cells that the gallery is divided into")
    probes: int = Field(8, ge=1, description="cells that a query looks into")


@rankers.register("faiss_ivf")
class FaissIvf(_Faiss):
    """FAISS's inverted file: k-means cells, of which the nearest few are searched."""

    options_type = IvfOptions
    computes = "in float32, from Σ(x − y)²"
    misses = "it looks only into the cells nearest to a query"

    def check(self, items: int, width: int) -> None:
        """As `Ranker.check`."""
        lists, probes = self.options.lists, self.options.probes
        if probes > lists:
            raise InputError(f"faiss_ivf: {probes} probes of {lists} lists; expected no more probes than lists.")
        if lists > items:
            raise InputError(f"faiss_ivf: {probes} probes of {lists} lists; expected probes ≤ lists ≤ {items} items.")

    def make(self, items: int, width: int, metric: int) -> faiss.Index:
        """As `_Faiss.make`."""
        import faiss

        lists = self.options.lists
        # The index does not keep its coarse quantiser alive by itself.
        self._cells = faiss.IndexFlat(width, metric)
        index = faiss.IndexIVFFlat(self._cells, width, lists, metric)
        index.nprobe = self.options.probes
        _train_on_few(index.cp, "faiss_ivf", lists, items)
        return index


class HnswOptions(RankerOptions):
    """Options of `faiss_hnsw`."""

    links: int = Field(32, ge=2, description="links of an item in the graph")
    build: int = Field(40, ge=1, description="candidates kept while the graph is built")
    search: int = Field(64, ge=1, description="candidates kept while a query is searched")


@rankers.register("faiss_hnsw")
class FaissHnsw(_Faiss):
    """FAISS's graph of near neighbours (hierarchical navigable small worlds; Malkov and Yashunin 2018)."""

    options_type = HnswOptions
    computes = "in float32, from Σ(x − y)²"
    misses = "it follows a graph of near neighbours and may not come by all of them"

    def make(self, items: int, width: int, metric: int) -> faiss.Index:
        """As `_Faiss.make`."""
        import faiss

        index = faiss.IndexHNSWFlat(width, self.options.links, metric)
        index.hnsw.efConstruction = self.options.build
        index.hnsw.efSearch = self.options.search
        return index


class PqOptions(RankerOptions):
    """Options of `faiss_pq`."""

    pieces: int = Field(8, ge=1, description="pieces of a vector, a code each; must divide its length")
    bits: int = Field(8, ge=1, le=16, description="bits of a piece's code")


@rankers.register("faiss_pq")
class FaissPq(_Faiss):
    """FAISS's product quantisation (Jégou, Douze and Schmid 2011): codes of pieces x bits, searched exhaustively."""

    options_type = PqOptions
    codes = True
    computes = "between features and the codes of items, which are only near them"
    misses = "it compares codes instead of features"

    def check(self, items: int, width: int) -> None:
        """As `Ranker.check`."""
        pieces, bits = self.options.pieces, self.options.bits
        if width % pieces:
            raise InputError(f"faiss_pq: {pieces} pieces do not divide a feature of {width} values evenly.")
        if 2**bits > items:
            raise InputError(f"faiss_pq: {bits} bits ask for {2**bits} centroids, and the gallery has {items} items.")
        # FAISS computes the distances of pairs of values eight centroids at a time, and fails with fewer.
        if width == 2 * pieces and bits < 3:
            raise InputError(
                f"faiss_pq: pieces of 2 values need 3 bits or more, and have {bits}; give more bits, or fewer pieces "
                f"than {pieces}."
            )

    def make(self, items: int, width: int, metric: int) -> faiss.Index:
        """As `_Faiss.make`."""
        import faiss

        index = faiss.IndexPQ(width, self.options.pieces, self.options.bits, metric)
        _train_on_few(index.pq.cp, "faiss_pq", 2**self.options.bits, items)
        return index


@rankers.register("faiss_binary_flat")
class FaissBinaryFlat(Ranker):
    """FAISS's exhaustive search of packed bits."""

    distances = ("hamming",)
    computes = "as whole numbers of bits"

    def build(self, gallery: np.ndarray, distance: str) -> None:
        """Fill the index."""
        import faiss

        self.index = faiss.IndexBinaryFlat(gallery.shape[1] * 8)
        self.index.add(np.ascontiguousarray(gallery))

    def search(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """As `Ranker.search`."""
        import faiss

        faiss.omp_set_num_threads(self.threads)
        far, where = self.index.search(np.ascontiguousarray(queries), count)
        return where, far.astype(np.float32)

    def memory_bytes(self) -> int:
        """As `Ranker.memory_bytes`."""
        import faiss

        return int(faiss.serialize_index_binary(self.index).nbytes)


@dataclass(frozen=True)
class RankerChoice:
    """A ranker as a study names it.

    Attributes
    ----------
    name
        Its name in the registry.
    options
        All its options, checked.
    label
        What tables and paths call it (`config.part_label`).
    """

    name: str
    options: RankerOptions
    label: str

    @property
    def kind(self) -> type[Ranker]:
        """The ranker's class."""
        return rankers.get(self.name)


def ranker_choice(written: str | Mapping[str, Mapping[str, Any] | None]) -> RankerChoice:
    """Return a ranker from a name, or from {name: options}.

    Raises
    ------
    InputError
        If the name or an option is unknown, or an option has a wrong value.
    """
    if isinstance(written, str):
        name, given = written, {}
    elif len(written) == 1:
        ((name, given),) = written.items()
    else:
        raise InputError(
            f"a ranker is a name, or one name with its options ({{faiss_ivf: {{lists: 64}}}}); got {dict(written)}."
        )
    options = checked_options(name, rankers.get(name).options_type, given or {})
    return RankerChoice(name, options, part_label(written))
