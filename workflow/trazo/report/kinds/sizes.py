"""Figures of codes: metrics against their size, and against an option of what made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from trazo.config import Study
from trazo.errors import InputError
from trazo.report.coded import (
    Code,
    CodeOptions,
    SearchOptions,
    check_codes,
    check_methods,
    check_varied,
    is_of,
    shown_codes,
    spoken_of,
    varied,
)
from trazo.report.drawing import (
    INK,
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
    plain,
    read_measures,
    reducer_label,
    reducer_names,
    unit_of,
)
from trazo.report.published import PublishedValue, read_published

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_HEIGHT, _BESIDE = 3.4, 2
# Of a panel, by how many stand beside each other.
_WIDTHS = {1: 6.4, 2: 5.3, 3: 4.2}
# Of features as they are, a dash a model.
_DASHES: tuple[Any, ...] = ("dashed", (0, (6, 1.5, 1, 1.5)), (0, (2, 1)))
# A value several times another's would leave that one no room on a linear scale.
_WIDE = 8.0


class _Against(SearchOptions):
    """Options of kinds that show metrics against something, a panel a metric."""

    metrics: list[str] = Field(
        default_factory=lambda: ["map"], min_length=1, description="metrics shown, a panel each: [map, query_time]"
    )
    published: list[str] = Field(default_factory=list, description="published tables, drawn as hollow marks")

    @field_validator("published", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


@dataclass(frozen=True)
class _Line:
    """A line of a panel: values and published values, both in the metric's unit, by where they stand."""

    name: str
    points: dict[float, Summary]
    published: dict[float, float]
    colour: str
    packed: bool = False


@dataclass(frozen=True)
class _Panel:
    """A metric's lines, and the levels of features as they are: ours by name, and published ones."""

    metric: str
    lines: list[_Line]
    levels: dict[str, Summary]
    published_levels: list[float]

    @property
    def values(self) -> list[float]:
        """All the values it shows."""
        ours = [s.value for line in self.lines for s in line.points.values()]
        theirs = [value for line in self.lines for value in line.published.values()]
        return [*ours, *theirs, *(s.value for s in self.levels.values()), *self.published_levels]

    @property
    def places(self) -> list[float]:
        """Where points stand."""
        return sorted({place for line in self.lines for place in (*line.points, *line.published)})


class BySize(CodeOptions, _Against):
    """Options of `by_size`."""


def _check_by_size(options: BySize, study: Study, foreseen: Foreseen) -> str:
    return check_methods(options, study, foreseen, options.metrics)


@figure_kind("by_size", needs=("metrics",), uses=("timings", "published"), options=BySize, check=_check_by_size)
def by_size(options: BySize, study: Study, material: Material) -> Drawing:
    """Draw metrics against the size of codes: a line a method with 95 % intervals, features as they are dashed.

    Sizes are float32 values; bits stand at the size of equal bytes. Times and megabytes that differ much have a
    logarithmic scale.
    """
    measures = read_measures(material.metrics, material.timings)
    codes = shown_codes(options, study, measures, options.metrics, options.methods)
    names = list(dict.fromkeys(code.method for code in codes if code.reducer))
    if not names:
        raise InputError("only features as they are were measured; a figure by size needs `reducers` or learned codes.")
    spoken = _spoken(options, study, material)
    panels = []
    for metric in options.metrics:
        lines = []
        for place, name in enumerate(names):
            mine = [code for code in codes if code.method == name]
            told = [row for row in spoken if row.ours("metric") == metric and is_of(row, name, codes, study)]
            lines.append(
                _Line(
                    name,
                    {code.size: code.values[metric] for code in mine if metric in code.values},
                    {float(row.ours("size")): _in_unit(row) for row in told if row.ours("size")},
                    colour_of(place),
                    all(code.packed for code in mine),
                )
            )
        panels.append(_Panel(metric, lines, _levels(codes, metric), _published_levels(spoken, metric)))
    canvas, grid = _canvas(len(panels), options.metrics)
    for axes, panel in zip(grid, panels):
        _draw(axes, panel, "{:g} values")
        _sizes_below(axes, panel)
    _legend(canvas, panels)
    return Drawing(canvas, " ".join(_words(panel, "{:g} values") for panel in panels))


class ByOption(_Against):
    """Options of `by_option`."""

    method: str = Field(description="the reducer whose option differs, such as `umap`")
    option: str = Field(description="the option, a number, such as `share`")
    defaults: dict[str, float] = Field(
        default_factory=dict,
        description="the option's value where a reducer does not name it, such as {n_neighbors: 15}",
    )
    size: int = Field(0, ge=0, description="size of the codes shown; all, a line each, if left out")

    @property
    def filled(self) -> dict[str, float]:
        """The option's value where a reducer does not name it; what is fitted on a share is else fitted on all."""
        return {**({"share": 1.0} if self.option == "share" else {}), **self.defaults}


