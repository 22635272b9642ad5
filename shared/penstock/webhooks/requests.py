"""A webhook request as a signature sees it, and what comes of checking it."""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from multidict import MultiMapping
from pydantic import JsonValue

from penstock import exact_json


class Verdict(StrEnum):
    """What came of checking a request. Only `GENUINE` is let in; the others differ for the operator, never for the
    sender.
    """

    GENUINE = "genuine"
    UNSIGNED = "unsigned"
    STALE = "stale"
    FORGED = "forged"


def decode_json(body: bytes, _content_type: str) -> JsonValue:
    """A body as JSON, whatever it calls itself. Raises ValueError."""
    return exact_json.loads(body)


class SignedRequest(NamedTuple):
    """What a signature may cover. `path` and `query` are as they were sent; `decode` reads a body of a content type,
    and raises ValueError for what it cannot read.
    """

    method: str
    path: str
    headers: MultiMapping[str]
    body: bytes
    query: str = ""
    decode: Callable[[bytes, str], JsonValue] = decode_json

    @property
    def content_type(self) -> str:
        """The media type, in lower case and without parameters."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def payload(self) -> JsonValue:
        """What the body says; None where it cannot be read."""
        try:
            return self.decode(self.body, self.headers.get("Content-Type", ""))
        except ValueError:
            return None


class Signed(NamedTuple):
    """What the proof of a request covers (None: nothing that differs between requests), and when that was made, in
    seconds since 1970, if it says so.
    """

    content: bytes | None
    moment: float | None


Check = Callable[[SignedRequest, float], Verdict]
"""Takes the request and the current time in seconds since 1970."""
