"""Figures of bars: a metric class by class."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from pydantic import Field

from trazo.config import Study
from trazo.errors import InputError
from trazo.report.drawing import (
    INK,
    PAPER,
    SOFT,
    Drawing,
    Material,
    ModelOptions,
    colour_of,
    figure_kind,
    label,
    new_canvas,
    shown_models,
)
from trazo.report.measures import (
    Measure,
    Summary,
    chance_of,
    last_weights,
    measured_names,
    metric_label,
    ordering,
    read_measures,
    select,
    summarize,
    unit_of,
)
from trazo.report.published import PublishedValue, measured_datasets, read_published

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class ClassBars(ModelOptions):
    """Options of `class_bars`."""

    metric: str = Field("map", description="metric shown")
    distances: list[str] = Field(default_factory=list, description="distances shown, a panel each; all if left out")
    retrieval: str = Field("", description="retrieval shown; the study's first if left out")
    ranker: str = Field("", description="ranker shown, as tables name it; the first if left out")
    classes: list[str] = Field(default_factory=list, description="classes shown; all of them if left out")
    limit: int = Field(40, ge=2, description="with more classes, only the best and the worst ones, so many in all")


@figure_kind("class_bars", needs=("metrics",), uses=("published",), options=ClassBars)
def class_bars(options: ClassBars, study: Study, material: Material) -> Drawing:
    """Draw a metric per class: bars with 95 % intervals, a panel per distance, published values as diamonds."""
    everything = last_weights(read_measures(material.metrics), study)
    measures = [m for m in select(everything, metric=options.metric) if m.class_name]
    measures = select(measures, model=shown_models(options, study))
    datasets = [r.label for r in study.retrievals] or sorted({m.dataset for m in measures})
    names = {d: measured_names(d, options.metric, study) for d in [*datasets, options.retrieval]}
    dataset = options.retrieval or next((d for d in datasets if select(measures, dataset=names[d])), "")
    measures = select(measures, dataset=names[dataset])
    for option, dimension in ((options.distances, "distance"), (options.classes, "class_name")):
        measures = select(measures, **{dimension: option}) if option else measures
    rankers = sorted({m.ranker for m in measures}, key=ordering(study, "ranker", [m.ranker for m in measures]))
    measures = select(measures, ranker=options.ranker or rankers[:1])
    if not measures:
        raise InputError(f"no {options.metric!r} was measured by class; add the metric to the retrieval.")
    published = read_published(material.published, study) if material.published else []
    published = [p for p in published if p.ours("metric") == options.metric and dataset in measured_datasets(p, study)]
    seen = [m.class_name for m in measures]
    classes = sorted(set(seen), key=ordering(study, "class", seen))
    shown = _best_and_worst(classes, measures, options.limit)
    models = sorted({m.model for m in measures}, key=ordering(study, "model", [m.model for m in measures]))
    distances = sorted({m.distance for m in measures}, key=ordering(study, "distance", [m.distance for m in measures]))
    canvas = new_canvas(max(5.0, 4.3 * len(distances)), 0.95 + len(shown) * (0.1 + 0.17 * len(models)))
    panels = canvas.subplots(1, len(distances), squeeze=False, sharey=True, sharex=True)[0]
    chance = chance_of(everything, study, dataset) if options.metric == "map" else None
    words, marked = [], False
    for axes, distance in zip(panels, distances):
        for position, model in enumerate(models):
            bars = {c: summarize(select(measures, model=model, distance=distance, class_name=c)) for c in shown}
            values = _published_by_class(published, model, distance)
            _model_bars(axes, bars, values, position, len(models), options.metric)
            marked = marked or any(c in values for c in shown)
            words += _extremes(bars, model, distance, options.metric)
        if chance is not None:
            axes.axvline(100 * chance, color=SOFT, linestyle="dotted", linewidth=1.4)
        unit = unit_of(options.metric)
        axes.set_xlabel(f"{metric_label(options.metric)}{f' ({unit.sign})' if unit.sign else ''}")
        axes.grid(axis="y", visible=False)
        if len(distances) > 1 or distance:
            axes.set_title(label(distance))
    panels[0].set_yticks(range(len(shown)), [label(c) for c in shown])
    panels[0].set_ylim(len(shown) - 0.45, -0.55)
    panels[0].set_xlim(left=0)
    _legend(canvas, models, marked=marked, chance=chance is not None)
    cut = f" Only the {len(shown)} best and worst of {len(classes)} classes." if len(shown) < len(classes) else ""
    return Drawing(canvas, " ".join(words) + cut)


def _best_and_worst(classes: list[str], measures: list[Measure], limit: int) -> list[str]:
    if len(classes) <= limit:
        return classes
    means = {c: fmean(m.value for m in measures if m.class_name == c) for c in classes}
    ranked = sorted(classes, key=lambda c: -means[c])
    return [*ranked[: limit - limit // 2], *ranked[len(ranked) - limit // 2 :]]


def _published_by_class(published: list[PublishedValue], model: str, distance: str) -> dict[str, float]:
    mine = [p for p in published if p.ours("model") == model and p.distance in {distance, ""}]
    return {p.class_name: p.value * unit_of(p.ours("metric")).factor / p.factor for p in mine if p.class_name}


def _model_bars(
    axes: Axes, bars: dict[str, Summary | None], published: dict[str, float], position: int, models: int, metric: str
) -> None:
    height = 0.76 / models
    factor = unit_of(metric).factor
    for row, (name, summary) in enumerate(bars.items()):
        y = row - 0.38 + height * (position + 0.5)
        if summary is not None:
            axes.barh(y, factor * summary.value, height=height * 0.9, color=colour_of(position), alpha=0.85, lw=0)
            if summary.ci_low is not None:
                axes.plot([factor * summary.ci_low, factor * summary.ci_high], [y, y], color=INK, lw=1.0, alpha=0.75)
        if name in published:
            axes.plot(published[name], y, marker="D", ms=5, mfc=PAPER, mec=INK, mew=1.1, linestyle="none", zorder=5)


def _legend(canvas: object, models: list[str], *, marked: bool, chance: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[object] = [Patch(color=colour_of(i), alpha=0.85, label=label(m)) for i, m in enumerate(models)]
    handles.append(Line2D([], [], color=INK, lw=1.0, label="95 % interval"))
    if marked:
        handles.append(
            Line2D([], [], marker="D", ms=5, mfc=PAPER, mec=INK, mew=1.1, linestyle="none", label="published")
        )
    if chance:
        handles.append(Line2D([], [], color=SOFT, linestyle="dotted", lw=1.4, label="chance"))
    canvas.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 6))


def _extremes(bars: dict[str, Summary | None], model: str, distance: str, metric: str) -> list[str]:
    values = {name: summary.value for name, summary in bars.items() if summary}
    if not values:
        return []
    best, worst = max(values, key=values.get), min(values, key=values.get)
    unit = unit_of(metric)
    texts = [f"{label(c)} {unit.text(unit.factor * values[c])}" for c in (best, worst)]
    head = ", ".join(label(part) for part in (model, distance) if part)
    return [f"{head}: {metric_label(metric)} from {texts[1]} to {texts[0]} {unit.sign}."]
