"""The published values: reading `published.csv` (or a `comparison.csv`, which extends it) and what a row asks for."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from trazo.config import Published, Study
from trazo.errors import InputError
from trazo.registry import unknown_name
from trazo.report.measures import CLASSIFICATION, TRAINING, Measure, measured_names, plain, select, stage_position

PUBLISHED_COLUMNS = (
    "study",
    "source",
    "table",
    "dataset",
    "model",
    "reducer",
    "size",
    "distance",
    "ranker",
    "class",
    "metric",
    "value",
    "unit",
    "note",
)
_EPOCHS = re.compile(r"(?:^|; ?)(?:about )?(\d+(?:\.\d+)?) epochs\b")
_BITS = re.compile(r"(?:^|; ?)(\d+) bits\b")
# What the studies call exhaustive search; ours is exact unless its row says otherwise.
_EXACT = {"", "exact", "brute force", "brute_force", "knn"}
# What a rule on models can ask of a published row.
_MATCHED = tuple(c for c in PUBLISHED_COLUMNS if c not in {"study", "value"})


@dataclass(frozen=True)
class PublishedValue:
    """One published value with what it is of; texts as printed in the file, `class_name` is the column `class`.

    `our_model`, `our_metric` and the like are what this study calls its model and metric; empty: as printed.
    """

    study: str
    source: str
    table: str
    dataset: str
    model: str
    reducer: str
    size: str
    distance: str
    ranker: str
    class_name: str
    metric: str
    value: float
    unit: str
    note: str
    stage: str = ""
    epoch: float | None = None
    bits: str = ""
    our_model: str = ""
    our_metric: str = ""
    our_ranker: str = ""
    our_reducer: str = ""
    our_size: str = ""

    @property
    def factor(self) -> float:
        """What a measured rate is multiplied by to stand in this row's unit."""
        return 100.0 if self.unit == "%" else 1.0

    def of(self, dimension: str) -> str:
        """Return the row's value of a dimension of `metrics.csv`, empty where it has none."""
        if dimension == "epoch":
            return "" if self.epoch is None else plain("epoch", self.epoch)
        return str(getattr(self, "class_name" if dimension == "class" else dimension, ""))

    def ours(self, dimension: str) -> str:
        """Return the row's value of a dimension as this study calls it."""
        return getattr(self, f"our_{dimension}", "") or self.of(dimension)


def read_published(path: Path | str, study: Study) -> list[PublishedValue]:
    """Read the rows of the study that `study.published` names, in the file's order; none if it names none.

    Columns `stage` and `epoch` are read where a file has them; else "60 epochs" or "512 bits" in a note counts.

    Raises
    ------
    InputError
        If a column is missing, a value is no number, or the file does not know the study.
    """
    path = Path(path)
    if study.published is None:
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        fields = ["value" if f == "published" else f for f in reader.fieldnames or []]
        missing = [c for c in PUBLISHED_COLUMNS if c not in fields]
        if missing:
            raise InputError(f"{path} lacks the columns {', '.join(missing)}; expected {', '.join(PUBLISHED_COLUMNS)}.")
        reader.fieldnames = fields
        rows = list(reader)
    found = []
    reduced = {label: columns for r in study.retrievals for label, columns in r.reduced.items()}
    for line, row in enumerate(rows, start=2):
        if row["study"] != study.published.study:
            continue
        try:
            found.append(_published(row, study.published, reduced))
        except ValueError as error:
            raise InputError(f"{path}, row {line}: {error}; expected a number.") from error
    if not found:
        raise InputError(
            f"{path.name}: published.study: "
            f"{unknown_name('study', study.published.study, {row['study'] for row in rows})}"
        )
    return found


