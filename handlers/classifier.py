"""The TorchServe handler: a batch of image files in, a JSON answer for each out.

It is copied into the archive beside `engine.py`, `graphs.py`, `preprocessing.py`, `large_jpeg.py`, `telemetry.py`,
`model.json` and `weights.pt`: it may import nothing else of this project. TorchServe takes the only class of the module
for the handler, so there may be no second.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

if TYPE_CHECKING:
    from ts.context import Context

    from handlers import engine, large_jpeg, preprocessing, telemetry
else:  # in the archive this is no package
    engine, large_jpeg, preprocessing, telemetry = (
        import_module(f".{name}" if __package__ else name, __package__)
        for name in ("engine", "large_jpeg", "preprocessing", "telemetry")
    )

DETAILS = {400: "bad request", 413: "too many pixels", 422: "the image cannot be decoded"}


class Classifier:
    """One worker's model. TorchServe calls `initialize` once, then `handle` for every batch."""

    precision: str
    """What it computes in, which for int8 without its machine code is fp32."""

    def initialize(self, context: Context) -> None:
        """Load what the archive holds onto the worker's device and run it once."""
        started = time.perf_counter()
        telemetry.start()
        properties = context.system_properties
        model_dir, gpu = Path(properties["model_dir"]), properties.get("gpu_id")
        self.name: str = context.model_name
        self.configure(json.loads((model_dir / "model.json").read_bytes()), model_dir)
        device = torch.device("cuda", gpu) if gpu is not None and torch.cuda.is_available() else torch.device("cpu")
        self.engine = engine.Engine(model_dir, self.config, device, properties.get("batch_size") or 1)
        self.precision = self.engine.precision

        crop = self.config["preprocessing"]["crop"]
        self.engine.classify(torch.zeros(1, crop, crop, 3, dtype=torch.uint8))
        about = ", ".join(f"{key} {value}" for key, value in self.describe().items())
        logging.info("ready in %.1f s: %s", time.perf_counter() - started, about)
        logging.getLogger().setLevel(logging.WARNING)  # TorchServe's worker logs several lines for every request

    def configure(self, config: dict[str, Any], folder: Path | None = None) -> None:
        """Take over model.json, and the code in the unpacked archive: what images become before the model sees them."""
        self.config = config
        self.jpegs = large_jpeg.LargeJpegs(folder)
        self.precision = config["precision"]
        self.max_pixels = int(os.environ.get("MAX_IMAGE_PIXELS", "50000000"))
        Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit would answer before ours, and with a warning first

    def handle(self, data: list[dict[str, Any]], context: Context) -> list[bytes]:
        """JSON for each row of the batch, in order. A row that is refused does not touch its neighbours.

        Each answer says in `Server-Timing` what decoding its image took, and the inference of its batch.

        A row holds the request body under `body`, or the fields of a form: `data` and, if given, `top_k`.
        """
        answers = [b""] * len(data)
        headers = [context.get_all_request_header(i) for i in range(len(data))]
        images: list[Tensor] = []
        accepted: list[tuple[int, int, telemetry.Stage]] = []
        for i, row in enumerate(data):
            context.set_response_content_type(i, "application/json")
            if context.get_request_header(i, "describe") == "True":
                answers[i] = to_json(self.describe())
                continue
            telemetry.working_on(headers[i])
            started = time.perf_counter_ns()
            top_k = parse_top_k(asked_top_k(row, headers[i]))
            image = self.decode(row.get("body", row.get("data"))) if top_k else 400
            decoding = telemetry.Stage("decode", started, time.perf_counter_ns())
            if isinstance(image, int):
                context.set_response_status(image, DETAILS[image], i)
                context.set_response_header(i, "Server-Timing", telemetry.server_timing([decoding]))
                answers[i] = to_json({"detail": DETAILS[image]})
                telemetry.trace(headers[i], [decoding], image)
            else:
                images.append(image)
                accepted.append((i, top_k, decoding))
        if images:
            telemetry.working_on(*(headers[i] for i, _, _ in accepted))
            started = time.perf_counter_ns()
            classified = self.engine.classify(torch.stack(images))
            inference = telemetry.Stage("inference", started, time.perf_counter_ns())  # the whole batch's
            for (i, top_k, decoding), probabilities in zip(accepted, classified, strict=True):
                stages = [decoding, inference]
                context.set_response_header(i, "Server-Timing", telemetry.server_timing(stages))
                answers[i] = to_json(self.answer(probabilities, top_k))
                telemetry.trace(headers[i], stages, 200)
        telemetry.working_on()
        return answers

    def describe(self) -> dict[str, Any]:
        """What this worker runs: TorchServe asks on `GET /models/NAME?customized=true` of its management API."""
        described = {
            "name": self.name,
            **{key: self.config[key] for key in ("arch", "weights", "weights_sha256")},
            "precision": self.precision,
            "classes": len(self.config["labels"]),
            "device": str(self.engine.device),
            "engine": self.engine.name,
            "large_jpegs": "exact" if self.precision == "fp32" else self.jpegs.name,
            "warning": self.config["warning"],
        }
        if self.engine.compiled is not None and (loss := self.config["compiled"].get("loss")):
            described["loss"] = loss
        return described

    def decode(self, body: object) -> Tensor | int:
        """The centre of an image file as uint8 [crop, crop, 3], or the HTTP status that refuses it."""
        jpegs = None if self.precision == "fp32" else self.jpegs  # fp32 promises torchvision's own result
        return preprocessing.decode(body, self.config["preprocessing"], self.max_pixels, jpegs)

    def answer(self, probabilities: Tensor, top_k: int) -> dict[str, Any]:
        """The `top_k` most probable classes of one image, as the API answers them."""
        labels = self.config["labels"]
        values, indices = probabilities.topk(min(top_k, len(labels)))
        predictions = [
            {"class": labels[index], "probability": round(value, 6)}
            for index, value in zip(indices.tolist(), values.tolist(), strict=True)
        ]
        best = predictions[0]
        result = {"predictions": predictions, "top_class": best["class"], "top_probability": best["probability"]}
        if self.config["warning"]:
            result["warning"] = self.config["warning"]
        return result


def asked_top_k(row: dict[str, Any], headers: dict[str, Any]) -> object:
    """The form field `top_k` or the header `X-Top-K`, 5 without either.

    TorchServe drops the query of /predictions/NAME; that of /models/NAME/invoke comes as form fields do.
    """
    if "top_k" in row:
        return row["top_k"]
    return next((value for name, value in headers.items() if name.lower() == "x-top-k"), "5")


def parse_top_k(value: object) -> int:
    """How many classes a request asks for, 1 to 1000, or 0 if that is not what it says."""
    text = bytes(value).decode("latin-1") if isinstance(value, bytes | bytearray) else value
    top_k = int(text) if isinstance(text, str) and re.fullmatch("[0-9]{1,4}", text) else 0
    return top_k if top_k <= 1000 else 0


def to_json(answer: dict[str, Any]) -> bytes:
    """Compact UTF-8 JSON."""
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()
