"""Things in and out by the million: imports of CSV and JSON lines as they arrive, how far these are, and exports.

An import is committed batch by batch. Sent again with its `Idempotency-Key`, it continues behind the last batch.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock.bodies import Undecodable, parse_json, without_nul
from penstock.db import Connection
from penstock.definitions.models import DataType
from penstock.domain.callers import Caller, admin_user_id
from penstock.domain.ids import keyed_run_id, new_run_id
from penstock.domain.workload import Activity
from penstock.errors import Permanent
from penstock.expressions.tokens import did_you_mean
from penstock.storable import is_storable
from penstock.store.audit import Act, AuditAction, note_acts
from penstock.things.clauses import ConstraintProblem
from penstock.things.constraints import compile_where
from penstock.things.exports import ExportRequest, export_things
from penstock.things.imports.importing import ImportRequest, import_things
from penstock.things.tables import USER
from penstock.things.tabular import FORMATS, Format
from penstock_ingress.handlers.pages import read_limit, read_line_token, read_run_token, write_token
from penstock_ingress.repository.import_views import (
    Import,
    ImportLinePage,
    ImportPage,
    ImportPlace,
    find_import,
    list_imports,
    list_lines,
)
from penstock_ingress.room import Room
from penstock_ingress.rules.replies import Refusal, problem, unavailable

MAX_IMPORT_BYTES: Final = 1024**4
_KEEPS: Final = 100_000 + 2_000
"""Bad lines that are kept: all, because an import ends with the batch in which there are too many."""
_MAX_EXPORT_SECONDS: Final = 3600.0
_TURN_SECONDS: Final = 5.0
_JSON_LINES: Final = frozenset({"application/jsonl", "application/x-ndjson", "application/x-jsonlines"})
Query = Mapping[str, str]
Write = Callable[[bytes], Coroutine[object, object, None]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Things of which type somebody wants in or out, and in which format."""

    environment: str
    data_type: DataType
    app: str
    format: Format
    is_raw: bool
    caller: Caller


async def read_wanted(
    room: Room, environment: str, type_name: str, query: Query, caller: Caller, content_type: str = ""
) -> Wanted:
    """What a request means. Raises Refusal."""
    app = (await room.definitions.newest(environment)).app
    types = {USER.name: USER, **app.types}
    data_type = types.get(type_name)
    if data_type is None:
        near = did_you_mean(type_name[:100], types)
        raise Refusal(problem(404, f"there is no data type {type_name[:100]!r} in {environment}{near}"))
    if not caller.reaches_type(data_type.name):
        raise Refusal(problem(403, f"this token does not reach things of type {data_type.name}"))
    return Wanted(environment, data_type, app.name, _read_format(query, content_type), _read_raw(query), caller)


async def import_stream(
    room: Room, wanted: Wanted, query: Query, key: str | None, content: AsyncIterator[bytes]
) -> Import:
    """Import what arrives, and how it ended. Raises Refusal: what cannot be imported at all is 422."""
    environment, name = wanted.environment, wanted.data_type.name
    upsert = tuple(part.strip() for part in query.get("upsert", "").split(",") if part.strip())
    id = new_run_id() if key is None else keyed_run_id(environment, "things.import", key)
    source = hashlib.sha256(repr((name, wanted.format, upsert, wanted.is_raw)).encode()).hexdigest()
    request = ImportRequest(
        id=id,
        environment=environment,
        data_type=wanted.data_type,
        format=wanted.format,
        source=f"request {source}",
        upsert=upsert,
        keeps=_KEEPS,
        is_raw=wanted.is_raw,
        created_by=admin_user_id(wanted.app, environment),
    )
    await _note(room, wanted, AuditAction.THINGS_IMPORT, {"import": str(id)})
    try:
        await import_things(room.database, request, content, limit=room.import_turns)
    except Permanent as error:
        raise Refusal(problem(422, str(error), extensions={"import": str(id)})) from None
    imported = await show_import(room, environment, id, wanted.caller)
    written = imported.created + imported.updated
    room.meter.count(environment, "", {Activity.API_REQUEST: 1, Activity.THING_WRITTEN: written})
    return imported


