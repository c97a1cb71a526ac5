"""`ml-service classify`: images through a running service, a table on the terminal."""

from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cli.errors import CommandError

TIMEOUT = 60.0


def classify(files: list[Path], url: str, top_k: int) -> bool:
    """Prints what the service sees in each file; whether all of them could be classified.

    Raises:
        CommandError: the service cannot be reached.
    """
    table = Table("file", "class", "probability")
    complete = True
    warning = None
    try:
        with httpx.Client(base_url=url, timeout=TIMEOUT) as client:
            for file in track(files, "Classifying", transient=True):
                answer = client.post(
                    "/forward", params={"top_k": top_k}, files={"image": (file.name, file.read_bytes())}
                )
                if answer.is_success:
                    result = answer.json()["result"]
                    warning = result.get("warning", warning)
                    for rank, seen in enumerate(result["predictions"]):
                        table.add_row("" if rank else str(file), seen["class"], f"{seen['probability']:.4f}")
                else:
                    complete = False
                    table.add_row(str(file), f"{answer.status_code}: {answer.json()['detail']}", "")
    except httpx.TransportError as error:
        raise CommandError(f"cannot reach {url} ({error}); is it running? Start it with: ml-service serve") from None
    console = Console()
    console.print(table)
    if warning:
        console.print(f"Warning: {warning}", style="bold red")
    return complete
