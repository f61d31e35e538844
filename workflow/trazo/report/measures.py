"""Measured values as the report sees them: read from `metrics.csv`, selected, and averaged over seeds.

Knows names and units of metrics; how values are set side by side is in `tables`, how they are drawn in `kinds`.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from trazo.config import Study
from trazo.errors import InputError
from trazo.store import METRIC_COLUMNS

_NO_DIMENSIONS = frozenset({"study", "queries", "excluded", "value", "ci_low", "ci_high", "p_best"})
DIMENSIONS = tuple(c for c in METRIC_COLUMNS if c not in _NO_DIMENSIONS)
NUMERIC_DIMENSIONS = ("epoch", "seed", "size", "bits", "fold")
# Of a network on the items that queries come from, and on those that it learned from.
CLASSIFICATION = ("accuracy", "loss")
# Of kept weights on a sample of what they learned from (`Stage.train_sample`).
FROZEN = ("train_accuracy_frozen", "train_loss_frozen")
TRAINING = ("train_accuracy", "train_loss", *FROZEN, "training_time", "images_per_second")
# Of a map of features, over the items it shows.
MAPPED = ("trustworthiness", "silhouette", "silhouette_map")
# Of a search, beside what it finds: times of a query, which stand in timings.csv, and what a searcher must hold.
QUERY_TIMES = (
    "query_time",
    "query_time_transform",
    "query_time_distances",
    "query_time_ranking",
    "query_time_batch",
)
SIZES = ("memory", "saved_size")
# What may differ among values that are averaged into one.
REPLICATES = ("seed", "fold")
# Where "none" says that there is no such part; anywhere else it may be somebody's name.
_OPTIONAL_PARTS = ("reducer", "ranker")
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Measure:
    """One row of `metrics.csv`; dimensions are text as in the file, empty where they do not apply.

    Attributes
    ----------
    dataset … average
        As `store.METRIC_COLUMNS`; `class_name` is the column `class`.
    queries
        Number of queries behind the value, 0 if not said.
    excluded
        Number of queries without a relevant item, which are left out of the value.
    value, ci_low, ci_high
        The value and its 95 % interval; the bounds are None where the file has none.
    """

    study: str
    dataset: str
    model: str
    stage: str
    epoch: str
    seed: str
    reducer: str
    size: str
    bits: str
    fold: str
    ranker: str
    distance: str
    metric: str
    class_name: str
    average: str
    queries: int
    value: float
    ci_low: float | None
    ci_high: float | None
    excluded: int = 0

    def of(self, dimension: str) -> str:
        """Return the row's value of a dimension (a column name)."""
        return getattr(self, "class_name" if dimension == "class" else dimension)


def read_measures(*paths: Path | str | None, folds: bool = False) -> list[Measure]:
    """Read `metrics.csv`, and other files like it (`timings.csv`); None stands for none.

    Parameters
    ----------
    paths
        The files.
    folds
        Also values of single folds beside their mean, which are left out otherwise.

    Raises
    ------
    InputError
        If a column is missing or a number does not parse; the message names file and line.
    """
    found = [measure for path in paths if path is not None for measure in _read(Path(path))]
    return found if folds else without_folds(found)


def without_folds(measures: list[Measure]) -> list[Measure]:
    """Leave out the values of single folds where their mean stands beside them: it is the one that counts."""
    if not any(m.fold for m in measures):
        return measures
    counted = {_whatever_fold(m) for m in measures if not m.fold}
    return [m for m in measures if not m.fold or _whatever_fold(m) not in counted]


def _whatever_fold(measure: Measure) -> tuple[str, ...]:
    return tuple(measure.of(dimension) for dimension in ("study", *DIMENSIONS) if dimension != "fold")


