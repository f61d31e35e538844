"""Tables of a study: measured values by rows and columns, beside the published ones, as CSV, Markdown and LaTeX.

`build_table` makes the grid that these files and the page show; the page's own HTML is in `page`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trazo.config import Study, Table
from trazo.errors import InputError
from trazo.printable import printable
from trazo.registry import unknown_name
from trazo.report.measures import (
    CLASSIFICATION,
    DIMENSIONS,
    FROZEN,
    MAPPED,
    NUMERIC_DIMENSIONS,
    RATE,
    REPLICATES,
    TRAINING,
    Measure,
    Summary,
    Unit,
    class_order,
    last_epochs,
    last_stages,
    learned_reducers,
    left_out,
    lower_is_better,
    measured_names,
    metric_label,
    ordering,
    plain,
    read_measures,
    reducer_label,
    reducer_names,
    select,
    summarize,
    unit_of,
    without_folds,
)
from trazo.report.published import PublishedValue, measured_datasets, nearest_epoch, read_published
from trazo.report.significance import LEVEL, Method, Significance
from trazo.store import METHOD_COLUMNS, write_text

# `average` describes totals, it is no dimension to spread over.
_NEVER_COLUMNS = (*REPLICATES, "average")
# These follow from the network where nothing reduces its features: they divide no cells, so readers need no column.
_WIDTHS = ("size", "bits")
# These follow from the method and the size of codes that a network learned.
_OF_CODES = ("model", "distance")
BEST, TIED = "★", "☆"
# Beside one method that a table names, instead of beside the best.
BETTER, WORSE, LIKE = "▲", "▼", "="
_MARK_WORDS = {BEST: "best", TIED: "like best", BETTER: "better", WORSE: "worse", LIKE: "like"}
TOTAL_NAMES = {"classes": "mean of classes", "queries": "mean over queries"}


@dataclass(frozen=True)
class Cell:
    """A measured value and the published one beside it, both in the row's or column's unit; None where missing.

    `mark` is `BEST` for the best of the values of one metric over the same queries, and `TIED` for one that a paired
    randomisation test cannot tell from it; beside a method that the table names, `BETTER`, `WORSE`, or `LIKE` for one
    that the test cannot tell from it.
    """

    metric: str
    unit: Unit
    measured: Summary | None = None
    published: float | None = None
    mark: str = ""

    @property
    def difference(self) -> float | None:
        """Measured minus published."""
        if self.measured is None or self.published is None:
            return None
        return self.measured.value - self.published

    @property
    def place(self) -> str:
        """Where the published value lies: "inside" our interval, or "above" or "below": where ours lies beyond it."""
        if self.difference is None or self.measured.ci_low is None or self.measured.ci_high is None:
            return ""
        if self.measured.ci_low <= self.published <= self.measured.ci_high:
            return "inside"
        return "above" if self.difference > 0 else "below"


@dataclass(frozen=True)
class Grid:
    """A table laid out.

    Attributes
    ----------
    row_dimension, column_dimensions
        What runs down and across; of several dimensions that run down, their names joined.
    rows, columns
        Values of the row dimension (of several, joined), and tuples of values of the column dimensions, as in
        `metrics.csv`.
    row_labels, column_labels
        The same as readers see them.
    cells
        By (row, column); a missing one is empty.
    left_out
        What to say of queries that no value is of.
    against
        What marks compare with, as readers know it; empty: the best.
    """

    title: str
    row_dimension: str
    column_dimensions: tuple[str, ...]
    rows: list[str]
    columns: list[tuple[str, ...]]
    row_labels: list[str]
    column_labels: list[tuple[str, ...]]
    cells: dict[tuple[str, tuple[str, ...]], Cell] = field(default_factory=dict)
    note: str = ""
    published: str = ""
    left_out: tuple[str, ...] = ()
    against: str = ""

    def cell(self, row: str, column: tuple[str, ...]) -> Cell | None:
        """Return a cell, None where nothing was measured or published."""
        return self.cells.get((row, column))

    @property
    def has_published(self) -> bool:
        """Whether any cell has a published value."""
        return any(cell.published is not None for cell in self.cells.values())


def validate_table(table: Table, study: Study, computed: Collection[str] | None = None) -> None:
    """Refuse a table that cannot be laid out.

    Parameters
    ----------
    table, study
        The table, and the study whose measures it shows.
    computed
        Names of all metrics that the run computes, families written out and those of classification included; left
        out, neither the metrics nor what `where` asks for are checked against the run.

    Raises
    ------
    InputError
        If a dimension is unknown or stands in two places, nothing computes a metric, or `where` asks for what the
        study does not have.
    """
    for metric in table.metrics if computed is not None else ():
        if metric not in computed:
            raise InputError(f"table {table.title!r}: nothing computes it: {unknown_name('metric', metric, computed)}")
    for dimension in (*table.row_dimensions, *table.columns, *table.where, *table.against):
        if dimension not in DIMENSIONS:
            raise InputError(f"table {table.title!r}: {unknown_name('dimension', dimension, DIMENSIONS)}")
    used = [*table.row_dimensions, *table.columns]
    # A list in `where` chooses among what runs down or across; one value leaves nothing to run.
    fixed = {dimension for dimension, wanted in table.where.items() if not isinstance(wanted, list)}
    twice = sorted({d for d in used if used.count(d) > 1} | (set(used) & fixed))
    if twice:
        raise InputError(
            f"table {table.title!r}: {', '.join(twice)} can stand in rows, columns or where, not in two; a list in "
            "where chooses among rows or columns."
        )
    known: dict[str, Collection[str]] = {"model": study.methods, "metric": table.metrics}
    if computed is not None:
        known |= _measured_values(table, study)
        for key, name in table.against.items():
            if key in known and name not in ("", None) and plain(key, name) not in known[key]:
                raise InputError(f"table {table.title!r}: against: {unknown_name(key, str(name), known[key])}")
    for key, choices in known.items():
        wanted = table.where.get(key, [])
        for name in wanted if isinstance(wanted, list) else [wanted]:
            # Nothing stands for what has no such part: accuracy has no distance.
            if name not in ("", None) and plain(key, name) not in choices:
                raise InputError(f"table {table.title!r}: where: {unknown_name(key, str(name), choices)}")
    if computed is not None:
        _need_epochs(table, study)


def _need_epochs(table: Table, study: Study) -> None:
    """Refuse epochs at which nothing is measured of a model that the table chooses: its row would be missing."""
    chosen = [name for name in _chosen(table, "model") if name in study.models]
    for epoch in filter(None, _chosen(table, "epoch")):
        for model in chosen:
            measured = sorted(_measured_epochs(table, study, model))
            if epoch not in {plain("epoch", e) for e in measured}:
                there = f" on {' or '.join(_chosen(table, 'dataset'))}" if "dataset" in table.where else ""
                raise InputError(
                    f"table {table.title!r}: where: epoch {epoch} of {model} is not measured{there}, but "
                    f"{', '.join(map(str, measured)) or 'none'}; choose one of these, leave the model out, or add the "
                    "epoch to its `checkpoints` and to the retrieval's `epochs`."
                )


def _chosen(table: Table, dimension: str) -> list[str]:
    """Return the values that a table's `where` chooses in a dimension, as `plain` writes them; none: all."""
    wanted = table.where.get(dimension, [])
    return [plain(dimension, value) for value in (wanted if isinstance(wanted, list) else [wanted])]


