"""From a study to the list of what has to be made: every artifact by its key, and where it lies.

Also the checks that need more than the configuration itself: sources on disk, networks, names in registries. Sits
above the rooms, imports nothing heavy (the process that plans a run must start fast), computes nothing.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trazo.config import (
    PRETRAINED,
    ConfigError,
    Dataset,
    EmbeddingMap,
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
from trazo.data.categories import QUICKDRAW_CATEGORIES, choose
from trazo.data.imports import GALLERY, QUERIES, FeatureFile, look
from trazo.data.items import OverlapError
from trazo.data.layouts import layouts
from trazo.defaults import completed, shares_of_exact
from trazo.errors import InputError
from trazo.maps.methods import method_of
from trazo.maps.quality import check_neighbours, quality_names
from trazo.provenance import LIBRARY, code_fingerprint, digest
from trazo.reducers.contract import NONE, ReducerChoice, reducer_choice
from trazo.registry import nearest_names, unknown_name
from trazo.report.departures import caveat
from trazo.report.figures import figure_kinds, validate_figure
from trazo.report.measures import CLASSIFICATION, TRAINING
from trazo.report.published import read_published, validate_published
from trazo.report.tables import validate_table
from trazo.retrieval.labels import vote_metrics
from trazo.retrieval.metrics import expand_metrics, metrics, validate_metric
from trazo.retrieval.rankers import EXACT, ranker_choice
from trazo.store import write_text

# Relative to the folder of the run, so that a project that moved is not stale.
PUBLISHED = os.path.relpath(LIBRARY.parent / "published" / "published.csv")
DOODLES = "doodles"
IMPORTED = "imported"
_DOODLE_SPARE = 100
_MOST_TOLD = 5


@dataclass(frozen=True, order=True)
class Trained:
    """A network at one point of its training."""

    model: str
    seed: int
    stage: str
    epoch: int

    @property
    def folder(self) -> str:
        """Its part of a path."""
        return f"{self.model}/seed{self.seed}/{self.stage}/epoch{self.epoch}"


@dataclass(frozen=True)
class Search:
    """A retrieval by one method.

    Attributes
    ----------
    origin
        What gave the features, as a part of a path: a network at one point of its training, or imported features.
    retrieval
        The retrieval.
    queries, gallery
        Paths of the features of both sides.
    """

    origin: str
    retrieval: Retrieval
    queries: str
    gallery: str


@dataclass(frozen=True)
class Mapped:
    """A map of the features of one origin.

    Attributes
    ----------
    origin
        As of `Search`.
    name
        The map's name.
    features
        Path of the features.
    """

    origin: str
    name: str
    features: str


@dataclass(frozen=True)
class Learning:
    """What a stage minimises, as far as planning has to know.

    Attributes
    ----------
    objectives, samplings
        Names of those in use.
    uses_logits, uses_embeddings
        Whether a classifier is trained; whether the feature layer is looked at.
    smallest_batch
        Images a batch needs.
    smallest_class
        Images of every class that the data need, and those held out.
    """

    objectives: list[str]
    samplings: list[str]
    uses_logits: bool
    uses_embeddings: bool
    smallest_batch: int
    smallest_class: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Plan:
    """A study with its settings: what it needs and makes.

    Attributes
    ----------
    name
        The study's name; its results lie in `results/<name>`.
    file
        The study as it was asked for: its name or the path of its file.
    study, original
        As run, and as its file has it.
    settings
        The run's settings.
    modules
        The library module that defines each architecture.
    imported
        What the files of imported features hold.
    learning
        What each stage minimises, by model and stage.
    widths
        How many values each model's feature has.
    """

    name: str
    file: str
    study: Study
    original: Study
    settings: Settings
    modules: dict[str, str]
    imported: dict[str, FeatureFile] = field(default_factory=dict)
    learning: dict[tuple[str, str], Learning] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)

    @property
    def root(self) -> str:
        """Folder of the study's results."""
        return f"results/{self.name}"

    # Sources -------------------------------------------------------------------------------------------------------

    def source(self, dataset: str) -> str:
        """Return where a dataset's raw data are once they are there: a folder or file."""
        spec = self.study.datasets[dataset]
        if spec.source == DOODLES:
            return f"{self.root}/doodles/{dataset}"
        place = self._place(dataset)
        if not is_url(place):
            return place
        if spec.layout == "quickdraw":
            return f"results/sources/{spec.source}"
        return f"results/sources/{spec.source}/archive.zip"

    def _place(self, dataset: str) -> str:
        name = self.study.datasets[dataset].source
        if name not in self.settings.sources:
            known = [*self.settings.sources, DOODLES]
            raise ConfigError(
                f"study {self.name}: datasets.{dataset}.source: {unknown_name('source', name, known)} "
                f"Say where it is under `sources:` in config.yaml, such as `{name}: path/to/folder`."
            )
        place = self.settings.sources[name]
        return place if is_url(place) else os.path.expanduser(place)

    def source_words(self, dataset: str) -> str:
        """Return in words where a dataset comes from, naming no folder of this machine."""
        spec = self.study.datasets[dataset]
        if spec.source == DOODLES:
            return "doodles drawn by trazo itself"
        place = self._place(dataset)
        return f"{spec.source} ({place if is_url(place) else f'local copy, {Path(place).name}'})"

    def categories(self, dataset: str) -> list[str] | None:
        """Return the classes of a dataset in label order; None: all of an archive that is still to be downloaded."""
        spec = self.study.datasets[dataset]
        if self._is_distant_archive(dataset):
            return spec.categories if isinstance(spec.categories, list) else None
        where = f"study {self.name}: datasets.{dataset}"
        try:
            available = self._available(dataset)
        except InputError as error:
            raise ConfigError(f"{where}: {error}") from error
        try:
            return choose(spec.categories, available)
        except InputError as error:
            raise ConfigError(f"{where}.categories: {error}") from error

    def _is_distant_archive(self, dataset: str) -> bool:
        spec = self.study.datasets[dataset]
        return spec.source != DOODLES and spec.layout != "quickdraw" and is_url(self._place(dataset))

    def _available(self, dataset: str) -> list[str]:
        spec = self.study.datasets[dataset]
        if spec.source == DOODLES:
            # Named here, and checked against the generator by a test: importing it costs more than planning a run.
            return DOODLE_ANIMALS
        place = self._place(dataset)
        if is_url(place):
            return list(QUICKDRAW_CATEGORIES)
        return layouts.get(spec.layout).available(Path(place), spec)

    def source_inputs(self, dataset: str) -> list[str]:
        """Return the files (or folder) that building a dataset reads."""
        spec = self.study.datasets[dataset]
        source = self.source(dataset)
        if spec.source == DOODLES:
            return [source]
        if is_url(self._place(dataset)):
            if spec.layout == "quickdraw":
                return [f"{source}/{category}.bin" for category in self.categories(dataset)]
            return [source]
        wanted = spec.model_copy(update={"categories": self.categories(dataset)})
        return [str(p) for p in layouts.get(spec.layout).source_files(Path(source), wanted)]

    def dataset_settings(self, dataset: str, split: str) -> dict[str, Any]:
        """Return a dataset's settings as far as building one of its splits depends on them, as plain values.

        A split comes before those declared after it, and depends on none of them; `rest` depends on all. Of splits
        that the source gives, those before are compared with it, however many items they take.
        """
        spec = self.study.datasets[dataset]
        layout = layouts.get(spec.layout)
        settings = spec.model_dump(mode="json", exclude={"stands_for"})
        if spec.layout != "quickdraw":
            del settings["raster"]
        names = list(spec.split)
        before = names[: names.index(split)]
        if layout.gives_splits:
            settings["split"] = {**dict.fromkeys(before, "all"), split: spec.split[split]}
        elif spec.split[split] != "rest":
            settings["split"] = {name: spec.split[name] for name in [*before, split]}
            # How many `rest` are before this split is decided by those after it.
            if "rest" in settings["split"].values():
                settings["split"] = dict(spec.split)
        settings["lists"] = {name: file for name, file in spec.lists.items() if name in settings["split"]}
        for key in {"lists", "class_pattern"} - layout.keys:
            del settings[key]
        return {**settings, "categories": self.categories(dataset)}

    def source_listing(self, dataset: str, split: str | None = None) -> str:
        """Return what tells that the files inside a source folder changed; empty where the inputs tell it.

        Of one split where the source gives them, or of all.
        """
        spec = self.study.datasets[dataset]
        if spec.source == DOODLES or is_url(self._place(dataset)):
            return ""
        return layouts.get(spec.layout).listing_digest(Path(self.source(dataset)), spec, split)

    def given_counts(self, dataset: str) -> dict[str, dict[str, int]] | None:
        """Return the items of each class by split, where the source gives the splits and is at hand."""
        spec = self.study.datasets[dataset]
        if spec.source == DOODLES or is_url(self._place(dataset)):
            return None
        return layouts.get(spec.layout).counts(Path(self.source(dataset)), spec)

    def doodles(self, dataset: str) -> dict[str, Any]:
        """Return which doodles to draw: categories, how many of each, and the seed."""
        spec = self.study.datasets[dataset]
        count = sum(n if isinstance(n, int) else _DOODLE_SPARE for n in spec.split.values())
        return {"categories": self.categories(dataset), "count": count, "seed": spec.seed}

    # Parts loaded by name: they count for a step, what stands beside them in their modules does not -----------------

    def parts_of_images(self, dataset: str) -> dict[str, list[str]]:
        """Return the parts that building a dataset's images loads by name, by module."""
        files = {type(layouts.get(name)).__module__ for name in layouts.names()}
        return {file: [self.study.datasets[dataset].layout] for file in sorted(files)}

    def parts_of_stage(self, model: str, stage: str) -> dict[str, list[str]]:
        """Return the parts that training a stage loads by name, by module."""
        learning = self.learning[model, stage]
        return {
            "trazo.training.objectives": [name.partition(":")[0] for name in learning.objectives],
            "trazo.training.sampling": learning.samplings,
        }

    def parts_of_ranking(self, label: str, distance: str, ranker: str) -> dict[str, list[str]]:
        """Return the parts that a ranking loads by name, by module; the ranker by its label."""
        known = metrics.names()
        used = {name if name in known else name.partition("@")[0] for name in self.retrieval(label)["metrics"]}
        return {
            "trazo.retrieval.distances": [distance],
            "trazo.retrieval.metrics": sorted(used),
            "trazo.retrieval.rankers": [ranker_choice(self.ranker(label, ranker)["ranker"]).name],
        }

    def parts_of_map(self, name: str) -> dict[str, list[str]]:
        """Return the parts that a map loads by name, by module."""
        return {"trazo.maps.methods": [self.study.maps[name].method]}

    # What is made --------------------------------------------------------------------------------------------------

    def images(self, reference: str) -> str:
        """Return the path of `<dataset>/<split>`'s images."""
        return f"{self.root}/images/{reference}.h5"

    def stage(self, model: str, stage: str) -> Stage:
        """Return a stage of a model."""
        return self.study.stage_of(model, stage)

    def training_settings(self, model: str, stage: str) -> dict[str, Any]:
        """Return a model's settings as far as training `stage` depends on them: later stages left out."""
        spec = self.study.models[model]
        names = [s.name for s in spec.stages]
        settings = spec.model_dump(mode="json", exclude={"feature"})
        settings["stages"] = settings["stages"][: names.index(stage) + 1]
        # The layer that gives the feature matters to objectives that look at it; the typed model always wants one.
        return {**settings, "feature": spec.feature if self.learning[model, stage].uses_embeddings else ""}

    def architecture_module(self, model: str) -> str:
        """Return the library module that defines a model's architecture."""
        return self.modules[self.study.models[model].architecture]

    def validation_images(self, model: str, stage: str) -> list[str]:
        """Return the path of the images a stage is measured on after every epoch, if any."""
        reference = self.stage(model, stage).validate_on
        return [self.images(reference)] if reference else []

    def previous_checkpoint(self, model: str, seed: int | str, stage: str) -> list[str]:
        """Return the path of the stage before `stage`, if any."""
        names = [s.name for s in self.study.models[model].stages]
        before = names[: names.index(stage)][-1:]
        return [f"{self.root}/models/{model}/seed{seed}/{name}/checkpoint.pt" for name in before]

    def starting_weights(self, model: str, seed: int | str, stage: str) -> list[str]:
        """Return the path of the weights that a stage starts from, if it is a model's first and they are in a file."""
        spec = self.study.models[model]
        if stage != spec.stages[0].name or spec.weights in (None, PRETRAINED):
            return []
        if isinstance(spec.weights, OtherModel):
            other = self.study.stage_of(spec.weights.model, spec.weights.stage)
            return [f"{self.root}/models/{spec.weights.model}/seed{seed}/{other.name}/checkpoint.pt"]
        return [weights_file(spec.weights, self.settings)]

    def histories(self) -> list[str]:
        """Return the paths of all training histories."""
        return [
            f"{self.root}/models/{model}/seed{seed}/{stage.name}/history.json"
            for model, spec in self.study.models.items()
            for seed in self.study.seeds
            for stage in spec.stages
        ]

    def learned_data(self) -> dict[str, dict[str, str]]:
        """Return the `<dataset>/<split>` that every stage learns from, by model and stage."""
        return {name: {stage.name: stage.data for stage in model.stages} for name, model in self.study.models.items()}

    def imported_files(self, name: str) -> dict[str, list[str]]:
        """Return the files that imported features are read from: "source", and "queries" if they have one apart."""
        return imported_files(self.study, self.settings, name, f"study {self.name}")

    def _trained(self) -> Iterator[tuple[Trained, Retrieval]]:
        for retrieval in self.study.retrievals:
            for point in self._points(retrieval):
                yield point, retrieval

    def _points(self, of: Retrieval | EmbeddingMap) -> Iterator[Trained]:
        for model in of.models:
            stage = self.study.stage_of(model, of.stage)
            for epoch in self.study.epochs_of(of, model):
                for seed in self.study.seeds:
                    yield Trained(model, seed, stage.name, epoch)

    def searches(self) -> Iterator[Search]:
        """Yield every retrieval by every method."""
        for point, retrieval in self._trained():
            sides = [
                f"{self.root}/features/{point.folder}/{side}.h5" for side in (retrieval.queries, retrieval.gallery)
            ]
            yield Search(point.folder, retrieval, *sides)
        for retrieval in self.study.retrievals:
            for name in retrieval.features:
                origin = f"{name}/{IMPORTED}"
                asked = GALLERY if retrieval.leave_one_out else QUERIES
                sides = [f"{self.root}/features/{origin}/{side}.h5" for side in (asked, GALLERY)]
                yield Search(origin, retrieval, *sides)

    def features(self) -> list[str]:
        """Return the paths of the features that retrievals search with and in."""
        return _distinct(path for search in self.searches() for path in (search.queries, search.gallery))

    def mappings(self) -> Iterator[Mapped]:
        """Yield every map of the features of every origin."""
        for name, drawn in self.study.maps.items():
            for point in self._points(drawn):
                yield Mapped(point.folder, name, f"{self.root}/features/{point.folder}/{drawn.data}.h5")
            for imported in drawn.features:
                origin = f"{imported}/{IMPORTED}"
                yield Mapped(origin, name, f"{self.root}/features/{origin}/{drawn.data or GALLERY}.h5")

    def maps(self) -> list[str]:
        """Return the paths of all maps."""
        return [f"{self.root}/maps/{m.origin}/{m.name}.h5" for m in self.mappings()]

    def map_metrics(self) -> list[str]:
        """Return the paths of the metrics of all maps."""
        return [path.removesuffix(".h5") + ".csv" for path in self.maps()]

    def mapped_features(self, wildcards: Any) -> str:
        """Return the path of the features that a map shows."""
        wanted = (wildcards.origin, wildcards.map)
        return next(m.features for m in self.mappings() if (m.origin, m.name) == wanted)

    def map_settings(self, name: str) -> dict[str, Any]:
        """Return the settings of a map, as plain values, what does not change it left out."""
        kept = {"method", "options", "seed", "most", "neighbours"}
        return self.study.maps[name].model_dump(mode="json", include=kept)

    def map_images(self) -> list[str]:
        """Return the paths of the images that maps show."""
        return _distinct(self.images(drawn.data) for drawn in self.study.maps.values() if drawn.models)

    def query_features(self) -> list[str]:
        """Return the paths of the features of queries, of models that learned their classes."""
        return _distinct(
            f"{self.root}/features/{point.folder}/{retrieval.queries}.h5"
            for point, retrieval in self._trained()
            if self._learned_classes(point.model, retrieval.queries)
        )

    def _learned_classes(self, model: str, reference: str) -> bool:
        dataset = reference.partition("/")[0]
        return any(stage.data.partition("/")[0] == dataset for stage in self.study.models[model].stages)

    def classifications(self) -> list[str]:
        """Return the paths of the classification metrics, of stages that train a classifier."""
        return _distinct(
            f"{self.root}/classification/{point.folder}/{retrieval.queries}.csv"
            for point, retrieval in self._trained()
            if self._learned_classes(point.model, retrieval.queries) and self._classifies(point)
        )

    def classified_splits(self) -> dict[str, list[str]]:
        """Return by model the splits (`<dataset>/<split>`) on which its classifier's predictions are kept."""
        found: dict[str, list[str]] = {}
        for point, retrieval in self._trained():
            if self._learned_classes(point.model, retrieval.queries) and self._classifies(point):
                found.setdefault(point.model, []).append(retrieval.queries)
        return {model: _distinct(splits) for model, splits in found.items()}

    def _classifies(self, point: Trained) -> bool:
        # A model that only the study's full form has was not looked at; what is lost is a check, no artifact.
        learning = self.learning.get((point.model, point.stage))
        return learning is None or learning.uses_logits

    def codes(self) -> list[str]:
        """Return the paths of all reduced features."""
        return [
            f"{self._codes(search, reducer)}/{side}.h5"
            for search in self.searches()
            for reducer, choice in reducer_labels(search.retrieval).items()
            if choice is not None
            for side in ("queries", "gallery")
        ]

    def _codes(self, search: Search, reducer: str) -> str:
        return f"{self.root}/codes/{search.origin}/{search.retrieval.label}/{reducer}"

    def reducer(self, retrieval: str, label: str) -> Any:
        """Return a reducer of a retrieval by its label, as the study has it."""
        found = next(r for r in self.study.retrievals if r.label == retrieval)
        return dict(zip(found.reducer_labels, found.reducers, strict=True))[label]

    def reducer_module(self, retrieval: str, label: str) -> str:
        """Return the library module that defines a reducer of a retrieval."""
        return reducer_choice(self.reducer(retrieval, label)).kind.__module__

    def rankings(self) -> list[str]:
        """Return the paths of all rankings."""
        return list(self._rankings_of(self.study.retrievals))

    def _rankings_of(self, retrievals: Collection[Retrieval]) -> Iterator[str]:
        labels = {retrieval.label for retrieval in retrievals}
        for search in self.searches():
            if search.retrieval.label in labels:
                folder = f"{self.root}/rankings/{search.origin}/{search.retrieval.label}"
                for reducer in reducer_labels(search.retrieval):
                    for distance in search.retrieval.distances:
                        for ranker in ranker_labels(search.retrieval):
                            yield f"{folder}/{reducer}/{distance}/{ranker}.h5"

    def ranking_metrics(self) -> list[str]:
        """Return the paths of the metrics of all rankings."""
        return [path.removesuffix(".h5") + ".csv" for path in self.rankings()]

    def rivals_of_exact(self) -> list[str]:
        """Return the rankings of retrievals that the exact ranker and others search alike."""
        return list(self._rankings_of([r for r in self.study.retrievals if _has_rivals(r)]))

    def agreements(self) -> list[str]:
        """Return the path of the comparison of rankers with the exact one, none where there is nothing to compare."""
        return [f"{self.root}/agreement.csv"] if self.rivals_of_exact() else []

    def retrieval(self, label: str) -> dict[str, Any]:
        """Return the settings of a retrieval by its label, as plain values, what is not its ranking's left out."""
        found = next(r for r in self.study.retrievals if r.label == label)
        left_out = {"models", "features", "stage", "epochs", "distances", "rankers", "rerank", "reducers", "name"}
        settings = found.model_dump(mode="json", exclude=left_out)
        return {**settings, "metrics": expand_metrics(found.metrics)}

    def ranker(self, retrieval: str, label: str) -> dict[str, Any]:
        """Return a ranker of a retrieval by its label: as the study has it, and how it is re-ranked."""
        found = next(r for r in self.study.retrievals if r.label == retrieval)
        written, rerank = ranker_labels(found)[label]
        return {"ranker": written, "rerank": rerank}

    def unreduced_features(self, wildcards: Any, side: str) -> str:
        """Return the path of the features on one side ("queries" or "gallery") of a retrieval, as they are."""
        return getattr(self._search(wildcards), side)

    def searched_features(self, wildcards: Any, side: str) -> str:
        """Return the path of the features, or of their codes, on one side ("queries" or "gallery") of a ranking."""
        search = self._search(wildcards)
        if wildcards.reducer == NONE:
            return getattr(search, side)
        # Where the gallery holds the queries, both sides are the same codes.
        shown = "gallery" if search.retrieval.leave_one_out else side
        return f"{self._codes(search, wildcards.reducer)}/{shown}.h5"

    def _search(self, wildcards: Any) -> Search:
        wanted = (wildcards.origin, wildcards.retrieval)
        return next(s for s in self.searches() if (s.origin, s.retrieval.label) == wanted)

    def query_images(self) -> list[str]:
        """Return the paths of the images that queries and galleries show."""
        searched = [r for r in self.study.retrievals if r.models]
        return _distinct(self.images(reference) for r in searched for reference in (r.queries, r.gallery))

    def figure_inputs(self, figure: str) -> dict[str, list[str]]:
        """Return the artifacts a figure is drawn from, by kind of artifact."""
        kind = figure_kinds.get(self.study.figures[figure].kind)
        published = [PUBLISHED] if self.study.published else []
        sources = {
            "metrics": lambda: [f"{self.root}/metrics.csv"],
            "histories": self.histories,
            "rankings": self.rankings,
            "features": self.query_features,
            "images": self.query_images,
            "maps": self.maps,
            "published": lambda: published,
            "timings": lambda: [f"{self.root}/timings.csv"],
        }
        return {name: paths for name in (*kind.needs, *kind.uses) if (paths := sources[name]())}

    def caveat(self) -> str:
        """Return in a sentence or two how the study as run differs from the published one; empty if it does not."""
        return caveat(self.study, self.original, self.settings)

    def comparison_settings(self) -> dict[str, Any]:
        """Return the study without what only pictures and tables depend on, as plain values."""
        return self._rendered(tables=[], figures=[])

    def table_settings(self, table: str) -> dict[str, Any]:
        """Return the study with one table, as plain values."""
        return self._rendered(tables=[table], figures=[])

    def figure_settings(self, figure: str) -> dict[str, Any]:
        """Return the study with one figure, as plain values."""
        return self._rendered(tables=[], figures=[figure])

    def _rendered(self, *, tables: list[str], figures: list[str]) -> dict[str, Any]:
        plain = self.study.model_dump(mode="json", exclude={"quick", "description"}) | {"title": ""}
        plain["tables"] = {name: plain["tables"][name] for name in tables}
        plain["figures"] = {name: plain["figures"][name] for name in figures}
        return plain

    def comparisons(self) -> list[str]:
        """Return the path of the comparison with published values."""
        return [f"{self.root}/comparison.csv"]

    def settings_of_report(self) -> dict[str, Any]:
        """Return the settings as far as they concern this study, as plain values.

        Running it together with another study, or adding a source that it does not use, leaves its report as it is.
        """
        plain = self.settings.model_dump(mode="json")
        used = self.study.sources
        plain["sources"] = {name: place for name, place in plain["sources"].items() if name in used}
        plain["overrides"] = {name: over for name, over in plain["overrides"].items() if name == self.name}
        return {**plain, "studies": [self.file]}

    def sources_in_words(self) -> dict[str, str]:
        """Return in words where every dataset comes from."""
        imported = {
            name: f"imported from {' and '.join(Path(path).name for paths in files.values() for path in paths)}"
            for name in self.study.features
            if (files := self.imported_files(name))
        }
        return {name: self.source_words(name) for name in self.study.datasets} | imported

    def tables(self) -> list[str]:
        """Return the paths of all tables, three formats each."""
        return [f"{self.root}/tables/{name}.{end}" for name in self.study.tables for end in ("csv", "md", "tex")]

    def pictures(self) -> list[str]:
        """Return the paths of all figures, two formats each."""
        return [f"{self.root}/figures/{name}.{end}" for name in self.study.figures for end in ("svg", "png")]

    def artifacts(self) -> list[str]:
        """Return the paths of all artifacts that carry a record of how they were made."""
        learned = {self.images(stage.data) for model in self.study.models.values() for stage in model.stages}
        images = [*sorted(learned), *self.query_images(), *self.map_images()]
        features = [*self.features(), *(m.features for m in self.mappings())]
        return _distinct([*images, *self.histories(), *features, *self.codes(), *self.rankings(), *self.maps()])


