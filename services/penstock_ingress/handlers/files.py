"""Files that come from outside for workflows to import, and those that workflows made to be fetched."""

from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

from penstock.things.files import StoredFile, open_file, store_file
from penstock_ingress.repository.views import File
from penstock_ingress.room import Room
from penstock_ingress.rules.replies import Refusal, problem

MAX_FILE_BYTES: Final = 1024 * 1024 * 1024


async def keep_file(room: Room, environment: str, name: str, content_type: str, content: AsyncIterator[bytes]) -> File:
    """Store what `content` yields; the file value, which workflows take as it is. Raises what reading raises."""
    stored = await store_file(
        room.database, environment=environment, name=name, content_type=content_type, run_id=None, content=content
    )
    return File(file=stored.id, name=stored.name, content_type=stored.content_type, size=stored.size)


async def find_file(room: Room, environment: str, id: UUID) -> StoredFile:
    """The file with that id. Raises Refusal when there is none any more."""
    stored = await open_file(room.database, environment=environment, id=id)
    if stored is None:
        raise Refusal(problem(404, f"there is no file {id} in {environment}; files are kept for seven days"))
    return stored
