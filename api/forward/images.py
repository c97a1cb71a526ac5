"""What an image says about itself in its header. Nothing is decoded here: that is the model server's work."""

import asyncio
import contextlib
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from api.errors import BadRequest, CannotProcess, TooLarge

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
"""The same as in the handler."""

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit would answer before MAX_IMAGE_PIXELS, and with a warning first


HEADER_BYTES = 16 * 1024
"""Bytes in which nearly every image tells its size, and in which no hostile one keeps Pillow busy for long."""


async def dimensions(image: bytes, max_pixels: int) -> tuple[int, int]:
    """`read_header`, at once where the first bytes will do, else in a thread: a PNG of a million empty chunks can keep
    Pillow busy for seconds."""
    with contextlib.suppress(BadRequest, CannotProcess):
        return read_header(image[:HEADER_BYTES], max_pixels)
    return await asyncio.to_thread(read_header, image, max_pixels)


def read_header(image: bytes, max_pixels: int) -> tuple[int, int]:
    """Width and height in pixels, as stored (before EXIF orientation).

    Raises:
        BadRequest: the bytes are no image, or of a format that is not supported.
        CannotProcess: a supported format, too broken for its own header to be read.
        TooLarge: more than `max_pixels`.
    """
    try:
        with Image.open(BytesIO(image), formats=FORMATS) as opened:
            width, height = opened.size
    except UnidentifiedImageError:
        raise BadRequest from None
    except Exception:  # Pillow knows the format, and its parser raises nearly anything: a cut WebP, for one
        raise CannotProcess from None
    if width * height > max_pixels:
        raise TooLarge(f"the image has more than {max_pixels} pixels")
    return width, height