def ranker_labels(retrieval: Retrieval) -> dict[str, tuple[Any, str]]:
    """Return the rankers of a retrieval, as the study has them, and how they are re-ranked, by what paths call them.

    Raises
    ------
    InputError
        If one is unknown or cannot search by the retrieval's distances or for any of its metrics, or is named twice.
    """
    found: dict[str, tuple[Any, str]] = {}
    ways = [(written, rerank) for rerank in retrieval.rerank for written in retrieval.rankers]
    for label, (written, rerank) in zip(retrieval.ranker_labels, ways, strict=True):
        choice = ranker_choice(written)
        if label in found:
            raise InputError(f"{label} is listed twice.")
        found[label] = written, rerank
        if choice.kind.whole:
            continue
        wrong = [distance for distance in retrieval.distances if distance not in choice.kind.distances]
        if wrong:
            raise InputError(f"{choice.name} does not search by {wrong[0]}, but by {', '.join(choice.kind.distances)}.")
        if not any(validate_metric(name).cutoff for name in expand_metrics(retrieval.metrics)):
            raise InputError(
                f"{choice.name} returns the nearest items only, and {', '.join(retrieval.metrics)} need the whole "
                "ranking; add metrics with a k, such as p@10 or recall@10."
            )
    return found


def _has_rivals(retrieval: Retrieval) -> bool:
    """Return whether the exact ranker and others search by the same features."""
    names = [ranker_choice(written).name for written in retrieval.rankers]
    return EXACT in names and len(names) > 1


