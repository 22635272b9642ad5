"""Answers as values, and the forms they have outside of Bubble's API: JSON, and problem details (RFC 9457)."""

from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from uuid import UUID

import orjson
from pydantic import JsonValue

from penstock import exact_json
from penstock.encryption import Keyring
from penstock.errors import PenstockError
from penstock.runs.sealing import unseal_tokens

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"


@dataclass(slots=True)  # not frozen, which costs five times as much: each run or request makes some
class Reply:
    """What a caller is answered. `content_type` stands beside the other headers. `content` is sent piece by piece in
    place of a body; its headers say how long it is.
    """

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    content: AsyncIterable[bytes] | None = None

    def with_headers(self, headers: Mapping[str, str]) -> "Reply":
        """This reply with further headers."""
        return Reply(self.status, self.body, self.content_type, {**self.headers, **headers}, self.content)

    def unsealed(self, run: tuple[str, UUID], keyring: Keyring | None) -> "Reply":
        """This reply with the tokens that this run of this environment has given its caller, as they are."""
        if keyring is None or not (b"sealed." in self.body or "sealed." in self.headers.get("Location", "")):
            return self
        body = unseal_tokens(self.body.decode("latin-1"), *run, keyring).encode("latin-1")
        headers = {name: unseal_tokens(value, *run, keyring) for name, value in self.headers.items()}
        return Reply(self.status, body, self.content_type, headers, self.content)


class Refusal(PenstockError):
    """The request ends here, with this reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"{reply.status}: {reply.body[:300].decode(errors='replace')}")
        self.reply = reply


def json_reply(status: int, body: object, headers: Mapping[str, str] | None = None) -> Reply:
    """A JSON document; `body` may hold times, and ids in whatever class the database's driver gives them."""
    return Reply(status, exact_json.dumps(body, default=str, option=orjson.OPT_UTC_Z), JSON, headers or {})


def problem(
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    extensions: Mapping[str, JsonValue] | None = None,
) -> Reply:
    """A problem document (RFC 9457): `detail` says what was wrong and what to do; extensions are further members."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **(extensions or {}),
    }
    return Reply(status, exact_json.dumps(document), PROBLEM, headers or {})


def too_many(detail: str, retry_after_seconds: int, headers: Mapping[str, str] | None = None) -> Reply:
    """429: nothing was decided, so the request may be sent again, after that time."""
    return problem(429, detail, {**(headers or {}), "Retry-After": str(retry_after_seconds)})


def unavailable(detail: str, retry_after_seconds: int) -> Reply:
    """503: nothing was decided, so the request may be sent again."""
    return problem(503, detail, {"Retry-After": str(retry_after_seconds)})
