"""Pure decisions of the scheduler: reading schedule messages, due times, items of lists, and when to try again."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock.contracts import envelope
from penstock.contracts.envelope import Message
from penstock.contracts.messages import ScheduleRun
from penstock.definitions.models import ENVIRONMENTS, Workflow
from penstock.domain.depth import MAX_DEPTH, parse_depth
from penstock.domain.durations import parse_duration
from penstock.domain.lineage import Lineage, read_trace
from penstock.domain.runs import Rejected
from penstock.domain.thresholds import WorkloadWarning
from penstock.errors import DecodeError

_MAX_KEY: Final = 500
_STATUSES: Final = {
    "malformed": (400, "Malformed message"),
    "unknown_workflow": (404, "Unknown workflow"),
    "unknown_parent": (404, "Unknown parent run"),
    "unknown_run": (404, "Unknown run"),
    "missing_parameter": (400, "Missing parameter"),
    "invalid_parameter": (400, "Invalid parameter"),
    "unsealed_password": (400, "Password that nothing has encrypted"),
    "idempotency_conflict": (422, "Idempotency key used for another request"),
}


def read_lineage(headers: Mapping[str, object]) -> Lineage:
    """The lineage headers. Raises DecodeError for one that is there but malformed; a missing depth is 0."""
    return Lineage(read_depth(headers), _read_id(headers, envelope.CHAIN_ID), _read_id(headers, envelope.PARENT_RUN_ID))


def read_depth(headers: Mapping[str, object]) -> int:
    """The depth header, 0 when it is missing. Raises DecodeError unless it is a whole number from 0 to a million."""
    value = headers.get(envelope.DEPTH)
    if value is None and envelope.DEPTH not in headers:
        return 0
    depth = parse_depth(value)
    if depth is None:
        raise DecodeError(
            f"header depth: {_show(value)} is not a whole number from 0 to {MAX_DEPTH}; send an AMQP integer, or leave "
            "it out"
        )
    return depth


def read_context(headers: Mapping[str, object]) -> dict[str, JsonValue] | None:
    """The trace that the run keeps from the message's headers. A malformed one does not refuse the message."""
    traceparent = headers.get(envelope.TRACEPARENT)
    trace = read_trace({"traceparent": traceparent}) if isinstance(traceparent, str) else {}
    return {"trace": {**trace}} if trace else None


def read_wish(message: Message) -> str | None:
    """The queue that wants the end of the run too, if the message asks for it."""
    return message.reply_to if message.headers.get(envelope.ANSWER) == envelope.ANSWER_RESULT else None


def _read_id(headers: Mapping[str, object], name: str) -> UUID | None:
    value = headers.get(name)
    if value is None:
        return None
    try:
        if not isinstance(value, str):
            raise TypeError
        return UUID(value)
    except (TypeError, ValueError):
        raise DecodeError(
            f"header {name}: {_show(value)} is not an id; send a run's id as text, or leave it out"
        ) from None


def _show(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}…"


def check_environment(environment: str) -> str:
    """`environment`, if there is one of that name. Raises DecodeError."""
    if environment not in ENVIRONMENTS:
        raise DecodeError(f"environment: {_show(environment)} does not exist; write one of {', '.join(ENVIRONMENTS)}")
    return environment


def read_key(message: Message) -> str | None:
    """The message's idempotency key: the header, else the message id; None when it has neither. Raises DecodeError."""
    key = message.headers.get(envelope.IDEMPOTENCY_KEY)
    if key is None:
        key = message.message_id
    if not isinstance(key, str) or len(key) > _MAX_KEY or "\x00" in key:
        raise DecodeError(
            f"header {envelope.IDEMPOTENCY_KEY}: {_show(key)} is not a text of at most {_MAX_KEY} characters"
        )
    return key or None


def due_at(message: ScheduleRun) -> datetime | timedelta | None:
    """When the message wants its runs, or how long from now; None: now."""
    if message.at is not None:
        return message.at
    return (parse_duration(message.after) or None) if message.after is not None else None


