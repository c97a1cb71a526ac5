"""The handler as TorchServe's worker drives it, without the server around it."""

import io
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageOps
from torchvision.models import ResNet50_Weights, get_model

from cli.archives.model_json import model_json
from cli.archives.weights import Weights
from handlers import preprocessing, telemetry
from handlers.classifier import Classifier
from tests import images


class Context:
    """TorchServe's context of one batch, as far as a handler uses it."""

    model_name = "resnet50"

    def __init__(self, model_dir: Path = Path(), headers: list[dict[str, str]] | None = None) -> None:
        self.system_properties = {"model_dir": str(model_dir), "gpu_id": None}
        self.headers = headers or []
        self.statuses: dict[int, int] = {}
        self.content_types: dict[int, str] = {}
        self.response_headers: dict[int, dict[str, str]] = {}

    def get_request_header(self, idx: int, key: str) -> str | None:
        return self.headers[idx].get(key)

    def get_all_request_header(self, idx: int) -> dict[str, str]:
        return self.headers[idx]

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        self.statuses[idx] = code

    def set_response_content_type(self, idx: int, value: str) -> None:
        self.content_types[idx] = value

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        self.response_headers.setdefault(idx, {})[key] = value


def worker(folder: Path, weights: Weights, **changes: Any) -> Classifier:
    """A handler that has loaded `weights` at fp32, its model.json with `changes`."""
    torch.save(weights.state_dict, folder / "weights.pt")
    (folder / "model.json").write_text(json.dumps({**model_json(weights, "fp32"), **changes}), "utf-8")
    handler = Classifier()
    handler.initialize(Context(folder))
    return handler