def reducer_labels(retrieval: Retrieval) -> dict[str, ReducerChoice | None]:
    """Return the reducers of a retrieval by what paths call them; None for the features as they are.

    Raises
    ------
    InputError
        If one is unknown or has wrong options, or is named twice.
    """
    found: dict[str, ReducerChoice | None] = {}
    for label, written in zip(retrieval.reducer_labels, retrieval.reducers, strict=True):
        choice = reducer_choice(written)
        same = [
            other
            for other, taken in found.items()
            if other == label or (choice and taken and (taken.name, taken.options) == (choice.name, choice.options))
        ]
        if same:
            raise InputError(f"{label} is listed twice{'' if same[0] == label else f', the other time as {same[0]}'}.")
        found[label] = choice
    return found


def imported_files(study: Study, settings: Settings, name: str, where: str) -> dict[str, list[str]]:
    """Return the files that imported features are read from: "source", and "queries" if they have one apart.

    Raises
    ------
    ConfigError
        If one of them is neither a source nor a file, or is to be downloaded.
    """
    spec = study.features[name]
    files: dict[str, list[str]] = {"source": [], "queries": []}
    for key, found in files.items():
        place = getattr(spec, key)
        if not place:
            continue
        path = settings.sources.get(place, place)
        if is_url(path):
            raise ConfigError(f"{where}: features.{name}.{key}: {path} is a URL; download it and give the file's path.")
        if not Path(path).is_file():
            named = f"{place!r} is {path}, which" if place in settings.sources else f"{place!r}"
            known = ", ".join(settings.sources) or "none"
            raise ConfigError(
                f"{where}: features.{name}.{key}: {named} is no file; give the path of an HDF5 or NPZ file (relative "
                f"to the folder of the run), or a name under `sources:` ({known})."
            )
        found.append(path)
    return files


