"""What a person at a terminal sees of something that takes long and cannot say how long."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def doing(what: str) -> Iterator[None]:
    """A moving bar and a clock on standard error while the body runs; nothing where that is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task(what, total=None)
        yield


def say(what: str) -> None:
    """A line on standard error, as it is."""
    Console(stderr=True, markup=False, highlight=False, soft_wrap=True).print(what)
