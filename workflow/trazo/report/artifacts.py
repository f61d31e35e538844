"""Finding artifacts by what their records say they are, and reading the few images a picture shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from trazo import store
from trazo.config import Retrieval, Study
from trazo.errors import InputError
from trazo.report.drawing import label
from trazo.report.measures import stage_position
from trazo.report.series import all_series


@dataclass(frozen=True)
class Keyed:
    """An artifact with the key its record gives, what it is about, and the step that made it."""

    path: Path
    key: dict[str, Any]
    step: str = ""

    def of(self, name: str) -> str:
        """Return a part of the key as text, empty if it has none."""
        value = self.key.get(name)
        return "" if value is None else str(value)

    @cached_property
    def reference(self) -> str:
        """The `<dataset>/<split>` it is about."""
        return f"{self.of('dataset')}/{self.of('split')}"


def keyed(paths: Sequence[Path]) -> list[Keyed]:
    """Return artifacts (HDF5 files and training histories) with their keys."""
    records = [(Path(path), read_record(path)) for path in paths]
    return [Keyed(path, r.get("settings", {}).get("key", {}), str(r.get("step", ""))) for path, r in records]


def read_record(path: Path | str) -> dict[str, Any]:
    """Return the record of an HDF5 artifact or of a training history."""
    path = Path(path)
    return store.read_history(path)[0] if path.suffix == ".json" else store.read_record(path)


def last_of_model(artifacts: Sequence[Keyed], model: str, study: Study) -> Keyed | None:
    """Return a model's artifact of its last stage and epoch and of the study's first seed, or None."""
    mine = [a for a in artifacts if a.of("model") == model]
    seeds = [str(seed) for seed in study.seeds]

    def rank(artifact: Keyed) -> tuple[int, float, int]:
        seed = artifact.of("seed")
        position = seeds.index(seed) if seed in seeds else len(seeds)
        return stage_position(study, model, artifact.of("stage")), float(artifact.of("epoch") or 0), -position

    return max(mine, key=rank, default=None)


@dataclass(frozen=True)
class Lists:
    """The rankings that a figure of lists shows.

    Attributes
    ----------
    retrieval
        The retrieval they are of.
    distance, reducer, ranker
        What it was searched by and with, and what shortened the features before; no reducer where several are shown.
    rankings
        By model (of several reducers by both, as readers name them), of its last stage and epoch and of the study's
        first seed; models in the order asked for.
    """

    retrieval: Retrieval
    distance: str
    reducer: str
    ranker: str
    rankings: dict[str, Keyed]

    @property
    def words(self) -> list[str]:
        """What sets them apart from others of the retrieval: distance, reducer and ranker, as far as it has several."""
        ways = [f"by {self.distance} distance"] if len(self.retrieval.distances) > 1 else []
        ways += [f"reducer {self.reducer}"] if self.reducer and len(self.retrieval.reducer_labels) > 1 else []
        return [*ways, *([f"ranker {self.ranker}"] if self.several_rankers else [])]

    @property
    def way(self) -> str:
        """The distance, and that bits are compared by another."""
        packed = self.distance != "hamming" and any(a.of("distance") == "hamming" for a in self.rankings.values())
        return f"{label(self.distance)} distance{', bits by Hamming distance' if packed else ''}"

    @property
    def several_rankers(self) -> bool:
        """Whether the retrieval was searched by others too."""
        return len(self.retrieval.ranker_labels) > 1


def chosen_lists(
    paths: Sequence[Path],
    study: Study,
    retrievals: Sequence[Retrieval],
    models: Sequence[str],
    *,
    distance: str = "",
    ranker: str = "",
    reducer: str = "",
    reducers: Sequence[str] = (),
) -> Lists:
    """Return the rankings of some models on the first of some retrievals.

    Codes that a model learned are shown as they are, and their bits by Hamming distance, whatever is asked for.

    Parameters
    ----------
    paths
        All the rankings at hand.
    retrievals
        Those that could be shown, in order.
    distance, ranker, reducer
        Empty: the retrieval's first.
    reducers
        Several reducers instead of one.

    Raises
    ------
    InputError
        If there is no such ranking.
    """
    if not retrievals:
        raise InputError("there is no retrieval whose ranked lists could be shown.")
    retrieval = retrievals[0]
    distance = distance or retrieval.distances[0]
    labels = list(reducers) or [reducer or retrieval.reducer_labels[0]]
    series = all_series(study, models, labels)
    learned = {one.model for one in series if one.learned}

    def wanted(artifact: Keyed) -> bool:
        mine = artifact.of("model") in learned
        return (
            artifact.of("retrieval") == retrieval.label
            and artifact.of("distance") in ({distance, "hamming"} if mine else {distance})
            and (mine or artifact.of("reducer") in labels)
        )

    found = [a for a in keyed(paths) if wanted(a)]
    # Artifacts that name no ranker are of the only one.
    at_hand = list(dict.fromkeys(a.of("ranker") for a in found))
    first = next((name for name in retrieval.ranker_labels if name in at_hand), at_hand[0] if at_hand else "")
    found = [a for a in found if a.of("ranker") == (ranker or first)]
    last = {
        one.name: last_of_model([a for a in found if one.learned or a.of("reducer") == one.reducer], one.model, study)
        for one in series
    }
    rankings = {name: artifact for name, artifact in last.items() if artifact}
    if not rankings:
        raise InputError(
            f"no ranking of {retrieval.label} by {distance} distance{f' with {ranker}' if ranker else ''} is at hand."
        )
    return Lists(retrieval, distance, labels[0] if len(labels) == 1 else "", ranker or first, rankings)


def class_names(artifacts: Sequence[Keyed]) -> dict[str, list[str]]:
    """Return the classes of every dataset whose images are among some artifacts, in label order."""
    found: dict[str, list[str]] = {}
    for artifact in artifacts:
        dataset = artifact.of("dataset")
        if artifact.step == "images" and dataset not in found:
            found[dataset] = store.read_labels(artifact.path)[1]
    return found


class Pictures:
    """Reads single images of a study's `images.h5` files.

    Parameters
    ----------
    paths
        All the image artifacts at hand.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = {artifact.reference: artifact.path for artifact in keyed(paths)}

    def has(self, reference: str) -> bool:
        """Return whether the images of a `<dataset>/<split>` are at hand."""
        return reference in self._files

    def one_of_each(self, reference: str, classes: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the first image of each class, as `read` does; classes and images that are not at hand left out."""
        if reference not in self._files:
            return {}
        labels, names = store.read_labels(self._files[reference])
        rows = {c: np.flatnonzero(labels == names.index(c)) for c in classes if c in names}
        firsts = {name: int(found[0]) for name, found in rows.items() if len(found)}
        pictures = self.read(reference, list(firsts.values()))
        return {name: pictures[row] for name, row in firsts.items()}

    def read(self, reference: str, rows: Sequence[int], side: int = 96) -> dict[int, np.ndarray]:
        """Return the images at some rows, each (h, w) or (h, w, 3) uint8 with its longer side at most `side` pixels.

        Raises
        ------
        InputError
            If the images of `reference` ("animals/test") are not at hand.
        """
        if reference not in self._files:
            known = ", ".join(sorted(self._files)) or "none"
            raise InputError(f"a picture needs the images of {reference}; those at hand: {known}.")
        wanted = np.unique(np.asarray(list(rows), dtype=np.int64))
        images = store.read_images(self._files[reference], rows=wanted)
        return {int(row): _thumbnail(pixels, side) for row, pixels in zip(wanted, images.pixels)}


def _thumbnail(pixels: np.ndarray, side: int) -> np.ndarray:
    longest = max(pixels.shape[:2])
    if longest <= side:
        return pixels
    # Area averaging keeps thin strokes visible where plain sampling would break them.
    from PIL import Image

    height, width = (max(1, round(n * side / longest)) for n in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))
