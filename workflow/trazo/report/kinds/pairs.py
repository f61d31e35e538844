"""The figure of confused pairs: which two categories are most often taken for each other, with drawings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from trazo import store
from trazo.config import Study
from trazo.errors import InputError
from trazo.report.artifacts import Pictures, chosen_lists, keyed, last_of_model
from trazo.report.drawing import (
    LINE,
    SOFT,
    WRONG,
    Drawing,
    Foreseen,
    Material,
    ModelOptions,
    blank_axes,
    figure_kind,
    label,
    new_canvas,
    shown_models,
)
from trazo.report.kinds.sheets import framed, probabilities

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS, _WIDTH, _ROW, _CELL = 3, 3.95, 0.94, 0.86


class ConfusedPairs(ModelOptions):
    """Options of `confused_pairs`."""

    by: Literal["classifier", "neighbour"] = Field(
        "classifier",
        description="who takes an item for another class: the network's classifier, or its first neighbour",
    )
    top: int = Field(8, ge=1, le=50, description="pairs shown of each model")
    dataset: str = Field("", description="`<dataset>/<split>` classified; the first with predictions if left out")
    retrieval: str = Field("", description="`by: neighbour`: retrieval shown; the study's first if left out")
    distance: str = Field("", description="`by: neighbour`: distance searched by; the retrieval's first if left out")
    reducer: str = Field(
        "", description="`by: neighbour`: reducer, as paths name it; the retrieval's first if left out"
    )


@dataclass(frozen=True)
class Pair:
    """A class whose items are taken for another, with an item that was and a typical one of the other class.

    Attributes
    ----------
    true, taken
        Names of the two classes.
    count, items
        How many items of the first were taken for the second, out of how many.
    back
        How many the other way round.
    example, typical
        Positions of an item that was mistaken, and of a typical one of the other class; None where there is none.
    """

    true: str
    taken: str
    count: int
    items: int
    back: int
    example: int
    typical: int | None


def _has_predictions(options: ConfusedPairs, study: Study, foreseen: Foreseen) -> str:
    if options.by == "neighbour":
        return ""
    return foreseen.lacks_predictions(options.models, study, options.dataset)


@figure_kind(
    "confused_pairs",
    needs=("images",),
    uses=("features", "rankings"),
    options=ConfusedPairs,
    check=_has_predictions,
)
def confused_pairs(options: ConfusedPairs, study: Study, material: Material) -> Drawing:
    """Draw each model's most often confused pairs of classes: how often, an item mistaken, and one of the other class.

    The classifier's example is the item it was surest about, its typical one the item that it holds most probably of
    that class. Of neighbours, the example is the query whose wrong first neighbour was nearest, beside that neighbour.
    """
    pictures = Pictures(material.images)
    panels: list[tuple[str, list[Pair], dict[int, np.ndarray], dict[int, np.ndarray]]] = []
    for model in shown_models(options, study):
        found = _classified(model, options, study, material) if options.by == "classifier" else None
        found = _searched(model, options, study, material) if options.by == "neighbour" else found
        if found is not None:
            pairs, asked, answered = found
            typical = [p.typical for p in pairs if p.typical is not None]
            panels.append(
                (model, pairs, pictures.read(asked, [p.example for p in pairs]), pictures.read(answered, typical))
            )
    if not panels:
        lacking = "ranked lists" if options.by == "neighbour" else "predictions (logits)"
        raise InputError(f"no {lacking} of {', '.join(shown_models(options, study))} are at hand for confused pairs.")
    columns = min(_COLUMNS, len(panels))
    tall = 0.72 + _ROW * max(1, *(len(pairs) for _, pairs, _, _ in panels))
    rows = -(-len(panels) // columns)
    width, height = columns * _WIDTH + 0.1, rows * tall
    canvas = new_canvas(width, height)
    axes = blank_axes(canvas, width, height)
    words = []
    for place, (model, pairs, examples, typical) in enumerate(panels):
        left, upper = 0.1 + (place % columns) * _WIDTH, (place // columns) * tall
        words.append(_panel(axes, (left, upper), model, pairs, options.by, examples, typical))
    return Drawing(canvas, " ".join(words))


def _classified(
    model: str, options: ConfusedPairs, study: Study, material: Material
) -> tuple[list[Pair], str, str] | None:
    artifacts = [a for a in keyed(material.features) if options.dataset in (a.reference, "")]
    found = last_of_model(artifacts, model, study)
    features = store.read_features(found.path) if found else None
    if features is None or features.logits is None:
        return None
    return classifier_pairs(features, options.top), found.reference, found.reference


def classifier_pairs(features: store.Features, top: int) -> list[Pair]:
    """Return the pairs of classes that a classifier confuses most often, the most frequent first."""
    shares = probabilities(features.logits)
    names = list(features.logit_classes)
    true = np.array([names.index(c) if c in names else -1 for c in features.classes])[features.labels]
    taken = features.logits.argmax(axis=1)

    def typical(_: int, other: int) -> int | None:
        mine = np.flatnonzero(true == other)
        return int(mine[shares[mine, other].argmax()]) if len(mine) else None

    def surest(rows: np.ndarray, other: int) -> int:
        return int(rows[shares[rows, other].argmax()])

    # A class that the classifier never learned cannot be right or wrong.
    return _pairs(true, np.where(true < 0, -1, taken), names, top, surest, typical)


def _searched(
    model: str, options: ConfusedPairs, study: Study, material: Material
) -> tuple[list[Pair], str, str] | None:
    retrievals = [r for r in study.retrievals if options.retrieval in (r.label, "") and model in r.models]
    for retrieval in retrievals:
        try:
            lists = chosen_lists(
                material.rankings, study, [retrieval], [model], distance=options.distance, reducer=options.reducer
            )
        except InputError:
            continue
        ranking = store.read_ranking(lists.rankings[model].path)
        return neighbour_pairs(ranking, options.top), retrieval.queries, retrieval.gallery
    return None


def neighbour_pairs(ranking: store.RankingArtifact, top: int) -> list[Pair]:
    """Return the pairs of classes that first neighbours confuse most often, the most frequent first."""
    first = ranking.top_indices[:, 0]
    taken = np.where(first >= 0, ranking.gallery_labels[first], -1)

    def nearest(rows: np.ndarray, _: int) -> int:
        return int(rows[ranking.top_distances[rows, 0].argmin()])

    def neighbour(example: int, _: int) -> int:
        return int(first[example])

    true = np.where(ranking.evaluated, ranking.query_labels, -1)
    return _pairs(true, np.where(true < 0, -1, taken), list(ranking.classes), top, nearest, neighbour)


def _pairs(true: np.ndarray, taken: np.ndarray, names: list[str], top: int, example, typical) -> list[Pair]:
    """Return the most frequent pairs of different classes; −1 stands for no class."""
    counted = (true >= 0) & (taken >= 0)
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(counts, (true[counted], taken[counted]), 1)
    items = counts.sum(axis=1)
    wrong = counts - np.diag(np.diag(counts))
    # By count, then by share of the class, then in label order.
    order = sorted(zip(*np.nonzero(wrong)), key=lambda p: (-wrong[p], items[p[0]], p))
    found = []
    for first, second in order[:top]:
        shown = example(np.flatnonzero(counted & (true == first) & (taken == second)), int(second))
        found.append(
            Pair(
                true=names[first],
                taken=names[second],
                count=int(wrong[first, second]),
                items=int(items[first]),
                back=int(wrong[second, first]),
                example=shown,
                typical=typical(shown, int(second)),
            )
        )
    return found


def _panel(
    axes: Axes,
    place: tuple[float, float],
    model: str,
    pairs: list[Pair],
    by: str,
    examples: dict[int, np.ndarray],
    typical: dict[int, np.ndarray],
) -> str:
    left, y = place
    second = "its neighbour" if by == "neighbour" else "a typical one"
    axes.text(left, y + 0.26, label(model, 30), weight="bold", size=11)
    axes.text(left + _CELL / 2, y + 0.52, "drawn", ha="center", color=SOFT, size=8)
    axes.text(left + 1.5 * _CELL, y + 0.52, second, ha="center", color=SOFT, size=8)
    y += 0.6
    if not pairs:
        axes.text(left, y + 0.3, "nothing was mistaken", color=SOFT)
    words = []
    for pair in pairs:
        framed(axes, (left, y, _CELL), examples[pair.example], WRONG, (0, (3, 2)), 1.5)
        if pair.typical is not None:
            framed(axes, (left + _CELL, y, _CELL), typical[pair.typical], LINE, "solid", 1.0)
        x = left + 2 * _CELL + 0.12
        share = 100 * pair.count / pair.items
        axes.text(x, y + 0.2, label(pair.true, 22), weight="bold", size=9)
        axes.text(x, y + 0.38, f"taken for {label(pair.taken, 19)}", size=9)
        axes.text(x, y + 0.57, f"{pair.count} of {pair.items} ({share:.0f} %)", size=9, color=WRONG)
        axes.text(x, y + 0.74, f"the other way round: {pair.back}", size=8, color=SOFT)
        words.append(f"{label(pair.true)} for {label(pair.taken)} ({pair.count} of {pair.items})")
        y += _ROW
    return f"{label(model)} most often takes {', '.join(words)}." if words else f"{label(model)} mistakes nothing."
