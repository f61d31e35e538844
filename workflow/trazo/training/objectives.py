"""Objectives by name: what a stage minimises, alone or as a weighted sum. Each says what it looks at and how sampled.

Which items come together in a batch is decided in `sampling`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator
from torch.nn import functional

from trazo.errors import InputError
from trazo.registry import Registry, checked_options
from trazo.training.sampling import samplings


@dataclass(frozen=True)
class Batch:
    """What a network made of a batch.

    Attributes
    ----------
    labels
        (B,) int64.
    logits
        (B, C) float, None if no objective looks at them.
    embeddings
        (B, D) float, the output of the model's feature layer; None if no objective looks at them.
    groups
        How many images belong together: 1, or 2 of a pair, or 3 of a triplet. The rows hold all first images, then all
        second ones (positives, in triplets), then all third ones (negatives).
    """

    labels: torch.Tensor
    logits: torch.Tensor | None = None
    embeddings: torch.Tensor | None = None
    groups: int = 1

    def members(self, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the parts of (B, …) `values` that belong to first, second, third images."""
        return values.chunk(self.groups)


@dataclass(frozen=True)
class Outcome:
    """What an objective says of one batch.

    Attributes
    ----------
    loss
        () float32, the mean over the batch; what is minimised.
    correct
        () int64, how many of the batch were classified rightly; None where nothing is classified.
    """

    loss: torch.Tensor
    correct: torch.Tensor | None = None


