"""Creates, changes and deletes things through the Data API.

Admins may do all that their role and the scope of their token allow; others what privacy rules grant them, checked
before and after a change. Change triggers see it as a change from outside.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, NamedTuple, TypeVar

from penstock import clock
from penstock.db import Connection, Database, UniqueViolation, describe_duplicate, isolate
from penstock.domain.callers import Caller, Role
from penstock.domain.ids import new_thing_ids
from penstock.domain.workload import Activity
from penstock.errors import Permanent
from penstock.things.accounts import normalize_email
from penstock.things.changes import tell_changing_run
from penstock.things.granted import (
    Grantee,
    Row,
    Standing,
    Target,
    change_granted,
    delete_granted,
    find_creatable,
    insert_records,
    prepare_record,
)
from penstock.things.idempotency import Answered, WriteKey, note_answer
from penstock.things.records import NewThing
from penstock.things.tables import USER
from penstock_ingress.accepting.exposed import Exposed, find_exposed_type, find_viewer
from penstock_ingress.handlers.firm_writes import (
    Firm,
    NewAccount,
    Wanted,
    change_of,
    claim,
    create_firmly,
    key_of,
    require_match,
)
from penstock_ingress.handlers.things import meter, missing
from penstock_ingress.room import Room
from penstock_ingress.rules import bubble
from penstock_ingress.rules.demands import Demands
from penstock_ingress.rules.records import (
    RecordProblem,
    Values,
    bulk_reply,
    empty_record,
    read_line,
    read_new_record,
    read_record,
    split_lines,
)
from penstock_ingress.rules.replies import Refusal, Reply

T = TypeVar("T")
_BULK_SECONDS: Final = 240.0
"""Bubble's budget for a bulk request; lines that are not done by then are reported as errors."""
_CREATED: Final = b'{"status":"success"'
_MAY_NOT_CREATE: Final = "Permission denied: cannot create this object"
_MAY_NOT_MODIFY: Final = "You do not have permission to modify this object"
_MAY_NOT_DELETE: Final = "You do not have permission to delete this object"


class Asked(NamedTuple):
    """A request about things of a type: who sends it, what it demands, and its body with its content type."""

    exposed: Exposed
    caller: Caller
    demands: Demands = Demands()
    content: tuple[bytes, str] = (b"", "")


async def create_thing(room: Room, asked: Asked) -> Reply:
    """201 `{"status": "success", "id"}`, or 200 where an upsert has changed a thing. Raises Refusal."""
    exposed, caller, demands = asked.exposed, asked.caller, asked.demands
    try:
        values, password = read_new_record(exposed.data_type, *asked.content)
        (row,) = _prepare(exposed, caller, [values])
        email = None if password is None else _read_email(values, demands)
    except RecordProblem as problem:
        raise problem.refusal from None
    by = await _find_grantee(room, exposed, caller)
    if demands.key is not None or demands.upsert or (password is not None and email is not None):
        wanted = Wanted(exposed, by, row, values, demands, _key_of(asked, "POST", ""))
        if password is not None and email is not None:
            wanted = wanted._replace(account=await _prepare_account(room, wanted, email, password))
        return await _create_firmly(room, wanted)
    (outcome,) = await _insert(room.database, exposed, by, [row])
    if isinstance(outcome, RecordProblem):
        is_denied = str(outcome) == _MAY_NOT_CREATE
        raise Refusal(bubble.unauthorized(_MAY_NOT_CREATE)) if is_denied else outcome.refusal
    return _metered(room, exposed, Reply(201, bubble.created(outcome)), Activity.THING_WRITTEN, 1)


def _read_email(values: Values, demands: Demands) -> str:
    """The email with which the new user will log in. Raises RecordProblem."""
    if demands.upsert:
        raise RecordProblem("ERROR", "A password is for a new user: leave out `upsert`")
    try:
        return normalize_email(str(values["email"]))
    except ValueError as error:
        raise RecordProblem("INVALID_DATA", f"Invalid data for field email: {error}") from None


async def _prepare_account(room: Room, wanted: Wanted, email: str, password: str) -> NewAccount:
    """An account, for those who may create the user: to hash takes some 100 ms. Raises Refusal."""
    environment, data_type = wanted.exposed.environment, wanted.exposed.data_type
    async with room.database.connection() as conn:
        allowed = await find_creatable(
            conn, environment=environment, data_type=data_type, rows=[wanted.row], by=wanted.by
        )
    if not all(allowed):
        raise Refusal(bubble.unauthorized(_MAY_NOT_CREATE))
    return NewAccount(email, await room.hashing.hash(password))


