"""Figures of maps: features on a plane, coloured by class, with what the maps are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from trazo.config import Study
from trazo.errors import InputError
from trazo.report.artifacts import keyed
from trazo.report.drawing import (
    INK,
    LINE,
    MARKERS,
    PALETTE,
    PAPER,
    SOFT,
    Drawing,
    Foreseen,
    Material,
    ModelOptions,
    colour_of,
    figure_kind,
    label,
    new_canvas,
)
from trazo.report.panels import (
    MapPanel,
    arranged,
    centred,
    joint_classes,
    map_panels,
    mixed_order,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# Beyond these many classes colours and markers repeat, and the largest clusters bear their names instead.
_MOST_TOLD = len(PALETTE) * len(MARKERS)
_MOST_NAMED = 30
# Beyond these many points in all, a vector picture is slow to show: the points become pixels.
_MOST_VECTORS = 6000
_PANEL, _FOOT = 3.1, 0.62


class EmbeddingMapOptions(ModelOptions):
    """Options of `embedding_map`."""

    maps: list[str] = Field(default_factory=list, description="maps shown, of the study's `maps`; all if left out")


def _are_drawn(options: EmbeddingMapOptions, study: Study, _: Foreseen) -> str:
    of = {name: [*drawn.models, *drawn.features] for name, drawn in study.maps.items()}
    shown = options.maps or list(of)
    for name in options.maps:
        if options.models and not set(options.models) & set(of[name]):
            return f"maps: {name} is of {', '.join(of[name])}, and of none of the figure's `models`."
    for model in options.models:
        if not any(model in of[name] for name in shown):
            told = "; ".join(f"{name} of {', '.join(of[name])}" for name in shown)
            return f"models: no map shown is of {model} ({told}); add it to a map's `models`."
    return ""


@figure_kind("embedding_map", needs=("maps",), options=EmbeddingMapOptions, check=_are_drawn)
def embedding_map(options: EmbeddingMapOptions, study: Study, material: Material) -> Drawing:
    """Draw, a panel per map, every item as a point in its class's colour and marker, and the map's quality below."""
    panels = map_panels(keyed(material.maps), study, options.models, options.maps)
    if not panels:
        wanted = ", ".join([*options.models, *options.maps]) or "this study"
        raise InputError(f"no map of {wanted} is at hand; a map is of the models (or features) that it names.")
    classes = joint_classes(panels)
    panels, columns = arranged(panels)
    rows = -(-len(panels) // columns)
    told = len(classes) <= _MOST_TOLD
    width = max(columns * _PANEL, 4.2)
    lines = -(-len(classes) // max(2, int(width // (0.42 + 0.085 * max(len(label(name, 22)) for name in classes)))))
    foot = 0.3 + 0.2 * lines if told else 0.1
    canvas = new_canvas(width, rows * (_PANEL + _FOOT) + foot)
    canvas.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
    pixels = sum(len(panel.drawn) for panel in panels) > _MOST_VECTORS
    for position, panel in enumerate(panels):
        axes = canvas.add_subplot(rows, columns, position + 1)
        _points(axes, panel, classes, pixels)
        if not told:
            _names(axes, panel)
    if told:
        _legend(canvas, classes, -(-len(classes) // lines))
    head = f"Maps of {len(classes)} classes, a point an item, coloured by class"
    head += "." if told else "; colours and markers repeat, and the tightest classes bear their names."
    return Drawing(canvas, " ".join([head, *(panel.words for panel in panels)]))


def _points(axes: Axes, panel: MapPanel, classes: list[str], pixels: bool) -> None:
    drawn = panel.drawn
    place, position = centred(drawn.coordinates), {name: i for i, name in enumerate(classes)}
    own = np.array([position.get(name, 0) for name in drawn.classes])[drawn.labels]
    size = float(np.clip(7000 / len(drawn), 4.0, 26.0))
    order = mixed_order(len(drawn))
    for turn, marker in enumerate(MARKERS):
        rows = order[own[order] // len(PALETTE) % len(MARKERS) == turn]
        if len(rows):
            colours = [colour_of(int(i)) for i in own[rows]]
            axes.scatter(*place[rows].T, s=size, c=colours, marker=marker, lw=0, alpha=0.85, rasterized=pixels)
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
    axes.set_box_aspect(1)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=LINE)
    axes.set_title(panel.title)
    axes.set_xlabel("\n".join(panel.quality), fontsize=8, color=SOFT, loc="left")


def _names(axes: Axes, panel: MapPanel) -> None:
    """Write the names of the tightest classes at their middles, as many as stand free of each other."""
    drawn = panel.drawn
    place = centred(drawn.coordinates)
    found = []
    for index in np.unique(drawn.labels):
        mine = place[drawn.labels == index]
        middle = np.median(mine, axis=0)
        found.append((float(np.median(np.abs(mine - middle).sum(axis=1))), int(index), middle))
    taken: list[tuple[float, float, float]] = []
    for _, index, (x, y) in sorted(found, key=lambda one: one[:2]):
        text = label(drawn.classes[index], 14)
        half = 0.0105 * len(text)
        if len(taken) == _MOST_NAMED:
            break
        if all(abs(x - a) > half + b or abs(y - c) > 0.042 for a, b, c in taken):
            taken.append((x, half, y))
            box = {"boxstyle": "round,pad=0.12", "fc": PAPER, "ec": "none", "alpha": 0.75}
            axes.text(x, y, text, ha="center", va="center", size=6.5, color=INK, bbox=box, clip_on=True)


def _legend(canvas: Canvas, classes: list[str], columns: int) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], ls="", marker=MARKERS[i // len(PALETTE)], color=colour_of(i), ms=5.5, label=label(name, 22))
        for i, name in enumerate(classes)
    ]
    canvas.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8.5, handletextpad=0.1)
