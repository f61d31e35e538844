"""The search itself: what belongs to a method is loaded once and held; a query goes through it part by part, timed.

Only what belongs together is searched: a network has to give the features that lie beside it, and a reducer the codes.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
import yaml

from trazo.device import choose_device, make_repeatable
from trazo.errors import InputError
from trazo.models.branches import DOMAINS
from trazo.models.checkpoint import load_checkpoint, prepare
from trazo.models.heads import head_choice, head_of
from trazo.progress import log
from trazo.provenance import digest
from trazo.reducers.contract import NONE, Reducer, read_reducer
from trazo.retrieval import kernels
from trazo.retrieval.distances import distances
from trazo.retrieval.gallery import tie_order
from trazo.retrieval.ranking import TieOrder
from trazo.search.methods import Files, Method, best, find_methods
from trazo.search.queries import DRAWINGS, DrawingFiles, Look, Query, StoredQuery, parse_key, stored_query
from trazo.sizes import CODE
from trazo.store import ArtifactError, Features, read_codes, read_features, read_ids, read_pixels, read_record

T = TypeVar("T")
# How many networks, sets of features and galleries are held: those used last.
_NETWORKS, _FEATURES, _GALLERIES = 6, 6, 12
# Features made again on another device, or beside other images, differ by rounding; those of another training by more.
_ALIKE = 0.02
_GUESSES = 3
_MILLISECONDS = 1000.0


@dataclass(frozen=True)
class Hit:
    """An item that was found.

    Attributes
    ----------
    row
        Its position in the gallery.
    item
        Its id.
    label
        Its class.
    distance
        How far it is from the query.
    """

    row: int
    item: str
    label: str
    distance: float


@dataclass(frozen=True)
class Found:
    """What one method found for a query.

    Attributes
    ----------
    method
        The method.
    hits
        The nearest items, nearest first.
    guesses
        What the network's classifier takes the query for, with probabilities, most probable first; none where it has
        learned no classes.
    milliseconds
        Time of the query's parts: `pixels` (rasterised or decoded), `network`, `reduce`, `distances` (and sorting).
    """

    method: Method
    hits: list[Hit]
    guesses: list[tuple[str, float]]
    milliseconds: dict[str, float]


class Search:
    """A finished study, opened for searching; for one thread at a time.

    Parameters
    ----------
    root
        The folder of the study's results, such as `results/demo`.
    device
        "auto", "cpu" or "cuda".
    threads
        CPU threads; 0: all cores that this process may use.
    trust
        Whether fitted reducers are read that are saved by pickle, and so may run what their files hold.

    Attributes
    ----------
    methods
        What it can be searched by, by name; those that cannot be searched by say why.

    Raises
    ------
    InputError
        If the folder holds no ranking.
    """

    def __init__(self, root: Path | str, *, device: str = "auto", threads: int = 0, trust: bool = False) -> None:
        self.files = Files(Path(root))
        self.methods = find_methods(root)
        self.device = choose_device(device, own=False)
        self._trust = trust
        make_repeatable(self.device, threads or _cores())
        self._networks: _Recent[Network] = _Recent(_NETWORKS)
        self._features: _Recent[Features] = _Recent(_FEATURES)
        self._galleries: _Recent[Gallery] = _Recent(_GALLERIES)
        self._looks: _Recent[Look] = _Recent(len(self.methods))
        self._ids: _Recent[list[str]] = _Recent(len(self.methods))

    @property
    def name(self) -> str:
        """The study's name."""
        return self.files.root.resolve().name

    def method(self, name: str = "") -> Method:
        """Return a method by its name; the one of the largest mean average precision if left out.

        Raises
        ------
        InputError
            If there is none of this name, or it cannot be searched by.
        """
        if not name:
            return best(self.methods)
        if name not in self.methods:
            raise InputError(f"{self.files.root} has no method {name!r}; it has {', '.join(list(self.methods)[:10])}.")
        method = self.methods[name]
        if method.lacking:
            raise InputError(f"{name} cannot be searched by: {method.lacking}.")
        return method

    def look(self, method: Method) -> Look:
        """Return how a method's queries become pixels."""
        return self._looks.get(method.queries, lambda: Look.of(self.files.images(method.queries)))

    def search(self, query: Query, method: Method | str = "", top: int = 10) -> Found:
        """Return what a method finds for a query; see `Asked.by`."""
        return self.asking(query).by(method, top)

    def asking(self, query: Query) -> Asked:
        """Return a query to be searched by several methods, of which each part is computed once."""
        return Asked(self, query)

    def open(self, method: Method) -> tuple[Network, Gallery]:
        """Return what a method needs, loaded and checked.

        Raises
        ------
        ArtifactError
            If something is missing or damaged, or does not belong together.
        InputError
            If a reducer is to be trusted that is not.
        """
        network = self._networks.get(method.origin, lambda: self._network(method))
        return network, self._galleries.get(method.name, lambda: self._gallery(method))

    def item(self, reference: str, row: int) -> StoredQuery:
        """Return an item of a `<dataset>/<split>` as a query.

        Raises
        ------
        InputError
            If no method searches with or in these items, or there is no such row.
        """
        self._need_reference(reference)
        return stored_query(self.files.images(reference), row, reference)

    def count(self, reference: str) -> int:
        """Return how many items a `<dataset>/<split>` has."""
        self._need_reference(reference)
        return len(self._ids_of(reference))

    def drawing(self, key_id: str, places: Sequence[Path] = ()) -> Query:
        """Return the drawing with a Quick, Draw! key id: an item of the study, or a record of its sources' files.

        Parameters
        ----------
        key_id
            The key id, as text.
        places
            Files and folders that are looked into before the study's own sources.

        Raises
        ------
        InputError
            If there is none.
        """
        ending = f"-{parse_key(key_id)}"
        for reference in self.references:
            for row, item in enumerate(self._ids_of(reference)):
                if item.endswith(ending):
                    return self.item(reference, row)
        return DrawingFiles([*places, *self._sources()]).find(key_id)

    @property
    def references(self) -> list[str]:
        """The `<dataset>/<split>`s that can be searched with or in."""
        able = [method for method in self.methods.values() if not method.lacking]
        return list(dict.fromkeys(side for method in able for side in (method.queries, method.gallery)))

    def _need_reference(self, reference: str) -> None:
        if reference not in self.references:
            raise InputError(f"{reference!r} is not searched here; there are {', '.join(self.references) or 'none'}.")

    def _ids_of(self, reference: str) -> list[str]:
        return self._ids.get(reference, lambda: read_ids(self.files.images(reference)))

    def _sources(self) -> list[Path]:
        """Return where the study's drawings may lie: made or fetched by the workflow, or named in its `config.yaml`."""
        results = self.files.root.resolve().parent
        named = _local_sources(results.parent / "config.yaml")
        places: list[Path] = []
        for reference in self.references:
            settings = read_record(self.files.images(reference)).get("settings", {})
            dataset = settings.get("dataset", {})
            if dataset.get("layout") == DRAWINGS:
                source = str(dataset.get("source"))
                places.append(self.files.root / "doodles" / reference.partition("/")[0])
                places.append(results / "sources" / source)
                places += [results.parent / named[source]] if source in named else []
        return places

    # Loading --------------------------------------------------------------------------------------------------------

    def _network(self, method: Method) -> Network:
        log.info("loading the network of %s", method.origin)
        sides = {side: self.files.features(method, side) for side in dict.fromkeys((method.queries, method.gallery))}
        records = {side: read_record(path) for side, path in sides.items()}
        network = Network(self.files.checkpoint(method), records[method.queries], self.device)
        for side, record in records.items():
            self._need_same_training(network, record, sides[side])
            self._need_same_features(network, method, side)
        return network

    def _need_same_training(self, network: Network, record: dict, path: Path) -> None:
        trained = record.get("figures", {}).get("trained")
        if digest(trained) != digest(network.trained.record.get("settings", {})):
            raise ArtifactError(
                f"{path} was not made with {network.path}: they are of trainings with other settings. Run the study "
                "again."
            )

    def _need_same_features(self, network: Network, method: Method, reference: str) -> None:
        """Refuse a network that does not give the features beside it for the images beside it."""
        features, images = self._features_of(method, reference), self.files.images(reference)
        rows = _spread(len(features))
        ids = self._ids_of(reference)
        pixels = read_pixels(images, rows) if ids == features.ids else None
        domain = _domain(read_record(self.files.features(method, reference)))
        if pixels is None or not _alike(network(pixels, domain)[0], features.values[rows]):
            raise ArtifactError(
                f"{self.files.features(method, reference)} is not what {network.path} gives for {images}: they are of "
                "different runs. Run the study again."
            )

    def _features_of(self, method: Method, reference: str) -> Features:
        path = self.files.features(method, reference)
        return self._features.get(str(path), lambda: read_features(path))

    def _gallery(self, method: Method) -> Gallery:
        log.info("loading the gallery of %s", method.name)
        features = self._features_of(method, method.gallery)
        everything = np.arange(len(features))
        if method.reducer == NONE:
            return Gallery(features, [(everything, features.values, None)], method.distance, self.device)
        parts = [self._part(method, features, *paths) for paths in self.files.codes(method)]
        if not np.array_equal(np.sort(np.concatenate([rows for rows, _, _ in parts])), everything):
            raise ArtifactError(f"the codes of {method.name} are not of all items of the gallery; run the study again.")
        return Gallery(features, parts, method.distance, self.device)

    def _part(
        self, method: Method, features: Features, codes: Path, fitted: Path
    ) -> tuple[np.ndarray, np.ndarray, Reducer]:
        """Return the rows of a part of the gallery, their codes, and the reducer that made them."""
        stored = read_codes(codes, [method.reducer], gallery_ids=features.ids)
        reducer = read_reducer(fitted, trust=self._trust)
        reducer.load()
        values = stored.codes[method.reducer].gallery
        few = _spread(len(values))
        if not _alike(reducer.transform(features.values[stored.rows[few]]), values[few]):
            raise ArtifactError(
                f"{codes} does not hold what {fitted} makes of the features: they are of different runs. Run the study "
                "again."
            )
        return stored.rows, values, reducer


