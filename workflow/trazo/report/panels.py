"""Which maps a figure shows, in which order and under which names: shared by the still picture and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trazo import store
from trazo.config import Study
from trazo.report.artifacts import Keyed
from trazo.report.drawing import label
from trazo.report.measures import metric_label, stage_position


@dataclass(frozen=True)
class MapPanel:
    """A map with its names.

    Attributes
    ----------
    title
        What tells it from the other panels.
    reference
        The items it shows: `<dataset>/<split>`, or `<imported features>/<side>`.
    pictured
        Whether these items are images.
    model
        Whose features it is of.
    drawn
        The map.
    """

    title: str
    reference: str
    pictured: bool
    model: str
    drawn: store.MapArtifact

    @property
    def quality(self) -> list[str]:
        """The map's quality in short lines."""
        found = dict(self.drawn.quality)
        both = {name: found.pop(name) for name in ("silhouette", "silhouette_map") if name in found}
        lines = [f"{metric_label(name)} {_signed(value)}" for name, value in found.items()]
        if len(both) == 2:
            lines.append(
                f"silhouette {_signed(both['silhouette'])}, of the map {_signed(both['silhouette_map'])}",
            )
        return lines

    @property
    def words(self) -> str:
        """The map in a sentence."""
        head = f"{self.drawn.title} of {label(self.model)} on {self.reference}, {len(self.drawn)} items"
        return f"{head}: {'; '.join(self.quality)}."


def _signed(value: float) -> str:
    return f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def map_panels(
    artifacts: Sequence[Keyed], study: Study, models: Sequence[str] = (), maps: Sequence[str] = ()
) -> list[MapPanel]:
    """Return the maps of a figure, of the study's first seed: model by model, of each the study's maps in its order.

    Parameters
    ----------
    artifacts
        All maps at hand.
    study
        The study.
    models, maps
        Names of those wanted; all of them if empty.
    """
    shown_models, shown_maps = models or study.methods, maps or study.maps
    first = str(study.seeds[0])
    mine = [
        a
        for a in artifacts
        if a.of("model") in shown_models and a.of("map") in shown_maps and a.of("seed") in (first, "")
    ]
    order = list(study.maps)
    mine.sort(
        key=lambda a: (
            study.methods.index(a.of("model")),
            order.index(a.of("map")),
            stage_position(study, a.of("model"), a.of("stage")),
            float(a.of("epoch") or 0),
        )
    )
    read = [(a, store.read_map(a.path)) for a in mine]
    titles = {a.of("map"): drawn.title for a, drawn in read}
    # Where two maps are of one method, their names tell them apart; where not, readers know the method.
    several = len(set(titles.values())) < len(titles)
    parts = [
        {
            "model": a.of("model"),
            "map": a.of("map") if several else titles[a.of("map")],
            "data": _reference(a),
            "stage": a.of("stage"),
            "epoch": f"epoch {a.of('epoch')}" if a.of("epoch") else "",
        }
        for a, _ in read
    ]
    return [
        MapPanel(_title(own, parts), _reference(a), bool(a.of("dataset")), a.of("model"), drawn)
        for (a, drawn), own in zip(read, parts)
    ]


def figure_panels(artifacts: Sequence[Keyed], study: Study, figure: str) -> list[MapPanel]:
    """Return the maps that a figure of the study shows, none if it is of another kind."""
    spec = study.figures[figure]
    if spec.kind != "embedding_map":
        return []
    return map_panels(artifacts, study, spec.options.get("models") or (), spec.options.get("maps") or ())


def _reference(artifact: Keyed) -> str:
    return artifact.reference if artifact.of("dataset") else f"{artifact.of('model')}/{artifact.of('split')}"


def _title(own: dict[str, str], parts: Sequence[dict[str, str]]) -> str:
    """Return a panel's model and map, and what else tells it from the other maps of its model."""
    mine = [part for part in parts if part["model"] == own["model"]]
    telling = ["model", "map", *(name for name in ("data", "stage", "epoch") if len({p[name] for p in mine}) > 1)]
    return " · ".join(label(own[name]) for name in telling)


def arranged(panels: Sequence[MapPanel], most: int = 3) -> tuple[list[MapPanel], int]:
    """Return panels as they stand, row by row, and how many stand side by side: at most `most`.

    Models run across and each one's maps down, or the other way round, whichever is wider and fits; where neither does,
    panels follow each other.
    """
    models = list(dict.fromkeys(panel.model for panel in panels))
    rows = [[panel for panel in panels if panel.model == model] for model in models]
    even, each = len({len(row) for row in rows}) == 1, len(rows[0])
    if even and each <= len(models) <= most:
        return [row[turn] for turn in range(each) for row in rows], len(models)
    if even and 1 < each <= most:
        return list(panels), each
    return list(panels), min(most, len(panels))


def joint_classes(panels: Sequence[MapPanel]) -> list[str]:
    """Return the classes whose items some maps show, in label order: the order of their colours."""
    shown: dict[str, None] = {}
    for panel in panels:
        present = set(np.unique(panel.drawn.labels).tolist())
        shown |= {name: None for i, name in enumerate(panel.drawn.classes) if i in present}
    return list(shown)


def mixed_order(count: int) -> np.ndarray:
    """Return positions (count,) in an order that mixes neighbours: drawn so, no class covers all others."""
    return np.argsort((np.arange(count) * 0.6180339887498949) % 1.0, kind="stable")


def centred(coordinates: np.ndarray) -> np.ndarray:
    """Return (N, 2) coordinates moved and scaled, alike in both directions, to fill 0.04 to 0.96; y points up."""
    low, high = coordinates.min(axis=0).astype(np.float64), coordinates.max(axis=0).astype(np.float64)
    side = float((high - low).max()) or 1.0
    return 0.5 + 0.92 * (coordinates - (low + high) / 2) / side
