"""A stage starts from the very weights it was given, or says which keys do not fit; nothing in a file is run."""

import argparse
import hashlib
import pickle
import urllib.error
from dataclasses import replace

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from trazo.errors import InputError, TrazoError
from trazo.models.checkpoint import Checkpoint, save_checkpoint
from trazo.models.factory import build
from trazo.models.network import StagedNetwork
from trazo.models.weights import Start, Weights, begin_by_part, begin_with, downloaded, read_weights
from trazo.provenance import digest

OPTIONS = {"width": 4}
CLASSES = ["a", "b", "c"]


def small(seed: int = 0, classes: int = 3, channels: int = 3, **options) -> StagedNetwork:
    return build("resnet50", classes=classes, channels=channels, size=32, options={**OPTIONS, **options}, seed=seed)


def as_torchvision_names(network: StagedNetwork) -> dict[str, torch.Tensor]:
    names = (key.removeprefix("stages.").removeprefix("stem.") for key in network.state_dict())
    return dict(zip(names, network.state_dict().values()))


def saved_checkpoint(path, network=None, classes=CLASSES, **changes):
    weights = {epoch: (network or small(seed=10 + epoch)).state_dict() for epoch in (0, 4)}
    record = {"settings": {"key": {"model": "base", "stage": "imagenet", "seed": 0}}}
    checkpoint = Checkpoint("resnet50", OPTIONS, 3, 32, list(classes), None, weights, record)
    save_checkpoint(path, replace(checkpoint, **changes))
    return path


def begin(network: StagedNetwork, weights, classes=CLASSES, seed=0) -> Start:
    return begin_with(network, weights, architecture="resnet50", classes=list(classes), seed=seed)


def equal(network: StagedNetwork, expected: dict[str, torch.Tensor], *, but: str = "nothing") -> bool:
    state = network.state_dict()
    return all(torch.equal(state[key], value) for key, value in expected.items() if f".{but}." not in key)


WRAPPINGS = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"lr": torch.ones(1)}},
    "data parallel": lambda state: {"model": {f"module.{k}": v for k, v in state.items()}},
    "compiled": lambda state: {f"_orig_mod.module.{k}": v for k, v in state.items()},
    "lightning": lambda state: {"state_dict": {f"model.{k}": v for k, v in state.items()}, "hyper": "x"},
    "without counters": lambda state: {k: v for k, v in state.items() if "num_batches" not in k},
    "half": lambda state: {k: v.half().float() for k, v in state.items()},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_state_dicts_of_torchvision_load_in_common_wrappings(tmp_path, wrapping):
    given = small(seed=5)
    state = as_torchvision_names(given)
    torch.save(WRAPPINGS[wrapping](state), tmp_path / "w.pth")
    network = small(seed=1)
    start = begin(network, read_weights(tmp_path / "w.pth"))
    digest = hashlib.sha256((tmp_path / "w.pth").read_bytes()).hexdigest()
    assert start.words == f"file w.pth (sha256 {digest[:16]})"
    if wrapping == "half":
        assert not equal(network, given.state_dict())
        expected = {k: v.half().float() if v.is_floating_point() else v for k, v in given.state_dict().items()}
        assert equal(network, expected)
    else:
        assert equal(network, given.state_dict())


