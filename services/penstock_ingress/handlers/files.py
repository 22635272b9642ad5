"""Files that come from outside for workflows to import, and those that workflows made to be fetched."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Final
from urllib.parse import quote, urlencode
from uuid import UUID

from penstock import clock
from penstock.domain.callers import Caller
from penstock.domain.files import NewFile, Seal, is_sealed, seal_file
from penstock.things.files import StoredFile, delete_files, open_file, store_arrived, store_file
from penstock_ingress.accepting.attachments import may_see_attached
from penstock_ingress.repository.views import File, FileLink
from penstock_ingress.room import Room
from penstock_ingress.rules.replies import Refusal, Reply, problem
from penstock_ingress.rules.uploads import PATH

MAX_FILE_BYTES: Final = 1024 * 1024 * 1024


async def keep_file(room: Room, environment: str, name: str, content_type: str, content: AsyncIterator[bytes]) -> File:
    """Store what `content` yields; the file value, which workflows take as it is. Raises what reading raises."""
    stored = await store_file(
        room.files, environment=environment, name=name, content_type=content_type, run_id=None, content=content
    )
    return File(file=stored.id, name=stored.name, content_type=stored.content_type, size=stored.size)


async def find_file(room: Room, environment: str, id: UUID) -> StoredFile:
    """The file with that id. Raises Refusal when there is none any more."""
    stored = await open_file(room.files, environment=environment, id=id)
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
        await store_arrived(room.files, environment=environment, run_id=run_id, arrived=files)


async def drop_uploads(room: Room, environment: str, files: Sequence[NewFile]) -> None:
    """Delete the files of a call that made no run."""
    if files:
        ids = [file.id for file in files]
        await room.database.in_transaction(partial(delete_files, environment=environment, ids=ids))


async def show_public_file(
    room: Room, environment: str, id: str, seal: Seal | None, identify: Callable[[], Awaitable[Caller]]
) -> Reply:
    """The content of a file, as a stream: a public one, one for which the URL is signed, or one that belongs to a thing
    that the caller may see; who calls is looked up for the last alone. Raises Refusal.
    """
    try:
        known = UUID(id)
        may_see_private = seal is not None and is_sealed(
            await room.installation.find_key(), environment, known, seal, clock.now()
        )
        stored = await open_file(room.files, environment=environment, id=known, is_for_strangers=not may_see_private)
        if stored is None and await may_see_attached(room.database, room.definitions, environment, known, identify):
            stored = await open_file(room.files, environment=environment, id=known)
    except ValueError:
        stored = None
    if stored is None:
        raise Refusal(problem(404, "there is no such file"))
    headers = {**describe_file(stored), "Cache-Control": "private, max-age=3600"}
    return Reply(200, content_type=stored.content_type, headers=headers, content=stored)


async def link_file(room: Room, environment: str, id: UUID, lifetime: timedelta) -> FileLink:
    """A URL with which anyone can fetch a file until it expires: a path of the public port, unless PENSTOCK_PUBLIC_URL
    says where that is. Raises Refusal when there is no such file.
    """
    stored = await find_file(room, environment, id)
    expires_at = clock.now() + lifetime
    seal = seal_file(await room.installation.find_key(), environment, id, expires_at)
    base = (room.settings.public_url or "").rstrip("/")
    prefix = "" if environment == "live" else "/version-test"
    query = urlencode({"expires": seal.expires, "signature": seal.signature})
    return FileLink(url=f"{base}{prefix}/{PATH}/{id}/{quote(stored.name)}?{query}", expires_at=expires_at)


def describe_file(stored: StoredFile) -> Mapping[str, str]:
    """Headers with which a browser keeps a file and never shows it as a page of ours."""
    return {
        "Content-Type": stored.content_type,
        "Content-Length": str(stored.size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(stored.name)}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
    }
