"""Figures of matrices: which classes a network takes for which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from trazo import store
from trazo.config import Study
from trazo.errors import InputError
from trazo.report.artifacts import keyed, last_of_model
from trazo.report.drawing import Drawing, Material, ModelOptions, figure_kind, label, new_canvas, shown_models

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_NUMBERS = 20
_MOST_BESIDE = 40
_MOST_NAMES = 150


class Confusion(ModelOptions):
    """Options of `confusion`."""

    dataset: str = Field("", description="`<dataset>/<split>` classified; the first with predictions if left out")


@figure_kind("confusion", needs=("features",), options=Confusion)
def confusion(options: Confusion, study: Study, material: Material) -> Drawing:
    """Draw, a panel per model, how many of each true class (down) were predicted as each class (across)."""
    artifacts = [a for a in keyed(material.features) if not options.dataset or a.reference == options.dataset]
    panels: list[tuple[str, np.ndarray, list[str], list[str]]] = []
    for model in shown_models(options, study):
        found = last_of_model(artifacts, model, study)
        features = store.read_features(found.path) if found else None
        if features is not None and features.logits is not None:
            panels.append((model, *confusion_matrix(features)))
    if not panels:
        raise InputError("no features at hand hold predictions (logits); a confusion matrix needs a classifier.")
    return _panels(panels)


def confusion_matrix(features: store.Features) -> tuple[np.ndarray, list[str], list[str]]:
    """Return counts and the names of rows and columns.

    Returns
    -------
    tuple
        (T, P) int64 counts of items of true class t predicted as p; the true classes that occur, in label order; the
        classes the classifier knows.
    """
    predicted = features.logits.argmax(axis=1)
    present = np.unique(features.labels)
    counts = np.zeros((len(features.classes), len(features.logit_classes)), dtype=np.int64)
    np.add.at(counts, (features.labels, predicted), 1)
    return counts[present], [features.classes[i] for i in present], list(features.logit_classes)


class KnnConfusion(ModelOptions):
    """Options of `knn_confusion`."""

    neighbours: int = Field(
        0, ge=0, description="how many nearest items vote, out of a retrieval's `votes`; 0: the first"
    )
    retrieval: str = Field("", description="retrieval shown; the first with votes if left out")
    distance: str = Field("", description="distance searched by; the retrieval's first if left out")
    ranker: str = Field("", description="ranker shown, as tables name it; the first if left out")
    reducer: str = Field("", description="reducer shown, as paths name it; the retrieval's first if left out")


@figure_kind("knn_confusion", needs=("rankings",), options=KnnConfusion)
def knn_confusion(options: KnnConfusion, study: Study, material: Material) -> Drawing:
    """Draw, a panel per model, how many queries of each class (down) their nearest items vote into each (across)."""
    retrieval = next((r for r in study.retrievals if options.retrieval in (r.label, "") and r.votes), None)
    if retrieval is None:
        raise InputError("a kNN confusion matrix needs a retrieval with `votes`, such as `votes: [5]`.")
    count = options.neighbours or retrieval.votes[0]
    if count not in retrieval.votes:
        raise InputError(f"{retrieval.label}: {count} neighbours do not vote there; its `votes` are {retrieval.votes}.")
    wanted = {"retrieval": retrieval.label, "distance": options.distance or retrieval.distances[0]}
    wanted["reducer"] = options.reducer or retrieval.reducer_labels[0]
    artifacts = [a for a in keyed(material.rankings) if all(a.of(k) == v for k, v in wanted.items())]
    ranker = options.ranker or (artifacts[0].of("ranker") if artifacts else "")
    artifacts = [a for a in artifacts if a.of("ranker") == ranker]
    panels: list[tuple[str, np.ndarray, list[str], list[str]]] = []
    for model in shown_models(options, study):
        found = last_of_model(artifacts, model, study)
        if found:
            panels.append((model, *vote_matrix(store.read_ranking(found.path), count)))
    if not panels:
        raise InputError(f"no ranking of {retrieval.label} by {wanted['distance']} distance is at hand.")
    words = f"The {count} nearest vote" if count > 1 else "Each query's nearest item decides"
    ways = [f"by {wanted['distance']} distance"] if len(retrieval.distances) > 1 else []
    ways += [f"reducer {wanted['reducer']}"] if len(retrieval.reducer_labels) > 1 else []
    ways += [f"ranker {ranker}"] if len(retrieval.ranker_labels) > 1 else []
    return _panels(panels, f"{', '.join([words, *ways])}. ")


def vote_matrix(ranking: store.RankingArtifact, count: int) -> tuple[np.ndarray, list[str], list[str]]:
    """Return counts and the names of rows and columns, as `confusion_matrix`; queries without a vote are left out."""
    predicted = ranking.votes[:, ranking.vote_counts.index(count)]
    voted = predicted >= 0
    counts = np.zeros((len(ranking.classes), len(ranking.classes)), dtype=np.int64)
    np.add.at(counts, (ranking.query_labels[voted], predicted[voted]), 1)
    rows, columns = (
        np.unique(ranking.query_labels),
        np.unique(np.concatenate([ranking.gallery_labels, predicted[voted]])),
    )
    names = ranking.classes
    return counts[np.ix_(rows, columns)], [names[i] for i in rows], [names[i] for i in columns]


def _panels(panels: list[tuple[str, np.ndarray, list[str], list[str]]], head: str = "") -> Drawing:
    """Draw matrices side by side."""
    names = max(len(true) for _, _, true, _ in panels)
    many = names > _MOST_BESIDE
    # Each name keeps a row that it fits in; large matrices stand one below the other.
    size = 1.6 + 0.112 * names if many else 1.4 + min(7.0, max(2.6, 0.36 * names))
    across, down = (1, len(panels)) if many else (len(panels), 1)
    canvas = new_canvas(size * across + 0.5, (size + 0.2) * down)
    words = []
    for position, (model, counts, true, predicted) in enumerate(panels):
        axes = canvas.add_subplot(down, across, position + 1)
        _matrix(axes, counts, true, predicted)
        axes.set_title(label(model))
        words.append(f"{label(model)}: {_worst_confusion(counts, true, predicted)}")
    return Drawing(canvas, head + " ".join(words))


def _matrix(axes: Axes, counts: np.ndarray, true: list[str], predicted: list[str]) -> None:
    from matplotlib.colors import Normalize, PowerNorm

    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    many = max(counts.shape) > _MOST_BESIDE
    # Where a class is confused with many others, each has few: a root keeps them in sight.
    shade = PowerNorm(0.5, vmin=0, vmax=100) if many else Normalize(vmin=0, vmax=100)
    image = axes.imshow(shares, cmap="Blues", norm=shade, interpolation="nearest", aspect="auto")
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for axis, names in ((axes.xaxis, predicted), (axes.yaxis, true)):
        step = max(1, -(-len(names) // _MOST_NAMES))
        axis.set_ticks(range(0, len(names), step), [label(n, 18) for n in names[::step]])
        axis.set_tick_params(length=0, labelsize=6 if many else None)
    axes.tick_params(axis="x", labelrotation=90)
    numbered = max(counts.shape) <= _MOST_NUMBERS
    axes.set(xlabel="predicted (numbers: % of the true class)" if numbered else "predicted", ylabel="true")
    if not numbered:
        scale = axes.figure.colorbar(image, ax=axes, shrink=0.5, aspect=30, pad=0.015, ticks=[0, 1, 5, 10, 25, 50, 100])
        scale.set_label("% of the true class")
        scale.outline.set_visible(False)
    if numbered:
        for row, column in zip(*np.nonzero(shares >= 0.5)):
            share = shares[row, column]
            # The number stands in whichever of black and white can be read on its blue.
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=7, color=_readable(share))


def _readable(share: float) -> str:
    return "#ffffff" if share > 55 else "#10202b"


def _worst_confusion(counts: np.ndarray, true: list[str], predicted: list[str]) -> str:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    right = sum(int(counts[i, predicted.index(name)]) for i, name in enumerate(true) if name in predicted)
    wrong = shares.copy()
    for i, name in enumerate(true):
        if name in predicted:
            wrong[i, predicted.index(name)] = -1
    row, column = np.unravel_index(int(wrong.argmax()), wrong.shape)
    return (
        f"{100 * right / max(int(counts.sum()), 1):.1f} % right; most often {label(true[row])} is taken for "
        f"{label(predicted[column])} ({100 * shares[row, column]:.0f} %)."
    )
