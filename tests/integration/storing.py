"""Storage for the content of files: a directory, and a server that speaks S3."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

from penstock.things.storage import Storage, open_storage
from tests.integration.s3_server import BUCKET, serving_s3


def settings(url: str | None, endpoint: str | None = None) -> SimpleNamespace:
    credentials = ("key", "secret")
    return SimpleNamespace(
        files_url=url, files_endpoint=endpoint, files_region="us-east-1", files_credentials=credentials
    )


@asynccontextmanager
async def storing(kind: str, directory: Path) -> AsyncIterator[Storage]:
    if kind == "directory":
        storage = open_storage(settings(f"file://{directory}/files"))
        assert storage is not None
        yield storage
        return
    async with serving_s3() as url:
        storage = open_storage(settings(f"s3://{BUCKET}/some/prefix", url))
        assert storage is not None
        yield storage
