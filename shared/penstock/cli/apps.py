"""`penstock check`: everything that is wrong with an app directory, one problem a line."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from penstock.cli.output import AsJson, console, print_json, print_words, show_text
from penstock.definitions.models import App
from penstock.definitions.secrets import find_secret_names
from penstock.reading.loader import LoadResult, Problem, Severity, load_app

_CHECK_EXAMPLES: Final = """Examples:

  penstock check examples/quickstart

  penstock check . --json | jq -r '.problems[].message'

Problems go to standard output, one a line, with file and line. Errors prevent deploying; warnings do not. \
Exits with 1 on errors."""


def find_directory(given: Path | None) -> Path | None:
    """For a parameter that names an app's directory. Raises BadParameter when it is not one."""
    if given is not None and not given.is_dir():
        raise typer.BadParameter(f"there is no directory {given}; name the one that holds app.yaml")
    return given


Directory = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="The app directory: where app.yaml is.", callback=find_directory, show_default=False
    ),
]


def add_commands(program: typer.Typer) -> None:
    """Add `check`."""
    program.command("check", epilog=_CHECK_EXAMPLES, rich_help_panel="Build")(check)


def check(directory: Directory, as_json: AsJson = False) -> None:
    """Check an app: everything that is wrong with it, and recursion that nothing guards. Its Python modules are
    imported, which runs the code at their top: check only apps whose authors you trust.
    """
    loaded = load_app(directory)
    if as_json:
        names = sorted(find_secret_names(loaded.app)) if loaded.app else []
        print_json(
            {
                "ok": loaded.app is not None,
                "problems": [asdict(problem) for problem in loaded.problems],
                "secrets": names,
                "imported": list(loaded.app.python) if loaded.app else [],
            }
        )
    else:
        print_problems(loaded.problems)
        console.print(_summary(loaded))
        print_imported(loaded.app)
        if loaded.app is not None and (secrets := find_secret_names(loaded.app)):
            console.print(f"secrets: {', '.join(sorted(secrets))}")
    if loaded.app is None:
        raise typer.Exit(1)


def print_imported(app: App | None) -> None:
    """Say whose code was run: an app's Python is read by importing it."""
    if app is not None and app.python:
        modules = ", ".join(app.python)
        console.print(f"python: imported {show_text(modules)}, which runs the code at the top of these modules")


def print_problems(problems: tuple[Problem, ...]) -> None:
    """One line each, so that editors and `grep` can follow them; errors are red where there are colours."""
    for problem in problems:
        colour = "red" if problem.severity is Severity.ERROR else "yellow"
        print_words(f"[{colour}]{problem.severity}[/]: {show_text(str(problem))}")


def _summary(loaded: LoadResult) -> str:
    errors = sum(problem.severity is Severity.ERROR for problem in loaded.problems)
    found = {"error": errors, "warning": len(loaded.problems) - errors}
    problems = _count({word: count for word, count in found.items() if count})
    if loaded.app is None:
        return f"[red]{problems}[/]"
    app = loaded.app
    types = [kind for kind in app.types.values() if kind.place]  # `user` is there without a file, too
    held = _count({"workflow": len(app.workflows), "data type": len(types), "source": len(app.sources)})
    return f"[green]ok[/]  {show_text(app.name)}: {held}" + (f"; {problems}" if problems else "")


def _count(things: Mapping[str, int]) -> str:
    """`2 workflows, 1 source`."""
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for word, count in things.items())