@pytest.mark.parametrize("kind", ["old torch", "half precision", "safetensors", "own keys"])
def test_other_kinds_of_files_load(tmp_path, kind):
    given = small(seed=5)
    state = as_torchvision_names(given)
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pt")
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "half precision":
        torch.save({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, path)
    elif kind == "own keys":
        torch.save(given.state_dict(), path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=False)
    network = small(seed=1)
    begin(network, read_weights(path))
    if kind == "half precision":
        assert all(p.dtype == torch.float32 for p in network.parameters())
        torch.testing.assert_close(network.state_dict(), given.state_dict(), rtol=1e-3, atol=1e-4)
    else:
        assert equal(network, given.state_dict())


def test_whole_torchvision_weights_of_other_classes(tmp_path):
    """1,000 classes for 3: all but the classifier is theirs, and that is as the seed draws it."""
    theirs = torchvision.models.resnet50(weights=None)
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    network = build("resnet50", classes=3, channels=3, size=32, seed=6)
    start = begin(network, read_weights(tmp_path / "w.pth"), seed=6)
    assert start.words.endswith("; fc drawn from seed 6")
    drawn = build("resnet50", classes=3, channels=3, size=32, seed=6)
    assert torch.equal(network.stages["fc"].weight, drawn.stages["fc"].weight)
    assert torch.equal(network.stages["layer4"][2].conv3.weight, theirs.layer4[2].conv3.weight)
    assert torch.equal(network.stages["stem"].bn1.running_var, theirs.bn1.running_var)


def test_a_checkpoint_s_epoch_and_classes_count(tmp_path):
    path = saved_checkpoint(tmp_path / "checkpoint.pt")
    for epoch, seed in ((None, 14), (4, 14), (0, 10)):
        network = small(seed=1)
        start = begin(network, read_weights(path, epoch=epoch, named=False))
        assert start.words == f"stage imagenet of base at epoch {epoch if epoch is not None else 4}"
        assert equal(network, small(seed=seed).state_dict())
    network = small(seed=1)
    # As many classes, but others: what the classifier learned is of no use.
    start = begin(network, read_weights(path), classes=["a", "c", "b"], seed=1)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    assert start.words == (
        f"stage imagenet of base at epoch 4, file checkpoint.pt (sha256 {digest}); fc drawn from seed 1"
    )
    assert equal(network, small(seed=14).state_dict(), but="fc")
    assert torch.equal(network.stages["fc"].weight, small(seed=1).stages["fc"].weight)
    with pytest.raises(InputError, match=r"epoch 3 was not kept.*\[0, 4\]"):
        read_weights(path, epoch=3)


def test_an_added_embedding_is_drawn_and_the_classifier_with_it(tmp_path):
    path = saved_checkpoint(tmp_path / "checkpoint.pt")
    network = small(seed=1, embedding=5)
    start = begin(network, read_weights(path, named=False), seed=1)
    assert start.words == "stage imagenet of base at epoch 4; embedding and fc drawn from seed 1"
    drawn = small(seed=1, embedding=5)
    for stage in ("embedding", "fc"):
        assert torch.equal(network.stages[stage].weight, drawn.stages[stage].weight)
    assert torch.equal(network.stages["stem"].conv1.weight, small(seed=14).stages["stem"].conv1.weight)
    # What has one already keeps it.
    given = small(seed=7, embedding=5)
    path = saved_checkpoint(tmp_path / "again.pt", given, options={**OPTIONS, "embedding": 5})
    begin(network, read_weights(path))
    assert equal(network, given.state_dict())


def changed(state, **edits):
    state = dict(state)
    for key, value in edits.items():
        key = key.replace("__", ".")
        if value is None:
            del state[key]
        else:
            state[key] = value
    return state


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        (
            {"layer1__0__conv1__weight": torch.zeros(7, 4, 1, 1)},
            ["1 of another shape", "layer1.0.conv1.weight (7, 4, 1, 1) for (4, 4, 1, 1)", "architecture"],
        ),
        ({"layer2__1__bn2__bias": None}, ["1 missing", "stages.layer2.1.bn2.bias (8)"]),
        ({"aux__weight": torch.zeros(2)}, ["1 that the network does not have: aux.weight"]),
        (
            {"conv1__weight": torch.zeros(4, 1, 7, 7), "aux__weight": torch.zeros(2)},
            ["conv1.weight (4, 1, 7, 7) for (4, 3, 7, 7)", "set channels: 1"],
        ),
    ],
)
def test_keys_that_do_not_fit_are_listed(tmp_path, edits, words):
    torch.save(changed(as_torchvision_names(small(seed=5)), **edits), tmp_path / "w.pth")
    network = small(seed=1)
    with pytest.raises(InputError) as caught:
        begin(network, read_weights(tmp_path / "w.pth"))
    assert all(word in str(caught.value) for word in ["w.pth", "do not fit resnet50", *words]), str(caught.value)
    # Nothing was taken over by halves.
    assert equal(network, small(seed=1).state_dict())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    given = as_torchvision_names(small(seed=5))
    bad = ["layer1.0.conv1.weight", "layer2.1.bn2.running_var"]
    for key in bad:
        given[key] = given[key].double()
        given[key].view(-1)[-1] = value
    torch.save(given, tmp_path / "w.pth")
    network = small(seed=1)
    with pytest.raises(InputError, match=rf"file w\.pth .* NaN or infinite values, in {bad[0]}, {bad[1]};"):
        begin(network, read_weights(tmp_path / "w.pth"))
    assert equal(network, small(seed=1).state_dict())


