"""From the studies of a run to checked plans: what cannot be run is told here, before anything starts.

Mistakes that the configuration itself shows are found in `config`; here, what takes sources on disk, networks, or names
in registries. What a plan holds is in `plan`. Imports nothing heavy, as the process that plans a run must start fast.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trazo.config import (
    PRETRAINED,
    ConfigError,
    Dataset,
    Model,
    OtherModel,
    RandomCategories,
    Retrieval,
    Settings,
    Stage,
    Study,
    made_by,
    read_study,
    study_file,
)
from trazo.data.images import split_instances
from trazo.data.imports import QUERIES, FeatureFile, look
from trazo.data.instances import check_classes, check_photos
from trazo.data.items import OverlapError
from trazo.data.layouts import layouts
from trazo.defaults import completed, shares_of_exact
from trazo.errors import InputError
from trazo.folds import check_fitted, drawn_count, fitted_count, searched_count, too_small
from trazo.maps.methods import method_of
from trazo.maps.quality import check_neighbours, quality_names
from trazo.plan import (
    DOODLES,
    HAMMING,
    PUBLISHED,
    Learning,
    Plan,
    imported_files,
    is_url,
    ranker_labels,
    reducer_labels,
    weights_file,
)
from trazo.provenance import LIBRARY, code_fingerprint, digest
from trazo.reducers.contract import NONE
from trazo.registry import nearest_names, unknown_name
from trazo.report.figures import validate_figure
from trazo.report.measures import CLASSIFICATION, FROZEN, QUERY_TIMES, SIZES, TRAINING
from trazo.report.published import read_published, validate_published
from trazo.report.tables import validate_table
from trazo.retrieval.labels import vote_metrics
from trazo.retrieval.metrics import expand_metrics
from trazo.retrieval.rankers import ranker_choice
from trazo.sizes import HeadChoice
from trazo.store import write_text

_MOST_TOLD = 5


def make_plans(settings: Settings, cache: Path) -> dict[str, Plan]:
    """Return a checked plan for every study of a run, by name.

    Parameters
    ----------
    settings
        The run's settings.
    cache
        Folder for what was asked of torch before; may be deleted at any time.

    Raises
    ------
    ConfigError
        At the first thing that could not be run.
    """
    for name in settings.overrides:
        known = {study_file(s).stem for s in settings.studies}
        if name not in known:
            raise ConfigError(f"config: overrides: {unknown_name('study', name, known)} Only studies of this run.")
    plans: dict[str, Plan] = {}
    for name in settings.studies:
        study = read_study(name, settings)
        original = read_study(name, settings, published_size=True)
        stem = study_file(name).stem
        files = _looked_at(study, settings, f"study {stem}")
        try:
            study, original = completed(study, files), completed(original, files)
        except ConfigError as error:
            raise ConfigError(f"study {stem}: {error}") from error
        plans[stem] = Plan(stem, name, study, original, settings, {}, files)
    for plan in plans.values():
        _check_sources(plan)
        _check_sizes(plan)
        _check_maps(plan)
        _check_overlaps(plan, cache)
    starts = _check_weights(plans, settings)
    plans = _checked_networks(plans, starts, cache)
    for plan in plans.values():
        _check_names(plan)
        _check_published(plan)
        _check_photos(plan, cache)
    return plans


def _check_sources(plan: Plan) -> None:
    for name, spec in plan.study.datasets.items():
        where = f"study {plan.name}: datasets.{name}"
        if spec.layout not in layouts.names():
            raise ConfigError(f"{where}.layout: {unknown_name('layout', spec.layout, layouts.names())}")
        try:
            layouts.get(spec.layout).check(spec)
        except InputError as error:
            raise ConfigError(f"{where}.{error}") from error
        if spec.source == DOODLES:
            if spec.layout != "quickdraw":
                raise ConfigError(f"{where}.layout: doodles are drawings; use layout: quickdraw, or name a source.")
        else:
            _check_place(plan, name, where)
        classes = plan.categories(name)
        _need_no_wildcards(_files_by_name(plan, name), f"{where}.source")
        for split, given in (plan.given_counts(name) or {}).items():
            count = spec.split[split]
            short = [f"{given[c]} of {c!r}" for c in classes or () if isinstance(count, int) and given[c] < count]
            if short:
                raise ConfigError(
                    f"{where}.split.{split}: {count} images a class are asked for, and the source gives "
                    f"{', '.join(short[:_MOST_TOLD])}{', …' * (len(short) > _MOST_TOLD)}; ask for less, or write `all`."
                )


def _files_by_name(plan: Plan, dataset: str) -> list[str]:
    """Return the files of a dataset's source that a rule's input names; the images in a folder are none."""
    if not plan.at_hand(dataset):
        return []
    if plan.study.datasets[dataset].layout == "quickdraw":
        return plan.source_inputs(dataset)
    return [plan.source(dataset)] if Path(plan.source(dataset)).is_file() else []


def _need_no_wildcards(files: Iterable[str], where: str) -> None:
    """Refuse files that Snakemake would look for under another name."""
    for file in files:
        found = re.search(r"\{.*?\}|<.*?>", file, flags=re.DOTALL)
        if found:
            raise ConfigError(
                f"{where}: Snakemake would take {found[0]!r} in {file!r} for something to fill in; rename the file or "
                "folder, without braces and angle brackets."
            )


def _check_place(plan: Plan, dataset: str, where: str) -> None:
    source = plan.study.datasets[dataset].source
    place = plan.source(dataset)
    raw = plan.settings.sources[source]
    if is_url(raw):
        spec = plan.study.datasets[dataset]
        if spec.layout == "quickdraw" and "simplified" in urlsplit(raw).path:
            raise ConfigError(
                f"{where}.source: {raw} holds .ndjson files; downloads are of .bin files (…/full/binary). Download the "
                f".ndjson files yourself and give their folder in `sources: {{{source}: …}}`."
            )
        if spec.layout != "quickdraw" and not urlsplit(raw).path.lower().endswith(".zip"):
            raise ConfigError(
                f"{where}.source: {raw} is no .zip archive by its name; download and unpack it, and give the folder in "
                f"`sources: {{{source}: …}}`."
            )
        if spec.layout != "quickdraw" and isinstance(spec.categories, RandomCategories):
            raise ConfigError(
                f"{where}.categories: a random draw needs the archive at hand; download {raw} and give its path in "
                f"`sources: {{{source}: …}}`."
            )
    elif not Path(place).exists():
        raise ConfigError(
            f"{where}.source: {source!r} is {place}, which does not exist; correct `sources:` in config.yaml (paths "
            "are relative to the folder of the run)."
        )


@dataclass(frozen=True)
class _Start:
    """A model whose first stage starts from a stage of another model, and both networks as `probe` is asked for them.

    Attributes
    ----------
    where
        The key that says so, for messages.
    point
        Study and name of the other model.
    ours, theirs
        Requests.
    part, shared_from, theirs_shared_from
        What of a network with branches starts so ("": all of it), and from which layer on both of them are shared.
    """

    where: str
    point: tuple[str, str]
    ours: dict[str, Any]
    theirs: dict[str, Any]
    part: str = ""
    shared_from: str | None = None
    theirs_shared_from: str | None = None

    def takes(self, layers: Collection[str]) -> set[str]:
        """Return the layers, in order, that start so."""
        names = list(layers)
        if not self.part or self.shared_from not in names:
            return set(names)
        border = names.index(self.shared_from)
        return set(names[border:] if self.part == "shared" else names[:border])


def _check_weights(plans: dict[str, Plan], settings: Settings) -> list[_Start]:
    """Refuse weights that are nowhere, and models that start, over any number of others, from themselves.

    Returns the starts from weights that we make, which have yet to be found to fit.
    """
    starts: dict[tuple[str, str], list[_Start]] = {}
    studies = {name: plan.study for name, plan in plans.items()}

    def follow(point: tuple[str, str], path: list[tuple[str, str]]) -> None:
        if point in path:
            chain = " from ".join(f"{study}/{other}" for study, other in [*path, point])
            name, model = path[0]
            raise ConfigError(f"study {name}: models.{model}.weights: no model can start from itself ({chain}).")
        if point in starts:
            return
        found = _starts_of(*point, studies, settings)
        for start in found:
            follow(start.point, [*path, point])
        starts[point] = found

    for name, plan in plans.items():
        for model in plan.study.models:
            follow((name, model), [])
    return [start for found in starts.values() for start in found]


def _starts_of(study: str, model: str, studies: dict[str, Study], settings: Settings) -> list[_Start]:
    """Return what the parts of a model start from, as far as these are checkpoints that we make.

    Studies that are met on the way are added to `studies`.
    """
    spec = studies[study].models[model]
    found = [_start_of(study, model, part, studies, settings) for part in spec.starts]
    return [start for start in found if start is not None]


def _start_of(study: str, model: str, part: str, studies: dict[str, Study], settings: Settings) -> _Start | None:
    spec = studies[study].models[model]
    start = spec.starts[part]
    where = f"study {study}: models.{model}.weights{'.' * bool(part)}{part}"
    ours = _network_request(studies[study], model, spec.stages[0])
    if isinstance(start, OtherModel):
        other = studies[study].models[start.model]
        _need_alike(where, spec, other, start.model)
        stage = studies[study].stage_of(start.model, start.stage)
        theirs = _network_request(studies[study], start.model, stage)
        return _Start(where, (study, start.model), ours, theirs, part, _border(spec), _border(other))
    if start == PRETRAINED:
        return None
    path = weights_file(start, settings)
    made = made_by(path)
    if made is None:
        _need_weights_file(where, start, path, settings)
        _need_no_wildcards([path], where)
        return None
    if made.study not in studies:
        try:
            # As the rules do for a study that is asked for without being configured.
            alone = settings.model_copy(update={"studies": [made.study], "overrides": {}})
            studies[made.study] = read_study(made.study, alone)
        except ConfigError as error:
            raise ConfigError(
                f"{where}: {path} is where the study {made.study!r} keeps its results. {error} A file of your own "
                "must lie elsewhere."
            ) from error
    others = studies[made.study].models
    if made.model not in others:
        raise ConfigError(f"{where}: {path}: {unknown_name('model', made.model, others)}")
    stages = [stage.name for stage in others[made.model].stages]
    if made.stage not in stages:
        raise ConfigError(f"{where}: {path}: {unknown_name('stage', made.stage, stages)}")
    if made.seed not in studies[made.study].seeds:
        raise ConfigError(f"{where}: {path}: study {made.study} has the seeds {studies[made.study].seeds}.")
    _need_alike(where, spec, others[made.model], made.model)
    stage = studies[made.study].stage_of(made.model, made.stage)
    theirs = _network_request(studies[made.study], made.model, stage)
    return _Start(where, (made.study, made.model), ours, theirs, part, _border(spec), _border(others[made.model]))


def _border(model: Model) -> str | None:
    return model.branches.shared_from if model.branches else None


def _need_alike(where: str, model: Model, other: Model, name: str) -> None:
    """Refuse another model's weights that cannot fit, before that model is trained for them."""
    # Names of timm may say which of its weights they mean, after a dot.
    for key, ours, theirs in (
        ("architecture", model.architecture.partition(".")[0], other.architecture.partition(".")[0]),
        ("channels", model.channels, other.channels),
    ):
        if ours != theirs:
            raise ConfigError(
                f"{where}: this model's {key} is {ours}, and that of {name} is {theirs}; give both the same, or start "
                "from other weights."
            )


