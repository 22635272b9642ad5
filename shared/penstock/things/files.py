"""Files that steps hand to each other: stored in pieces, read piece by piece, gone after a week. Their content lies in
PostgreSQL, or in `storage` where there is one; their rows are always here.

A file value, as workflows see it, is `{"file": "<id>", "name": "orders.csv", "content_type": "text/csv", "size": 123}`.
Nothing here ever holds more than a few pieces of a file. A file is seen once all of it is stored; what a crash leaves
behind expires with the rest.
"""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID, uuid4

from pydantic import JsonValue

from penstock.db import Connection, Database
from penstock.domain.files import NewFile, plain_name
from penstock.errors import StorageUnavailable
from penstock.storable import storable_text
from penstock.things.storage import Storage

CHUNK_BYTES: Final = 256 * 1024
_MAX_URL: Final = 2000
_PUBLIC_URL: Final = re.compile(r"(?:https?:)?//[^/\s]+(?:/[^/\s]+)*/fileupload/([0-9a-f-]{36})(?:/[^/\s]*)?")


class Files(NamedTuple):
    """Where files are: their rows, and their content if it lies elsewhere."""

    database: Database
    storage: Storage | None = None

    def require_storage(self) -> Storage:
        """Raises StorageUnavailable where none is configured, though a file lies in one."""
        if self.storage is None:
            message = "the file lies in a storage, and this process knows none: set PENSTOCK_FILES_URL"
            raise StorageUnavailable(message, kind="storage")
        return self.storage


def name_object(environment: str, id: UUID) -> str:
    """The name of a file's content in storage."""
    return f"{environment}/{id}"


@dataclass(frozen=True, slots=True)
class FileValue:
    """A stored file as a value: its id, the name a person sees, its media type, and its size in bytes."""

    id: UUID
    name: str
    content_type: str
    size: int

    def to_json(self) -> dict[str, JsonValue]:
        """The file value as workflows see it."""
        return {"file": str(self.id), "name": self.name, "content_type": self.content_type, "size": self.size}


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that can be read, again and again, as chunks of bytes: `async for chunk in file`. `size` is in bytes.

    Reading raises DatabaseUnavailable and StorageUnavailable.
    """

    id: UUID
    name: str
    content_type: str
    size: int
    files: Files
    object: str | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self.object is not None:
            async for piece in self.files.require_storage().read(self.object):
                yield piece
            return
        position = 0
        while (chunk := await self._read(position)) is not None:
            yield chunk
            position += 1

    async def _read(self, position: int) -> bytes | None:
        async with self.files.database.connection() as conn:
            chunk: bytes | None = await conn.fetchval(
                "SELECT content FROM penstock.file_chunks WHERE file_id = $1 AND position = $2", self.id, position
            )
        return chunk


class FileWriter:
    """Stores a file piece by piece: `write` any number of times, then `finish`. Both raise DatabaseUnavailable and
    StorageUnavailable.

    One that is never finished is seen by nobody, and expires like all others.
    """

    def __init__(self, files: Files, id: UUID, name: str, content_type: str, object: str | None) -> None:
        self._database = files.database
        self._object = None if object is None else files.require_storage().write(object)
        self._id = id
        self._name = storable_text(name)
        self._content_type = storable_text(content_type)
        self._rest = bytearray()
        self._position = 0
        self._size = 0

    async def write(self, content: bytes) -> None:
        """Append to the file; stored when a chunk is full."""
        if self._object is not None:
            await self._object.write(content)
            self._size += len(content)
            return
        self._rest += content
        while len(self._rest) >= CHUNK_BYTES:
            chunk = bytes(self._rest[:CHUNK_BYTES])
            del self._rest[:CHUNK_BYTES]
            await self._store(chunk)

    async def finish(self) -> FileValue:
        """Store what is left and show the file to everyone."""
        if self._object is not None:
            await self._object.close()
        if self._rest:
            await self._store(bytes(self._rest))
            self._rest.clear()
        async with self._database.connection() as conn:
            await conn.execute("UPDATE penstock.files SET size = $2 WHERE id = $1", self._id, self._size)
        return FileValue(self._id, self._name, self._content_type, self._size)

    async def _store(self, chunk: bytes) -> None:
        async with self._database.connection() as conn:
            # A chunk whose first try was committed unknown to us is the same chunk.
            await conn.execute(
                """
                INSERT INTO penstock.file_chunks (file_id, position, content) VALUES ($1, $2, $3)
                ON CONFLICT (file_id, position) DO NOTHING
                """,
                self._id,
                self._position,
                chunk,
            )
        self._position += 1
        self._size += len(chunk)


async def begin_file(
    files: Files, *, environment: str, name: str, content_type: str, run_id: UUID | None
) -> FileWriter:
    """A writer for a new file. Nobody sees the file before it is finished. Raises DatabaseUnavailable."""
    id, shown = uuid4(), plain_name(name)
    object = None if files.storage is None else name_object(environment, id)
    async with files.database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO penstock.files (id, environment, name, content_type, run_id, object)
            VALUES ($1, $2, $3, $4, $5, $6)
            """,
            id,
            environment,
            shown,
            content_type,
            run_id,
            object,
        )
    return FileWriter(files, id, shown, content_type, object)


