"""Who steered what: every act of the management API is noted by the transaction that does it, with what was before."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest

from penstock.db import Connection
from penstock.domain.policies import SettingsChange
from penstock.runs.recurrences.rows import step_recurrence_id, trigger_recurrence_id
from penstock.runs.schedule.interventions import cancel_entry, move_run
from penstock.store.audit import Act, AuditAction, note_acts
from penstock.store.policies import change_settings
from tests.integration.ingress import Answer, Ingress, running_ingress, write_app

RECURRING = "workflow: tidy\non: {recurrence: {cron: '0 3 * * *'}}\nsteps: [{log: tidied}]\n"
THING = "1700000000000x100000000000000001"
TIDY = trigger_recurrence_id("live", "tidy", 0)
ADA = {"workflow": "greet", "parameters": {"name": "Ada"}}


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    """An ingress, and no executor."""
    directory = write_app(tmp_path)
    (directory / "workflows" / "recurring.yaml").write_text(RECURRING)
    async with running_ingress(database_url, amqp_url, directory) as running:
        yield running


def acts(answer: Answer) -> list[dict[str, object]]:
    assert answer.status == 200, answer.body
    return cast("list[dict[str, object]]", answer.json["results"])


async def audited(ingress: Ingress, query: str = "") -> list[dict[str, object]]:
    return acts(await ingress.manage("GET", f"/v1/live/audit{query}"))


async def do(ingress: Ingress, method: str, path: str, body: object = None) -> Answer:
    answer = await ingress.manage(method, f"/v1/live/{path}", json=body)
    assert answer.status in {200, 201, 202}, answer.body
    return answer


async def test_a_changed_setting_is_noted_with_who_when_before_and_after(ingress: Ingress) -> None:
    await do(ingress, "PUT", "settings", {"depth_limit": 25, "depth_policy": "terminate"})
    (act,) = await audited(ingress)
    assert act["before"] == {"depth_limit": 10}
    assert act["after"] == {"depth_limit": 25}
    assert (act["actor"], act["action"], act["subject"]) == ("admin", "settings.set", "")
    assert abs(datetime.fromisoformat(str(act["at"])) - datetime.now(UTC)) < timedelta(minutes=5)
    assert acts(await ingress.manage("GET", "/v1/development/audit")) == []


async def test_what_changes_nothing_is_not_noted(ingress: Ingress) -> None:
    run = (await do(ingress, "POST", "runs", ADA)).json["id"]
    await do(ingress, "PUT", "settings", {"depth_limit": 10})
    await do(ingress, "PUT", "workload/weights", {"weights": {}})
    await do(ingress, "POST", f"recurrences/{TIDY}/resume")
    assert (await ingress.manage("POST", f"/v1/live/runs/{run}/retry")).status == 409
    assert (await ingress.manage("PUT", "/v1/live/settings", json={"depth_limit": -1})).status == 422
    assert await audited(ingress) == []


async def test_every_act_on_runs_and_recurrences_is_noted_once(ingress: Ingress) -> None:
    run, failed = [str((await do(ingress, "POST", "runs", ADA)).json["id"]) for _ in range(2)]
    async with ingress.database.connection() as conn:
        await conn.execute(
            "UPDATE penstock.runs SET state = 'failed', finished_at = clock_timestamp(), attempt = 1 WHERE id = $1",
            UUID(failed),
        )
    await do(ingress, "POST", f"runs/{run}/cancel")
    await do(ingress, "POST", f"runs/{run}/cancel")
    await do(ingress, "POST", f"runs/{failed}/retry")
    await do(ingress, "PUT", "workload/weights", {"weights": {"call": 0.5}})
    await do(ingress, "POST", "recurrences", {"workflow": "tidy", "every": "daily", "thing": THING})
    for verb in ("pause", "pause", "resume", "trigger"):
        await do(ingress, "POST", f"recurrences/{TIDY}/{verb}")
    now = datetime.now(UTC)
    period = {"since": (now - timedelta(days=3)).isoformat(), "until": now.isoformat()}
    await do(ingress, "POST", f"recurrences/{TIDY}/backfill", period)
    made = step_recurrence_id("live", "tidy", THING)
    await do(ingress, "DELETE", f"recurrences/{made}")
    await do(ingress, "POST", f"chains/{run}/stop", {"reason": "it loops"})
    await do(ingress, "POST", f"chains/{run}/stop")
    await do(ingress, "POST", f"chains/{run}/resume", {"extra_depth": 5})
    noted = [(act["action"], act["subject"]) for act in reversed(await audited(ingress))]
    assert noted == [
        ("run.cancel", run),
        ("run.retry", failed),
        ("weights.set", ""),
        ("recurrence.create", str(made)),
        *((f"recurrence.{verb}", str(TIDY)) for verb in ("pause", "resume", "trigger", "backfill")),
        ("recurrence.delete", str(made)),
        ("chain.stop", run),
        ("chain.resume", run),
    ]
    assert {act["actor"] for act in await audited(ingress)} == {"admin"}


async def test_the_audit_is_filtered_and_paged_without_a_gap_or_a_copy(ingress: Ingress) -> None:
    at = "at = timestamptz '2030-01-01 00:00:00Z' + (id / 3) * interval '1 minute'"  # three share each time
    async with ingress.database.connection() as conn:
        await note_acts(
            conn,
            [Act("live", "cli:ops", AuditAction.RUN_CANCEL, str(number)) for number in range(10)]
            + [
                Act("live", "admin", AuditAction.SECRET_SET, "KEY"),
                Act("development", "admin", AuditAction.APP_DEPLOY),
            ],
        )
        await conn.execute(f"UPDATE penstock.audit SET {at}")
    subjects: list[object] = []
    after = ""
    while True:
        answer = await ingress.manage("GET", f"/v1/live/audit?limit=4&actor=cli:ops{after}")
        subjects += [act["subject"] for act in acts(answer)]
        if answer.json["after"] is None:
            break
        after = f"&after={answer.json['after']}"
    assert subjects == [str(number) for number in reversed(range(10))]
    assert [act["subject"] for act in await audited(ingress, "?action=secret")] == ["KEY"]
    assert [act["subject"] for act in await audited(ingress, "?action=secret.set")] == ["KEY"]
    assert await audited(ingress, "?action=secret.remove") == []
    assert len(await audited(ingress, "?since=2030-01-01T00:01:00Z&until=2030-01-01T00:02:00Z")) == 3


@pytest.mark.parametrize(
    ("query", "status", "detail"),
    [
        ("by=admin", 422, "unknown query parameter 'by'; known are actor, action, since, until, after, limit"),
        ("limit=0", 400, "limit: expected"),
        ("since=yesterday", 400, "since: expected"),
        ("after=bogus", 400, "after: expected"),
        ("actor=%00", 400, "actor: expected text without NUL"),
    ],
)
async def test_a_query_that_cannot_be_meant_is_refused(ingress: Ingress, query: str, status: int, detail: str) -> None:
    answer = await ingress.manage("GET", f"/v1/live/audit?{query}")
    assert (answer.status, detail in str(answer.json["detail"])) == (status, True), answer.json


async def test_a_change_that_is_taken_back_leaves_no_note(ingress: Ingress) -> None:
    async def change(conn: Connection) -> None:
        await change_settings(conn, environment="live", change=SettingsChange(depth_limit=99), actor="admin")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ingress.database.in_transaction(change)
    assert await audited(ingress) == []
    assert (await ingress.manage("GET", "/v1/live/settings")).json["depth_limit"] == 10


async def test_what_is_cancelled_or_moved_is_noted_by_the_transaction_that_does_it(ingress: Ingress) -> None:
    run = UUID(str((await do(ingress, "POST", "runs", {**ADA, "after": "1h"})).json["id"]))

    async def act(conn: Connection) -> None:
        await move_run(conn, environment="live", run_id=run, to=timedelta(hours=2), by="a test", actor="cli:ops")
        await cancel_entry(conn, environment="live", id=run, by="a test", actor="cli:ops")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ingress.database.in_transaction(act)
    assert await audited(ingress) == []
    cancel = partial(cancel_entry, environment="live", id=run, by="a test", actor="cli:ops")
    await ingress.database.in_transaction(cancel)
    (noted,) = await audited(ingress)
    assert (noted["action"], noted["actor"], noted["subject"]) == ("schedule.cancel", "cli:ops", str(run))


async def test_acts_on_the_schedule_are_noted(ingress: Ingress) -> None:
    runs = [str((await do(ingress, "POST", "runs", {**ADA, "after": "1h"})).json["id"]) for _ in range(2)]
    await do(ingress, "POST", "schedule/pause", {"workflow": "greet", "note": "wait"})
    await do(ingress, "POST", "schedule/pause", {"workflow": "greet"})
    await do(ingress, "POST", "schedule/resume", {"workflow": "greet", "missed": "drop"})
    await do(ingress, "POST", f"schedule/{runs[0]}/move", {"after": "2h"})
    await do(ingress, "DELETE", f"schedule/{runs[0]}")
    begun = await do(ingress, "DELETE", "schedule?workflow=greet")
    found = [
        (act["action"], act["before"], act["after"])
        for act in await audited(ingress)
        if "schedule" in str(act["action"])
    ]
    assert found[::-1] == [
        ("schedule.pause", None, {"workflow": "greet", "note": "wait"}),
        ("schedule.resume", {"workflow": "greet", "note": "wait"}, {"missed": "drop"}),
        ("schedule.move", None, {"after_seconds": 7200.0}),
        ("schedule.cancel", None, {"cancelled": 1, "items": 0}),
        ("schedule.cancel", {"workflow": "greet"}, {"operation": begun.json["id"], "total": 1}),
    ]
