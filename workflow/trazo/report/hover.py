"""Figures that answer when pointed at: a drawn canvas as a plot of plotly's, with words for every point.

Kinds of figures `tell` what they draw; what nobody told of is drawn without words. The still picture stays what is
printed, and what is seen without scripts. `templates/plots.js` shows the plots.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trazo.report.drawing import INK, LINE, PALETTE, PAPER, SOFT
from trazo.report.measures import Summary, Unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure as Canvas

# The colours that the page exchanges for its theme's.
THEMED = {INK: "--ink", SOFT: "--soft", LINE: "--line", PAPER: "--card"}
THEMED |= {colour: f"--c{i + 1}" for i, colour in enumerate(PALETTE)}
# CSS pixels of an inch and of a point, as the page shows SVG.
_INCH, _POINT = 96.0, 96.0 / 72.0
_DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}
_SYMBOLS = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross"}
_TOLD = "_trazo_told"
# Larger matrices are pictures: pointing at a cell a pixel wide tells nobody anything.
_MOST_CELLS = 150 * 150
_STOPS = 11


@dataclass(frozen=True)
class Told:
    """What an artist shows: its name in the legend, words for each point (or cell), and what stands in cells."""

    name: str
    words: Sequence[Any] = ()
    cells: Sequence[Any] = ()


def tell(artist: Any, name: str, words: Sequence[Any] = (), cells: Sequence[Any] = ()) -> None:
    """Say what an artist of matplotlib's shows, for whoever points at it.

    Parameters
    ----------
    artist
        A line, filled area, bar, group of marks, or image.
    name
        What the legend calls it; what has one name is shown and hidden together.
    words
        What is said of each point, or of each cell of an image, row by row; left out, its place by both axes.
    cells
        Of an image, what stands in each cell.
    """
    setattr(artist, _TOLD, Told(name, words, cells))


def value_words(summary: Summary, unit: Unit) -> str:
    """Return a value that is in its unit, with its interval, as people read it ("63.0 % (58.0–68.0)")."""
    sign = f" {unit.sign}" if unit.sign else ""
    value = f"{unit.text(summary.value)}{sign}"
    return value if summary.ci_low is None else f"{value} ({unit.text(summary.ci_low)}–{unit.text(summary.ci_high)})"


def plot_of(canvas: Canvas) -> dict[str, Any]:
    """Return a canvas that has been drawn as a plot in plotly's JSON; empty where nothing was told of it.

    Axes are laid out as in the still picture, without the room of its legend. Places are those after an axis' scale
    (a logarithm, say), so that all scales look as they do there; colours of the house are `var(--…)`.
    """
    panels = [axes for axes in canvas.axes if axes.axison and axes.get_label() != "<colorbar>"]
    told = [getattr(artist, _TOLD, None) for axes in panels for artist in axes.get_children()]
    if not any(told):
        return {}
    if any(np.size(image.get_array()) > _MOST_CELLS for axes in panels for image in axes.images):
        return {}
    boxes = [axes.get_position() for axes in panels]
    inches = canvas.get_size_inches()
    titled = 0.3 / inches[1] if any(axes.get_title(loc="left") for axes in panels) else 0.08 / inches[1]
    right = min(1.0, max(box.x1 for box in boxes) + 0.15 / inches[0])
    top = min(1.0, max(box.y1 for box in boxes) + titled)
    layout: dict[str, Any] = {"annotations": []}
    data: list[dict[str, Any]] = []
    for place, (axes, box) in enumerate(zip(panels, boxes), 1):
        x, y = (f"{name}{place if place > 1 else ''}" for name in "xy")
        across, up = [box.x0 / right, min(1.0, box.x1 / right)], [box.y0 / top, min(1.0, box.y1 / top)]
        layout[x.replace("x", "xaxis")] = _axis(axes.xaxis, axes.get_xlim(), across, y)
        layout[y.replace("y", "yaxis")] = _axis(axes.yaxis, axes.get_ylim(), up, x)
        if title := axes.get_title(loc="left"):
            layout["annotations"].append(
                {"text": f"<b>{_safe(title)}</b>", "x": across[0], "y": up[1], "xref": "paper", "yref": "paper",
                 "xanchor": "left", "yanchor": "bottom", "showarrow": False}
            )  # fmt: skip
        data += [{**trace, "xaxis": x, "yaxis": y} for trace in _traces(axes)]
    size = {"width": round(_INCH * inches[0] * right), "height": round(_INCH * inches[1] * top)}
    return {"data": data, "layout": layout, **size}


def _safe(text: str) -> str:
    """Return text in which plotly finds no markup."""
    return html.escape(str(text), quote=False).replace("\n", "<br>")


def _scaled(axis: Axis, values: Any) -> list[float | None]:
    places = np.asarray(axis.get_transform().transform(np.asarray(values, dtype=np.float64)))
    return [float(f"{place:.7g}") if math.isfinite(place) else None for place in places.tolist()]


def _axis(axis: Axis, limits: tuple[float, float], domain: list[float], anchor: str) -> dict[str, Any]:
    from matplotlib.ticker import FixedLocator, ScalarFormatter

    labels = [tick.get_text() for tick in axis.get_majorticklabels()]
    shown = any(tick.get_visible() for tick in axis.get_majorticklabels()) and any(labels)
    found: dict[str, Any] = {
        "domain": [round(edge, 5) for edge in domain],
        "anchor": anchor,
        "range": _scaled(axis, limits),
        "title": {"text": _safe(axis.get_label_text())},
        "showgrid": any(line.get_visible() for line in axis.get_gridlines()),
        "showticklabels": shown,
        "zeroline": False,
    }
    fixed = isinstance(axis.get_major_locator(), FixedLocator)
    if shown and (fixed or axis.get_scale() != "linear" or not isinstance(axis.get_major_formatter(), ScalarFormatter)):
        places = _scaled(axis, axis.get_majorticklocs())
        low, high = sorted(found["range"])
        ticks = [(p, text) for p, text in zip(places, labels) if p is not None and low <= p <= high and text]
        found |= {
            "tickmode": "array",
            "tickvals": [p for p, _ in ticks],
            "ticktext": [_safe(text) for _, text in ticks],
        }
        if any(abs(tick.get_rotation() - 90) < 1 for tick in axis.get_majorticklabels()):
            found["tickangle"] = -90
    return found


def _colour(colour: Any) -> str:
    from matplotlib.colors import to_hex

    plain = to_hex(colour)
    return f"var({THEMED[plain]})" if plain in THEMED else plain


def _hovered(told: Told | None) -> dict[str, Any]:
    if told is None:
        return {"hoverinfo": "skip", "legendgroup": "", "name": ""}
    return {"hoverinfo": "text", "legendgroup": told.name, "name": _safe(told.name)}


def _traces(axes: Axes) -> list[dict[str, Any]]:
    """Return what a panel shows, the lowest first; lines of one look and name are one."""
    from matplotlib.collections import PathCollection, PolyCollection
    from matplotlib.patches import Rectangle

    found = [_heat(axes, image) for image in axes.images if getattr(image, _TOLD, None)]
    found += [_area(axes, area) for area in axes.collections if isinstance(area, PolyCollection)]
    bars = [bar for bar in axes.patches if isinstance(bar, Rectangle) and getattr(bar, _TOLD, None)]
    found += _bars(axes, bars)
    found += _joined([line for line in axes.get_lines() if any(_in_data(axes, line))], axes)
    found += [_marks(axes, marks) for marks in axes.collections if isinstance(marks, PathCollection)]
    return found


def _in_data(axes: Axes, artist: Any) -> tuple[bool, bool]:
    """Return whether an artist's places are the data's, across and up: a line across all of a panel has one only."""
    return artist.get_transform().contains_branch_seperately(axes.transData)


def _words_of(told: Told, axes: Axes, xs: np.ndarray, ys: np.ndarray) -> list[str]:
    words = told.words
    if not len(words):
        across, up = axes.get_xlabel() or "x", axes.get_ylabel() or "y"
        words = [f"{across}: {x:.4g}\n{up}: {y:.4g}" for x, y in zip(xs.tolist(), ys.tolist())]
    return [f"<b>{_safe(told.name)}</b><br>{_safe(text)}" for text in words]


def _joined(lines: Sequence[Any], axes: Axes) -> list[dict[str, Any]]:
    """Return lines as traces; those of one look and name follow each other with a gap."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for line in lines:
        told: Told | None = getattr(line, _TOLD, None)
        own_x, own_y = _in_data(axes, line)
        xs, ys = (np.asarray(values, dtype=np.float64) for values in line.get_data(orig=False))
        xs = xs if own_x else np.asarray(axes.get_xlim())
        ys = ys if own_y else np.asarray(axes.get_ylim())
        look = _look(line)
        trace = found.setdefault(
            (told.name if told else None, str(look)),
            {"type": "scatter", **look, **_hovered(told), "x": [], "y": [], **({"text": []} if told else {})},
        )
        gap = [None] if trace["x"] else []
        trace["x"] += gap + _scaled(axes.xaxis, xs)
        trace["y"] += gap + _scaled(axes.yaxis, ys)
        if told:
            trace["text"] += [""] * len(gap) + _words_of(told, axes, xs, ys)
    return list(found.values())


