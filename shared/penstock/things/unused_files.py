"""Uploads that nothing refers to: files of callers, which have URLs and no time of their own at which they expire.

A scheduler looks for references: the run that an upload came with, the thing to which it belongs, and its URL anywhere
in the things and runs that are stored. What two looks have found no reference to, with time between them, is deleted:
a run that holds a URL in memory only, or moves it during a look, has stored it by the second one.

A thing of a type with files that is written with the URL of one notes so at the file's row, in its own transaction
(`guard_files` puts triggers on their tables): such a file is no longer what the looks have found, and stays.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from penstock.db import Connection, UndefinedTable, quote_identifier
from penstock.definitions.fields import BUILT_IN_FIELDS
from penstock.definitions.models import DataType, ScalarType
from penstock.things.catalogue import find_tables, keep_triggers
from penstock.things.tables import qualified_table, table_name

MAX_WAIT: Final = timedelta(days=30)
"""Before a file that was found in use is looked for again."""
_TRIGGERS: Final = {"penstock_keep_files_of_created": "INSERT", "penstock_keep_files_of_updated": "UPDATE"}
_FILES: Final = frozenset({ScalarType.FILE, ScalarType.IMAGE})
_UNDER_WAY: Final = timedelta(seconds=10)
"""How long a transaction that makes runs may take until it is seen."""
_TEXTS: Final = frozenset({"text", "text[]", "jsonb"})
_BUILT_IN: Final = frozenset(field.column for field in BUILT_IN_FIELDS)
_MENTION: Final = (
    '(?:/fileupload/|"file": ")([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})'  # or a file value
)


class Upload(NamedTuple):
    """An upload that may be unused: the run it came with, and the thing to which it belongs, if it does. `is_unused`
    says that the look before this one found no reference either.
    """

    id: UUID
    environment: str
    run_id: UUID
    attached_type: str | None
    attached_to: str | None
    used_at: datetime
    is_unused: bool
    looked_at: datetime
    """When this look at it began."""


class Source(NamedTuple):
    """A table in which references may be: its key with the types of its columns, and the columns that hold texts."""

    table: str
    key: tuple[tuple[str, str], ...]
    texts: tuple[str, ...]

    @property
    def start(self) -> list[str]:
        """A key before all others."""
        return [_FIRST[kind] for _, kind in self.key]


_FIRST: Final = {"text": "", "uuid": str(UUID(int=0)), "bigint": "-1", "integer": "-1"}
_RUNS: Final = (
    Source("penstock.list_searches", (("list_id", "uuid"),), ("definition",)),
    Source("penstock.list_chunks", (("list_id", "uuid"), ("first_index", "integer")), ("parameters",)),
    Source("penstock.lists", (("id", "uuid"),), ("follower",)),
    Source("penstock.recurrences", (("id", "uuid"),), ("parameters", "context")),
    Source("penstock.signals", (("id", "bigint"),), ("payload",)),
    Source("penstock.changes", (("id", "bigint"),), ("before", "after")),
    Source("penstock.inbox", (("id", "bigint"),), ("parameters",)),
    Source("penstock.runs", (("id", "uuid"),), ("parameters", "context", "result")),
    Source("penstock.steps", (("run_id", "uuid"), ("step", "text")), ("result",)),
)
"""Runs, their steps, and what runs will be made of; what becomes a run stands before the runs."""
FRESH_RUNS: Final = Source(
    "penstock.runs", (("created_at", "timestamptz"), ("id", "uuid")), ("parameters", "context", "result")
)
"""Runs in the order in which they were made."""


async def guard_files(conn: Connection, *, environment: str, types: Iterable[DataType]) -> None:
    """Let the tables of exactly those of the types that have files say which ones their things begin to refer to."""
    wanted = {table_name(kind.name) for kind in types if any(field.type.name in _FILES for field in kind.fields)}
    found = await keep_triggers(conn, environment=environment, names=list(_TRIGGERS), tables=wanted)
    for table in sorted(wanted):
        for trigger, event in _TRIGGERS.items():
            if (table, trigger) not in found:
                # A row as text, whatever its columns are: these may come, go and change their types.
                await conn.execute(
                    f"""
                    CREATE TRIGGER {trigger} AFTER {event} ON {quote_identifier(environment)}.{quote_identifier(table)}
                    FOR EACH ROW WHEN ((NEW.*)::text LIKE '%/fileupload/%')
                    EXECUTE FUNCTION penstock.keep_mentioned_files()
                    """
                )


async def claim_uploads(conn: Connection, *, unused_for: timedelta, pause: timedelta, most: int) -> list[Upload]:
    """Uploads that were in use longer than `unused_for` ago, the oldest first. What is claimed is not claimed again
    within `pause`, also by others.
    """
    rows = await conn.fetch(
        """
        UPDATE penstock.files f
        SET looked_at = clock_timestamp()
        FROM (
            SELECT id FROM penstock.files
            WHERE expires_at = 'infinity' AND used_at < clock_timestamp() - $1::interval
              AND looked_at < clock_timestamp() - $2::interval
            ORDER BY used_at
            LIMIT $3
            FOR UPDATE SKIP LOCKED
        ) old
        WHERE f.id = old.id
        RETURNING f.id, f.environment, f.run_id, f.attached_type, f.attached_to, f.used_at, f.is_unused,
            f.looked_at
        """,
        unused_for,
        pause,
        most,
    )
    return [Upload(**row) for row in rows]


async def find_of_kept_runs(conn: Connection, *, uploads: Sequence[Upload]) -> set[UUID]:
    """Those whose runs are still stored."""
    rows = await conn.fetch(
        """
        SELECT q.id
        FROM unnest($1::uuid[], $2::uuid[]) q (id, run_id)
        CROSS JOIN LATERAL (SELECT FROM penstock.runs r WHERE r.id = q.run_id OFFSET 0) r
        """,
        [upload.id for upload in uploads],
        [upload.run_id for upload in uploads],
    )
    return {row["id"] for row in rows}


async def find_attached(conn: Connection, *, uploads: Sequence[Upload]) -> set[UUID]:
    """Those that belong to things that exist."""
    by_type: dict[tuple[str, str], dict[str, list[UUID]]] = {}
    for upload in uploads:
        if upload.attached_type is not None and upload.attached_to is not None:
            of_type = by_type.setdefault((upload.environment, upload.attached_type), {})
            of_type.setdefault(upload.attached_to, []).append(upload.id)
    found: set[UUID] = set()
    for (environment, name), things in by_type.items():
        statement = f'SELECT "_id" FROM {qualified_table(environment, name)} WHERE "_id" = ANY($1::text[])'
        try:
            rows = await conn.fetch(statement, list(things))
        except UndefinedTable:
            continue  # the type was pruned, and its things are gone
        found.update(id for row in rows for id in things[row["_id"]])
    return found


async def list_sources(conn: Connection, *, environments: Sequence[str]) -> list[Source]:
    """All tables in which references may be: those of things first, since runs read things."""
    return [*[one for name in environments for one in await _list_tables(conn, name)], *_RUNS]


async def _list_tables(conn: Connection, environment: str) -> list[Source]:
    return list(_read_tables(environment, (await find_tables(conn, environment=environment)).columns))


def _read_tables(environment: str, tables: Mapping[str, Mapping[str, str]]) -> Iterator[Source]:
    for table, columns in sorted(tables.items()):
        texts = [quote_identifier(name) for name, kind in columns.items() if kind in _TEXTS and name not in _BUILT_IN]
        if "_id" in columns and texts:
            name = f"{quote_identifier(environment)}.{quote_identifier(table)}"
            yield Source(name, (('"_id"', "text"),), tuple(texts))


async def find_mentions(
    conn: Connection, *, source: Source, after: Sequence[str], most: int
) -> tuple[set[UUID], list[str] | None]:
    """The files that `most` rows behind the key `after` mention, and the last key; None at the end, and where the
    table is gone.
    """
    keys = ", ".join(name for name, _ in source.key)
    reached = ", ".join(f"($2::text[])[{index}]::{kind}" for index, (_, kind) in enumerate(source.key, 1))
    statement = f"""
        WITH page AS MATERIALIZED (
            SELECT {keys}, concat_ws(' ', {", ".join(source.texts)}) AS words
            FROM {source.table}
            WHERE ({keys}) > ({reached})
            ORDER BY {keys}
            LIMIT $1
        )
        SELECT (SELECT ARRAY[{", ".join(f"{name}::text" for name, _ in source.key)}]
                FROM page ORDER BY {", ".join(f"{name} DESC" for name, _ in source.key)} LIMIT 1) AS last,
               (SELECT count(*) FROM page) AS rows,
               ARRAY(SELECT found[1]::uuid FROM page CROSS JOIN LATERAL regexp_matches(words, $3, 'g') found
                     WHERE words LIKE '%/fileupload/%' OR words LIKE '%"file": "%') AS mentioned
        """
    try:
        row = await conn.fetchrow(statement, most, list(after), _MENTION)
    except UndefinedTable:
        return set(), None
    assert row is not None, "an aggregate has a row"
    return set(row["mentioned"]), row["last"] if row["rows"] == most else None


async def note_use(conn: Connection, *, ids: Sequence[UUID], wait: timedelta = timedelta(0)) -> None:
    """These are in use. They are looked for again after as long as they have been there, at most `wait`."""
    await conn.execute(
        """
        UPDATE penstock.files
        SET used_at = clock_timestamp() + least(clock_timestamp() - created_at, $2::interval), is_unused = false
        WHERE id = ANY($1::uuid[])
        """,
        ids,
        wait,
    )


async def note_unused(conn: Connection, *, uploads: Sequence[Upload]) -> None:
    """A first look has found no reference to these; not to those that were used meanwhile."""
    await conn.execute(
        """
        UPDATE penstock.files f
        SET is_unused = true
        FROM unnest($1::uuid[], $2::timestamptz[]) q (id, used_at)
        WHERE f.id = q.id AND f.used_at = q.used_at
        """,
        [upload.id for upload in uploads],
        [upload.used_at for upload in uploads],
    )


def list_starts(uploads: Sequence[Upload]) -> list[str]:
    """The key in FRESH_RUNS behind which those runs are that were made since the look at these uploads began."""
    return [(min(upload.looked_at for upload in uploads) - _UNDER_WAY).isoformat(), str(UUID(int=0))]


async def delete_unused(conn: Connection, *, uploads: Sequence[Upload]) -> int:
    """Delete those of these that no thing has begun to refer to since the look at them began, and passes over those to
    which one begins to refer now; returns how many.
    """
    rows = await conn.fetch(
        """
        DELETE FROM penstock.files
        WHERE id IN (
            SELECT f.id
            FROM penstock.files f
            JOIN unnest($1::uuid[], $2::timestamptz[]) q (id, used_at) ON f.id = q.id
            WHERE f.is_unused AND f.used_at = q.used_at
            FOR UPDATE OF f SKIP LOCKED
        )
        RETURNING true
        """,
        [upload.id for upload in uploads],
        [upload.used_at for upload in uploads],
    )
    return len(rows)
