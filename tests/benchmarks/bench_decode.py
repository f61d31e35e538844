"""Speed of reading and drawing Quick, Draw! records, beside plain per-record loops, on one core.

Run by hand: `PYTHONPATH=workflow python tests/benchmarks/bench_decode.py`. With a folder as argument its .bin files
are read; otherwise real ones beside the checkout where there are, or drawings made here. Rounds of all contenders
alternate, so that a busy machine slows all alike; medians and the ratio of each round are reported.
"""

from __future__ import annotations

import os
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw
from trazo.data.quickdraw import Drawings, iter_bin, read_bin, write_bin
from trazo.data.raster import rasterise

DRAWINGS = 4000
ROUNDS = 9
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


def loop_pillow(path: Path) -> np.ndarray:
    """Draw record by record, line by line, with Pillow; shrink by area."""
    images = []
    for drawing in unpack_plainly(path):
        image = Image.new("L", (256, 256), 255)
        pen = ImageDraw.Draw(image)
        for x, y in drawing:
            for i in range(len(x) - 1):
                pen.line((x[i], y[i], x[i + 1], y[i + 1]), fill=0, width=3)
        images.append(np.asarray(image.resize((128, 128), Image.Resampling.BOX)))
    return np.stack(images)


def loop_opencv(path: Path) -> np.ndarray:
    """Draw record by record, line by line, with OpenCV; shrink by area."""
    images = []
    for drawing in unpack_plainly(path):
        image = np.full((256, 256), 255, np.uint8)
        for x, y in drawing:
            for i in range(len(x) - 1):
                cv2.line(image, (x[i], y[i]), (x[i + 1], y[i + 1]), 0, 3)
        images.append(cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA))
    return np.stack(images)


def ours(path: Path) -> np.ndarray:
    """Stream blocks from the file and draw them, as the step that makes images does."""
    return [rasterise(block) for block in iter_bin(path, block=1024)][-1]


def decode_only(path: Path) -> np.ndarray:
    """Read without drawing."""
    return read_bin(path).x


CONTENDERS: dict[str, Callable[[Path], np.ndarray]] = {
    "trazo": ours,
    "plain loop, Pillow": loop_pillow,
    "plain loop, OpenCV": loop_opencv,
    "trazo, reading only": decode_only,
}


def sample(folder: Path | None) -> tuple[Drawings, str]:
    """Return the drawings to measure on, and what they are."""
    folder = folder or _SHARED
    files = sorted(folder.glob("*.bin"))
    if not files:
        rng = np.random.default_rng(0)
        walks = [
            [
                np.clip(rng.integers(0, 256, 2) + rng.normal(0, 25, (points, 2)).cumsum(axis=0), 0, 255).astype(
                    np.uint8
                )
                for points in rng.integers(2, 16, size=rng.integers(1, 10))
            ]
            for _ in range(DRAWINGS)
        ]
        return Drawings.from_strokes(walks), "drawings made here"
    each = -(-DRAWINGS // len(files))
    parts = [read_bin(file, np.arange(each)) for file in files]
    return Drawings.concatenate(parts).select(slice(DRAWINGS)), f"the first {each} of {len(files)} real files"


def main(folder: Path | None) -> None:
    """Measure all contenders on one core and print what was found."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    drawings, what = sample(folder)
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "sample.bin"
        write_bin(path, drawings)
        for contender in CONTENDERS.values():
            contender(path)  # compiles what is compiled, and warms the caches for all alike
        for _ in range(ROUNDS):
            for name, contender in CONTENDERS.items():
                start = time.perf_counter()
                contender(path)
                seconds[name].append(time.perf_counter() - start)
    points = len(drawings.x) / len(drawings)
    print(f"{len(drawings)} drawings ({what}; {points:.1f} points each), .bin to 128×128, one core, {ROUNDS} rounds")
    print(f"{'':22}{'median /s':>12}{'best /s':>12}{'trazo is faster by':>22}")
    for name, times in seconds.items():
        median, best = (len(drawings) / value for value in (statistics.median(times), min(times)))
        ratio = statistics.median(theirs / own for theirs, own in zip(times, seconds["trazo"]))
        print(f"{name:22}{median:12,.0f}{best:12,.0f}{ratio:21.1f}×")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
