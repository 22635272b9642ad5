"""Messages as AMQP frames, and back. Only here is known which part of the envelope lies in which slot."""

from collections.abc import Mapping
from typing import Final, NamedTuple, cast

from aiormq import spec
from aiormq.abc import ArgumentsType, DeliveredMessage
from pamqp.body import ContentBody
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from penstock.broker.driver import Channel
from penstock.broker.properties import read_properties
from penstock.broker.shield import unwrap
from penstock.contracts.envelope import Message

Properties = spec.Basic.Properties
_REQUEUED_EXCHANGE: Final = "requeued-exchange"
_REQUEUED_ROUTING_KEY: Final = "requeued-routing-key"
_REJECTIONS: Final = "requeued-rejections"
_LOSSES: Final = "requeued-losses"
_DELIVERY_COUNT: Final = "x-delivery-count"
"""RabbitMQ's own, on what it delivers again from a quorum queue."""
_BOOKKEEPING: Final = frozenset({_REQUEUED_EXCHANGE, _REQUEUED_ROUTING_KEY, _REJECTIONS, _LOSSES, _DELIVERY_COUNT})
MAX_PROPERTIES_BYTES: Final = 131_072 - 64
"""What fits into a frame of RabbitMQ's default size: a larger header frame ends the connection."""
_PERSISTENT: Final = 2
_TRANSIENT: Final = 1
_FRAME_OVERHEAD_BYTES: Final = 8
_FRAME_END: Final = b"\xce"
_SIZE_AT: Final = 11
"""Where a header frame tells the size of the body: after 7 bytes of the frame itself, class and weight."""
_MAX_MOULDS: Final = 1000
_moulds: Final[dict[tuple[object, ...], "_Mould"]] = {}


def encode_properties(message: Message) -> Properties:
    """The properties of `message`. A header that AMQP cannot hold raises one of ENCODING_ERRORS on sending."""
    return Properties(
        content_type=message.content_type or None,
        headers=cast("ArgumentsType", dict(message.headers)) if message.headers else None,
        delivery_mode=_PERSISTENT if message.is_persistent else _TRANSIENT,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        message_id=message.message_id or None,
        message_type=message.type or None,
    )


def encode_publish(exchange: str, routing_key: str, message: Message, channel: Channel) -> bytes:
    """The frames that publish `message` on `channel`. A header that AMQP cannot hold raises one of
    ENCODING_ERRORS.
    """
    number, most = channel.number, channel.connection.connection_tune.frame_max - _FRAME_OVERHEAD_BYTES
    if (
        message.body
        and len(message.body) <= most
        and message.message_id.isascii()
        and 16 <= len(message.message_id) < 256
    ):
        return mould_publish(exchange, routing_key, message, number)
    return marshal_publish(exchange, routing_key, message, number, most)


def mould_publish(exchange: str, routing_key: str, message: Message, number: int) -> bytes:
    """The same as `marshal_publish`, for a body that fits into one frame and an ASCII id of 16 to 255 characters."""
    return _find_mould(exchange, routing_key, message, number).fill(message)


class _Mould(NamedTuple):
    """The frames of messages that differ only in id and body: for thousands of events, fifty times as fast as
    marshalling.
    """

    before_size: bytes
    before_id: bytes
    after_id: bytes
    body_start: bytes

    def fill(self, message: Message) -> bytes:
        """The frames of `message`."""
        size = len(message.body)
        return b"".join(
            (
                self.before_size,
                size.to_bytes(8, "big"),
                self.before_id,
                message.message_id.encode(),
                self.after_id,
                self.body_start,
                size.to_bytes(4, "big"),
                message.body,
                _FRAME_END,
            )
        )


def _find_mould(exchange: str, routing_key: str, message: Message, number: int) -> _Mould:
    # The types too: True and 1 are equal, and are not the same in AMQP.
    headers = tuple((name, type(value), str(value)) for name, value in message.headers.items())
    key = (
        exchange,
        routing_key,
        number,
        len(message.message_id),
        message.type,
        message.content_type,
        message.correlation_id,
        message.reply_to,
        message.is_persistent,
        headers,
    )
    mould = _moulds.get(key)
    if mould is None:
        if len(_moulds) >= _MAX_MOULDS:
            _moulds.clear()
        mould = _moulds[key] = _make_mould(exchange, routing_key, message, number)
    return mould


