"""Pictures made on the spot that cost what photographs cost: smooth structure, edges, grain, a camera's file size."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SMALL, LARGE = (800, 600), (4032, 3024)
SMALL_BYTES, LARGE_BYTES = 100_000, 2_500_000
"""What the files of those sizes (width, height) weigh, within a few per cent."""
BENCHMARK_SEED, CALIBRATION_SEED = 0, 1_000_000
OCTAVES = 7
GRAIN = 5.0


def photo(seed: int, size: tuple[int, int] = SMALL) -> Image.Image:
    """An RGB picture of `size` (width, height), the same for the same seed."""
    rng = np.random.default_rng(seed)
    width, height = size
    field = np.zeros((height, width, 3), np.float32)
    for octave in range(OCTAVES):  # detail falls with its size, as in nature
        cells = 3 * 2**octave
        coarse = rng.normal(0, 62 / 1.8**octave, (cells * 3 // 4 + 1, cells, 3)).astype(np.float32)
        for channel in range(3):
            layer = Image.fromarray(coarse[..., channel]).resize(size, Image.Resampling.BICUBIC)
            field[..., channel] += np.asarray(layer)
    image = Image.fromarray(np.clip(field + rng.uniform(80, 160, 3), 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(4, 12))):  # things in front of it
        x, y = int(rng.integers(width)), int(rng.integers(height))
        w, h = (int(side * rng.uniform(0.03, 0.2)) for side in size)
        shape = (draw.ellipse, draw.rectangle)[int(rng.integers(2))]
        red, green, blue = rng.integers(0, 256, 3).tolist()
        shape((x - w, y - h, x + w, y + h), fill=(red, green, blue))
    image = image.filter(ImageFilter.GaussianBlur(0.7))
    grain = rng.normal(0, GRAIN, (height, width, 1)).astype(np.float32)
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, target: int) -> bytes:
    """`image` as the JPEG whose size comes closest to `target` bytes."""
    files = {}
    low, high = 5, 98
    while low <= high:
        quality = (low + high) // 2
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        files[quality] = file.getvalue()
        low, high = (quality + 1, high) if len(files[quality]) < target else (low, quality - 1)
    return min(files.values(), key=lambda content: abs(len(content) - target))


def small(count: int) -> list[bytes]:
    """The pictures that are posted: JPEGs of 800 by 600 and about 100 kB."""
    return [jpeg(photo(BENCHMARK_SEED + i), SMALL_BYTES) for i in range(count)]


def large() -> bytes:
    """What a telephone takes: 4032 by 3024, about 2.5 MB."""
    return jpeg(photo(BENCHMARK_SEED, LARGE), LARGE_BYTES)


def calibration(folder: Path, count: int) -> Path:
    """Fills `folder` with pictures that are not among those posted."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"{i}.jpg").write_bytes(jpeg(photo(CALIBRATION_SEED + i), SMALL_BYTES))
    return folder
