"""Figures of lines: precision at recall, and training curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from trazo.config import Study
from trazo.errors import InputError
from trazo.report.drawing import (
    LINE_STYLES,
    MARKERS,
    SOFT,
    Drawing,
    Foreseen,
    Material,
    ModelOptions,
    colour_of,
    figure_kind,
    label,
    legend_above,
    mark_of,
    new_canvas,
    shown_models,
)
from trazo.report.hover import tell, value_words
from trazo.report.measures import (
    RATE,
    Measure,
    last_weights,
    ordering,
    read_measures,
    select,
    summarize,
    totals,
)
from trazo.report.series import all_series, beside_floats
from trazo.store import read_history

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Percent of precision below which an axis ends early.
_LOW = 50
STUDY_CURVE, INTERPOLATED_CURVE = "precision_at_recall", "interpolated_precision"


class RecallPrecision(ModelOptions):
    """Options of `recall_precision`."""

    interpolated: bool = Field(False, description="true: best precision at or beyond each recall, at 11 points")
    distances: list[str] = Field(default_factory=list, description="distances shown; all of them if left out")
    retrieval: str = Field("", description="retrieval shown; all of them, a panel each, if left out")
    reducer: str = Field("", description="reducer shown, as paths name it; each retrieval's first if left out")
    reducers: list[str] = Field(
        default_factory=list, description="several reducers instead, a line each, such as [none, pca-size32]"
    )
    average: Literal["queries", "classes"] = Field("queries", description="what a point averages over")


def _check_recall_precision(options: RecallPrecision, study: Study, foreseen: Foreseen) -> str:
    known = foreseen.searched or {}
    searched = [label for label in known if not options.retrieval or label == options.retrieval]
    given = {metric.partition("@")[0] for label in searched for metric in known[label]}
    names = {STUDY_CURVE: "recall_precision", INTERPOLATED_CURVE: "recall_precision_interpolated"}
    wanted = INTERPOLATED_CURVE if options.interpolated else STUDY_CURVE
    if not searched or wanted in given:
        return ""
    others = given & set(names)
    remedy = f", or say `interpolated: {str(not options.interpolated).lower()}`" if others else ""
    return f"{' and '.join(searched)} does not give {names[wanted]}; add it to its `metrics`{remedy}."


@figure_kind("recall_precision", needs=("metrics",), options=RecallPrecision, check=_check_recall_precision)
def recall_precision(options: RecallPrecision, study: Study, material: Material) -> Drawing:
    """Draw precision against recall, a line per model (and reducer) and distance, a panel per retrieval.

    The study's kind (precision at the first rank where ⌊recall·R⌋ relevant items are found) is set to 1 at recall 0,
    as the study does (STUDIES section 1).
    """
    name = INTERPOLATED_CURVE if options.interpolated else STUDY_CURVE
    measures = [m for m in read_measures(material.metrics) if m.metric.partition("@")[0] == name]
    measures = last_weights(select(measures, model=shown_models(options, study)), study)
    measures = beside_floats(measures, study)
    if options.distances:
        measures = select(measures, distance=options.distances)
    if options.retrieval:
        measures = select(measures, dataset=options.retrieval)
    series = all_series(study, shown_models(options, study), options.reducers or [options.reducer])
    found = {one.name: one.of(totals(measures, options.average), study) for one in series}
    measures = [m for mine in found.values() for m in mine]
    if not measures:
        wanted = "recall_precision_interpolated" if options.interpolated else "recall_precision"
        raise InputError(f"no {name}@… was measured; add the metric {wanted!r} to the retrieval.")
    datasets = sorted({m.dataset for m in measures}, key=ordering(study, "dataset", [m.dataset for m in measures]))
    canvas = new_canvas(0.6 + 5.6 * len(datasets), 4.0)
    words = []
    for position, dataset in enumerate(datasets):
        axes = canvas.add_subplot(1, len(datasets), position + 1)
        lines = {name: mine for name, all_ in found.items() if (mine := select(all_, dataset=dataset))}
        words += _recall_lines(axes, lines, study, anchored=not options.interpolated, reduced=bool(options.reducers))
        if len(datasets) > 1:
            axes.set_title(label(dataset, 40))
    return Drawing(canvas, f"Precision falls as recall grows. {' '.join(words)}")


def _recall_lines(
    axes: Axes, lines: dict[str, list[Measure]], study: Study, *, anchored: bool, reduced: bool
) -> list[str]:
    """Draw the lines of a panel, given by the name of each model (and reducer); return what they say in words."""
    seen = [m.distance for mine in lines.values() for m in mine]
    names = sorted(set(seen), key=ordering(study, "distance", seen))
    words, highest = [], 0.0
    for colour, (name, mine) in enumerate(lines.items()):
        for style, distance in enumerate(names):
            line = select(mine, distance=distance)
            if not line:
                continue
            # Among reducers, one distance for all floats sets nothing apart, and bits have another.
            told = [label(name), *([] if reduced and len(names) == 1 else [label(distance)])]
            points = {float(m.metric.partition("@")[2]): summarize(select(line, metric=m.metric)) for m in line}
            recalls = sorted(points)
            heights = [100 * points[r].value for r in recalls]
            if all(points[r].ci_low is not None for r in recalls):
                bounds = [(100 * points[r].ci_low, 100 * points[r].ci_high) for r in recalls]
                area = axes.fill_between(
                    [100 * r for r in recalls], *zip(*bounds), color=colour_of(colour), alpha=0.1, lw=0
                )
                tell(area, " · ".join(told))
            middle = min(recalls, key=lambda r: abs(r - 0.5))
            words.append(f"{', '.join(told)}: {100 * points[middle].value:.1f} % at recall {middle:g}.")
            said = [f"Precision {value_words(points[r].scaled(100), RATE)} at recall {100 * r:g} %" for r in recalls]
            if anchored and 0.0 not in points:
                recalls, heights = [0.0, *recalls], [100.0, *heights]
                said = ["Set to 100 % at recall 0", *said]
            (drawn,) = axes.plot(
                [100 * r for r in recalls],
                heights,
                color=colour_of(colour),
                linestyle=LINE_STYLES[style % len(LINE_STYLES)],
                marker=mark_of(colour) or MARKERS[style % len(MARKERS)],
                label=" · ".join(told),
            )
            tell(drawn, " · ".join(told), said)
            highest = max(highest, *heights)
    # Where all lies low, an axis to 100 % would press the lines together.
    top = 102 if highest > _LOW else 1.25 * highest
    axes.set(xlabel="Recall (%)", ylabel="Precision (%)", xlim=(-1, 101), ylim=(0, top))
    axes.set_xticks(range(0, 101, 10))
    axes.legend(loc="upper right")
    return words


class TrainingCurves(ModelOptions):
    """Options of `training_curves`."""


@figure_kind("training_curves", needs=("histories",), options=TrainingCurves)
def training_curves(options: TrainingCurves, study: Study, material: Material) -> Drawing:
    """Draw loss and accuracy against epochs, a row per stage name, a colour per model, a line per seed."""
    models = shown_models(options, study)
    runs: list[tuple[str, str, str, list[dict[str, Any]]]] = []
    for path in material.histories:
        record, epochs = read_history(path)
        key = record.get("settings", {}).get("key", {})
        if key.get("model") in models and epochs:
            runs.append((str(key.get("stage")), str(key["model"]), str(key.get("seed")), epochs))
    if not runs:
        raise InputError(f"no training history of {', '.join(models)} has an epoch; train for 1 epoch or more.")
    order = list(dict.fromkeys(s.name for model in study.models.values() for s in model.stages))
    stages = sorted({run[0] for run in runs}, key=lambda name: (order.index(name) if name in order else 99, name))
    panels = (("loss", "Loss", 1.0), ("accuracy", "Accuracy (%)", 100.0))
    canvas = new_canvas(8.6, 3.1 * len(stages) + 0.45)
    grid = canvas.subplots(len(stages), 2, squeeze=False)
    for row, stage in enumerate(stages):
        for (key, title, factor), axes in zip(panels, grid[row]):
            for name, model, _seed, epochs in sorted(runs, key=lambda run: (models.index(run[1]), run[2])):
                if name == stage:
                    _history_lines(axes, epochs, key, factor, models.index(model), label(model), title)
            axes.set(xlabel="Epoch", ylabel=title)
            axes.set_ylim(bottom=0)
            axes.xaxis.get_major_locator().set_params(integer=True)
            if len(stages) > 1:
                axes.set_title(label(stage))
    _training_legend(canvas, [m for m in models if any(run[1] == m for run in runs)], models)
    return Drawing(canvas, " ".join(_last_epoch_words(*run) for run in sorted(runs, key=lambda run: run[:3])))


def _history_lines(
    axes: Axes, epochs: list[dict[str, Any]], key: str, factor: float, place: int, name: str, title: str
) -> None:
    for prefix, style, width in (("", "dashed", 1.2), ("validation_", "solid", 1.9)):
        points = [(e["epoch"], factor * e[prefix + key]) for e in epochs if e.get(prefix + key) is not None]
        if points:
            marker = mark_of(place) or ("o" if len(points) == 1 else None)
            (line,) = axes.plot(*zip(*points), color=colour_of(place), ls=style, lw=width, marker=marker, ms=4)
            part = "validation" if prefix else "training"
            tell(line, f"{name}, {part}", [f"{title} {value:.4g} at epoch {epoch:g}" for epoch, value in points])


def _training_legend(canvas: Any, shown: list[str], models: list[str]) -> None:
    from matplotlib.lines import Line2D

    looks = [{"color": colour_of(i), "marker": mark_of(i), "ms": 4} for i in map(models.index, shown)]
    handles = [Line2D([], [], lw=2.4, label=label(m), **look) for m, look in zip(shown, looks, strict=True)]
    handles.append(Line2D([], [], color=SOFT, lw=1.9, label="validation"))
    handles.append(Line2D([], [], color=SOFT, lw=1.2, linestyle="dashed", label="training (running)"))
    legend_above(canvas, handles)


def _last_epoch_words(stage: str, model: str, seed: str, epochs: list[dict[str, Any]]) -> str:
    last = epochs[-1]
    kept = [("training loss", "loss", 1.0, ""), ("validation accuracy", "validation_accuracy", 100.0, " %")]
    words = [f"{n} {f * last[k]:.3g}{unit}" for n, k, f, unit in kept if last.get(k) is not None]
    return f"{label(model)}, stage {label(stage)}, seed {seed}, epoch {last['epoch']}: {', '.join(words)}."
