"""A stage learns, repeats itself exactly, and goes on after being killed as if nothing had happened."""

import json
import logging
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from trazo.config import Model
from trazo.errors import InputError
from trazo.models.checkpoint import load_checkpoint
from trazo.store import Images, read_history, write_images
from trazo.training.joined import Members, join, of_domain
from trazo.training.learner import Learner
from trazo.training.loop import TrainingError, train_stage
from trazo.training.resume import load_state, save_state
from trazo.training.sampling import Items, Triplets
from trazo.training.validation import sample

WORKFLOW = Path(__file__).resolve().parents[2] / "workflow"


def bars(count: int, seed: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Images of three classes that a small network tells apart: horizontal, vertical, diagonal bars."""
    rng = np.random.default_rng(seed)
    pixels = np.full((count, size, size), 255, np.uint8)
    labels = np.arange(count) % 3
    for image, label in zip(pixels, labels, strict=True):
        at = rng.integers(4, size - 4)
        if label == 0:
            image[at : at + 2] = 0
        elif label == 1:
            image[:, at : at + 2] = 0
        else:
            rows = np.arange(size)
            image[rows, (rows + at) % size] = 0
        image[rng.integers(0, size, 20), rng.integers(0, size, 20)] = 0
    return pixels, labels


def write_bars(path: Path, count: int, seed: int, classes: tuple[str, ...] = ("a", "b", "c")) -> Path:
    pixels, labels = bars(count, seed)
    write_images(
        path, [pixels], shape=pixels.shape, labels=labels, ids=[str(i) for i in range(count)], classes=classes,
        record={"settings": {"key": {}}},
    )  # fmt: skip
    return path


def settings(epochs: int = 3, **changes) -> dict:
    stage = {
        "name": "classify", "data": "bars/train", "epochs": epochs, "batch_size": 32,
        "optimizer": {"sgd": {"lr": 0.02, "momentum": 0.9, "nesterov": True}}, "checkpoints": [0, 1],
    }  # fmt: skip
    model = {"architecture": "resnet18", "options": {"width": 4}, "channels": 1, "feature": "pool", "stages": [stage]}
    stage.update(changes.pop("stage", {}))
    return {**model, **changes}


def train(folder: Path, images: Path, model: dict, **changes) -> Path:
    arguments = {
        "images": images, "output": folder / "checkpoint.pt", "history": folder / "history.json", "model": model,
        "stage": "classify", "seed": 0, "code": "x", "key": {"model": "m"}, "device": "cpu", "threads": 1,
    }  # fmt: skip
    train_stage(**{**arguments, **changes})
    return folder / "checkpoint.pt"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_bars(tmp_path_factory.mktemp("data") / "train.h5", 193, 0)


def same_weights(first: Path, second: Path) -> bool:
    one, two = load_checkpoint(first), load_checkpoint(second)
    assert one.weights.keys() == two.weights.keys()
    return all(torch.equal(one.weights[e][k], two.weights[e][k]) for e in one.weights for k in one.weights[e])


def test_it_learns_and_keeps_what_was_asked(tmp_path, data):
    held_out = write_bars(tmp_path / "test.h5", 60, 1)
    path = train(tmp_path, data, settings(4), validation=held_out)
    checkpoint = load_checkpoint(path)
    assert sorted(checkpoint.weights) == [0, 1, 4]
    assert checkpoint.classes == ["a", "b", "c"]
    record, history = read_history(tmp_path / "history.json")
    assert [row["epoch"] for row in history] == [0, 1, 2, 3, 4]
    assert history[-1]["validation_accuracy"] > 0.9 > history[0]["validation_accuracy"]
    assert history[-1]["loss"] < history[1]["loss"]
    assert record["figures"]["images_per_second"] > 0
    assert not Path(f"{path}.resume").exists()


def test_the_history_measures_what_an_independent_pass_measures(tmp_path, data):
    held_out = write_bars(tmp_path / "test.h5", 61, 1)
    checkpoint = load_checkpoint(train(tmp_path, data, settings(2), validation=held_out))
    pixels, labels = bars(61, 1)
    images = torch.from_numpy(pixels[:, None].astype(np.float32) / 255) - checkpoint.mean_image
    with torch.no_grad():
        logits = checkpoint.network(2).eval()(images)
    losses = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels), reduction="none")
    last = read_history(tmp_path / "history.json")[1][-1]
    assert last["validation_accuracy"] == pytest.approx((logits.argmax(1).numpy() == labels).mean())
    assert last["validation_loss"] == pytest.approx(losses.mean().item(), rel=1e-4)


def test_a_sample_of_the_training_images_is_measured_with_the_weights_that_are_kept(tmp_path, data):
    plain = train(tmp_path / "plain", data, settings(3))
    path = train(tmp_path / "frozen", data, settings(3, stage={"train_sample": 30}))
    # Measuring draws nothing from the random numbers of training.
    assert same_weights(plain, path)
    history = read_history(tmp_path / "frozen" / "history.json")[1]
    assert [row["epoch"] for row in history if "frozen_accuracy" in row] == [0, 1, 3]
    pixels, labels = bars(193, 0)
    images = Images(pixels, labels, [str(i) for i in range(193)], ["a", "b", "c"])
    chosen = [int(name) for name in sample(images, 30).ids]
    checkpoint = load_checkpoint(path)
    inputs = torch.from_numpy(pixels[chosen, None].astype(np.float32) / 255) - checkpoint.mean_image
    for epoch in (0, 1, 3):
        with torch.no_grad():
            logits = checkpoint.network(epoch).eval()(inputs)
        losses = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[chosen]), reduction="none")
        row = next(row for row in history if row["epoch"] == epoch)
        assert row["frozen_accuracy"] == pytest.approx((logits.argmax(1).numpy() == labels[chosen]).mean())
        assert row["frozen_loss"] == pytest.approx(losses.mean().item(), rel=1e-4)


def test_the_sample_holds_as_large_a_part_of_every_class():
    labels = np.repeat([0, 1, 2], [100, 40, 10])
    images = Images(np.arange(150, dtype=np.uint8)[:, None, None], labels, [str(i) for i in range(150)], list("abc"))
    taken = sample(images, 30)
    assert np.bincount(taken.labels).tolist() == [20, 8, 2]
    assert len(set(taken.ids)) == 30
    assert [int(name) for name in taken.ids] == taken.pixels[:, 0, 0].tolist()
    assert labels[taken.pixels[:, 0, 0]].tolist() == taken.labels.tolist()
    assert sample(images, 30).ids == taken.ids
    assert sample(images, 1000).ids == images.ids


def test_the_same_settings_give_the_same_weights(tmp_path, data):
    first = train(tmp_path / "1", data, settings())
    assert same_weights(first, train(tmp_path / "2", data, settings()))
    assert not same_weights(first, train(tmp_path / "3", data, settings(), seed=1))


def test_the_first_step_is_plain_sgd(tmp_path, data):
    """One epoch of one batch against torch's own parts, put together by hand."""
    model = settings(1, stage={"batch_size": 193, "checkpoints": [0], "optimizer": {"sgd": {"lr": 0.5}}})
    checkpoint = load_checkpoint(train(tmp_path, data, model))
    # The same memory layout: other kernels round otherwise, and normalisation over few values magnifies it.
    network = checkpoint.network(0).train().to(memory_format=torch.channels_last)
    pixels, labels = bars(193, 0)
    order = Items(Members(labels, "abc"), 193).batches(seed=0, number=1)[0]
    images = torch.from_numpy(pixels[:, None].astype(np.float32) / 255) - checkpoint.mean_image
    images = images.contiguous(memory_format=torch.channels_last)
    torch.nn.functional.cross_entropy(network(images[order]), torch.from_numpy(labels)[order]).backward()
    for name, parameter in network.named_parameters():
        expected = parameter.detach() - 0.5 * parameter.grad
        torch.testing.assert_close(checkpoint.weights[1][name], expected, rtol=1e-4, atol=1e-6)


KILLED = """
    import json, sys
    from trazo.training.loop import train_stage
    train_stage(**json.loads(sys.argv[1]))
"""


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM])
def test_killed_and_resumed_ends_with_the_same_weights(tmp_path, data, kill):
    model = settings(12, stage={"checkpoints": [0, 1, 5]})
    undisturbed = train(tmp_path / "whole", data, model)
    output = tmp_path / "cut" / "checkpoint.pt"
    arguments = {
        "images": str(data), "output": str(output), "history": str(tmp_path / "cut" / "history.json"), "model": model,
        "stage": "classify", "seed": 0, "code": "x", "key": {"model": "m"}, "device": "cpu", "threads": 1,
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), json.dumps(arguments)],
        env={**os.environ, "PYTHONPATH": str(WORKFLOW)},
        stderr=subprocess.DEVNULL,
    )
    resume = Path(f"{output}.resume")
    limit = time.monotonic() + 120
    while not resume.exists():
        assert process.poll() is None, "the training ended before it could be killed"
        assert time.monotonic() < limit, "no epoch was finished in time"
    process.send_signal(kill)
    process.wait()
    assert not output.exists()
    assert resume.exists()
    reached = torch.load(resume, weights_only=True)["state"]["epoch"]
    assert 1 <= reached < 12
    train(output.parent, data, model)
    assert same_weights(undisturbed, output)
    history = read_history(output.parent / "history.json")[1]
    assert [row["epoch"] for row in history] == list(range(13))
    assert not resume.exists()


