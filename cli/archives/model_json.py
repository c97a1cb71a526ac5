"""model.json: what an archive tells the handler about its weights."""

from typing import Any

import torch

from cli.archives.aot import native_bf16
from cli.archives.precision import Precision
from cli.archives.weights import Weights, published


def model_json(weights: Weights, precision: Precision) -> dict[str, Any]:
    """What the handler is told about the weights."""
    transforms = published(weights.arch).transforms()
    return {
        "arch": weights.arch,
        "precision": native_precision() if precision == "auto" else precision,
        "weights": weights.provenance,
        "weights_sha256": weights.sha256,
        "warning": weights.warning,
        "preprocessing": {
            "resize": transforms.resize_size[0],
            "crop": transforms.crop_size[0],
            "interpolation": transforms.interpolation.value,
            "mean": list(transforms.mean),
            "std": list(transforms.std),
        },
        "labels": weights.labels,
    }


def native_precision() -> Precision:
    """bf16 where this machine computes in it (a GPU, or a CPU with bfloat16 instructions), fp32 elsewhere."""
    return "bf16" if torch.cuda.is_available() or native_bf16() else "fp32"
