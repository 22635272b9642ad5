"""The routes of the management API about the log."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from aiohttp import web

from penstock.runs.views.logs import LogCursor, LogFilter
from penstock.runs.views.models import LogEntry
from penstock_ingress.handlers.logs import export_logs, find_cursor, find_log_filter, follow_logs, show_logs
from penstock_ingress.room import Room
from penstock_ingress.routes.requests import CALLER, read_environment
from penstock_ingress.routes.schedule import Show
from penstock_ingress.routes.streams import CheckCaller, ShownEvent, Shows, send_stream
from penstock_ingress.routes.transport import send_pieces
from penstock_ingress.rules.replies import Reply

JSON_LINES: Final = "application/x-ndjson"


class LogRoutes:
    """Lists lines of the log, sends all of them, and follows it."""

    def __init__(self, room: Room, show: Show, check_caller: CheckCaller) -> None:
        self._room = room
        self._show = show
        self._check_caller = check_caller

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Declare the routes."""
        router.add_get("/v1/{environment}/logs", self._list)
        router.add_get("/v1/{environment}/logs/export", self._export)
        router.add_get("/v1/{environment}/logs/stream", self._follow)

    async def _list(self, request: web.Request) -> web.Response:
        return self._show(request, await show_logs(self._room, read_environment(request), request.query))

    async def _export(self, request: web.Request) -> web.StreamResponse:
        environment = read_environment(request)
        wanted = await find_log_filter(self._room, environment, request.query)
        headers = {
            "Content-Type": JSON_LINES,
            "Content-Disposition": f'attachment; filename="{environment}-logs.jsonl"',
        }
        return await send_pieces(request, Reply(200, b"", JSON_LINES, headers), self._write(request, wanted))

    async def _write(self, request: web.Request, wanted: LogFilter | None) -> AsyncIterator[bytes]:
        environment = read_environment(request)
        async with aclosing(export_logs(self._room, wanted)) as pages:
            async for lines in pages:
                redactor = self._room.secrets.redactor(environment)
                yield b"".join(redactor.encoded(_encode(request, line)) + b"\n" for line in lines)

    async def _follow(self, request: web.Request) -> web.StreamResponse:
        last_id = request.headers.get("Last-Event-ID") or request.query.get("after")
        cursor = await find_cursor(self._room, last_id)
        wanted = await find_log_filter(self._room, read_environment(request), request.query)
        return await send_stream(self._room, request, _follow(self._room, wanted, cursor), self._check_caller)


def _encode(request: web.Request, line: LogEntry) -> bytes:
    return line.encoded() if request[CALLER].sees_payloads else line.encoded_without_payloads()


async def _follow(room: Room, wanted: LogFilter | None, cursor: LogCursor) -> Shows:
    yield [ShownEvent(None, str(cursor))]  # who is cut off before the first line continues here
    async with aclosing(follow_logs(room, wanted, cursor)) as batches:
        async for batch in batches:
            yield [ShownEvent(new.line, str(new.cursor)) for new in batch]
