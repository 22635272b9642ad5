"""The quick way to write a message's frames gives the same bytes as the driver's."""

from uuid import uuid4

import pytest

from penstock.broker.wire import marshal_publish, mould_publish
from penstock.contracts.envelope import Message

ID = uuid4().hex


@pytest.mark.parametrize(
    "message",
    [
        Message(b"{}", type="run.event.v1", message_id=ID, headers={"depth": 3}),
        Message(b"x" * 70_000, message_id=ID, is_persistent=False),
        Message(
            b"{}",
            type="t",
            message_id="i" * 255,
            correlation_id="c",
            reply_to="r",
            headers={"depth": True, "b": None, "c": "text"},
        ),
        Message(b"{}", message_id="\x7f" * 16, content_type=""),
    ],
)
@pytest.mark.parametrize("channel", [1, 300])
def test_moulded_frames_are_those_of_the_driver(message: Message, channel: int) -> None:
    for _ in range(2):  # made, then found
        assert mould_publish("events", "live.run.started", message, channel) == marshal_publish(
            "events", "live.run.started", message, channel, 10**6
        )


def test_moulds_are_not_mixed_up() -> None:
    one, true = (Message(b"{}", message_id=ID, headers={"depth": depth}) for depth in (1, True))
    assert mould_publish("e", "k", one, 1) != mould_publish("e", "k", true, 1)
    assert mould_publish("e", "k", one, 1) != mould_publish("e", "other", one, 1)
