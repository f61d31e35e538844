"""What codes of every method and size give, read from the measures: shared by the figures that compare them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from trazo.config import Retrieval, Study
from trazo.errors import InputError
from trazo.registry import unknown_name
from trazo.report.drawing import Foreseen, ModelOptions, fitting, shown_models
from trazo.report.measures import (
    QUERY_TIMES,
    SIZES,
    Measure,
    Summary,
    last_weights,
    learned_reducers,
    ordering,
    plain,
    reducer_label,
    reducer_names,
    reducer_parts,
    select,
    summarize,
    totals,
    unit_of,
)
from trazo.report.published import PublishedValue, measured_datasets

NONE = "none"


class SearchOptions(ModelOptions):
    """Options of kinds that show how codes are searched."""

    retrieval: str = Field("", description="retrieval shown; the study's first if left out")
    distance: str = Field("", description="distance of floats; the retrieval's first if left out")
    ranker: str = Field("", description="ranker shown, as tables name it; the retrieval's first if left out")
    average: Literal["queries", "classes"] = Field("queries", description="what a value averages over")


class CodeOptions(SearchOptions):
    """Options of kinds that compare methods of shortening features."""

    methods: list[str] = Field(
        default_factory=list,
        description="what shortens features, as the column `reducer` of metrics.csv names it (`none`, `pca`, `cbs`); "
        "all if left out",
    )


@dataclass(frozen=True, eq=False)
class Code:
    """Codes of one method and size, and what was measured of them.

    Attributes
    ----------
    method
        What readers know the method by.
    reducer, model
        As `metrics.csv` has them, `reducer` empty for features as they are; of learned codes `model` is without the
        size that its name ends with.
    size
        How many float32 values have the bytes of a code.
    packed
        Whether it is bits.
    values
        By metric, in the metric's unit.
    """

    method: str
    reducer: str
    model: str
    size: float
    packed: bool
    values: dict[str, Summary]

    @property
    def bytes(self) -> float:
        """Bytes of a code."""
        return 4 * self.size


def shown_codes(
    options: SearchOptions,
    study: Study,
    measures: Iterable[Measure],
    metrics: Sequence[str],
    methods: Sequence[str] = (),
) -> list[Code]:
    """Return the codes that a figure shows, methods in the study's order, each from its smallest size up.

    Parameters
    ----------
    options, study
        What to show, of which study.
    measures
        All measures.
    metrics
        Those wanted; codes of which none was measured are left out.
    methods
        As `CodeOptions.methods`.

    Raises
    ------
    InputError
        If none of the metrics was measured of any.
    """
    retrieval = searched(options, study)
    learned = learned_reducers(study)
    names = {model: _family(model, study) for model in study.methods}
    mine = select(totals(measures, options.average), dataset=retrieval.label, metric=list(metrics))
    mine = last_weights(select(mine, model=shown_models(options, study)), study)
    mine = select(mine, reducer=list(methods)) if methods else mine
    distance = options.distance or retrieval.distances[0]
    ranker = options.ranker or retrieval.ranker_labels[0]
    mine = [
        m
        for m in mine
        if (m.distance == distance or (m.model in learned and m.distance == "hamming"))
        and plain("ranker", m.ranker) == plain("ranker", ranker)
    ]
    groups: dict[tuple[str, str, float, bool], list[Measure]] = {}
    for m in mine:
        packed = m.distance == "hamming"
        size = float(m.size or float(m.bits) / 32)
        groups.setdefault((plain("reducer", m.reducer), names[m.model], size, packed), []).append(m)
    if not groups:
        raise InputError(f"none of {', '.join(metrics)} was measured on {retrieval.label}; add them to its metrics.")
    # Which models a method is of is said where there are several.
    of = {reducer: {model for other, model, _, _ in groups if other == reducer} for reducer, *_ in groups}
    fitted = set().union(*(models for reducer, models in of.items() if reducer not in learned.values()), set())
    codes = []
    for (reducer, model, size, packed), rows in groups.items():
        several = len(of[reducer] if reducer in learned.values() else fitted) > 1
        name = " · ".join([model, reducer_label(reducer)]) if several else reducer_label(reducer)
        values = {
            metric: summary.scaled(unit_of(metric).factor)
            for metric in metrics
            if (summary := summarize(select(rows, metric=metric)))
        }
        codes.append(Code(name, reducer, model, size, packed, values))
    order = ordering(study, "reducer", [code.reducer for code in codes])
    models = list(dict.fromkeys(names.values()))
    return sorted(codes, key=lambda c: (order(c.reducer), models.index(c.model), c.size))


def searched(options: SearchOptions, study: Study) -> Retrieval:
    """Return the retrieval that a figure shows.

    Raises
    ------
    InputError
        If there is none.
    """
    retrieval = next(iter(fitting(options, study)), None)
    if retrieval is None:
        raise InputError("codes are compared by how they are searched, and no retrieval has all that is chosen.")
    return retrieval


def _family(model: str, study: Study) -> str:
    """Return a model's name without the size of its codes, where it ends with one."""
    return re.sub(r"-\d+$", "", model) if model in learned_reducers(study) else model


