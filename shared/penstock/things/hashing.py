"""Hashes passwords beside the event loop, a few at once: each takes a core and 64 MiB for some 100 ms."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from penstock.things.passwords import hash_password, is_password

T = TypeVar("T")
MAX_AT_ONCE: Final = 2
"""So that a crowd of strangers who try passwords leaves something of a process to the others."""


class Hashing:
    """The threads that hash for this process."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MAX_AT_ONCE, thread_name_prefix="hashing")

    async def hash(self, password: str) -> str:
        """What is stored of a password."""
        return await self._call(partial(hash_password, password))

    async def is_password(self, password: str, stored: str | None) -> bool:
        """Whether `stored` was made of this password; that of nobody (None) takes as long."""
        return await self._call(partial(is_password, password, stored))

    def close(self) -> None:
        """Begin no other one; those under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
