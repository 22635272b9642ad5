"""Messages as AMQP frames, and back. Only here is known which part of the envelope lies in which slot."""

from dataclasses import replace
from typing import Final, cast

from aiormq import spec
from aiormq.abc import ArgumentsType, DeliveredMessage
from pamqp.body import ContentBody
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from penstock.broker.driver import Channel
from penstock.contracts.envelope import Message

Properties = spec.Basic.Properties
_REQUEUED_EXCHANGE: Final = "requeued-exchange"
_REQUEUED_ROUTING_KEY: Final = "requeued-routing-key"
_PERSISTENT: Final = 2
_TRANSIENT: Final = 1
_FRAME_OVERHEAD_BYTES: Final = 8


def encode_properties(message: Message) -> Properties:
    """The properties of `message`. A header that cannot be told in AMQP raises TypeError when they are sent."""
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
    """The frames that publish `message` on `channel`. Raises TypeError or ValueError when a header cannot be told in AMQP."""
    number, most = channel.number, channel.connection.connection_tune.frame_max - _FRAME_OVERHEAD_BYTES
    frames = [
        marshal(spec.Basic.Publish(exchange=exchange, routing_key=routing_key), number),
        marshal(ContentHeader(body_size=len(message.body), properties=encode_properties(message)), number),
    ]
    frames += (marshal(ContentBody(message.body[start : start + most]), number) for start in range(0, len(message.body), most))
    return b"".join(frames)


def decode(delivered: DeliveredMessage) -> Message:
    """What was delivered. Senders in other languages may have left out any property."""
    properties = delivered.header.properties
    return Message(
        body=delivered.body,
        type=properties.message_type or "",
        message_id=properties.message_id or "",
        correlation_id=properties.correlation_id,
        reply_to=properties.reply_to,
        headers=properties.headers or {},
        content_type=properties.content_type or "",
        is_persistent=properties.delivery_mode == _PERSISTENT,
    )


def wrap_requeued(message: Message, *, exchange: str, routing_key: str) -> Message:
    """`message` to be published to its queue again, with headers that remember how it was published at first."""
    return replace(message, headers={**message.headers, _REQUEUED_EXCHANGE: exchange, _REQUEUED_ROUTING_KEY: routing_key})


def unwrap_requeued(message: Message, *, exchange: str, routing_key: str) -> tuple[Message, str, str]:
    """The message, exchange and routing key as they were at first, of a delivery that may have been requeued by us."""
    if exchange or _REQUEUED_ROUTING_KEY not in message.headers:
        return message, exchange, routing_key
    headers = dict(message.headers)
    exchange, routing_key = str(headers.pop(_REQUEUED_EXCHANGE, "")), str(headers.pop(_REQUEUED_ROUTING_KEY))
    return replace(message, headers=headers), exchange, routing_key