@pytest.mark.parametrize("change", [{"code": "y"}, {"seed": 1}, {"model": settings(5)}])
def test_a_resume_file_of_something_else_is_not_used(tmp_path, data, change):
    fresh = train(tmp_path / "fresh", data, **{"model": settings(2), **change})
    model = settings(2)

    class Stop(Exception):
        pass

    def stop_after_first(*args, **kwargs):
        save_state(*args, **kwargs)
        raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trazo.training.loop.save_state", stop_after_first)
        with pytest.raises(Stop):
            train(tmp_path / "other", data, model)
    assert (tmp_path / "other" / "checkpoint.pt.resume").exists()
    trained = []

    def noted(path, state, fingerprint):
        trained.append(state["epoch"])
        save_state(path, state, fingerprint)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trazo.training.loop.save_state", noted)
        again = train(tmp_path / "other", data, **{"model": model, **change})
    # Going on after the first epoch may well give the same weights: the epochs trained tell.
    assert trained == list(range(1, len(trained) + 1))
    assert same_weights(fresh, again)


def test_a_damaged_resume_file_is_not_used(tmp_path):
    path = tmp_path / "x.resume"
    save_state(path, {"epoch": 3}, "print")
    assert load_state(path, "print") == {"epoch": 3}
    assert load_state(path, "other") is None
    path.write_bytes(path.read_bytes()[:40])
    assert load_state(path, "print") is None


