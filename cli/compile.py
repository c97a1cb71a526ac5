"""Ahead-of-time compilation: a machine-code copy of the model beside its weights in the archive.

AOTInductor turns the exported graph, preprocessing included, into a shared library for the CPU it runs on. Weights are
frozen and shapes static, a batch of one: with a worker for each core, a CPU gains next to nothing from a larger batch.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import get_model

from handlers.classifier import cpu_features

COMPILERS = ("g++", "clang++", "c++")


class Pipeline(nn.Module):
    """The handler's arithmetic as one graph: uint8 pixels [1, crop, crop, 3] to probabilities, float32 [1, classes]."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.dtype = torch.bfloat16 if config["precision"] == "bf16" else torch.float32
        self.model = model.eval().to(dtype=self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(config["preprocessing"][name]).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """What `Classifier.classify` does without a compiled copy."""
        scaled = pixels.permute(0, 3, 1, 2).float().div(255).sub(self.mean).div(self.std)
        logits: Tensor = self.model(scaled.to(self.dtype, memory_format=torch.channels_last))
        return logits.float().softmax(1)


def available() -> bool:
    """Whether this machine can compile: AOTInductor needs a C++ compiler."""
    return any(shutil.which(name) for name in COMPILERS) and not torch.cuda.is_available()


def compile_model(state: Mapping[str, Tensor], config: Mapping[str, Any], target: Path) -> dict[str, Any]:
    """Writes the compiled model to `target` (.pt2); what a machine must have to run it.

    Takes half a minute or more on one core.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the code is compiled for as many threads as a worker has
    try:
        model = get_model(config["arch"], weights=None, num_classes=len(config["labels"]))
        model.load_state_dict(state)
        crop = config["preprocessing"]["crop"]
        pixels = torch.zeros(1, crop, crop, 3, dtype=torch.uint8)
        with torch.no_grad():
            program = torch.export.export(Pipeline(model, config), (pixels,))
            torch._inductor.aoti_compile_and_package(
                program, package_path=str(target), inductor_configs={"freezing": True}
            )
    finally:
        torch.set_num_threads(threads)
    return {"torch": torch.__version__, "cpu": sorted(cpu_features())}
