"""Waiting for what has to become true, without sleeping for a guessed time."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(check: Callable[[], Awaitable[T]], *, within: float = 10.0, every: float = 0.02) -> T: ...


@overload
async def eventually(check: Callable[[], T], *, within: float = 10.0, every: float = 0.02) -> T: ...


async def eventually(check: Callable[[], object], *, within: float = 10.0, every: float = 0.02) -> object:
    """What `check` returns, as soon as it returns something true, or nothing at all (a check that only asserts).

    False, 0 and empty collections mean "not yet", and so does an AssertionError; any other error ends the wait at once.
    Called every `every` seconds for `within` seconds; then AssertionError with the last failure.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        try:
            outcome = check()
            result = await outcome if inspect.isawaitable(outcome) else outcome
            if result or result is None:
                return result
            failure = AssertionError(f"it returned {result!r}")
        except AssertionError as error:
            failure = error
        if loop.time() >= deadline:
            raise AssertionError(f"still not so after {within:g} s: {failure}") from failure
        await asyncio.sleep(every)
