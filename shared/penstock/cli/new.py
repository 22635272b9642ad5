"""`penstock new`: an app to begin with, which passes its own tests."""

import shlex
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Final

import typer

from penstock.cli.output import AsJson, print_json, say
from penstock.cli.scaffolding import DEFAULT_TEMPLATE, Kind, Source, list_sources, make_app

_EXAMPLES: Final = """Examples:

  penstock new shop

  penstock new shop --template python

  penstock new --example payments

The directory is new or empty; it appears whole or not at all. Its README says how to try the app, and `pytest` in it \
tests it."""


def add_commands(program: typer.Typer) -> None:
    """Add `new`."""
    program.command("new", epilog=_EXAMPLES, rich_help_panel="Build")(new)


def new(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR", help="Where the app will be; for an example, its name by default.", show_default=False
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            metavar="webhook|python|list",
            help="What it shows: signed webhooks, workflows in Python, or a list of things.",
            show_default=DEFAULT_TEMPLATE,
        ),
    ] = None,
    example: Annotated[
        str | None, typer.Option(metavar="NAME", help="Copy an example app instead.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an app directory from a template, or as a copy of an example: types, workflows, tests and a README."""
    if template is not None and example is not None:
        raise typer.BadParameter("an app is made from a template or from an example, not from both")
    kind: Kind = "template" if example is None else "example"
    source = _find_source(kind, example or template or DEFAULT_TEMPLATE)
    if directory is None:
        if kind == "template":
            raise typer.BadParameter("name the directory to make", param_hint="DIR")
        directory = Path(source.name)
    files = make_app(source, directory)
    if as_json:
        print_json({"directory": directory.resolve(), kind: source.name, "files": files})
    else:
        _explain(source, directory, files)


def _find_source(kind: Kind, name: str) -> Source:
    known = list_sources(kind)
    if name not in known:
        near = "".join(f" (did you mean {one}?)" for one in get_close_matches(name, known, n=1))
        raise typer.BadParameter(
            f"there is no {kind} {name!r}{near}; there are {', '.join(known)}", param_hint=f"--{kind}"
        )
    return known[name]


def _explain(source: Source, directory: Path, files: list[str]) -> None:
    say(f"{directory} holds a new app, made from the {source.kind} {source.name}:")
    for name in files:
        say(f"  {name}")
    say("")
    say("Next:")
    if directory.resolve() != Path.cwd():
        say(f"  cd {shlex.quote(str(directory))}")
    say("  penstock check .")
    say("  pytest          # after: pip install 'penstock[embedded,testing]'")
    say("  penstock up     # README.md says how to try it")
