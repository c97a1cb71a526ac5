"""Where the weights of the archive come from: torchvision, a file of the person's, or nowhere (untrained).

Each source gives the same `Weights`, whose provenance stays with the model to its last answer.
"""

import hashlib
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from torch import Tensor
from torchvision.models import WeightsEnum, get_model_weights, list_models

from cli.archives.download import fetch, sha256_of
from cli.archives.labels import read_labels, snake_case
from cli.archives.untrained import untrained_state
from cli.errors import CheckpointError, DownloadError
from handlers.engine import AS_PUBLISHED, INCEPTION, without_values

INSTEAD = "pass --weights FILE to use a checkpoint of your own"
WRAPPERS = ("state_dict", "model_state_dict", "model")
PREFIXES = re.compile(r"^(?:module\.|_orig_mod\.|model\.)+")
"""Of DataParallel, torch.compile and Lightning."""
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
"""In the files that torchvision publishes to this day."""
UNTRAINED_WARNING = "untrained weights: the classes mean nothing"


@dataclass(frozen=True)
class Weights:
    """Tensors that fit `arch` exactly, with a name for each class.

    `provenance` is a name in torchvision's weights enum, `custom` or `untrained`. `sha256` is that of the file the
    weights came in, or of the tensors where there was none. `warning` is what every answer has to say about them.
    """

    arch: str
    state_dict: dict[str, Tensor]
    labels: list[str]
    provenance: str
    sha256: str
    warning: str | None = None


def pretrained(arch: str, labels: Path | None = None) -> Weights:
    """Torchvision's default weights, downloaded once into torch.hub's folder. Raises CommandError."""
    origin = published(arch)
    url: str = origin.url
    target = Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[1])
    prefix = re.search(r"-([0-9a-f]{8,})\.", target.name)
    if prefix is None:
        raise DownloadError(f"torchvision publishes no hash for {target.name}; {INSTEAD}")
    try:
        digest = fetch(url, target, prefix[1])
    except DownloadError as error:
        raise type(error)(f"{error}; {INSTEAD}") from error
    state, classes = fitted(read_checkpoint(target), arch, target)
    return Weights(arch, state, named(labels, classes, origin), origin.name, digest)


def checkpoint(path: Path, arch: str, labels: Path | None = None) -> Weights:
    """The weights in a file of the person's; the class count is the file's. Raises CommandError."""
    origin = published(arch)
    state, classes = fitted(read_checkpoint(path), arch, path)
    return Weights(arch, state, named(labels, classes, origin), "custom", sha256_of(path))


def untrained(arch: str, labels: Path | None = None) -> Weights:
    """Seeded weights that know nothing, and say so in every answer. Raises CommandError."""
    origin = published(arch)
    state = untrained_state(arch)
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    names = named(labels, 1000, origin)
    return Weights(arch, state, names, "untrained", digest.hexdigest(), UNTRAINED_WARNING)


def published(arch: str) -> WeightsEnum:
    """Torchvision's default weights of an architecture, which also say how its images are prepared."""
    if arch not in list_models(module=torchvision.models):
        raise CheckpointError(f"torchvision has no classification model {arch!r}")
    origin: WeightsEnum = get_model_weights(arch).DEFAULT
    return origin


def named(labels: Path | None, classes: int, origin: WeightsEnum) -> list[str]:
    """The class names in a labels file or, for as many classes as ImageNet has, torchvision's."""
    if labels is not None:
        return read_labels(labels, classes)
    categories: list[str] = origin.meta["categories"]
    if classes != len(categories):
        raise CheckpointError(f"the weights have {classes} classes: pass --labels FILE to name them")
    return [snake_case(name) for name in categories]


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The named tensors in a file, unwrapped from what training scripts put around them. Runs none of its code."""
    if not path.is_file():
        raise CheckpointError(f"there is no weights file {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a stranger's bytes: torch raises whatever its readers stumble over
        raise CheckpointError(f"{path} is no checkpoint of plain tensors; save one with state_dict()") from error
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path} holds no state dict")
    return {OLD_DENSENET.sub(r"\1\2", PREFIXES.sub("", str(name))): tensor for name, tensor in content.items()}


def fitted(state: dict[str, Tensor], arch: str, path: Path) -> tuple[dict[str, Tensor], int]:
    """`state` as float32 in the model's own order, checked against `arch`, and its number of classes."""
    if AS_PUBLISHED.get(arch) == INCEPTION:
        state = {name: tensor for name, tensor in state.items() if not name.lower().startswith("aux")}
    last = list(without_values(arch).state_dict())[-1]
    classes = len(state[last]) if last in state and state[last].dim() else 0
    if not classes:
        raise CheckpointError(f"{path} is no {arch}: it has no {last}")
    expected = without_values(arch, classes).state_dict()
    for name in expected:
        if name.endswith("num_batches_tracked"):  # absent from old checkpoints, and of no use to a trained model
            state.setdefault(name, torch.tensor(0))
    wrong = [name for name, tensor in expected.items() if name not in state or state[name].shape != tensor.shape]
    wrong += [name for name in state if name not in expected]
    if wrong:
        raise CheckpointError(
            f"{path} is no {arch}: {len(wrong)} tensors are missing or do not fit, such as {wrong[0]}"
        )
    if not all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
        raise CheckpointError(f"{path} holds values that are not finite")
    for name, tensor in expected.items():  # which keeps what the model says of its version
        expected[name] = state[name].to(tensor.dtype).contiguous()
    return expected, classes