async def create_things(room: Room, asked: Asked) -> Reply:
    """200, and a line for each line of the body: its id or what was wrong with it. With a key, all of it is one
    transaction, and its answer is kept. Raises Refusal.
    """
    exposed, caller = asked.exposed, asked.caller
    lines = await _read_lines(exposed, caller, asked.content)
    by, key = await _find_grantee(room, exposed, caller), _key_of(asked, "POST", "bulk")
    good = [line for line in lines if not isinstance(line, RecordProblem)]

    async def transact(conn: Connection) -> Firm:
        if (earlier := await claim(conn, key, 200, None)) is not None:
            return Firm(earlier, is_replay=True)
        reply = _merge(lines, await _insert(_Within(conn), exposed, by, good))
        if key is not None:
            await note_answer(conn, key=key, answered=Answered(200, None, reply.body))
        return Firm(Answered(200, None, reply.body))

    if key is None:
        return _metered_bulk(room, exposed, _merge(lines, await _insert(room.database, exposed, by, good)))
    done = await room.database.in_transaction(transact)
    assert done.answered is not None
    return _metered_bulk(room, exposed, done.with_mark(Reply(200, done.answered.body or b"", "text/plain")))


async def _read_lines(exposed: Exposed, caller: Caller, content: tuple[bytes, str]) -> list[Row | RecordProblem]:
    read: list[Row | RecordProblem] = []
    for position, line in enumerate(split_lines(*content)):
        try:
            read += _prepare(exposed, caller, [read_line(exposed.data_type, line)])
        except RecordProblem as problem:
            read.append(problem)
        if position % 100 == 99:
            await asyncio.sleep(0)
    return read


def _merge(lines: Sequence[Row | RecordProblem], inserted: Sequence[str | RecordProblem]) -> Reply:
    """The answer: for each line what was wrong with it, or the next of what became of the others."""
    outcomes = iter(inserted)
    return bulk_reply([line if isinstance(line, RecordProblem) else next(outcomes) for line in lines])


def _metered_bulk(room: Room, exposed: Exposed, reply: Reply) -> Reply:
    return _metered(room, exposed, reply, Activity.THING_WRITTEN, reply.body.count(_CREATED))


class _Within:
    """A transaction that is under way, as something that transacts: what fails in it undoes no more than itself."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Its connection."""
        yield self._conn

    async def in_transaction(self, work: Callable[[Connection], Awaitable[None]]) -> None:
        """Do the work behind a savepoint."""
        async with self._conn.transaction():
            await work(self._conn)


async def change_thing(room: Room, asked: Asked, id: str, *, replaces: bool) -> Reply:
    """204. `replaces`: fields that the body does not name become empty. Raises Refusal."""
    exposed = asked.exposed
    try:
        values = read_record(exposed.data_type, *asked.content)
    except RecordProblem as problem:
        raise problem.refusal from None
    if replaces:
        values = {**empty_record(exposed.data_type), **values}
    change = partial(change_granted, change=change_of(exposed, id, values, asked.demands))
    done = await _carry_out(room, asked, id, _Act("PUT" if replaces else "PATCH", change, _MAY_NOT_MODIFY))
    return _metered(room, exposed, done.with_mark(Reply(204)), Activity.THING_WRITTEN, 1)


async def delete_thing(room: Room, asked: Asked, id: str) -> Reply:
    """204. Raises Refusal."""
    done = await _carry_out(room, asked, id, _Act("DELETE", delete_granted, _MAY_NOT_DELETE))
    return _metered(room, asked.exposed, done.with_mark(Reply(204)), Activity.THING_DELETED, 1)


async def find_type(room: Room, environment: str, name: str) -> Exposed:
    """The type whose things a path is about; asked before a body is read. Raises Refusal."""
    return await find_exposed_type(room.definitions, environment, name)


class _NotDone(Exception):
    """Rolls a transaction back."""

    def __init__(self, standing: Standing) -> None:
        super().__init__(standing)
        self.standing = standing


class _Act(NamedTuple):
    """What is done to a thing, by which method, and what is said to those who may not."""

    method: str
    change: Callable[..., Awaitable[Standing]]
    denial: str


