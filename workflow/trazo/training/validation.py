"""What a network is worth while it learns, on images held out or learned from: its loss, and accuracy if it classifies.

The weights are frozen meanwhile: dropout and the batch's own statistics, which training has, are off.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from trazo.device import Blocks
from trazo.loading import Source
from trazo.store import Images
from trazo.training.joined import members_of, subset
from trazo.training.learner import Learner
from trazo.training.objectives import Batch, Mixture, Objective
from trazo.training.sampling import Sampling, samplings

_BATCH = 256


def sample(data: Images, count: int) -> Images:
    """Return `count` images of `data`, or all there are, spread over the classes by their sizes; always the same.

    Of sketches and photos, both are spread so.
    """
    order = np.random.default_rng(0).permutation(len(data))
    domains = members_of(data).domains
    kinds = data.labels if domains is None else data.labels * 2 + domains
    # Every image by how much of its class comes before it: the first ones hold as large a part of every class.
    before = np.empty(len(data))
    for kind in np.unique(kinds):
        own = order[kinds[order] == kind]
        before[own] = (np.arange(len(own)) + 0.5) / len(own)
    return subset(data, np.sort(order[np.argsort(before[order], kind="stable")[:count]]))


class Validation:
    """Measures a learner on images with its weights frozen, always on the same batches.

    Each objective sees the batches of its own sampling, drawn once: pairs and triplets are the same for every epoch,
    seed and mixture, and a classifier is measured on every image once.

    Parameters
    ----------
    objective
        What is minimised.
    images
        What it is measured on.
    batch_size
        Images a batch, as in training: in-batch mining depends on it.
    source
        Gives the images' pixels.
    prefix
        Before the names of what is measured.

    Raises
    ------
    InputError
        If a class has too few images to make pairs or triplets of.
    """

    def __init__(
        self, objective: Mixture, images: Images, batch_size: int, source: Source, prefix: str = "validation"
    ) -> None:
        self.images = images
        self.source = source
        self.prefix = prefix
        domains = members_of(images).domains
        self._domains = None if domains is None else torch.from_numpy(domains)
        self._fitting = Blocks(_BATCH, f"{prefix}, images at a time")
        self._batches = {name: _fixed_batches(part, images, batch_size) for name, part in objective.parts.items()}

    def measure(self, learner: Learner) -> dict[str, float]:
        """Return `<prefix>_loss`, and `<prefix>_accuracy` if a classifier learns; leaves evaluation mode on."""
        learner.network.eval()
        # Whatever draws random numbers inside an objective (miners) draws the same ones for every epoch.
        torch.manual_seed(0)
        labels = torch.from_numpy(self.images.labels).to(learner.device)
        with torch.inference_mode():
            blocks = torch.arange(len(labels)).split(_BATCH)
            outputs = [
                output
                for rows, pixels in zip(blocks, self.source.batches(blocks))
                for output in self._outputs(learner, pixels, None if self._domains is None else self._domains[rows])
            ]
            logits = torch.cat([logits for logits, _ in outputs])
            embeddings = torch.cat([e for _, e in outputs]) if learner.objective.uses_embeddings else None
            loss, measured = 0.0, {}
            for name, part in learner.objective.parts.items():
                groups = samplings.get(part.sampling).groups
                total = torch.zeros((), dtype=torch.float64, device=learner.device)
                correct = torch.zeros((), dtype=torch.int64, device=learner.device)
                for rows in self._batches[name]:
                    at = rows.to(learner.device)
                    seen = None if embeddings is None else embeddings[at]
                    outcome = part.measure(Batch(labels[at], logits[at], seen, groups))
                    total += outcome.loss.double() * len(rows)
                    correct += 0 if outcome.correct is None else outcome.correct
                items = sum(len(rows) for rows in self._batches[name])
                loss += part.weight * float(total) / items
                if part.uses_logits:
                    measured[f"{self.prefix}_accuracy"] = int(correct) / items
        return {f"{self.prefix}_loss": loss, **measured}

    def _outputs(
        self, learner: Learner, pixels: torch.Tensor, domains: torch.Tensor | None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
        """Yield the outputs of a batch, in parts where the device's memory does not suffice for all of it at once."""

        def outputs(part: slice) -> tuple[torch.Tensor, torch.Tensor | None]:
            return learner.outputs(pixels[part], None if domains is None else domains[part])

        return (output for _, output in self._fitting.over(len(pixels), outputs))


def _fixed_batches(part: Objective, images: Images, batch_size: int) -> list[torch.Tensor]:
    if part.sampling == "items":
        return list(torch.arange(len(images)).split(_BATCH))
    kind: type[Sampling] = samplings.get(part.sampling)
    options = part.sampling_options
    if "per_class" in options:
        # Fewer a class are held out, as a rule, than are learned from.
        fewest = min((images.labels == label).sum() for label in set(images.labels.tolist()))
        options["per_class"] = max(2, min(options["per_class"], int(fewest)))
    return kind(members_of(images), batch_size, **options).batches(seed=0, number=0)
