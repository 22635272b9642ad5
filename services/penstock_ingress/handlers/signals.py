"""Signals on their way to the runs that wait for them: those that arrive together are posted in one transaction.

One at a time of each process: those who post the same signal wait for each other, and should not do so with all connections.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from pydantic import JsonValue

from penstock.db import Coalescer, Connection, Database
from penstock.domain.runs import RunSummary
from penstock.store.waits import post_signal

_MOST_AT_ONCE: Final = 100


class _Signal(NamedTuple):
    environment: str
    name: str
    payload: JsonValue


class Signals:
    """This room's way to post signals."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._coalescer: Coalescer[_Signal, list[RunSummary]] = Coalescer(self._post, lanes=1, most=_MOST_AT_ONCE)

    async def post(self, environment: str, name: str, payload: JsonValue) -> list[RunSummary]:
        """The runs that the signal has woken, to be dispatched; none: it is kept. Raises DatabaseUnavailable."""
        return await self._coalescer.submit(_Signal(environment, name, payload))

    async def _post(self, signals: list[_Signal]) -> Sequence[list[RunSummary]]:
        # In the order of their names, so that two processes that post the same signals wait for each other in one order.
        order = sorted(range(len(signals)), key=lambda index: signals[index][:2])

        async def post_all(conn: Connection) -> dict[int, list[RunSummary]]:
            return {
                index: await post_signal(
                    conn, environment=signals[index].environment, name=signals[index].name, payload=signals[index].payload
                )
                for index in order
            }

        woken = await self._database.in_transaction(post_all)
        return [woken[index] for index in range(len(signals))]
