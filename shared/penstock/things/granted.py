"""Things created, changed and deleted through the Data API, by somebody who needs to be granted that by privacy rules.

A change is checked before and after it: nobody changes a thing that they may not, nor into one that they might not have
made so. What a caller may not find is for them as if it did not exist.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from pydantic import JsonValue

from penstock.db import Connection
from penstock.definitions.models import DataType, PrivacyRule
from penstock.definitions.values import format_date
from penstock.things.clauses import Condition
from penstock.things.privacy import ALWAYS, NEVER, Guards, Viewer
from penstock.things.records import NewThing, ThingChange, delete_things, to_record, update_things
from penstock.things.statements import insert_statement
from penstock.things.tables import qualified_table
from penstock.things.values import check_values, may_exist

Row = dict[str, JsonValue]
_RECORD_COLUMNS: Final = frozenset({"_id", "created_by", "created_date"})


class Standing(Enum):
    """What becomes of a change that somebody asks for."""

    DONE = auto()
    MISSING = auto()
    """There is no such thing, or it may not be found."""
    DENIED = auto()


@dataclass(frozen=True, slots=True)
class Grantee:
    """Who changes things: what is granted follows from what `viewer` is; `may_all` is for those who need no grant."""

    viewer: Viewer
    may_all: bool = False


def prepare_record(data_type: DataType, thing: NewThing) -> Row:
    """A new thing as it is written. Raises Permanent for values that do not fit."""
    assert thing.created_at is not None
    return {**to_record(thing, check_values(data_type, thing.values)), "modified_date": format_date(thing.created_at)}


async def find_creatable(
    conn: Connection, *, environment: str, data_type: DataType, rows: Sequence[Row], by: Grantee
) -> list[bool]:
    """Which of these things, as `prepare_record` made them, may be created. Nothing is."""
    condition = Condition()
    granted = _granted(condition, data_type, by, lambda rule: rule.create)
    if granted in {ALWAYS, NEVER}:
        return [granted == ALWAYS] * len(rows)
    given = condition.bind(rows)
    found = await conn.fetch(
        f"""
        SELECT t."_id" FROM jsonb_populate_recordset(NULL::{qualified_table(environment, data_type.name)}, {given}) t
        WHERE {granted}
        """,
        *condition.arguments,
    )
    ids = {row["_id"] for row in found}
    return [row["_id"] in ids for row in rows]


async def insert_records(conn: Connection, *, environment: str, data_type: DataType, rows: Sequence[Row]) -> None:
    """Create things that `prepare_record` made, all or none. Raises UniqueViolation."""
    columns = sorted({column for row in rows for column in row} - _RECORD_COLUMNS - {"modified_date"})
    await conn.execute(insert_statement(environment, data_type, columns), rows)


@dataclass(frozen=True, slots=True)
class Target:
    """A thing that somebody wants to change, and who that is."""

    environment: str
    data_type: DataType
    id: str
    by: Grantee


async def change_granted(conn: Connection, *, target: Target, change: ThingChange) -> Standing:
    """Change a thing, in a transaction that has to be rolled back unless it is DONE. Raises
    UniqueViolation, and Permanent for values that do not fit.
    """
    before = await _stand(conn, target, lambda rule: rule.modify)
    if before is not Standing.DONE:
        return before
    changed = await update_things(
        conn,
        environment=target.environment,
        data_type=target.data_type,
        changes=[change],
    )
    if target.id not in changed:
        return Standing.MISSING
    after = await _stand(conn, target, lambda rule: rule.modify, is_changed=True)
    return Standing.DONE if after is Standing.DONE else Standing.DENIED


async def delete_granted(conn: Connection, *, target: Target) -> Standing:
    """Delete a thing, in a transaction."""
    standing = await _stand(conn, target, lambda rule: rule.delete)
    if standing is Standing.DONE:
        count = await delete_things(conn, environment=target.environment, data_type=target.data_type, ids=[target.id])
        return Standing.DONE if count else Standing.MISSING
    return standing


async def _stand(
    conn: Connection, target: Target, grants: Callable[[PrivacyRule], bool], *, is_changed: bool = False
) -> Standing:
    """Whether the thing is there for who asks, and something with it granted. Locks it: what was judged by still holds
    when it is changed.
    """
    if not may_exist(target.id):
        return Standing.MISSING
    if target.by.may_all:
        return Standing.DONE
    data_type, condition = target.data_type, Condition()
    guards = Guards(condition, data_type, target.by.viewer)
    findable = guards.findable if target.by.viewer.is_bound(data_type) and not is_changed else ALWAYS
    granted = guards.granting(grants) if data_type.privacy else NEVER
    row = await conn.fetchrow(
        f"""
        SELECT ({granted}) IS TRUE AS is_granted FROM {qualified_table(target.environment, data_type.name)} t
        WHERE t."_id" = {condition.bind(target.id)} AND {findable}
        FOR UPDATE
        """,
        *condition.arguments,
    )
    if row is None:
        return Standing.MISSING
    return Standing.DONE if row["is_granted"] else Standing.DENIED


def _granted(condition: Condition, data_type: DataType, by: Grantee, grants: Callable[[PrivacyRule], bool]) -> str:
    if by.may_all:
        return ALWAYS
    return Guards(condition, data_type, by.viewer).granting(grants) if data_type.privacy else NEVER
