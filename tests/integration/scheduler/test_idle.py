"""What a scheduler and an executor ask PostgreSQL while there is nothing to do."""

import asyncio
from collections import Counter, deque
from contextlib import AsyncExitStack
from dataclasses import fields
from typing import NamedTuple
from uuid import UUID

from asyncpg.connection import LoggedQuery

from penstock.broker.port import Broker
from penstock.contracts.envelope import Message
from penstock.contracts.messages import WakeScheduler
from penstock.db import open_database
from penstock.runtime import Resources, Stop
from penstock_executor.app import serve as serve_executor
from penstock_executor.settings import ExecutorSettings
from penstock_scheduler.admitting.nudges import Nudges
from penstock_scheduler.app import serve as serve_scheduler
from penstock_scheduler.handlers import wake_scheduler
from penstock_scheduler.loops.looking import look_now
from penstock_scheduler.room import Room, furnish
from penstock_scheduler.settings import SchedulerSettings
from tests.eventually import eventually
from tests.integration.scheduling import Station, build_settings
from tests.site import UNUSED, serving

MAX_A_SECOND = 32
"""Twenty looks at the inbox, four at what others have left, one at what is due, and a few things that are rarer."""
COUNTED = 80
"""About three seconds of them; in the first second of a process, each of its loops takes a turn."""
CONNECTIONS = 3
LOOPS = tuple(field.name for field in fields(Nudges) if field.name not in {"is_reconnected", "_woken_at"})


class Asked(NamedTuple):
    at: float
    statement: str


async def test_an_idle_installation_asks_few_statements(database_url: str, broker: Broker) -> None:
    asked = deque[Asked](maxlen=COUNTED)
    clock = asyncio.get_running_loop().time

    def count(query: LoggedQuery) -> None:
        asked.append(Asked(clock(), " ".join(query.query.split())[:100]))

    def is_quiet() -> bool:
        rate = len(asked) / (asked[-1].at - asked[0].at) if len(asked) == COUNTED else 0.0
        assert rate < MAX_A_SECOND, f"{rate:.0f} a second: {Counter(one.statement for one in asked).most_common()}"
        return len(asked) == COUNTED

    database = await open_database(database_url, name="idle", most=CONNECTIONS)
    async with AsyncExitStack() as stack:
        for _ in range(CONNECTIONS):
            connection = await stack.enter_async_context(database.connection())
            connection.add_query_logger(count)
    resources = Resources(database, broker)
    scheduler, executor = SchedulerSettings.model_validate(UNUSED), ExecutorSettings.model_validate(UNUSED)
    async with serving(serve_scheduler, scheduler, resources), serving(serve_executor, executor, resources):
        await eventually(is_quiet, within=20)
    await database.close()


async def test_whoever_wakes_a_scheduler_wakes_only_the_loops_that_have_something(station: Station) -> None:
    room = furnish(build_settings(), Resources(station.database, station.broker), Stop())
    body = WakeScheduler().encode()
    await wake_scheduler(room, Message(body, type=WakeScheduler.TYPE))
    assert list_woken(room) == {"look"}
    room.nudges.look.clear()
    await look_now(room)
    assert list_woken(room) == set()
    async with station.database.connection() as conn:
        await conn.execute("INSERT INTO penstock.ends (run_id, state, change) VALUES ($1, 'failed', 1)", UUID(int=7))
    await look_now(room)
    assert list_woken(room) == {"ends"}


def list_woken(room: Room) -> set[str]:
    """The loops that are about to take a turn."""
    return {name for name in LOOPS if getattr(room.nudges, name).is_set()}