def test_a_resume_file_with_a_flipped_byte_is_not_used(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("trazo"), "propagate", True)
    path = tmp_path / "x.resume"
    weights = torch.arange(1000, dtype=torch.float32)
    save_state(path, {"epoch": 3, "network": {"w": weights}}, "print")
    whole = path.read_bytes()
    at = whole.index(weights[600:604].numpy().tobytes())
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
    caplog.set_level(logging.INFO, "trazo")
    assert load_state(path, "print") is None
    assert "starting over" in caplog.text
    assert "x.resume is damaged" in caplog.text


def test_changed_data_are_not_mixed_with_an_interrupted_training(tmp_path, data):
    other = write_bars(tmp_path / "other.h5", 193, 9)
    fresh = train(tmp_path / "fresh", other, settings(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trazo.training.loop.write_history", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "again", data, settings(2))
    assert same_weights(fresh, train(tmp_path / "again", other, settings(2)))


def test_validation_data_of_other_classes_are_refused(tmp_path, data):
    held_out = write_bars(tmp_path / "test.h5", 30, 1, classes=("b", "a", "c"))
    with pytest.raises(InputError, match=r"\['a', 'b', 'c'\].*\['b', 'a', 'c'\]"):
        train(tmp_path, data, settings(1), validation=held_out)


def test_a_resumed_training_keeps_its_number_of_threads(tmp_path, data):
    model = settings(3)
    whole = train(tmp_path / "whole", data, model, threads=2)

    class Stop(Exception):
        pass

    def stop_after_first(*args, **kwargs):
        save_state(*args, **kwargs)
        raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trazo.training.loop.save_state", stop_after_first)
        with pytest.raises(Stop):
            train(tmp_path / "cut", data, model, threads=2)
    path = train(tmp_path / "cut", data, model, threads=1)
    record = read_history(path.parent / "history.json")[0]
    assert record["figures"]["threads"] == 2
    assert same_weights(whole, path)


def test_a_loss_that_is_no_number_stops_with_epoch_and_step(tmp_path, data):
    model = settings(3, stage={"optimizer": {"sgd": {"lr": 1e30}}})
    with pytest.raises(TrainingError, match=r"epoch \d+, by step \d+ of \d+.*learning rate"):
        train(tmp_path, data, model)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_the_state_before_a_loss_that_is_no_number_is_kept_and_gone_on_from(tmp_path, data, monkeypatch):
    model = settings(3)
    whole = train(tmp_path / "whole", data, model)
    steps = []

    def poisoned(self, *batch, **options):
        found = outcome(self, *batch, **options)
        steps.append(1)
        # In the second epoch of 6 steps, by the third.
        return replace(found, loss=found.loss * math.nan) if len(steps) == 9 else found

    outcome = Learner.outcome
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "outcome", poisoned)
        with pytest.raises(
            TrainingError, match=r"became nan in epoch 2, by step 6 of 6; the state after epoch 1 is kept"
        ):
            train(tmp_path / "cut", data, model)
    assert not (tmp_path / "cut" / "checkpoint.pt").exists()
    state = torch.load(tmp_path / "cut" / "checkpoint.pt.resume", weights_only=True)["state"]
    assert state["epoch"] == 1
    assert all(torch.isfinite(value).all() for value in state["network"].values())
    assert same_weights(whole, train(tmp_path / "cut", data, model))


def test_a_later_stage_starts_from_the_one_before(tmp_path, data):
    first = train(tmp_path / "1", data, settings(2))
    second = {**settings(0)["stages"][0], "name": "again", "checkpoints": []}
    model = Model.model_validate({**settings(2), "stages": [*settings(2)["stages"], second]})
    path = train(tmp_path / "2", data, model, stage="again", previous=first)
    one, two = load_checkpoint(first).weights[2], load_checkpoint(path).weights[0]
    assert all(torch.equal(one[k], two[k]) for k in one)
    others = write_bars(tmp_path / "others.h5", 30, 0, classes=("a", "b", "d"))
    # Other classes: all is taken over but the classifier, which is drawn anew.
    three = load_checkpoint(train(tmp_path / "3", others, model, stage="again", previous=first))
    assert three.classes == ["a", "b", "d"]
    assert {k for k in one if not torch.equal(one[k], three.weights[0][k])} == {
        "stages.head.weight",
        "stages.head.bias",
    }
    assert "head drawn from seed 0" in three.record["figures"]["starting_weights"]


@pytest.mark.parametrize(("steps", "parts"), [(18, 3), (20, 3), (5, 5), (3, 2)])
def test_iterations_are_cut_into_parts_and_end_as_epochs_do(tmp_path, data, steps, parts):
    """193 images in batches of 32 are 6 steps a pass; the weights are those of so many steps over such passes."""
    model = settings(parts, stage={"iterations": steps, "checkpoints": list(range(parts + 1))})
    checkpoint = load_checkpoint(train(tmp_path, data, model, validation=data))
    assert sorted(checkpoint.weights) == list(range(parts + 1))
    record, history = read_history(tmp_path / "history.json")
    ends = [int(part * steps / parts + 0.5) for part in range(parts + 1)]
    assert [row.get("steps", 0) for row in history] == [0, *np.diff(ends)]
    passes = [
        order
        for number in range(1, 5)
        for order in Items(Members(np.zeros(193), "a"), 32).batches(seed=0, number=number)
    ]
    images = np.cumsum([0, *map(len, passes)])
    assert [row.get("images", 0) for row in history] == [0, *np.diff(images[ends])]
    assert all("validation_loss" in row for row in history)
    assert all(
        row["images_per_second"] * row["seconds"] == pytest.approx(row["images"], rel=0.1) for row in history[1:]
    )
    seconds = sum(row["seconds"] for row in history[1:])
    assert record["figures"]["images_per_second"] == pytest.approx(images[steps] / seconds, rel=0.01)
    if (steps, parts) == (18, 3):
        by_epochs = load_checkpoint(train(tmp_path / "epochs", data, settings(3, stage={"checkpoints": [0, 1, 2]})))
        for epoch, weights in by_epochs.weights.items():
            assert all(torch.equal(checkpoint.weights[epoch][k], v) for k, v in weights.items())


def interrupted(folder, images, model, parts=1, **changes):
    """Train until so many parts are kept, then stop as if killed."""

    class Stop(Exception):
        pass

    def stop_after_some(path, state, *args):
        save_state(path, state, *args)
        if state["epoch"] == parts:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trazo.training.loop.save_state", stop_after_some)
        with pytest.raises(Stop):
            train(folder, images, model, **changes)
    return folder


@pytest.mark.parametrize("parts", [1, 3])
def test_iterations_resume_to_the_same_weights(tmp_path, data, parts):
    """Dropout and Adam included: their state has to come back too."""
    options = {"form": "padded", "widths": [2, 2, 2, 2], "fc": 4}
    stage = {"iterations": 22, "optimizer": {"adam": {"lr": 0.01}}, "checkpoints": [2]}
    model = settings(4, architecture="sknet", options=options, feature="fc1", stage=stage)
    whole = train(tmp_path / "whole", data, model)
    again = train(interrupted(tmp_path / "cut", data, model, parts), data, model)
    assert same_weights(whole, again)
    first, second = (read_history(path.parent / "history.json")[1] for path in (whole, again))
    timed = ("seconds", "images_per_second")
    assert [{k: v for k, v in row.items() if k not in timed} for row in first] == [
        {k: v for k, v in row.items() if k not in timed} for row in second
    ]


BY_TRIPLETS = {"triplet": {"margin": 0.5}}
MIXED = {"cross_entropy": {"weight": 0.4}, "triplet": {"weight": 0.6, "mining": "semi_hard", "per_class": 3}}


@pytest.mark.parametrize(
    ("objective", "classifies"),
    [
        ({"contrastive": {"normalise": True}}, False),
        (BY_TRIPLETS, False),
        ({"triplet": {"mining": "hard"}}, False),
        (MIXED, True),
    ],
)
def test_objectives_of_embeddings_learn_resume_and_repeat(tmp_path, data, objective, classifies):
    held_out = write_bars(tmp_path / "test.h5", 60, 1)
    model = settings(8, stage={"objective": objective, "checkpoints": [0]})
    whole = train(tmp_path / "whole", data, model, validation=held_out)
    record, history = read_history(whole.parent / "history.json")
    assert history[-1]["validation_loss"] < history[0]["validation_loss"]
    assert ("accuracy" in history[-1], "validation_accuracy" in history[-1]) == (classifies, classifies)
    assert record["figures"]["images_per_second"] > 0
    checkpoint = load_checkpoint(whole)
    assert checkpoint.classifier == classifies
    head = [checkpoint.weights[epoch]["stages.head.weight"] for epoch in (0, 8)]
    assert torch.equal(*head) == (not classifies)
    again = train(interrupted(tmp_path / "cut", data, model, validation=held_out), data, model, validation=held_out)
    assert same_weights(whole, again)
    assert [row["validation_loss"] for row in read_history(again.parent / "history.json")[1]] == [
        row["validation_loss"] for row in history
    ]


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ({"step": {"every": 2}}, [0.01, 0.01, 0.001, 0.001, 0.0001]),
        ({"step": {"every": 2, "factor": 0.5}}, [0.01, 0.01, 0.005, 0.005, 0.0025]),
        ({"cosine": {}}, [0.01 * (1 + math.cos(math.pi * e / 5)) / 2 for e in range(5)]),
        (None, [0.01] * 5),
    ],
)
def test_the_learning_rate_follows_its_schedule_also_after_an_interruption(tmp_path, data, schedule, rates):
    stage = {"optimizer": {"adam": {"lr": 0.01}}, "schedule": schedule, "checkpoints": [3]}
    model = settings(5, stage=stage)
    whole = train(tmp_path / "whole", data, model)
    history = read_history(whole.parent / "history.json")[1]
    assert [row["learning_rate"] for row in history] == pytest.approx(rates, rel=1e-12)
    again = train(interrupted(tmp_path / "cut", data, model, 3), data, model)
    assert same_weights(whole, again)
    assert [row["learning_rate"] for row in read_history(again.parent / "history.json")[1]] == [
        row["learning_rate"] for row in history
    ]