async def _carry_out(room: Room, asked: Asked, id: str, act: _Act) -> Firm:
    exposed = asked.exposed
    target = Target(exposed.environment, exposed.data_type, id, await _find_grantee(room, exposed, asked.caller))
    key = _key_of(asked, act.method, id)

    async def transact(conn: Connection) -> Firm:
        await tell_changing_run(conn, run_id=None)
        if (earlier := await claim(conn, key, 204, id)) is not None:
            return Firm(earlier, is_replay=True)
        standing = await require_match(conn, target, asked.demands)
        if standing is Standing.DONE:
            standing = await act.change(conn, target=target)
        if standing is not Standing.DONE:
            raise _NotDone(standing)
        return Firm(None)

    try:
        return await room.database.in_transaction(transact)
    except _NotDone as ended:
        if ended.standing is Standing.MISSING:
            raise missing(exposed, id) from None
        raise Refusal(bubble.unauthorized(act.denial)) from None
    except (Permanent, UniqueViolation) as error:
        raise _explain(error).refusal from None


async def _create_firmly(room: Room, wanted: Wanted) -> Reply:
    exposed = wanted.exposed
    try:
        done = await create_firmly(room, wanted)
    except (Permanent, UniqueViolation) as error:
        raise _explain(error).refusal from None
    if done.answered is None:
        raise Refusal(bubble.unauthorized(_MAY_NOT_CREATE))
    reply = Reply(done.answered.status, bubble.created(str(done.answered.thing_id)))
    return _metered(room, exposed, done.with_mark(reply), Activity.THING_WRITTEN, 1)


def _key_of(asked: Asked, method: str, id: str) -> WriteKey | None:
    content = (asked.content[0], asked.content[1].encode("utf-8", "surrogateescape"))
    return key_of(asked.exposed, asked.caller, asked.demands, method.encode(), id.encode(), *content)


async def _find_grantee(room: Room, exposed: Exposed, caller: Caller) -> Grantee:
    may_all = caller.may(Role.OPERATOR) and caller.reaches_type(exposed.data_type.name)
    return Grantee(await find_viewer(room.database, exposed, caller), may_all)


def _prepare(exposed: Exposed, caller: Caller, records: Sequence[Values]) -> list[Row]:
    """New things as they are written. Raises RecordProblem."""
    creator, now = caller.find_user_id(exposed.app, exposed.environment), clock.now()
    rows = []
    for values, id in zip(records, new_thing_ids(len(records)), strict=True):
        if exposed.data_type.name == USER.name and not values.get("email"):
            raise RecordProblem("MISSING_DATA", "Missing field for type user: email")
        try:
            rows.append(prepare_record(exposed.data_type, NewThing(id, values, creator, now)))
        except Permanent as error:
            raise _explain(error) from None
    return rows


async def _insert(
    database: Database | _Within, exposed: Exposed, by: Grantee, rows: Sequence[Row]
) -> list[str | RecordProblem]:
    """The ids of what was created, and what was wrong with the others. What is refused by the database does not stop
    the rest.
    """
    if not rows:
        return []
    environment, data_type = exposed.environment, exposed.data_type
    async with database.connection() as conn:
        allowed = await find_creatable(conn, environment=environment, data_type=data_type, rows=rows, by=by)
    deadline = asyncio.get_running_loop().time() + _BULK_SECONDS

    async def insert(some: list[Row]) -> list[str]:
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError("The time for this request is used up")

        async def transact(conn: Connection) -> None:
            await tell_changing_run(conn, run_id=None)
            await insert_records(conn, environment=environment, data_type=data_type, rows=some)

        await database.in_transaction(transact)
        return [str(row["_id"]) for row in some]

    created = iter(await isolate([row for row, may in zip(rows, allowed, strict=True) if may], insert))
    outcomes = [next(created) if may else RecordProblem("ERROR", _MAY_NOT_CREATE) for may in allowed]
    return [_explain(outcome) if isinstance(outcome, BaseException) else outcome for outcome in outcomes]


def _explain(error: BaseException) -> RecordProblem:
    """An error that is the caller's, for the caller; others are raised."""
    match error:
        case RecordProblem():
            return error
        case UniqueViolation():
            return RecordProblem("ERROR", f"The values are not unique: {describe_duplicate(error)}")
        case Permanent():
            return RecordProblem("INVALID_DATA", str(error))
        case TimeoutError():
            return RecordProblem("ERROR", str(error) or "The time for this request is used up")
        case _:
            raise error


def _metered(room: Room, exposed: Exposed, reply: Reply, activity: Activity, count: int) -> Reply:
    meter(room, exposed.environment, len(reply.body), {activity: count})
    return reply
