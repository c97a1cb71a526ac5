"""LitServe with its default batch of one and no record: an inference process of one thread for each core.

The other way, one process with a thread for each core, gave the same rate or less when tried on two cores.
"""

import os
from typing import Any

import litserve
from fastapi import Request

from benchmarks.peers.model import Classifier
from cli.serving.hardware import cores


class Images(litserve.LitAPI):
    """A form's field `image` in, classes out."""

    def setup(self, device: str) -> None:  # noqa: ARG002
        """In each worker process."""
        self.classifier = Classifier()

    def decode_request(self, request: Request, **_: Any) -> Any:
        """From the form to the model's input. LitServe hands over the form; the annotation is how it is asked to."""
        return self.classifier.preprocess(request["image"].file.read())

    def predict(self, x: Any, **_: Any) -> Any:
        """From the model's input to the answer."""
        return self.classifier.classify(x)

    def encode_response(self, output: Any, **_: Any) -> Any:
        """As it is."""
        return {"result": output}


if __name__ == "__main__":
    # Spawned workers import this module again: the server must start in the first process only.
    server = litserve.LitServer(Images(api_path="/forward"), accelerator="cpu", workers_per_device=cores(), timeout=120)
    server.run(
        host="127.0.0.1", port=int(os.environ["BENCHMARK_PORT"]), generate_client_file=False, log_level="warning"
    )
