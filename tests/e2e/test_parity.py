"""What is served is what torchvision computes: every kind of image, through the real API and the real TorchServe.

The reference is made here, from the weights in the archive that the service serves and torchvision's own preprocessing.
"""

import statistics
import zipfile
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.models import ResNet50_Weights, resnet50

from cli.archives.labels import snake_case
from tests.e2e.conftest import Service
from tests.images import valid

pytestmark = pytest.mark.e2e

ORIGIN = ResNet50_Weights.IMAGENET1K_V2
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def reference(model_store: Path) -> torch.nn.Module:
    """torchvision's model with the weights that are served."""
    with zipfile.ZipFile(model_store / "resnet50.mar") as archive:
        weights = torch.load(BytesIO(archive.read("weights.pt")), weights_only=True)
    model = resnet50(weights=None)
    model.load_state_dict(weights)
    return model.eval()


@pytest.fixture(scope="module")
def results(service: Service) -> dict[str, dict[str, Any]]:
    """The `result` of every valid image, all thousand classes of it."""

    def post(item: tuple[str, bytes]) -> httpx.Response:
        files = {"image": item}
        return httpx.post(f"{service.url}/forward", params={"top_k": 1000}, files=files, timeout=60)

    with ThreadPoolExecutor(4) as clients:  # at once, so that they are answered in batches
        answers = list(clients.map(post, valid().items()))
    assert [answer.text for answer in answers if answer.status_code != 200] == []
    return {name: answer.json()["result"] for name, answer in zip(valid(), answers, strict=True)}


def rgb(content: bytes) -> Image.Image:
    """An image as a person sees it, upright and in RGB."""
    image = ImageOps.exif_transpose(Image.open(BytesIO(content)))
    if image.mode == "I;16":  # Pillow would clip the samples at 255: a white image
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("RGB")


@pytest.mark.parametrize("name", valid())
def test_probabilities_are_torchvisions(
    name: str, results: dict[str, dict[str, Any]], reference: torch.nn.Module
) -> None:
    with torch.inference_mode():
        [expected] = reference(ORIGIN.transforms()(rgb(valid()[name])).unsqueeze(0)).softmax(1)
    predictions = results[name]["predictions"]
    assert len(predictions) == 1000
    # Two pairs of classes share a name ("crane", "maillot"): the probabilities of a name are compared in their order.
    names = [snake_case(category) for category in ORIGIN.meta["categories"]]
    ours = sorted((prediction["class"], prediction["probability"]) for prediction in predictions)
    torchvisions = sorted(zip(names, expected.tolist(), strict=True))
    assert [label for label, _ in ours] == [label for label, _ in torchvisions]
    differences = [abs(p - q) for (_, p), (_, q) in zip(ours, torchvisions, strict=True)]
    assert max(differences) < TOLERANCE
    probabilities = [prediction["probability"] for prediction in predictions]
    assert probabilities == sorted(probabilities, reverse=True)
    assert results[name]["top_class"] == predictions[0]["class"]
    assert results[name]["top_probability"] == max(probabilities) > 0


def test_the_images_are_told_apart(results: dict[str, dict[str, Any]]) -> None:
    assert len(results) >= 20
    assert len({result["top_class"] for result in results.values()}) >= 10
    assert statistics.median(result["top_probability"] for result in results.values()) > 0.3
