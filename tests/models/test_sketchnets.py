"""skNet and skResNet have the layers, in the order and of the sizes, that the study gives."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from trazo.errors import InputError
from trazo.models.factory import build, describe
from trazo.models.sketchnets import SamePool, SumBlock

NETS = ("sknet", "skresnet")
FORMS = ("unpadded", "padded")
LAYERS = (nn.Conv2d, nn.MaxPool2d, SamePool, nn.Linear, SumBlock)


def small(name: str, form: str, **options) -> nn.Module:
    widths = [4, 8, 8, 12] if name == "sknet" else [4, 8, 12, 12]
    given = {"form": form, "widths": widths, "fc": 16, **options}
    return build(name, classes=5, channels=1, size=128, options=given)


def shapes_of(name: str, form: str) -> list[tuple[int, ...]]:
    """Output shapes of all convolutions, pools, sums and full layers at 128×128, in the order they run."""
    network = build(name, classes=100, channels=1, size=128, options={"form": form}).eval()
    shapes: list[tuple[int, ...]] = []
    for module in network.modules():
        if isinstance(module, LAYERS):
            module.register_forward_hook(lambda m, i, o: shapes.append(tuple(o.shape[1:])))
    with torch.no_grad():
        network(torch.zeros(1, 1, 128, 128))
    return shapes


def square(channels: int, *sides: int) -> list[tuple[int, ...]]:
    return [(channels, side, side) for side in sides]


HEAD = [(1024,), (100,)]
# By hand: a valid 3×3 convolution takes 2 off, a valid P3/2 gives floor((n − 3) / 2) + 1; "same" ones n and ⌈n/2⌉.
SHAPES = {
    ("sknet", "unpadded"): [
        *square(64, 126, 124, 61), *square(128, 59, 57, 28), *square(128, 26, 24, 11), *square(256, 9, 7, 3), *HEAD,
    ],
    ("sknet", "padded"): [
        *square(64, 128, 128, 64), *square(128, 64, 64, 32), *square(128, 32, 32, 16), *square(256, 16, 16, 8), *HEAD,
    ],
    ("skresnet", "unpadded"): [
        *square(64, 126, 124, 61, *[61] * 6), *square(128, 59, 29, *[29] * 6), *square(256, 27, 13, *[13] * 6),
        *square(256, 11, 5), *HEAD,
    ],
    ("skresnet", "padded"): [
        *square(64, 128, 128, 64, *[64] * 6), *square(128, 64, 32, *[32] * 6), *square(256, 32, 16, *[16] * 6),
        *square(256, 16, 8), *HEAD,
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "form"), SHAPES)
def test_layers_have_the_study_s_shapes(name, form):
    assert shapes_of(name, form) == SHAPES[name, form]


@pytest.mark.parametrize(("name", "count"), [("sknet", 8), ("skresnet", 17)])
@pytest.mark.parametrize("form", FORMS)
def test_the_number_of_convolutions_is_the_study_s(name, count, form):
    network = small(name, form)
    assert sum(isinstance(m, nn.Conv2d) for m in network.modules()) == count
    assert all(m.kernel_size == (3, 3) and m.stride == (1, 1) for m in network.modules() if isinstance(m, nn.Conv2d))
    assert list(network.stages) == ["block1", "block2", "block3", "block4", "fc1", "fc2"]


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(
    ("form", "order"),
    [("unpadded", [nn.Conv2d, nn.ReLU, nn.BatchNorm2d]), ("padded", [nn.Conv2d, nn.BatchNorm2d, nn.ReLU])],
)
def test_norm_and_activation_come_in_the_form_s_order(name, form, order):
    network = small(name, form)
    units = [m for m in network.modules() if isinstance(m, nn.Sequential) and isinstance(m[0], nn.Conv2d)]
    assert len(units) == {"sknet": 8, "skresnet": 17}[name]
    assert all([type(layer) for layer in unit] == order for unit in units)


@pytest.mark.parametrize("name", NETS)
def test_dropout_is_the_form_s_own_unless_chosen(name):
    def shares(**options):
        return [m.p for m in small(name, **options).modules() if isinstance(m, nn.Dropout)]

    assert shares(form="unpadded") == []
    assert shares(form="padded") == [0.25]
    assert shares(form="padded", dropout=0) == []
    assert shares(form="unpadded", dropout=0.5) == [0.5]
    first = next(m for m in small(name, form="padded").stages["fc2"].modules() if not isinstance(m, nn.Sequential))
    assert isinstance(first, nn.Dropout)


def test_padded_weights_are_gaussian_and_unpadded_ones_he_normal():
    options = {"widths": [64, 64, 64, 64]}
    padded = build("sknet", classes=100, channels=1, size=128, options={**options, "form": "padded"})
    unpadded = build("sknet", classes=100, channels=1, size=128, options=options)

    def deviation(network, stage, *path):
        layer = network.stages[stage]
        for step in path:
            layer = layer[step]
        assert layer.weight.mean().abs() < 3 * layer.weight.std() / layer.weight.numel() ** 0.5
        return layer.weight.std().item()

    assert deviation(padded, "block2", 1, 0) == pytest.approx(0.01, rel=0.02)
    assert deviation(padded, "fc1", 1) == pytest.approx(0.02, rel=0.02)
    assert deviation(padded, "fc2", 1) == pytest.approx(0.02, rel=0.02)
    assert deviation(unpadded, "block2", 1, 0) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert deviation(unpadded, "fc1", 1) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert all(p.abs().max() == 0 for n, p in unpadded.named_parameters() if n.endswith("fc1.1.bias"))


def test_weights_are_counted_by_hand():
    network = build("sknet", classes=100, channels=1, size=128)
    widths = [1, 64, 64, 128, 128, 128, 128, 256, 256]
    convolutions = sum(9 * a * b + b for a, b in pairwise(widths))
    norms = 2 * sum(widths[1:])
    full = 256 * 3 * 3 * 1024 + 1024 + 1024 * 100 + 100
    assert sum(p.numel() for p in network.parameters()) == convolutions + norms + full


@pytest.mark.parametrize("form", FORMS)
def test_a_residual_block_adds_its_input_to_its_output(form):
    block = small("skresnet", form).stages["block2"][2].eval()
    x = torch.randn(2, 8, 9, 9)
    expected = x + block.second(block.first(x))
    torch.testing.assert_close(block(x), expected)
    for unit in (block.first, block.second):
        nn.init.zeros_(unit[0].weight)
    torch.testing.assert_close(block(x), x)


@pytest.mark.parametrize("side", [1, 2, 3, 4, 7, 8, 57, 124])
def test_the_padded_pool_is_tensorflow_s_same_pool(side):
    """SAME: ⌈n/2⌉ outputs; the padding needed for that is halved, the greater half after the image."""
    x = torch.randn(2, 3, side, side)
    out = -(-side // 2)
    total = max((out - 1) * 2 + 3 - side, 0)
    before = total // 2
    padded = np.full((2, 3, side + total, side + total), -np.inf)
    padded[:, :, before : before + side, before : before + side] = x.numpy()
    expected = [
        [padded[:, :, 2 * r : 2 * r + 3, 2 * c : 2 * c + 3].max(axis=(2, 3)) for c in range(out)] for r in range(out)
    ]
    np.testing.assert_array_equal(SamePool()(x).numpy(), np.moveaxis(np.array(expected), (0, 1), (2, 3)))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("form", FORMS)
def test_fc1_is_taken_after_its_relu_and_before_dropout(name, form):
    network = small(name, form).train()
    feature, logits = network.embed(torch.randn(4, 1, 128, 128), "fc1")
    assert feature.shape == (4, 16)
    assert logits.shape == (4, 5)
    assert feature.min() == 0
    if form == "unpadded":
        torch.testing.assert_close(functional.linear(feature, *network.stages["fc2"][0].parameters()), logits)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"widths": [64, 0, 128, 256]}, "option widths.*0"),
        ({"widths": [64, -1, 128, 256]}, "option widths.*-1"),
        ({"widths": [64, 128]}, "option widths.*four"),
        ({"widths": 64}, "option widths"),
        ({"widths": "wide"}, "option widths"),
        ({"fc": 0}, "option fc.*0"),
        ({"fc": 1.5}, "option fc"),
        ({"dropout": 1}, "option dropout.*1"),
        ({"dropout": -0.1}, "option dropout"),
        ({"form": "paded"}, "option form.*'padded'"),
    ],
)
def test_options_that_cannot_be_are_named(name, options, words):
    with pytest.raises(InputError, match=words):
        build(name, classes=5, channels=1, size=128, options=options)
    with pytest.raises(InputError, match=words):
        describe(name, channels=1, size=128, options=options)


@pytest.mark.parametrize(
    ("name", "form", "smallest"),
    # Backwards from one pixel, n before P3/2 being 2n + 1 and before a convolution n + 2:
    # 1, 3, 5, 7, 15, 17, 19, 39, 41, 43, 87, 89, 91 and 1, 3, 5, 11, 13, 27, 29, 59, 61, 63.
    [("sknet", "unpadded", 91), ("skresnet", "unpadded", 63), ("sknet", "padded", 1), ("skresnet", "padded", 1)],
)
def test_the_smallest_input_is_worked_out(name, form, smallest):
    assert describe(name, channels=1, size=128, options={"form": form})["smallest"] == smallest
    if smallest > 1:
        with pytest.raises(InputError, match="too small"):
            build(name, classes=2, channels=1, size=smallest - 1, options={"form": form})
