"""Exchanges, queues, bindings and dead letters as data. A broker declares all of it at start and after every
reconnect.
"""

from dataclasses import dataclass
from typing import Final, Literal

SCHEDULE_EXCHANGE: Final = "penstock.schedule"
"""In: schedule messages of executors and internal services; routing key `<environment>.<workflow>`."""
EXECUTE_EXCHANGE: Final = "penstock.execute"
"""Runs that are due, to the executors; routing key is the lane."""
EVENTS_EXCHANGE: Final = "penstock.events"
"""Out: what happened; routing key `<environment>.<event>`. Nothing of ours is bound to it."""
DEAD_LETTER_EXCHANGE: Final = "penstock.dead-letters"
SCHEDULER_QUEUE: Final = "penstock.scheduler"
DEAD_LETTER_QUEUE: Final = "penstock.dead-letters"
Lane = Literal["interactive", "bulk"]
DEFAULT_LANE: Final = "interactive"
"""What people wait for: calls, webhooks, changes, and what these start."""
BULK_LANE: Final = "bulk"
"""Items of lists, ticks of recurrences, what these start, and large chains."""
LANES: Final[tuple[Lane, ...]] = ("interactive", "bulk")
_FORMER_LANE: Final = "default"
"""Under which services of the previous release dispatch."""
APP_MESSAGE_TYPE: Final = "app.message.v1"
DELIVERY_LIMIT: Final = 20
"""How often a message that was rejected is delivered again before it is dead-lettered. Only a backstop: attempts are
counted in PostgreSQL.
"""
LOSS_LIMIT: Final = 200
"""How often a message may be lost with its consumer, or its connection, before it is dead-lettered. High, because most
that is lost so was only prefetched; not endless, because a message could be what kills the consumer.
"""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange; `kind` is `topic`, `direct` or `fanout`."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable quorum queue; rejected messages go to `dead_letter_exchange` (none for the dead letters themselves)."""

    name: str
    dead_letter_exchange: str | None = DEAD_LETTER_EXCHANGE
    delivery_limit: int = DELIVERY_LIMIT


@dataclass(frozen=True, slots=True)
class Binding:
    """Messages of `exchange` whose routing key matches `routing_key` go to `queue`."""

    exchange: str
    queue: str
    routing_key: str


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything a broker has to declare."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]


def executor_queue(lane: str = DEFAULT_LANE) -> str:
    """The queue of a lane: `penstock.executor.<lane>`, and `penstock.executor` for the first of them."""
    return "penstock.executor" if lane == DEFAULT_LANE else f"penstock.executor.{lane}"


def schedule_routing_key(environment: str, workflow: str) -> str:
    """The routing key of a schedule message."""
    return f"{environment}.{workflow}"


def app_routing_key(environment: str, key: str) -> str:
    """The routing key of a message that an app publishes to the events exchange."""
    return f"{environment}.{key}"


def topology(lanes: tuple[str, ...] = LANES) -> Topology:
    """The whole topology, with one executor queue per lane."""
    return Topology(
        exchanges=(
            Exchange(SCHEDULE_EXCHANGE, "topic"),
            Exchange(EXECUTE_EXCHANGE, "direct"),
            Exchange(EVENTS_EXCHANGE, "topic"),
            Exchange(DEAD_LETTER_EXCHANGE, "fanout"),
        ),
        queues=(
            Queue(SCHEDULER_QUEUE),
            *(Queue(executor_queue(lane)) for lane in lanes),
            Queue(DEAD_LETTER_QUEUE, dead_letter_exchange=None),
        ),
        bindings=(
            Binding(SCHEDULE_EXCHANGE, SCHEDULER_QUEUE, "#"),
            *(Binding(EXECUTE_EXCHANGE, executor_queue(lane), lane) for lane in lanes),
            Binding(EXECUTE_EXCHANGE, executor_queue(), _FORMER_LANE),
            Binding(DEAD_LETTER_EXCHANGE, DEAD_LETTER_QUEUE, ""),
        ),
    )
