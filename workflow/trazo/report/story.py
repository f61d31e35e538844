"""What the page says in words: the verdict, rankers beside the exact one, steps and their times.

Pure functions from the study, measures and records to plain values; the template in `templates` lays them out.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from trazo import store
from trazo.config import Retrieval, Settings, Study
from trazo.folds import searched_rows
from trazo.provenance import LIBRARY
from trazo.report.artifacts import Keyed, read_record
from trazo.report.comparison import Compared
from trazo.report.measures import (
    RATE,
    Measure,
    Summary,
    chance_map,
    chance_of,
    last_weights,
    plain,
    reducer_label,
    select,
    summarize,
    totals,
    unit_of,
)
from trazo.report.published import measured_datasets, rankers_meant
from trazo.report.significance import Significance
from trazo.store import METHOD_COLUMNS

_MINUTE, _HOUR = 60.0, 3600.0
# What a method costs, as the verdict tells it.
COSTS = ("query_time", "memory")


def duration(seconds: float) -> str:
    """Return a time in the two units a person would name ("3 min 20 s")."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s" if seconds < 10 else f"{round(seconds)} s"
    total = round(seconds)
    if total < _HOUR:
        return f"{total // 60} min {total % 60} s"
    return f"{total // 3600} h {total % 3600 // 60} min"


def number(value: float) -> str:
    """Return a number with thin spaces between thousands."""
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


@dataclass(frozen=True)
class Method:
    """A model with a distance on a retrieval, and how well it did.

    Attributes
    ----------
    map, others
        mAP and other totals, in per cent.
    published
        Published mAP in per cent, None if there is none.
    p
        p value of its mAP's difference from the retrieval's best; None for the best itself, or without a test.
    size, packed
        How many float32 values have the bytes of what is searched, None if that is not said; whether it is bits.
    costs
        `query_time` (ms) and `memory` (MB), where they were measured.
    """

    retrieval: str
    model: str
    reducer: str
    distance: str
    map: Summary
    published: float | None = None
    others: dict[str, Summary] = field(default_factory=dict)
    p: float | None = None
    size: float | None = None
    packed: bool = False
    costs: dict[str, Summary] = field(default_factory=dict)

    @property
    def size_words(self) -> str:
        """What is searched, as readers think of it: values or bits, and their bytes."""
        if self.size is None:
            return "as they are"
        values = f"{number(32 * self.size)} bits" if self.packed else f"{self.size:g} values"
        return f"{values}, {number(4 * self.size)} B"

    @property
    def name(self) -> str:
        """The method as readers name it."""
        return " · ".join(part for part in (self.model, self.reducer, self.distance) if part)

    @property
    def inside(self) -> bool | None:
        """Whether the published value lies in our interval; None without either."""
        if self.published is None or self.map.ci_low is None or self.map.ci_high is None:
            return None
        return self.map.ci_low <= self.published <= self.map.ci_high

    @property
    def place(self) -> str:
        """Where the published value lies, as `tables.Cell.place`."""
        if self.inside is None:
            return ""
        return "inside" if self.inside else "above" if self.map.value > self.published else "below"


