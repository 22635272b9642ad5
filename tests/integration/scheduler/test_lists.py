"""Lists become runs: each item exactly once, on any number of schedulers; the end of each list is announced."""

import asyncio
from datetime import timedelta
from typing import Final
from uuid import UUID

import pytest
from pydantic import JsonValue

from penstock import clock
from penstock.contracts.messages import ListEvent
from penstock.domain.ids import child_run_id, new_run_id
from penstock.runs.cancellations import Retry, retry_run
from penstock.runs.chains import ChainName, Grant, resume_chain, stop_chain
from penstock.runs.lists import CHUNK_SIZE, ListRequest, insert_list
from penstock_scheduler.loops.ends import settle_ends
from penstock_scheduler.loops.list_expansion import (
    LARGE_LIST,
    advance_sequential,
    expand_chunk,
    expand_lists,
    finish_lists,
)
from penstock_scheduler.repository.lists import MAX_DUE
from penstock_scheduler.room import Room
from tests.eventually import eventually
from tests.integration.scheduler.taking_turns import count_is, state_is, store_list
from tests.integration.scheduling import ENVIRONMENT, WORKFLOWS, Station

MANY: Final = 10_000


async def take_up(station: Station) -> bool:
    """Claim and end what is queued, as executors would; whether all has arrived here."""
    await station.fetch(
        "UPDATE penstock.runs SET state = 'cancelled', finished_at = clock_timestamp() WHERE state = 'queued'"
    )
    return len(set(station.executor.run_ids())) >= MANY


async def test_list_of_ten_thousand_is_expanded_exactly_once_by_rivals(station: Station) -> None:
    items = [{"name": f"n{number}"} for number in range(MANY)]
    async with station.scheduler(), station.scheduler():
        sent = {"parameters": {"urgency": 7}, "list": {"items": items}, "message_id": "the list"}
        answer = await station.ask(**sent)
        again = await station.ask(**sent)
        await eventually(lambda: take_up(station), within=60, every=0.02)
        await eventually(lambda: state_is(station, answer["list_id"], "expanded"), within=60)
    list_id = UUID(str(answer["list_id"]))
    rows = await station.fetch("SELECT id, depth, list_id, parameters FROM penstock.runs")
    assert {row["id"] for row in rows} == {child_run_id(list_id, str(number)) for number in range(MANY)}
    assert {(row["depth"], row["list_id"], row["parameters"]["urgency"]) for row in rows} == {(0, list_id, 7)}
    assert {row["parameters"]["name"] for row in rows} == {item["name"] for item in items}
    assert (again["list_id"], again["duplicate"]) == (answer["list_id"], True)
    assert len(set(station.executor.run_ids())) == MANY


async def test_items_become_runs_no_sooner_than_executors_need_them(station: Station) -> None:
    room, large = station.furnish(), await store_list(station, MANY)
    await expand_lists(room)
    ahead = len(await station.runs())
    assert MAX_DUE <= ahead <= LARGE_LIST + MAX_DUE + 2 * CHUNK_SIZE, "the first thousand are handed over at once"
    small = await store_list(station, 3)
    await expand_lists(room)
    assert await state_is(station, small, "expanded"), "it does not wait for the large one"
    assert len(await station.runs()) == ahead + 3
    while not await state_is(station, large, "expanded"):
        before = len(await station.runs())
        await station.fetch(
            "UPDATE penstock.runs SET state = 'cancelled', finished_at = clock_timestamp() WHERE finished_at IS NULL"
        )
        await expand_lists(room)
        assert len(await station.runs()) > before
    assert len(await station.runs()) == MANY + 3


async def test_items_of_a_sequence_get_in_line_in_their_order_however_many_there_are(station: Station) -> None:
    await station.deploy(WORKFLOWS.replace("parameters:", "sequence: {key: params.urgency}\nparameters:"))
    room, list_id = station.furnish(), await store_list(station, CHUNK_SIZE + 3)
    async with station.database.connection() as rival, rival.transaction():
        await rival.execute(
            "SELECT FROM penstock.list_chunks WHERE list_id = $1 AND first_index = 0 FOR UPDATE", list_id
        )
        await expand_lists(room)
        assert await station.runs() == [], "another scheduler is at the first thousand"
    await expand_lists(room)
    line = await station.fetch(
        "SELECT r.parameters ->> 'name' AS name FROM penstock.places p JOIN penstock.runs r ON r.id = p.run_id "
        "ORDER BY p.position"
    )
    assert [row["name"] for row in line] == [str(number) for number in range(CHUNK_SIZE + 3)]


async def test_items_that_are_due_later_become_runs_at_once(station: Station) -> None:
    request = ListRequest(new_run_id(), ENVIRONMENT, "notify", clock.now() + timedelta(hours=1))
    parameters: list[dict[str, JsonValue]] = [{"name": str(number)} for number in range(MANY)]
    async with station.database.connection() as conn, conn.transaction():
        await insert_list(conn, request=request, parameters=parameters)
    await expand_lists(station.furnish())
    assert await state_is(station, request.id, "expanded")


