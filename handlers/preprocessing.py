"""From an image file to the pixels that the model sees.

Goes into the archive beside `classifier.py`, and like it may import nothing of this project.
"""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import suppress
from fractions import Fraction
from math import ceil, floor, gcd
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate

if TYPE_CHECKING:
    from handlers.large_jpeg import LargeJpegs

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
# A side that would be resized to more crops than this is resized only where it is kept.
ELONGATED = 64


def decode(body: object, scaling: dict[str, Any], max_pixels: int, jpegs: LargeJpegs | None) -> Tensor | int:
    """The centre of an image file as uint8 [crop, crop, 3], or the HTTP status that refuses it.

    `scaling` is what model.json calls `preprocessing`. Without `jpegs` it is torchvision's own result, at twice the
    cost.
    """
    if not isinstance(body, bytes | bytearray | memoryview):
        return 400  # TorchServe has already decoded bodies sent as text or JSON
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata; that is no business of the log
        try:
            image: Image.Image = Image.open(io.BytesIO(body), formats=FORMATS)
            if image.width * image.height > max_pixels:
                return 413
            if jpegs and (pixels := jpegs.decode(image, body, scaling)) is not None:
                return crop_quickly(pixels, scaling)
            if jpegs:
                reduce(image, scaling)
            image.load()
            with suppress(Exception):  # broken EXIF makes no broken image
                ImageOps.exif_transpose(image, in_place=True)
            image = to_rgb(image)
            quick = jpegs and not elongated(image, scaling)
            return crop_quickly(to_tensor(image), scaling) if quick else crop(image, scaling)
        except UnidentifiedImageError:
            return 400
        except Exception as error:  # Pillow's decoders raise anything for a broken file: OSError, struct.error…
            logging.warning("the image cannot be decoded: %s: %s", type(error).__name__, error)
            return 422


def reduce(image: Image.Image, scaling: dict[str, Any]) -> None:
    """Has a large JPEG decoded at a half, a quarter or an eighth, never under twice the size it is resized to."""
    enough = 2 * scaling["resize"] / min(image.size)
    if enough < 1:
        image.draft(None, (ceil(image.width * enough), ceil(image.height * enough)))


def elongated(image: Image.Image, scaling: dict[str, Any]) -> bool:
    """Whether only a part of it is resized."""
    return bool(scaling["resize"] * max(image.size) > ELONGATED * scaling["crop"] * min(image.size))


def crop_quickly(pixels: Tensor, scaling: dict[str, Any]) -> Tensor:
    """What `crop` does with an image, of uint8 [height, width, 3 or more], by torch's vectorized filter: off by one of
    255 levels at most, in half the time."""
    resize, size = scaling["resize"], scaling["crop"]
    short = min(pixels.shape[:2])
    height, width = (int(resize * side / short) for side in pixels.shape[:2])
    batch = pixels.permute(2, 0, 1).unsqueeze(0)
    resized = interpolate(batch, (height, width), mode=scaling["interpolation"], antialias=True)
    left, top = round((width - size) / 2), round((height - size) / 2)
    # Machine code takes the bytes as they lie, whatever the strides say.
    return resized[0, :3, top : top + size, left : left + size].permute(1, 2, 0).contiguous()


def crop(image: Image.Image, scaling: dict[str, Any]) -> Tensor:
    """The centre `crop` by `crop` pixels of an image whose short side is first resized to `resize`.

    Computes what `torchvision.transforms._presets.ImageClassification` does.
    """
    resize, size = scaling["resize"], scaling["crop"]
    short = min(image.size)
    width, height = (int(resize * side / short) for side in image.size)
    x0, x1 = computed_part(image.width, width, size)
    y0, y1 = computed_part(image.height, height, size)
    columns, from_x, to_x = source_part(x0, x1, Fraction(image.width, width), image.width)
    rows, from_y, to_y = source_part(y0, y1, Fraction(image.height, height), image.height)
    if (len(columns), len(rows)) != image.size:
        image = image.crop((columns.start, rows.start, columns.stop, rows.stop))
    filter_ = Image.Resampling[scaling["interpolation"].upper()]
    resized = image.resize((x1 - x0, y1 - y0), filter_, box=(from_x, from_y, to_x, to_y))
    left, top = round((width - size) / 2) - x0, round((height - size) / 2) - y0
    return to_tensor(resized.crop((left, top, left + size, top + size)))


def computed_part(side: int, resized: int, crop: int) -> tuple[int, int]:
    """From where to where a side of the resized image is computed, to keep the `crop` pixels in its middle.

    All of it, unless the image is elongated: a 20 by 20000 strip would grow to 54 million pixels. The ends of a part
    lie between two source pixels if any near do, for Pillow takes them as float32.
    """
    if resized <= ELONGATED * crop:
        return 0, resized
    period = resized // gcd(side, resized)
    period = period if period <= ELONGATED * crop else 1
    first = round((resized - crop) / 2)
    return first // period * period, min(resized, -(-(first + crop) // period) * period)


def source_part(start: int, stop: int, scale: Fraction, side: int) -> tuple[range, float, float]:
    """The source pixels that resized pixels `start` to `stop` are made of, and where among them those begin and end.

    The filter reaches past both ends, by twice `scale` at most (bicubic, when it reduces) and by 2 at least.
    """
    margin = 2 + ceil(2 * scale)
    pixels = range(max(0, floor(start * scale) - margin), min(side, ceil(stop * scale) + margin))
    return pixels, float(start * scale - pixels.start), float(stop * scale - pixels.start)


def to_tensor(image: Image.Image) -> Tensor:
    """An RGB image as uint8 [height, width, 3]."""
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(image.height, image.width, 3)


def to_rgb(image: Image.Image) -> Image.Image:
    """An image as RGB. Transparency is dropped, as torchvision's users do.

    Raises ValueError for samples of which nobody knows what is white: floating-point and 32-bit ones.
    """
    if image.mode.startswith("I;16"):
        # Pillow clips 16-bit samples at 255, which makes nearly all of them white: keep the high byte instead.
        image = image.convert("I").point(lambda sample: sample * (1 / 256)).convert("L")
    if image.mode in {"F", "I"}:  # Pillow would clip them at 0 and 255
        raise ValueError(f"samples of mode {image.mode} have no known range")
    return image if image.mode == "RGB" else image.convert("RGB")
