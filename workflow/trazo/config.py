"""The typed configuration: `config.yaml`, and the studies it names.

Everything is checked here before anything runs, and a mistake is one sentence that names the key and the
choices. What only a network can tell (its feature layers, its smallest input) is checked in `trazo.planning`.
"""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from trazo.bounded_yaml import load_yaml
from trazo.errors import InputError
from trazo.families import expanded
from trazo.registry import nearest_names, unknown_name
from trazo.sizes import CODE, HeadChoice

STUDIES = Path(__file__).resolve().parents[1] / "studies"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
# File systems take 255 bytes; a name has endings behind it, and others beside it.
_LONGEST_NAME = 100
# Of a value that cannot be used, a message shows so many characters.
_MOST_SHOWN = 200
_SPLIT_PATTERN = "<dataset>/<split>"
# The value of `weights` that stands for what the architecture's own library publishes.
PRETRAINED = "pretrained"
# Of retrievals and maps; no stage can be called so.
ALL_STAGES = "all"
# What paths call a gallery that is searched at once, where others have folds.
WHOLE = "whole"
# Folders of results/ that belong to no study.
_TAKEN = {"sources", "reference"}


class ConfigError(InputError):
    """A configuration that cannot be run; the message names the key, what was got and the choices."""


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} cannot be part of a path; use letters, digits, '.', '_', '+' and '-', "
            "beginning with a letter or digit"
        )
    if len(value) > _LONGEST_NAME:
        raise ValueError(
            f"the name {value[:20]}… has {len(value)} characters, and files are called by it; use at most "
            f"{_LONGEST_NAME}"
        )
    return value


def _one_group(pattern: str, group: str) -> str:
    """Return a regular expression if it has one group; `group` says what that is, with an example."""
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression ({error})") from error
    if groups != 1:
        raise ValueError(f"{pattern!r} has {groups} groups; put parentheses around {group}")
    return pattern


Name = Annotated[str, Field(min_length=1, max_length=80)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class RandomCategories(_Strict):
    """A draw of categories out of those available."""

    random: int = Field(ge=1, description="how many categories to draw")
    seed: int = Field(0, ge=0, description="seed of the draw")


class Raster(_Strict):
    """How strokes become pixels."""

    canvas: int = Field(256, ge=16, le=4096, description="side of the square canvas that is drawn on")
    thickness: int = Field(3, ge=1, le=64, description="pen width on the canvas, in pixels")
    centre: bool = Field(False, description="move the drawing's bounding box to the canvas' centre")
    margin: int = Field(0, ge=0, description="pixels of the canvas kept free on every side; scales to fit")
    keep_aspect: bool = Field(True, description="false: stretch every drawing to fill the canvas")


class Dataset(_Strict):
    """Where items come from, and how they are split and drawn."""

    source: str = Field("doodles", description="a name in `sources`, or `doodles`: drawings made on the spot")
    layout: str = Field(
        "quickdraw",
        description="how the source is laid out: `quickdraw` (.bin, .ndjson), `folders` (`<class>/<image>`), "
        "`split_folders` (`<split>/<class>/<image>`), `named` (images whose names say their class), `listed` (images, "
        "and a list of names for each split) or `ground_truth` (the same, each line with its class before the name)",
    )
    folder: str = Field("", description="of images: the folder inside the source that holds the classes, or the splits")
    lists: dict[str, str] = Field(
        default_factory=dict,
        description="`listed`: each split's list, a file in the source or on disk: one image a line, behind a blank or "
        "comma its class, where that is not what the name says; `ground_truth`: its class before the name",
    )
    class_pattern: str = Field(
        "([^/]+)_[^/_]*$",
        description="`named`, `listed`: the class in an image's name, as the one group of a regular expression; unless "
        "changed, the file's name before its last underscore",
    )
    rename: dict[str, str] = Field(
        default_factory=dict,
        description="of images: what classes are called here, by what the source calls them (`{alarm_clock: alarm "
        "clock}`); `categories` has the names used here",
    )
    domain: Literal["sketch", "photo"] | None = Field(None, description="what the images are, for networks of two")
    instance: str | None = Field(
        None,
        description="of images: the very object, as the one group of a regular expression that fits all of a file's "
        "name without its ending (`(.+)-\\d+`); images of one class and one group show one object",
    )
    categories: list[str] | RandomCategories | None = Field(
        None, description="class names in label order, or `{random: n, seed: s}`; all of them if left out"
    )
    split: dict[str, int | Literal["rest", "all"]] = Field(
        description="items per class and split, disjoint, in this order; `rest`: all that remain; `all`: all that the "
        "source itself gives the split (`split_folders`, `listed`)"
    )
    size: int = Field(128, ge=8, le=1024, description="side of the square images, in pixels")
    channels: Literal[1, 3] = Field(1, description="1: grey, 3: colour")
    stream: bool = Field(
        False,
        description="of images: no pixels are kept; files are decoded each time they are needed, for sets too large to "
        "be held in memory",
    )
    recognized_only: bool = Field(False, description="`quickdraw`: only drawings the game recognised")
    seed: int = Field(0, ge=0, description="seed of the split")
    raster: Raster = Field(default_factory=Raster, description="`quickdraw`: how strokes become pixels")
    stands_for: str = Field("", description="what the original study used, where this is a stand-in")

    @field_validator("split", mode="before")
    @classmethod
    def _shares(cls, split: Any) -> Any:
        for name, count in split.items() if isinstance(split, Mapping) else ():
            if isinstance(count, str) and count not in ("rest", "all") and not count.isdigit():
                raise ValueError(f"split {name!r} is {count!r}; expected a number of items a class, `rest` or `all`")
        return split

    @field_validator("split")
    @classmethod
    def _split(cls, split: dict[str, Any]) -> dict[str, Any]:
        if not split:
            raise ValueError("a dataset needs at least one split, such as {train: 100, test: 20}")
        for name, count in split.items():
            _name(name)
            if isinstance(count, int) and count < 1:
                raise ValueError(f"split {name!r} asks for {count} items a class; expected 1 or more")
        if sum(count == "rest" for count in split.values()) > 1:
            raise ValueError("only one split can take the `rest`")
        return split

    @field_validator("categories")
    @classmethod
    def _categories(cls, categories: Any) -> Any:
        if isinstance(categories, list):
            if not categories:
                raise ValueError("an empty list of categories; leave the key out for all of them")
            twice = sorted({c for c in categories if categories.count(c) > 1})
            if twice:
                raise ValueError(f"categories listed twice: {', '.join(twice)}")
        return categories

    @field_validator("class_pattern")
    @classmethod
    def _class_pattern(cls, pattern: str) -> str:
        return _one_group(pattern, "the class, such as '^([^_]+)_'")

    @field_validator("instance")
    @classmethod
    def _instance(cls, pattern: str | None) -> str | None:
        return None if pattern is None else _one_group(pattern, r"what names the object, such as '(.+)-\d+'")

    @field_validator("rename")
    @classmethod
    def _rename(cls, names: dict[str, str]) -> dict[str, str]:
        for folder, name in names.items():
            if not name or name != name.strip() or "/" in name or not name.isprintable():
                raise ValueError(
                    f"{folder!r} becomes {name!r}, which is no name of a class; expected text without '/', beginning "
                    "and ending with no blank"
                )
            others = [other for other in names if names[other] == name and other != folder]
            if others:
                raise ValueError(
                    f"{folder!r} and {others[0]!r} both become {name!r}; expected a name of its own for each"
                )
        return names

    @model_validator(mode="after")
    def _margin(self) -> Dataset:
        if 2 * self.raster.margin >= self.raster.canvas:
            raise ValueError(f"raster margin {self.raster.margin} leaves nothing of a canvas of {self.raster.canvas}")
        return self


class ImportedFeatures(_Strict):
    """Features made elsewhere, in a file."""

    source: str = Field(description="an HDF5 or NPZ file: a name in `sources`, or a path")
    queries: str = Field("", description="a second such file, whose items are the queries")


class SGD(_Strict):
    """Stochastic gradient descent, as `torch.optim.SGD`."""

    lr: float = Field(gt=0, description="learning rate")
    momentum: float = Field(0.0, ge=0, lt=1, description="momentum")
    nesterov: bool = Field(False, description="Nesterov's form of momentum")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty")

    @model_validator(mode="after")
    def _nesterov(self) -> SGD:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class Adam(_Strict):
    """Adam, as `torch.optim.Adam`."""

    lr: float = Field(0.001, gt=0, description="learning rate")
    betas: tuple[float, float] = Field((0.9, 0.999), description="decay of the two moments")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty")


class Optimizer(_Strict):
    """Exactly one optimiser with its settings."""

    sgd: SGD | None = Field(None, description="stochastic gradient descent")
    adam: Adam | None = Field(None, description="Adam")

    @model_validator(mode="after")
    def _one(self) -> Optimizer:
        if (self.sgd is None) == (self.adam is None):
            raise ValueError("name exactly one optimizer, such as {sgd: {lr: 0.01}} or {adam: {lr: 0.001}}")
        return self

    @property
    def chosen(self) -> tuple[str, SGD | Adam]:
        """The optimiser's name and settings."""
        return ("sgd", self.sgd) if self.sgd is not None else ("adam", self.adam)


class StepRate(_Strict):
    """The learning rate is multiplied by `factor` after every so many epochs, as `torch.optim.lr_scheduler.StepLR`."""

    every: int = Field(ge=1, description="epochs at one rate")
    factor: float = Field(0.1, gt=0, le=1, description="what the rate is multiplied by then")

    def share(self, epoch: int, epochs: int) -> float:
        """As `RateSchedule.share`."""
        return self.factor ** ((epoch - 1) // self.every)


class CosineRate(_Strict):
    """The learning rate falls along half a cosine, as `torch.optim.lr_scheduler.CosineAnnealingLR` over all epochs.

    I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, without restarts. The
    first epoch has the whole rate; the end of the curve is reached after the last one.
    """

    end: float = Field(0.0, ge=0, le=1, description="where the curve ends, as a share of the optimizer's rate")

    def share(self, epoch: int, epochs: int) -> float:
        """As `RateSchedule.share`."""
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * (epoch - 1) / epochs)) / 2