def _measured_epochs(table: Table, study: Study, model: str) -> set[int]:
    """Return the epochs of a model that a table can show, on the datasets and of the stages that it chooses."""
    datasets, stages = _chosen(table, "dataset"), _chosen(table, "stage")
    names = {n for d in datasets for metric in table.metrics for n in measured_names(d, metric, study)}
    places = [(r, {r.label, r.queries}) for r in study.retrievals if model in r.models]
    if any(metric.partition("@")[0] in MAPPED for metric in table.metrics):
        places += [(drawn, {drawn.data}) for drawn in study.maps.values() if model in drawn.models]
    found: set[int] = set()
    for place, known in places:
        dashed = {name.replace("/", "-") for name in known}
        for stage in study.stages_of(place, model) if not datasets or names & (known | dashed) else ():
            if not stages or stage.name in stages:
                found.update(study.epochs_of(place, stage))
    if set(table.metrics) & set(TRAINING):
        for stage in study.models[model].stages:
            if (not datasets or names & {*stage.learned_from, stage.data_label}) and (
                not stages or stage.name in stages
            ):
                if set(table.metrics) & (set(TRAINING) - set(FROZEN)):
                    found.update(range(1, stage.epochs + 1))
                elif stage.train_sample:
                    found.update(stage.kept_epochs)
    return found


