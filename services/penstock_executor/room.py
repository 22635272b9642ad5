"""What the handlers work with: built once, in `app.py`, and shared by all runs of this executor."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from penstock.broker.publisher import Publisher
from penstock.contracts.messages import Contract
from penstock.db import Database
from penstock.errors import BrokerUnavailable
from penstock.store.secrets import Secrets
from penstock.store.workload import Meter
from penstock_executor.holding.claims import Claims
from penstock_executor.holding.leases import Lease, Leases
from penstock_executor.holding.limits import Limits
from penstock_executor.holding.slots import Slots
from penstock_executor.holding.threads import Threads
from penstock_executor.planning.library import Library
from penstock_executor.steps.tools import Tools
from penstock_executor.writing.commits import Commits
from penstock_executor.writing.logbook import Logbook


@dataclass(slots=True)
class Room:
    """The executor's furniture."""

    database: Database
    publisher: Publisher
    tools: Tools
    library: Library
    limits: Limits
    slots: Slots
    claims: Claims
    leases: Leases
    commits: Commits
    logbook: Logbook
    meter: Meter
    secrets: Secrets
    threads: Threads
    app_directory: Path | None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """A task that is this room's: it is waited for, or cancelled, when the room is left."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def give_back_slot(self, lease: Lease) -> None:
        """The run has been performed, though perhaps not yet been recorded; doing this twice is harmless."""
        if lease.holds_slot:
            lease.holds_slot = False
            self.slots.give_back(1)

    async def wait_until_idle(self) -> None:
        """Wait until all runs have ended and nothing is left to be told."""
        while self.tasks:
            await asyncio.wait(self.tasks)

    def nudge(self, environment: str, nudge: Contract) -> None:
        """Tell a scheduler, without waiting for it; it would find the row by itself, later."""
        _ = self.spawn(self._nudge(environment, nudge))

    async def _nudge(self, environment: str, nudge: Contract) -> None:
        with suppress(BrokerUnavailable):
            await self.publisher.nudge(environment, nudge)