def _check_by_option(options: ByOption, study: Study, foreseen: Foreseen) -> str:
    problem = check_varied(options.method, [options.option], options.filled, study)
    return problem or check_codes(options, study, foreseen, options.metrics)


@figure_kind("by_option", needs=("metrics",), uses=("timings", "published"), options=ByOption, check=_check_by_option)
def by_option(options: ByOption, study: Study, material: Material) -> Drawing:
    """Draw metrics against an option of a reducer: a line a size with 95 % intervals, features as they are dashed."""
    measures = read_measures(material.metrics, material.timings)
    found = varied(options.method, [options.option], options.filled, reducer_names(study))
    codes = shown_codes(options, study, measures, options.metrics, ["", *found])
    mine = [c for c in codes if c.reducer in found and (not options.size or c.size == options.size)]
    # With one point a line says nothing of the option.
    by_size = {size: [c for c in mine if c.size == size] for size in sorted({c.size for c in mine})}
    by_size = {size: own for size, own in by_size.items() if len({found[c.reducer] for c in own}) > 1}
    if not by_size:
        raise InputError(
            f"no two {options.method} reducers of one size that differ in {options.option} alone were measured."
        )
    spoken = _spoken(options, study, material)
    panels = []
    for metric in options.metrics:
        told = [row for row in spoken if row.ours("metric") == metric and row.ours("reducer") in found]
        lines = [
            _Line(
                f"{reducer_label(options.method)} {size:g}",
                {found[c.reducer][0]: c.values[metric] for c in own if metric in c.values},
                {
                    found[row.ours("reducer")][0]: _in_unit(row)
                    for row in told
                    if plain("size", row.ours("size")) == f"{size:g}"
                },
                colour_of(place),
            )
            for place, (size, own) in enumerate(by_size.items())
        ]
        panels.append(_Panel(metric, lines, _levels(codes, metric), []))
    canvas, grid = _canvas(len(panels), options.metrics)
    share = options.option == "share"
    words = f"{options.option} {{:g}}"
    for axes, panel in zip(grid, panels):
        _draw(axes, panel, words)
        places = panel.places
        axes.set_xticks(places, [f"{100 * place:g}" if share else f"{place:g}" for place in places])
        axes.set_xlabel("Share of items fitted on (%)" if share else options.option)
    _legend(canvas, panels)
    return Drawing(canvas, " ".join(_words(panel, words) for panel in panels))


def _spoken(options: _Against, study: Study, material: Material) -> list[PublishedValue]:
    if not (material.published and options.published):
        return []
    return spoken_of(options, study, read_published(material.published, study), options.published)


def _in_unit(row: PublishedValue) -> float:
    return row.value * unit_of(row.ours("metric")).factor / row.factor


def _levels(codes: Sequence[Code], metric: str) -> dict[str, Summary]:
    """Return the values of features as they are, by what readers know them by."""
    whole = [code for code in codes if not code.reducer and metric in code.values]
    return {f"{code.method} ({code.size:g} values)": code.values[metric] for code in whole}


def _published_levels(spoken: Sequence[PublishedValue], metric: str) -> list[float]:
    return [_in_unit(r) for r in spoken if r.ours("metric") == metric and not plain("reducer", r.ours("reducer"))]


