"""The program `penstock`: its commands, and what becomes of their errors."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from penstock.cli import apps, chains, database, doctor, runs, services, up
from penstock.cli.output import complain
from penstock.errors import PenstockError

program = typer.Typer(
    name="penstock",
    help="Self-hosted backend workflows that remember every step and can never run away.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for add_commands in (
    up.add_commands,
    services.add_commands,
    database.add_commands,
    apps.add_commands,
    runs.add_commands,
    chains.add_commands,
    doctor.add_commands,
):
    add_commands(program)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"penstock {version('penstock')}")
        raise typer.Exit


@program.callback()
def _root(
    _: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")] = False,
) -> None:
    pass


def main() -> None:
    """Run the command that the arguments name; ends the process with 0, 1 (it failed) or 2 (it was not understood)."""
    try:
        program()
    except PenstockError as error:
        complain(str(error))
        sys.exit(1)
