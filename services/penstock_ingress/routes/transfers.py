"""The routes of the management API for imports and exports of things."""

import asyncio
from typing import Final
from urllib.parse import quote

from aiohttp import web

from penstock.errors import DatabaseUnavailable
from penstock.http_server import BareStream
from penstock.logs import get_logger
from penstock.things.exports import CONTENT_TYPES
from penstock_ingress.handlers import transfers
from penstock_ingress.handlers.transfers import MAX_IMPORT_BYTES, Wanted, read_wanted
from penstock_ingress.room import Room
from penstock_ingress.routes.requests import BODY_SECONDS, CALLER, read_environment, read_id
from penstock_ingress.routes.schedule import Show
from penstock_ingress.routes.transport import read_pieces
from penstock_ingress.rules.headers import read_idempotency_key

log = get_logger(__name__)
_WRITE_SECONDS: Final = 60.0
"""For a piece of an export; who reads more slowly keeps a connection to the database, and its rows, from others."""


class TransferRoutes:
    """Takes things in, shows how far that is, and hands things out."""

    def __init__(self, room: Room, show: Show) -> None:
        self._room = room
        self._show = show

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Declare the routes."""
        router.add_post("/v1/{environment}/data/{type}/import", self._import)
        router.add_get("/v1/{environment}/data/{type}/export", self._export)
        router.add_get("/v1/{environment}/imports", self._list)
        router.add_get("/v1/{environment}/imports/{id}", self._get)
        router.add_get("/v1/{environment}/imports/{id}/lines", self._list_lines)

    async def _import(self, request: web.Request) -> web.Response:
        wanted = await self._read(request, request.content_type)
        key = read_idempotency_key(request.headers.getall("Idempotency-Key", ()))
        pieces = read_pieces(request, most=MAX_IMPORT_BYTES, seconds=BODY_SECONDS)
        imported = await transfers.import_stream(self._room, wanted, request.query, key, pieces)
        location = {"Location": f"/v1/{wanted.environment}/imports/{imported.id}"}
        return self._show(request, imported, headers=location)

    async def _export(self, request: web.Request) -> web.StreamResponse:
        wanted = await self._read(request)
        output = _Output(request, wanted)
        if request.method != "HEAD":
            try:
                await transfers.export_stream(self._room, wanted, request.query, output.write)
            except (DatabaseUnavailable, TimeoutError, ConnectionError) as error:
                if not output.response.prepared:
                    raise
                log.warning("export.failed", type=wanted.data_type.name, error=f"{type(error).__name__}: {error}")
                output.abort()
        return await output.finish()

    async def _list(self, request: web.Request) -> web.Response:
        return self._show(request, await transfers.show_imports(self._room, read_environment(request), request.query))

    async def _get(self, request: web.Request) -> web.Response:
        environment, id = read_environment(request), read_id(request)
        return self._show(request, await transfers.show_import(self._room, environment, id, request[CALLER]))

    async def _list_lines(self, request: web.Request) -> web.Response:
        environment, id = read_environment(request), read_id(request)
        lines = await transfers.show_lines(self._room, environment, id, request.query, request[CALLER])
        return self._show(request, lines)

    async def _read(self, request: web.Request, content_type: str = "") -> Wanted:
        environment, name = read_environment(request), request.match_info["type"]
        return await read_wanted(self._room, environment, name, request.query, request[CALLER], content_type)


class _Output:
    """An export on its way: its headers leave with the first piece, so that what is refused before it is an answer."""

    def __init__(self, request: web.Request, wanted: Wanted) -> None:
        self._request = request
        self.response = BareStream(
            headers={
                "Content-Type": CONTENT_TYPES[wanted.format],
                "Content-Disposition": f"attachment; filename*=UTF-8''{quote(wanted.data_type.name)}.{wanted.format}",
            }
        )

    async def write(self, piece: bytes) -> None:
        """Send a piece. Raises TimeoutError when it is not taken in time."""
        if not self.response.prepared:
            await self.response.prepare(self._request)
        async with asyncio.timeout(_WRITE_SECONDS):
            await self.response.write(piece)

    def abort(self) -> None:
        """Cut the connection, so that nobody takes what arrived for the whole."""
        if self._request.transport is not None:
            self._request.transport.abort()

    async def finish(self) -> web.StreamResponse:
        """End what was sent."""
        if not self.response.prepared:
            await self.response.prepare(self._request)
        if self._request.transport is not None and not self._request.transport.is_closing():
            await self.response.write_eof()
        return self.response