def _measured_values(table: Table, study: Study) -> dict[str, set[str]]:
    """Return what a run can measure in the dimensions that a study fixes, as `plain` writes it."""
    stages = [stage for model in study.models.values() for stage in model.stages]
    learned = learned_reducers(study)
    found = {
        "distance": {d for r in study.retrievals for d in r.distances} | ({"hamming"} if learned else set()),
        "ranker": {name for r in study.retrievals for name in r.ranker_labels},
        "reducer": set(reducer_names(study)),
        "stage": {stage.name for stage in stages},
        "dataset": set(study.measured_on),
        "seed": {plain("seed", seed) for seed in study.seeds},
        "fold": {str(number) for r in study.retrievals for number in range(1, r.folds + 1)},
    }
    found["epoch"] = {plain("epoch", e) for model in study.models for e in _measured_epochs(table, study, model)}
    # Categories drawn at random or taken from a folder are known only once the data are read.
    if not study.features and all(isinstance(d.categories, list) for d in study.datasets.values()):
        found["class"] = set(class_order(study))
    return found


def build_table(
    table: Table,
    study: Study,
    measures: list[Measure],
    published: Iterable[PublishedValue],
    tests: Significance | None = None,
) -> Grid:
    """Lay a table out.

    A dimension that the table does not spread and in which its values still differ (two retrievals, say) becomes a
    column of its own, so that no cell mixes values of different things. Of what the table does not speak of, stages
    or epochs, only the last of each model counts. With `tests`, the best of each metric and what cannot be told from
    it are marked; where the table names a method to compare with, what is better and worse than that.
    """
    validate_table(table, study)
    down = table.row_dimensions
    named = {*down, *table.columns, *table.where}
    chosen = select(measures if "fold" in named else without_folds(measures), metric=table.metrics)
    if "stage" not in named:
        chosen = last_stages(chosen, study)
    if "epoch" not in named:
        chosen = last_epochs(chosen)
    chosen = [m for m in _selected(chosen, table, study) if _shown(m, table)]
    spoken = [row for row in published if row.table in table.published_tables]
    spoken = [row for row in spoken if row.ours("metric") in table.metrics and _fits(row, table, study)]
    spoken = _at_measured_epochs(spoken, chosen, by_epoch="epoch" in (*down, *table.columns))

    columns = list(table.columns)
    for dimension in DIMENSIONS:
        if dimension not in (*down, *columns, *_NEVER_COLUMNS) and _differs(dimension, chosen, table, columns, study):
            columns.append(dimension)

    cells: dict[tuple[str, tuple[str, ...]], list[Measure]] = {}
    parts: dict[str, tuple[str, ...]] = {}
    for measure in chosen:
        place = _cell_of(measure, down, columns)
        cells.setdefault(place, []).append(measure)
        parts[place[0]] = _values(measure, down)
    beside: dict[tuple[str, tuple[str, ...]], PublishedValue] = {}
    for row in spoken:
        values = tuple(_place(row, d, study, chosen) for d in down)
        beside[_joined_row(values), tuple(_place(row, c, study, chosen) for c in columns)] = row
        parts[_joined_row(values)] = values

    places = [*cells, *beside]
    rows = _ordered(study, down, parts, table.metrics)
    across = list(dict.fromkeys(column for _, column in places))
    keys = [ordering(study, c, [column[i] for column in across], table.metrics) for i, c in enumerate(columns)]
    across.sort(key=lambda column: tuple(key(value) for key, value in zip(keys, column)))

    def label(dimension: str, value: str) -> str:
        if dimension == "class" and not value:
            return TOTAL_NAMES[table.average]
        if dimension == "fold" and not value:
            return "mean"
        # A bare number at the head of a column says nothing; down the rows, the corner names the dimension.
        if dimension in NUMERIC_DIMENSIONS and [dimension] != down and value:
            return f"{dimension} {value}"
        if dimension == "metric":
            sign = unit_of(value).sign
            return metric_label(value) + (f" ({sign})" if sign not in {"", RATE.sign} else "")
        if dimension == "reducer":
            return reducer_label(value)
        return value or "–"

    grid_cells = {}
    marks = {}
    if tests:
        marks = _marks_against(cells, tests, table.against) if table.against else _marks(cells, tests)
    for place in dict.fromkeys(places):
        found, row = cells.get(place, []), beside.get(place)
        metric = found[0].metric if found else row.ours("metric")
        unit = unit_of(metric)
        summary = summarize(found)
        grid_cells[place] = Cell(
            metric=metric,
            unit=unit,
            measured=summary.scaled(unit.factor) if summary else None,
            published=row.value * unit.factor / row.factor if row else None,
            mark=marks.get(place, ""),
        )
    return Grid(
        title=table.title,
        row_dimension=_joined_row(down),
        column_dimensions=tuple(columns),
        rows=rows,
        columns=across,
        row_labels=[_joined_row([label(d, v) for d, v in zip(down, parts[row])]) for row in rows],
        column_labels=[tuple(label(d, v) for d, v in zip(columns, column)) for column in across],
        cells=grid_cells,
        note=table.note,
        published=_joined(table.published_tables),
        left_out=_left_out(chosen, measures),
        against=", ".join(label(d, plain(d, v)) for d, v in table.against.items()) if marks else "",
    )


