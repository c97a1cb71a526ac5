"""What the subcommands are added to, and what its help says of them all.

Scripts may rely on the exit codes (`EXIT_CODES`). Results go to standard output, everything else to standard error.
"""

import typer

FAILED, INCOMPLETE = 1, 3
EXIT_CODES = """\b
Exit codes: 0 fine; 1 failed, with one line that says why; 2 wrong usage;
3 (classify) some of the files could not be classified; 130 ended by Ctrl-C.
Colour only on a terminal; NO_COLOR=1 turns it off."""
FIRST_STEPS = f"""\b
First steps:
  ml-service serve                 start everything; prints the address
  ml-service classify photo.jpg    from a second terminal
  ml-service create-admin ada      who may read the history
  ml-service history               what was asked, and what came of it
  ml-service doctor                when something does not work

{EXIT_CODES}"""
"""What `ml-service --help` ends with."""
SERVICE, MODEL, RECORD, PROJECT = "Run and use", "The model", "Users and history", "The project itself"


def example(*lines: str) -> str:
    """The end of a command's help."""
    return "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in lines)])


app = typer.Typer(
    help="Image classification: ResNet50 in TorchServe behind a thin API.",
    epilog=FIRST_STEPS,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
)
