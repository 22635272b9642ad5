"""Finds values in a request: in a header, in the payload, in a part of the signature's header."""

from collections.abc import Iterator
from typing import Final

from multidict import MultiMapping
from pydantic import JsonValue

from penstock.webhooks.recipes import Where

MAX_VALUES: Final = 1000
"""As many values a path with `*` has at most; senders send up to some hundred events at once."""


def split_header(headers: MultiMapping[str], name: str, *, keeps_commas: bool = False) -> list[str]:
    """The parts of a header, which may stand several times and hold several: separated by spaces, semicolons or, unless
    they have one, commas.
    """
    values = headers.getall(name, ())
    text = values[0] if len(values) == 1 else " ".join(values)
    if not keeps_commas:
        text = text.replace(",", " ")
    return text.replace(";", " ").split(" ")


def find_values(where: Where, headers: MultiMapping[str], payload: JsonValue) -> list[str]:
    """The values there, as text; none where there are none."""
    if where.header is not None:
        value = headers.get(where.header)
        return [] if value is None else [value]
    path = where.payload or ""
    if "*" not in path:
        text = _text(_member(payload, path))
        return [] if text is None else [text]
    found = (_text(value) for value in _walk(payload, path.split(".")))
    return [text for text in found if text is not None]


def find_value(where: Where, headers: MultiMapping[str], payload: JsonValue) -> str | None:
    """The value there, or None; several are joined by commas."""
    values = find_values(where, headers, payload)
    return ",".join(values) if values else None


def count_items(where: Where, payload: JsonValue) -> int:
    """How many values, of whatever kind, stand there."""
    return sum(1 for _ in _walk(payload, (where.payload or "").split(".")))


def _member(value: JsonValue, path: str) -> JsonValue:
    """The value on a path without `*`; None where there is none."""
    for member in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(member)
    return value


def _walk(value: JsonValue, path: list[str]) -> Iterator[JsonValue]:
    values: list[JsonValue] = [value]
    for member in path:
        if member == "*":
            values = [item for value in values for item in _items(value)][:MAX_VALUES]
        else:
            values = [value[member] for value in values if isinstance(value, dict) and member in value]
    yield from values


def _items(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _text(value: JsonValue) -> str | None:
    return None if isinstance(value, bool) or not isinstance(value, str | int | float) else str(value)
