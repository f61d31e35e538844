"""The small embedding network of the `scenes` study, made to be trained by pairs and triplets."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from trazo.errors import InputError
from trazo.models.network import StagedNetwork, architectures, flat_size, need_width


@architectures.register("embedding_net")
def embedding_net(
    *,
    classes: int,
    channels: int,
    size: int,
    widths: Sequence[int] = (32, 64),
    fc: int = 256,
    dimensions: int = 10,
) -> StagedNetwork:
    """Build the embedding net: blocks of conv 5×5 – PReLU – max-pool 2; fc – PReLU – fc – PReLU – fc 10; a classifier.

    Unpadded, with torch's own initial weights, as the code that the study names has them
    (github.com/adambielski/siamese-triplet, `EmbeddingNet`). Sides for 64×64: 60, 30 | 26, 13. Objectives of
    embeddings leave the classifier as it was drawn.

    Parameters
    ----------
    classes
        Number of logits.
    channels
        Input channels.
    size
        Side of the square input in pixels; at least 16 with two blocks.
    widths
        Channels of the blocks.
    fc
        Units of fc1 and fc2.
    dimensions
        Width of the embedding.

    Returns
    -------
    StagedNetwork
        Stages block1, block2, fc1, fc2, embedding, classifier; the study's feature is embedding, (B, 10).

    Raises
    ------
    InputError
        If an option cannot be used, or the input is too small.

    References
    ----------
    Study `scenes`, tasks b and c.
    """
    if isinstance(widths, str) or not isinstance(widths, Sequence) or not widths:
        raise InputError(f"option widths: got {widths!r}; expected a list of whole numbers from 1, one a block.")
    fc = need_width("fc", fc, "units of fc1 and fc2")
    dimensions = need_width("dimensions", dimensions, "width of the embedding")
    stages: dict[str, nn.Module] = {}
    channels_in = channels
    for index, given in enumerate(widths, start=1):
        width = need_width("widths", given, f"channels of block {index}")
        stages[f"block{index}"] = nn.Sequential(nn.Conv2d(channels_in, width, 5), nn.PReLU(), nn.MaxPool2d(2))
        channels_in = width
    flat = flat_size(stages, channels, size)
    stages["fc1"] = nn.Sequential(nn.Flatten(), nn.Linear(flat, fc), nn.PReLU())
    stages["fc2"] = nn.Sequential(nn.Linear(fc, fc), nn.PReLU())
    stages["embedding"] = nn.Linear(fc, dimensions)
    stages["classifier"] = nn.Linear(dimensions, classes)
    return StagedNetwork(stages)
