"""What the ingress's handlers and loops work with: opened once, and shared by them all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from penstock.broker.port import Broker
from penstock.broker.publisher import Publisher
from penstock.db import Database
from penstock.encryption import Keyring
from penstock.http_server import EventStreams
from penstock.outgoing.client import Outgoing
from penstock.runtime import Resources, Stop
from penstock.store.installation import Installation
from penstock.store.replicas import Replica
from penstock.store.secrets import Secrets
from penstock.store.workload import Meter
from penstock.things.files import Files
from penstock.things.hashing import Hashing
from penstock.things.slow_searches import SlowSearches
from penstock.things.storage import open_storage
from penstock_ingress.accepting.acceptance import Acceptance
from penstock_ingress.accepting.access import Access
from penstock_ingress.accepting.answers import Answers
from penstock_ingress.accepting.definitions import Definitions
from penstock_ingress.accepting.identities import Identities
from penstock_ingress.accepting.issuers import Issuers
from penstock_ingress.accepting.keys import KeyFetcher, fetching_keys
from penstock_ingress.accepting.positions import Positions
from penstock_ingress.accepting.rates import Rates
from penstock_ingress.accepting.signals import Signals
from penstock_ingress.accepting.watching import Watching
from penstock_ingress.console.oidc import OidcLogin
from penstock_ingress.console.sessions import Sessions
from penstock_ingress.settings import IngressSettings


@dataclass(frozen=True, slots=True)
class Room:
    """`reply_to` is the queue on which this process hears how runs ended; `keyring` seals what is not to be stored.
    Batches of imports, and exports, take turns, so that they leave connections to the others.
    """

    settings: IngressSettings
    database: Database
    broker: Broker
    publisher: Publisher
    definitions: Definitions
    secrets: Secrets
    acceptance: Acceptance
    answers: Answers
    signals: Signals
    keys: KeyFetcher
    access: Access
    sessions: Sessions
    oidc: OidcLogin | None
    rates: Rates
    reply_to: str
    meter: Meter
    slow_searches: SlowSearches
    replica: Replica
    watching: Watching
    installation: Installation
    keyring: Keyring | None
    files: Files
    streams: EventStreams
    stop: Stop
    import_turns: asyncio.Semaphore
    export_turns: asyncio.Semaphore
    positions: Positions
    hashing: Hashing
    drawing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    """Pictures of chains are made one after the other: each may read many runs."""

    async def leave(self) -> None:
        """Give those who wait for a run a moment, then tell them where to ask."""
        await self.answers.wait_until_none(self.settings.shutdown_grace_seconds / 3)
        self.answers.release()

    async def finish(self) -> None:
        """Wait until all that was accepted is committed, and dispatched or given up."""
        await self.acceptance.drain()

    async def release(self) -> None:
        """Write what was metered, and what is still being accepted."""
        await self.meter.close()
        await self.slow_searches.close()
        await self.acceptance.drain()
        await self.replica.leave()
        self.hashing.close()


def _share_of(database: Database) -> int:
    """How many connections one kind of long work may have: a quarter of them."""
    return max(1, database.most_connections // 4)


@asynccontextmanager
async def open_room(settings: IngressSettings, resources: Resources, stop: Stop) -> AsyncIterator[Room]:
    """An ingress's room that works with `resources`, for as long as the block lasts."""
    publisher = Publisher(resources.broker)
    answers = Answers(resources.database)
    keyring = settings.keyring
    secrets = Secrets(resources.database, keyring)
    await secrets.open()
    outgoing = Outgoing(settings.outgoing_allow)
    async with fetching_keys(outgoing) as keys:
        issuers = Issuers(keys)
        definitions = Definitions(resources.database, secrets, keys.store)
        access = Access(
            resources.database,
            settings.admin_token,
            identities=Identities(resources.database, definitions, issuers),
            max_wrong=settings.max_wrong_tokens,
        )
        yield Room(
            settings=settings,
            database=resources.database,
            broker=resources.broker,
            publisher=publisher,
            definitions=definitions,
            secrets=secrets,
            acceptance=Acceptance(resources.database, resources.broker, publisher),
            answers=answers,
            signals=Signals(resources.database),
            keys=keys,
            access=access,
            sessions=Sessions(resources.database, access),
            oidc=None if settings.console_oidc is None else OidcLogin(settings.console_oidc, outgoing, issuers),
            rates=Rates(settings.rate_limit),
            reply_to=await resources.broker.open_reply_queue(answers.receive),
            meter=Meter(resources.database),
            slow_searches=SlowSearches(resources.database),
            watching=Watching(resources.database),
            replica=Replica(resources.database, "ingress", resources.pulse.find_stuck),
            installation=Installation(resources.database),
            keyring=keyring,
            files=Files(resources.database, open_storage(settings)),
            streams=EventStreams(stop.soft),
            stop=stop,
            import_turns=asyncio.Semaphore(_share_of(resources.database)),
            export_turns=asyncio.Semaphore(_share_of(resources.database)),
            positions=Positions(),
            hashing=Hashing(),
        )
