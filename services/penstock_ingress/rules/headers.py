"""What request headers say: whose token, which idempotency key, how long the caller is ready to wait, which trace it
belongs to.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from multidict import MultiMapping
from pydantic import JsonValue

from penstock.domain.credentials import REDACTED, carries_credentials
from penstock.domain.lineage import read_trace
from penstock_ingress.rules.replies import Refusal, problem

MAX_KEY_LENGTH: Final = 255
_QUOTED: Final = re.compile(r'"((?:[^"\\\x00-\x1f\x7f-\uffff]|\\["\\])*)"')
_BARE: Final = re.compile(r"[\x21\x23-\x7e]+")
_HIDDEN: Final = frozenset({"authorization", "cookie", "proxy-authorization"})


@dataclass(frozen=True, slots=True)
class Preference:
    """What `Prefer` (RFC 7240) asks for: an answer at once, or after this many seconds at the latest."""

    is_async: bool = False
    wait_seconds: int | None = None


def read_token(authorization: str | None, api_token: str | None) -> str | None:
    """The caller's token from `Authorization: Bearer TOKEN`, else from `api_token=`; None for an anonymous caller.

    Raises ValueError for another scheme, and for a token without one.
    """
    if authorization is None:
        return api_token
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ValueError("the header Authorization has to read `Bearer` and a token, separated by a space")
    return token.strip()


def read_idempotency_key(values: Sequence[str]) -> str | None:
    """The key in `Idempotency-Key`: a structured-field string as the IETF draft has it (`"8e03"`), or a bare one.
    Raises Refusal.
    """
    if not values:
        return None
    text = values[0].strip()
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    is_key = (quoted or _BARE.fullmatch(text)) and 0 < len(key) <= MAX_KEY_LENGTH
    if not is_key or len(values) > 1:
        detail = (
            f"Idempotency-Key has to be one text of 1 to {MAX_KEY_LENGTH} printable ASCII characters, such as "
            '"8e03978e-40d5"'
        )
        raise Refusal(problem(400, detail))
    return key


def read_preference(values: Iterable[str]) -> Preference:
    """What is understood of `Prefer`; what is not is ignored, as the standard says."""
    is_async, wait = False, None
    for part in ",".join(values).split(","):
        name, _, value = part.partition(";")[0].strip().partition("=")
        name, value = name.strip().lower(), value.strip().strip('"')
        if name == "respond-async":
            is_async = True
        elif name == "wait" and value.isdecimal() and value.isascii() and len(value) < 7:
            wait = int(value)
    return Preference(is_async, wait)


def read_trace_context(headers: MultiMapping[str]) -> dict[str, JsonValue] | None:
    """What the run keeps of the trace it belongs to and of the baggage that others gave to it; None when there is
    nothing.
    """
    if "traceparent" not in headers and "baggage" not in headers:
        return None
    given = {name: ",".join(headers.getall(name, ())) for name in ("traceparent", "tracestate", "baggage")}
    return {**read_trace(given)} or None


def storable_text(text: str) -> str:
    """`text` as PostgreSQL can hold it: NUL and bytes that are not UTF-8 become U+FFFD."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\ufffd").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def storable_value(value: JsonValue) -> JsonValue:
    """The value of a query's field, a text or several, as PostgreSQL can hold it."""
    if isinstance(value, list):
        return [storable_value(item) for item in value]
    return storable_text(value) if isinstance(value, str) else value


def storable_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers as runs see them: names in lower case, one value each, none of a header that carries credentials."""
    kept: dict[str, str] = {}
    for name, value in headers.items():
        name = name.lower()
        if name in _HIDDEN:
            continue
        if carries_credentials(name):
            kept[name] = REDACTED
        else:
            kept[name] = storable_text(f"{kept[name]}, {value}" if name in kept else value)
    return kept
