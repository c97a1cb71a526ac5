"""The compiled copy of the model: the same answers, and the way back to the weights where it cannot run."""

import json
import shutil
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from cli.archives import aot, archive
from cli.archives.model_json import model_json
from cli.archives.weights import Weights, untrained
from handlers.classifier import Classifier
from handlers.engine import cpu_features
from tests import images
from tests.handlers.test_classifier import Context, classify

pytestmark = pytest.mark.skipif(not aot.available(), reason="compiling takes a C++ compiler")


@pytest.fixture(scope="module")
def weights() -> Weights:
    return untrained("resnet18")


@pytest.fixture(scope="module")
def folder(weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked archive with a compiled model at fp32."""
    folder = tmp_path_factory.mktemp("compiled")
    model = model_json(weights, "fp32")
    model["compiled"] = aot.compile_model(weights.state_dict, model, folder / "model.pt2")
    torch.save(weights.state_dict, folder / "weights.pt")
    (folder / "model.json").write_text(json.dumps(model), "utf-8")
    return folder


def loaded(folder: Path) -> Classifier:
    handler = Classifier()
    handler.initialize(Context(folder))
    return handler


def altered(folder: Path, target: Path, **compiled: object) -> Path:
    """A copy of the unpacked archive that asks for another machine."""
    shutil.copytree(folder, target, dirs_exist_ok=True)
    model = json.loads((target / "model.json").read_bytes())
    model["compiled"] |= compiled
    (target / "model.json").write_text(json.dumps(model), "utf-8")
    return target


def test_it_answers_as_the_weights_do(folder, tmp_path):
    compiled, eager = loaded(folder), loaded(altered(folder, tmp_path, torch="0.1"))
    assert (compiled.engine.name, eager.engine.name) == ("compiled", "eager: compiled for torch 0.1")
    for name in ("jpeg", "png_rgba", "gif", "webp", "jpeg_exif_6"):
        (status, one), (_, other) = (
            classify(c, images.valid()[name], **{"X-Top-K": "1000"}) for c in (compiled, eager)
        )
        assert status == 200
        assert one["top_class"] == other["top_class"]
        ranked = [[p["probability"] for p in answer["predictions"]] for answer in (one, other)]
        assert torch.allclose(*map(torch.tensor, ranked), atol=1e-5, rtol=0)


def test_a_batch_is_answered_image_by_image(folder):
    handler = loaded(folder)
    pixels = torch.stack([handler.decode(images.valid()[name]) for name in ("jpeg", "png", "gif")])
    assert torch.equal(
        handler.engine.classify(pixels), torch.cat([handler.engine.classify(image[None]) for image in pixels])
    )


def test_a_cpu_that_lacks_something_runs_the_weights(folder, tmp_path):
    handler = loaded(altered(folder, tmp_path, cpu=[*cpu_features(), "avx9000"]))
    assert handler.engine.name == "eager: compiled for a CPU with avx9000"
    assert classify(handler, images.valid()["jpeg"])[0] == 200


def test_a_package_that_cannot_be_loaded_is_passed_over(folder, tmp_path):
    broken = altered(folder, tmp_path)
    (broken / "model.pt2").write_bytes(b"not a package")
    handler = loaded(broken)
    assert handler.engine.name.startswith("eager: ")
    assert handler.describe()["engine"] == handler.engine.name
    assert classify(handler, images.valid()["jpeg"])[0] == 200


def ruin(package: Path) -> None:
    """Zeroes where the library in a compiled model has its code, which then kills whatever process runs it."""
    with zipfile.ZipFile(package) as file:
        members = {name: bytearray(file.read(name)) for name in file.namelist()}
    (library,) = (content for name, content in members.items() if name.endswith(".so"))
    headers, size, count = *struct.unpack_from("<Q", library, 0x28), *struct.unpack_from("<HH", library, 0x3A)
    for start in range(headers, headers + size * count, size):
        flags, _, offset, length = struct.unpack_from("<QQQQ", library, start + 8)
        if flags & 4:  # SHF_EXECINSTR
            library[offset : offset + length] = bytes(length)
    with zipfile.ZipFile(package, "w") as file:
        for name, content in members.items():
            file.writestr(name, bytes(content))


def test_machine_code_that_kills_its_process_stays_out_of_the_archive(tmp_path, monkeypatch, capsys):
    """Once a loader died of every package on a machine, and workers would have, at each of their starts."""
    package = aot.package

    def ruined(model: torch.nn.Module, config: dict[str, object], target: Path) -> None:
        package(model, config, target)
        ruin(target)

    monkeypatch.setattr(aot, "package", ruined)
    built = archive.build(tmp_path / "resnet18.mar", untrained=True, arch="resnet18", precision="fp32")
    assert built.model["compiled"] is None
    with zipfile.ZipFile(built.path) as file:
        assert "model.pt2" not in file.namelist()
        assert b"batchSize: 4" in file.read("model-config.yaml")
    told = capsys.readouterr().err
    assert "ended by SIG" in told
    assert "so it goes without" in told
