"""Figures of a study by kind: what there is to choose from, checking before a run, drawing after it.

Light to import (no matplotlib, no pandas): the process that plans a run reads `figure_kinds` and their needs here.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from trazo.config import Figure, Study
from trazo.errors import InputError
from trazo.registry import unknown_name
from trazo.report.drawing import (
    FigureKind,
    Foreseen,
    Material,
    Options,
    figure_kinds,
    fitting,
    house_style,
    lacks,
    parse_options,
    save,
)
from trazo.report.hover import plot_of
from trazo.report.kinds import bars, class_curves, curves, epochs, maps, matrices, pairs, sheets, sizes, trade
from trazo.report.measures import class_order
from trazo.store import write_text

__all__ = ["KIND_MODULES", "Material", "figure_kinds", "render_figure", "validate_figure"]

# Importing a kind registers it; a new file of kinds is added here.
KIND_MODULES = (bars, class_curves, curves, epochs, maps, matrices, pairs, sheets, sizes, trade)


def validate_figure(
    figure: Figure,
    study: Study,
    computed: Collection[str] | None = None,
    classified: Mapping[str, Collection[str]] | None = None,
    searched: Mapping[str, Collection[str]] | None = None,
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
    searched
        By retrieval, names of the metrics that its searches give; left out, these are not checked.

    Raises
    ------
    InputError
        If the kind, an option, or a class, model, distance, retrieval or dataset it names is unknown, the retrieval
        it shows lacks what else it names, or the run will not make what it shows.
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
    reducers = {name for r in study.retrievals for name in r.reducer_labels}
    known: dict[str, tuple[str, Any]] = {
        "models": ("model", study.methods),
        "distance": ("distance", distances),
        "distances": ("distance", distances),
        "retrieval": ("retrieval", {r.label for r in study.retrievals}),
        "dataset": ("split", {f"{name}/{split}" for name, d in study.datasets.items() for split in d.split}),
        "stage": ("stage", {stage.name for model in study.models.values() for stage in model.stages}),
        "ranker": ("ranker", rankers),
        "rankers": ("ranker", rankers),
        "reducer": ("reducer", reducers),
        "reducers": ("reducer", reducers),
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
    if getattr(options, "reducer", "") and getattr(options, "reducers", ()):
        raise InputError(f"{where}: it has both `reducer` and `reducers`; put all of them into `reducers`.")
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
    foreseen = Foreseen(computed, classified, searched)
    problem = _unsearched(kind, options, study, foreseen)
    if not problem and kind.check:
        problem = kind.check(options, study, foreseen)
    if problem:
        raise InputError(f"{where}: {problem}")


def _unsearched(kind: FigureKind, options: Options, study: Study, foreseen: Foreseen) -> str:
    """Return why no retrieval gives what a figure chooses, empty if one does, or it shows none."""
    if not study.retrievals or not hasattr(options, "retrieval"):
        return ""
    pool = [r for r in study.retrievals if options.retrieval in (r.label, "")]
    asked = [options]
    if not options.retrieval and "rankings" not in kind.needs:
        # Of each model its own retrieval is shown; of a list of distances or rankers, what that has.
        several = {key: [] for key in ("models", "distances", "rankers") if hasattr(options, key)}
        asked = [options.model_copy(update={**several, "models": [m] if m else []}) for m in options.models or [""]]
    for choice in asked:
        if not fitting(choice, study):
            return f"{'; '.join(lacks(r, choice) for r in pool)}; choose what one retrieval has."
    given = (foreseen.searched or {}).get(options.retrieval)
    if given is None:
        return ""
    anywhere = {name for names in foreseen.searched.values() for name in names}
    # Accuracies, losses and the like are of no search.
    wanted = [*getattr(options, "metrics", ()), *([options.metric] if getattr(options, "metric", "") else [])]
    missing = [name for name in wanted if name in anywhere and name not in given]
    return f"the retrieval {options.retrieval} does not give {missing[0]}; add it to its `metrics`." if missing else ""


def render_figure(
    *, figure: Figure, study: Study, material: Material, svg: Path, png: Path, plot: Path | None = None
) -> None:
    """Draw a figure and write it as SVG and PNG, and as a plot that answers when pointed at.

    The same material gives the same bytes; the SVG carries the words that describe it. `plot` is JSON as
    `hover.plot_of` describes, an empty mapping for figures that are pictures only.

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
        drawing = kind.draw(options, study, material)
        save(drawing, title=figure.title, svg=Path(svg), png=Path(png))
        if plot is not None:
            # Only what was drawn has its places.
            text = json.dumps(plot_of(drawing.canvas), ensure_ascii=False, separators=(",", ":"))
            write_text(plot, text + "\n")
