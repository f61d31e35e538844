"""Figures of a study by kind: what there is to choose from, checking before a run, drawing after it.

Light to import (no matplotlib, no pandas): the process that plans a run reads `figure_kinds` and their needs here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from trazo.config import Figure, Study
from trazo.errors import InputError
from trazo.registry import unknown_name
from trazo.report.drawing import Foreseen, Material, figure_kinds, house_style, parse_options, save
from trazo.report.kinds import bars, class_curves, curves, epochs, maps, matrices, pairs, sheets
from trazo.report.measures import class_order

__all__ = ["KIND_MODULES", "Material", "figure_kinds", "render_figure", "validate_figure"]

# Importing a kind registers it; a new file of kinds is added here.
KIND_MODULES = (bars, class_curves, curves, epochs, maps, matrices, pairs, sheets)


def validate_figure(
    figure: Figure,
    study: Study,
    computed: Collection[str] | None = None,
    classified: Mapping[str, Collection[str]] | None = None,
) -> None:
    """Refuse a figure that cannot be drawn for this study, before anything runs.

    Parameters
    ----------
    figure, study
        The figure, and the study that it shows.
    computed
        Names of all metrics that the run computes; left out, the metrics are not checked.
    classified
        By model, the splits on which its classifier's predictions will be at hand; left out, they are not checked.

    Raises
    ------
    InputError
        If the kind, an option, or a class, model, distance, retrieval or dataset it names is unknown, or the run will
        not make what it shows.
    """
    where = f"figure {figure.title!r}"
    try:
        kind = figure_kinds.get(figure.kind)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    options = parse_options(kind, figure.options, where)
    classes = class_order(study)
    # Categories drawn at random or taken from a folder are known only once the data are read.
    listed = not study.features and all(isinstance(d.categories, list) for d in study.datasets.values())
    distances = {d for r in study.retrievals for d in r.distances}
    rankers = {name for r in study.retrievals for name in r.ranker_labels}
    known: dict[str, tuple[str, Any]] = {
        "models": ("model", study.methods),
        "distance": ("distance", distances),
        "distances": ("distance", distances),
        "retrieval": ("retrieval", {r.label for r in study.retrievals}),
        "dataset": ("split", {f"{name}/{split}" for name, d in study.datasets.items() for split in d.split}),
        "stage": ("stage", {stage.name for model in study.models.values() for stage in model.stages}),
        "ranker": ("ranker", rankers),
        "rankers": ("ranker", rankers),
        "reducer": ("reducer", {name for r in study.retrievals for name in r.reducer_labels}),
        "maps": ("map", study.maps),
    }
    if computed is not None:
        known |= {"metric": ("metric", computed), "metrics": ("metric", computed)}
    if listed:
        known["classes"] = ("class", classes)
    for option, (thing, choices) in known.items():
        wanted = getattr(options, option, None) or []
        for name in [wanted] if isinstance(wanted, str) else wanted:
            if name not in choices:
                raise InputError(f"{where}: {option}: {unknown_name(thing, name, choices)}")
    learned = sorted({"images", "features", "histories"} & set(kind.needs))
    if learned and not study.models:
        raise InputError(
            f"{where}: a {figure.kind} shows {' and '.join(learned)} of a model, and the study has none; show "
            "imported features as recall_precision or class_bars."
        )
    if getattr(options, "published", None) and study.published is None:
        raise InputError(f"{where}: published: the study says nothing of published values; add `published:` to it.")
    if "maps" in kind.needs and not study.maps:
        raise InputError(
            f"{where}: an {figure.kind} shows maps, and the study has none; add `maps:`, such as `maps: {{umap: "
            "{models: [...], data: <dataset>/<split>, method: umap}}`."
        )
    if "rankings" in kind.needs and not study.retrievals:
        raise InputError(f"{where}: a {figure.kind} shows ranked lists, and the study has no `retrievals`.")
    if "images" in kind.needs and not any(r.models for r in study.retrievals):
        raise InputError(f"{where}: a {figure.kind} shows what is searched, and no model is in the `retrievals`.")
    problem = kind.check(options, study, Foreseen(computed, classified)) if kind.check else ""
    if problem:
        raise InputError(f"{where}: {problem}")


def render_figure(*, figure: Figure, study: Study, material: Material, svg: Path, png: Path) -> None:
    """Draw a figure and write it as SVG and PNG.

    The same material gives the same bytes; the SVG carries the words that describe it.

    Raises
    ------
    InputError
        If the options are wrong, or the material lacks what the kind needs.
    """
    validate_figure(figure, study)
    kind = figure_kinds.get(figure.kind)
    missing = [need for need in kind.needs if not getattr(material, need)]
    if missing:
        raise InputError(f"figure {figure.title!r}: a {figure.kind} needs {' and '.join(missing)}; got none.")
    options = parse_options(kind, figure.options, f"figure {figure.title!r}")
    with house_style(Path(svg).stem):
        save(kind.draw(options, study, material), title=figure.title, svg=Path(svg), png=Path(png))
