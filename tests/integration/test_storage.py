"""The content of files in a directory and in S3-compatible storage, and who may fetch private files."""

import base64
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from penstock import clock
from penstock.db import Database
from penstock.domain.files import NewFile, is_sealed, seal_file
from penstock.errors import ConfigurationError, StorageUnavailable
from penstock.settings import CommonSettings, read_settings
from penstock.things.files import (
    Files,
    begin_file,
    delete_files,
    delete_removed_objects,
    open_file,
    store_arrived,
    store_file,
)
from penstock.things.storage import PART_BYTES, open_storage
from tests.integration.ingress import ADMIN, Ingress, running_ingress, write_app
from tests.integration.s3_server import BUCKET
from tests.integration.storing import settings, storing

LIVE = "live"
LARGE = bytes(range(256)) * (PART_BYTES // 256 * 2 + 77)
TAKE = """
workflow: take
parameters: {receipt: file}
on: {api: {auth: public, respond: at_once}}
steps:
  - return: {}
"""


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    for first in range(0, len(content), 700_000):
        yield content[first : first + 700_000]


@pytest.mark.parametrize("kind", ["directory", "s3"])
@pytest.mark.parametrize("content", [b"", b"small", LARGE], ids=["empty", "small", "large"])
async def test_a_file_in_storage_is_read_back_and_deleted_with_its_row(
    database: Database, tmp_path: Path, kind: str, content: bytes
) -> None:
    async with storing(kind, tmp_path) as storage:
        files = Files(database, storage)
        value = await store_file(
            files, environment=LIVE, name="a", content_type="text/csv", run_id=None, content=pieces(content)
        )
        assert value.size == len(content)
        async with database.connection() as conn:
            assert await conn.fetchval("SELECT count(*) FROM penstock.file_chunks") == 0
            stored = await open_file(files, environment=LIVE, id=value.id)
            assert stored is not None
            assert b"".join([piece async for piece in stored]) == content
            await delete_files(conn, environment=LIVE, ids=[value.id])
        assert await delete_removed_objects(files, most=10) == 1
        assert await delete_removed_objects(files, most=10) == 0
        with pytest.raises(StorageUnavailable):
            [piece async for piece in stored]


@pytest.mark.parametrize("kind", ["directory", "s3"])
async def test_the_files_of_a_call_lie_in_storage(database: Database, tmp_path: Path, kind: str) -> None:
    async with storing(kind, tmp_path) as storage:
        files, file = Files(database, storage), NewFile(uuid4(), "a.txt", "text/plain", b"paid", is_private=True)
        await store_arrived(files, environment=LIVE, run_id=uuid4(), arrived=[file])
        stored = await open_file(files, environment=LIVE, id=file.id)
        assert stored is not None
        assert b"".join([piece async for piece in stored]) == b"paid"
        assert await open_file(files, environment=LIVE, id=file.id, is_for_strangers=True) is None


async def test_a_file_that_is_not_finished_is_seen_by_nobody(database: Database, tmp_path: Path) -> None:
    async with storing("directory", tmp_path) as storage:
        files = Files(database, storage)
        writer = await begin_file(files, environment=LIVE, name="a", content_type="text/csv", run_id=None)
        await writer.write(b"half")
        async with database.connection() as conn:
            (id,) = [row["id"] for row in await conn.fetch("SELECT id FROM penstock.files")]
        assert await open_file(files, environment=LIVE, id=id) is None


async def test_storage_that_is_away_is_said_to_be_so(database: Database) -> None:
    storage = open_storage(settings(f"s3://{BUCKET}", "http://127.0.0.1:9"))
    files, file = Files(database, storage), NewFile(uuid4(), "a.txt", "text/plain", b"paid")
    with pytest.raises(StorageUnavailable, match="the storage of files: "):
        await store_arrived(files, environment=LIVE, run_id=uuid4(), arrived=[file])
    assert await open_file(files, environment=LIVE, id=file.id) is None
    async with database.connection() as conn:
        expires = "expires_at BETWEEN now() AND now() + interval '8 days'"
        assert await conn.fetchval(f"SELECT {expires} FROM penstock.files"), "what a crash leaves there goes with it"


async def test_a_process_without_the_storage_says_what_to_set(database: Database, tmp_path: Path) -> None:
    async with storing("directory", tmp_path) as storage:
        value = await store_file(
            Files(database, storage), environment=LIVE, name="a", content_type="a/b", run_id=None, content=pieces(b"x")
        )
    stored = await open_file(Files(database), environment=LIVE, id=value.id)
    assert stored is not None
    with pytest.raises(StorageUnavailable, match="PENSTOCK_FILES_URL"):
        [piece async for piece in stored]


@pytest.mark.parametrize("url", ["ftp://a/b", "file://host/dir", "file:dir", "s3://", "s3://a@b/c", "s3://b/c?d"])
def test_a_wrong_url_of_storage_is_refused(url: str) -> None:
    given = {"database_url": "postgresql://h/d", "amqp_url": "amqp://h/v", "files_url": url}
    with pytest.raises(ConfigurationError, match=r"PENSTOCK_FILES_URL: .*write it as file:///directory or s3://"):
        read_settings(CommonSettings, given)


def test_a_signed_url_is_for_one_file_of_one_environment_until_it_expires() -> None:
    key, id, now = b"k" * 32, uuid4(), clock.now()
    seal = seal_file(key, LIVE, id, now + timedelta(minutes=1))
    assert is_sealed(key, LIVE, id, seal, now)
    assert not is_sealed(b"x" * 32, LIVE, id, seal, now)
    assert not is_sealed(key, "development", id, seal, now)
    assert not is_sealed(key, LIVE, uuid4(), seal, now)
    assert not is_sealed(key, LIVE, id, seal._replace(expires=seal.expires + 1), now)
    assert not is_sealed(key, LIVE, id, seal, now + timedelta(minutes=1))


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    app = write_app(tmp_path, take=TAKE)
    async with running_ingress(database_url, amqp_url, app, files_url=f"file://{tmp_path}/stored") as running:
        yield running


async def test_a_private_file_is_fetched_with_a_signed_url_only(ingress: Ingress, tmp_path: Path) -> None:
    receipt = {"filename": "a b.txt", "contents": base64.b64encode(b"secret").decode(), "private": True}
    assert (await ingress.send("POST", "/api/1.1/wf/take", json={"receipt": receipt})).status == 202
    url = await ingress.fetchval("SELECT parameters ->> 'receipt' FROM penstock.runs")
    path = re.sub(r"^//[^/]+", "", str(url))
    id = path.split("/")[2]
    assert len(list((tmp_path / "stored" / LIVE).iterdir())) == 1
    assert (await ingress.send("GET", path)).status == 404
    made = await ingress.manage("POST", f"/v1/live/files/{id}/link?lifetime=5m", headers=ADMIN)
    assert made.status == 201
    link = str(made.json["url"])
    assert link.startswith(path)
    fetched = await ingress.send("GET", link)
    assert (fetched.status, fetched.body) == (200, b"secret")
    flipped = link[:-1] + ("0" if link[-1] != "0" else "1")
    for wrong in (flipped, link.replace("expires=", "expires=9"), f"{path}?expires=1"):
        assert (await ingress.send("GET", wrong)).status == 404
    assert (await ingress.manage("POST", f"/v1/live/files/{id}/link?lifetime=8d", headers=ADMIN)).status == 400
    assert (await ingress.manage("POST", f"/v1/live/files/{uuid4()}/link", headers=ADMIN)).status == 404
