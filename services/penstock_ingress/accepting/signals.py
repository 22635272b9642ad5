"""Signals on their way to the runs that wait for them: those that arrive together are posted in one transaction.

One at a time of each process: those who post the same signal wait for each other, and should not do so with all
connections.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from pydantic import JsonValue

from penstock.db import Coalescer, Connection, Database
from penstock.domain.ids import new_run_id
from penstock.domain.runs import Duplicate, Rejected, RunSummary
from penstock.runs.idempotency import IdempotencyKey, bind_keys
from penstock.runs.waits_and_signals import post_signal

_MAX_AT_ONCE: Final = 100
Outcome = list[RunSummary] | Duplicate | Rejected


class Signal(NamedTuple):
    """A signal that somebody posts. With a `key` that was used before it is a copy, and does nothing."""

    environment: str
    name: str
    payload: JsonValue
    key: IdempotencyKey | None = None


class Signals:
    """This room's way to post signals."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._coalescer: Coalescer[Signal, Outcome] = Coalescer(self._post, name="signals", lanes=1, most=_MAX_AT_ONCE)

    async def post(self, signal: Signal) -> Outcome:
        """The runs that the signal has woken, to be dispatched; none: it is kept. Raises DatabaseUnavailable."""
        return await self._coalescer.submit(signal)

    async def _post(self, signals: list[Signal]) -> Sequence[Outcome]:
        # In the order of their names, so that two processes that post the same signals wait for each other in one
        # order.
        order = sorted(range(len(signals)), key=lambda index: signals[index][:2])

        async def post_all(conn: Connection) -> dict[int, Outcome]:
            # A key is bound to the id of a run that never is: what counts is whether it was bound.
            bound = await bind_keys(
                conn, [(i, signal.environment, signal.key, new_run_id()) for i, signal in enumerate(signals)]
            )
            return {index: await _post_one(conn, signals[index], bound.get(index)) for index in order}

        posted = await self._database.in_transaction(post_all)
        return [posted[index] for index in range(len(signals))]


async def _post_one(conn: Connection, signal: Signal, bound: object) -> Outcome:
    if isinstance(bound, Duplicate | Rejected):
        return bound
    return await post_signal(conn, environment=signal.environment, name=signal.name, payload=signal.payload)
