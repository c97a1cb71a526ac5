"""The help teaches what is there: every command has examples, and each of them can be typed."""

import re
import shlex

import click
import pytest
import typer
from typer.testing import CliRunner

from cli.main import app

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
LINE = re.compile(r"^ +((?:[A-Z_]+=\S+ )*ml-service .+?)(?: {2,}.*)?$", re.MULTILINE)


def typed(text: str) -> list[list[str]]:
    """The arguments of each `ml-service` in lines of a shell."""
    calls = []
    for line in text.splitlines():
        for part in re.split(r"[|]", line):
            words = shlex.split(re.sub(r"[<>].*", "", part))
            if "ml-service" in words:
                calls.append(words[words.index("ml-service") + 1 :])
    return calls


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_does_and_shows_it(name):
    command = COMMANDS[name]
    shown = CliRunner().invoke(app, [name, "--help"])
    assert shown.exit_code == 0
    assert command.help
    examples = typed(command.epilog)
    assert examples
    for words in examples:
        assert words[0] == name
        command.make_parser(click.Context(command)).parse_args(words[1:])
        assert "ml-service " + words[0] in shown.output


def test_the_help_begins_with_the_first_steps():
    shown = CliRunner().invoke(app, ["--help"]).output
    steps = typed("\n".join(LINE.findall(shown)))
    assert [words[0] for words in steps] == ["serve", "classify", "create-admin", "history", "doctor"]
    assert "Exit codes" in shown
    panels = [shown.index(name) for name in ("Run and use", "The model", "Users and history", "The project itself")]
    assert panels == sorted(panels)
    for name in COMMANDS:
        assert name in shown
