"""Imports as the management API shows them, begun by a request, a step, or the command line."""

from datetime import datetime
from typing import Final, Literal, NamedTuple
from uuid import UUID

from pydantic import Field

from penstock.db import Connection, Record
from penstock.runs.views.models import Shown


class ImportLine(Shown):
    """A line that could not be imported, and why."""

    line: int
    message: str


class Import(Shown):
    """How far an import has come."""

    id: UUID
    environment: str
    type: str
    state: Literal["running", "stalled", "finished", "failed"] = Field(
        description="`stalled`: nothing was imported for ten minutes; `failed`: it ended early, see `error`"
    )
    lines: int = Field(description="What begins in one of this many lines is dealt with")
    created: int
    updated: int
    failed: int = Field(description="Lines that could not be imported")
    error: str | None
    run_id: UUID | None = Field(description="Of which run it is a step")
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None


class ImportPage(Shown):
    """Imports, newest first."""

    results: list[Import]
    after: str | None


class ImportLinePage(Shown):
    """Lines that could not be imported, in their order."""

    results: list[ImportLine]
    after: str | None


class ImportPlace(NamedTuple):
    """Where an import stands among the others."""

    created_at: datetime
    id: UUID


_SHOWN: Final = """
    id, environment, data_type AS type, lines, created, updated, failed, error, run_id, created_at, updated_at,
    finished_at,
    CASE WHEN error IS NOT NULL THEN 'failed' WHEN finished_at IS NOT NULL THEN 'finished'
         WHEN updated_at < statement_timestamp() - interval '10 minutes' THEN 'stalled' ELSE 'running' END AS state
    """


async def find_import(conn: Connection, *, environment: str, id: UUID) -> Import | None:
    """An import; None when the environment has none of that id."""
    row = await conn.fetchrow(
        f"SELECT {_SHOWN} FROM penstock.imports WHERE id = $1 AND environment = $2", id, environment
    )
    return None if row is None else _from_row(row)


async def list_imports(conn: Connection, *, environment: str, after: ImportPlace | None, limit: int) -> list[Import]:
    """One import more than a page holds, if there are that many; newest first."""
    rows = await conn.fetch(
        f"""
        SELECT {_SHOWN} FROM penstock.imports
        WHERE environment = $1 AND created_at <= coalesce($2::timestamptz, 'infinity')
          AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::uuid))
        ORDER BY created_at DESC, id DESC
        LIMIT $4
        """,
        environment,
        after.created_at if after else None,
        after.id if after else None,
        limit + 1,
    )
    return [_from_row(row) for row in rows]


async def list_lines(conn: Connection, *, id: UUID, after: int, limit: int) -> list[ImportLine]:
    """One line more than a page holds, if there are that many, from behind line `after`."""
    rows = await conn.fetch(
        """
        SELECT line, message FROM penstock.import_lines WHERE import_id = $1 AND line > $2 ORDER BY line LIMIT $3
        """,
        id,
        after,
        limit + 1,
    )
    return [ImportLine(line=row["line"], message=row["message"]) for row in rows]


def _from_row(row: Record) -> Import:
    return Import.model_validate(dict(row))
