"""One scheduler, from its settings to its last turn."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from aiohttp import web

from penstock.broker.port import Broker
from penstock.contracts.topology import SCHEDULER_QUEUE
from penstock.http_server import serving
from penstock.logs import get_logger
from penstock.runtime import Resources, Stop, add_probes, open_resources
from penstock.store.workload import FLUSH_SECONDS
from penstock_scheduler.admitting.nudges import Nudges
from penstock_scheduler.handlers import receive
from penstock_scheduler.loops import Loop, repeat
from penstock_scheduler.loops.changes import start_changes
from penstock_scheduler.loops.dispatching import dispatch_due, redispatch_lost
from penstock_scheduler.loops.inbox import admit_inbox
from penstock_scheduler.loops.lists import advance_sequential, expand_lists, finish_lists
from penstock_scheduler.loops.notifying import notify
from penstock_scheduler.loops.reaping import reap_leases
from penstock_scheduler.loops.recurrences import tick_recurrences
from penstock_scheduler.loops.run_events import start_run_events
from penstock_scheduler.loops.upkeep import (
    delete_expired_keys,
    delete_old_files,
    delete_signals,
    make_partitions,
    measure_backlog,
)
from penstock_scheduler.loops.waking import wake_waiting
from penstock_scheduler.loops.workload import delete_old_workload, flush_workload, watch_workload
from penstock_scheduler.room import Room, furnish
from penstock_scheduler.settings import SchedulerSettings

log = get_logger(__name__)

_PREFETCH: Final = 500


async def serve(settings: SchedulerSettings, stop: Stop, resources: Resources | None = None) -> None:
    """Schedule until `stop` is requested and what is in flight is finished. With `resources`, which stay open, there is
    no admin port.
    """
    async with AsyncExitStack() as stack:
        if resources is None:
            resources = await stack.enter_async_context(open_resources(settings, "scheduler"))
            await stack.enter_async_context(serving(_make_admin(resources), settings.admin_host, settings.admin_port))
        room = furnish(settings, resources, stop)
        log.info("service.ready", service="scheduler")
        await schedule_until_stopped(room)


def list_loops(nudges: Nudges) -> tuple[Loop, ...]:
    """All that a scheduler does by itself, and how often, in seconds."""
    return (
        Loop("dispatch_due", 1.0, dispatch_due, nudges.dispatch),
        Loop("wake_waiting", 1.0, wake_waiting, nudges.waits),
        Loop("start_changes", 0.25, start_changes),
        Loop("start_run_events", 0.25, start_run_events),
        Loop("admit_inbox", 0.05, admit_inbox),
        Loop("tick_recurrences", 1.0, tick_recurrences, nudges.tick),
        Loop("redispatch_lost", 2.0, redispatch_lost, nudges.redispatch),
        Loop("reap_leases", 1.0, reap_leases),
        Loop("expand_lists", 1.0, expand_lists, nudges.expand),
        Loop("advance_sequential", 0.5, advance_sequential),
        Loop("finish_lists", 2.0, finish_lists),
        Loop("notify", 2.0, notify),
        Loop("flush_workload", FLUSH_SECONDS, flush_workload),
        Loop("watch_workload", 60.0, watch_workload),
        Loop("measure_backlog", 5.0, measure_backlog),
        Loop("make_partitions", 3600.0, make_partitions),
        Loop("delete_expired_keys", 600.0, delete_expired_keys),
        Loop("delete_old_files", 600.0, delete_old_files),
        Loop("delete_signals", 600.0, delete_signals),
        Loop("delete_old_workload", 3600.0, delete_old_workload),
    )


async def schedule_until_stopped(room: Room) -> None:
    """Take messages and turns until a soft stop; then finish the messages, turns and dispatches under way."""
    room.broker.on_reconnect(room.nudges.note_reconnect)
    consumer = await room.broker.consume(SCHEDULER_QUEUE, partial(receive, room), prefetch=_PREFETCH)
    try:
        async with asyncio.TaskGroup() as loops:
            for loop in list_loops(room.nudges):
                loops.create_task(repeat(loop, room, room.stop), name=loop.name)
            await room.stop.soft.wait()
            log.info("service.draining", service="scheduler")
            await consumer.stop()
            await consumer.drain()
        await room.admissions.drain()
        await room.dispatches.drain()
        await room.meter.close()
    finally:
        await consumer.stop()


def _make_admin(resources: Resources) -> web.Application:
    admin = web.Application()
    add_probes(admin, {"database": resources.database.is_ready, "broker": partial(_is_connected, resources.broker)})
    return admin


async def _is_connected(broker: Broker) -> bool:
    return broker.is_connected
