"""The figure of a sweep over epochs: what longer training does to every metric, beside the published points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from trazo.config import Retrieval, Study
from trazo.errors import InputError
from trazo.report.drawing import (
    LINE_STYLES,
    MARKERS,
    SOFT,
    Drawing,
    Material,
    ModelOptions,
    colour_of,
    figure_kind,
    label,
    legend_above,
    new_canvas,
    shown_models,
)
from trazo.report.hover import tell, value_words
from trazo.report.measures import (
    Measure,
    Summary,
    Unit,
    last_stages,
    lower_is_better,
    measured_names,
    metric_label,
    read_measures,
    reduced_by,
    select,
    summarize,
    totals,
    unit_of,
)
from trazo.report.published import measured_datasets, read_published

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

# With more points a marker on each hides the line.
_MOST_MARKERS = 25
_PANEL_WIDTH, _PANEL_HEIGHT = 7.6, 3.1
_LABEL_POINTS = 11.5


class Epochs(ModelOptions):
    """Options of `epochs`."""

    metrics: list[str] = Field(default_factory=lambda: ["map"], min_length=1, description="metrics shown")
    distance: str = Field("", description="distance searched by; the retrieval's first if left out")
    retrieval: str = Field("", description="retrieval shown; each model's first if left out")
    ranker: str = Field("", description="ranker shown, as tables name it; the retrieval's first if left out")
    reducer: str = Field("", description="reducer shown, as paths name it; the retrieval's first if left out")
    stage: str = Field("", description="training stage shown; each model's last if left out")
    average: Literal["queries", "classes"] = Field("queries", description="what a point averages over")
    published: list[str] = Field(
        default_factory=list, description="published tables (or figures) drawn as hollow marks"
    )
    epochs: tuple[int, int] | None = Field(None, description="the first and the last epoch shown; all if left out")
    axis: Literal["linear", "log"] = Field("linear", description="log: early epochs wider apart, 0 included")

    @field_validator("epochs")
    @classmethod
    def _in_order(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value and not 0 <= value[0] < value[1]:
            raise ValueError(f"epochs go from a first to a later last one, such as [7, 20]; got {list(value)}")
        return value

    def shows(self, epoch: float) -> bool:
        """Return whether an epoch is among those shown; half an epoch off still is, as charts are read."""
        return self.epochs is None or self.epochs[0] - 0.5 <= epoch <= self.epochs[1] + 0.5

    @field_validator("published", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


@dataclass(frozen=True)
class _Line:
    """A metric of a model at every epoch, ours and the published points (epoch, value), in the metric's unit."""

    model: str
    metric: str
    points: dict[float, Summary]
    published: list[tuple[float, float]]

    @property
    def name(self) -> str:
        """What readers know it by."""
        return f"{label(self.model)} · {metric_label(self.metric)}"

    @property
    def ends(self) -> tuple[float, float]:
        """The last point."""
        epoch = max(self.points)
        return epoch, self.points[epoch].value


@figure_kind("epochs", needs=("metrics",), uses=("timings", "published"), options=Epochs)
def epochs(options: Epochs, study: Study, material: Material) -> Drawing:
    """Draw metrics against epochs of training: a colour a model, a dash a metric, a panel a unit."""
    everything = read_measures(material.metrics, material.timings)
    everything = reduced_by([m for m in totals(everything, options.average) if m.epoch], options.reducer, study)
    everything = select(everything, stage=options.stage) if options.stage else everything
    everything = last_stages(everything, study)
    models = shown_models(options, study)
    spoken = _published_points(options, study, material)
    lines = []
    for model in models:
        for metric in options.metrics:
            shown = [m for m in _of(everything, model, metric, options, study) if options.shows(float(m.epoch))]
            points = _points(shown, unit_of(metric))
            published = spoken.get((model, metric), [])
            if points or published:
                lines.append(_Line(model, metric, points, published))
    if not any(line.points for line in lines):
        asked = f" from {options.epochs[0]} to {options.epochs[1]}" if options.epochs else ""
        raise InputError(
            f"no epoch{asked} of {', '.join(options.metrics)} was measured; add `epochs` to the retrieval."
        )
    panels: dict[Unit, list[_Line]] = {}
    for metric in options.metrics:
        panels.setdefault(unit_of(metric), []).extend(line for line in lines if line.metric == metric)
    panels = {unit: found for unit, found in panels.items() if found}
    canvas = new_canvas(_PANEL_WIDTH, _PANEL_HEIGHT * len(panels) + 0.5)
    grid = canvas.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
    labelled = True
    for axes, (unit, found) in zip(grid, panels.items()):
        _panel(axes, found, unit, options, models)
        labelled = _direct_labels(axes, found, options, models) and labelled
    _horizontal(grid, lines, options)
    _legend(canvas, lines, options, models, labelled=labelled)
    return Drawing(canvas, " ".join(_words(line) for line in lines))


