"""Where the content of files lies outside of PostgreSQL: a local directory, or S3-compatible storage. The one port to
both; only this module imports obstore.

Objects are written piece by piece, and seen once they are whole. What fails is raised as StorageUnavailable.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from penstock.errors import ConfigurationError, StorageUnavailable

if TYPE_CHECKING:
    from obstore.store import S3Config

PART_BYTES: Final = 5 * 1024 * 1024
"""S3 takes no smaller ones but the last."""
_CHUNK_BYTES: Final = 256 * 1024
_TIMEOUT: Final = "30s"
_CONNECT_TIMEOUT: Final = "5s"


class StorageSettings(Protocol):
    """What a room's settings say of storage."""

    @property
    def files_url(self) -> str | None:
        """`file:///directory` or `s3://bucket/prefix`; None: files are in PostgreSQL."""

    @property
    def files_endpoint(self) -> str | None:
        """The URL of a storage that is not Amazon's."""

    @property
    def files_region(self) -> str:
        """The region to sign for."""

    @property
    def files_credentials(self) -> tuple[str, str] | None:
        """The id and the secret of an access key; None: those of the environment or of the machine."""


class ObjectWriter:
    """An object being written."""

    def __init__(self, storage: "Storage", name: str) -> None:
        self._writer = obstore.open_writer_async(storage.store, name, buffer_size=PART_BYTES)

    async def write(self, content: bytes) -> None:
        """Append. Raises StorageUnavailable."""
        with _failing():
            await self._writer.write(content)

    async def close(self) -> None:
        """The object is whole, and can be read. Raises StorageUnavailable."""
        with _failing():
            await self._writer.close()


class Storage:
    """A place for objects, by name."""

    def __init__(self, store: LocalStore | S3Store) -> None:
        self.store: Final = store

    def write(self, name: str) -> ObjectWriter:
        """Begin to write an object; one of the same name is replaced in the end."""
        return ObjectWriter(self, name)

    async def put(self, name: str, content: bytes) -> None:
        """Write an object whole. Raises StorageUnavailable."""
        with _failing():
            await obstore.put_async(self.store, name, content)

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """The content, in pieces. Raises StorageUnavailable, also for an object that is not there."""
        with _failing():
            found = await obstore.get_async(self.store, name)
            async for piece in found.stream(min_chunk_size=_CHUNK_BYTES):
                yield bytes(piece)

    async def delete(self, names: Sequence[str]) -> None:
        """Delete objects; those that are not there are deleted already. Raises StorageUnavailable."""
        for name in names:
            with _failing():
                try:
                    await obstore.delete_async(self.store, name)
                except FileNotFoundError:
                    continue


def open_storage(settings: StorageSettings) -> Storage | None:
    """The storage that the settings name; None: files stay in PostgreSQL. Connects to nothing. Raises
    ConfigurationError.
    """
    if settings.files_url is None:
        return None
    parts = urlsplit(settings.files_url)
    try:
        if parts.scheme == "file":
            return Storage(LocalStore(Path(parts.path), mkdir=True))
        return Storage(_open_bucket(settings, parts.netloc, parts.path.strip("/")))
    except (OSError, BaseError) as error:
        raise ConfigurationError(f"PENSTOCK_FILES_URL: {_first_line(error)}") from error


def _open_bucket(settings: StorageSettings, bucket: str, prefix: str) -> S3Store:
    given: S3Config = {"region": settings.files_region}
    if settings.files_endpoint is not None:
        given["endpoint"] = settings.files_endpoint
    if settings.files_credentials is not None:
        given["access_key_id"], given["secret_access_key"] = settings.files_credentials
    return S3Store.from_url(
        f"s3://{bucket}/{prefix}",
        config=given,
        client_options={"allow_http": True, "timeout": _TIMEOUT, "connect_timeout": _CONNECT_TIMEOUT},
        retry_config={"max_retries": 2},
    )


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except (OSError, BaseError) as error:
        raise StorageUnavailable(f"the storage of files: {_first_line(error)}", kind="storage") from error


def _first_line(error: Exception) -> str:
    """obstore adds a dump of its own structures."""
    return str(error).partition("\n")[0][:500]