@pytest.fixture(scope="module")
def classifier(untrained_weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return worker(tmp_path_factory.mktemp("model"), untrained_weights)


def ask(classifier: Classifier, rows: list[dict[str, Any]], **headers: str) -> list[tuple[int, dict[str, Any]]]:
    """The status and answer of each row of one batch; `headers` go with every request."""
    context = Context(headers=[headers] * len(rows))
    answers = classifier.handle(rows, context)
    assert len(answers) == len(rows)
    assert context.content_types == dict.fromkeys(range(len(rows)), "application/json")
    return [(context.statuses.get(i, 200), json.loads(answer)) for i, answer in enumerate(answers)]


def classify(classifier: Classifier, body: object, **headers: str) -> tuple[int, dict[str, Any]]:
    return ask(classifier, [{"body": body}], **headers)[0]


@pytest.fixture(scope="module")
def reference(untrained_weights: Weights) -> Callable[[bytes], torch.Tensor]:
    """Torchvision's own answer: its transforms, its model, the same weights."""
    model = get_model("resnet50", weights=None)
    model.load_state_dict(untrained_weights.state_dict)
    model.eval()
    transforms = ResNet50_Weights.IMAGENET1K_V2.transforms()

    @torch.inference_mode()
    def probabilities(body: bytes) -> torch.Tensor:
        return model(transforms(images.seen(body)).unsqueeze(0)).softmax(1)[0]

    return probabilities


@pytest.mark.parametrize("name", images.valid())
def test_probabilities_are_torchvisions(
    name: str, classifier: Classifier, untrained_weights: Weights, reference: Callable[[bytes], torch.Tensor]
) -> None:
    body = images.valid()[name]
    status, answer = classify(classifier, bytearray(body), **{"X-Top-K": "20"})
    expected = reference(body).sort(descending=True)
    assert status == 200
    assert answer["top_class"] == untrained_weights.labels[expected.indices[0]]
    assert answer["top_probability"] == answer["predictions"][0]["probability"]
    served = torch.tensor([prediction["probability"] for prediction in answer["predictions"]])
    torch.testing.assert_close(served, expected.values[:20], rtol=0, atol=1e-4)


def test_different_images_get_different_classes(classifier: Classifier) -> None:
    rows = [{"body": images.encode(images.picture(seed, 320, 240), "PNG")} for seed in range(200, 220)]
    answers = [answer for _, answer in ask(classifier, rows)]
    assert len({answer["top_class"] for answer in answers}) >= 12
    assert sorted(answer["top_probability"] for answer in answers)[10] > 0.3


def test_a_bad_image_leaves_its_batch_mates_alone(classifier: Classifier) -> None:
    good = images.valid()
    alone = classify(classifier, good["png"])
    batch = [good["jpeg"], images.undecodable()["jpeg_truncated"], good["png"], b"text", good["gif_1x1"]]
    answers = ask(classifier, [{"body": bytearray(body)} for body in batch])
    assert [status for status, _ in answers] == [200, 422, 200, 400, 200]
    assert answers[2][1]["top_class"] == alone[1]["top_class"]
    assert answers[3][1] == {"detail": "bad request"}


def test_every_answer_says_what_its_image_and_its_batch_took(classifier: Classifier) -> None:
    batch = [images.encode(images.picture(1, 3000, 2000), "PNG"), b"text", images.encode(images.picture(1), "JPEG")]
    context = Context(headers=[{}] * 3)
    classifier.handle([{"body": body} for body in batch], context)
    took = [
        {stage: float(ms) for stage, ms in re.findall(r"(\w+);dur=([0-9.]+)", headers["Server-Timing"])}
        for _, headers in sorted(context.response_headers.items())
    ]
    assert [stages.keys() for stages in took] == [{"decode", "inference"}, {"decode"}, {"decode", "inference"}]
    assert took[0]["decode"] > 2 * took[2]["decode"]
    assert took[0]["inference"] == took[2]["inference"] > 1


def test_log_lines_after_a_batch_are_not_about_it(classifier: Classifier) -> None:
    def line() -> str:
        record = logging.makeLogRecord({"msg": "a line"})
        telemetry._as_text(record)
        return record.getMessage()

    telemetry.working_on({"X-Request-ID": "abc"})
    assert line() == "[abc] a line"
    classify(classifier, images.valid()["png"], **{"X-Request-ID": "abc"})
    assert line() == "a line"


def test_a_batch_of_bad_images_is_answered(classifier: Classifier) -> None:
    assert [status for status, _ in ask(classifier, [{"body": b""}, {}, {"body": {"a": 1}}])] == [400, 400, 400]


@pytest.mark.parametrize(("name", "body"), images.not_images().items())
def test_what_is_no_image_is_a_bad_request(name: str, body: bytes, classifier: Classifier) -> None:
    assert classify(classifier, bytearray(body)) == (400, {"detail": "bad request"})


@pytest.mark.parametrize(("name", "body"), images.undecodable().items())
def test_broken_content_is_told_from_no_image(name: str, body: bytes, classifier: Classifier) -> None:
    assert classify(classifier, bytearray(body))[0] == 422


@pytest.mark.parametrize("mode", ["F", "I"])
def test_samples_without_a_known_range_are_not_taken_for_black_or_white(mode: str, classifier: Classifier) -> None:
    body = images.encode(Image.new(mode, (64, 48), 1), "TIFF")
    assert classify(classifier, bytearray(body))[0] == 422


@pytest.mark.parametrize(("name", "body"), images.oversized().items())
def test_a_bomb_is_refused_by_its_header(
    name: str, body: bytes, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(self: Image.Image) -> None:
        raise AssertionError("the bomb was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
    assert classify(classifier, bytearray(body))[0] == 413


def test_the_pixel_limit_is_a_setting(
    untrained_weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_IMAGE_PIXELS", "100")
    strict = worker(tmp_path, untrained_weights)
    assert classify(strict, images.encode(Image.new("RGB", (10, 10)), "PNG"))[0] == 200
    assert classify(strict, images.encode(Image.new("RGB", (101, 1)), "PNG"))[0] == 413


def test_broken_exif_makes_no_broken_image(classifier: Classifier) -> None:
    body = images.encode(images.picture(60, 64, 48), "JPEG", exif=b"Exif\0\0garbage that is no TIFF header")
    assert classify(classifier, body)[0] == 200


def test_a_strip_is_not_blown_up(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    areas: list[int] = []
    resize = Image.Image.resize

    def watched(self: Image.Image, size: tuple[int, int], *args: Any, **options: Any) -> Image.Image:
        areas.append(size[0] * size[1])
        return resize(self, size, *args, **options)

    monkeypatch.setattr(Image.Image, "resize", watched)
    assert classify(classifier, images.valid()["png_strip_20000x20"])[0] == 200
    assert sum(areas) < 10_000_000


@pytest.mark.parametrize(("asked", "length"), [("1", 1), ("3", 3), ("1000", 1000)])
def test_top_k_sets_the_number_of_predictions(asked: str, length: int, classifier: Classifier) -> None:
    predictions = classify(classifier, images.valid()["gif_1x1"], **{"x-top-k": asked})[1]["predictions"]
    probabilities = [prediction["probability"] for prediction in predictions]
    assert len(predictions) == length
    assert probabilities == sorted(probabilities, reverse=True)


def test_top_k_defaults_to_five_and_may_be_a_form_field(classifier: Classifier) -> None:
    body = images.valid()["gif_1x1"]
    answers = ask(classifier, [{"body": body}, {"data": body, "top_k": bytearray(b"2")}])
    assert [len(answer["predictions"]) for _, answer in answers] == [5, 2]


@pytest.mark.parametrize("asked", ["0", "1001", "-1", "+5", "5.0", "five", "", " 5", "٣", "1_0", "99999999999"])
def test_a_bad_top_k_is_a_bad_request(asked: str, classifier: Classifier) -> None:
    assert classify(classifier, images.valid()["gif_1x1"], **{"X-Top-K": asked})[0] == 400


def test_untrained_weights_say_so_and_others_say_nothing(
    classifier: Classifier, untrained_weights: Weights, tmp_path: Path
) -> None:
    body = images.encode(Image.new("RGB", (8, 8)), "PNG")
    assert classify(classifier, body)[1]["warning"] == untrained_weights.warning
    assert "warning" not in classify(worker(tmp_path, untrained_weights, warning=None), body)[1]


def test_it_describes_itself(classifier: Classifier, untrained_weights: Weights) -> None:
    assert ask(classifier, [{}], describe="True") == [
        (
            200,
            {
                "name": "resnet50",
                "arch": "resnet50",
                "weights": "untrained",
                "weights_sha256": untrained_weights.sha256,
                "precision": "fp32",
                "classes": 1000,
                "device": "cpu",
                "engine": "eager",
                "large_jpegs": "exact",
                "warning": untrained_weights.warning,
            },
        )
    ]


def test_bf16_stays_close_to_fp32(classifier: Classifier, untrained_weights: Weights, tmp_path: Path) -> None:
    half = worker(tmp_path, untrained_weights, precision="bf16")
    rows = [{"body": images.encode(images.picture(seed, 300, 300), "BMP")} for seed in range(300, 308)]
    exact, rounded = (sorted(a["top_probability"] for _, a in ask(c, rows)) for c in (classifier, half))
    assert exact == pytest.approx(rounded, abs=0.05)


def test_large_jpegs_are_decoded_at_a_reduced_scale_unless_in_fp32(
    untrained_weights: Weights, tmp_path: Path, classifier: Classifier
) -> None:
    reduced = worker(tmp_path, untrained_weights, precision="bf16")
    sizes = []
    for handler in (classifier, reduced):
        image = Image.open(io.BytesIO(images.encode(images.picture(70, 4032, 3024), "JPEG")))
        if handler.precision != "fp32":
            preprocessing.reduce(image, handler.config["preprocessing"])
        sizes.append(image.size)
    assert sizes == [(4032, 3024), (1008, 756)]
    for seed in range(71, 77):
        body = images.encode(images.picture(seed, 2000, 1500), "JPEG")
        difference = (reduced.decode(body).float() - classifier.decode(body).float()).abs()
        assert 0 < difference.mean() < 4  # of 255
    small = images.encode(images.picture(77, 800, 600), "JPEG")
    assert (reduced.decode(small).int() - classifier.decode(small).int()).abs().max() <= 1


@pytest.mark.parametrize("name", images.valid())
def test_the_quick_resizing_is_off_by_one_level_at_most(name: str, classifier: Classifier) -> None:
    image = preprocessing.to_rgb(ImageOps.exif_transpose(Image.open(io.BytesIO(images.valid()[name]))))
    scaling = classifier.config["preprocessing"]
    pixels = preprocessing.to_tensor(image)
    quick, exact = preprocessing.crop_quickly(pixels, scaling), preprocessing.crop(image, scaling)
    assert quick.is_contiguous()
    quick, exact = quick.int(), exact.int()
    assert quick.shape == exact.shape == (224, 224, 3)
    assert (quick - exact).abs().max() <= 1
