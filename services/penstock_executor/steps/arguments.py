"""What stands behind a step's keys, brought into form, with messages for the author."""

from datetime import UTC, datetime, timedelta
from difflib import get_close_matches

from pydantic import JsonValue

from penstock.definitions.models import App, DataType, Workflow
from penstock.definitions.parameters import ParameterProblem, ValueSource, bind_parameters
from penstock.domain.durations import parse_duration
from penstock.domain.moments import read_iso, to_utc
from penstock.errors import Permanent
from penstock.expressions.language import describe_type
from penstock.storable import UNSTORABLE_REASON, is_storable
from penstock.things.constraints import Restricted, Where
from penstock.things.tables import USER
from penstock.things.tabular import FORMATS, Format
from penstock_executor.runs import Values
from penstock_executor.steps.specs import Call


def wrong(call: Call, message: str) -> Permanent:
    """An error in how a step is written or in what its expressions gave."""
    return Permanent(f"{call.plan.definition.action} at {call.plan.definition.place}: {message}", kind="arguments")


def mapping(call: Call, name: str) -> Values:
    """The mapping behind key `name`; empty when it is missing or null."""
    value = call.arguments.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(call, f"`{name}` has to be a mapping, and it is {describe_type(value)}")
    return value


def text(call: Call, name: str) -> str | None:
    """The text behind key `name`; None when it is missing or null."""
    value = call.arguments.get(name)
    if value is None or isinstance(value, str):
        return None if value is None else storable(call, name, value)
    raise wrong(call, f"`{name}` has to be text, and it is {describe_type(value)}")


def storable(call: Call, name: str, value: str) -> str:
    """`value`, if PostgreSQL can hold it."""
    if not is_storable(value):
        raise wrong(call, f"`{name}`: {UNSTORABLE_REASON}")
    return value


def target_text(call: Call) -> str:
    """What stands behind the action's own key, which has to be text."""
    if isinstance(call.target, str) and call.target:
        return storable(call, call.plan.definition.action, call.target)
    raise wrong(call, f"{call.plan.spec.target} is expected, and this is {describe_type(call.target)}")


def thing_id(call: Call, value: JsonValue) -> str | None:
    """The id of a thing that is given as itself or as its id; None for null."""
    if isinstance(value, dict):
        value = value.get("_id")
    if value is None or isinstance(value, str):
        return None if value is None else storable(call, "the id", value)
    raise wrong(call, f"a thing or its id is expected, and this is {describe_type(value)}")


def constraints(call: Call, search: Values) -> Where:
    """`where` of a search: a mapping of fields to the values they equal, or a list of constraints; for who looks."""
    where = search.get("where")
    if where is None or isinstance(where, dict | list):
        return where if call.viewer.sees_all else Restricted(where, call.viewer)
    raise wrong(call, f"`where` has to be a mapping or a list of constraints, and it is {describe_type(where)}")


def required_constraints(call: Call) -> Where:
    """`where` of a step that may change every thing: it has to be said that all are meant, by `where: {}`."""
    where = constraints(call, call.arguments)
    if call.arguments.get("where") is None:
        raise wrong(call, "`where` is needed; `where: {}` means all things")
    return where


def names(call: Call, name: str) -> tuple[str, ...]:
    """The names behind key `name`: one, or a list of them; none when it is missing."""
    value = call.arguments.get(name)
    if isinstance(value, str):
        return (value,)
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def flag(call: Call, name: str) -> bool:
    """Whether key `name` says true; false when it is missing or null."""
    value = call.arguments.get(name)
    if value is None or isinstance(value, bool):
        return value is True
    raise wrong(call, f"`{name}` has to be true or false, and it is {describe_type(value)}")


def file_format(call: Call, file_name: str = "") -> Format:
    """`format`; without it that of the file's name, else CSV."""
    given = text(call, "format") or ("jsonl" if file_name.lower().endswith((".jsonl", ".ndjson")) else "csv")
    for known in FORMATS:
        if given == known:
            return known
    raise wrong(call, f"`format` has to be csv or jsonl, not {given[:40]!r}")


