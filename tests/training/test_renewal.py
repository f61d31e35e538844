"""Batch normalisation measured anew: by hand, and without a trace in what is learned."""

import numpy as np
import pytest
import torch
from trazo.errors import InputError
from trazo.models.checkpoint import load_checkpoint
from trazo.store import read_history

from tests.training.test_loop import bars, settings, train, write_bars


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The same training with running averages and with others, with held-out images measured."""
    folder = tmp_path_factory.mktemp("renewed")
    images = write_bars(folder / "train.h5", 193, 0)
    held_out = write_bars(folder / "test.h5", 60, 1)
    found = {}
    for batches in (0, 2, 100):
        stage = {"renew_statistics": batches, "checkpoints": [], "augment": {"flip": 0.5}}
        (folder / str(batches)).mkdir()
        path = train(folder / str(batches), images, settings(2, stage=stage), validation=held_out)
        found[batches] = load_checkpoint(path), read_history(path.with_name("history.json"))[1]
    return found


def is_average(name: str) -> bool:
    return name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def test_nothing_that_is_learned_depends_on_it(trained):
    plain, renewed = (trained[batches][0].weights[2] for batches in (0, 2))
    assert all(torch.equal(plain[name], renewed[name]) for name in plain if not is_average(name))
    assert not any(torch.equal(plain[name], renewed[name]) for name in plain if name.endswith("running_mean"))
    assert [row["loss"] for row in trained[0][1]] == [row["loss"] for row in trained[2][1]]


def test_held_out_images_are_measured_with_it(trained):
    checkpoint, history = trained[2]
    pixels, labels = bars(60, 1)
    images = torch.from_numpy(pixels[:, None].astype(np.float32) / 255) - checkpoint.mean_image
    with torch.no_grad():
        logits = checkpoint.network(2).eval()(images)
    assert history[-1]["validation_accuracy"] == pytest.approx((logits.argmax(1).numpy() == labels).mean())
    assert history[-1]["validation_loss"] != trained[0][1][-1]["validation_loss"]


def test_averages_are_those_of_all_batches_as_they_are(trained):
    # Of more batches than there are: every image once, 7 batches of which the last is of one image or spread.
    checkpoint = trained[100][0]
    weights = checkpoint.weights[2]
    network = checkpoint.network(2).eval()
    first = next(m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    count = int(weights[next(name for name in weights if name.endswith("num_batches_tracked"))])
    assert count == len(range(0, 193, 32)) - (193 % 32 == 1)
    seen = []
    first.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].double()))
    pixels, _ = bars(193, 0)
    with torch.no_grad():
        network(torch.from_numpy(pixels[:, None].astype(np.float32) / 255) - checkpoint.mean_image)
    # Batches are of nearly one size, so that the mean of their means is nearly that over all images.
    mean = seen[0].mean(dim=(0, 2, 3))
    spread = seen[0].std(dim=(0, 2, 3))
    assert ((first.running_mean - mean).abs() / spread).max() < 0.05
    np.testing.assert_allclose(first.running_var, seen[0].var(dim=(0, 2, 3)), rtol=0.1)


def test_a_network_without_batch_normalisation_is_refused(tmp_path):
    images = write_bars(tmp_path / "train.h5", 12, 0)
    model = settings(1, architecture="embedding_net", options={}, feature="embedding", stage={"renew_statistics": 3})
    with pytest.raises(InputError, match=r"renew_statistics: the network has no batch normalisation"):
        train(tmp_path, images, model)
