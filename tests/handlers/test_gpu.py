"""The handler on a GPU: the answers of fp32 on the processor, and what it makes of a batch."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cli.archives.model_json import model_json, native_precision
from cli.archives.weights import untrained
from handlers.classifier import Classifier
from tests.handlers.test_classifier import Context, ask
from tests.handlers.test_precisions import compared, photographs

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

BATCH = 4


class OnGpu(Context):
    """The context of a worker that was given the first GPU."""

    def __init__(self, model_dir: Path = Path(), headers: list[dict[str, str]] | None = None) -> None:
        super().__init__(model_dir, headers)
        self.system_properties |= {"gpu_id": 0, "batch_size": BATCH}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ResNet50 as an archive holds it that was built beside a GPU: not compiled, with `auto` for its precision."""
    folder, weights = tmp_path_factory.mktemp("archive"), untrained("resnet50")
    torch.save(weights.state_dict, folder / "weights.pt")
    (folder / "model.json").write_text(json.dumps({**model_json(weights, "auto"), "compiled": None}), "utf-8")
    return folder


def loaded(folder: Path, context: type[Context], **changes: object) -> Classifier:
    model = json.loads((folder / "model.json").read_bytes()) | changes
    (folder / "model.json").write_text(json.dumps(model), "utf-8")
    handler = Classifier()
    handler.initialize(context(folder))
    return handler


def probabilities(handler: Classifier, pixels: list[Tensor]) -> Tensor:
    """float32 [images, classes], in the batches that a server makes."""
    return torch.cat([handler.engine.classify(batch) for batch in torch.stack(pixels).split(BATCH)])


def test_it_answers_from_the_gpu(archive: Path, tmp_path: Path) -> None:
    handler = loaded(archive, OnGpu, precision=native_precision())
    described = handler.describe()
    assert (described["device"], described["precision"], described["engine"]) == ("cuda:0", "bf16", "CUDA graphs")
    files = sorted(photographs(0, 6, tmp_path / "few").iterdir())
    rows = [{"body": file.read_bytes()} for file in files] + [{"body": b"no image"}]
    answers = ask(handler, rows)  # more of them than were recorded together
    assert [status for status, _ in answers] == [200] * 6 + [400]
    assert len({answer["top_class"] for _, answer in answers[:6]}) > 1  # or the rest would see nothing
    alone = [ask(handler, [row])[0] for row in rows]
    three = ask(handler, rows[1:4])  # which take the graph of four
    for (status, one), (_, other) in zip([*answers[:6], *answers[1:4]], [*alone[:6], *three], strict=True):
        assert status == 200
        assert one["top_class"] == other["top_class"]
        assert one["top_probability"] == pytest.approx(other["top_probability"], abs=0.02)


@pytest.mark.scale
def test_what_the_precisions_cost_on_500_images(archive: Path, tmp_path: Path) -> None:
    """Against fp32 on the processor: the arithmetic alone, of the same pixels."""
    exact = loaded(archive, Context, precision="fp32")
    pixels = [exact.decode(file.read_bytes()) for file in sorted(photographs(0, 500, tmp_path / "seen").iterdir())]
    expected = probabilities(exact, pixels)
    assert len(set(expected.argmax(1).tolist())) >= 50
    for precision in ("fp32", "bf16"):
        same, difference = compared(expected, probabilities(loaded(archive, OnGpu, precision=precision), pixels))
        print(f"{precision} on the GPU: same top class {same:.1%}, top probability off by {difference:.4f} (median)")
        assert same >= 0.99
        assert difference <= 0.02
