"""Makes requests durable: deliveries and root runs of many requests in one statement, or one transaction, then on to
the executors.

A request counts as accepted once that has committed; whether the broker is there does not matter, because a scheduler
finds runs that are due and were not dispatched. Copies of one delivery meet at the unique key: the first to commit has
the runs, the others read what it stored.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple
from uuid import UUID

from penstock.broker.port import Broker
from penstock.broker.publisher import Publisher
from penstock.contracts.messages import WakeScheduler
from penstock.db import Coalescer, Connection, Database
from penstock.domain.runs import Admission, Admitted, RunSummary
from penstock.domain.states import RunState
from penstock.errors import BrokerUnavailable, DatabaseUnavailable
from penstock.logs import Reports, get_logger
from penstock.metrics import DISPATCHED
from penstock.runs.admission import admit_deliveries
from penstock.runs.deliveries import DeliveryKey, NewDelivery, StoredDelivery, count_duplicates, free_keys
from penstock.runs.floods import Floods
from penstock.runs.requests import CheckedRun

log = get_logger(__name__)

COMMIT_SECONDS: Final = 4.5
"""Within this time a batch is committed or its requests are answered 503. A request may have to wait for the batch
before its own, and senders of webhooks give up after some ten seconds.
"""
_COMMIT_LANES: Final = 3
_DISPATCH_LANES: Final = 1
_MAX_PER_COMMIT: Final = 300
_MAX_PER_DISPATCH: Final = 4
"""Commits whose runs are handed to the broker together."""
_LONE: Final = 2
"""A commit of so few runs does not wait until the broker has confirmed those before it: that may take as long as its
disk, and one that is slow would delay all runs of that time one after the other.
"""
_LONE_LANES: Final = 8
_MAX_PER_NUDGE: Final = 1000

Due = tuple[RunSummary, str | None]
"""A run that is queued, and the queue that wants its answer."""


class Entry(NamedTuple):
    """What one request asks for: root runs, with the delivery they come from if there is one. `reply_to` wants the
    runs' answers.
    """

    runs: tuple[CheckedRun, ...]
    delivery: NewDelivery | None = None
    reply_to: str | None = None


class Accepted(NamedTuple):
    """What became of an entry. `duplicate_of` is the delivery that was stored before under the same key."""

    admissions: tuple[Admission, ...]
    duplicate_of: StoredDelivery | None = None


class Acceptance:
    """The only way in which this room creates deliveries and runs."""

    def __init__(self, database: Database, broker: Broker, publisher: Publisher) -> None:
        self._database = database
        self._broker = broker
        self._publisher = publisher
        self._entries: Coalescer[Entry, Accepted] = Coalescer(
            self._store, name="acceptance", lanes=_COMMIT_LANES, most=_MAX_PER_COMMIT, packs=True
        )
        self._dispatches: Coalescer[Sequence[Due], None] = Coalescer(
            self._dispatch, name="dispatches", lanes=_DISPATCH_LANES, most=_MAX_PER_DISPATCH
        )
        self._lone: Coalescer[Sequence[Due], None] = Coalescer(
            self._dispatch, name="dispatches", lanes=_LONE_LANES, most=_MAX_PER_DISPATCH
        )
        self._nudges: Coalescer[str, None] = Coalescer(self._nudge, name="nudges", lanes=1, most=_MAX_PER_NUDGE)
        self._floods = Floods(database)
        self._undispatched = Reports(log.warning, "dispatch.failed")

    async def accept(self, entry: Entry) -> Accepted:
        """Returns when the entry is durable.

        Raises DatabaseUnavailable when it cannot be made so in time (it may be all the same), StaleDefinitions when it
        was checked against a deployment that is not current.
        """
        return await self._entries.submit(entry)

    def dispatch(self, runs: Sequence[RunSummary]) -> None:
        """Have runs that are queued already handed to the executors, without waiting for it."""
        for first in range(0, len(runs), _MAX_PER_COMMIT):
            _ = self._dispatches.submit([(run, None) for run in runs[first : first + _MAX_PER_COMMIT]])

    async def drain(self) -> None:
        """Wait until everything accepted has been committed, and dispatched or given up."""
        await self._entries.drain()
        await self._dispatches.drain()
        await self._lone.drain()
        await self._nudges.drain()
        await self._floods.drain()

    async def _store(self, batch: list[Entry]) -> Sequence[Accepted]:
        if not self._floods.is_calm:
            batch = [entry._replace(runs=self._floods.mark(entry.runs)) for entry in batch]
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                store = self._database.at_once if stands_alone(batch) else self._database.in_transaction
                stored = await store(lambda conn: store_entries(conn, batch))
        except TimeoutError:
            raise DatabaseUnavailable(f"nothing was committed within {COMMIT_SECONDS:g} s") from None
        self._hand_on(batch, stored)
        return stored

    def _hand_on(self, batch: Sequence[Entry], stored: Sequence[Accepted]) -> None:
        limited: set[str] = set()
        due: list[Due] = []
        for entry, accepted in zip(batch, stored, strict=True):
            self._publisher.announce(accepted.admissions)
            if any(run.control is not None for run in entry.runs):
                limited.add(entry.runs[0].request.environment)
            due += [
                (admission.run, entry.reply_to)
                for admission in accepted.admissions
                if isinstance(admission, Admitted) and admission.run.state is RunState.QUEUED
            ]
        self._floods.note(len(due))
        if due:  # together: a place in the next batch for each run would cost as much as the message
            _ = (self._lone if len(due) <= _LONE else self._dispatches).submit(due)
        for environment in limited:
            _ = self._nudges.submit(environment)

    async def _nudge(self, environments: list[str]) -> list[None]:
        """Tell a scheduler that runs wait for their turn. It looks by itself, too, a second later at the latest."""
        with suppress(BrokerUnavailable):
            await self._publisher.nudge(environments[0], WakeScheduler.model_construct())
        return [None] * len(environments)

    async def _dispatch(self, batch: list[Sequence[Due]]) -> list[None]:
        """Hand runs to the broker; what cannot be handed on now is found by a scheduler."""
        due = [one for part in batch for one in part]
        replies: dict[UUID, str] = {run.id: reply_to for run, reply_to in due if reply_to is not None}
        try:
            if not self._broker.is_connected:
                raise BrokerUnavailable("there is no connection to the broker")
            await self._publisher.dispatch([run for run, _ in due], replies)
            DISPATCHED.inc(len(due))
        except BrokerUnavailable as error:
            self._undispatched.add(len(due), error=str(error))
        return [None] * len(batch)


def stands_alone(entries: Sequence[Entry]) -> bool:
    """Whether one statement stores all of them, so that beginning and committing a transaction would be most of the
    way.
    """
    return all(run.stands_alone for entry in entries for run in entry.runs)


async def store_entries(conn: Connection, entries: Sequence[Entry]) -> list[Accepted]:
    """Store deliveries and admit runs: of each delivery that is new, and of entries without one."""
    deliveries = [entry.delivery for entry in entries if entry.delivery is not None]
    firsts: dict[DeliveryKey, NewDelivery] = {}
    for delivery in deliveries:
        firsts.setdefault(delivery.key, delivery)
    runs = [run for entry in entries for run in entry.runs]
    # In the order of their keys, so that two batches with the same keys wait for each other in one order.
    admissions, delivered = await admit_deliveries(
        conn, runs, sorted(firsts.values(), key=lambda delivery: delivery.key)
    )
    copies = [delivery for delivery in deliveries if delivery.id not in delivered]
    known = await count_duplicates(conn, copies=copies) if copies else {}
    freed = await _store_freed(conn, entries, [copy for copy in copies if copy.id not in known])
    accepted: list[Accepted] = []
    position = 0
    for entry in entries:
        if entry.delivery is not None and entry.delivery.id not in delivered:
            stored = known.get(entry.delivery.id)
            accepted.append(freed[entry.delivery.id] if stored is None else Accepted((), stored))
        else:
            accepted.append(Accepted(tuple(admissions[position + index] for index in range(len(entry.runs)))))
        position += len(entry.runs)
    return accepted


async def _store_freed(
    conn: Connection, entries: Sequence[Entry], unknown: Sequence[NewDelivery]
) -> dict[UUID, Accepted]:
    """What becomes of deliveries whose keys are taken by some whose time is over: they are new. By their ids."""
    if not unknown:
        return {}
    await free_keys(conn, copies=unknown)
    ids = {delivery.id for delivery in unknown}
    again = [entry for entry in entries if entry.delivery is not None and entry.delivery.id in ids]
    stored = await store_entries(conn, again)
    return {
        entry.delivery.id: result for entry, result in zip(again, stored, strict=True) if entry.delivery is not None
    }
