"""`penstock doctor`: looks at everything an installation needs, and says what to do about what is wrong."""

import asyncio
from pathlib import Path
from typing import Final

import typer

from penstock.cli.database import Data
from penstock.cli.doctor_checks import Finding, Verdict, examine
from penstock.cli.output import AsJson, console, make_table, print_json, show_text

_EXAMPLES: Final = (
    "Examples:\n\n  penstock doctor\n\n  penstock doctor --json | jq '.findings[] | select(.verdict == \"failed\")'"
)
_SIGNS: Final = {
    Verdict.OK: "[green]ok[/]",
    Verdict.WARNING: "[yellow]warning[/]",
    Verdict.FAILED: "[red]failed[/]",
    Verdict.UNKNOWN: "[bright_black]unknown[/]",
}


def add_commands(program: typer.Typer) -> None:
    """Add `doctor`."""
    program.command("doctor", epilog=_EXAMPLES, rich_help_panel="Operate")(doctor)


def doctor(data: Data = None, as_json: AsJson = False) -> None:
    """Check settings, database, migrations, clocks, broker, queues and runs. Exits with 1 when anything fails."""
    findings = asyncio.run(_examine(data))
    has_failed = any(finding.verdict is Verdict.FAILED for finding in findings)
    if as_json:
        print_json({"ok": not has_failed, "findings": findings})
    else:
        _print(findings)
    if has_failed:
        raise typer.Exit(1)


async def _examine(data: Path | None) -> list[Finding]:
    return [finding async for finding in examine(data)]


def _print(findings: list[Finding]) -> None:
    table = make_table("check", "", "found", wrapped="found")
    for finding in findings:
        text = show_text(finding.found) + (f"\n[bold]→ {show_text(finding.advice)}[/]" if finding.advice else "")
        table.add_row(finding.check, _SIGNS[finding.verdict], text)
    console.print(table)
