"""Networks have the shapes that the studies give, and say what they cannot take."""

import pytest
import torch
from torch import nn
from trazo.errors import InputError
from trazo.models.factory import build, describe, load_architectures
from trazo.models.network import StagedNetwork, architectures

load_architectures()


def shapes_of(network: StagedNetwork, size: int, channels: int = 3) -> dict[str, tuple[int, ...]]:
    """Shapes after every layer that is neither norm nor activation, by running the network."""
    shapes = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.Linear):
            module.register_forward_hook(lambda m, i, o, name=name: shapes.__setitem__(name, tuple(o.shape[1:])))
    with torch.no_grad():
        network.eval()(torch.zeros(1, channels, size, size))
    return shapes


def test_alexnet_is_the_study_s():
    # Worked by hand from STUDIES §1 for 224×224, no padding anywhere: floor((n − k) / stride) + 1.
    shapes = list(shapes_of(build("alexnet", classes=12, channels=3, size=224), 224).values())
    assert shapes == [
        (96, 54, 54), (96, 26, 26), (256, 22, 22), (256, 10, 10), (384, 8, 8), (384, 6, 6), (256, 4, 4),
        (1024,), (1024,), (12,),
    ]  # fmt: skip


def test_alexnet_s_weights_are_counted_by_hand():
    network = build("alexnet", classes=12, channels=3, size=224)
    convolutions = 96 * 3 * 121 + 256 * 96 * 25 + 384 * 256 * 9 + 384 * 384 * 9 + 256 * 384 * 9
    full = 4096 * 1024 + 1024 * 1024 + 1024 * 12 + 12
    norms = 2 * (96 + 256 + 384 + 384 + 256 + 1024 + 1024)
    assert sum(p.numel() for p in network.parameters()) == convolutions + full + norms


def test_fc7_is_taken_after_its_relu():
    network = build("alexnet", classes=12, channels=1, size=170).eval()
    feature, logits = network.embed(torch.randn(4, 1, 170, 170), "fc7")
    assert feature.shape == (4, 1024)
    assert logits.shape == (4, 12)
    assert feature.min() == 0


def test_resnet34_is_the_study_s():
    network = build("resnet34", classes=12, channels=3, size=224)
    shapes = shapes_of(network, 224)
    convolutions = [name for name, shape in shapes.items() if len(shape) == 3 and "projection" not in name]
    # 1 stem + its pool + 2 × (3 + 4 + 6 + 3) = 34 with the head.
    assert len(convolutions) == 1 + 1 + 32
    assert [len(network.stages[f"stage{i}"]) for i in (1, 2, 3, 4)] == [3, 4, 6, 3]
    assert shapes["stages.stem.0"] == (64, 112, 112)
    assert shapes["stages.stem.1"] == (64, 56, 56)
    assert shapes["stages.stage4.2.conv2"] == (512, 7, 7)
    projections = [name for name in shapes if "projection" in name]
    assert len(projections) == 3
    feature, _ = network.eval().embed(torch.zeros(2, 3, 224, 224), "pool")
    assert feature.shape == (2, 512)


def test_a_pre_activation_block_is_an_identity_when_its_last_weights_are_zero():
    block = build("resnet34", classes=2, channels=3, size=64).stages["stage1"][1]
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 64, 8, 8)
    torch.testing.assert_close(block(x), x)


@pytest.mark.parametrize("name", architectures.names())
def test_every_architecture_builds_learns_and_describes_itself(name):
    facts = describe(name, channels=1, size=192)
    network = build(name, classes=5, channels=1, size=192, seed=3)
    for layer, width in facts["features"].items():
        feature, logits = network.eval().embed(torch.zeros(2, 1, 192, 192), layer)
        if layer != list(facts["features"])[-1]:
            assert feature.shape == (2, width)
        assert logits.shape == (2, 5)
    network.train()(torch.randn(2, 1, 192, 192)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("name", architectures.names())
def test_the_smallest_input_is_the_smallest(name):
    smallest = describe(name, channels=3, size=1024)["smallest"]
    network = build(name, classes=2, channels=3, size=smallest).eval()
    assert network(torch.zeros(1, 3, smallest, smallest)).shape == (1, 2)
    if smallest > 1:
        with pytest.raises(InputError, match="too small"):
            build(name, classes=2, channels=3, size=smallest - 1)


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(5)
    first = build("resnet18", classes=2, channels=1, size=32, options={"width": 4}, seed=1).state_dict()
    before = torch.get_rng_state()
    second = build("resnet18", classes=2, channels=1, size=32, options={"width": 4}, seed=1).state_dict()
    other = build("resnet18", classes=2, channels=1, size=32, options={"width": 4}, seed=2).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not torch.equal(first["stages.stem.0.weight"], other["stages.stem.0.weight"])


def test_what_exists_twice_is_counted_twice():
    arguments = {"channels": 3, "size": 32, "options": {"width": 4}, "search": False}
    plain, branched = describe("resnet18", **arguments), describe("resnet18", **arguments, shared_from="stage3")
    stages = build("resnet18", classes=2, channels=3, size=32, options={"width": 4}).stages
    own = sum(p.numel() for name in ("stem", "stage1", "stage2") for p in stages[name].parameters())
    assert branched == {**plain, "parameters": plain["parameters"] + own}
    with pytest.raises(InputError, match=r"shared_from: unknown stage 'stage5'.*'stage4'.*head, pool, stage1"):
        describe("resnet18", **arguments, shared_from="stage5")


def test_he_normal_weights_have_the_deviation_he_gives():
    network = build("alexnet", classes=12, channels=3, size=224)
    weight = network.stages["conv2"][0].weight
    assert weight.std().item() == pytest.approx((2 / (96 * 25)) ** 0.5, rel=0.02)


def test_mistakes_are_named():
    with pytest.raises(InputError, match="'alexnet'"):
        build("alexnt", classes=2, channels=3, size=224)
    with pytest.raises(InputError, match="'width'"):
        build("alexnet", classes=2, channels=3, size=224, options={"widht": 1})
    with pytest.raises(InputError, match="'fc7'"):
        build("alexnet", classes=2, channels=3, size=224).embed(torch.zeros(1, 3, 224, 224), "fc77")
    assert describe("alexnet", channels=3, size=100)["features"] == {}
