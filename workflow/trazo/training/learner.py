"""A network that learns: the network, its optimiser and its objectives, and one way from bytes to a loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trazo.models.checkpoint import prepare
from trazo.models.network import StagedNetwork
from trazo.training.objectives import Batch, Mixture, Outcome


@dataclass
class Learner:
    """What training and validation of one stage share.

    Attributes
    ----------
    network, optimizer, objective
        What learns, how, and what is minimised.
    feature
        The layer whose output objectives see as embeddings.
    channels, size, mean_image
        How bytes become the network's input (`models.checkpoint.prepare`).
    device, precision
        Where the network computes, and in which dtype.
    normalise
        As `mean_image`.
    """

    network: StagedNetwork
    optimizer: torch.optim.Optimizer
    objective: Mixture
    feature: str
    channels: int
    size: int
    mean_image: torch.Tensor | None
    device: torch.device
    precision: torch.dtype
    normalise: str = "none"

    def outputs(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return logits (B, C), and embeddings (B, D) if an objective looks at them, of (B, H, W[, 3]) uint8."""
        images = prepare(
            pixels,
            channels=self.channels,
            size=self.size,
            mean_image=self.mean_image,
            device=self.device,
            normalise=self.normalise,
        )
        with torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.precision == torch.bfloat16, cache_enabled=False
        ):
            if not self.objective.uses_embeddings:
                return self.network(images), None
            embeddings, logits = self.network.embed(images, self.feature)
            return logits, embeddings

    def outcome(self, pixels: torch.Tensor, labels: torch.Tensor, groups: int) -> Outcome:
        """Return what the objectives say of a batch: (B, H, W[, 3]) uint8 and (B,) int64, laid out as in `Batch`."""
        logits, embeddings = self.outputs(pixels)
        return self.objective.measure(Batch(labels, logits, embeddings, groups))
