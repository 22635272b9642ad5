"""Things of the Data API by the thousand: changed and deleted by constraints, by admins; and streamed as JSON lines, to
everyone what they may see.
"""

from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Final

from pydantic import JsonValue

from penstock import exact_json
from penstock.db import Connection, UniqueViolation, describe_duplicate
from penstock.domain.callers import Role
from penstock.domain.workload import Activity
from penstock.errors import Permanent
from penstock.things.bulk import delete_matching, update_matching
from penstock.things.changes import tell_changing_run
from penstock.things.clauses import ConstraintProblem
from penstock.things.constraints import Restricted
from penstock.things.ordering import Order
from penstock.things.records import Page, Window, find_things
from penstock_ingress.accepting.exposed import find_viewer
from penstock_ingress.handlers.changing_things import Asked
from penstock_ingress.handlers.things import meter
from penstock_ingress.room import Room
from penstock_ingress.rules import bubble
from penstock_ingress.rules.records import RecordProblem, Values, read_record
from penstock_ingress.rules.replies import Refusal, Reply, json_reply
from penstock_ingress.rules.searches import Search, read_search

LINES: Final = "application/x-ndjson"
_SECONDS: Final = 240.0
_PAGE: Final = 1_000


async def change_many(room: Room, asked: Asked, query: Mapping[str, JsonValue]) -> Reply:
    """200 `{"status": "success", "count"}`: the body's values are set in all things that meet the constraints, or in
    none. Raises Refusal.
    """
    try:
        values = read_record(asked.exposed.data_type, *asked.content)
    except RecordProblem as problem:
        raise problem.refusal from None
    return await _carry_out(room, asked, query, values)


async def delete_many(room: Room, asked: Asked, query: Mapping[str, JsonValue]) -> Reply:
    """200 `{"status": "success", "count"}`: all things that meet the constraints are deleted, or none. Raises
    Refusal.
    """
    return await _carry_out(room, asked, query, None)


async def stream_things(room: Room, asked: Asked, query: Mapping[str, JsonValue]) -> Reply:
    """All things that a search finds, one a line, however many: read page by page, each from behind the last one.
    `cursor`, `limit` and further orders are not for it. Raises Refusal.
    """
    search = read_search(query)
    viewer = await find_viewer(room.database, asked.exposed, asked.caller)
    where = Restricted(search.constraints, viewer, drops_hidden=room.settings.hidden_constraints == "drop")
    first = await _read(room, asked, search, where, None)
    return Reply(
        200, content_type=LINES, headers={"Content-Type": LINES}, content=_lines(room, asked, search, where, first)
    )


async def _lines(room: Room, asked: Asked, search: Search, where: Restricted, page: Page) -> AsyncIterator[bytes]:
    while True:
        lines = b"".join(exact_json.dumps(thing) + b"\n" for thing in page.results)
        meter(room, asked.exposed.environment, len(lines), {Activity.THING_RETURNED: len(page.results)})
        yield lines
        if page.after is None:
            return
        page = await _read(room, asked, search, where, page.after)


async def _read(room: Room, asked: Asked, search: Search, where: Restricted, after: str | None) -> Page:
    exposed, order = asked.exposed, Order(search.sort_field, search.is_descending)
    try:
        async with room.database.connection() as conn:
            with room.slow_searches.watch(exposed.environment, exposed.data_type, where, order):
                return await find_things(
                    conn,
                    environment=exposed.environment,
                    data_type=exposed.data_type,
                    where=where,
                    order=order,
                    window=Window(_PAGE, after),
                )
    except ConstraintProblem as error:
        raise _refuse(error) from None


async def _carry_out(room: Room, asked: Asked, query: Mapping[str, JsonValue], values: Values | None) -> Reply:
    """Set the values, or delete for None."""
    exposed, caller = asked.exposed, asked.caller
    if not (caller.may(Role.OPERATOR) and caller.reaches_type(exposed.data_type.name)):
        raise Refusal(bubble.unauthorized("Only admins may change or delete things by constraints"))
    if "constraints" not in query:
        message = "Say which things are meant: constraints, a JSON list; [] means all of them"
        raise Refusal(bubble.wrapped(400, "MISSING_DATA", message))
    search = read_search(query)
    change = partial(_change, asked=asked, where=list(search.constraints), values=values)
    try:
        count = await room.database.in_transaction(change)
    except ConstraintProblem as error:
        raise _refuse(error) from None
    except UniqueViolation as error:
        message = f"The values are not unique: {describe_duplicate(error)}"
        raise Refusal(bubble.wrapped(400, "ERROR", message)) from None
    except Permanent as error:
        raise Refusal(bubble.wrapped(400, "INVALID_DATA", str(error))) from None
    reply = json_reply(200, {"status": "success", "count": count})
    activity = Activity.THING_DELETED if values is None else Activity.THING_WRITTEN
    meter(room, exposed.environment, len(reply.body), {activity: count})
    return reply


async def _change(conn: Connection, *, asked: Asked, where: list[JsonValue], values: Values | None) -> int:
    environment, data_type = asked.exposed.environment, asked.exposed.data_type
    await tell_changing_run(conn, run_id=None)
    if values is None:
        return await delete_matching(conn, environment=environment, data_type=data_type, where=where, seconds=_SECONDS)
    return await update_matching(
        conn, environment=environment, data_type=data_type, where=where, values=values, seconds=_SECONDS
    )


def _refuse(error: ConstraintProblem) -> Refusal:
    return Refusal(bubble.wrapped(error.status, "NOT_FOUND" if error.status == 404 else "ERROR", str(error)))
