"""What the page says in words: differences from the published set-up, the verdict, steps and their times.

Pure functions from the study, measures and records to plain values; the template in `templates` lays them out.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trazo import store
from trazo.config import Settings, Study, differences
from trazo.report.artifacts import Keyed, read_record
from trazo.report.comparison import Compared
from trazo.report.measures import (
    Measure,
    Summary,
    chance_map,
    chance_of,
    last_weights,
    lower_is_better,
    plain,
    select,
    summarize,
    totals,
)

_MINUTE, _HOUR = 60.0, 3600.0


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


def _item_word(study: Study, dataset: str) -> str:
    found = study.datasets.get(dataset)
    return "images" if found is not None and found.layout == "folders" else "drawings"


def _listed(value: Any) -> str:
    if isinstance(value, list):
        if len(value) > 6:
            return f"{len(value)} ({', '.join(map(str, value[:3]))}, …)"
        return ", ".join(str(v) for v in value) or "none"
    return "nothing" if value is None else str(value)


def named_differences(study: Study, original: Study) -> list[str]:
    """Return sentences on where a study as run differs from the study as published, equal ones told once."""
    told: dict[str, list[str]] = {}
    for key, before, now in differences(study, original):
        subject, sentence = _sentence(key, before, now, study)
        told.setdefault(sentence, []).append(subject)
    sentences = []
    for sentence, subjects in told.items():
        head = " and ".join(dict.fromkeys(s for s in subjects if s))
        sentences.append(f"{head}: {sentence}" if head else sentence)
    return sentences


def _sentence(key: str, before: Any, now: Any, study: Study) -> tuple[str, str]:
    """Return what a difference is about, and what it is, in plain words where the key is a common one."""
    instead = f"{_listed(now)} instead of {_listed(before)}"
    if found := re.fullmatch(r"datasets\.([^.]+)\.split\.([^.]+)", key):
        dataset, split = found.groups()
        names = {"train": "training", "test": "test"}
        word = f"{names.get(split, split)} {_item_word(study, dataset)} a class"
        return dataset, f"{_listed(now)} {word} instead of {_listed(before)}"
    if found := re.fullmatch(r"datasets\.([^.]+)\.size", key):
        return found[1], f"images of {now}×{now} pixels instead of {before}×{before}"
    if found := re.fullmatch(r"datasets\.([^.]+)\.categories(?:\..*)?", key):
        return found[1], f"classes {instead}"
    if found := re.fullmatch(r"datasets\.([^.]+)\.source", key):
        return found[1], f"data from {instead}"
    if found := re.fullmatch(r"models\.([^.]+)\.stages\.([^.]+)\.epochs", key):
        return f"{found[1]} (stage {found[2]})", f"{now} epochs instead of {before}"
    if found := re.fullmatch(r"models\.([^.]+)\.stages\.([^.]+)\.batch_size", key):
        return f"{found[1]} (stage {found[2]})", f"batches of {now} instead of {before}"
    if found := re.fullmatch(r"models\.([^.]+)\.stages\.([^.]+)\.optimizer\.([^.]+)\.lr", key):
        return f"{found[1]} (stage {found[2]})", f"learning rate {instead}"
    if key == "seeds":
        return "", f"seeds {instead}"
    section, _, rest = key.partition(".")
    if section in {"tables", "figures", "title", "description"}:
        return "", f"the report's {key} was changed"
    return rest or section, f"{instead}"


@dataclass(frozen=True)
class Method:
    """A model with a distance on a retrieval, and how well it did.

    Attributes
    ----------
    map, others
        mAP and other totals, in per cent.
    published
        Published mAP in per cent, None if there is none.
    """

    retrieval: str
    model: str
    reducer: str
    distance: str
    map: Summary
    published: float | None = None
    others: dict[str, Summary] = field(default_factory=dict)

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


def methods(measures: Sequence[Measure], study: Study, comparisons: Sequence[Compared]) -> list[Method]:
    """Return every method by mAP, best first, grouped by retrieval in the study's order."""
    average = study.published.average if study.published else "queries"
    rows = totals(last_weights(measures, study), average)
    found: list[Method] = []
    labels = [r.label for r in study.retrievals]
    keys = dict.fromkeys((m.dataset, m.model, plain(m.reducer), m.size, m.distance) for m in rows if m.metric == "map")
    for dataset, model, reducer, size, distance in keys:
        mine = select(rows, dataset=dataset, model=model, reducer=reducer, size=size, distance=distance)
        others = {m.metric: summarize(select(mine, metric=m.metric)) for m in mine if m.metric in {"p@1", "mrr"}}
        published = [
            c.published.value * 100 / c.published.factor
            for c in comparisons
            if c.published.metric == "map"
            and not c.published.class_name
            and c.measured is not None
            and (c.published.model, c.published.distance) == (model, distance)
            and plain(c.published.reducer) == reducer
            and plain(c.published.size) in {plain(size), ""}
            and study.published.datasets.get(c.published.dataset, "").replace("/", "-") == dataset.replace("/", "-")
        ]
        found.append(
            Method(
                retrieval=dataset,
                model=model,
                # The width of an unreduced feature tells methods apart as little as the model's name does.
                reducer=f"{reducer} {size}".strip() if reducer else "",
                distance=distance,
                map=summarize(select(mine, metric="map")).scaled(100.0),
                published=published[0] if len(published) == 1 else None,
                others={name: summary.scaled(100.0) for name, summary in others.items()},
            )
        )
    position = {name: i for i, name in enumerate(labels)}
    return sorted(found, key=lambda m: (position.get(m.retrieval, len(position)), -m.map.value))


