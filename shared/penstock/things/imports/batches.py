"""What an import writes in one transaction: a batch of things, and how far the import has come with it.

Things that the table refuses are left out and named; all others of the batch are written. As both are committed
together, the progress says exactly which lines are dealt with, whatever dies in between.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from penstock.db import Connection, Refused, isolate
from penstock.definitions.models import DataType
from penstock.things.imports.texts import RECORD_COLUMNS, Rows, Texts, copy_text
from penstock.things.statements import insert_texts
from penstock.things.tables import table_name

_WITH_ALL: Final = ("_id", "created_date", "created_by")
"""Columns that the statement sets besides those of a row's shape, in its order."""
_PIECE_ROWS: Final = 1_000
"""Made and sent at once; between two pieces others have a turn."""


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
    conn: Connection, *, environment: str, data_type: DataType, rows: Rows, key: Sequence[str], copies: bool
) -> Written:
    """Create a thing of each row, or with a `key` (columns that are unique together) change the one that has the same.

    One that has the values of another thing where these have to be unique is refused. `copies` tries a COPY before:
    without a key it takes half the time, if no row is refused. To be called in a transaction.
    """
    written = Written()
    if copies and not key and await _copy(conn, environment, data_type, rows):
        written.created = len(rows.lines)
        return written
    clash = None if key else _same_as_another(data_type)
    for shape, positions in _rounds(rows, key):
        chosen = {name: rows.columns[name] for name in (*_WITH_ALL, *shape)}
        await _insert(conn, insert_texts(environment, data_type, shape, key), chosen, positions, clash, written)
    return written


async def _copy(conn: Connection, environment: str, data_type: DataType, rows: Rows) -> bool:
    """Whether all rows are written. COPY writes all or none of them."""
    moment: str = await conn.fetchval("SELECT date_trunc('milliseconds', clock_timestamp())::text")
    count = len(rows.lines)
    created = [given or moment for given in rows.columns["created_date"]]
    columns: dict[str, Texts] = {**rows.columns, "created_date": created, "modified_date": [moment] * count}

    async def pieces() -> AsyncIterator[bytes]:
        for first in range(0, count, _PIECE_ROWS):
            yield copy_text(column[first : first + _PIECE_ROWS] for column in columns.values())

    try:
        async with conn.transaction():
            await conn.copy_to_table(
                table_name(data_type.name),
                schema_name=environment,
                columns=list(columns),
                source=pieces(),
                format="text",
            )
    except Refused:
        return False
    return True


def _rounds(rows: Rows, key: Sequence[str]) -> list[tuple[tuple[str, ...], list[int]]]:
    """What one statement takes each, in order: an upsert changes a thing once and sets the same columns in all."""
    if not key:
        return [(tuple(name for name in rows.columns if name not in RECORD_COLUMNS), list(range(len(rows.lines))))]
    rounds: defaultdict[tuple[int, tuple[str, ...]], list[int]] = defaultdict(list)
    seen: Counter[tuple[str | int | None, ...]] = Counter()
    values = zip(*(rows.columns.get(name) or [None] * len(rows.lines) for name in key), strict=True)
    for position, (shape, same) in enumerate(zip(rows.shapes, values, strict=True)):
        # An empty value is like no other: such a row is always a new thing.
        which = (position,) if None in same else same
        rounds[seen[which], shape].append(position)
        seen[which] += 1
    return [(shape, positions) for (_, shape), positions in sorted(rounds.items())]


async def _insert(
    conn: Connection,
    statement: str,
    columns: Mapping[str, Sequence[str | None]],
    positions: list[int],
    clash: str | None,
    written: Written,
) -> None:
    """Write these rows by one statement, without those that the table refuses.

    With `clash`, a row that the statement left out is refused for that reason.
    """
    ids = columns["_id"]

    async def write(chosen: list[int]) -> list[None]:
        async with conn.transaction():
            found = await conn.fetch(statement, *([column[at] for at in chosen] for column in columns.values()))
        created = Counter(row["_id"] for row in found if row["is_new"])
        written.created += created.total()
        written.updated += len(found) - created.total()
        if clash is not None and len(found) < len(chosen):
            for position in chosen:
                if not created[ids[position]]:
                    written.refused[position] = clash
                created[ids[position]] -= 1
        return [None] * len(chosen)

    for position, failure in zip(positions, await isolate(positions, write), strict=True):
        if isinstance(failure, Refused):
            written.refused[position] = str(getattr(failure, "detail", None) or failure)
        elif failure is not None:
            raise failure


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
    if tried_again:
        status = await conn.execute(
            "DELETE FROM penstock.import_lines WHERE import_id = $1 AND line = ANY($2::bigint[])", id, tried_again
        )
        if int(status.split()[-1]) != len(tried_again):
            return False
    if bad:
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