def test_a_schedule_counts_the_parts_of_iterations(tmp_path, data):
    stage = {"iterations": 7, "schedule": {"step": {"every": 1, "factor": 0.5}}, "optimizer": {"sgd": {"lr": 0.08}}}
    path = train(tmp_path, data, settings(3, stage={**stage, "checkpoints": []}))
    rates = [row["learning_rate"] for row in read_history(path.parent / "history.json")[1]]
    assert rates == pytest.approx([0.08, 0.04, 0.02])


@pytest.mark.parametrize(
    "objective",
    [
        {"pml:MultiSimilarityLoss": {"options": {"alpha": 1}, "miner": "MultiSimilarityMiner", "per_class": 4}},
        # This miner draws at random, and dropout beside it.
        {"pml:MarginLoss": {"miner": "DistanceWeightedMiner"}, "cross_entropy": {"weight": 0.5}},
    ],
)
def test_borrowed_losses_learn_resume_and_repeat(tmp_path, data, objective):
    held_out = write_bars(tmp_path / "test.h5", 60, 1)
    stage = {"objective": objective, "checkpoints": [0], "optimizer": {"adam": {"lr": 0.01}}}
    model = settings(5, stage=stage)
    whole = train(tmp_path / "whole", data, model, validation=held_out)
    history = read_history(whole.parent / "history.json")[1]
    assert history[-1]["validation_loss"] < history[0]["validation_loss"]
    again = train(interrupted(tmp_path / "cut", data, model, 2, validation=held_out), data, model, validation=held_out)
    assert same_weights(whole, again)
    assert [row["validation_loss"] for row in read_history(again.parent / "history.json")[1]] == [
        row["validation_loss"] for row in history
    ]


