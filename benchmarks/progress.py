"""What a person sees while the benchmark runs."""

from typing import Any

from rich.progress import Progress, TaskID

from cli.progress import say


class Steps(Progress):
    """Bars at a terminal. Elsewhere, such as in a log, a line on standard error for each thing that begins."""

    def add_task(self, description: str, *args: Any, **options: Any) -> TaskID:
        """Something begins that may have steps."""
        self._begin(description)
        return super().add_task(description, *args, **options)

    def update(self, task_id: TaskID, *, description: str | None = None, **options: Any) -> None:
        """The next step of it."""
        if description is not None:
            self._begin(description)
        super().update(task_id, description=description, **options)

    def _begin(self, description: str) -> None:
        if not self.console.is_terminal:
            say(description)