def methods(
    measures: Sequence[Measure],
    study: Study,
    comparisons: Sequence[Compared],
    tests: Significance | None = None,
) -> list[Method]:
    """Return every method by mAP, best first, grouped by retrieval in the study's order."""
    average = study.published.average if study.published else "queries"
    rows = totals(last_weights(measures, study), average)
    found: list[Method] = []
    keys_of: dict[int, tuple[str, ...]] = {}
    labels = [r.label for r in study.retrievals]
    kinds = ("dataset", "model", "reducer", "size", "bits", "ranker", "distance")
    keys = dict.fromkeys(tuple(plain(k, m.of(k)) for k in kinds) for m in rows if m.metric == "map")
    # Told only where a retrieval has several.
    rankers: dict[str, set[str]] = {}
    for key in keys:
        rankers.setdefault(key[0], set()).add(key[kinds.index("ranker")])
    widths = {(reducer, size, bits) for _, _, reducer, size, bits, _, _ in keys}
    for dataset, model, reducer, size, bits, ranker, distance in keys:
        mine = select(rows, **dict(zip(kinds, (dataset, model, reducer, size, bits, ranker, distance))))
        others = {m.metric: summarize(select(mine, metric=m.metric)) for m in mine if m.metric in {"p@1", "mrr"}}
        published = [
            c.published.value * 100 / c.published.factor
            for c in comparisons
            if c.published.ours("metric") == "map"
            and not c.published.class_name
            and c.measured is not None
            and (c.published.ours("model"), c.published.distance) == (model, distance)
            and plain("reducer", c.published.ours("reducer")) == reducer
            and plain("size", c.published.ours("size")) in {size, ""}
            and c.published.bits in {bits, ""}
            and ranker in {plain("ranker", name) for name in rankers_meant(c.published)}
            and dataset in measured_datasets(c.published, study)
            and c.published.stage in {"", mine[0].stage}
        ]
        found.append(
            Method(
                retrieval=dataset,
                model=model,
                # The width of an unreduced feature tells methods apart as little as the model's name does.
                reducer=_reducer_words(reducer, size, bits, widths),
                distance=f"{distance} ({ranker or 'exact'})" if len(rankers[dataset]) > 1 else distance,
                map=summarize(select(mine, metric="map")).scaled(100.0),
                published=published[0] if len(set(published)) == 1 else None,
                others={name: summary.scaled(100.0) for name, summary in others.items()},
                size=float(size) if size else float(bits) / 32 if bits else None,
                packed=distance == "hamming",
                costs={
                    name: found_cost.scaled(unit_of(name).factor)
                    for name in COSTS
                    if (found_cost := summarize(select(mine, metric=name)))
                },
            )
        )
        keys_of[id(found[-1])] = tuple(mine[0].of(column) for column in METHOD_COLUMNS)
    position = {name: i for i, name in enumerate(labels)}
    found.sort(key=lambda m: (position.get(m.retrieval, len(position)), -m.map.value))
    if tests is None:
        return found
    best: dict[str, tuple[str, ...]] = {}
    for method in found:
        best.setdefault(method.retrieval, keys_of[id(method)])
    return [replace(m, p=tests.between(m.retrieval, "map", average, keys_of[id(m)], best[m.retrieval])) for m in found]


def best_by_size(found: Sequence[Method]) -> list[tuple[Method, int]]:
    """Return the best method of each size with how many there are of that size, the smallest size first.

    Parameters
    ----------
    found
        Methods of one retrieval, best first; nothing is returned if none of them is shorter than the features are.
    """
    sizes: dict[float, list[Method]] = {}
    for method in found:
        if method.size is not None:
            sizes.setdefault(method.size, []).append(method)
    if len(sizes) < 2 or not any(method.reducer or method.packed for method in found):
        return []
    return [(sizes[size][0], len(sizes[size])) for size in sorted(sizes)]


def _reducer_words(reducer: str, size: str, bits: str, widths: set[tuple[str, str, str]]) -> str:
    """Return a reducer as readers name it: with its bits only where the size does not tell."""
    if not reducer:
        return ""
    alike = {other for other in widths if other[:2] == (reducer, size)}
    return " ".join(part for part in (reducer_label(reducer), size, f"({bits} bits)" if len(alike) > 1 else "") if part)


def chance_levels(measures: Sequence[Measure], study: Study, rankings: Sequence[Keyed]) -> dict[str, float]:
    """Return the chance level of mAP (%) by retrieval, as far as it can be told."""
    levels: dict[str, float] = {}
    for retrieval in study.retrievals:
        level = chance_of(measures, study, retrieval.label)
        mine = [r for r in rankings if r.of("retrieval") == retrieval.label]
        if level is None and mine:
            level = _chance_of_ranking(store.read_ranking(mine[0].path), retrieval)
        if level is not None:
            levels[retrieval.label] = 100 * level
    return levels