def _read(path: Path) -> list[Measure]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [c for c in METRIC_COLUMNS if c not in (reader.fieldnames or [])]
        if missing:
            raise InputError(f"{path} lacks the columns {', '.join(missing)}; it is no metrics.csv of this version.")
        measures = []
        for row in reader:
            try:
                measures.append(_measure(row))
            except (TypeError, ValueError) as error:
                raise InputError(f"{path}, line {reader.line_num}: {error}; expected a number.") from error
    return measures


def _measure(row: dict[str, str]) -> Measure:
    cells = {("class_name" if k == "class" else k): row[k] or "" for k in ("study", *DIMENSIONS)}
    return Measure(
        **cells,
        queries=int(float(row["queries"] or 0)),
        value=float(row["value"]),
        ci_low=float(row["ci_low"]) if row["ci_low"] else None,
        ci_high=float(row["ci_high"]) if row["ci_high"] else None,
        excluded=int(float(row["excluded"] or 0)),
    )


def select(measures: Iterable[Measure], **where: object) -> list[Measure]:
    """Return the measures whose dimensions have the given value, or one of the given values.

    `class_name` stands for the column `class`. Sizes, epochs and the like match as numbers: "64" is "64.0".
    """
    chosen = list(measures)
    for dimension, wanted in where.items():
        several = wanted if isinstance(wanted, list | tuple | set | frozenset) else [wanted]
        values = {plain(dimension, w) for w in several}
        chosen = [m for m in chosen if plain(dimension, m.of(dimension)) in values]
    return chosen


