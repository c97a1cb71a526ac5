"""The peers' model: torchvision's ResNet50 and its preprocessing, eager fp32, on weights out of the archive."""

import io
import json
import os
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, get_model

TOP_K = 5


class Classifier:
    """The model of the archive unpacked in the folder `BENCHMARK_MODEL`."""

    def __init__(self) -> None:
        torch.set_num_threads(1)  # each peer has as many of these at work as there are cores
        folder = Path(os.environ["BENCHMARK_MODEL"])
        config = json.loads((folder / "model.json").read_text())
        self.labels: list[str] = config["labels"]
        self.model: nn.Module = get_model(config["arch"], weights=None, num_classes=len(self.labels))
        self.model.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model.eval().to(self.device)
        self.transforms: Any = ResNet50_Weights.DEFAULT.transforms()

    def preprocess(self, body: bytes) -> Tensor:
        """An image file as float32 [3, 224, 224]."""
        prepared: Tensor = self.transforms(Image.open(io.BytesIO(body)).convert("RGB"))
        return prepared

    @torch.inference_mode()
    def classify(self, image: Tensor) -> dict[str, Any]:
        """The most probable classes, in the form of the service's answer."""
        probabilities, classes = self.model(image.unsqueeze(0).to(self.device)).softmax(1)[0].topk(TOP_K)
        predictions = [
            {"class": self.labels[i], "probability": round(value, 6)}
            for i, value in zip(classes.tolist(), probabilities.tolist(), strict=True)
        ]
        best = predictions[0]
        return {"predictions": predictions, "top_class": best["class"], "top_probability": best["probability"]}
