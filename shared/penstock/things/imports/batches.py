"""What an import writes in one transaction: a batch of things, and how far the import has come with it.

Things that the table refuses are left out and named; all others of the batch are written. As both are committed
together, the progress says exactly which lines are dealt with, whatever dies in between.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock import exact_json
from penstock.db import Connection, Refused, isolate, quote_identifier
from penstock.definitions.models import DataType
from penstock.things.statements import JUST_NOW, insert_statement

Row = dict[str, JsonValue]
_RECORD_COLUMNS: Final = frozenset({"_id", "created_by", "created_date"})


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import has come: what starts in the first `lines` lines is dealt with, `failed` of it could not be
    imported.
    """

    lines: int
    created: int
    updated: int
    failed: int


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that could not be imported, and why."""

    line: int
    message: str


@dataclass(slots=True)
class Written:
    """What became of rows: how many things were created and changed; the positions of those that were refused, with the
    reason.
    """

    created: int = 0
    updated: int = 0
    refused: dict[int, str] = field(default_factory=dict)


async def write_rows(
    conn: Connection, *, environment: str, data_type: DataType, rows: Sequence[Row], key: Sequence[str]
) -> Written:
    """Create a thing of each row, or with a `key` (columns that are unique together) change the one that has the same.

    One that has the values of another thing where these have to be unique is refused. To be called in a transaction.
    """
    written = Written()
    clash = None if key else _same_as_another(data_type)
    for shape, positions in _rounds(rows, key):
        await _write(conn, _statement(environment, data_type, shape, key), rows, positions, clash, written)
    return written


def _rounds(rows: Sequence[Row], key: Sequence[str]) -> list[tuple[list[str], list[int]]]:
    """What one statement takes each, in order: an upsert changes a thing once and sets the same columns in all."""
    if not key:
        return [(sorted({column for row in rows for column in row} - _RECORD_COLUMNS), list(range(len(rows))))]
    rounds: defaultdict[tuple[int, tuple[str, ...]], list[int]] = defaultdict(list)
    seen: Counter[bytes] = Counter()
    for position, row in enumerate(rows):
        values = [row.get(column) for column in key]
        # An empty value is like no other: such a row is always a new thing.
        same = exact_json.dumps([position] if None in values else values)
        rounds[seen[same], tuple(sorted(row.keys() - _RECORD_COLUMNS))].append(position)
        seen[same] += 1
    return [(list(shape), positions) for (_, shape), positions in sorted(rounds.items())]


async def _write(
    conn: Connection,
    statement: str,
    rows: Sequence[Row],
    positions: list[int],
    clash: str | None,
    written: Written,
) -> None:
    """Write these rows by one statement, without those that the table refuses.

    With `clash`, a row that the statement left out is refused for that reason.
    """

    async def write(chosen: list[int]) -> list[None]:
        async with conn.transaction():
            found = await conn.fetch(statement, [rows[position] for position in chosen])
        created = Counter(row["_id"] for row in found if row["is_new"])
        written.created += created.total()
        written.updated += len(found) - created.total()
        if clash is not None and len(found) < len(chosen):
            for position in chosen:
                if not created[rows[position]["_id"]]:
                    written.refused[position] = clash
                created[rows[position]["_id"]] -= 1
        return [None] * len(chosen)

    for position, failure in zip(positions, await isolate(positions, write), strict=True):
        if isinstance(failure, Refused):
            written.refused[position] = str(getattr(failure, "detail", None) or failure)
        elif failure is not None:
            raise failure


def _statement(environment: str, data_type: DataType, shape: list[str], key: Sequence[str]) -> str:
    insert = insert_statement(environment, data_type, shape, modified=JUST_NOW)
    conflict = "ON CONFLICT DO NOTHING"
    if key:
        changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in ('"modified_date"', *map(quote_identifier, shape)))
        conflict = f"ON CONFLICT ({', '.join(map(quote_identifier, key))}) DO UPDATE SET {changes}"
    # A row version that replaces none has no deleter of an earlier one.
    return f"""{insert} {conflict} RETURNING t."_id", t.xmax = 0 AS is_new"""


def _same_as_another(data_type: DataType) -> str:
    groups = " or ".join(("_id", *(" + ".join(group) for group in data_type.unique)))
    return f"there is another thing with the same {groups}"


async def begin_import(
    conn: Connection, *, id: UUID, environment: str, data_type: str, run_id: UUID | None, source: str
) -> tuple[Progress, str]:
    """How far this import has come, and the source it began with; it begins here if it has not yet, and is no longer
    over if it was.
    """
    await conn.execute(
        """
        INSERT INTO penstock.imports (id, environment, data_type, run_id, source) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (id) DO UPDATE SET finished_at = NULL, error = NULL
        """,
        id,
        environment,
        data_type,
        run_id,
        source,
    )
    row = await conn.fetchrow("SELECT lines, created, updated, failed, source FROM penstock.imports WHERE id = $1", id)
    assert row is not None
    return Progress(row["lines"], row["created"], row["updated"], row["failed"]), row["source"]


async def advance_import(
    conn: Connection, *, id: UUID, before: Progress, after: Progress, bad: Sequence[BadLine], tried_again: Sequence[int]
) -> bool:
    """Take the progress from `before` to `after`, with lines that are bad now, and earlier bad ones that were tried
    again.

    False, having changed nothing that counts, when somebody else has advanced it: the transaction is to be undone.
    """
    status = await conn.execute(
        "DELETE FROM penstock.import_lines WHERE import_id = $1 AND line = ANY($2::bigint[])", id, tried_again
    )
    if int(status.split()[-1]) != len(tried_again):
        return False
    await conn.execute(
        """
        INSERT INTO penstock.import_lines (import_id, line, message)
        SELECT $1, q.line, q.message FROM unnest($2::bigint[], $3::text[]) AS q (line, message)
        """,
        id,
        [line.line for line in bad],
        [line.message for line in bad],
    )
    advanced = await conn.fetchval(
        """
        UPDATE penstock.imports SET lines = $3, created = $4, updated = $5, failed = $6, updated_at = clock_timestamp()
        WHERE id = $1 AND lines = $2
        RETURNING true
        """,
        id,
        before.lines,
        after.lines,
        after.created,
        after.updated,
        after.failed,
    )
    return advanced is True


async def finish_import(conn: Connection, *, id: UUID, lines: int, error: str | None = None) -> None:
    """Note that an import is over, or why it ended early; not if somebody else has advanced it since."""
    await conn.execute(
        """
        UPDATE penstock.imports
        SET finished_at = clock_timestamp(), updated_at = clock_timestamp(), error = $3
        WHERE id = $1 AND lines = $2
        """,
        id,
        lines,
        error,
    )


async def list_bad_lines(conn: Connection, *, id: UUID, most: int) -> list[BadLine]:
    """The first lines, at most `most`, that could not be imported so far."""
    rows = await conn.fetch(
        "SELECT line, message FROM penstock.import_lines WHERE import_id = $1 ORDER BY line LIMIT $2", id, most
    )
    return [BadLine(row["line"], row["message"]) for row in rows]


async def delete_old_imports(conn: Connection, *, most: int) -> int:
    """Forget how far imports came that nobody can continue: 30 days old, and of no run that may still be performed or
    retried.
    """
    rows = await conn.fetch(
        """
        DELETE FROM penstock.imports i
        USING (
            SELECT i.id FROM penstock.imports i
            LEFT JOIN penstock.runs r ON r.id = i.run_id
            WHERE i.updated_at < statement_timestamp() - interval '30 days'
              AND coalesce(r.state, 'succeeded') IN ('succeeded', 'skipped', 'cancelled')
            ORDER BY i.updated_at
            LIMIT $1
            FOR UPDATE OF i SKIP LOCKED
        ) old
        WHERE i.id = old.id
        RETURNING true
        """,
        most,
    )
    return len(rows)
