"""The log: pages of it, all that a filter means as one download, and what is new as it is written."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from penstock.runs.views.logs import LogCursor, LogFilter, LogPlace, begin_following, list_logs, list_new_lines
from penstock.runs.views.logs.following import NewLine
from penstock.runs.views.models import LogEntry
from penstock_ingress.handlers.pages import MAX_LIMIT, read_limit, read_log_filter, read_log_token, write_log_token
from penstock_ingress.handlers.users import find_user_id
from penstock_ingress.repository.views import LogPage
from penstock_ingress.room import Room
from penstock_ingress.rules.replies import Refusal, problem

_LOOK_SECONDS: Final = 0.5
"""Between two looks for new lines, when there were none."""


async def show_logs(room: Room, environment: str, query: Mapping[str, str]) -> LogPage:
    """A page of lines, newest first. Raises Refusal."""
    after, limit = read_log_token(query), read_limit(query)
    wanted = await find_log_filter(room, environment, query)
    if wanted is None:
        return LogPage(results=[], after=None)
    async with room.database.connection() as conn:
        page = await list_logs(conn, wanted, after=after, limit=limit)
    return LogPage(results=page.results, after=write_log_token(page.after) if page.after else None)


async def export_logs(room: Room, wanted: LogFilter | None) -> AsyncGenerator[Sequence[LogEntry], None]:
    """All lines that are wanted, newest first, some at a time; no connection is held while they are sent."""
    place: LogPlace | None = None
    while wanted is not None:
        async with room.database.connection() as conn:
            page = await list_logs(conn, wanted, after=place, limit=MAX_LIMIT)
        yield page.results
        if (place := page.after) is None:
            return


async def follow_logs(
    room: Room, wanted: LogFilter | None, cursor: LogCursor
) -> AsyncGenerator[Sequence[NewLine], None]:
    """The lines that are written from `cursor` on, some at a time; does not end by itself."""
    while True:
        is_more = False
        if wanted is not None:
            async with room.database.connection() as conn:
                new = await list_new_lines(conn, wanted, cursor=cursor)
            cursor, is_more = new.cursor, new.is_more
            if new.lines:
                yield new.lines
        if not is_more:
            await asyncio.sleep(_LOOK_SECONDS)


async def find_cursor(room: Room, text: str | None) -> LogCursor:
    """Where to continue, as the last event said; without one from now on. Raises Refusal."""
    if not text:
        async with room.database.connection() as conn:
            return await begin_following(conn)
    try:
        return LogCursor.read(text)
    except ValueError as error:
        raise Refusal(
            problem(400, f"Last-Event-ID: {error}; leave it out to begin with what is written next")
        ) from None


async def find_log_filter(room: Room, environment: str, query: Mapping[str, str]) -> LogFilter | None:
    """The filter in a query; None when nobody is the user whom it names by email. Raises Refusal."""
    wanted = read_log_filter(environment, query)
    if wanted.user_id is None:
        return wanted
    user_id = await find_user_id(room, environment, wanted.user_id)
    return None if user_id is None else replace(wanted, user_id=user_id)
