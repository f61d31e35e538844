"""A stage learns the same from streamed images as from stored ones, whoever decodes them."""

import multiprocessing

import numpy as np
import pytest
import torch
from trazo.errors import InputError
from trazo.models.checkpoint import load_checkpoint
from trazo.store import read_history, write_images
from trazo.streams import StreamedPixels
from trazo.training.loop import train_stage
from trazo.training.resume import save_state

TIMED = ("seconds", "images_per_second")


def write_both(folder, photos, name, numbers):
    """Write the same images streamed and stored."""
    names = [f"{kind}/{i}.jpg" for kind in ("cat", "dog", "owl") for i in numbers]
    streamed = StreamedPixels(photos, names, size=16, channels=3, digest=name)
    labels = np.repeat([0, 1, 2], len(numbers))
    for kind, pixels in (("streamed", streamed), ("stored", [streamed[:]])):
        write_images(
            folder / f"{name}-{kind}.h5", pixels, shape=streamed.shape, labels=labels, ids=names,
            classes=["cat", "dog", "owl"], record={},
        )  # fmt: skip


@pytest.fixture(scope="module")
def data(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_both(folder, photos, "train", range(15))
    write_both(folder, photos, "test", range(15, 21))
    return folder


def settings(**changes):
    # Dropout draws random numbers, which loading must leave alone.
    stage = {
        "name": "classify", "data": "d/train", "epochs": 2, "batch_size": 8, "checkpoints": [0], "train_sample": 9,
        "optimizer": {"adam": {"lr": 0.01}}, **changes.pop("stage", {}),
    }  # fmt: skip
    options = {"form": "padded", "widths": [2, 2, 2, 2], "fc": 4}
    model = {"architecture": "sknet", "options": options, "channels": 3, "size": 64, "feature": "fc1"}
    return {**model, **changes, "stages": [stage]}


def train(folder, data, kind, model, workers=2, **changes):
    train_stage(
        images=data / f"train-{kind}.h5", validation=data / f"test-{kind}.h5", output=folder / "checkpoint.pt",
        history=folder / "history.json", model=model, stage="classify", seed=0, code="x", key={}, device="cpu",
        workers=workers, **changes,
    )  # fmt: skip
    history = read_history(folder / "history.json")[1]
    untimed = [{key: value for key, value in row.items() if key not in TIMED} for row in history]
    return load_checkpoint(folder / "checkpoint.pt"), untimed


def assert_same(first, second):
    assert first[1] == second[1]
    assert torch.equal(first[0].mean_image, second[0].mean_image)
    for epoch, weights in first[0].weights.items():
        assert all(torch.equal(value, second[0].weights[epoch][key]) for key, value in weights.items())


@pytest.mark.parametrize("objective", ["cross_entropy", {"cross_entropy": {}, "triplet": {"mining": "hard"}}])
def test_streamed_images_teach_what_stored_ones_do(tmp_path, data, objective):
    model = settings(stage={"objective": objective})
    stored = train(tmp_path / "stored", data, "stored", model)
    assert {"validation_loss", "frozen_loss"} < stored[1][-1].keys()
    for workers in (0, 2):
        assert_same(stored, train(tmp_path / str(workers), data, "streamed", model, workers=workers))
    assert not multiprocessing.active_children()


def test_an_interrupted_training_goes_on_and_takes_its_mean_image_along(tmp_path, data, monkeypatch):
    whole = train(tmp_path / "whole", data, "streamed", settings())

    def stop_after_first(*arguments):
        save_state(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("trazo.training.loop.save_state", stop_after_first)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "cut", data, "streamed", settings())
    assert not multiprocessing.active_children()
    monkeypatch.setattr("trazo.training.loop.mean_of", None)
    assert_same(whole, train(tmp_path / "cut", data, "streamed", settings(), workers=0))


def test_an_interrupted_training_starts_over_where_the_files_changed(tmp_path, data, photos, monkeypatch):
    def stop_after_first(*arguments):
        save_state(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr("trazo.training.loop.save_state", stop_after_first)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, data, "streamed", settings(), workers=0)
    monkeypatch.undo()
    names = [f"{kind}/{i}.jpg" for kind in ("cat", "dog", "owl") for i in range(15)]
    pixels = StreamedPixels(photos, names, size=16, channels=3, digest="another")
    (tmp_path / "test-streamed.h5").write_bytes((data / "test-streamed.h5").read_bytes())
    write_images(
        tmp_path / "train-streamed.h5", pixels, shape=pixels.shape, labels=np.repeat([0, 1, 2], 15), ids=names,
        classes=["cat", "dog", "owl"], record={},
    )  # fmt: skip
    taken = []
    monkeypatch.setattr("trazo.training.loop._mean_image", lambda *given: taken.append(given))
    train(tmp_path, tmp_path, "streamed", settings(), workers=0)
    assert len(taken) == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_read_while_training_is_named(tmp_path, photos, workers):
    folder = tmp_path / "photos"
    for kind in ("cat", "dog"):
        (folder / kind).mkdir(parents=True)
        for i in range(4):
            (folder / kind / f"{i}.jpg").write_bytes((photos / kind / f"{i}.jpg").read_bytes())
    content = (folder / "dog" / "2.jpg").read_bytes()
    (folder / "dog" / "2.jpg").write_bytes(content[: len(content) // 2])
    names = [f"{kind}/{i}.jpg" for kind in ("cat", "dog") for i in range(4)]
    pixels = StreamedPixels(folder, names, size=16, channels=3, digest="")
    for name in ("train", "test"):
        write_images(
            tmp_path / f"{name}-streamed.h5", pixels, shape=pixels.shape, labels=np.repeat([0, 1], 4), ids=names,
            classes=["cat", "dog"], record={},
        )  # fmt: skip
    model = settings(mean_image=False, stage={"checkpoints": [], "train_sample": 0})
    with pytest.raises(InputError, match=r"dog/2\.jpg of .*photos cannot be read: .*[Tt]runcated"):
        train(tmp_path, tmp_path, "streamed", model, workers=workers)
    assert not (tmp_path / "checkpoint.pt").exists()
    assert not multiprocessing.active_children()
