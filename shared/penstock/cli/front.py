"""What the program says of itself without any of its commands: `penstock --help`, and the names that a shell completes.

To import all commands takes a second, and everyone who presses a key waits for it. So this is a table, which a test
compares with what the commands say themselves.
"""

import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.metadata import version
from typing import Annotated, Any, Final, NamedTuple

import typer
from typer.core import TyperGroup

NAME: Final = "penstock"
COMPLETE_VARIABLE: Final = "_PENSTOCK_COMPLETE"
"""Set by the scripts that `--show-completion` prints."""
_ALONE: Final = frozenset({"-h", "--help", "--version"})


class Summary(NamedTuple):
    """A command in the help of the program: the module of this package that has it, its panel, and what it does."""

    module: str
    panel: str
    text: str
    is_group: bool = False


SUMMARIES: Final[Mapping[str, Summary]] = {
    "up": Summary(
        "up",
        "Serve",
        "Serve everything in one process: to develop, to try out, or on a single machine.",
    ),
    "ingress": Summary(
        "services",
        "Serve",
        "Accept webhooks and API calls, answer them, and request runs. Any number of these may run.",
    ),
    "scheduler": Summary(
        "services",
        "Serve",
        "Admit, time and recover runs. Any number of these may run, without a leader.",
    ),
    "executor": Summary(
        "services",
        "Serve",
        "Perform runs, step by step. Scale these by the number of runs that wait.",
    ),
    "new": Summary(
        "new",
        "Build",
        "Make an app directory from a template, or as a copy of an example: types, workflows, tests and a README.",
    ),
    "check": Summary(
        "apps",
        "Build",
        "Check an app: everything that is wrong with it, and recursion that nothing guards. Its Python "
        "modules are imported, which runs the code at their top: check only apps whose authors you trust.",
    ),
    "eval": Summary(
        "trying",
        "Build",
        "Try an expression: its value, or what is wrong with it and where. `params` and `now` are in scope.",
    ),
    "deploy": Summary(
        "deployments",
        "Build",
        "Deploy an app to an environment: its tables first, then its definitions, together. Running runs "
        "keep their version. The app's Python modules are imported here, which runs the code at their "
        "top.",
    ),
    "promote": Summary(
        "deployments",
        "Build",
        "Deploy to live what is deployed to development, tables and definitions alike.",
    ),
    "migrate": Summary(
        "database",
        "Operate",
        "Bring the database up to date. Safe to run while services are running, and from several places at once.",
    ),
    "provision": Summary(
        "database",
        "Operate",
        "Give each service a database role and a broker user of its own, with no more rights than it needs.",
    ),
    "run": Summary(
        "runs",
        "Operate",
        "Start a run, also of a workflow that only an administrator may start.",
    ),
    "runs": Summary(
        "runs",
        "Operate",
        "Show, cancel and retry runs.",
        is_group=True,
    ),
    "dead-letters": Summary(
        "dead_letters",
        "Operate",
        "Look at failed runs and refused messages; retry or settle them.",
        is_group=True,
    ),
    "deliveries": Summary(
        "deliveries",
        "Operate",
        "Look at webhooks that came in, and replay them.",
        is_group=True,
    ),
    "chain": Summary(
        "chains",
        "Operate",
        "List, show, stop and resume chains: all runs that come from one root.",
        is_group=True,
    ),
    "lists": Summary(
        "lists",
        "Operate",
        "See how far lists of runs are, and steer them.",
        is_group=True,
    ),
    "schedule": Summary(
        "schedule",
        "Operate",
        "Start a run later (`penstock schedule WORKFLOW --after 2h`), or look at what is coming and steer it.",
        is_group=True,
    ),
    "recurrences": Summary(
        "recurrences",
        "Operate",
        "Show and control recurrences.",
        is_group=True,
    ),
    "workload": Summary(
        "workload",
        "Operate",
        "Show what runs and requests have consumed, in workload units.",
        is_group=True,
    ),
    "settings": Summary(
        "settings",
        "Operate",
        "Show and change limits and policies.",
        is_group=True,
    ),
    "audit": Summary(
        "settings",
        "Operate",
        "Show who has steered what, the newest first.",
    ),
    "secret": Summary(
        "secrets",
        "Operate",
        "Store the secrets of apps, encrypted.",
        is_group=True,
    ),
    "token": Summary(
        "tokens",
        "Operate",
        "Make, list and revoke tokens.",
        is_group=True,
    ),
    "detected": Summary(
        "detected",
        "Operate",
        "Parameters that `/initialize` has detected.",
        is_group=True,
    ),
    "data": Summary(
        "data",
        "Operate",
        "Import things from a file, and export them to one.",
        is_group=True,
    ),
    "doctor": Summary(
        "doctor",
        "Operate",
        "Check settings, database, migrations, clocks, broker, queues and runs. Exits with 1 when anything fails.",
    ),
    "bench": Summary(
        "bench",
        "Look",
        "Measure this installation: start many runs of a workflow, and time their acceptance, start and end.",
    ),
    "logs": Summary(
        "logs",
        "Operate",
        "Search the log of an app, or follow it.",
    ),
}
"""By name, in the order in which they are shown, commands before groups."""


class NearestCommand(TyperGroup):
    """A group that suggests for a name it does not have the nearest one only: not `scheduler` beside `schedule`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """As its parent does it."""
        name = args[0]
        if name not in self.commands and not name.startswith("-"):
            near = get_close_matches(name, self.commands, n=1)
            ctx.fail(f"No such command {name!r}." + "".join(f" Did you mean {one!r}?" for one in near))
        return super().resolve_command(ctx, args)


def make_program() -> typer.Typer:
    """The program without any command."""
    program = typer.Typer(
        name=NAME,
        cls=NearestCommand,
        help="Self-hosted backend workflows that remember every step and can never run away.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    program.callback()(_root)
    return program


def build_front() -> typer.Typer:
    """The program with commands that have a name and a summary, and nothing else."""
    program = make_program()
    for name, summary in SUMMARIES.items():
        if summary.is_group:
            program.add_typer(typer.Typer(help=summary.text), name=name, rich_help_panel=summary.panel)
        else:
            program.command(name, help=summary.text, rich_help_panel=summary.panel)(_do_nothing)
    return program


def is_front(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether the front is enough: for the help of the program, and to complete the name of a command."""
    if COMPLETE_VARIABLE not in environment:
        return all(argument in _ALONE for argument in arguments)
    line = completed_line(environment)
    return len(line.split()) < 2 or (len(line.split()) == 2 and not line[-1].isspace())


def completed_line(environment: Mapping[str, str]) -> str:
    """The line that a shell asks to complete."""
    return environment.get("_TYPER_COMPLETE_ARGS") or environment.get("COMP_WORDS", "")


def run_front() -> None:
    """Print what is asked for, and leave."""
    build_front()(sys.argv[1:], prog_name=NAME)


def _do_nothing() -> None:
    pass


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
