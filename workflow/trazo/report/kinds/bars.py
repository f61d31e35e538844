"""Figures of a metric class by class: all classes, or the best and the worst."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from pydantic import Field

from trazo.config import Study
from trazo.errors import InputError
from trazo.report.artifacts import Pictures
from trazo.report.drawing import (
    INK,
    LINE,
    MARKERS,
    PAPER,
    SOFT,
    Drawing,
    Material,
    ModelOptions,
    colour_of,
    figure_kind,
    fitting,
    label,
    legend_above,
    new_canvas,
    shown_models,
)
from trazo.report.hover import tell, value_words
from trazo.report.measures import (
    Measure,
    Summary,
    chance_of,
    last_weights,
    lower_is_better,
    measured_names,
    metric_label,
    ordering,
    plain,
    read_measures,
    reduced_by,
    select,
    summarize,
    unit_of,
)
from trazo.report.published import PublishedValue, measured_datasets, read_published
from trazo.report.series import all_series, beside_floats

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas
    from matplotlib.patches import Rectangle


class _ByClass(ModelOptions):
    """Options of kinds that show a metric class by class."""

    metric: str = Field("map", description="metric shown")
    retrieval: str = Field("", description="retrieval shown; the study's first if left out")
    ranker: str = Field("", description="ranker shown, as tables name it; the first if left out")
    reducer: str = Field("", description="reducer shown, as paths name it; the retrieval's first if left out")


class ClassBars(_ByClass):
    """Options of `class_bars`."""

    reducers: list[str] = Field(
        default_factory=list, description="several reducers instead, side by side, such as [none, pca-size32]"
    )
    distances: list[str] = Field(default_factory=list, description="distances shown, a panel each; all if left out")
    classes: list[str] = Field(default_factory=list, description="classes shown; all of them if left out")
    limit: int = Field(120, ge=2, description="with more classes, only the best and the worst ones, so many in all")


# With more classes, bars become points on thin rows, best class first.
_MOST_BARS = 40


def _class_measures(options: _ByClass, study: Study, everything: list[Measure]) -> tuple[list[Measure], str]:
    """Return values by class on the retrieval shown, by one ranker, and the retrieval's name."""
    measures = [m for m in select(everything, metric=options.metric) if m.class_name]
    measures = select(measures, model=shown_models(options, study))
    datasets = [r.label for r in fitting(options, study) or study.retrievals] or sorted({m.dataset for m in measures})
    names = {d: measured_names(d, options.metric, study) for d in [*datasets, options.retrieval]}
    dataset = options.retrieval or next((d for d in datasets if select(measures, dataset=names[d])), "")
    measures = select(measures, dataset=names[dataset])
    if not getattr(options, "reducers", ()):
        measures = reduced_by(measures, options.reducer, study)
    rankers = sorted({m.ranker for m in measures}, key=ordering(study, "ranker", [m.ranker for m in measures]))
    return select(measures, ranker=options.ranker or rankers[:1]), dataset


def _none_measured(metric: str) -> InputError:
    return InputError(f"no {metric!r} was measured by class; add the metric to the retrieval.")


