"""The embedding net has the layers, sizes and number of weights that the study and its code give."""

import pytest
import torch
from torch import nn
from trazo.errors import InputError
from trazo.models.factory import build, describe


@pytest.mark.parametrize(
    ("size", "sides"),
    # By hand: a valid 5×5 convolution takes 4 off, a pool of 2 halves and rounds down. 28 is the code's own size.
    [(28, [24, 12, 8, 4]), (64, [60, 30, 26, 13]), (49, [45, 22, 18, 9])],
)
def test_layers_have_the_study_s_shapes(size, sides):
    network = build("embedding_net", classes=8, channels=3, size=size).eval()
    seen = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.Linear | nn.PReLU):
            module.register_forward_hook(lambda m, i, o: seen.append((type(m).__name__, *o.shape[1:])))
    with torch.no_grad():
        network(torch.zeros(1, 3, size, size))
    a, b, c, d = sides
    assert seen == [
        ("Conv2d", 32, a, a), ("PReLU", 32, a, a), ("MaxPool2d", 32, b, b),
        ("Conv2d", 64, c, c), ("PReLU", 64, c, c), ("MaxPool2d", 64, d, d),
        ("Linear", 256), ("PReLU", 256), ("Linear", 256), ("PReLU", 256), ("Linear", 10), ("Linear", 8),
    ]  # fmt: skip


def test_weights_are_counted_by_hand():
    network = build("embedding_net", classes=8, channels=1, size=28)
    convolutions = 32 * 25 + 32 + 64 * 32 * 25 + 64
    full = 64 * 4 * 4 * 256 + 256 + 256 * 256 + 256 + 256 * 10 + 10 + 10 * 8 + 8
    assert sum(p.numel() for p in network.parameters()) == convolutions + full + 4


def test_options_and_stages():
    options = {"widths": [4, 6, 8], "fc": 5, "dimensions": 3}
    network = build("embedding_net", classes=2, channels=1, size=64, options=options).eval()
    assert list(network.stages) == ["block1", "block2", "block3", "fc1", "fc2", "embedding", "classifier"]
    feature, logits = network.embed(torch.randn(2, 1, 64, 64), "embedding")
    assert (feature.shape, logits.shape) == ((2, 3), (2, 2))
    # Nothing comes after the last linear layer: negating it negates the embedding.
    for values in network.stages["embedding"].parameters():
        values.data.neg_()
    torch.manual_seed(0)
    images = torch.randn(2, 1, 64, 64)
    negated = network.embed(images, "embedding")[0]
    for values in network.stages["embedding"].parameters():
        values.data.neg_()
    torch.testing.assert_close(network.embed(images, "embedding")[0], -negated)
    for name, value in (("widths", []), ("widths", [4, 0]), ("fc", 2.5), ("dimensions", 0), ("widths", "wide")):
        with pytest.raises(InputError, match=f"option {name}: got"):
            build("embedding_net", classes=2, channels=1, size=64, options={name: value})
    assert describe("embedding_net", channels=3, size=32)["smallest"] == 16
