"""What a value of each field type looks like, and how one that arrives from outside is brought into that form.

Numbers are JSON numbers within a double, dates `2022-12-22T09:45:37.369Z`, date ranges lists of two of them, things
their ids, addresses `{address?, lat?, lng?}`, files and images URLs, options their texts. Texts that PostgreSQL cannot
store (NUL, lone surrogates) are refused here, with the rest.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import orjson
from pydantic import JsonValue

from penstock import exact_json
from penstock.definitions.models import FieldType, ScalarType
from penstock.definitions.options import Options
from penstock.domain.moments import read_iso
from penstock.expressions.language import describe_type, tidy
from penstock.storable import UNSTORABLE_REASON, is_storable

_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_THING_ID: Final = re.compile(r"\d{1,20}x\d{1,40}", re.ASCII)
_URL: Final = re.compile(r"(?:https?:)?//[^\s/]\S*", re.IGNORECASE)
_MILLISECONDS: Final = re.compile(r"-?\d{9,17}", re.ASCII)
"""Shorter ones are dates of ISO 8601, such as 20160113."""
_DATE_FORM: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_ZONE_NAME: Final = re.compile(r"\s*\([^)]*\)$")
_BOOLEANS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_GREENWICH: Final = re.compile(r" ?(?:GMT|UTC)$")
_MAX_WRITTEN: Final = 60
_DAYS: Final = ("%a %b %d %Y", "%m/%d/%Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%d %b %Y", "%d %B %Y", "%Y/%m/%d")
_TIMES: Final = ("", " %H:%M:%S", " %H:%M", " %I:%M %p", " %I:%M:%S %p")
_WRITTEN_DATES: Final = (
    "%a %b %d %Y %H:%M:%S GMT%z",
    "%a, %d %b %Y %H:%M:%S %z",
    *(f"{day}{time} %z" for day in _DAYS for time in _TIMES),
)
"""Besides ISO 8601, what JavaScript, mails and people write: `Wed Jan 13 2016 16:45:09 GMT-0500 (EST)`, `01/13/2016`.
One without a zone gets that of UTC.
"""


_ENDS: Final = 2
"""Of a date range."""
_MAX_SHOWN: Final = 10
"""Options that a message lists."""
_WRITTEN_AS_JSON: Final = frozenset({ScalarType.ADDRESS, ScalarType.DATE_RANGE})
_READ_AS_TEXT: Final = frozenset({ScalarType.DATE, ScalarType.ANY}) | _WRITTEN_AS_JSON


class ValueSource(StrEnum):
    """How values arrive: JSON is taken strictly, TEXT (a query, a form) is read as the type asks."""

    JSON = "json"
    TEXT = "text"


def coerce_value(type: FieldType, value: JsonValue, *, source: ValueSource = ValueSource.JSON) -> JsonValue:
    """`value`, not null, in the form of `type`. Raises ValueError with a sentence that never repeats the value."""
    if source is ValueSource.TEXT and isinstance(value, str):
        value = _read_text(type, value)
    if not type.is_list:
        return _coerce_one(type, value, source)
    if not isinstance(value, list):
        raise ValueError(f"expected a list, got {describe_type(value)}")
    items: list[JsonValue] = []
    for index, item in enumerate(value):
        try:
            items.append(_coerce_one(type.item, item, source))
        except ValueError as error:
            raise ValueError(f"item {index}: {error}") from None
    return items


_COLUMN_INTEGERS: Final = 2**63
"""Integers below this are numbers as a column holds them."""


def is_thing_id(text: str) -> bool:
    """Whether `text` has the form of a thing's id."""
    return _THING_ID.fullmatch(text) is not None


def compile_coercion(type: FieldType) -> Callable[[JsonValue], JsonValue]:
    """`coerce_value(type, value)` as a function of the value."""
    if type.is_list or type.options is not None:
        return lambda value: coerce_value(type, value)
    return _COERCE.get(type.name, _coerce_thing)