@figure_kind("class_bars", needs=("metrics",), uses=("published",), options=ClassBars)
def class_bars(options: ClassBars, study: Study, material: Material) -> Drawing:
    """Draw a metric per class: bars with 95 % intervals, a panel per distance, published values as diamonds.

    Many classes are points on thin rows, in the order of their mean.
    """
    everything = last_weights(read_measures(material.metrics), study)
    measures, dataset = _class_measures(options, study, everything)
    apart = {m.distance for m in measures}
    measures = beside_floats(measures, study)
    # Bits have a distance of their own: it is not said of all what is true of floats.
    mixed = apart != {m.distance for m in measures}
    for option, dimension in ((options.distances, "distance"), (options.classes, "class_name")):
        measures = select(measures, **{dimension: option}) if option else measures
    models = sorted({m.model for m in measures}, key=ordering(study, "model", [m.model for m in measures]))
    found = {one: one.of(measures, study) for one in all_series(study, models, options.reducers or [options.reducer])}
    series = {one.name: (one.model, mine) for one, mine in found.items() if mine}
    if not series:
        raise _none_measured(options.metric)
    measures = [m for _, mine in series.values() for m in mine]
    published = read_published(material.published, study) if material.published else []
    published = [p for p in published if p.ours("metric") == options.metric and dataset in measured_datasets(p, study)]
    seen = [m.class_name for m in measures]
    classes = sorted(set(seen), key=ordering(study, "class", seen))
    shown = _best_and_worst(classes, measures, options.limit)
    many = len(shown) > _MOST_BARS
    shown = _ranked(shown, measures) if many else shown
    distances = sorted({m.distance for m in measures}, key=ordering(study, "distance", [m.distance for m in measures]))
    row = 0.155 if many else 0.1 + 0.17 * len(series)
    canvas = new_canvas(max(5.0, 4.3 * len(distances)), 0.95 + len(shown) * row)
    panels = canvas.subplots(1, len(distances), squeeze=False, sharey=True, sharex=True)[0]
    chance = chance_of(everything, study, dataset) if options.metric == "map" else None
    words, marked = [], False
    for axes, distance in zip(panels, distances):
        for position, (name, (model, mine)) in enumerate(series.items()):
            bars = {c: summarize(select(mine, distance=distance, class_name=c)) for c in shown}
            reducer = next((m.reducer for m in mine), "")
            values = _published_by_class(published, model, reducer, distance)
            draw = _model_points if many else _model_bars
            draw(axes, bars, values, position, list(series), options.metric)
            marked = marked or any(c in values for c in shown)
            words += _extremes(bars, name, "" if mixed else distance, options.metric)
        if chance is not None:
            axes.axvline(100 * chance, color=SOFT, linestyle="dotted", linewidth=1.4)
        axes.set_xlabel(_with_unit(options.metric))
        axes.grid(axis="y", visible=many)
        if len(distances) > 1 or (distance and not mixed):
            axes.set_title(label(distance))
    panels[0].set_yticks(range(len(shown)), [label(c) for c in shown])
    if many:
        panels[0].tick_params(axis="y", labelsize=7, length=0)
    panels[0].set_ylim(len(shown) - 0.45, -0.55)
    panels[0].set_xlim(left=0)
    _legend(canvas, list(series), marked=marked, chance=chance is not None, points=many)
    cut = f" Only the {len(shown)} best and worst of {len(classes)} classes." if len(shown) < len(classes) else ""
    return Drawing(canvas, " ".join(words) + cut)


class ClassExtremes(_ByClass):
    """Options of `class_extremes`."""

    distance: str = Field("", description="distance shown; the retrieval's first if left out")
    n: int = Field(8, ge=1, le=50, description="how many of the best, and of the worst, classes")


