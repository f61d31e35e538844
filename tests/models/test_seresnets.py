"""Our SE-ResNets are timm's: the same weights give the same features, logits and gradients."""

import pytest
import timm
import torch
from timm.layers import SEModule
from timm.models.resnet import Bottleneck, ResNet
from torch import nn
from trazo.errors import InputError
from trazo.models.factory import build, describe
from trazo.models.seresnets import _IMAGENET, SqueezeExcitation
from trazo.models.weights import Weights, begin_with, downloaded


def of_timm(name: str, classes: int) -> nn.Module:
    """What timm has, or what it is made of where timm has no name for it."""
    if name == "seresnet50":
        return timm.create_model(name, num_classes=classes)
    return ResNet(Bottleneck, (2, 2, 2, 2), num_classes=classes, block_args={"attn_layer": "se"})


def with_weights_of(theirs: nn.Module, name: str, classes: int, size: int) -> nn.Module:
    ours = build(name, classes=classes, channels=3, size=size, seed=4)
    names = [str(number) for number in range(classes)]
    begun = begin_with(ours, Weights(theirs.state_dict(), "t", "d"), architecture=name, classes=names, seed=4)
    assert begun.words == "t"
    return ours


@torch.no_grad()
@pytest.mark.parametrize("name", ["seresnet50", "seresnet26"])
def test_timm_s_weights_give_timm_s_features_and_logits(name, alive):
    theirs = alive(of_timm(name, 9))
    ours = with_weights_of(theirs, name, 9, 65).eval()
    images = torch.randn(2, 3, 65, 65, generator=torch.Generator().manual_seed(1))
    feature, logits = ours.embed(images, "pool")
    torch.testing.assert_close(feature, theirs.forward_head(theirs.forward_features(images), pre_logits=True))
    torch.testing.assert_close(logits, theirs(images))
    assert feature.shape == (2, 2048)


def test_it_learns_as_timm_s_does(alive):
    """One gradient of a network in training mode, key by key."""
    theirs = alive(of_timm("seresnet26", 4)).train()
    ours = with_weights_of(theirs, "seresnet26", 4, 48).train()
    images, labels = torch.randn(6, 3, 48, 48, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 4
    for network in (ours, theirs):
        nn.functional.cross_entropy(network(images), labels).backward()
    gradients = {ours.foreign.own_name(name): p.grad for name, p in theirs.named_parameters()}
    assert gradients.keys() == {name for name, _ in ours.named_parameters()}
    for name, p in ours.named_parameters():
        # Normalisation over few values magnifies how differently the two round.
        assert (p.grad - gradients[name]).norm() <= 0.05 * gradients[name].norm() + 1e-6, name


@pytest.mark.parametrize("channels", [16, 64, 72, 136, 192, 200, 256, 320, 520, 2048])
def test_channels_are_squeezed_to_as_many_as_timm_s(channels):
    ours, theirs = SqueezeExcitation(channels), SEModule(channels)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}


def test_blocks_are_squeezed_before_the_sum():
    """A block whose weights of channels are all zero passes its input on."""
    block = build("seresnet26", classes=2, channels=3, size=32, options={"width": 4}).stages["layer1"][1].eval()
    nn.init.constant_(block.se.fc2.weight, 0.0)
    nn.init.constant_(block.se.fc2.bias, -1e4)
    inputs = torch.rand(2, 16, 8, 8)
    torch.testing.assert_close(block(inputs), inputs)


def test_facts_and_options():
    facts = describe("seresnet50", channels=3, size=224, search=False)
    assert facts["parameters"] == sum(p.numel() for p in of_timm("seresnet50", 2).parameters())
    assert list(facts["features"]) == ["stem", "layer1", "layer2", "layer3", "layer4", "pool", "fc"]
    assert facts["pretrained"] == f"timm {_IMAGENET}"
    assert describe("seresnet26", channels=3, size=32, search=False)["pretrained"] == ""
    network = build("seresnet26", classes=7, channels=1, size=32, options={"width": 4, "embedding": 10}).eval()
    feature, logits = network.embed(torch.randn(3, 1, 32, 32), "embedding")
    assert (feature.shape, logits.shape) == ((3, 10), (3, 7))
    assert network.stages["layer4"][1].conv2.weight.shape == (32, 32, 3, 3)
    for name in ("seresnet50", "seresnet26"):
        for option in ({"embedding": 0}, {"width": "wide"}):
            with pytest.raises(InputError, match=f"option {next(iter(option))}: got"):
                build(name, classes=2, channels=3, size=32, options=option)


def test_the_named_weights_are_timm_s_default():
    assert f"seresnet50.{timm.get_pretrained_cfg('seresnet50').tag}" == _IMAGENET
    assert timm.get_pretrained_cfg(_IMAGENET).classifier == "fc"


def test_pretrained_weights_are_downloaded_by_timm(monkeypatch):
    given = of_timm("seresnet50", 1000)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *a, **k: given.state_dict())
    network = build("seresnet50", classes=8, channels=3, size=32)
    start = begin_with(network, downloaded(network, "seresnet50"), architecture="x", classes=["x"] * 8, seed=0)
    assert start.words == f"timm {_IMAGENET}; fc drawn from seed 0"
    assert torch.equal(network.stages["layer1"][0].se.fc1.weight, given.layer1[0].se.fc1.weight)
    other = build("seresnet26", classes=2, channels=3, size=32, options={"width": 4})
    with pytest.raises(InputError, match="no pretrained ones for seresnet26"):
        downloaded(other, "seresnet26")