def _chance_of_ranking(ranking: store.RankingArtifact, retrieval: Retrieval) -> float | None:
    """Return the chance level of mAP of a retrieval: of each query the mean over the folds that it is evaluated in."""
    shown = ranking.gallery_objects if ranking.query_objects is not None else ranking.gallery_labels
    sought = ranking.query_objects if ranking.query_objects is not None else ranking.query_labels
    by_query: dict[int, list[float]] = {}
    level_of = cache(chance_map)
    for rows in searched_rows(ranking.gallery_labels, ranking.gallery_ids, retrieval.folds, classes=ranking.classes):
        counts = np.bincount(shown[rows], minlength=int(max(shown.max(), sought.max())) + 1)
        # In leave-one-out, queries are searched among the others of the part that they are in.
        own = int(retrieval.leave_one_out)
        asked = rows if own else np.arange(len(sought))
        for query in asked[ranking.evaluated[asked]]:
            relevant = int(counts[sought[query]]) - own
            if relevant > 0:
                by_query.setdefault(int(query), []).append(level_of(relevant, len(rows) - own))
    means = [math.fsum(levels) / len(levels) for levels in by_query.values()]
    return math.fsum(means) / len(means) if means else None


@dataclass(frozen=True)
class Agreement:
    """How far a ranker's lists are from the exact ones of the same features, over seeds and folds.

    Attributes
    ----------
    differing
        By number k of items, the share of queries whose first k are others or stand in another order, per cent.
    tied, rounded, missed
        Of the longest lists compared, the queries that differ in the order of tied items, within rounding, or more.
    recall
        Share of the exact list that it found, per cent, and its depth; None if that was not measured.
    differences
        By metric, its value minus the exact ranker's, in the metric's unit.
    """

    retrieval: str
    method: str
    ranker: str
    queries: int
    k: int
    differing: dict[int, float]
    tied: int
    rounded: int
    missed: int
    distance_error: float
    largest_gap: float
    recall: tuple[str, float] | None
    differences: dict[str, float]
    computes: str = ""
    misses: str = ""


_OF_FEATURES = ("dataset", "model", "stage", "epoch", "reducer", "size", "bits", "distance")


def agreements(rows: Sequence[dict[str, str]], measures: Sequence[Measure], study: Study) -> list[Agreement]:
    """Return what `agreement.csv` and the metrics tell of every ranker beside the exact one, last weights only.

    The metrics are those of the study's tables.
    """
    last = totals(last_weights(measures, study), "queries")
    asked = list(dict.fromkeys(metric for table in study.tables.values() for metric in table.metrics))
    shown = {tuple(plain(c, m.of(c)) for c in _OF_FEATURES) for m in last}
    groups: dict[tuple[tuple[str, ...], str], list[dict[str, str]]] = {}
    for row in rows:
        features = tuple(plain(c, row[c]) for c in _OF_FEATURES)
        if features in shown:
            groups.setdefault((features, row["ranker"]), []).append(row)
    several = [len({features[i] for features, _ in groups}) > 1 for i in range(len(_OF_FEATURES))]
    found = []
    for (features, ranker), mine in groups.items():
        cells = dict(zip(_OF_FEATURES, features, strict=True))
        values = {
            name: {m: summarize(select(last, metric=m, ranker=name, **cells)) for m in {x.metric for x in last}}
            for name in (ranker, "exact")
        }
        depths = sorted({int(row["k"]) for row in mine})
        longest = [row for row in mine if int(row["k"]) == depths[-1]]
        recall = next((m for m in values[ranker] if m.startswith("recall_of_exact@") and values[ranker][m]), "")
        reducer = " ".join([reducer_label(cells["reducer"]), cells["size"]]) if cells["reducer"] else ""
        told = {c for c, many in zip(_OF_FEATURES, several, strict=True) if many}
        parts = [cells["model"], cells["stage"] if "stage" in told else ""]
        parts += [
            f"epoch {cells['epoch']}" if "epoch" in told else "",
            reducer,
            cells["distance"] * ("distance" in told),
        ]
        found.append(
            Agreement(
                retrieval=cells["dataset"],
                method=" · ".join(part for part in parts if part),
                ranker=ranker,
                queries=_sum_of(longest, "queries"),
                k=depths[-1],
                differing={k: _differing([row for row in mine if int(row["k"]) == k]) for k in depths},
                tied=_sum_of(longest, "tied"),
                rounded=_sum_of(longest, "rounded"),
                missed=_sum_of(longest, "missed"),
                distance_error=max(float(row["distance_error"]) for row in mine),
                largest_gap=max(float(row["largest_gap"]) for row in mine),
                recall=(recall.partition("@")[2], 100 * values[ranker][recall].value) if recall else None,
                differences={
                    m: unit_of(m).factor * (values[ranker][m].value - values["exact"][m].value)
                    for m in asked
                    if values[ranker].get(m) and values["exact"].get(m)
                },
                computes=longest[0]["computes"],
                misses=longest[0]["misses"],
            )
        )
    return found


