"""Images built and run without a container engine's daemon: buildah builds, the kernel's namespaces confine.

A container here has a root that nobody can write to but for `/tmp` and the run folder, a user without rights, and PID 1
in its own namespace, so that signals are as in any engine. A replica's containers share one network namespace.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

BASE = os.environ.get("BASE_IMAGE", "python:3.11-slim-bookworm")
NEEDED = ("buildah", "unshare", "nsenter", "chroot", "ip")
RUN_FOLDER = "srv/run"
USER = 10001


def missing() -> str | None:
    """What is not here that building and running takes."""
    if os.geteuid() != 0:
        return "building and running images here takes root"
    for program in NEEDED:
        if not shutil.which(program):
            return f"{program} is missing (Debian: buildah, util-linux, iproute2)"
    if subprocess.run(["buildah", "inspect", "--type", "image", BASE], capture_output=True, check=False).returncode:
        return f"there is no image {BASE} to build on: pull one, or name one in BASE_IMAGE"
    return None


def build(target: str, *options: str) -> str:
    """The name of the image."""
    name = f"ml-service-test-{target}"
    command = ["buildah", "bud", "--isolation", "chroot", "--pull-never", "--layers", "--format", "docker"]
    ran = subprocess.run(
        [*command, "--build-arg", f"BASE={BASE}", "--target", target, "-t", name, *options, "."],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
    return name


def size(image: str) -> int:
    """The bytes in all files of the image."""
    with mounted(image) as root:
        return int(subprocess.check_output(["du", "-sxb", root], text=True).split()[0])


@contextmanager
def mounted(image: str) -> Iterator[Path]:
    """The image's root."""
    container = _said("buildah", "from", "--pull-never", image)
    try:
        yield Path(_said("buildah", "mount", container))
    finally:
        _said("buildah", "rm", container)


class Replica:
    """What the containers of one share: loopback and the run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "run"
        self.folder.mkdir()
        os.chown(self.folder, USER, USER)
        self.logs = folder
        self._holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up && exec sleep 3600"])

    def inside(self, *command: str) -> list[str]:
        """The command in the replica's network."""
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", *command]

    def ask(self, path: str, *options: str) -> tuple[int, str]:
        """The API's answer to curl: its code, 0 if there is none, and its body."""
        address = f"http://127.0.0.1:8000{path}"
        command = self.inside("curl", "-s", "-m", "30", "-w", "\n%{http_code}", address, *options)
        body, _, code = subprocess.run(command, capture_output=True, text=True, check=False).stdout.rpartition("\n")
        return int(code), body

    def close(self) -> None:
        """After the containers."""
        self._holder.kill()
        self._holder.wait()

    @contextmanager
    def container(self, image: str, *command: str, **settings: str) -> Iterator["Container"]:
        """The image's own command, or another, on a root that nobody can write to."""
        config = json.loads(_said("buildah", "inspect", "--type", "image", image))["OCIv1"]["config"]
        environment = [*config["Env"], *(f"{name}={value}" for name, value in settings.items())]
        argv = [*(config.get("Entrypoint") or []), *(command or config["Cmd"])]
        with mounted(image) as root:
            log = self.logs / f"{image}.log"
            script = f"""
                mount --bind {root} {root} && mount --bind {self.folder} {root}/{RUN_FOLDER}
                mount -t tmpfs -o mode=1777 none {root}/tmp && mount -t proc none {root}/proc
                mount --rbind /dev {root}/dev
                mount -o remount,bind,ro {root} && exec chroot --userspec={config["User"]} {root} \\
                  env -i --chdir={config["WorkingDir"]} "$@"
            """
            isolated = self.inside("unshare", "--mount", "--pid", "--fork", "--kill-child")
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [*isolated, "sh", "-ec", script, "sh", *environment, *argv], stdout=output, stderr=output
                )
            container = Container(process, log)
            try:
                yield container
            finally:
                process.kill()
                process.wait()


class Container:
    """A running one."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process, self._log = process, log

    def log(self) -> str:
        """All that its processes wrote."""
        return self._log.read_text(errors="replace")

    def wait(self, seconds: float = 60) -> int:
        """The exit code of PID 1."""
        return self._process.wait(seconds)

    def stop(self) -> float:
        """Sends SIGTERM to PID 1 alone, as engines do; how many seconds it and all its children then took to end."""
        started = time.monotonic()
        [init] = psutil.Process(self._process.pid).children()
        family = [init, *init.children(recursive=True)]
        init.send_signal(signal.SIGTERM)
        self._process.wait(60)
        assert not [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
        return time.monotonic() - started


def _said(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()
