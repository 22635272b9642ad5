"""Items of a sequential list that are taken up again run one after the other, whatever takes them up."""

import asyncio
from uuid import UUID

from penstock.domain.ids import child_run_id
from penstock.runs.cancellations import Retry, cancel_runs, retry_run, retry_runs
from penstock.runs.chains import ChainName, Grant, resume_chain
from penstock.runs.views.overview import sample_live_runs
from penstock.runs.views.runs import find_run
from penstock_scheduler.loops.dispatching import dispatch_due
from penstock_scheduler.loops.ends import settle_ends
from penstock_scheduler.loops.list_expansion import advance_sequential, finish_lists
from penstock_scheduler.room import Room
from tests.integration.scheduler.taking_turns import store_list
from tests.integration.scheduling import ENVIRONMENT, Station


async def take_turns(*rooms: Room) -> int:
    """All that schedulers do until nothing more starts; how many lists have finished."""
    finished = 0
    for room in rooms:
        while (counts := await settle_ends(room)).done["ends"]:
            finished += counts.done["finished"]
        finished += (await finish_lists(room)).done["finished"]
    for _ in range(2):
        await asyncio.gather(*(advance_sequential(room) for room in rooms))
        await asyncio.gather(*(dispatch_due(room) for room in rooms))
    return finished


async def queued(station: Station) -> list[str]:
    """The items that may be performed now."""
    rows = await station.fetch("SELECT parameters ->> 'name' AS name FROM penstock.runs WHERE state = 'queued'")
    return [row["name"] for row in rows]


async def end(station: Station, state: str) -> None:
    await station.fetch(
        "UPDATE penstock.runs SET state = $1, finished_at = clock_timestamp() WHERE state = 'queued'", state
    )


async def run_through(station: Station, *rooms: Room) -> list[list[str]]:
    """What may be performed at once, turn by turn, until nothing more starts."""
    seen = []
    await take_turns(*rooms)
    while names := await queued(station):
        seen.append(names)
        await end(station, "succeeded")
        await take_turns(*rooms)
    return seen


async def retry(station: Station, list_id: UUID, index: int) -> None:
    """Retry one item as the management API does."""
    run_id = child_run_id(list_id, str(index))
    await station.database.in_transaction(
        lambda conn: retry_run(conn, environment=ENVIRONMENT, run_id=run_id, asked=Retry("a test"))
    )


async def test_items_that_a_limit_cut_run_one_after_the_other_once_a_resume_readmits_them(station: Station) -> None:
    async with station.scheduler():
        parent = UUID(str((await station.ask())["run_id"]))
    await end(station, "succeeded")
    rooms = [station.furnish(), station.furnish()]
    await station.fetch("UPDATE penstock.environments SET depth_limit = 0")
    list_id = await store_list(station, 4, is_sequential=True)
    await station.fetch("UPDATE penstock.lists SET parent_run_id = $1", parent)
    for _ in range(5):
        await take_turns(*rooms)
    states = await station.fetch("SELECT state FROM penstock.runs WHERE list_id = $1", list_id)
    assert [row["state"] for row in states] == ["terminated"] * 4

    resumed = await resume_chain(
        station.database, ChainName(parent, ENVIRONMENT), grant=Grant(extra_depth=1), by="a test"
    )
    assert resumed.resumed == 4
    await take_turns(*rooms)
    async with station.database.connection() as conn:
        first, second = [await find_run(conn, run_id=child_run_id(list_id, n)) for n in "01"]
        sample = await sample_live_runs(conn, environment=ENVIRONMENT)
    assert first is not None
    assert second is not None
    assert second.waiting_for is not None
    assert (first.state, second.state) == ("queued", "scheduled")
    waiting = second.waiting_for
    assert (waiting.reason, waiting.key, waiting.holder) == ("sequence", str(list_id), first.id)
    assert sample.reasons == {"executor": 1, "sequence": 3}
    assert await run_through(station, *rooms) == [["0"], ["1"], ["2"], ["3"]]
    (row,) = await station.fetch("SELECT state, succeeded, terminated FROM penstock.lists")
    assert tuple(row) == ("finished", 4, 0)
    assert await station.fetch("SELECT FROM penstock.list_line") == []


async def test_item_that_is_retried_waits_for_the_one_under_way_and_new_ones_follow_it(station: Station) -> None:
    room, list_id = station.furnish(), await store_list(station, 4, is_sequential=True)
    for _ in range(2):
        await take_turns(room)
        await end(station, "failed")
    await take_turns(room)
    assert await queued(station) == ["2"]
    await retry(station, list_id, 1)
    await retry(station, list_id, 0)
    # Moved to another time, as the schedule can be: it still waits for its turn.
    await station.fetch("UPDATE penstock.runs SET scheduled_at = scheduled_at - interval '1 s' WHERE state <> 'queued'")
    await take_turns(room)
    assert await queued(station) == ["2"]
    assert await run_through(station, room) == [["2"], ["0"], ["1"], ["3"]]


async def test_item_that_is_cancelled_in_its_line_lets_no_other_start(station: Station) -> None:
    room, list_id = station.furnish(), await store_list(station, 3, is_sequential=True)
    await take_turns(room)
    await end(station, "failed")
    await take_turns(room)
    await retry(station, list_id, 0)
    await take_turns(room)
    first = child_run_id(list_id, "0")
    cancelled = await station.database.in_transaction(
        lambda conn: cancel_runs(conn, environment=ENVIRONMENT, run_ids=[first], by="a test")
    )
    await take_turns(room)
    assert ([run.id for run in cancelled], await queued(station)) == ([first], ["1"])
    assert await run_through(station, room) == [["1"], ["2"]]


async def test_all_failed_items_retried_at_once_are_performed_one_by_one_by_rival_schedulers(station: Station) -> None:
    rooms = [station.furnish(), station.furnish()]
    list_id = await store_list(station, 3, is_sequential=True)
    for _ in range(3):
        await take_turns(*rooms)
        await end(station, "failed")
    assert await take_turns(*rooms) == 1
    ids = [child_run_id(list_id, n) for n in "201"]
    await station.database.in_transaction(
        lambda conn: retry_runs(conn, environment=ENVIRONMENT, run_ids=ids, by="a test")
    )
    assert await run_through(station, *rooms) == [["0"], ["1"], ["2"]]
    (row,) = await station.fetch("SELECT state, succeeded, failed FROM penstock.lists")
    assert tuple(row) == ("finished", 3, 0)
