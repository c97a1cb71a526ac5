"""What the model server serves."""

from pathlib import Path
from typing import Annotated

import typer

from cli.archives.precision import Precision
from cli.commands.app import MODEL, app, example


@app.command(
    "archive",
    rich_help_panel=MODEL,
    epilog=example(
        "ml-service archive",
        "ml-service archive --weights best.pth --labels names.txt",
        "ml-service archive --precision int8 --calibrate photos/",
    ),
)
def build_archive(
    weights: Annotated[
        Path | None, typer.Option(help="A checkpoint of the architecture, instead of a download.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="The class names: a line each, or JSON.")] = None,
    arch: Annotated[str, typer.Option(help="A classification model of torchvision.")] = "resnet50",
    precision: Annotated[Precision, typer.Option(help="auto: bf16 where the hardware has it.")] = "auto",
    calibrate: Annotated[
        Path | None,
        typer.Option(help="For int8: a folder with a few hundred of your images.", exists=True, file_okay=False),
    ] = None,
    untrained: Annotated[bool, typer.Option(help="Seeded weights that know nothing, to try the machinery.")] = False,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Machine code for this CPU, where a C++ compiler is found.")
    ] = True,
    batch_size: Annotated[
        int | None, typer.Option(min=1, max=256, help="Images a worker takes at once; 1 if compiled, else 4.")
    ] = None,
    batch_delay: Annotated[
        int | None,
        typer.Option(min=1, help="Milliseconds the first of a batch waits for the others; 2 unless compiled."),
    ] = None,
) -> None:
    """Build the archive that TorchServe serves: MODEL_STORE/MODEL_NAME.mar."""
    from api.settings import load_settings  # noqa: PLC0415
    from cli.archives.archive import build, report  # noqa: PLC0415
    from cli.archives.workspace import unwind_on_sigterm  # noqa: PLC0415

    unwind_on_sigterm()
    settings = load_settings()
    target = settings.model_store / f"{settings.model_name}.mar"
    report(
        build(
            target,
            weights=weights,
            labels=labels,
            arch=arch,
            precision=precision,
            untrained=untrained,
            compiled=compiled,
            calibrate=calibrate,
            batch_size=batch_size,
            batch_delay=batch_delay,
        )
    )
