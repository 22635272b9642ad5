"""The program `penstock`: its commands, and what becomes of their errors."""

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from penstock.cli.identifiers import Command, add_prefixes
from penstock.cli.interruption import interruptible
from penstock.cli.output import complain
from penstock.errors import PenstockError
from penstock.logs import configure_logs
from penstock.storable import is_storable

_NAME: Final = "penstock"
_JSON: Final = "--json"
_COMPLETE_VARIABLE: Final = "_PENSTOCK_COMPLETE"
"""Set by the scripts that `--show-completion` prints."""
_MODULES: Final = {
    "up": "up",
    "ingress": "services",
    "scheduler": "services",
    "executor": "services",
    "new": "new",
    "check": "apps",
    "eval": "trying",
    "deploy": "deployments",
    "promote": "deployments",
    "migrate": "database",
    "provision": "database",
    "run": "runs",
    "runs": "runs",
    "dead-letters": "dead_letters",
    "deliveries": "deliveries",
    "chain": "chains",
    "lists": "lists",
    "schedule": "schedule",
    "recurrences": "recurrences",
    "workload": "workload",
    "settings": "settings",
    "audit": "settings",
    "secret": "secrets",
    "token": "tokens",
    "detected": "detected",
    "data": "data",
    "doctor": "doctor",
    "bench": "bench",
}
"""Which module of this package holds which command. Only what is asked for is imported: all of it takes a second."""


class NearestCommand(TyperGroup):
    """A group that suggests for a name it does not have the nearest one only: not `scheduler` beside `schedule`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """As its parent does it."""
        name = args[0]
        if name not in self.commands and not name.startswith("-"):
            near = get_close_matches(name, self.commands, n=1)
            ctx.fail(f"No such command {name!r}." + "".join(f" Did you mean {one!r}?" for one in near))
        return super().resolve_command(ctx, args)


def build_program(arguments: Sequence[str] = ()) -> typer.Typer:
    """The program with the command that `arguments` begin with, and its neighbours; with all commands when they begin
    with none.
    """
    program = typer.Typer(
        name=_NAME,
        cls=NearestCommand,
        help="Self-hosted backend workflows that remember every step and can never run away.",
        no_args_is_help=True,
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
    """Run the command that the process was started with."""
    configure_logs("auto", "error")  # a command speaks for itself; the commands that serve set up their own
    run_program(sys.argv[1:])


def _expected(arguments: Sequence[str]) -> list[str]:
    """The words that say which command is meant; of a line that a shell asks to complete, where there is one."""
    line = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")
    words = line.split()[1:] if _COMPLETE_VARIABLE in os.environ else arguments
    return [word for word in words if word != _JSON]


def _call(expected: Sequence[str], arguments: Sequence[str]) -> None:
    command = get_command(build_program(expected))
    assert isinstance(command, TyperCommand | TyperGroup), "typer makes no others"
    add_prefixes(command)
    _make_interruptible(command)
    command(move_json(command, arguments), prog_name=_NAME)


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
