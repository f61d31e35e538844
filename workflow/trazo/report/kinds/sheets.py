"""Figures of images: ranked lists as contact sheets, and what networks take single drawings for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from trazo import store
from trazo.config import Retrieval, Study
from trazo.errors import InputError
from trazo.report.artifacts import Keyed, Pictures, chosen_lists, keyed, last_of_model
from trazo.report.drawing import (
    INK,
    LINE,
    RIGHT,
    RIGHT_SIGN,
    SOFT,
    WRONG,
    WRONG_SIGN,
    Drawing,
    Foreseen,
    Material,
    ModelOptions,
    blank_axes,
    figure_kind,
    fitting,
    label,
    new_canvas,
    shown_models,
)
from trazo.report.measures import class_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Pick = Literal["first", "typical", "best", "worst", "random"]
_PICKED = {
    "first": "the first of their class",
    "typical": "those nearest their class's median average precision",
    "best": "the best of their class",
    "worst": "the worst of their class",
    "random": "drawn at random",
}
# Of a contact sheet, in inches.
_WIDEST = 11.5
_NO_IMAGES = "a contact_sheet shows images, and imported features have none; name a retrieval of models."


class ContactSheet(ModelOptions):
    """Options of `contact_sheet`."""

    classes: list[str] = Field(default_factory=list, description="classes of the queries; the first four if left out")
    per_class: int = Field(1, ge=1, le=50, description="queries a class")
    top: int = Field(10, ge=1, le=50, description="results shown for each query")
    distance: str = Field("", description="distance ranked with; the retrieval's first if left out")
    retrieval: str = Field("", description="retrieval shown; the study's first if left out")
    ranker: str = Field("", description="ranker shown, as tables name it; the retrieval's first if left out")
    reducer: str = Field("", description="reducer shown, as paths name it; the retrieval's first if left out")
    reducers: list[str] = Field(
        default_factory=list, description="several reducers instead, a row each of every query: [none, pca-size32]"
    )
    pick: Pick = Field(
        "typical",
        description="which queries of a class: first, typical, best or worst; or random ones of all `classes`",
    )
    count: int = Field(4, ge=1, le=50, description="`pick: random`: queries in all")
    seed: int = Field(0, ge=0, description="`pick: random`: seed of the draw")


def _shows_models(options: ContactSheet, study: Study, _: Foreseen) -> str:
    return "" if _searched(options, study) else _NO_IMAGES


def _searched(options: ContactSheet, study: Study) -> list[Retrieval]:
    return [r for r in fitting(options, study) if r.models]


@figure_kind("contact_sheet", needs=("rankings", "images"), options=ContactSheet, check=_shows_models)
def contact_sheet(options: ContactSheet, study: Study, material: Material) -> Drawing:
    """Draw queries with what each model retrieves: right hits ticked in solid frames, wrong ones crossed in dashes."""
    retrievals = _searched(options, study)
    if not retrievals:
        raise InputError(_NO_IMAGES)
    lists = chosen_lists(
        material.rankings, study, retrievals, shown_models(options, study),
        distance=options.distance, ranker=options.ranker, reducer=options.reducer, reducers=options.reducers,
    )  # fmt: skip
    retrieval = lists.retrieval
    rankings = {model: store.read_ranking(found.path) for model, found in lists.rankings.items()}
    queries = _queries(rankings, options, study)
    top = min(options.top, *(r.top_indices.shape[1] for r in rankings.values()))
    pictures = Pictures(material.images)
    shown = pictures.read(retrieval.queries, queries)
    hits = sorted({int(i) for r in rankings.values() for q in queries for i in r.top_indices[q, :top] if i >= 0})
    found_pictures = pictures.read(retrieval.gallery, hits)

    cell, line, head, gap = 0.82, 1.16, 1.5, 0.16
    ranker = f", {label(lists.ranker)}" if lists.several_rankers else ""
    over = f"nearest {top} by {lists.way}{ranker}"
    wide = max(head + (top + 1.15) * cell + 0.2, head + 1.15 * cell + 0.068 * len(over) + 0.2)
    tall = len(rankings) * line + gap
    # Short lists leave room for queries side by side.
    columns = max(1, min(len(queries), int(_WIDEST / wide)))
    rows = -(-len(queries) // columns)
    width, height = columns * wide, 0.42 + rows * tall - gap
    canvas = new_canvas(width, height)
    axes = blank_axes(canvas, width, height)
    told = [f"Queries are {_PICKED[options.pick]}", *([f"searched {', '.join(lists.words)}"] if lists.words else [])]
    words = [", ".join(told) + "."]
    for position, query in enumerate(queries):
        left, y = (position % columns) * wide + head, 0.42 + (position // columns) * tall
        if position < columns:
            axes.text(left + cell / 2, 0.24, "query", ha="center", color=SOFT)
            axes.text(left + 1.18 * cell, 0.24, over, color=SOFT)
        else:
            axes.plot([left - head + 0.1, left - head + wide - 0.1], [y - gap * 0.7] * 2, color=LINE, lw=0.8)
        for model, ranking in rankings.items():
            words.append(_ranked_row(axes, (left, y, cell), model, ranking, query, top, shown[query], found_pictures))
            y += line
    return Drawing(canvas, " ".join(words))


def _queries(rankings: dict[str, store.RankingArtifact], options: ContactSheet, study: Study) -> list[int]:
    """Return the queries to show, as the options pick them."""
    first = next(iter(rankings.values()))
    occurring = np.unique(first.query_labels[first.evaluated])
    if options.pick != "random":
        classes = _present(options.classes, first.classes, occurring, study)
        return [q for name in classes for q in _pick_queries(name, rankings, options)]
    rows = np.flatnonzero(first.evaluated)
    if options.classes:
        names = _present(options.classes, first.classes, occurring, study)
        rows = rows[np.isin(first.query_labels[rows], [first.classes.index(name) for name in names])]
    return np.random.default_rng(options.seed).permutation(rows)[: options.count].tolist()


def _present(asked: list[str], classes: list[str], occurring: np.ndarray, study: Study) -> list[str]:
    """Return the classes to show: those asked for that occur, else the study's first four."""
    present = [classes[i] for i in occurring]
    if asked:
        missing = [name for name in asked if name not in present]
        if missing:
            raise InputError(f"classes {', '.join(missing)} have no item to show; there are: {', '.join(present)}.")
        return asked
    order = class_order(study)
    return sorted(present, key=lambda name: order.index(name) if name in order else len(order))[:4]


