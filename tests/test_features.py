"""Features are what the network gives for each image, whatever the batches."""

import numpy as np
import pytest
import torch
from trazo.errors import InputError
from trazo.features import extract_features
from trazo.models.checkpoint import Checkpoint, save_checkpoint
from trazo.models.factory import build
from trazo.store import read_features, write_images
from trazo.streams import StreamedPixels


@pytest.fixture
def made(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (11, 16, 16), dtype=np.uint8)
    write_images(
        tmp_path / "images.h5", [pixels], shape=pixels.shape, labels=np.arange(11) % 3,
        ids=[f"item {i}" for i in range(11)], classes=["a", "b", "c"], record={},
    )  # fmt: skip
    network = build("resnet18", classes=3, channels=3, size=16, options={"width": 4}, seed=2)
    mean = torch.rand(1, 16, 16)
    save_checkpoint(
        tmp_path / "c.pt",
        Checkpoint("resnet18", {"width": 4}, 3, 16, ["a", "b", "c"], mean, {5: network.state_dict()}, {}),
    )
    return tmp_path, pixels, network.eval(), mean


def extract(folder, **changes):
    arguments = {
        "images": folder / "images.h5", "checkpoint": folder / "c.pt", "output": folder / "f.h5", "epoch": 5,
        "layer": "pool", "code": "x", "key": {"model": "m"}, "device": "cpu",
    }  # fmt: skip
    extract_features(**{**arguments, **changes})
    return read_features(folder / "f.h5")


def test_features_are_the_layer_s_output(made):
    folder, pixels, network, mean = made
    found = extract(folder)
    x = (torch.from_numpy(pixels)[:, None].float() / 255 - mean).repeat(1, 3, 1, 1)
    with torch.no_grad():
        expected = x
        for name in ("stem", "stage1", "stage2", "stage3", "stage4", "pool"):
            expected = network.stages[name](expected)
        logits = network.stages["head"](expected)
    np.testing.assert_allclose(found.values, expected.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.logits, logits.numpy(), rtol=1e-4, atol=1e-4)
    assert found.ids[4] == "item 4"
    assert found.labels.tolist() == [i % 3 for i in range(11)]
    assert found.logit_classes == ["a", "b", "c"]
    assert found.record["settings"]["key"] == {"model": "m"}


def test_logits_of_a_classifier_that_learned_nothing_are_left_out(made):
    folder, _, network, mean = made
    weights = {5: network.state_dict()}
    save_checkpoint(
        folder / "t.pt",
        Checkpoint("resnet18", {"width": 4}, 3, 16, ["a", "b", "c"], mean, weights, {}, classifier=False),
    )
    found = extract(folder, checkpoint=folder / "t.pt")
    assert found.logits is None
    np.testing.assert_array_equal(found.values, extract(folder).values)


