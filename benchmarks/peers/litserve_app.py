"""LitServe with its default batch of one and no record: `WORKERS` inference processes of `TORCH_THREADS` each."""

import os
from typing import Any

import litserve

from benchmarks.machine import cores
from benchmarks.peers.model import Classifier

WORKERS = int(os.environ.get("WORKERS", cores()))
TORCH_THREADS = int(os.environ.get("TORCH_THREADS", "1"))


class Images(litserve.LitAPI):
    """A form's field `image` in, classes out."""

    def setup(self, device: str) -> None:  # noqa: ARG002
        """In each worker process."""
        self.classifier = Classifier(TORCH_THREADS)

    def decode_request(self, request: Any, **_: Any) -> Any:
        """From the form to the model's input."""
        return self.classifier.preprocess(request["image"].file.read())

    def predict(self, x: Any, **_: Any) -> Any:
        """From the model's input to the answer."""
        return self.classifier.classify(x)

    def encode_response(self, output: Any, **_: Any) -> Any:
        """As it is."""
        return {"result": output}


if __name__ == "__main__":
    # Spawned workers import this module again: the server must start in the first process only.
    server = litserve.LitServer(Images(api_path="/forward"), accelerator="cpu", workers_per_device=WORKERS, timeout=120)
    server.run(
        host="127.0.0.1", port=int(os.environ["BENCHMARK_PORT"]), generate_client_file=False, log_level="warning"
    )
