"""Objectives that draw a network's outputs to bits: deep supervised hashing by triplets (`dsh`, `dtsh`).

Each is per bit, a mean over the triplets of a batch. What makes bits of outputs is in `models.heads`.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch.nn import functional

from trazo.errors import InputError
from trazo.training.objectives import Batch, Objective, Outcome, objectives


class _Hashing(Objective):
    """An objective of the D outputs of triplets, which are to be near −1 and 1."""

    uses_embeddings = True

    draw: Literal["classes", "instances"] = Field(
        "classes", description="of a sketch: a photo of its class is positive, or only the one it was drawn from"
    )

    @property
    def sampling(self) -> str:
        """As `Objective.sampling`."""
        return "triplets"

    @property
    def sampling_options(self) -> dict[str, Any]:
        """As `Objective.sampling_options`."""
        return {"draw": self.draw}

    def outputs(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the outputs of anchors (queries), positives and negatives, (B, D) float32 or float64 each."""
        # Sums over thousands of bits are too coarse in what a network may compute in.
        outputs = batch.embeddings if batch.embeddings.dtype == torch.float64 else batch.embeddings.float()
        return batch.members(outputs)


@objectives.register("dsh")
class DeepSupervisedHashing(_Hashing):
    """DSH for triplets: ½·max(0, m − ‖b_q − b_n‖² + ‖b_q − b_p‖²) + λ·Σ_x ‖|b_x| − 1‖₁, divided by the bits D.

    b are the outputs of query (anchor), positive and negative, x runs over these; the mean over the triplets. Study
    `sbir`, section 3.3.5, after H. Liu, R. Wang, S. Shan, X. Chen, "Deep supervised hashing for fast image retrieval",
    CVPR 2016, whose values m = 2·D and λ = 0.01 count here where the study gives none.

    The study minimises α·L/D + (1 − α)·CE with α = 0.4, and does not say over which images CE is summed. The mean of
    the three is `{dsh: {weight: 0.4}, cross_entropy: {weight: 0.6}}`; for their sum, as it writes it for its stages 2
    and 3, `cross_entropy` weighs three times that.
    """

    margin: float | None = Field(None, ge=0, allow_inf_nan=False, description="m; twice the bits if left out")
    regularisation: float = Field(
        0.01, ge=0, allow_inf_nan=False, description="λ, how strongly outputs are drawn to ±1"
    )

    def measure(self, batch: Batch) -> Outcome:
        """As `Objective.measure`."""
        query, positive, negative = self.outputs(batch)
        bits = query.shape[1]
        margin = _given(self.margin, 2.0 * bits)
        gaps = (query - positive).square().sum(dim=1) - (query - negative).square().sum(dim=1)
        off = sum((outputs.abs() - 1).abs().sum(dim=1) for outputs in (query, positive, negative))
        return Outcome(((margin + gaps).clamp(min=0) / 2 + self.regularisation * off).mean() / bits)


@objectives.register("dtsh")
class DeepTripletSupervisedHashing(_Hashing):
    """DTSH: log(1 + e^x) − x + λ·Σ_y ‖sign(u_y) − u_y‖², x = Θ_qp − Θ_qn − a, Θ_ij = ½·u_iᵀu_j, divided by the bits D.

    u are the outputs of query (anchor), positive and negative, y runs over these; the mean over the triplets. Study
    `sbir`, section 3.3.6, after X. Wang, Y. Shi, K. M. Kitani, "Deep supervised hashing with triplet labels", ACCV
    2016, whose values a = D/2 and λ = 1 count here where the study gives none. Computed as softplus(−x), the same
    number: e^x is infinite in float32 from x = 89 on, and x reaches thousands with 2,048 bits.

    The study minimises α·L/D + (1 − α)·CE with α = 0.02: `{dtsh: {weight: 0.02}, cross_entropy: {weight: 0.98}}`, CE as
    in `dsh`.

    The more bits, the worse were the study's codes; it blames the size of the loss, made for 12 to 48 bits. Two parts
    of it go out of scale. Θ grows with D, and the bend of softplus does not: divided by D it is a bend of width 1/D in
    s = (Θ_qp − Θ_qn)/D, which is −1 to 1 for finished codes; with 2,048 bits a hinge, which leaves a triplet that is
    barely right without any gradient. And, what does more harm in trials, λ = 1 draws every output to its sign as
    strongly as triplets draw it at most. Cross-entropy, which would keep codes of different classes apart, has less of
    a gradient for each of more bits, and soon none where codes are long enough to be classified rightly: then the
    quadratic term, which knows of no neighbours, makes the codes of all items one. `per_bit` minimises T·softplus((a −
    s)/T) + λ/D·Σ_y ‖sign(u_y) − u_y‖² with a margin and a temperature T that mean the same for any number of bits, and
    the λ of `dsh`. With T = 1/D, a margin of a/D and the same λ it is the published loss.
    """

    margin: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="a; half the bits if left out, or, with `per_bit`, ½"
    )
    regularisation: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="λ, how strongly outputs are drawn to ±1; 1, or 0.01 with `per_bit`",
    )
    per_bit: bool = Field(
        False, description="Θ per bit, so that the bend of the loss is as wide for any number of them"
    )
    temperature: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="T of `per_bit`; 1/32 if left out, as codes of 32 bits have it"
    )

    @model_validator(mode="after")
    def _scaled(self) -> DeepTripletSupervisedHashing:
        if self.temperature is not None and not self.per_bit:
            raise InputError(
                "temperature is of `per_bit: true`; without, the bits decide how sharp the bend is: leave it out."
            )
        return self

    def measure(self, batch: Batch) -> Outcome:
        """As `Objective.measure`."""
        query, positive, negative = self.outputs(batch)
        bits = query.shape[1]
        likeness = (query * (positive - negative)).sum(dim=1) / 2
        if self.per_bit:
            temperature = _given(self.temperature, 1 / 32)
            past = (likeness / bits - _given(self.margin, 0.5)) / temperature
            short = -temperature * functional.logsigmoid(past)
        else:
            short = -functional.logsigmoid(likeness - _given(self.margin, bits / 2)) / bits
        off = sum((_signs(outputs) - outputs).square().sum(dim=1) for outputs in (query, positive, negative))
        regularisation = _given(self.regularisation, 0.01 if self.per_bit else 1.0)
        return Outcome((short + regularisation * off / bits).mean())


def _given(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _signs(outputs: torch.Tensor) -> torch.Tensor:
    """Return −1 or 1 for each output, of 0 as the head has it: no one."""
    return torch.where(outputs > 0, 1.0, -1.0).to(outputs.dtype)
