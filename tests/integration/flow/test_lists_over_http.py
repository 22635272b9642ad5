"""Lists over the management API: begun, shown with their progress, paused, resumed, cancelled, and retried."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from penstock.broker.inprocess import InProcessBroker
from penstock.contracts.topology import topology
from penstock.runtime import Resources, Stop
from penstock_executor.repository.claims import claim_runs
from penstock_scheduler.loops.ends import settle_ends
from penstock_scheduler.loops.list_expansion import expand_lists
from penstock_scheduler.loops.list_feeding import feed_lists
from penstock_scheduler.loops.operations import work_off_operations
from penstock_scheduler.loops.pausing import hold_back
from penstock_scheduler.room import Room, furnish
from tests.integration.ingress import ADMIN, Ingress, running_ingress, write_app
from tests.integration.scheduling import build_settings

APP = "workflow: remind\nparameters: {number: number}\nsteps: [{log: hello}]"
LISTS = "/v1/live/lists"
ITEMS = [{"number": number} for number in range(5)]


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    """An ingress with the app, and neither scheduler nor executor."""
    async with running_ingress(database_url, amqp_url, write_app(tmp_path, more=APP)) as running:
        yield running


async def begin(ingress: Ingress, **more: object) -> dict[str, Any]:
    answer = await ingress.manage("POST", LISTS, json={"workflow": "remind", "items": ITEMS, **more})
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.json
    return made


async def show(ingress: Ingress, made: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = (await ingress.manage("GET", f"{LISTS}/{made['id']}")).json
    return shown


async def furnish_room(ingress: Ingress) -> Room:
    broker = InProcessBroker(topology())
    return furnish(build_settings(), Resources(ingress.database, broker), Stop())


async def end(ingress: Ingress, state: str, *numbers: int) -> None:
    async with ingress.database.connection() as conn:
        await conn.execute(
            """
            UPDATE penstock.runs SET state = $1, finished_at = clock_timestamp(), dispatched_at = clock_timestamp()
            WHERE (parameters ->> 'number')::int = ANY($2::int[])
            """,
            state,
            numbers,
        )


async def test_a_list_shows_how_far_it_is(ingress: Ingress) -> None:
    made = await begin(ingress)
    assert (made["state"], made["total"], made["scheduled"], made["remaining"]) == ("expanding", 5, 5, 5)
    room = await furnish_room(ingress)
    await expand_lists(room)
    await end(ingress, "succeeded", 0, 1)
    await end(ingress, "failed", 2)
    await settle_ends(room)
    shown = await show(ingress, made)
    assert (shown["state"], shown["succeeded"], shown["failed"], shown["remaining"]) == ("expanded", 2, 1, 2)
    assert shown["rate"] > 0
    assert shown["expected_end"] is not None
    await end(ingress, "succeeded", 3, 4)
    await settle_ends(room)
    shown = await show(ingress, made)
    assert (shown["state"], shown["remaining"], shown["expected_end"]) == ("finished", 0, None)
    page: Any = (await ingress.manage("GET", f"{LISTS}?workflow=remind&open=false")).json
    assert [one["id"] for one in page["results"]] == [made["id"]]
    assert (await ingress.manage("GET", f"{LISTS}?open=true")).json["results"] == []


async def test_progress_counts_what_has_ended_before_a_scheduler_applies_it(ingress: Ingress) -> None:
    made = await begin(ingress)
    room = await furnish_room(ingress)
    await expand_lists(room)
    await end(ingress, "succeeded", 0, 1)
    await settle_ends(room)
    await end(ingress, "failed", 2)
    await end(ingress, "skipped", 3)
    shown = await show(ingress, made)
    counted = [shown[name] for name in ("succeeded", "failed", "skipped", "cancelled", "terminated", "remaining")]
    assert counted == [2, 1, 1, 0, 0, 1]
    page: Any = (await ingress.manage("GET", f"{LISTS}?open=true")).json
    assert [one["failed"] for one in page["results"]] == [1]
    await settle_ends(room)
    assert [(await show(ingress, made))[name] for name in ("succeeded", "failed", "skipped", "remaining")] == [
        2,
        1,
        1,
        1,
    ]


async def test_items_may_be_anything_that_with_makes_parameters_of(ingress: Ingress) -> None:
    await begin(ingress, items=["a", "b"], **{"with": {"number": "${index * 10}"}}, after="1h", interval="10s")
    await expand_lists(await furnish_room(ingress))
    async with ingress.database.connection() as conn:
        rows = await conn.fetch("SELECT parameters, scheduled_at FROM penstock.runs ORDER BY scheduled_at")
    assert [row["parameters"] for row in rows] == [{"number": 0}, {"number": 10}]
    assert (rows[1]["scheduled_at"] - rows[0]["scheduled_at"]).total_seconds() == 10


@pytest.mark.parametrize(
    ("given", "status", "detail"),
    [
        ({"workflow": "nobody"}, 404, "no workflow 'nobody'"),
        ({"items": [{"number": 1}, {"number": "x"}]}, 422, "items.1:"),
        ({"items": [1]}, 422, "items.0: expected an object of parameters"),
        ({"items": []}, 422, "items"),
        ({"with": {"number": "${"}}, 422, "with"),
        ({"with": {"number": "${item.number.x.y + 'a'}"}}, 422, "items.0:"),
        ({"at": "2030-01-01T00:00:00Z", "after": "1h"}, 422, "either `at` or `after`"),
        ({"interval": "soon"}, 422, "interval"),
        ({"intervall": "1s"}, 422, "intervall"),
    ],
)
async def test_what_does_not_fit_is_refused_as_a_whole(
    ingress: Ingress, given: dict[str, object], status: int, detail: str
) -> None:
    answer = await ingress.manage("POST", LISTS, json={"workflow": "remind", "items": ITEMS, **given})
    assert (answer.status, detail in str(answer.json["detail"])) == (status, True), answer.body
    assert (await ingress.manage("GET", LISTS)).json["results"] == []


async def test_a_list_is_paused_and_resumed(ingress: Ingress) -> None:
    made = await begin(ingress)
    paused = (await ingress.manage("POST", f"{LISTS}/{made['id']}/pause")).json
    assert paused["paused"] is True
    await expand_lists(await furnish_room(ingress))
    async with ingress.database.connection() as conn:
        assert await conn.fetchval("SELECT count(*) FROM penstock.runs WHERE state = 'queued'") == 0
    assert (await ingress.manage("POST", f"{LISTS}/{made['id']}/resume")).json["paused"] is False


async def test_a_cancelled_list_gives_its_rest_up(ingress: Ingress) -> None:
    made, room = await begin(ingress), await furnish_room(ingress)
    await expand_lists(room)
    await end(ingress, "succeeded", 0)
    answer = await ingress.manage("POST", f"{LISTS}/{made['id']}/cancel")
    assert (answer.status, answer.json["done"]) == (202, 4)
    await settle_ends(room)
    shown = await show(ingress, made)
    assert (shown["state"], shown["succeeded"], shown["cancelled"]) == ("finished", 1, 4)


async def test_nothing_of_a_large_list_starts_while_it_is_being_cancelled(ingress: Ingress) -> None:
    made = await begin(ingress, items=[{"number": number} for number in range(1500)])
    room = await furnish_room(ingress)
    await expand_lists(room)
    answer = await ingress.manage("POST", f"{LISTS}/{made['id']}/cancel")
    assert (answer.json["state"], answer.json["done"]) == ("running", 1000)
    async with ingress.database.connection() as conn:
        left = [row["id"] for row in await conn.fetch("SELECT id FROM penstock.runs WHERE finished_at IS NULL")]
        claimed = await claim_runs(conn, run_ids=left, owner="an executor", lease=timedelta(minutes=1))
    assert (len(left), claimed) == (500, [])
    await work_off_operations(room)
    await settle_ends(room)
    shown = await show(ingress, made)
    assert (shown["state"], shown["cancelled"], shown["paused"]) == ("finished", 1500, False)
    assert await has_pauses_left(ingress, room) is False


async def test_the_pause_of_a_list_ends_with_it_and_may_be_set_again(ingress: Ingress) -> None:
    made, room = await begin(ingress), await furnish_room(ingress)
    await expand_lists(room)
    await ingress.manage("POST", f"{LISTS}/{made['id']}/pause")
    await end(ingress, "failed", 0)
    assert await has_pauses_left(ingress, room) is True
    await end(ingress, "succeeded", 1, 2, 3, 4)
    await settle_ends(room)
    assert await has_pauses_left(ingress, room) is False
    await ingress.manage("POST", f"{LISTS}/{made['id']}/pause")
    assert await has_pauses_left(ingress, room) is True
    await ingress.manage("POST", f"{LISTS}/{made['id']}/cancel")
    assert await has_pauses_left(ingress, room) is True


async def has_pauses_left(ingress: Ingress, room: Room) -> object:
    """Whether anything is paused, once schedulers have looked."""
    await hold_back(room)
    async with ingress.database.connection() as conn:
        return await conn.fetchval("SELECT has_pauses FROM penstock.environments WHERE name = 'live'")


async def test_items_that_never_became_runs_count_as_cancelled(ingress: Ingress) -> None:
    made = await begin(ingress)
    await ingress.manage("POST", f"{LISTS}/{made['id']}/cancel")
    shown = await show(ingress, made)
    assert (shown["cancelled"], shown["remaining"]) == (5, 0)


async def test_what_has_failed_of_a_list_is_retried(ingress: Ingress) -> None:
    made, room = await begin(ingress), await furnish_room(ingress)
    other = await begin(ingress, items=[{"number": 9}])
    await expand_lists(room)
    await expand_lists(room)
    await end(ingress, "failed", 0, 1, 9)
    await end(ingress, "succeeded", 2, 3, 4)
    await settle_ends(room)
    assert (await show(ingress, made))["state"] == "finished"
    answer = await ingress.manage("POST", f"{LISTS}/{made['id']}/retry")
    assert (answer.status, answer.json["done"]) == (202, 2)
    await settle_ends(room)
    shown = await show(ingress, made)
    assert (shown["state"], shown["failed"], shown["remaining"]) == ("expanded", 0, 2)
    assert (await show(ingress, other))["failed"] == 1


async def test_a_list_that_is_not_there_is_404(ingress: Ingress) -> None:
    nobody = UUID(int=7)
    for method, path in (("GET", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/cancel"), ("POST", "/retry")):
        assert (await ingress.manage(method, f"{LISTS}/{nobody}{path}")).status == 404


async def test_what_is_to_follow_a_list_is_checked_when_it_begins(ingress: Ingress) -> None:
    made = await begin(ingress, then="remind", then_with={"number": "${list.failed + 1}"})
    assert (made["then"], made["then_run_id"]) == ("remind", None)
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({"then": "remnd"}, "then: no workflow"),
        ({"then": "remind", "then_with": {"number": "${params.n}"}}, "then_with: unknown name 'params'; known is list"),
        ({"then_with": {"number": 1}}, "then_with: it needs `then`"),
        ({"then": "remind", "then_with": {"number": "${"}}, "then_with"),
    )
    for more, said in refused:
        answer = await ingress.manage("POST", LISTS, json={"workflow": "remind", "items": ITEMS, **more})
        assert answer.status == 422
        assert said in str(answer.json)


async def add_users(ingress: Ingress, count: int) -> None:
    async with ingress.database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO live."user" (_id, created_date, modified_date, email)
            SELECT n || 'x1', now() - interval '1 hour' + n * interval '1 ms', now(), n || '@example.com'
            FROM generate_series(1, $1::int) n
            """,
            count,
        )


