"""Many runs cancelled and retried by filter over the management API: answered at once, worked off by schedulers."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from penstock.broker.inprocess import InProcessBroker
from penstock.contracts.topology import topology
from penstock.domain.ids import keyed_run_id
from penstock.runs.operations import BATCH
from penstock.runtime import Resources, Stop
from penstock_scheduler.loops.operations import work_off_operations
from penstock_scheduler.room import furnish
from tests.integration.ingress import Answer, Ingress, running_ingress, write_app
from tests.integration.scheduling import build_settings

APP = "workflow: remind\nsteps: [{log: hello}]\n---\nworkflow: other\nsteps: [{log: hello}]"
NOBODY = "0190a5f2-7c00-8a11-9b22-0123456789ab"


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    """An ingress with the app, and neither scheduler nor executor."""
    async with running_ingress(database_url, amqp_url, write_app(tmp_path, more=APP)) as running:
        yield running


async def start(ingress: Ingress, *workflows: str) -> list[str]:
    return [
        str((await ingress.manage("POST", "/v1/live/runs", json={"workflow": name, "after": "1h"})).json["id"])
        for name in workflows
    ]


async def multiply(ingress: Ingress, run: str, count: int) -> None:
    """Store this many runs like that one."""
    async with ingress.database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO penstock.runs (
                id, chain_id, environment, workflow, trigger, state, depth, scheduled_at, finished_at
            )
            SELECT q.id, q.id, r.environment, r.workflow, r.trigger, r.state, 0, r.scheduled_at, r.finished_at
            FROM penstock.runs r, (SELECT gen_random_uuid() FROM generate_series(1, $2)) AS q (id)
            WHERE r.id = $1::text::uuid
            """,
            run,
            count,
        )


async def count(ingress: Ingress, state: str) -> object:
    async with ingress.database.connection() as conn:
        return await conn.fetchval("SELECT count(*) FROM penstock.runs WHERE state = $1", state)


def shown(answer: Answer) -> Any:
    assert answer.status == 202, answer.body
    return answer.json


async def test_a_small_filter_is_done_with_the_answer(ingress: Ingress) -> None:
    first, second = await start(ingress, "remind", "other")
    answer = await ingress.manage("POST", "/v1/live/runs/cancel", json={"workflow": "remind", "state": ["scheduled"]})
    begun = shown(answer)
    assert (begun["kind"], begun["state"], begun["total"], begun["done"], begun["actor"]) == (
        "runs.cancel", "finished", 1, 1, "admin",
    )  # fmt: skip
    assert begun["filter"] == {"workflow": "remind", "state": ["scheduled"]}
    assert answer.headers["location"] == f"/v1/live/operations/{begun['id']}"
    assert (await ingress.manage("GET", answer.headers["location"])).json == begun
    assert [(await ingress.manage("GET", f"/v1/live/runs/{run}")).json["state"] for run in (first, second)] == [
        "cancelled", "scheduled",
    ]  # fmt: skip


async def test_a_large_one_is_answered_after_its_first_batch_and_worked_off_by_a_scheduler(ingress: Ingress) -> None:
    (run,) = await start(ingress, "remind")
    await multiply(ingress, run, 2 * BATCH + 99)
    begun = shown(await ingress.manage("POST", "/v1/live/runs/cancel", json={"all": True}))
    assert (begun["state"], begun["total"], begun["done"]) == ("running", 2 * BATCH + 100, BATCH)
    room = furnish(build_settings(), Resources(ingress.database, InProcessBroker(topology())), Stop())
    first = await work_off_operations(room)
    assert (first.done["cancelled"], first.wait_seconds) == (BATCH, 0.0), "the next turn follows at once"
    assert (await work_off_operations(room)).done["cancelled"] == 100
    over = (await ingress.manage("GET", f"/v1/live/operations/{begun['id']}")).json
    assert (over["state"], over["done"]) == ("finished", 2 * BATCH + 100)
    assert await count(ingress, "cancelled") == 2 * BATCH + 100
    await room.release()


async def test_failed_runs_are_retried_by_filter(ingress: Ingress) -> None:
    failed, _ = await start(ingress, "remind", "other")
    async with ingress.database.connection() as conn:
        await conn.execute("UPDATE penstock.runs SET state = 'failed', finished_at = clock_timestamp(), attempt = 1")
    begun = shown(await ingress.manage("POST", "/v1/live/runs/retry", json={"workflow": "remind"}))
    assert (begun["kind"], begun["state"], begun["done"]) == ("runs.retry", "finished", 1)
    assert (await ingress.manage("GET", f"/v1/live/runs/{failed}")).json["state"] == "scheduled"
    acts: Any = (await ingress.manage("GET", "/v1/live/audit?action=run")).json["results"]
    assert [(act["action"], act["after"]["operation"]) for act in acts] == [("run.retry", begun["id"])]