def _pick_queries(name: str, rankings: dict[str, store.RankingArtifact], options: ContactSheet) -> list[int]:
    """Return queries of a class, by their average precision over all shown models, so that models share queries."""
    first = next(iter(rankings.values()))
    rows = np.flatnonzero(first.evaluated & (first.query_labels == first.classes.index(name)))
    if options.pick != "first":
        scores = np.mean([_scores(ranking)[rows] for ranking in rankings.values()], axis=0)
        middle = np.median(scores)
        by = {"best": -scores, "worst": scores, "typical": np.abs(scores - middle)}[options.pick]
        rows = rows[np.argsort(by, kind="stable")]
    return [int(row) for row in rows[: options.per_class]]


def _scores(ranking: store.RankingArtifact) -> np.ndarray:
    column = ranking.metrics.index("map") if "map" in ranking.metrics else 0
    return np.nan_to_num(ranking.values[:, column])


def _ranked_row(
    axes: Axes,
    place: tuple[float, float, float],
    model: str,
    ranking: store.RankingArtifact,
    query: int,
    top: int,
    picture: np.ndarray,
    pictures: dict[int, np.ndarray],
) -> str:
    left, y, cell = place
    true = int(ranking.query_labels[query])
    hits = ranking.top_indices[query, :top]
    hits = hits[hits >= 0]
    right = ranking.right(query, hits)
    axes.text(left - 0.12, y + 0.36, label(model, 16), ha="right", va="center", weight="bold")
    axes.text(left - 0.12, y + 0.58, f"{int(right.sum())} of {top} right", ha="right", va="center", color=SOFT, size=8)
    framed(axes, (left, y, cell), picture, INK, "solid", 1.2)
    axes.text(left + cell / 2, y + cell + 0.1, label(ranking.classes[true], 13), ha="center", size=8, weight="bold")
    names = [label(ranking.classes[int(ranking.gallery_labels[index])], 12) for index in hits]
    size = 7.6 if max(map(len, names), default=0) <= 9 else 6.4
    for position, index in enumerate(hits):
        x = left + (position + 1.15) * cell
        good = bool(right[position])
        colour = RIGHT if good else WRONG
        framed(axes, (x, y, cell), pictures[int(index)], colour, "solid" if good else (0, (3, 2)), 1.8)
        sign = RIGHT_SIGN if good else WRONG_SIGN
        axes.text(x + cell / 2, y + cell + 0.1, f"{sign} {names[position]}", ha="center", size=size, color=colour)
        distance = f"{float(ranking.top_distances[query, position]):.3g}"
        axes.text(x + cell / 2, y + cell + 0.24, distance, ha="center", size=6.8, color=SOFT)
    return f"{label(model)}, a {label(ranking.classes[true])}: {int(right.sum())} of the nearest {top} are right."


def framed(
    axes: Axes, place: tuple[float, float, float], pixels: np.ndarray, colour: str, style: object, width: float
) -> None:
    """Draw an image in a frame, its top left corner and side (inches) as `place` says."""
    from matplotlib.patches import Rectangle

    x, y, cell = place
    side = cell - 0.06
    inner = side - 0.07
    # Sheets hold white drawings: the page's theme must not show through a grey image.
    axes.imshow(
        pixels,
        cmap="gray",
        vmin=0,
        vmax=255,
        extent=(x + 0.065, x + 0.065 + inner, y + inner + 0.035, y + 0.035),
        interpolation="none",
        aspect="auto",
        zorder=2,
    )
    # Drawings reach to the edge of their image: a white rim keeps strokes and frame apart.
    box = Rectangle((x + 0.03, y), side, side, fc="#ffffff", ec=colour, lw=width, ls=style, zorder=1)
    axes.add_patch(box)


