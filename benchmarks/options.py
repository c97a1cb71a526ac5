"""What a run is to measure, and how thoroughly."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks import load
from cli.errors import CommandError

ROWS = ("ceiling", "direct", "api", "stock", "fastapi", "litserve")
COMPARISONS = ("json", "large", "startup", "history")
PACKAGES = {
    "stock": ["captum"],
    "fastapi": ["fastapi", "python_multipart"],
    "json": ["fastapi", "python_multipart"],
    "litserve": ["litserve", "python_multipart"],
}
"""What of the bench extra is for which."""


@dataclass(frozen=True)
class Options:
    """What to measure and how. `seconds` is for each row at each concurrency in each round."""

    only: Sequence[str] = (*ROWS, *COMPARISONS)
    concurrencies: Sequence[int] = (1, 8, 64)
    seconds: int = 5
    rounds: int = 4
    precisions: Sequence[str] = ("auto",)
    archives: Sequence[Path] = ()
    weights: Path | None = None
    history_rows: int = 1_000_000
    history_url: str | None = None
    """An empty database; None for a temporary one of SQLite."""
    output: Path = Path("benchmarks/results")
    cache: Path = Path("build/bench")

    @property
    def posts(self) -> bool:
        """Whether there is anything for the load generator to do."""
        return bool(set(self.only) - {"ceiling", "startup", "history"})

    @property
    def serves(self) -> bool:
        """Whether there is anything that needs an archive."""
        return set(self.only) != {"history"}

    def check(self) -> None:
        """Raises CommandError if something is unknown, or not installed."""
        if unknown := set(self.only) - {*ROWS, *COMPARISONS}:
            raise CommandError(
                f"--only: there is no {', '.join(sorted(unknown))}; choose of {', '.join((*ROWS, *COMPARISONS))}"
            )
        for name, packages in PACKAGES.items():
            if missing := [each for each in packages if name in self.only and find_spec(each) is None]:
                raise CommandError(
                    f"{name} needs {', '.join(missing)}: run make bench, or pip install '.[serve,bench]'"
                )
        if self.posts:
            load.find_wrk()