async def test_a_list_over_a_search_finds_its_things_chunk_by_chunk(ingress: Ingress) -> None:
    await add_users(ingress, 1500)
    where = [{"key": "email", "constraint_type": "not equal", "value": "7@example.com"}]
    asked = {"workflow": "remind", "find": "user", "where": where, "with": {"number": "${index}"}}
    answer = await ingress.manage("POST", LISTS, json=asked)
    assert (answer.status, answer.json["total"], answer.json["state"]) == (201, 1499, "expanding"), answer.json
    room = await furnish_room(ingress)
    await feed_lists(room)
    await expand_lists(room)
    async with ingress.database.connection() as conn:
        numbers = await conn.fetch("SELECT (parameters->>'number')::int AS n FROM penstock.runs ORDER BY 1")
    assert [row["n"] for row in numbers] == list(range(1499))
    assert (await show(ingress, answer.json))["state"] == "expanded"


async def test_a_list_is_estimated_before_it_is_begun(ingress: Ingress) -> None:
    await add_users(ingress, 1200)
    asked: dict[str, Any] = {"workflow": "remind", "find": "user", "with": {"number": "${index}"}}
    spread = {**asked, "interval": "2s"}
    first = (await ingress.manage("POST", f"{LISTS}/estimate", json=spread)).json
    assert (first["runs"], first["depth"], first["seconds"], first["measured_runs"]) == (1200, 0, None, 0)
    async with ingress.database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO penstock.runs (
                id, chain_id, environment, workflow, trigger, state, depth, created_at, scheduled_at, dispatched_at,
                started_at, finished_at, workload
            )
            SELECT i.id, i.id, 'live', 'remind', 'api', 'succeeded', 0, now(), now(), now(), now(),
                   now() + interval '1 second', 0.5
            FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, 4)) i
            """
        )
    parallel = (await ingress.manage("POST", f"{LISTS}/estimate", json=spread)).json
    assert (parallel["seconds"], parallel["workload"], parallel["measured_runs"]) == (2399.0, 600.0, 4)
    sequential = (await ingress.manage("POST", f"{LISTS}/estimate", json={**asked, "sequential": True})).json
    assert (sequential["seconds"], sequential["last_due_at"]) == (1200.0, None)
    assert (await ingress.manage("GET", LISTS)).json["results"] == []


async def test_a_list_that_is_asked_for_again_is_begun_once(ingress: Ingress) -> None:
    key, asked = {**ADMIN, "Idempotency-Key": "monday"}, {"workflow": "remind", "items": ITEMS}
    first = await ingress.manage("POST", LISTS, json=asked, headers=key)
    again = await ingress.manage("POST", LISTS, json=asked, headers=key)
    other = await ingress.manage("POST", LISTS, json={**asked, "sequential": True}, headers=key)
    assert (first.status, again.status, other.status) == (201, 200, 422)
    assert first.json["id"] == again.json["id"]
    assert again.headers["idempotent-replayed"] == "true"
    listed: Any = (await ingress.manage("GET", LISTS)).json
    assert [one["id"] for one in listed["results"]] == [first.json["id"]]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "give either `items`, or `find` with a data type"),
        ({"items": ITEMS, "find": "user"}, "give either `items`, or `find` with a data type"),
        ({"items": ITEMS, "where": {}}, "where: it belongs to `find`"),
        ({"find": "user"}, "with: `find` needs it"),
        ({"find": "usr", "with": {"number": 1}}, "find: live has no data type 'usr'"),
        ({"find": "user", "where": {"nope": 1}, "with": {"number": 1}}, "where: "),
    ],
)
async def test_what_a_list_is_made_of_is_checked(ingress: Ingress, given: dict[str, object], said: str) -> None:
    answer = await ingress.manage("POST", LISTS, json={"workflow": "remind", **given})
    assert answer.status == 422
    assert said in str(answer.json)
