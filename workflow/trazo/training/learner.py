"""A network that learns: the network, its optimiser and its objectives, and one way from bytes to a loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trazo.models.checkpoint import prepare
from trazo.models.network import StagedNetwork
from trazo.training.augment import Augmenter
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
    augmenter
        How images are changed while it trains, or None.
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
    augmenter: Augmenter | None = None

    def outputs(
        self, pixels: torch.Tensor, domains: torch.Tensor | None = None, augment: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return logits (B, C), and embeddings (B, D) if an objective looks at them.

        Parameters
        ----------
        pixels
            (B, H, W) or (B, H, W, 3) uint8.
        domains
            (B,) uint8, 0 a sketch and 1 a photo, or None; a network with branches needs them, best in the CPU's memory.
        augment
            What the augmenter draws from, on the device; None: images are seen as they are.
        """
        if augment is not None and self.augmenter is not None:
            pixels = self.augmenter.change(pixels.to(self.device, non_blocking=True), domains, augment)
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
                return self.network(images, domains), None
            embeddings, logits = self.network.embed(images, self.feature, domains)
            return logits, embeddings

    def outcome(
        self,
        pixels: torch.Tensor,
        labels: torch.Tensor,
        groups: int,
        *,
        domains: torch.Tensor | None = None,
        augment: torch.Generator | None = None,
    ) -> Outcome:
        """Return what the objectives say of a batch: as `outputs`, with (B,) int64 labels, laid out as in `Batch`."""
        logits, embeddings = self.outputs(pixels, domains, augment)
        return self.objective.measure(Batch(labels, logits, embeddings, groups))