def interval_seconds(message: ScheduleRun, start_at: datetime) -> float:
    """Seconds between two items of the message's list. Raises DecodeError when the last one is due too far in the
    future.
    """
    if message.list_ is None or message.list_.interval is None:
        return 0.0
    interval = parse_duration(message.list_.interval)
    try:
        start_at + interval * len(message.list_.items)
    except OverflowError:
        raise DecodeError(
            f"list.interval: with {message.list_.interval} the last item would be due after the year 9999"
        ) from None
    return interval.total_seconds()


def open_parameter(workflow: Workflow, common: Mapping[str, JsonValue]) -> str | None:
    """The one parameter that the common ones leave open, which takes items that are not objects; None if not exactly
    one.
    """
    names = [parameter.name for parameter in workflow.parameters if parameter.name not in common]
    return names[0] if len(names) == 1 else None


def item_parameters(common: Mapping[str, JsonValue], item: JsonValue, open_name: str | None) -> dict[str, JsonValue]:
    """The parameters of an item's run.

    Raises ValueError for an item that is not an object when no single parameter can take it.
    """
    if isinstance(item, dict):
        return {**common, **item}
    if open_name is None:
        raise ValueError("is not an object, and not exactly one parameter is left to take it; write {parameter: value}")
    return {**common, open_name: item}


def describe_problem(rejection: Rejected) -> dict[str, JsonValue]:
    """A refusal as a problem document (RFC 9457) with `code` and, if it is about one, `parameter`."""
    status, title = _STATUSES.get(rejection.code, (400, "Refused"))
    problem: dict[str, JsonValue] = {
        "type": "about:blank", "title": title, "status": status, "detail": rejection.message, "code": rejection.code,
    }  # fmt: skip
    return problem if rejection.parameter is None else {**problem, "parameter": rejection.parameter}


def mail_backoff(attempts: int) -> timedelta:
    """How long to wait after `attempts` refused tries of a mail: half a minute, doubling, at most an hour."""
    return timedelta(seconds=min(30 * 2 ** min(attempts - 1, 10), 3600))


def next_wait(*, did_work: bool, is_full: bool, next_due_seconds: float | None) -> float:
    """How long dispatching may rest: until the next run is due, but long enough to gather a few."""
    if is_full:
        return 0.0
    if next_due_seconds is None:
        return MAX_REST_SECONDS
    least = MIN_REST_SECONDS if did_work or next_due_seconds > 0 else BLOCKED_REST_SECONDS
    return min(max(next_due_seconds, least), MAX_REST_SECONDS)


def share_of(ahead: int, *, crowds: int) -> int:
    """How many runs of each crowd may be queued, when `ahead` of all may be."""
    return max(_MIN_SHARE, -(-ahead // crowds))


def ahead_after(ahead: int, *, used: int, running: int) -> int:
    """How many runs of crowds may be queued after a turn that found `used` of those of the turn before gone: twice as
    many when that is half of them, fewer when nearly all are left.

    Never fewer than two for each run that is being performed, so that no executor runs dry.
    """
    if used * 2 >= ahead:
        ahead *= 2
    elif used * 10 <= ahead:
        ahead = ahead * 9 // 10
    return max(MIN_AHEAD, min(ahead, MAX_AHEAD), 2 * running)


MIN_AHEAD: Final = 100
MAX_AHEAD: Final = 2000
_MIN_SHARE: Final = 10
MIN_REST_SECONDS: Final = 0.008
BLOCKED_REST_SECONDS: Final = 0.02
"""When a run is due but another scheduler has it in hand."""
MAX_REST_SECONDS: Final = 30.0
"""Of a loop that is woken when there is something to do (`penstock_scheduler.loops.looking`)."""


def describe_warning(environment: str, warning: WorkloadWarning) -> str:
    """One sentence for the log and the mail."""
    if warning.usual is not None:
        return (
            f"{environment} has consumed {warning.units:,.0f} workload units in the hour from "
            f"{warning.since:%Y-%m-%d %H:%M} UTC; "
            f"an ordinary hour of the last week had {warning.usual:,.0f}, and more than {warning.limit:,.0f} count as "
            "a spike"
        )
    percent = warning.threshold.rpartition("_")[2]
    return (
        f"{environment} has consumed {warning.units:,.0f} workload units since {warning.since:%Y-%m-%d}, "
        f"which is {percent} % of the month's allowance or more ({warning.limit:,.0f} units)"
    )
