"""What a message becomes when it is parked for a person."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple
from uuid import uuid4

from penstock.contracts.envelope import REASON, Message

ORIGINAL_QUEUE: Final = "original-queue"
ORIGINAL_EXCHANGE: Final = "original-exchange"
ORIGINAL_ROUTING_KEY: Final = "original-routing-key"
DEATH: Final = "dead-letter-event"
"""Names this event: a dead letter that is delivered again has the same."""
_MAX_REASON: Final = 1000
_MAX_VALUE: Final = 1000
_MAX_HEADERS: Final = 50
_MAX_NUMBER: Final = 2**63
"""Larger ones fit into no integer of AMQP, and some into no float of the driver."""
_MAX_HEADER_BYTES: Final = 16_384
"""Of all that is kept: with the sender's other properties it has to fit into one frame."""


class Origin(NamedTuple):
    """Where a message was published, and the queue from which it went to the dead letters."""

    queue: str
    exchange: str
    routing_key: str


def park(message: Message, *, reason: str, origin: Origin) -> Message:
    """`message` as a dead letter: same body and properties, persistent, with headers for reason and origin.

    Of the sender's headers only plain, short ones stay: a message must not be kept from the dead letters by what is in
    its headers.
    """
    headers = dict(islice(_plain(message.headers), _MAX_HEADERS))
    headers |= {REASON: make_encodable(reason)[:_MAX_REASON]}
    headers |= {ORIGINAL_QUEUE: origin.queue, ORIGINAL_EXCHANGE: origin.exchange}
    headers |= {ORIGINAL_ROUTING_KEY: origin.routing_key, DEATH: uuid4().hex}
    return message._replace(headers=headers, is_persistent=True)


def make_encodable(text: str) -> str:
    """`text` with a question mark for each half of a surrogate pair, which UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()


def _plain(headers: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Those that are kept: plain values, and no more of them than there is room for."""
    room = _MAX_HEADER_BYTES
    for name, value in headers.items():
        if isinstance(value, bytes | bytearray):
            value = value.decode("utf-8", "replace")
        is_short = isinstance(value, str) and len(value) <= _MAX_VALUE
        if is_short or value is None or (isinstance(value, int | float) and abs(value) < _MAX_NUMBER):
            room -= len(name.encode()) + len(str(value).encode())
            if room >= 0:
                yield name, value
