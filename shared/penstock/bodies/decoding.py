"""Bodies as data: which kind a body is, and JSON, bounded in depth. Numbers keep all their digits."""

import json
from collections.abc import Iterable
from typing import Final, Literal, NoReturn, cast

from pydantic import JsonValue

from penstock import exact_json
from penstock.bodies.charsets import UTF_8, decode_text, find_charset
from penstock.bodies.forms import parse_body_form
from penstock.bodies.multipart import parse_multipart
from penstock.bodies.undecodable import Undecodable
from penstock.storable import storable_value

MAX_DEPTH: Final = 64
Kind = Literal["json", "form", "multipart"]
_JSON_TYPES: Final = frozenset({"", "application/json", "application/octet-stream", "text/plain", "text/json"})
_NUL: Final = b"\\u0000"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def kind_of(content_type: str) -> Kind | None:
    """How to read a body of this content type; none at all and plain text count as JSON. None for what is not
    supported.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in _JSON_TYPES or media_type.endswith("+json"):
        return "json"
    if media_type == "application/x-www-form-urlencoded":
        return "form"
    return "multipart" if media_type == "multipart/form-data" else None


def decode_body(body: bytes, content_type: str, *, takes_files: bool = False) -> JsonValue:
    """What a body says; one without content is `{}`, whatever its type. Raises Undecodable, also for a multipart form
    with a file, unless `takes_files`.
    """
    match kind_of(content_type) if body.strip() else "nothing":
        case "nothing":
            return {}
        case "json":
            return parse_json(body, find_charset(content_type))
        case "form":
            return {**parse_body_form(body, content_type)}
        case "multipart":
            return {**parse_multipart(body, content_type, takes_files=takes_files)}
        case _:
            raise Undecodable("the body is neither JSON nor a form")


def decode_payload(body: bytes, content_type: str) -> JsonValue:
    """What the body of a webhook says, as runs see it: without NUL. Raises Undecodable."""
    return without_nul(decode_body(body, content_type), body)


def parse_json(body: bytes, charset: str = UTF_8) -> JsonValue:
    """The JSON in `body`. Raises Undecodable."""
    if charset != UTF_8:
        body = decode_text(body, charset).encode("utf-8", "replace")
    body = body.removeprefix(_BYTE_ORDER_MARK)
    try:
        value = exact_json.loads(body)
    except exact_json.JSONDecodeError as error:
        value = _read_half_surrogates(body, error)
    # Counting brackets is some hundred times cheaper than walking the tree, and enough for nearly every body.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise _too_deep()
    return value


def _read_half_surrogates(body: bytes, error: exact_json.JSONDecodeError) -> JsonValue:
    """JSON with half of a surrogate pair in a text, which senders make that cut texts: U+FFFD stands for it."""
    undecodable = Undecodable(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}")
    if "surrogate" not in error.msg:
        raise undecodable from None
    try:
        value: JsonValue = json.loads(body.decode(), parse_constant=_refuse_constant)
        return exact_json.loads(exact_json.dumps(storable_value(value)))
    except RecursionError:
        raise _too_deep() from None
    except (ValueError, TypeError):
        raise undecodable from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _too_deep() -> Undecodable:
    return Undecodable(f"the body is nested more than {MAX_DEPTH} levels deep")


def without_nul(value: JsonValue, body: bytes) -> JsonValue:
    """`value`, which was read from `body`, with U+FFFD for every NUL: PostgreSQL cannot hold one in JSON."""
    return cast(JsonValue, storable_value(value)) if _NUL in body or b"\x00" in body or b"%00" in body else value


def _is_deeper(value: JsonValue, levels: int) -> bool:
    if not isinstance(value, list | dict):
        return False
    children: Iterable[JsonValue] = value if isinstance(value, list) else value.values()
    return levels == 0 or any(_is_deeper(child, levels - 1) for child in children)
