"""One process of the in-process ceiling: the archive's own handler, called as TorchServe's worker calls it, no server.

`python -m benchmarks.worker FOLDER IMAGE…` takes an unpacked archive. It prints a line once the first image has been
classified; then for each line `SECONDS BATCH` it reads, it classifies for that long and prints what it did as JSON.
"""

import importlib
import json
import sys
import time
from itertools import cycle, islice
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
import yaml
from ts.context import Context, RequestProcessor


class Worker:
    """The handler of an unpacked archive, loaded."""

    def __init__(self, folder: Path) -> None:
        manifest = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_text())
        model, gpu = manifest["model"], 0 if torch.cuda.is_available() else None
        config = yaml.safe_load((folder / model["configFile"]).read_text())
        self.context: Any = Context(
            model["modelName"], str(folder), manifest, config["batchSize"], gpu, "", model_yaml_config=config
        )
        sys.path.insert(0, str(folder))
        module = importlib.import_module(Path(model["handler"]).stem)
        (handler,) = (
            each
            for each in vars(module).values()
            if getattr(each, "__module__", None) == module.__name__ and isinstance(each, type)
        )
        self.handler: Any = handler()
        self.handler.initialize(self.context)

    def classify(self, images: list[bytes]) -> None:
        """One batch. Raises ValueError for an image that is refused."""
        requests = [RequestProcessor({}) for _ in images]
        self.context.request_processor = requests
        self.handler.handle([{"body": bytearray(image)} for image in images], self.context)
        if any(request.get_response_status_code() != 200 for request in requests):
            raise ValueError("the handler refused an image")


def run(worker: Worker, images: list[bytes], seconds: float, batch: int) -> dict[str, float]:
    """How many images were classified in how many seconds, and how long a batch took."""
    turn, times = cycle(images), []
    started = last = time.perf_counter()
    while last - started < seconds:
        worker.classify(list(islice(turn, batch)))
        now = time.perf_counter()
        times.append(now - last)
        last = now
    p99 = quantiles(times, n=100)[98] if len(times) > 1 else times[0]
    return {"answered": len(times) * batch, "seconds": last - started, "p50": median(times), "p99": p99}


def main() -> None:
    """The child's entry."""
    folder, *files = map(Path, sys.argv[1:])
    images = [file.read_bytes() for file in files]
    worker = Worker(folder)
    worker.classify(images[:1])
    print("ready", flush=True)
    for line in sys.stdin:
        seconds, batch = line.split()
        print(json.dumps(run(worker, images, float(seconds), int(batch))), flush=True)


if __name__ == "__main__":
    main()
