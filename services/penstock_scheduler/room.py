"""What the scheduler's handlers and loops work with: opened once, and shared by them all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from penstock.broker.port import Broker
from penstock.broker.publisher import Publisher
from penstock.db import Database
from penstock.domain.mail_addresses import Address
from penstock.mail.smtp import MailClient
from penstock.outgoing.client import Outgoing
from penstock.runtime import Resources, Stop
from penstock.store.deployments import DeploymentCache
from penstock.store.replicas import Replica
from penstock.store.secrets import Secrets
from penstock.store.workload import Meter
from penstock.things.files import Files
from penstock.things.storage import open_storage
from penstock_scheduler.admitting.admissions import Admissions
from penstock_scheduler.admitting.crowd_watch import CrowdWatch
from penstock_scheduler.admitting.dispatches import Dispatches
from penstock_scheduler.admitting.lease_watch import LeaseWatch
from penstock_scheduler.admitting.nudges import Nudges
from penstock_scheduler.admitting.pause_watch import PauseWatch
from penstock_scheduler.admitting.turn_sweep import TurnSweep
from penstock_scheduler.settings import SchedulerSettings

BIG_MESSAGES: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """One scheduler."""

    database: Database
    broker: Broker
    publisher: Publisher
    admissions: Admissions
    dispatches: Dispatches
    nudges: Nudges
    meter: Meter
    replica: Replica
    mail: MailClient | None
    mail_sender: Address
    console_url: str | None
    secrets: Secrets
    """Read only before a notification needs one."""
    outgoing: Outgoing
    files: Files
    unused_uploads_kept: timedelta
    """Zero: for good."""
    stop: Stop
    pauses: PauseWatch = field(default_factory=PauseWatch)
    crowds: CrowdWatch = field(default_factory=CrowdWatch)
    leases: LeaseWatch = field(default_factory=LeaseWatch)
    sweep: TurnSweep = field(default_factory=TurnSweep)
    big_messages: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(BIG_MESSAGES))
    """Big messages that are handled at a time: one may carry a hundred thousand items."""

    async def finish(self) -> None:
        """Wait until all runs that were asked for are admitted, and the due ones dispatched or given up."""
        await self.admissions.drain()
        await self.dispatches.drain()

    async def release(self) -> None:
        """Write what was metered, and close what called out."""
        await self.meter.close()
        await self.replica.leave()
        await self.outgoing.close()


@asynccontextmanager
async def open_room(settings: SchedulerSettings, resources: Resources, stop: Stop) -> AsyncIterator[Room]:
    """A scheduler's room that works with `resources`, for as long as the block lasts."""
    room = furnish(settings, resources, stop)
    room.broker.on_reconnect(room.nudges.note_reconnect)
    yield room


def furnish(settings: SchedulerSettings, resources: Resources, stop: Stop) -> Room:
    """A room that nothing has to close. Tests take the turns of its loops by themselves."""
    publisher, nudges = Publisher(resources.broker), Nudges()
    dispatches = Dispatches(resources.broker, publisher)
    return Room(
        database=resources.database,
        broker=resources.broker,
        publisher=publisher,
        admissions=Admissions(resources.database, DeploymentCache(resources.database), publisher, dispatches, nudges),
        dispatches=dispatches,
        nudges=nudges,
        meter=Meter(resources.database),
        replica=Replica(resources.database, "scheduler", resources.pulse.find_stuck),
        mail=None if settings.mail_server is None else MailClient(settings.mail_server),
        mail_sender=settings.mail_sender,
        console_url=settings.console_url,
        secrets=Secrets(resources.database, settings.keyring),
        outgoing=Outgoing(settings.outgoing_allow),
        files=Files(resources.database, open_storage(settings)),
        unused_uploads_kept=timedelta(hours=settings.unused_uploads_hours),
        stop=stop,
    )
