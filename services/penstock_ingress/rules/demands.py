"""What a request of the Data API demands beyond Bubble's: to be carried out once, only on a certain state of the thing,
or on the thing that has certain unique values.
"""

import hashlib
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import orjson
from multidict import MultiMapping
from pydantic import JsonValue

from penstock import exact_json
from penstock_ingress.rules import bubble
from penstock_ingress.rules.headers import read_idempotency_key
from penstock_ingress.rules.replies import Refusal, problem

Lists = Literal["set", "add", "remove"]
_MAX_FIELDS: Final = 20


class Demands(NamedTuple):
    """`key` is the Idempotency-Key, `if_match` the ETags of which the thing has to have one (`*`: any), `upsert` the
    unique fields by which a thing that exists is changed, `lists` what becomes of list fields in the body.
    """

    key: str | None = None
    if_match: tuple[str, ...] | None = None
    upsert: tuple[str, ...] = ()
    lists: Lists = "set"


def read_demands(headers: MultiMapping[str], query: Mapping[str, JsonValue]) -> Demands:
    """The demands of a request. Raises Refusal."""
    given = headers.getall("If-Match", ())
    if_match = tuple(tag.strip() for value in given for tag in value.split(",") if tag.strip()) if given else None
    return Demands(
        key=read_idempotency_key(headers.getall("Idempotency-Key", ())),
        if_match=if_match,
        upsert=_read_upsert(query),
        lists=_read_lists(query),
    )


def etag_of(thing: Mapping[str, JsonValue]) -> str:
    """The ETag of a thing as its caller sees it, in whatever form it is shown: what they do not see does not change
    it.
    """
    content = exact_json.dumps(dict(thing), option=orjson.OPT_SORT_KEYS)
    return f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'


def meets(if_match: tuple[str, ...], thing: Mapping[str, JsonValue]) -> bool:
    """Whether the thing, which exists, is in a state that `if_match` names (RFC 9110, section 13.1.1)."""
    return "*" in if_match or etag_of(thing) in if_match


def changed_meanwhile() -> Refusal:
    """412: somebody else has changed the thing."""
    return Refusal(problem(412, "the thing has changed since it was read; read it again, and decide again"))


def _text(query: Mapping[str, JsonValue], name: str) -> str:
    value = query.get(name)
    value = value[-1] if isinstance(value, list) and value else value
    return value if isinstance(value, str) else ""


def _read_upsert(query: Mapping[str, JsonValue]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in _text(query, "upsert").split(",") if name.strip())
    if len(names) > _MAX_FIELDS:
        raise Refusal(bubble.wrapped(400, "ERROR", f"upsert names more than {_MAX_FIELDS} fields"))
    return names


def _read_lists(query: Mapping[str, JsonValue]) -> Lists:
    match _text(query, "lists") or "set":
        case "set":
            return "set"
        case "add":
            return "add"
        case "remove":
            return "remove"
        case _:
            raise Refusal(bubble.wrapped(400, "ERROR", "Invalid value for lists: expected set, add or remove"))
