"""What every peer does: insert one row. And the command line by which `drive` calls the programs.

`PROGRAM setup`, `PROGRAM enqueue N`, `PROGRAM paced N PER_SECOND`, `PROGRAM work`.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any

import asyncpg

DATABASE = os.environ["PEER_DATABASE_URL"]
AMQP = os.environ.get("PEER_AMQP_URL", "")
PAYLOAD = "x" * 256
CONNECTIONS = 16
INSERT = "INSERT INTO things (job, asked, began, payload) VALUES ($1, $2, $3, $4)"
INSERT_BY_PSYCOPG = "INSERT INTO things (job, asked, began, payload) VALUES (%s, %s, %s, %s)"

Command = Callable[..., Awaitable[None]]


async def open_pool() -> Any:
    """Connections for the work."""
    return await asyncpg.create_pool(DATABASE, min_size=4, max_size=CONNECTIONS)


async def insert(pool: Any, job: int, asked: float) -> None:
    """The work, in code that is async."""
    began = time.time()
    await pool.execute(INSERT, job, asked, began, PAYLOAD)


async def side_by_side(calls: Iterator[Callable[[], Awaitable[object]]], width: int) -> None:
    """Await these calls, `width` of them at the same time."""

    async def go() -> None:
        for call in calls:
            await call()

    await asyncio.gather(*(go() for _ in range(width)))


def paced(count: int, per_second: float) -> Iterator[int]:
    """The numbers up to `count`, each when its time has come; blocks meanwhile."""
    first = time.time()
    for number in range(count):
        time.sleep(max(first + number / per_second - time.time(), 0))
        yield number


async def paced_async(count: int, per_second: float) -> AsyncIterator[int]:
    """The same, without blocking."""
    first = time.time()
    for number in range(count):
        await asyncio.sleep(max(first + number / per_second - time.time(), 0))
        yield number


def main(commands: Mapping[str, Callable[..., object]]) -> None:
    """Call the command that the process was started with; prints how many seconds it took."""
    name, *numbers = sys.argv[1:]
    began = time.perf_counter()
    outcome = commands[name](*(int(number) for number in numbers))
    if asyncio.iscoroutine(outcome):
        asyncio.run(outcome)
    print(time.perf_counter() - began)
