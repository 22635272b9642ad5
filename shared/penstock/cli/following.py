"""Follows deliveries as they come in, and posts them to a URL, for developing on one's own machine."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import aiohttp
import typer
from yarl import URL

from penstock.cli.access import open_installation
from penstock.cli.output import print_json_line, say, show_time
from penstock.db import Database
from penstock.domain.deliveries import DeliveryFilter
from penstock.runs.recurrences.rows import get_time
from penstock.runs.replays import find_origins
from penstock.runs.views.deliveries import DeliveryPlace, list_received
from penstock.runs.views.models import Delivery

_LOOK_SECONDS: Final = 0.5
_LATE: Final = timedelta(seconds=10)
"""A delivery may be committed so long after the time that it bears, behind others that bear a later one."""
_PAGE: Final = 500
_FORWARD_SECONDS: Final = 30.0
_OWN_HEADERS: Final = frozenset(
    "accept-encoding connection content-encoding content-length expect forwarded host keep-alive te trailer "
    "transfer-encoding upgrade".split()
)
"""What belongs to the connection by which a delivery came (RFC 9110), or is made again by what sends it on."""
_REDACTED: Final = "[redacted]"


def read_url(text: str | None) -> URL | None:
    """The URL to forward to. Raises typer.BadParameter."""
    if text is None:
        return None
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise typer.BadParameter(
            f"{text[:200]!r} is not a URL such as http://127.0.0.1:8080/hooks", param_hint="--forward"
        )
    return url


async def follow(wanted: DeliveryFilter, forward_to: URL | None, data: Path | None, *, as_json: bool) -> None:
    """Print each delivery that comes in from now on, and post it to `forward_to`; does not end by itself."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_installation(data))
        timeout = aiohttp.ClientTimeout(total=_FORWARD_SECONDS)
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        async for delivery in _watch(database, wanted):
            answer = None if forward_to is None else await _forward(database, http, forward_to, delivery.id)
            if as_json:
                print_json_line({**delivery.model_dump(), **({} if answer is None else {"forwarded": answer})})
            else:
                say(_describe(delivery) + ("" if answer is None else f"  → {answer}"))


async def _watch(database: Database, wanted: DeliveryFilter) -> AsyncIterator[Delivery]:
    """Each delivery once, whenever it was committed."""
    async with database.connection() as conn:
        start = newest = await get_time(conn)
    say(f"following the deliveries of {wanted.environment}; Ctrl-C stops", is_error=True)
    seen: dict[UUID, datetime] = {}
    while True:
        since = max(start, newest - _LATE)
        seen = {id: at for id, at in seen.items() if at >= since}
        place: DeliveryPlace | None = None
        while True:
            async with database.connection() as conn:
                page = await list_received(conn, replace(wanted, since=since), after=place, limit=_PAGE)
            for delivery in page.results:
                if delivery.id not in seen:
                    seen[delivery.id] = delivery.received_at
                    newest = max(newest, delivery.received_at)
                    yield delivery
            if (place := page.after) is None:
                break
        await asyncio.sleep(_LOOK_SECONDS)


async def _forward(database: Database, http: aiohttp.ClientSession, url: URL, id: UUID) -> str:
    """The status of the answer, or why there was none."""
    async with database.connection() as conn:
        found = await find_origins(conn, ids=[id])
    if not found:
        return "gone"
    try:
        async with http.post(
            url, data=found[0].body, headers=sendable_headers(found[0].headers), allow_redirects=False,
            skip_auto_headers=("Content-Type", "User-Agent"),
        ) as response:  # fmt: skip
            return str(response.status)
    except TimeoutError:
        return f"no answer within {_FORWARD_SECONDS:g} s"
    except (aiohttp.ClientError, ValueError) as error:
        return f"failed: {error}"


def sendable_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers as they came, without those of the connection and those whose value is not kept."""
    return {
        name: value
        for name, value in headers.items()
        if name not in _OWN_HEADERS and not name.startswith("proxy-") and value != _REDACTED
    }


def _describe(delivery: Delivery) -> str:
    runs = f"{len(delivery.run_ids)} runs" if len(delivery.run_ids) != 1 else "1 run"
    replay = "" if delivery.origin_id is None else f"  replay of {delivery.origin_id}"
    kind = delivery.type or "-"
    what = f"{delivery.source}  {kind}  {delivery.outcome}  {runs}{replay}"
    return f"{show_time(delivery.received_at)}  {delivery.id}  {what}"
