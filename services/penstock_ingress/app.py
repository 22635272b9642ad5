"""Puts the ingress together and runs it. The only file of this room that constructs things."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial

from aiohttp import web

from penstock.broker.publisher import Publisher
from penstock.http_server import serving, serving_handler
from penstock.logs import get_logger
from penstock.runtime import Resources, Stop, add_probes, open_resources, run_every
from penstock.store.installation import Installation
from penstock.store.secrets import PERIOD_SECONDS as SECRETS_SECONDS
from penstock.store.secrets import Secrets
from penstock.store.workload import FLUSH_SECONDS, Meter
from penstock_ingress.accepting.acceptance import Acceptance
from penstock_ingress.accepting.access import AdminTokens
from penstock_ingress.accepting.answers import Answers
from penstock_ingress.accepting.definitions import Definitions
from penstock_ingress.accepting.signals import Signals
from penstock_ingress.room import Room
from penstock_ingress.routes.management import ManagementApi
from penstock_ingress.routes.public import PublicPort
from penstock_ingress.settings import IngressSettings

log = get_logger(__name__)


async def serve(settings: IngressSettings, stop: Stop, resources: Resources | None = None) -> None:
    """Run the ingress until a soft stop, then until what is in flight is finished. Given `resources` are used and left
    open.
    """
    async with AsyncExitStack() as stack:
        if resources is None:
            resources = await stack.enter_async_context(open_resources(settings, "ingress"))
        room = await _open_room(settings, resources, stack)

        admin = _build_admin(room)
        grace = settings.shutdown_grace_seconds / 2
        admin_port = await stack.enter_async_context(
            serving(admin, settings.admin_host, settings.admin_port, limit_seconds=1)
        )
        public = serving_handler(
            PublicPort(room).handle,
            settings.host,
            settings.port,
            most_bytes=settings.max_body_bytes,
            limit_seconds=grace,
            leave=partial(_let_waiting_go, room),
        )
        port = await stack.enter_async_context(public)

        log.info("service.ready", service="ingress", port=port, admin_port=admin_port)
        await stop.soft.wait()
        log.info("service.draining", service="ingress")


async def _open_room(settings: IngressSettings, resources: Resources, stack: AsyncExitStack) -> Room:
    publisher = Publisher(resources.broker)
    answers = Answers(resources.database)
    acceptance = Acceptance(resources.database, resources.broker, publisher)
    stack.push_async_callback(acceptance.drain)
    secrets = Secrets(resources.database, settings.keyring)
    await secrets.open()
    meter = Meter(resources.database)
    stack.push_async_callback(meter.close)
    refreshing = run_every(SECRETS_SECONDS, secrets.refresh, Stop()), run_every(FLUSH_SECONDS, meter.flush, Stop())
    for work in (answers.poll(), *refreshing):
        stack.push_async_callback(_cancel, asyncio.create_task(work))
    return Room(
        settings=settings,
        database=resources.database,
        broker=resources.broker,
        publisher=publisher,
        definitions=Definitions(resources.database, secrets),
        secrets=secrets,
        acceptance=acceptance,
        answers=answers,
        signals=Signals(resources.database),
        admins=AdminTokens(settings.admin_token),
        reply_to=await resources.broker.open_reply_queue(answers.receive),
        meter=meter,
        installation=Installation(resources.database),
    )


def _build_admin(room: Room) -> web.Application:
    async def has_broker() -> bool:
        return room.broker.is_connected

    admin = ManagementApi(room).build()
    # Without the broker everything is accepted all the same, and dispatched when it is back.
    add_probes(admin, {"database": room.database.is_ready, "broker": has_broker}, required={"database"})
    return admin


async def _let_waiting_go(room: Room) -> None:
    """Those who wait for a run are given a moment, then told where to ask."""
    await room.answers.wait_until_none(room.settings.shutdown_grace_seconds / 3)
    room.answers.release()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
