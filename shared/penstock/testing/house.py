"""The three services of an app under test, in this process, with all that they share."""

import asyncio
import os
import secrets as randomness
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

import aiohttp

from penstock.broker.inprocess import InProcessBroker
from penstock.broker.port import Broker, Delivery
from penstock.contracts.topology import EVENTS_EXCHANGE, topology
from penstock.db import Database, open_database
from penstock.embedded.fleet import Fleet
from penstock.embedded.services import SERVICES
from penstock.encryption import Keyring, make_key, parse_keyring
from penstock.logs import show_warnings_only
from penstock.settings import KEY_VARIABLE, SECRET_PREFIX
from penstock.testing.ports import HOST, find_port

_EXECUTOR: Final = "executor"


@dataclass(slots=True, eq=False)
class House:
    """What an app under test is made of. `settings` are those of every service; `stirred` is set by the next event."""

    directory: Path
    environment: str
    database_url: str
    database: Database
    broker: InProcessBroker
    http: aiohttp.ClientSession
    settings: Mapping[str, object]
    token: str
    port: int = field(default_factory=find_port)
    admin_port: int = field(default_factory=find_port)
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    _fleet: Fleet | None = None

    @property
    def url(self) -> str:
        """The public port."""
        return f"http://{HOST}:{self.port}"

    @property
    def admin_url(self) -> str:
        """The admin port."""
        return f"http://{HOST}:{self.admin_port}"

    @property
    def lease(self) -> timedelta:
        """How long a claim holds."""
        return timedelta(seconds=float(str(self.settings["lease_seconds"])))

    @property
    def keyring(self) -> Keyring:
        """What seals passwords."""
        return parse_keyring(str(self.settings["secret_key"]))

    async def start(self) -> None:
        """Start the services and wait until they are ready."""
        self._fleet = Fleet(self.database_url, self.database, self._open_client)
        for name in SERVICES:
            await self._fleet.start(name, is_apart=name == _EXECUTOR, given=self._given)
        await self._fleet.wait_until_ready(self.admin_url)

    async def restart(self) -> None:
        """Drain the services, then start them again."""
        assert self._fleet is not None, "started"
        await self._fleet.drain_all()
        await self.close()
        await self.start()

    async def crash_executor(self) -> None:
        """Lose the executor, and start another."""
        assert self._fleet is not None, "started"
        await self._fleet.lose(self._fleet.find(_EXECUTOR))
        await self._fleet.start(_EXECUTOR, is_apart=True, given=self._given)

    async def close(self) -> None:
        """End the services; what is unfinished is given back."""
        if self._fleet is not None:
            await self._fleet.close()

    def check(self) -> None:
        """Raise what ended a service by itself, if one has ended."""
        assert self._fleet is not None, "started"
        self._fleet.check()

    async def note_event(self, _: Delivery) -> None:
        """Somebody may wait for what has happened."""
        happened, self.stirred = self.stirred, asyncio.Event()
        happened.set()

    @property
    def _given(self) -> dict[str, object]:
        return {
            "database_url": self.database_url, "amqp_url": "amqp://in-process", "host": HOST, "port": self.port,
            "admin_host": HOST, "admin_port": self.admin_port, "admin_token": self.token, "app": self.directory,
            **self.settings,
        }  # fmt: skip

    async def _open_client(self, _: str) -> Broker:
        return self.broker.share()


@asynccontextmanager
async def open_house(
    directory: Path, *, environment: str, database_url: str, secrets: Mapping[str, str], settings: Mapping[str, object]
) -> AsyncIterator[House]:
    """The house of an app on an empty database, not yet started. All that it has started is ended with the block."""
    async with AsyncExitStack() as stack:
        _set_secrets(secrets, stack)
        stack.callback(show_warnings_only())
        database = await open_database(database_url, name="penstock testing", most=5)
        stack.push_async_callback(database.close)
        broker = InProcessBroker(topology())
        stack.push_async_callback(broker.close)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        # A test's own servers listen on this machine.
        defaults: dict[str, object] = {
            "lease_seconds": 15.0,
            "outgoing_allow": "127.0.0.0/8,::1/128",
            "secret_key": os.environ.get(KEY_VARIABLE) or make_key(),
        }
        token = randomness.token_urlsafe(24)
        house = House(directory, environment, database_url, database, broker, http, {**defaults, **settings}, token)
        await broker.subscribe(EVENTS_EXCHANGE, "#", house.note_event)
        stack.push_async_callback(house.close)
        yield house


def _set_secrets(secrets: Mapping[str, str], stack: AsyncExitStack) -> None:
    """As variables of this process, where the services look for them, until the stack is left."""
    for name, value in secrets.items():
        variable = SECRET_PREFIX + name
        before = os.environ.get(variable)
        os.environ[variable] = value
        if before is None:
            stack.callback(os.environ.pop, variable, None)
        else:
            stack.callback(os.environ.__setitem__, variable, before)