def _make_mould(exchange: str, routing_key: str, message: Message, number: int) -> _Mould:
    method = marshal(spec.Basic.Publish(exchange=exchange, routing_key=routing_key), number)
    # An id that occurs in no other field, to see where it lands.
    stand_in = "\x7f" * len(message.message_id)
    header = marshal(
        ContentHeader(body_size=0, properties=encode_properties(message._replace(message_id=stand_in))), number
    )
    start = header.rindex(bytes([len(stand_in)]) + stand_in.encode()) + 1
    return _Mould(
        before_size=method + header[:_SIZE_AT],
        before_id=header[_SIZE_AT + 8 : start],
        after_id=header[start + len(stand_in) :],
        body_start=b"\x03" + number.to_bytes(2, "big"),
    )


def marshal_publish(exchange: str, routing_key: str, message: Message, number: int, most: int) -> bytes:
    """The frames that publish any message on channel `number`, with at most `most` bytes of the body in each."""
    frames = [
        marshal(spec.Basic.Publish(exchange=exchange, routing_key=routing_key), number),
        marshal(ContentHeader(body_size=len(message.body), properties=encode_properties(message)), number),
    ]
    frames += (
        marshal(ContentBody(message.body[start : start + most]), number) for start in range(0, len(message.body), most)
    )
    return b"".join(frames)


class Arrival(NamedTuple):
    """A delivery as its handler is to see it, how it was first published, and what has happened to it since."""

    message: Message
    exchange: str
    routing_key: str
    rejections: int = 0
    losses: int = 0
    """Deliveries that ended without a word of ours, because the connection or the process was lost."""
    fresh_losses: int = 0
    """Those of them that the broker counts toward its own delivery limit."""
    problem: str | None = None
    """What of its properties could not be decoded. Then it is not for a handler."""


def decode(delivered: DeliveredMessage) -> Arrival:
    """What was delivered. Senders in other languages may have left out any property. Never raises."""
    shielded = unwrap(delivered.header.properties.headers)
    assert shielded is not None, "deliveries come through ShieldedReader"
    values, headers, problem = read_properties(shielded.raw)
    message = Message(
        body=delivered.body,
        type=_text(values, "type") or "",
        message_id=_text(values, "message_id") or "",
        correlation_id=_text(values, "correlation_id"),
        reply_to=_text(values, "reply_to"),
        headers=headers,
        content_type=_text(values, "content_type") or "",
        is_persistent=values.get("delivery_mode") == _PERSISTENT,
    )
    problem = "; ".join(known for known in (shielded.problem, problem) if known) or None
    return _restore(message, delivered.exchange or "", delivered.routing_key or "")._replace(problem=problem)


def _text(values: Mapping[str, object], name: str) -> str | None:
    value = values.get(name)
    return value if isinstance(value, str) else None


def _restore(message: Message, exchange: str, routing_key: str) -> Arrival:
    """The message without the broker's count and without what `wrap_requeued` added."""
    fresh = _count(message.headers, _DELIVERY_COUNT)
    added = [name for name in _BOOKKEEPING if name in message.headers]
    if not added:
        return Arrival(message, exchange, routing_key)
    headers = {name: value for name, value in message.headers.items() if name not in _BOOKKEEPING}
    plain = message._replace(headers=headers)
    if exchange or _REQUEUED_ROUTING_KEY not in message.headers:
        return Arrival(plain, exchange, routing_key, losses=fresh, fresh_losses=fresh)
    return Arrival(
        plain,
        exchange=str(message.headers.get(_REQUEUED_EXCHANGE, "")),
        routing_key=str(message.headers[_REQUEUED_ROUTING_KEY]),
        rejections=_count(message.headers, _REJECTIONS),
        losses=_count(message.headers, _LOSSES) + fresh,
        fresh_losses=fresh,
    )


def _count(headers: Mapping[str, object], name: str) -> int:
    value = headers.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def wrap_requeued(arrival: Arrival, *, rejections: int, losses: int) -> Message:
    """The message for another publish to its queue, with headers for its origin and counts.

    Raises one of ENCODING_ERRORS, also when the headers no longer fit into one frame.
    """
    message = arrival.message._replace(
        headers={
            **arrival.message.headers,
            _REQUEUED_EXCHANGE: arrival.exchange,
            _REQUEUED_ROUTING_KEY: arrival.routing_key,
            _REJECTIONS: rejections,
            _LOSSES: losses,
        }
    )
    size = len(encode_properties(message).marshal())
    if size > MAX_PROPERTIES_BYTES:
        raise ValueError(f"its headers have {size} bytes, of which at most {MAX_PROPERTIES_BYTES} fit into a frame")
    return message