def test_a_classifier_that_is_left_out_may_hold_anything(tmp_path):
    given = as_torchvision_names(small(seed=5, classes=7))
    given["fc.bias"] = given["fc.bias"] * float("nan")
    torch.save(given, tmp_path / "w.pth")
    assert "fc drawn" in begin(small(seed=1), read_weights(tmp_path / "w.pth")).words


def test_colour_weights_for_grey_images_say_what_to_do(tmp_path):
    torch.save(as_torchvision_names(small(seed=5)), tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"images of 3 channels: set channels: 3; a grey image is then repeated"):
        begin(small(channels=1), read_weights(tmp_path / "w.pth"))


def test_of_many_keys_ten_are_listed(tmp_path):
    theirs = torchvision.models.resnet18(weights=None)
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    with pytest.raises(InputError) as caught:
        begin(small(), read_weights(tmp_path / "w.pth"))
    message = str(caught.value)
    # ResNet-50 has third convolutions and normalisations, ResNet-18 none.
    missing = len(
        [k for k in small().state_dict() if k.split(".", 1)[1].removeprefix("stem.") not in theirs.state_dict()]
    )
    listed = message.partition(" missing: ")[2].partition(" more")[0]
    counted = [k for k in listed.split("stages.") if k]
    assert len(counted) == 10
    assert f" and {missing - _counters() - 10} more" in message


def _counters() -> int:
    theirs = torchvision.models.resnet18(weights=None).state_dict()
    keys = (k.split(".", 1)[1].removeprefix("stem.") for k in small().state_dict())
    return len([k for k in keys if k not in theirs and k.endswith("num_batches_tracked")])


def test_a_checkpoint_of_another_network_is_told_by_what_it_is(tmp_path):
    other = build("resnet18", classes=3, channels=1, size=32, options={"width": 4})
    path = saved_checkpoint(tmp_path / "checkpoint.pt", other, architecture="resnet18", channels=1)
    with pytest.raises(InputError, match=r"of resnet18 with options \{'width': 4\} of 1×32×32\) do not fit resnet50"):
        begin(small(), read_weights(path))


def branched(seed: int = 0, classes: int = 3, shared_from: str = "layer2", **options) -> StagedNetwork:
    options = {**OPTIONS, **options}
    return build("resnet50", classes=classes, channels=3, size=32, options=options, seed=seed, shared_from=shared_from)


def differing(seed: int, **changes) -> StagedNetwork:
    """A network with branches that differ."""
    network = branched(seed, **changes)
    network.branches["photo"].load_state_dict(branched(seed + 1, **changes).branches["photo"].state_dict())
    return network


def by_part(network: StagedNetwork, parts, classes=CLASSES, seed=0) -> Start:
    return begin_by_part(network, parts, architecture="resnet50", classes=list(classes), seed=seed)


def weights_of(network: StagedNetwork, title: str, **facts) -> Weights:
    return Weights(network.state_dict(), title, f"digest of {title}", **facts)


def own(network: StagedNetwork, stage: str = "layer1") -> torch.Tensor:
    return network.stages[stage][0].conv2.weight


def of_branch(network: StagedNetwork, domain: str, stage: str = "layer1") -> torch.Tensor:
    return network.branches[domain][stage][0].conv2.weight


