"""What actions use of the room."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from penstock.broker.publisher import Publisher
from penstock.contracts.messages import ChildRun
from penstock.db import Connection, Database
from penstock.definitions.models import App
from penstock.domain.mail_addresses import Address
from penstock.encryption import Keyring
from penstock.mail.smtp import MailClient
from penstock.outgoing.exchange import Request, Response
from penstock.store.deployments import CompiledDeployment
from penstock.store.installation import Installation
from penstock.store.logs import LogLine
from penstock.store.secrets import Secrets
from penstock.things.files import Files
from penstock.things.hashing import Hashing
from penstock.things.slow_searches import SlowSearches
from penstock_executor.runs import ClaimedRun

MAX_MAILS: Final = 20
MAX_MAILS_WITH_FILES: Final = 4
"""These take memory: up to a hundred megabytes each."""
MAX_IDLE_CONNECTIONS: Final = 4
"""To the mail server, kept for the next mails."""


@dataclass(frozen=True, slots=True)
class Mailing:
    """How mail leaves: the mail server if there is one, the default sender, and slots for mails sent at once."""

    client: MailClient | None
    sender: Address
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_MAILS))
    places_with_files: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_MAILS_WITH_FILES))


@dataclass(frozen=True, slots=True)
class Tools:
    """What actions use of the room.

    `find_app(environment)` is the app that is deployed now, for what is started from here on, and `known(environment)`
    the deployment that this process last saw, if any. `schedule(environment,
    depth, child, patience_seconds)` returns when the broker has taken the request; raises Interrupted when it does not
    for so long. `send(request, timeout_seconds)` asks another server. `bulk` is to be held by everyone who keeps a
    connection for long: it leaves enough of them to the others, and to the leases above all. `hold(conn, run)` locks
    the run's row for the transaction; raises LeaseLost when this attempt no longer holds the run. `keyring` opens
    what is sealed in runs; None where none is set. `write_log` has a line of the app's log written soon.
    """

    database: Database
    files: Files
    slow_searches: SlowSearches
    bulk: asyncio.Semaphore
    hold: Callable[[Connection, ClaimedRun], Awaitable[None]]
    send: Callable[[Request, float], Awaitable[Response]]
    installation: Installation
    publisher: Publisher
    find_app: Callable[[str], Awaitable[App]]
    known: Callable[[str], CompiledDeployment | None]
    schedule: Callable[[str, int, ChildRun, float], Awaitable[None]]
    mail: Mailing
    secrets: Secrets
    hashing: Hashing
    keyring: Keyring | None
    write_log: Callable[[LogLine], None]