def test_triplets_are_validated_on_fixed_triplets_and_classifiers_on_every_item(tmp_path, data):
    held_out = write_bars(tmp_path / "test.h5", 61, 1)
    objective = {"cross_entropy": {"weight": 2}, "triplet": {"margin": 5.0}}
    model = settings(1, stage={"objective": objective, "iterations": 2})
    checkpoint = load_checkpoint(train(tmp_path, data, model, validation=held_out))
    pixels, labels = bars(61, 1)
    images = torch.from_numpy(pixels[:, None].astype(np.float32) / 255) - checkpoint.mean_image
    with torch.no_grad():
        features, logits = (t.numpy().astype(np.float64) for t in checkpoint.network(1).eval().embed(images, "pool"))
    rows = [batch.numpy().reshape(3, -1) for batch in Triplets(Members(labels, "abc"), 32).batches(seed=0, number=0)]
    losses = [
        max(0.0, 5 + np.linalg.norm(features[a] - features[p]) - np.linalg.norm(features[a] - features[n]))
        for batch in rows
        for a, p, n in batch.T
    ]
    assert len(losses) == 61
    likely = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    entropy = -likely[np.arange(61), labels].mean()
    last = read_history(tmp_path / "history.json")[1][-1]
    assert last["validation_loss"] == pytest.approx(2 * entropy + np.mean(losses), rel=1e-4)
    assert last["validation_accuracy"] == pytest.approx((logits.argmax(axis=1) == labels).mean())


