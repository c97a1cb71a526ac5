"""The model as a worker runs it: the archive's machine code where this machine can run that, else its weights.

Goes into the archive beside `classifier.py`, and like it may import nothing of this project.
"""

from __future__ import annotations

import copy
import ctypes
import os
import re
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torchvision.models import get_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from handlers import graphs
else:  # in the archive this is no package
    graphs = import_module(".graphs" if __package__ else "graphs", __package__)

M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1  # of glibc's malloc.h
LARGE_BLOCK, KEPT = 32 << 20, 128 << 20
"""Bytes: larger blocks go back to the system when they are freed, and what lies free at the heap's end beyond that."""


class Engine:
    """The model on `device`, from an archive unpacked in `folder` with this `config` (model.json).

    Batches on a GPU are best of `batch` images at most.
    """

    precision: str
    """What it computes in, which for int8 without its machine code is fp32."""
    name: str
    """What runs, in words."""

    def __init__(self, folder: Path, config: dict[str, Any], device: torch.device, batch: int = 1) -> None:
        keep_freed_memory()
        self.config, self.device = config, device
        self.precision = config["precision"]
        # TorchServe runs a worker for each core: more than one thread in each, and they fight for the cores.
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        self.compiled, self.name = self.load_compiled(folder / "model.pt2")
        if self.compiled is None:
            if self.precision == "int8":
                self.precision = "fp32"
            self.load_weights(folder / "weights.pt")
        self.recorded = None
        if device.type == "cuda":
            crop = config["preprocessing"]["crop"]
            self.recorded, self.name = graphs.Graphs(self.eager, (crop, crop, 3), batch, device), "CUDA graphs"

    @torch.inference_mode()
    def load_weights(self, file: Path) -> None:
        """The model as torchvision has it, in this precision on the device."""
        config = self.config
        model = without_values(config["arch"], len(config["labels"]))
        model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True, mmap=True), assign=True)
        model.eval()
        self.dtype = torch.float32
        if self.precision == "bf16":
            model, self.dtype = rounded(model), torch.bfloat16
        elif self.device.type == "cuda":
            # By default a GPU rounds to the ten bits of TF32 before it multiplies.
            torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        scaling = config["preprocessing"]
        self.mean, self.std = (torch.tensor(scaling[k], device=self.device).view(3, 1, 1) for k in ("mean", "std"))

    def load_compiled(self, package: Path) -> tuple[Callable[[list[Tensor]], list[Tensor]] | None, str]:
        """The archive's compiled model, if this machine can run it, and what is run in words."""
        wanted = self.config.get("compiled")
        if wanted is None:
            return None, "eager"
        if self.device.type != "cpu":
            return None, "eager: the archive is compiled for a CPU"
        if wanted["torch"] != torch.__version__:
            return None, f"eager: compiled for torch {wanted['torch']}"
        # Machine code that the CPU does not know would kill the worker, not raise.
        if missing := set(wanted["cpu"]) - cpu_features():
            return None, f"eager: compiled for a CPU with {', '.join(sorted(missing))}"
        try:
            # torch._inductor.aoti_load_package wraps this and imports the whole compiler first.
            loader = torch._C._aoti.AOTIModelPackageLoader(str(package), "model", False, 1, -1)
        except (AttributeError, RuntimeError, TypeError) as error:
            return None, f"eager: {str(error).splitlines()[0]}"
        return loader.run, "compiled"

    @torch.inference_mode()
    def classify(self, pixels: Tensor) -> Tensor:
        """Probabilities, float32 [batch, classes] on the CPU, of uint8 pixels [batch, crop, crop, 3]."""
        if self.compiled is not None:  # for a batch of one
            return torch.cat([self.compiled([image.unsqueeze(0)])[0] for image in pixels])
        return self.eager(pixels) if self.recorded is None else self.recorded(pixels)

    def eager(self, pixels: Tensor) -> Tensor:
        """The same by the weights, with the pixels and the result on the device."""
        scaled = pixels.permute(0, 3, 1, 2).float().div_(255).sub_(self.mean).div_(self.std)
        logits: Tensor = self.model(scaled.to(self.dtype, memory_format=torch.channels_last))
        return logits.float().softmax(1)


INCEPTION: dict[str, Any] = {"transform_input": True, "aux_logits": False, "init_weights": False}
"""Their auxiliary heads are for training only."""
AS_PUBLISHED: dict[str, dict[str, Any]] = {
    "googlenet": INCEPTION,
    "inception_v3": INCEPTION,
    "vit_h_14": {"image_size": 518},
}
"""What torchvision makes its trained models with, beyond its defaults for new ones."""


def architecture(arch: str, classes: int = 1000) -> nn.Module:
    """A torchvision model as those are that it has trained, with random values."""
    model: nn.Module = get_model(arch, weights=None, num_classes=classes, **AS_PUBLISHED.get(arch, {}))
    return model


def without_values(arch: str, classes: int = 1000) -> nn.Module:
    """The same to put values into: to draw random ones first takes longer than to read those of a file."""
    try:
        with torch.device("meta"):
            return architecture(arch, classes)
    except NotImplementedError:  # regnets compute their widths in tensors
        return architecture(arch, classes)


def rounded(model: nn.Module) -> nn.Module:
    """`model` in bf16, less what loses most by it.

    BatchNorm goes into the weights first: rounded twice, they would lose twice. A last linear layer stays in fp32, as
    two logits of twenty are the same in bf16 when they differ by a tenth.
    """
    model = fuse(model, inplace=True)
    last = list(model.modules())[-1]
    exact = copy.deepcopy(last)
    model.to(torch.bfloat16)
    if isinstance(last, nn.Linear):
        last.float().load_state_dict(exact.state_dict())
        last.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    return model


def keep_freed_memory() -> None:
    """Has glibc keep what an inference frees for the next one. By default it gives most of it back to the system, and a
    fifth of the time in int8 went into getting it again, page by page. Does nothing with another C library."""
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
        mallopt(M_TRIM_THRESHOLD, KEPT)


def cpu_features() -> set[str]:
    """What of this CPU's instruction sets compiled code may use; empty where the kernel does not tell."""
    with suppress(OSError):
        flags = re.search(r"^(?:flags|Features)\s*:(.*)", Path("/proc/cpuinfo").read_text("ascii", "replace"), re.M)
        if flags:
            return {flag for flag in flags[1].split() if re.match("avx|amx|fma|f16c|bmi|sse4|asimd|bf16|sve", flag)}
    return set()
