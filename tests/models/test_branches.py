"""Each image passes through its own branch, all through the shared stages, as plain networks put together by hand."""

import pytest
import torch
from torch import nn
from trazo.errors import InputError
from trazo.models.branches import DOMAINS, BranchedNetwork
from trazo.models.factory import build
from trazo.models.network import StagedNetwork

SIZE = 48
STAGES = ["stem", "layer1", "layer2", "layer3", "layer4", "pool", "fc"]
MIXED = torch.tensor([0, 1, 1, 0, 1, 0, 1], dtype=torch.uint8)


def plain(seed: int) -> StagedNetwork:
    return build("seresnet26", classes=3, channels=3, size=SIZE, options={"width": 4}, seed=seed)


def images_of(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def three(alive) -> dict[str, StagedNetwork]:
    """A plain network for each part of one with branches."""
    return {part: alive(plain(seed), seed) for seed, part in enumerate(("sketch", "photo", "shared"), start=1)}


def joined(parts: dict[str, StagedNetwork], shared_from: str) -> BranchedNetwork:
    """Put a network with branches together, key by key."""
    network = BranchedNetwork(plain(9), shared_from)
    state = {}
    for key in network.state_dict():
        if key.startswith("stages."):
            state[key] = parts["shared"].state_dict()[key]
        else:
            _, domain, rest = key.split(".", 2)
            state[key] = parts[domain].state_dict()[f"stages.{rest}"]
    network.load_state_dict(state)
    return network.eval()


def by_hand(parts: dict[str, StagedNetwork], shared_from: str, images: torch.Tensor, domains: list[int]) -> dict:
    """The output of every stage: each share through its own network's first stages, all through the shared one's."""
    cut = STAGES.index(shared_from)
    outputs, found = images, {}
    for name in STAGES[:cut]:
        following = [None] * len(domains)
        for number, part in enumerate(DOMAINS):
            rows = [row for row, domain in enumerate(domains) if domain == number]
            if rows:
                for row, output in zip(rows, parts[part].stages[name](torch.stack([outputs[r] for r in rows]))):
                    following[row] = output
        outputs = found[name] = torch.stack(following)
    for name in STAGES[cut:]:
        outputs = found[name] = parts["shared"].stages[name](outputs)
    return found


@torch.no_grad()
@pytest.mark.parametrize("shared_from", STAGES)
def test_each_image_passes_through_its_own_branch(alive, shared_from):
    parts = three(alive)
    network = joined(parts, shared_from)
    expected = by_hand(parts, shared_from, images_of(7), MIXED.tolist())
    for layer in STAGES:
        feature, logits = network.embed(images_of(7), layer, MIXED)
        torch.testing.assert_close(feature, expected[layer].flatten(1))
        torch.testing.assert_close(logits, expected["fc"])
    torch.testing.assert_close(network(images_of(7), MIXED), expected["fc"])
    assert network.classifier == "fc"
    assert network.layers == STAGES


def test_it_learns_as_its_parts_do(alive):
    """Gradients and statistics of normalisation, own and shared, of one step in training mode."""
    parts = three(alive)
    network = joined(parts, "layer3").train()
    for part in parts.values():
        part.train()
    labels = torch.arange(7) % 3
    nn.functional.cross_entropy(network(images_of(7), MIXED), labels).backward()
    nn.functional.cross_entropy(by_hand(parts, "layer3", images_of(7), MIXED.tolist())["fc"], labels).backward()
    expected = {part: dict(of.named_parameters()) | dict(of.named_buffers()) for part, of in parts.items()}
    for key, value in [*network.named_parameters(), *network.named_buffers()]:
        part, rest = ("shared", key) if key.startswith("stages.") else key.removeprefix("branches.").split(".", 1)
        theirs = expected[part][rest if part == "shared" else f"stages.{rest}"]
        torch.testing.assert_close(value, theirs, msg=key)
        if value.requires_grad:
            torch.testing.assert_close(value.grad, theirs.grad, rtol=1e-3, atol=1e-5, msg=key)


def test_photos_teach_the_sketches_own_stages_nothing():
    network = BranchedNetwork(plain(1), "layer3")
    network(images_of(4), 1).sum().backward()
    assert all(p.grad is None for p in network.branches["sketch"].parameters())
    assert all(p.grad is not None for p in network.branches["photo"].parameters())
    network.zero_grad()
    # In a mixed batch, the photos' share of the loss; in training the shared normalisation couples all images.
    network.eval()(images_of(7), MIXED)[MIXED == 1].square().sum().backward()
    assert all(not p.grad.any() for p in network.branches["sketch"].parameters())
    assert all(p.grad.any() for p in network.branches["photo"]["stem"].parameters())


@pytest.mark.parametrize("number", [0, 1])
def test_a_batch_of_one_domain_leaves_the_other_branch_alone(alive, number):
    parts = three(alive)
    network = joined(parts, "layer2").train()
    other = network.branches[DOMAINS[1 - number]]
    before = {key: value.clone() for key, value in other.state_dict().items()}
    expected = by_hand({name: part.train() for name, part in parts.items()}, "layer2", images_of(3), [number] * 3)
    for domains in (number, torch.full((3,), number, dtype=torch.uint8)):
        torch.testing.assert_close(network(images_of(3), domains), expected["fc"])
    assert all(torch.equal(value, before[key]) for key, value in other.state_dict().items())


def test_one_image_of_a_domain_is_enough():
    network = BranchedNetwork(plain(1), "layer2").train()
    domains = torch.tensor([1, 1, 0, 1], dtype=torch.uint8)
    network(images_of(4), domains).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_both_branches_begin_alike_and_as_without_branches():
    network = build("seresnet26", classes=3, channels=3, size=SIZE, options={"width": 4}, seed=1, shared_from="layer3")
    state, expected = network.state_dict(), plain(1).state_dict()
    own = [key.removeprefix("stages.") for key in expected if key.split(".")[1] in ("stem", "layer1", "layer2")]
    shared = [key for key in expected if key.split(".")[1] in ("layer3", "layer4", "fc")]
    assert set(state) == {f"branches.{domain}.{key}" for domain in DOMAINS for key in own} | set(shared)
    for domain in DOMAINS:
        assert all(torch.equal(state[f"branches.{domain}.{key}"], expected[f"stages.{key}"]) for key in own)
    assert all(torch.equal(state[key], expected[key]) for key in shared)
    # Equal, and not the same memory.
    nn.init.zeros_(network.branches["sketch"]["stem"].conv1.weight)
    assert network.branches["photo"]["stem"].conv1.weight.any()


def test_a_network_that_is_all_shared_is_the_plain_one():
    network, theirs = BranchedNetwork(plain(1), "stem").eval(), plain(1).eval()
    assert network.state_dict().keys() == theirs.state_dict().keys()
    assert network.parts == {"shared": STAGES}
    for domains in (None, 1, MIXED):
        assert torch.equal(network(images_of(7), domains), theirs(images_of(7)))


def test_networks_without_branches_ignore_domains():
    network = plain(1).eval()
    for domains in (0, 1, MIXED):
        assert torch.equal(network(images_of(7), domains), network(images_of(7)))
        assert torch.equal(network.embed(images_of(7), "pool", domains)[0], network.embed(images_of(7), "pool")[0])


@torch.no_grad()
def test_timm_s_networks_can_have_branches(alive):
    networks = [alive(build("timm:test_resnet", classes=3, channels=3, size=SIZE, seed=s), s) for s in (1, 2)]
    network = build("timm:test_resnet", classes=3, channels=3, size=SIZE, shared_from="classifier").eval()
    for domain, given in zip(DOMAINS, networks):
        network.branches[domain]["backbone"].load_state_dict(given.stages["backbone"].state_dict())
    feature, logits = network.embed(images_of(7), "backbone", MIXED)
    expected = torch.stack([networks[d].embed(images_of(7)[i : i + 1], "backbone")[0][0] for i, d in enumerate(MIXED)])
    torch.testing.assert_close(feature, expected)
    torch.testing.assert_close(logits, network.stages["classifier"](expected))


@torch.no_grad()
@pytest.mark.parametrize("shared_from", ["first", "second"])
@pytest.mark.parametrize("domains", [0, torch.tensor([1, 0])])
def test_a_feature_is_what_its_stage_gave_whatever_the_next_one_does_to_it(shared_from, domains):
    network = BranchedNetwork(StagedNetwork({"first": nn.Flatten(), "second": nn.ReLU(inplace=True)}), shared_from)
    images = torch.tensor([-1.0, 2.0]).reshape(2, 1, 1, 1)
    feature, logits = network.embed(images.clone(), "first", domains)
    assert feature.flatten().tolist() == [-1.0, 2.0]
    assert logits.flatten().tolist() == [0.0, 2.0]


@torch.no_grad()
def test_memory_format_and_precision_pass_through():
    network = BranchedNetwork(plain(1), "layer2").to(memory_format=torch.channels_last).eval()
    seen = []
    network.stages["layer2"].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network(images_of(7).contiguous(memory_format=torch.channels_last), MIXED)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert seen[0].dtype == torch.bfloat16


def test_mistakes_are_named():
    with pytest.raises(InputError) as caught:
        BranchedNetwork(plain(1), "layr3")
    assert all(word in str(caught.value) for word in ["shared_from", "'layer3'", *STAGES]), str(caught.value)
    network = BranchedNetwork(plain(1), "layer3")
    with pytest.raises(InputError, match="unknown feature layer 'pol'"):
        network.embed(images_of(2), "pol", 0)
    with pytest.raises(InputError, match=r"nothing says which these images are; set `domain` \(sketch or photo\)"):
        network(images_of(2))
    for domains, words in (
        (2, r"\[2\] for 2 images; expected one number an image, 0 \(sketch\) or 1 \(photo\)"),
        (-1, r"\[-1\]"),
        (torch.tensor([0, 1, 0]), r"domains \(3,\)"),
        (torch.tensor([[0, 1]]), r"domains \(1, 2\)"),
        (torch.tensor([0, 3]), r"\[0, 3\]"),
        (torch.tensor([0, 1, 7]), r"domains \(3,\) of the values \[0, 1, 7\] for 2 images"),
    ):
        with pytest.raises(InputError, match=words):
            network(images_of(2), domains)