class Asked:
    """A query on its way through a study: its pixels and its features are made once for all methods that share them."""

    def __init__(self, search: Search, query: Query) -> None:
        self._search = search
        self._query = query
        self._pixels: dict[Look, tuple[np.ndarray, float]] = {}
        self._features: dict[tuple[str, Look], tuple[np.ndarray, list[tuple[str, float]], float]] = {}

    def pixels(self, method: Method | str = "") -> np.ndarray:
        """Return what a method's network sees, (H, W) or (H, W, 3) uint8."""
        return self._seen(self._search.look(self._method(method)))[0]

    def by(self, method: Method | str = "", top: int = 10) -> Found:
        """Return what a method finds.

        Parameters
        ----------
        method
            The method or its name; the one of the largest mean average precision if left out.
        top
            How many items, if the gallery has as many.

        Raises
        ------
        InputError
            If the method cannot be searched by, or the query cannot be used.
        ArtifactError
            If what it needs is damaged or does not belong together.
        """
        if top < 1:
            raise InputError(f"{top} items were asked for; expected 1 or more.")
        method = self._method(method)
        network, gallery = self._search.open(method)
        look = self._search.look(method)
        pixels, drawn = self._seen(look)
        if (method.origin, look) not in self._features:
            begin = time.perf_counter()
            features, logits = network(pixels[None])
            taken = time.perf_counter() - begin
            self._features[method.origin, look] = features, network.guesses(logits), taken
        features, guesses, computed = self._features[method.origin, look]
        # Ids are unique in their dataset only.
        own = self._query.item if self._query.reference in ("", method.gallery) else ""
        rows, far, reduced, compared = gallery.nearest(features, top, gallery.row_of(own))
        hits = [
            Hit(row, gallery.ids[row], gallery.classes[gallery.labels[row]], float(distance))
            for row, distance in zip(rows.tolist(), far.tolist())
        ]
        seconds = {"pixels": drawn, "network": computed, "reduce": reduced, "distances": compared}
        return Found(method, hits, guesses, {part: _MILLISECONDS * taken for part, taken in seconds.items()})

    def _method(self, method: Method | str) -> Method:
        return method if isinstance(method, Method) else self._search.method(method)

    def _seen(self, look: Look) -> tuple[np.ndarray, float]:
        if look not in self._pixels:
            begin = time.perf_counter()
            pixels = self._query.pixels(look)
            self._pixels[look] = pixels, time.perf_counter() - begin
        return self._pixels[look]