class RateSchedule(_Strict):
    """Exactly one way in which the learning rate changes, with its settings."""

    step: StepRate | None = Field(None, description="times a factor every so many epochs: `{every: 8, factor: 0.1}`")
    cosine: CosineRate | None = Field(None, description="down along half a cosine: `{}`")

    @model_validator(mode="after")
    def _one(self) -> RateSchedule:
        if (self.step is None) == (self.cosine is None):
            raise ValueError("name exactly one schedule, such as {step: {every: 8, factor: 0.1}} or {cosine: {}}")
        return self

    def share(self, epoch: int, epochs: int) -> float:
        """Return what the optimizer's learning rate is multiplied by in epoch 1 … `epochs`.

        It depends on nothing else, so that an interrupted training goes on with the rate it would have had.
        """
        return (self.step or self.cosine).share(epoch, epochs)


class Stage(_Strict):
    """One training stage of a model."""

    name: Name = Field(description="the stage's name; part of its outputs' paths")
    data: str | list[str] = Field(
        description=f"what it learns from, as `{_SPLIT_PATTERN}`; of a model with `branches` two of them, sketches and "
        "photos",
    )
    validate_on: str | list[str] | None = Field(None, description="measured after every epoch: as `data`")
    objective: str | dict[str, dict[str, Any] | None] = Field(
        "cross_entropy",
        description="what is minimised: a name, or {name: options}; of several, the sum, each times its `weight` (1)",
    )
    epochs: int = Field(
        ge=0,
        le=100_000,
        description="passes over the data; 0: the network as it starts. With `iterations`, how many parts they have",
    )
    iterations: int | None = Field(
        None, ge=1, description="optimiser steps altogether, cut into `epochs` equal parts; passes run on across parts"
    )
    batch_size: int = Field(128, ge=1, description="items a step")
    optimizer: Optimizer = Field(description="one optimiser with its settings")
    schedule: RateSchedule | None = Field(
        None, description="how the learning rate changes from epoch to epoch; it stays if left out"
    )
    checkpoints: list[int] = Field(
        default_factory=list, description="epochs whose weights are kept besides the last (0: before training)"
    )
    augment: dict[str, Any] = Field(
        default_factory=dict,
        description="how images are changed while it trains: {name: strength or options}, as {flip: 0.5, rotate: 10}",
    )
    renew_statistics: int = Field(
        0,
        ge=0,
        description="batches by which batch normalisation is measured anew, not augmented, before weights are measured "
        "or kept; 0: running averages",
    )
    train_sample: int = Field(
        0, ge=0, description="images of `data`, even over its classes, on which kept weights are measured too; 0: none"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the device computes it fast, else float32"
    )

    @field_validator("name")
    @classmethod
    def _path_name(cls, value: str) -> str:
        return _name(value)

    @field_validator("data", "validate_on")
    @classmethod
    def _one_or_two(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        if len(value) not in (1, 2) or len(set(value)) < len(value):
            raise ValueError(f"got {value}; expected one data set, or two different ones: sketches and photos")
        return value[0] if len(value) == 1 else value

    @field_validator("augment")
    @classmethod
    def _same_in_any_order(cls, augment: dict[str, Any]) -> dict[str, Any]:
        # They are applied in an order of their own.
        return {name: augment[name] for name in sorted(augment)}

    @field_validator("objective")
    @classmethod
    def _one_order(cls, objective: Any) -> Any:
        # The same objectives in another order are the same training.
        return {name: objective[name] or {} for name in sorted(objective)} if isinstance(objective, dict) else objective

    @model_validator(mode="after")
    def _epochs(self) -> Stage:
        beyond = [epoch for epoch in self.checkpoints if not 0 <= epoch <= self.epochs]
        if beyond:
            raise ValueError(f"checkpoints {beyond} are no epochs of the stage; expected 0 to {self.epochs}")
        if self.iterations is not None and not 1 <= self.epochs <= self.iterations:
            raise ValueError(
                f"{self.iterations} iterations cannot be cut into {self.epochs} epochs; choose from 1 to "
                f"{self.iterations} of them"
            )
        return self

    @property
    def learned_from(self) -> list[str]:
        """The one or two `<dataset>/<split>` that it learns from."""
        return [self.data] if isinstance(self.data, str) else self.data

    @property
    def validated_on(self) -> list[str]:
        """The one or two `<dataset>/<split>` that it is measured on, none if it is not."""
        return [self.validate_on] if isinstance(self.validate_on, str) else self.validate_on or []

    @property
    def data_label(self) -> str:
        """What `metrics.csv` calls what it learns from."""
        return "+".join(self.learned_from).replace("/", "-")

    @property
    def kept_epochs(self) -> list[int]:
        """The epochs whose weights are kept, sorted."""
        return sorted({*self.checkpoints, self.epochs})


class OtherModel(_Strict):
    """A checkpoint of another model of the study, of the same seed."""

    model: str = Field(description="the model")
    stage: str | None = Field(None, description="its training stage; the last if left out")
    epoch: int | None = Field(None, ge=0, description="one of the stage's checkpoints; the last if left out")


class Branches(_Strict):
    """Sketches and photos go through layers of their own first, and then through the same ones."""

    shared_from: str = Field(
        description="the first layer that both share; those before it exist twice. The network's first: all are shared"
    )


class BranchWeights(_Strict):
    """Where each part of a network with branches starts; left out: drawn from the seed."""

    sketch: str | OtherModel | None = Field(None, description="the sketches' own layers, as `weights` of a model")
    photo: str | OtherModel | None = Field(None, description="the photos' own layers")
    shared: str | OtherModel | None = Field(None, description="the layers that both share")

    @model_validator(mode="after")
    def _some(self) -> BranchWeights:
        if self.sketch is None and self.photo is None and self.shared is None:
            raise ValueError("say where at least one of sketch, photo and shared starts, or leave `weights` out")
        return self


class Model(_Strict):
    """A network, the layer that gives its features, and the stages that train it."""

    architecture: str = Field(description="name of the architecture; `timm:<name>`: any of timm's")
    options: dict[str, Any] = Field(default_factory=dict, description="the architecture's own options")
    channels: Literal[1, 3] = Field(3, description="input channels; a grey image is repeated to 3")
    size: int | None = Field(
        None, ge=8, le=1024, description="side of the network's input, images being resized; the data's if left out"
    )
    feature: str = Field(
        description="layer whose output is the feature; of a model with `head` it is `code`, which can be left out"
    )
    head: str | dict[str, dict[str, Any] | None] | None = Field(
        None,
        description="a layer `code` before the classifier that makes the features short: `{crs: {size: 64}}` (floats), "
        "`{cbs: {bits: 128}}`, `dsh` or `dtsh` (packed bits); of a list of sizes, a model each, `<name>-<size>`",
    )
    branches: Branches | None = Field(
        None, description="a network of two branches, for datasets with a `domain`; one of one branch if left out"
    )
    weights: str | OtherModel | BranchWeights | None = Field(
        None,
        description="where the first stage starts: `pretrained` (what torchvision or timm publish), a file of theirs "
        "or a checkpoint (a name in `sources`, or a path), or `{model: other}`; with `branches` also one of these for "
        "each of `sketch`, `photo` and `shared`; drawn from the seed if left out",
    )
    normalise: Literal["none", "imagenet"] = Field(
        "none", description="`imagenet`: colours by their mean and deviation there, as pretrained weights expect"
    )
    mean_image: bool = Field(
        default_factory=lambda given: given.get("normalise", "none") == "none",
        description="subtract the mean image of the first stage's data; not together with `normalise`",
    )
    stages: list[Stage] = Field(min_length=1, description="training stages, in order")

    @model_validator(mode="before")
    @classmethod
    def _code_is_the_feature(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("head") is not None and not given.get("feature"):
            return {**given, "feature": CODE}
        return given

    @field_validator("head")
    @classmethod
    def _head(cls, written: Any) -> Any:
        if written is not None:
            _head_choice(written)
        return written

    @model_validator(mode="after")
    def _feature(self) -> Model:
        if self.head is not None and self.feature != CODE:
            raise ValueError(
                f"feature: {self.feature} is not what the head gives; of a model with `head` it is {CODE}: leave one "
                "of the two keys out"
            )
        return self

    @field_validator("weights", mode="before")
    @classmethod
    def _one_of_two(cls, weights: Any) -> Any:
        # Told apart by hand, so that a misspelt key is named with the choices there are.
        if not isinstance(weights, Mapping):
            return weights
        whole = set(weights) & set(OtherModel.model_fields)
        return (OtherModel if whole else BranchWeights).model_validate(dict(weights))

    @field_validator("weights")
    @classmethod
    def _weights(cls, weights: str | OtherModel | BranchWeights | None) -> str | OtherModel | BranchWeights | None:
        for start in _starts(weights).values():
            if isinstance(start, str) and start.strip().lower() in {"", "none", "random"}:
                raise ValueError(f"{start!r} is no place; leave `weights` out to draw them from the seed")
        return weights

    @model_validator(mode="after")
    def _images(self) -> Model:
        if self.normalise != "none" and self.mean_image:
            raise ValueError(f"normalise: {self.normalise} takes the place of the mean image; leave `mean_image` out")
        if self.normalise != "none" and self.channels != 3:
            raise ValueError(f"normalise: {self.normalise} is of 3 colours; set channels: 3 (a grey image is repeated)")
        if PRETRAINED in self.starts.values() and self.channels != 3:
            raise ValueError("weights: pretrained are of 3 colours; set channels: 3 (a grey image is repeated)")
        return self

    @model_validator(mode="after")
    def _branches(self) -> Model:
        if isinstance(self.weights, BranchWeights) and self.branches is None:
            raise ValueError("weights of sketch, photo and shared are for a model with `branches`; give it some")
        for stage in self.stages:
            for key, references in (("data", stage.learned_from), ("validate_on", stage.validated_on)):
                if len(references) > 1 and self.branches is None:
                    raise ValueError(
                        f"stages.{stage.name}.{key}: two data sets are for a model with `branches` (one for sketches, "
                        "one for photos); give it some, or one data set"
                    )
        return self

    @property
    def head_choice(self) -> HeadChoice | None:
        """What its head makes of features, None if it has none."""
        return None if self.head is None else _head_choice(self.head)

    @property
    def starts(self) -> dict[str, str | OtherModel]:
        """Where the first stage starts, by part: sketch, photo and shared, or "" of the whole; drawn ones left out."""
        return _starts(self.weights)

    @field_validator("stages")
    @classmethod
    def _stages(cls, stages: list[Stage]) -> list[Stage]:
        names = [stage.name for stage in stages]
        if len(set(names)) < len(names) or ALL_STAGES in names:
            raise ValueError(f"stage names must differ, and none be {ALL_STAGES!r}; got {names}")
        return stages


def _head_choice(written: Any) -> HeadChoice:
    # By name, as reducers are: whoever reads a study does not depend on how heads work, and a new one is stale nowhere.
    return import_module("trazo.models.heads").head_choice(written)


def _starts(weights: str | OtherModel | BranchWeights | None) -> dict[str, str | OtherModel]:
    parts = dict(weights) if isinstance(weights, BranchWeights) else {"": weights}
    return {part: start for part, start in parts.items() if start is not None}


_CHECKPOINT = re.compile(r"results/([^/]+)/models/([^/]+)/seed(\d+)/([^/]+)/checkpoint\.pt")


@dataclass(frozen=True)
class MadeBy:
    """The training whose checkpoint lies at a path."""

    study: str
    model: str
    seed: int
    stage: str


def made_by(path: str) -> MadeBy | None:
    """Return what training of the workflow writes to a path, None if none does."""
    found = _CHECKPOINT.fullmatch(path)
    return MadeBy(found[1], found[2], int(found[3]), found[4]) if found else None


# A ranker or reducer as a study has it: a name, or {name: options}.
Written = str | Mapping[str, Mapping[str, Any] | None]


def part_label(written: Written, *, without: str = "") -> str:
    """Return what paths and tables call a ranker or reducer: its name, and the options given ("faiss_ivf-lists64").

    A switch is called by its name ("pca-size32-whiten", "pca-no-whiten"); the option `without` is left out.
    """
    if isinstance(written, str):
        return written
    return "-".join(
        "-".join([name, *(_option_label(k, v) for k, v in (given or {}).items() if k != without)])
        for name, given in written.items()
    )


def _option_label(option: str, value: Any) -> str:
    if isinstance(value, bool):
        return option if value else f"no-{option}"
    return f"{option}{'x'.join(map(str, value)) if isinstance(value, list) else value}"


@dataclass(frozen=True)
class ReducerBatch:
    """An entry of a retrieval's `reducers`: what one job fits, in every fold.

    Attributes
    ----------
    label
        What paths call it: options that have a list of values by their name alone ("pca+size",
        "umap-size16+n_neighbors+min_dist"); an entry without lists is called as its reducer.
    reducers
        By what paths call them, every combination of the values, in the order written.
    """

    label: str
    reducers: dict[str, Written]


def reducer_batch(written: Written) -> ReducerBatch:
    """Return an entry of `reducers` with every option that has a list of values spread out.

    Raises
    ------
    InputError
        If a list is empty, or names a value twice.
    """
    name, given = next(iter(written.items()), ("", {})) if isinstance(written, Mapping) else (written, {})
    given = given or {}
    listed = [option for option, value in given.items() if isinstance(value, list)]
    # What is no single name with its options is refused where names are looked up.
    if not listed or len(written) > 1:
        return ReducerBatch(part_label(written), {part_label(written): written})
    for option in listed:
        if not given[option]:
            raise InputError(f"{name}: option {option!r} has an empty list; give the values that it is to have.")
    fixed = {option: value for option, value in given.items() if option not in listed}
    label = "+".join([part_label({name: fixed}), *listed])
    several = (given[option] if option in listed else [given[option]] for option in given)
    singles = [{name: dict(zip(given, values, strict=True))} for values in itertools.product(*several)]
    labels = [part_label(single) for single in singles]
    twice = [own for index, own in enumerate(labels) if own in labels[:index]]
    if twice:
        raise InputError(f"{twice[0]} is listed twice.")
    return ReducerBatch(label, dict(zip(labels, singles, strict=True)))


class Retrieval(_Strict):
    """Queries searched in a gallery by the features of some models, or by imported features."""

    name: str = Field("", description="part of its outputs' paths; `<queries>`, or the imported features, if left out")
    models: list[str] = Field(default_factory=list, description="models whose features are searched")
    features: list[str] = Field(
        default_factory=list,
        description="instead of models: imported features, whose file says what the queries are and what the gallery",
    )
    stage: str | None = Field(
        None, description="training stage whose weights count; `all`: each stage's; the last if left out"
    )
    epochs: list[int] | Literal["all"] | None = Field(
        None, description="checkpoints to evaluate; `all`: every one that a model keeps; the last if left out"
    )
    queries: str = Field("", description=f"`{_SPLIT_PATTERN}`; of `models` only")
    gallery: str = Field("", description=f"`{_SPLIT_PATTERN}`; of `models` only")
    relevant: Literal["class", "instance"] = Field(
        "class",
        description="what a query looks for: items of its class, or of the very object it shows (datasets with "
        "`instance`)",
    )
    leave_one_out: bool = Field(False, description="the gallery holds the queries; each skips itself")
    distances: list[str] = Field(default_factory=lambda: ["euclidean"], min_length=1, description="by name")
    metrics: list[str] = Field(default_factory=lambda: ["map"], min_length=1, description="by name")
    rankers: list[str | dict[str, dict[str, Any] | None]] = Field(
        default_factory=lambda: ["exact"],
        min_length=1,
        description="what searches: names, or {name: options}; all but `exact` give the metrics with a k only",
    )
    votes: list[int] = Field(
        default_factory=list,
        description="kNN classification by so many nearest items: `knn_accuracy@k`, and `label_ap@k`; of several also "
        "the mean of the latter (`label_ap@1+3`)",
    )
    rerank: list[Literal["none", "predicted_class"]] = Field(
        default_factory=lambda: ["none"],
        min_length=1,
        description="one or several: `none`; `predicted_class`: items that the network takes for the query's class "
        "come first, then all others",
    )
    reducers: list[str | dict[str, dict[str, Any] | None]] = Field(
        default_factory=lambda: ["none"],
        min_length=1,
        description="what shortens features before the search, fitted on those of the gallery: `none` (as they are), "
        "names, or {name: options} such as {pca: {size: 32}}; an option may have a list of values, one reducer each",
    )
    folds: int = Field(
        0,
        ge=0,
        le=100,
        description="parts of the gallery, even over its classes, each searched by itself with reducers fitted on the "
        "others; values are means over them; 0: the whole gallery at once, which reducers are fitted on too",
    )
    cost: bool = Field(
        False,
        description="measure what searching costs, too, by every model and reducer: `query_time` and its parts, "
        "`memory` and `saved_size`",
    )
    top: int = Field(20, ge=1, le=10_000, description="nearest items kept for pictures and inspection")

    @model_validator(mode="after")
    def _one_kind(self) -> Retrieval:
        if bool(self.models) == bool(self.features):
            raise ValueError("a retrieval needs `models` with `queries` and `gallery`, or `features`")
        for key in ("queries", "gallery"):
            if self.models and not getattr(self, key):
                raise ValueError(f"a retrieval of models needs `{key}`, as {_SPLIT_PATTERN}")
            if self.features and getattr(self, key):
                raise ValueError(f"`{key}` is for models; the file of imported features says what is searched in what")
        if self.features and (self.stage or self.epochs):
            raise ValueError("`stage` and `epochs` are for models; imported features have none")
        if self.votes and self.relevant == "instance":
            raise ValueError("`votes` are for classes, and `relevant: instance` looks for the object; leave one out")
        if self.features and self.relevant == "instance":
            raise ValueError("`relevant: instance` is for models; imported features say classes only")
        if self.features and "predicted_class" in self.rerank:
            raise ValueError("`rerank: predicted_class` needs a classifier, and imported features have none")
        if self.cost and "exact" not in self.rankers:
            raise ValueError("`cost` is that of the exact ranker; add it to `rankers`")
        if self.rerank != ["none"] and self.rankers != ["exact"]:
            raise ValueError("`rerank` is for the exact ranker; give the other rankers a retrieval of their own")
        return self

    @model_validator(mode="after")
    def _leave_one_out(self) -> Retrieval:
        if self.leave_one_out and self.queries != self.gallery:
            raise ValueError("leave_one_out needs the same data as queries and gallery")
        if self.models and self.queries == self.gallery and not self.leave_one_out:
            raise ValueError(
                f"queries and gallery are both {self.queries}, so that every query would find itself first; add "
                "leave_one_out: true"
            )
        for key in ("models", "distances", "epochs", "rerank"):
            values = getattr(self, key) or []
            if isinstance(values, list) and len(set(values)) < len(values):
                raise ValueError(f"{key} names something twice: {values}")
        return self

    @field_validator("rerank", mode="before")
    @classmethod
    def _one_rerank(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("votes")
    @classmethod
    def _votes(cls, votes: list[int]) -> list[int]:
        if any(count < 1 for count in votes) or len(set(votes)) < len(votes):
            raise ValueError(f"votes must be different whole numbers from 1, got {votes}")
        return votes

    @property
    def ranker_labels(self) -> list[str]:
        """What paths and tables call its rankers, in its order; `+predicted_class` where these are re-ranked."""
        suffixes = ["" if way == "none" else f"+{way}" for way in self.rerank]
        return [part_label(written) + suffix for suffix in suffixes for written in self.rankers]

    @field_validator("reducers", mode="before")
    @classmethod
    def _one_reducer(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | dict) else value

    @field_validator("reducers")
    @classmethod
    def _lists(cls, value: list[Any]) -> list[Any]:
        for written in value:
            try:
                reducer_batch(written)
            except InputError as error:
                raise ValueError(str(error)) from error
        return value

    @field_validator("folds")
    @classmethod
    def _several_folds(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("1 fold leaves nothing to fit on; expected 2 or more, or 0 for the whole gallery at once")
        return folds

    @property
    def batches(self) -> list[ReducerBatch]:
        """Its reducers as they are fitted, an entry each.

        A reducer that several entries ask for is the first's; an entry of such reducers alone is empty.
        """
        found: list[ReducerBatch] = []
        for written in self.reducers:
            batch = reducer_batch(written)
            taken = {label for other in found for label in other.reducers}
            own = {label: single for label, single in batch.reducers.items() if label not in taken}
            found.append(ReducerBatch(batch.label, own))
        return found

    @property
    def single_reducers(self) -> dict[str, Written]:
        """Every reducer by what paths call it, in its order."""
        return {label: written for batch in self.batches for label, written in batch.reducers.items()}

    @property
    def reducer_labels(self) -> list[str]:
        """What paths call its reducers, in its order."""
        return list(self.single_reducers)

    @property
    def reduced(self) -> dict[str, tuple[str, str]]:
        """By what paths call its reducers: the columns `reducer` and `size` of their values; no size: the method's."""
        return {
            label: (part_label(written, without="size"), _written_size(written))
            for label, written in self.single_reducers.items()
        }

    @property
    def parts(self) -> list[str]:
        """What paths call the parts of the gallery that are searched by themselves."""
        return [f"fold{number}" for number in range(1, self.folds + 1)] or [WHOLE]

    @property
    def label(self) -> str:
        """The name under which its outputs are kept."""
        if self.name or self.features:
            return self.name or "+".join(self.features)
        queries = self.queries.replace("/", "-")
        return queries if self.queries == self.gallery else f"{queries}-in-{self.gallery.replace('/', '-')}"


def _written_size(written: Written) -> str:
    if isinstance(written, str):
        return ""
    return next((str(given["size"]) for given in written.values() if given and "size" in given), "")


class EmbeddingMap(_Strict):
    """Features of one split laid out on a plane, a map a model, and how far such a picture can be trusted."""

    models: list[str] = Field(default_factory=list, description="models whose features are mapped")
    features: list[str] = Field(default_factory=list, description="instead of models: imported features")
    data: str = Field(
        "",
        description=f"items shown, as `{_SPLIT_PATTERN}`; of imported features `gallery` (if left out) or `queries`",
    )
    method: str = Field("umap", description="what lays them out: `umap` or `tsne`")
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="the method's own options: `umap` n_neighbors (15), min_dist (0.1), spread (1.0); `tsne` "
        "perplexity (30), early_exaggeration (12), max_iter (1000)",
    )
    stage: str | None = Field(
        None, description="training stage whose weights count; `all`: each stage's; the last if left out"
    )
    epochs: list[int] | Literal["all"] | None = Field(
        None, description="checkpoints to map; `all`: every one that a model keeps; the last if left out"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the method, and of the draw of items")
    most: int = Field(2000, ge=3, le=10_000, description="of a larger split so many items are drawn, by hash and seed")
    neighbours: int = Field(
        15, ge=1, description="nearest items on the map that `trustworthiness@<neighbours>` looks for in the features"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> EmbeddingMap:
        if bool(self.models) == bool(self.features):
            raise ValueError("a map needs `models` with `data`, or `features`")
        if self.models and not self.data:
            raise ValueError(f"a map of models needs `data`, as {_SPLIT_PATTERN}")
        if self.features and self.data not in ("", "gallery", "queries"):
            raise ValueError(f"`data` of imported features is `gallery` or `queries`, got {self.data!r}")
        if self.features and (self.stage or self.epochs):
            raise ValueError("`stage` and `epochs` are for models; imported features have none")
        for key in ("models", "features", "epochs"):
            values = getattr(self, key) or []
            if isinstance(values, list) and len(set(values)) < len(values):
                raise ValueError(f"{key} names something twice: {values}")
        return self


class Table(_Strict):
    """A table of metric values, rows by columns."""

    title: str = Field(description="heading")
    metrics: list[str] = Field(min_length=1, description="metrics shown")
    rows: str | list[str] = Field(
        "class",
        description="the dimension that runs down: class, model, distance, epoch, metric; of several, such as "
        "[model, ranker], a row each combination",
    )
    columns: list[str] = Field(
        default_factory=lambda: ["model", "distance"], description="the dimensions that run across"
    )
    where: dict[str, Any] = Field(default_factory=dict, description="fixed dimensions, such as {distance: cosine}")
    average: Literal["queries", "classes"] = Field("queries", description="what the total row averages over")
    published: str | list[str] = Field(
        "", description="the published table, or tables, that it stands beside, as named in published.csv"
    )
    note: str = Field("", description="a sentence below the table")
    against: dict[str, Any] = Field(
        default_factory=dict,
        description="what marks compare values with, such as {reducer: none}, instead of with the best: better and "
        "worse by more than chance may bring, or like it",
    )

    @field_validator("rows")
    @classmethod
    def _some_rows(cls, rows: str | list[str]) -> str | list[str]:
        if not rows:
            raise ValueError("a table needs a dimension that runs down, such as `rows: model`")
        return rows

    @property
    def row_dimensions(self) -> list[str]:
        """The dimensions that run down."""
        return [self.rows] if isinstance(self.rows, str) else self.rows

    @property
    def published_tables(self) -> list[str]:
        """The published tables that it stands beside."""
        named = [self.published] if isinstance(self.published, str) else self.published
        return [name for name in named if name]


class Figure(_Strict):
    """A picture of the report."""

    title: str = Field(description="caption")
    kind: str = Field(description="what is drawn: the name of a figure kind")
    options: dict[str, Any] = Field(default_factory=dict, description="the kind's own options")


class PublishedModel(_Strict):
    """Which published rows are compared with a model."""

    match: dict[str, str | int] = Field(
        min_length=1,
        description="columns of published.csv and what they hold, such as {dataset: Birds, model: net}; of `note`, any "
        "part",
    )
    model: str = Field(description="the model here whose values stand beside these rows")
    reducer: str = Field(
        "",
        description="the reducer here, as paths name it (`pca-size32`), where the published values are of reduced "
        "features and their rows do not say so",
    )
    stage: str = Field("", description="the stage here whose weights count; the last if left out")
    family: str = Field(
        "",
        description="filled in: the family of models that it was written for, of which one of every size is compared "
        "with the rows of that size, if there are any",
    )


class Published(_Strict):
    """How the published file speaks of what this study measures."""

    study: str = Field(description="the study's name in published.csv")
    datasets: dict[str, str | list[str]] = Field(
        default_factory=dict,
        description="published dataset name to the retrieval or `<dataset>/<split>` here; of several, the first in "
        "which a value was measured stands beside it",
    )
    metrics: dict[str, str] = Field(
        default_factory=dict,
        description="published metric name to the one here, such as {test_accuracy: accuracy}; others keep their name",
    )
    rankers: dict[str, str] = Field(
        default_factory=dict,
        description="published ranker to the one here, such as {faiss: faiss_flat}; others keep their name, and what "
        "searches exhaustively is `exact`",
    )
    models: list[PublishedModel] = Field(
        default_factory=list,
        description="which published rows are compared with which model, where the name does not say; the first rule "
        "that fits a row counts",
    )
    note: str = Field("", description="a sentence beside the published values, on how they are compared")
    average: Literal["queries", "classes"] = Field("queries", description="what published totals average over")


class Study(_Strict):
    """A study: data, models, retrievals, and the tables and figures they end in."""

    title: str = Field(description="heading of the report")
    description: str = Field("", description="a paragraph that opens the report")
    seeds: list[int] = Field(default_factory=lambda: [0], min_length=1, description="one training a seed")
    datasets: dict[str, Dataset] = Field(default_factory=dict, description="datasets by name")
    features: dict[str, ImportedFeatures] = Field(
        default_factory=dict, description="features made elsewhere, by the name they have in tables"
    )
    models: dict[str, Model] = Field(default_factory=dict, description="models by name")
    retrievals: list[Retrieval] = Field(default_factory=list, description="what is searched in what")
    maps: dict[str, EmbeddingMap] = Field(
        default_factory=dict, description="maps of features by name, which tables show as their `reducer`"
    )
    tables: dict[str, Table] = Field(default_factory=dict, description="tables by file name")
    figures: dict[str, Figure] = Field(default_factory=dict, description="figures by file name")
    published: Published | None = Field(None, description="the published values it reproduces")
    quick: dict[str, Any] = Field(
        default_factory=dict, description="laid over the study by `scale: quick`; sized for two CPU cores"
    )

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, seeds: list[int]) -> list[int]:
        if min(seeds) < 0 or len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds are different whole numbers from 0 up, got {seeds}")
        return seeds

    @model_validator(mode="after")
    def _references(self) -> Study:
        for section in ("datasets", "features", "models", "maps", "tables", "figures"):
            for name in getattr(self, section):
                _name(name)
        if not (self.datasets or self.features):
            raise ValueError("a study needs `datasets`, or `features` made elsewhere")
        shared = sorted(set(self.models) & set(self.features))
        if shared:
            raise ValueError(f"features.{shared[0]}: a model has this name; choose another")
        for model_name, model in self.models.items():
            for stage in model.stages:
                for key, references in (("data", stage.learned_from), ("validate_on", stage.validated_on)):
                    for reference in references:
                        self._need_split(reference, f"models.{model_name}.stages.{stage.name}.{key}")
            for part in model.starts:
                self._need_start(model_name, part)
        labels = [retrieval.label for retrieval in self.retrievals]
        for index, retrieval in enumerate(self.retrievals):
            where = f"retrievals[{index}]"
            _name(retrieval.label)
            if labels.count(retrieval.label) > 1:
                raise ValueError(f"{where}: the name {retrieval.label!r} is taken; give it a `name` of its own")
            for name in retrieval.features:
                if name not in self.features:
                    raise ValueError(f"{where}.features: {unknown_name('features', name, self.features)}")
            if retrieval.features:
                continue
            self._need_split(retrieval.queries, f"{where}.queries")
            self._need_split(retrieval.gallery, f"{where}.gallery")
            for key in ("queries", "gallery") if retrieval.relevant == "instance" else ():
                dataset = getattr(retrieval, key).partition("/")[0]
                if self.datasets[dataset].instance is None:
                    raise ValueError(
                        f"{where}.relevant: instance: datasets.{dataset} does not say which object its images show; "
                        "give it `instance`, a pattern of its file names"
                    )
            for name in retrieval.models:
                if name not in self.models:
                    raise ValueError(f"{where}.models: {unknown_name('model', name, self.models)}")
                self._need_checkpoints(retrieval, name, where)
        for map_name, drawn in self.maps.items():
            self._check_map(drawn, f"maps.{map_name}")
        return self

    def _check_map(self, drawn: EmbeddingMap, where: str) -> None:
        for name in drawn.features:
            if name not in self.features:
                raise ValueError(f"{where}.features: {unknown_name('features', name, self.features)}")
        if drawn.models:
            self._need_split(drawn.data, f"{where}.data")
        for name in drawn.models:
            if name not in self.models:
                raise ValueError(f"{where}.models: {unknown_name('model', name, self.models)}")
            self._need_checkpoints(drawn, name, where)

    def _need_split(self, reference: str | None, where: str) -> None:
        if reference is None:
            return
        dataset, _, split = reference.partition("/")
        if dataset not in self.datasets:
            raise ValueError(f"{where}: {unknown_name('dataset', dataset, self.datasets)}")
        if split not in self.datasets[dataset].split:
            raise ValueError(
                f"{where}: {unknown_name('split', split, self.datasets[dataset].split)} Write it as {_SPLIT_PATTERN}."
            )

    def _need_start(self, name: str, part: str) -> None:
        """Refuse a model that starts from weights that the study does not make, or from its own."""
        where, start = f"models.{name}.weights{'.' * bool(part)}{part}", self.models[name].starts[part]
        if not isinstance(start, OtherModel):
            return
        if start.model not in self.models:
            raise ValueError(f"{where}.model: {unknown_name('model', start.model, self.models)}")
        self._need_no_circle([name], start, where)
        stages = {stage.name: stage for stage in self.models[start.model].stages}
        if start.stage is not None and start.stage not in stages:
            raise ValueError(f"{where}.stage: {unknown_name('stage', start.stage, stages)}")
        stage = self.stage_of(start.model, start.stage)
        if start.epoch is not None and start.epoch not in stage.kept_epochs:
            raise ValueError(
                f"{where}.epoch: {start.epoch} is no checkpoint of {start.model}'s stage {stage.name!r}, which keeps "
                f"{stage.kept_epochs}; add it to its `checkpoints`"
            )

    def _need_no_circle(self, path: list[str], before: str | OtherModel, where: str) -> None:
        if not isinstance(before, OtherModel) or before.model not in self.models:
            return
        if before.model in path:
            raise ValueError(f"{where}: no model can start from itself ({' from '.join([*path, before.model])})")
        for start in self.models[before.model].starts.values():
            self._need_no_circle([*path, before.model], start, where)

    def _need_checkpoints(self, retrieval: Retrieval | EmbeddingMap, name: str, where: str) -> None:
        stages = {stage.name: stage for stage in self.models[name].stages}
        if retrieval.stage is not None and retrieval.stage not in {ALL_STAGES, *stages}:
            raise ValueError(f"{where}.stage: {unknown_name('stage', retrieval.stage, [*stages, ALL_STAGES])}")
        for stage in self.stages_of(retrieval, name):
            wanted = retrieval.epochs if isinstance(retrieval.epochs, list) else []
            missing = [epoch for epoch in wanted if epoch not in stage.kept_epochs]
            if missing:
                raise ValueError(
                    f"{where}.epochs: {missing} are no checkpoints of {name}'s stage {stage.name!r}, which keeps "
                    f"{stage.kept_epochs}; add them to its `checkpoints`"
                )

    @property
    def methods(self) -> list[str]:
        """What `metrics.csv` calls models: those of the study, then features made elsewhere."""
        return [*self.models, *self.features]

    @property
    def measured_on(self) -> list[str]:
        """What `metrics.csv` may call datasets: retrievals, and splits in both ways of writing them."""
        splits = [f"{name}/{split}" for name, dataset in self.datasets.items() for split in dataset.split]
        dashed = [split.replace("/", "-") for split in splits]
        sides = [drawn.data or "gallery" for drawn in self.maps.values() if drawn.features]
        return list(dict.fromkeys([*(retrieval.label for retrieval in self.retrievals), *splits, *dashed, *sides]))

    @property
    def sources(self) -> set[str]:
        """The names, or paths, of the sources that it uses."""
        files = {place for file in self.features.values() for place in (file.source, file.queries) if place}
        files |= {start for model in self.models.values() for start in model.starts.values() if isinstance(start, str)}
        return {dataset.source for dataset in self.datasets.values()} | files

    def stages_of(self, retrieval: Retrieval | EmbeddingMap, model: str) -> list[Stage]:
        """Return the stages of a model that a retrieval evaluates, or a map shows."""
        return self.models[model].stages if retrieval.stage == ALL_STAGES else [self.stage_of(model, retrieval.stage)]

    def epochs_of(self, retrieval: Retrieval | EmbeddingMap, stage: Stage) -> list[int]:
        """Return the epochs of one of these stages that a retrieval evaluates, or a map shows."""
        return stage.kept_epochs if retrieval.epochs == "all" else retrieval.epochs or [stage.epochs]

    def stage_of(self, model: str, name: str | None) -> Stage:
        """Return a model's stage by name, or its last."""
        stages = self.models[model].stages
        return next(s for s in stages if s.name == name) if name else stages[-1]


class Settings(_Strict):
    """`config.yaml`: what to run, how large, on what, and where the data are."""

    studies: list[str] = Field(
        default_factory=lambda: ["demo"], min_length=1, description="names in workflow/studies, or YAML files"
    )
    scale: Literal["full", "quick"] = Field(
        "full", description="quick: lay a study's own `quick:` section over it, sized for two CPU cores"
    )
    sources: dict[str, str] = Field(
        default_factory=dict, description="where raw data are, by name: a URL, an archive or a folder"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where there is one")
    threads: int = Field(0, ge=0, description="CPU threads of a training job; 0: all cores of the run")
    workers: int = Field(2, ge=0, description="processes that decode a streamed dataset's images; 0: none of their own")
    memory_mib: int = Field(1024, ge=16, description="working memory of a ranking job beyond its features, MiB")
    overrides: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="laid over a study by name, after `quick:`; null removes a key"
    )

    @field_validator("sources")
    @classmethod
    def _names_of_sources(cls, sources: dict[str, str]) -> dict[str, str]:
        for name in sources:
            # What is downloaded lies in a folder of this name.
            if not name or name.startswith(".") or set(name) & set("/\\{}<>") or not name.isprintable():
                raise ValueError(
                    f"{name!r} cannot be the name of a source; use text without '/', braces and the like, and not "
                    "beginning with '.'"
                )
        return sources

    @field_validator("studies", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("overrides", mode="before")
    @classmethod
    def _plain_values(cls, value: Any) -> Any:
        # Snakemake leaves numbers, true and null inside a mapping on the command line as text.
        return _parsed_text(value)

    @field_validator("studies")
    @classmethod
    def _distinct(cls, value: list[str]) -> list[str]:
        names = [Path(v).stem for v in value]
        if len(set(names)) < len(names):
            raise ValueError(f"two studies share a name, and so a results folder: {names}")
        return value


def _parsed_text(value: Any) -> Any:
    """Return a structure with its texts read as YAML, so that "3" is a number and "null" is nothing."""
    if isinstance(value, Mapping):
        return {key: _parsed_text(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_parsed_text(inner) for inner in value]
    return load_yaml(value) if isinstance(value, str) else value


def overlaid(base: Any, over: Any) -> Any:
    """Return `over` laid over `base`: mappings merge key by key, everything else is replaced, null removes."""
    if not (isinstance(base, Mapping) and isinstance(over, Mapping)):
        return copy.deepcopy(over)
    merged = {key: copy.deepcopy(value) for key, value in base.items()}
    # One choice out of several: naming another replaces the first instead of standing beside it.
    if base and any(set(base) | set(over) <= set(choice.model_fields) for choice in (Optimizer, RateSchedule)):
        merged = {key: value for key, value in merged.items() if key in over}
    for key, value in over.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and _is_stage_list(merged.get(key)):
            merged[key] = _overlaid_stages(merged[key], value)
        else:
            merged[key] = overlaid(merged.get(key), value)
    return merged


def _is_stage_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) and "name" in v for v in value)


def _overlaid_stages(stages: list[dict[str, Any]], over: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Lay a mapping from names over a list of named items, so that `quick:` can say `stages: {classify: …}`."""
    names = [stage["name"] for stage in stages]
    for name in over:
        if name not in names:
            raise ConfigError(unknown_name("name", name, names))
    return [overlaid(stage, over.get(stage["name"], {})) for stage in stages]


def read_settings(values: Mapping[str, Any]) -> Settings:
    """Return checked settings.

    Parameters
    ----------
    values
        The content of `config.yaml` and of what was laid over it on the command line.

    Raises
    ------
    ConfigError
        If a key is unknown or a value cannot be used.
    """
    return _checked(Settings, values, "config")


def study_file(name: str) -> Path:
    """Return the YAML file of a study given by name or by path.

    Raises
    ------
    ConfigError
        If there is none; the message names the nearest ones.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise ConfigError(f"studies: there is no file {name}.")
        _checked_name(path.stem)
        return path
    known = {file.stem: file for file in sorted(STUDIES.glob("*.yaml"))}
    if name not in known:
        raise ConfigError(f"studies: {unknown_name('study', name, known)} Or give the path of a .yaml file.")
    return known[name]


def _checked_name(name: str) -> None:
    if name in _TAKEN:
        raise ConfigError(f"studies: results/{name} is kept for other things; give the study's file another name.")
    try:
        _name(name)
    except ValueError as error:
        raise ConfigError(f"studies: {error}.") from error


def _load_yaml(path: Path) -> dict[str, Any]:
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except (InputError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no YAML that a study can be read from: {error}.") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds {type(content).__name__}, expected a mapping with title, datasets, ….")
    return content


def read_study(name: str, settings: Settings, *, published_size: bool = False) -> Study:
    """Return a checked study, with `quick:` and `overrides:` laid over it as the settings say.

    Parameters
    ----------
    name
        A name in workflow/studies or the path of a YAML file.
    settings
        The run's settings.
    published_size
        True: the study as its file has it, without `quick:` and `overrides:`; what a report compares with.

    Raises
    ------
    ConfigError
        If it cannot be read or run.
    """
    path = study_file(name)
    raw = whole = _load_yaml(path)
    quick = raw.get("quick") or {}
    where = f"study {path.stem}"
    if isinstance(quick, Mapping):
        _refuse_unknown(Study, quick, f"{where}: quick")
    if not published_size:
        if settings.scale == "quick":
            raw = overlaid(raw, quick)
        raw = overlaid(raw, settings.overrides.get(path.stem, {}))
    try:
        raw = expanded(raw, whole)
    except InputError as error:
        raise ConfigError(f"{where}: {error}") from error
    return _checked(Study, {**raw, "quick": quick}, where)


def differences(study: Study, original: Study) -> list[tuple[str, Any, Any]]:
    """Return where a study as run differs from the study as its file has it.

    Returns
    -------
    list
        (key, value in the file, value as run), keys written with dots; `quick` itself left out.
    """
    left = dict(_leaves(original.model_dump(exclude={"quick"})))
    right = dict(_leaves(study.model_dump(exclude={"quick"})))
    keys = [*left, *(key for key in right if key not in left)]
    return [(key, left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)]


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for index, inner in enumerate(value):
            name = inner.get("name") or index if isinstance(inner, dict) else index
            yield from _leaves(inner, f"{prefix}.{name}")
    else:
        yield prefix, value


def _checked(kind: type[_Strict], values: Mapping[str, Any], where: str) -> Any:
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError("\n".join(_sentence(kind, e, where) for e in _most_telling(error.errors()))) from error


def _most_telling(errors: list[Any]) -> list[Any]:
    """Leave out what pydantic says of the members of a union that the user did not mean."""
    inside = [tuple(_place(e)) for e in errors]
    kept: dict[tuple[Any, ...], Any] = {}
    for error, place in zip(errors, inside, strict=True):
        if any(other[: len(place)] == place and len(other) > len(place) for other in inside):
            continue
        unknown = error["type"] == "extra_forbidden"
        kept = {p: e for p, e in kept.items() if not (unknown and p[:-1] == place[:-1] and e["type"] == "missing")}
        kept.setdefault(place, error)
    return list(kept.values())


def _place(error: Mapping[str, Any]) -> list[Any]:
    """Return where an error is, as keys and positions that the user wrote."""
    # Members of a union appear as steps of the location ("list[str]"); users never wrote those.
    steps = [step for step in error["loc"] if not (isinstance(step, str) and re.search(r"[\[\]()]", step))]
    return [step for step in steps if step not in {"RandomCategories", "OtherModel", "int", "str", "literal"}]


def _refuse_unknown(kind: type[BaseModel], values: Mapping[str, Any], where: str) -> None:
    for key in values:
        if key not in kind.model_fields:
            raise ConfigError(f"{where}: {unknown_name('key', str(key), kind.model_fields)}")


def _sentence(kind: type[BaseModel], error: Mapping[str, Any], where: str) -> str:
    """Turn one pydantic error into one sentence that names the key and the choices."""
    location = _place(error)
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
    head = f"{where}: {path}" if path else where
    if error["type"] == "extra_forbidden":
        fields = _fields_at(kind, location[:-1])
        key = str(location[-1])
        near = nearest_names(key, fields)
        hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
        return f"{head}: unknown key {key!r}.{hint} Keys here: {', '.join(fields)}."
    if error["type"] == "missing":
        return f"{head}: this key is required."
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{head}: {message.rstrip('.')}."
    got = repr(error["input"])
    shown = got if len(got) <= _MOST_SHOWN else f"{got[:_MOST_SHOWN]}…"
    return f"{head}: got {shown}; {message[0].lower()}{message[1:]}."


def _fields_at(kind: Any, location: list[Any]) -> list[str]:
    """Return the keys that are known at a place in the configuration; of several forms, those of all."""
    kinds = [kind]
    for step in location:
        found = [m.model_fields[step].annotation for each in kinds for m in _models_in(each) if step in m.model_fields]
        # Names and numbers are places in mappings and lists.
        kinds = found or [inner for each in kinds for inner in get_args(each)]
    return list(dict.fromkeys(name for each in kinds for model in _models_in(each) for name in model.model_fields))


def _models_in(kind: Any) -> list[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    if get_origin(kind) in (dict, list):
        return []
    return [model for inner in get_args(kind) for model in _models_in(inner)]
