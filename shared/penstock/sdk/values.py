"""Things, pages and answers as Python code sees them, and Python's values as JSON."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import NamedTuple
from uuid import UUID

from pydantic import BaseModel, JsonValue

from penstock.definitions.values import format_date
from penstock.domain.moments import to_utc
from penstock.errors import Permanent


class Thing(dict[str, JsonValue]):
    """A thing: `thing["name"]` or `thing.name`; `thing.id` is its id. What is empty reads as None.

    A field that is called as a method of dict (`items`, `get`) is reached by `thing["items"]`. It is as it was when the
    step was performed: to change it, `await ctx.update(thing, {…})`.
    """

    __slots__ = ("type",)

    def __init__(self, values: Mapping[str, JsonValue], type: str | None = None) -> None:
        super().__init__(values)
        self.type = type

    def __getattr__(self, name: str) -> JsonValue:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.get("_id" if name == "id" and "id" not in self else name)

    @property
    def id(self) -> str:
        """The thing's id."""
        return str(self["_id"])


class Page(NamedTuple):
    """Some things that were found. `after` asks for the next page, None at the end; `remaining` counts those after this
    one.
    """

    results: list[Thing]
    after: str | None
    remaining: int


@dataclass(frozen=True, slots=True)
class Response:
    """An answer from outside; the body is parsed when it is JSON, else text.

    One that is binary is None, and kept as a file for a week: `body_file` is a file value, as `ctx.email` and
    `ctx.import_` take it.
    """

    status: int
    headers: Mapping[str, str]
    body: JsonValue
    body_file: Mapping[str, JsonValue] | None = None


def to_json(value: object, what: str) -> JsonValue:
    """A value as JSON: times in UTC, durations in seconds, decimals as numbers, models as objects. Raises Permanent for
    others.
    """
    match value:
        case None | str() | bool() | int() | float() if not isinstance(value, Enum):
            return value
        case Enum():
            return to_json(value.value, what)
        case datetime():
            return _show_time(value, what)
        case timedelta():
            return value.total_seconds()
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case UUID():
            return str(value)
        case BaseModel():
            return to_json(value.model_dump(), what)
        case Page():
            return to_json(value._asdict(), what)
        case Response():
            return _show_response(value)
        case Mapping():
            return {_key(key, what): to_json(item, what) for key, item in value.items()}
        case Sequence() | AbstractSet() if not isinstance(value, bytes | bytearray | memoryview):
            return [to_json(item, what) for item in value]
        case _:
            raise Permanent(f"{what}: a value of type {type(value).__name__} is not JSON", kind="arguments")


def to_object(value: Mapping[str, object] | None, what: str) -> dict[str, JsonValue]:
    """A mapping as a JSON object; None as an empty one."""
    return {_key(key, what): to_json(item, what) for key, item in (value or {}).items()}


def _show_response(response: Response) -> dict[str, JsonValue]:
    shown: dict[str, JsonValue] = {
        "status": response.status, "headers": dict(response.headers), "body": response.body,
    }  # fmt: skip
    return shown if response.body_file is None else {**shown, "body_file": dict(response.body_file)}


def _show_time(moment: datetime, what: str) -> str:
    if moment.tzinfo is None:
        raise Permanent(
            f"{what}: {moment.isoformat()} has no time zone; use datetime.now(UTC) and the like", kind="arguments"
        )
    try:
        return format_date(to_utc(moment))
    except ValueError as error:
        raise Permanent(f"{what}: {error}", kind="arguments") from None


def _key(key: object, what: str) -> str:
    if not isinstance(key, str):
        raise Permanent(f"{what}: names in JSON are text, and this is {key!r}", kind="arguments")
    return key
