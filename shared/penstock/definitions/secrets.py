"""Finds which secrets an app reads, and where, in all texts of its definitions."""

from collections.abc import Iterator
from typing import Final

from pydantic import JsonValue

from penstock.definitions.models import App
from penstock.expressions import ExpressionError, compile_expression
from penstock.expressions.templates import Embedded, split_text

_BARE: Final = frozenset({"when", "key"})
"""Keys under which an expression stands without `${…}`."""


def find_secret_names(app: App) -> dict[str, str]:
    """The names of all secrets that expressions read, each with the place (`file:line`) of its first use."""
    found: dict[str, str] = {}
    for source, place in _list_expressions(app.model_dump(mode="json"), "", "app.yaml"):
        if "secrets" in source:
            try:
                names = compile_expression(source).secrets
            except ExpressionError:
                continue
            for name in sorted(names):
                found.setdefault(name, place)
    return found


def _list_expressions(value: JsonValue, key: str, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if key in _BARE:
            yield value, place
        elif "${" in value:
            yield from ((source, place) for source in _list_embedded(value))
    elif isinstance(value, list):
        for item in value:
            yield from _list_expressions(item, key, place)
    elif isinstance(value, dict):
        place = str(value.get("place") or place)
        for name, item in value.items():
            yield from _list_expressions(item, name, place)


def _list_embedded(text: str) -> list[str]:
    try:
        return [part.source for part in split_text(text) if isinstance(part, Embedded)]
    except ExpressionError:
        return []