async def store_file(
    files: Files,
    *,
    environment: str,
    name: str,
    content_type: str,
    run_id: UUID | None,
    content: AsyncIterator[bytes],
) -> FileValue:
    """Store all that `content` yields as a file that expires after seven days. Raises DatabaseUnavailable, and what
    `content` raises.
    """
    writer = await begin_file(files, environment=environment, name=name, content_type=content_type, run_id=run_id)
    async for piece in content:
        await writer.write(piece)
    return await writer.finish()


async def store_arrived(files: Files, *, environment: str, run_id: UUID, arrived: Sequence[NewFile]) -> None:
    """Store files that came with a call, for as long as something refers to them (`unused_files`): public ones for
    everyone who knows their ids. Raises DatabaseUnavailable and StorageUnavailable.

    Where the content lies elsewhere, rows come first: what a crash leaves there expires with the row that names it.
    """
    storage = files.storage
    is_outside = storage is not None
    await files.database.in_transaction(
        partial(insert_arrived, environment=environment, run_id=run_id, files=arrived, is_outside=is_outside)
    )
    if storage is None:
        return
    for file in arrived:
        await storage.put(name_object(environment, file.id), file.content)
    async with files.database.connection() as conn:
        await _finish_arrived(conn, arrived)


async def _finish_arrived(conn: Connection, arrived: Sequence[NewFile]) -> None:
    """Their content is whole: everyone sees them, and they no longer expire by themselves."""
    await conn.execute(
        """
        UPDATE penstock.files f SET size = q.size, expires_at = 'infinity'
        FROM unnest($1::uuid[], $2::bigint[]) q (id, size)
        WHERE f.id = q.id
        """,
        [file.id for file in arrived],
        [len(file.content) for file in arrived],
    )


async def insert_arrived(
    conn: Connection, *, environment: str, run_id: UUID, files: Sequence[NewFile], is_outside: bool = False
) -> None:
    """The rows of files that came with a call, and their content unless it `is_outside`: then nobody sees them yet. To
    be called in a transaction.
    """
    await conn.executemany(
        """
        INSERT INTO penstock.files (id, environment, name, content_type, size, run_id, is_public, object, expires_at,
            attached_type, attached_to)
        VALUES ($1, $2, $3, $4, CASE WHEN $8::text IS NULL THEN $5::bigint END, $6, $7, $8,
            CASE WHEN $8::text IS NULL THEN 'infinity' ELSE clock_timestamp() + interval '7 days' END, $9, $10)
        """,
        [
            (
                file.id, environment, storable_text(file.name), file.content_type, len(file.content), run_id,
                not file.is_private, name_object(environment, file.id) if is_outside else None,
                file.attached_type, None if file.attached_type is None else file.attach_to,
            )
            for file in files
        ],
    )  # fmt: skip
    if is_outside:
        return
    await conn.executemany(
        "INSERT INTO penstock.file_chunks (file_id, position, content) VALUES ($1, $2, $3)",
        [
            (file.id, position, file.content[start : start + CHUNK_BYTES])
            for file in files
            for position, start in enumerate(range(0, len(file.content), CHUNK_BYTES))
        ],
    )