def validate_published(
    study: Study,
    rows: list[PublishedValue],
    *,
    models: Collection[str],
    metrics: Collection[str],
    datasets: Collection[str],
    rankers: Collection[str] = (),
    reducers: Collection[str] = (),
) -> None:
    """Refuse names that neither the published file nor the study knows, before anything runs.

    Parameters
    ----------
    study
        The study.
    rows
        Its published values, as `read_published` returns them.
    models, metrics, datasets, rankers, reducers
        What the study trains or imports, what it computes, its retrievals and splits, what searches them, and what
        paths call its reducers; also those that a smaller form of it leaves out, so that their published values can
        still say so.

    Raises
    ------
    InputError
        At the first unknown name; the message names the nearest ones.
    """
    published = study.published
    if published is None:
        return
    for name, ours in published.metrics.items():
        _need(name, {row.metric for row in rows}, "published metric", "published.metrics")
        _need(ours, metrics, "metric", f"published.metrics.{name}")
    for name, ours in published.datasets.items():
        _need(name, {row.dataset for row in rows}, "published dataset", "published.datasets")
        for meant in [ours] if isinstance(ours, str) else ours:
            _need(meant, datasets, "retrieval or split", f"published.datasets.{name}")
    for name, ours in published.rankers.items():
        _need(name, {row.ranker for row in rows}, "published ranker", "published.rankers")
        _need(ours, rankers, "ranker", f"published.rankers.{name}")
    for index, rule in enumerate(published.models):
        where = f"published.models[{index}]"
        _need(rule.model, models, "model", f"{where}.model")
        _need(rule.reducer, {"", *reducers}, "reducer", f"{where}.reducer")
        if rule.model in study.models:
            _need(rule.stage, {"", *(s.name for s in study.models[rule.model].stages)}, "stage", f"{where}.stage")
        for column, wanted in rule.match.items():
            _need(column, _MATCHED, "column", f"{where}.match")
            known = {row.of(column) for row in rows}
            if column == "size" and rule.family:
                continue
            if column != "note":
                _need(plain(column, wanted), {plain(column, k) for k in known}, column, f"{where}.match.{column}")
            elif not any(_is_said(str(wanted), note) for note in known):
                raise InputError(f"{where}.match.note: {unknown_name('part of a note', str(wanted), known)}")
        # Of a family, not every size need be published.
        asked = {column: wanted for column, wanted in rule.match.items() if column != "size" or not rule.family}
        if not any(_fits(asked, row.of) for row in rows):
            raise InputError(f"{where}.match: no published row has all of {rule.match}; correct it or leave it out.")
    tables = {row.table for row in rows}
    for name, table in study.tables.items():
        for wanted in table.published_tables:
            _need(wanted, tables, "published table", f"tables.{name}.published")
    for name, figure in study.figures.items():
        wanted = figure.options.get("published") or []
        for table in [wanted] if isinstance(wanted, str) else wanted:
            _need(table, tables, "published table", f"figures.{name}.options.published")


def _need(name: str, known: Collection[str], kind: str, where: str) -> None:
    if name not in known:
        raise InputError(f"{where}: {unknown_name(kind, name, known)}")


def _fits(match: Mapping[str, str | int], of: Callable[[str], str]) -> bool:
    """Return whether a row, given by its cells, is one that a rule speaks of."""
    return all(
        _is_said(str(wanted), of("note")) if column == "note" else plain(column, of(column)) == plain(column, wanted)
        for column, wanted in match.items()
    )


def _is_said(words: str, note: str) -> bool:
    """Return whether a note has some words in it, and not only as parts of longer ones: "0 %" is not in "10 %"."""
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", note) is not None


def _published(row: dict[str, str], published: Published, reduced: Mapping[str, tuple[str, str]]) -> PublishedValue:
    cells = {("class_name" if c == "class" else c): row[c] or "" for c in PUBLISHED_COLUMNS}
    epochs, bits = _EPOCHS.search(cells["note"]), _BITS.search(cells["note"])
    epoch = row.get("epoch") or (epochs[1] if epochs else "")
    rule = next((rule for rule in published.models if _fits(rule.match, lambda column: row.get(column) or "")), None)
    our_metric = published.metrics.get(cells["metric"], "")
    reducer, size = "", ""
    if rule and rule.reducer and (our_metric or cells["metric"]) not in (*CLASSIFICATION, *TRAINING):
        # A reducer that this form of the study leaves out keeps its name, so that its rows say what was not run.
        reducer, size = reduced.get(rule.reducer, (rule.reducer, ""))
    return PublishedValue(
        **{**cells, "value": float(cells["value"])},
        stage=row.get("stage") or (rule.stage if rule else ""),
        epoch=float(epoch) if epoch else None,
        bits=row.get("bits") or (bits[1] if bits else ""),
        our_model=rule.model if rule else "",
        our_metric=our_metric,
        our_ranker=published.rankers.get(cells["ranker"], ""),
        our_reducer=reducer,
        our_size=size,
    )


def measured_datasets(row: PublishedValue, study: Study) -> list[str]:
    """Return the names under which a published dataset can stand in `metrics.csv`; none if the study maps none.

    Those of the retrieval that the study lists first come first.
    """
    names = (measured_names(name, row.ours("metric"), study) for name in _named_datasets(row, study))
    return list(dict.fromkeys(name for alike in names for name in sorted(alike)))


