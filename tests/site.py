"""What the tests of every service stand on: an app as text or a directory, a database, services in this process."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

from penstock.db import Database, Record
from penstock.definitions.models import App
from penstock.deploying import deploy
from penstock.reading.loader import LoadResult, load_app, load_files
from penstock.runtime import Resources, Serve, Stop
from penstock.settings import CommonSettings

S = TypeVar("S", bound=CommonSettings)
DRAIN_SECONDS = 20
UNUSED = {"database_url": "postgresql://unused", "amqp_url": "amqp://unused"}
"""The settings that name servers, of a service that is handed its resources."""


@dataclass
class Site:
    """A database, and what a test asks of it."""

    database: Database

    async def fetch(self, statement: str, *arguments: object) -> list[Record]:
        """The rows of any query."""
        async with self.database.connection() as conn:
            return await conn.fetch(statement, *arguments)

    async def fetchval(self, statement: str, *arguments: object) -> object:
        """One value of any query."""
        async with self.database.connection() as conn:
            value: object = await conn.fetchval(statement, *arguments)
            return value


@dataclass
class Service:
    """One service in this process."""

    stop: Stop
    task: asyncio.Task[None]

    def drain(self) -> None:
        """What the first SIGTERM does."""
        self.stop.request()

    async def kill(self) -> None:
        """What the end of the grace period does."""
        self.task.cancel()
        await asyncio.wait({self.task})


@asynccontextmanager
async def serving(serve: Serve[S], settings: S, resources: Resources | None = None) -> AsyncIterator[Service]:
    """A service that works while the block runs, and drains at its end. Raises what ended it before."""
    stop = Stop()
    service = Service(stop, asyncio.create_task(serve(settings, stop, resources)))
    try:
        yield service
    finally:
        service.drain()
        async with asyncio.timeout(DRAIN_SECONDS):
            await asyncio.wait({service.task})
        if not service.task.cancelled():
            service.task.result()


def read_app(files: Mapping[str, str]) -> App:
    """The app that these files make. Raises AssertionError with all that is wrong with it."""
    return _read_files(tuple(files.items()))


async def deploy_files(database: Database, files: Mapping[str, str], *environments: str) -> App:
    """Make the app of these files the current one of `environments`. Raises AssertionError as `read_app` does."""
    return await _deploy(database, read_app(files), environments)


async def deploy_directory(
    database: Database, directory: Path, environments: Sequence[str] = ("development", "live")
) -> App:
    """Make the app in a directory the current one. Raises AssertionError as `read_app` does."""
    app = _read_directory(directory, tuple((path, path.read_bytes()) for path in sorted(directory.rglob("*.y*ml"))))
    if app.python:  # its code is imported each time
        app = _app_of(load_app(directory))
    return await _deploy(database, app, environments)


async def _deploy(database: Database, app: App, environments: Sequence[str]) -> App:
    for environment in environments:
        await database.in_transaction(partial(deploy, environment=environment, app=app))
    return app


# The tests of a file deploy the same app each: reading it takes longer than most of them.
@lru_cache(maxsize=100)
def _read_files(files: tuple[tuple[str, str], ...]) -> App:
    return _app_of(load_files({name: content.encode() for name, content in files}))


@lru_cache(maxsize=20)
def _read_directory(directory: Path, _contents: tuple[tuple[Path, bytes], ...]) -> App:
    return _app_of(load_app(directory))


def _app_of(result: LoadResult) -> App:
    assert result.app is not None, "\n".join(str(problem) for problem in result.problems)
    return result.app