def test_a_class_of_one_image_is_named_before_the_first_step(tmp_path, data):
    pixels, labels = bars(31, 0)
    labels = np.where(np.arange(31) == 30, 3, labels)
    for name, count in (("lone", 31), ("pairs", 30)):
        write_images(
            tmp_path / f"{name}.h5", [pixels[:count]], shape=(count, 32, 32), labels=labels[:count],
            ids=list(map(str, range(count))), classes=["a", "b", "c", "d"], record={},
        )  # fmt: skip
    model = settings(1, stage={"objective": BY_TRIPLETS})
    with pytest.raises(InputError, match=r"stage classify: .*d \(1\)"):
        train(tmp_path, tmp_path / "lone.h5", model)
    with pytest.raises(InputError, match=r"stage classify: validate_on: .*d \(1\)"):
        train(tmp_path, tmp_path / "pairs.h5", model, validation=tmp_path / "lone.h5")
    assert not (tmp_path / "checkpoint.pt").exists()
    assert not (tmp_path / "checkpoint.pt.resume").exists()


def test_the_feature_layer_decides_what_embeddings_are(tmp_path, data):
    """The first step of plain SGD, against torch's own parts put together by hand."""
    stage = {"objective": "triplet", "iterations": 1, "epochs": 1, "optimizer": {"sgd": {"lr": 0.5}}}
    checkpoint = load_checkpoint(train(tmp_path, data, settings(1, feature="stage3", stage=stage)))
    network = checkpoint.network(0).train().to(memory_format=torch.channels_last)
    pixels, labels = bars(193, 0)
    order = Triplets(Members(labels, "abc"), 32).batches(seed=0, number=1)[0]
    assert len(order) == 30
    images = torch.from_numpy(pixels[:, None].astype(np.float32) / 255) - checkpoint.mean_image
    hidden = images.contiguous(memory_format=torch.channels_last)[order]
    for name in ("stem", "stage1", "stage2", "stage3"):
        hidden = network.stages[name](hidden)
    torch.nn.functional.triplet_margin_loss(*hidden.flatten(1).chunk(3), margin=1.0, eps=0).backward()
    for name, parameter in network.named_parameters():
        gradient = 0 if parameter.grad is None else parameter.grad
        assert (parameter.grad is None) == name.startswith(("stages.stage4", "stages.pool", "stages.head"))
        expected = parameter.detach() - 0.5 * gradient
        torch.testing.assert_close(checkpoint.weights[1][name], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("form", ["unpadded", "padded"])
@pytest.mark.parametrize("mean_image", [True, False])
def test_sketch_networks_train_with_and_without_the_mean_image(tmp_path, form, mean_image):
    images = write_bars(tmp_path / "train.h5", 24, 0)
    model = settings(
        1, architecture="sknet", options={"form": form, "widths": [2, 2, 2, 2], "fc": 4}, feature="fc1",
        mean_image=mean_image, size=96, stage={"optimizer": {"adam": {}}},
    )  # fmt: skip
    checkpoint = load_checkpoint(train(tmp_path, images, model))
    assert (checkpoint.mean_image is not None) == mean_image
    first, last = checkpoint.weights[0], checkpoint.weights[1]
    assert not torch.equal(first["stages.block1.0.0.weight"], last["stages.block1.0.0.weight"])


def test_colour_images_and_resized_inputs_train(tmp_path):
    pixels, labels = bars(30, 0)
    colour = np.repeat(pixels[..., None], 3, axis=3)
    write_images(
        tmp_path / "c.h5", [colour], shape=colour.shape, labels=labels, ids=list(map(str, range(30))),
        classes=["a", "b", "c"], record={},
    )  # fmt: skip
    path = train(tmp_path, tmp_path / "c.h5", settings(1, channels=3, size=16))
    checkpoint = load_checkpoint(path)
    assert checkpoint.size == 16
    assert checkpoint.mean_image.shape == (3, 16, 16)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Sketches (grey) and photos (colour, marked by a corner) of the same three classes."""
    folder = tmp_path_factory.mktemp("both")
    sketches = write_bars(folder / "sketches.h5", 45, 0)
    pixels, labels = bars(31, 5)
    colour = np.repeat(pixels[..., None], 3, axis=3)
    colour[:, 0, 0] = 7
    photos = folder / "photos.h5"
    write_images(
        photos, [colour], shape=colour.shape, labels=labels, ids=[f"p{i}" for i in range(31)], classes=list("abc"),
        record={},
    )  # fmt: skip
    return [photos, sketches]


DOMAINS = {"domains": ["photo", "sketch"]}
MEASURED = {"validation_domains": ["photo", "sketch"]}

ACROSS = {"cross_entropy": {"weight": 1.2}, "triplet": {"weight": 0.6, "margin": 0.5}}


@pytest.mark.parametrize(
    ("objective", "seen"), [("cross_entropy", 76), ({"contrastive": {"normalise": True}}, 90), (ACROSS, 135)]
)
def test_sketches_and_photos_are_trained_on_together_and_resume(tmp_path, both, objective, seen):
    augment = {"flip": 0.5, "rotate": 15, "crop": 0.8, "thickness": 1, "erase": 0.5}
    stage = {"objective": objective, "checkpoints": [0]}
    model = settings(3, channels=3, stage={**stage, "augment": augment})
    changes = {"validation": both, **DOMAINS, **MEASURED}
    whole = train(tmp_path / "whole", both, model, **changes)
    record, history = read_history(whole.parent / "history.json")
    assert [row["images"] for row in history[1:]] == [seen] * 3
    assert all(math.isfinite(row["validation_loss"]) for row in history)
    assert record["settings"]["model"]["stages"][0]["augment"]["flip"] == 0.5
    folder = interrupted(tmp_path / "cut", both, model, **changes)
    assert same_weights(whole, train(folder, both, model, **changes))
    plain = train(tmp_path / "plain", both, settings(3, channels=3, stage=stage), **changes)
    assert not same_weights(whole, plain)


def test_rows_keep_their_domains_in_training_and_validation(tmp_path, both, monkeypatch):
    found = []
    inner = Learner.outputs

    def noted(self, pixels, domains=None, augment=None):
        found.append((self.network.training, pixels[:, 0, 0, 0] == 7, domains, augment))
        return inner(self, pixels, domains, augment)

    monkeypatch.setattr(Learner, "outputs", noted)
    model = settings(1, channels=3, stage={"objective": ACROSS, "augment": {"flip": 0.5}})
    train(tmp_path, both, model, validation=both, **DOMAINS, **MEASURED)
    assert {training for training, *_ in found} == {True, False}
    for training, photos, domains, augment in found:
        assert torch.equal(photos, domains == 1)
        assert (augment is not None) == training
        if training:
            # A triplet is a sketch and two photos.
            assert photos.reshape(3, -1).tolist() == [[False] * (len(photos) // 3), *[[True] * (len(photos) // 3)] * 2]


def test_every_step_draws_its_own_augmentations(tmp_path, data, monkeypatch):
    states = []
    inner = Learner.outcome

    def noted(self, *given, augment=None, **known):
        states.append(augment.initial_seed())
        return inner(self, *given, augment=augment, **known)

    monkeypatch.setattr(Learner, "outcome", noted)
    model = settings(2, stage={"augment": {"flip": 0.5}})
    train(tmp_path / "1", data, model)
    assert len(set(states)) == len(states) == 2 * 6
    train(tmp_path / "2", data, model)
    assert states[:12] == states[12:]


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ({"triplet": {"mining": "hard"}}, "stage classify: data: pairs chosen within a batch"),
        ({"contrastive": {}, "triplet": {"mining": "hard"}}, "stage classify: data: pairs chosen within a batch"),
        ({"triplet": {"draw": "instances"}}, "stage classify: data: draw: instances .*`instance`"),
    ],
)
def test_what_sketches_and_photos_cannot_teach_is_refused(tmp_path, both, objective, words):
    with pytest.raises(InputError, match=words):
        train(tmp_path, both, settings(1, channels=3, stage={"objective": objective}), **DOMAINS)


def test_a_sample_of_both_domains_holds_as_large_a_part_of_each():
    def images(count, start):
        pixels = np.arange(start, start + count, dtype=np.uint8)[:, None, None]
        names = [str(start + i) for i in range(count)]
        return Images(pixels, np.arange(count) % 2, names, ["a", "b"], instances=names)

    taken = sample(join(images(80, 0), images(40, 100)), 30)
    assert np.bincount(taken.labels + 2 * taken.domains).tolist() == [10, 10, 5, 5]
    assert taken.ids == taken.instances == [str(value) for value in taken.pixels[:, 0, 0]]
    assert (taken.domains == (taken.pixels[:, 0, 0] >= 100)).all()
    photos = sample(of_domain(images(40, 100), "photo"), 10)
    assert photos.domains.tolist() == [1] * 10