async def test_all_items_of_a_list_share_one_depth_and_its_interval_spreads_them(station: Station) -> None:
    async with station.scheduler():
        parent = str((await station.ask(headers={"depth": 3}))["run_id"])
        await station.ask(
            list={"items": ["a", "b", {"name": "c"}], "interval": "10s"},
            parameters={"urgency": 2},
            headers={"parent-run-id": parent},
        )
        await eventually(lambda: count_is(station, 4))
    runs = [run for run in await station.runs() if run["list_id"]]
    runs.sort(key=lambda run: run["scheduled_at"])
    assert [(run["depth"], run["trigger"], run["parameters"]["name"]) for run in runs] == [
        (4, "run", name) for name in "abc"
    ]
    assert [run["state"] for run in runs] == ["queued", "scheduled", "scheduled"]
    assert runs[2]["scheduled_at"] - runs[0]["scheduled_at"] == timedelta(seconds=20)


async def test_bad_item_refuses_the_whole_list_and_is_named(station: Station) -> None:
    async with station.scheduler():
        problem = await station.ask(
            list={"items": [{"name": "a"}] * 700 + [{"name": 5, "urgency": "x"}]}, parameters={}
        )
    assert "list.items.700" in str(problem["detail"])
    assert await station.fetch("SELECT FROM penstock.lists") == []


async def test_list_is_finished_and_announced_when_all_its_runs_have_ended(station: Station) -> None:
    room = station.furnish()
    list_id = await store_list(station, 3)
    await expand_lists(room)
    assert await finish(room) == 0
    await station.fetch("UPDATE penstock.runs SET state = 'succeeded', finished_at = clock_timestamp()")
    finished = await asyncio.gather(finish(room), finish(station.furnish()))
    assert sum(finished) == 1
    await eventually(lambda: f"{ENVIRONMENT}.list.finished" in station.events.routing_keys)
    event = ListEvent.decode(station.events.messages[-1].body)
    assert (event.list_id, event.total, event.succeeded) == (list_id, 3, 3)


async def finish(room: Room) -> int:
    """How many lists are finished when all ends that were noted have been applied."""
    finished = 0
    while (counts := await settle_ends(room)).done["ends"]:
        finished += counts.done["finished"]
    return finished + (await finish_lists(room)).done["finished"]


async def end_runs(station: Station, state: str, *names: str) -> None:
    await station.fetch(
        """
        UPDATE penstock.runs SET state = $1, finished_at = clock_timestamp(), dispatched_at = clock_timestamp()
        WHERE finished_at IS NULL AND (parameters ->> 'name' = ANY($2::text[]) OR $2::text[] = '{}')
        """,
        state,
        names,
    )


async def test_list_that_had_finished_is_open_until_what_a_resume_readmits_has_ended(station: Station) -> None:
    async with station.scheduler():
        parent = UUID(str((await station.ask())["run_id"]))
        await station.ask(
            list={"items": ["a", "b", "c"]}, parameters={"urgency": 2}, headers={"parent-run-id": str(parent)}
        )
        await eventually(lambda: count_is(station, 4))
    await end_runs(station, "succeeded", "a", "afar")
    chain, room = ChainName(parent, ENVIRONMENT), station.furnish()
    await stop_chain(station.database, chain, reason="", by="a test")
    assert await finish(room) == 1

    assert (await resume_chain(station.database, chain, grant=Grant(), by="a test")).resumed == 2
    (row,) = await station.fetch("SELECT state, finished_at FROM penstock.lists")
    assert (row["state"], row["finished_at"]) == ("expanded", None)
    assert await finish(room) == 0
    await end_runs(station, "succeeded", "b")
    await end_runs(station, "failed", "c")
    finished = await asyncio.gather(finish(room), finish(station.furnish()), finish(room))
    assert sum(finished) == 1
    await eventually(lambda: station.events.routing_keys.count(f"{ENVIRONMENT}.list.finished") == 2)
    events = [
        ListEvent.decode(message.body)
        for message, key in zip(station.events.messages, station.events.routing_keys, strict=True)
        if key == f"{ENVIRONMENT}.list.finished"
    ]
    assert [(one.succeeded, one.failed, one.cancelled) for one in events] == [(1, 0, 2), (2, 1, 0)]


async def test_list_that_had_finished_is_open_until_a_run_that_is_retried_has_ended(station: Station) -> None:
    room = station.furnish()
    await store_list(station, 2)
    await expand_lists(room)
    await end_runs(station, "failed")
    assert await finish(room) == 1
    run = (await station.runs())[0]
    await station.database.in_transaction(
        lambda conn: retry_run(conn, environment=ENVIRONMENT, run_id=run["id"], asked=Retry("a test"))
    )
    assert await finish(room) == 0
    await end_runs(station, "succeeded")
    assert await finish(room) == 1


