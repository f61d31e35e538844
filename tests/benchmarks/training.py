"""Training beside the bare loop: the same network on one batch that is ready, forward, backward, step, nothing else."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from trazo.loading import WORKERS, source_of
from trazo.models.factory import build
from trazo.streams import Pixels
from trazo.training.joined import Members
from trazo.training.learner import Learner
from trazo.training.loop import Course, train_epoch
from trazo.training.objectives import mixture
from trazo.training.sampling import Schedule, samplings

from tests.benchmarks.harness import Contestant, Values, benchmark

BATCH, CLASSES = 64, 20


def course_on(architecture: str, pixels: Pixels, options: dict[str, Any], workers: int = WORKERS) -> Course:
    """Return a network and (N, H, H[, 3]) uint8 pixels to learn from, on the GPU where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images, size, channels = len(pixels), pixels.shape[1], 3 if pixels.ndim == 4 else 1
    labels = np.arange(images) % CLASSES
    network = build(architecture, classes=CLASSES, channels=channels, size=size, options=options)
    network = network.to(device, memory_format=torch.channels_last)
    learner = Learner(
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=1e-3),
        objective=mixture("cross_entropy"),
        feature="fc1",
        channels=channels,
        size=size,
        mean_image=torch.full((channels, size, size), 0.9, device=device),
        device=device,
        precision=torch.float32,
    )
    sampling = samplings.get("items")(Members(labels, [str(c) for c in range(CLASSES)]), BATCH)
    schedule = Schedule(sampling, parts=1, iterations=None, seed=0)
    source = source_of(pixels, device, workers=workers, resident=True)
    return Course(learner, schedule, source, torch.from_numpy(labels).to(device), validation=None)


def course_of(architecture: str, images: int, size: int, widths: tuple[int, ...]) -> Course:
    """Return a network and grey noise to learn from."""
    pixels = np.random.default_rng(0).integers(0, 256, (images, size, size), dtype=np.uint8)
    return course_on(architecture, pixels, {"widths": list(widths)})


def trazo(course: Course) -> Values:
    """Train one epoch as a stage does: shuffled bytes made into batches, loss and accuracy kept."""
    return {"images": float(train_epoch(course, 1)["images"])}


def bare_loop(course: Course) -> Values:
    """Train on one batch that is ready, as often as the epoch has batches."""
    network, optimizer = course.learner.network.train(), course.learner.optimizer
    images = course.source.pixels[:BATCH, None].float().div(255).contiguous(memory_format=torch.channels_last)
    labels = course.labels[:BATCH]
    for _ in range(len(course.source.pixels) // BATCH):
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    if images.device.type == "cuda":
        torch.cuda.synchronize()
    return {"images": float(len(course.source.pixels))}


def _contestants(architecture: str, widths: tuple[int, ...], small: bool) -> list[Contestant]:
    course = partial(course_of, architecture, *((2 * BATCH, 96) if small else (8 * BATCH, 128)), widths)
    return [
        Contestant("trazo", course, trazo),
        Contestant("bare forward, backward, step", course, bare_loop, wanted=0.8, note="one batch, ready as float32"),
    ]


@benchmark("train_sknet", "an epoch of 512 images of 128 × 128, narrow skNet", unit="image", units=8 * BATCH)
def train_sknet(small: bool) -> list[Contestant]:
    return _contestants("sknet", (16, 32, 32, 64), small)


@benchmark("train_skresnet", "an epoch of 512 images of 128 × 128, narrow skResNet", unit="image", units=8 * BATCH)
def train_skresnet(small: bool) -> list[Contestant]:
    return _contestants("skresnet", (16, 32, 64, 64), small)
