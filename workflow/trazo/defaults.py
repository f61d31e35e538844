"""What a study may leave out: how imported features are searched, and the tables and figures of a report.

Pure functions from a study to the study as it runs. What the files hold is looked up in `plan`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trazo.config import ConfigError, Figure, Retrieval, Study, Table
from trazo.data.imports import FeatureFile
from trazo.errors import InputError
from trazo.retrieval.metrics import FAMILIES, expand_metrics, validate_metric
from trazo.retrieval.rankers import ranker_choice

METRICS = ["map", "p@1", "mrr", "recall_precision_interpolated"]
# Points of a curve belong into a figure; a table of them says little.
_CURVES = ("precision_at_recall", "interpolated_precision")


def completed(study: Study, files: Mapping[str, FeatureFile]) -> Study:
    """Return the study with what it leaves out filled in.

    Parameters
    ----------
    study
        As its file has it.
    files
        What the files of imported features hold, by the study's names; features that are missing here stay as they
        are.

    Raises
    ------
    ConfigError
        If a retrieval mixes what cannot be searched alike, or measures bits and numbers with each other's distances.
    """
    retrievals = study.retrievals
    if study.features and "retrievals" not in study.model_fields_set:
        retrievals = [Retrieval(features=names) for names in _alike(study, files)]
    retrievals = [_completed_retrieval(r, i, study, files) for i, r in enumerate(retrievals)]
    changes: dict[str, Any] = {"retrievals": retrievals}
    if retrievals and not study.model_fields_set & {"tables", "figures"}:
        changes |= _report(retrievals, maps=bool(study.maps))
    # Built anew and not copied, so that what was filled in is checked as if it had been written.
    given = study.model_dump(exclude_unset=True)
    plain = {key: [r.model_dump() for r in v] if key == "retrievals" else v for key, v in changes.items()}
    return Study.model_validate({**given, **plain})


def _alike(study: Study, files: Mapping[str, FeatureFile]) -> list[list[str]]:
    """Return the imported features in groups that one retrieval can search."""
    groups: dict[tuple[bool, bool], list[str]] = {}
    for name in study.features:
        if name in files:
            groups.setdefault((files[name].packed, files[name].queries > 0), []).append(name)
    return list(groups.values())


def _completed_retrieval(retrieval: Retrieval, index: int, study: Study, files: Mapping[str, FeatureFile]) -> Retrieval:
    known = {name: files[name] for name in retrieval.features if name in files}
    if not known:
        return retrieval
    where = f"retrievals[{index}]"
    if len({(file.packed, file.queries > 0) for file in known.values()}) > 1:
        words = [
            f"{name} has {'bits' if file.packed else 'numbers'} and {'queries apart' if file.queries else 'no queries'}"
            for name, file in known.items()
        ]
        raise ConfigError(f"{where}.features: {'; '.join(words)}. Give each kind a retrieval of its own.")
    packed, apart = next((file.packed, file.queries > 0) for file in known.values())
    if apart and retrieval.leave_one_out:
        raise ConfigError(f"{where}.leave_one_out: the file holds queries apart from the gallery; leave it out.")
    changes: dict[str, Any] = {"leave_one_out": not apart}
    if "metrics" not in retrieval.model_fields_set:
        changes["metrics"] = METRICS
    if "distances" not in retrieval.model_fields_set:
        changes["distances"] = ["hamming" if packed else "euclidean"]
    wrong = [d for d in changes.get("distances", retrieval.distances) if (d == "hamming") != packed]
    if wrong:
        holds = "packed bits, which only hamming compares" if packed else "numbers; hamming compares packed `bits`"
        raise ConfigError(f"{where}.distances: {wrong[0]!r} does not fit {next(iter(known))}, which holds {holds}.")
    return retrieval.model_copy(update=changes)


def shares_of_exact(retrieval: Retrieval) -> list[str]:
    """Return what a retrieval tells of rankers that return the nearest items only, none without such a ranker.

    What is wrong with its rankers and metrics is said where names are checked, not here.
    """
    try:
        listed = any(not ranker_choice(written).kind.whole for written in retrieval.rankers)
        depths = [validate_metric(name).cutoff or 0 for name in expand_metrics(retrieval.metrics)]
    except InputError:
        return []
    return [f"recall_of_exact@{max(depths)}"] if listed and max(depths) else []


def _report(retrievals: list[Retrieval], *, maps: bool = False) -> dict[str, Any]:
    """Return tables and figures that suit any retrieval."""
    asked = list(dict.fromkeys(metric for r in retrievals for metric in r.metrics))
    numbers = [m for m in asked if m not in FAMILIES and m.partition("@")[0] not in _CURVES]
    votes = list(dict.fromkeys(count for r in retrievals for count in r.votes))
    tables, figures = {}, {}
    shares = list(dict.fromkeys(name for r in retrievals for name in shares_of_exact(r)))
    if numbers or votes or shares:
        shown = [*numbers, *(f"knn_accuracy@{count}" for count in votes), *shares]
        tables["retrieval"] = Table(title="Retrieval", metrics=shown, rows="metric")
    for family, interpolated, name in (
        ("recall_precision_interpolated", True, "interpolated at 11 points"),
        ("recall_precision", False, "at the ranks of relevant items"),
    ):
        if family in asked:
            options = {"interpolated": interpolated}
            figures[family] = Figure(title=f"Precision at recall, {name}", kind="recall_precision", options=options)
    if numbers:
        metric = "map" if "map" in numbers else numbers[0]
        figures["by-class"] = Figure(title="Class by class", kind="class_bars", options={"metric": metric})
    if votes:
        figures["votes"] = Figure(title="What the nearest items take a query for", kind="knn_confusion")
    if maps:
        figures["maps"] = Figure(title="Maps of the features", kind="embedding_map")
    return {
        "tables": {name: table.model_dump() for name, table in tables.items()},
        "figures": {name: figure.model_dump() for name, figure in figures.items()},
    }