async def show_imports(room: Room, environment: str, query: Query) -> ImportPage:
    """A page of imports. Raises Refusal."""
    limit, place = read_limit(query), read_run_token(query)
    after = None if place is None else ImportPlace(*place)
    async with room.database.connection() as conn:
        found = await list_imports(conn, environment=environment, after=after, limit=limit)
    last = found[limit - 1] if len(found) > limit else None
    return ImportPage(results=found[:limit], after=None if last is None else write_token(last.created_at, last.id))


async def show_import(room: Room, environment: str, id: UUID, caller: Caller) -> Import:
    """How far an import is. Raises Refusal."""
    async with room.database.connection() as conn:
        return await _find(conn, environment, id, caller)


async def show_lines(room: Room, environment: str, id: UUID, query: Query, caller: Caller) -> ImportLinePage:
    """A page of the lines that could not be imported. Raises Refusal."""
    limit, after = read_limit(query), read_line_token(query)
    async with room.database.connection() as conn:
        await _find(conn, environment, id, caller)
        found = await list_lines(conn, id=id, after=after, limit=limit)
    return ImportLinePage(results=found[:limit], after=str(found[limit - 1].line) if len(found) > limit else None)


async def export_stream(room: Room, wanted: Wanted, query: Query, write: Write) -> None:
    """Hand all things that meet `constraints` to `write`, as they are at one moment. Raises Refusal before the first
    of them.
    """
    where = _read_constraints(query)
    request = ExportRequest(wanted.environment, wanted.data_type, wanted.format, where, is_raw=wanted.is_raw)
    try:
        compile_where(wanted.data_type, where)
    except ConstraintProblem as error:
        raise Refusal(problem(400, f"constraints: {error}")) from None
    try:
        async with asyncio.timeout(_TURN_SECONDS):
            await room.export_turns.acquire()
    except TimeoutError:
        raise Refusal(unavailable("too many exports are in progress; try again in a moment", 5)) from None
    try:
        await _note(room, wanted, AuditAction.THINGS_EXPORT, {"constraints": list(where)})
        count = await export_things(room.database, request, write=write, seconds=_MAX_EXPORT_SECONDS)
        used = {Activity.API_REQUEST: 1, Activity.SEARCH: 1, Activity.THING_RETURNED: count}
        room.meter.count(wanted.environment, "", used)
    finally:
        room.export_turns.release()


async def _find(conn: Connection, environment: str, id: UUID, caller: Caller) -> Import:
    found = await find_import(conn, environment=environment, id=id)
    if found is None or not caller.reaches_type(found.type):
        raise Refusal(problem(404, f"{environment} has no import {id}; they are kept for 30 days after their end"))
    return found


async def _note(room: Room, wanted: Wanted, action: AuditAction, after: dict[str, JsonValue]) -> None:
    async with room.database.connection() as conn:
        await note_acts(conn, [Act(wanted.environment, wanted.caller.name, action, wanted.data_type.name, after=after)])


def _read_format(query: Query, content_type: str) -> Format:
    given = query.get("format") or ("jsonl" if content_type in _JSON_LINES else "csv")
    for known in FORMATS:
        if given == known:
            return known
    raise Refusal(problem(400, "format: expected csv or jsonl"))


def _read_raw(query: Query) -> bool:
    if (given := query.get("raw", "false")) not in ("true", "false"):
        raise Refusal(problem(400, "raw: expected true or false"))
    return given == "true"


def _read_constraints(query: Query) -> list[JsonValue]:
    text = query.get("constraints", "").strip()
    if not text:
        return []
    try:
        raw = text.encode()
        value = without_nul(parse_json(raw), raw)
    except (Undecodable, UnicodeEncodeError):
        value = None
    if not isinstance(value, list) or not is_storable(text):
        raise Refusal(problem(400, "constraints: expected a list in JSON of {key, constraint_type, value}"))
    return value
