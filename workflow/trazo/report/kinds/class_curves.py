"""The figure of precision against recall class by class, at chosen numbers of nearest items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from trazo import store
from trazo.config import Retrieval, Study
from trazo.errors import InputError
from trazo.report.artifacts import chosen_lists
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
    fitting,
    label,
    legend_above,
    new_canvas,
    shown_models,
)
from trazo.report.hover import tell
from trazo.report.kinds.curves import INTERPOLATED_CURVE
from trazo.report.measures import last_weights, ordering, read_measures, reduced_by, select, summarize

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# As many classes have a colour each; of more, the best and the worst, and all others are grey.
_COLOURED = 8
_SIDE = 2.35


class PrecisionRecall(ModelOptions):
    """Options of `precision_recall`."""

    of: Literal["depth", "recall", "labels"] = Field(
        "depth",
        description="`depth`: mean precision against mean recall of the first k, a point for each k; `recall`: "
        "interpolated precision at 11 recalls; `labels`: each of the first k predicts the query to be of its own "
        "class, a curve for each k",
    )
    ks: list[int] = Field(
        default_factory=lambda: [1, 3, 5, 10],
        min_length=1,
        description="numbers of nearest items; `depth` needs the metrics p@k and recall@k of each, `recall` needs "
        "recall_precision_interpolated instead, `labels` a retrieval's `top` of at least the largest",
    )
    retrieval: str = Field("", description="retrieval shown; the study's first if left out")
    distance: str = Field("", description="distance searched by; the retrieval's first if left out")
    rankers: list[str] = Field(default_factory=list, description="rankers shown; all of the retrieval's if left out")
    reducer: str = Field("", description="reducer shown, as paths name it; the retrieval's first if left out")
    classes: list[str] = Field(default_factory=list, description="classes shown; all of them if left out")


@dataclass(frozen=True)
class Curve:
    """A class' curve in one panel: (recall, precision) in per cent, and which of its points were measured."""

    points: list[tuple[float, float]]
    marked: list[int]

    @property
    def height(self) -> float:
        """What classes are compared by: the mean precision of the measured points."""
        return float(np.mean([self.points[i][1] for i in self.marked]))


_HEADS = {
    "depth": "Mean precision and recall of the first k items, {}, by class.",
    "recall": "Precision at 11 recalls, {}, mean of the queries of each class.",
    "labels": "Each of the first k items predicts the query to be of its class; a curve's corner is what was measured.",
}
# By row (model and ranker) and column (what is said of the numbers of items), by class.
_Panels = dict[tuple[str, str], dict[str, Curve]]


def _retrieval_of(options: PrecisionRecall, study: Study) -> Retrieval | None:
    return next(iter(fitting(options, study)), None)


def _can_be_drawn(options: PrecisionRecall, study: Study, foreseen: Foreseen) -> str:
    if min(options.ks) < 1:
        return f"ks: {min(options.ks)} is no number of nearest items; expected whole numbers from 1."
    retrieval = _retrieval_of(options, study)
    if options.of == "labels" and retrieval is not None and max(options.ks) > retrieval.top:
        return (
            f"ks: {retrieval.label} keeps lists of {retrieval.top} items, and {max(options.ks)} are asked for; raise "
            "its `top`."
        )
    own = (foreseen.searched or {}).get(retrieval.label) if retrieval is not None else None
    given = foreseen.computed if own is None else own
    if options.of != "labels" and given is not None:
        lacking = [name for pair in _pairs(options) for name in pair[::-1] if name and name not in given]
        if lacking and options.of == "recall":
            return (
                "of: it shows interpolated precision; add recall_precision_interpolated to the retrieval's `metrics`."
            )
        if lacking:
            at = "nothing computes" if own is None else f"{retrieval.label} does not give"
            return f"ks: it shows {', '.join(lacking)}, which {at}; add them to the retrieval's `metrics`."
    return ""


@figure_kind("precision_recall", needs=("metrics", "rankings"), options=PrecisionRecall, check=_can_be_drawn)
def precision_recall(options: PrecisionRecall, study: Study, material: Material) -> Drawing:
    """Draw precision against recall, a line per class, a row of panels per model and ranker.

    `labels` is what study 5 (López, Conde and Martín) seems to draw: its "AP@k" are areas below such curves. Each of
    the first k items predicts the query to be of its own class; a class against all others has then one point, at the
    share of items of its queries that are right (their mean precision at k) and the share of items of the class that
    were found for its queries, beside the two ends that no prediction and all predictions give.
    """
    retrieval = _retrieval_of(options, study)
    if retrieval is None:
        raise InputError("precision and recall by class need a retrieval.")
    make = _labels if options.of == "labels" else _averages
    panels = make(options, study, material, retrieval)
    seen = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    classes = sorted(seen, key=ordering(study, "class", seen))
    return _drawn(panels, classes, options)