class Network:
    """A trained network that makes the features of single queries, as the step that made the gallery's did.

    Parameters
    ----------
    path
        Its checkpoint.
    record
        Of the features of the queries: epoch, layer, and what kind of images they are.
    device
        Where to compute.

    Attributes
    ----------
    trained
        The checkpoint.
    """

    def __init__(self, path: Path, record: dict, device: torch.device) -> None:
        self.path = path
        self.trained = load_checkpoint(path)
        self._device = device
        try:
            settings = record["settings"]
            epoch, self._layer = int(settings["epoch"]), str(settings["layer"])
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"the features beside {path} do not say how they were made ({error}).") from error
        self._domain = _domain(record)
        self._network = self.trained.network(epoch).to(device, memory_format=torch.channels_last).eval()
        self._mean = None if self.trained.mean_image is None else self.trained.mean_image.to(device)
        coded = self.trained.head if self._layer == CODE else None
        self._head = None if coded is None or not head_choice(coded).binary else head_of(coded)

    def __call__(self, pixels: np.ndarray, domain: str | None = "") -> tuple[np.ndarray, np.ndarray | None]:
        """Return the features (B, D) float32, or (B, B/8) packed bits, of (B, H, W[, 3]) uint8 images; and logits.

        Parameters
        ----------
        pixels
            The images.
        domain
            "sketch" or "photo", for networks with branches; the queries' if left out.

        Raises
        ------
        InputError
            If a feature is no finite number.
        """
        domain = self._domain if domain == "" else domain
        trained = self.trained
        with torch.inference_mode():
            batch = prepare(
                # What Pillow decoded cannot be written to, of which torch warns.
                torch.from_numpy(np.array(pixels)),
                channels=trained.channels,
                size=trained.size,
                mean_image=self._mean,
                device=self._device,
                normalise=trained.normalise,
            )
            feature, logit = self._network.embed(batch, self._layer, None if domain is None else DOMAINS.index(domain))
            values = feature.float().cpu().numpy()
            logits = logit.float().cpu().numpy() if trained.classifier else None
        if not np.isfinite(values).all():
            raise InputError(f"the network of {self.path} gives no finite numbers for this query.")
        return values if self._head is None else self._head.packed(values), logits

    def guesses(self, logits: np.ndarray | None) -> list[tuple[str, float]]:
        """Return the most probable classes of one image by its logits, (1, C), with their probabilities."""
        if logits is None:
            return []
        powers = np.exp(logits[0].astype(np.float64) - logits.max())
        order = np.argsort(-powers, kind="stable")[:_GUESSES]
        return [(self.trained.classes[i], float(powers[i] / powers.sum())) for i in order.tolist()]


