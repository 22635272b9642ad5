"""Requests for child runs, to the scheduler: many in one confirmed message."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from penstock import exact_json
from penstock.broker.publisher import Publisher
from penstock.contracts.messages import ChildRun
from penstock.db import Coalescer
from penstock.errors import BrokerUnavailable, Interrupted

_LANES: Final = 4
_MAX_CHILDREN: Final = 100
_FIRST_PAUSE_SECONDS: Final = 0.1
_MAX_PAUSE_SECONDS: Final = 2.0
_MAX_BYTES: Final = 512 * 1024
"""Of parameters in one message, but for a single child that is larger."""


class Children:
    """One coalescer per environment and depth, because a message's header says the depth of all runs in it."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._coalescers: dict[tuple[str, int], Coalescer[ChildRun, None]] = {}

    async def schedule(self, environment: str, depth: int, child: ChildRun, patience_seconds: float) -> None:
        """Returns when the broker has confirmed the message that the child is in.

        Sent again while the broker is away: the child's id derives from its parent and key, so twice is once. Raises
        Interrupted when the broker stays away for longer than `patience_seconds`.
        """
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + patience_seconds, _FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._coalescer(environment, depth).submit(child)
            except BrokerUnavailable as error:
                if loop.time() + pause > until:
                    raise Interrupted(
                        f"the broker did not take a schedule message for {patience_seconds:g} s: {error}"
                    ) from error
                await asyncio.sleep(pause)
                pause = min(pause * 2, _MAX_PAUSE_SECONDS)

    def _coalescer(self, environment: str, depth: int) -> Coalescer[ChildRun, None]:
        key = (environment, depth)
        coalescer = self._coalescers.get(key)
        if coalescer is None:

            async def flush(children: list[ChildRun]) -> Sequence[None]:
                for part in _split(children):
                    await self._publisher.schedule(environment, depth, part)
                return [None] * len(children)

            coalescer = self._coalescers[key] = Coalescer(flush, name="children", lanes=_LANES, most=_MAX_CHILDREN)
        return coalescer


def _split(children: list[ChildRun]) -> Iterator[list[ChildRun]]:
    """The children in messages that a broker takes."""
    part: list[ChildRun] = []
    size = 0
    for child in children:
        added = len(exact_json.dumps(child.parameters))
        if part and size + added > _MAX_BYTES:
            yield part
            part, size = [], 0
        part.append(child)
        size += added
    yield part
