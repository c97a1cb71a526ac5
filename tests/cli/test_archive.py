"""Building an archive and reading it back."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import resnet18

from cli.archives import aot, archive, cxx, model_json, packing, weights
from cli.archives.download import sha256_of
from cli.errors import ArchiveError, CommandError, DownloadError, LabelsError


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of three classes."""
    path = tmp_path_factory.mktemp("checkpoint") / "animals.pth"
    torch.save(resnet18(num_classes=3).state_dict(), path)
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("Cat\nDog\nМорж\n", "utf-8")
    return path


def build(target: Path, checkpoint: Path, labels: Path, **options: Any) -> archive.ArchiveDescription:
    return archive.build(target, weights=checkpoint, labels=labels, arch="resnet18", compiled=False, **options)


def test_what_goes_in_comes_out(checkpoint: Path, labels: Path, tmp_path: Path) -> None:
    target = tmp_path / "model, store" / "animals.mar"
    built = build(target, checkpoint, labels, precision="fp32")
    assert (built.size, built.sha256) == (target.stat().st_size, sha256_of(target))
    assert [path.name for path in target.parent.iterdir()] == ["animals.mar"]
    assert built.model == archive.read(target)
    assert built.model == {
        "arch": "resnet18",
        "precision": "fp32",
        "weights": "custom",
        "weights_sha256": sha256_of(checkpoint),
        "warning": None,
        "preprocessing": {
            "resize": 256,
            "crop": 224,
            "interpolation": "bilinear",
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
        },
        "labels": ["cat", "dog", "морж"],
        "compiled": None,
    }
    with zipfile.ZipFile(target) as file:
        manifest = json.loads(file.read("MAR-INF/MANIFEST.json"))["model"]
        assert manifest["modelName"] == "animals"
        assert {manifest["handler"], manifest["configFile"], "weights.pt"} < set(file.namelist())
        assert b"Workers" not in b"".join(
            line for line in file.read(manifest["configFile"]).splitlines() if not line.startswith(b"#")
        )


@pytest.mark.parametrize(
    ("options", "size", "delay"),
    [({}, 4, 2), ({"batch_size": 16}, 16, 2), ({"batch_delay": 7}, 4, 7), ({"batch_size": 1, "batch_delay": 1}, 1, 1)],
)
def test_the_batch_can_be_chosen(
    checkpoint: Path, labels: Path, tmp_path: Path, options: dict[str, int], size: int, delay: int
) -> None:
    target = tmp_path / "animals.mar"
    build(target, checkpoint, labels, **options)
    with zipfile.ZipFile(target) as file:
        lines = file.read(packing.CONFIG).decode().splitlines()
    assert {f"batchSize: {size}", f"maxBatchDelay: {delay}"} < set(lines)


def test_two_builds_carry_the_same_weights(checkpoint: Path, labels: Path, tmp_path: Path) -> None:
    target = tmp_path / "animals.mar"
    first, second = (build(target, checkpoint, labels).model["weights_sha256"] for _ in range(2))
    assert first == second


