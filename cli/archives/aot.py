"""Ahead-of-time compilation: a machine-code copy of the model beside its weights in the archive.

AOTInductor turns the exported graph, preprocessing included, into a shared library for the CPU it runs on. Weights are
frozen and shapes static, a batch of one: with a worker for each core, a CPU gains next to nothing from a larger batch.

For int8 (`cli/archives/quantize.py`) the graph is quantized on the person's own images first.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from cli.archives import cxx, quantize
from cli.archives.compiled_model import run, try_out
from cli.progress import doing
from handlers.engine import architecture, cpu_features


class Logits(nn.Module):
    """The handler's arithmetic before the softmax: uint8 pixels [1, crop, crop, 3] to [1, classes]."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.dtype = torch.bfloat16 if config["precision"] == "bf16" else torch.float32
        self.model = model.eval().to(dtype=self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(config["preprocessing"][name]).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """What `Engine.classify` does without a compiled copy."""
        scaled = pixels.permute(0, 3, 1, 2).float().div(255).sub(self.mean).div(self.std)
        logits: Tensor = self.model(scaled.to(self.dtype, memory_format=torch.channels_last))
        return logits


class Probabilities(nn.Module):
    """The softmax of `logits` with an `offset` [classes] added: uint8 [1, crop, crop, 3] to float32 [1, classes]."""

    offset: Tensor

    def __init__(self, logits: nn.Module, offset: Tensor) -> None:
        super().__init__()
        self.logits = logits
        self.register_buffer("offset", offset)

    def forward(self, pixels: Tensor) -> Tensor:
        """What a worker runs."""
        logits: Tensor = self.logits(pixels)
        return (logits.float() + self.offset).softmax(1)


def native_bf16() -> bool:
    """Whether this CPU computes in bfloat16."""
    abilities = torch.cpu.get_capabilities()
    return any(abilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def available() -> bool:
    """Whether this machine can compile: AOTInductor needs a C++ compiler."""
    return cxx.found() is not None and not torch.cuda.is_available()


def compile_model(
    state: Mapping[str, Tensor], config: Mapping[str, Any], target: Path, calibration: Sequence[Tensor] = ()
) -> dict[str, Any]:
    """Writes the compiled model to `target` (.pt2); what a machine must have to run it, and for int8 what it lost.

    Takes half a minute or more on one core. `calibration` are images as `Logits` takes them; int8 needs them.
    Raises RuntimeError if this machine cannot run it.
    """
    model = architecture(config["arch"], len(config["labels"]))
    model.load_state_dict(state)
    # BatchNorm goes into the weights before they are rounded to bf16: rounded twice, they would lose twice.
    model = fuse(model.eval())
    int8 = config["precision"] == "int8"
    logits = Logits(quantize.own_activations(model) if int8 else model, config)
    offset = torch.zeros(len(config["labels"]))
    needs: dict[str, Any] = {"torch": torch.__version__, "cpu": sorted(cpu_features())}
    with torch.no_grad(), _quiet():
        if not int8:
            package(Probabilities(logits, offset), config, target)
            try_out(target, config["preprocessing"]["crop"])
            return needs
        expected = [logits(pixels) for pixels in calibration]
        quantized = quantize.quantize(logits, calibration)
        # What int8 leaves is computed in bf16 where the CPU can.
        with torch.autocast("cpu", torch.bfloat16, enabled=native_bf16()):
            package(Probabilities(quantized, offset), config, target)
            try_out(target, config["preprocessing"]["crop"])
            offset = quantize.correction(expected, run(target, calibration))
            package(Probabilities(quantized, offset), config, target)
        return {**needs, "loss": quantize.loss(expected, run(target, calibration))}


def package(model: nn.Module, config: Mapping[str, Any], target: Path) -> None:
    """Export and compile `model`, for as many threads as a worker has: one."""
    crop = config["preprocessing"]["crop"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with doing("Compiling the model for this CPU"):
            program = torch.export.export(model, (torch.zeros(1, crop, crop, 3, dtype=torch.uint8),))
            torch._inductor.aoti_compile_and_package(
                program, package_path=str(target), inductor_configs={"freezing": True}
            )
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the compiler's talk to its own developers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger = logging.getLogger("torch")
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