async def test_list_is_not_finished_while_a_resume_takes_its_runs_up(station: Station) -> None:
    room = station.furnish()
    list_id = await store_list(station, 1)
    await expand_lists(room)
    await end_runs(station, "failed")
    (run,) = await station.runs()
    async with station.database.connection() as conn, conn.transaction():
        await retry_run(conn, environment=ENVIRONMENT, run_id=run["id"], asked=Retry("a test"))
        finishing = asyncio.create_task(finish(room))  # to it, the run has still ended
        await asyncio.wait({finishing}, timeout=0.2)
    assert await finishing == 0
    assert await finish(room) == 0
    assert await state_is(station, list_id, "expanded")


async def test_sequential_list_of_a_stopped_chain_stays_where_it_is(station: Station) -> None:
    async with station.scheduler():
        parent = UUID(str((await station.ask())["run_id"]))
    chain, room = ChainName(parent, ENVIRONMENT), station.furnish()
    await store_list(station, 3, is_sequential=True)
    await station.fetch("UPDATE penstock.lists SET parent_run_id = $1", parent)
    await advance_sequential(room)
    await stop_chain(station.database, chain, reason="", by="a test")
    await advance_sequential(room)
    assert await count_is(station, 2)
    await resume_chain(station.database, chain, grant=Grant(), by="a test")
    await advance_sequential(room)
    assert await count_is(station, 2), "the first item is under way again"
    await end_runs(station, "succeeded")
    assert await finish(room) == 0
    await advance_sequential(room)
    assert await count_is(station, 3)


async def test_sequential_list_starts_each_run_when_the_one_before_has_ended(station: Station) -> None:
    rooms = [station.furnish(), station.furnish()]
    await store_list(station, 3, is_sequential=True)
    assert await expand_chunk(rooms[0]) is None
    last = 0
    for number in range(3):
        for _ in range(2):
            await asyncio.gather(*(advance_sequential(room) for room in rooms))
        runs = [run for run in await station.runs() if run["state"] == "queued"]
        assert [run["parameters"]["name"] for run in runs] == [str(number)]
        await station.fetch(
            "UPDATE penstock.runs SET state = 'failed', finished_at = clock_timestamp() WHERE state = 'queued'"
        )
        last = await finish(rooms[0])
    assert last == 1, "the last item is the end of the list"
    await advance_sequential(rooms[0])
    assert await finish(rooms[0]) == 0


async def test_list_whose_items_no_longer_fit_fails_and_says_so(station: Station) -> None:
    list_id = await store_list(station, 3)
    await station.deploy(WORKFLOWS.replace("name: text", "name: number").replace("${params.name}", "noted"))
    room = station.furnish()
    await expand_lists(room)
    (stored,) = await station.fetch("SELECT * FROM penstock.lists")
    assert (stored["id"], stored["state"], stored["error"]["kind"]) == (list_id, "failed", "invalid_parameter")
    (line,) = await station.fetch("SELECT * FROM penstock.logs WHERE level = 'error'")
    assert "item 0" in line["message"]
    assert await station.runs() == []


async def test_list_that_cannot_be_stored_fails_and_others_go_on(station: Station) -> None:
    bad, good = await store_list(station, 2), await store_list(station, 2)
    # As if a definition had let through what a column refuses.
    await station.fetch("UPDATE penstock.lists SET priority = 99 WHERE id = $1", bad)
    room = station.furnish()
    with pytest.raises(Exception, match="priority"):
        await expand_lists(room)
    await expand_lists(room)
    states = {row["id"]: row["state"] for row in await station.fetch("SELECT id, state FROM penstock.lists")}
    assert states == {bad: "failed", good: "expanded"}


async def test_chunk_is_expanded_while_the_one_before_is_under_way(station: Station) -> None:
    room, list_id = station.furnish(), await store_list(station, 1500)
    async with station.database.connection() as conn, conn.transaction():
        await conn.execute(
            """
            INSERT INTO penstock.runs (id, chain_id, environment, workflow, trigger, state, depth, scheduled_at)
            VALUES ($1, $1, $2, 'afar', 'run', 'scheduled', 0, 'infinity')
            """,
            child_run_id(list_id, "0"),
            ENVIRONMENT,
        )
        expanding = asyncio.create_task(expand_lists(room))  # the first chunk waits for whether that run is stored
        await eventually(lambda: count_is(station, 500))
        assert not expanding.done()
    assert (await expanding).done["admitted"] == 1500
    assert len(await station.runs()) == 1500


async def test_list_survives_a_deployment_between_two_chunks(station: Station) -> None:
    room = station.furnish()
    await store_list(station, 1500)
    await expand_chunk(room)
    await station.deploy(WORKFLOWS.replace("workflow: tidy", "workflow: tidier"))
    await expand_lists(room)
    assert len(await station.runs()) == 1500


async def test_list_beyond_the_depth_limit_is_terminated_run_by_run(station: Station) -> None:
    async with station.scheduler():
        await station.ask(list={"items": ["a", "b"]}, parameters={"urgency": 1}, headers={"depth": 11})
        await eventually(lambda: count_is(station, 2))
    assert {run["state"] for run in await station.runs()} == {"terminated"}
