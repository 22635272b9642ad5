"""Waiting for the end of a run by looking at it, with pauses that grow."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

from penstock.client.errors import NotEnded, Unavailable
from penstock.client.retries import Deadline, pause_before_look
from penstock.client.values import RunStatus

Look = Callable[[UUID, Deadline], Awaitable[RunStatus]]


async def look_at(look: Look, run_id: UUID, key: str, deadline: Deadline) -> RunStatus:
    """The run as it is now. Raises NotEnded when it cannot be seen before the deadline, because it is known to have
    started.
    """
    try:
        return await look(run_id, deadline)
    except Unavailable as error:
        raise NotEnded(run_id, key=key) from error


async def wait_for_end(look: Look, run_id: UUID, key: str, deadline: Deadline) -> RunStatus:
    """The run when it has ended. Raises NotEnded at the deadline, and what `look` raises."""
    looks = 0
    while True:
        status = await look_at(look, run_id, key, deadline)
        if status.has_ended:
            return status
        pause = pause_before_look(looks)
        if pause >= deadline.remaining:
            raise NotEnded(run_id, key=key)
        await asyncio.sleep(pause)
        looks += 1
