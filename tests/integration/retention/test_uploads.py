"""Uploads that nothing refers to are deleted, and no others."""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from penstock.db import Connection
from penstock.domain.files import NewFile
from penstock.domain.ids import new_run_id, new_thing_id
from penstock.things.files import Files, delete_removed_objects, store_arrived
from penstock.things.unused_files import (
    FRESH_RUNS,
    Source,
    claim_uploads,
    delete_unused,
    find_mentions,
    list_starts,
    note_unused,
)
from penstock_scheduler.loops.uploads import delete_unused_uploads
from penstock_scheduler.room import Room
from tests.integration.retention.aging import Keeper, Old, keeper
from tests.integration.storing import storing
from tests.site import deploy_files

__all__ = ["keeper"]
NONE = timedelta(0)
TYPES = """
type: note
fields: {picture: image, more: list of file, words: text, place: geographic address, rank: number}
"""
THING = 'INSERT INTO live.note (_id, created_date, modified_date, "{column}") VALUES ($1, now(), now(), {value})'


@dataclass
class Attic:
    """A scheduler for which a moment is long enough, and the files it looks at."""

    room: Room
    keeper: Keeper

    async def upload(self, *, run: UUID | None = None, attach_to: str | None = None) -> UUID:
        """The id of a file that came with a call."""
        attached = None if attach_to is None else "note"
        file = NewFile(uuid4(), "a.png", "image/png", b"png", attach_to is not None, attach_to, attached)
        await store_arrived(self.room.files, environment="live", run_id=run or new_run_id(), arrived=[file])
        return file.id

    async def write(self, column: str, value: str) -> str:
        """The id of a note with this value, given as SQL, written by anybody."""
        id = new_thing_id()
        async with self.room.database.connection() as conn:
            await conn.execute(THING.format(column=column, value=value), id)
        return id

    async def look(self, times: int = 2) -> int:
        """Look this many times; how many files were deleted."""
        counts = [await delete_unused_uploads(self.room, pause=NONE, rows=2) for _ in range(times)]
        return sum(one.done.get("uploads", 0) for one in counts)

    async def left(self) -> set[UUID]:
        return {row["id"] for row in await self.keeper.fetch("SELECT id FROM penstock.files")}


def url(id: UUID) -> str:
    return f"//example.com/fileupload/{id}/a.png"


@pytest.fixture
async def attic(keeper: Keeper) -> Attic:
    await deploy_files(keeper.database, {"app.yaml": "app: a", "types/note.yaml": TYPES}, "live")
    return Attic(replace(keeper.room, unused_uploads_kept=timedelta(microseconds=1)), keeper)


async def test_an_upload_goes_when_two_looks_have_found_no_reference(attic: Attic) -> None:
    id, room = await attic.upload(), attic.room
    looks = await asyncio.gather(*(delete_unused_uploads(room, pause=timedelta(hours=1)) for _ in range(2)))
    assert sum(one.done.get("uploads", 0) for one in looks) == 0, "only one of two schedulers looks for it"
    for kept, why in ((NONE, "uploads are kept for good"), (timedelta(hours=24), "it is not a day old")):
        attic.room = replace(room, unused_uploads_kept=kept)
        assert await attic.look() == 0, why
    attic.room = room
    assert (await attic.look(1), await attic.left()) == (1, set())
    old = await attic.upload()
    async with room.database.connection() as conn:
        await conn.execute("UPDATE penstock.files SET used_at = 'infinity'")  # as the migration sets it
    assert (await attic.look(), await attic.left()) == (0, {old})
    assert id != old


