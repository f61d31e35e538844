"""Images of a study as small files that a page shows."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from trazo.store import read_pixels

# Twice what a page shows, for screens of fine pixels.
SIDE = 160
_MOST_KEPT = 4096
_QUALITY = 85


def encoded(pixels: np.ndarray, side: int = SIDE) -> tuple[str, bytes]:
    """Return an image, (H, W) or (H, W, 3) uint8, as a media type and a file, its longer side at most `side` pixels."""
    image = Image.fromarray(pixels)
    if max(image.size) > side:
        # Area averaging keeps thin strokes visible where plain sampling would break them.
        share = side / max(image.size)
        image = image.resize(tuple(max(1, round(n * share)) for n in image.size), Image.Resampling.BOX)
    buffer = io.BytesIO()
    if image.mode == "L":
        image.save(buffer, format="png", compress_level=1)
        return "image/png", buffer.getvalue()
    image.save(buffer, format="jpeg", quality=_QUALITY)
    return "image/jpeg", buffer.getvalue()


class Thumbnails:
    """Small images of the items of one `images.h5`, kept once they were asked for.

    Parameters
    ----------
    images
        Where they are.
    """

    def __init__(self, images: Path) -> None:
        self._images = images
        self._kept: OrderedDict[int, tuple[str, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def prepare(self, rows: Sequence[int]) -> None:
        """Make those of some items that are not kept yet, in one reading of the file."""
        with self._lock:
            missing = np.array(sorted(set(rows) - self._kept.keys()), dtype=np.int64)
            if not len(missing):
                return
            for row, pixels in zip(missing.tolist(), read_pixels(self._images, missing)):
                self._kept[row] = encoded(pixels)
            while len(self._kept) > max(_MOST_KEPT, len(rows)):
                self._kept.popitem(last=False)

    def get(self, row: int) -> tuple[str, bytes]:
        """Return the media type and the file of an item's image.

        Raises
        ------
        InputError
            If its image cannot be read.
        """
        self.prepare([row])
        return self._kept[row]
