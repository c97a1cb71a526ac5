"""An archive with compiled code in a real TorchServe."""

import httpx
import pytest
import torch

from cli.archives import aot
from cli.archives.packing import pack
from tests.e2e.conftest import started
from tests.images import encode, picture, valid

pytestmark = pytest.mark.skipif(not aot.available(), reason="compiling takes a C++ compiler")


def test_compiled_code_serves_what_the_weights_say(untrained_weights, service, tmp_path):
    store = tmp_path / "store"
    model = pack(untrained_weights, store / "resnet50.mar", "fp32", compiled=True)
    assert model["compiled"]
    with started(tmp_path, store) as compiled:
        compiled.wait_ready()
        ready = httpx.get(f"{compiled.url}/health/ready", timeout=5).json()
        assert ready["model"]["engine"] == "compiled"
        for name in ("jpeg", "png", "gif", "webp", "jpeg_cmyk", "png_strip_20000x20"):
            ranked = [
                [prediction["probability"] for prediction in answer(running, valid()[name])]
                for running in (service, compiled)
            ]
            assert torch.allclose(*map(torch.tensor, ranked), atol=1e-4, rtol=0), name


def test_large_jpegs_go_through_the_archives_own_decoder(untrained_weights, service, tmp_path, monkeypatch):
    monkeypatch.setattr(aot, "available", lambda: False)  # of the model, which has a test of its own
    store = tmp_path / "store"
    pack(untrained_weights, store / "resnet50.mar", "bf16", compiled=True)
    large = encode(picture(1, 4032, 3024), "JPEG")
    with started(tmp_path, store) as reduced:
        reduced.wait_ready()
        ready = httpx.get(f"{reduced.url}/health/ready", timeout=5).json()
        assert ready["model"]["large_jpegs"] == "compiled"
        assert answer(reduced, large)[0]["class"] == answer(service, large)[0]["class"]
        cut = {"image": large[: len(large) // 2]}
        assert httpx.post(f"{reduced.url}/forward", files=cut, timeout=30).status_code == 403
        answer(reduced, large)


def answer(running, image):
    response = httpx.post(f"{running.url}/forward?top_k=1000", files={"image": image}, timeout=30)
    assert response.status_code == 200
    return response.json()["result"]["predictions"]
