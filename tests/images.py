"""Images made on the spot, so that the tests need no files and no network.

Everything is seeded: the same name is the same picture in every run. `valid` must be classified; `not_images`,
`undecodable` and `oversized` must be refused, each in its own way.
"""

import io
import struct
import zipfile
import zlib
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps

EXIF_ORIENTATION = 0x0112


def picture(seed: int, width: int = 800, height: int = 600) -> Image.Image:
    """A colourful RGB picture: smooth fields, stripes, shapes and grain, all drawn from `seed`."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (*rng.integers(2, 9, 2), 3), dtype=np.uint8)
    field = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(field)
    for _ in range(int(rng.integers(2, 14))):
        x0, x1 = sorted(rng.integers(0, width + 1, 2).tolist())
        y0, y1 = sorted(rng.integers(0, height + 1, 2).tolist())
        shape = (draw.ellipse, draw.rectangle)[int(rng.integers(2))]
        shape((x0, y0, x1, y1), fill=tuple(rng.integers(0, 256, 3).tolist()))
    y, x = np.mgrid[0:height, 0:width]
    across, down = rng.normal(0, 0.15, 2)
    stripes = rng.uniform(0, 60) * np.sin(across * x + down * y)[..., None]
    grain = rng.normal(0, rng.uniform(0, 25), (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(field) + stripes + grain, 0, 255).astype(np.uint8))


def encode(image: Image.Image, file_format: str, **options: Any) -> bytes:
    """`image` as a file; `options` as for `Image.save`."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def seen(body: bytes) -> Image.Image:
    """The RGB picture in a file as a person sees it: upright, the first frame, 16 bits reduced to 8.

    This is what the service classifies. The last of these is not Pillow's: it shows nearly all of 16 bits as white.
    """
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(body)))
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("RGB")


@cache
def valid() -> dict[str, bytes]:
    """Over forty images of varied sizes, modes and formats, every one of which can be classified."""
    images = {
        "jpeg": encode(picture(1), "JPEG"),
        "jpeg_portrait": encode(picture(2, 480, 640), "JPEG", quality=95),
        "jpeg_full_hd": encode(picture(3, 1920, 1080), "JPEG"),
        "jpeg_progressive": encode(picture(4, 640, 427), "JPEG", progressive=True),
        "jpeg_poor": encode(picture(5, 500, 375), "JPEG", quality=8),
        "jpeg_gray": encode(picture(6).convert("L"), "JPEG"),
        "jpeg_cmyk": encode(picture(7).convert("CMYK"), "JPEG"),
        "jpeg_7x5": encode(picture(8, 7, 5), "JPEG"),
        "png": encode(picture(9, 300, 200), "PNG"),
        "png_224": encode(picture(10, 224, 224), "PNG"),
        "png_233x232": encode(picture(11, 233, 232), "PNG"),
        "png_gray": encode(picture(12, 320, 240).convert("L"), "PNG"),
        "png_gray_alpha": encode(picture(13, 320, 240).convert("LA"), "PNG"),
        "png_1_bit": encode(picture(14, 320, 240).convert("1"), "PNG"),
        "png_16_bit_gray": encode(sixteen_bit(15), "PNG"),
        "png_rgba": encode(translucent(16), "PNG"),
        "png_palette": encode(picture(17, 320, 240).quantize(64), "PNG"),
        "png_palette_transparent": encode(picture(18, 320, 240).quantize(64), "PNG", transparency=3),
        "png_strip_20000x20": encode(picture(19, 20_000, 20), "PNG"),
        "png_strip_20x20000": encode(picture(20, 20, 20_000), "PNG"),
        "gif": encode(picture(21, 400, 300), "GIF"),
        "gif_1x1": encode(picture(22, 1, 1), "GIF"),
        "gif_12_frames": encode(picture(23, 160, 120), "GIF", save_all=True, append_images=frames(24, 11)),
        "gif_transparent": encode(picture(25, 200, 150).quantize(32), "GIF", transparency=1),
        "webp": encode(picture(26, 640, 480), "WEBP"),
        "webp_lossless": encode(picture(27, 240, 320), "WEBP", lossless=True, method=0),
        "webp_rgba": encode(translucent(28), "WEBP"),
        "webp_animated": encode(picture(29, 160, 120), "WEBP", save_all=True, append_images=frames(30, 3)),
        "bmp": encode(picture(31, 321, 123), "BMP"),
        "tiff": encode(picture(32, 320, 240), "TIFF"),
        "tiff_16_bit_gray": encode(sixteen_bit(33), "TIFF"),
        "tiff_cmyk": encode(picture(34, 320, 240).convert("CMYK"), "TIFF"),
        "avif": encode(picture(35, 320, 240), "AVIF", speed=10),
    }
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = orientation
        images[f"jpeg_exif_{orientation}"] = encode(picture(40 + orientation, 480, 360), "JPEG", exif=exif)
    return images


def frames(seed: int, count: int) -> list[Image.Image]:
    """`count` frames of 160 by 120 pixels, to follow the first one of an animation."""
    return [picture(seed + i, 160, 120) for i in range(count)]


def sixteen_bit(seed: int) -> Image.Image:
    """A grayscale picture that uses all 16 bits (mode I;16)."""
    return Image.fromarray(np.asarray(picture(seed, 320, 240).convert("L")).astype(np.uint16) * 257)


def translucent(seed: int) -> Image.Image:
    """A picture that fades from transparent to opaque (mode RGBA)."""
    image = picture(seed, 320, 240)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


@cache
def not_images() -> dict[str, bytes]:
    """Bytes that are no image of an accepted format."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("image.jpg", b"not really")
    return {
        "empty": b"",
        "zero_byte": b"\0",
        "text": "просто текст".encode(),
        "html": b"<!doctype html><title>404</title><p>not found</p>",
        "zip": archive.getvalue(),
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
        "pdf": b"%PDF-1.7\n%%EOF\n",
        "ppm": encode(picture(50, 8, 8), "PPM"),
        "jpeg_first_bytes": encode(picture(51), "JPEG")[:20],
    }


@cache
def undecodable() -> dict[str, bytes]:
    """Files with a sound header and a content that cannot be decoded."""
    jpeg, png = encode(picture(52), "JPEG"), encode(picture(53, 300, 200), "PNG")
    return {
        "jpeg_truncated": jpeg[: len(jpeg) // 2],
        "png_truncated": png[: len(png) // 2],
        "png_corrupt_chunk": corrupt_idat(png),
    }


def corrupt_idat(png: bytes) -> bytes:
    """`png` with the compressed data in the middle of its first IDAT chunk overwritten."""
    start = png.index(b"IDAT") + 4
    (length,) = struct.unpack(">I", png[start - 8 : start - 4])
    middle = start + length // 2
    return png[:middle] + b"\xff" * 64 + png[middle + 64 :]


@cache
def oversized() -> dict[str, bytes]:
    """Bombs: small files of 400 million pixels and of 4 billion."""
    side = 20_000
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((1 + side // 8) * side), 9)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    )
    gif = bytearray(encode(picture(54, 8, 8), "GIF"))
    gif[6:10] = b"\xff\xff\xff\xff"  # the canvas; its one frame stays 8 by 8
    return {"png_bomb": png, "gif_bomb": bytes(gif)}