async def test_what_was_scheduled_under_a_key_is_cancelled_and_what_is_on_its_way_is_waited_for(
    ingress: Ingress,
) -> None:
    (other,) = await start(ingress, "remind")
    key = {"workflow": "remind", "key": "order-17"}
    first = keyed_run_id("live", "remind", "order-17")
    async with ingress.database.connection() as conn:
        # As an executor binds it before a scheduler has admitted the run.
        await conn.execute(
            """
            INSERT INTO penstock.idempotency_keys (environment, scope, key, fingerprint, run_id)
            VALUES ('live', 'step', $1::uuid::text, '', $1)
            """,
            first,
        )
    begun = shown(await ingress.manage("POST", "/v1/live/runs/cancel", json=key))
    assert (begun["state"], begun["done"], begun["filter"]) == ("running", 0, key)
    room = furnish(build_settings(), Resources(ingress.database, InProcessBroker(topology())), Stop())
    assert (await work_off_operations(room)).wait_seconds is None, "there is nothing to do until it has arrived"
    async with ingress.database.connection() as conn:
        await conn.execute("UPDATE penstock.runs SET id = $1, chain_id = $1 WHERE id = $2::text::uuid", first, other)
    assert (await work_off_operations(room)).done["cancelled"] == 1
    over = (await ingress.manage("GET", f"/v1/live/operations/{begun['id']}")).json
    assert (over["state"], over["done"]) == ("finished", 1)
    assert shown(await ingress.manage("POST", "/v1/live/runs/cancel", json=key))["done"] == 0
    acts: Any = (await ingress.manage("GET", "/v1/live/audit?action=run")).json["results"]
    assert [act["before"] for act in acts] == [key, key]
    await room.release()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "runs/cancel", {}, 422, "this would cancel all runs in live; narrow it down, or send all: true"),
        ("POST", "runs/retry", {}, 422, "this would retry all runs in live"),
        ("POST", "runs/cancel", {"all": True, "workflow": "x"}, 422, "give either all: true or a filter"),
        ("POST", "runs/cancel", {"worklow": "x"}, 422, "worklow"),
        ("POST", "runs/cancel", {"state": ["succeeded"]}, 422, "runs that are succeeded cannot be cancelled, only"),
        ("POST", "runs/retry", {"state": ["failed", "queued"]}, 422, "runs that are queued cannot be retried"),
        ("POST", "runs/cancel", {"state": []}, 422, "state"),
        ("POST", "runs/cancel", {"chain": "17"}, 422, "chain"),
        ("POST", "runs/cancel", {"contains": "a\u0000b"}, 422, "contains"),
        ("POST", "runs/cancel", {"key": "a"}, 422, "give `key` with `workflow`, and nothing else"),
        ("POST", "runs/cancel", {"workflow": "x", "key": "a", "all": True}, 422, "and nothing else"),
        ("POST", "runs/cancel", {"workflow": "x", "key": "a", "state": ["queued"]}, 422, "and nothing else"),
        ("POST", "runs/cancel", {"workflow": "x", "key": ""}, 422, "key"),
        ("POST", "runs/cancel", {"workflow": "x", "key": "a\u0000b"}, 422, "key"),
        ("POST", "runs/cancel", {"workflow": "x", "key": ["a"]}, 422, "key"),
        ("POST", "runs/retry", {"workflow": "x", "key": "a"}, 422, "key"),
        ("GET", f"operations/{NOBODY}", None, 404, f"live has no operation {NOBODY}"),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    ingress: Ingress, method: str, path: str, body: object, status: int, says: str
) -> None:
    answer = await ingress.manage(method, f"/v1/live/{path}", json=body)
    assert (answer.status, says in str(answer.json["detail"])) == (status, True), answer.body


async def test_a_token_reaches_the_runs_of_its_workflows_and_learns_of_no_payload(ingress: Ingress) -> None:
    await start(ingress, "remind", "other")
    tries: tuple[tuple[dict[str, object], dict[str, object], int], ...] = (
        ({"workflows": ["remind"]}, {"all": True}, 403),
        ({"workflows": ["remind"]}, {"workflow": "other"}, 403),
        ({"payloads": False}, {"workflow": "remind", "contains": "secret"}, 403),
        ({"workflows": ["remind"]}, {"workflow": "remind"}, 202),
        ({"payloads": False}, {"workflow": "other"}, 202),
    )
    for wanted, body, status in tries:
        made = await ingress.manage("POST", "/v1/live/tokens", json={"role": "operator", **wanted})
        headers = {"Authorization": f"Bearer {made.json['token']}"}
        answer = await ingress.manage("POST", "/v1/live/runs/cancel", json=body, headers=headers)
        assert answer.status == status, answer.body
        if status == 202:
            followed = await ingress.manage("GET", answer.headers["location"], headers=headers)
            assert (followed.status, followed.json["done"]) == (200, 1)
    assert await count(ingress, "cancelled") == 2


async def test_a_token_for_some_workflows_follows_no_other_operation(ingress: Ingress) -> None:
    made = await ingress.manage("POST", "/v1/live/tokens", json={"role": "operator", "workflows": ["remind"]})
    headers = {"Authorization": f"Bearer {made.json['token']}"}
    for body in ({"workflow": "other"}, {"all": True}):
        begun = await ingress.manage("POST", "/v1/live/runs/cancel", json=body)
        path = f"/v1/live/operations/{begun.json['id']}"
        assert (await ingress.manage("GET", path, headers=headers)).status == 403
    assert (await ingress.manage("GET", f"/v1/live/operations/{NOBODY}", headers=headers)).status == 403
