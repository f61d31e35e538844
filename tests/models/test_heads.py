"""A head puts one layer before the classifier: codes as worked by hand, all other weights as they were."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import BaseModel
from trazo.errors import InputError
from trazo.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from trazo.models.factory import build, describe
from trazo.models.heads import head_choice, head_of, heads
from trazo.models.network import StagedNetwork, with_code
from trazo.models.weights import Weights, begin_by_part, begin_with, read_weights
from trazo.provenance import LIBRARY

CLASSES = ["a", "b", "c"]
WRITTEN = {"crs": {"crs": {"size": 6}}, **{name: {name: {"bits": 16}} for name in ("cbs", "dsh", "dtsh")}}
NETWORKS = {
    "resnet18": ({"width": 4}, 32),
    "seresnet26": ({"width": 4, "embedding": 5}, 32),
    "alexnet": ({"width": 8}, 163),
    "sknet": ({"widths": [2, 2, 2, 2], "fc": 8}, 128),
    "embedding_net": ({"widths": [3], "fc": 7}, 16),
    "timm:test_vit": ({}, 96),
}


def network_of(name: str = "seresnet26", seed: int = 1, head=None, **changes) -> StagedNetwork:
    options, size = NETWORKS[name]
    given = {"classes": 3, "channels": 3, "size": size, "options": options, "seed": seed, "head": head}
    return build(name, **{**given, **changes})


def test_every_head_is_tried_here():
    assert sorted(WRITTEN) == heads.names()


@torch.no_grad()
@pytest.mark.parametrize("name", WRITTEN)
def test_codes_are_worked_out_by_hand(alive, name):
    network = alive(network_of(head=WRITTEN[name]))
    images = torch.randn(5, 3, 32, 32)
    before = network.embed(images, "embedding")[0].numpy()
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    outputs = before @ state["stages.code.linear.weight"].T + state["stages.code.linear.bias"]
    if name == "cbs":
        outputs = 1 / (1 + np.exp(-outputs))
    code, logits = network.embed(images, "code")
    np.testing.assert_allclose(code.numpy(), outputs, rtol=1e-4, atol=1e-6)
    expected = outputs @ state["stages.fc.weight"].T + state["stages.fc.bias"]
    np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_any_network_takes_a_head_and_keeps_its_other_weights(name):
    plain, coded = network_of(name), network_of(name, head={"dsh": {"bits": 24}})
    assert list(coded.stages) == [*list(plain.stages)[:-1], "code", plain.classifier]
    assert coded.classifier == plain.classifier
    ours, theirs = coded.state_dict(), plain.state_dict()
    kept = [key for key in theirs if not key.startswith(f"stages.{plain.classifier}.")]
    assert all(torch.equal(ours[key], theirs[key]) for key in kept)
    assert set(ours) - set(kept) == {
        f"stages.{stage}.{value}" for stage in ("code.linear", plain.classifier) for value in ("weight", "bias")
    }
    size = NETWORKS[name][1]
    code, logits = coded.eval().embed(torch.zeros(2, 3, size, size), "code")
    assert (code.shape, logits.shape) == ((2, 24), (2, 3))
    facts = describe(name, channels=3, size=size, options=NETWORKS[name][0], search=False, head={"dsh": {"bits": 24}})
    assert list(facts["features"]) == list(coded.stages)
    assert facts["features"]["code"] == 24


def test_weights_of_a_head_are_torch_s_own_from_the_seed():
    """U(±1/√inputs) of weights and bias alike (torch.nn.Linear), another draw from another seed."""
    stages = [network_of("resnet18", seed=seed, head={"crs": {"size": 512}}).stages for seed in (1, 1, 2)]
    weights = [each["code"].linear.weight for each in stages]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    bound = weights[0].shape[1] ** -0.5
    assert bound * 0.99 < weights[0].abs().max() <= bound
    assert stages[0]["head"].weight.abs().max() <= 512**-0.5


@pytest.mark.parametrize("shared_from", ["stem", "layer3", "code", "fc"])
def test_sketches_and_photos_share_the_head(shared_from):
    network = network_of(head={"crs": {"size": 6}}, shared_from=shared_from)
    assert network.layers == ["stem", "layer1", "layer2", "layer3", "layer4", "pool", "embedding", "code", "fc"]
    own = [stage for part in ("sketch", "photo") for stage in network.parts.get(part, [])]
    assert "code" not in own
    assert {"code", "fc"} <= set(network.parts["shared"])
    code, _ = network.eval().embed(torch.randn(4, 3, 32, 32), "code", torch.tensor([0, 1, 1, 0]))
    assert code.shape == (4, 6)


def test_bits_are_packed_highest_first_where_outputs_are_above_the_threshold():
    values = np.array([[-2, 0, 1e-9, 3, 0.5, 0.5001, 0.4999, 1, 9, 9, 9, 9, -9, -9, -9, 0]], np.float32)
    assert head_of({"dsh": {"bits": 16}}).packed(values).tolist() == [[0b00111111, 0b11110000]]
    assert head_of({"dtsh": {"bits": 16}}).packed(values).tolist() == [[0b00111111, 0b11110000]]
    assert head_of({"cbs": {"bits": 16}}).packed(values).tolist() == [[0b00010101, 0b11110000]]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"crs": {"size": 64}}, ("crs", False, 64, 64, 2048)),
        ({"cbs": {"bits": 2048}}, ("cbs", True, 2048, 64, 2048)),
        ({"dsh": {"bits": 128}}, ("dsh", True, 128, 4, 128)),
        ({"dtsh": {"bits": 24}}, ("dtsh", True, 24, 0.75, 24)),
    ],
)
def test_codes_are_as_large_as_so_many_floats(written, expected):
    choice = head_choice(written)
    assert (choice.name, choice.binary, choice.width, choice.size, choice.bits) == expected
    # A whole number is one: what paths and tables show of it has no ".0".
    assert isinstance(choice.size, int) == (choice.bits % 32 == 0)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"csb": {"bits": 16}}, "unknown head 'csb'. Did you mean .*'cbs'"),
        (
            {"cbs": {"bits": 100}},
            "cbs: codes of 100 bits do not fill whole bytes; expected a multiple of 8, such as 96",
        ),
        ({"cbs": {"bits": 4}}, "cbs: option 'bits': got 4"),
        ({"cbs": {"bits": 16.0}}, "cbs: option 'bits': got 16.0"),
        ({"cbs": {"bits": [16, 32]}}, "cbs: option 'bits': got .16, 32."),
        ({"cbs": {"size": 16}}, "cbs: unknown option 'size'.*bits"),
        ({"crs": {"size": 0}}, "crs: option 'size': got 0"),
        ({"crs": {}}, "crs: option 'size' is required"),
        ("crs", "crs: option 'size' is required"),
        ({"crs": {"size": 4}, "cbs": {"bits": 8}}, "a head is one name with its options"),
        ({}, "a head is one name with its options"),
    ],
)
def test_mistakes_are_named(written, message):
    with pytest.raises(InputError, match=message):
        head_of(written)


def test_a_network_with_a_stage_of_that_name_is_refused():
    stages = {"code": torch.nn.Flatten(), "last": torch.nn.Linear(12, 2)}
    with pytest.raises(InputError, match="a stage 'code' already"):
        with_code(StagedNetwork(stages), head_of({"crs": {"size": 2}}), classes=2, channels=3, size=2)
    with pytest.raises(InputError, match="too small"):
        network_of("embedding_net", head={"crs": {"size": 2}}, size=4)


def test_asking_for_the_size_of_codes_loads_no_torch():
    code = "import sys; from trazo.models.heads import head_choice; head_choice({'cbs': {'bits': 8}})"
    code += "; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=LIBRARY.parent, check=False).returncode == 0


def begin(network, weights, seed=1):
    return begin_with(network, weights, architecture="seresnet26", classes=CLASSES, seed=seed)


def test_a_code_is_drawn_where_the_weights_have_none_and_the_classifier_with_it():
    base, network, drawn = network_of(seed=5), network_of(head=WRITTEN["cbs"]), network_of(head=WRITTEN["cbs"])
    start = begin(network, Weights(base.state_dict(), "base", "d", classes=CLASSES, made_for="x"))
    assert start.words == "base; code and fc drawn from seed 1"
    theirs, ours = base.state_dict(), network.state_dict()
    assert all(torch.equal(ours[key], value) for key, value in theirs.items() if not key.startswith("stages.fc."))
    for stage in ("code", "fc"):
        assert all(
            torch.equal(a, b) for a, b in zip(network.stages[stage].parameters(), drawn.stages[stage].parameters())
        )


def test_branches_with_a_head_start_from_branches_without():
    base = network_of(seed=5, shared_from="layer3")
    network = network_of(head=WRITTEN["crs"], shared_from="layer3")
    start = begin(network, Weights(base.state_dict(), "base", "d", classes=CLASSES, made_for="x"))
    assert start.words == "base; code and fc drawn from seed 1"
    ours = network.state_dict()
    assert all(torch.equal(ours[k], v) for k, v in base.state_dict().items() if not k.startswith("stages.fc."))
    parts = {part: Weights(network_of(seed=6).state_dict(), part, part) for part in ("sketch", "photo", "shared")}
    start = begin_by_part(network, parts, architecture="seresnet26", classes=CLASSES, seed=1)
    assert start.words == "sketch: sketch; photo: photo; shared: shared; code and fc drawn from seed 1"


def test_a_code_of_the_same_size_is_taken_over_and_no_other_fits(tmp_path):
    given = network_of(seed=5, head=WRITTEN["dsh"])
    checkpoint = Checkpoint(
        "seresnet26", NETWORKS["seresnet26"][0], 3, 32, CLASSES, None, {2: given.state_dict()}, head=WRITTEN["dsh"]
    )
    save_checkpoint(tmp_path / "c.pt", checkpoint)
    found = read_weights(tmp_path / "c.pt", named=False)
    assert found.made_for.endswith("with the head dsh-bits16")
    network = network_of(head=WRITTEN["dtsh"])
    assert begin(network, found).words == "checkpoint at epoch 2"
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), given.parameters()))
    with pytest.raises(InputError, match=r"of another shape.*stages.code.linear.weight \(16, 5\) for \(8, 5\)"):
        begin(network_of(head={"dsh": {"bits": 8}}), found)
    with pytest.raises(InputError, match=r"that the network does not have: stages.code.linear"):
        begin(network_of(), found)


def test_a_checkpoint_knows_its_head(tmp_path):
    network = network_of(head=WRITTEN["cbs"], shared_from="layer3").eval()
    made = Checkpoint(
        "seresnet26", NETWORKS["seresnet26"][0], 3, 32, CLASSES, None, {0: network.state_dict()}, shared_from="layer3",
        head=WRITTEN["cbs"],
    )  # fmt: skip
    save_checkpoint(tmp_path / "c.pt", made)
    back = load_checkpoint(tmp_path / "c.pt")
    assert back.head == WRITTEN["cbs"]
    images = torch.randn(3, 3, 32, 32)
    found = back.network(0).eval().embed(images, "code", 0)[0]
    torch.testing.assert_close(found, network.embed(images, "code", 0)[0])
    save_checkpoint(tmp_path / "p.pt", replace(made, head=None, weights={}))
    assert load_checkpoint(tmp_path / "p.pt").head is None


def test_options_are_described():
    assert all(issubclass(heads.get(name), BaseModel) for name in heads.names())
    fields = [field for name in heads.names() for field in heads.get(name).model_fields.values()]
    assert all(field.description for field in fields)
