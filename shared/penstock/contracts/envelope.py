"""What surrounds a message's body, and where each part of it lies on the wire.

| field | AMQP slot | meaning |
|---|---|---|
| `type` | property `type` | such as `run.execute.v1`; none for a schedule message of an internal service |
| `message_id` | property `message_id` | unique per publish of ours; an internal service's idempotency key |
| `correlation_id` | property `correlation_id` | handed back in the answer |
| `reply_to` | property `reply_to` | the queue that wants the answer |
| `depth` | header `depth` | depth of the runs in the body |
| `chain_id` | header `chain-id` | the chain they belong to |
| `parent_run_id` | header `parent-run-id` | the run that schedules them, or that publishes the message |
| `environment` | header `environment` | `development` or `live` |
| `lane` | header `lane` | `interactive` or `bulk`: which of the executors' queues |
| `priority` | header `priority` | 0 (first) to 9 (last): that of the runs in the body |
| `idempotency_key` | header `idempotency-key` | stands before `message_id` as the idempotency key |
| `traceparent` | header `traceparent` | W3C trace context |
| `answer` | header `answer` | `result`: the queue in `reply_to` also wants the end of the run |
"""

import secrets
from collections.abc import Mapping
from itertools import count
from types import MappingProxyType
from typing import Final, NamedTuple

DEPTH: Final = "depth"
CHAIN_ID: Final = "chain-id"
PARENT_RUN_ID: Final = "parent-run-id"
ENVIRONMENT: Final = "environment"
LANE: Final = "lane"
PRIORITY: Final = "priority"
IDEMPOTENCY_KEY: Final = "idempotency-key"
TRACEPARENT: Final = "traceparent"
ANSWER: Final = "answer"
ANSWER_RESULT: Final = "result"
UNNAMED: Final = "unnamed:"
UNNAMED_AGAIN: Final = "unnamed-again:"
"""How the id begins that a broker gives to a message without one, when it arrives for the first time, or again: then
nobody knows what became of it before.
"""
REASON: Final = "reason"
"""Why a message is among the dead letters."""


_NO_HEADERS: Final[Mapping[str, object]] = MappingProxyType({})


class Message(NamedTuple):
    """One message, whatever broker carries it. Header values are what the sender put there: check them before use."""

    body: bytes
    type: str = ""
    message_id: str = ""
    correlation_id: str | None = None
    reply_to: str | None = None
    headers: Mapping[str, object] = _NO_HEADERS
    content_type: str = "application/json"
    is_persistent: bool = True


_PROCESS: Final = secrets.token_hex(10)
_COUNT: Final = count()


def new_message_id() -> str:
    """Unique for every publish: the driver recognises returned messages by it. As long as a UUID, and much cheaper."""
    return f"{_PROCESS}{next(_COUNT):012x}"
