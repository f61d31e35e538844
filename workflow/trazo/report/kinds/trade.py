"""Figures that weigh: what codes cost against what they find, and two options of a reducer against each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from trazo.config import Study
from trazo.errors import InputError
from trazo.report.coded import (
    Code,
    CodeOptions,
    SearchOptions,
    check_codes,
    check_methods,
    check_varied,
    searched,
    shown_codes,
    varied,
)
from trazo.report.drawing import (
    INK,
    LINE,
    PALETTE,
    PAPER,
    SOFT,
    Drawing,
    Foreseen,
    Material,
    colour_of,
    figure_kind,
    label,
    legend_above,
    new_canvas,
)
from trazo.report.hover import tell, value_words
from trazo.report.measures import (
    RATE,
    Summary,
    lower_is_better,
    metric_heading,
    metric_label,
    read_measures,
    reducer_label,
    reducer_names,
    unit_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of the largest and the smallest mark, in points².
_LARGEST, _SMALLEST = 560.0, 14.0


class TradeOff(CodeOptions):
    """Options of `trade_off`."""

    cost: str = Field("query_time", description="metric across; lower is better")
    metric: str = Field("map", description="metric upwards")
    area: str = Field("memory", description="metric that marks' areas show; empty: all marks alike")


def _check_trade_off(options: TradeOff, study: Study, foreseen: Foreseen) -> str:
    shown = [name for name in (options.cost, options.metric, options.area) if name]
    if foreseen.computed is not None:
        unknown = [name for name in shown if name not in foreseen.computed]
        if unknown:
            return f"nothing computes {unknown[0]}; add it to the retrieval's `metrics`, or `cost: true` for costs."
    return check_methods(options, study, foreseen, shown)


@figure_kind("trade_off", needs=("metrics",), uses=("timings",), options=TradeOff, check=_check_trade_off)
def trade_off(options: TradeOff, study: Study, material: Material) -> Drawing:
    """Draw what every code finds against what it costs, a line a method, and join those that no other outdoes.

    A code is outdone by one that is no worse in both metrics and better in one. Areas of marks are proportional to the
    third metric.
    """
    wanted = [name for name in (options.cost, options.metric, options.area) if name]
    measures = read_measures(material.metrics, material.timings)
    codes = [
        code
        for code in shown_codes(options, study, measures, wanted, options.methods)
        if all(name in code.values for name in wanted)
    ]
    if not codes:
        raise InputError(f"no codes have all of {', '.join(wanted)}; add `cost: true` to the retrieval.")
    names = list(dict.fromkeys(code.method for code in codes))
    short = [code.method for code in codes if code.reducer]
    colours = {**dict.fromkeys(names, INK), **{name: colour_of(i) for i, name in enumerate(dict.fromkeys(short))}}
    canvas = new_canvas(7.6, 4.9)
    axes = canvas.add_subplot()
    largest = max((code.values[options.area].value for code in codes), default=0.0) if options.area else 0.0
    front = undominated(codes, options.cost, options.metric)
    best = [_at(code, options) for code in front]
    axes.plot(*zip(*best), color=INK, lw=4.5, alpha=0.16, zorder=1, solid_capstyle="round")
    for name, colour in colours.items():
        mine = [code for code in codes if code.method == name]
        axes.plot(*zip(*(_at(code, options) for code in mine)), color=colour, lw=0.9, alpha=0.7, zorder=2)
        for code in mine:
            x, y = _at(code, options)
            _interval(axes, code.values[options.metric], x, colour)
            mark = axes.scatter(
                x, y, s=_area(code, options, largest), marker="s" if code.packed else "o", color=colour,
                edgecolor=INK if code in front else PAPER, linewidth=1.3 if code in front else 0.7, alpha=0.85,
                zorder=3,
            )  # fmt: skip
            tell(mark, label(name), [_told(code, wanted, code in front)])
    _scales(axes, codes, options)
    _legend(canvas, colours, codes, options, largest)
    _name_sizes(axes, codes, front, options, largest)
    return Drawing(canvas, _words(front, codes, options))


def undominated(codes: Sequence[Code], cost: str, metric: str) -> list[Code]:
    """Return the codes that no other outdoes, the cheapest first.

    One outdoes another if it is no worse in both metrics and better in one.
    """

    def losses(code: Code) -> tuple[float, ...]:
        return tuple(code.values[name].value * (1 if lower_is_better(name) else -1) for name in (cost, metric))

    def outdone(code: Code) -> bool:
        own = losses(code)
        return any(
            other != own and all(theirs <= mine for theirs, mine in zip(other, own)) for other in map(losses, codes)
        )

    return sorted((code for code in codes if not outdone(code)), key=losses)


def _at(code: Code, options: TradeOff) -> tuple[float, float]:
    return code.values[options.cost].value, code.values[options.metric].value


def _told(code: Code, metrics: Sequence[str], best: bool) -> str:
    size = f"{32 * code.size:,.0f} bits" if code.packed else f"{code.size:g} values"
    values = [f"{metric_label(name)} {value_words(code.values[name], unit_of(name))}" for name in metrics]
    return "\n".join([size, *values, *(["outdone by none"] if best else [])])


def _area(code: Code, options: TradeOff, largest: float) -> float:
    if not options.area or largest <= 0:
        return 4 * _SMALLEST
    return max(_SMALLEST, _LARGEST * code.values[options.area].value / largest)


def _interval(axes: Axes, summary: Summary, x: float, colour: str) -> None:
    if summary.ci_low is not None:
        axes.plot([x, x], [summary.ci_low, summary.ci_high], color=colour, lw=1.0, alpha=0.35, zorder=1.5)


def _name_sizes(axes: Axes, codes: Sequence[Code], front: Sequence[Code], options: TradeOff, largest: float) -> None:
    """Write sizes beside marks, bits of bits and values of floats: first of those outdone by none, as long as they fit.

    Then the smallest and the largest of each method, then all others.
    """
    ends = [
        code
        for name in dict.fromkeys(c.method for c in codes)
        for code in ([c for c in codes if c.method == name][:1] + [c for c in codes if c.method == name][-1:])
    ]
    axes.figure.draw_without_rendering()
    points = 72 / axes.figure.dpi
    centres = {code: points * axes.transData.transform(_at(code, options)) for code in codes}
    radii = {code: math.sqrt(_area(code, options, largest) / math.pi) for code in codes}
    taken: list[tuple[float, float, float, float]] = []
    for code in dict.fromkeys([*front, *ends, *codes]):
        text = f"{32 * code.size:,.0f} bits" if code.packed else f"{code.size:g}"
        wide, high = 3.9 * len(text) + 2, 8.0
        (x, y), radius = centres[code], radii[code]
        # To the right, above, below, or to the left of its mark.
        for dx, dy in ((radius + 2, -3), (-wide / 2, radius + 2), (-wide / 2, -radius - 9), (-radius - wide - 1, -3)):
            box = (x + dx, y + dy, x + dx + wide, y + dy + high)
            if any(_overlap(box, other) for other in taken):
                continue
            if any(_covers(centres[other], radii[other], box) for other in codes if other is not code):
                continue
            taken.append(box)
            axes.annotate(text, _at(code, options), xytext=(dx, dy), textcoords="offset points", size=6.8, color=SOFT,
                          zorder=4)  # fmt: skip
            break


def _overlap(box: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]


def _covers(centre: Sequence[float], radius: float, box: tuple[float, ...]) -> bool:
    """Return whether a mark reaches into a box."""
    x, y = (min(max(c, low), high) for c, low, high in zip(centre, box[:2], box[2:]))
    return math.hypot(x - centre[0], y - centre[1]) < radius


def _scales(axes: Axes, codes: Sequence[Code], options: TradeOff) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for name, axis, values in (
        (options.cost, axes.xaxis, [_at(code, options)[0] for code in codes]),
        (options.metric, axes.yaxis, [_at(code, options)[1] for code in codes]),
    ):
        axis.set_label_text(metric_heading(name))
        if unit_of(name) != RATE and min(values) > 0 and max(values) > 4 * min(values):
            (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log")
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.09, y=0.1)


def _legend(canvas: Any, colours: Mapping[str, str], codes: Sequence[Code], options: TradeOff, largest: float) -> None:
    from matplotlib.lines import Line2D

    handles: list[Any] = []
    for name, colour in colours.items():
        first = next(code for code in codes if code.method == name)
        look = {"marker": "s" if first.packed else "o", "ms": 6, "lw": 0.9}
        handles.append(Line2D([], [], color=colour, label=label(name), **look))
    handles.append(Line2D([], [], color=INK, lw=4.5, alpha=0.25, label="outdone by none"))
    if options.area and largest > 0:
        # The largest mark has no room in a legend: a sixteenth of its area has a quarter of its width.
        look = {"marker": "o", "ms": math.sqrt(_LARGEST) / 4, "mfc": LINE, "mec": SOFT, "ls": "none"}
        told = f"{metric_label(options.area)} {largest / 16:.3g} {unit_of(options.area).sign}".strip()
        handles.append(Line2D([], [], label=told, **look))
    legend_above(canvas, handles)


def _words(front: Sequence[Code], codes: Sequence[Code], options: TradeOff) -> str:
    def told(code: Code) -> str:
        size = f"{32 * code.size:,.0f} bits" if code.packed else f"{code.size:g} values"
        values = [
            f"{metric_label(name)} {unit_of(name).text(code.values[name].value)} {unit_of(name).sign}".strip()
            for name in (options.metric, options.cost, options.area)
            if name
        ]
        return f"{label(code.method)} of {size} ({', '.join(values)})"

    return (
        f"Of {len(codes)} codes, {len(front)} are outdone by none in {metric_label(options.metric)} and "
        f"{metric_label(options.cost)}: {'; '.join(map(told, front))}."
    )


class HeatMap(SearchOptions):
    """Options of `heat_map`."""

    method: str = Field(description="the reducer whose options differ, such as `umap`")
    across: str = Field(description="the option that runs across, a number, such as `n_neighbors`")
    up: str = Field(description="the option that runs upwards, such as `min_dist`")
    metric: str = Field("map", description="metric shown")
    size: int = Field(0, ge=0, description="size of the codes shown; the only one measured if left out")
    defaults: dict[str, float] = Field(
        default_factory=dict,
        description="an option's value where a reducer does not name it, such as {n_neighbors: 15, min_dist: 0.1}",
    )


def _check_heat_map(options: HeatMap, study: Study, foreseen: Foreseen) -> str:
    problem = check_varied(options.method, [options.across, options.up], options.defaults, study)
    return problem or check_codes(options, study, foreseen, [options.metric])


@figure_kind("heat_map", needs=("metrics",), uses=("timings",), options=HeatMap, check=_check_heat_map)
def heat_map(options: HeatMap, study: Study, material: Material) -> Drawing:
    """Draw a metric over two options of a reducer: a cell a pair with its interval, the best one framed."""
    found = varied(options.method, [options.across, options.up], options.defaults, reducer_names(study))
    measures = read_measures(material.metrics, material.timings)
    codes = shown_codes(options, study, measures, [options.metric], ["", *found])
    mine = [c for c in codes if c.reducer in found and (not options.size or c.size == options.size)]
    # The size at which the options were varied is that of most pairs.
    sizes = sorted({c.size for c in mine}, key=lambda size: -len({found[c.reducer] for c in mine if c.size == size}))
    if not sizes:
        raise InputError(f"no {options.method} reducer of other {options.across} and {options.up} was measured.")
    values: dict[tuple[float, float], Summary] = {
        found[c.reducer]: c.values[options.metric] for c in mine if c.size == sizes[0]
    }
    columns, rows = (sorted({pair[axis] for pair in values}) for axis in (0, 1))
    table = np.full((len(rows), len(columns)), np.nan)
    for (x, y), summary in values.items():
        table[rows.index(y), columns.index(x)] = summary.value
    canvas = new_canvas(max(1.5 + 0.86 * len(columns), 5.0), 1.35 + 0.56 * len(rows))
    axes = canvas.add_subplot()
    image = axes.imshow(table, cmap="YlGnBu", origin="lower", aspect="auto", interpolation="nearest")
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xticks(range(len(columns)), [f"{value:g}" for value in columns])
    axes.set_yticks(range(len(rows)), [f"{value:g}" for value in rows])
    axes.tick_params(length=0)
    axes.set(xlabel=options.across, ylabel=options.up)
    unit, best = unit_of(options.metric), (min if lower_is_better(options.metric) else max)
    top = best(values, key=lambda pair: values[pair].value)
    pairs = [[(column, row) for column in columns] for row in rows]
    said = [[_cell_words(options, pair, values.get(pair)) for pair in line] for line in pairs]
    cells = [[unit.text(values[pair].value) if pair in values else "" for pair in line] for line in pairs]
    tell(image, metric_label(options.metric), said, cells)
    _write_cells(axes, image, values, columns, rows, top, options.metric)
    whole = next((code.values[options.metric] for code in codes if not code.reducer), None)
    sign = f" {unit.sign}" if unit.sign else ""
    base = f"; features as they are {unit.text(whole.value)}{sign}" if whole else ""
    name = f"{reducer_label(options.method)} {sizes[0]:g}, {searched(options, study).label}"
    axes.set_title(f"{metric_heading(options.metric)}, {name}{base}", fontsize=9)
    worst = (max if best is min else min)(values, key=lambda pair: values[pair].value)
    words = [
        f"{word} {unit.text(values[pair].value)}{sign} at {options.across} {pair[0]:g} and {options.up} {pair[1]:g}"
        for word, pair in (("best", top), ("worst", worst))
    ]
    return Drawing(canvas, f"{metric_label(options.metric)} of {name}: {', '.join(words)}{base}.")


def _cell_words(options: HeatMap, pair: tuple[float, float], value: Summary | None) -> str:
    place = f"{options.across} {pair[0]:g}, {options.up} {pair[1]:g}"
    if value is None:
        return f"{place}: not measured"
    return f"{metric_label(options.metric)} {value_words(value, unit_of(options.metric))}\n{place}"


def _write_cells(
    axes: Axes,
    image: Any,
    values: dict[tuple[float, float], Summary],
    columns: Sequence[float],
    rows: Sequence[float],
    top: tuple[float, float],
    metric: str,
) -> None:
    from matplotlib.patches import Rectangle

    unit = unit_of(metric)
    for (x, y), summary in values.items():
        column, row = columns.index(x), rows.index(y)
        red, green, blue, _ = image.cmap(image.norm(summary.value))
        # Whichever of black and white can be read on the cell's colour.
        colour = "#10202b" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "#ffffff"
        bounded = summary.ci_low is not None
        weight = "bold" if (x, y) == top else "normal"
        axes.text(column, row + 0.1 * bounded, unit.text(summary.value), ha="center", va="center", color=colour,
                  weight=weight)  # fmt: skip
        if bounded:
            interval = f"{unit.text(summary.ci_low)}–{unit.text(summary.ci_high)}"
            axes.text(column, row - 0.24, interval, ha="center", va="center", color=colour, size=6.2)
    place = (columns.index(top[0]) - 0.47, rows.index(top[1]) - 0.46)
    axes.add_patch(Rectangle(place, 0.94, 0.92, fill=False, ec=PALETTE[4], lw=2.2))