class Predictions(ModelOptions):
    """Options of `predictions`."""

    classes: list[str] = Field(default_factory=list, description="true classes shown; the first four if left out")
    per_class: int = Field(1, ge=1, le=50, description="items a class")
    top: int = Field(3, ge=1, le=10, description="most probable classes listed")
    dataset: str = Field("", description="`<dataset>/<split>` shown; the first retrieval's queries if left out")


def _has_predictions(options: Predictions, study: Study, foreseen: Foreseen) -> str:
    return foreseen.lacks_predictions(options.models, study, options.dataset)


@figure_kind("predictions", needs=("features", "images"), options=Predictions, check=_has_predictions)
def predictions(options: Predictions, study: Study, material: Material) -> Drawing:
    """Draw items with their true class and each model's most probable classes."""
    artifacts = keyed(material.features)
    references = [options.dataset] if options.dataset else _references(artifacts, study)
    for reference in references:
        outputs = _outputs([a for a in artifacts if a.reference == reference], options, study)
        if outputs:
            break
    else:
        raise InputError(
            f"no features of {', '.join(references)} hold predictions (logits); this figure needs a classifier."
        )
    first = next(iter(outputs.values()))
    classes = _present(options.classes, first.classes, np.unique(first.labels), study)
    items = [
        int(row)
        for name in classes
        for row in np.flatnonzero(first.labels == first.classes.index(name))[: options.per_class]
    ]
    shown = Pictures(material.images).read(reference, items, side=160)

    columns = min(4, len(items))
    rows = -(-len(items) // columns)
    cell, bar = 2.0, 0.19
    block = 0.27 + bar * options.top
    tall = 0.3 + 1.5 + len(outputs) * block + 0.12
    width, height = 0.15 + columns * (cell + 0.15), 0.02 + rows * tall
    canvas = new_canvas(width, height)
    axes = blank_axes(canvas, width, height)
    words = []
    for position, item in enumerate(items):
        x, y = 0.15 + (position % columns) * (cell + 0.15), (position // columns) * tall
        true = first.classes[int(first.labels[item])]
        axes.text(x + cell / 2, y + 0.2, label(true, 24), ha="center", weight="bold", size=10)
        framed(axes, (x + (cell - 1.5) / 2, y + 0.27, 1.5), shown[item], LINE, "solid", 0.8)
        y += 0.3 + 1.5
        for model, features in outputs.items():
            words.append(_prediction_block(axes, (x, y, cell, bar), model, features, item, options.top, true))
            y += block
    return Drawing(canvas, " ".join(words))


def _references(artifacts: list[Keyed], study: Study) -> list[str]:
    """Return the splits that features are of, those that are searched for first."""
    at_hand = [a.reference for a in artifacts]
    return list(dict.fromkeys([*(r.queries for r in study.retrievals if r.queries in at_hand), *at_hand]))


def _outputs(artifacts: list[Keyed], options: Predictions, study: Study) -> dict[str, store.Features]:
    """Return the features with predictions, by model."""
    outputs: dict[str, store.Features] = {}
    for model in shown_models(options, study):
        found = last_of_model(artifacts, model, study)
        features = store.read_features(found.path) if found else None
        if features is not None and features.logits is not None:
            outputs[model] = features
    return outputs


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of (..., C) logits, computed without overflow."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def _prediction_block(
    axes: Axes,
    place: tuple[float, float, float, float],
    model: str,
    features: store.Features,
    item: int,
    top: int,
    true: str,
) -> str:
    from matplotlib.patches import Rectangle

    x, y, width, bar = place
    shares = probabilities(features.logits[item])
    order = np.argsort(-shares, kind="stable")[:top]
    good = features.logit_classes[order[0]] == true
    colour = RIGHT if good else WRONG
    axes.text(x, y + 0.17, f"{RIGHT_SIGN if good else WRONG_SIGN} {label(model, 18)}", color=colour, size=8,
              weight="bold")  # fmt: skip
    for place_in_list, index in enumerate(order):
        name, top_edge = features.logit_classes[index], y + 0.24 + place_in_list * bar
        shade = RIGHT if name == true else WRONG if place_in_list == 0 else SOFT
        axes.add_patch(Rectangle((x, top_edge), width, bar - 0.03, fc=LINE, alpha=0.35, lw=0))
        axes.add_patch(Rectangle((x, top_edge), width * shares[index], bar - 0.03, fc=shade, alpha=0.45, lw=0))
        axes.text(x + 0.05, top_edge + bar / 2 - 0.01, label(name, 18), va="center", size=7.2)
        axes.text(x + width - 0.05, top_edge + bar / 2 - 0.01, f"{100 * shares[index]:.0f} %", va="center", ha="right",
                  size=7.2)  # fmt: skip
    best = features.logit_classes[order[0]]
    sure = f"{100 * shares[order[0]]:.0f} %"
    return f"A {label(true)}: {label(model)} says {label(best)} ({sure}), {'right' if good else 'wrong'}."
