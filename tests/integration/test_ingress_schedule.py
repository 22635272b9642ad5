"""The management API's verbs about what is coming, over real HTTP: look, cancel, move, pause, resume."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from urllib.parse import quote
from uuid import UUID

import pytest

from penstock import clock
from penstock.db import Connection
from penstock.domain.ids import new_run_id
from penstock.runs.lists import ListRequest, insert_list
from penstock.runs.recurrences.rows import trigger_recurrence_id
from tests.integration.ingress import Answer, Ingress, running_ingress, write_app

APP = """
workflow: tidy
on: {recurrence: {cron: "0 3 * * *"}}
steps: [{log: tidied}]
---
workflow: remind
parameters: {who: {type: text, optional: true}}
steps: [{log: "${params.who}"}]
"""
PATH = "/v1/live/schedule"
TIDY = trigger_recurrence_id("live", "tidy", 0)
NOBODY = "0190a5f2-7c00-8a11-9b22-0123456789ab"


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    directory = write_app(tmp_path)
    (directory / "workflows" / "coming.yaml").write_text(APP)
    async with running_ingress(database_url, amqp_url, directory) as running:
        yield running


async def schedule(ingress: Ingress, after: str, workflow: str = "remind") -> str:
    answer = await ingress.manage("POST", "/v1/live/runs", json={"workflow": workflow, "after": after})
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


async def let_wait(ingress: Ingress, run_id: str, until: datetime) -> None:
    async with ingress.database.connection() as conn:
        await conn.execute("UPDATE penstock.runs SET state = 'waiting' WHERE id = $1", UUID(run_id))
        await conn.execute(
            "INSERT INTO penstock.waits (run_id, environment, step, until) VALUES ($1, 'live', 'nap', $2)",
            UUID(run_id),
            until,
        )


async def store_list(ingress: Ingress, start_at: datetime) -> str:
    request = ListRequest(new_run_id(), "live", "remind", start_at, is_sequential=True)

    async def store(conn: Connection) -> None:
        await insert_list(conn, request=request, parameters=[{"who": f"{number}"} for number in range(3)])

    await ingress.database.in_transaction(store)
    return str(request.id)


def entries(answer: Answer) -> list[dict[str, object]]:
    assert answer.status == 200, answer.body
    return cast("list[dict[str, object]]", answer.json["results"])


async def test_all_kinds_of_what_is_coming_are_listed_in_order_page_by_page(ingress: Ingress) -> None:
    waiting, list_id = await schedule(ingress, "1s"), await store_list(ingress, clock.now() + timedelta(days=9))
    runs = [await schedule(ingress, after) for after in ("10d", "5d", "5d")]
    await let_wait(ingress, waiting, datetime.now(UTC) + timedelta(days=7))
    whole = entries(await ingress.manage("GET", PATH))
    kinds = [entry["kind"] for entry in whole]
    assert (kinds, whole[-2]["remaining"]) == (["tick", "run", "run", "wait", "list", "run"], 3)
    assert [entry["id"] for entry in whole][3:] == [waiting, list_id, runs[0]]
    assert sorted(str(entry["at"]) for entry in whole) == [entry["at"] for entry in whole]
    page = await ingress.manage("GET", f"{PATH}?limit=1")
    found = entries(page)
    while page.json["after"] is not None:
        page = await ingress.manage("GET", f"{PATH}?limit=1&after={page.json['after']}")
        found += entries(page)
    assert found == whole


async def test_what_is_coming_is_filtered(ingress: Ingress) -> None:
    soon, late = await schedule(ingress, "1h"), await schedule(ingress, "3d")
    list_id = await store_list(ingress, clock.now() + timedelta(days=1))
    middle = quote((datetime.now(UTC) + timedelta(days=2)).isoformat())
    expected = {
        f"workflow=remind&until={middle}": {soon, list_id},
        f"workflow=remind&since={middle}": {late},
        f"list={list_id}": {list_id},
        f"chain={late}": {late},
        "workflow=tidy": {str(TIDY)},
        "workflow=nobody": set(),
    }
    for query, ids in expected.items():
        assert {entry["id"] for entry in entries(await ingress.manage("GET", f"{PATH}?{query}"))} == ids, query
    assert entries(await ingress.manage("GET", "/v1/development/schedule?workflow=remind")) == []


async def test_what_is_coming_is_cancelled_by_filter(ingress: Ingress) -> None:
    soon, late = await schedule(ingress, "1h"), await schedule(ingress, "3d")
    other = await schedule(ingress, "1h", "tidy")
    await store_list(ingress, clock.now() + timedelta(days=1))
    middle = quote((datetime.now(UTC) + timedelta(days=2)).isoformat())
    answer = await ingress.manage("DELETE", f"{PATH}?workflow=remind&until={middle}")
    assert (answer.status, answer.json["state"], answer.json["done"], answer.json["items"]) == (202, "finished", 1, 3)
    states = {run: (await ingress.manage("GET", f"/v1/live/runs/{run}")).json["state"] for run in (soon, late, other)}
    assert list(states.values()) == ["cancelled", "scheduled", "scheduled"]
    everything = await ingress.manage("DELETE", f"{PATH}?all=true")
    assert (everything.json["done"], everything.json["items"], everything.json["filter"]) == (2, 0, {})
    assert [entry["kind"] for entry in entries(await ingress.manage("GET", PATH))] == ["tick"]


async def test_one_of_what_is_coming_is_cancelled_whatever_it_is(ingress: Ingress) -> None:
    run, list_id = await schedule(ingress, "1h"), await store_list(ingress, clock.now() + timedelta(days=1))
    before = (await ingress.manage("GET", f"/v1/live/recurrences/{TIDY}")).json
    answers = [(await ingress.manage("DELETE", f"{PATH}/{id}")).json for id in (run, TIDY, list_id)]
    assert answers == [{"cancelled": 1, "items": 0}, {"cancelled": 1, "items": 0}, {"cancelled": 0, "items": 3}]
    after = (await ingress.manage("GET", f"/v1/live/recurrences/{TIDY}")).json
    next_tick = datetime.fromisoformat(str(before["next_tick_at"])) + timedelta(days=1)
    assert (datetime.fromisoformat(str(after["next_tick_at"])), after["skipped"]) == (next_tick, 1)
    again = await ingress.manage("DELETE", f"{PATH}/{run}")
    assert (again.status, again.json["code"], again.json["state"]) == (409, "not_coming", "cancelled")


async def test_a_run_is_moved_and_one_that_waits_for_nothing_is_not(ingress: Ingress) -> None:
    run, waiting = await schedule(ingress, "1h"), await schedule(ingress, "1h")
    await let_wait(ingress, waiting, datetime.now(UTC) + timedelta(days=7))
    at = (datetime.now(UTC) + timedelta(days=30)).replace(microsecond=0)
    moved = await ingress.manage("POST", f"{PATH}/{run}/move", json={"at": at.isoformat()})
    assert datetime.fromisoformat(str(moved.json["scheduled_at"])) == at
    assert (await ingress.manage("POST", f"{PATH}/{waiting}/move", json={"after": "31d"})).status == 200
    assert [entry["id"] for entry in entries(await ingress.manage("GET", PATH))][1:] == [run, waiting]
    early = await ingress.manage("POST", f"{PATH}/{run}/move", json={"at": "2001-01-01T00:00:00Z"})
    assert datetime.fromisoformat(str(early.json["scheduled_at"])) > datetime.now(UTC) - timedelta(minutes=1)
    await ingress.manage("POST", f"/v1/live/runs/{run}/cancel")
    refused = await ingress.manage("POST", f"{PATH}/{run}/move", json={"after": "1h"})
    assert (refused.status, refused.json["state"]) == (409, "cancelled")


async def test_the_schedule_is_paused_and_resumed_once(ingress: Ingress) -> None:
    body = {"workflow": "remind", "note": "the bank is down"}
    first, again = [await ingress.manage("POST", f"{PATH}/pause", json=body) for _ in range(2)]
    assert (first.status, first.json["id"], first.json["note"]) == (200, again.json["id"], "the bank is down")
    started = await ingress.manage("POST", "/v1/live/runs", json={"workflow": "remind"})
    waiting_for = cast("dict[str, object]", started.json["waiting_for"])
    assert (started.json["state"], waiting_for["reason"], waiting_for["key"]) == (
        "scheduled", "paused", first.json["id"],
    )  # fmt: skip
    assert entries(await ingress.manage("GET", f"{PATH}/pauses")) == [first.json]
    assert [entry["paused"] for entry in entries(await ingress.manage("GET", PATH))] == [True, False]
    resumed = await ingress.manage("POST", f"{PATH}/resume", json={"workflow": "remind", "missed": "drop"})
    assert (resumed.status, resumed.json["resumed"], resumed.json["missed"]) == (200, [first.json], "drop")
    assert entries(await ingress.manage("GET", f"{PATH}/pauses")) == []
    assert (await ingress.manage("POST", f"{PATH}/resume", json={"workflow": "remind"})).status == 404
    assert (await ingress.manage("POST", f"{PATH}/resume", json={"all": True})).json["resumed"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("GET", "?workfow=remind", None, 422, "unknown query parameter 'workfow'"),
        ("GET", "?after=bm90aGluZw", None, 400, "after: expected what an earlier page gave"),
        ("GET", "?list=17", None, 400, "list: expected an id"),
        ("DELETE", "", None, 422, "send all=true"),
        ("DELETE", "?worklow=remind", None, 422, "unknown query parameter 'worklow'"),
        ("DELETE", "?workflow=", None, 422, "send all=true"),
        ("DELETE", "?all=yes", None, 400, "expected true or false"),
        ("DELETE", "?all=true&workflow=remind", None, 422, "either all=true or"),
        ("DELETE", f"/{NOBODY}", None, 404, "nothing with the id"),
        ("POST", f"/{NOBODY}/move", {"after": "1h"}, 404, "live has no run"),
        ("POST", f"/{NOBODY}/move", {}, 422, "give either `at` or `after`"),
        ("POST", f"/{NOBODY}/move", {"after": "soon"}, 422, "after"),
        ("POST", "/pause", {"workfow": "remind"}, 422, "workfow"),
        ("POST", "/pause", {"workflow": "a\x00b"}, 422, "workflow"),
        ("POST", "/resume", {}, 404, "live has no pause of exactly this filter"),
        ("POST", "/resume", {"missed": "forget"}, 422, "missed"),
        ("POST", "/resume", {"all": True, "workflow": "remind"}, 422, "either `all` or"),
    ],
)
async def test_what_cannot_be_done_says_why(
    ingress: Ingress, method: str, path: str, body: object, status: int, says: str
) -> None:
    run = await schedule(ingress, "1h")
    answer = await ingress.manage(method, f"{PATH}{path}", json=body)
    assert answer.status == status, answer.body
    assert says in str(answer.json["detail"])
    assert (await ingress.manage("GET", f"/v1/live/runs/{run}")).json["state"] == "scheduled"
