"""Seeded weights for trying the machinery without a network. They know nothing, but they do tell images apart.

Freshly initialised weights answer every image with nearly the same probabilities. Here BatchNorm gets the statistics of
synthetic images, and the classifier reads the directions in which those images differ most, so that different images
get different classes, each with confidence.
"""

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock, Bottleneck

from cli.errors import CommandError
from handlers.engine import architecture

SEED = 20260101
IMAGES = 32
DIRECTIONS = 16
# The standard deviation of a class's logit over images: high enough for a clear winner among a thousand classes.
SPREAD = 10.0
# What a residual branch adds. At 1 a random network is chaotic: bfloat16's rounding alone changes most answers.
RESIDUAL = 0.1


def untrained_state(arch: str) -> dict[str, Tensor]:
    """The state dict of a torchvision model with 1000 classes, the same on every call. Raises CommandError."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(SEED)
        model = architecture(arch)
        classifier = list(model.modules())[-1]
        if not isinstance(classifier, nn.Linear):
            raise CommandError(f"{arch} does not end in a linear layer, so it cannot go untrained; pass --weights FILE")
        batches = torch.split(synthetic_images(IMAGES), 16)
        for layer in model.modules():
            if isinstance(layer, Bottleneck):
                layer.bn3.weight.fill_(RESIDUAL)
            elif isinstance(layer, BasicBlock):
                layer.bn2.weight.fill_(RESIDUAL)
            if isinstance(layer, nn.BatchNorm2d):
                layer.reset_running_stats()
                layer.momentum = None  # average over all batches
        model.train()
        for batch in batches:
            model(batch)
        model.eval()
        features: list[Tensor] = []
        hook = classifier.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
        for batch in batches:
            model(batch)
        hook.remove()
        spread_out(classifier, torch.cat(features))
        return copy.deepcopy(model.state_dict())


def spread_out(classifier: nn.Linear, features: Tensor) -> None:
    """Make the classifier read the main directions of `features` [images, features], centred and scaled."""
    mean = features.mean(0)
    _, strengths, directions = torch.linalg.svd(features - mean, full_matrices=False)
    scale = math.sqrt(len(features)) / strengths[:DIRECTIONS].clamp_min(1e-6)
    reading = torch.randn(classifier.out_features, len(scale)) * SPREAD / math.sqrt(len(scale))
    weight = (reading * scale) @ directions[:DIRECTIONS]
    classifier.weight.copy_(weight)
    classifier.bias.copy_(-weight @ mean)


def synthetic_images(count: int) -> Tensor:
    """Colourful fields with boxes, stripes and grain, roughly normalised: float32 [count, 3, 224, 224]."""
    images = []
    line = torch.linspace(-1, 1, 224)
    for _ in range(count):
        cells = int(torch.randint(2, 12, ()))
        field = functional.interpolate(torch.randn(1, 3, cells, cells) * 1.2, (224, 224), mode="bicubic")[0]
        for _ in range(int(torch.randint(0, 8, ()))):
            (top, bottom), (left, right) = torch.randint(0, 225, (2, 2)).sort().values.tolist()
            field[:, top:bottom, left:right] = torch.randn(3, 1, 1) * 1.2
        across, down = (torch.randn(2) * 40).tolist()
        stripes = torch.rand(()) * torch.sin(across * line + down * line[:, None])
        grain = torch.rand(()) * 0.4 * torch.randn(1, 224, 224)
        images.append((field + stripes + grain).clamp(-2.1, 2.6))
    return torch.stack(images)
