"""Files that come from outside for workflows to import, and those that workflows made to be fetched."""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Final
from urllib.parse import quote
from uuid import UUID

from penstock.domain.files import NewFile
from penstock.things.files import StoredFile, delete_files, open_file, store_file, store_public_files
from penstock_ingress.repository.views import File
from penstock_ingress.room import Room
from penstock_ingress.rules.replies import Refusal, Reply, problem

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


async def remove_file(room: Room, environment: str, id: UUID) -> File:
    """Delete a file. Raises Refusal when there is none."""
    stored = await find_file(room, environment, id)
    await room.database.in_transaction(partial(delete_files, environment=environment, ids=[id]))
    return File(file=stored.id, name=stored.name, content_type=stored.content_type, size=stored.size)


async def keep_uploads(room: Room, environment: str, run_id: UUID, files: Sequence[NewFile]) -> None:
    """Store the files of a call, before its run is admitted: a run's files are there when it begins. A crash in between
    leaves a file that nobody knows of.
    """
    if files:
        store = partial(store_public_files, environment=environment, run_id=run_id, files=files)
        await room.database.in_transaction(store)


async def drop_uploads(room: Room, environment: str, files: Sequence[NewFile]) -> None:
    """Delete the files of a call that made no run."""
    if files:
        ids = [file.id for file in files]
        await room.database.in_transaction(partial(delete_files, environment=environment, ids=ids))


async def show_public_file(room: Room, environment: str, id: str) -> Reply:
    """The content of a public file, as a stream. Raises Refusal."""
    try:
        stored = await open_file(room.database, environment=environment, id=UUID(id), is_for_strangers=True)
    except ValueError:
        stored = None
    if stored is None:
        raise Refusal(problem(404, "there is no such file"))
    headers = {**describe_file(stored), "Cache-Control": "private, max-age=3600"}
    return Reply(200, content_type=stored.content_type, headers=headers, content=stored)


def describe_file(stored: StoredFile) -> Mapping[str, str]:
    """Headers with which a browser keeps a file and never shows it as a page of ours."""
    return {
        "Content-Type": stored.content_type,
        "Content-Length": str(stored.size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(stored.name)}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
    }