def _sum_of(rows: Sequence[dict[str, str]], column: str) -> int:
    return sum(int(row[column]) for row in rows)


def _differing(rows: Sequence[dict[str, str]]) -> float:
    queries = _sum_of(rows, "queries")
    return 100 * (queries - _sum_of(rows, "same")) / max(queries, 1)


def agreement_words(found: Sequence[Agreement]) -> list[str]:
    """Return for every ranker in a few sentences how many of its lists differ from exact ones, and why."""
    told = []
    for ranker in dict.fromkeys(a.ranker for a in found):
        mine = [a for a in found if a.ranker == ranker]
        queries, tied, rounded, missed = (sum(getattr(a, n) for a in mine) for n in ("queries", "tied", "rounded",
                                                                                    "missed"))  # fmt: skip
        lists = f"{number(queries)} lists of {'up to ' if len({a.k for a in mine}) > 1 else ''}{max(a.k for a in mine)}"
        same = queries - tied - rounded - missed
        error, computes, misses = max(a.distance_error for a in mine), mine[0].computes, mine[0].misses
        if same == queries:
            told.append(f"{ranker}: all {lists} are those of the exact ranker, item by item.")
            continue
        sentences = [f"{ranker}: of {lists}, {number(same)} are those of the exact ranker, item by item"]
        if tied:
            sentences.append(f"In {number(tied)}, items at one and the same distance stand in another order")
        if rounded:
            how = f": it computes them {computes}" if computes else ""
            sentences.append(
                f"In {number(rounded)}, items change places whose distances are as near to each other as its own are "
                f"to the exact ones (off by up to {error:.1g} of the largest in a list{how})"
            )
        if missed:
            why = f": {misses}" if misses else ""
            sentences.append(
                f"In {number(missed)}, items stand in the place of nearer ones, by more than that explains{why}"
            )
        told.append(". ".join(sentences) + ".")
    if any(a.tied for a in found):
        told.append(
            "Of items at one distance, the exact ranker's metrics are the expectation over all orders, and it lists "
            "them by a hash of their names; the others list them as they come upon them, and their metrics are of that "
            "list."
        )
    return told


@dataclass(frozen=True)
class Tally:
    """How the published values fared."""

    total: int
    measured: int
    judged: int
    inside: int
    above: int
    below: int
    median: float | None
    unmeasured: dict[str, int]