async def delete_files(conn: Connection, *, environment: str, ids: Sequence[UUID]) -> int:
    """Delete these files of an environment; returns how many there were."""
    rows = await conn.fetch(
        "DELETE FROM penstock.files WHERE id = ANY($1) AND environment = $2 RETURNING true", ids, environment
    )
    return len(rows)


async def open_file(files: Files, *, environment: str, id: UUID, is_for_strangers: bool = False) -> StoredFile | None:
    """The file with that id, if it is of this environment, whole, and not yet expired; for strangers only if it is
    public. Its content is read by iterating over it.
    """
    async with files.database.connection() as conn:
        row = await conn.fetchrow(
            """
            SELECT id, name, content_type, size, object FROM penstock.files
            WHERE id = $1 AND environment = $2 AND size IS NOT NULL AND expires_at > clock_timestamp()
              AND (is_public OR NOT $3)
            """,
            id,
            environment,
            is_for_strangers,
        )
    if row is None:
        return None
    return StoredFile(row["id"], row["name"], row["content_type"], row["size"], files, row["object"])


async def find_attachment(conn: Connection, *, environment: str, id: UUID) -> tuple[str, str] | None:
    """The data type and the id of the thing to which a private file belongs; None where there is none."""
    row = await conn.fetchrow(
        """
        SELECT attached_type, attached_to FROM penstock.files
        WHERE id = $1 AND environment = $2 AND NOT is_public AND attached_to IS NOT NULL
        """,
        id,
        environment,
    )
    return None if row is None else (row["attached_type"], row["attached_to"])


async def delete_removed_objects(files: Files, *, most: int) -> int:
    """Delete from storage what belongs to no file any more, at most `most`; returns how many objects. Raises
    StorageUnavailable; then they are deleted the next time.
    """
    if files.storage is None:
        return 0
    async with files.database.connection() as conn:
        rows = await conn.fetch("SELECT object FROM penstock.removed_objects ORDER BY removed_at LIMIT $1", most)
    names = [row["object"] for row in rows]
    await files.storage.delete(names)
    async with files.database.connection() as conn:
        await conn.execute("DELETE FROM penstock.removed_objects WHERE object = ANY($1::text[])", names)
    return len(names)


async def delete_expired_files(conn: Connection, *, most: int) -> int:
    """Delete files that have expired, whole or not, at most `most`; returns how many."""
    rows = await conn.fetch(
        """
        DELETE FROM penstock.files f
        USING (
            SELECT id FROM penstock.files
            WHERE expires_at <= statement_timestamp()
            ORDER BY expires_at
            LIMIT $1
            FOR UPDATE SKIP LOCKED
        ) old
        WHERE f.id = old.id
        RETURNING true
        """,
        most,
    )
    return len(rows)


def file_id(value: JsonValue) -> UUID | None:
    """The id in a file value, a file's id as text, or the id in the URL of a public one; None for anything else."""
    given = value.get("file") if isinstance(value, dict) else value
    if isinstance(given, str) and len(given) <= _MAX_URL and (url := _PUBLIC_URL.fullmatch(given)) is not None:
        given = url[1]
    try:
        return UUID(given) if isinstance(given, str) and len(given) == len(str(UUID(int=0))) else None
    except ValueError:
        return None
