"""Starts a run as ingress does: admitted in one transaction, then handed to the broker if that can be reached."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol, TypeVar
from uuid import UUID

from penstock.broker.publisher import Publisher
from penstock.broker.rabbitmq import connect
from penstock.cli.values import read_values
from penstock.contracts.topology import topology
from penstock.db import Connection, Database
from penstock.domain.ids import RunId, new_run_id
from penstock.domain.runs import Admission, Admitted, Rejected, RunSummary, Terminated
from penstock.domain.states import RunState, Trigger
from penstock.encryption import Keyring
from penstock.errors import BrokerUnavailable, ConfigurationError, Permanent
from penstock.runs.admission import admit
from penstock.runs.requests import RunRequest, check_run
from penstock.runs.views.models import RunFacts
from penstock.runs.views.runs import find_run
from penstock.store.deployments import CompiledDeployment, DeploymentCache, decide_by_current

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_HINT_SECONDS: Final = 5.0
SCHEDULER_DELAY: Final = timedelta(milliseconds=200)
"""Without a broker to hand it to, a run is stored as due a moment later: due runs are what schedulers look for."""


class DeploymentWork(Protocol[T_co]):
    """What is done in a transaction, given the deployment that is current."""

    def __call__(self, conn: Connection, /, *, deployment: CompiledDeployment) -> Awaitable[T_co]: ...


@dataclass(frozen=True, slots=True)
class Started:
    """The run that was made. `is_dispatched` is False when the broker could not be reached."""

    id: UUID
    workflow: str
    environment: str
    state: RunState
    depth: int
    chain_id: UUID
    is_dispatched: bool

    def as_json(self) -> dict[str, object]:
        """As the management API shows a new run."""
        return {name: getattr(self, name) for name in ("id", "workflow", "environment", "state", "depth", "chain_id")}


async def start_run(
    database: Database,
    amqp_url: str | None,
    *,
    environment: str,
    workflow: str,
    given: Mapping[str, str],
    due: datetime | timedelta | None = None,
    keyring: Keyring | None = None,
) -> Started:
    """Admit a root run of `workflow`, `due` at a time or so long from now (None: now), and dispatch it when it is due.
    `amqp_url` None leaves it to the schedulers. Passwords among the parameters are sealed with `keyring`.

    Raises Permanent when the workflow is not deployed or a parameter is wrong.
    """
    if due is None and amqp_url is None:
        due = SCHEDULER_DELAY
    make = partial(_make_request, new_run_id(), environment, workflow, given, due)
    run = _run_of(await with_current_deployment(database, environment, partial(_admit, make=make, keyring=keyring)))
    is_dispatched = amqp_url is None or run.state is not RunState.QUEUED or await _dispatch(amqp_url, run)
    return Started(run.id, run.workflow, run.environment, run.state, run.depth, run.chain_id, is_dispatched)


async def _admit(
    conn: Connection,
    *,
    deployment: CompiledDeployment,
    make: Callable[[CompiledDeployment], RunRequest],
    keyring: Keyring | None,
) -> Admission:
    run = check_run(make(deployment), deployment, keyring)
    return run if isinstance(run, Rejected) else (await admit(conn, [run]))[0]


def _make_request(
    run_id: RunId,
    environment: str,
    workflow: str,
    given: Mapping[str, str],
    due: datetime | timedelta | None,
    deployment: CompiledDeployment,
) -> RunRequest:
    definition = deployment.app.workflows.get(workflow)
    parameters = {} if definition is None else read_values(definition, given)
    trigger = Trigger.MANUAL if due in (None, SCHEDULER_DELAY) else Trigger.SCHEDULE
    return RunRequest(run_id, environment, workflow, parameters, trigger, scheduled_at=due)


async def with_current_deployment(database: Database, environment: str, work: DeploymentWork[T]) -> T:
    """What `work` returns in a transaction, given the current deployment; again with the newer one when somebody
    deploys meanwhile.

    Raises ConfigurationError when nothing is deployed.
    """
    deployments = DeploymentCache(database)

    async def look(_: bool) -> CompiledDeployment:
        deployment = await deployments.refresh(environment)
        if deployment.version == 0:
            raise ConfigurationError(
                f"nothing is deployed to {environment}; use `penstock deploy DIR --environment {environment}`"
            )
        return deployment

    return await decide_by_current(
        look, lambda deployment: database.in_transaction(partial(work, deployment=deployment))
    )


def _run_of(admission: Admission) -> RunSummary:
    match admission:
        case Admitted(run=run) | Terminated(run=run):
            return run
        case Rejected(message=message):
            raise Permanent(message)
        case _:
            raise AssertionError("a new id cannot be a duplicate")


async def _dispatch(amqp_url: str, run: RunSummary) -> bool:
    broker = await connect(amqp_url, topology=topology(), name="penstock cli")
    try:
        await Publisher(broker).dispatch([run])
    except BrokerUnavailable:
        return False  # the row is its own outbox: a scheduler finds it
    finally:
        await broker.close()
    return True


async def wait_for_end(database: Database, run_id: UUID, tell: Callable[[str], None]) -> RunFacts:
    """The run, once it has ended. Calls `tell` once with a hint when it has not even started after some seconds."""
    loop = asyncio.get_running_loop()
    hint_at, pause = loop.time() + _HINT_SECONDS, 0.02
    while True:
        async with database.connection() as conn:
            run = await find_run(conn, run_id=run_id)
        assert run is not None, "runs are not deleted while they are new"
        if run.state.is_final:
            return run
        if run.started_at is None and loop.time() > hint_at:
            tell(
                f"run {run_id} is still {run.state}: is an executor running? `penstock doctor` looks; Ctrl-C stops "
                "waiting, not the run"
            )
            hint_at = float("inf")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.5)