def weights_file(written: str, settings: Settings) -> str:
    """Return the path of a file of weights by its name in `sources` or its path, relative where it can be."""
    place = settings.sources.get(written, written)
    if is_url(place):
        return place
    path = os.path.normpath(os.path.expanduser(place))
    # A checkpoint that the workflow makes is known by its relative path.
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path


def _looked_at(study: Study, settings: Settings, where: str) -> dict[str, FeatureFile]:
    """Return what the files of a study's imported features hold."""
    found: dict[str, FeatureFile] = {}
    for name in study.features:
        files = imported_files(study, settings, name, where)
        try:
            found[name] = look(Path(files["source"][0]), Path(files["queries"][0]) if files["queries"] else None)
        except InputError as error:
            raise ConfigError(f"{where}: features.{name}: {error}") from error
    return found


def is_url(place: str) -> bool:
    """Return whether a source is to be downloaded."""
    return urlsplit(place).scheme in {"http", "https"}


def _distinct(paths: Iterator[str] | list[str] | Any) -> list[str]:
    return list(dict.fromkeys(paths))


DOODLE_ANIMALS = [
    "sheep",
    "bear",
    "bee",
    "cat",
    "camel",
    "cow",
    "crab",
    "crocodile",
    "duck",
    "elephant",
    "dog",
    "giraffe",
]


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
    _check_weights(plans, settings)
    plans = _checked_networks(plans, cache)
    for plan in plans.values():
        _check_names(plan)
        _check_published(plan)
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
        for split, given in (plan.given_counts(name) or {}).items():
            count = spec.split[split]
            short = [f"{given[c]} of {c!r}" for c in classes or () if isinstance(count, int) and given[c] < count]
            if short:
                raise ConfigError(
                    f"{where}.split.{split}: {count} images a class are asked for, and the source gives "
                    f"{', '.join(short[:_MOST_TOLD])}{', …' * (len(short) > _MOST_TOLD)}; ask for less, or write `all`."
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


def _check_weights(plans: dict[str, Plan], settings: Settings) -> None:
    """Refuse weights that are nowhere, and models that start, over any number of others, from themselves."""
    studies = {name: plan.study for name, plan in plans.items()}
    for name, plan in plans.items():
        for model in plan.study.models:
            path, point = [], (name, model)
            while point is not None:
                if point in path:
                    chain = " from ".join(f"{study}/{other}" for study, other in [*path, point])
                    raise ConfigError(
                        f"study {name}: models.{model}.weights: no model can start from itself ({chain})."
                    )
                path.append(point)
                point = _start_of(*point, studies, settings)


def _start_of(study: str, model: str, studies: dict[str, Study], settings: Settings) -> tuple[str, str] | None:
    """Return the study and model whose checkpoint a model starts from, None if it starts from none that we make.

    Studies that are met on the way are added to `studies`.
    """
    spec = studies[study].models[model]
    where = f"study {study}: models.{model}.weights"
    if isinstance(spec.weights, OtherModel):
        other = studies[study].models[spec.weights.model]
        _need_alike(where, spec, other, spec.weights.model)
        return study, spec.weights.model
    if spec.weights in (None, PRETRAINED):
        return None
    path = weights_file(spec.weights, settings)
    made = made_by(path)
    if made is None:
        _need_weights_file(where, spec.weights, path, settings)
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
    return made.study, made.model


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
    stages = [
        (name, stage.name) for name, model in plan.study.models.items() if name in shown for stage in model.stages
    ]
    # Of a model that only the study's full form has it is not known what it learns.
    classifying = any(key not in plan.learning or plan.learning[key].uses_logits for key in stages)
    names += [metric for metric in TRAINING if stages and (classifying or metric != "train_accuracy")]
    for retrieval in plan.study.retrievals:
        if not set(shown) & {*retrieval.models, *retrieval.features}:
            continue
        names += expand_metrics(retrieval.metrics)
        names += vote_metrics(retrieval.votes)
        names += shares_of_exact(retrieval)
    for drawn in plan.study.maps.values():
        names += quality_names(drawn.neighbours)
    return names


def _check_names(plan: Plan) -> None:
    for index, retrieval in enumerate(plan.study.retrievals):
        where = f"study {plan.name}: retrievals[{index}]"
        try:
            expand_metrics(retrieval.metrics)
        except InputError as error:
            raise ConfigError(f"{where}.metrics: {error}") from error
        try:
            ranker_labels(retrieval)
        except InputError as error:
            raise ConfigError(f"{where}.rankers: {error}") from error
        _check_reducers(plan, retrieval, where)
        _check_rankers(plan, retrieval, where)
        if "predicted_class" in retrieval.rerank:
            for name in retrieval.models:
                stage = plan.study.stage_of(name, retrieval.stage)
                if not plan.learning[name, stage.name].uses_logits:
                    raise ConfigError(
                        f"{where}.rerank: predicted_class needs a classifier, and {name}'s stage {stage.name!r} "
                        "trains none; add cross_entropy to its `objective`, or leave the model out."
                    )
    computed = _computed(plan)
    for name, table in plan.study.tables.items():
        try:
            validate_table(table, plan.study, computed)
            _check_shown(plan, table.metrics, table.where.get("model"))
        except InputError as error:
            raise ConfigError(f"study {plan.name}: tables.{name}: {error}") from error
    for name, figure in plan.study.figures.items():
        try:
            validate_figure(figure, plan.study, computed, plan.classified_splits())
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
    items = _gallery_items(plan, retrieval)
    sizes = {f"features {n}": (held.items, held.width) for n, held in plan.imported.items() if n in retrieval.features}
    # What is not known yet fits; the step itself can tell.
    sizes |= {f"model {n}": (items or sys.maxsize, plan.widths[n]) for n in retrieval.models if n in plan.widths}
    for choice in choices:
        packed = [name for name in retrieval.features if plan.imported[name].packed]
        if packed:
            raise ConfigError(
                f"{where}.reducers: {choice.name} reduces numbers, and {packed[0]} holds packed bits; leave `reducers` "
                "out."
            )
        for name, size in sizes.items():
            try:
                choice.make().check(*size)
            except InputError as error:
                raise ConfigError(f"{where}.reducers: {name}: {error}") from error


def _check_rankers(plan: Plan, retrieval: Retrieval, where: str) -> None:
    """Refuse rankers whose options do not fit imported features; of a network's, the step itself can tell."""
    for written in retrieval.rankers:
        ranker = ranker_choice(written)
        for name in retrieval.features:
            held = plan.imported[name]
            for reducer, choice in reducer_labels(retrieval).items():
                reduced = "" if choice is None else f" by {reducer}"
                width = held.width if choice is None else choice.make().width(held.width)
                try:
                    ranker.kind(ranker.options).check(held.items, width)
                except InputError as error:
                    raise ConfigError(f"{where}.rankers: features {name}{reduced}: {error}") from error


def _gallery_items(plan: Plan, retrieval: Retrieval) -> int | None:
    """Return how many items the gallery of a retrieval of models has, None where only the data can tell."""
    if retrieval.features:
        return None
    size = _gallery_size(plan, retrieval)
    return None if size is None else size + int(retrieval.leave_one_out)


def _gallery_size(plan: Plan, retrieval: Retrieval) -> int | None:
    """Return how many items a query of a retrieval can find, None where only the data can tell."""
    if retrieval.features:
        return min(plan.imported[name].items for name in retrieval.features) - int(retrieval.leave_one_out)
    items = _split_size(plan, retrieval.gallery)
    return None if items is None else items - int(retrieval.leave_one_out)


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


def _check_sizes(plan: Plan) -> None:
    """Refuse what only shows after hours of training: ranks beyond the gallery, stages of different classes."""
    for index, retrieval in enumerate(plan.study.retrievals):
        items = _gallery_size(plan, retrieval)
        if items is None:
            continue
        gallery = retrieval.gallery or retrieval.label
        wanted = [(f"metrics: {m}", int(k)) for m in retrieval.metrics if (k := m.partition("@")[2]).isdigit()]
        wanted += [(f"votes: {count}", count) for count in retrieval.votes]
        for what, k in wanted:
            if k > items:
                raise ConfigError(
                    f"study {plan.name}: retrievals[{index}].{what} looks at {k} items, and the gallery {gallery} has "
                    f"{items}; choose a smaller k."
                )
    for name, model in plan.study.models.items():
        learned = {stage.name: plan.categories(stage.data.partition("/")[0]) for stage in model.stages}
        for stage in model.stages:
            if stage.validate_on is not None:
                seen = plan.categories(stage.validate_on.partition("/")[0])
                if None not in (seen, learned[stage.name]) and seen != learned[stage.name]:
                    raise ConfigError(
                        f"study {plan.name}: models.{name}.stages.{stage.name}.validate_on: {stage.validate_on} has "
                        f"other classes, or in another order, than {stage.data}; give both the same `categories`."
                    )


def _network_requests(plan: Plan) -> Iterator[tuple[str, Model, Dataset, str, dict[str, Any]]]:
    for name, model in plan.study.models.items():
        for stage in model.stages:
            dataset_name = stage.data.partition("/")[0]
            dataset = plan.study.datasets[dataset_name]
            request = {
                "architecture": model.architecture,
                "channels": model.channels,
                "size": model.size or dataset.size,
                "options": model.options,
            }
            yield name, model, dataset, dataset_name, request


def _checked_networks(plans: dict[str, Plan], cache: Path) -> dict[str, Plan]:
    """Check every network and objective of every study; return the plans with what is known of them."""
    requests = [request for plan in plans.values() for *_, request in _network_requests(plan)]
    stages = [stage for plan in plans.values() for model in plan.study.models.values() for stage in model.stages]
    known = ask_torch(requests, [stage.objective for stage in stages], cache)
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
            widths[name] = facts["features"][model.feature]
        learning = {
            (name, stage.name): _checked_learning(plan, name, stage, next(learned))
            for name, model in plan.study.models.items()
            for stage in model.stages
        }
        found[plan.name] = replace(plan, modules=modules, learning=learning, widths=widths)
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


def _checked_learning(plan: Plan, model: str, stage: Stage, facts: dict[str, Any]) -> Learning:
    where = f"study {plan.name}: models.{model}.stages.{stage.name}"
    if "error" in facts:
        raise ConfigError(f"{where}.objective: {facts['error']}")
    learning = Learning(**facts)
    if stage.batch_size < learning.smallest_batch:
        raise ConfigError(
            f"{where}.batch_size: {stage.batch_size} images are too few a batch for {' + '.join(learning.objectives)}, "
            f"which needs at least {learning.smallest_batch}."
        )
    for key, needed in zip(("data", "validate_on"), learning.smallest_class, strict=True):
        reference = getattr(stage, key)
        if reference is None:
            continue
        few = [f"{name} ({count})" for name, count in _class_sizes(plan, reference).items() if count < needed]
        if few:
            more = f" and {len(few) - 5} more" if len(few) > 5 else ""
            raise ConfigError(
                f"{where}.{key}: {' + '.join(learning.objectives)} needs at least {needed} images of every class to "
                f"pair, and {reference} has too few of {', '.join(few[:5])}{more}; add images, or leave classes out."
            )
    return learning


def _check_network(
    study: str, name: str, model: Model, dataset: str, request: dict[str, Any], facts: dict[str, Any]
) -> None:
    where = f"study {study}: models.{name}"
    if "error" in facts:
        raise ConfigError(f"{where}.architecture: {facts['error']}")
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
    if model.weights == PRETRAINED and not facts["pretrained"]:
        raise ConfigError(
            f"{where}.weights: no pretrained weights of {model.architecture} are published; torchvision has them for "
            "resnet50 and timm for most of timm:<name>. Give a file or another model's checkpoint, or leave `weights` "
            "out."
        )


def ask_torch(requests: list[dict[str, Any]], written: list[Any], cache: Path) -> dict[str, Any]:
    """Return the facts of networks and objectives and the names of distances, from the cache or a process with torch.

    Parameters
    ----------
    requests, written
        As `probe.answer` takes them.
    cache
        Folder of kept answers; each is valid for one state of the code.
    """
    modules = sorted(f"trazo.models.{f.stem}" for f in (LIBRARY / "models").glob("*.py") if f.stem != "__init__")
    question = {"requests": requests, "written": written}
    # What timm answers may change with its version.
    asked = any(request["architecture"].startswith("timm:") for request in requests)
    versions = [importlib.metadata.version("timm")] if asked else []
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