def test_images_are_normalised_as_the_checkpoint_says(made):
    folder, pixels, network, _ = made
    weights = {5: network.state_dict()}
    save_checkpoint(
        folder / "n.pt",
        Checkpoint("resnet18", {"width": 4}, 3, 16, ["a", "b", "c"], None, weights, {}, normalise="imagenet"),
    )
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected, _ = network.embed((torch.from_numpy(pixels)[:, None].float() / 255 - mean) / deviation, "pool")
    found = extract(folder, checkpoint=folder / "n.pt")
    np.testing.assert_allclose(found.values, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_a_network_with_branches_takes_the_domain_s(made):
    folder, _, network, mean = made
    branched = build("resnet18", classes=3, channels=3, size=16, options={"width": 4}, seed=3, shared_from="stage2")
    names = ("stem", "stage1")
    for name in names:
        branched.branches["photo"][name].load_state_dict(network.stages[name].state_dict())
    branched.stages.load_state_dict({k: v for k, v in network.stages.state_dict().items() if not k.startswith(names)})
    save_checkpoint(
        folder / "b.pt",
        Checkpoint(
            "resnet18", {"width": 4}, 3, 16, ["a", "b", "c"], mean, {5: branched.state_dict()}, {}, shared_from="stage2"
        ),
    )
    plain = extract(folder)
    photos = extract(folder, checkpoint=folder / "b.pt", domain="photo")
    np.testing.assert_allclose(photos.values, plain.values, rtol=1e-5, atol=1e-6)
    assert photos.record["settings"]["domain"] == "photo"
    sketches = extract(folder, checkpoint=folder / "b.pt", domain="sketch")
    assert np.abs(sketches.values - plain.values).max() > 0.01
    np.testing.assert_array_equal(extract(folder, domain="photo").values, plain.values)
    with pytest.raises(InputError, match="branches for sketch and photo"):
        extract(folder, checkpoint=folder / "b.pt")


@pytest.mark.parametrize("head", [{"crs": {"size": 6}}, {"cbs": {"bits": 24}}, {"dsh": {"bits": 16}}], ids=str)
def test_codes_of_a_head_are_its_outputs_or_their_packed_bits(made, head):
    folder, pixels, _, mean = made
    network = build("resnet18", classes=3, channels=3, size=16, options={"width": 4}, seed=4, head=head).eval()
    save_checkpoint(
        folder / "h.pt",
        Checkpoint("resnet18", {"width": 4}, 3, 16, ["a", "b", "c"], mean, {5: network.state_dict()}, {}, head=head),
    )
    found = extract(folder, checkpoint=folder / "h.pt", layer="code")
    x = (torch.from_numpy(pixels)[:, None].float() / 255 - mean).repeat(1, 3, 1, 1)
    with torch.no_grad():
        outputs, logits = network.embed(x, "code")
    ((name, options),) = head.items()
    if name == "crs":
        np.testing.assert_allclose(found.values, outputs.numpy(), rtol=1e-4, atol=1e-5)
    else:
        assert (found.values.dtype, found.values.shape) == (np.uint8, (11, options["bits"] // 8))
        # Rounding may turn a bit whose output is next to the threshold; there is none here.
        threshold = 0.5 if name == "cbs" else 0.0
        assert (outputs - threshold).abs().min() > 1e-6
        assert np.unpackbits(found.values, axis=1).tolist() == (outputs.numpy() > threshold).astype(int).tolist()
    np.testing.assert_allclose(found.logits, logits.numpy(), rtol=1e-4, atol=1e-4)
    settings = found.record["settings"]
    assert settings["key"] == {"model": "m", "method": name}
    assert (settings["head"], settings["bits"]) == (head, 192 if name == "crs" else options["bits"])
    # Another layer of that network is a feature as ever.
    plain = extract(folder, checkpoint=folder / "h.pt", layer="pool")
    assert plain.record["settings"]["key"] == {"model": "m"}
    assert plain.values.dtype == np.float32


def test_batches_do_not_matter(made):
    whole = extract(made[0])
    small = extract(made[0], batch_size=2)
    np.testing.assert_allclose(whole.values, small.values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("workers", [0, 2])
def test_features_of_streamed_images_are_those_of_stored_ones(made, photos, workers):
    folder = made[0]
    names = [f"{kind}/{i}.jpg" for i in range(7) for kind in ("cat", "owl")]
    streamed = StreamedPixels(photos, names, size=16, channels=3, digest="")
    found = []
    for pixels in (streamed, [streamed[:]]):
        write_images(
            folder / "photos.h5", pixels, shape=(14, 16, 16, 3), labels=np.arange(14) % 2, ids=names,
            classes=["cat", "owl"], record={},
        )  # fmt: skip
        found.append(extract(folder, images=folder / "photos.h5", batch_size=4, workers=workers))
    assert found[0].values.shape[0] == 14
    np.testing.assert_array_equal(found[0].values, found[1].values)
    np.testing.assert_array_equal(found[0].logits, found[1].logits)
    assert found[0].ids == names


def test_mistakes_are_named(made):
    with pytest.raises(InputError, match="'pool'"):
        extract(made[0], layer="pol")
    with pytest.raises(InputError, match="epoch 4"):
        extract(made[0], epoch=4)


def test_weights_that_are_no_numbers_are_noticed(made):
    folder, _, network, mean = made
    state = network.state_dict()
    state["stages.stem.0.weight"][0] = float("nan")
    save_checkpoint(folder / "c.pt", Checkpoint("resnet18", {"width": 4}, 3, 16, ["a", "b", "c"], mean, {5: state}, {}))
    with pytest.raises(InputError, match=r"11 of 11 .*item 0.*learning rate"):
        extract(folder)
