"""Pages of the management API: how many, from where on, and the token that asks for the next."""

import base64
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final, TypeGuard, TypeVar
from uuid import UUID

import orjson

from penstock.domain.dead_letters import LETTER_KINDS, LetterFilter, LetterState
from penstock.domain.deliveries import OUTCOMES, DeliveryFilter
from penstock.domain.log_terms import read_log_terms
from penstock.domain.moments import read_iso, to_utc
from penstock.domain.schedule import ScheduleFilter
from penstock.domain.states import RunState
from penstock.runs.views.audit import AuditFilter, AuditPlace
from penstock.runs.views.chains import ChainFilter, ChainMark, TreePlace
from penstock.runs.views.finding import RunFilter
from penstock.runs.views.folded import FoldPlace
from penstock.runs.views.logs import LogFilter, LogPlace, levels_from, read_kinds
from penstock.runs.views.runs import RunPlace
from penstock.runs.views.schedule import SchedulePlace
from penstock.storable import is_storable
from penstock.store.workload_sums import WAYS, WorkloadFilter
from penstock_ingress.rules.replies import Refusal, problem

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 500
MAX_COUNT: Final = 1000
DEFAULT_NODES: Final = 200
MAX_NODES: Final = 500
DEFAULT_PERIOD: Final = timedelta(days=30)
_MAX_PLACE: Final = 2**63 - 1
_MAX_DEPTH: Final = 2**31 - 1
Read = TypeVar("Read")


def read_run_filter(environment: str, query: Mapping[str, str]) -> RunFilter:
    """The filter in a query; `state` may name several, separated by commas. Raises Refusal."""
    states = query.get("state")
    for state in states.split(",") if states else ():
        if state not in frozenset(RunState):
            raise _wrong("state", f"one or several of {', '.join(RunState)}, separated by commas")
    return RunFilter(
        environment=environment,
        workflow=read_text(query, "workflow"),
        states=tuple(states.split(",")) if states else None,
        chain_id=read_id_of(query, "chain"),
        parent_run_id=read_id_of(query, "parent"),
        since=_read_moment(query, "since"),
        until=_read_moment(query, "until"),
        contains=read_text(query, "contains"),
    )


def read_chain_filter(environment: str, query: Mapping[str, str]) -> ChainFilter:
    """The filter in a query. Raises Refusal."""
    mark = query.get("mark") or None
    if mark is not None and mark not in frozenset(ChainMark):
        raise _wrong("mark", f"one of {', '.join(ChainMark)}")
    return ChainFilter(
        environment=environment,
        mark=None if mark is None else ChainMark(mark),
        workflow=read_text(query, "workflow"),
        since=_read_moment(query, "since"),
        until=_read_moment(query, "until"),
    )


def read_delivery_filter(environment: str, query: Mapping[str, str]) -> DeliveryFilter:
    """The filter in a query. Raises Refusal."""
    outcome = query.get("outcome") or None
    if outcome is not None and outcome not in OUTCOMES:
        raise _wrong("outcome", f"one of {', '.join(OUTCOMES)}")
    return DeliveryFilter(
        environment=environment,
        source=read_text(query, "source"),
        type=read_text(query, "type"),
        outcome=outcome,
        since=_read_moment(query, "since"),
        until=_read_moment(query, "until"),
        run_id=read_id_of(query, "run"),
    )


def read_letter_filter(environment: str, query: Mapping[str, str]) -> LetterFilter:
    """The filter in a query. Raises Refusal."""
    kind, state = query.get("kind") or None, query.get("state") or None
    if kind is not None and kind not in LETTER_KINDS:
        raise _wrong("kind", f"one of {', '.join(LETTER_KINDS)}")
    if state is not None and state not in frozenset(LetterState):
        raise _wrong("state", f"one of {', '.join(LetterState)}")
    return LetterFilter(
        environment=environment,
        kind=kind,
        state=state,
        workflow=read_text(query, "workflow"),
        queue=read_text(query, "queue"),
        contains=read_text(query, "contains"),
        since=_read_moment(query, "since"),
        until=_read_moment(query, "until"),
    )


def read_log_filter(environment: str, query: Mapping[str, str]) -> LogFilter:
    """The filter in a query; its user is as it was named, by id or email. Raises Refusal."""
    level, kinds, contains = query.get("level"), read_text(query, "kinds"), read_text(query, "contains")
    return LogFilter(
        environment=environment,
        run_id=read_id_of(query, "run"),
        chain_id=read_id_of(query, "chain"),
        workflow=read_text(query, "workflow"),
        user_id=read_text(query, "user"),
        kinds=None if kinds is None else _read("kinds", read_kinds, kinds),
        levels=None if level is None else _read("level", levels_from, level),
        since=_read_moment(query, "since"),
        until=_read_moment(query, "until"),
        contains=None if contains is None else _read("contains", read_log_terms, contains),
    )


