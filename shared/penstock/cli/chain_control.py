"""`penstock chain stop` and `penstock chain resume`: end a chain that runs away, and continue it where it was cut."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer

from penstock.broker.publisher import Publisher
from penstock.broker.rabbitmq import connect
from penstock.cli.access import find_installation, open_installation
from penstock.cli.database import Data
from penstock.cli.identifiers import parse_run_id
from penstock.cli.output import AsJson, console, fail, print_json
from penstock.contracts.topology import topology
from penstock.db import Database
from penstock.domain.depth import MAX_DEPTH
from penstock.errors import BrokerUnavailable, ConfigurationError
from penstock.runs.chains import ChainName, ChainStop, Grant, Resumption, announce_stop, resume_chain, stop_chain
from penstock.runs.views.chains import find_chain
from penstock.store.audit import name_cli_actor

_STOP_EXAMPLES: Final = "Examples:\n\n  penstock chain stop 0190a5f2-7c00-8a11-9b22-0123456789ab --reason 'it loops'"
_RESUME_EXAMPLES: Final = (
    "Examples:\n\n  penstock chain resume 0190a5f2-7c00-8a11-9b22-0123456789ab\n\n  penstock chain resume ID "
    "--extra-depth 500"
)
_BY: Final = "penstock chain"

ChainArgument = Annotated[
    UUID,
    typer.Argument(
        metavar="ID", help="Id of the chain, or of any of its runs.", show_default=False, parser=parse_run_id
    ),
]
ExtraDepth = Annotated[int, typer.Option(min=0, max=MAX_DEPTH, help="Hops beyond its limits of depth, in all.")]
ExtraRuns = Annotated[int, typer.Option(min=0, max=10**12, help="Runs beyond chain_runs_limit, in all.")]
ExtraWorkload = Annotated[float, typer.Option(min=0, help="Units beyond chain_workload_limit, in all.")]
Reason = Annotated[str, typer.Option(help="Why, for the log and the event.")]


def add_commands(group: typer.Typer) -> None:
    """Add `stop` and `resume` to the group `chain`."""
    group.command("stop", epilog=_STOP_EXAMPLES)(stop)
    group.command("resume", epilog=_RESUME_EXAMPLES)(resume)


def stop(chain_id: ChainArgument, reason: Reason = "", data: Data = None, as_json: AsJson = False) -> None:
    """Stop a chain: nothing of it is admitted or started any more, and its live runs are cancelled."""
    chain, stopped = asyncio.run(_stop(chain_id, reason, data))
    if as_json:
        print_json({"id": chain.id, "stopped": stopped.is_new, "cancelled": stopped.cancelled})
        return
    what = "stopped" if stopped.is_new else "was stopped before"
    console.print(f"chain {chain.id} {what}; {stopped.cancelled} runs were cancelled")
    console.print(f"to continue where it was cut: penstock chain resume {chain.id}")


async def _stop(chain_id: UUID, reason: str, data: Path | None) -> tuple[ChainName, ChainStop]:
    async with open_installation(data) as database:
        chain = await _find(database, chain_id)
        stopped = await stop_chain(database, chain, reason=reason, by=_BY, actor=name_cli_actor())

    await _publish(data, lambda publisher: announce_stop(publisher, chain, stopped, reason=reason, by=_BY))
    return chain, stopped


def resume(
    chain_id: ChainArgument,
    extra_depth: ExtraDepth = 0,
    extra_runs: ExtraRuns = 0,
    extra_workload: ExtraWorkload = 0.0,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Resume a chain: lift a stop, and readmit what was cut and fits now, each run once."""
    grant = Grant(extra_depth, extra_runs, extra_workload)
    resumed = asyncio.run(_resume(chain_id, grant, data))
    if as_json:
        print_json({**resumed._asdict(), "grant": resumed.grant._asdict()})
        return
    console.print(f"{resumed.resumed} runs were readmitted; {resumed.still_terminated} stay terminated")


async def _resume(chain_id: UUID, grant: Grant, data: Path | None) -> Resumption:
    async with open_installation(data) as database:
        chain = await _find(database, chain_id)
        resumed = await resume_chain(database, chain, grant=grant, by=_BY, actor=name_cli_actor())
    await _publish(
        data, lambda publisher: publisher.chain_resumed(chain.id, chain.environment, by=_BY, runs=resumed.resumed)
    )
    return resumed


async def _find(database: Database, chain_id: UUID) -> ChainName:
    async with database.connection() as conn:
        head = await find_chain(conn, run_id=chain_id)
    if head is None:
        fail(f"no chain {chain_id}, and no run of that id")
    return ChainName(head.id, head.environment)


async def _publish(data: Path | None, tell: Callable[[Publisher], None]) -> None:
    """Publish events if the broker can be reached; executors find out by themselves, a little later."""
    amqp_url = find_installation(data).amqp_url
    if amqp_url is None:
        return
    try:
        broker = await connect(amqp_url, topology=topology(), name="penstock cli")
    except (ConfigurationError, BrokerUnavailable):
        return
    try:
        tell(Publisher(broker))
    finally:
        await broker.close()
