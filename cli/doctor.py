"""`ml-service doctor`: all checks, a line each, with what to do."""

import json
from collections.abc import Callable, Iterable

import typer
from rich.console import Console
from rich.text import Text

from api.settings import Settings
from cli.checks.database import check_database
from cli.checks.finding import Finding, problem
from cli.checks.machine import check_machine
from cli.checks.model import check_model
from cli.checks.running import check_running
from cli.checks.settings import check_settings
from cli.errors import CommandError

SIGNS = {"ok": ("ok     ", "green"), "warning": ("warning", "yellow"), "problem": ("PROBLEM", "bold red")}


def doctor(*, as_json: bool) -> bool:
    """Prints what was found; whether there is no problem. With settings that cannot be used, nothing that depends on
    them is looked at."""
    findings = examine()
    if as_json:
        typer.echo(json.dumps([finding.as_dict() for finding in findings], ensure_ascii=False, indent=1))
    else:
        _print(findings)
    return not any(finding.level == "problem" for finding in findings)


def examine() -> list[Finding]:
    """What every check has found."""
    settings, findings = check_settings()
    findings += check_machine()
    if settings is None:
        return findings
    for name, check in (("archive", check_model), ("run folder", check_running), ("database", check_database)):
        findings += _looked(name, check, settings)
    return findings


def _looked(name: str, check: Callable[[Settings], Iterable[Finding]], settings: Settings) -> list[Finding]:
    """What a check has found, or that it could not look: in a folder of somebody else, or of an impossible name."""
    findings: list[Finding] = []
    try:
        for finding in check(settings):
            findings.append(finding)  # what came before an error counts too
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        text = f"cannot look at it: {where}{error.strerror}"
        findings.append(problem(name, text, "run this as the service's user"))
    except CommandError as error:
        findings.append(problem(name, str(error), "run this in the project's root"))
    return findings


def _print(findings: list[Finding]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    for finding in findings:
        sign, style = SIGNS[finding.level]
        console.print(Text(sign, style), Text(f"{finding.name}: {finding.text}"))
        if finding.todo:
            console.print(Text(f"        → {finding.todo}"))
    counts = {level: sum(finding.level == level for finding in findings) for level in SIGNS}
    console.print(f"{counts['problem']} problems, {counts['warning']} warnings")
