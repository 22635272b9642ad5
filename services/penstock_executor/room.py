"""What the executor's handlers and loops work with: opened once, and shared by all its runs."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Final

from penstock.broker.publisher import Publisher
from penstock.contracts.messages import Contract, WakeScheduler
from penstock.db import Database
from penstock.domain.runs import RunSummary
from penstock.errors import BrokerUnavailable
from penstock.logs import get_logger
from penstock.mail.smtp import MailClient
from penstock.metrics import EXECUTOR_SLOTS, RUNS_RUNNING
from penstock.outgoing.client import Outgoing
from penstock.runtime import Resources, Stop
from penstock.store.deployments import DeploymentCache
from penstock.store.installation import Installation
from penstock.store.logs import LogLine
from penstock.store.replicas import Replica
from penstock.store.secrets import Secrets
from penstock.store.workload import Meter
from penstock.things.files import Files
from penstock.things.hashing import Hashing
from penstock.things.slow_searches import SlowSearches
from penstock.things.storage import open_storage
from penstock_executor.holding.claim_batches import Claims
from penstock_executor.holding.courtesy import Courtesy
from penstock_executor.holding.leases import Lease, Leases
from penstock_executor.holding.limits import Limits
from penstock_executor.holding.slots import Slots
from penstock_executor.holding.threads import Threads
from penstock_executor.planning.library import Library
from penstock_executor.repository.held_runs import release_runs
from penstock_executor.settings import ExecutorSettings
from penstock_executor.steps.tools import MAX_IDLE_CONNECTIONS, Mailing, Tools
from penstock_executor.writing.bulk import hold_run
from penstock_executor.writing.children import Children
from penstock_executor.writing.commits import Commits
from penstock_executor.writing.logbook import Logbook
from penstock_executor.writing.offspring import Offspring

log = get_logger(__name__)
_LAST_COMMITS_SECONDS: Final = 2.0
_CONNECTIONS_PER_BULK: Final = 5
"""Of how many connections one may be kept by a bulk step (an export takes a second one, now and then)."""


@dataclass(slots=True)
class Room:
    """The executor's furniture."""

    database: Database
    publisher: Publisher
    tools: Tools
    library: Library
    limits: Limits
    lanes: tuple[str, ...]
    slots: Slots
    claims: Claims
    leases: Leases
    commits: Commits
    logbook: Logbook
    meter: Meter
    replica: Replica
    secrets: Secrets
    threads: Threads
    app_directory: Path | None
    public_url: str
    """Where people reach the public port; empty where it is not set."""
    stop: Stop
    courtesy: Courtesy = field(init=False)
    messages: int = 0
    """How many are being handled: their runs are claimed, or wait for slots."""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _due: list[RunSummary] = field(default_factory=list)
    _ended: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.courtesy = Courtesy(self._give_way)

    def _give_way(self, grain: int | None) -> None:
        """Have batches of bulk be of `grain` runs, because somebody waits for an answer; None: of any size."""
        self.slots.grain = grain
        self.claims.give_way(grain)
        self.commits.give_way(grain)

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """A task that is this room's: it is waited for, or cancelled, when the room is left."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def give_back_slots(self, leases: Iterable[Lease]) -> None:
        """The runs have been performed, though perhaps not yet been recorded; doing this twice is harmless."""
        freed: dict[str, int] = {}
        for lease in leases:
            if lease.holds_slot:
                lease.holds_slot = False
                freed[lease.lane] = freed.get(lease.lane, 0) + 1
        for lane, count in freed.items():
            self.slots.give_back(count, lane)

    async def finish(self) -> None:
        """Wait until all runs have ended and everyone who has to know has been notified."""
        while self.tasks:
            await asyncio.wait(self.tasks)

    async def release(self) -> None:
        """Give back at once what this executor will not finish, and write the last lines of the log."""
        self.slots.close()
        try:
            await self._release_runs()
        except Exception as error:
            log.warning("run.release_failed", error=f"{type(error).__name__}: {error}")
        await self.logbook.drain()
        await self.meter.close()
        await self.tools.slow_searches.close()
        await self.replica.leave()

    async def _release_runs(self) -> None:
        """Runs are cancelled here, queued again, and dispatched if the broker is there."""
        reply_to = {lease.run.id: lease.reply_to for lease in self.leases.list_all() if lease.reply_to is not None}
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(TimeoutError):  # what was on its way to be written is not done again by others
            async with asyncio.timeout(_LAST_COMMITS_SECONDS):
                await self.commits.drain()
        async with self.database.connection() as conn:
            # By owner, not by what is known here: a claim whose answer was lost is given back too.
            released = await release_runs(conn, owner=self.claims.owner)
        for run in released:
            log.info("run.released", run_id=str(run.id), workflow=run.workflow, attempt=run.attempt, reason="draining")
        with suppress(BrokerUnavailable):
            await self.publisher.dispatch(released, reply_to)

    def hand_over(self, run: RunSummary) -> None:
        """Dispatch a run that is queued, together with all of this moment. A scheduler would find it, later."""
        self._due.append(run)
        if len(self._due) == 1:
            _ = self.spawn(self._hand_over())

    async def _hand_over(self) -> None:
        await asyncio.sleep(0)
        due, self._due = self._due, []
        try:
            await self.publisher.dispatch(due)
        except BrokerUnavailable as error:
            log.warning("dispatch.failed", error=str(error), runs=len(due))

    def nudge(self, environment: str, nudge: Contract) -> None:
        """Tell a scheduler, without waiting for it; it would find the row by itself, later."""
        _ = self.spawn(self._nudge(environment, nudge))

    def free_turns(self, environment: str) -> None:
        """Notify a scheduler that runs with limits have ended here, once for all of this moment."""
        self._note_end(environment, is_turn=True)

    def wake_scheduler(self, environment: str) -> None:
        """Notify a scheduler of what may move on, once for all of this moment: the end of a run that is awaited, or a
        child that waits for its turn.
        """
        self._note_end(environment, is_turn=False)

    def _note_end(self, environment: str, *, is_turn: bool) -> None:
        if environment not in self._ended:
            _ = self.spawn(self._notify_of_ends(environment))
        self._ended[environment] = is_turn and self._ended.get(environment, True)

    async def _notify_of_ends(self, environment: str) -> None:
        await asyncio.sleep(0)
        is_turn = self._ended.pop(environment)
        await self._nudge(environment, WakeScheduler.model_construct(is_turn=is_turn))

    async def _nudge(self, environment: str, nudge: Contract) -> None:
        with suppress(BrokerUnavailable):
            await self.publisher.nudge(environment, nudge)


def _make_mail_client(settings: ExecutorSettings) -> MailClient | None:
    server = settings.mail_server
    return None if server is None else MailClient(server, most_idle=MAX_IDLE_CONNECTIONS)


@asynccontextmanager
async def open_room(settings: ExecutorSettings, resources: Resources, stop: Stop) -> AsyncIterator[Room]:
    """An executor's room that works with `resources`, for as long as the block lasts."""
    database, publisher = resources.database, Publisher(resources.broker)
    deployments, children, logbook = DeploymentCache(database), Children(publisher), Logbook(database)
    library, claims = Library(deployments), Claims(database, publisher, owner=name_owner(), lease=settings.lease)
    bulk = asyncio.Semaphore(max(1, database.most_connections // _CONNECTIONS_PER_BULK))
    async with AsyncExitStack() as stack:
        outgoing = Outgoing(settings.outgoing_allow)
        stack.push_async_callback(outgoing.close)
        keyring, hashing, secrets = settings.keyring, Hashing(), Secrets(database, settings.keyring)
        stack.callback(hashing.close)
        await secrets.open()
        room = Room(
            database=database,
            publisher=publisher,
            tools=Tools(
                database=database,
                files=Files(database, open_storage(settings)),
                slow_searches=SlowSearches(database),
                bulk=bulk,
                hold=hold_run,
                send=outgoing.send,
                installation=Installation(database),
                publisher=publisher,
                find_app=library.find_app,
                known=deployments.known,
                schedule=children.schedule,
                mail=Mailing(_open_mail(settings, stack), settings.mail_sender),
                secrets=secrets,
                hashing=hashing,
                keyring=keyring,
                write_log=partial(_write_log, logbook, secrets),
            ),
            library=library,
            limits=Limits(database, library),
            lanes=settings.executor_lanes,
            slots=Slots(settings.executor_concurrency, is_shared=len(settings.executor_lanes) > 1),
            claims=claims,
            leases=Leases(database, settings.lease),
            commits=Commits(database, bulk, Offspring(database, deployments, children, claims)),
            logbook=logbook,
            meter=Meter(database),
            replica=Replica(database, "executor", resources.pulse.find_stuck),
            secrets=secrets,
            threads=Threads(settings.executor_threads),
            app_directory=None if settings.app is None else settings.app.resolve(),
            public_url=settings.public_url or "",
            stop=stop,
        )
        yield _measured(room, settings)


def _open_mail(settings: ExecutorSettings, stack: AsyncExitStack) -> MailClient | None:
    """The connections to the mail server, if there is one; closed with the stack."""
    if settings.mail_server is None:
        return None
    client = MailClient(settings.mail_server, most_idle=MAX_IDLE_CONNECTIONS)
    stack.push_async_callback(client.close)
    return client


def _measured(room: Room, settings: ExecutorSettings) -> Room:
    """The room, with metrics that show how many runs there is room for, and how many there are."""
    RUNS_RUNNING.set_function(lambda: room.slots.taken)
    EXECUTOR_SLOTS.set(settings.executor_concurrency)
    return room


def _write_log(logbook: Logbook, secrets: Secrets, line: LogLine) -> None:
    """What actions log of their own accord: the words of other servers, mostly."""
    redactor = secrets.redactor(line.environment)
    logbook.write(line._replace(message=redactor.text(line.message), details=redactor.value(line.details)))


def name_owner() -> str:
    """Who claims, for everyone who reads the row: host, process, and random digits, since both are used again."""
    return f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"