def _look(line: Any) -> dict[str, Any]:
    dash, marker = _DASHES.get(line.get_linestyle()), _SYMBOLS.get(line.get_marker())
    look: dict[str, Any] = {"mode": "+".join(["lines"] * (dash is not None) + ["markers"] * (marker is not None))}
    look["mode"] = look["mode"] or "none"
    if dash:
        look["line"] = {
            "color": _colour(line.get_color()),
            "width": round(_POINT * line.get_linewidth(), 2),
            "dash": dash,
        }
    if marker:
        face = line.get_markerfacecolor()
        hollow = isinstance(face, str) and face.lower() in ("none", PAPER)
        look["marker"] = {
            "symbol": f"{marker}-open" if hollow else marker,
            "size": round(_POINT * line.get_markersize(), 1),
            "color": _colour(line.get_markeredgecolor() if hollow else face),
        }
    if line.get_alpha() is not None:
        look["opacity"] = line.get_alpha()
    return look


def _area(axes: Axes, area: Any) -> dict[str, Any]:
    corners = np.asarray(area.get_paths()[0].vertices)
    return {
        "type": "scatter",
        "mode": "none",
        "fill": "toself",
        "x": _scaled(axes.xaxis, corners[:, 0]),
        "y": _scaled(axes.yaxis, corners[:, 1]),
        "fillcolor": _colour(area.get_facecolor()[0][:3]),
        "opacity": float(area.get_alpha() or 1.0),
        # An area belongs to its line, which has the words.
        **_hovered(getattr(area, _TOLD, None)),
        "hoverinfo": "skip",
    }