@cache
def _plain_number(text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if math.isfinite(number) and number == int(number) else text


def plain(dimension: str, value: object) -> str:
    """Return a dimension's value in the one way it is compared.

    Numbers are compared as numbers in numeric dimensions only (size "64.0" is "64"), and "none" is empty only for
    reducers and rankers: a class or model may be named "007", "7" or "none", and these are three.
    """
    text = "" if value is None else str(value)
    if dimension in NUMERIC_DIMENSIONS:
        return _plain_number(text)
    return "" if text == "none" and dimension in _OPTIONAL_PARTS else text


def measured_names(name: str, metric: str, study: Study) -> set[str]:
    """Return the names under which values of a retrieval (or split) can stand in `metrics.csv`.

    A retrieval's name also stands for the split its queries come from, where accuracy and maps were measured, and for
    those that its models learned from; a split's name for those of the same dataset that models learned from.
    """
    names = {name, name.replace("/", "-")}
    splits: set[str] = set()
    if metric in CLASSIFICATION or metric.partition("@")[0] in MAPPED:
        splits = {r.queries for r in study.retrievals if r.label in names}
    elif metric in TRAINING:
        searching = {model for r in study.retrievals if r.label in names for model in r.models}
        splits = {
            reference
            for model, spec in study.models.items()
            for stage in spec.stages
            for reference in (*stage.learned_from, stage.data_label)
            if model in searching or _dataset_of(name, study) in {r.partition("/")[0] for r in stage.learned_from}
        }
    return names | splits | {s.replace("/", "-") for s in splits}


def _dataset_of(split: str, study: Study) -> str:
    """Return the dataset of a split, however it is written; empty if it is none."""
    for name, dataset in study.datasets.items():
        if split.replace("/", "-") in {f"{name}-{part}" for part in dataset.split}:
            return name
    return ""


def totals(measures: Iterable[Measure], average: str) -> list[Measure]:
    """Return the rows over all classes, as the mean over `average` ("queries" or "classes").

    A classification or a training has one total, over its items; that one is taken whatever `average` says.
    """
    return [m for m in measures if not m.class_name and m.average in _averages(m.metric, average)]


def _averages(metric: str, average: str) -> set[str]:
    if metric in TRAINING or metric.partition("@")[0] in MAPPED:
        return {""}
    return {"queries", ""} if metric in CLASSIFICATION else {average, ""}


def last_weights(measures: Iterable[Measure], study: Study) -> list[Measure]:
    """Return the rows of each model's last stage and, of that, of its last epoch, as far as they were measured."""
    return last_epochs(last_stages(measures, study))


def last_stages(measures: Iterable[Measure], study: Study) -> list[Measure]:
    """Return the rows of each model's last stage that was measured, with all of its epochs."""
    return _latest(measures, _weights_of, lambda m: stage_position(study, m.model, m.stage))


def last_epochs(measures: Iterable[Measure]) -> list[Measure]:
    """Return the rows of the last epoch that was measured of each stage of each model."""
    return _latest(measures, lambda m: (*_weights_of(m), m.stage), lambda m: float(m.epoch or 0))


def _latest(
    measures: Iterable[Measure], group: Callable[[Measure], tuple[str, ...]], progress: Callable[[Measure], float]
) -> list[Measure]:
    measures = list(measures)
    last: dict[tuple[str, ...], float] = {}
    for measure in measures:
        last[group(measure)] = max(last.get(group(measure), -math.inf), progress(measure))
    return [m for m in measures if progress(m) == last[group(m)]]


def _weights_of(measure: Measure) -> tuple[str, ...]:
    return measure.dataset, measure.model, measure.reducer, measure.size, measure.metric


def stage_position(study: Study, model: str, stage: str) -> int:
    """Return a stage's position in its model's training, -1 if the study does not know it."""
    names = [s.name for s in study.models[model].stages] if model in study.models else []
    return names.index(stage) if stage in names else -1


@dataclass(frozen=True)
class Summary:
    """A value over its seeds.

    Attributes
    ----------
    value
        Mean over the seeds.
    deviation
        Sample standard deviation over the seeds, None for one seed.
    ci_low, ci_high
        95 % interval, or None.
    seeds, queries
        How many of each are behind it.
    """

    value: float
    deviation: float | None
    ci_low: float | None
    ci_high: float | None
    seeds: int
    queries: int

    def scaled(self, factor: float) -> Summary:
        """Return the same in another unit."""
        values = (self.value, self.deviation, self.ci_low, self.ci_high)
        return Summary(*(None if v is None else v * factor for v in values), self.seeds, self.queries)


def summarize(measures: Sequence[Measure]) -> Summary | None:
    """Return one value for measures that differ in seed and fold only, or None if there are none.

    Folds are averaged first. With one seed the interval is the file's own (over queries). With several, its half
    widths are joined in quadrature with Student's interval of the mean over seeds: seeds share their queries, so
    averaging does not narrow the first part.

    Raises
    ------
    InputError
        If they differ in anything else; the message names the dimension.
    """
    if not measures:
        return None
    _refuse_mixtures(measures)
    # Where the mean over folds was written beside the folds, it is the value.
    if any(not m.fold for m in measures):
        measures = [m for m in measures if not m.fold]
    seeds = sorted({m.seed for m in measures})
    groups = [[m for m in measures if m.seed == seed] for seed in seeds]
    values = [_mean([m.value for m in group]) for group in groups]
    value = _mean(values)
    deviation, spread = None, 0.0
    if len(seeds) > 1:
        deviation = math.sqrt(sum((v - value) ** 2 for v in values) / (len(values) - 1))
        spread = _student(len(seeds) - 1) * deviation / math.sqrt(len(seeds))
    low = high = None
    if all(m.ci_low is not None and m.ci_high is not None for m in measures):
        low = value - math.hypot(_mean([m.value - m.ci_low for m in measures]), spread)
        high = value + math.hypot(_mean([m.ci_high - m.value for m in measures]), spread)
    elif len(seeds) > 1:
        low, high = value - spread, value + spread
    return Summary(value, deviation, low, high, len(seeds), max(m.queries for m in measures))


def _refuse_mixtures(measures: Sequence[Measure]) -> None:
    differing = []
    for dimension in ("study", *DIMENSIONS):
        values = sorted({plain(dimension, m.of(dimension)) for m in measures})
        if dimension not in REPLICATES and len(values) > 1:
            differing.append(f"{dimension} ({', '.join(value or 'empty' for value in values)})")
    if differing:
        raise InputError(
            f"values of different things cannot be averaged into one {measures[0].metric!r}: they differ in "
            f"{' and '.join(differing)}; expected the same in all but seed and fold. Show the dimension or choose one."
        )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _student(freedom: int) -> float:
    # scipy.special alone loads in a fraction of scipy.stats' time, and only several seeds need it.
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - (1 - CONFIDENCE) / 2))