@pytest.mark.parametrize(("abilities", "precision"), [({"avx512_bf16": True}, "bf16"), ({"avx2": True}, "fp32")])
def test_automatic_precision_follows_the_processor(
    abilities: dict[str, bool], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert model_json.native_precision() == precision


def test_a_failed_build_leaves_the_old_archive(checkpoint: Path, labels: Path, tmp_path: Path) -> None:
    target = tmp_path / "animals.mar"
    target.write_bytes(b"the old one")
    labels.write_text("cat\n")
    with pytest.raises(LabelsError, match="names 1 classes"):
        build(target, checkpoint, labels)
    assert target.read_bytes() == b"the old one"


def test_without_a_network_the_build_says_what_to_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(url: str, target: Path, prefix: str) -> str:
        raise DownloadError(f"cannot download {url}: no network")

    monkeypatch.setattr(weights, "fetch", unreachable)
    with pytest.raises(CommandError, match="no network; pass --weights FILE"):
        archive.build(tmp_path / "resnet50.mar")
    assert list(tmp_path.iterdir()) == []


def test_a_name_torchserve_refuses_is_refused(checkpoint: Path, labels: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="could not build") as error:
        build(tmp_path / "my model.mar", checkpoint, labels)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("store", ["file", "file/below/it"])
def test_a_store_that_is_no_folder_is_refused_before_a_download(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "fetch", lambda *_: pytest.fail("downloaded"))
    (tmp_path / "file").touch()
    with pytest.raises(ArchiveError, match=r"^MODEL_STORE: .*file is a file, not a folder; name another$"):
        archive.build(tmp_path / store / "resnet50.mar")


def test_a_store_that_cannot_be_written_to_is_refused_before_a_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "fetch", lambda *_: pytest.fail("downloaded"))
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ArchiveError, match=r"^MODEL_STORE: .* cannot be written to"):
        archive.build(tmp_path / "store" / "resnet50.mar")


@pytest.mark.parametrize("content", [None, b"", b"no zip"])
def test_what_is_no_archive_is_refused(content: bytes | None, tmp_path: Path) -> None:
    target = tmp_path / "resnet50.mar"
    if content is not None:
        target.write_bytes(content)
    with pytest.raises(ArchiveError, match="build one with ml-service archive"):
        archive.read(target)


def test_a_report_names_the_weights(
    checkpoint: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built = build(tmp_path / "animals.mar", checkpoint, labels, precision="bf16")
    archive.report(built)
    printed = capsys.readouterr().out
    assert built.sha256 in printed
    assert "resnet18, 3 classes, custom weights, bf16" in printed


def test_a_report_takes_a_path_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = {"arch": "a", "labels": [], "weights": "w", "precision": "p", "compiled": None, "warning": "of [b] [/c]"}
    archive.report(archive.ArchiveDescription(tmp_path / "m [/x] y", 1, "0", model))
    printed = capsys.readouterr().out
    assert f"{tmp_path}/m [/x] y  0.0 MB" in printed
    assert "\nWarning: of [b] [/c]\n" in printed


def test_a_compiler_that_fails_leaves_an_archive_that_runs_its_weights(
    checkpoint: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("[/opt] no such header\nand much more")

    monkeypatch.setattr(aot, "available", lambda: True)
    monkeypatch.setattr(aot, "compile_model", fail)
    built = archive.build(tmp_path / "animals.mar", weights=checkpoint, labels=labels, arch="resnet18")
    assert built.model["compiled"] is None
    with zipfile.ZipFile(built.path) as file:
        assert "model.pt2" not in file.namelist()
        assert b"batchSize: 4" in file.read("model-config.yaml")
    assert "[/opt] no such header" in capsys.readouterr().err


@pytest.mark.skipif(cxx.found() is None, reason="compiling takes a C++ compiler")
@pytest.mark.parametrize(("precision", "there"), [("bf16", True), ("fp32", False)])
def test_the_decoder_of_large_jpegs_goes_with_those_that_use_it(
    checkpoint: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Any, there: bool
) -> None:
    monkeypatch.setattr(aot, "available", lambda: False)  # as where there is a GPU
    options = {"weights": checkpoint, "labels": labels, "arch": "resnet18", "precision": precision}
    for compiled, expected in ((True, there), (False, False)):
        built = archive.build(tmp_path / "animals.mar", **options, compiled=compiled)
        with zipfile.ZipFile(built.path) as file:
            assert ("jpeg.so" in file.namelist()) == expected


@pytest.mark.skipif(cxx.found() is None, reason="compiling takes a C++ compiler")
def test_a_decoder_that_cannot_be_compiled_is_told_and_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cxx, "LIBRARY", ("--no-such-option", "[/opt]"))
    packing.add_decoder(tmp_path)
    assert list(tmp_path.iterdir()) == []
    told = capsys.readouterr().err
    assert "so Pillow decodes them" in told
    assert "no-such-option" in told