def _canvas(panels: int, metrics: Sequence[str]) -> tuple[Canvas, list[Axes]]:
    across = 3 if panels == 3 else min(_BESIDE, panels)
    down = -(-panels // across)
    canvas = new_canvas(_WIDTHS[across] * across, _HEIGHT * down + 0.6)
    grid = list(canvas.subplots(down, across, squeeze=False).ravel())
    for axes in grid[len(metrics) :]:
        axes.set_axis_off()
    return canvas, grid[: len(metrics)]


def _draw(axes: Axes, panel: _Panel, at: str) -> None:
    unit = unit_of(panel.metric)
    for place, ((name, level), dash) in enumerate(zip(panel.levels.items(), _cycled(len(panel.levels)))):
        line = axes.axhline(level.value, color=INK, lw=1.3, linestyle=dash, zorder=1.5)
        tell(line, name, [value_words(level, unit)] * 2)
        if level.ci_low is not None and place == 0:
            axes.axhspan(level.ci_low, level.ci_high, color=INK, alpha=0.07, lw=0, zorder=1)
    for value in panel.published_levels:
        line = axes.axhline(value, color=SOFT, lw=1.1, linestyle="dotted", zorder=1.5)
        tell(line, "features as they are, published", [f"{unit.text(value)} {unit.sign}"] * 2)
    for line in panel.lines:
        reached = sorted(line.points)
        bounded = [p for p in reached if line.points[p].ci_low is not None]
        if bounded:
            bounds = [(line.points[p].ci_low, line.points[p].ci_high) for p in bounded]
            tell(axes.fill_between(bounded, *zip(*bounds), color=line.colour, alpha=0.12, lw=0), line.name)
        marker = _mark(line)
        heights = [line.points[p].value for p in reached]
        (drawn,) = axes.plot(reached, heights, color=line.colour, marker=marker, ms=4.2, lw=1.7, zorder=3)
        tell(drawn, line.name, [f"{value_words(line.points[p], unit)}, {at.format(p)}" for p in reached])
        told = sorted(line.published)
        hollow = {"mfc": PAPER, "mec": line.colour, "mew": 1.1, "ms": 5.2, "zorder": 2.5}
        (marks,) = axes.plot(told, [line.published[p] for p in told], color=line.colour, marker=marker, ls="dotted",
                             lw=0.9, **hollow)  # fmt: skip
        spoken = [f"published: {unit.text(line.published[p])} {unit.sign}, {at.format(p)}" for p in told]
        tell(marks, line.name, spoken)
    axes.set_ylabel(metric_heading(panel.metric))
    values = [value for value in panel.values if value > 0]
    if unit != RATE and values and max(values) > _WIDE * min(values):
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif not values or min(values) < max(values) / 2:
        axes.set_ylim(bottom=0)


def _cycled(count: int) -> list[Any]:
    return [_DASHES[i % len(_DASHES)] for i in range(count)]


def _mark(line: _Line) -> str:
    return "s" if line.packed else "o"


def _sizes_below(axes: Axes, panel: _Panel) -> None:
    """Name sizes below, in bits too where there are some, and bytes above."""
    sizes = panel.places
    packed = [p for line in panel.lines if line.packed for p in (*line.points, *line.published)]
    axes.set_xscale("log", base=2)
    axes.set_xlim(min(sizes) / 1.25, max(sizes) * 1.25)
    names = [f"{size:g}" + (f"\n{32 * size:,.0f}" if size in packed else "\n" * bool(packed)) for size in sizes]
    axes.set_xticks(sizes, names)
    axes.minorticks_off()
    axes.set_xlabel("Values of a code (float32)" + (", and below them bits of the same bytes" if packed else ""))
    above = axes.secondary_xaxis("top", functions=(lambda size: 4 * size, lambda size: size / 4))
    every = sizes[::2]
    above.set_xticks([4 * size for size in every], [_bytes(4 * size) for size in every])
    above.minorticks_off()
    above.tick_params(length=0, labelsize=7.5, labelcolor=SOFT, pad=1)
    above.spines["top"].set_visible(False)


def _bytes(count: float) -> str:
    return f"{count:g} B" if count < 1024 else f"{count / 1024:g} KiB"


def _legend(canvas: Canvas, panels: Sequence[_Panel]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D([], [], color=line.colour, marker=_mark(line), ms=4.2, lw=1.7, label=label(line.name))
        for line in panels[0].lines
    ]
    levels = list(dict.fromkeys(name for panel in panels for name in panel.levels))
    handles += [
        Line2D([], [], color=INK, lw=1.3, linestyle=dash, label=label(name, 40))
        for name, dash in zip(levels, _cycled(len(levels)))
    ]
    summaries = [s for panel in panels for line in panel.lines for s in line.points.values()]
    if any(s.ci_low is not None for s in summaries):
        handles.append(Patch(color=SOFT, alpha=0.2, lw=0, label="95 % interval"))
    if any(line.published or panel.published_levels for panel in panels for line in panel.lines):
        look = {"mfc": PAPER, "mec": SOFT, "mew": 1.1, "ms": 5.2}
        handles.append(Line2D([], [], color=SOFT, lw=0.9, ls="dotted", marker="o", label="published", **look))
    legend_above(canvas, handles, handlelength=2.6)


def _words(panel: _Panel, at: str) -> str:
    """Return what a panel shows in words; `at` says where a point stands."""
    unit = unit_of(panel.metric)
    sign = f" {unit.sign}" if unit.sign else ""
    best = min if lower_is_better(panel.metric) else max
    told = [f"{name} {unit.text(level.value)}{sign}" for name, level in panel.levels.items()]
    for line in panel.lines:
        if not line.points:
            continue
        places = dict.fromkeys(
            [min(line.points), best(line.points, key=lambda p: line.points[p].value), max(line.points)]
        )
        values = [f"{unit.text(line.points[p].value)}{sign} at {at.format(p)}" for p in sorted(places)]
        told.append(f"{label(line.name)} {', '.join(values)}")
    return f"{metric_label(panel.metric)}: {'; '.join(told)}."