def _need_fitting(start: _Start, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Refuse another model's weights whose names or shapes differ from the network's, as `begin_with` would."""
    here, there = ours.get("weights"), theirs.get("weights")
    # What cannot be built is refused where it is asked for.
    if not here or not there:
        return
    names = list(ours["features"])
    # Where layers exist twice there and once here, nothing says which to take.
    if start.theirs_shared_from in names and start.part in ("", "shared"):
        here_from = names.index(start.shared_from) if start.shared_from in names else 0
        if names.index(start.theirs_shared_from) > here_from:
            raise ConfigError(
                f"{start.where}: {start.point[1]} shares layers from {start.theirs_shared_from} on, and this model "
                f"from {names[here_from]}: those between exist twice there and once here. Share the same layers, or "
                "start from a model without branches."
            )
    # Layers by the order of the network, those without weights included.
    taken = start.takes(ours["features"])
    here = {stage: shapes for stage, shapes in here.items() if stage in taken}
    there = {stage: shapes for stage, shapes in there.items() if stage in taken or stage not in ours["features"]}
    differing = [stage for stage in here if stage in there and here[stage] != there[stage]]
    differing += [stage for stage in here if stage not in there and stage not in ours["added"]]
    differing += [stage for stage in there if stage not in here]
    if differing:
        keys = [key for key in ("options", "size", "head") if start.ours.get(key) != start.theirs.get(key)]
        pairs = " and ".join(f"{key} {start.ours.get(key)} (there {start.theirs.get(key)})" for key in keys)
        raise ConfigError(
            f"{start.where}: the weights of {start.point[1]} do not fit: {', '.join(differing)} differ, as this model "
            f"has {pairs}; give both the same, or start from other weights."
        )


def _need_weights_file(where: str, written: str, path: str, settings: Settings) -> None:
    if is_url(path):
        raise ConfigError(f"{where}: {path} is a URL; download it and give the file's path.")
    if Path(path).is_file():
        return
    named = f"{written!r} is {path}, which" if written in settings.sources else repr(written)
    near = nearest_names(written, [PRETRAINED, *settings.sources])
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ConfigError(
        f"{where}: {named} is no file.{hint} Give {PRETRAINED}, the path of a file of weights or a checkpoint "
        f"(relative to the folder of the run), a name under `sources:` ({', '.join(settings.sources) or 'none'}), or "
        "{model: …}, another model of the study."
    )


def _check_overlaps(plan: Plan, cache: Path) -> None:
    """Refuse splits that a source at hand gives and that share images; they are compared once, and it is kept."""
    for name, spec in plan.study.datasets.items():
        if plan.given_counts(name) is None:
            continue
        layout, source = layouts.get(spec.layout), Path(plan.source(name))
        status = source.stat()
        state = [plan.source_listing(name), status.st_size, status.st_mtime_ns]
        compared = spec.model_copy(update={"categories": plan.categories(name)})
        asked = compared.model_dump(mode="json", include={"layout", "categories", *layout.keys})
        code = code_fingerprint("trazo.data.layouts", parts=plan.parts_of_images(name))
        file = cache / f"overlaps-{digest([str(source.resolve()), state, asked, list(spec.split), code])}.json"
        try:
            overlaps = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            overlaps = layout.overlaps(source, compared)
            write_text(file, json.dumps(overlaps))
        if overlaps:
            raise ConfigError(f"study {plan.name}: datasets.{name}: {source}: {OverlapError(overlaps)}")


def _computed(plan: Plan, shown: Collection[str] | None = None) -> list[str]:
    """Return the names of all metrics that a study computes, or those of some of its models (or imported features)."""
    shown = plan.study.methods if shown is None else shown
    names = [*CLASSIFICATION] if set(plan.classified_splits()) & set(shown) else []
    stages = [(name, stage) for name, model in plan.study.models.items() if name in shown for stage in model.stages]

    def classifies(name: str, stage: Stage) -> bool:
        # Of a model that only the study's full form has it is not known what it learns.
        key = (name, stage.name)
        return key not in plan.learning or plan.learning[key].uses_logits

    for metric in TRAINING:
        told = [each for each in stages if metric not in FROZEN or each[1].train_sample]
        if any("accuracy" not in metric or classifies(*each) for each in told):
            names.append(metric)
    for retrieval in plan.study.retrievals:
        if not set(shown) & {*retrieval.models, *retrieval.features}:
            continue
        names += _found_by(retrieval)
    for drawn in plan.study.maps.values():
        names += quality_names(drawn.neighbours)
    return names


def _found_by(retrieval: Retrieval) -> list[str]:
    """Return the names of the metrics that a retrieval's searches give."""
    costs = [*QUERY_TIMES, *SIZES] if retrieval.cost else []
    return [*expand_metrics(retrieval.metrics), *vote_metrics(retrieval.votes), *shares_of_exact(retrieval), *costs]


def _check_names(plan: Plan) -> None:
    for index, retrieval in enumerate(plan.study.retrievals):
        where = f"study {plan.name}: retrievals[{index}]"
        try:
            expand_metrics(retrieval.metrics)
        except InputError as error:
            raise ConfigError(f"{where}.metrics: {error}") from error
        try:
            ranker_labels(retrieval, plan.searched_by(retrieval))
        except InputError as error:
            raise ConfigError(f"{where}.rankers: {error}") from error
        _check_distances(plan, retrieval, where)
        _check_folds(plan, retrieval, where)
        _check_reducers(plan, retrieval, where)
        _check_rankers(plan, retrieval, where)
        if "predicted_class" in retrieval.rerank:
            for name in retrieval.models:
                for stage in plan.study.stages_of(retrieval, name):
                    if not plan.learning[name, stage.name].uses_logits:
                        raise ConfigError(
                            f"{where}.rerank: predicted_class needs a classifier, and {name}'s stage {stage.name!r} "
                            "trains none; add cross_entropy to its `objective`, or leave the model out."
                        )
    computed = _computed(plan)
    searched = {retrieval.label: _found_by(retrieval) for retrieval in plan.study.retrievals}
    for name, table in plan.study.tables.items():
        try:
            validate_table(table, plan.study, computed)
            _check_shown(plan, table.metrics, table.where.get("model"))
        except InputError as error:
            raise ConfigError(f"study {plan.name}: tables.{name}: {error}") from error
    for name, figure in plan.study.figures.items():
        try:
            validate_figure(figure, plan.study, computed, plan.classified_splits(), searched)
            _check_shown(plan, figure.options.get("metrics"), figure.options.get("models"))
        except InputError as error:
            raise ConfigError(f"study {plan.name}: figures.{name}: {error}") from error


def _check_shown(plan: Plan, metrics: list[str] | None, models: Any) -> None:
    """Refuse metrics that are computed, but of none of the models that a table or figure chooses."""
    names = [str(name) for name in (models if isinstance(models, list) else [models]) if name not in (None, "")]
    if not names:
        return
    computed = _computed(plan, names)
    for metric in metrics or ():
        if metric not in computed:
            reason = "they are not searched for it, or, if a classifier is to give it, train none"
            raise InputError(f"{metric} is computed of none of {', '.join(names)}: {reason}.")


def _check_published(plan: Plan) -> None:
    # A smaller form of a study may leave models out; its published values are then told to be not part of the run.
    forms = [plan, replace(plan, study=plan.original)]
    try:
        validate_published(
            plan.study,
            read_published(PUBLISHED, plan.study),
            models={name for form in forms for name in form.study.methods},
            metrics={name for form in forms for name in _computed(form)},
            datasets={name for form in forms for name in form.study.measured_on},
            rankers={name for form in forms for r in form.study.retrievals for name in r.ranker_labels},
            reducers={name for form in forms for r in form.study.retrievals for name in r.reducer_labels},
        )
    except InputError as error:
        raise ConfigError(f"study {plan.name}: {error}") from error


def _check_reducers(plan: Plan, retrieval: Retrieval, where: str) -> None:
    """Refuse reducers that are unknown, or that do not fit the features they are to be fitted on, as far as known."""
    try:
        choices = [choice for choice in reducer_labels(retrieval).values() if choice is not None]
    except InputError as error:
        raise ConfigError(f"{where}.reducers: {error}") from error
    sizes = _searched_sizes(plan, retrieval)
    for choice in choices:
        packed = [name for name in retrieval.features if plan.imported[name].packed]
        if packed:
            raise ConfigError(
                f"{where}.reducers: {choice.name} reduces numbers, and {packed[0]} holds packed bits; leave `reducers` "
                "out."
            )
        for name, (items, width, head) in sizes.items():
            if head is not None:
                continue
            fitted = drawn_count(fitted_count(items, retrieval.folds), choice.options.share)
            try:
                check_fitted(choice.make().check, items, fitted, width)
            except InputError as error:
                raise ConfigError(f"{where}.reducers: {name}: {error}") from error


def _check_rankers(plan: Plan, retrieval: Retrieval, where: str) -> None:
    """Refuse rankers whose options do not fit the features they are to search, as far as known."""
    sizes = _searched_sizes(plan, retrieval)
    reducers = reducer_labels(retrieval)
    for written in retrieval.rankers:
        ranker = ranker_choice(written)
        for name, (items, width, head) in sizes.items():
            searched = searched_count(items, retrieval.folds)
            for reducer, choice in reducers.items() if head is None else [(NONE, None)]:
                reduced = "" if choice is None else f" by {reducer}"
                try:
                    ranker.kind(ranker.options).check(searched, width if choice is None else choice.make().width(width))
                except InputError as error:
                    raise ConfigError(f"{where}.rankers: {name}{reduced}: {error}") from error


def _check_distances(plan: Plan, retrieval: Retrieval, where: str) -> None:
    """Refuse to compare numbers as packed bits; packed bits are compared by nothing else, whatever is asked for."""
    for name in retrieval.models if HAMMING in retrieval.distances else ():
        head = plan.study.models[name].head_choice
        if head is None or not head.binary:
            raise ConfigError(
                f"{where}.distances: {HAMMING} compares packed bits, and the features of {name} are numbers; leave it "
                "out (models with a head of bits are compared by it in any case)."
            )


def _check_folds(plan: Plan, retrieval: Retrieval, where: str) -> None:
    """Refuse a gallery with a class that not every fold can have an item of, as far as known."""
    if not retrieval.folds or retrieval.features:
        return
    sizes = _class_sizes(plan, retrieval.gallery)
    few = [f"{name} ({count})" for name, count in sizes.items() if count < retrieval.folds]
    if few:
        raise ConfigError(f"{where}.folds: {too_small(few, retrieval.folds)}")


def _searched_sizes(plan: Plan, retrieval: Retrieval) -> dict[str, tuple[int, int, HeadChoice | None]]:
    """Return for each method how many items its gallery has, how wide its features are, and the head that made them.

    Widths are of numbers, or bytes of packed bits.
    """
    items = _gallery_items(plan, retrieval) or sys.maxsize
    sizes: dict[str, tuple[int, int, HeadChoice | None]] = {
        f"features {name}": (held.items, held.width, None)
        for name, held in plan.imported.items()
        if name in retrieval.features
    }
    # What is not known yet fits; the step itself can tell.
    known = [name for name in retrieval.models if name in plan.widths]
    return sizes | {f"model {n}": (items, plan.widths[n], plan.study.models[n].head_choice) for n in known}


def _gallery_items(plan: Plan, retrieval: Retrieval) -> int | None:
    """Return how many items the gallery of a retrieval of models has, None where only the data can tell."""
    if retrieval.features:
        return None
    return _split_size(plan, retrieval.gallery)


def _gallery_size(plan: Plan, retrieval: Retrieval) -> int | None:
    """Return how many items a query of a retrieval can find at once, None where only the data can tell."""
    if retrieval.features:
        items: int | None = min(plan.imported[name].items for name in retrieval.features)
    else:
        items = _split_size(plan, retrieval.gallery)
    return None if items is None else searched_count(items, retrieval.folds) - int(retrieval.leave_one_out)


def _split_size(plan: Plan, reference: str) -> int | None:
    """Return how many items `<dataset>/<split>` has, None where only the data can tell."""
    dataset, _, split = reference.partition("/")
    count, classes = plan.study.datasets[dataset].split[split], plan.categories(dataset)
    given = plan.given_counts(dataset)
    if classes is None or (not isinstance(count, int) and given is None):
        return None
    return count * len(classes) if isinstance(count, int) else sum(given[split][name] for name in classes)


def _check_maps(plan: Plan) -> None:
    """Refuse maps that cannot be drawn, as far as that shows before there are features."""
    for name, drawn in plan.study.maps.items():
        where = f"study {plan.name}: maps.{name}"
        sizes = [_split_size(plan, drawn.data)] if drawn.models else []
        heads = {model: plan.study.models[model].head_choice for model in drawn.models}
        bits = [model for model, head in heads.items() if head is not None and head.binary]
        if bits:
            raise ConfigError(
                f"{where}.models: {bits[0]} gives packed bits ({heads[bits[0]].name}), and a map is drawn of numbers."
            )
        for imported in drawn.features:
            held = plan.imported[imported]
            if held.packed:
                raise ConfigError(f"{where}.features: {imported} holds packed bits, and a map is drawn of numbers.")
            if drawn.data == QUERIES and not held.queries:
                raise ConfigError(f"{where}.data: the file of {imported} holds no queries; leave the key out.")
            sizes.append(held.queries if drawn.data == QUERIES else held.items)
        classes = plan.categories(drawn.data.partition("/")[0]) if drawn.models else None
        if classes is not None and len(classes) < 2:
            raise ConfigError(
                f"{where}.data: {drawn.data} has one class; a map compares classes, expected two or more."
            )
        try:
            method = method_of(drawn.method, drawn.options, drawn.seed)
            for size in sizes:
                items = drawn.most if size is None else min(size, drawn.most)
                method.check(items)
                check_neighbours(drawn.neighbours, items)
        except InputError as error:
            raise ConfigError(f"{where}: {error}") from error


def _check_photos(plan: Plan, cache: Path) -> None:
    """Refuse sketches without the photo they show, where stages learn from such pairs and the data are at hand."""
    for name, model in plan.study.models.items():
        for stage in model.stages:
            if not plan.learning[name, stage.name].needs_instances:
                continue
            for key, references in (("data", stage.learned_from), ("validate_on", stage.validated_on)):
                if references and all(plan.at_hand(reference.partition("/")[0]) for reference in references):
                    problem = _lost_photos(plan, references, cache)
                    if problem:
                        raise ConfigError(f"study {plan.name}: models.{name}.stages.{stage.name}.{key}: {problem}")


def _lost_photos(plan: Plan, references: list[str], cache: Path) -> str:
    """Return what is wrong with the pairs of sketches and photos, nothing if nothing is; found once, and kept."""
    sides: dict[str, Any] = {}
    state = []
    for reference in references:
        dataset, _, split = reference.partition("/")
        source, spec = Path(plan.source(dataset)), plan.study.datasets[dataset]
        status = source.stat()
        asked = plan.dataset_settings(dataset, split)
        state.append([str(source.resolve()), status.st_size, status.st_mtime_ns, plan.source_listing(dataset), asked])
        spec = spec.model_copy(update={"categories": plan.categories(dataset)})
        sides[spec.domain] = {"source": source, "dataset_name": dataset, "dataset": spec, "split": split}
    code = code_fingerprint("trazo.data.images", "trazo.data.layouts")
    file = cache / f"photos-{digest([state, code])}.json"
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        pass
    problem = ""
    try:
        check_photos(split_instances(**sides["photo"]), split_instances(**sides["sketch"]))
    except InputError as error:
        problem = str(error)
    write_text(file, json.dumps(problem))
    return problem


def _check_sizes(plan: Plan) -> None:
    """Refuse what only shows after hours of training: ranks beyond the gallery, stages of different classes."""
    for index, retrieval in enumerate(plan.study.retrievals):
        items = _gallery_size(plan, retrieval)
        if items is None:
            continue
        gallery = f"{'a fold of ' * bool(retrieval.folds)}{retrieval.gallery or retrieval.label}"
        wanted = [(f"metrics: {m}", int(k)) for m in retrieval.metrics if (k := m.partition("@")[2]).isdigit()]
        wanted += [(f"votes: {count}", count) for count in retrieval.votes]
        for what, k in wanted:
            if k > items:
                raise ConfigError(
                    f"study {plan.name}: retrievals[{index}].{what} looks at {k} items, and the gallery {gallery} has "
                    f"{items}; choose a smaller k."
                )
    for name, model in plan.study.models.items():
        for stage in model.stages:
            where = f"study {plan.name}: models.{name}.stages.{stage.name}"
            first, *others = stage.learned_from
            compared = [("data", other) for other in others] + [("validate_on", other) for other in stage.validated_on]
            learned = plan.categories(first.partition("/")[0])
            for key, other in compared:
                seen = plan.categories(other.partition("/")[0])
                if None in (seen, learned) or seen == learned:
                    continue
                if key == "data":
                    by_domain = {plan.study.datasets[r.partition("/")[0]].domain: r for r in (first, other)}
                    if set(by_domain) == {"sketch", "photo"}:
                        classes = [plan.categories(by_domain[d].partition("/")[0]) for d in ("photo", "sketch")]
                        try:
                            check_classes(*classes)
                        except InputError as error:
                            raise ConfigError(f"{where}.{key}: {error}") from error
                raise ConfigError(
                    f"{where}.{key}: {other} has other classes, or in another order, than {first}; give both the same "
                    "`categories`."
                )
        if model.branches is not None:
            _check_domains(plan, name)


def _check_domains(plan: Plan, name: str) -> None:
    """Refuse data of a model with branches that do not say which branch they go through."""
    model, study = plan.study.models[name], plan.study
    where = f"study {plan.name}: models.{name}"
    used = [
        (f"{where}.stages.{stage.name}.{key}", references)
        for stage in model.stages
        for key, references in (("data", stage.learned_from), ("validate_on", stage.validated_on))
        if references
    ]
    for index, retrieval in enumerate(study.retrievals):
        if name in retrieval.models:
            there = f"study {plan.name}: retrievals[{index}]"
            used += [(f"{there}.queries", [retrieval.queries]), (f"{there}.gallery", [retrieval.gallery])]
    used += [(f"study {plan.name}: maps.{key}.data", [m.data]) for key, m in study.maps.items() if name in m.models]
    for place, references in used:
        domains = [study.datasets[reference.partition("/")[0]].domain for reference in references]
        for reference, domain in zip(references, domains, strict=True):
            if domain is None:
                dataset = reference.partition("/")[0]
                raise ConfigError(
                    f"{place}: {name} has branches, and datasets.{dataset} does not say what it shows; give it "
                    "`domain: sketch` or `domain: photo`."
                )
        sizes = [study.datasets[reference.partition("/")[0]].size for reference in references]
        if len(set(sizes)) > 1:
            raise ConfigError(
                f"{place}: the images of {' and '.join(references)} are {' and '.join(map(str, sizes))} pixels wide; "
                "give both datasets the same `size`."
            )
        if len(set(domains)) < len(domains):
            raise ConfigError(
                f"{place}: {' and '.join(references)} are both of domain {domains[0]}; expected sketches and photos."
            )


def _network_requests(plan: Plan) -> Iterator[tuple[str, Model, Dataset, str, dict[str, Any]]]:
    for name, model in plan.study.models.items():
        for stage in model.stages:
            dataset_name = stage.learned_from[0].partition("/")[0]
            yield (
                name,
                model,
                plan.study.datasets[dataset_name],
                dataset_name,
                _network_request(plan.study, name, stage),
            )


def _network_request(study: Study, name: str, stage: Stage) -> dict[str, Any]:
    model = study.models[name]
    return {
        "architecture": model.architecture,
        "channels": model.channels,
        "size": model.size or study.datasets[stage.learned_from[0].partition("/")[0]].size,
        "options": model.options,
        **({} if model.head is None else {"head": model.head}),
    }


def _checked_networks(plans: dict[str, Plan], starts: list[_Start], cache: Path) -> dict[str, Plan]:
    """Check every network and objective of every study; return the plans with what is known of them."""
    requests = [request for plan in plans.values() for *_, request in _network_requests(plan)]
    requests += [request for start in starts for request in (start.ours, start.theirs)]
    stages = [stage for plan in plans.values() for model in plan.study.models.values() for stage in model.stages]
    changes = [stage.augment for stage in stages]
    more = {"changes": changes} if any(changes) else {}
    known = ask_torch(requests, [stage.objective for stage in stages], cache, **more)
    changed = iter(known.get("changes") or [""] * len(stages))
    networks, learned = iter(known["networks"]), iter(known["objectives"])
    pairs = zip(requests, known["networks"], strict=True)
    modules = {request["architecture"]: facts.get("module", "") for request, facts in pairs}
    found: dict[str, Plan] = {}
    for plan in plans.values():
        for index, retrieval in enumerate(plan.study.retrievals):
            for distance in retrieval.distances:
                if distance not in known["distances"]:
                    raise ConfigError(
                        f"study {plan.name}: retrievals[{index}].distances: "
                        f"{unknown_name('distance', distance, known['distances'])}"
                    )
        widths: dict[str, int] = {}
        for name, model, _dataset, dataset_name, request in _network_requests(plan):
            facts = next(networks)
            _check_network(plan.name, name, model, dataset_name, request, facts)
            head = model.head_choice
            bytes_of_bits = head is not None and head.binary
            widths[name] = head.bits // 8 if bytes_of_bits else facts["features"][model.feature]
        learning = {
            (name, stage.name): _checked_learning(plan, name, stage, next(learned), next(changed))
            for name, model in plan.study.models.items()
            for stage in model.stages
        }
        found[plan.name] = replace(plan, modules=modules, learning=learning, widths=widths)
    for start in starts:
        _need_fitting(start, next(networks), next(networks))
    return found


def _class_sizes(plan: Plan, reference: str) -> dict[str, int]:
    """Return how many images of each class a split has, by name; nothing where only the data can tell."""
    dataset, _, split = reference.partition("/")
    count, given = plan.study.datasets[dataset].split[split], plan.given_counts(dataset)
    classes = plan.categories(dataset) or []
    if isinstance(count, int):
        # Downloads name their classes later; each has as many.
        return dict.fromkeys(classes or ["each class"], count)
    return {name: given[split][name] for name in classes} if given is not None else {}


def _checked_learning(plan: Plan, model: str, stage: Stage, facts: dict[str, Any], wrong: str) -> Learning:
    where = f"study {plan.name}: models.{model}.stages.{stage.name}"
    if "error" in facts:
        raise ConfigError(f"{where}.objective: {facts['error']}")
    if wrong:
        raise ConfigError(f"{where}.augment: {wrong}")
    learning = Learning(**facts)
    if stage.batch_size < learning.smallest_batch:
        raise ConfigError(
            f"{where}.batch_size: {stage.batch_size} images are too few a batch for {' + '.join(learning.objectives)}, "
            f"which needs at least {learning.smallest_batch}."
        )
    sides = zip(("data", "validate_on"), (stage.learned_from, stage.validated_on), learning.smallest_class, strict=True)
    asked = []
    for key, references, needed in sides:
        if len(references) > 1 and learning.smallest_photos is None:
            raise ConfigError(
                f"{where}.{key}: {' + '.join(learning.objectives)} pairs items by class alone, whether sketches or "
                "photos; for two data sets use `triplet` with mining: none, or `contrastive`."
            )
        _need_instances(plan, learning, references, f"{where}.{key}")
        if key == "validate_on" and len(references) == 1 < len(stage.learned_from) and max(learning.smallest_class) > 1:
            raise ConfigError(
                f"{where}.{key}: pairs and triplets of sketches with photos are learned from, and {references[0]} has "
                "one of the two; give both, or leave it out."
            )
        if learning.needs_instances and stage.train_sample:
            raise ConfigError(
                f"{where}.train_sample: a sample would part sketches from their photos, which draw: instances needs; "
                "leave it out."
            )
        for reference in references:
            photos = plan.study.datasets[reference.partition("/")[0]].domain == "photo"
            asked.append((key, reference, needed if len(references) < 2 else learning.smallest_photos if photos else 1))
    for key, reference, needed in asked:
        few = [f"{name} ({count})" for name, count in _class_sizes(plan, reference).items() if count < needed]
        if few:
            more = f" and {len(few) - 5} more" if len(few) > 5 else ""
            raise ConfigError(
                f"{where}.{key}: {' + '.join(learning.objectives)} needs at least {needed} images of every class to "
                f"pair, and {reference} has too few of {', '.join(few[:5])}{more}; add images, or leave classes out."
            )
    return learning


def _need_instances(plan: Plan, learning: Learning, references: list[str], where: str) -> None:
    """Refuse a draw of the very photo of a sketch where the data do not say which it is."""
    if not learning.needs_instances or not references:
        return
    if len(references) < 2:
        raise ConfigError(
            f"{where}: draw: instances takes the photo that a sketch was drawn from, and {references[0]} is one data "
            "set; give sketches and photos, as in `[sketches/train, photos/train]`."
        )
    for reference in references:
        dataset = reference.partition("/")[0]
        if plan.study.datasets[dataset].instance is None:
            raise ConfigError(
                f"{where}: draw: instances takes the photo that a sketch was drawn from, and datasets.{dataset} does "
                "not say which object its images show; give it `instance`, a pattern of its file names."
            )


def _check_network(
    study: str, name: str, model: Model, dataset: str, request: dict[str, Any], facts: dict[str, Any]
) -> None:
    where = f"study {study}: models.{name}"
    if "error" in facts:
        named = re.search(r"\boption ['`]?(\w+)", facts["error"])
        key = f"options.{named[1]}" if named and named[1] in model.options else "architecture"
        raise ConfigError(f"{where}.{key}: {facts['error']}")
    size = request["size"]
    if facts["smallest"] is None or size < facts["smallest"]:
        key = f"{where}.size" if model.size else f"study {study}: datasets.{dataset}.size"
        raise ConfigError(
            f"{key}: {size} pixels are too few for {model.architecture}, which needs at least {facts['smallest']}."
        )
    if model.feature not in facts["features"]:
        widths = [f"{layer} ({width} values)" for layer, width in facts["features"].items()]
        raise ConfigError(
            f"{where}.feature: {unknown_name('layer', model.feature, facts['features'])} "
            f"{model.architecture} has {', '.join(widths)}."
        )
    if model.branches is not None and model.branches.shared_from not in facts["features"]:
        raise ConfigError(
            f"{where}.branches.shared_from: {unknown_name('layer', model.branches.shared_from, facts['features'])}"
        )
    if model.branches is not None and model.branches.shared_from == next(iter(facts["features"])):
        own = [part for part in ("sketch", "photo") if part in model.starts]
        if own:
            raise ConfigError(
                f"{where}.weights.{own[0]}: all layers are shared from {model.branches.shared_from} on, so that no "
                "branch has any of its own; write `weights` for the whole, such as {model: …}, or share fewer layers."
            )
    if PRETRAINED in model.starts.values() and not facts["pretrained"]:
        raise ConfigError(
            f"{where}.weights: no pretrained weights of {model.architecture} are published; torchvision has them for "
            "resnet50 and timm for most of timm:<name>. Give a file or another model's checkpoint, or leave `weights` "
            "out."
        )


def ask_torch(
    requests: list[dict[str, Any]], written: list[Any], cache: Path, changes: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """Return the facts of networks and objectives and the names of distances, from the cache or a process with torch.

    Parameters
    ----------
    requests, written, changes
        As `probe.answer` takes them.
    cache
        Folder of kept answers; each is valid for one state of the code.
    """
    modules = sorted(f"trazo.models.{f.stem}" for f in (LIBRARY / "models").glob("*.py") if f.stem != "__init__")
    question = {"requests": requests, "written": written, "changes": list(changes)}
    # What these answer may change with their version.
    names = [request["architecture"] for request in requests]
    names += [name for each in written for name in ([each] if isinstance(each, str) else each)]
    versions = [
        importlib.metadata.version(package)
        for prefix, package in (("timm:", "timm"), ("pml:", "pytorch-metric-learning"))
        if any(name.startswith(prefix) for name in names)
    ]
    name = digest([question, *versions, code_fingerprint("trazo.probe", *modules)])
    file = cache / f"networks-{name}.json"
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        pass
    done = subprocess.run(
        [sys.executable, "-m", "trazo.probe"],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        cwd=LIBRARY.parent,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no output"
        raise ConfigError(f"the networks cannot be looked at: {last}\n{done.stderr}")
    write_text(file, done.stdout)
    return json.loads(done.stdout)


def _looked_at(study: Study, settings: Settings, where: str) -> dict[str, FeatureFile]:
    """Return what the files of a study's imported features hold."""
    found: dict[str, FeatureFile] = {}
    for name in study.features:
        files = imported_files(study, settings, name, where)
        for key, found_here in files.items():
            _need_no_wildcards(found_here, f"{where}: features.{name}.{key}")
        try:
            found[name] = look(Path(files["source"][0]), Path(files["queries"][0]) if files["queries"] else None)
        except InputError as error:
            raise ConfigError(f"{where}: features.{name}: {error}") from error
    return found
