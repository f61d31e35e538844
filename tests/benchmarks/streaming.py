"""Training from image files that are decoded as they are needed, beside training from the same images in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from trazo.archives import open_archive
from trazo.streams import StreamedPixels
from trazo.training.loop import Course, train_epoch

from tests.benchmarks.harness import Contestant, Values, benchmark
from tests.benchmarks.training import BATCH, course_on

_SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
_SMALL_PHOTO, _PHOTO = (128, 96), (500, 375)
_MADE = 64


@cache
def made_photos(width: int, height: int) -> tuple[tempfile.TemporaryDirectory, list[str]]:
    """Return a folder of JPEGs of one size, in the bytes a photo of that size has, and their names."""
    folder = tempfile.TemporaryDirectory()
    draw = np.random.default_rng(0)
    names = [f"{number}.jpg" for number in range(_MADE)]
    for name in names:
        coarse = Image.fromarray(draw.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8))
        values = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
        values = values + draw.normal(0, 6, values.shape).astype(np.int16)
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(Path(folder.name) / name, quality=90)
    return folder, names


def photos(images: int, size: int, photo: tuple[int, int]) -> StreamedPixels:
    """Return so many photos: ImageNet's own small ones where they lie beside the checkout, otherwise made here."""
    archive = _SHARED / "imagenette.zip"
    if photo == _SMALL_PHOTO and archive.exists():
        with open_archive(archive, "train") as opened:
            names: Sequence[str] = opened.names()
        source = archive
    else:
        folder, names = made_photos(*photo)
        source = Path(folder.name)
    spread = np.linspace(0, len(names) - 1, images).astype(int)
    return StreamedPixels(source, [names[i] for i in spread], size=size, channels=3, digest="")


@dataclass(frozen=True)
class Task:
    """What is learned by which network."""

    architecture: str
    options: dict[str, Any]
    images: int
    size: int
    photo: tuple[int, int]

    def held(self) -> Course:
        """Return the network, and the photos in memory."""
        return course_on(self.architecture, photos(self.images, self.size, self.photo)[:], self.options)

    def streamed(self, workers: int) -> Course:
        """Return the network, and the photos as the files they are."""
        return course_on(self.architecture, photos(self.images, self.size, self.photo), self.options, workers)


def epoch(course: Course) -> Values:
    """Train one epoch as a stage does."""
    row = train_epoch(course, 1)
    return {"images": float(row["images"]), "loss": row["loss"]}


def _contestants(task: Task) -> list[Contestant]:
    two = Contestant(
        "trazo, streamed by 2 processes",
        partial(task.streamed, 2),
        epoch,
        wanted_most=1.25,
        note="without the processes' own memory",
    )
    return [
        Contestant("trazo, held in memory", task.held, epoch),
        two,
        Contestant("trazo, streamed by none", partial(task.streamed, 0), epoch),
    ]


@benchmark("stream_sknet", "an epoch of 1,024 small photos at 96 × 96, narrow skNet", unit="image", units=16 * BATCH)
def stream_sknet(small: bool) -> list[Contestant]:
    options = {"widths": [16, 32, 32, 64]}
    return _contestants(Task("sknet", options, (1 if small else 16) * BATCH, 96, _SMALL_PHOTO))


@benchmark(
    "stream_resnet", "an epoch of 128 photos of 500 × 375 at 224 × 224, ResNet-34", unit="image", units=2 * BATCH
)
def stream_resnet(small: bool) -> list[Contestant]:
    task = Task("resnet34", {}, 2 * BATCH, 224, _PHOTO)
    return _contestants(replace(task, images=8, size=64, photo=_SMALL_PHOTO, options={"width": 4}) if small else task)
