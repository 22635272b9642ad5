"""What changes, for all who watch: one look a second at each environment that somebody watches."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Final

from penstock.db import Database
from penstock.definitions.models import ENVIRONMENTS
from penstock.runs.views.marks import TOPICS, Marks, Topic, find_marks

LOOK_SECONDS: Final = 1.0


class Watching:
    """Looks at what changes, for one process."""

    def __init__(self, database: Database, look_seconds: float = LOOK_SECONDS) -> None:
        self._database = database
        self._look_seconds = look_seconds
        self._looks = {environment: _Look() for environment in ENVIRONMENTS}

    async def follow(self, environment: str) -> AsyncGenerator[list[Topic], None]:
        """The topics that have changed, whenever some have, at most once a second; at first all of them. Raises
        DatabaseUnavailable.
        """
        marks = await self._find_marks(environment)
        yield list(TOPICS)
        while True:
            await asyncio.sleep(self._look_seconds)
            found = await self._find_marks(environment)
            changed = [topic for topic in TOPICS if found[topic] != marks[topic]]
            marks = found
            if changed:
                yield changed

    async def _find_marks(self, environment: str) -> Marks:
        """Those of the last look, if it is fresh: who watches at the same time shares it."""
        look = self._looks[environment]
        async with look.lock:
            now = time.monotonic()
            if look.marks is None or now - look.at >= self._look_seconds / 2:
                async with self._database.connection() as conn:
                    look.marks = await find_marks(conn, environment=environment)
                look.at = now
            return look.marks


class _Look:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.marks: Marks | None = None
        self.at = 0.0