async def test_uploads_that_are_referred_to_stay(attic: Attic) -> None:
    ids = [await attic.upload() for _ in range(8)]
    thing = await attic.write("picture", f"'{url(ids[0])}'")
    await attic.write("more", f"ARRAY['//elsewhere/b', '{url(ids[1])}']")
    await attic.write("words", f"'see https://host{url(ids[2])} and {url(ids[3])}?x=1'")
    await attic.write("place", f"""jsonb_build_object('address', '{url(ids[4])}')""")
    for _ in range(5):
        await attic.write("words", "'nothing'")
    of_run, mentioned = Old(days=1), Old(days=2)
    await attic.keeper.store(of_run, mentioned)
    async with attic.room.database.connection() as conn:
        await conn.execute(
            "UPDATE penstock.runs SET parameters = $2 WHERE id = $1", mentioned.id, {"deep": [{"photo": url(ids[5])}]}
        )
        await conn.execute(
            "UPDATE penstock.steps SET result = $2 WHERE run_id = $1", mentioned.id, {"file": str(ids[6])}
        )
        await conn.execute(
            "INSERT INTO penstock.signals (environment, name, payload) VALUES ('live', 's', $1)", {"a": url(ids[7])}
        )
    kept = {*ids, await attic.upload(run=of_run.id), await attic.upload(attach_to=thing)}
    for id in (await attic.upload(), await attic.upload(attach_to=new_thing_id())):
        assert id not in kept
    assert await attic.look(3) == 2
    assert await attic.left() == kept


async def test_an_upload_goes_when_its_last_reference_is_gone(attic: Attic) -> None:
    id = await attic.upload()
    thing = await attic.write("picture", f"'{url(id)}'")
    async with attic.room.database.connection() as conn:
        await conn.execute("UPDATE penstock.files SET created_at = created_at - interval '1 day'")
        assert await attic.look() == 0
        await conn.execute("UPDATE live.note SET picture = NULL WHERE _id = $1", thing)
        assert await attic.look() == 0, "the next look is after as long as it was there"
        await conn.execute("UPDATE penstock.files SET used_at = used_at - interval '2 days'")
        assert await attic.look(1) == 0
        looked = await claim_uploads(conn, unused_for=NONE, pause=NONE, most=10)
        run = Old(days=0)
        await attic.keeper.store(Old(days=1), run)
        await conn.execute("UPDATE penstock.runs SET parameters = $2 WHERE id = $1", run.id, {"photo": url(id)})
        mentioned = await find_mentions(conn, source=FRESH_RUNS, after=list_starts(looked), most=10)
        assert mentioned == ({id}, None), "a run was made during the second look"
        await conn.execute("DELETE FROM penstock.runs")
    assert await attic.look(1) == 1


async def test_a_thing_that_begins_to_refer_to_an_upload_during_the_last_look_keeps_it(attic: Attic) -> None:
    thing, ids = await attic.write("words", "'none'"), [await attic.upload(), await attic.upload()]
    assert await attic.look(1) == 0

    async def refer(conn: Connection) -> None:
        await conn.execute(THING.format(column="picture", value=f"'{url(ids[0])}'"), new_thing_id())
        await conn.execute("UPDATE live.note SET words = $2 WHERE _id = $1", thing, f"see {url(ids[1])}")

    async with attic.room.database.connection() as conn, attic.room.database.connection() as other:
        looked = await claim_uploads(conn, unused_for=NONE, pause=NONE, most=10)
        assert [one.is_unused for one in looked] == [True, True]
        async with other.transaction():
            await refer(other)
            assert await delete_unused(conn, uploads=looked) == 0, "not committed yet"
        assert await delete_unused(conn, uploads=looked) == 0, "committed since"
        await note_unused(conn, uploads=looked)
    assert await attic.keeper.fetchval("SELECT bool_and(NOT is_unused) FROM penstock.files")
    assert (await attic.look(), await attic.left()) == (0, set(ids))


async def test_the_content_of_an_unused_upload_goes_from_its_storage(attic: Attic, tmp_path: Path) -> None:
    for kind in ("directory", "s3"):
        async with storing(kind, tmp_path) as storage:
            files = Files(attic.room.database, storage)
            attic.room = replace(attic.room, files=files)
            await attic.upload()
            assert (await attic.look(), await delete_removed_objects(files, most=10)) == (1, 1)
    gone = Source('"live"."gone"', (('"_id"', "text"),), ("words",))
    async with attic.room.database.connection() as conn:
        assert await find_mentions(conn, source=gone, after=gone.start, most=10) == (set(), None)
