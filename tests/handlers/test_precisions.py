"""bf16 and int8, as machine code, against fp32: what a person loses by them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.models import get_model

from cli.archives import aot, archive, packing, quantize
from cli.archives.model_json import Precision, model_json
from cli.archives.weights import Weights, checkpoint, published, untrained
from cli.errors import CommandError
from handlers.classifier import Classifier
from handlers.large_jpeg import LargeJpegs
from tests import images
from tests.handlers.test_classifier import Context

needs_compiler = pytest.mark.skipif(not aot.available(), reason="compiling takes a C++ compiler")
Loader = Callable[[str], Classifier]


SIZES = ((800, 600), (640, 480), (1920, 1080), (500, 375))


def photographs(first: int, count: int, folder: Path, sizes: Sequence[tuple[int, int]] = SIZES) -> Path:
    """JPEGs of those sizes, other ones for every `first`."""
    folder.mkdir()
    for seed in range(first, first + count):
        size = sizes[seed % len(sizes)]
        (folder / f"{seed}.jpg").write_bytes(images.encode(images.picture(seed, *size), "JPEG", quality=90))
    return folder


def worker(
    weights: Weights, precision: Precision, folder: Path, calibration: Path | None = None, *, compiled: bool = True
) -> Classifier:
    """A handler of its own archive, compiled unless it is fp32."""
    folder.mkdir()
    model = model_json(weights, precision)
    pixels = quantize.calibration_images(calibration, model) if calibration else []
    if compiled and precision != "fp32":
        model["compiled"] = aot.compile_model(weights.state_dict, model, folder / "model.pt2", pixels)
    torch.save(weights.state_dict, folder / "weights.pt")
    (folder / "model.json").write_text(json.dumps(model), "utf-8")
    handler = Classifier()
    handler.initialize(Context(folder))
    assert handler.engine.name == ("compiled" if "compiled" in model else "eager")
    return handler


def probabilities(handler: Classifier, folder: Path) -> Tensor:
    """float32 [images, classes], in the order of their names."""
    return torch.cat([handler.engine.classify(handler.decode(f.read_bytes())[None]) for f in sorted(folder.iterdir())])


def compared(exact: Tensor, rounded: Tensor) -> tuple[float, float]:
    """The share of equal top classes, and the median difference of the top probability."""
    same = (exact.argmax(1) == rounded.argmax(1)).float().mean().item()
    return same, (exact.amax(1) - rounded.amax(1)).abs().median().item()


def test_bf16_without_machine_code_rounds_the_weights_once(tmp_path: Path) -> None:
    """Twice, before BatchNorm went into them and after, the probabilities were off by 0.016."""
    weights = untrained("resnet18")
    exact, handler = (worker(weights, each, tmp_path / each, compiled=False) for each in ("fp32", "bf16"))
    assert handler.describe()["engine"] == "eager"
    seen = photographs(0, 24, tmp_path / "seen", sizes=((800, 600),))
    difference = (probabilities(exact, seen) - probabilities(handler, seen)).abs().amax(1).mean().item()
    assert 0 < difference < 0.012
    with torch.inference_mode():
        logits = handler.engine.model(torch.zeros(1, 3, 224, 224, dtype=torch.bfloat16)).float()
    assert not torch.equal(logits, logits.bfloat16().float())  # the last layer is not rounded


def test_a_regnet_is_served(tmp_path: Path) -> None:
    """torchvision cannot make one without values: it computes the widths of its layers in tensors."""
    model = get_model("regnet_x_400mf", weights=None).eval()
    state = untrained("regnet_x_400mf").state_dict
    model.load_state_dict(state)
    torch.save(state, tmp_path / "regnet.pth")
    handler = worker(checkpoint(tmp_path / "regnet.pth", "regnet_x_400mf", None), "fp32", tmp_path / "model")
    body = images.encode(images.picture(1, 320, 240), "PNG")
    with torch.inference_mode():
        pixels = published("regnet_x_400mf").transforms()(images.seen(body))
        expected = model(pixels[None]).softmax(1)
    assert expected.max() > 0.1
    torch.testing.assert_close(handler.engine.classify(handler.decode(body)[None]), expected, rtol=0, atol=1e-4)


@needs_compiler
def test_int8_is_close_to_fp32_and_says_how_close(tmp_path: Path) -> None:
    weights = untrained("resnet18")
    calibration = photographs(5000, quantize.FEWEST_IMAGES, tmp_path / "calibration")
    (calibration / "notes.txt").write_text("no image")
    handler = worker(weights, "int8", tmp_path / "int8", calibration)
    assert handler.describe()["precision"] == "int8"
    loss = handler.describe()["loss"]
    assert loss["images"] == quantize.FEWEST_IMAGES
    assert loss["same_top_class"] >= 0.75  # few images, and a small model
    assert 0 < loss["median_top_probability_difference"] < 0.05
    others = photographs(6000, 40, tmp_path / "others")
    same, difference = compared(
        probabilities(worker(weights, "fp32", tmp_path / "fp32"), others), probabilities(handler, others)
    )
    assert same >= 0.75
    assert difference < 0.05
    assert (tmp_path / "int8" / "model.pt2").stat().st_size < (tmp_path / "int8" / "weights.pt").stat().st_size / 2

    model = json.loads((tmp_path / "int8" / "model.json").read_bytes())
    model["compiled"]["cpu"].append("avx9000")
    (tmp_path / "int8" / "model.json").write_text(json.dumps(model), "utf-8")
    elsewhere = Classifier()
    elsewhere.initialize(Context(tmp_path / "int8"))
    assert elsewhere.describe()["precision"] == "fp32"
    assert elsewhere.engine.name == "eager: compiled for a CPU with avx9000"
    assert "loss" not in elsewhere.describe()


def test_the_correction_puts_back_the_mean() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = list(torch.randn(50, 1, 10, generator=generator) * 3)
    shift = torch.randn(10, generator=generator)
    rounded = [each - shift + 0.01 * torch.randn(1, 10, generator=generator) for each in logits]
    found = quantize.correction(logits, [each.softmax(1) for each in rounded])
    assert torch.allclose(found - found.mean(), shift - shift.mean(), atol=0.01)
    before = quantize.loss(logits, [each.softmax(1) for each in rounded])
    after = quantize.loss(logits, [(each + found).softmax(1) for each in rounded])
    assert before["same_top_class"] < 0.9 < after["same_top_class"]
    assert before["images"] == 50


def test_int8_takes_enough_images(tmp_path: Path) -> None:
    folder = photographs(5000, 3, tmp_path / "few")
    with pytest.raises(CommandError, match=r"3 images; int8 needs 32 or more"):
        quantize.calibration_images(folder, model_json(untrained("resnet18"), "int8"))


@pytest.mark.parametrize("wrong", [{"precision": "int8"}, {"precision": "bf16", "calibrate": Path()}])
def test_int8_and_its_images_go_together(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(CommandError, match="--calibrate FOLDER"):
        archive.build(tmp_path / "model.mar", untrained=True, **wrong)


def test_int8_does_not_go_uncompiled(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"needs a C\+\+ compiler"):
        archive.build(tmp_path / "model.mar", untrained=True, precision="int8", calibrate=tmp_path, compiled=False)


@pytest.mark.scale
@needs_compiler
def test_what_the_decoder_of_large_jpegs_costs_on_100_images(tmp_path: Path) -> None:
    """Against full decoding: ResNet50 at fp32."""
    seen = photographs(20_000, 100, tmp_path / "seen", sizes=((4032, 3024), (1920, 2560), (5472, 3648), (3000, 1950)))
    exact = worker(untrained("resnet50"), "fp32", tmp_path / "fp32")
    expected = probabilities(exact, seen)
    assert len(set(expected.argmax(1).tolist())) >= 20
    packing.add_decoder(tmp_path)
    exact.precision, exact.jpegs = "bf16", LargeJpegs(tmp_path)  # of the decoding alone: the model has been loaded
    assert exact.jpegs.name == "compiled"
    same, difference = compared(expected, probabilities(exact, seen))
    print(f"large JPEGs: same top class {same:.1%}, top probability off by {difference:.4f} at the median")
    assert same >= 0.99
    assert difference <= 0.02


@pytest.mark.scale
@pytest.mark.timeout(3600)  # two seconds an image in bf16, where the CPU has none
@needs_compiler
def test_what_the_precisions_cost_on_500_images(tmp_path: Path) -> None:
    """Against fp32 and full decoding: ResNet50, 500 images, and int8 calibrated on 200 others."""
    weights = untrained("resnet50")
    seen = photographs(0, 500, tmp_path / "seen")
    exact = worker(weights, "fp32", tmp_path / "fp32")
    expected = probabilities(exact, seen)
    assert len(set(expected.argmax(1).tolist())) >= 50
    exact.precision = "bf16"  # of the decoding alone: the model has been loaded
    same, difference = compared(expected, probabilities(exact, seen))
    print(f"reduced decoding: same top class {same:.1%}, top probability off by {difference:.4f} at the median")
    assert same >= 0.99
    assert difference <= 0.02
    for precision, least in (("bf16", 0.99), ("int8", 0.98)):
        calibration = photographs(10_000, 200, tmp_path / "calibration") if precision == "int8" else None
        handler = worker(weights, precision, tmp_path / precision, calibration)
        same, difference = compared(expected, probabilities(handler, seen))
        print(f"{precision}: same top class {same:.1%}, top probability off by {difference:.4f} at the median")
        assert same >= least
        assert difference <= 0.02
