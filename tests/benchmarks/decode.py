"""Reading and drawing Quick, Draw! records, beside plain per-record loops, on one core."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw
from trazo.data.quickdraw import Drawings, iter_bin, read_bin, write_bin
from trazo.data.raster import rasterise

from tests.benchmarks.harness import Contestant, Values, benchmark

DRAWINGS = 4000
Sample = tempfile._TemporaryFileWrapper
_SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "quickdraw"


def unpack_plainly(path: Path) -> Iterator[list[tuple[tuple[int, ...], tuple[int, ...]]]]:
    """Yield the strokes of each record, field by field, as the data set's published Python example reads them."""
    with path.open("rb") as file:
        while head := file.read(8):
            struct.unpack("<Q", head)
            struct.unpack("<2s", file.read(2))
            struct.unpack("<b", file.read(1))
            struct.unpack("<I", file.read(4))
            (strokes,) = struct.unpack("<H", file.read(2))
            drawing = []
            for _ in range(strokes):
                (points,) = struct.unpack("<H", file.read(2))
                layout = f"{points}B"
                x = struct.unpack(layout, file.read(points))
                y = struct.unpack(layout, file.read(points))
                drawing.append((x, y))
            yield drawing


def loop_pillow(sample: Sample) -> Values:
    """Draw record by record, line by line, with Pillow; shrink by area."""
    images = []
    for drawing in unpack_plainly(Path(sample.name)):
        image = Image.new("L", (256, 256), 255)
        pen = ImageDraw.Draw(image)
        for x, y in drawing:
            for i in range(len(x) - 1):
                pen.line((x[i], y[i], x[i + 1], y[i + 1]), fill=0, width=3)
        images.append(np.asarray(image.resize((128, 128), Image.Resampling.BOX)))
    return ink(np.stack(images))


def loop_opencv(sample: Sample) -> Values:
    """Draw record by record, line by line, with OpenCV; shrink by area."""
    cv2.setNumThreads(1)
    images = []
    for drawing in unpack_plainly(Path(sample.name)):
        image = np.full((256, 256), 255, np.uint8)
        for x, y in drawing:
            for i in range(len(x) - 1):
                cv2.line(image, (x[i], y[i]), (x[i + 1], y[i + 1]), 0, 3)
        images.append(cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA))
    return ink(np.stack(images))


def trazo(sample: Sample) -> Values:
    """Stream blocks from the file and draw them, as the step that makes images does."""
    return ink(np.concatenate([rasterise(block) for block in iter_bin(Path(sample.name), block=1024)]))


def ink(images: np.ndarray) -> Values:
    """Return the number of images and their mean darkness, from 0 (white) to 255."""
    return {"images": float(len(images)), "ink": 255.0 - float(images.mean())}


def drawings_file(count: int) -> Sample:
    """Return a file of drawings: real ones where they lie beside the checkout, otherwise made here."""
    files = sorted(_SHARED.glob("*.bin"))
    if files:
        each = -(-count // len(files))
        drawings = Drawings.concatenate([read_bin(file, np.arange(each)) for file in files]).select(slice(count))
    else:
        draw = np.random.default_rng(0)
        walks = [
            [
                np.clip(draw.integers(0, 256, 2) + draw.normal(0, 25, (points, 2)).cumsum(axis=0), 0, 255).astype(
                    np.uint8
                )
                for points in draw.integers(2, 16, size=draw.integers(1, 10))
            ]
            for _ in range(count)
        ]
        drawings = Drawings.from_strokes(walks)
    file = tempfile.NamedTemporaryFile(suffix=".bin")  # noqa: SIM115 – it goes when nobody works on it any more
    write_bin(Path(file.name), drawings)
    return file


@benchmark(
    "decode",
    "4,000 Quick, Draw! drawings, .bin to 128 × 128 pixels, one core",
    unit="drawing",
    units=DRAWINGS,
    tolerance=1.0,
    cores=1,
)
def decode(small: bool) -> list[Contestant]:
    drawings = partial(drawings_file, 50 if small else DRAWINGS)
    return [
        Contestant("trazo", drawings, trazo),
        Contestant("plain loop, OpenCV", drawings, loop_opencv),
        Contestant("plain loop, Pillow", drawings, loop_pillow, comparable=False, note="lines of another shape"),
    ]
