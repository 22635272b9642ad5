"""Waiting for runs to end: answers come over this process's reply queue, and all that are still missing by one query
now and then.

The query finds what the queue cannot bring: answers lost with the broker, and runs that another process dispatched
(duplicates).
"""

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Final
from uuid import UUID

from penstock.broker.port import Delivery
from penstock.contracts.messages import RunAnswer
from penstock.db import Database
from penstock.errors import DatabaseUnavailable, DecodeError
from penstock.logs import get_logger
from penstock_ingress.repository.answers import list_answers

log = get_logger(__name__)

POLL_SECONDS: Final = 0.5


class Waiter:
    """One caller who waits for one run."""

    def __init__(self, answers: "Answers", run_id: UUID) -> None:
        self._answers = answers
        self.run_id = run_id
        self.is_early = False
        self.answer: asyncio.Future[RunAnswer] = asyncio.get_running_loop().create_future()

    def follow(self, run_id: UUID) -> None:
        """Wait for another run instead: the one that this request is a copy of. It may have ended, so the answer is
        looked for at once.
        """
        self._answers.forget(self)
        self.run_id = run_id
        self._answers.add(self, is_urgent=True)

    async def wait(self, seconds: float, *, is_early: bool) -> RunAnswer | None:
        """The answer, or None after `seconds`. With `is_early` what the run returns is enough, even if it continues."""
        self.is_early = is_early
        self._answers.waiting += 1
        self._answers.nobody_waits.clear()
        try:
            await asyncio.wait({self.answer}, timeout=seconds)
        finally:
            self._answers.waiting -= 1
            if not self._answers.waiting:
                self._answers.nobody_waits.set()
        return self.answer.result() if self.answer.done() and not self.answer.cancelled() else None


class Answers:
    """All callers who wait in this process; `waiting` is their number."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiters: dict[UUID, set[Waiter]] = {}
        self._urgent: set[UUID] = set()
        self._wake = asyncio.Event()
        self.waiting = 0
        self.nobody_waits = asyncio.Event()
        self.nobody_waits.set()

    @contextmanager
    def expecting(self, run_id: UUID) -> Iterator[Waiter]:
        """A waiter for a run that is about to be admitted, so that no answer can come too early."""
        waiter = Waiter(self, run_id)
        self.add(waiter)
        try:
            yield waiter
        finally:
            self.forget(waiter)

    def add(self, waiter: Waiter, *, is_urgent: bool = False) -> None:
        """Have the waiter answered; an urgent one is looked up at once."""
        self._waiters.setdefault(waiter.run_id, set()).add(waiter)
        if is_urgent:
            self._urgent.add(waiter.run_id)
        self._wake.set()

    def forget(self, waiter: Waiter) -> None:
        """Stop answering it."""
        waiters = self._waiters[waiter.run_id]
        waiters.discard(waiter)
        if not waiters:
            del self._waiters[waiter.run_id]

    async def wait_until_none(self, seconds: float) -> None:
        """Wait until nobody waits any more, but no longer than `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.nobody_waits.wait()

    def release(self) -> None:
        """Let everybody go who still waits; their callers are answered that they should ask later."""
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.answer.cancel()

    async def receive(self, delivery: Delivery) -> None:
        """The handler of the reply queue."""
        try:
            self.settle(RunAnswer.decode(delivery.message.body))
        except DecodeError as error:
            log.warning("message.dead_lettered", queue="reply", reason=error.reason)

    def settle(self, answer: RunAnswer) -> None:
        """Tell those who wait for this run."""
        for waiter in self._waiters.get(answer.run_id, ()):
            if not waiter.answer.done():
                waiter.answer.set_result(answer)

    async def poll_once(self, run_ids: Collection[UUID] | None = None) -> int:
        """Look up runs that are waited for, by default all, in one query; returns how many have ended."""
        wanted = [run_id for run_id in self._waiters if run_ids is None or run_id in run_ids]
        if not wanted:
            return 0
        early = [run_id for run_id in wanted if any(waiter.is_early for waiter in self._waiters[run_id])]
        async with self._database.connection() as conn:
            found = await list_answers(conn, run_ids=wanted, early_ids=early)
        for answer in found:
            self.settle(answer)
        return len(found)

    async def poll(self) -> None:
        """Look up answers until cancelled: all every half second while somebody waits, and urgent ones at once."""
        loop = asyncio.get_running_loop()
        due_at = loop.time() + POLL_SECONDS
        while True:
            urgent, self._urgent = self._urgent, set()
            is_due = loop.time() >= due_at
            try:
                await self.poll_once(None if is_due else urgent)
            except DatabaseUnavailable as error:
                log.warning("database.unavailable", error=str(error))
            if is_due or not self._waiters:
                due_at = loop.time() + POLL_SECONDS
            await self._sleep(due_at - loop.time() if self._waiters else None)

    async def _sleep(self, seconds: float | None) -> None:
        if not self._urgent:
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
