"""What an image says about itself in its header. Nothing is decoded here: that is the model server's work."""

import asyncio
import contextlib
import struct
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from api.errors import BadRequest, CannotProcess, TooLarge

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
"""The same as in the handler."""

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit would answer before MAX_IMAGE_PIXELS, and with a warning first


HEADER_BYTES = 16 * 1024
"""Bytes in which nearly every image tells its size, and in which no hostile one keeps Pillow busy for long."""

FRAME_HEADER = struct.Struct(">BBHBHHB")
FRAMES = {0xC0, 0xC1, 0xC2}
"""The markers of baseline, extended and progressive JPEGs: all that are met."""
BEFORE_FRAME = {0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)}
"""Tables, comments, and what applications have to say: EXIF, colour profiles."""
MAX_SEGMENTS = 1000
"""Before the frame. A hostile one would have millions."""


async def dimensions(image: bytes, max_pixels: int) -> tuple[int, int]:
    """What `read_header` says, at once where a JPEG or the first bytes tell, else in a thread: a PNG of a million empty
    chunks can keep Pillow busy for seconds."""
    if (size := jpeg_size(image)) is not None:
        return _within(size, max_pixels)
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
    return _within((width, height), max_pixels)


def jpeg_size(image: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG that comes to them in the usual way (ITU-T T.81, B.1.1.4 and B.2.2): one segment after
    the other. None where Pillow has to be asked, which takes twenty times as long."""
    if not image.startswith(b"\xff\xd8"):
        return None
    place = 2
    for _ in range(MAX_SEGMENTS):
        head = image[place : place + 10]
        if len(head) < 10 or head[0] != 0xFF:
            return None
        _, marker, length, bits, height, width, components = FRAME_HEADER.unpack(head)
        if marker in FRAMES:
            usual = bits == 8 and components in {1, 3, 4} and width and height
            return (width, height) if usual else None
        if marker not in BEFORE_FRAME or length < 2:
            return None
        place += 2 + length
    return None


def _within(size: tuple[int, int], max_pixels: int) -> tuple[int, int]:
    if size[0] * size[1] > max_pixels:
        raise TooLarge(f"the image has more than {max_pixels} pixels")
    return size