def _named_datasets(row: PublishedValue, study: Study) -> list[str]:
    """Return what the study calls a published dataset, in its order."""
    named = study.published.datasets.get(row.dataset, []) if study.published else []
    return [named] if isinstance(named, str) else named


def nearest_epoch(published: float, epochs: Collection[float]) -> float | None:
    """Return the epoch that a published one means, None if there is none.

    Published epochs are often read off a chart ("about 13.5"): half an epoch off is still the same point, the earlier
    one of two.
    """
    return min((e for e in epochs if abs(e - published) <= 0.5), key=lambda e: (abs(e - published), e), default=None)


def rankers_meant(row: PublishedValue) -> set[str]:
    """Return the names here of the ranker a published row speaks of."""
    if row.our_ranker:
        return {row.our_ranker}
    return _EXACT if row.ranker in _EXACT else {row.ranker}


def matching(
    row: PublishedValue, study: Study, measures: list[Measure], kept: dict[tuple, list[Measure]]
) -> tuple[list[Measure], str]:
    """Return the measures a published row is to be compared with, or none and the reason.

    Dimensions are narrowed one by one; the first that leaves nothing is the reason. An empty dimension of the
    published row asks for nothing, but what remains must then agree in it. `kept` is a dictionary, empty at first,
    that one caller passes with all its rows: it keeps what earlier rows narrowed the same measures to.
    """
    datasets = measured_datasets(row, study)
    if not datasets:
        return [], f"the study names no data for the published dataset {row.dataset!r}"
    model, metric, reducer = row.ours("model"), row.ours("metric"), row.ours("reducer")
    size, distance = row.ours("size"), row.distance
    average = study.published.average if study.published and metric not in CLASSIFICATION else "queries"
    steps: list[tuple[str, set[str], str]] = [
        ("model", {model}, f"model {model!r} is not part of this run"),
        ("dataset", set(datasets), f"nothing of {model!r} was measured on {row.dataset!r}"),
        ("metric", {metric}, f"metric {metric!r} was not computed"),
        ("reducer", {reducer}, f"reducer {reducer or 'none'!r} was not run"),
    ]
    if size:
        steps.append(("size", {size}, f"size {size} was not run"))
    if row.bits:
        steps.append(("bits", {row.bits}, f"codes of {row.bits} bits were not run"))
    if distance:
        steps.append(("distance", {distance}, f"distance {distance!r} was not ranked with"))
    if row.ranker:
        steps.append(("ranker", rankers_meant(row), f"ranker {row.ours('ranker')!r} was not run"))
    steps.append(("class", {row.class_name}, f"class {row.class_name!r} is not in this run's data"))
    if not row.class_name:
        steps[-1] = ("class", {""}, "no total over the classes was measured")
        steps.append(("average", {average, ""}, f"no mean over {average} was measured"))
    if row.stage:
        steps.append(("stage", {row.stage}, f"stage {row.stage!r} was not evaluated"))
    chosen, path = measures, ()
    for dimension, wanted, reason in steps:
        path = (*path, dimension, *sorted(wanted))
        if path not in kept:
            kept[path] = select(chosen, **{dimension: sorted(wanted)})
        chosen = kept[path]
        if not chosen:
            return [], reason
    # Where several retrievals have it, the one that the study lists first is meant.
    alike = (measured_names(name, metric, study) for name in _named_datasets(row, study))
    return _at_epoch(row, study, next(mine for names in alike if (mine := [m for m in chosen if m.dataset in names])))


def _at_epoch(row: PublishedValue, study: Study, chosen: list[Measure]) -> tuple[list[Measure], str]:
    last = max(stage_position(study, m.model, m.stage) for m in chosen)
    chosen = [m for m in chosen if stage_position(study, m.model, m.stage) == last]
    epochs = sorted({float(m.epoch or 0) for m in chosen})
    wanted = epochs[-1]
    if row.epoch is not None:
        wanted = nearest_epoch(row.epoch, epochs)
        if wanted is None:
            return [], f"epoch {row.epoch:g} was not evaluated (epochs at hand: {', '.join(f'{e:g}' for e in epochs)})"
    chosen = [m for m in chosen if float(m.epoch or 0) == wanted]
    for dimension in ("dataset", "reducer", "size", "bits", "ranker", "distance"):
        values = sorted({plain(dimension, m.of(dimension)) for m in chosen})
        if len(values) > 1:
            return [], f"the published row names no {dimension}, and several were measured ({', '.join(values)})"
    return chosen, ""