def test_each_part_starts_from_its_own_weights():
    given = {"sketch": small(5), "photo": small(6), "shared": small(7)}
    network = branched(1)
    parts = {part: weights_of(of, f"weights of {part}", classes=CLASSES) for part, of in given.items()}
    start = by_part(network, parts)
    assert start.words == "sketch: weights of sketch; photo: weights of photo; shared: weights of shared"
    assert start.digest == digest({part: weights.digest for part, weights in parts.items()})
    for key, value in network.state_dict().items():
        part, rest = ("shared", key) if key.startswith("stages.") else key.removeprefix("branches.").split(".", 1)
        assert torch.equal(value, given[part].state_dict()[rest if part == "shared" else f"stages.{rest}"]), key


def test_weights_of_another_library_fill_a_part(tmp_path):
    """Sketches of torchvision's keys and 7 classes, what is shared of ours."""
    given = small(5, classes=7)
    torch.save(as_torchvision_names(given), tmp_path / "w.pth")
    network = branched(1)
    start = by_part(
        network, {"sketch": read_weights(tmp_path / "w.pth"), "shared": weights_of(small(7), "ours")}, seed=1
    )
    assert start.words.startswith("sketch: file w.pth (sha256 ")
    assert start.words.endswith("); photo: drawn from seed 1; shared: ours")
    assert torch.equal(of_branch(network, "sketch"), own(given))
    assert torch.equal(of_branch(network, "photo"), own(small(1)))
    assert torch.equal(own(network, "layer2"), own(small(7), "layer2"))
    assert torch.equal(network.stages["fc"].weight, small(7).stages["fc"].weight)


def test_parts_without_weights_are_drawn_and_said():
    network = branched(1)
    start = by_part(network, {"shared": weights_of(small(7), "ours", classes=list("xyz"))}, seed=1)
    assert start.words == "sketch and photo: drawn from seed 1; shared: ours; fc drawn from seed 1"
    assert start.digest == digest({"shared": "digest of ours"})
    for domain in ("sketch", "photo"):
        assert torch.equal(of_branch(network, domain), own(small(1)))
    assert torch.equal(own(network, "layer2"), own(small(7), "layer2"))
    assert torch.equal(network.stages["fc"].weight, small(1).stages["fc"].weight)
    network = branched(1)
    start = by_part(network, {"photo": weights_of(small(7), "ours")}, seed=1)
    assert start.words == "sketch and shared: drawn from seed 1; photo: ours"
    assert torch.equal(of_branch(network, "photo"), own(small(7)))
    assert torch.equal(network.stages["fc"].weight, small(1).stages["fc"].weight)


def test_the_same_weights_for_all_fill_both_branches(tmp_path):
    given = small(5)
    torch.save(as_torchvision_names(given), tmp_path / "w.pth")
    for weights in (weights_of(given, "ours"), read_weights(tmp_path / "w.pth")):
        network = branched(1)
        start = begin(network, weights)
        assert start == Start(weights.title, weights.digest)
        assert torch.equal(of_branch(network, "sketch"), own(given))
        assert torch.equal(of_branch(network, "photo"), own(given))
        assert equal(
            network, {k: v for k, v in given.state_dict().items() if ".layer1." not in k and ".stem." not in k}
        )


def test_a_network_with_branches_starts_from_one_that_has_them_too(tmp_path):
    given = differing(5)
    path = saved_checkpoint(tmp_path / "checkpoint.pt", given, shared_from="layer2")
    network = branched(1)
    assert begin(network, read_weights(path, named=False)).words == "stage imagenet of base at epoch 4"
    assert equal(network, given.state_dict())
    network = branched(1, embedding=5)
    start = begin(network, read_weights(path, named=False), seed=1)
    assert start.words == "stage imagenet of base at epoch 4; embedding and fc drawn from seed 1"
    assert torch.equal(of_branch(network, "photo"), of_branch(given, "photo"))
    # A part of it alone, beside weights of a plain network.
    network = branched(1)
    other = weights_of(small(8), "plain", classes=CLASSES)
    by_part(network, {"photo": read_weights(path), "sketch": other, "shared": other})
    assert torch.equal(of_branch(network, "photo"), of_branch(given, "photo"))
    assert torch.equal(of_branch(network, "sketch"), own(small(8)))
    # What is shared there may exist twice here.
    network = branched(1, shared_from="layer3")
    begin(network, read_weights(path))
    assert torch.equal(of_branch(network, "photo"), of_branch(given, "photo"))
    for domain in ("sketch", "photo"):
        assert torch.equal(of_branch(network, domain, "layer2"), own(given, "layer2"))


