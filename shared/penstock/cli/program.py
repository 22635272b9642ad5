"""The program `penstock`: its commands, and what becomes of their errors."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Final

import typer

from penstock.cli.output import complain
from penstock.errors import PenstockError
from penstock.logs import configure_logs

_MODULES: Final = {
    "up": "up",
    "ingress": "services",
    "scheduler": "services",
    "executor": "services",
    "check": "apps",
    "deploy": "deployments",
    "promote": "deployments",
    "migrate": "database",
    "run": "runs",
    "runs": "runs",
    "chain": "chains",
    "recurrences": "recurrences",
    "workload": "workload",
    "secret": "secrets",
    "data": "data",
    "doctor": "doctor",
}
"""Which module of this package holds which command. Only what is asked for is imported: all of it takes a second."""


def build_program(arguments: Sequence[str] = ()) -> typer.Typer:
    """The program with the command that `arguments` begin with, and its neighbours; with all commands when they begin
    with none.
    """
    program = typer.Typer(
        name="penstock",
        help="Self-hosted backend workflows that remember every step and can never run away.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    program.callback()(_root)
    asked = _MODULES.get(arguments[0]) if arguments else None
    for module in dict.fromkeys(_MODULES.values()) if asked is None else (asked,):
        import_module(f"penstock.cli.{module}").add_commands(program)
    return program


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"penstock {version('penstock')}")
        raise typer.Exit


def _root(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command that the arguments name; ends the process with 0, 1 (it failed) or 2 (it was not understood)."""
    configure_logs("auto", "error")  # a command speaks for itself; the commands that serve set up their own
    try:
        build_program(sys.argv[1:])()
    except PenstockError as error:
        complain(str(error))
        sys.exit(1)