def _of(measures: list[Measure], model: str, metric: str, options: Epochs, study: Study) -> list[Measure]:
    """Return a model's values of a metric on the retrieval shown, by one distance and ranker."""
    mine = select(measures, model=model, metric=metric)
    for retrieval in study.retrievals:
        if options.retrieval not in (retrieval.label, "") or model not in (*retrieval.models, *retrieval.features):
            continue
        chosen = _searched(select(mine, dataset=measured_names(retrieval.label, metric, study)), retrieval, options)
        if chosen:
            return chosen
    return [] if study.retrievals else mine


def _searched(measures: list[Measure], retrieval: Retrieval, options: Epochs) -> list[Measure]:
    # What was not found by searching, such as accuracy, has neither distance nor ranker.
    distances = {options.distance or retrieval.distances[0], ""}
    rankers = {options.ranker or retrieval.ranker_labels[0], ""}
    return [m for m in measures if m.distance in distances and m.ranker in rankers]


def _points(measures: list[Measure], unit: Unit) -> dict[float, Summary]:
    reached = sorted({float(m.epoch) for m in measures})
    return {epoch: summarize(select(measures, epoch=epoch)).scaled(unit.factor) for epoch in reached}


def _published_points(
    options: Epochs, study: Study, material: Material
) -> dict[tuple[str, str], list[tuple[float, float]]]:
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    rows = read_published(material.published, study) if material.published and options.published else []
    for row in rows:
        if row.table not in options.published or row.epoch is None or row.class_name or not options.shows(row.epoch):
            continue
        if options.distance and row.distance not in {options.distance, ""}:
            continue
        metric = row.ours("metric")
        if options.retrieval and not measured_names(options.retrieval, metric, study).intersection(
            measured_datasets(row, study)
        ):
            continue
        value = row.value * unit_of(metric).factor / row.factor
        found.setdefault((row.ours("model"), metric), []).append((row.epoch, value))
    return found


def _panel(axes: Axes, lines: list[_Line], unit: Unit, options: Epochs, models: list[str]) -> None:
    for line in lines:
        colour, place = colour_of(models.index(line.model)), options.metrics.index(line.metric)
        marker = MARKERS[place % len(MARKERS)]
        reached = list(line.points)
        bounded = [e for e in reached if line.points[e].ci_low is not None]
        if bounded:
            bounds = [(line.points[e].ci_low, line.points[e].ci_high) for e in bounded]
            tell(axes.fill_between(bounded, *zip(*bounds), color=colour, alpha=0.13, lw=0), line.name)
        if reached:
            (drawn,) = axes.plot(
                reached,
                [line.points[e].value for e in reached],
                color=colour,
                linestyle=LINE_STYLES[place % len(LINE_STYLES)],
                marker=marker if len(reached) <= _MOST_MARKERS else None,
                markersize=3.8,
                linewidth=1.6,
            )
            tell(drawn, line.name, [f"{value_words(line.points[e], unit)} at epoch {e:g}" for e in reached])
        if line.published:
            (marks,) = axes.plot(
                *zip(*line.published), marker=marker, ms=6.0, mfc="none", mec=colour, mew=1.3, ls="none", zorder=5
            )
            said = [f"published: {unit.text(value)} {unit.sign} at epoch {epoch:g}" for epoch, value in line.published]
            tell(marks, line.name, said)
    names = ", ".join(dict.fromkeys(metric_label(line.metric) for line in lines))
    sign = f" ({unit.sign})" if unit.sign else ""
    axes.set_ylabel(names + sign if len(names) <= 34 else unit.sign)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))


def _direct_labels(axes: Axes, lines: list[_Line], options: Epochs, models: list[str]) -> bool:
    """Write each line's name beside its end; return whether all of them fit."""
    drawn = [line for line in lines if line.points]
    last = max(line.ends[0] for line in drawn) if drawn else 0.0
    rightmost = max([last, *(epoch for line in lines for epoch, _ in line.published)])
    # A name far from its line, or where points still follow, would mislead.
    if any(line.ends[0] < 0.95 * rightmost for line in drawn) or len(drawn) < len(lines):
        return False
    bottom, top = axes.get_ylim()
    gap = _LABEL_POINTS / (0.8 * _PANEL_HEIGHT * 72)
    heights = spread([(line.ends[1] - bottom) / (top - bottom) for line in drawn], gap)
    if heights is None:
        return False
    several = len(options.metrics) > 1 and len({line.metric for line in drawn}) > 1
    for line, height in zip(drawn, heights):
        parts = [line.model if len(models) > 1 or not several else "", metric_label(line.metric) if several else ""]
        true = (line.ends[1] - bottom) / (top - bottom)
        colour = colour_of(models.index(line.model))
        place = axes.transAxes
        if abs(true - height) > gap / 4:
            axes.plot([1.0, 1.025], [true, height], transform=place, color=SOFT, lw=0.6, clip_on=False)
        axes.text(1.03, height, " ".join(label(p) for p in parts if p), transform=place, color=colour, va="center",
                  size=8)  # fmt: skip
    return True


