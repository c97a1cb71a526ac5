"""Running the service and using it."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.commands.app import FAILED, INCOMPLETE, SERVICE, app, example


@app.command(
    "serve",
    rich_help_panel=SERVICE,
    epilog=example("ml-service serve", "PORT=9000 TORCHSERVE_PORT=9080 RUN_DIR=run2 ml-service serve"),
)
def run_service() -> None:
    """Start the model server and the API, and print the address once a prediction can be served."""
    from cli.serving.serve import serve  # noqa: PLC0415  # each command loads only what it needs

    serve()


@app.command(
    "classify",
    rich_help_panel=SERVICE,
    epilog=example(
        "ml-service classify photo.jpg",
        "ml-service classify holidays/ --top-k 1 --format csv > seen.csv",
        "curl -s https://example.org/cat.jpg | ml-service classify - --format json",
    ),
)
def classify_files(
    photos: Annotated[
        list[Path], typer.Argument(help="Images, folders of images, or - for standard input.", show_default=False)
    ],
    url: Annotated[str | None, typer.Option(help="The API's address; default: HOST and PORT.")] = None,
    top_k: Annotated[int, typer.Option(min=1, max=1000, help="Classes per image.")] = 5,
    output: Annotated[Literal["table", "json", "csv"], typer.Option("--format", help="Of the results.")] = "table",
    token: Annotated[
        str | None,
        typer.Option(help="A bearer token, for a service that asks for one.", envvar="ML_SERVICE_TOKEN"),
    ] = None,
    at_once: Annotated[int, typer.Option(min=1, max=64, help="Images in flight.")] = 4,
) -> None:
    """Classify images with a running service.

    A file that fails gets a line on standard error, and the others go on; the exit code is then 3. A service that is
    busy is asked again when it says so, for up to a minute.
    """
    from api.settings import load_settings  # noqa: PLC0415
    from cli.classify import Job, classify  # noqa: PLC0415
    from cli.serving.ports import base_url  # noqa: PLC0415

    if url is None:
        settings = load_settings()
        url = base_url(settings.host, settings.port)
    if not classify(Job(photos, url, token, top_k, output, at_once)):
        raise typer.Exit(INCOMPLETE)


@app.command(
    "doctor", rich_help_panel=SERVICE, epilog=example("ml-service doctor", "ml-service doctor --json | jq .[].name")
)
def examine(
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects, instead of lines.")] = False,
) -> None:
    """Look for what keeps the service from working, and say what to do.

    Checks the settings, Python, Java, the packages, the archive, the weights, the ports, the keys and the database, and
    changes nothing. The exit code is 1 if there is a problem; warnings alone leave it at 0.
    """
    from cli.doctor import doctor  # noqa: PLC0415

    if not doctor(as_json=as_json):
        raise typer.Exit(FAILED)
