"""Figures of matrices: which classes a network, or its nearest neighbours, take for which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from trazo import store
from trazo.config import Retrieval, Study
from trazo.errors import InputError
from trazo.report.artifacts import chosen_lists, keyed, last_of_model
from trazo.report.drawing import (
    Drawing,
    Foreseen,
    Material,
    ModelOptions,
    figure_kind,
    fitting,
    label,
    new_canvas,
    shown_models,
)
from trazo.report.hover import tell

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# With more classes, a cell has no room for numbers; with more, names shrink and matrices stand below one another.
_MOST_NUMBERS = 30
_MOST_BESIDE = 12
_MOST_LARGE_NAMES = 40
_MOST_NAMES = 150
_ACROSS = 3

Share = Literal["class", "all"]
_SHARES = {"class": "% of the true class", "all": "% of all items"}


class _Matrix(ModelOptions):
    """Options of confusion matrices."""

    share: Share = Field("class", description="what 100 % is: the items of a true `class` (a row), or `all` items")


class Confusion(_Matrix):
    """Options of `confusion`."""

    dataset: str = Field("", description="`<dataset>/<split>` classified; the first with predictions if left out")


@dataclass(frozen=True)
class Panel:
    """A confusion matrix: (T, P) counts of items of true class t taken for class p, and the names of both."""

    title: str
    counts: np.ndarray
    true: list[str]
    predicted: list[str]

    @property
    def right(self) -> int:
        """How many items were taken for what they are."""
        places = [(i, self.predicted.index(name)) for i, name in enumerate(self.true) if name in self.predicted]
        return sum(int(self.counts[place]) for place in places)

    @property
    def accuracy(self) -> float:
        """The share of right items, in per cent."""
        return 100 * self.right / max(int(self.counts.sum()), 1)

    def shares(self, share: Share) -> np.ndarray:
        """Return the counts in per cent of their row or of all."""
        whole = self.counts.sum(axis=1, keepdims=True) if share == "class" else self.counts.sum()
        return 100 * self.counts / np.maximum(whole, 1)


def _has_predictions(options: Confusion, study: Study, foreseen: Foreseen) -> str:
    return foreseen.lacks_predictions(options.models, study, options.dataset)


@figure_kind("confusion", needs=("features",), options=Confusion, check=_has_predictions)
def confusion(options: Confusion, study: Study, material: Material) -> Drawing:
    """Draw, a panel per model, how many of each true class (down) its classifier takes for each class (across)."""
    artifacts = [a for a in keyed(material.features) if not options.dataset or a.reference == options.dataset]
    panels = []
    for model in shown_models(options, study):
        found = last_of_model(artifacts, model, study)
        features = store.read_features(found.path) if found else None
        if features is not None and features.logits is not None:
            panels.append(Panel(model, *confusion_matrix(features)))
    if not panels:
        raise InputError("no features at hand hold predictions (logits); a confusion matrix needs a classifier.")
    return _panels(panels, options.share)


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


class KnnConfusion(_Matrix):
    """Options of `knn_confusion`."""

    neighbours: int = Field(
        0,
        ge=0,
        description="how many nearest items vote: 1, or out of a retrieval's `votes`; 0: the first of these, or 1",
    )
    retrieval: str = Field("", description="retrieval shown; the first with such votes if left out")
    distance: str = Field("", description="distance searched by; the retrieval's first if left out")
    ranker: str = Field("", description="ranker shown, as tables name it; the first if left out")
    reducer: str = Field("", description="reducer shown, as paths name it; the retrieval's first if left out")


def _chosen_vote(options: KnnConfusion, study: Study) -> tuple[list[Retrieval], int]:
    """Return the retrievals that could be shown, and how many nearest items vote; 0 where none has such a vote."""
    retrievals = fitting(options, study)
    votes = [r for r in retrievals if (options.neighbours in r.votes if options.neighbours else r.votes)]
    if votes:
        return votes, options.neighbours or votes[0].votes[0]
    return retrievals, 1 if options.neighbours <= 1 else 0


def _has_vote(options: KnnConfusion, study: Study, _: Foreseen) -> str:
    retrievals, count = _chosen_vote(options, study)
    if count or not retrievals:
        return ""
    held = ", ".join(str(k) for r in retrievals for k in r.votes) or "none"
    return (
        f"{options.neighbours} neighbours do not vote there (votes: {held}); add {options.neighbours} to the "
        "retrieval's `votes`."
    )


@figure_kind("knn_confusion", needs=("rankings",), options=KnnConfusion, check=_has_vote)
def knn_confusion(options: KnnConfusion, study: Study, material: Material) -> Drawing:
    """Draw, a panel per model, how many queries of each class (down) their nearest items vote into each (across).

    It needs no classifier; `knn_accuracy@k` is the share on its diagonal.
    """
    retrievals, count = _chosen_vote(options, study)
    lists = chosen_lists(
        material.rankings, study, retrievals, shown_models(options, study),
        distance=options.distance, ranker=options.ranker, reducer=options.reducer,
    )  # fmt: skip
    panels = [
        Panel(model, *vote_matrix(store.read_ranking(found.path), count)) for model, found in lists.rankings.items()
    ]
    words = f"The {count} nearest vote" if count > 1 else "Each query's nearest item decides"
    return _panels(panels, options.share, f"{', '.join([words, *lists.words])}. ")


def vote_matrix(ranking: store.RankingArtifact, count: int) -> tuple[np.ndarray, list[str], list[str]]:
    """Return counts and the names of rows and columns, as `confusion_matrix`; queries without a vote are left out."""
    if count == 1:
        first = ranking.top_indices[:, 0]
        predicted = np.where(first >= 0, ranking.gallery_labels[np.maximum(first, 0)], -1)
    else:
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


def _panels(panels: list[Panel], share: Share, head: str = "") -> Drawing:
    """Draw matrices, small ones side by side."""
    names = max(max(panel.counts.shape) for panel in panels)
    # A name or a number keeps a cell that it fits in.
    cell = 0.5 if names <= _MOST_BESIDE else 0.37 if names <= _MOST_NUMBERS else 0.2
    cell = 0.112 if names > _MOST_LARGE_NAMES else cell
    longest = max(len(label(name, 18)) for panel in panels for name in (*panel.true, *panel.predicted))
    size = 0.75 + 0.075 * longest + cell * max(names, 4)
    across = min(_ACROSS, len(panels)) if names <= _MOST_BESIDE else 1
    down = -(-len(panels) // across)
    numbered = names <= _MOST_NUMBERS
    canvas = new_canvas(size * across + (0.1 if numbered else 0.7), (size + 0.25) * down)
    words = []
    for position, panel in enumerate(panels):
        axes = canvas.add_subplot(down, across, position + 1)
        _matrix(axes, panel, share, numbered=numbered)
        axes.set_title(f"{label(panel.title)}: accuracy {panel.accuracy:.1f} %")
        words.append(f"{label(panel.title)}: {_worst_confusion(panel)}")
    return Drawing(canvas, head + " ".join(words))


def _matrix(axes: Axes, panel: Panel, share: Share, *, numbered: bool) -> None:
    from matplotlib.colors import Normalize, PowerNorm

    by_class, shares = panel.shares("class"), panel.shares(share)
    many = max(panel.counts.shape) > _MOST_LARGE_NAMES
    # Where a class is confused with many others, each has few: a root keeps them in sight.
    shade = Normalize(vmin=0, vmax=100) if numbered else PowerNorm(0.5, vmin=0, vmax=100)
    image = axes.imshow(by_class, cmap="Blues", norm=shade, interpolation="nearest", aspect="auto")
    tell(image, label(panel.title), *_cell_words(panel, by_class, shares, numbered=numbered))
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for axis, names in ((axes.xaxis, panel.predicted), (axes.yaxis, panel.true)):
        step = max(1, -(-len(names) // _MOST_NAMES))
        axis.set_ticks(range(0, len(names), step), [label(n, 18) for n in names[::step]])
        axis.set_tick_params(length=0, labelsize=6 if many else None)
    axes.tick_params(axis="x", labelrotation=90)
    axes.set(xlabel=f"taken for (counts, and {_SHARES[share]})" if numbered else "taken for", ylabel="true class")
    if not numbered:
        scale = axes.figure.colorbar(image, ax=axes, shrink=0.5, aspect=30, pad=0.015, ticks=[0, 1, 5, 10, 25, 50, 100])
        scale.set_label("% of the true class")
        scale.outline.set_visible(False)
        return
    small = max(panel.counts.shape) > _MOST_BESIDE
    for row, column in zip(*np.nonzero(panel.counts)):
        # The numbers stand in whichever of black and white can be read on their blue.
        style = {"ha": "center", "color": _readable(by_class[row, column])}
        percent = shares[row, column]
        text = f"{percent:.0f} %" if percent >= 9.95 or small else f"{percent:.1f} %"
        axes.text(column, row - 0.03, panel.counts[row, column], va="bottom", fontsize=7 if small else 9, **style)
        axes.text(column, row + 0.03, text, va="top", fontsize=5.6 if small else 6.8, **style)


def _cell_words(
    panel: Panel, by_class: np.ndarray, shares: np.ndarray, *, numbered: bool
) -> tuple[list[list[str]], list[list[str]]]:
    """Return what is said of each cell, and what stands in it; nothing where there is no item."""
    said = [
        [
            f"{true}, taken for {taken}: {count} ({by_class[row, column]:.1f} % of {true})" if count else ""
            for column, (taken, count) in enumerate(zip(panel.predicted, line))
        ]
        for row, (true, line) in enumerate(zip(panel.true, panel.counts.tolist()))
    ]
    cells = [
        [f"{count}\n{shares[row, column]:.0f} %" if count else "" for column, count in enumerate(line)]
        for row, line in enumerate(panel.counts.tolist())
    ]
    return said, cells if numbered else []


def _readable(share: float) -> str:
    return "#ffffff" if share > 55 else "#10202b"


def _worst_confusion(panel: Panel) -> str:
    shares = panel.counts / np.maximum(panel.counts.sum(axis=1, keepdims=True), 1)
    wrong = shares.copy()
    for i, name in enumerate(panel.true):
        if name in panel.predicted:
            wrong[i, panel.predicted.index(name)] = -1
    row, column = np.unravel_index(int(wrong.argmax()), wrong.shape)
    return (
        f"{panel.accuracy:.1f} % right; most often {label(panel.true[row])} is taken for "
        f"{label(panel.predicted[column])} ({100 * shares[row, column]:.0f} %)."
    )
