"""`penstock runs cancel` and `retry`: of single runs by their ids, or of all that meet a filter."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer
from pydantic import JsonValue

from penstock.cli import interventions
from penstock.cli.access import Environment, open_installation
from penstock.cli.choices import RunsOf, WithoutIds, moment
from penstock.cli.database import Data
from penstock.cli.identifiers import parse_chain_id, parse_run_id
from penstock.cli.operations import operate
from penstock.cli.output import AsJson, fail
from penstock.cli.values import split_pairs
from penstock.definitions.mending import Mending
from penstock.definitions.parameters import ValueSource
from penstock.domain.runs import Rejected
from penstock.domain.states import RunState
from penstock.runs.mending import check_mending
from penstock.runs.operations import KeyChoice, OperationKind, RetryChoice
from penstock.runs.views.finding import RunFilter

_CANCEL_EXAMPLES: Final = """Examples:

  penstock runs cancel 0190a5f2-7c00-8a11-9b22-0123456789ab

  penstock runs cancel -e live --workflow reminder --state scheduled

  penstock runs cancel -e live --workflow reminder --key order-17

  penstock runs cancel -e live --all"""
_RETRY_EXAMPLES: Final = """Examples:

  penstock runs retry 0190a5f2-7c00-8a11-9b22-0123456789ab

  penstock runs retry -e live --workflow charge --since 2030-01-31T09:00:00Z

  penstock runs retry 0190a5f2 --from charge --version current -p amount=12"""
_BY: Final = "penstock runs"
_LIVE: Final = (RunState.SCHEDULED, RunState.QUEUED, RunState.RUNNING, RunState.WAITING)

RunIds = Annotated[
    list[UUID] | None,
    typer.Argument(metavar="[ID]...", help="Ids of runs, in any environment.", parser=parse_run_id),
]
RunId = Annotated[UUID | None, typer.Argument(metavar="[ID]", help="Id of the run.", parser=parse_run_id)]
States = Annotated[
    list[RunState] | None, typer.Option("--state", "-s", help="Only runs in this state; repeat it for several.")
]
Chain = Annotated[
    UUID | None, typer.Option("--chain", metavar="ID", help="Only runs of this chain.", parser=parse_chain_id)
]
Parent = Annotated[
    UUID | None, typer.Option("--parent", metavar="ID", help="Only what this run has scheduled.", parser=parse_run_id)
]
Since = Annotated[str | None, typer.Option("--since", help="Only runs created from this time on (ISO 8601).")]
Until = Annotated[str | None, typer.Option("--until", help="Only runs created before this time (ISO 8601).")]
Text = Annotated[str | None, typer.Option("--contains", help="Only runs with this text in their JSON.")]
Key = Annotated[
    str | None,
    typer.Option("--key", metavar="KEY", help="What schedule steps have scheduled of --workflow under this key."),
]
All = Annotated[bool, typer.Option("--all", help="Everything in the environment.")]


class ByVersion(StrEnum):
    """Which definition."""

    PINNED = "pinned"
    CURRENT = "current"


Step = Annotated[
    str | None, typer.Option("--from", metavar="STEP", help="Continue from this step instead of the one that failed.")
]
By = Annotated[
    ByVersion, typer.Option("--version", help="By the definition that the run began with, or the one of now.")
]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="Another value; repeat it for several."),
]


def add_commands(group: typer.Typer) -> None:
    """Add `cancel` and `retry` to the group `runs`."""
    group.command("cancel", epilog=_CANCEL_EXAMPLES)(cancel)
    group.command("retry", epilog=_RETRY_EXAMPLES)(retry)


def cancel(
    run_ids: RunIds = None,
    environment: WithoutIds = Environment.DEVELOPMENT,
    workflow: RunsOf = None,
    states: States = None,
    chain: Chain = None,
    parent: Parent = None,
    since: Since = None,
    until: Until = None,
    contains: Text = None,
    key: Key = None,
    is_all: All = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Cancel runs that have not ended, by id or all that match; a running one is stopped by its executor in seconds."""
    wanted = RunFilter(
        environment.value, workflow, states or None, chain, parent, moment(since, "--since"),
        moment(until, "--until"), contains,
    )  # fmt: skip
    _check_one_way(bool(run_ids), wanted, is_all=is_all, key=key)
    if run_ids:
        interventions.cancel(run_ids, data, as_json)
        return
    if key is not None:
        if workflow is None or wanted != RunFilter(environment.value, workflow):
            raise typer.BadParameter("give it with --workflow, and with no other option", param_hint="--key")
        keyed = KeyChoice(environment.value, workflow, key)
        operate(OperationKind.CANCEL_RUNS, keyed, by=_BY, data=data, as_json=as_json)
        return
    if wrong := [state for state in states or () if state not in _LIVE]:
        raise typer.BadParameter(f"runs that are {wrong[0]} have ended", param_hint="--state")
    operate(OperationKind.CANCEL_RUNS, wanted, by=_BY, data=data, as_json=as_json)


def retry(
    run_id: RunId = None,
    environment: WithoutIds = Environment.DEVELOPMENT,
    workflow: RunsOf = None,
    chain: Chain = None,
    parent: Parent = None,
    since: Since = None,
    until: Until = None,
    contains: Text = None,
    is_all: All = False,
    step: Step = None,
    version: By = ByVersion.PINNED,
    parameters: Parameters = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Take failed runs up again from the step that failed, or with what was mended: one by its id, or all that
    match.
    """
    mending = Mending(step, version.value, _read_parameters(parameters), ValueSource.TEXT)
    wanted = RunFilter(
        environment.value, workflow, None, chain, parent, moment(since, "--since"), moment(until, "--until"), contains
    )
    _check_one_way(run_id is not None, wanted, is_all=is_all)
    if run_id is not None:
        interventions.retry(run_id, mending, data, as_json)
        return
    if mending.is_empty:
        operate(OperationKind.RETRY_RUNS, wanted, by=_BY, data=data, as_json=as_json)
        return
    mending = asyncio.run(_check(wanted, mending, data))
    operate(OperationKind.RETRY_RUNS, RetryChoice(wanted, mending), by=_BY, data=data, as_json=as_json)


async def _check(wanted: RunFilter, mending: Mending, data: Path | None) -> Mending:
    """What was mended, its values as they are stored. Exits with 1 when it fits no run at all."""
    environment = wanted.environment or ""
    async with open_installation(data) as database, database.connection() as conn:
        checked = await check_mending(conn, environment=environment, workflow=wanted.workflow, mending=mending)
    if isinstance(checked, Rejected):
        fail(checked.message)
    return checked


def _read_parameters(given: list[str] | None) -> dict[str, JsonValue] | None:
    try:
        return {**split_pairs(given)} if given else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="-p") from None


def _check_one_way(has_ids: bool, wanted: RunFilter, *, is_all: bool, key: str | None = None) -> None:
    narrows = wanted != RunFilter(wanted.environment) or key is not None
    if sum((has_ids, narrows, is_all)) != 1:
        raise typer.BadParameter("give ids, options that narrow it down, or --all")
