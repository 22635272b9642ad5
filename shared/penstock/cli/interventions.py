"""Single runs at a terminal: end those that have not ended, take up failed ones again, and let executors know."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

from penstock.broker.publisher import Publisher
from penstock.broker.rabbitmq import connect
from penstock.cli.access import find_installation, find_keyring, open_installation
from penstock.cli.output import complain, console, fail, print_json, show_state
from penstock.contracts.topology import topology
from penstock.db import Connection
from penstock.definitions.mending import Mending
from penstock.domain.runs import Rejected, RunSummary
from penstock.domain.states import RunState
from penstock.errors import BrokerUnavailable, ConfigurationError
from penstock.runs.cancellations import NotRetried, Retry, cancel_runs
from penstock.runs.mending import mend_run
from penstock.runs.views.models import RunFacts
from penstock.runs.views.runs import find_run
from penstock.store.audit import name_cli_actor

_BY: Final = "penstock runs"


def cancel(run_ids: list[UUID], data: Path | None, as_json: bool) -> None:
    """Cancel runs that have not ended, and report what became of each. Exits with 1 when there is no such run."""
    runs, cancelled = asyncio.run(_cancel(run_ids, data))
    unknown = [run_id for run_id in run_ids if run_id not in runs]
    if as_json:
        print_json({"cancelled": len(cancelled), "runs": [{"id": run.id, "state": run.state} for run in runs.values()]})
    else:
        for run in runs.values():
            was = "" if run.id in cancelled else "  had ended before"
            console.print(f"{run.id}  {show_state(run.state)}{was}")
    if unknown:
        fail(f"no run {', '.join(str(run_id) for run_id in unknown)}")


async def _cancel(run_ids: list[UUID], data: Path | None) -> tuple[dict[UUID, RunFacts], set[UUID]]:
    """The runs that there are, as they are now, and which of them were cancelled just now."""
    async with open_installation(data) as database:
        async with database.connection() as conn:
            found = [
                run for run_id in dict.fromkeys(run_ids) if (run := await find_run(conn, run_id=run_id)) is not None
            ]
        cancelled: list[RunSummary] = []
        for environment in sorted({run.environment for run in found}):
            ids = [run.id for run in found if run.environment == environment]
            cancelled += await database.in_transaction(partial(_cancel_runs, environment=environment, run_ids=ids))
        await publish(data, cancelled=cancelled)
        async with database.connection() as conn:
            views = [await find_run(conn, run_id=run.id) for run in found]
    return {run.id: run for run in views if run is not None}, {run.id for run in cancelled}


async def _cancel_runs(conn: Connection, *, environment: str, run_ids: list[UUID]) -> list[RunSummary]:
    return await cancel_runs(conn, environment=environment, run_ids=run_ids, by=_BY, actor=name_cli_actor())


def retry(run_id: UUID, mending: Mending, data: Path | None, as_json: bool) -> None:
    """Take a failed run up again, and report it. Exits with 1 for a run that cannot be."""
    retried, is_dispatched = asyncio.run(_retry(run_id, mending, data))
    if retried is None:
        fail(f"no run {run_id}")
    if isinstance(retried, NotRetried):
        fail(f"run {run_id} is {retried.state}; only a failed run can be retried")
    if as_json:
        print_json(
            {"id": retried.id, "workflow": retried.workflow, "environment": retried.environment, "state": retried.state}
        )
    else:
        console.print(f"{retried.id}  {show_state(retried.state)}")
    if not is_dispatched:
        complain("the broker is out of reach, so the run starts when a scheduler finds it; `penstock doctor` says more")


async def _retry(run_id: UUID, mending: Mending, data: Path | None) -> tuple[RunSummary | NotRetried | None, bool]:
    async with open_installation(data) as database:
        async with database.connection() as conn:
            run = await find_run(conn, run_id=run_id)
        if run is None:
            return None, True
        has_broker = find_installation(data).amqp_url is not None
        retried = await database.in_transaction(
            partial(
                mend_run,
                environment=run.environment,
                run_id=run_id,
                mending=mending,
                asked=Retry(_BY, name_cli_actor(), is_dispatched=has_broker),
                keyring=find_keyring(data, is_required=False),
            )
        )
    if isinstance(retried, Rejected):
        fail(retried.message)
    return retried, not isinstance(retried, RunSummary) or await publish(data, queued=[retried])


async def publish(
    data: Path | None,
    *,
    cancelled: list[RunSummary] | None = None,
    queued: list[RunSummary] | None = None,
    by: str = _BY,
) -> bool:
    """Tell executors, if the broker can be reached; without that they find out by themselves, a little later."""
    amqp_url = find_installation(data).amqp_url
    if amqp_url is None or not (cancelled or queued):
        return True
    try:
        broker = await connect(amqp_url, topology=topology(), name="penstock cli")
    except ConfigurationError:
        return False
    try:
        publisher = Publisher(broker)
        for run in cancelled or ():
            publisher.run_event(RunState.CANCELLED.value, run, reason=f"cancelled by {by}")
        await publisher.dispatch(queued or ())
    except BrokerUnavailable:
        return False
    finally:
        await broker.close()
    return True
