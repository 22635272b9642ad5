"""Requests become rows: many messages' runs in one transaction, each checked against the deployment that is current.

A run that cannot be stored fails alone. What a cached deployment refuses is asked again of the newest one before it is
refused for good.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

from pydantic import JsonValue

from penstock.broker.publisher import Publisher
from penstock.db import Coalescer, Connection, Database
from penstock.definitions.models import ENVIRONMENTS, Workflow
from penstock.domain.runs import Admission, Admitted, Rejected
from penstock.domain.states import RunState, Trigger
from penstock.errors import DatabaseUnavailable, DecodeError, PenstockError, StaleDefinitions
from penstock.runs.admission import admit
from penstock.runs.floods import Floods
from penstock.runs.idempotency import is_bound
from penstock.runs.requests import CheckedRun, RunRequest, check_run
from penstock.store.deployments import CompiledDeployment, DeploymentCache, decide_by_current
from penstock.things.given import find_absent, has_things
from penstock_scheduler.admitting.dispatches import Dispatches
from penstock_scheduler.admitting.nudges import Nudges

T = TypeVar("T")

BATCH: Final = 1000
"""Most runs admitted in one transaction."""
_LANES: Final = 2
YIELD_EVERY: Final = 200
"""Runs checked before other tasks get their turn: checking a thousand takes tens of milliseconds."""


class Admissions:
    """The room's way to `admit`."""

    def __init__(
        self,
        database: Database,
        deployments: DeploymentCache,
        publisher: Publisher,
        dispatches: Dispatches,
        nudges: Nudges,
    ) -> None:
        self._database = database
        self._deployments = deployments
        self._publisher = publisher
        self._dispatches = dispatches
        self._nudges = nudges
        self._floods = Floods(database)
        self._reply_to: dict[UUID, str] = {}
        self._coalescer: Coalescer[RunRequest, Admission] = Coalescer(
            self._flush, name="admissions", lanes=_LANES, most=BATCH
        )

    async def admit(self, wanted: Sequence[RunRequest]) -> list[Admission]:
        """Admit runs, together with what others ask for at this time; returns after the commit, dispatching under way.

        Raises DatabaseUnavailable, or DecodeError for a run that PostgreSQL cannot store.
        """
        outcomes = await self.try_to_admit(wanted)
        for outcome in outcomes:
            if isinstance(outcome, DecodeError):
                raise outcome
        return [outcome for outcome in outcomes if not isinstance(outcome, DecodeError)]

    async def admit_awaited(self, run: RunRequest, reply_to: str | None) -> Admission:
        """As `admit`, for one run whose answer the queue `reply_to` wants, if any. It gets it at best effort: only
        where the run is new and due now, and nothing is lost on the way.
        """
        if reply_to is not None:
            self._reply_to[run.run_id] = reply_to
        try:
            return (await self.admit([run]))[0]
        finally:
            self._reply_to.pop(run.run_id, None)

    async def try_to_admit(self, wanted: Sequence[RunRequest]) -> list[Admission | DecodeError]:
        """As `admit`, but with a DecodeError in place of each run that PostgreSQL cannot store."""
        outcomes = await asyncio.gather(*(self._coalescer.submit(run) for run in wanted), return_exceptions=True)
        return [_refuse_unstorable(outcome) for outcome in outcomes]

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        await self._coalescer.drain()
        await self._floods.drain()

    async def current(self, environment: str, *, is_newest: bool = False) -> CompiledDeployment:
        """The current deployment as this process knows it, or as it is."""
        return await (self._deployments.refresh if is_newest else self._deployments.current)(environment)

    async def with_current(self, work: Callable[[dict[str, CompiledDeployment], bool], Awaitable[T]]) -> T:
        """What `work` returns, given the deployments of all environments and whether they are the newest.

        Called again with the newest ones whenever it raises StaleDefinitions.
        """

        async def look(is_newest: bool) -> tuple[dict[str, CompiledDeployment], bool]:
            return {name: await self.current(name, is_newest=is_newest) for name in ENVIRONMENTS}, is_newest

        try:
            return await decide_by_current(look, lambda found: work(*found))
        except StaleDefinitions as error:
            raise DatabaseUnavailable(str(error)) from None

    async def tell(self, outcomes: Sequence[Admission]) -> None:
        """After the commit: publish the events, dispatch what is due, and see to it that the rest is not forgotten."""
        self._publisher.announce(outcomes)
        runs = [outcome.run for outcome in outcomes if isinstance(outcome, Admitted)]
        self._nudges.expect(run.scheduled_at for run in runs if run.state is RunState.SCHEDULED)
        due = [run for run in runs if run.state is RunState.QUEUED]
        self._floods.note(len(due))
        wished = {run.id: self._reply_to[run.id] for run in due if run.id in self._reply_to} if self._reply_to else None
        await self._dispatches.begin(due, wished)

    def mark(self, prepared: Sequence[CheckedRun | Rejected]) -> Sequence[CheckedRun | Rejected]:
        """The same; runs of a workflow in flood (`penstock.runs.floods`) take turns with others."""
        if self._floods.is_calm:
            return prepared
        return [self._floods.mark([run])[0] if isinstance(run, CheckedRun) else run for run in prepared]

    async def _flush(self, wanted: list[RunRequest]) -> Sequence[Admission]:
        outcomes = await self._admit(wanted)
        await self.tell(outcomes)
        return outcomes

    async def _admit(self, wanted: Sequence[RunRequest]) -> list[Admission]:
        async def admit_once(deployments: dict[str, CompiledDeployment], is_newest: bool) -> list[Admission]:
            prepared = await prepare_all(wanted, deployments)
            if not is_newest and any(isinstance(request, Rejected) for request in prepared):
                raise StaleDefinitions("what is refused may have been deployed since")
            prepared = await self._refuse_absent(prepared, deployments)
            return await self._database.in_transaction(partial(admit_prepared, prepared=self.mark(prepared)))

        return await self.with_current(admit_once)

    async def _refuse_absent(
        self, prepared: list[CheckedRun | Rejected], deployments: dict[str, CompiledDeployment]
    ) -> list[CheckedRun | Rejected]:
        """The same, with a refusal for each message with an id that names nothing; a copy is not refused, because its
        run may have deleted the thing. Asks the database only where a message names a thing.
        """
        given: defaultdict[str, dict[int, tuple[Workflow, Mapping[str, JsonValue]]]] = defaultdict(dict)
        for position, run in enumerate(prepared):
            if isinstance(run, CheckedRun) and run.request.trigger is Trigger.MESSAGE:
                request = run.request
                workflow = deployments[request.environment].app.workflows[request.workflow]
                if has_things(workflow, request.parameters):
                    given[request.environment][position] = (workflow, request.parameters)
        for environment, named in given.items():
            async with self._database.connection() as conn:
                app = deployments[environment].app
                found = await find_absent(conn, environment=environment, app=app, given=[*named.values()])
                for position, absent in zip(named, found, strict=True):
                    run = prepared[position]
                    assert isinstance(run, CheckedRun)
                    key = run.request.key
                    if absent is None or (key and await is_bound(conn, environment=environment, key=key)):
                        continue
                    prepared[position] = Rejected("invalid_parameter", absent.message, absent.parameter.name)
        return prepared


def _refuse_unstorable(outcome: Admission | BaseException) -> Admission | DecodeError:
    if isinstance(outcome, Exception) and not isinstance(outcome, PenstockError):
        return DecodeError(f"parameters: they cannot be stored: {type(outcome).__name__}: {outcome}")
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


async def prepare_all(
    wanted: Sequence[RunRequest], deployments: dict[str, CompiledDeployment]
) -> list[CheckedRun | Rejected]:
    """Check each run against its environment's deployment, giving way to other tasks now and then."""
    prepared: list[CheckedRun | Rejected] = []
    for number, run in enumerate(wanted, 1):
        prepared.append(check_run(run, deployments[run.environment]))
        if number % YIELD_EVERY == 0:
            await asyncio.sleep(0)
    return prepared


async def admit_prepared(conn: Connection, prepared: Sequence[CheckedRun | Rejected]) -> list[Admission]:
    """Admit those that were not refused; what became of each, in order. Raises StaleDefinitions."""
    runs = [run for run in prepared if isinstance(run, CheckedRun)]
    admitted = iter(await admit(conn, runs) if runs else [])
    return [run if isinstance(run, Rejected) else next(admitted) for run in prepared]
