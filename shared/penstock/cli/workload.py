"""`penstock workload`: what runs and requests have consumed, what each activity weighs, and when the admins are
told.
"""

import asyncio
from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Final, NamedTuple
from uuid import UUID

import typer

from penstock import clock
from penstock.cli.access import Environment, open_installation
from penstock.cli.choices import OfWorkflow, moment
from penstock.cli.database import Data
from penstock.cli.identifiers import parse_chain_id
from penstock.cli.output import (
    AsJson,
    console,
    fail,
    make_facts,
    make_table,
    print_json,
    print_json_list,
    print_table,
    print_words,
    show_text,
)
from penstock.cli.values import split_pairs
from penstock.db import Connection
from penstock.domain.durations import parse_duration
from penstock.domain.policies import SettingsChange
from penstock.domain.weights import MAX_WEIGHT, PUBLISHED_WEIGHTS
from penstock.domain.workload import Activity, shown_units
from penstock.runs.views.chains import find_chain
from penstock.store.audit import name_cli_actor
from penstock.store.policies import change_settings
from penstock.store.weights import change_weights
from penstock.store.workload_sums import MonthlyWorkload, WorkloadFilter, WorkloadSum, list_months, sum_workload

_EXAMPLES: Final = """Examples:

  penstock workload -e live

  penstock workload -e live --by activity --since 7d

  penstock workload --chain 0190a5f2-7c00-8a11-9b22-0123456789ab

  penstock workload -e live --by hour --json | jq '.results[0]'"""
_WEIGHTS_EXAMPLES: Final = """Examples:

  penstock workload weights

  penstock workload weights -e live call=0.5 action=1

  penstock workload weights -e live call=             weighs again what is published"""
_THRESHOLDS_EXAMPLES: Final = """Examples:

  penstock workload thresholds -e live

  penstock workload thresholds -e live --allowance 500000

  penstock workload thresholds -e live --spike-factor 5 --spike-minimum 2000"""

_MAX_UNITS: Final = 1e15


class WorkloadLimits(NamedTuple):
    """When the admins are notified: an allowance per month (0: none), and how often the usual hour, at least how much,
    makes a spike (0: nothing does).
    """

    allowance: float
    spike_factor: float
    spike_minimum: float


class Way(StrEnum):
    """By what workload is summed."""

    WORKFLOW = "workflow"
    ACTIVITY = "activity"
    HOUR = "hour"


In = Annotated[Environment, typer.Option("--environment", "-e", help="The environment.")]
For = Annotated[Environment, typer.Option("--environment", "-e", help="The environment.")]
By = Annotated[Way, typer.Option("--by", help="What to group by.")]
Since = Annotated[
    str | None, typer.Option("--since", help="From this time (ISO 8601), or so long ago (7d).", show_default="30d")
]
Until = Annotated[str | None, typer.Option("--until", help="Before this time, or so long ago.", show_default="now")]
OfChain = Annotated[
    UUID | None,
    typer.Option(
        "--chain", metavar="ID", help="Only of this chain, from its runs.", show_default=False, parser=parse_chain_id
    ),
]
Changes = Annotated[
    list[str] | None, typer.Argument(metavar="[ACTIVITY=UNITS]...", help="What to change.", show_default=False)
]
Allowance = Annotated[
    float | None,
    typer.Option(
        "--allowance",
        min=0,
        max=_MAX_UNITS,
        metavar="UNITS",
        help="Units per calendar month (UTC), reported at 75 and 100 %. 0: none.",
    ),
]
SpikeFactor = Annotated[
    float | None,
    typer.Option(
        "--spike-factor",
        min=0,
        max=_MAX_UNITS,
        metavar="N",
        help="An hour with this many times the usual is a spike. 0: never.",
    ),
]
SpikeMinimum = Annotated[
    float | None,
    typer.Option("--spike-minimum", min=0, max=_MAX_UNITS, metavar="UNITS", help="An hour below this is not a spike."),
]


