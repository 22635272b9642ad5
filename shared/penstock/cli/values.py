"""Values on a command line: parameters, `-p key=value`, read as the workflow's parameter asks, and times. No I/O."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import orjson
from pydantic import JsonValue

from penstock.definitions.models import FieldType, Workflow
from penstock.definitions.values import ValueSource, coerce_value
from penstock.domain.durations import parse_duration
from penstock.domain.moments import to_utc


def split_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """`["a=1", "b="]` as `{"a": "1", "b": ""}`. Raises ValueError for a text without `=` or without a name, and for a
    name given twice.
    """
    given: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise ValueError(f"{pair!r} is not of the form key=value")
        if name in given:
            raise ValueError(f"{name} is given twice; a list is one value, as in {name}='[1, 2]'")
        given[name] = value
    return given


def read_values(workflow: Workflow, given: Mapping[str, str]) -> dict[str, JsonValue]:
    """The values of `given`, each read as the parameter of that name asks: as JSON where that fits its type, else as
    text.

    What fits neither way, and what the workflow does not know, stays a text: the check of the whole request says what
    is wrong with it.
    """
    types = {parameter.name: parameter.type for parameter in workflow.parameters}
    return {name: _read_value(types[name], text) if name in types else text for name, text in given.items()}


def _read_value(type: FieldType, text: str) -> JsonValue:
    try:
        value: JsonValue = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _read_text(type, text)
    if value is None:
        return None
    try:
        return coerce_value(type, value, source=ValueSource.JSON)
    except ValueError:
        return _read_text(type, text)


def _read_text(type: FieldType, text: str) -> JsonValue:
    try:
        return coerce_value(type, text, source=ValueSource.TEXT)
    except ValueError:
        return text


def read_due(at: str | None, after: str | None) -> datetime | timedelta:
    """When something is to be due: `--at`, a time, or `--after`, a duration from now. Raises ValueError unless exactly
    one is given, and for what cannot be read.
    """
    if (at is None) == (after is None):
        raise ValueError("give either --at TIME or --after DURATION")
    if after is not None:
        return parse_duration(after)
    try:
        moment = datetime.fromisoformat(at or "")
    except ValueError:
        raise ValueError(f"{at!r} is not a time such as 2030-01-31T09:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError(f"{at!r} lacks a zone; write it like 2030-01-31T09:00:00Z")
    return to_utc(moment)


def read_moment(text: str, now: datetime) -> datetime:
    """`2030-01-31T09:00:00Z`, or a duration: so long before `now`. Raises ValueError for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return now - parse_duration(text)
        except ValueError:
            raise ValueError(
                f"{text!r} is neither a time such as 2030-01-31T09:00:00Z nor a duration such as 7d"
            ) from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} lacks a zone; write it like 2030-01-31T09:00:00Z")
    return to_utc(moment)
