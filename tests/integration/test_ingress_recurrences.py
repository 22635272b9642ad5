"""The management API's verbs for recurrences, over real HTTP: look, set, pause, resume, start by hand, make up the
past, delete.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from zoneinfo import ZoneInfo

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


async def test_a_pause_says_why(ingress: Ingress) -> None:
    paused = await ingress.manage("POST", f"{PATH}/{TIDY}/pause", json={"note": "until the bank is back"})
    assert (paused.status, paused.json["pause_note"]) == (200, "until the bank is back")
    assert (await ingress.manage("POST", f"{PATH}/{TIDY}/resume")).json["pause_note"] is None
    assert (await ingress.manage("POST", f"{PATH}/{TIDY}/pause", json={"not": "why"})).status == 422


async def test_the_coming_ticks_of_a_recurrence_and_of_any_expression_are_shown(ingress: Ingress) -> None:
    answer = await ingress.manage("GET", f"{PATH}/{TIDY}/next?count=3")
    ticks = [datetime.fromisoformat(str(tick)) for tick in cast("list[str]", answer.json["results"])]
    assert [tick.astimezone(ZoneInfo("Europe/Paris")).hour for tick in ticks] == [3, 3, 3]
    (first, *_) = cast("list[str]", answer.json["results"])
    assert first == (await ingress.manage("GET", f"{PATH}/{TIDY}")).json["next_tick_at"]
    other = await ingress.manage("GET", f"{PATH}/next?cron=@daily&timezone=Asia/Tokyo&count=2")
    assert [datetime.fromisoformat(str(tick)).hour for tick in cast("list[str]", other.json["results"])] == [15, 15]
    for query, says in {
        "": "give an expression", "cron=bogus": "not a cron expression", "cron=@daily&timezone=X": "not a time zone",
        "cron=@daily&count=0": "a number from 1 to 1000", "cron=@daily&zone=UTC": "unknown query parameter",
    }.items():  # fmt: skip
        assert says in str((await ingress.manage("GET", f"{PATH}/next?{query}")).json["detail"])


async def test_what_became_of_ticks_is_shown_newest_first(ingress: Ingress) -> None:
    until = datetime.now(UTC)
    body = {"since": (until - timedelta(days=3)).isoformat(), "until": until.isoformat()}
    await ingress.manage("POST", f"{PATH}/{TIDY}/backfill", json=body)
    await ingress.manage("DELETE", f"/v1/live/schedule/{TIDY}")
    first = await ingress.manage("GET", f"{PATH}/{TIDY}/ticks?limit=2")
    rest = await ingress.manage("GET", f"{PATH}/{TIDY}/ticks?after={first.json['after']}")
    ticks = cast("list[dict[str, object]]", first.json["results"]) + cast(
        "list[dict[str, object]]", rest.json["results"]
    )
    assert [tick["outcome"] for tick in ticks] == ["skipped", "started", "started", "started"]
    assert (ticks[0]["run"], ticks[0]["reason"]) == (None, "cancelled by the management API")
    run = cast("dict[str, object]", ticks[1]["run"])
    shown = (await ingress.manage("GET", f"/v1/live/runs/{run['id']}")).json
    assert (shown["recurrence"], run["state"]) == ({"id": str(TIDY), "tick_at": ticks[1]["tick_at"]}, "queued")


async def test_one_is_set_with_an_end_a_number_of_times_and_a_limit_of_failures(ingress: Ingress) -> None:
    given = {"end": "2100-01-01T00:00:00Z", "times": 3, "overlap": "cancel_other", "pause_after_failures": 5}
    made = await ingress.manage("POST", PATH, json={**REMIND, **given})
    assert made.status == 200, made.body
    assert {name: made.json[name] for name in given} == given
    assert made.json["ticks_left"] == 3
    answer = await ingress.manage("GET", f"{PATH}/{made.json['id']}/next")
    assert len(cast("list[str]", answer.json["results"])) == 3


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
        ("", {**REMIND, "every": None, "cron": "61 * * * *"}, 422, "is not a cron expression"),
        ("", {**REMIND, "timezone": "Europe/Pari"}, 422, "is not a time zone"),
        ("", {**REMIND, "workflow": "remin"}, 404, "did you mean 'remind'"),
        ("", {**REMIND, "parameters": {}}, 422, "Missing parameter for workflow remind: parameter who"),
        ("", {**REMIND, "times": 0}, 422, "times"),
        ("", {**REMIND, "overlap": "cancel"}, 422, "overlap"),
        ("", {**REMIND, "pause_after_failures": 101}, 422, "pause_after_failures"),
        ("", {**REMIND, "start": "2030-01-02T00:00:00Z", "end": "2030-01-01T00:00:00Z"}, 422, "`end` is before"),
        (f"/{TIDY}/backfill", {"since": "2026-01-01T00:00:00Z"}, 422, "until"),
        (
            f"/{TIDY}/backfill",
            {"since": "2000-01-01T00:00:00Z", "until": "2020-01-01T00:00:00Z"},
            422,
            "more than 1000 ticks",
        ),
        (f"/{THING}/pause", {}, 404, "is not an id"),
        ("/0190a5f2-7c00-8a11-9b22-0123456789ab/trigger", {}, 404, "live has no recurrence"),
    ],
)
async def test_what_cannot_be_done_says_why(ingress: Ingress, path: str, body: object, status: int, says: str) -> None:
    answer = await ingress.manage("POST", f"{PATH}{path}", json=body)
    assert answer.status == status, answer.body
    assert says in str(answer.json["detail"])
    assert await ingress.count_runs() == 0
