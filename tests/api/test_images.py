"""What an image's header says, and how long it may take to say it."""

import asyncio
import random
import struct
import time
import zlib

import pytest
from PIL import Image

from api.errors import BadRequest, CannotProcess, TooLarge
from api.forward import images
from tests.images import encode, picture

PIXELS = 50_000_000


def png_of_chunks(count: int) -> bytes:
    """A PNG with as many empty chunks before its pixels."""
    plain = encode(picture(1, 30, 20), "PNG")
    empty = struct.pack(">I", 0) + b"teSt" + struct.pack(">I", zlib.crc32(b"teSt"))
    return plain[:33] + empty * count + plain[33:]


def jpeg_of_metadata(size: int) -> bytes:
    """A JPEG whose own header comes after so many bytes of EXIF."""
    exif = Image.Exif()
    exif[0x010E] = "x" * size
    return encode(picture(1, 30, 20), "JPEG", exif=exif)


@pytest.mark.parametrize(
    "image", [png_of_chunks(0), png_of_chunks(5000), jpeg_of_metadata(10), jpeg_of_metadata(60_000)]
)
async def test_the_size_is_found_wherever_it_stands(image: bytes) -> None:
    assert await images.dimensions(image, PIXELS) == (30, 20)


async def test_a_photograph_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much the camera has to say before: a thread would take longer than all else that is done with it."""
    monkeypatch.delattr(asyncio, "to_thread")
    for image in (jpeg_of_metadata(60_000), encode(picture(1, 30, 20), "JPEG", progressive=True, optimize=True)):
        assert await images.dimensions(image, PIXELS) == (30, 20)


def test_a_jpeg_has_the_size_that_pillow_finds() -> None:
    """Whatever has become of its header: Pillow is asked where it may not be what it seems."""
    rng = random.Random(1)
    modes = [encode(picture(1, 30, 20).convert(mode), "JPEG", progressive=mode == "L") for mode in ("RGB", "L", "CMYK")]
    at_once = 0
    for number in range(3000):
        image = bytearray(modes[number % 3])
        for _ in range(rng.randrange(3)):
            image[rng.randrange(image.index(b"\xff\xda"))] = rng.choice([0, 1, 0xFF, rng.randrange(256)])
        size = images.jpeg_size(bytes(image))
        try:
            found = images.read_header(bytes(image), 1 << 32)
        except (BadRequest, CannotProcess):
            continue
        assert size in {None, found}, bytes(image[: image.index(b"\xff\xda")])
        at_once += size is not None
    assert at_once > 2000


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xc0\0\x11\x08\0\x14\0",
        b"\xff\xd8" + b"\xff\xe1\0\2" * 2_000_000,
        b"\xff\xd8\xff\xe1\0\0" * 2_000_000,
    ],
)
def test_what_does_not_come_to_a_size_takes_no_time(image: bytes) -> None:
    started = time.perf_counter()
    assert images.jpeg_size(image) is None
    assert time.perf_counter() - started < 0.05


async def test_no_image_is_400_a_cut_one_403_and_too_many_pixels_413() -> None:
    with pytest.raises(BadRequest):
        await images.dimensions(b"no image" * 10_000, PIXELS)
    with pytest.raises(CannotProcess):
        await images.dimensions(encode(picture(1, 300, 200), "WEBP")[:40], PIXELS)
    for image in (encode(picture(1, 30, 20), "JPEG"), jpeg_of_metadata(60_000)):
        with pytest.raises(TooLarge):
            await images.dimensions(image, 599)


async def test_a_hostile_header_holds_nobody_up() -> None:
    reading = asyncio.create_task(images.dimensions(png_of_chunks(500_000), PIXELS))
    started, longest = time.perf_counter(), 0.0
    while not reading.done():
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        longest = max(longest, time.perf_counter() - before)
    took = time.perf_counter() - started
    assert await reading == (30, 20)
    assert took > 0.5, "the image is not hostile enough for this test"
    assert longest < took / 3
