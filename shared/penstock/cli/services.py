"""`penstock ingress`, `penstock scheduler`, `penstock executor`: one service, as Kubernetes runs it."""

from enum import StrEnum
from typing import Annotated, Final

import typer

from penstock.embedded.services import find_service
from penstock.runtime import start_service
from penstock.settings import read_settings

_PANEL: Final = "Serve"
_EXAMPLES: Final = """Examples:

  penstock {name}

  PENSTOCK_DATABASE_URL=postgresql://app@db/penstock PENSTOCK_AMQP_URL=amqp://mq/ penstock {name}

SIGTERM finishes what is in flight within PENSTOCK_SHUTDOWN_GRACE_SECONDS; a second one insists. \
Settings: deploy/env.example"""


class Lane(StrEnum):
    """What an executor may take runs from."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


def add_commands(program: typer.Typer) -> None:
    """Add the three services."""
    for name, command in (("ingress", ingress), ("scheduler", scheduler), ("executor", executor)):
        program.command(name, epilog=_EXAMPLES.format(name=name), rich_help_panel=_PANEL)(command)


def ingress() -> None:
    """Accept webhooks and API calls, answer them, and request runs. Any number of these may run."""
    _run("ingress")


def scheduler() -> None:
    """Admit, time and recover runs. Any number of these may run, without a leader."""
    _run("scheduler")


def executor(
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10_000,
            help="Maximum runs that each process performs at once [PENSTOCK_EXECUTOR_CONCURRENCY].",
            show_default=False,
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="Processes that share the work, each with slots of its own [PENSTOCK_EXECUTOR_PROCESSES].",
            show_default=False,
        ),
    ] = None,
    lane: Annotated[
        list[Lane] | None,
        typer.Option(
            help="Take runs of this lane alone; may be given again [PENSTOCK_EXECUTOR_LANES].",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Perform runs, step by step. Scale these by the number of runs that wait."""
    given: dict[str, object] = {} if concurrency is None else {"executor_concurrency": concurrency}
    if processes is not None:
        given["executor_processes"] = processes
    if lane:
        given["executor_lanes"] = tuple(dict.fromkeys(one.value for one in lane))
    _run("executor", **given)


def _run(name: str, **given: object) -> None:
    service = find_service(name)
    settings = read_settings(service.settings).model_copy(update=given)
    start_service(name, service.serve, settings)
