"""The first stage of a training starts where its model says, and its record says where that was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from trazo.errors import InputError
from trazo.models.checkpoint import load_checkpoint
from trazo.models.factory import build
from trazo.store import read_history, write_images
from trazo.training.loop import train_stage


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Write 30 colour images of three classes."""
    path = tmp_path_factory.mktemp("data") / "train.h5"
    pixels = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    write_images(
        path, [pixels], shape=pixels.shape, labels=np.arange(30) % 3, ids=[str(i) for i in range(30)],
        classes=["a", "b", "c"], record={},
    )  # fmt: skip
    return path


def model(epochs: int = 1, **changes) -> dict:
    stage = {
        "name": "classify", "data": "d/train", "epochs": epochs, "batch_size": 10, "checkpoints": [0],
        "optimizer": {"sgd": {"lr": 0.01}}, "precision": "float32", **changes.pop("stage", {}),
    }  # fmt: skip
    return {"architecture": "resnet50", "options": {"width": 4}, "feature": "pool", "stages": [stage], **changes}


def train(folder: Path, images: Path, settings: dict, **changes) -> Path:
    arguments = {
        "images": images, "output": folder / "checkpoint.pt", "history": folder / "history.json", "model": settings,
        "stage": "classify", "seed": 0, "code": "x", "key": {"model": "m", "stage": "classify", "seed": 0},
        "device": "cpu", "threads": 1,
    }  # fmt: skip
    train_stage(**{**arguments, **changes})
    return folder / "checkpoint.pt"


def words_of(path: Path) -> list[str]:
    records = [load_checkpoint(path).record, read_history(path.parent / "history.json")[0]]
    return [record["figures"]["starting_weights"] for record in records]


def test_a_chain_of_two_models(tmp_path, images):
    key = {"model": "base", "stage": "classify", "seed": 0}
    base = train(tmp_path / "base", images, model(2, stage={"checkpoints": [0, 1]}), key=key)
    assert words_of(base) == ["drawn from seed 0"] * 2
    learned = load_checkpoint(base)
    for start, epoch in (({"model": "base"}, 2), ({"model": "base", "stage": "classify", "epoch": 1}, 1)):
        second = train(tmp_path / f"second{epoch}", images, model(1, weights=start), weights=[base], seed=5)
        assert words_of(second) == [f"stage classify of base at epoch {epoch}"] * 2
        first = load_checkpoint(second).weights[0]
        assert all(torch.equal(first[k], v) for k, v in learned.weights[epoch].items())
    options = {"width": 4, "embedding": 5}
    stage = {"objective": {"triplet": {"mining": "hard"}}, "batch_size": 12}
    chosen = model(1, weights={"model": "base"}, options=options, feature="embedding", stage=stage)
    embedded = train(tmp_path / "embedded", images, chosen, weights=[base])
    assert words_of(embedded) == ["stage classify of base at epoch 2; embedding and fc drawn from seed 0"] * 2
    state = load_checkpoint(embedded).weights
    assert not torch.equal(state[0]["stages.embedding.weight"], state[1]["stages.embedding.weight"])


def test_weights_of_a_file_are_where_training_starts(tmp_path, images):
    given = build("resnet50", classes=3, channels=3, size=32, options={"width": 4}, seed=9).state_dict()
    torch.save({k.removeprefix("stages.").removeprefix("stem."): v for k, v in given.items()}, tmp_path / "w.pth")
    path = train(tmp_path / "out", images, model(0, weights="mine"), weights=[tmp_path / "w.pth"])
    started = load_checkpoint(path).weights[0]
    assert all(torch.equal(started[k], v) for k, v in given.items())
    assert words_of(path)[0].startswith("file w.pth (sha256 ")
    with pytest.raises(InputError, match="mine asks for 1 files, and 0 were given"):
        train(tmp_path / "out", images, model(0, weights="mine"))


def test_an_interrupted_training_from_other_weights_is_not_gone_on_with(tmp_path, images):
    for seed in (1, 2):
        torch.save(
            build("resnet50", classes=3, channels=3, size=32, options={"width": 4}, seed=seed).state_dict(),
            tmp_path / f"{seed}.pth",
        )
    settings = model(2, weights="w")
    fresh = train(tmp_path / "fresh", images, settings, weights=[tmp_path / "2.pth"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trazo.training.loop.write_history", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "again", images, settings, weights=[tmp_path / "1.pth"])
    assert (tmp_path / "again" / "checkpoint.pt.resume").exists()
    again = train(tmp_path / "again", images, settings, weights=[tmp_path / "2.pth"])
    one, two = load_checkpoint(fresh).weights[2], load_checkpoint(again).weights[2]
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_a_later_stage_says_it_goes_on(tmp_path, images):
    settings = model(1)
    settings["stages"].append({**settings["stages"][0], "name": "again"})
    first = train(tmp_path / "1", images, settings)
    second = train(tmp_path / "2", images, settings, stage="again", previous=first)
    assert words_of(second) == ["stage classify of m at epoch 1"] * 2


def test_normalised_colours_reach_the_network(tmp_path, images):
    """One step of training by hand: images less ImageNet's mean, by its deviation, and no mean image."""
    settings = model(1, normalise="imagenet", stage={"batch_size": 30, "optimizer": {"sgd": {"lr": 0.5}}})
    found = load_checkpoint(train(tmp_path, images, settings, validation=images))
    assert (found.normalise, found.mean_image) == ("imagenet", None)
    network = found.network(0).train().to(memory_format=torch.channels_last)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    batch = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / deviation
    batch = batch.contiguous(memory_format=torch.channels_last)
    torch.nn.functional.cross_entropy(network(batch), torch.arange(30) % 3).backward()
    bias = dict(network.named_parameters())["stages.fc.bias"]
    torch.testing.assert_close(
        found.weights[1]["stages.fc.bias"], (bias - 0.5 * bias.grad).detach(), rtol=1e-3, atol=1e-5
    )