def tally(comparisons: Sequence[Compared]) -> Tally:
    """Count published values that were measured, and where the measured ones stand to them.

    The median difference is over values published in per cent, or as fractions, in points (per cent).
    """
    measured = [c for c in comparisons if c.measured is not None]
    judged = [c for c in measured if c.within_interval is not None]
    beyond = [c for c in judged if not c.within_interval]
    points = sorted(
        c.difference * 100 / c.published.factor for c in measured if unit_of(c.published.ours("metric")) == RATE
    )
    middle = len(points) // 2
    median = None
    if points:
        median = points[middle] if len(points) % 2 else (points[middle - 1] + points[middle]) / 2
    why: dict[str, int] = {}
    for c in comparisons:
        if c.measured is None:
            why[c.why] = why.get(c.why, 0) + 1
    return Tally(
        total=len(comparisons),
        measured=len(measured),
        judged=len(judged),
        inside=len(judged) - len(beyond),
        above=sum(c.difference > 0 for c in beyond),
        below=sum(c.difference < 0 for c in beyond),
        median=median,
        unmeasured=why,
    )


@dataclass(frozen=True)
class Step:
    """One artifact's making, as its record tells it."""

    name: str
    about: str
    seconds: float | None
    device: str
    notes: list[str]
    code: str


def steps(records: Sequence[dict[str, Any]]) -> list[Step]:
    """Return the steps behind artifacts, in the order of the flow."""
    found = []
    for record in records:
        settings, figures = record.get("settings") or {}, dict(record.get("figures") or {})
        key = settings.get("key") or {}
        seconds = figures.pop("seconds", None)
        found.append(
            Step(
                name=str(record.get("step", "?")),
                about=_about(key),
                seconds=float(seconds) if seconds is not None else None,
                device=str(figures.pop("device", "") or ""),
                notes=[_figure_words(name, value) for name, value in figures.items() if _is_plain(value)],
                code=str(record.get("code", "")),
            )
        )
    order = {"images": 0, "train": 1, "import": 2, "extract": 2, "features": 2, "reduce": 3, "rank": 4, "map": 5}
    return sorted(found, key=lambda s: (order.get(s.name, 9), s.about))


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""


def _about(key: dict[str, Any]) -> str:
    """Return what an artifact is about, in the order of a path."""
    parts = []
    if key.get("retrieval"):
        parts.append(str(key["retrieval"]))
    elif key.get("split"):
        parts.append("/".join(str(key[k]) for k in ("dataset", "split") if key.get(k)))
    parts += [str(key[k]) for k in ("model", "stage") if key.get(k)]
    parts += [f"{k} {key[k]}" for k in ("epoch", "seed") if key.get(k) is not None]
    parts += [str(key["reducer"])] if key.get("reducer", "none") != "none" else []
    parts += [f"fold {key['fold']}"] if key.get("fold") else []
    parts += [str(key[k]) for k in ("side", "distance", "ranker", "map") if key.get(k)]
    return " · ".join(parts)


def _figure_words(name: str, value: Any) -> str:
    words = name.replace("_", " ")
    text = value
    if isinstance(value, int | float):
        text = number(value) if abs(value) >= 1000 else f"{value:.4g}"
    for suffix, unit in ((" mib", "MiB"), (" per second", "/s"), (" seconds", "s"), (" ms", "ms")):
        if words.endswith(suffix):
            return f"{words.removesuffix(suffix)} {text} {unit}"
    return f"{words} {text}"


@dataclass(frozen=True)
class TrainingRow:
    """How a training stage ended."""

    model: str
    stage: str
    seed: str
    epochs: int
    loss: float | None
    accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    images_per_second: float | None
    seconds: float | None


