"""Signals, cancelling and retrying over the management API: what is answered, and who is notified."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pydantic import JsonValue

from penstock.db import Connection
from penstock.runs.waits_and_signals import Wait, begin_waits, lock_signals
from tests.eventually import eventually
from tests.integration.ingress import ADMIN, Ingress, running_ingress, write_app

ADA: dict[str, JsonValue] = {"workflow": "greet", "parameters": {"name": "Ada"}}


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    """An ingress, and no executor."""
    async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as running:
        yield running


async def _make(ingress: Ingress) -> UUID:
    made = await ingress.manage("POST", "/v1/live/runs", json=ADA)
    assert made.status == 201, made.body
    return UUID(str(made.json["id"]))


async def _let_wait(ingress: Ingress, run_id: UUID, signal: str, match: dict[str, JsonValue] | None = None) -> None:
    """What an executor does when a run comes to a `wait_for`."""

    async def begin(conn: Connection) -> None:
        await conn.execute("UPDATE penstock.runs SET state = 'waiting', attempt = 1 WHERE id = $1", run_id)
        await lock_signals(conn, environment="live", names=[signal])
        await begin_waits(
            conn, waits=[(run_id, "live", Wait("w", datetime.now(UTC) + timedelta(hours=1), signal, match))]
        )

    await ingress.database.in_transaction(begin)


async def test_a_signal_says_how_many_it_woke_or_that_it_is_kept(ingress: Ingress) -> None:
    one, two, other = [await _make(ingress) for _ in range(3)]
    await _let_wait(ingress, one, "paid / again", {"order": 1})
    await _let_wait(ingress, two, "paid / again", {"order": 1})
    await _let_wait(ingress, other, "paid / again", {"order": 2})
    shown = (await ingress.manage("GET", f"/v1/live/runs/{one}")).json["waiting"]
    assert isinstance(shown, dict)
    assert (shown["step"], shown["signal"], shown["match"], shown["until"] is None) == (
        "w",
        "paid / again",
        {"order": 1},
        False,
    )
    posted = await ingress.manage("POST", "/v1/live/signals/paid%20%2F%20again", json={"order": 1})
    assert (posted.status, posted.json) == (200, {"woken": 2, "kept": False, "duplicate": False})
    states = [
        await ingress.fetchval("SELECT state FROM penstock.runs WHERE id = $1", run_id) for run_id in (one, two, other)
    ]
    assert states == ["queued", "queued", "waiting"]
    again = await ingress.manage("POST", "/v1/live/signals/paid%20%2F%20again", json={"order": 1})
    assert again.json == {"woken": 0, "kept": True, "duplicate": False}
    nothing = await ingress.manage("POST", "/v1/development/signals/ping")
    assert (nothing.status, nothing.json["kept"]) == (200, True)
    assert (
        await ingress.fetchval("SELECT payload::text FROM penstock.signals WHERE environment = 'development'") == "{}"
    )


@pytest.mark.parametrize(
    ("path", "body", "status", "detail"),
    [
        ("/v1/live/signals/paid", b"{order: 1}", 400, "the body is not JSON"),
        ("/v1/live/signals/" + "x" * 201, b"1", 400, "at most 200 characters"),
        ("/v1/staging/signals/paid", b"1", 404, "there is no environment 'staging'"),
    ],
    ids=["no JSON", "long name", "environment"],
)
async def test_a_bad_signal_is_refused_and_not_kept(
    ingress: Ingress, path: str, body: bytes, status: int, detail: str
) -> None:
    refused = await ingress.manage("POST", path, data=body, headers=ADMIN)
    assert refused.status == status
    assert detail in str(refused.json["detail"])
    assert (await ingress.manage("POST", path, data=b"1", headers={})).status == 401
    assert await ingress.fetchval("SELECT count(*) FROM penstock.signals") == 0


async def test_a_signal_that_is_too_large_is_refused(ingress: Ingress) -> None:
    async def send() -> AsyncIterator[bytes]:
        yield b'"'
        for _ in range(17):
            yield b"x" * 65_536
        yield b'"'

    refused = await ingress.manage("POST", "/v1/live/signals/paid", data=send())
    assert refused.status == 413
    assert await ingress.fetchval("SELECT count(*) FROM penstock.signals") == 0


async def test_a_signal_with_a_key_is_posted_once(ingress: Ingress) -> None:
    headers = {**ADMIN, "Idempotency-Key": "once"}
    both = await asyncio.gather(
        *(ingress.manage("POST", "/v1/live/signals/s", json=1, headers=headers) for _ in range(20))
    )
    assert Counter((answer.json["kept"], answer.json["duplicate"]) for answer in both) == {
        (True, False): 1,
        (False, True): 19,
    }
    other = await ingress.manage("POST", "/v1/live/signals/s", json=2, headers=headers)
    assert (other.status, other.json["code"]) == (422, "idempotency_conflict")
    assert (await ingress.manage("POST", "/v1/live/signals/other", json=2, headers=headers)).json["kept"] is True
    assert await ingress.fetchval("SELECT count(*) FROM penstock.signals") == 2


async def test_many_signals_at_once_are_all_kept_without_taking_all_connections(ingress: Ingress) -> None:
    posted = await asyncio.gather(*(ingress.manage("POST", f"/v1/live/signals/s{n % 3}", json=n) for n in range(150)))
    assert {answer.status for answer in posted} == {200}
    assert await ingress.fetchval("SELECT count(DISTINCT payload) FROM penstock.signals") == 150


async def test_a_run_is_cancelled_once_and_its_caller_is_told(ingress: Ingress) -> None:
    call = asyncio.create_task(ingress.send("POST", "/api/1.1/wf/greet", json={"name": "Ada"}))
    await eventually(lambda: ingress.count_waiting("greet"))
    run_id = await ingress.fetchval("SELECT id FROM penstock.runs")
    cancelled = await ingress.manage("POST", f"/v1/live/runs/{run_id}/cancel")
    assert cancelled.status == 200, cancelled.body
    run = cancelled.json["run"]
    assert isinstance(run, dict)
    assert (cancelled.json["cancelled"], run["id"], run["state"]) == (1, str(run_id), "cancelled")
    answer = await call
    assert answer.wrapped == (500, "ERROR", "The workflow greet was cancelled")
    again = await ingress.manage("POST", f"/v1/live/runs/{run_id}/cancel")
    assert (again.status, again.json["cancelled"]) == (200, 0)
    shown = await ingress.send("GET", f"/api/1.1/runs/{run_id}")
    assert (shown.status, shown.json["state"]) == (200, "cancelled")


async def test_only_a_failed_run_is_retried(ingress: Ingress) -> None:
    run_id = await _make(ingress)
    refused = await ingress.manage("POST", f"/v1/live/runs/{run_id}/retry")
    assert (refused.status, refused.headers["content-type"]) == (409, "application/problem+json")
    assert refused.json["detail"] == f"run {run_id} is queued; only a failed run can be retried"
    await ingress.finish_run(run_id, "failed", error={"kind": "failed", "message": "no"})
    retried = await ingress.manage("POST", f"/v1/live/runs/{run_id}/retry")
    assert (retried.status, retried.json["state"], retried.json["error"]) == (200, "queued", None)


async def test_runs_that_are_not_there_are_404(ingress: Ingress) -> None:
    run_id = await _make(ingress)
    for path in (f"live/runs/{uuid4()}", f"development/runs/{run_id}", "live/runs/x"):
        for verb in ("cancel", "retry"):
            assert (await ingress.manage("POST", f"/v1/{path}/{verb}")).status == 404
    assert await ingress.fetchval("SELECT state FROM penstock.runs") == "queued"


async def test_a_chain_is_stopped_and_resumed_and_says_so(ingress: Ingress) -> None:
    run_id = await _make(ingress)
    path = f"/v1/live/chains/{run_id}"
    stopped = await ingress.manage("POST", f"{path}/stop", json={"reason": "it multiplies"})
    assert (stopped.status, stopped.json) == (200, {"id": str(run_id), "stopped": True, "cancelled": 1})
    assert (await ingress.manage("POST", f"{path}/stop")).json == {"id": str(run_id), "stopped": False, "cancelled": 0}
    shown = (await ingress.manage("GET", path)).json["stopped"]
    assert isinstance(shown, dict)
    assert shown["reason"] == "it multiplies"
    resumed = await ingress.manage("POST", f"{path}/resume", json={"extra_depth": 5})
    grant = {"extra_depth": 5, "extra_runs": 0, "extra_workload": 0}
    assert (resumed.status, resumed.json) == (200, {"resumed": 1, "still_terminated": 0, "grant": grant})
    assert (await ingress.manage("POST", f"{path}/resume")).json["resumed"] == 0
    assert (await ingress.manage("GET", path)).json["stopped"] is None


@pytest.mark.parametrize(
    ("verb", "body", "status"),
    [
        ("stop", {"why": "x"}, 422),
        ("resume", {"extra_depth": -1}, 422),
        ("resume", {"extra_depth": 1_000_001}, 422),
        ("resume", {"extra_runs": None}, 422),
        ("resume", {"depth": 1}, 422),
    ],
)
async def test_wrong_requests_to_stop_or_resume_a_chain_change_nothing(
    ingress: Ingress, verb: str, body: dict[str, JsonValue], status: int
) -> None:
    run_id = await _make(ingress)
    assert (await ingress.manage("POST", f"/v1/live/chains/{run_id}/{verb}", json=body)).status == status
    assert (await ingress.manage("POST", f"/v1/live/chains/{uuid4()}/{verb}")).status == 404
    assert (await ingress.manage("GET", f"/v1/live/chains/{run_id}")).json["counts"] == {"queued": 1}
