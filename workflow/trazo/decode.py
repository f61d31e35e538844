"""From the bytes of one image file to pixels of one shape. Which files are read is decided elsewhere."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps

from trazo.errors import InputError

FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "GIF", "PPM")
"""The formats that are read. Others that Pillow knows run external programs or are no images."""

MOST_PIXELS = 89_478_485
"""The largest image that is unpacked: Pillow's own threshold, a quarter of a GiB as 24-bit colour."""


class UnreadableImageError(InputError):
    """Bytes that are no image, or none that can be turned into 8-bit pixels; the message says why, not which."""


def decode_image(content: bytes, *, size: int, channels: int) -> np.ndarray:
    """Decode an image file, turn it upright, and bring it to a square of one size.

    The short side is resized to `size` and the middle of the long side is cut out, the usual treatment of photos
    (torchvision's `Resize` and `CenterCrop`): nothing is stretched and nothing padded. Resizing is bilinear with
    antialiasing. What is transparent becomes white. Of several frames or pages the first counts.

    Parameters
    ----------
    content
        The file's bytes.
    size
        Side of the result in pixels.
    channels
        1: grey (ITU-R 601 luma). 3: RGB.

    Returns
    -------
    np.ndarray
        (size, size) or (size, size, 3) uint8.

    Raises
    ------
    UnreadableImageError
        If it cannot be decoded, is cut short, or is too large.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise UnreadableImageError(f"{width}×{height} pixels, more than the {MOST_PIXELS:,} that are read")
            image.load()
            flat = _flattened(_upright(image), "L" if channels == 1 else "RGB")
    except UnreadableImageError:
        raise
    except Exception as error:
        # Pillow's decoders raise nearly everything on damaged input: OSError, SyntaxError, struct.error, …
        raise UnreadableImageError(_reason(error)) from error
    return np.asarray(ImageOps.fit(flat, (size, size), Image.Resampling.BILINEAR))


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "no image in a known format"
    return " ".join(str(error).split()) or type(error).__name__


def _upright(image: Image.Image) -> Image.Image:
    """Return the image turned as its EXIF orientation says; unreadable EXIF data say nothing."""
    try:
        image.getexif()
    except Exception:
        return image
    return ImageOps.exif_transpose(image)


def _flattened(image: Image.Image, mode: str) -> Image.Image:
    """Return the image as 8-bit grey or RGB on white."""
    if image.mode.startswith("I"):
        # Sixteen bits a pixel, which Pillow's own conversion would clip at 255.
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise UnreadableImageError("more than 16 bits a pixel; save it with 8 or 16")
        image = Image.fromarray(np.rint(values / 257).astype(np.uint8))
    elif image.mode == "F":
        raise UnreadableImageError("floating-point pixels, of which black and white are unknown; save it with 8 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return image if image.mode == mode else image.convert(mode)