@dataclass(frozen=True)
class Unit:
    """How a metric is shown: the factor from the stored value, the unit's sign and the digits after the point."""

    factor: float
    sign: str
    decimals: int

    def text(self, value: float) -> str:
        """Return a value that is already in this unit, as shown."""
        return f"{value:.{self.decimals}f}"

    def signed(self, value: float) -> str:
        """Return a difference in this unit, with its sign; what rounds to nothing has none."""
        text = f"{value:+.{self.decimals}f}".replace("-", "\N{MINUS SIGN}")
        return self.text(0.0) if float(self.text(value)) == 0 else text


RATE = Unit(100.0, "%", 1)
_OTHER_UNITS = {
    "loss": Unit(1.0, "", 3),
    "train_loss": Unit(1.0, "", 3),
    "train_loss_frozen": Unit(1.0, "", 3),
    "images_per_second": Unit(1.0, "img/s", 0),
    "training_time": Unit(1.0, "min", 1),
    **dict.fromkeys(QUERY_TIMES, Unit(1.0, "ms", 2)),
    **dict.fromkeys(SIZES, Unit(1.0, "MB", 2)),
    **dict.fromkeys(MAPPED, Unit(1.0, "", 3)),
}
_LOWER_IS_BETTER = frozenset(_OTHER_UNITS) - {"images_per_second", *MAPPED}
_LABELS = {"map": "mAP", "p": "P", "mrr": "MRR", "r_precision": "R-precision", "recall": "R", "ndcg": "nDCG"}
_LABELS |= {"knn_accuracy": "kNN accuracy", "label_ap": "AP of labels", "recall_of_exact": "share of the exact list"}
_LABELS |= {"train_accuracy": "training accuracy", "train_loss": "training loss", "images_per_second": "training speed"}
_LABELS |= {
    "train_accuracy_frozen": "training accuracy (frozen weights)",
    "train_loss_frozen": "training loss (frozen weights)",
}
_LABELS |= {"silhouette_map": "silhouette of the map"}
_LABELS |= {
    "query_time_transform": "time to transform",
    "query_time_distances": "time for distances",
    "query_time_ranking": "time to rank",
    "query_time_batch": "query time in a batch",
}
# The studies' own conventions of mAP (README, "What the metrics mean"), after the depth.
_CONVENTIONS = {"map_hits": "mAP{} (by hits)", "map_hits_excl": "mAP{} (by earlier hits)"}


def unit_of(metric: str) -> Unit:
    """Return the unit a metric is shown in: per cent for all rates."""
    return _OTHER_UNITS.get(metric.partition("@")[0], RATE)


def lower_is_better(metric: str) -> bool:
    """Return whether smaller values of a metric are better."""
    return metric.partition("@")[0] in _LOWER_IS_BETTER


def metric_label(metric: str) -> str:
    """Return a metric's name as readers know it ("map@5": "mAP@5")."""
    name, at, depth = metric.partition("@")
    if name in _CONVENTIONS:
        return _CONVENTIONS[name].format(at + depth)
    several = "mean " if "+" in depth else ""
    return several + _LABELS.get(name, name.replace("_", " ")) + at + depth.replace("+", ", ")


