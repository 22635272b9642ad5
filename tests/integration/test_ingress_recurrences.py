"""The management API's verbs for recurrences, over real HTTP: look, set, pause, resume, start by hand, make up the
past, delete.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from penstock.domain.states import RunState
from penstock.runs.recurrences.rows import step_recurrence_id, trigger_recurrence_id
from tests.integration.ingress import Answer, Ingress, running_ingress, write_app

APP = """
workflow: tidy
on: {recurrence: [{cron: "0 3 * * *", timezone: Europe/Paris, catch_up: 2h}, {cron: "30 4 * * *", overlap: queue}]}
steps: [{log: tidied}]
---
workflow: remind
parameters: {who: text}
steps: [{log: "${params.who}"}]
"""
PATH = "/v1/live/recurrences"
TIDY = trigger_recurrence_id("live", "tidy", 0)
THING = "1700000000000x100000000000000001"
REMIND: dict[str, object] = {"workflow": "remind", "parameters": {"who": "Ada"}, "every": "monthly", "thing": THING}


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    directory = write_app(tmp_path)
    (directory / "workflows" / "recurring.yaml").write_text(APP)
    async with running_ingress(database_url, amqp_url, directory) as running:
        yield running


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [str(found["id"]) for found in cast("list[dict[str, object]]", answer.json["results"])]


async def test_recurrences_are_listed_page_by_page_and_shown(ingress: Ingress) -> None:
    assert (await ingress.manage("POST", PATH, json=REMIND)).status == 200
    first = await ingress.manage("GET", f"{PATH}?limit=2")
    second = await ingress.manage("GET", f"{PATH}?limit=2&after={first.json['after']}")
    expected = {str(trigger_recurrence_id("live", "tidy", position)) for position in (0, 1)} | {
        str(step_recurrence_id("live", "remind", THING))
    }
    assert (set(ids(first) + ids(second)), len(ids(second)), second.json["after"]) == (expected, 1, None)
    assert len(ids(await ingress.manage("GET", f"{PATH}?workflow=tidy"))) == 2
    shown = (await ingress.manage("GET", f"{PATH}/{TIDY}")).json
    expected_fields = {
        "workflow": "tidy", "origin": "trigger", "state": "active", "cron": "0 3 * * *", "timezone": "Europe/Paris",
        "overlap": "skip",
        "catch_up_seconds": 7200.0, "last_run": None,
    }  # fmt: skip
    assert {name: shown[name] for name in expected_fields} == expected_fields
    assert datetime.fromisoformat(str(shown["next_tick_at"])) > datetime.now(UTC)
    assert (await ingress.manage("GET", f"/v1/development/recurrences/{TIDY}")).status == 404


async def test_one_is_paused_and_resumed(ingress: Ingress) -> None:
    for _ in range(2):
        assert (await ingress.manage("POST", f"{PATH}/{TIDY}/pause")).json["state"] == "paused"
    for _ in range(2):
        resumed = await ingress.manage("POST", f"{PATH}/{TIDY}/resume")
        assert (resumed.json["state"], resumed.json["paused_at"]) == ("active", None)


async def test_a_run_is_started_by_hand(ingress: Ingress) -> None:
    before = (await ingress.manage("GET", f"{PATH}/{TIDY}")).json
    run = await ingress.manage("POST", f"{PATH}/{TIDY}/trigger")
    assert (run.status, run.json["workflow"], run.json["state"], run.json["depth"]) == (200, "tidy", "queued", 0)
    shown = await ingress.manage("GET", f"/v1/live/runs/{run.json['id']}")
    assert shown.json["trigger"] == "recurrence"
    assert (await ingress.manage("GET", f"{PATH}/{TIDY}")).json == before
    assert await ingress.count_runs() == 1


async def test_the_past_is_made_up_once(ingress: Ingress) -> None:
    until = datetime.now(UTC)
    body = {"since": (until - timedelta(days=10)).isoformat(), "until": (until + timedelta(days=10)).isoformat()}
    made = await ingress.manage("POST", f"{PATH}/{TIDY}/backfill", json=body)
    assert (made.status, made.json["ticks"], len(cast("list[str]", made.json["run_ids"]))) == (200, 10, 10)
    again = await ingress.manage("POST", f"{PATH}/{TIDY}/backfill", json=body)
    assert (again.json["ticks"], again.json["run_ids"], await ingress.count_runs()) == (10, [], 10)
    async with ingress.database.connection() as conn:
        rows = await conn.fetch("SELECT context, state, scheduled_at FROM penstock.runs ORDER BY id")
    ticks = [datetime.fromisoformat(row["context"]["recurrence"]["tick_at"]) for row in rows]
    assert ticks == sorted(ticks)
    assert ticks[0] < until - timedelta(days=8)
    assert all(row["scheduled_at"] >= until - timedelta(minutes=1) for row in rows), "due now, whatever its tick's time"
    assert {row["state"] for row in rows} == {RunState.QUEUED.value}


async def test_one_that_was_set_is_replaced_and_deleted_and_that_of_a_trigger_is_not(ingress: Ingress) -> None:
    made = await ingress.manage("POST", PATH, json=REMIND)
    assert (made.json["every"], made.json["thing"], made.json["overlap"]) == ("monthly", THING, "allow")
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    replaced = await ingress.manage("POST", PATH, json={**REMIND, "start": start.isoformat()})
    assert (replaced.json["id"], replaced.json["parameters"]) == (made.json["id"], {"who": "Ada"})
    assert (
        start + timedelta(days=27)
        < datetime.fromisoformat(str(replaced.json["next_tick_at"]))
        < start + timedelta(days=32)
    )
    deleted = await ingress.manage("DELETE", f"{PATH}/{made.json['id']}")
    assert (deleted.status, deleted.json["id"]) == (200, made.json["id"])
    assert (await ingress.manage("DELETE", f"{PATH}/{made.json['id']}")).status == 404
    refused = await ingress.manage("DELETE", f"{PATH}/{TIDY}")
    assert (refused.status, refused.json["code"]) == (409, "is_trigger")


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("", {**REMIND, "cron": "0 3 * * *"}, 422, "give either `cron` or `every`"),
        ("", {**REMIND, "every": None}, 422, "give either `cron` or `every`"),
        ("", {**REMIND, "every": "hourly"}, 422, "every"),
        ("", {**REMIND, "every": None, "cron": "61 * * * *"}, 422, "is no cron expression"),
        ("", {**REMIND, "timezone": "Europe/Pari"}, 422, "is not a time zone"),
        ("", {**REMIND, "workflow": "remin"}, 404, "did you mean 'remind'"),
        ("", {**REMIND, "parameters": {}}, 422, "Missing parameter for workflow remind: parameter who"),
        (f"/{TIDY}/backfill", {"since": "2026-01-01T00:00:00Z"}, 422, "until"),
        (
            f"/{TIDY}/backfill",
            {"since": "2000-01-01T00:00:00Z", "until": "2020-01-01T00:00:00Z"},
            422,
            "more than 1000 ticks",
        ),
        (f"/{THING}/pause", {}, 404, "is no id"),
        ("/0190a5f2-7c00-8a11-9b22-0123456789ab/trigger", {}, 404, "live has no recurrence"),
    ],
)
async def test_what_cannot_be_done_says_why(ingress: Ingress, path: str, body: object, status: int, says: str) -> None:
    answer = await ingress.manage("POST", f"{PATH}{path}", json=body)
    assert answer.status == status, answer.body
    assert says in str(answer.json["detail"])
    assert await ingress.count_runs() == 0