def _pairs(options: PrecisionRecall) -> list[tuple[str, str]]:
    """Return the metrics of recall and precision of every point; of a fixed recall there is no metric."""
    if options.of == "recall":
        return [("", f"{INTERPOLATED_CURVE}@{tenth / 10:.1f}") for tenth in range(11)]
    return [(f"recall@{k}", f"p@{k}") for k in sorted(set(options.ks))]


def _averages(options: PrecisionRecall, study: Study, material: Material, retrieval: Retrieval) -> _Panels:
    pairs = _pairs(options)
    names = [name for pair in pairs for name in pair if name]
    said = "interpolated" if options.of == "recall" else f"k = {_listed(sorted(set(options.ks)))}"
    where = {"metric": names, "dataset": retrieval.label, "distance": options.distance or retrieval.distances[0]}
    measures = select([m for m in read_measures(material.metrics) if m.class_name], **where)
    measures = reduced_by(last_weights(measures, study), options.reducer, study)
    for wanted, dimension in ((options.rankers, "ranker"), (options.classes, "class_name")):
        measures = select(measures, **{dimension: wanted}) if wanted else measures
    panels: _Panels = {}
    for model in shown_models(options, study):
        seen = list(dict.fromkeys(m.ranker for m in select(measures, model=model)))
        for ranker in sorted(seen, key=ordering(study, "ranker", seen)):
            mine = select(measures, model=model, ranker=ranker)
            curves = {}
            for name in dict.fromkeys(m.class_name for m in mine):
                own = select(mine, class_name=name)
                found = {m.metric: summarize(select(own, metric=m.metric)).value for m in own}
                points = [
                    (100 * (found[r] if r else float(p.partition("@")[2])), 100 * found[p])
                    for r, p in pairs
                    if p in found and (not r or r in found)
                ]
                if points:
                    curves[name] = Curve(points, list(range(len(points))))
            if curves:
                panels[_row_name(model, ranker, retrieval), said] = curves
    if not panels:
        raise InputError(f"none of {', '.join(names)} was measured by class; add them to the retrieval's metrics.")
    return panels


def _labels(options: PrecisionRecall, study: Study, material: Material, retrieval: Retrieval) -> _Panels:
    panels: _Panels = {}
    models = shown_models(options, study)
    at_hand = {
        ranker: chosen_lists(
            material.rankings, study, [retrieval], models, distance=options.distance, ranker=ranker,
            reducer=options.reducer,
        ).rankings
        for ranker in options.rankers or retrieval.ranker_labels
    }  # fmt: skip
    for model in models:
        for ranker, rankings in at_hand.items():
            if model not in rankings:
                continue
            ranking = store.read_ranking(rankings[model].path)
            for k in sorted(set(options.ks)):
                corners = label_corners(ranking, k)
                panels[_row_name(model, ranker, retrieval), f"k = {k}"] = {
                    name: Curve([(0.0, 100.0), (100 * recall, 100 * precision), (100.0, 100 * share)], [1])
                    for name, (recall, precision, share) in corners.items()
                    if not options.classes or name in options.classes
                }
    return panels


def label_corners(ranking: store.RankingArtifact, k: int) -> dict[str, tuple[float, float, float]]:
    """Return recall and precision of the labels of the first k items, and the share of its queries, by query class.

    Raises
    ------
    InputError
        If fewer items were kept.
    """
    kept = ranking.top_indices.shape[1]
    if k > kept:
        raise InputError(f"{k} nearest items are asked for, and {kept} were kept; raise the retrieval's `top`.")
    where = ranking.top_indices[:, :k]
    found = np.where(where >= 0, ranking.gallery_labels[np.maximum(where, 0)], -1)
    corners = {}
    for position in np.unique(ranking.query_labels):
        mine = ranking.query_labels == position
        right, all_found = int((found[mine] == position).sum()), int((found == position).sum())
        recall, precision = right / (k * int(mine.sum())), right / max(all_found, 1)
        corners[ranking.classes[position]] = (recall, precision, float(mine.mean()))
    return corners


def _row_name(model: str, ranker: str, retrieval: Retrieval) -> str:
    several = len(retrieval.ranker_labels) > 1
    return f"{label(model)} · {label(ranker)}" if several else label(model)


def _listed(ks: list[int]) -> str:
    return ", ".join(map(str, ks)) if len(ks) <= 6 else f"{ks[0]}, {ks[1]}, …, {ks[-1]}"


