"""Large JPEGs at a quarter or an eighth of their size, by the machine code that `jpeg/` becomes in an archive.

Goes into the archive beside `classifier.py`, and like it may import nothing of this project.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import ExifTags
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL.Image import Image

# What an EXIF orientation asks for: whether rows become columns, and then which axes are turned round.
TURNS = {
    2: (False, [1]),
    3: (False, [0, 1]),
    4: (False, [0]),
    5: (True, []),
    6: (True, [1]),
    7: (True, [0, 1]),
    8: (True, [0]),
}


class LargeJpegs:
    """Decodes what it can, and leaves the rest to Pillow: all, where the archive has no code that this machine runs."""

    def __init__(self, folder: Path | None) -> None:
        self._decode: Callable[..., int] | None = None
        if folder is not None:
            with suppress(OSError, AttributeError):  # there is none, or it is another machine's
                decode = ctypes.CDLL(str(folder / "jpeg.so")).decode_reduced
                number, address = ctypes.c_int, ctypes.c_void_p
                decode.argtypes = [address, ctypes.c_size_t, number, number, number, number, number, address]
                self._decode = decode
        self.name = "compiled" if self._decode else "Pillow"

    def decode(self, image: Image, body: bytes | bytearray | memoryview, scaling: dict[str, Any]) -> Tensor | None:
        """The pixels of `body`, which `image` has been opened from: uint8 [height, width, 4], upright, at the least
        scale that leaves twice the size that they are resized to. Right only where the centre that is kept needs them,
        and of the four bytes only the first three.

        None: Pillow has to do it, since it is small, of a rare kind, or broken.
        """
        resize, crop = scaling["resize"], scaling["crop"]
        short = min(image.size)
        eighths = reduction(image.size, 2 * resize / short)
        if self._decode is None or image.format != "JPEG" or image.mode != "RGB" or eighths == 0:
            return None
        width, height = (ceil(side * eighths / 8) for side in image.size)
        # The resizing filter reaches as far as its scale, with some room for rounding.
        reach = ceil(2 * min(width, height) / resize) + 2
        left, top = (max(0, int((side - crop / resize * min(width, height)) / 2) - reach) for side in (width, height))
        source = np.frombuffer(body, np.uint8)
        pixels = torch.empty(ceil(height / 4) * 4, ceil(width / 4) * 4, 4, dtype=torch.uint8)
        refused = self._decode(
            source.ctypes.data, source.size, image.width, image.height, eighths, left, top, pixels.data_ptr()
        )
        return None if refused else upright(pixels[:height, :width], image)


def reduction(size: tuple[int, int], enough: float) -> int:
    """How many eighths, 2 or 1, leave at least `enough` of both sides, as Pillow chooses them; 0 if it takes more."""
    times = min(side // ceil(side * enough) for side in size)
    return 1 if times >= 8 else 2 if times >= 4 else 0


def upright(pixels: Tensor, image: Image) -> Tensor:
    """`pixels` [height, width, 4] turned as the EXIF data of `image` asks."""
    try:
        swapped, turned = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1), (False, []))
    except Exception:  # broken EXIF makes no broken image
        return pixels
    return (pixels.transpose(0, 1) if swapped else pixels).flip(turned).contiguous() if swapped or turned else pixels