def read_schedule_filter(environment: str, query: Mapping[str, str]) -> ScheduleFilter:
    """The filter in a query. Raises Refusal."""
    return ScheduleFilter(
        environment=environment,
        workflow=read_text(query, "workflow"),
        since=_read_moment(query, "since"),
        until=_read_moment(query, "until"),
        list_id=read_id_of(query, "list"),
        chain_id=read_id_of(query, "chain"),
    )


def read_schedule_token(query: Mapping[str, str]) -> SchedulePlace | None:
    """Where a page of what is coming begins. Raises Refusal."""
    token = query.get("after")
    try:
        return SchedulePlace.read(token) if token else None
    except ValueError:
        raise _not_ours() from None


def read_audit_filter(environment: str, query: Mapping[str, str]) -> AuditFilter:
    """The filter in a query. Raises Refusal."""
    return AuditFilter(
        environment=environment,
        actor=read_text(query, "actor"),
        action=read_text(query, "action"),
        since=_read_moment(query, "since"),
        until=_read_moment(query, "until"),
    )


def read_workload_filter(query: Mapping[str, str], now: datetime) -> WorkloadFilter:
    """The filter in a query: by default by workflow, and the last 30 days, or the whole of a chain. Raises Refusal."""
    by, chain_id, since = query.get("by", WAYS[0]), read_id_of(query, "chain"), _read_moment(query, "since")
    if by not in WAYS:
        raise _wrong("by", f"one of {', '.join(WAYS)}")
    if chain_id is not None and by == "activity":
        raise _wrong("by", "workflow or hour with a chain, because a run keeps only its total")
    if since is None and chain_id is None:
        since = now - DEFAULT_PERIOD
    return WorkloadFilter(by, since, _read_moment(query, "until"), read_text(query, "workflow"), chain_id)


def read_limit(query: Mapping[str, str]) -> int:
    """`limit`, by default 50, at most 500. Raises Refusal."""
    text = query.get("limit")
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdecimal() and len(text) < 5 and 1 <= int(text) <= MAX_LIMIT):
        raise _wrong("limit", f"a number from 1 to {MAX_LIMIT}")
    return int(text)


def read_count(query: Mapping[str, str]) -> int:
    """`count`, by default 10, at most 1000. Raises Refusal."""
    text = query.get("count", "10")
    if not (text.isascii() and text.isdecimal() and len(text) < 5 and 1 <= int(text) <= MAX_COUNT):
        raise _wrong("count", f"a number from 1 to {MAX_COUNT}")
    return int(text)


def read_nodes(query: Mapping[str, str]) -> int:
    """`nodes` of a picture, by default 200, at most 500. Raises Refusal."""
    text = query.get("nodes", str(DEFAULT_NODES))
    if not (text.isascii() and text.isdecimal() and len(text) < 5 and 1 <= int(text) <= MAX_NODES):
        raise _wrong("nodes", f"a number from 1 to {MAX_NODES}")
    return int(text)


def read_text(query: Mapping[str, str], name: str) -> str | None:
    """A text that PostgreSQL can hold, or None; an empty one counts as none. Raises Refusal."""
    text = query.get(name)
    if text and not is_storable(text):
        raise _wrong(name, "text without NUL")
    return text or None


def read_line_token(query: Mapping[str, str]) -> int:
    """`after` of a page of lines: the number of the last one before it. Raises Refusal."""
    text = query.get("after") or "0"
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise _not_ours()
    return int(text)


def write_token(moment: datetime | int | str, key: UUID | int) -> str:
    """The token of the page behind the row with this place: a time (or depth, or name) and an id."""
    place = [moment.isoformat() if isinstance(moment, datetime) else moment, str(key) if isinstance(key, UUID) else key]
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode().rstrip("=")


def read_run_token(query: Mapping[str, str]) -> RunPlace | None:
    """Where a page of runs begins. Raises Refusal."""
    place = _read_token(query)
    if place is None:
        return None
    try:
        return to_utc(datetime.fromisoformat(str(place[0]))), UUID(str(place[1]))
    except ValueError:
        raise _not_ours() from None


def write_log_token(place: LogPlace) -> str:
    """The token of the page behind this place of the log."""
    at, id, shown = place
    return write_token(f"{at.isoformat()}/{shown}", id)


