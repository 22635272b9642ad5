"""Lists over a search get their items chunk by chunk: the next things are found, and the parameters of their runs are
stored with the list, in one transaction with how far the search is. So a scheduler that dies neither repeats nor loses
any. From there on they are items like those of any other list. `penstock.runs.list_searches` says what is found.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from pydantic import JsonValue

from penstock.db import Connection
from penstock.definitions.models import App
from penstock.domain.callers import is_admin_user
from penstock.errors import PenstockError, Permanent, StaleDefinitions
from penstock.expressions import Template, compile_template
from penstock.expressions.bounded import evaluate_item
from penstock.redaction import describe
from penstock.runs.list_searches import ListSearch, find_chunk
from penstock.runs.lists import CHUNK_SIZE, store_chunks
from penstock.runtime import Counts
from penstock.store.deployments import CompiledDeployment
from penstock.store.logs import Subject, error_line, write_logs
from penstock.things.records import Thing, get_thing
from penstock.things.tables import USER
from penstock_scheduler.repository import list_searches as repository
from penstock_scheduler.repository.list_searches import OpenSearch
from penstock_scheduler.repository.lists import fail_list
from penstock_scheduler.room import Room

_YIELD_EVERY: Final = 100


async def feed_lists(room: Room) -> Counts:
    """Find chunks until all lists have enough, or other schedulers have them in hand."""
    found = 0
    while not room.stop.soft.is_set() and (items := await _feed_next(room)) is not None:
        found += items
        room.nudges.expand.set()
        room.nudges.sequential.set()
    return Counts({"found": found})


async def _feed_next(room: Room) -> int | None:
    """Find one chunk; how many things, or None when no list needs one."""
    held: list[OpenSearch] = []

    async def work(deployments: dict[str, CompiledDeployment], is_newest: bool) -> int | None:
        feed = partial(_feed, held=held, deployments=deployments, is_newest=is_newest)
        return await room.database.in_transaction(feed)

    try:
        return await room.admissions.with_current(work)
    except Exception as error:
        if not held or (isinstance(error, PenstockError | TimeoutError) and not isinstance(error, Permanent)):
            raise
        # Of the search, or of what its parameters are made of: it would come again and again.
        await room.database.in_transaction(partial(_fail, of=held[0], error=error))
        return 0


async def _feed(
    conn: Connection, *, held: list[OpenSearch], deployments: dict[str, CompiledDeployment], is_newest: bool
) -> int | None:
    """Find the next chunk of one list and store its items. Raises StaleDefinitions, and Permanent."""
    of = await repository.claim_search(conn)
    if of is None:
        return None
    held[:] = [of]
    app, search = deployments[of.environment].app, of.search
    data_type = app.types.get(search.type, USER if search.type == USER.name else None)
    if data_type is None:
        if not is_newest:
            raise StaleDefinitions(f"{search.type} may have been deployed since")
        raise Permanent(f"there is no data type {search.type!r} any more", kind="arguments")
    user = await _find_user(conn, app, of)
    page = await find_chunk(
        conn, environment=of.environment, data_type=data_type, search=search, user=user, most=CHUNK_SIZE
    )
    parameters = await _make_parameters(search, page.results, of.next_index)
    await store_chunks(conn, list_id=of.list_id, first_index=of.next_index, parameters=parameters)
    await repository.note_progress(conn, of=of, found=len(parameters), after=page.after)
    return len(parameters)


async def _find_user(conn: Connection, app: App, of: OpenSearch) -> Thing | None:
    id = of.search.user_id
    if of.search.sees_all or id is None or is_admin_user(id):
        return None
    kind = app.types.get(USER.name, USER)
    return await get_thing(conn, environment=of.environment, data_type=kind, id=id)


async def _make_parameters(
    search: ListSearch, things: Sequence[Mapping[str, JsonValue]], first_index: int
) -> list[dict[str, JsonValue]]:
    """What the runs of these things are given. Raises Permanent, naming the item."""
    template = _compile(search)
    made: list[dict[str, JsonValue]] = []
    for index, thing in enumerate(things, first_index):
        try:
            given = await evaluate_item(template, {**search.scope, "item": dict(thing), "index": index})
        except Permanent as error:
            raise Permanent(f"item {index} of the list: {error}", kind=error.kind) from error
        made.append(given if isinstance(given, dict) else {})
        if len(made) % _YIELD_EVERY == 0:
            await asyncio.sleep(0)
    return made


def _compile(search: ListSearch) -> Template:
    return compile_template(search.written, "with", rewritten=search.rewritten)


async def _fail(conn: Connection, *, of: OpenSearch, error: Exception) -> None:
    kind = error.kind if isinstance(error, Permanent) else "internal"
    message = f"Workflow error: list {of.list_id} of {of.workflow} failed: {describe(error)}"
    if await fail_list(conn, list_id=of.list_id, error={"kind": kind, "message": message}):
        about = Subject(of.environment, of.workflow, of.parent_run_id)
        await write_logs(conn, [error_line(about, message, {"kind": kind, "list_id": str(of.list_id)})])