def check_codes(options: SearchOptions, study: Study, foreseen: Foreseen, metrics: Sequence[str]) -> str:
    """Return why codes cannot be compared by some metrics, empty if they can."""
    retrieval = next(iter(fitting(options, study)), None)
    if retrieval is None:
        return "it compares codes by how they are searched, and no retrieval has all that is chosen."
    given = (foreseen.searched or {}).get(retrieval.label)
    missing = [name for name in metrics if given is not None and name not in given]
    if missing:
        remedy = "`cost: true` to it" if missing[0] in (*QUERY_TIMES, *SIZES) else "it to its `metrics`"
        return f"{retrieval.label} does not give {missing[0]}; add {remedy}."
    return ""


def check_methods(options: CodeOptions, study: Study, foreseen: Foreseen, metrics: Sequence[str]) -> str:
    """Return why the methods chosen cannot be compared by some metrics, empty if they can."""
    known = [name or NONE for name in reducer_names(study)]
    for name in options.methods:
        if name not in known:
            return f"methods: {unknown_name('method', name, known)}"
    return check_codes(options, study, foreseen, metrics)


def varied(
    method: str, options: Sequence[str], defaults: Mapping[str, float], reducers: Iterable[str]
) -> dict[str, tuple[float, ...]]:
    """Return the values that some options of a method have, by the reducer as `metrics.csv` has it.

    Parameters
    ----------
    method
        The reducer's name, such as `umap`.
    options
        Names of its options.
    defaults
        Their values where a reducer does not name them; one without is not among those returned.
    reducers
        Reducers as `metrics.csv` has them; those that name other options besides are left out.
    """
    found = {}
    for reducer in reducers:
        name, given = reducer_parts(reducer)
        values = {**defaults, **{option: float(value) for option, value in given.items() if value}}
        if name == method and set(given) <= set(options) and all(option in values for option in options):
            found[reducer] = tuple(values[option] for option in options)
    return found


def check_varied(method: str, options: Sequence[str], defaults: Mapping[str, float], study: Study) -> str:
    """Return why no reducer of the study is of a method with some options, empty if one is."""
    known = reducer_names(study)
    names = list(dict.fromkeys(reducer_parts(name)[0] for name in known if name))
    if method not in names:
        return f"method: {unknown_name('method', method, names)}"
    alien = [option for option in defaults if option not in options]
    if alien:
        return f"defaults: {alien[0]} is none of the options shown ({', '.join(options)})."
    if len(varied(method, options, defaults, known)) < 2:
        return (
            f"no two {method} reducers of the study differ in {' and '.join(options)} alone; list their values in "
            f"`reducers`, such as {{{method}: {{size: 16, {options[0]}: [...]}}}}, and say under `defaults` what an "
            "option is where a reducer does not name it."
        )
    return ""


def spoken_of(
    options: SearchOptions, study: Study, published: Iterable[PublishedValue], tables: Sequence[str]
) -> list[PublishedValue]:
    """Return the published totals of some tables that are of the retrieval shown."""
    retrieval = searched(options, study).label
    return [
        row
        for row in published
        if row.table in tables and not row.class_name and retrieval in measured_datasets(row, study)
    ]


def is_of(row: PublishedValue, method: str, codes: Sequence[Code], study: Study) -> bool:
    """Return whether a published value is of a method, by the codes that were measured of all methods."""
    reducer = plain("reducer", row.ours("reducer"))
    alike = {code.method for code in codes if code.reducer == reducer}
    # A size that was not learned has no model of its own to name it.
    mine = {c.method for c in codes if c.reducer == reducer and c.model == _family(row.ours("model"), study)}
    return method in (mine or (alike if len(alike) == 1 else set()))