def metric_heading(metric: str) -> str:
    """Return a metric's label as the head of an axis or a sentence, with its unit: "Query time (ms)", "mAP (%)"."""
    words, sign = metric_label(metric), unit_of(metric).sign
    # What is written with capitals inside keeps its form.
    head = words if words[:2] != words[:2].lower() else words[0].upper() + words[1:]
    return f"{head} ({sign})" if sign else head


# By their initials, as their papers call them.
_REDUCERS = {"pca": "PCA", "pq": "PQ", "umap": "UMAP", "tsne": "t-SNE", "parametric_umap": "parametric UMAP"}
_REDUCERS |= {name: name.upper() for name in ("crs", "cbs", "dsh", "dtsh")}
# An option as `config.part_label` writes it: a name, and the value where that is a number. A hyphen is the sign of an
# exponent only after an e.
_OPTION = re.compile(r"-([A-Za-z_]+?)(\d+(?:\.\d+)?(?:e[-+]?\d+)?)?(?=-[A-Za-z_]|$)")


def reducer_parts(reducer: str) -> tuple[str, dict[str, str]]:
    """Return the name of a reducer, as `metrics.csv` has it, and its options; those that are no numbers are empty.

    `umap-n_neighbors5-min_dist0.1` is `umap` with {"n_neighbors": "5", "min_dist": "0.1"}.
    """
    name, hyphen, rest = reducer.partition("-")
    options = dict(_OPTION.findall(hyphen + rest))
    if hyphen + rest != "".join(f"-{option}{value}" for option, value in options.items()):
        # Written in a way of its own: what it says is kept, part by part.
        options = dict.fromkeys(rest.split("-"), "")
    return name, options


def reducer_label(reducer: str) -> str:
    """Return a reducer, as `metrics.csv` has it, as readers know it ("pca-whiten": "PCA whiten")."""
    name, options = reducer_parts(plain("reducer", reducer) or "none")
    words = [_REDUCERS.get(name, name.replace("_", " "))]
    for option, value in options.items():
        share = option == "share" and value
        words.append(f"fitted on {100 * float(value):g} %" if share else f"{option} {value}".strip())
    return " ".join(words)


def learned_reducers(study: Study) -> dict[str, str]:
    """Return, by model, what `metrics.csv` calls the reducer of models whose features are codes already."""
    return {name: model.head_choice.name for name, model in study.models.items() if model.head is not None}


def reducer_names(study: Study) -> list[str]:
    """Return what `metrics.csv` calls the reducers of a study, none as "", in its order; learned ones last."""
    fitted = [plain("reducer", name) for r in study.retrievals for name, _ in r.reduced.values()]
    searched = {model for r in study.retrievals for model in r.models}
    learned = [name for model, name in learned_reducers(study).items() if model in searched]
    return list(dict.fromkeys([*fitted, *learned]))


def reduced_by(measures: Iterable[Measure], label: str, study: Study) -> list[Measure]:
    """Return the measures found by one reducer of each retrieval; what was not found by searching stays.

    Parameters
    ----------
    measures, study
        What was measured, and the study.
    label
        The reducer as paths call it ("pca-size32"); empty for the first of each retrieval.
    """
    known = {r.label: r.reduced for r in study.retrievals}
    learned = learned_reducers(study)

    def shown(measure: Measure) -> bool:
        # Codes are not shortened again: of each retrieval these are the only ones of their model.
        if measure.model in learned:
            return True
        reducers = known.get(measure.dataset, {})
        reducer, size = reducers.get(label or next(iter(reducers), ""), ("none", ""))
        same = plain("reducer", measure.reducer) == plain("reducer", reducer)
        return not measure.distance or (same and size in ("", plain("size", measure.size)))

    return [m for m in measures if shown(m)]


def class_order(study: Study) -> list[str]:
    """Return the class names that the study lists, in label order."""
    names: list[str] = []
    for dataset in study.datasets.values():
        if isinstance(dataset.categories, list):
            names.extend(c for c in dataset.categories if c not in names)
    return names