def training_rows(histories: Sequence[Path], study: Study) -> list[TrainingRow]:
    """Return a row per training stage with the figures of its last epoch; rates are medians, times are sums."""
    rows = []
    for path in histories:
        record, epochs = store.read_history(path)
        key = (record.get("settings") or {}).get("key") or {}
        last = epochs[-1] if epochs else {}
        rates = sorted(e["images_per_second"] for e in epochs if e.get("images_per_second"))
        times = [e["seconds"] for e in epochs if e.get("seconds") is not None]
        rows.append(
            TrainingRow(
                model=str(key.get("model", "")),
                stage=str(key.get("stage", "")),
                seed=str(key.get("seed", "")),
                epochs=int(last.get("epoch", 0)),
                loss=last.get("loss"),
                accuracy=last.get("accuracy"),
                validation_loss=last.get("validation_loss"),
                validation_accuracy=last.get("validation_accuracy"),
                images_per_second=rates[len(rates) // 2] if rates else None,
                seconds=math.fsum(times) if times else None,
            )
        )
    models = study.methods
    return sorted(rows, key=lambda r: (models.index(r.model) if r.model in models else len(models), r.stage, r.seed))


def command_of(name: str, settings: Settings, study: Study) -> str:
    """Return the command that makes the report again; where data lie on this machine is left to fill in."""
    asked = [f"studies=[{','.join(settings.studies)}]"]
    if settings.scale != "full":
        asked.append(f"scale={settings.scale}")
    if settings.device != "auto":
        asked.append(f"device={settings.device}")
    used = study.sources
    local = [source for source, place in settings.sources.items() if source in used and not _is_url(place)]
    if local:
        asked.append(f"sources={{{', '.join(f'{source}: path/to/{source}' for source in local)}}}")
    if settings.overrides:
        asked.append(f"overrides={json.dumps(settings.overrides)}")
    words = ["snakemake", "--cores", "all", f"results/{name}/report.html", "--config", *asked]
    return " ".join(shlex.quote(word) for word in words)


def shown_settings(settings: Settings) -> dict[str, Any]:
    """Return settings as plain values, of local sources only the last part of their path."""
    plain_values = settings.model_dump(mode="json")
    places = {n: p if _is_url(p) else f"(local) {Path(p).name}" for n, p in settings.sources.items()}
    return {**plain_values, "sources": places}


def commit_of_code() -> str:
    """Return the commit of the code that runs, "with changes" if it has any; empty outside a repository of its own."""
    import subprocess

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(LIBRARY), *words], capture_output=True, text=True, check=False, timeout=20
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        # A copy within somebody else's repository is not of its commits.
        if not git("ls-files", "--error-unmatch", "provenance.py"):
            return ""
        commit, changed = (
            git("rev-parse", "--short=12", "HEAD"),
            git("status", "--porcelain", "--", str(LIBRARY.parent)),
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return f"{commit} with changes" if commit and changed else commit


def run_summary(
    name: str,
    study: Study,
    *,
    scale: str,
    sources: Mapping[str, str],
    devices: Sequence[str],
    versions: Mapping[str, str],
    caveat: str,
    command: str,
) -> str:
    """Return in a few lines of Markdown what was run: scale, device, data and stand-ins, versions, command."""
    data = []
    for dataset, spec in study.datasets.items():
        counted = ", ".join(f"{count} {split}" for split, count in spec.split.items() if count != "all")
        whole = [f"all of {split}" for split, count in spec.split.items() if count == "all"]
        shares = ", ".join([f"{counted} a class"] * bool(counted) + whole)
        words = f"{dataset} from {sources.get(dataset, spec.source)}, {shares}"
        data.append(f"{words}, in place of {spec.stands_for}" if spec.stands_for else words)
    data += [f"{features} {sources.get(features, '')}".strip() for features in study.features]
    lines = [
        f"# {name}: {study.title}",
        f"Scale {scale}, on {' and '.join(devices) or 'an unknown device'}, seeds {', '.join(map(str, study.seeds))}. "
        f"Data: {'; '.join(data)}.",
        caveat or "The settings are those of the study's file.",
        f"Versions: {', '.join(f'{package} {version}' for package, version in versions.items())}.",
        f"Command: `{command}`",
    ]
    return "\n\n".join(lines) + "\n"


def _is_url(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def all_records(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the records of artifacts (HDF5 files and training histories)."""
    return [read_record(path) for path in paths]


def joined_versions(records: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the versions behind artifacts; a package that changed in between has several."""
    found: dict[str, list[str]] = {}
    for record in records:
        for name, version in (record.get("versions") or {}).items():
            seen = found.setdefault(name, [])
            if version not in seen:
                seen.append(version)
    return {name: ", ".join(seen) for name, seen in sorted(found.items(), key=lambda item: item[0] != "python")}
