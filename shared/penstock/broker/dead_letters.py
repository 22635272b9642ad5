"""What a message becomes when it is parked for a person."""

from collections.abc import Iterator, Mapping
from typing import Final

from penstock.contracts.envelope import REASON, Message

ORIGINAL_EXCHANGE: Final = "original-exchange"
ORIGINAL_ROUTING_KEY: Final = "original-routing-key"
_LONGEST_REASON: Final = 1000
_LONGEST_VALUE: Final = 1000
_MOST_HEADERS: Final = 50


def park(message: Message, *, reason: str, exchange: str, routing_key: str) -> Message:
    """`message` as a dead letter: the same body and properties, persistent, with headers that say why and where it was
    sent.

    Of the sender's headers only plain, short ones stay: a message must not be kept from the dead letters by what is in
    its headers.
    """
    headers = dict(list(_plain(message.headers))[:_MOST_HEADERS])
    headers |= {REASON: reason[:_LONGEST_REASON], ORIGINAL_EXCHANGE: exchange, ORIGINAL_ROUTING_KEY: routing_key}
    return message._replace(headers=headers, is_persistent=True)


def _plain(headers: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in headers.items():
        if isinstance(value, bytes | bytearray):
            value = value.decode("utf-8", "replace")
        is_short = isinstance(value, str) and len(value) <= _LONGEST_VALUE
        if is_short or value is None or (isinstance(value, int | float) and abs(value) < 2**63):
            yield name, value