@figure_kind("class_extremes", needs=("metrics",), uses=("images",), options=ClassExtremes)
def class_extremes(options: ClassExtremes, study: Study, material: Material) -> Drawing:
    """Draw each model's best and worst classes by a metric, bars with 95 % intervals, an image of each class beside."""
    everything = last_weights(read_measures(material.metrics), study)
    measures, dataset = _class_measures(options, study, everything)
    distances = sorted({m.distance for m in measures}, key=ordering(study, "distance", [m.distance for m in measures]))
    measures = select(measures, distance=options.distance if options.distance in distances else distances[:1])
    models = sorted({m.model for m in measures}, key=ordering(study, "model", [m.model for m in measures]))
    if not measures:
        raise _none_measured(options.metric)
    queries = next((r.queries for r in study.retrievals if r.label == dataset), "")
    unit, better = unit_of(options.metric), "lowest" if lower_is_better(options.metric) else "highest"
    ends = {model: _both_ends(select(measures, model=model), options) for model in models}
    rows = max(len(best) + len(worst) for best, worst, _ in ends.values())
    pictures = Pictures(material.images).one_of_each(queries, [c for b, w, _ in ends.values() for c in (*b, *w)])
    columns = min(3, len(models))
    lines = -(-len(models) // columns)
    canvas = new_canvas(4.4 * columns, lines * (1.05 + 0.37 * (rows + 0.6)))
    grid = canvas.subplots(lines, columns, squeeze=False, sharex=True).ravel()
    words = []
    for axes, (position, model) in zip(grid, enumerate(models)):
        best, worst, values = ends[model]
        # A gap parts the best from the worst, where classes between them are left out.
        places = {c: i + (0.6 if c in worst and len(best) + len(worst) < len(values) else 0.0)
                  for i, c in enumerate([*best, *worst])}  # fmt: skip
        for name, y in places.items():
            _bar(axes, values[name], y, 0.62, colour_of(position), options.metric)
        axes.set_yticks(list(places.values()), [label(c, 20) for c in places])
        axes.set_ylim(max(places.values()) + 0.6, -0.6)
        axes.set_xlim(left=0)
        axes.set_xlabel(_with_unit(options.metric))
        axes.tick_params(axis="x", labelbottom=True)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.set_title(label(model))
        _beside(axes, {y: pictures[c] for c, y in places.items() if c in pictures})
        told = [
            ", ".join(f"{label(c)} {unit.text(unit.factor * values[c].value)}" for c in end) for end in (best, worst)
        ]
        words.append(f"{label(model)}: {metric_label(options.metric)} is best ({better}) for {told[0]}"
                     + (f"; worst for {told[1]}." if worst else "."))  # fmt: skip
    for axes in grid[len(models) :]:
        axes.set_axis_off()
    return Drawing(canvas, " ".join(words))


def _both_ends(measures: list[Measure], options: ClassExtremes) -> tuple[list[str], list[str], dict[str, Summary]]:
    """Return the best and the worst classes, best first, and every class's value."""
    names = dict.fromkeys(m.class_name for m in measures)
    values = {name: summarize(select(measures, class_name=name)) for name in names}
    sign = 1 if lower_is_better(options.metric) else -1
    ranked = sorted(values, key=lambda c: sign * values[c].value)
    if len(ranked) <= 2 * options.n:
        return ranked, [], values
    return ranked[: options.n], ranked[-options.n :], values


def _beside(axes: Axes, pictures: dict[float, np.ndarray]) -> None:
    """Put small images at the left of a panel's bars, where their names end."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    if not pictures:
        return
    axes.tick_params(axis="y", pad=30)
    for y, pixels in pictures.items():
        box = OffsetImage(pixels, zoom=23 / max(pixels.shape[:2]), cmap="gray", interpolation="none")
        box.image.set_clim(0, 255)
        place = {"xycoords": ("axes fraction", "data"), "xybox": (-16, 0), "boxcoords": "offset points"}
        frame = {"edgecolor": LINE, "facecolor": "#ffffff", "linewidth": 0.7}
        axes.add_artist(AnnotationBbox(box, (0, y), pad=0.1, bboxprops=frame, annotation_clip=False, **place))


def _with_unit(metric: str) -> str:
    unit = unit_of(metric)
    return f"{metric_label(metric)}{f' ({unit.sign})' if unit.sign else ''}"


def _ranked(classes: list[str], measures: list[Measure]) -> list[str]:
    """Return classes by their mean over everything shown, the largest first."""
    values: dict[str, list[float]] = {c: [] for c in classes}
    for measure in measures:
        if measure.class_name in values:
            values[measure.class_name].append(measure.value)
    return sorted(classes, key=lambda c: -fmean(values[c]))


def _best_and_worst(classes: list[str], measures: list[Measure], limit: int) -> list[str]:
    if len(classes) <= limit:
        return classes
    ranked = _ranked(classes, measures)
    return [*ranked[: limit - limit // 2], *ranked[len(ranked) - limit // 2 :]]


def _published_by_class(published: list[PublishedValue], model: str, reducer: str, distance: str) -> dict[str, float]:
    mine = [p for p in published if p.ours("model") == model and p.distance in {distance, ""}]
    mine = [p for p in mine if plain("reducer", p.ours("reducer")) == plain("reducer", reducer)]
    return {p.class_name: p.value * unit_of(p.ours("metric")).factor / p.factor for p in mine if p.class_name}


def _model_bars(
    axes: Axes,
    bars: dict[str, Summary | None],
    published: dict[str, float],
    position: int,
    models: list[str],
    metric: str,
) -> None:
    height = 0.76 / len(models)
    for row, (name, summary) in enumerate(bars.items()):
        y = row - 0.38 + height * (position + 0.5)
        if summary is not None:
            bar = _bar(axes, summary, y, height * 0.9, colour_of(position), metric)
            tell(bar, label(models[position]), [_said(name, summary, metric)])
        if name in published:
            (mark,) = axes.plot(
                published[name], y, marker="D", ms=5, mfc=PAPER, mec=INK, mew=1.1, linestyle="none", zorder=5
            )
            tell(mark, "published", [_said(name, published[name], metric)])


def _said(name: str, value: Summary | float, metric: str) -> str:
    """Return a class' value in words; a published one is in the metric's unit already."""
    unit = unit_of(metric)
    words = (
        value_words(value.scaled(unit.factor), unit)
        if isinstance(value, Summary)
        else f"{unit.text(value)} {unit.sign}"
    )
    return f"{name}: {metric_label(metric)} {words}"


def _bar(axes: Axes, summary: Summary, y: float, height: float, colour: str, metric: str) -> Rectangle:
    factor = unit_of(metric).factor
    (bar,) = axes.barh(y, factor * summary.value, height=height, color=colour, alpha=0.85, lw=0)
    if summary.ci_low is not None:
        axes.plot([factor * summary.ci_low, factor * summary.ci_high], [y, y], color=INK, lw=1.0, alpha=0.75)
    return bar


def _model_points(
    axes: Axes,
    bars: dict[str, Summary | None],
    published: dict[str, float],
    position: int,
    models: list[str],
    metric: str,
) -> None:
    """Draw one point a class, with its interval; models share a row, a little apart."""
    factor, colour = unit_of(metric).factor, colour_of(position)
    for row, (name, summary) in enumerate(bars.items()):
        y = row + 0.5 * ((position + 0.5) / len(models) - 0.5)
        if summary is not None:
            if summary.ci_low is not None:
                axes.plot([factor * summary.ci_low, factor * summary.ci_high], [y, y], color=colour, lw=0.9, alpha=0.5)
            marker = MARKERS[position % len(MARKERS)]
            (point,) = axes.plot(factor * summary.value, y, marker=marker, ms=3.6, color=colour, linestyle="none")
            tell(point, label(models[position]), [_said(name, summary, metric)])
        if name in published:
            (mark,) = axes.plot(
                published[name], y, marker="D", ms=4, mfc=PAPER, mec=INK, mew=0.9, linestyle="none", zorder=5
            )
            tell(mark, "published", [_said(name, published[name], metric)])


def _legend(canvas: Canvas, models: list[str], *, marked: bool, chance: bool, points: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[object] = [Patch(color=colour_of(i), alpha=0.85, label=label(m)) for i, m in enumerate(models)]
    if points:
        shapes = {"ms": 4, "linestyle": "none"}
        handles = [
            Line2D([], [], color=colour_of(i), marker=MARKERS[i % len(MARKERS)], label=label(m), **shapes)
            for i, m in enumerate(models)
        ]
    handles.append(Line2D([], [], color=SOFT if points else INK, lw=1.0, label="95 % interval"))
    if marked:
        handles.append(
            Line2D([], [], marker="D", ms=5, mfc=PAPER, mec=INK, mew=1.1, linestyle="none", label="published")
        )
    if chance:
        handles.append(Line2D([], [], color=SOFT, linestyle="dotted", lw=1.4, label="chance"))
    legend_above(canvas, handles)


def _extremes(bars: dict[str, Summary | None], model: str, distance: str, metric: str) -> list[str]:
    values = {name: summary.value for name, summary in bars.items() if summary}
    if not values:
        return []
    best, worst = max(values, key=values.get), min(values, key=values.get)
    unit = unit_of(metric)
    texts = [f"{label(c)} {unit.text(unit.factor * values[c])}" for c in (best, worst)]
    head = ", ".join(label(part) for part in (model, distance) if part)
    return [f"{head}: {metric_label(metric)} from {texts[1]} to {texts[0]} {unit.sign}."]
