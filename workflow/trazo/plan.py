"""From a study to the list of what has to be made: every artifact by its key, and where it lies.

Sits above the rooms, imports nothing heavy (the process that plans a run must start fast), computes nothing. Plans are
made, and checked, in `planning`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trazo.config import (
    PRETRAINED,
    WHOLE,
    ConfigError,
    EmbeddingMap,
    OtherModel,
    Retrieval,
    Settings,
    Stage,
    Study,
    Written,
    reducer_batch,
)
from trazo.data.categories import QUICKDRAW_CATEGORIES, choose
from trazo.data.imports import GALLERY, QUERIES, FeatureFile
from trazo.data.layouts import layouts
from trazo.errors import InputError
from trazo.provenance import LIBRARY
from trazo.reducers.contract import NONE, ReducerChoice, reducer_choice
from trazo.registry import unknown_name
from trazo.report.departures import caveat
from trazo.report.figures import figure_kinds
from trazo.retrieval.metrics import expand_metrics, metrics, validate_metric
from trazo.retrieval.rankers import EXACT, ranker_choice
from trazo.sizes import HeadChoice

# Relative to the folder of the run, so that a project that moved is not stale.
PUBLISHED = os.path.relpath(LIBRARY.parent / "published" / "published.csv")
DOODLES = "doodles"
IMPORTED = "imported"
# What compares packed bits.
HAMMING = "hamming"
_DOODLE_SPARE = 100


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
    head
        What made the features short already, None if nothing did.
    """

    origin: str
    retrieval: Retrieval
    queries: str
    gallery: str
    head: HeadChoice | None = None

    @property
    def distances(self) -> list[str]:
        """What it is searched by: of packed bits, their one distance."""
        return [HAMMING] if self.head is not None and self.head.binary else self.retrieval.distances


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
    modules
        Library modules that define objectives in use, but for the one that all are built on.
    uses_logits, uses_embeddings
        Whether a classifier is trained; whether the feature layer is looked at.
    smallest_batch
        Images a batch needs.
    smallest_class
        Images of every class that the data need, and those held out.
    smallest_photos
        Photos of every class that it needs beside sketches; None: it cannot learn from both together.
    needs_instances
        Whether it has to know which photo a sketch was drawn from.
    """

    objectives: list[str]
    samplings: list[str]
    uses_logits: bool
    uses_embeddings: bool
    smallest_batch: int
    smallest_class: tuple[int, int] = (1, 1)
    smallest_photos: int | None = 0
    needs_instances: bool = False
    modules: list[str] = field(default_factory=list)


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
        How many values (or bytes of bits) each model's feature has.
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
        for key in {"lists", "class_pattern", "rename", "instance", "stream"} - layout.keys:
            del settings[key]
        # Which branch images go through changes no pixel.
        del settings["domain"]
        return {**settings, "categories": self.categories(dataset)}

    def source_listing(self, dataset: str, split: str | None = None) -> str:
        """Return what tells that the files inside a source folder changed; empty where the inputs tell it.

        Of one split where the source gives them, or of all.
        """
        spec = self.study.datasets[dataset]
        if spec.source == DOODLES:
            return ""
        layout = layouts.get(spec.layout)
        if is_url(self._place(dataset)):
            return layout.distant_digest(spec, split)
        return layout.listing_digest(Path(self.source(dataset)), spec, split)

    def at_hand(self, dataset: str) -> bool:
        """Return whether a dataset's source can be looked at before the run: it is neither drawn nor downloaded."""
        return self.study.datasets[dataset].source != DOODLES and not is_url(self._place(dataset))

    def given_counts(self, dataset: str) -> dict[str, dict[str, int]] | None:
        """Return the items of each class by split, where the source gives the splits and is at hand."""
        spec = self.study.datasets[dataset]
        if not self.at_hand(dataset):
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
        named = [name.partition(":")[0] for name in learning.objectives]
        return {
            **dict.fromkeys(("trazo.training.objectives", *learning.modules), named),
            **self.parts_of_head(model),
            "trazo.training.sampling": learning.samplings,
            "trazo.training.augment": [name for name in self.stage(model, stage).augment if name != "fill"],
        }

    def objective_modules(self, model: str, stage: str) -> list[str]:
        """Return the library modules that define what a stage minimises, but for the one that all are built on."""
        return self.learning[model, stage].modules

    def parts_of_head(self, model: str) -> dict[str, list[str]]:
        """Return the head that a model's network is built with by name, by module."""
        head = self.study.models[model].head_choice
        return {"trazo.models.heads": [] if head is None else [head.name]}

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
        for written, each in zip(settings["stages"], spec.stages):
            # In whichever order they are written, sketches come first.
            for key, references in (("data", each.learned_from), ("validate_on", each.validated_on)):
                if len(references) > 1:
                    written[key] = self._sketches_first(references)
        # The layer that gives the feature matters to objectives that look at it; the typed model always wants one.
        return {**settings, "feature": spec.feature if self.learning[model, stage].uses_embeddings else ""}

    def architecture_module(self, model: str) -> str:
        """Return the library module that defines a model's architecture."""
        return self.modules[self.study.models[model].architecture]

    def training_images(self, model: str, stage: str) -> list[str]:
        """Return the paths of the images a stage learns from: of two, sketches first."""
        return [self.images(r) for r in self._sketches_first(self.stage(model, stage).learned_from)]

    def _sketches_first(self, references: list[str]) -> list[str]:
        return sorted(references, key=lambda r: self.study.datasets[r.partition("/")[0]].domain == "photo")

    def domains(self, model: str, stage: str, key: str) -> list[str | None]:
        """Return the domain of each of a stage's images, in their order; `key` is "data" or "validate_on".

        None where it changes nothing: the network has no branches, and no augmentation is of sketches alone.
        """
        spec = self.stage(model, stage)
        references = self._sketches_first(spec.learned_from if key == "data" else spec.validated_on)
        matters = self.study.models[model].branches or spec.augment
        return [self.study.datasets[r.partition("/")[0]].domain if matters else None for r in references]

    def domain(self, model: str, dataset: str) -> str | None:
        """Return the branch of a model that a dataset's images go through; None if the model has none."""
        return self.study.datasets[dataset].domain if self.study.models[model].branches else None

    def validation_images(self, model: str, stage: str) -> list[str]:
        """Return the paths of the images a stage is measured on after every epoch, if any."""
        return [self.images(r) for r in self._sketches_first(self.stage(model, stage).validated_on)]

    def previous_checkpoint(self, model: str, seed: int | str, stage: str) -> list[str]:
        """Return the path of the stage before `stage`, if any."""
        names = [s.name for s in self.study.models[model].stages]
        before = names[: names.index(stage)][-1:]
        return [f"{self.root}/models/{model}/seed{seed}/{name}/checkpoint.pt" for name in before]

    def starting_weights(self, model: str, seed: int | str, stage: str) -> list[str]:
        """Return the paths of the weights that a model's first stage starts from: of those in files, part by part."""
        spec = self.study.models[model]
        if stage != spec.stages[0].name:
            return []
        return [self._weights_path(start, seed) for start in spec.starts.values() if start != PRETRAINED]

    def _weights_path(self, start: str | OtherModel, seed: int | str) -> str:
        if isinstance(start, OtherModel):
            other = self.study.stage_of(start.model, start.stage)
            return f"{self.root}/models/{start.model}/seed{seed}/{other.name}/checkpoint.pt"
        return weights_file(start, self.settings)

    def histories(self) -> list[str]:
        """Return the paths of all training histories."""
        return [
            f"{self.root}/models/{model}/seed{seed}/{stage.name}/history.json"
            for model, spec in self.study.models.items()
            for seed in self.study.seeds
            for stage in spec.stages
        ]

    def learned_data(self) -> dict[str, dict[str, str]]:
        """Return what metrics call the data that every stage learns from, by model and stage."""
        return {name: {s.name: s.data_label for s in model.stages} for name, model in self.study.models.items()}

    def imported_files(self, name: str) -> dict[str, list[str]]:
        """Return the files that imported features are read from: "source", and "queries" if they have one apart."""
        return imported_files(self.study, self.settings, name, f"study {self.name}")

    def _trained(self) -> Iterator[tuple[Trained, Retrieval]]:
        for retrieval in self.study.retrievals:
            for point in self._points(retrieval):
                yield point, retrieval

    def _points(self, of: Retrieval | EmbeddingMap) -> Iterator[Trained]:
        for model in of.models:
            for stage in self.study.stages_of(of, model):
                for epoch in self.study.epochs_of(of, stage):
                    for seed in self.study.seeds:
                        yield Trained(model, seed, stage.name, epoch)

    def searches(self) -> Iterator[Search]:
        """Yield every retrieval by every method."""
        for point, retrieval in self._trained():
            sides = [
                f"{self.root}/features/{point.folder}/{side}.h5" for side in (retrieval.queries, retrieval.gallery)
            ]
            yield Search(point.folder, retrieval, *sides, self.study.models[point.model].head_choice)
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
            if self._learned_classes(point, retrieval.queries)
        )

    def _learned_classes(self, point: Trained, reference: str) -> bool:
        # Of that stage: the classifier of another one may be of other classes.
        learned = self.stage(point.model, point.stage).learned_from
        return reference.partition("/")[0] in {r.partition("/")[0] for r in learned}

    def classifications(self) -> list[str]:
        """Return the paths of the classification metrics, of stages that train a classifier."""
        return _distinct(
            f"{self.root}/classification/{point.folder}/{retrieval.queries}.csv"
            for point, retrieval in self._trained()
            if self._learned_classes(point, retrieval.queries) and self._classifies(point)
        )

    def classified_splits(self) -> dict[str, list[str]]:
        """Return by model the splits (`<dataset>/<split>`) on which its classifier's predictions are kept."""
        found: dict[str, list[str]] = {}
        for point, retrieval in self._trained():
            if self._learned_classes(point, retrieval.queries) and self._classifies(point):
                found.setdefault(point.model, []).append(retrieval.queries)
        return {model: _distinct(splits) for model, splits in found.items()}

    def _classifies(self, point: Trained) -> bool:
        # A model that only the study's full form has was not looked at; what is lost is a check, no artifact.
        learning = self.learning.get((point.model, point.stage))
        return learning is None or learning.uses_logits

    @cached_property
    def _searches(self) -> dict[tuple[str, str], Search]:
        return {(search.origin, search.retrieval.label): search for search in self.searches()}

    @cached_property
    def _retrievals(self) -> dict[str, Retrieval]:
        return {retrieval.label: retrieval for retrieval in self.study.retrievals}

    @cached_property
    def _batches(self) -> dict[str, dict[str, dict[str, Written]]]:
        """By retrieval and by what paths call a batch: reducers by what paths call them; `none` left out."""
        return {
            retrieval.label: {b.label: b.reducers for b in retrieval.batches if list(b.reducers) != [NONE]}
            for retrieval in self.study.retrievals
        }

    @cached_property
    def _codes(self) -> list[str]:
        return [
            f"{self.root}/codes/{origin}/{retrieval}/{batch}/{part}.h5"
            for (origin, retrieval), search in self._searches.items()
            if search.head is None
            for batch in self._batches[retrieval]
            for part in search.retrieval.parts
        ]

    def codes(self) -> list[str]:
        """Return the paths of all reduced features: of every search by features, a file a batch and fold."""
        return list(self._codes)

    def batch(self, retrieval: str, label: str) -> dict[str, Written]:
        """Return the reducers of a batch of a retrieval as the study has them, by what paths call them."""
        return self._batches[retrieval][label]

    def folds(self, retrieval: str, part: str) -> int:
        """Return into how many folds the gallery of a retrieval falls for what paths call a part; 0: for the whole."""
        return 0 if part == WHOLE else self._retrievals[retrieval].folds

    def fold(self, part: str) -> int:
        """Return the number of a fold from what paths call it; 0: the whole gallery."""
        return 0 if part == WHOLE else int(part.removeprefix("fold"))

    def reducer_module(self, retrieval: str, label: str) -> str:
        """Return the library module that defines the reducers of a batch of a retrieval."""
        return reducer_choice(next(iter(self.batch(retrieval, label).values()))).kind.__module__

    def reducing_gpus(self, retrieval: str, label: str) -> int:
        """Return the GPUs of a job that fits a batch: one if a reducer has an option `device` that allows it."""
        choices = [reducer_choice(written) for written in self.batch(retrieval, label).values()]
        return int(any(getattr(choice.options, "device", "cpu") != "cpu" for choice in choices))

    @cached_property
    def _rankings(self) -> dict[str, list[str]]:
        """By retrieval, the paths of its rankings."""
        found: dict[str, list[str]] = {label: [] for label in self._retrievals}
        for (origin, label), search in self._searches.items():
            # A head made codes already: nothing reduces them further.
            reducers = search.retrieval.reducer_labels if search.head is None else [NONE]
            found[label] += [
                f"{self.root}/rankings/{origin}/{label}/{reducer}/{distance}/{ranker}.h5"
                for reducer in reducers
                for distance in search.distances
                for ranker in search.retrieval.ranker_labels
            ]
        return found

    @cached_property
    def _costed(self) -> list[tuple[Search, str]]:
        """Searches whose cost is measured, with every batch of their reducers; `none` of the features as they are."""
        found = []
        for (_, label), search in self._searches.items():
            if search.retrieval.cost:
                fitted = self._batches[label] if search.head is None else []
                plain = search.head is not None or NONE in search.retrieval.reducer_labels
                found += [(search, batch) for batch in ([NONE] * plain + [*fitted])]
        return found

    def costs(self, kind: str) -> list[str]:
        """Return the paths of what searching costs; `kind` is "sizes" or "times"."""
        return [
            f"{self.root}/costs/{search.origin}/{search.retrieval.label}/{batch}/{kind}.csv"
            for search, batch in self._costed
        ]

    def costed_inputs(self, wildcards: Any) -> dict[str, str | list[str]]:
        """Return what a cost is measured of: features, and of a batch the codes and reducers of the whole gallery."""
        search, label = self._search(wildcards), wildcards.retrieval
        features: dict[str, str | list[str]] = {"queries": search.queries, "gallery": search.gallery}
        if wildcards.batch == NONE:
            return features
        # Where folds are searched too: who searches a gallery fits on all of it.
        whole = f"{self.root}/codes/{wildcards.origin}/{label}/{wildcards.batch}/{WHOLE}"
        return {**features, "codes": f"{whole}.h5", "fitted": whole}

    def costed_reducers(self, wildcards: Any) -> list[str]:
        """Return the reducers of a batch whose cost is measured, as paths call them; none: the features as they are."""
        return [] if wildcards.batch == NONE else list(self.batch(wildcards.retrieval, wildcards.batch))

    def costed_distances(self, wildcards: Any) -> list[str]:
        """Return the distances by which the cost of a search is measured."""
        return self._search(wildcards).distances

    def costed_modules(self, wildcards: Any) -> list[str]:
        """Return the library modules that define the reducers of a batch."""
        return [] if wildcards.batch == NONE else [self.reducer_module(wildcards.retrieval, wildcards.batch)]

    def parts_of_cost(self, wildcards: Any) -> dict[str, list[str]]:
        """Return the parts that measuring a cost loads by name, by module."""
        return {"trazo.retrieval.distances": self.costed_distances(wildcards)}

    def searched_by(self, retrieval: Retrieval) -> list[str]:
        """Return the distances that a retrieval is searched by, those of packed bits among them."""
        mine = [search for search in self._searches.values() if search.retrieval.label == retrieval.label]
        return _distinct(distance for search in mine for distance in search.distances)

    def rankings(self) -> list[str]:
        """Return the paths of all rankings."""
        return [path for paths in self._rankings.values() for path in paths]

    def ranking_threads(self, cores: int) -> int:
        """Return the threads of a ranking: many run side by side, a few share the cores. Results are the same."""
        return max(1, cores // max(1, sum(map(len, self._rankings.values()))))

    def ranking_metrics(self) -> list[str]:
        """Return the paths of the metrics of all rankings."""
        return [path.removesuffix(".h5") + ".csv" for path in self.rankings()]

    def rivals_of_exact(self) -> list[str]:
        """Return the rankings of retrievals that the exact ranker and others search alike."""
        return [path for r in self.study.retrievals if _has_rivals(r) for path in self._rankings[r.label]]

    def agreements(self) -> list[str]:
        """Return the path of the comparison of rankers with the exact one, none where there is nothing to compare."""
        return [f"{self.root}/agreement.csv"] if self.rivals_of_exact() else []

    def retrieval(self, label: str) -> dict[str, Any]:
        """Return the settings of a retrieval by its label, as plain values, what is not its ranking's left out."""
        found = next(r for r in self.study.retrievals if r.label == label)
        left_out = {"models", "features", "stage", "epochs", "distances", "rankers", "rerank", "reducers", "name"}
        left_out |= {"cost"}
        settings = found.model_dump(mode="json", exclude=left_out)
        return {**settings, "metrics": expand_metrics(found.metrics)}

    def ranker(self, retrieval: str, label: str) -> dict[str, Any]:
        """Return a ranker of a retrieval by its label: as the study has it, and how it is re-ranked."""
        found = next(r for r in self.study.retrievals if r.label == retrieval)
        written, rerank = dict(_ways(found))[label]
        return {"ranker": written, "rerank": rerank}

    def searched_features(self, wildcards: Any, side: str) -> str:
        """Return the path of the features on one side ("queries" or "gallery") of a retrieval."""
        return getattr(self._search(wildcards), side)

    def searched_codes(self, wildcards: Any) -> list[str]:
        """Return the paths of the codes that a ranking searches, a file a fold; none where it searches features."""
        if wildcards.reducer == NONE:
            return []
        label = wildcards.retrieval
        batch = next(name for name, held in self._batches[label].items() if wildcards.reducer in held)
        folder = f"{self.root}/codes/{wildcards.origin}/{label}/{batch}"
        return [f"{folder}/{part}.h5" for part in self._retrievals[label].parts]

    def _search(self, wildcards: Any) -> Search:
        return self._searches[wildcards.origin, wildcards.retrieval]

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

    def caveat(self, table: str) -> str:
        """Return in a sentence or two how what a table shows differs from the published set-up, if it does."""
        named = self.study.tables[table].where.get("model")
        return caveat(self.study, self.original, self.settings, models=[named] if isinstance(named, str) else named)

    def departures(self) -> dict[str, str]:
        """Return how every model's set-up differs from the published one, as `caveat`; models that do not left out."""
        told = {name: caveat(self.study, self.original, self.settings, models=[name]) for name in self.study.models}
        return {name: words for name, words in told.items() if words}

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

    def plots(self) -> list[str]:
        """Return the paths of all figures as plots that answer when pointed at."""
        return [f"{self.root}/figures/{name}.json" for name in self.study.figures]

    def artifacts(self) -> list[str]:
        """Return the paths of all artifacts that carry a record of how they were made."""
        stages = [stage for model in self.study.models.values() for stage in model.stages]
        learned = {self.images(reference) for stage in stages for reference in stage.learned_from}
        images = [*sorted(learned), *self.query_images(), *self.map_images()]
        features = [*self.features(), *(m.features for m in self.mappings())]
        return _distinct([*images, *self.histories(), *features, *self.codes(), *self.rankings(), *self.maps()])


def ranker_labels(retrieval: Retrieval, distances: Sequence[str] = ()) -> dict[str, tuple[Any, str]]:
    """Return the rankers of a retrieval, as the study has them, and how they are re-ranked, by what paths call them.

    Parameters
    ----------
    retrieval
        The retrieval.
    distances
        What it is searched by, if that is not all what the study says: packed bits have one distance.

    Raises
    ------
    InputError
        If one is unknown or cannot search by the distances or for any of the retrieval's metrics, or is named twice.
    """
    found: dict[str, tuple[Any, str]] = {}
    for label, (written, rerank) in _ways(retrieval):
        choice = ranker_choice(written)
        if label in found:
            raise InputError(f"{label} is listed twice.")
        found[label] = written, rerank
        if choice.kind.whole:
            continue
        wrong = [distance for distance in distances or retrieval.distances if distance not in choice.kind.distances]
        if wrong:
            raise InputError(f"{choice.name} does not search by {wrong[0]}, but by {', '.join(choice.kind.distances)}.")
        if not any(validate_metric(name).cutoff for name in expand_metrics(retrieval.metrics)):
            raise InputError(
                f"{choice.name} returns the nearest items only, and {', '.join(retrieval.metrics)} need the whole "
                "ranking; add metrics with a k, such as p@10 or recall@10."
            )
    return found


def _ways(retrieval: Retrieval) -> Iterator[tuple[str, tuple[Any, str]]]:
    """Yield the rankers of a retrieval by what paths call them, as written and how they are re-ranked."""
    ways = [(written, rerank) for rerank in retrieval.rerank for written in retrieval.rankers]
    yield from zip(retrieval.ranker_labels, ways, strict=True)


def _has_rivals(retrieval: Retrieval) -> bool:
    """Return whether the exact ranker and others search by the same features."""
    names = [ranker_choice(written).name for written in retrieval.rankers]
    return EXACT in names and len(names) > 1


def reducer_labels(retrieval: Retrieval) -> dict[str, ReducerChoice | None]:
    """Return the reducers of a retrieval by what paths call them; None for the features as they are.

    Raises
    ------
    InputError
        If one is unknown or has wrong options, or an entry says nothing that others do not.
    """
    found: dict[str, ReducerChoice | None] = {}
    batches: set[str] = set()
    for written, batch in zip(retrieval.reducers, retrieval.batches, strict=True):
        if not batch.reducers:
            raise InputError(f"{', '.join(reducer_batch(written).reducers)} is listed twice.")
        if batch.label in batches:
            raise InputError(
                f"two entries are called {batch.label}: they differ in listed values alone; join these in one list."
            )
        batches.add(batch.label)
        for label, single in batch.reducers.items():
            choice = reducer_choice(single)
            for other, taken in found.items():
                if choice and taken and (taken.name, taken.options) == (choice.name, choice.options):
                    raise InputError(f"{label} is listed twice, the other time as {other}.")
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
