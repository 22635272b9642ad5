"""Files of steps: stored in chunks, seen when they are whole, gone when they have expired."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from penstock.db import Connection, Database
from penstock.domain.files import plain_name
from penstock.things.files import (
    CHUNK_BYTES,
    Files,
    begin_file,
    delete_expired_files,
    file_id,
    open_file,
    store_file,
)
from penstock_scheduler.loops.upkeep import delete_old_files
from tests.integration.scheduling import Station

LIVE = "live"


async def pieces(content: bytes, size: int) -> AsyncIterator[bytes]:
    """`content` in pieces."""
    for first in range(0, len(content), size):
        yield content[first : first + size]


async def read(database: Database, id_text: object) -> bytes | None:
    """All of a file, None when there is no such file."""
    found = file_id(str(id_text))
    assert found is not None
    stored = await open_file(Files(database), environment=LIVE, id=found)
    return None if stored is None else b"".join([chunk async for chunk in stored])


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 1])
async def test_a_file_is_read_back_as_it_was_stored(database: Database, size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    content = content[:size]
    run_id = uuid4()
    value = await store_file(
        Files(database),
        environment=LIVE,
        name="orders.csv",
        content_type="text/csv",
        run_id=run_id,
        content=pieces(content, 100_000),
    )
    shown = value.to_json()
    assert (shown["name"], shown["content_type"], shown["size"]) == ("orders.csv", "text/csv", size)
    assert await read(database, shown["file"]) == content
    assert file_id(shown) == value.id
    stored = await open_file(Files(database), environment=LIVE, id=value.id)
    assert stored is not None
    assert [len(chunk) for _ in range(2) async for chunk in stored].count(CHUNK_BYTES) == 2 * (size // CHUNK_BYTES), (
        "twice, in chunks"
    )
    async with database.connection() as conn:
        assert await conn.fetchval("SELECT run_id FROM penstock.files") == run_id


async def test_files_of_another_environment_unfinished_and_expired_ones_are_not_found(database: Database) -> None:
    value = await store_file(
        Files(database), environment=LIVE, name="a", content_type="text/csv", run_id=None, content=pieces(b"x", 1)
    )
    assert await open_file(Files(database), environment="development", id=value.id) is None
    writer = await begin_file(Files(database), environment=LIVE, name="b", content_type="text/csv", run_id=None)
    await writer.write(b"x" * CHUNK_BYTES)
    async with database.connection() as conn:
        unfinished = await conn.fetchval("SELECT id FROM penstock.files WHERE name = 'b'")
        assert await open_file(Files(database), environment=LIVE, id=unfinished) is None
        assert await delete_expired_files(conn, most=10) == 0
        await expire(conn, value.id)
    assert await open_file(Files(database), environment=LIVE, id=value.id) is None


async def test_a_scheduler_deletes_expired_files_with_all_their_chunks(station: Station, database: Database) -> None:
    values = [
        await store_file(
            Files(database), environment=LIVE, name="a", content_type="text/csv", run_id=None, content=pieces(b"x", 1)
        )
        for _ in range(50)
    ]
    async with database.connection() as conn:
        for value in values[1:]:
            await expire(conn, value.id)
    assert (await delete_old_files(station.furnish())).done == {"files": 49, "imports": 0, "objects": 0}
    assert await station.fetchval("SELECT count(*) FROM penstock.file_chunks") == 1
    assert await read(database, values[0].id) == b"x"


async def expire(conn: Connection, id: object) -> None:
    """Let a file be a week older."""
    await conn.execute("UPDATE penstock.files SET expires_at = expires_at - interval '7 days' WHERE id = $1", id)


@pytest.mark.parametrize(
    "value", [None, 1, "", "orders.csv", {"file": None}, {"name": "orders.csv"}, [], "{" + "0" * 34 + "}"]
)
def test_what_is_no_file_has_no_id(value: object) -> None:
    assert file_id(value if isinstance(value, dict | str) else None) is None


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("a b.csv", "a b.csv"),
        ("../../etc/passwd", "passwd"),
        ("c:\\x\\y.csv", "y.csv"),
        ('q"\r\nx', "qx"),
        ("", "file"),
        ("a/", "file"),
    ],
)
def test_names_of_files_are_plain(name: str, plain: str) -> None:
    assert plain_name(name) == plain
    assert len(plain_name(name * 1000)) <= 200
