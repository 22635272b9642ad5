"""The time of one attempt: what time it is, and how much of it the run has left."""

import asyncio
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import TypeVar

from penstock.domain.durations import format_duration
from penstock.errors import LeaseLost, Transient
from penstock_executor.holding.leases import Lease

T = TypeVar("T")


class TookTooLong(Transient):
    """The run has used up its time: no retry within the attempt, and no `on_error`, goes past that."""


class Timing:
    """Tells times as the database would, and keeps a run within its timeout and its lease.

    `deadline` is when the run has used up its time, on the loop's clock.
    """

    __slots__ = ("_began", "_claimed_at", "_lease", "_loop", "_timeout_seconds", "deadline")

    def __init__(self, lease: Lease, timeout_seconds: float) -> None:
        self._lease = lease
        self._claimed_at = lease.run.claimed_at
        self._timeout_seconds = timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.deadline = self._began + timeout_seconds

    def now(self) -> datetime:
        """The database's time."""
        return self._claimed_at + timedelta(seconds=self._loop.time() - self._began)

    def begin_step(self) -> datetime:
        """The time at which a step begins. Raises LeaseLost, and TookTooLong when the time is used up."""
        now = self._loop.time()
        if now >= self._lease.expires_at:  # this process stood still, perhaps: others may perform the run by now
            raise LeaseLost("the lease ran out before the step")
        if now > self.deadline:
            raise self._took_too_long()
        return self._claimed_at + timedelta(seconds=now - self._began)

    async def within(self, seconds: float | None, work: Awaitable[T]) -> T:
        """Wait for `work` as long as the step (`seconds`) and the run may take."""
        until = self.deadline if seconds is None else min(self.deadline, self._loop.time() + seconds)
        try:
            async with asyncio.timeout_at(until):
                return await work
        except TimeoutError:
            if self._loop.time() >= self.deadline:
                raise self._took_too_long() from None
            limit = _show(seconds or 0)
            raise Transient(f"the step took longer than its timeout of {limit}", kind="timeout") from None

    def _took_too_long(self) -> TookTooLong:
        return TookTooLong(
            f"the run took longer than its timeout of {_show(self._timeout_seconds)}; give the workflow a longer "
            "`timeout`",
            kind="timeout",
        )


def _show(seconds: float) -> str:
    return format_duration(timedelta(seconds=seconds))
