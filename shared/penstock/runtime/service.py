"""How a service begins and ends, written once: settings → room → edges → run.

A service begins with its database and broker, waits for both, opens its room, and then its edges: ports, queues and
loops. It ends in the order that loses nothing: soft stop → take nothing new → finish what is in flight → release what
is not finished → close the broker, then the pool. A hard stop cancels it wherever it is; what is held is released all
the same.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Generic, Protocol, TypeVar

from aiohttp import web

from penstock.broker.port import Broker, Handler
from penstock.broker.port import Consumer as BrokerConsumer
from penstock.broker.rabbitmq import connect as connect_broker
from penstock.contracts.topology import topology
from penstock.db import Database, open_database
from penstock.db.migrations import find_pending
from penstock.errors import ConfigurationError
from penstock.http_server import serving
from penstock.logs import get_logger
from penstock.metrics import DEAD_LETTERED
from penstock.runtime.loops import Counts, Loop, Room, repeat
from penstock.runtime.probes import Check, Probed, add_probes
from penstock.runtime.pulse import LOOK_SECONDS, Pulse
from penstock.runtime.shutdown import Stop
from penstock.settings import CommonSettings

log = get_logger(__name__)
_ADMIN_SECONDS: Final = 1.0
"""How long open requests to the admin port may still take at the end."""
_RELEASE_SECONDS: Final = 5.0
Settings = TypeVar("Settings", bound=CommonSettings)
Settings_contra = TypeVar("Settings_contra", bound=CommonSettings, contravariant=True)


def _do_nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class Resources:
    """What a service works with, and what knows whether it works. In embedded mode the three services share one set;
    else each opens its own. `on_ready` is called when the service has begun to take work.
    """

    database: Database
    broker: Broker
    pulse: Pulse = field(default_factory=Pulse)
    on_ready: Callable[[], None] = _do_nothing


@dataclass(frozen=True, slots=True)
class Consumer:
    """A queue that a service consumes, what handles its messages, and how many of them are held at a time."""

    queue: str
    handle: Handler
    prefetch: int


@dataclass(frozen=True, slots=True)
class Subscription:
    """Events that a service listens to: those of `exchange` whose routing key matches `pattern`."""

    exchange: str
    pattern: str
    handle: Handler


async def _wait_for_nothing() -> None:
    return


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges(Generic[Room]):
    """Where a room meets the outside, what it does by itself, and how it ends.

    `admin` is served beside the probes, and `required` names what has to be there for the service to be ready; None:
    all. `tasks` and upkeep loops run until nothing is in flight. `leave` is called when nothing new is to be begun,
    `finish` waits for what is in flight, `release` gives back what is not finished; it is called after a hard stop too.
    """

    public: AbstractAsyncContextManager[int] | None = None
    admin: web.Application | None = None
    required: Collection[str] | None = None
    consumers: Sequence[Consumer] = ()
    subscriptions: Sequence[Subscription] = ()
    loops: Sequence[Loop[Room]] = ()
    tasks: Sequence[Callable[[], Coroutine[object, object, None]]] = ()
    leave: Callable[[], None] = _do_nothing
    finish: Callable[[], Awaitable[None]] = _wait_for_nothing
    release: Callable[[], Awaitable[None]] = _wait_for_nothing


class Serve(Protocol[Settings_contra]):
    """Runs a service until a soft stop, with resources of its own unless some are given."""

    async def __call__(self, settings: Settings_contra, stop: Stop, resources: Resources | None = None) -> None: ...


async def run_service(
    name: str,
    settings: Settings,
    stop: Stop,
    resources: Resources | None,
    open_room: Callable[[Settings, Resources, Stop], AbstractAsyncContextManager[Room]],
    make_edges: Callable[[Room], Edges[Room]],
) -> None:
    """Run a service until a soft stop, then until what is in flight is finished.

    Given `resources` are used and left open; then there is no admin port unless the edges have one. Raises
    ConfigurationError for what a person has to change first.

    `open_room` makes all that the handlers work with, and `make_edges` says where they meet the outside.
    """
    async with AsyncExitStack() as stack:
        given = resources
        if given is None:
            given = await stack.enter_async_context(open_resources(settings, name))
        room = await stack.enter_async_context(open_room(settings, given, stop))
        edges = make_edges(room)
        stack.push_async_callback(_release, edges)
        await stack.enter_async_context(_keeping(edges, room, given.pulse))
        admin = edges.admin
        if admin is not None or resources is None:
            admin = _with_probes(admin or web.Application(), given, edges.required, stop)
            port = serving(admin, settings.admin_host, settings.admin_port, limit_seconds=_ADMIN_SECONDS)
            await stack.enter_async_context(port)
        await _take_work(name, room, edges, given, stop)
        await edges.finish()


async def _take_work(name: str, room: Room, edges: Edges[Room], given: Resources, stop: Stop) -> None:
    """Open the edges; close them again at the soft stop, and return when no message is being handled any more."""
    async with AsyncExitStack() as stack:
        broker, pulse = given.broker, given.pulse
        consumers: list[BrokerConsumer] = []
        for queue in edges.consumers:
            DEAD_LETTERED.labels(queue.queue)  # from the start, so that the first one is an increase
            handle = pulse.watch(queue.queue, queue.prefetch, queue.handle)
            consumer = await broker.consume(queue.queue, handle, prefetch=queue.prefetch)
            stack.callback(pulse.forget, queue.queue)
            stack.push_async_callback(consumer.stop)
            consumers.append(consumer)
        for topic in edges.subscriptions:
            await broker.subscribe(topic.exchange, topic.pattern, topic.handle)
        stack.callback(edges.leave)
        if edges.public is not None:
            await stack.enter_async_context(edges.public)
        async with asyncio.TaskGroup() as group:
            for loop in edges.loops:
                if not loop.is_upkeep:
                    group.create_task(repeat(loop, room, stop, pulse), name=loop.name)
            if consumers:
                look = Loop("look_at_queues", LOOK_SECONDS, partial(_look_at_queues, pulse))
                group.create_task(repeat(look, broker, stop, pulse), name=look.name)
            log.info("service.ready", service=name)
            given.on_ready()
            await stop.soft.wait()
            log.info("service.draining", service=name)
            for queue in edges.consumers:
                pulse.forget(queue.queue)
            edges.leave()
            for consumer in consumers:
                await consumer.stop()
            for consumer in consumers:
                await consumer.drain()


async def _look_at_queues(pulse: Pulse, broker: Broker) -> Counts:
    await pulse.look(broker)
    return Counts()


@asynccontextmanager
async def _keeping(edges: Edges[Room], room: Room, pulse: Pulse) -> AsyncIterator[None]:
    """What has to happen again and again for as long as anything is in flight."""
    upkeep = {loop.name: repeat(loop, room, Stop(), pulse) for loop in edges.loops if loop.is_upkeep}
    others = {f"task {number}": work() for number, work in enumerate(edges.tasks, start=1)}
    tasks = [asyncio.create_task(work, name=name) for name, work in {**upkeep, **others}.items()]
    for task in tasks:
        pulse.expect(task.get_name(), task)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _release(edges: Edges[Room]) -> None:
    try:
        async with asyncio.timeout(_RELEASE_SECONDS):
            await edges.release()
    except Exception as error:  # the rest of the service has to end all the same; leases expire by themselves
        log.warning("service.release_failed", error=f"{type(error).__name__}: {error}")


def _with_probes(
    admin: web.Application, resources: Resources, required: Collection[str] | None, stop: Stop
) -> web.Application:
    add_probes(admin, Probed(find_checks(resources), required, resources.pulse, stop.soft.is_set))
    return admin


def find_checks(resources: Resources) -> dict[str, Check]:
    """What a service that works with these needs to be ready."""

    async def has_broker() -> bool:
        return resources.broker.is_connected

    return {"database": resources.database.is_ready, "broker": has_broker}


@asynccontextmanager
async def open_resources(
    settings: CommonSettings, name: str, on_ready: Callable[[], None] = _do_nothing
) -> AsyncIterator[Resources]:
    """The database and the broker of one service process; closed in the order that loses nothing: broker, then pool.

    Raises ConfigurationError when the database lacks a migration of this release, which it would otherwise run into
    again and again.
    """
    database = await open_database(settings.database_url, name=f"penstock {name}", most=settings.database_connections)
    try:
        await _check_migrated(database)
        broker = await connect_broker(settings.amqp_url, topology=topology(), name=f"penstock {name}")
        try:
            yield Resources(database, broker, on_ready=on_ready)
        finally:
            await broker.close()
    finally:
        await database.close()


async def _check_migrated(database: Database) -> None:
    pending = await find_pending(database)
    if pending:
        names = ", ".join(migration.name for migration in pending)
        raise ConfigurationError(
            f"the database is not up to date, it lacks {names}; run `penstock migrate`, then start this again"
        )
