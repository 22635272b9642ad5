"""Lines for the app's log, written by the batch beside the runs: a log that cannot be written never fails a run."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

from penstock import clock
from penstock.db import Database, isolate
from penstock.errors import DatabaseUnavailable
from penstock.logs import get_logger
from penstock.metrics import LOG_LINES_LOST
from penstock.store.logs import LogEvent, LogLine, write_logs

log = get_logger(__name__)

_MAX_LINES: Final = 1000
MAX_WAITING: Final = 50_000
MAX_WAITING_CHARACTERS: Final = 32_000_000
"""Of all messages that wait."""
_TRIES: Final = 3
_PAUSE_SECONDS: Final = 1.0


class Logbook:
    """Collects lines and writes them by COPY: what is written while a COPY is under way leaves with the next one.

    Simpler than a coalescer, because nobody waits for a line. While the database is away, lines wait for it, as many as
    there is room for. The rest is lost, and counted: by a metric, and by a line in the log once there is one again.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[LogLine] = []
        self._characters = 0
        self._writing: asyncio.Task[None] | None = None
        self._is_draining = False
        self._lost: Counter[str] = Counter()

    def write(self, *lines: LogLine) -> None:
        """Have the lines written soon."""
        for line in lines:
            if len(self._waiting) >= MAX_WAITING or self._characters >= MAX_WAITING_CHARACTERS:
                self._lose(line)
            else:
                self._waiting.append(line)
                self._characters += len(line.message)
        if self._waiting and self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write_waiting())

    async def drain(self) -> None:
        """Wait until all lines so far are written, or given up after a few tries while the database is away."""
        self._is_draining = True
        try:
            while self._writing is not None:
                await asyncio.wait({self._writing})
        finally:
            self._is_draining = False

    async def _write_waiting(self) -> None:
        try:
            while self._waiting:
                lines, self._waiting = self._waiting[:_MAX_LINES], self._waiting[_MAX_LINES:]
                self._characters -= sum(len(line.message) for line in lines)
                if await self._write(lines) and self._lost:
                    await self._report_losses()
        finally:
            self._writing = None

    async def _write(self, lines: list[LogLine]) -> bool:
        """Whether the database was there. A line that it refuses does not take the others with it."""
        tries = 0
        while lines:
            outcomes = await isolate(lines, self._copy)
            waiting = list[LogLine]()
            for line, outcome in zip(lines, outcomes, strict=True):
                if isinstance(outcome, DatabaseUnavailable):
                    waiting.append(line)
                elif outcome is not None:
                    self._lose(line)
                    log.warning("logs.not_written", lines=1, error=f"{type(outcome).__name__}: {outcome}")
            lines, tries = waiting, tries + 1
            if lines and self._is_draining and tries >= _TRIES:
                for line in lines:
                    self._lose(line)
                log.warning("logs.not_written", lines=len(lines), error="the database was away until the end")
                return False
            if lines:
                await asyncio.sleep(_PAUSE_SECONDS)
        return True

    async def _copy(self, lines: list[LogLine]) -> Sequence[None]:
        async with self._database.connection() as conn:
            await write_logs(conn, lines)
        return [None] * len(lines)

    async def _report_losses(self) -> None:
        """Note in the log of each environment how much of it is missing."""
        lost, self._lost = self._lost, Counter()
        log.warning("logs.lost", lines=lost.total(), reason="more waited for the database than there is room for")
        lines = [
            LogLine(
                clock.now(), environment, "warning", LogEvent.LINES_LOST,
                f"{count} lines of the log could not be written; the runs that they are about are not affected",
                details={"lines": count},
            )
            for environment, count in sorted(lost.items())
        ]  # fmt: skip
        await self._write(lines)

    def _lose(self, line: LogLine) -> None:
        LOG_LINES_LOST.labels(line.environment).inc()
        self._lost[line.environment] += 1