def _left_out(chosen: Iterable[Measure], measures: Iterable[Measure]) -> tuple[str, ...]:
    """Return the sentences on queries left out of the values chosen, retrievals named where there are several."""
    shown = {(m.dataset, m.model, m.metric) for m in chosen}
    told = left_out(m for m in measures if (m.dataset, m.model, m.metric) in shown)
    several = len({dataset for dataset, _, _ in shown}) > 1
    return tuple(f"{f'{name}: ' if several else ''}{sentence}" for name, said in told.items() for sentence in said)


_Place = tuple[str, tuple[str, ...]]


def _tested(cells: dict[_Place, list[Measure]]) -> dict[tuple[str, str, str], dict[_Place, tuple[float, Method]]]:
    """Return the totals by what tests are of: one metric and mean on one retrieval."""
    groups: dict[tuple[str, str, str], dict[_Place, tuple[float, Method]]] = {}
    for place, found in cells.items():
        first, summary = found[0], summarize(found)
        # What is tested are methods over all of their folds.
        if first.class_name or first.fold or summary is None:
            continue
        method = tuple(first.of(column) for column in METHOD_COLUMNS)
        group = groups.setdefault((first.dataset, first.metric, first.average), {})
        group[place] = (summary.value, method)
    return groups


def _marks_against(
    cells: dict[_Place, list[Measure]], tests: Significance, against: Mapping[str, Any]
) -> dict[_Place, str]:
    """Return marks by place: what is better, worse or like the one of the same metric that `against` describes.

    If it describes several, the one of the same model counts.
    """
    marks = {}
    for key, group in _tested(cells).items():
        wanted = [p for p in group if all(plain(d, cells[p][0].of(d)) == plain(d, v) for d, v in against.items())]
        for place, (value, method) in group.items():
            mine = [p for p in wanted if cells[p][0].model == cells[place][0].model]
            reference = wanted if len(wanted) == 1 else mine
            p = tests.between(*key, method, group[reference[0]][1]) if len(reference) == 1 else None
            if p is not None:
                above = (value > group[reference[0]][0]) != lower_is_better(key[1])
                marks[place] = LIKE if p >= LEVEL else BETTER if above else WORSE
    return marks


def _marks(cells: dict[_Place, list[Measure]], tests: Significance) -> dict[_Place, str]:
    """Return marks by place: of the totals of one metric on one retrieval, the best, and what equals it."""
    marks = {}
    for key, group in _tested(cells).items():
        best = max(group, key=lambda place: group[place][0])
        p = {
            place: tests.between(*key, method, group[best][1]) for place, (_, method) in group.items() if place != best
        }
        if any(value is not None for value in p.values()):
            marks[best] = BEST
            marks |= {place: TIED for place, value in p.items() if value is not None and value >= LEVEL}
    return marks