class Objective(BaseModel):
    """Something to minimise, with its options: a subclass per objective, unknown options refused.

    Attributes
    ----------
    uses_logits, uses_embeddings
        What of a network it looks at.
    after_colon
        The option that stands after a colon in its name ("pml:TripletMarginLoss"); empty if none does.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    uses_logits: ClassVar[bool] = False
    uses_embeddings: ClassVar[bool] = False
    after_colon: ClassVar[str] = ""

    weight: float = Field(
        1.0,
        ge=0,
        allow_inf_nan=False,
        description="factor of this objective in the sum of several; 0: sampled for it only",
    )

    @property
    def sampling(self) -> str:
        """Name of the least sampling it can learn from."""
        return "items"

    @property
    def sampling_options(self) -> dict[str, Any]:
        """Options of that sampling."""
        return {}

    def measure(self, batch: Batch) -> Outcome:
        """Return the loss of a batch, without `weight`."""
        raise NotImplementedError


objectives: Registry[type[Objective]] = Registry("objective")


@objectives.register("cross_entropy")
class CrossEntropy(Objective):
    """Softmax cross-entropy: the mean over the batch of −log p(true class)."""

    uses_logits = True

    def measure(self, batch: Batch) -> Outcome:
        """As `Objective.measure`."""
        # Float32 whatever the network computed in: a sum of exponentials in bfloat16 is too coarse to learn from.
        logits = batch.logits.float()
        loss = functional.cross_entropy(logits, batch.labels)
        return Outcome(loss, (logits.argmax(dim=1) == batch.labels).sum())


class _ByDistance(Objective):
    """An objective of Euclidean distances between embeddings."""

    uses_embeddings = True

    margin: float = Field(1.0, ge=0, allow_inf_nan=False, description="how far apart different classes should be")
    normalise: bool = Field(False, description="scale embeddings to length 1 first")

    def prepared(self, batch: Batch) -> torch.Tensor:
        """Return the embeddings (B, D) float32 that distances are taken of."""
        embeddings = batch.embeddings.float() if batch.embeddings.dtype != torch.float64 else batch.embeddings
        return functional.normalize(embeddings, dim=1) if self.normalise else embeddings


@objectives.register("contrastive")
class Contrastive(_ByDistance):
    """Contrastive loss: the mean over pairs of y·D + (1 − y)·max(0, margin − D), y = 1 for the same class.

    That is how study `sbir` writes it (its section on siamese training); `squared` is ½·y·D² + ½·(1 − y)·max(0, margin
    − D)², as in R. Hadsell, S. Chopra, Y. LeCun, "Dimensionality reduction by learning an invariant mapping", CVPR
    2006. From triplets, anchor and positive are one pair, anchor and negative another.
    """

    squared: bool = Field(False, description="Hadsell's form, halves of squares")

    @property
    def sampling(self) -> str:
        """As `Objective.sampling`."""
        return "pairs"

    def measure(self, batch: Batch) -> Outcome:
        """As `Objective.measure`."""
        first, *others = batch.members(self.prepared(batch))
        label, *other_labels = batch.members(batch.labels)
        losses = []
        for other, other_label in zip(others, other_labels):
            distance = euclidean(first, other)
            same = label == other_label
            short = (self.margin - distance).clamp(min=0)
            pull, push = (distance.square() / 2, short.square() / 2) if self.squared else (distance, short)
            losses.append(torch.where(same, pull, push))
        return Outcome(torch.cat(losses).mean())


@objectives.register("triplet")
class Triplet(_ByDistance):
    """Triplet loss: the mean over triplets of max(0, margin + D(a, p) − D(a, n)).

    Without mining, triplets are as they were sampled. Of sketches and photos, anchors are sketches and the others
    photos, and `draw` says which: with `instances` positive and negative may be of one class, since only their places
    in the batch tell them apart.

    `hard` makes one triplet of each item of the batch with its farthest positive and its nearest negative: A. Hermans,
    L. Beyer, B. Leibe, "In defense of the triplet loss for person re-identification", 2017, "batch hard". `semi_hard`
    takes all pairs of a class, each with the nearest negative that is farther from the anchor than the positive is; if
    there is none, with the farthest negative: F. Schroff, D. Kalenichenko, J. Philbin, "FaceNet", CVPR 2015, section
    3.2 (its distances are squared, these are not).

    Study `sbir` minimises α·(CE of sketch + CE of positive + CE of negative) + (1 − α)·triplet. A batch of B triplets
    is 3·B images and `cross_entropy` their mean, so that is `{cross_entropy: {weight: 3α}, triplet: {weight: 1 − α}}`.
    """

    mining: Literal["none", "hard", "semi_hard"] = Field("none", description="choose triplets within each batch")
    per_class: int = Field(4, ge=2, description="images a class and batch, with mining")
    draw: Literal["classes", "instances"] = Field(
        "classes", description="of a sketch: a photo of its class is positive, or only the one it was drawn from"
    )

    @model_validator(mode="after")
    def _drawn_as_sampled(self) -> Triplet:
        if self.draw == "instances" and self.mining != "none":
            raise InputError(f"draw: instances needs mining: none, got {self.mining}: mining goes by class alone.")
        return self

    @property
    def sampling(self) -> str:
        """As `Objective.sampling`."""
        return "triplets" if self.mining == "none" else "balanced"

    @property
    def sampling_options(self) -> dict[str, Any]:
        """As `Objective.sampling_options`."""
        return {"draw": self.draw} if self.mining == "none" else {"per_class": self.per_class}

    def measure(self, batch: Batch) -> Outcome:
        """As `Objective.measure`."""
        embeddings = self.prepared(batch)
        if self.mining == "none":
            anchor, positive, negative = batch.members(embeddings)
            gaps = euclidean(anchor, positive) - euclidean(anchor, negative)
            return Outcome((self.margin + gaps).clamp(min=0).mean())
        gaps_of = hard_gaps if self.mining == "hard" else semi_hard_gaps
        gaps, valid = gaps_of(all_distances(embeddings), batch.labels)
        # No selection by `valid`: how many there are is known on the device only.
        losses = torch.where(valid, (self.margin + gaps).clamp(min=0), 0)
        return Outcome(losses.sum() / valid.sum().clamp(min=1))


@objectives.register("pml")
class PyTorchMetricLearning(Objective):
    """A loss of pytorch-metric-learning by its name there: `pml:MultiSimilarityLoss`; with a miner of its, if named.

    Options are those of the loss and of the miner; `distance` and `reducer` among them are again names there, or {name:
    options}, such as `distance: {LpDistance: {normalize_embeddings: false}}`. Left out, most losses scale embeddings to
    length 1. Losses that learn proxies or weights of their own, keep a state from batch to batch, or compare two sets
    of embeddings are refused. K. Musgrave, S. Belongie, S.-N. Lim, "PyTorch Metric Learning", 2020.
    """

    uses_embeddings = True
    after_colon = "loss"

    loss: str = Field("", description="the loss, if it does not stand after the colon")
    options: dict[str, Any] = Field({}, description="of the loss")
    miner: str = Field(
        "", description="what chooses pairs or triplets within each batch; the loss's own way if left out"
    )
    miner_options: dict[str, Any] = Field({}, description="of the miner")
    per_class: int = Field(4, ge=2, description="images a class and batch")
    _borrowed: Any = PrivateAttr(None)

    @model_validator(mode="after")
    def _usable(self) -> PyTorchMetricLearning:
        if self.miner_options and not self.miner:
            raise InputError("miner_options without a miner; name one, such as miner: MultiSimilarityMiner.")
        # Loading the package takes a second; only what uses it does.
        from trazo.training.borrowed import borrow

        self._borrowed = borrow(self.loss, self.options, self.miner, self.miner_options)
        # Here, so that what is wrong with it is said when the study is planned.
        self._borrowed.try_out()
        return self

    @property
    def sampling(self) -> str:
        """As `Objective.sampling`."""
        return "balanced"

    @property
    def sampling_options(self) -> dict[str, Any]:
        """As `Objective.sampling_options`."""
        return {"per_class": self.per_class}

    def measure(self, batch: Batch) -> Outcome:
        """As `Objective.measure`."""
        embeddings = batch.embeddings.float() if batch.embeddings.dtype != torch.float64 else batch.embeddings
        return Outcome(self._borrowed.measure(embeddings, batch.labels))


def euclidean(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return (B,) Euclidean distances between rows of (B, D); where one is 0, so is its gradient."""
    squared = (first - second).square().sum(dim=1)
    # Not "> 0": what is no number is not 0 either, and has to show in the loss.
    apart = squared != 0
    # The root of a one in place of a zero: the root's own gradient there is infinite, and times 0 no number.
    return torch.where(apart, torch.where(apart, squared, 1).sqrt(), 0)


