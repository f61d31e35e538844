"""Our ResNet-50 is torchvision's: the same weights give the same features and logits."""

import pytest
import torch
import torchvision
from torch import nn
from trazo.errors import InputError
from trazo.models.bottlenecks import _IMAGENET
from trazo.models.factory import build, describe
from trazo.models.weights import Weights, begin_with


@torch.no_grad()
def test_torchvision_s_weights_give_torchvision_s_features_and_logits(alive):
    theirs = alive(torchvision.models.resnet50(weights=None, num_classes=9))
    ours = build("resnet50", classes=9, channels=3, size=65, seed=4)
    begin_with(ours, Weights(theirs.state_dict(), "t", "d"), architecture="resnet50", classes=list("abcdefghi"), seed=4)
    images = torch.randn(2, 3, 65, 65, generator=torch.Generator().manual_seed(1))
    feature, logits = ours.eval().embed(images, "pool")
    without_last = nn.Sequential(*list(theirs.children())[:-1])
    torch.testing.assert_close(feature, without_last(images).flatten(1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits, theirs(images), rtol=1e-4, atol=1e-4)
    assert feature.shape == (2, 2048)


def test_it_learns_as_torchvision_s_does(alive):
    """One gradient of a network in training mode, key by key."""
    theirs = alive(torchvision.models.resnet50(weights=None, num_classes=4)).train()
    ours = build("resnet50", classes=4, channels=3, size=48).train()
    begin_with(ours, Weights(theirs.state_dict(), "t", "d"), architecture="resnet50", classes=list("abcd"), seed=0)
    images, labels = torch.randn(6, 3, 48, 48, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 4
    for network in (ours, theirs):
        nn.functional.cross_entropy(network(images), labels).backward()
    gradients = {ours.foreign.own_name(name): p.grad for name, p in theirs.named_parameters()}
    assert gradients.keys() == {name for name, _ in ours.named_parameters()}
    for name, p in ours.named_parameters():
        # Normalisation over few values magnifies how differently the two round.
        assert (p.grad - gradients[name]).norm() <= 0.05 * gradients[name].norm() + 1e-6, name


def test_weights_are_counted_as_torchvision_counts_them():
    facts = describe("resnet50", channels=3, size=224, search=False)
    given = torchvision.models.ResNet50_Weights[_IMAGENET].meta["num_params"]
    assert facts["parameters"] == given - (1000 - 2) * 2049
    assert list(facts["features"]) == ["stem", "layer1", "layer2", "layer3", "layer4", "pool", "fc"]
    assert facts["features"]["pool"] == 2048


def test_the_named_weights_are_torchvision_s_default():
    assert torchvision.models.ResNet50_Weights.DEFAULT.name == _IMAGENET
    assert (
        build("resnet50", classes=2, channels=3, size=32).foreign.title == f"torchvision ResNet50_Weights.{_IMAGENET}"
    )


def test_convolutions_are_he_normal_by_what_they_feed():
    weight = build("resnet50", classes=2, channels=3, size=64).stages["layer3"][1].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)


def test_an_embedding_goes_before_the_classifier():
    network = build("resnet50", classes=7, channels=1, size=32, options={"width": 4, "embedding": 10}).eval()
    feature, logits = network.embed(torch.randn(3, 1, 32, 32), "embedding")
    assert (feature.shape, logits.shape) == ((3, 10), (3, 7))
    torch.testing.assert_close(logits, network.stages["fc"](feature))
    assert list(network.stages)[-3:] == ["pool", "embedding", "fc"]
    for option in ({"embedding": 0}, {"embedding": True}, {"width": "wide"}):
        with pytest.raises(InputError, match=f"option {next(iter(option))}: got"):
            build("resnet50", classes=2, channels=3, size=32, options=option)
