"""The pure parts of the brokers: routing as RabbitMQ does it, dialling again, what a dead letter keeps."""

import pytest

from penstock.broker.dead_letters import DEATH, Origin, park
from penstock.broker.link import backoff_seconds
from penstock.broker.routing import matches
from penstock.contracts.envelope import Message


@pytest.mark.parametrize(
    ("pattern", "routing_key", "is_match"),
    [
        ("#", "", True),
        ("#", "live.notify", True),
        ("live.notify", "live.notify", True),
        ("live.notify", "live.Notify", False),
        ("live.*", "live.notify", True),
        ("live.*", "live", False),
        ("live.*", "live.run.started", False),
        ("*", "", False),
        ("live.#", "live", True),
        ("live.#", "live.run.started", True),
        ("live.#", "development.run", False),
        ("#.started", "live.run.started", True),
        ("#.started", "started", True),
        ("live.#.started", "live.started", True),
        ("live.#.started", "live.a.b.started", True),
        ("live.#.started", "live.a.b.ended", False),
        ("*.run.#", "live.run", True),
        ("", "", True),
        ("", "x", False),
    ],
)
def test_topic_patterns_match_as_in_amqp(pattern: str, routing_key: str, is_match: bool) -> None:
    assert matches("topic", pattern, routing_key) is is_match


def test_direct_exchange_wants_the_very_key_and_fanout_takes_all() -> None:
    assert matches("direct", "a.b", "a.b")
    assert not matches("direct", "#", "a.b")
    assert matches("fanout", "", "a.b")


def test_dialling_again_waits_ever_longer_up_to_a_limit() -> None:
    waits = [backoff_seconds(failures, 0.999) for failures in range(50)]
    assert waits == sorted(waits)
    assert waits[0] <= 0.1
    assert waits[-1] <= 3
    assert backoff_seconds(3, 0.0) == pytest.approx(backoff_seconds(3, 1.0) / 2)


def test_dead_letter_keeps_plain_headers_and_says_why() -> None:
    headers = {
        "depth": 3,
        "odd": b"\xff",
        "table": {"a": 1},
        "long": "x" * 2000,
        "huge": 2**70,
        "none": None,
        "reason": "the sender's",
    }
    parked = park(
        Message(b"{", message_id="m", headers=headers, is_persistent=False),
        reason="r" * 5000,
        origin=Origin("works", "work", "live.a"),
    )
    assert {name: value for name, value in parked.headers.items() if name != DEATH} == {
        "depth": 3,
        "odd": "\N{REPLACEMENT CHARACTER}",
        "none": None,
        "reason": "r" * 1000,
        "original-queue": "works",
        "original-exchange": "work",
        "original-routing-key": "live.a",
    }
    assert (parked.body, parked.message_id, parked.is_persistent) == (b"{", "m", True)