def read_log_token(query: Mapping[str, str]) -> LogPlace | None:
    """Where a page of log lines begins. Raises Refusal."""
    place = _read_token(query)
    if place is None:
        return None
    if not isinstance(place[1], int) or not isinstance(place[0], str):
        raise _not_ours()
    at, _, shown = place[0].partition("/")
    try:
        return to_utc(datetime.fromisoformat(at)), place[1], int(shown)
    except ValueError:
        raise _not_ours() from None


def read_audit_token(query: Mapping[str, str]) -> AuditPlace | None:
    """Where a page of acts begins. Raises Refusal."""
    place = _read_token(query)
    if place is None:
        return None
    if not isinstance(place[1], int) or not isinstance(place[0], str):
        raise _not_ours()
    try:
        return to_utc(datetime.fromisoformat(place[0])), place[1]
    except ValueError:
        raise _not_ours() from None


def read_tree_token(query: Mapping[str, str]) -> TreePlace | None:
    """Where a page of a chain's tree begins. Raises Refusal."""
    place = _read_token(query)
    if place is None:
        return None
    if not isinstance(place[0], int) or place[0] > _MAX_DEPTH:
        raise _not_ours()
    try:
        return place[0], UUID(str(place[1]))
    except ValueError:
        raise _not_ours() from None


def read_fold_token(query: Mapping[str, str]) -> FoldPlace | None:
    """Where a page of the runs of one node of a chain begins. Raises Refusal."""
    place = _read_token(query)
    try:
        return None if place is None else FoldPlace(UUID(str(place[0])), bool(place[1]))
    except ValueError:
        raise _not_ours() from None


def read_tick_token(query: Mapping[str, str]) -> datetime | None:
    """Where a page of ticks begins. Raises Refusal."""
    place = _read_token(query)
    try:
        return None if place is None else to_utc(read_iso(str(place[0])))
    except ValueError:
        raise _not_ours() from None


def read_recurrence_token(query: Mapping[str, str]) -> tuple[str, UUID] | None:
    """Where a page of recurrences begins. Raises Refusal."""
    place = _read_token(query)
    if place is None:
        return None
    try:
        return str(place[0]), UUID(str(place[1]))
    except ValueError:
        raise _not_ours() from None


def read_name_token(query: Mapping[str, str]) -> str | None:
    """The name behind which a page begins. Raises Refusal."""
    place = _read_token(query)
    return None if place is None else str(place[0])


def write_position(position: int) -> str:
    """The token of the page that begins with the result at `position`, for what is summed again for each page."""
    return write_token(position, 0)


def read_position(query: Mapping[str, str]) -> int:
    """Where such a page begins. Raises Refusal."""
    place = _read_token(query)
    if place is None:
        return 0
    if not isinstance(place[0], int) or place[0] < 0:
        raise _not_ours()
    return place[0]


def _read_token(query: Mapping[str, str]) -> tuple[str | int, str | int] | None:
    token = query.get("after")
    if not token:
        return None
    try:
        first, second = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, TypeError):
        raise _not_ours() from None
    if not _is_place(first) or not _is_place(second):
        raise _not_ours()
    return first, second


def _is_place(part: object) -> TypeGuard[str | int]:
    return (isinstance(part, str) and is_storable(part)) or (isinstance(part, int) and 0 <= part <= _MAX_PLACE)


def read_id_of(query: Mapping[str, str], name: str) -> UUID | None:
    """An id, or None. Raises Refusal."""
    text = query.get(name)
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise _wrong(name, "an id such as 0190a5f2-7c00-8a11-9b22-0123456789ab") from None


def _read_moment(query: Mapping[str, str], name: str) -> datetime | None:
    text = query.get(name)
    if not text:
        return None
    try:
        # A plus sign that was not escaped in the query arrives as a space.
        moment = read_iso(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        raise _wrong(name, "a time such as 2030-01-31T09:00:00Z") from None
    if moment.tzinfo is None:
        raise _wrong(name, "a time with a zone, such as 2030-01-31T09:00:00Z")
    try:
        return to_utc(moment)
    except ValueError as error:
        raise Refusal(problem(422, f"{name}: {error}")) from None


def _read(name: str, read: Callable[[str], Read], text: str) -> Read:
    try:
        return read(text)
    except ValueError as error:
        raise Refusal(problem(400, f"{name}: {error}")) from None


def _wrong(name: str, expected: str) -> Refusal:
    return Refusal(problem(400, f"{name}: expected {expected}"))


def _not_ours() -> Refusal:
    return _wrong("after", "what an earlier page gave")
