"""Objectives by name: what a stage minimises."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from trazo.registry import Registry

objectives: Registry = Registry("objective")


@dataclass(frozen=True)
class Outcome:
    """What an objective says of one batch.

    Attributes
    ----------
    loss
        () float32, the mean over the batch; what is minimised.
    correct
        () int64, how many of the batch were classified rightly.
    """

    loss: torch.Tensor
    correct: torch.Tensor


@objectives.register("cross_entropy")
def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> Outcome:
    """Softmax cross-entropy: the mean over the batch of −log p(true class).

    Parameters
    ----------
    logits
        (B, C) float.
    labels
        (B,) int64.
    """
    # Float32 whatever the network computed in: a sum of exponentials in bfloat16 is too coarse to learn from.
    logits = logits.float()
    return Outcome(functional.cross_entropy(logits, labels), (logits.argmax(dim=1) == labels).sum())