def _coloured(panels: _Panels, classes: list[str]) -> list[str]:
    """Return the classes that have a colour: all, or the best and the worst."""
    if len(classes) <= _COLOURED:
        return classes
    heights = {c: np.mean([curves[c].height for curves in panels.values() if c in curves]) for c in classes}
    ranked = sorted(classes, key=lambda c: -heights[c])
    return [*ranked[: _COLOURED // 2], *ranked[-(_COLOURED // 2) :]]


def _drawn(panels: _Panels, classes: list[str], options: PrecisionRecall) -> Drawing:
    coloured = _coloured(panels, classes)
    rows, columns = (list(dict.fromkeys(key[axis] for key in panels)) for axis in (0, 1))
    # Panels of one column would make a tower: they stand side by side.
    across = len(columns) if len(columns) > 1 else 2 if len(rows) == 4 else min(3, len(rows))
    down = -(-len(rows) // across) if len(columns) == 1 else len(rows)
    side = _SIDE * (1.45 if across < 3 else 1.25 if across == 3 else 1.0)
    canvas = new_canvas(max(side * across + 0.4, 6.2), side * down + 0.75)
    grid = canvas.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    farthest = max(r for curves in panels.values() for c in curves.values() for r, _ in c.points)
    for axes in grid.ravel()[len(panels) :]:
        axes.set_axis_off()
    words = []
    for axes, ((row, column), curves) in zip(grid.ravel(), panels.items(), strict=False):
        _class_lines(axes, curves, coloured, joined=options.of != "labels")
        title = f"{row}, {column}" if options.of == "labels" else row
        axes.set_title(title, fontsize=9 if len(columns) == 1 else 8)
        axes.set(xlim=(-0.01 * farthest, 1.04 * farthest), ylim=(-1, 104))
        words.append(_extremes(f"{row}, {column}", curves))
    recall = f"Recall (%), {columns[0]}" if options.of == "depth" else "Recall (%)"
    for axes in grid[-1]:
        axes.set_xlabel(recall)
    # Above a panel that is left out, the one over it is the last of its column.
    for index in range(len(panels), down * across):
        above = grid[index // across - 1, index % across]
        above.set_xlabel(recall)
        above.tick_params(labelbottom=True)
    for axes in grid[:, 0]:
        axes.set_ylabel("Precision (%)")
    _legend(canvas, coloured, len(classes) - len(coloured))
    return Drawing(canvas, " ".join([_HEADS[options.of].format(columns[0]), *words]))


def _class_lines(axes: Axes, curves: dict[str, Curve], coloured: list[str], *, joined: bool) -> None:
    for name, curve in curves.items():
        if name not in coloured:
            (line,) = axes.plot(*zip(*curve.points), color=SOFT, lw=0.5, alpha=0.35, zorder=1)
            tell(line, "other classes", _point_words(name, curve))
    for position, name in enumerate(coloured):
        if name in curves:
            look = {"color": colour_of(position), "marker": MARKERS[position % len(MARKERS)]}
            style = LINE_STYLES[position // len(MARKERS) % len(LINE_STYLES)]
            points, marked = curves[name].points, curves[name].marked
            width = 1.4 if joined else 1.1
            (line,) = axes.plot(*zip(*points), ms=4, lw=width, markevery=marked, linestyle=style, **look)
            tell(line, label(name), _point_words(name, curves[name]))


def _point_words(name: str, curve: Curve) -> list[str]:
    return [f"{name}: precision {precision:.1f} %, recall {recall:.1f} %" for recall, precision in curve.points]


def _legend(canvas: Canvas, coloured: list[str], others: int) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour_of(i), marker=MARKERS[i % len(MARKERS)], ms=4, label=label(name, 22),
               linestyle=LINE_STYLES[i // len(MARKERS) % len(LINE_STYLES)])
        for i, name in enumerate(coloured)
    ]  # fmt: skip
    if others:
        handles.append(Line2D([], [], color=SOFT, lw=0.8, alpha=0.6, label=f"{others} other classes"))
    legend_above(canvas, handles)


def _extremes(head: str, curves: dict[str, Curve]) -> str:
    ranked = sorted(curves, key=lambda c: -curves[c].height)
    ends = [ranked[0], *([ranked[-1]] if len(ranked) > 1 else [])]
    told = []
    for name in ends:
        recall, precision = curves[name].points[curves[name].marked[len(curves[name].marked) // 2]]
        told.append(f"{label(name)} (precision {precision:.1f} %, recall {recall:.1f} %)")
    return f"{head}: best {told[0]}" + (f", worst {told[1]}." if len(told) > 1 else ".")
