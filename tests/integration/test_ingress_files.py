"""Files over the management API: in and out in pieces, within bounds."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.ingress import Ingress, running_ingress, write_app


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as running:
        yield running


async def test_a_file_is_stored_and_fetched_as_it_was(ingress: Ingress) -> None:
    content = bytes(range(256)) * 3000
    stored = await ingress.manage("POST", "/v1/live/files?name=..%2Fpr%C3%A9s.csv", data=content)
    id = stored.json["file"]
    assert (stored.status, stored.headers["location"]) == (201, f"/v1/live/files/{id}")
    assert stored.json == {
        "file": id,
        "name": "prés.csv",
        "content_type": "application/octet-stream",
        "size": len(content),
    }
    fetched = await ingress.manage("GET", f"/v1/live/files/{id}")
    assert (fetched.status, fetched.body == content) == (200, True)
    assert fetched.headers["content-disposition"] == "attachment; filename*=UTF-8''pr%C3%A9s.csv"
    assert fetched.headers["x-content-type-options"] == "nosniff"


async def test_what_is_no_file_is_refused(ingress: Ingress) -> None:
    id = (await ingress.manage("POST", "/v1/live/files", data=b"x")).json["file"]
    elsewhere = await ingress.manage("GET", f"/v1/development/files/{id}")
    assert elsewhere.status == 404
    assert "files are kept for seven days" in str(elsewhere.json["detail"])
    assert (await ingress.manage("POST", "/v1/nowhere/files", data=b"x")).status == 404
    assert (await ingress.manage("POST", "/v1/live/files", data=b"x", headers={})).status == 401
    assert (await ingress.manage("GET", "/v1/live/files/none")).status == 404


async def test_a_compressed_upload_and_one_that_is_too_large_are_refused_unread(ingress: Ingress) -> None:
    admin = (
        {"Authorization": f"Bearer {ingress.settings.admin_token.get_secret_value()}"}
        if ingress.settings.admin_token
        else {}
    )
    compressed = await ingress.manage(
        "POST", "/v1/live/files", data=b"x", headers={**admin, "Content-Encoding": "gzip"}
    )
    assert compressed.status == 415
    assert await ingress.fetchval("SELECT count(*) FROM penstock.files WHERE size IS NOT NULL") == 0
