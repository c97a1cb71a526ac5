"""What a long run says of itself."""

import io

import pytest
from rich.console import Console

from benchmarks.progress import Steps


def test_a_log_gets_a_line_for_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    table = io.StringIO()
    with Steps(console=Console(file=table)) as progress:
        task = progress.add_task("Warming up", total=2)
        progress.update(task, description="Round 1 of 1: [one]")
        progress.advance(task)
        progress.remove_task(task)
    assert capsys.readouterr().err.splitlines() == ["Warming up", "Round 1 of 1: [one]"]
    assert table.getvalue().strip() == ""


def test_a_terminal_gets_bars(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = io.StringIO()
    with Steps(console=Console(file=terminal, force_terminal=True, width=80)) as progress:
        progress.add_task("Warming up", total=2)
    assert "Warming up" in terminal.getvalue()
    assert capsys.readouterr().err == ""
