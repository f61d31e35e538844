"""What a network is worth on held-out images while it learns: the loss it minimises, and accuracy if it classifies."""

from __future__ import annotations

import torch

from trazo.errors import InputError
from trazo.store import Images
from trazo.training.learner import Learner
from trazo.training.objectives import Batch, Mixture, Objective
from trazo.training.sampling import Sampling, samplings

_BATCH = 256


class Validation:
    """Measures a learner on held-out images, always on the same batches.

    Each objective sees the batches of its own sampling, drawn once: pairs and triplets are the same for every epoch,
    seed and mixture, and a classifier is measured on every image once.

    Parameters
    ----------
    objective
        What is minimised.
    held_out
        The images.
    batch_size
        Images a batch, as in training: in-batch mining depends on it.

    Raises
    ------
    InputError
        If a class has too few images to make pairs or triplets of.
    """

    def __init__(self, objective: Mixture, held_out: Images, batch_size: int) -> None:
        self.held_out = held_out
        self._batches = {name: _fixed_batches(part, held_out, batch_size) for name, part in objective.parts.items()}

    def measure(self, learner: Learner) -> dict[str, float]:
        """Return `validation_loss`, and `validation_accuracy` if a classifier learns; leaves evaluation mode on."""
        learner.network.eval()
        # Whatever draws random numbers inside an objective (miners) draws the same ones for every epoch.
        torch.manual_seed(0)
        labels = torch.from_numpy(self.held_out.labels).to(learner.device)
        with torch.inference_mode():
            outputs = [
                learner.outputs(torch.from_numpy(self.held_out.pixels[begin : begin + _BATCH]))
                for begin in range(0, len(labels), _BATCH)
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
                    measured["validation_accuracy"] = int(correct) / items
        return {"validation_loss": loss, **measured}


def _fixed_batches(part: Objective, held_out: Images, batch_size: int) -> list[torch.Tensor]:
    if part.sampling == "items":
        return list(torch.arange(len(held_out)).split(_BATCH))
    kind: type[Sampling] = samplings.get(part.sampling)
    options = part.sampling_options
    if "per_class" in options:
        # Fewer a class are held out, as a rule, than are learned from.
        fewest = min((held_out.labels == label).sum() for label in set(held_out.labels.tolist()))
        options["per_class"] = max(2, min(options["per_class"], int(fewest)))
    try:
        return kind(held_out.labels, held_out.classes, batch_size, **options).batches(seed=0, number=0)
    except InputError as error:
        raise InputError(f"validate_on: {error}") from error
