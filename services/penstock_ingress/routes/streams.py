"""Server-sent events of the management API: what is shown leaves as answers do, without secrets, and without payloads
for callers who may not see them.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from aiohttp import web

from penstock.http_server import Events, ServerEvent, TooManyStreams
from penstock.redaction import Redactor
from penstock.runs.views.models import Shown
from penstock_ingress.room import Room
from penstock_ingress.routes.requests import CALLER, read_environment
from penstock_ingress.rules.replies import Refusal, unavailable

_RETRY_AFTER_SECONDS: Final = 10


class ShownEvent(NamedTuple):
    """Something to show (None: nothing new), and where to continue behind it."""

    shown: Shown | None
    id: str | None = None
    name: str | None = None


Shows = AsyncGenerator[Sequence[ShownEvent], None]
CheckCaller = Callable[[web.Request], Awaitable[None]]
"""Raises Refusal when the request's caller may not send it (any more)."""


async def send_stream(room: Room, request: web.Request, shows: Shows, check_caller: CheckCaller) -> web.StreamResponse:
    """Answer with events until they end or the caller leaves, is refused, or the process stops. Raises Refusal (503)
    when this process sends as many streams as it may.
    """

    async def is_allowed() -> bool:
        try:
            await check_caller(request)
        except Refusal:
            return False
        return True

    try:
        return await room.streams.send(request, _encode(room, request, shows), is_allowed)
    except TooManyStreams as error:
        raise Refusal(unavailable(f"{error}; close one, or try again later", _RETRY_AFTER_SECONDS)) from None


async def _encode(room: Room, request: web.Request, shows: Shows) -> Events:
    environment = read_environment(request)
    try:
        async for batch in shows:
            redactor = room.secrets.redactor(environment)  # secrets may change while the stream is open
            yield [ServerEvent(_write(request, redactor, one.shown), one.id, one.name) for one in batch]
    finally:
        await shows.aclose()


def _write(request: web.Request, redactor: Redactor, shown: Shown | None) -> bytes | None:
    if shown is None:
        return None
    return redactor.encoded(shown.encoded() if request[CALLER].sees_payloads else shown.encoded_without_payloads())
