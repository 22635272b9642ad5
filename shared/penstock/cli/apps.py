"""`penstock check`: everything that is wrong with an app directory, one problem a line."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape

from penstock.cli.output import AsJson, console, print_json
from penstock.definitions.secrets import find_secret_names
from penstock.reading.loader import LoadResult, Problem, Severity, load_app

_CHECK_EXAMPLES: Final = """Examples:

  penstock check examples/quickstart

  penstock check . --json | jq -r '.problems[].message'

Problems go to standard output, one a line, with file and line. Errors prevent deploying; warnings do not. \
Exits with 1 on errors."""

Directory = Annotated[
    Path, typer.Argument(metavar="DIR", help="The app directory: where app.yaml is.", show_default=False)
]


def add_commands(program: typer.Typer) -> None:
    """Add `check`."""
    program.command("check", epilog=_CHECK_EXAMPLES, rich_help_panel="Build")(check)


def check(directory: Directory, as_json: AsJson = False) -> None:
    """Check an app: everything that is wrong with it, and recursion that nothing guards."""
    loaded = load_app(directory)
    if as_json:
        names = sorted(find_secret_names(loaded.app)) if loaded.app else []
        print_json(
            {
                "ok": loaded.app is not None,
                "problems": [asdict(problem) for problem in loaded.problems],
                "secrets": names,
            }
        )
    else:
        print_problems(loaded.problems)
        console.print(_summary(loaded))
        if loaded.app is not None and (secrets := find_secret_names(loaded.app)):
            console.print(f"secrets: {', '.join(sorted(secrets))}")
    if loaded.app is None:
        raise typer.Exit(1)


def print_problems(problems: tuple[Problem, ...]) -> None:
    """One line each, so that editors and `grep` can follow them; errors are red where there are colours."""
    for problem in problems:
        colour = typer.colors.RED if problem.severity is Severity.ERROR else typer.colors.YELLOW
        typer.echo(f"{typer.style(problem.severity, fg=colour)}: {problem}")


def _summary(loaded: LoadResult) -> str:
    errors = sum(problem.severity is Severity.ERROR for problem in loaded.problems)
    warnings = len(loaded.problems) - errors
    counts = ", ".join(
        f"{count} {word}{'' if count == 1 else 's'}"
        for count, word in ((errors, "error"), (warnings, "warning"))
        if count
    )
    if loaded.app is None:
        return f"[red]{counts}[/]"
    app = loaded.app
    held = f"{len(app.workflows)} workflows, {len(app.types)} data types, {len(app.sources)} sources"
    return f"[green]ok[/]  {escape(app.name)}: {held}" + (f"; {counts}" if counts else "")