class Gallery:
    """The items that a method searches.

    Where they fall into folds, each with a reducer of its own, the query is reduced by each and compared with that
    fold's items; what is nearest of all is found.

    Parameters
    ----------
    features
        Of all items: their names and classes count here.
    parts
        For each part of the gallery the rows of its items, their features or codes, and what made these, if anything.
    distance
        Name of the distance.
    device
        Where to compute.

    Attributes
    ----------
    ids, labels, classes
        As of `Features`.
    """

    def __init__(
        self,
        features: Features,
        parts: Sequence[tuple[np.ndarray, np.ndarray, Reducer | None]],
        distance: str,
        device: torch.device,
    ) -> None:
        self.ids, self.labels, self.classes = features.ids, features.labels, features.classes
        ties = tie_order(features.ids)
        self._order = TieOrder.of(ties, len(ties))
        self._rows_of = {name: row for row, name in enumerate(features.ids)}
        kind = distances.get(distance)
        self._parts = [
            _Part(rows, reducer, kind(torch.from_numpy(values).to(device)), TieOrder.of(ties[rows], len(rows)), device)
            for rows, values, reducer in parts
        ]

    def __len__(self) -> int:
        return len(self.ids)

    def row_of(self, item: str) -> int:
        """Return where an item is, −1 if it is not here."""
        return self._rows_of.get(item, -1) if item else -1

    def nearest(
        self, features: np.ndarray, top: int, left_out: int = -1
    ) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Return the rows of the items nearest to a query, (k,) int64, their distances, and what it took.

        Items at one distance stand in the order that rankings have.

        Parameters
        ----------
        features : (1, D)
            The query's.
        top
            How many; fewer if there are not as many.
        left_out
            The row of an item that is passed over; −1: none.

        Returns
        -------
        rows, distances, seconds of reducing the query, seconds of distances and sorting
        """
        found, far, reduced, compared = [], [], 0.0, 0.0
        for part in self._parts:
            begin = time.perf_counter()
            code = part.code(features)
            middle = time.perf_counter()
            rows, distance = part.nearest(code, top, left_out)
            found.append(rows)
            far.append(distance)
            reduced += middle - begin
            compared += time.perf_counter() - middle
        rows, distance = np.concatenate(found), np.concatenate(far)
        order = np.lexsort((self._order.places[rows], distance))[:top] if len(self._parts) > 1 else slice(top)
        return rows[order], distance[order], reduced, compared


@dataclass(frozen=True)
class _Part:
    """A part of a gallery, with what makes codes of queries for it."""

    rows: np.ndarray
    reducer: Reducer | None
    to_items: Callable[[torch.Tensor], torch.Tensor]
    ties: TieOrder
    device: torch.device

    def code(self, features: np.ndarray) -> np.ndarray:
        return features if self.reducer is None else self.reducer.transform_queries(features)

    def nearest(self, code: np.ndarray, top: int, left_out: int) -> tuple[np.ndarray, np.ndarray]:
        place = int(np.searchsorted(self.rows, left_out))
        own = place if left_out >= 0 and place < len(self.rows) and self.rows[place] == left_out else -1
        count = min(top, len(self.rows) - (own >= 0))
        if count == 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        keys = self.to_items(torch.from_numpy(np.ascontiguousarray(code)).to(self.device)).cpu().numpy()
        near, where = np.empty((1, count), keys.dtype), np.empty((1, count), np.int64)
        kernels.nearest(keys, np.array([own]), self.ties.places, self.ties.positions, near, where, 0, 1)
        return self.rows[where[0]], self.to_items.finish(near.astype(np.float64))[0]


class _Recent(Generic[T]):
    """Things that are made when they are asked for, and of which those used last are kept."""

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self._held: OrderedDict[str, T] = OrderedDict()

    def get(self, name: str, make: Callable[[], T]) -> T:
        """Return what is held under a name, made if it is not."""
        if name not in self._held:
            self._held[name] = make()
        self._held.move_to_end(name)
        while len(self._held) > self._most:
            self._held.popitem(last=False)
        return self._held[name]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _local_sources(config: Path) -> dict[str, str]:
    """Return the sources that a run's configuration names, where there is one; those to be downloaded are no paths."""
    if not config.is_file():
        return {}
    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{config} is no YAML ({error}); correct it.") from error
    found = content.get("sources") if isinstance(content, dict) else None
    return {str(name): os.path.expanduser(str(place)) for name, place in found.items()} if found else {}


def _domain(record: dict) -> str | None:
    """Return what kind of images features are of, None for a network that does not ask."""
    return record.get("settings", {}).get("domain")


def _spread(items: int, count: int = 3) -> np.ndarray:
    """Return a few rows, ascending, spread over so many."""
    return np.unique(np.linspace(0, items - 1, count).astype(np.int64))


def _alike(found: np.ndarray, stored: np.ndarray) -> bool:
    """Return whether features or codes are the same but for rounding; of packed bits, one in 50 may be turned."""
    if found.shape != stored.shape or found.dtype.kind != stored.dtype.kind:
        return False
    if stored.dtype == np.uint8:
        turned = np.unpackbits(found ^ stored, axis=1).sum(axis=1)
        return bool((turned <= max(1, 8 * stored.shape[1] * _ALIKE)).all())
    return bool(np.abs(found - stored).max(initial=0) <= _ALIKE * np.abs(stored).max(initial=0))
