"""Lines for the app's log, written by the batch beside the runs: a log that cannot be written never fails a run."""

import asyncio
from collections.abc import Sequence

from penstock.db import Coalescer, Database
from penstock.logs import get_logger
from penstock.store.logs import LogLine, write_logs

log = get_logger(__name__)
_MOST_LINES = 1000
_TRIES = 3
_PAUSE_SECONDS = 1.0


class Logbook:
    """Collects lines and writes them by COPY."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._coalescer: Coalescer[LogLine, None] = Coalescer(self._flush, lanes=1, most=_MOST_LINES)

    def write(self, line: LogLine) -> None:
        """Have the line written soon."""
        _ = self._coalescer.submit(line)

    async def drain(self) -> None:
        """Wait until all lines so far are written or given up."""
        await self._coalescer.drain()

    async def _flush(self, lines: list[LogLine]) -> Sequence[None]:
        for attempt in range(_TRIES):
            try:
                async with self._database.connection() as conn:
                    await write_logs(conn, lines)
                break
            except Exception as error:
                if attempt == _TRIES - 1:
                    log.warning("logs.not_written", lines=len(lines), error=f"{type(error).__name__}: {error}")
                else:
                    await asyncio.sleep(_PAUSE_SECONDS)
        return [None] * len(lines)