def data_type(call: Call, name: str) -> DataType:
    """The data type of that name."""
    found = call.app.types.get(name) or (USER if name == USER.name else None)
    if found is None:
        raise wrong(call, f"there is no data type {name!r}{_did_you_mean(name, list(call.app.types))}")
    return found


def workflow(app: App, call: Call, name: str) -> Workflow:
    """The workflow of that name in `app`."""
    found = app.workflows.get(name)
    if found is None:
        raise wrong(
            call,
            f"no workflow {name!r} is deployed to {call.run.environment}{_did_you_mean(name, list(app.workflows))}",
        )
    return found


def bind(app: App, target: Workflow, given: Values, *, is_inside: bool = False) -> Values:
    """The parameters of a workflow that a step starts. Raises ParameterProblem, also for undeclared ones, and for
    passwords unless the workflow is performed inside this run: they are sealed for it.
    """
    bound = bind_parameters(target, given, source=ValueSource.JSON, unknown="reject", types=app.types)
    for name in () if is_inside else target.passwords:
        if bound.get(name) is not None:
            message = f"Invalid value for parameter {name}: a password cannot be handed to another run"
            raise ParameterProblem("INVALID_DATA", name, message)
    return bound


def due_at(call: Call) -> datetime | None:
    """When `at` or `after` says; None for now, which the past means too."""
    at, after = call.arguments.get("at"), call.arguments.get("after")
    if at is not None and after is not None:
        raise wrong(call, "give either `at` or `after`, not both")
    if after is not None:
        delay = duration(call, "after", after)
        return later(call, delay) if delay else None
    due = None if at is None else moment(call, "at", at)
    return None if due is None or due <= call.now else due


def later(call: Call, delay: timedelta) -> datetime:
    """The time after `delay`. Raises Permanent when that lies beyond the calendar."""
    try:
        return to_utc(call.now + delay)
    except OverflowError:
        raise wrong(call, "that is after the year 9999") from None


def duration(call: Call, name: str, value: JsonValue) -> timedelta:
    """A duration such as `10m`, or a number of seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 3_155_760_000:
        return timedelta(seconds=value)
    if not isinstance(value, str):
        raise wrong(call, f"`{name}` has to be a duration such as 10m, and it is {describe_type(value)}")
    try:
        return parse_duration(value)
    except ValueError as error:
        raise wrong(call, f"`{name}`: {error}") from None


def priority(call: Call) -> int | None:
    """`priority`, from 0 (first) to 9 (last); None when it is not given."""
    value = call.arguments.get("priority")
    if value is None or (type(value) is int and 0 <= value <= 9):
        return value
    raise wrong(call, "`priority` has to be a whole number from 0 (first) to 9 (last)")


def moment(call: Call, name: str, value: JsonValue) -> datetime:
    """An ISO 8601 time, in UTC if it has no zone; or milliseconds since 1970. Raises Permanent, also for a time that
    cannot be written in UTC.
    """
    try:
        parsed = _parse_moment(value)
    except (ValueError, OverflowError, OSError):
        raise wrong(call, f"`{name}` has to be a time such as 2030-01-31T09:00:00Z") from None
    try:
        return to_utc(parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC))
    except ValueError as error:
        raise wrong(call, f"`{name}`: {error}") from None


def _parse_moment(value: JsonValue) -> datetime:
    if isinstance(value, str):
        return read_iso(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("neither a text nor a number")
    return datetime.fromtimestamp(value / 1000, UTC)


def _did_you_mean(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def number(call: Call, name: str, most: int) -> int | None:
    """The whole number from 1 to `most` behind key `name`; None when it is missing or null."""
    value = call.arguments.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise wrong(call, f"`{name}` has to be a whole number from 1 to {most}, and it is {str(value)[:50]}")
    return value
