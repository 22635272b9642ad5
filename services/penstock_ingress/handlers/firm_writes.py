"""Writes through the Data API that demand more than Bubble's can: once for a key, on one state of a thing, or on the
thing with the same unique values.

Whatever is demanded is checked in the transaction of the write. A refused write keeps no key: it may be sent again.
"""

from functools import partial
from typing import Final, NamedTuple

from penstock.db import Connection, UniqueViolation
from penstock.domain.callers import Caller
from penstock.errors import Permanent
from penstock.things.accounts import is_email_taken, store_account
from penstock.things.changes import tell_changing_run
from penstock.things.granted import (
    Grantee,
    Row,
    Standing,
    Target,
    change_granted,
    find_creatable,
    insert_records,
)
from penstock.things.idempotency import Answered, KeyReused, WriteKey, claim_key, fingerprint_of, note_answer
from penstock.things.records import ThingChange, get_thing, lock_thing
from penstock.things.upserts import find_by_unique
from penstock_ingress.accepting.exposed import Exposed
from penstock_ingress.room import Room
from penstock_ingress.rules.demands import Demands, changed_meanwhile, meets
from penstock_ingress.rules.records import Values
from penstock_ingress.rules.replies import Refusal, Reply, problem

REPLAYED: Final = {"Idempotent-Replayed": "true"}
_TRIES: Final = 10
"""Of an upsert whose thing is deleted, or made by somebody else, again and again meanwhile."""


class NewAccount(NamedTuple):
    """What a new user logs in with."""

    email: str
    password_hash: str


class Wanted(NamedTuple):
    """A new thing that somebody asks for: its row, its values by field, and what else is demanded; a user may have an
    account.
    """

    exposed: Exposed
    by: Grantee
    row: Row
    values: Values
    demands: Demands
    key: WriteKey | None
    account: NewAccount | None = None


class Firm(NamedTuple):
    """How a write ended: as its first request did, if it `is_replay`; None: it was not granted."""

    answered: Answered | None
    is_replay: bool = False

    def with_mark(self, reply: Reply) -> Reply:
        """The reply, marked where it repeats an earlier one."""
        return reply.with_headers(REPLAYED) if self.is_replay else reply


class _Denied(Exception):
    """Rolls a transaction back."""


def key_of(exposed: Exposed, caller: Caller, demands: Demands, *asked: bytes) -> WriteKey | None:
    """The key of a request that asks for this; None without one."""
    if demands.key is None:
        return None
    asks = (exposed.data_type.name.encode(), repr(demands[1:]).encode(), *asked)
    return WriteKey(exposed.environment, caller.name, demands.key, fingerprint_of(*asks))


async def create_firmly(room: Room, wanted: Wanted) -> Firm:
    """Create a thing, or change the one with the same unique values. Raises UniqueViolation, Permanent and Refusal."""
    for _ in range(_TRIES):
        try:
            return await room.database.in_transaction(partial(_create, wanted=wanted))
        except _Denied:
            return Firm(None)
        except KeyReused as error:
            raise Refusal(problem(422, str(error))) from None
        except UniqueViolation:
            # Somebody else has created it since we looked: the next time it is found.
            if not wanted.demands.upsert:
                raise
    raise Permanent("the thing is created and deleted all the time; try again later", kind="contention")


async def claim(conn: Connection, key: WriteKey | None, status: int, thing_id: str | None) -> Answered | None:
    """How the first request with this key was answered; None where this is it. Raises Refusal."""
    if key is None:
        return None
    try:
        return await claim_key(conn, key=key, status=status, thing_id=thing_id)
    except KeyReused as error:
        raise Refusal(problem(422, str(error))) from None


async def require_match(conn: Connection, target: Target, demands: Demands) -> Standing:
    """MISSING where there is no such thing to be seen, else DONE. Locks the thing. Raises Refusal where it is in
    another state than the caller demands.
    """
    if demands.if_match is None:
        return Standing.DONE
    environment, data_type, id = target.environment, target.data_type, target.id
    await lock_thing(conn, environment=environment, data_type=data_type, id=id)
    thing = await get_thing(conn, environment=environment, data_type=data_type, id=id, viewer=target.by.viewer)
    if thing is None:
        return Standing.MISSING
    if not meets(demands.if_match, thing):
        raise changed_meanwhile()
    return Standing.DONE


def change_of(exposed: Exposed, id: str, values: Values, demands: Demands) -> ThingChange:
    """The change that sets these values; items of lists are added or removed where that is demanded."""
    if demands.lists == "set":
        return ThingChange(id, values)
    of_lists = {field.name for field in exposed.data_type.fields if field.type.is_list}
    lists = {name: value for name, value in values.items() if name in of_lists and value is not None}
    others = {name: value for name, value in values.items() if name not in of_lists}
    return ThingChange(id, others, lists) if demands.lists == "add" else ThingChange(id, others, {}, lists)


async def _create(conn: Connection, wanted: Wanted) -> Firm:
    exposed, row = wanted.exposed, wanted.row
    await tell_changing_run(conn, run_id=None)
    new = Answered(201, str(row["_id"]))
    if (earlier := await claim(conn, wanted.key, new.status, new.thing_id)) is not None:
        return Firm(earlier, is_replay=True)
    changed = await _change(conn, wanted) if wanted.demands.upsert else None
    if changed is not None:
        if wanted.key is not None:
            await note_answer(conn, key=wanted.key, answered=changed)
        return Firm(changed)
    environment, data_type = exposed.environment, exposed.data_type
    if not all(await find_creatable(conn, environment=environment, data_type=data_type, rows=[row], by=wanted.by)):
        raise _Denied
    account = wanted.account
    if account is not None and await is_email_taken(conn, environment=environment, email=account.email):
        raise Permanent("Invalid data for field email: somebody has this email already", kind="account")
    await insert_records(conn, environment=environment, data_type=data_type, rows=[row])
    if account is not None:
        await store_account(conn, environment=environment, user_id=str(row["_id"]), **account._asdict())
    return Firm(new)


async def _change(conn: Connection, wanted: Wanted) -> Answered | None:
    """Change the thing that exists already; None where there is none. Raises _Denied."""
    exposed = wanted.exposed
    id = await find_by_unique(
        conn,
        environment=exposed.environment,
        data_type=exposed.data_type,
        upsert=wanted.demands.upsert,
        row=wanted.row,
    )
    if id is None:
        return None
    target = Target(exposed.environment, exposed.data_type, id, wanted.by)
    change = change_of(exposed, id, wanted.values, wanted.demands)
    if await change_granted(conn, target=target, change=change) is not Standing.DONE:
        raise _Denied  # also where it may not be found: its values are taken all the same
    return Answered(200, id)
