"""The form behind a link of `wait_for`: its fields, from a `schema`, and the answer, from what a browser sends."""

import math
from collections.abc import Mapping
from datetime import UTC
from decimal import Decimal, InvalidOperation
from typing import Final, Literal, NamedTuple, get_args

from pydantic import JsonValue

from penstock.definitions.values import format_date
from penstock.domain.moments import read_iso, to_utc
from penstock.storable import is_storable

FieldKind = Literal["text", "number", "boolean", "date"]
KINDS: Final[tuple[str, ...]] = get_args(FieldKind)
MAX_FIELDS: Final = 50
MAX_NAME: Final = 100
MAX_LABEL: Final = 300
MAX_OPTIONS: Final = 200
MAX_TEXT: Final = 10_000
_MAX_DIGITS: Final = 30
_KEYS: Final = frozenset({"type", "optional", "label", "options"})


class FormField(NamedTuple):
    """One question. With `options` one of these texts is chosen."""

    name: str
    kind: FieldKind
    label: str
    is_optional: bool = False
    options: tuple[str, ...] = ()


def read_form(schema: JsonValue) -> tuple[FormField, ...]:
    """The fields of a schema: `{name: type}`, or `{name: {type, optional, label, options}}`. Raises ValueError with
    what is wrong.
    """
    if schema is None:
        return ()
    if not isinstance(schema, dict):
        raise ValueError("a schema names fields with their types, such as {approved: boolean}")
    if len(schema) > MAX_FIELDS:
        raise ValueError(f"a form has at most {MAX_FIELDS} fields, these are {len(schema)}")
    return tuple(_read_field(name, given) for name, given in schema.items())


def _read_field(name: str, given: JsonValue) -> FormField:
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise ValueError(f"a field's name has 1 to {MAX_NAME} printable characters")
    said = given if isinstance(given, dict) else {"type": given}
    if unknown := sorted(said.keys() - _KEYS):
        raise ValueError(f"{name}: unknown key {unknown[0]!r}; known are {', '.join(sorted(_KEYS))}")
    kind, label, options = said.get("type"), said.get("label"), said.get("options")
    known = next((one for one in get_args(FieldKind) if one == kind), None)
    if known is None:
        raise ValueError(f"{name}: the type of a field is one of {', '.join(KINDS)}")
    if label is not None and not (isinstance(label, str) and 0 < len(label) <= MAX_LABEL):
        raise ValueError(f"{name}: a label is a text of at most {MAX_LABEL} characters")
    if said.get("optional") not in (None, True, False):
        raise ValueError(f"{name}: optional is true or false")
    return FormField(
        name, known, str(label or _humanise(name)), bool(said.get("optional")), _read_options(name, known, options)
    )


def _read_options(name: str, kind: FieldKind, options: JsonValue) -> tuple[str, ...]:
    if options is None:
        return ()
    given = options if isinstance(options, list) else []
    texts = [one for one in given if isinstance(one, str) and 0 < len(one) <= MAX_LABEL]
    if kind != "text" or not 0 < len(texts) <= MAX_OPTIONS or texts != options:
        raise ValueError(f"{name}: options are 1 to {MAX_OPTIONS} texts to choose from, of a field of type text")
    return tuple(texts)


def _humanise(name: str) -> str:
    words = name.replace("_", " ").replace("-", " ").strip() or name
    return words[:1].upper() + words[1:]


class Answer(NamedTuple):
    """What was sent, as it is given to the run, and what is wrong with it, by field."""

    values: dict[str, JsonValue]
    problems: dict[str, str]


def read_answer(fields: tuple[FormField, ...], given: Mapping[str, str]) -> Answer:
    """The values of all fields; null for an optional one that was left empty. What is not a field is left out."""
    values: dict[str, JsonValue] = {}
    problems: dict[str, str] = {}
    for field in fields:
        try:
            values[field.name] = _read_value(field, given.get(field.name, ""))
        except ValueError as error:
            problems[field.name] = str(error)
    return Answer(values, problems)


def _read_value(field: FormField, text: str) -> JsonValue:
    if field.kind == "boolean":
        return text in ("true", "on", "yes", "1")
    if field.kind != "text":
        text = text.strip()
    if text == "":
        if field.is_optional:
            return None
        raise ValueError("Please fill this in.")
    if len(text) > MAX_TEXT or not is_storable(text):
        raise ValueError(f"Please use at most {MAX_TEXT:,} ordinary characters.")
    if field.options and text not in field.options:
        raise ValueError("Please choose one of the options.")
    if field.kind == "number":
        return _read_number(text)
    return _read_date(text) if field.kind == "date" else text.replace("\r\n", "\n")


def _read_number(text: str) -> JsonValue:
    try:
        number = Decimal(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
    except InvalidOperation:
        raise ValueError("Please write a number, such as 12.5.") from None
    if not number.is_finite() or len(text) > _MAX_DIGITS or not math.isfinite(float(number)):
        raise ValueError("This number is too large.")
    return int(number) if number == number.to_integral_value() else float(number)


def _read_date(text: str) -> JsonValue:
    try:
        moment = read_iso(text)
        return format_date(to_utc(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)))
    except ValueError:
        raise ValueError("Please write a date, such as 2030-01-31.") from None