def compile_text_reader(type: FieldType) -> Callable[[str], JsonValue]:
    """`coerce_value(type, text, source=ValueSource.TEXT)` as a function of the text: half the work for a column."""
    coerce = _COERCE.get(type.name, _coerce_thing)
    if type.is_list or type.options is not None or type.name in _READ_AS_TEXT:
        return lambda text: coerce_value(type, text, source=ValueSource.TEXT)
    if type.name == ScalarType.NUMBER:
        return lambda text: coerce(_parse_number(text.strip(), text))
    if type.name == ScalarType.BOOLEAN:
        return lambda text: coerce(_BOOLEANS.get(text.strip().lower(), text))
    return coerce


def format_date(moment: datetime) -> str:
    """A time as it stands in JSON: `2022-12-22T09:45:37.369Z`. `moment` is aware."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    # In a third of the time that `isoformat` takes. Whole seconds come without a fraction.
    written = orjson.dumps(moment)
    return written[1:24].decode() + "Z" if moment.microsecond else written[1:20].decode() + ".000Z"


def _coerce_one(type: FieldType, value: JsonValue, source: ValueSource) -> JsonValue:
    if source is ValueSource.TEXT and isinstance(value, str):
        value = _read_text(type, value)
    coerced = _COERCE.get(type.name, _coerce_thing)(value)
    if type.options is not None and coerced not in type.options.values:
        raise ValueError(f"expected one of {_list_options(type.options)}")
    return coerced


def _list_options(options: Options) -> str:
    shown = ", ".join(options.values[:_MAX_SHOWN])
    return shown if len(options.values) <= _MAX_SHOWN else f"{shown}, … ({options.name})"


def _read_text(type: FieldType, text: str) -> JsonValue:
    """What the text of a query or form says, as JSON of the type where it says that; otherwise the text itself."""
    stripped = text.strip()
    if type.is_list:
        parsed = _parse_json(stripped) if stripped.startswith("[") else None
        return (
            parsed if isinstance(parsed, list) else [item.strip() for item in stripped.split(",")] if stripped else []
        )
    if type.name == ScalarType.BOOLEAN:
        return _BOOLEANS.get(stripped.lower(), text)
    if type.name == ScalarType.NUMBER or (type.name == ScalarType.DATE and stripped.isdecimal() and len(stripped) > 8):
        return _parse_number(stripped, text)
    if type.name == ScalarType.ANY or (type.name in _WRITTEN_AS_JSON and stripped.startswith(("{", "["))):
        parsed = _parse_json(stripped)
        return text if parsed is None and stripped != "null" else parsed
    return text


def _parse_json(text: str) -> JsonValue:
    try:
        parsed: JsonValue = exact_json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parsed


def _parse_number(stripped: str, text: str) -> JsonValue:
    if not _NUMBER.fullmatch(stripped) or len(stripped) > 400:
        return text
    return int(stripped) if stripped.lstrip("+-").isdecimal() else float(stripped)


def _coerce_text(value: JsonValue) -> JsonValue:
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {describe_type(value)}")
    if not is_storable(value):
        raise ValueError(UNSTORABLE_REASON)
    return value


def _coerce_password(value: JsonValue) -> JsonValue:
    """A text that a person can have typed, or the same encrypted. How long a password may be is checked where it is
    encrypted.
    """
    text = _coerce_text(value)
    if text == "":
        raise ValueError("expected a password, got an empty text")
    return text


def _coerce_number(value: JsonValue) -> JsonValue:
    """A number as a column holds it: beyond 64 bits it is a float."""
    if type(value) is int and -_COLUMN_INTEGERS < value < _COLUMN_INTEGERS:
        return value
    return tidy(float(_check_number(value)))


def _check_number(value: JsonValue) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a number, got {describe_type(value)}")
    try:
        as_float = float(value)
    except OverflowError:
        as_float = math.inf
    if not math.isfinite(as_float):
        raise ValueError("expected a finite number of at most 1.8e308")
    return value


def _coerce_boolean(value: JsonValue) -> JsonValue:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {describe_type(value)}")
    return value


def _coerce_date(value: JsonValue) -> JsonValue:
    if isinstance(value, str) and _is_kept_form(value):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"expected a date, got {describe_type(value)}")
    try:
        if isinstance(value, str) and _MILLISECONDS.fullmatch(value):
            value = int(value)
        moment = _parse_date(value.strip()) if isinstance(value, str) else datetime.fromtimestamp(value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError("expected a date such as 2022-12-22T09:45:37.369Z, or milliseconds since 1970") from None
    try:
        return format_date(moment)
    except OverflowError:
        raise ValueError("the date is not between the years 1 and 9999 in UTC") from None


def _is_kept_form(text: str) -> bool:
    """Whether a text is a date in the form in which all dates are kept, as those are that programs send."""
    if not _DATE_FORM.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _coerce_date_range(value: JsonValue) -> JsonValue:
    """`[from, to]`, or `{start, end}`: both included, and neither empty."""
    if isinstance(value, dict) and value.keys() == {"start", "end"}:
        value = [value["start"], value["end"]]
    if not isinstance(value, list) or len(value) != _ENDS:
        raise ValueError(f"expected a date range, a list of two dates, got {describe_type(value)}")
    start, end = (_coerce_date(item) for item in value)
    if str(start) > str(end):
        raise ValueError("a date range ends before it begins")
    return [start, end]


def _parse_date(text: str) -> datetime:
    try:
        moment = read_iso(text)
    except ValueError:
        moment = _parse_written_date(_ZONE_NAME.sub("", text))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _parse_written_date(text: str) -> datetime:
    if len(text) <= _MAX_WRITTEN:
        text = _GREENWICH.sub(" +0000", text)
        for candidate in (text, f"{text} +0000"):
            for form in _WRITTEN_DATES:
                try:
                    return datetime.strptime(candidate, form).astimezone(UTC)
                except ValueError:
                    continue
    raise ValueError("no known form of a date")


def _coerce_address(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        value = {"address": value}
    if not isinstance(value, dict):
        raise ValueError(f"expected an address (text, or an object of address, lat, lng), got {describe_type(value)}")
    if unknown := set(value) - {"address", "lat", "lng"}:
        raise ValueError(f"an address has address, lat and lng, not {min(unknown)!r}")
    given = {key: item for key, item in value.items() if item is not None}
    if "address" not in given and not {"lat", "lng"} <= set(given):
        raise ValueError("an address needs address, or both lat and lng")
    return {key: _coerce_address_part(key, given[key]) for key in ("address", "lat", "lng") if key in given}


def _coerce_address_part(key: str, value: JsonValue) -> JsonValue:
    try:
        part = _coerce_text(value) if key == "address" else _coerce_number(value)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
    limit = 90 if key == "lat" else 180
    if not isinstance(part, str) and not (isinstance(part, int | float) and -limit <= part <= limit):
        raise ValueError(f"{key}: expected a number from -{limit} to {limit}")
    return part


def _coerce_url(value: JsonValue) -> JsonValue:
    if not isinstance(value, str):
        raise ValueError(f"expected the URL of a file, got {describe_type(value)}")
    if not _URL.fullmatch(value) or not is_storable(value):
        raise ValueError("expected the URL of a file, starting with https://, http:// or //")
    return value


def _coerce_thing(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        value = value.get("_id")
    if not isinstance(value, str):
        raise ValueError(f"expected the id of a thing, got {describe_type(value)}")
    if not _THING_ID.fullmatch(value):
        raise ValueError("expected the id of a thing, such as 1700000000000x123456789012345678")
    return value


def _coerce_any(value: JsonValue) -> JsonValue:
    """Any JSON, provided that it can be stored. The depth of what arrives over HTTP is bounded where it is parsed."""
    if isinstance(value, list):
        return [_coerce_any(item) for item in value]
    if isinstance(value, dict):
        return {str(_coerce_text(key)): _coerce_any(item) for key, item in value.items()}
    if isinstance(value, str):
        return _coerce_text(value)
    return value if value is None or isinstance(value, bool) else tidy(_check_number(value))


_COERCE: Final[Mapping[str, Callable[[JsonValue], JsonValue]]] = MappingProxyType(
    {
        ScalarType.TEXT: _coerce_text,
        ScalarType.NUMBER: _coerce_number,
        ScalarType.BOOLEAN: _coerce_boolean,
        ScalarType.DATE: _coerce_date,
        ScalarType.DATE_RANGE: _coerce_date_range,
        ScalarType.ADDRESS: _coerce_address,
        ScalarType.FILE: _coerce_url,
        ScalarType.IMAGE: _coerce_url,
        ScalarType.ANY: _coerce_any,
        ScalarType.PASSWORD: _coerce_password,
    }
)
