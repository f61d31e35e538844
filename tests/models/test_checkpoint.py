"""Checkpoints come back, map lazily, and run nothing that a file may contain."""

import pickle
import random
import struct
import zipfile
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import torch
from trazo.errors import InputError
from trazo.models.checkpoint import Checkpoint, load_checkpoint, load_safely, mean_of, prepare, save_checkpoint
from trazo.models.factory import build
from trazo.models.weights import read_weights
from trazo.store import ArtifactError

CPU = torch.device("cpu")


def small_checkpoint() -> Checkpoint:
    options = {"width": 4}
    weights = {
        epoch: build("resnet18", classes=3, channels=1, size=16, options=options, seed=epoch).state_dict()
        for epoch in (0, 7)
    }
    return Checkpoint("resnet18", options, 1, 16, ["a", "b", "ñ"], torch.rand(1, 16, 16), weights, {"step": "train"})


def test_round_trip(tmp_path):
    checkpoint = small_checkpoint()
    save_checkpoint(tmp_path / "c.pt", checkpoint)
    back = load_checkpoint(tmp_path / "c.pt")
    assert (back.classes, back.options, back.record) == (checkpoint.classes, checkpoint.options, checkpoint.record)
    assert torch.equal(back.mean_image, checkpoint.mean_image)
    assert back.classifier
    assert back.normalise == "none"
    save_checkpoint(tmp_path / "t.pt", replace(checkpoint, classifier=False, normalise="imagenet"))
    assert not load_checkpoint(tmp_path / "t.pt").classifier
    assert load_checkpoint(tmp_path / "t.pt").normalise == "imagenet"
    assert back.shared_from == ""
    for epoch in (0, 7):
        state = back.network(epoch).state_dict()
        assert all(torch.equal(state[k], v) for k, v in checkpoint.weights[epoch].items())
    with pytest.raises(InputError, match=r"epoch 3 .*\[0, 7\]"):
        back.network(3)


def test_checkpoints_of_before_load(tmp_path):
    save_checkpoint(tmp_path / "c.pt", small_checkpoint())
    content = torch.load(tmp_path / "c.pt", weights_only=True)
    for key in ("normalise", "classifier", "shared_from"):
        del content[key]
    torch.save(content, tmp_path / "old.pt")
    old = load_checkpoint(tmp_path / "old.pt")
    assert (old.normalise, old.classifier, old.shared_from) == ("none", True, "")
    assert torch.equal(old.network(7).stages["head"].weight, old.weights[7]["stages.head.weight"])


