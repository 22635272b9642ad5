"""What a query of the Data API asks for (BUBBLE 2.3): constraints, order and page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from penstock.bodies import Undecodable, parse_json, without_nul
from penstock_ingress.rules import bubble
from penstock_ingress.rules.replies import Refusal

MAX_PAGE: Final = 100
_MAX_CONSTRAINTS: Final = 100
_MAX_CURSOR: Final = 2**62
_WORDS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": False}


@dataclass(frozen=True, slots=True)
class Search:
    """A page of things. `limit` below zero asks for none, which Bubble reports as a count of `limit`; `near` is the
    place by whose distance addresses are sorted.
    """

    constraints: tuple[JsonValue, ...]
    cursor: int
    limit: int
    sort_field: str | None
    is_descending: bool
    further_sorts: tuple[tuple[str, bool], ...]
    excludes_remaining: bool
    near: JsonValue = None
    after: str | None = None
    """The token of the page before, an empty text for the first page; None: pages by `cursor`."""


def read_search(query: Mapping[str, JsonValue]) -> Search:
    """The search in a query. A limit beyond the maximum means the maximum. Raises Refusal in Bubble's words."""
    return Search(
        constraints=tuple(_list(query, "constraints")),
        cursor=max(_integer(query, "cursor", 0), 0),
        limit=min(_integer(query, "limit", MAX_PAGE), MAX_PAGE),
        sort_field=_text(query, "sort_field") or None,
        is_descending=_boolean(query.get("descending"), "descending"),
        further_sorts=tuple(_further_sort(item) for item in _list(query, "additional_sort_fields")),
        excludes_remaining=_boolean(query.get("exclude_remaining"), "exclude_remaining"),
        near=_text(query, "geo_reference").strip() or None,
        after=_text(query, "after") if "after" in query else None,
    )


def _text(query: Mapping[str, JsonValue], name: str) -> str:
    value = query.get(name)
    value = value[-1] if isinstance(value, list) else value
    return value if isinstance(value, str) else ""


def _integer(query: Mapping[str, JsonValue], name: str, default: int) -> int:
    text = _text(query, name).strip()
    if not text:
        return default
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 20 and abs(int(text)) < _MAX_CURSOR):
        raise _wrong(name, "a whole number")
    return int(text)


def _boolean(value: JsonValue, name: str) -> bool:
    if value is None or isinstance(value, bool):
        return value is True
    known = _WORDS.get(value.strip().lower()) if isinstance(value, str) else None
    if known is None:
        raise _wrong(name, "true or false")
    return known


def _list(query: Mapping[str, JsonValue], name: str) -> list[JsonValue]:
    text = _text(query, name).strip()
    if not text:
        return []
    raw = text.encode("utf-8", "surrogateescape")
    try:
        value = without_nul(parse_json(raw), raw)
    except Undecodable:
        raise _wrong(name, "a list in JSON") from None
    if not isinstance(value, list) or len(value) > _MAX_CONSTRAINTS:
        raise _wrong(name, f"a list in JSON of at most {_MAX_CONSTRAINTS} items")
    return value


def _further_sort(item: JsonValue) -> tuple[str, bool]:
    name = item.get("sort_field") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(name, str):
        raise _wrong("additional_sort_fields", "a list of {sort_field, descending}")
    return name, _boolean(item.get("descending"), "additional_sort_fields: descending")


def _wrong(name: str, expected: str) -> Refusal:
    return Refusal(bubble.wrapped(400, "ERROR", f"Invalid value for {name}: expected {expected}"))
