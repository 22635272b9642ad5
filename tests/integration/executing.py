"""An executor in this process, on a real database and either broker, and what its tests ask of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from aiohttp import web
from pydantic import JsonValue

from penstock.broker.port import Broker
from penstock.broker.publisher import Publisher
from penstock.db import Record, open_database
from penstock.domain.ids import new_run_id
from penstock.domain.lineage import Lineage
from penstock.domain.runs import Admitted, RunSummary
from penstock.domain.states import Trigger
from penstock.runs.admission import admit
from penstock.runs.requests import CheckedRun, RunRequest, check_run
from penstock.runs.summaries import summary_from_row
from penstock.runtime import Resources
from penstock.store.deployments import DeploymentCache
from penstock_executor.app import serve
from penstock_executor.settings import ExecutorSettings
from penstock_scheduler.app import serve as serve_scheduler
from tests.eventually import eventually
from tests.integration.scheduling import build_settings
from tests.site import UNUSED, Service, Site, deploy_files, serving

ENVIRONMENT = "development"
TYPES = """
type: thing
fields: {name: text, remaining: number, tags: list of text, code: text}
unique: [code]
"""


@dataclass
class House(Site):
    """A database with an app deployed, a broker, and any number of executors."""

    broker: Broker
    publisher: Publisher
    deployments: DeploymentCache

    async def deploy(self, workflows: str, *, depth_limit: int = 10, head: str = "", types: str = TYPES) -> None:
        """Make an app of these workflows and types the current one; `head` is more of its app.yaml."""
        head = f"app: house\nenvironments:\n  {ENVIRONMENT}: {{depth_limit: {depth_limit}}}\n{head}"
        files = {"app.yaml": head, "types/thing.yaml": types, "workflows/all.yaml": workflows}
        await deploy_files(self.database, files, ENVIRONMENT)
        await self.deployments.refresh(ENVIRONMENT)

    async def admit(
        self, workflow: str, parameters: Mapping[str, JsonValue] | None = None, *, count: int = 1, depth: int = 0,
        context: dict[str, JsonValue] | None = None, priority: int | None = None,
    ) -> list[RunSummary]:  # fmt: skip
        """Admit root runs that are due now, and dispatch none."""
        deployment = await self.deployments.current(ENVIRONMENT)
        request = RunRequest(
            new_run_id(),
            ENVIRONMENT,
            workflow,
            parameters or {},
            Trigger.API,
            Lineage(depth),
            context=context,
            priority=priority,
        )
        checked = [check_run(request._replace(run_id=new_run_id()), deployment) for _ in range(count)]
        accepted = [run for run in checked if isinstance(run, CheckedRun)]
        assert len(accepted) == count, checked[0]
        outcomes = await self.database.in_transaction(lambda conn: admit(conn, accepted))
        return [outcome.run for outcome in outcomes if isinstance(outcome, Admitted)]

    async def start(self, workflow: str, parameters: Mapping[str, JsonValue] | None = None) -> UUID:
        """Admit one run and dispatch it."""
        runs = await self.admit(workflow, parameters)
        await self.publisher.dispatch(runs)
        return runs[0].id

    async def get(self, run_id: UUID) -> Record:
        """The run's row."""
        return (await self.fetch("SELECT * FROM penstock.runs WHERE id = $1", run_id))[0]

    async def ended(self, run_id: UUID, *states: str) -> Record:
        """The run's row, once it is in one of these states; by default, once it has ended."""

        async def look() -> Record:
            row = await self.get(run_id)
            assert row["state"] in states if states else row["finished_at"] is not None, dict(row)
            return row

        return await eventually(look)

    async def perform(self, workflow: str, parameters: Mapping[str, JsonValue] | None = None) -> Record:
        """Start a run, and its row when it has ended."""
        return await self.ended(await self.start(workflow, parameters))

    async def steps(self, run_id: UUID) -> dict[str, Record]:
        """The records of the run's steps, by path."""
        return {row["step"]: row for row in await self.fetch("SELECT * FROM penstock.steps WHERE run_id = $1", run_id)}

    async def things(self) -> list[Record]:
        """All things, the oldest first."""
        return await self.fetch(f'SELECT * FROM {ENVIRONMENT}.thing ORDER BY created_date, "_id"')

    async def logs(self, run_id: UUID) -> list[Record]:
        """The lines about a run."""
        return await self.fetch("SELECT * FROM penstock.logs WHERE run_id = $1 ORDER BY id", run_id)

    async def summaries(self, *run_ids: UUID) -> list[RunSummary]:
        """Runs as they are dispatched."""
        rows = await self.fetch("SELECT * FROM penstock.runs WHERE id = ANY($1::uuid[])", list(run_ids))
        return [summary_from_row(row) for row in rows]

    @asynccontextmanager
    async def executor(self, **settings: object) -> AsyncIterator[Service]:
        """An executor that works while the block runs, and drains at its end."""
        chosen = ExecutorSettings.model_validate({**UNUSED, **settings})
        async with serving(serve, chosen, Resources(self.database, self.broker)) as executor:
            yield executor

    @asynccontextmanager
    async def services(self, *, schedulers: int = 1, **settings: object) -> AsyncIterator[Service]:
        """An executor and schedulers, while the block runs; `settings` are the executor's."""
        async with self.schedulers(schedulers), self.executor(**settings) as executor:
            yield executor

    @asynccontextmanager
    async def schedulers(self, count: int = 1) -> AsyncIterator[None]:
        """Schedulers that work while the block runs."""
        resources = Resources(self.database, self.broker)
        async with AsyncExitStack() as stack:
            for _ in range(count):
                await stack.enter_async_context(serving(serve_scheduler, build_settings(), resources))
            yield


@asynccontextmanager
async def open_house(database_url: str, broker: Broker) -> AsyncIterator[House]:
    """A house without an app."""
    database = await open_database(database_url, name="penstock test", most=12)
    yield House(database, broker, Publisher(broker), DeploymentCache(database))
    await database.close()


@dataclass
class Outside:
    """A server that answers only when the test lets it."""

    url: str = ""
    seen: int = 0
    waiting: int = 0
    given_up: int = 0
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, _: web.Request) -> web.Response:
        """Wait until the test lets it answer."""
        self.seen += 1
        self.waiting += 1
        try:
            await self.answers.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        finally:
            self.waiting -= 1
        return web.json_response({"ok": True})


@asynccontextmanager
async def serve_outside(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """A server on 127.0.0.1 that answers every request with `handler`; its URL."""
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def names(records: Sequence[Record]) -> list[str]:
    """The names of things."""
    return [record["name"] for record in records]