def chance_levels(measures: Sequence[Measure], study: Study, rankings: Sequence[Keyed]) -> dict[str, float]:
    """Return the chance level of mAP (%) by retrieval, as far as it can be told."""
    levels: dict[str, float] = {}
    for retrieval in study.retrievals:
        level = chance_of(measures, study, retrieval.label)
        mine = [r for r in rankings if r.of("retrieval") == retrieval.label]
        if level is None and mine:
            ranking = store.read_ranking(mine[0].path)
            gallery = len(ranking.gallery_ids) - int(retrieval.leave_one_out)
            counts = [int(n) for n, used in zip(ranking.relevant, ranking.evaluated) if used and n > 0]
            level = math.fsum(chance_map(n, gallery) for n in counts) / len(counts) if counts else None
        if level is not None:
            levels[retrieval.label] = 100 * level
    return levels


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
        c.difference * 100 / c.published.factor for c in measured if not lower_is_better(c.published.metric)
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
    order = {"images": 0, "train": 1, "extract": 2, "features": 2, "rank": 3}
    return sorted(found, key=lambda s: (order.get(s.name, 9), s.about))


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""


def _about(key: dict[str, Any]) -> str:
    """Return what an artifact is about, in the order of a path."""
    parts = []
    if key.get("retrieval"):
        parts.append(str(key["retrieval"]))
    elif key.get("dataset"):
        parts.append("/".join(str(key[k]) for k in ("dataset", "split") if key.get(k)))
    parts += [str(key[k]) for k in ("model", "stage") if key.get(k)]
    parts += [f"{k} {key[k]}" for k in ("epoch", "seed") if key.get(k) is not None]
    parts += [str(key[k]) for k in ("distance",) if key.get(k)]
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
    models = list(study.models)
    return sorted(rows, key=lambda r: (models.index(r.model) if r.model in models else len(models), r.stage, r.seed))


def command_of(name: str, settings: Settings, study: Study) -> str:
    """Return the command that makes the report again; where data lie on this machine is left to fill in."""
    asked = [f"studies=[{','.join(settings.studies)}]"]
    if settings.scale != "full":
        asked.append(f"scale={settings.scale}")
    if settings.device != "auto":
        asked.append(f"device={settings.device}")
    used = {dataset.source for dataset in study.datasets.values()}
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
