"""The queues of the in-process broker: messages in order, shared out among consumers."""

from collections import deque
from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import uuid4

from penstock.contracts.envelope import UNNAMED, Message
from penstock.contracts.topology import Queue

MAX_DEAD_LETTERS: Final = 10_000
"""A queue without dead letters of its own keeps this many messages, the newest."""


@dataclass(slots=True, eq=False)
class Entry:
    """A message in a queue: where it was published, and how often it was delivered and failed."""

    message: Message
    exchange: str
    routing_key: str
    failures: int = 0


class Taker(Protocol):
    """A consumer of a queue."""

    @property
    def has_room(self) -> bool:
        """Whether it takes one more."""

    @property
    def unsettled(self) -> Sized:
        """What it has taken and not settled."""

    def take(self, entry: Entry) -> None:
        """Begin to handle a message."""


class MemoryQueue:
    """Messages in order, shared out in turn among the consumers that have room."""

    def __init__(self, definition: Queue, dead_letter: Callable[["Entry", Queue], None]) -> None:
        self.definition = definition
        self._returned: deque[Entry] = deque()
        self._fresh: deque[Entry] = deque(maxlen=None if definition.dead_letter_exchange else MAX_DEAD_LETTERS)
        self.consumers: deque[Taker] = deque()
        self._dead_letter = dead_letter

    @property
    def count_ready(self) -> int:
        """How many wait."""
        return len(self._returned) + len(self._fresh)

    def put(self, entry: Entry) -> None:
        """Behind all others."""
        if not entry.message.message_id and self.definition.dead_letter_exchange:
            entry.message = entry.message._replace(message_id=f"{UNNAMED}{uuid4().hex}")
        self._fresh.append(entry)
        self.dispatch()

    def put_back(self, entry: Entry, *, is_failure: bool) -> None:
        """Before all that was never delivered. A failure beyond the limit goes to the dead letters instead."""
        entry.failures += is_failure
        if entry.failures > self.definition.delivery_limit and self.definition.dead_letter_exchange:
            self._dead_letter(entry, self.definition)
        else:
            self._returned.append(entry)
        self.dispatch()

    def dispatch(self) -> None:
        """Give what waits to those who have room."""
        while waiting := self._returned or self._fresh:
            consumer = self._next_consumer()
            if consumer is None:
                return
            consumer.take(waiting.popleft())

    def _next_consumer(self) -> "Taker | None":
        for _ in range(len(self.consumers)):
            consumer = self.consumers[0]
            self.consumers.rotate(-1)
            if consumer.has_room:
                return consumer
        return None
