"""The supervisor, with shell scripts for programs."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cli.serving import supervisor
from cli.serving.process_group import Program
from cli.serving.supervisor import run, running, until_signalled


@pytest.fixture
def script(tmp_path: Path):
    """Makes a program of a shell script; all its processes stand in `tmp_path`."""

    def make(text: str, grace_period: float = 5.0) -> Program:
        return Program("script", ["/bin/sh", "-c", text], dict(os.environ), tmp_path, grace_period, tmp_path / "log")

    return make


def family(folder: Path) -> list[psutil.Process]:
    """The processes whose working directory is `folder`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_gives_the_exit_code_and_keeps_the_output(script, tmp_path: Path) -> None:
    assert await run(script("echo out; echo err >&2; exit 3")) == 3
    assert (tmp_path / "log").read_text() == "out\nerr\n"


async def test_ends_grandchildren_too(script, tmp_path: Path) -> None:
    program = script("sleep 100 & (sleep 100 & sleep 100) & wait")
    async with running(program, lambda *_: None):
        await until(lambda: len([p for p in family(tmp_path) if p.name() == "sleep"]) == 3)
    assert family(tmp_path) == []


async def test_gives_time_to_end_in_order(script, tmp_path: Path) -> None:
    async with running(script("trap 'sleep 0.5; echo done; exit' TERM; echo up; while :; do sleep 0.1; done"), print):
        await until((tmp_path / "log").exists)
        await until(lambda: "up" in (tmp_path / "log").read_text())
    assert (tmp_path / "log").read_text().splitlines()[-1] == "done"


async def test_kills_what_does_not_obey(script, tmp_path: Path) -> None:
    program = script("trap '' TERM; echo up; while :; do sleep 0.1; done", grace_period=0.5)
    async with running(program, lambda *_: None):
        await until((tmp_path / "log").exists)
        await until((tmp_path / "log").read_text)
    assert family(tmp_path) == []


async def test_starts_again_with_growing_delays(script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY", 0.1)
    monkeypatch.setattr(supervisor, "LONGEST_DELAY", 0.3)
    ends: list[tuple[str, float]] = []
    async with running(script("sleep 100 & exit 7"), lambda _program, how, delay: ends.append((how, delay))):
        await until(lambda: len(ends) == 4)
    assert ends[:4] == [("ended with exit code 7", delay) for delay in (0.1, 0.2, 0.3, 0.3)]
    assert family(tmp_path) == []


async def test_begins_the_delays_anew_after_a_steady_run(script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY", 0.1)
    monkeypatch.setattr(supervisor, "STEADY", 2.0)
    delays: list[float] = []
    flaky = script("echo >> runs; test $(wc -l < runs) -ne 3 || sleep 2.5")  # ends at once, but for its third run
    async with running(flaky, lambda _program, _how, delay: delays.append(delay)):
        await until(lambda: len(delays) == 4)
    assert delays[:4] == pytest.approx([0.1, 0.2, 0.1, 0.2])


async def test_says_that_a_program_is_missing(tmp_path: Path) -> None:
    ends: list[str] = []
    missing = Program("missing", ["/nowhere"], {}, tmp_path / "nowhere")
    async with running(missing, lambda _program, how, _delay: ends.append(how)):
        await until(lambda: ends)
    assert "could not start" in ends[0]


async def test_any_number_of_signals_is_one_stop(script, tmp_path: Path) -> None:
    async def work() -> int:
        async with running(script("trap 'sleep 0.5; exit' TERM; echo up; while :; do sleep 0.1; done"), print):
            await until((tmp_path / "log").exists)
            await until((tmp_path / "log").read_text)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
                os.kill(os.getpid(), number)
                await asyncio.sleep(0.1)
            await asyncio.sleep(100)
        return 1

    assert await until_signalled(work()) == 0
    assert family(tmp_path) == []


def test_leaves_nothing_when_killed_itself(tmp_path: Path) -> None:
    code = f"""
import asyncio, pathlib
from cli.serving.process_group import Program
from cli.serving.supervisor import run
here = pathlib.Path({str(tmp_path)!r})
program = Program("script", ["/bin/sh", "-c", "sleep 100 & sleep 100"], {{"PATH": {os.environ["PATH"]!r}}}, here)
asyncio.run(run(program))
"""
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        deadline = time.monotonic() + 10
        while len([p for p in family(tmp_path) if p.name() == "sleep"]) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert family(tmp_path)
        process.kill()
    while family(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert family(tmp_path) == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that asks often and waits little."""
    for name, value in {"FIRST_DELAY": 0.1, "CHECK_TIMEOUT": 0.2, "CHECK_INTERVAL": 0.05, "START_TIMEOUT": 1.0}.items():
        monkeypatch.setattr(supervisor, name, value)


async def test_kills_and_starts_again_what_hangs(script, tmp_path: Path, impatient: None) -> None:
    """A stopped process takes no SIGTERM and ends no connection."""
    ends: list[str] = []

    async def well() -> bool:
        children = [p for p in family(tmp_path) if p.name() == "sleep"]
        while any(p.status() == psutil.STATUS_STOPPED for p in children):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return bool(children)

    async with running(script("sleep 100 & sleep 100"), lambda _program, how, _delay: ends.append(how), well):
        await until(lambda: len([p for p in family(tmp_path) if p.name() == "sleep"]) == 2)
        await asyncio.sleep(0.5)
        old = family(tmp_path)
        for process in old:
            process.suspend()
        await until(lambda: ends)
        assert ends == ["failed its health check 4 times"]
        assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in old)
        await until(lambda: len([p for p in family(tmp_path) if p.name() == "sleep"]) == 2)
        await asyncio.sleep(0.5)
        assert len(ends) == 1
    assert family(tmp_path) == []


async def test_a_single_bad_answer_is_forgiven(script, tmp_path: Path, impatient: None) -> None:
    ends: list[str] = []
    asked = 0

    async def well() -> bool:
        nonlocal asked
        asked += 1
        return asked % 3 == 1

    async with running(script("sleep 100"), lambda _program, how, _delay: ends.append(how), well):
        await until(lambda: asked > 20)
    assert ends == []


async def test_a_start_gets_more_time_and_not_for_ever(script, tmp_path: Path, impatient: None) -> None:
    ends: list[str] = []

    async def well() -> bool:
        return False

    async with running(script("sleep 100"), lambda _program, how, _delay: ends.append(how), well):
        await asyncio.sleep(0.7)
        assert ends == []
        await until(lambda: ends)
    assert ends == ["did not start in 1 s"]
