"""Changes of things that workflows with a change trigger wait for, from the table they happen in to the scheduler that
starts the runs.

Deploying puts triggers on the tables of those types. They note each change in the transaction that makes it, no matter
who makes it, so no change is lost, and none is noted that was undone. With it they note the run that makes it, which
its transaction has to say by `tell_changing_run`: what the change starts is one deeper than that run, so a loop through
changes is cut like any other. A connection of ours that does not say is refused (`is_unattributed`), and does it again,
saying it. Types that no workflow waits for cost nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection
from penstock.definitions.models import App, DataType, Operation
from penstock.things.catalogue import keep_triggers
from penstock.things.json import json_of, read_thing
from penstock.things.tables import qualified_table, table_name

_UNATTRIBUTED: Final = "PW001"
_OUTSIDE: Final = "outside"
_TRIGGERS: Final = {
    "penstock_note_created": ("INSERT", "REFERENCING NEW TABLE AS new_rows", "note_created"),
    "penstock_note_updated": ("UPDATE", "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows", "note_updated"),
    "penstock_note_deleted": ("DELETE", "REFERENCING OLD TABLE AS old_rows", "note_deleted"),
}


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a thing. `before` is None when it was created, `after` when it was deleted; `run_id` None: it came
    from outside.

    `user` is that of the run. `step` is named where a step may change one thing more than once.
    """

    id: int
    environment: str
    type: str
    operation: Operation
    run_id: UUID | None
    changed_at: datetime
    before: dict[str, JsonValue] | None
    after: dict[str, JsonValue] | None
    user: JsonValue = None
    step: str | None = None

    @property
    def thing_id(self) -> str:
        """The `_id` of what was changed."""
        return str((self.after or self.before or {})["_id"])

    def followed_by(self, later: "Change") -> "Change":
        """Both changes of one thing as one: as it was before the first, as it is after the second."""
        operation = Operation.CREATE if self.before is None else later.operation
        return replace(later, id=self.id, operation=operation, before=self.before)

    def run_context(self) -> dict[str, JsonValue]:
        """What the expressions of its runs see: `change`, and the user who made it, as in Bubble."""
        change: JsonValue = {
            "operation": self.operation.value,
            "type": self.type,
            "before": self.before,
            "after": self.after,
        }
        return {"change": change} if self.user is None else {"change": change, "user": self.user}


async def tell_changing_run(conn: Connection, *, run_id: UUID | None, step: str = "") -> None:
    """Say which run (None: none) makes the changes of this transaction; `step`, if it may change a row twice."""
    await conn.execute(
        "SELECT set_config('penstock.run_id', $1, true), set_config('penstock.step', $2, true)",
        _OUTSIDE if run_id is None else str(run_id),
        step,
    )


def is_unattributed(error: BaseException) -> bool:
    """Whether a statement was refused because its transaction did not tell the run that changes things."""
    return getattr(error, "sqlstate", None) == _UNATTRIBUTED


async def watch_types(conn: Connection, *, environment: str, app: App) -> None:
    """Note changes of exactly those types from the commit on that a workflow of `app` waits for."""
    wanted = {trigger.type for workflow in app.workflows.values() for trigger in workflow.changes}
    tables = {table_name(name): name for name in wanted}
    found = await keep_triggers(conn, environment=environment, names=list(_TRIGGERS), tables=tables)
    for table, type_name in sorted(tables.items()):
        for trigger, (event, transition, function) in _TRIGGERS.items():
            if (table, trigger) not in found:
                # The server writes the name of the type as a literal: DDL takes no arguments.
                literal: str = await conn.fetchval("SELECT quote_literal($1)", type_name)
                await conn.execute(
                    f"""
                    CREATE TRIGGER {trigger} AFTER {event} ON {qualified_table(environment, type_name)} {transition}
                    FOR EACH STATEMENT EXECUTE FUNCTION penstock.{function}({literal})
                    """
                )


async def list_waiting_types(conn: Connection) -> list[tuple[str, str]]:
    """Environments and types of which changes wait."""
    rows = await conn.fetch("SELECT DISTINCT environment, type FROM penstock.changes ORDER BY environment, type")
    return [(row["environment"], row["type"]) for row in rows]


async def take_changes(
    conn: Connection, *, environment: str, data_type: DataType, most: int, only: Sequence[int] | None = None
) -> list[Change]:
    """Take changes of a type (or `only` those of them), the oldest first, out of the table: in the transaction that
    admits their runs.

    What one step did to one thing is one change. Skips those that another scheduler holds.
    """
    shown, table = json_of(data_type), qualified_table(environment, data_type.name)
    rows = await conn.fetch(
        f"""
        WITH held AS MATERIALIZED (
            SELECT c.id FROM penstock.changes c
            WHERE c.environment = $1 AND c.type = $2 AND ($4::bigint[] IS NULL OR c.id = ANY($4))
            ORDER BY c.id
            LIMIT $3
            FOR UPDATE SKIP LOCKED
        ), taken AS (
            DELETE FROM penstock.changes c USING held WHERE c.id = held.id RETURNING c.*
        )
        SELECT c.id, c.operation, c.run_id, c.step, c.changed_at, (SELECT r.context -> 'user' FROM penstock.runs r
               WHERE r.id = c.run_id) AS user,
               (SELECT {shown} FROM jsonb_populate_record(NULL::{table}, c.before) t
                   WHERE c.before IS NOT NULL) AS before,
               (SELECT {shown} FROM jsonb_populate_record(NULL::{table}, c.after) t WHERE c.after IS NOT NULL) AS after
        FROM taken c
        ORDER BY c.id
        """,
        environment,
        data_type.name,
        most,
        only,
    )
    changes = [
        Change(
            id=row["id"],
            environment=environment,
            type=data_type.name,
            operation=Operation(row["operation"]),
            run_id=row["run_id"],
            changed_at=row["changed_at"],
            before=None if row["before"] is None else read_thing(data_type, row["before"]),
            after=None if row["after"] is None else read_thing(data_type, row["after"]),
            user=row["user"],
            step=row["step"],
        )
        for row in rows
    ]
    return merge_changes(changes)


def merge_changes(changes: Sequence[Change]) -> list[Change]:
    """The changes in order, with those that one step made to one thing as one."""
    merged: dict[object, Change] = {}
    for change in changes:
        key: object = change.id if change.step is None else (change.run_id, change.step, change.thing_id)
        known = merged.get(key)
        merged[key] = change if known is None else known.followed_by(change)
    return list(merged.values())


async def drop_changes(conn: Connection, *, environment: str, type_name: str, only: Sequence[int] | None = None) -> int:
    """Forget changes of a type that nobody waits for any more; how many they were."""
    status = await conn.execute(
        "DELETE FROM penstock.changes WHERE environment = $1 AND type = $2 AND ($3::bigint[] IS NULL OR id = ANY($3))",
        environment,
        type_name,
        only,
    )
    return int(status.split()[-1])


async def list_changes(conn: Connection, *, environment: str, type_name: str, most: int) -> list[int]:
    """The changes of a type that have waited longest, the oldest first; locks none."""
    rows = await conn.fetch(
        "SELECT id FROM penstock.changes WHERE environment = $1 AND type = $2 ORDER BY id LIMIT $3",
        environment,
        type_name,
        most,
    )
    return [row["id"] for row in rows]