def _at_measured_epochs(spoken: list[PublishedValue], chosen: list[Measure], *, by_epoch: bool) -> list[PublishedValue]:
    """Return published rows with the measured epoch that each means; those of epochs not shown are left out.

    `by_epoch`: the table tells epochs apart, so that a value printed without one needs the last of its stage.
    """
    epochs: dict[tuple[str, str], set[float]] = {}
    for measure in chosen:
        epochs.setdefault((measure.model, measure.metric), set()).add(float(measure.epoch or 0))
    found = []
    for row in spoken:
        at_hand = epochs.get((row.ours("model"), row.ours("metric")), set())
        # Where nothing was measured the published value stands alone, as it was printed.
        epoch = nearest_epoch(row.epoch, at_hand) if row.epoch is not None and at_hand else row.epoch
        if by_epoch and row.epoch is None and row.stage:
            mine = select(chosen, model=row.ours("model"), metric=row.ours("metric"), stage=row.stage)
            found.append(replace(row, epoch=max((float(m.epoch or 0) for m in mine), default=None)))
        elif (epoch is None) == (row.epoch is None):
            found.append(replace(row, epoch=epoch))
    return found


def _cell_of(measure: Measure, down: Iterable[str], columns: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    return _joined_row(_values(measure, down)), _values(measure, columns)


def _values(measure: Measure, dimensions: Iterable[str]) -> tuple[str, ...]:
    return tuple(plain(d, measure.of(d)) for d in dimensions)


def _joined_row(values: Sequence[str]) -> str:
    """Return what stands at the head of a row: one value as it is, several joined."""
    return values[0] if len(values) == 1 else " · ".join(value for value in values if value)


def _differs(dimension: str, chosen: list[Measure], table: Table, columns: list[str], study: Study) -> bool:
    """Return whether values differ in a dimension, in a way that readers must see."""
    learned = learned_reducers(study) if "reducer" in (*table.row_dimensions, *columns) else {}
    seen: dict[object, set[str]] = {}
    for measure in chosen:
        group: object = measure.metric
        # Values that the table itself chose among are told apart by its rows and columns, as long as these do; so are
        # codes that a network learned, each size a model, and how their bits are compared.
        if dimension in (*_WIDTHS, *table.where) or (dimension in _OF_CODES and measure.model in learned):
            group = _cell_of(measure, table.row_dimensions, columns)
        elif dimension in {"metric", "class"}:
            group = None
        elif dimension in {"stage", "epoch"}:
            # Models and stages end at different epochs; only several of one need telling apart.
            group = measure.metric, measure.dataset, measure.model, dimension == "epoch" and measure.stage
        seen.setdefault(group, set()).add(plain(dimension, measure.of(dimension)))
    return any(len(values) > 1 for values in seen.values())


def _selected(measures: list[Measure], table: Table, study: Study) -> list[Measure]:
    """Return the measures that a table's `where` lets through; a retrieval stands for what was classified there too."""
    datasets = table.where.get("dataset")
    chosen = select(measures, **{d: wanted for d, wanted in table.where.items() if d != "dataset"})
    if datasets is None:
        return chosen
    wanted = [str(d) for d in (datasets if isinstance(datasets, list) else [datasets])]
    names = {metric: {n for d in wanted for n in measured_names(d, metric, study)} for metric in table.metrics}
    return [m for m in chosen if m.dataset in names[m.metric]]


def _shown(measure: Measure, table: Table) -> bool:
    by_class = "class" in (*table.row_dimensions, *table.columns, *table.where)
    if measure.class_name:
        return by_class
    average = "queries" if measure.metric in CLASSIFICATION else table.average
    return measure.average in {average, ""}


def _fits(row: PublishedValue, table: Table, study: Study) -> bool:
    for dimension, wanted in table.where.items():
        values = {plain(dimension, v) for v in (wanted if isinstance(wanted, list) else [wanted])}
        if dimension == "dataset":
            if not values & set(measured_datasets(row, study)):
                return False
        elif dimension == "epoch":
            if row.epoch is None or nearest_epoch(row.epoch, [float(v) for v in values]) is None:
                return False
        elif dimension != "average" and plain(dimension, row.ours(dimension)) not in values:
            return False
    return "class" in (*table.row_dimensions, *table.columns, *table.where) or not row.class_name


def _place(row: PublishedValue, dimension: str, study: Study, chosen: list[Measure]) -> str:
    if dimension == "dataset":
        # Of several retrievals it stands beside the one that the table shows.
        labels = measured_datasets(row, study)
        shown = [m for m in chosen if m.metric == row.ours("metric") and m.dataset in labels]
        alike = [m for m in shown if all(plain(d, m.of(d)) == plain(d, row.ours(d)) for d in ("model", "reducer"))]
        names = {m.dataset for m in alike or shown} or labels
        return min(names, key=lambda name: ("/" in name, labels.index(name)), default=row.dataset)
    return plain(dimension, row.ours(dimension))


def _ordered(study: Study, down: list[str], parts: dict[str, tuple[str, ...]], metrics: list[str]) -> list[str]:
    """Return rows in the order of their values, the first dimension's before the second's."""
    seen = [list(values) for values in zip(*parts.values())]
    keys = [ordering(study, dimension, values, metrics) for dimension, values in zip(down, seen)]
    return sorted(parts, key=lambda row: tuple(key(value) for key, value in zip(keys, parts[row])))


def render_table(
    *,
    table: Table,
    study: Study,
    metrics: Path,
    published: Path,
    csv: Path,
    md: Path,
    tex: Path,
    timings: Path | None = None,
    significance: Path | None = None,
    caveat: str = "",
) -> None:
    """Write a table as CSV (plain numbers), Markdown and LaTeX (booktabs).

    Parameters
    ----------
    table, study
        The table, and the study it is of.
    metrics, published
        `metrics.csv` of the run, and the published values.
    csv, md, tex
        Where to.
    timings
        `timings.csv` of the run, if there is one.
    significance
        `significance.csv` of the run, for marks; None leaves them out.
    caveat
        What sets the run apart from the published set-up, as `departures.caveat` says it; stands below the table in
        Markdown and LaTeX, so that a table that is copied out says so too.

    Raises
    ------
    InputError
        If the table cannot be laid out, or nothing at all was measured or published for it.
    """
    spoken = read_published(published, study) if table.published_tables else []
    tests = Significance.read(significance) if significance else None
    grid = build_table(table, study, read_measures(metrics, timings, folds=True), spoken, tests)
    if not grid.rows:
        raise InputError(
            f"table {table.title!r}: nothing was measured for it; expected metrics {', '.join(table.metrics)}"
            f"{f' where {table.where}' if table.where else ''}. Change the table or add the metrics to a retrieval."
        )
    write_text(csv, table_csv(grid))
    write_text(md, table_markdown(grid, caveat))
    write_text(tex, table_latex(grid, caveat))


def table_csv(grid: Grid) -> str:
    """Return the table as CSV, a line per row: every column's value, interval, deviation and published value.

    It is for spreadsheets: names that one would take for formulas have an apostrophe before them (`spreadsheet`);
    `metrics.csv` has every name as it is.
    """
    several = any(c.measured and c.measured.seeds > 1 for c in grid.cells.values())
    parts = ["", "ci_low", "ci_high", *(["deviation", "seeds"] if several else [])]
    parts += ["mark"] if any(c.mark for c in grid.cells.values()) else []
    parts += ["published", "difference"] if grid.has_published else []
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    named = [
        [f"{d} {v}" if v and d in NUMERIC_DIMENSIONS else v for d, v in zip(grid.column_dimensions, column)]
        for column in grid.columns
    ]
    heads = [" ".join(x for x in (*column, part) if x) for column in named for part in parts]
    writer.writerow([grid.row_dimension, "unit", *map(spreadsheet, heads)])
    for row, label in zip(grid.rows, grid.row_labels):
        present = [c for c in (grid.cell(row, column) for column in grid.columns) if c]
        # Where metrics run across, units differ within a row: an empty unit then says that the heads tell it.
        units = {c.unit.sign for c in present}
        line: list[object] = [spreadsheet(label), units.pop() if len(units) == 1 else ""]
        for column in grid.columns:
            cell = grid.cell(row, column)
            line.extend(_plain_numbers(cell, parts) if cell else [""] * len(parts))
        writer.writerow(line)
    return file.getvalue()


def _plain_numbers(cell: Cell, parts: list[str]) -> list[object]:
    values: dict[str, object] = {"published": cell.published, "difference": cell.difference}
    if cell.measured:
        summary = cell.measured
        values |= {"": summary.value, "ci_low": summary.ci_low, "ci_high": summary.ci_high}
        values |= {"deviation": summary.deviation, "seeds": summary.seeds}
    found = [values.get(part) for part in parts]
    mark = _MARK_WORDS.get(cell.mark, "")
    return [mark if p == "mark" else "" if v is None else repr(v) for p, v in zip(parts, found)]


def mark_words(mark: str, grid: Grid) -> str:
    """Return what a mark says of a value, for whoever points at it."""
    words = {BEST: "best", TIED: "not to be told from the best", LIKE: f"not to be told from {grid.against}"}
    return words.get(mark) or f"{_MARK_WORDS[mark]} than {grid.against}"


def measured_text(cell: Cell, *, plus_minus: str = " ± ") -> str:
    """Return the measured value as shown: mean, and deviation over several seeds."""
    if cell.measured is None:
        return "–"
    text = cell.unit.text(cell.measured.value)
    if cell.measured.deviation is not None:
        text += plus_minus + cell.unit.text(cell.measured.deviation)
    return text


def interval_text(cell: Cell, dash: str = "–") -> str:
    """Return the measured value's interval as shown, empty without one."""
    if cell.measured is None or cell.measured.ci_low is None or cell.measured.ci_high is None:
        return ""
    return f"{cell.unit.text(cell.measured.ci_low)}{dash}{cell.unit.text(cell.measured.ci_high)}"


def published_text(value: float) -> str:
    """Return a published value with the digits it was printed with."""
    return str(round(value, 6))


def _joined(words: list[str]) -> str:
    if not words:
        return ""
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def table_legend(grid: Grid) -> list[str]:
    """Return the sentences that say how to read the table."""
    summaries = [c.measured for c in grid.cells.values() if c.measured]
    signs = list(dict.fromkeys(c.unit.sign for c in grid.cells.values() if c.unit.sign))
    bare = dict.fromkeys(metric_label(c.metric) for c in grid.cells.values() if not c.unit.sign)
    unitless = f"; {_joined([*bare])} without a unit" if bare else ""
    lines = [f"Values in {_joined(signs)}{unitless}."] if signs else []
    if any(s.ci_low is not None for s in summaries):
        lines.append("The range is the 95 % interval.")
    if any(s.seeds > 1 for s in summaries):
        lines.append(f"Mean ± standard deviation over {max(s.seeds for s in summaries)} seeds.")
    marks = {c.mark for c in grid.cells.values()}
    if BEST in marks:
        lines.append(f"{BEST} the best value of a metric" + ("." if TIED not in marks else ";"))
    if TIED in marks:
        lines.append(
            f"{TIED} not to be told from it (paired randomisation test over the same queries, p ≥ {LEVEL}, not "
            "corrected for the number of pairs)."
        )
    if grid.against:
        lines.append(
            f"{BETTER} better and {WORSE} worse than {grid.against}, {LIKE} not to be told from it (paired "
            f"randomisation test over the same queries, p < {LEVEL}, not corrected for the number of tests)."
        )
    return [*lines, *grid.left_out]


# What makes a spreadsheet compute a cell, or take it apart, instead of showing it.
_FORMULA = re.compile(r"(?![+-]?[\d.]+$)[=+\-@\t\r]")


def spreadsheet(text: str) -> str:
    """Return text that a spreadsheet shows as it is: an apostrophe before what it would take for a formula.

    OWASP, "CSV Injection". Numbers have none.
    """
    return f"'{text}" if _FORMULA.match(text) else text


_MARKDOWN = re.compile(r"([\\`*_\[\]<>#|~$&])")


def markdown(text: str) -> str:
    """Return text that Markdown shows as it is, within one line."""
    return _MARKDOWN.sub(r"\\\1", printable(" ".join(text.split())))


def table_markdown(grid: Grid, caveat: str = "") -> str:
    """Return the table as Markdown (GitHub's dialect), a heading above, its legend and the caveat below."""
    heads = [markdown(grid.row_dimension), *(" · ".join(markdown(part) for part in c) for c in grid.column_labels)]
    lines = [f"### {markdown(grid.title)}", "", f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * len(grid.columns)}"]
    for row, label in zip(grid.rows, grid.row_labels):
        texts = [_markdown_cell(grid.cell(row, column)) for column in grid.columns]
        head = markdown(label) if row or grid.row_dimension != "class" else f"**{markdown(label)}**"
        lines.append(f"| {head} | {' | '.join(texts)} |")
    legend = table_legend(grid)
    if grid.has_published:
        legend.append(f"In parentheses: published ({grid.published}), and measured minus published.")
    lines += ["", " ".join(markdown(sentence) for sentence in [*legend, *([grid.note] if grid.note else [])])]
    if caveat:
        lines += ["", markdown(caveat)]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    parts = [f"**{measured_text(cell)}**{f' {cell.mark}' if cell.mark else ''}" if cell.measured else "–"]
    if interval_text(cell):
        parts.append(interval_text(cell))
    if cell.published is not None:
        difference = "" if cell.difference is None else f", {cell.unit.signed(cell.difference)}"
        parts.append(f"({published_text(cell.published)}{difference})")
    return " ".join(parts)


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "–": "--",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "…": r"\ldots{}",
    "≥": r"$\geq$",
    BEST: r"$^{\star}$",
    TIED: r"$^{\circ}$",
    BETTER: r"$^{\uparrow}$",
    WORSE: r"$^{\downarrow}$",
    "\N{MINUS SIGN}": "$-$",
}


