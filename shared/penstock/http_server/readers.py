"""Requests whose body is still on its way, counted apart from those in progress and bounded in number and in memory.

Nobody is refused because others are slow. When there are too many readers, too many of one address, or too many bytes
of unfinished bodies, the one that has been reading for longest is given up: a sender of ordinary speed is through in
milliseconds, so it is the slow ones that push each other out. A body has to arrive at a minimum rate besides.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

MAX_READERS: Final = 1000
MAX_READERS_PER_ADDRESS: Final = 250
"""A proxy that does not collect bodies itself is one address, with all its clients."""
MAX_UNFINISHED_BYTES: Final = 64 * 1024 * 1024
MIN_BYTES_PER_SECOND: Final = 500
GRACE_SECONDS: Final = 5.0
LARGE_BYTES: Final = 64 * 1024
MAX_LARGE_IN_WORK: Final = 4
"""A body of 1 MiB can become 50 MB of lists while it is decoded and stored."""


class Reader:
    """One request whose body is being read. `is_given_up` says that it ended for the sake of others."""

    __slots__ = ("address", "deadline", "is_given_up", "received", "started_at")

    def __init__(self, address: str, started_at: float, deadline: asyncio.Timeout) -> None:
        self.address = address
        self.started_at = started_at
        self.deadline = deadline
        self.received = 0
        self.is_given_up = False


class Readers:
    """All readers of one port, oldest first; `count` is their number."""

    def __init__(self) -> None:
        self._readers: OrderedDict[Reader, None] = OrderedDict()
        self._by_address: dict[str, OrderedDict[Reader, None]] = {}
        self._bytes = 0
        self.large_in_work = asyncio.Semaphore(MAX_LARGE_IN_WORK)

    @property
    def count(self) -> int:
        """How many bodies are on their way."""
        return len(self._readers)

    @asynccontextmanager
    async def reading(self, address: str | None, seconds: float) -> AsyncIterator[Reader]:
        """Count one more reader while the block runs. Raises TimeoutError in it after `seconds`, or when it is given
        up.
        """
        async with asyncio.timeout(seconds) as deadline:
            reader = Reader(address or "", asyncio.get_running_loop().time(), deadline)
            self._add(reader)
            try:
                yield reader
            finally:
                self._remove(reader)

    def received(self, reader: Reader, size: int) -> None:
        """Note that `size` more bytes are held for this reader. May give up others, or this one."""
        if reader.is_given_up:
            return
        reader.received += size
        self._bytes += size
        while self._bytes > MAX_UNFINISHED_BYTES:
            self._give_up(next(iter(self._readers)))

    def sweep(self, now: float) -> None:
        """Give up those who send more slowly than is allowed."""
        for reader in list(self._readers):
            seconds = now - reader.started_at - GRACE_SECONDS
            if seconds > 0 and reader.received < seconds * MIN_BYTES_PER_SECOND:
                self._give_up(reader)

    def _add(self, reader: Reader) -> None:
        same = self._by_address.setdefault(reader.address, OrderedDict())
        same[reader] = self._readers[reader] = None
        if len(same) > MAX_READERS_PER_ADDRESS:
            self._give_up(next(iter(same)))
        elif len(self._readers) > MAX_READERS:
            self._give_up(next(iter(self._readers)))

    def _give_up(self, reader: Reader) -> None:
        reader.is_given_up = True
        self._remove(reader)
        reader.deadline.reschedule(asyncio.get_running_loop().time())

    def _remove(self, reader: Reader) -> None:
        if reader not in self._readers:
            return
        del self._readers[reader]
        self._bytes -= reader.received
        same = self._by_address[reader.address]
        del same[reader]
        if not same:
            del self._by_address[reader.address]