@pytest.mark.parametrize("shared_from", ["layer1", "stem", None])
def test_what_exists_twice_cannot_become_one(tmp_path, shared_from):
    path = saved_checkpoint(tmp_path / "checkpoint.pt", differing(5), shared_from="layer2")
    network = small(1) if shared_from is None else branched(1, shared_from=shared_from)
    with pytest.raises(InputError) as caught:
        begin(network, read_weights(path))
    words = ["of resnet50 with options", "shared from layer2) do not fit", "missing: stages.", "branches.sketch.layer1"]
    if shared_from != "layer1":
        words[-1] = "branches.sketch.stem.conv1.weight"
    assert all(word in str(caught.value) for word in [*words, "size and `branches`."]), str(caught.value)


def test_an_embedding_that_one_branch_lacks_is_drawn_for_both():
    """An embedding of each branch's own, before a shared classifier."""
    network = branched(1, shared_from="fc", embedding=5)
    start = by_part(
        network, {"sketch": weights_of(small(5, embedding=5), "with"), "photo": weights_of(small(6), "without"),
                  "shared": weights_of(small(7, embedding=5), "shared")}, seed=1,
    )  # fmt: skip
    assert start.words.endswith("; embedding and fc drawn from seed 1")
    for domain in ("sketch", "photo"):
        assert torch.equal(
            network.branches[domain]["embedding"].weight, small(1, embedding=5).stages["embedding"].weight
        )
    assert torch.equal(network.stages["fc"].weight, small(1, embedding=5).stages["fc"].weight)
    assert torch.equal(of_branch(network, "photo"), own(small(6)))


def test_of_a_part_s_weights_only_its_own_stages_are_looked_at():
    state = small(5).state_dict()
    state["stages.layer4.0.conv1.weight"] = torch.full((2, 2), float("nan"))
    del state["stages.layer3.0.conv1.weight"]
    network = branched(1)
    by_part(network, {"sketch": Weights(state, "t", "d")})
    assert torch.equal(of_branch(network, "sketch"), own(small(5)))


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        (
            {"stages__layer1__0__conv1__weight": torch.zeros(7, 4, 1, 1)},
            ["Keys: 1 of another shape", "stages.layer1.0.conv1.weight (7, 4, 1, 1) for (4, 4, 1, 1)"],
        ),
        ({"stages__stem__conv1__weight": None}, ["1 missing: branches.{}.stem.conv1.weight (4, 3, 7, 7)"]),
        ({"stages__layer1__3__conv1__weight": torch.zeros(1)}, ["does not have: stages.layer1.3.conv1.weight"]),
        ({"stages__aux__weight": torch.zeros(1)}, ["does not have: stages.aux.weight"]),
        ({"stages__stem__bn1__bias": torch.full((4,), float("nan"))}, ["NaN", "in stages.stem.bn1.bias; expected"]),
    ],
)
@pytest.mark.parametrize("part", ["sketch", "photo", "all"])
def test_keys_that_do_not_fit_a_part_are_listed(part, edits, words):
    bad = Weights(changed(small(5).state_dict(), **edits), "bad", "d", made_for="resnet50")
    network = branched(1)
    good = weights_of(small(6), "good")
    parts = dict.fromkeys(network.parts, bad) if part == "all" else {"shared": good, part: bad}
    with pytest.raises(InputError) as caught:
        by_part(network, parts)
    words = ["weights: bad" if part == "all" else f"weights for {part}: bad", *words]
    words = [word.format("sketch") if part == "all" else word.format(part) for word in words]
    words = [word.replace("1 missing", "2 missing") if part == "all" else word for word in words]
    assert all(word in str(caught.value) for word in words), str(caught.value)
    # Nothing was taken over by halves.
    assert equal(network, branched(1).state_dict())


