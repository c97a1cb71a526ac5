"""What one scrape of `/metrics` gets: what all processes counted, and what is known at this moment."""

import contextlib
import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from api.observability.metrics import FOLDER, REGISTRY

ABOUT_MODEL = ("name", "arch", "weights", "weights_sha256", "precision", "engine", "device")


class CurrentState(Collector):
    """The state of the parts, as readiness finds it."""

    def __init__(self, *, database_up: bool, ready_workers: int, description: dict[str, Any]) -> None:
        self._database_up = database_up
        self._ready_workers = ready_workers
        self._description = description

    def collect(self) -> Iterator[Metric]:
        """One sample each; the model's description only once it is known."""
        yield GaugeMetricFamily("ml_service_database_up", "Whether the database answers", float(self._database_up))
        yield GaugeMetricFamily("ml_service_model_ready_workers", "Workers that can predict", self._ready_workers)
        yield _info("ml_service_build", {"version": version("ml-service-api"), "python": platform.python_version()})
        if self._description:
            trained = self._description.get("warning") is None
            about = {name: str(self._description.get(name, "")) for name in ABOUT_MODEL}
            yield _info("ml_service_model", about | {"trained": str(trained).lower()})


def exposition(current: CurrentState) -> bytes:
    """What `CONTENT_TYPE_LATEST` names. Reads the files of all processes: not for the event loop."""
    counted, momentary = REGISTRY, CollectorRegistry()
    if FOLDER:
        _bury(FOLDER)
        counted = CollectorRegistry()
        MultiProcessCollector(counted, str(FOLDER))  # type: ignore[no-untyped-call]
    momentary.register(current)
    return generate_latest(counted) + generate_latest(momentary)


def _bury(folder: Path) -> None:
    """Forgets what processes that are gone had in work; what they counted stays."""
    for number in {path.stem.rpartition("_")[2] for path in folder.glob("gauge_live*.db")}:
        if not _lives(int(number)):
            with contextlib.suppress(FileNotFoundError):  # another scrape was quicker
                mark_process_dead(int(number), str(folder))  # type: ignore[no-untyped-call]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _info(name: str, labels: dict[str, str]) -> Metric:
    family = GaugeMetricFamily(
        f"{name}_info", f"Always 1; the labels describe the {name.rpartition('_')[2]}", labels=list(labels)
    )
    family.add_metric(list(labels.values()), 1)
    return family
