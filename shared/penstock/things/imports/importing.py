"""Imports: a stream of CSV or JSON lines becomes things, in batches, each committed together with how far the import
has come.

*Exactly once.* An import has an id. Beginning it again under that id, with the same source, continues behind the last
committed batch; a rival that does so at the same time finds the progress changed, and what it wrote is undone.
*Constant memory.* No more is held than a piece of the stream and two batches, one of which is being written. Lines that
do not fit are left out and reported; they never stop the others.
"""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress
from typing import Final
from uuid import UUID

from penstock.db import Connection, Database
from penstock.definitions.models import DataType
from penstock.errors import DatabaseUnavailable, Permanent
from penstock.things.changes import tell_changing_run
from penstock.things.imports.batches import (
    BadLine,
    Progress,
    advance_import,
    begin_import,
    finish_import,
    list_bad_lines,
    write_rows,
)
from penstock.things.imports.rows import RowReader, columns_of
from penstock.things.imports.texts import Piece, Rows, gather
from penstock.things.tabular import Block, Format, read_records

BATCH_ROWS: Final = 5_000
BATCH_CHARACTERS: Final = 4 * 1024 * 1024
MAX_BAD_LINES: Final = 100_000

Guard = Callable[[Connection], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What is imported: things of a type, from a `source` (an id or digest of the content) in a format.

    `upsert` are the fields by which things that exist are found. At most `keeps` bad lines are kept. Lines that
    were bad before are tried again if they are in `tries_again`: somebody has corrected them. `is_raw`: apostrophes
    before what looks like a formula belong to the texts. `created_by` is the creator of things whose lines name none.
    """

    id: UUID
    environment: str
    data_type: DataType
    format: Format
    source: str
    upsert: tuple[str, ...] = ()
    run_id: UUID | None = None
    keeps: int = 100
    tries_again: Collection[int] = frozenset()
    is_raw: bool = False
    created_by: str | None = None


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What became of all lines, and the first of those that could not be imported."""

    created: int
    updated: int
    failed: int
    bad_lines: list[BadLine]


async def import_things(
    database: Database,
    request: ImportRequest,
    content: AsyncIterable[bytes],
    *,
    guard: Guard | None = None,
    limit: asyncio.Semaphore | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> ImportResult:
    """Import what is not imported yet, and the result over all attempts.

    `guard` is called in each batch's transaction when its things are written, and raises when the import is no longer
    the caller's. Not before: what it locks would be locked for most of the time. `limit` is held for a batch.
    `progress` is called after each batch. Raises Permanent for a file that cannot be read at all, fields that
    do not exist, and too many bad lines; DatabaseUnavailable, and whatever reading `content` raises.
    """
    importer = _Importer(database, request, guard, limit or asyncio.Semaphore(), progress or (lambda _: None))
    await importer.begin()
    try:
        records = read_records(request.format)
        async for chunk in content:
            for block in records.feed(chunk):
                await importer.take(block)
                await asyncio.sleep(0)  # others have a turn
        for block in records.finish():
            await importer.take(block)
        return await importer.finish()
    except Exception as error:
        await importer.end_early(error)
        raise
    finally:
        await importer.stop()


@dataclass(slots=True)
class _Batch:
    """Lines that are committed together: their rows, those that are bad, how many they are and their size in
    characters.
    """

    pieces: list[Piece] = field(default_factory=list)
    bad: list[BadLine] = field(default_factory=list)
    count: int = 0
    size: int = 0
    last_line: int = 0


class _Importer:
    """One attempt of an import: collects a batch, and has it committed while it collects the next one."""

    def __init__(
        self,
        database: Database,
        request: ImportRequest,
        guard: Guard | None,
        limit: asyncio.Semaphore,
        show: Callable[[Progress], None],
    ) -> None:
        self._database = database
        self._request = request
        self._guard = guard
        self._limit = limit
        self._show = show
        self._reader = RowReader(request.data_type, request.format, request.upsert, is_raw=request.is_raw)
        self._key = columns_of(request.data_type, request.upsert)
        self._progress = Progress(0, 0, 0, 0)
        self._batch = _Batch()
        self._copies = True
        self._writing: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Find out how far earlier attempts came."""
        request = self._request
        async with self._database.connection() as conn:
            self._progress, source = await begin_import(
                conn,
                id=request.id,
                environment=request.environment,
                data_type=request.data_type.name,
                run_id=request.run_id,
                source=request.source,
            )
        if source != request.source:
            raise Permanent("what is imported is not what the import began with; import it as a new one", kind="import")

    async def take(self, block: Block) -> None:
        """Add records to the batch, if they are not dealt with yet."""
        if self._reader.expects_header:
            self._reader.read_header(block.cells[0], block.problem)
            block = block.part(1)
        block = self._leave_out_done(block)
        while block.lines:
            room = BATCH_ROWS - self._batch.count
            self._add(block.part(0, room))
            block = block.part(room)
            if self._batch.count >= BATCH_ROWS or self._batch.size >= BATCH_CHARACTERS:
                await self._begin_commit()

    def _leave_out_done(self, block: Block) -> Block:
        done, again = self._progress.lines, self._request.tries_again
        if not block.lines or block.lines[0] > done:
            return block
        kept = [line > done or line in again for line in block.lines]
        return block._replace(lines=list(compress(block.lines, kept)), cells=list(compress(block.cells, kept)))

    def _add(self, block: Block) -> None:
        batch = self._batch
        pieces, bad = self._reader.read(block)
        batch.pieces += pieces
        batch.bad += bad
        batch.count += len(block.lines)
        batch.size += block.size
        batch.last_line = block.lines[-1]

    async def finish(self) -> ImportResult:
        """Commit what is left. Raises Permanent for a file without its header."""
        if self._reader.expects_header:
            raise Permanent("the file is empty; its first line has to name the fields", kind="import")
        if self._batch.count:
            await self._begin_commit()
        await self._settle()
        async with self._database.connection() as conn:
            await finish_import(conn, id=self._request.id, lines=self._progress.lines)
            bad_lines = await list_bad_lines(conn, id=self._request.id, most=self._request.keeps)
        return ImportResult(self._progress.created, self._progress.updated, self._progress.failed, bad_lines)

    async def end_early(self, error: Exception) -> None:
        """Let what is being written be written, and note why the import ends, for those who look at it, if the database
        is there.
        """
        with suppress(Exception):
            await self._settle()
        with suppress(DatabaseUnavailable):
            async with self._database.connection() as conn:
                await finish_import(conn, id=self._request.id, lines=self._progress.lines, error=str(error))

    async def stop(self) -> None:
        """Leave nothing under way."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait({self._writing})

    async def _begin_commit(self) -> None:
        """Have the batch written while the next one is read; the one before it is written by then."""
        await self._settle()
        batch, self._batch = self._batch, _Batch()
        self._writing = asyncio.create_task(self._commit(batch))

    async def _settle(self) -> None:
        """Wait until nothing is being written. Raises what writing raised."""
        writing, self._writing = self._writing, None
        if writing is not None:
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                self._writing = writing
                raise

    async def _commit(self, batch: _Batch) -> None:
        rows = gather(batch.pieces, created_by=self._request.created_by)
        async with self._limit:
            self._progress = await self._database.in_transaction(partial(self._write, batch=batch, rows=rows))
        self._show(self._progress)
        if self._progress.failed >= MAX_BAD_LINES:
            raise Permanent(
                f"{self._progress.failed} lines could not be imported, which is too many to continue: does the file "
                f"fit the type? {self._progress.created} things were created",
                kind="import",
            )

    async def _write(self, conn: Connection, batch: _Batch, rows: Rows) -> Progress:
        request, before = self._request, self._progress
        await tell_changing_run(conn, run_id=request.run_id, step=str(request.id))
        written = await write_rows(
            conn,
            environment=request.environment,
            data_type=request.data_type,
            rows=rows,
            key=self._key,
            copies=self._copies,
        )
        if self._guard is not None:
            await self._guard(conn)
        # A table that refuses rows will refuse more of them, and then a COPY is in vain.
        self._copies = not written.refused
        refused = [BadLine(rows.lines[position], message) for position, message in written.refused.items()]
        bad = sorted([*batch.bad, *refused], key=lambda line: line.line)
        lines = [*rows.lines, *(line.line for line in batch.bad)] if request.tries_again else []
        tried_again = [line for line in lines if line <= before.lines]
        after = replace(
            before,
            lines=max(before.lines, batch.last_line),
            created=before.created + written.created,
            updated=before.updated + written.updated,
            failed=before.failed + len(bad) - len(tried_again),
        )
        kept = bad[: max(request.keeps - before.failed + len(tried_again), 0)]
        if not await advance_import(conn, id=request.id, before=before, after=after, bad=kept, tried_again=tried_again):
            raise DatabaseUnavailable(
                "another executor has continued this import, or the answer to a commit of ours was lost"
            )
        return after
