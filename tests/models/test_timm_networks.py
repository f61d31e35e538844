"""Any architecture of timm is a network: same weights, same features; and what cannot be built says why."""

import subprocess
import sys

import pytest
import timm
import torch
from trazo.errors import InputError
from trazo.models.factory import build, describe
from trazo.models.weights import Weights, begin_with
from trazo.provenance import LIBRARY

CLASSES = list("abcde")


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "size", "kept"),
    # The classifier of a pre-activation network is a convolution there, which fits no linear one.
    [("seresnet50", 64, True), ("test_vit", 96, True), ("test_convnext", 64, True), ("resnetv2_18", 64, False)],
)
def test_timm_s_weights_give_timm_s_features_and_logits(name, size, kept):
    torch.manual_seed(0)
    theirs = timm.create_model(name, num_classes=5, **({"img_size": size} if "vit" in name else {})).eval()
    ours = build(f"timm:{name}", classes=5, channels=3, size=size, seed=3)
    start = begin_with(ours, Weights(theirs.state_dict(), "t", "d"), architecture=name, classes=CLASSES, seed=3)
    images = torch.randn(2, 3, size, size)
    feature, logits = ours.eval().embed(images, "backbone")
    pooled = theirs.forward_head(theirs.forward_features(images), pre_logits=True).flatten(1)
    torch.testing.assert_close(feature, pooled, rtol=1e-4, atol=1e-4)
    assert start.words == ("t" if kept else "t; classifier drawn from seed 3")
    if kept:
        torch.testing.assert_close(logits, theirs(images), rtol=1e-4, atol=1e-4)


def test_facts_of_a_network():
    facts = describe("timm:seresnet50", channels=3, size=64, search=False)
    assert facts["features"] == {"backbone": 2048, "classifier": 2}
    assert facts["module"] == "trazo.models.timm_networks"
    assert facts["pretrained"].startswith("timm seresnet50.")
    assert facts["smallest"] == 64
    tagged = describe("timm:resnet50.tv_in1k", channels=3, size=64, search=False)
    assert tagged["pretrained"] == "timm resnet50.tv_in1k"
    # A stem of stride 4 and three halvings.
    assert describe("timm:test_convnext", channels=3, size=64)["smallest"] == 4 * 2**3


def test_one_channel_an_embedding_and_options_of_timm():
    options = {"embedding": 6, "drop_rate": 0.5}
    network = build("timm:test_resnet", classes=5, channels=1, size=32, options=options).eval()
    feature, logits = network.embed(torch.randn(2, 1, 32, 32), "embedding")
    assert (feature.shape, logits.shape) == ((2, 6), (2, 5))
    assert network.stages["backbone"].drop_rate == 0.5


def test_a_transformer_takes_the_size_it_is_built_for():
    network = build("timm:test_vit", classes=3, channels=3, size=48).eval()
    assert network(torch.zeros(1, 3, 48, 48)).shape == (1, 3)
    assert describe("timm:test_vit", channels=3, size=48)["smallest"] <= 48


def test_weights_depend_on_the_seed_alone():
    first, second, other = (build("timm:test_resnet", classes=3, channels=3, size=32, seed=s) for s in (1, 1, 2))
    states = [network.state_dict() for network in (first, second, other)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])


@pytest.mark.parametrize(
    ("architecture", "options", "words"),
    [
        ("timm:seresnet5", {}, ["'seresnet50'", "timm:seresnet5"]),
        ("timm:resnet50.tv_in2k", {}, ["weights of resnet50", "'resnet50.tv_in1k'"]),
        ("timm:hf-hub:someone/model", {}, ["unknown architecture"]),
        ("tim:resnet50", {}, ["library", "'timm'"]),
        ("resnet51", {}, ["'resnet50'", "timm:<name>"]),
        ("timm:test_resnet", {"num_classes": 3}, ["'num_classes'", "classes"]),
        ("timm:test_resnet", {"pretrained": True}, ["'pretrained'", "`weights`"]),
        ("timm:test_resnet", {"drop_rat": 0.1}, ["cannot be built", "drop_rat"]),
        ("timm:test_resnet", {"global_pool": ""}, ["no vector an image", "global_pool"]),
    ],
)
def test_mistakes_are_named(architecture, options, words):
    with pytest.raises(InputError) as caught:
        build(architecture, classes=2, channels=3, size=64, options=options)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_size_that_cannot_be_used_is_told():
    with pytest.raises(InputError, match=r"timm:maxvit_tiny_tf_224.*100×100.*"):
        describe("timm:maxvit_tiny_tf_224", channels=3, size=100)


def test_timm_is_loaded_only_where_it_is_used():
    script = (
        "import sys\nfrom trazo.models.factory import build\nfrom trazo.training import loop\n"
        "build('resnet50', classes=2, channels=3, size=32, options={'width': 2})\n"
        "print([name for name in ('timm', 'torchvision', 'safetensors', 'huggingface_hub') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=LIBRARY.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