def spread(heights: Sequence[float], gap: float) -> list[float] | None:
    """Return heights (0 to 1) moved as little as order allows so that neighbours are `gap` apart, None without room."""
    if (len(heights) - 1) * gap > 1.0:
        return None
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    # Groups of names that touch: each keeps the mean of the heights its names would have had.
    groups: list[list[int]] = []
    places: list[float] = []
    for i in order:
        groups.append([i])
        places.append(heights[i])
        while len(groups) > 1 and places[-1] - places[-2] < gap * (len(groups[-1]) + len(groups[-2])) / 2:
            joined = groups.pop()
            groups[-1] += joined
            places.pop()
            places[-1] = sum(heights[j] for j in groups[-1]) / len(groups[-1])
            half = gap * (len(groups[-1]) - 1) / 2
            places[-1] = min(max(places[-1], half), 1.0 - half)
    found = [0.0] * len(heights)
    for group, place in zip(groups, places):
        for rank, i in enumerate(group):
            found[i] = place + gap * (rank - (len(group) - 1) / 2)
    return found


def _horizontal(grid: Any, lines: list[_Line], options: Epochs) -> None:
    reached = [e for line in lines for e in (*line.points, *(epoch for epoch, _ in line.published))]
    axes = grid[-1]
    width = max(reached) - min(reached)
    if options.axis == "log":
        axes.set_xscale("function", functions=(_early_apart, _as_it_was))
        axes.set_xlim(min(reached) - 0.12 * (1 + min(reached)), max(reached) + 0.04 * (1 + width))
        steps = [0, 1, 2, 3, 5, 7, 10, 14, 20, 30, 45, 60, 90, *(k * 10**n for n in range(2, 6) for k in (1, 2, 5))]
        axes.set_xticks([s for s in steps if min(reached) <= s <= max(reached)])
        axes.minorticks_off()
    else:
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlim(min(reached) - 0.02 * width - 0.1, max(reached) + 0.01 * width + 0.1)
    axes.set_xlabel("Epoch (0: before training)" if min(reached) == 0 else "Epoch")


def _early_apart(epochs: np.ndarray) -> np.ndarray:
    import numpy as np

    # Axes ask beyond their ends too, where the logarithm has no value.
    return np.log1p(np.maximum(epochs, -0.9))


def _as_it_was(places: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.expm1(places)


def _legend(canvas: Any, lines: list[_Line], options: Epochs, models: list[str], *, labelled: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    if not labelled:
        shown = [m for m in models if any(line.model == m for line in lines)]
        handles += [Line2D([], [], color=colour_of(models.index(m)), lw=2.4, label=label(m)) for m in shown]
    metrics = [metric for metric in options.metrics if any(line.metric == metric for line in lines)]
    # A panel of one metric is named by its axis.
    shared = [m for m in metrics if sum(unit_of(m) == unit_of(other) for other in metrics) > 1]
    for metric in shared:
        place = options.metrics.index(metric)
        style = {"linestyle": LINE_STYLES[place % len(LINE_STYLES)], "marker": MARKERS[place % len(MARKERS)]}
        handles.append(Line2D([], [], color=SOFT, lw=1.6, ms=3.8, label=metric_label(metric), **style))
    if any(s.ci_low is not None for line in lines for s in line.points.values()):
        handles.append(Patch(color=SOFT, alpha=0.2, lw=0, label="95 % interval"))
    if any(line.published for line in lines):
        mark = {"marker": "o", "ms": 6.0, "mfc": "none", "mec": SOFT, "mew": 1.3, "ls": "none"}
        handles.append(Line2D([], [], label=f"published ({', '.join(options.published)})", **mark))
    if handles:
        legend_above(canvas, handles, handlelength=2.8)


def _words(line: _Line) -> str:
    unit = unit_of(line.metric)
    sign = f" {unit.sign}" if unit.sign else ""
    head = f"{label(line.model)}, {metric_label(line.metric)}"
    told = []
    if line.points:
        first, last = min(line.points), max(line.points)
        best = (min if lower_is_better(line.metric) else max)(line.points, key=lambda e: line.points[e].value)
        ends = [f"{unit.text(line.points[e].value)}{sign} at epoch {e:g}" for e in dict.fromkeys((first, last))]
        told.append(" to ".join(ends) + (f", best {unit.text(line.points[best].value)}{sign} at {best:g}"
                                         if best not in (first, last) else ""))  # fmt: skip
    told += [f"published {unit.text(value)}{sign} at {epoch:g}" for epoch, value in line.published]
    return f"{head}: {'; '.join(told)}."