def test_a_network_with_branches_comes_back(tmp_path):
    arguments = {"classes": 3, "channels": 1, "size": 16, "options": {"width": 4}}
    network = build("resnet18", **arguments, seed=3, shared_from="stage2")
    torch.nn.init.ones_(network.branches["photo"]["stem"][0].weight)
    checkpoint = replace(small_checkpoint(), weights={2: network.state_dict()}, shared_from="stage2")
    save_checkpoint(tmp_path / "c.pt", checkpoint)
    back = load_checkpoint(tmp_path / "c.pt")
    assert back.shared_from == "stage2"
    state = back.network(2).state_dict()
    assert state.keys() == network.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path, capsys):
    torch.save({"artifact": "checkpoint", "format": 1, "x": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.pt", "evil.pkl"):
        with pytest.raises(ArtifactError, match=name):
            load_checkpoint(tmp_path / name)
    assert "run" not in capsys.readouterr().out


def test_damage_is_named(tmp_path):
    save_checkpoint(tmp_path / "c.pt", small_checkpoint())
    whole = (tmp_path / "c.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.pt").write_bytes(b"")
    torch.save({"weights": {}}, tmp_path / "foreign.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("cut.pt", "empty.pt", "foreign.pt", "list.pt", "missing.pt"):
        with pytest.raises(ArtifactError, match=name):
            load_checkpoint(tmp_path / name)


def flipped(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 16
    path.with_name("flipped.pt").write_bytes(content)
    return path.with_name("flipped.pt")


def test_a_flipped_byte_is_found_in_the_weights_that_are_asked_for(tmp_path):
    checkpoint = small_checkpoint()
    save_checkpoint(tmp_path / "c.pt", checkpoint)
    whole = (tmp_path / "c.pt").read_bytes()
    inside = checkpoint.weights[7]["stages.stage3.0.conv1.weight"].numpy().tobytes()
    back = load_checkpoint(flipped(tmp_path / "c.pt", whole.index(inside) + len(inside) // 2))
    # The other epoch is whole, and does not suffer.
    assert torch.equal(back.network(0).stages["head"].weight, checkpoint.weights[0]["stages.head.weight"])
    for _ in range(2):
        with pytest.raises(ArtifactError, match=r"flipped\.pt is damaged: the weights of epoch 7 .*Delete it and run"):
            back.network(7)
    with pytest.raises(ArtifactError, match=r"the weights of epoch 7"):
        read_weights(tmp_path / "flipped.pt", epoch=7)
    mean = checkpoint.mean_image.numpy().tobytes()
    with pytest.raises(ArtifactError, match=r"damaged: the pixels of the mean image"):
        load_checkpoint(flipped(tmp_path / "c.pt", whole.index(mean) + 5))


def test_a_flipped_byte_is_found_in_what_says_which_weights_there_are(tmp_path):
    checkpoint = replace(small_checkpoint(), record={"settings": {"note": "as it was"}})
    save_checkpoint(tmp_path / "c.pt", checkpoint)
    at = (tmp_path / "c.pt").read_bytes().index(b"as it was")
    with pytest.raises(ArtifactError, match=r"flipped\.pt is damaged: its bytes"):
        load_checkpoint(flipped(tmp_path / "c.pt", at + 3))


def test_a_checkpoint_without_checksums_loads(tmp_path):
    """Those of earlier versions."""
    checkpoint = small_checkpoint()
    save_checkpoint(tmp_path / "c.pt", checkpoint)
    content = torch.load(tmp_path / "c.pt", weights_only=True)
    for key in ("checksums", "mean_checksum"):
        del content[key]
    torch.save(content, tmp_path / "old.pt")
    back = load_checkpoint(tmp_path / "old.pt")
    assert torch.equal(back.mean_image, checkpoint.mean_image)
    assert torch.equal(back.network(7).stages["head"].weight, checkpoint.weights[7]["stages.head.weight"])


def test_weights_of_any_kind_and_layout_have_a_checksum(tmp_path):
    state = {
        "image": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last), "count": torch.tensor(7),
        "half": torch.ones(3, dtype=torch.bfloat16), "flag": torch.tensor(True), "none": torch.empty(0, 4),
        "part": torch.rand(6, 4)[::2, 1:3],
    }  # fmt: skip
    save_checkpoint(tmp_path / "c.pt", replace(small_checkpoint(), weights={1: state}))
    back = load_checkpoint(tmp_path / "c.pt").weights[1]
    assert all(torch.equal(back[key], value) for key, value in state.items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": None}, "no attribute 'items'"),
        ({"weights": {1: [1, 2]}}, "no attribute 'values'"),
        ({"weights": {1: {"a": "text"}}}, "weights of epoch 1 are not tensors by name"),
        ({"weights": {"last": {}}}, "weights of epoch 'last' are not tensors by name"),
        ({"options": "{"}, "Expecting property name"),
        ({"options": 5}, "JSON object must be str"),
        ({"classes": 3}, "not iterable"),
    ],
)
def test_a_checkpoint_of_other_content_is_named(tmp_path, change, words):
    save_checkpoint(tmp_path / "c.pt", small_checkpoint())
    content = torch.load(tmp_path / "c.pt", weights_only=True)
    torch.save({**content, **change}, tmp_path / "other.pt")
    with pytest.raises(ArtifactError, match=rf"other\.pt is no whole checkpoint: .*{words}"):
        load_checkpoint(tmp_path / "other.pt")
    for key in ("architecture", "classes", "weights", "mean_image"):
        torch.save({name: value for name, value in content.items() if name != key}, tmp_path / "less.pt")
        with pytest.raises(ArtifactError, match=rf"less\.pt is no whole checkpoint: it has no '{key}'"):
            load_checkpoint(tmp_path / "less.pt")


def test_a_checkpoint_that_unpacks_to_more_than_it_is_is_not_unpacked(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(64 << 20))
        file.writestr("archive/version", "3\n")
    assert (tmp_path / "bomb.pt").stat().st_size < 100_000
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was unpacked"))
    for mapped in (True, False):
        with pytest.raises(ArtifactError, match=r"bomb\.pt would unpack from [\d,]+ to 67,108,866 bytes"):
            load_safely(tmp_path / "bomb.pt", kind="checkpoint", mapped=mapped)


@pytest.mark.parametrize(
    "error", [TypeError, IndexError, AttributeError, AssertionError, struct.error, UnicodeDecodeError]
)
def test_whatever_ends_the_reader_is_damage(tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error("utf-8", b"", 0, 1, "x") if error is UnicodeDecodeError else error

    save_checkpoint(tmp_path / "c.pt", small_checkpoint())
    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(ArtifactError, match=r"c\.pt cannot be loaded as a checkpoint: .*It is damaged") as caught:
        load_checkpoint(tmp_path / "c.pt")
    assert isinstance(caught.value.__cause__, error)


@pytest.mark.filterwarnings("ignore")
def test_mangled_files_end_in_no_other_error(tmp_path):
    draw = random.Random(0)
    for modern in (True, False):
        torch.save({"a.weight": torch.ones(3, 4)}, tmp_path / "w.pt", _use_new_zipfile_serialization=modern)
        whole = (tmp_path / "w.pt").read_bytes()
        for _ in range(60):
            mangled = bytearray(whole)
            for _ in range(draw.randint(1, 4)):
                mangled[draw.randrange(min(len(mangled), 1200))] = draw.randrange(256)
            (tmp_path / "x.pt").write_bytes(mangled)
            # A byte of a value may be another and the file whole.
            with suppress(ArtifactError):
                load_safely(tmp_path / "x.pt", kind="checkpoint", mapped=False)


def test_prepare_scales_subtracts_and_repeats():
    pixels = torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8)
    mean = torch.rand(1, 16, 16)
    images = prepare(pixels, channels=3, size=16, mean_image=mean, device=CPU)
    expected = (pixels[:, None].float() / 255 - mean).repeat(1, 3, 1, 1)
    torch.testing.assert_close(images, expected)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_prepare_shrinks_by_area():
    pixels = torch.randint(0, 256, (2, 8, 8), dtype=torch.uint8)
    images = prepare(pixels, channels=1, size=4, mean_image=None, device=CPU)
    by_hand = pixels.float().reshape(2, 4, 2, 4, 2).mean(dim=(2, 4)) / 255
    torch.testing.assert_close(images[:, 0], by_hand)


def test_prepare_colour():
    pixels = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    colour = prepare(pixels, channels=3, size=8, mean_image=None, device=CPU)
    torch.testing.assert_close(colour, pixels.permute(0, 3, 1, 2).float() / 255)
    grey = prepare(pixels, channels=1, size=8, mean_image=None, device=CPU)
    torch.testing.assert_close(grey[:, 0], pixels.float().mean(dim=3) / 255)


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 8, 8, 3)])
def test_prepare_normalises_as_torchvision_does(shape):
    from torchvision.transforms.functional import normalize

    pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
    images = prepare(pixels, channels=3, size=8, mean_image=None, device=CPU, normalise="imagenet")
    plain = prepare(pixels, channels=3, size=8, mean_image=None, device=CPU)
    expected = normalize(plain, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    torch.testing.assert_close(images, expected)
    assert images.is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(InputError, match="channels: 3"):
        prepare(pixels, channels=1, size=8, mean_image=None, device=CPU, normalise="imagenet")


def test_statistics_first_asked_for_by_a_validation_serve_training():
    from trazo.models.checkpoint import _statistics

    _statistics.cache_clear()
    pixels = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    layer = torch.nn.Conv2d(3, 2, 3)
    with torch.inference_mode():
        layer(prepare(pixels, channels=3, size=8, mean_image=None, device=CPU, normalise="imagenet"))
    layer(prepare(pixels, channels=3, size=8, mean_image=None, device=CPU, normalise="imagenet")).sum().backward()
    assert layer.weight.grad is not None


@pytest.mark.parametrize("shape", [(700, 6, 6), (30, 6, 6, 3)])
def test_the_mean_image_is_the_mean(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    expected = pixels.mean(axis=0, dtype=np.float64) / 255
    expected = expected[None] if expected.ndim == 2 else expected.transpose(2, 0, 1)
    blocks = torch.from_numpy(pixels).split(512)
    np.testing.assert_allclose(mean_of(blocks, 6).numpy(), expected, rtol=1e-6)
