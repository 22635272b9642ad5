"""Uploads that no thing and no run refers to are deleted after a time. `penstock.things.unused_files` says how that
is safe.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from penstock.definitions.models import ENVIRONMENTS
from penstock.runtime import Counts
from penstock.things import unused_files as repository
from penstock.things.unused_files import FRESH_RUNS, MAX_WAIT, Source, Upload, list_starts
from penstock_scheduler.room import Room

MOST: Final = 10_000
"""Uploads that are looked for at once: the work is to read what may refer to them, however many they are."""
ROWS: Final = 1_000
"""That are read in one statement."""
PAUSE: Final = timedelta(hours=1)
"""Between two looks at one upload."""
_BATCH: Final = 20
"""Uploads deleted in one transaction: each may have thousands of chunks."""
_REST_SECONDS: Final = 0.02
"""Between two full batches of rows, so that work comes first."""


async def delete_unused_uploads(room: Room, *, pause: timedelta = PAUSE, rows: int = ROWS) -> Counts:
    """Look for references to uploads that were not known to be used for a while; delete those that the look before
    found none to either. A look that is interrupted has no effect.
    """
    if not room.unused_uploads_kept:
        return Counts()
    async with room.database.connection() as conn:
        uploads = await repository.claim_uploads(conn, unused_for=room.unused_uploads_kept, pause=pause, most=MOST)
    if not uploads:
        return Counts()
    async with room.database.connection() as conn:
        of_runs = await repository.find_of_kept_runs(conn, uploads=uploads)
        await repository.note_use(conn, ids=list(of_runs))
        left = [upload for upload in uploads if upload.id not in of_runs]
        attached = await repository.find_attached(conn, uploads=left)
        sources = await repository.list_sources(conn, environments=ENVIRONMENTS)
    mentioned = await _find_mentioned(
        room,
        [*[(one, one.start) for one in sources], (FRESH_RUNS, list_starts(uploads))],
        {upload.id for upload in left} - attached,
        rows,
    )
    if room.stop.soft.is_set():
        return Counts()
    found = attached | mentioned
    deleted = await _settle(room, [upload for upload in left if upload.id not in found], found)
    return Counts({"uploads": deleted})


async def _find_mentioned(
    room: Room, sources: Sequence[tuple[Source, list[str]]], wanted: set[UUID], rows: int
) -> set[UUID]:
    """Which of the wanted files any row mentions; ends early when all of them are found, or the scheduler stops."""
    found: set[UUID] = set()
    for source, start in sources:
        after: list[str] | None = start
        while after is not None and found != wanted and not room.stop.soft.is_set():
            async with room.database.connection() as conn:
                mentioned, after = await repository.find_mentions(conn, source=source, after=after, most=rows)
            found |= mentioned & wanted
            if after is not None:
                await asyncio.sleep(_REST_SECONDS)
    return found


async def _settle(room: Room, unused: Sequence[Upload], used: set[UUID]) -> int:
    """Note what the look has found; returns how many uploads were deleted."""
    again = [upload for upload in unused if upload.is_unused]
    async with room.database.connection() as conn:
        await repository.note_use(conn, ids=list(used), wait=MAX_WAIT)
        await repository.note_unused(conn, uploads=unused)
    deleted = 0
    for first in range(0, len(again), _BATCH):
        async with room.database.connection() as conn:
            deleted += await repository.delete_unused(conn, uploads=again[first : first + _BATCH])
    return deleted
