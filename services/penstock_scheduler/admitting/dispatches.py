"""Dispatches to executors in the background. The rows are committed, so nothing waits for the broker or gets lost.

A dispatch that fails is only logged. The rows stay `queued`, and `redispatch_lost` finds them when the broker is back.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from penstock.broker.port import Broker
from penstock.broker.publisher import Publisher
from penstock.domain.runs import RunSummary
from penstock.errors import BrokerUnavailable
from penstock.logs import Reports, get_logger

log = get_logger(__name__)

_MAX_UNDER_WAY: Final = 20


class Dispatches:
    """The dispatches under way."""

    def __init__(self, broker: Broker, publisher: Publisher) -> None:
        self._broker = broker
        self._publisher = publisher
        self._room = asyncio.Semaphore(_MAX_UNDER_WAY)
        self._under_way: set[asyncio.Task[None]] = set()
        self._failed = Reports(log.warning, "dispatch.failed")

    async def begin(self, runs: Sequence[RunSummary], reply_to: Mapping[UUID, str] | None = None) -> None:
        """Start to hand committed, queued runs to the executors; waits only while too many dispatches are under way.
        `reply_to` names the queues that want the answers, by run.
        """
        if not runs:
            return
        if not self._broker.is_connected:
            self._failed.add(len(runs), error="the broker is away")
            return
        await self._room.acquire()
        task = asyncio.create_task(self._dispatch(runs, reply_to))
        self._under_way.add(task)
        task.add_done_callback(self._end)

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def _dispatch(self, runs: Sequence[RunSummary], reply_to: Mapping[UUID, str] | None) -> None:
        try:
            await self._publisher.dispatch(runs, reply_to)
        except BrokerUnavailable as error:
            self._failed.add(len(runs), error=str(error))

    def _end(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._room.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("dispatch.failed", error=f"{type(error).__name__}: {error}", exc_info=error)