def ordering(study: Study, dimension: str, seen: Sequence[str], metrics: Sequence[str] = ()) -> Callable[[str], tuple]:
    """Return a sort key for the values of a dimension: as the study lists them, then as first seen; totals last."""
    known: dict[str, list[str]] = {
        "class": class_order(study),
        "model": study.methods,
        "distance": list(dict.fromkeys(d for r in study.retrievals for d in r.distances)),
        "ranker": list(dict.fromkeys(name for r in study.retrievals for name in r.ranker_labels)),
        "reducer": reducer_names(study),
        "dataset": [r.label for r in study.retrievals],
        "metric": list(metrics),
    }
    listed = list(dict.fromkeys([*known.get(dimension, []), *seen]))

    def key(value: str) -> tuple:
        if dimension == "class" and not value:
            return (2, 0.0)
        if dimension in NUMERIC_DIMENSIONS:
            return (0, float(value)) if value else (1, 0.0)
        return (0, float(listed.index(value)))

    return key


def left_out(measures: Iterable[Measure]) -> dict[str, list[str]]:
    """Return by retrieval what to say of its queries without a relevant item; models are named where they differ."""
    counts: dict[str, dict[str, tuple[int, int]]] = {}
    for measure in measures:
        if measure.distance and not measure.class_name:
            models = counts.setdefault(measure.dataset, {})
            # Votes leave no query out; the metrics beside them do.
            models[measure.model] = max(models.get(measure.model, (0, 0)), (measure.excluded, measure.queries))
    found = {}
    for retrieval, models in counts.items():
        told = {pair: [m for m, own in models.items() if own == pair] for pair in models.values()}
        found[retrieval] = [
            f"{', '.join(names) + ': ' if len(told) > 1 else ''}{queries_left_out(*pair)}"
            for pair, names in told.items()
            if pair[0]
        ]
    return {retrieval: sentences for retrieval, sentences in found.items() if sentences}


def queries_left_out(excluded: int, queries: int) -> str:
    """Return what to say of queries without a relevant item, beside those that have one."""
    verbs = ("has", "is") if excluded == 1 else ("have", "are")
    every = excluded + queries
    return f"{excluded} of {every} queries {verbs[0]} no relevant item in the gallery and {verbs[1]} left out."


def chance_map(relevant: int, gallery: int) -> float:
    """Return the mAP expected of a gallery of `gallery` items, `relevant` of them relevant, in random order.

    The exact expectation of AP = (1/R) Σ precision at relevant ranks: [H_N + (R−1)/(N−1)·(N − H_N)] / N.
    """
    if not 0 < relevant <= gallery:
        raise InputError(f"chance needs 0 < relevant <= gallery, got {relevant} of {gallery}.")
    if gallery == 1:
        return 1.0
    harmonic = math.fsum(1 / i for i in range(1, gallery + 1))
    return (harmonic + (relevant - 1) / (gallery - 1) * (gallery - harmonic)) / gallery


def chance_of(measures: Sequence[Measure], study: Study, retrieval: str) -> float | None:
    """Return the chance level of mAP of a leave-one-out retrieval, from its classes' query counts; None for others."""
    # Of a search for the very object, classes say nothing; of folds, not how many items of them are in which.
    known = [r for r in study.retrievals if r.leave_one_out and r.relevant == "class" and not r.folds]
    if retrieval not in {r.label for r in known}:
        return None
    counts = {m.class_name: m.queries for m in measures if m.dataset == retrieval and m.class_name and m.distance}
    # A class of one item has no evaluated query, and so no row; its item is searched all the same.
    sizes = [m.queries + m.excluded for m in measures if m.dataset == retrieval and not m.class_name and m.distance]
    gallery = max([sum(counts.values()), *sizes]) - 1
    levels = [(count, chance_map(count - 1, gallery)) for count in counts.values() if count > 1]
    return sum(c * level for c, level in levels) / sum(c for c, _ in levels) if levels else None
