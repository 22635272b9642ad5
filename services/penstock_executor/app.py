"""One executor, from its settings to its last released lease."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from secrets import token_hex
from typing import Final

from aiohttp import web

from penstock.broker.port import Broker, Delivery
from penstock.broker.publisher import Publisher
from penstock.contracts.messages import ExecuteRuns
from penstock.contracts.topology import EVENTS_EXCHANGE, executor_queue
from penstock.http_server import serving
from penstock.logs import get_logger
from penstock.mail.smtp import MailClient
from penstock.metrics import RUNS_RUNNING
from penstock.runtime import Resources, Stop, add_probes, open_resources, run_every
from penstock.store.deployments import DeploymentCache
from penstock.store.installation import Installation
from penstock.store.logs import LogLine
from penstock.store.secrets import PERIOD_SECONDS as SECRETS_SECONDS
from penstock.store.secrets import Secrets
from penstock.store.workload import FLUSH_SECONDS, Meter
from penstock_executor.handlers import HANDLERS, note_cancelled, release_unfinished
from penstock_executor.holding.claims import Claims
from penstock_executor.holding.leases import Leases
from penstock_executor.holding.limits import Limits
from penstock_executor.holding.slots import Slots
from penstock_executor.holding.threads import Threads
from penstock_executor.outside.outgoing import Outgoing
from penstock_executor.planning.library import Library
from penstock_executor.room import Room
from penstock_executor.settings import ExecutorSettings
from penstock_executor.steps.tools import Mailing, Tools
from penstock_executor.writing.bulk import hold_run
from penstock_executor.writing.children import Children
from penstock_executor.writing.commits import Commits
from penstock_executor.writing.logbook import Logbook

log = get_logger(__name__)

_MOST_MESSAGES: Final = 20
"""Messages held while they wait for slots; each names up to a hundred runs, and an executor should not hoard what
others could do.
"""
_CLEANUP_SECONDS: Final = 5.0
_CONNECTIONS_PER_BULK: Final = 5
"""Of how many connections one may be kept by a bulk step (an export takes a second one, now and then)."""
_EXPIRY_SECONDS: Final = 0.5
"""How often it is looked whether a lease has run out; shorter than what a scheduler takes to hand the run to another
executor.
"""


async def serve(settings: ExecutorSettings, stop: Stop, resources: Resources | None = None) -> None:
    """Perform runs until `stop` is requested and what is in flight is finished.

    When cancelled, gives back what is not. With `resources`, which stay open, there is no admin port.
    """
    async with AsyncExitStack() as stack:
        if resources is None:
            resources = await stack.enter_async_context(open_resources(settings, "executor"))
            await stack.enter_async_context(serving(_make_admin(resources), settings.admin_host, settings.admin_port))
        room = await stack.enter_async_context(open_room(settings, resources))
        log.info("service.ready", service="executor", concurrency=settings.executor_concurrency)
        await perform_until_stopped(room, resources.broker, stop)


@asynccontextmanager
async def open_room(settings: ExecutorSettings, resources: Resources) -> AsyncIterator[Room]:
    """All that the handlers work with. What is unfinished when the block is left is given back."""
    database, publisher = resources.database, Publisher(resources.broker)
    library, children = Library(DeploymentCache(database)), Children(publisher)
    bulk = asyncio.Semaphore(max(1, database.most_connections // _CONNECTIONS_PER_BULK))
    logbook = Logbook(database)
    mailing = Mailing(None if settings.mail_server is None else MailClient(settings.mail_server), settings.mail_sender)
    async with AsyncExitStack() as stack:
        outgoing = Outgoing(settings.outgoing_allow)
        stack.push_async_callback(outgoing.close)
        secrets = Secrets(database, settings.keyring)
        await secrets.open()
        room = Room(
            database=database,
            publisher=publisher,
            tools=Tools(
                database=database,
                bulk=bulk,
                hold=hold_run,
                send=outgoing.send,
                installation=Installation(database),
                publisher=publisher,
                find_app=library.find_app,
                schedule=children.schedule,
                mail=mailing,
                secrets=secrets,
                write_log=partial(_write_log, logbook, secrets),
            ),
            library=library,
            limits=Limits(database, library),
            slots=Slots(settings.executor_concurrency),
            claims=Claims(database, publisher, owner=name_owner(), lease=settings.lease),
            leases=Leases(database, settings.lease),
            commits=Commits(database, bulk),
            logbook=logbook,
            meter=Meter(database),
            secrets=secrets,
            threads=Threads(settings.executor_threads),
            app_directory=None if settings.app is None else settings.app.resolve(),
        )
        RUNS_RUNNING.set_function(lambda: room.slots.taken)
        try:
            yield room
        finally:
            await _leave(room)


def _write_log(logbook: Logbook, secrets: Secrets, line: LogLine) -> None:
    """What actions log of their own accord: the words of other servers, mostly."""
    redactor = secrets.redactor(line.environment)
    logbook.write(line._replace(message=redactor.text(line.message), details=redactor.value(line.details)))


async def perform_until_stopped(room: Room, broker: Broker, stop: Stop) -> None:
    """Take messages until a soft stop, then finish the runs in flight. Leases are renewed for as long as there are
    any.
    """
    leases = room.leases
    keeping = [
        asyncio.create_task(run_every(leases.period_seconds, leases.renew, Stop())),
        asyncio.create_task(run_every(_EXPIRY_SECONDS, leases.stop_expired, Stop())),
        asyncio.create_task(run_every(FLUSH_SECONDS, room.meter.flush, Stop())),
        asyncio.create_task(run_every(SECRETS_SECONDS, room.secrets.refresh, Stop())),
    ]
    try:
        consumer = await broker.consume(executor_queue(), partial(_handle, room), prefetch=_MOST_MESSAGES)
        try:
            await broker.subscribe(EVENTS_EXCHANGE, "*.run.cancelled", partial(note_cancelled, room))
            await stop.soft.wait()
            log.info("service.draining", service="executor", runs=room.slots.taken)
        finally:
            room.slots.close()
            await consumer.stop()
        await consumer.drain()
        await room.wait_until_idle()
    finally:
        for task in keeping:
            task.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)


def name_owner() -> str:
    """Who claims, for whoever looks at the row: host, process, and a few random digits because both come again."""
    return f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"


async def _handle(room: Room, delivery: Delivery) -> None:
    handle = HANDLERS.get(delivery.message.type or ExecuteRuns.TYPE)
    if handle is None:
        await delivery.dead_letter(f"executors do not know messages of type {delivery.message.type!r}")
    else:
        await handle(room, delivery)


async def _leave(room: Room) -> None:
    room.slots.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLEANUP_SECONDS):
            try:
                await release_unfinished(room)
            except Exception as error:
                log.warning("run.release_failed", error=f"{type(error).__name__}: {error}")
            await room.logbook.drain()
            await room.meter.close()


def _make_admin(resources: Resources) -> web.Application:
    admin = web.Application()
    add_probes(admin, {"database": resources.database.is_ready, "broker": partial(_is_connected, resources.broker)})
    return admin


async def _is_connected(broker: Broker) -> bool:
    return broker.is_connected
