"""The archive's own decoder of large JPEGs: the pixels that Pillow gives at that scale, and nothing for a file that is
not wholly sound."""

import io
import os
import shutil
import subprocess
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageOps

from cli.archives import cxx
from handlers import preprocessing
from handlers.large_jpeg import LargeJpegs, reduction
from tests.images import encode, picture

pytestmark = pytest.mark.skipif(cxx.found() is None, reason="compiling takes a C++ compiler")

JPEG = Path(__file__).parents[2] / "handlers" / "jpeg"
SCALING = {"resize": 232, "crop": 224, "interpolation": "bilinear"}
WHOLE = {"resize": 232, "crop": 10_000}
"""For which all of an image is wanted."""
CLOSE = 3
"""Of 255, at the mean, for pictures of sharp colours: libjpeg lets some frequencies in that are left out here."""


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory: pytest.TempPathFactory) -> LargeJpegs:
    folder = tmp_path_factory.mktemp("decoder")
    cxx.library(JPEG / "reduced.cpp", folder / "jpeg.so")
    decoder = LargeJpegs(folder)
    assert decoder.name == "compiled"
    return decoder


def with_pillow(body: bytes, eighths: int) -> Image.Image:
    image = Image.open(io.BytesIO(body))
    image.draft(None, (image.width * eighths // 8, image.height * eighths // 8))
    image.load()
    return ImageOps.exif_transpose(image)


def decoded(jpegs: LargeJpegs, body: bytes, scaling: dict = WHOLE) -> torch.Tensor | None:
    pixels = jpegs.decode(Image.open(io.BytesIO(body)), body, scaling)
    return None if pixels is None else pixels[..., :3]  # the fourth byte of each means nothing


WAYS = [
    {},
    {"restart_marker_blocks": 7},
    {"restart_marker_rows": 1},
    {"restart_marker_rows": 100},
    {"optimize": True},
    {"quality": 100},
    {"quality": 4},
]


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_pixels_are_pillows(jpegs: LargeJpegs, way: dict, subsampling: int) -> None:
    for width, height in [(2403, 1911), (1860, 2000)]:
        body = encode(picture(width, width, height), "JPEG", **{"quality": 90, **way}, subsampling=subsampling)
        ours, pillows = decoded(jpegs, body), np.asarray(with_pillow(body, 2))
        assert ours is not None
        assert ours.shape == pillows.shape
        assert np.abs(ours.numpy().astype(int) - pillows).mean() < CLOSE


def test_the_largest_come_at_an_eighth(jpegs: LargeJpegs) -> None:
    body = encode(picture(3, 4500, 3801), "JPEG")
    ours, pillows = decoded(jpegs, body), np.asarray(with_pillow(body, 1))
    assert ours is not None
    assert ours.shape == pillows.shape == (476, 563, 3)
    assert np.abs(ours.numpy().astype(int) - pillows).mean() < CLOSE


@pytest.mark.parametrize("orientation", range(1, 9))
def test_they_are_upright(jpegs: LargeJpegs, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    body = encode(picture(9, 2000, 1900), "JPEG", exif=exif)
    ours, pillows = decoded(jpegs, body), np.asarray(with_pillow(body, 2))
    assert ours is not None
    assert ours.shape == pillows.shape
    assert np.abs(ours.numpy().astype(int) - pillows).mean() < CLOSE


@pytest.mark.parametrize("size", [(4032, 3024), (1900, 4000), (2000, 1999), (1900, 12_000)])
def test_what_is_kept_is_as_of_the_whole(jpegs: LargeJpegs, size: tuple[int, int]) -> None:
    body = encode(picture(5, *size), "JPEG")
    centre, whole = decoded(jpegs, body, SCALING), decoded(jpegs, body)
    assert centre is not None
    assert whole is not None
    assert (preprocessing.crop_quickly(centre, SCALING) == preprocessing.crop_quickly(whole, SCALING)).all()
    full, ours, pillows = (
        preprocessing.decode(body, SCALING, 10**8, it).float() for it in (None, jpegs, LargeJpegs(None))
    )
    assert (ours - pillows).abs().mean() < CLOSE
    assert (ours - full).abs().mean() < 1.1 * (pillows - full).abs().mean(), "as close to full decoding as Pillow's"


def test_small_ones_rare_ones_and_broken_ones_are_pillows(jpegs: LargeJpegs) -> None:
    large = picture(6, 2000, 1900)
    good = encode(large, "JPEG")
    rgb = encode(large, "JPEG", keep_rgb=True)
    adobe = rgb.index(b"\xff\xee")
    # Less than libjpeg takes for JFIF's segment, which would make it Y'CbCr, instead of Adobe's, which says RGB.
    short = rgb[:2] + b"\xff\xe0\x00\x0aJFIF\x00\x01\x01\x00" + rgb[2:adobe] + rgb[adobe + 16 :]
    others = {
        "small": encode(picture(6, 1800, 1200), "JPEG"),
        "progressive": encode(large, "JPEG", progressive=True),
        "gray": encode(large.convert("L"), "JPEG"),
        "cmyk": encode(large.convert("CMYK"), "JPEG"),
        "rgb": rgb,
        "rgb with a short segment of JFIF's": short,
        "png": encode(large, "PNG"),
        "cut": good[: len(good) // 2],
        "without its end": good[:-2],
        "a hole": good[: len(good) // 2] + good[len(good) // 2 + 40 :],
    }
    for name, body in others.items():
        assert decoded(jpegs, body) is None, name
    assert decoded(jpegs, good + b"more") is not None
    assert decoded(LargeJpegs(None), good) is None
    # ... who say what they say of any.
    assert preprocessing.decode(others["cut"], SCALING, 10**8, jpegs) == 422
    assert isinstance(preprocessing.decode(others["progressive"], SCALING, 10**8, jpegs), torch.Tensor)


def test_the_scale_is_the_one_that_pillow_chooses() -> None:
    for size in [(4032, 3024), (1856, 2000), (1855, 2000), (3712, 3712), (3711, 9000), (5000, 464), (8000, 3713)]:
        image = Image.open(io.BytesIO(encode(Image.new("RGB", size), "JPEG")))
        preprocessing.reduce(image, SCALING)
        eighths = reduction(size, 2 * SCALING["resize"] / min(size))
        if eighths:
            assert image.size == tuple(-(-side * eighths // 8) for side in size)
        else:
            assert min(image.size) * 4 > min(size)


@pytest.mark.skipif(shutil.which("nm") is None, reason="reading a library's symbols takes nm")
def test_the_library_shares_nothing_with_another_version_of_itself(tmp_path: Path) -> None:
    """Symbols that the libraries of two archives show become one: the first's tables would serve the second's code."""
    cxx.library(JPEG / "reduced.cpp", tmp_path / "jpeg.so")
    command = ["nm", "--dynamic", "--defined-only", "--format=posix", tmp_path / "jpeg.so"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [line.split()[0] for line in shown.splitlines()] == ["decode_reduced"]


def test_no_damage_makes_it_read_or_write_elsewhere_and_two_readers_see_what_one_sees(tmp_path: Path) -> None:
    """Under the sanitizers, with as many cases as the fuzzers take."""
    compiler = cxx.found()
    assert compiler is not None
    files = []
    for i, (subsampling, way) in enumerate(product([0, 1, 2], [*WAYS, {"restart_marker_rows": 9}])):
        files.append(tmp_path / f"{i}.jpg")
        files[-1].write_bytes(encode(picture(i, 90 + 13 * i, 200 - 7 * i), "JPEG", **way, subsampling=subsampling))
    cases = int(os.environ.get("FUZZ_CASES", "3000"))
    found, met = {}, {}
    memory, threads = "-fsanitize=address,undefined", "-fsanitize=thread"
    for name, flags in {"one": ["-DREADER=1", memory], "ahead": ["-DREADER=2", memory], "beside": [threads]}.items():
        program = tmp_path / name
        flags += ["-std=c++17", "-g", "-O1", "-pthread", "-fno-sanitize-recover=all"]
        source = Path(__file__).with_name("jpeg_fuzz.cpp")
        subprocess.run([compiler, *flags, source, "-o", program], check=True)
        run = subprocess.run([program, str(cases), "1", *files], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        *found[name], met[name] = map(int, run.stdout.split())
    assert found["one"] == found["ahead"] == found["beside"]
    decoded = found["one"][0]
    assert cases / 5 < decoded < cases  # some are sound, and some are not
    assert (met["one"], met["ahead"] > 0.9 * decoded) == (0, True), met
