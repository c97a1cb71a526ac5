"""Checkpoints as people have them, and the errors for those that cannot be served."""

import hashlib
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models import ResNet50_Weights, get_model, resnet18

from cli.archives import download, weights
from cli.archives.weights import Weights, checkpoint, pretrained, published, untrained
from cli.errors import CheckpointError, CommandError, DownloadError, LabelsError
from handlers.engine import without_values


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """A small architecture with three classes, as training leaves it."""
    torch.manual_seed(1)
    return dict(resnet18(num_classes=3).state_dict())


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[Any], Path]:
    """Saves anything as a checkpoint."""

    def save(content: Any) -> Path:
        torch.save(content, tmp_path / "model.pth")
        return tmp_path / "model.pth"

    return save


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("Cat\nDog\nSea horse\n")
    return path


def published_densenet(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As torchvision's file of densenet121 names its tensors."""
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))([12]\.)", r"\1.\2", name): t for name, t in state.items()}


OTHERS: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    "mnasnet0_5": dict,
    "maxvit_t": dict,
    "densenet121": published_densenet,
    "regnet_x_400mf": dict,
    "googlenet": lambda state: {**state, "aux1.fc2.bias": torch.zeros(1000)},
}


@pytest.mark.parametrize("arch", OTHERS)
def test_other_architectures_are_loaded_as_torchvision_loads_them(arch: str, saved: Callable[[Any], Path]) -> None:
    inception = {"transform_input": True, "aux_logits": False, "init_weights": False} if arch == "googlenet" else {}
    theirs = get_model(arch, weights=None, **inception).eval()
    ours = without_values(arch)
    ours.load_state_dict(checkpoint(saved(OTHERS[arch](theirs.state_dict())), arch, None).state_dict, assign=True)
    image = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(ours.eval()(image), theirs(image))


def test_the_large_vision_transformer_has_the_size_of_its_weights() -> None:
    default = published("vit_h_14")
    assert without_values("vit_h_14").image_size == default.transforms().crop_size[0]


@pytest.mark.parametrize(
    "wrap",
    [
        dict,
        lambda state: {"state_dict": state, "epoch": 90},
        lambda state: {"model": state, "optimizer": {}},
        lambda state: {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
        lambda state: {"state_dict": {f"model._orig_mod.{name}": tensor for name, tensor in state.items()}},
        lambda state: {name: tensor for name, tensor in state.items() if not name.endswith("tracked")},
        lambda state: dict(sorted(state.items(), reverse=True)),
    ],
    ids=["plain", "lightning", "torchvision", "parallel", "compiled", "old", "another order"],
)
def test_a_checkpoint_gives_its_weights_classes_and_labels(
    wrap: Callable[[dict[str, Tensor]], Any],
    state: dict[str, Tensor],
    saved: Callable[[Any], Path],
    labels: Path,
) -> None:
    path = saved(wrap(state))
    found = checkpoint(path, "resnet18", labels)
    assert found.labels == ["cat", "dog", "sea_horse"]
    assert (found.provenance, found.warning) == ("custom", None)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert list(found.state_dict) == list(state)
    assert all(torch.equal(found.state_dict[name], tensor) for name, tensor in state.items())


def test_half_precision_is_widened(state: dict[str, Tensor], saved: Callable[[Any], Path], labels: Path) -> None:
    found = checkpoint(saved({name: tensor.half() for name, tensor in state.items()}), "resnet18", labels)
    assert found.state_dict["fc.weight"].dtype == torch.float32
    assert found.state_dict["bn1.num_batches_tracked"].dtype == torch.int64


def test_a_thousand_classes_are_imagenets_without_labels(saved: Callable[[Any], Path]) -> None:
    assert checkpoint(saved(resnet18().state_dict()), "resnet18").labels[207] == "golden_retriever"


def test_labels_are_needed_and_counted(state: dict[str, Tensor], saved: Callable[[Any], Path], labels: Path) -> None:
    path = saved(state)
    with pytest.raises(CheckpointError, match="3 classes: pass --labels FILE"):
        checkpoint(path, "resnet18")
    labels.write_text("cat\ndog\n")
    with pytest.raises(LabelsError, match="names 2 classes, and the weights have 3"):
        checkpoint(path, "resnet18", labels)


class Code:
    """Unpickling it would run a command."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return (print, ("this must never be printed",))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda state: {**state, "fc.weight": state["fc.weight"][:, :5]}, "is no resnet18: 1 .* such as fc.weight"),
        (lambda state: {**state, "extra": state["fc.bias"]}, "such as extra"),
        (lambda state: {"fc.bias": state["fc.bias"]}, "such as conv1.weight"),
        (lambda state: {"conv1.weight": state["conv1.weight"]}, "it has no fc.bias"),
        (lambda state: {**state, "fc.bias": torch.tensor([1.0, float("nan"), 0.0])}, "not finite"),
        (lambda state: state["fc.bias"], "no state dict"),
        (lambda state: {}, "no state dict"),
        (lambda state: {"epoch": 1}, "no state dict"),
        (lambda state: {"state_dict": Code()}, "plain tensors"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    spoil: Callable[[dict[str, Tensor]], Any],
    reason: str,
    state: dict[str, Tensor],
    saved: Callable[[Any], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = saved(spoil(dict(state)))
    with pytest.raises(CheckpointError, match=reason) as error:
        checkpoint(path, "resnet18")
    assert "\n" not in str(error.value)
    assert "never be printed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps(Code()), b"PK\x03\x04 broken"])
def test_garbage_is_refused_in_one_line(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="no checkpoint of plain tensors") as error:
        checkpoint(path, "resnet18")
    assert "\n" not in str(error.value)
    assert capsys.readouterr().out == ""


def test_a_missing_file_and_an_unknown_architecture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no weights file"):
        checkpoint(tmp_path / "none.pth", "resnet18")
    with pytest.raises(CheckpointError, match="no classification model 'resnet9000'"):
        checkpoint(tmp_path / "none.pth", "resnet9000")


def test_torchvisions_weights_are_verified_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Path, str]] = []

    def fetched(url: str, target: Path, prefix: str) -> str:
        asked.append((url, target, prefix))
        target.parent.mkdir(parents=True)
        torch.save(resnet18().state_dict(), target)
        return prefix + "0" * 56

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(weights, "fetch", fetched)
    found = pretrained("resnet18")
    assert (found.provenance, found.sha256[:8], found.warning) == ("IMAGENET1K_V1", "f37072fd", None)
    assert asked[0][1:] == (tmp_path / "checkpoints" / "resnet18-f37072fd.pth", "f37072fd")
    assert weights.published("resnet50") is ResNet50_Weights.IMAGENET1K_V2


def test_without_a_network_one_line_says_what_to_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(url: str, target: Path) -> str:
        raise OSError("[Errno 101] Network is unreachable")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(download, "download", unreachable)
    with pytest.raises(DownloadError, match="Network is unreachable; pass --weights FILE") as error:
        pretrained("resnet50")
    assert "\n" not in str(error.value)


def test_untrained_weights_are_the_same_every_time_and_say_so(untrained_weights: Weights) -> None:
    again = untrained("resnet50")
    assert again.sha256 == untrained_weights.sha256
    assert again.provenance == "untrained"
    assert again.warning
    assert again.labels[0] == "tench"


def test_an_architecture_that_cannot_go_untrained_says_so() -> None:
    with pytest.raises(CommandError, match="pass --weights FILE"):
        untrained("squeezenet1_1")
