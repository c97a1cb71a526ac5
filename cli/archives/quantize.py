"""int8: weights and activations of eight bits, with the ranges that the person's own images need.

Post-training static quantization (torchao's PT2E with the x86 quantizer of Inductor). Then the mean of what it changed
in the logits is put back: bias correction (Nagel et al. 2019, https://arxiv.org/abs/1906.04721) of the last layer.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, fx, nn

from cli.errors import CommandError
from handlers.classifier import Classifier
from handlers.engine import cpu_features

FEWEST_IMAGES = 32
"""With fewer, the ranges are those of chance."""


def calibration_images(folder: Path, config: dict[str, Any]) -> list[Tensor]:
    """The images under `folder` as a worker would see them, uint8 [1, crop, crop, 3] each.

    Raises:
        CommandError: there are too few; files that are no images do not count.
    """
    handler = Classifier()
    handler.configure(config)
    console = Console(stderr=True)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    decoded = [
        handler.decode(path.read_bytes()) for path in track(files, "Reading images", transient=True, console=console)
    ]
    images = [pixels.unsqueeze(0) for pixels in decoded if not isinstance(pixels, int)]
    if len(images) < FEWEST_IMAGES:
        raise CommandError(
            f"--calibrate {folder}: {len(images)} images; int8 needs {FEWEST_IMAGES} or more, better a few hundred"
        )
    return images


def quantize(model: nn.Module, images: Sequence[Tensor]) -> nn.Module:
    """`model`, which takes one of `images` at a time, in int8. Its activations must be its `own_activations`.

    Two things stay as they are, for they cost most of the accuracy and little of the time: the first convolution, and
    what the residual connections carry from block to block.

    Raises CommandError without torchao.
    """
    try:
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e  # noqa: PLC0415
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86  # noqa: PLC0415
    except ImportError:
        raise CommandError("int8 needs torchao: pip install 'ml-service-api[int8]'") from None

    class Quantizer(x86.X86InductorQuantizer):  # type: ignore[misc]
        """Inductor's, less those two."""

        def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
            """Marks what is quantized."""
            annotated: fx.GraphModule = super().annotate(model)
            nodes = [node for node in annotated.graph.nodes if x86.QUANT_ANNOTATION_KEY in node.meta]
            next(node for node in nodes if node.target == aten.conv2d.default).meta.pop(x86.QUANT_ANNOTATION_KEY)
            for node in nodes:
                if node.target in (aten.add.Tensor, aten.add_.Tensor):
                    node.meta[x86.QUANT_ANNOTATION_KEY].input_qspec_map = {}
            return annotated

    aten = torch.ops.aten
    # Without VNNI two products of eight bits are added in sixteen, and may saturate.
    vnni = any("vnni" in feature for feature in cpu_features())
    ranges = x86.get_default_x86_inductor_quantization_config(reduce_range=not vnni)
    program = torch.export.export(model, (images[0],)).module()
    observed = prepare_pt2e(program, Quantizer().set_global(ranges))
    for pixels in track(images, "Calibrating", transient=True, console=Console(stderr=True)):
        observed(pixels)
    quantized: nn.Module = convert_pt2e(observed)
    return quantized


def own_activations(model: nn.Module) -> nn.Module:
    """`model` with a module of its own for every use of a ReLU: torchvision's blocks share one, and the quantizer takes
    its several outputs for a mistake."""
    graph = fx.symbolic_trace(model)
    used: set[str] = set()
    for node in graph.graph.nodes:
        if node.op == "call_module" and isinstance(graph.get_submodule(node.target), nn.ReLU):
            if node.target in used:
                node.target = f"{node.target}_{len(used)}".replace(".", "_")
                graph.add_submodule(node.target, nn.ReLU())
            used.add(node.target)
    graph.recompile()
    return graph


def correction(expected: Iterable[Tensor], got: Iterable[Tensor]) -> Tensor:
    """What to add to the quantized logits, float32 [classes], so that their mean over the images is the model's own.

    `expected` are logits, `got` probabilities, float32 [1, classes] each; logits count up to a constant.
    """
    differences = [
        logits.log_softmax(1) - probabilities.clamp_min(torch.finfo().tiny).log()
        for logits, probabilities in zip(expected, got, strict=True)
    ]
    return torch.cat(differences).mean(0)


def loss(expected: Iterable[Tensor], got: Iterable[Tensor]) -> dict[str, float | int]:
    """How far the quantized model is from its original: over how many images, the share of equal top classes, and the
    median difference of the top class's probability. The arguments are `correction`'s."""
    ours, theirs = torch.cat(list(got)), torch.cat(list(expected)).softmax(1)
    differences = (ours.amax(1) - theirs.amax(1)).abs()
    return {
        "images": len(ours),
        "same_top_class": round((ours.argmax(1) == theirs.argmax(1)).float().mean().item(), 4),
        "median_top_probability_difference": round(differences.median().item(), 4),
    }