def latex(text: str) -> str:
    """Return text that LaTeX prints as it is, within one line."""
    return "".join(_LATEX.get(character, character) for character in printable(" ".join(text.split())))


def table_latex(grid: Grid, caveat: str = "") -> str:
    """Return the table as a LaTeX `table` (package booktabs), ready for `\\input`."""
    parts = ["measured", *(["published", "diff."] if grid.has_published else [])]
    width = len(parts)
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{latex(grid.title)}}}",
        f"  \\begin{{tabular}}{{l{'r' * (width * len(grid.columns))}}}",
        "    \\toprule",
    ]
    for level in range(len(grid.column_dimensions)):
        heads = []
        for values, span in _runs([labels[: level + 1] for labels in grid.column_labels]):
            name = latex(values[-1])
            heads.append(f"\\multicolumn{{{span * width}}}{{c}}{{{name}}}" if span * width > 1 else name)
        lines.append(f"    {' & '.join(['', *heads])} \\\\")
    if width > 1:
        lines.append(f"    {' & '.join([latex(grid.row_dimension), *parts * len(grid.columns)])} \\\\")
    lines.append("    \\midrule")
    for row, label in zip(grid.rows, grid.row_labels):
        if grid.row_dimension == "class" and not row and len(grid.rows) > 1:
            lines.append("    \\midrule")
        texts = [text for c in grid.columns for text in _latex_cell(grid.cell(row, c), width)]
        lines.append(f"    {' & '.join([latex(label), *texts])} \\\\")
    lines += ["    \\bottomrule", "  \\end{tabular}"]
    words = [*table_legend(grid), *([grid.note] if grid.note else [])]
    for paragraph in (" ".join(latex(word) for word in words), latex(caveat)):
        if paragraph:
            lines.append(f"  \\par\\smallskip\\footnotesize {paragraph}")
    return "\n".join([*lines, "\\end{table}", ""])


def _latex_cell(cell: Cell | None, width: int) -> list[str]:
    if cell is None:
        return ["--", *[""] * (width - 1)]
    text = latex(measured_text(cell) + cell.mark)
    if interval_text(cell):
        text += f" {{\\scriptsize [{latex(interval_text(cell))}]}}"
    published = "" if cell.published is None else published_text(cell.published)
    difference = "" if cell.difference is None else latex(cell.unit.signed(cell.difference))
    return [text, published, difference][:width]


def _runs(values: list[tuple[str, ...]]) -> list[tuple[tuple[str, ...], int]]:
    """Return runs of equal values with their lengths."""
    runs: list[tuple[tuple[str, ...], int]] = []
    for value in values:
        if runs and runs[-1][0] == value:
            runs[-1] = value, runs[-1][1] + 1
        else:
            runs.append((value, 1))
    return runs


def header_levels(grid: Grid) -> list[list[tuple[str, int]]]:
    """Return, per column dimension, the head cells with how many columns each spans."""
    levels = []
    for level in range(len(grid.column_dimensions)):
        runs = _runs([labels[: level + 1] for labels in grid.column_labels])
        levels.append([(values[-1], span) for values, span in runs])
    return levels
