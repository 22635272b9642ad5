"""Requests to one base URL: sent again, as they are, until they are answered or the deadline is reached.

What is sent again carries the same idempotency key, or is harmless twice. Redirects are not followed: they are answers
of workflows, and the token is meant for this URL alone.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import aiohttp
from multidict import CIMultiDict
from pydantic import JsonValue
from yarl import URL

from penstock import clock, exact_json
from penstock.client.errors import ClientError, Refused, Unavailable
from penstock.client.retries import Deadline, pause_before_retry, read_retry_after

TRY_SECONDS: Final = 30.0
"""Of one try: an instance that hangs must not take the time of another that would answer."""
MAX_BODY_BYTES: Final = 32 * 1024 * 1024
_CONNECT_SECONDS: Final = 5.0
_RETRIED: Final = frozenset({429, 502, 503, 504})
MAX_SHOWN: Final = 300


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `path` is encoded already; the key is named in what Unavailable says."""

    method: str
    path: str
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, JsonValue]:
        """The body as a JSON object; empty when it is something else."""
        try:
            document = exact_json.loads(self.body)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def run_id(self) -> UUID | None:
        """The run that the answer is about."""
        try:
            return UUID(self.headers.get("Penstock-Run-Id", ""))
        except ValueError:
            return None

    @property
    def detail(self) -> str:
        """What an error says, in whichever of Penstock's forms."""
        match self.document:
            case {"body": {"message": str(message)}} | {"translation": str(message)} | {"detail": str(message)}:
                return message
            case _:
                return self.body[:MAX_SHOWN].decode(errors="replace")

    def refusal(self) -> Refused:
        """This answer as an error."""
        return Refused(self.status, self.detail)


class Calls:
    """Sends requests to `url`, with the token."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url = _check_url(url)
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    async def send(self, call: Call, deadline: Deadline) -> Answer:
        """The answer, whatever its status but those that ask to try again. Raises Unavailable at the deadline."""
        body = None if call.body is None else exact_json.dumps(call.body)
        tries = 0
        while True:
            tries += 1
            outcome = await self._try(call, body, deadline)
            if isinstance(outcome, Answer) and outcome.status not in _RETRIED:
                return outcome
            asked, reason = None, str(outcome)
            if isinstance(outcome, Answer):
                asked = read_retry_after(outcome.headers.get("Retry-After"), clock.now())
                reason = f"{outcome.status}: {outcome.detail}"
            pause = pause_before_retry(tries, asked, random.random())
            if pause >= deadline.remaining:
                raise Unavailable(f"{call.method} {self._url}{call.path}, tried {tries} times: {reason}", key=call.key)
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _try(self, call: Call, body: bytes | None, deadline: Deadline) -> Answer | str:
        """The answer, or why there was none."""
        seconds = min(TRY_SECONDS, deadline.remaining)
        try:
            async with asyncio.timeout(seconds):
                return await self._send_once(call, body)
        except TimeoutError:
            return f"no answer within {seconds:.3g} s"
        except aiohttp.ClientSSLError as error:
            raise Unavailable(f"{self._url}: {error}", key=call.key) from error
        except (aiohttp.ClientError, OSError) as error:
            return f"{type(error).__name__}: {error}"

    async def _send_once(self, call: Call, body: bytes | None) -> Answer:
        headers = {**self._headers, **call.headers}
        if body is not None:
            headers["Content-Type"] = "application/json"
        url = URL(f"{self._url}{call.path}", encoded=True)
        async with self._open_session().request(
            call.method, url, data=body, headers=headers, allow_redirects=False
        ) as response:
            return Answer(response.status, CIMultiDict(response.headers), await _read(response))

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
                connector=aiohttp.TCPConnector(limit=0),
            )
        return self._session


async def _read(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise ClientError(f"the answer of {response.url.path} is larger than {MAX_BODY_BYTES} bytes")
    return b"".join(parts)


def _check_url(text: str) -> str:
    url = URL(text)
    if url.scheme not in {"http", "https"} or not url.host or url.query or url.user is not None:
        raise ValueError(f"{text!r} is not the URL of a port of Penstock; write one such as http://localhost:8080")
    return text.rstrip("/")
