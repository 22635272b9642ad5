"""`penstock up`: the same three services in one process, on a PostgreSQL and a broker of its own unless others are
named.

Order of life: data directory → database → migrations → deployment → services → watching the app's files; and back the
same way.
"""

import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from penstock.broker.inprocess import InProcessBroker
from penstock.broker.port import Broker
from penstock.broker.rabbitmq import connect
from penstock.contracts.topology import topology
from penstock.db import Database, open_database
from penstock.db.migrations import migrate
from penstock.embedded.claiming import Places, check_alone, check_ports, hold_directory
from penstock.embedded.deploying import Deployed, deploy_directory, redeploy_on_change
from penstock.embedded.fleet import Fleet, OpenBroker
from penstock.embedded.keys import keep_key, keep_token
from penstock.embedded.postgres import embedded_postgres
from penstock.embedded.presence import Presence, announce
from penstock.embedded.services import SERVICES
from penstock.embedded.settings import ServerSettings
from penstock.encryption import parse_keyring
from penstock.errors import ConfigurationError, PenstockError
from penstock.runtime import Stop, unless_stopped
from penstock.settings import KEY_VARIABLE, read_settings
from penstock.store.secrets import Secrets

_IN_PROCESS: Final = "amqp://in-process"
"""Stands for an AMQP URL in the settings of services that are given a broker."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to serve, and where. `app` None serves what is deployed already; `lease_seconds` None leaves it to the
    settings.
    """

    app: Path | None
    data: Path
    host: str
    port: int
    admin_host: str
    admin_port: int
    environments: tuple[str, ...]
    is_reloading: bool = True

    @property
    def places(self) -> Places:
        """Where it listens."""
        return Places(self.host, self.port, self.admin_host, self.admin_port)


@dataclass(frozen=True, slots=True)
class Running:
    """What is being served."""

    url: str
    admin_url: str
    token: str
    is_token_kept: bool
    environments: tuple[str, ...]
    deployed: Deployed | None
    database: str
    broker: str
    fleet: Fleet
    secrets: Secrets


class Show(Protocol):
    """Shows a person what happens."""

    def beginning(self, stage: str) -> None:
        """A part of the start begins that may take seconds."""

    def serving(self, running: Running) -> None:
        """All services are ready."""

    def deployed(self, outcome: Deployed | PenstockError) -> None:
        """A file of the app was changed, and this came of it."""


Play = Callable[[Running], Coroutine[object, object, None]]


async def serve_all(options: Options, show: Show, play: Play | None, stop: Stop) -> None:
    """Serve until a soft stop, then drain. `play` runs once everything is ready. A stop before that gives it all up.

    Raises ConfigurationError for what a person has to change first: a port that is taken, a data directory in use or
    not to be written, a broken app.
    """
    check_alone(options.data)  # first: such a neighbour has the ports too
    check_ports(options.places)
    hold_directory(options.data)
    async with AsyncExitStack() as stack:
        begun = await unless_stopped(stop, _begin(stack, options, show))
        if begun is not None:
            running, database = begun
            await _serve(running, database, options, show, play, stop)


async def _begin(stack: AsyncExitStack, options: Options, show: Show) -> tuple[Running, Database]:
    """All that the services need. It is closed with the stack."""
    given = read_settings(ServerSettings)
    database_url = given.database_url
    if database_url is None:
        show.beginning(f"starting a PostgreSQL of its own in {options.data}")
        database_url = await stack.enter_async_context(embedded_postgres(options.data))
    token = given.admin_token.get_secret_value() if given.admin_token else keep_token(options.data)
    os.environ[KEY_VARIABLE] = given.secret_key.get_secret_value() if given.secret_key else keep_key(options.data)
    _provide(options, database_url, given.amqp_url or _IN_PROCESS, token)
    database = await stack.enter_async_context(_open_database(database_url, given.database_connections))
    show.beginning("bringing the database up to date")
    await migrate(database)
    secrets = Secrets(database, parse_keyring(os.environ[KEY_VARIABLE]))
    await secrets.open()
    if options.app is not None:
        show.beginning(f"deploying the app in {options.app}")
    deployed = await _deploy_first(database, options)
    running = Running(
        url=_url(options.host, options.port),
        admin_url=_url(options.admin_host, options.admin_port),
        token=token,
        is_token_kept=given.admin_token is None,
        environments=options.environments,
        deployed=deployed,
        database="PENSTOCK_DATABASE_URL" if given.database_url else f"PostgreSQL of its own in {options.data}",
        broker="PENSTOCK_AMQP_URL" if given.amqp_url else "in this process",
        fleet=Fleet(database_url, database, _broker_opener(given.amqp_url)),
        secrets=secrets,
    )
    presence = Presence(database_url, given.amqp_url, running.url, running.admin_url)
    stack.enter_context(announce(options.data, presence))
    return running, database


async def _serve(
    running: Running, database: Database, options: Options, show: Show, play: Play | None, stop: Stop
) -> None:
    fleet = running.fleet
    try:
        show.beginning("starting the services")
        if await unless_stopped(stop, _start_services(running)):
            show.serving(running)
            if options.app is not None and options.is_reloading:
                fleet.accompany(redeploy_on_change(database, options.app, options.environments, show.deployed))
            if play is not None:
                fleet.accompany(play(running))
            await fleet.wait(stop)
        await fleet.dismiss()  # first: to the story that is played, services that leave look like services that fail
        await fleet.drain_all()
    finally:
        await fleet.close()


async def _start_services(running: Running) -> bool:
    for name in SERVICES:
        await running.fleet.start(name)
    await running.fleet.wait_until_ready(running.admin_url)
    return True


def _provide(options: Options, database_url: str, amqp_url: str, token: str) -> None:
    """Set the variables that the services read their settings from, as a deployment would."""
    os.environ.update(
        PENSTOCK_DATABASE_URL=database_url,
        PENSTOCK_AMQP_URL=amqp_url,
        PENSTOCK_ADMIN_TOKEN=token,
        PENSTOCK_HOST=options.host,
        PENSTOCK_PORT=str(options.port),
        PENSTOCK_ADMIN_HOST=options.admin_host,
        PENSTOCK_ADMIN_PORT=str(options.admin_port),
    )
    os.environ.setdefault("PENSTOCK_CONSOLE_URL", _url(options.admin_host, options.admin_port))
    if options.app is not None:
        os.environ["PENSTOCK_APP"] = str(options.app.resolve())


@asynccontextmanager
async def _open_database(url: str, most: int) -> AsyncIterator[Database]:
    database = await open_database(url, name="penstock up", most=most, wait_seconds=10)
    try:
        yield database
    finally:
        await database.close()


def _broker_opener(amqp_url: str | None) -> OpenBroker:
    node = InProcessBroker(topology())

    async def open_client(name: str) -> Broker:
        return node.share() if amqp_url is None else await connect(amqp_url, topology=topology(), name=name)

    return open_client


async def _deploy_first(database: Database, options: Options) -> Deployed | None:
    if options.app is None:
        return None
    deployed = await deploy_directory(database, options.app, options.environments)
    if deployed.app is None and not options.is_reloading:
        problems = "\n".join(f"  {problem}" for problem in deployed.problems)
        raise ConfigurationError(f"{options.app} has errors, so there is nothing to serve:\n{problems}")
    return deployed


def _url(host: str, port: int) -> str:
    # By number: a bare container may not know what localhost is.
    shown = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"