def all_distances(embeddings: torch.Tensor) -> torch.Tensor:
    """Return (B, B) Euclidean distances between rows of (B, D); where one is 0, so is its gradient."""
    return torch.cdist(embeddings, embeddings, compute_mode="donot_use_mm_for_euclid_dist")


def _relations(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (B, B) bool: column is a positive of row; column is a negative of row."""
    same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return same & ~itself, ~same


def hard_gaps(distances: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (B,) farthest positive's less nearest negative's distance, and where there are both (others: 0)."""
    positive, negative = _relations(labels)
    farthest = torch.where(positive, distances, -torch.inf).max(dim=1).values
    nearest = torch.where(negative, distances, torch.inf).min(dim=1).values
    valid = positive.any(dim=1) & negative.any(dim=1)
    return torch.where(valid, farthest, 0) - torch.where(valid, nearest, 0), valid


def semi_hard_gaps(distances: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (B, B) D(row, column) less the distance of the pair's semi-hard negative, and where the pair counts."""
    positive, negative = _relations(labels)
    of_negatives = torch.where(negative, distances, torch.inf).sort(dim=1).values
    count = negative.sum(dim=1, keepdim=True)
    farther = torch.searchsorted(of_negatives.detach(), distances.detach().contiguous(), right=True)
    chosen = of_negatives.gather(1, torch.minimum(farther, count - 1).clamp(min=0))
    valid = positive & (count > 0)
    return torch.where(valid, distances, 0) - torch.where(valid, chosen, 0), valid


@dataclass(frozen=True)
class Mixture:
    """The weighted sum of a stage's objectives.

    Attributes
    ----------
    parts
        Objectives by name.
    """

    parts: dict[str, Objective]

    @property
    def uses_logits(self) -> bool:
        """Whether a classifier is trained."""
        return any(part.uses_logits for part in self.parts.values())

    @property
    def uses_embeddings(self) -> bool:
        """Whether the feature layer is trained for itself."""
        return any(part.uses_embeddings for part in self.parts.values())

    @property
    def sampling(self) -> str:
        """Name of the least sampling that serves all parts."""
        needed = {part.sampling for part in self.parts.values()}
        able = [name for name in samplings.names() if needed <= {name, *samplings.get(name).serves}]
        return min(able, key=lambda name: (len(samplings.get(name).serves), name))

    @property
    def sampling_options(self) -> dict[str, Any]:
        """Options of that sampling."""
        given = [p.sampling_options for p in self.parts.values() if p.sampling == self.sampling]
        # Whole numbers; or names, which `mixture` lets in only where all parts have the same.
        return {key: max(options[key] for options in given) for key in (given[0] if given else {})}

    @property
    def samplings(self) -> list[str]:
        """Names of all samplings that training and validation use."""
        return sorted({self.sampling, *(part.sampling for part in self.parts.values())})

    @property
    def smallest_batch(self) -> int:
        """How many images a batch needs."""
        return samplings.get(self.sampling).smallest_batch(**self.sampling_options)

    @property
    def smallest_class(self) -> tuple[int, int]:
        """How many images of every class the data need, and those held out (where fewer a class may be mined)."""
        held_out = max(min(samplings.get(p.sampling).smallest_class(), 2) for p in self.parts.values())
        return samplings.get(self.sampling).smallest_class(**self.sampling_options), held_out

    @property
    def smallest_photos(self) -> int | None:
        """How many photos every class needs beside sketches; None: some part cannot learn from both together."""
        needed = [samplings.get(p.sampling).smallest_photos(**p.sampling_options) for p in self.parts.values()]
        return None if None in needed else max(needed)

    @property
    def needs_instances(self) -> bool:
        """Whether it has to be known which object each image shows."""
        return any(part.sampling_options.get("draw") == "instances" for part in self.parts.values())

    def measure(self, batch: Batch) -> Outcome:
        """Return the weighted sum of the losses, and how many were classified rightly, if any part says so."""
        outcomes = {name: part.measure(batch) for name, part in self.parts.items()}
        correct = next((o.correct for o in outcomes.values() if o.correct is not None), None)
        # As it is where there is nothing to add: neither 0 nor 1 changes a number.
        return Outcome(sum(self.parts[name].weight * o.loss for name, o in outcomes.items()), correct)


def mixture(written: str | Mapping[str, Mapping[str, Any] | None]) -> Mixture:
    """Return the objectives of a stage from a name, or from {name: options} of one or several.

    Raises
    ------
    InputError
        If a name or an option is unknown, or an option has a wrong value.
    """
    given: Mapping[str, Any] = {written: {}} if isinstance(written, str) else written
    if not given:
        raise InputError("no objective; name one, such as cross_entropy.")
    parts = {name: _objective(name, options or {}) for name, options in given.items()}
    if not any(part.weight for part in parts.values()):
        raise InputError(
            f"{', '.join(parts)}: every weight is 0, so that nothing would be learned; give one of them more."
        )
    _need_one_draw(parts)
    return Mixture(parts)


def _need_one_draw(parts: Mapping[str, Objective]) -> None:
    """Refuse objectives that ask for different positives: all of a stage see the same triplets."""
    draws = {name: part.sampling_options["draw"] for name, part in parts.items() if "draw" in part.sampling_options}
    if len(set(draws.values())) > 1:
        told = ", ".join(f"{name} {draw}" for name, draw in draws.items())
        raise InputError(f"all objectives of a stage see the same triplets, and `draw` differs ({told}); give one.")


def load_objectives() -> None:
    """Import the modules beside this one, which register objectives of their own."""
    # Here, as they are built on what this module defines; by name, so that they count for those alone who use them.
    import_module("trazo.training.hashing")


def _objective(name: str, given: Mapping[str, Any]) -> Objective:
    load_objectives()
    base, colon, detail = name.partition(":")
    kind = objectives.get(base)
    if colon and not kind.after_colon:
        raise InputError(f"{name}: nothing stands after {base}; expected the name alone.")
    if colon and kind.after_colon in given:
        raise InputError(f"{name}: names its {kind.after_colon} already; leave the option out.")
    return checked_options(name, kind, {**({kind.after_colon: detail} if colon else {}), **given})


def facts_of(written: str | Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any]:
    """Return as plain values what planning a run needs to know of a stage's objectives."""
    found = mixture(written)
    return {
        "objectives": sorted(found.parts),
        "modules": sorted({type(part).__module__ for part in found.parts.values()} - {__name__}),
        "samplings": found.samplings,
        "uses_logits": found.uses_logits,
        "uses_embeddings": found.uses_embeddings,
        "smallest_batch": found.smallest_batch,
        "smallest_class": found.smallest_class,
        "smallest_photos": found.smallest_photos,
        "needs_instances": found.needs_instances,
    }