def _bars(axes: Axes, bars: Sequence[Any]) -> list[dict[str, Any]]:
    """Return horizontal bars as traces, one a name."""
    named: dict[str, list[Any]] = {}
    for bar in bars:
        named.setdefault(getattr(bar, _TOLD).name, []).append(bar)
    found = []
    for mine in named.values():
        words = [_words_of(getattr(bar, _TOLD), axes, np.zeros(1), np.zeros(1))[0] for bar in mine]
        found.append(
            {
                "type": "bar",
                "orientation": "h",
                "x": [float(f"{bar.get_width():.7g}") for bar in mine],
                "y": [float(f"{bar.get_y() + bar.get_height() / 2:.7g}") for bar in mine],
                "width": [float(f"{bar.get_height():.7g}") for bar in mine],
                "marker": {"color": _colour(mine[0].get_facecolor()[:3]), "opacity": mine[0].get_alpha() or 1.0},
                **_hovered(getattr(mine[0], _TOLD)),
                "hovertext": words,
                "textposition": "none",
            }
        )
    return found


def _marks(axes: Axes, marks: Any) -> dict[str, Any]:
    told: Told | None = getattr(marks, _TOLD, None)
    places = np.ma.getdata(marks.get_offsets()).astype(np.float64)
    square = len(marks.get_paths()[0].vertices) <= 5
    return {
        "type": "scatter",
        "mode": "markers",
        "x": _scaled(axes.xaxis, places[:, 0]),
        "y": _scaled(axes.yaxis, places[:, 1]),
        "marker": {
            "symbol": "square" if square else "circle",
            "size": [round(_POINT * math.sqrt(area), 1) for area in np.asarray(marks.get_sizes()).tolist()],
            "color": _colour(marks.get_facecolor()[0][:3]),
            "opacity": float(marks.get_alpha() or 1.0),
            "line": {"color": _colour(marks.get_edgecolor()[0][:3]), "width": 1.3},
        },
        **_hovered(told),
        **({"text": _words_of(told, axes, places[:, 0], places[:, 1])} if told else {}),
    }


def _heat(axes: Axes, image: Any) -> dict[str, Any]:
    from matplotlib.colors import to_hex

    told: Told = getattr(image, _TOLD)
    values = np.ma.masked_invalid(image.get_array())
    shades = np.ma.filled(np.ma.asarray(image.norm(values), dtype=np.float64), np.nan)
    stops = [i / (_STOPS - 1) for i in range(_STOPS)]
    found: dict[str, Any] = {
        "type": "heatmap",
        "z": [[None if math.isnan(v) else round(v, 4) for v in row] for row in shades.tolist()],
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[stop, to_hex(image.cmap(stop))] for stop in stops],
        "showscale": False,
        **_hovered(told),
        "hovertext": [[_safe(text) for text in row] for row in told.words],
    }
    if len(told.cells):
        found |= {"text": [[_safe(text) for text in row] for row in told.cells], "texttemplate": "%{text}"}
    return found
