"""Lines for the app's log, written by the batch beside the runs: a log that cannot be written never fails a run."""

import asyncio
from typing import Final

from penstock.db import Database
from penstock.logs import get_logger
from penstock.store.logs import LogLine, write_logs

log = get_logger(__name__)
_MAX_LINES: Final = 1000
_MAX_WAITING: Final = 50_000
_TRIES: Final = 3
_PAUSE_SECONDS: Final = 1.0


class Logbook:
    """Collects lines and writes them by COPY: what is written while a COPY is under way leaves with the next one.

    Simpler than a coalescer, because nobody waits for a line. What does not fit, while the database is slow or away, is
    dropped.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[LogLine] = []
        self._writing: asyncio.Task[None] | None = None
        self._dropped = 0

    def write(self, line: LogLine) -> None:
        """Have the line written soon."""
        if len(self._waiting) >= _MAX_WAITING:
            self._dropped += 1
            return
        self._waiting.append(line)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write_waiting())

    async def drain(self) -> None:
        """Wait until all lines so far are written or given up."""
        while self._writing is not None:
            await asyncio.wait({self._writing})

    async def _write_waiting(self) -> None:
        try:
            while self._waiting:
                lines, self._waiting = self._waiting[:_MAX_LINES], self._waiting[_MAX_LINES:]
                await self._write(lines)
                if self._dropped:
                    log.warning("logs.not_written", lines=self._dropped, error="too many lines waited for the database")
                    self._dropped = 0
        finally:
            self._writing = None

    async def _write(self, lines: list[LogLine]) -> None:
        for attempt in range(_TRIES):
            try:
                async with self._database.connection() as conn:
                    await write_logs(conn, lines)
                return
            except Exception as error:
                if attempt == _TRIES - 1:
                    log.warning("logs.not_written", lines=len(lines), error=f"{type(error).__name__}: {error}")
                else:
                    await asyncio.sleep(_PAUSE_SECONDS)