def test_parts_that_a_network_does_not_have_are_refused():
    weights = weights_of(small(5), "ours")
    with pytest.raises(InputError, match=r"unknown part of the network 'skech'\. Did you mean 'sketch'"):
        by_part(branched(1), {"skech": weights})
    for network in (small(1), branched(1, shared_from="stem")):
        with pytest.raises(InputError, match=r"unknown part of the network 'photo'\. Choices: shared"):
            by_part(network, {"photo": weights, "shared": weights})


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_nothing_in_a_file_is_run_and_damage_is_named(tmp_path, capsys):
    torch.save({"state_dict": {"x": torch.zeros(1)}, "args": Evil()}, tmp_path / "evil.pth")
    torch.save({"x": Evil()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "evil.safetensors").write_bytes(pickle.dumps(Evil()))
    torch.save({"state_dict": {}, "args": argparse.Namespace(lr=1)}, tmp_path / "args.pth")
    torch.save(small().state_dict(), tmp_path / "whole.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:4000])
    (tmp_path / "empty.safetensors").write_bytes(b"")
    torch.save({"epoch": 3}, tmp_path / "nothing.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    names = ["evil.pth", "old.pth", "evil.pt", "evil.safetensors", "args.pth", "cut.pth", "empty.safetensors"]
    for name in [*names, "nothing.pth", "list.pth", "missing.pth"]:
        with pytest.raises(InputError, match=name):
            read_weights(tmp_path / name)
    assert "run" not in capsys.readouterr().out


def test_pretrained_weights_are_downloaded_by_torchvision(monkeypatch):
    given = torchvision.models.resnet50(weights=None)
    asked = []

    def answer(url, *args, **kwargs):
        asked.append((url, kwargs))
        return given.state_dict()

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", answer)
    network = build("resnet50", classes=8, channels=3, size=32)
    start = begin_with(network, downloaded(network, "resnet50"), architecture="resnet50", classes=["x"] * 8, seed=0)
    assert start.words == "torchvision ResNet50_Weights.IMAGENET1K_V2; fc drawn from seed 0"
    assert torch.equal(network.stages["layer1"][0].conv1.weight, given.layer1[0].conv1.weight)
    ((url, options),) = asked
    assert "resnet50" in url
    assert options["weights_only"] is True
    assert options["check_hash"] is True


def test_a_download_without_a_network_names_the_alternatives(monkeypatch):
    def fail(*args, **kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(TrazoError) as caught:
        downloaded(small(), "resnet50")
    words = ["IMAGENET1K_V2", "could not be downloaded", "Name or service not known", "local file", "{model: …}"]
    assert all(word in str(caught.value) for word in words), str(caught.value)
    other = build("resnet18", classes=2, channels=3, size=32, options=OPTIONS)
    with pytest.raises(InputError, match="no pretrained ones for resnet18"):
        downloaded(other, "resnet18")


def test_timm_s_download_is_timm_s_own(monkeypatch):
    import timm

    given = timm.create_model("test_resnet", num_classes=1000)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *a, **k: given.state_dict())
    network = build("timm:test_resnet", classes=2, channels=3, size=32)
    start = begin_with(network, downloaded(network, "timm:test_resnet"), architecture="x", classes=["a", "b"], seed=0)
    assert start.words.startswith("timm test_resnet.")
    assert start.words.endswith("; classifier drawn from seed 0")
    assert torch.equal(network.stages["backbone"].conv1[0].weight, given.conv1[0].weight)

    def fail(*args, **kwargs):
        raise OSError("We couldn't connect\nto the hub")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", fail)
    with pytest.raises(TrazoError, match=r"timm test_resnet.*could not be downloaded \(OSError: We couldn't connect\)"):
        downloaded(network, "timm:test_resnet")
