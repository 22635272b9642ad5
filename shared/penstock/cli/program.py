"""The program `penstock`: its commands, and what becomes of their errors."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from penstock.cli.front import COMPLETE_VARIABLE, NAME, SUMMARIES, completed_line, make_program
from penstock.cli.identifiers import Command, add_prefixes
from penstock.cli.interruption import interruptible
from penstock.cli.output import complain
from penstock.errors import PenstockError
from penstock.logs import configure_logs
from penstock.storable import is_storable

_JSON: Final = "--json"


def build_program(arguments: Sequence[str] = ()) -> typer.Typer:
    """The program with the command that `arguments` begin with, and its neighbours; with all commands when they begin
    with none.
    """
    program = make_program()
    asked = SUMMARIES.get(arguments[0]) if arguments else None
    # Only what is asked for is imported: all of it takes a second.
    for module in dict.fromkeys(one.module for one in (SUMMARIES.values() if asked is None else (asked,))):
        import_module(f"penstock.cli.{module}").add_commands(program)
    return program


def main() -> None:
    """Run the command that the process was started with."""
    configure_logs("auto", "error")  # a command speaks for itself; the commands that serve set up their own
    run_program(sys.argv[1:])


def _expected(arguments: Sequence[str]) -> list[str]:
    """The words that say which command is meant; of a line that a shell asks to complete, where there is one."""
    words = completed_line(os.environ).split()[1:] if COMPLETE_VARIABLE in os.environ else arguments
    return [word for word in words if word != _JSON]


def _call(expected: Sequence[str], arguments: Sequence[str]) -> None:
    command = get_command(build_program(expected))
    assert isinstance(command, TyperCommand | TyperGroup), "typer makes no others"
    add_prefixes(command)
    _make_interruptible(command)
    command(move_json(command, arguments), prog_name=NAME)


def _make_interruptible(command: Command) -> None:
    if isinstance(command, TyperGroup):
        for inner in command.commands.values():
            assert isinstance(inner, TyperCommand | TyperGroup), "typer makes no others"
            _make_interruptible(inner)
    if command.callback is not None:
        command.callback = interruptible(command.callback)


def move_json(command: Command, arguments: Sequence[str]) -> list[str]:
    """The arguments with a `--json` that stands before a sub-command behind its name, where it is declared."""
    names, rest = list[str](), list(arguments)
    is_json = False
    while isinstance(command, TyperGroup) and rest:
        if rest[0] == _JSON:
            is_json = bool(rest.pop(0))
            continue
        inner = command.commands.get(rest[0])
        if not isinstance(inner, TyperCommand | TyperGroup):
            break
        names.append(rest.pop(0))
        command = inner
    return [*names, *([_JSON] if is_json else ()), *rest]


def run_program(arguments: Sequence[str]) -> NoReturn:
    """Run the command that the arguments name; leaves with 0, 1 (it failed) or 2 (it was not understood)."""
    for argument in arguments:
        if not is_storable(argument):
            complain(f"the argument {argument[:60]!r} is not text in UTF-8, or holds a NUL")
            sys.exit(2)
    try:
        _call(_expected(arguments), arguments)
    except PenstockError as error:
        complain(str(error))
        sys.exit(1)
    sys.exit(0)
