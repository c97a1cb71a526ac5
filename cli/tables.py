"""Where tables are printed."""

from rich.console import Console

WIDTH_UNLESS_A_TERMINAL = 140


def table_console() -> Console:
    """Standard output: as wide as the terminal, and in a file or a pipe wide enough for all columns."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH_UNLESS_A_TERMINAL)