def add_commands(program: typer.Typer) -> None:
    """Add `workload` and what belongs to it."""
    group = typer.Typer(invoke_without_command=True, epilog=_EXAMPLES)
    group.callback()(workload)
    group.command("weights", epilog=_WEIGHTS_EXAMPLES)(weights)
    group.command("thresholds", epilog=_THRESHOLDS_EXAMPLES)(thresholds)
    program.add_typer(group, name="workload", rich_help_panel="Operate")


def workload(
    context: typer.Context,
    environment: In = Environment.DEVELOPMENT,
    by: By = Way.WORKFLOW,
    since: Since = None,
    until: Until = None,
    workflow: OfWorkflow = None,
    chain: OfChain = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what runs and requests have consumed, in workload units."""
    if context.invoked_subcommand is not None:
        return
    if chain is not None and by is Way.ACTIVITY:
        raise typer.BadParameter(
            "a run keeps only its total; ask for the workflow or the hour of a chain", param_hint="--by"
        )
    wanted = WorkloadFilter(by.value, moment(since, "--since"), moment(until, "--until"), workflow, chain)
    if wanted.since is None and chain is None:
        wanted = WorkloadFilter(by.value, clock.now() - parse_duration("30d"), wanted.until, workflow)
    sums, month = asyncio.run(_read(environment, wanted, data))
    if as_json:
        results = ({wanted.by: known.key or None, "count": known.count, "units": known.units} for known in sums)
        print_json_list(results, about=_as_json(wanted, sums, month))
    else:
        _print(wanted, sums, month)


async def _read(
    environment: Environment, wanted: WorkloadFilter, data: Path | None
) -> tuple[list[WorkloadSum], MonthlyWorkload]:
    async with open_installation(data) as database, database.connection() as conn:
        where = environment if wanted.chain_id is None else await _find_environment(conn, wanted.chain_id)
        (month,) = [month for month in await list_months(conn) if month.environment == where]
        return await sum_workload(conn, environment=where, wanted=wanted), month


async def _find_environment(conn: Connection, chain_id: UUID) -> str:
    chain = await find_chain(conn, run_id=chain_id)
    return fail(f"no chain {chain_id}") if chain is None or chain.id != chain_id else chain.environment


def _as_json(wanted: WorkloadFilter, sums: list[WorkloadSum], month: MonthlyWorkload) -> dict[str, object]:
    return {
        "environment": month.environment,
        "by": wanted.by,
        "since": wanted.since,
        "until": wanted.until,
        "units": _total(sums),
        "month": {"since": month.since, "units": month.units, "allowance": month.allowance or None},
    }


def _total(sums: list[WorkloadSum]) -> float:
    return shown_units(sum(known.units for known in sums))


def _print(wanted: WorkloadFilter, sums: list[WorkloadSum], month: MonthlyWorkload) -> None:
    total = _total(sums)
    period = f"since {wanted.since:%Y-%m-%d %H:%M}Z" if wanted.since else f"of chain {wanted.chain_id}"
    print_words(f"[bold]{month.environment}[/]  {show_units(total)} {period}")
    share = "" if month.share is None else f", {month.share:.1%} of the allowance of {month.allowance:,.0f}"
    print_words(f"[bright_black]{show_units(month.units)} in the month since {month.since:%Y-%m-%d}{share}[/]")
    if not sums:
        console.print(
            "\nnothing was consumed" + ("" if wanted.chain_id else "; the last few seconds may not be counted yet")
        )
        return
    count = "times" if wanted.by == Way.ACTIVITY else "runs"
    table = make_table(wanted.by, count, "units", "share", numbers=(count, "units", "share"), elastic=(wanted.by,))
    for known in sums:
        part = f"{known.units / total:.1%}" if total else "-"
        table.add_row(
            show_text(known.key or "(requests outside any workflow)"), f"{known.count:,}", f"{known.units:,.2f}", part
        )
    console.print()
    print_table(table)


def show_units(units: float) -> str:
    """Units, as a person reads them."""
    return f"{units:,.2f} units"


def weights(
    changes: Changes = None, environment: For = Environment.DEVELOPMENT, data: Data = None, as_json: AsJson = False
) -> None:
    """Show what each activity weighs, or change it; services follow within seconds, and what was counted keeps its
    units.
    """
    try:
        wanted = _read_weights(split_pairs(changes or []))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="ACTIVITY=UNITS") from None
    current = asyncio.run(_weigh(environment, wanted, data))
    if as_json:
        found = [
            {"activity": name, "weight": weight, "published": PUBLISHED_WEIGHTS[name]}
            for name, weight in current.items()
        ]
        print_json_list(found, about={"environment": environment})
        return
    table = make_table("activity", "units", "published", numbers=("units", "published"))
    for name, weight in current.items():
        published = PUBLISHED_WEIGHTS[name]
        table.add_row(
            name, _exactly(weight) if weight == published else f"[bold]{_exactly(weight)}[/]", _exactly(published)
        )
    print_table(table)


def _exactly(weight: float) -> str:
    return f"{weight:.10f}".rstrip("0").rstrip(".")


def _read_weights(given: Mapping[str, str]) -> dict[Activity, float | None]:
    """What is to change; an empty text is None. Raises ValueError."""
    changes: dict[Activity, float | None] = {}
    for name, text in given.items():
        if name not in frozenset(Activity):
            raise ValueError(f"{name!r} is not an activity; the activities are {', '.join(Activity)}")
        try:
            weight = float(text) if text else None
        except ValueError:
            weight = -1.0
        if weight is not None and not 0 <= weight <= MAX_WEIGHT:
            raise ValueError(f"{name}={text}: a weight is a number from 0 to {MAX_WEIGHT:,.0f}")
        changes[Activity(name)] = weight
    return changes


async def _weigh(
    environment: Environment, wanted: Mapping[Activity, float | None], data: Path | None
) -> dict[Activity, float]:
    async with open_installation(data) as database:
        change = partial(change_weights, environment=environment, changes=wanted, actor=name_cli_actor())
        return await database.in_transaction(change)


def thresholds(
    environment: For = Environment.DEVELOPMENT,
    allowance: Allowance = None,
    spike_factor: SpikeFactor = None,
    spike_minimum: SpikeMinimum = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show or change when the admins are notified of workload."""
    given = {
        "workload_allowance": allowance,
        "workload_spike_factor": spike_factor,
        "workload_spike_minimum": spike_minimum,
    }
    change = SettingsChange.model_validate({name: value for name, value in given.items() if value is not None})
    limits, month = asyncio.run(_limit(environment, data, change))
    if as_json:
        print_json(
            {
                "environment": environment,
                "limits": limits._asdict(),
                "month": {"since": month.since, "units": month.units},
            }
        )
        return
    facts = make_facts()
    share = (
        "" if month.share is None else f"; {show_units(month.units)} since {month.since:%Y-%m-%d}, {month.share:.1%}"
    )
    facts.add_row("allowance", (f"{limits.allowance:,.10g} units a month" if limits.allowance else "none") + share)
    spike = (
        f"{limits.spike_factor:,.10g} times the usual hour, and at least {limits.spike_minimum:,.10g} units in an hour"
    )
    facts.add_row("spike", spike if limits.spike_factor else "none")
    console.print(facts)


async def _limit(
    environment: Environment, data: Path | None, change: SettingsChange
) -> tuple[WorkloadLimits, MonthlyWorkload]:
    async with open_installation(data) as database:
        settings = await database.in_transaction(
            partial(change_settings, environment=environment, change=change, actor=name_cli_actor())
        )
        async with database.connection() as conn:
            month = next(month for month in await list_months(conn) if month.environment == environment)
    names = ("workload_allowance", "workload_spike_factor", "workload_spike_minimum")
    return WorkloadLimits(*(float(str(settings[name])) for name in names)), month
