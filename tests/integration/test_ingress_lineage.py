"""Requests that runs of this installation make through others: they continue the chain, and no loop gets out of it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from penstock import clock
from penstock.db import Record
from penstock.domain.ids import new_run_id
from penstock.domain.lineage import MAX_HOP, LineageSeal
from penstock.store.installation import Installation
from tests.integration.ingress import ADMIN, SECRETS, Ingress, running_ingress, sign_stripe, write_app

GREET = "/version-test/api/1.1/wf/greet"
BODY = {"name": "Ada"}
ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
async def ingress(
    database_url: str, amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Ingress]:
    """An ingress with the tests' app."""
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as running:
        yield running


@pytest.fixture
async def seal(ingress: Ingress) -> LineageSeal:
    """What signs for this installation."""
    return await Installation(ingress.database).find_seal()


async def greet(ingress: Ingress, headers: dict[str, str] | None = None, path: str = GREET) -> Record:
    """Call the workflow; the row of the run that was made."""
    answer = await ingress.send("POST", path, json=BODY, headers={**ASYNC, **(headers or {})})
    return await row(ingress, answer.headers["penstock-run-id"])


async def row(ingress: Ingress, run_id: object) -> Record:
    async with ingress.database.connection() as conn:
        found = await conn.fetchrow("SELECT * FROM penstock.runs WHERE id = $1", UUID(str(run_id)))
    assert found is not None
    return found


def from_run(seal: LineageSeal, run: Record, *, depth: int | None = None) -> dict[str, str]:
    """The headers of a call that a run makes."""
    entry = seal.sign(run["chain_id"], run["id"], run["depth"] if depth is None else depth, clock.now())
    return {"baggage": f"tenant=a,{entry}"}


async def test_a_call_of_a_run_continues_its_chain_one_deeper(ingress: Ingress, seal: LineageSeal) -> None:
    first = await greet(ingress)
    second = await greet(ingress, from_run(seal, first))
    third = await greet(ingress, from_run(seal, second))
    assert [(run["depth"], run["chain_id"], run["parent_run_id"]) for run in (first, second, third)] == [
        (0, first["id"], None),
        (1, first["id"], first["id"]),
        (2, first["id"], second["id"]),
    ]
    assert await ingress.fetchval("SELECT runs FROM penstock.chains WHERE id = $1", first["id"]) == 3


async def test_the_call_that_is_too_deep_is_terminated_and_says_its_path(ingress: Ingress, seal: LineageSeal) -> None:
    run = await greet(ingress)
    for _ in range(10):
        run = await greet(ingress, from_run(seal, run))
    answer = await ingress.send("POST", GREET, json=BODY, headers=from_run(seal, run))
    assert (answer.status, answer.wrapped[:2]) == (500, (500, "ERROR"))
    assert answer.wrapped[2] == f"The workflow greet was terminated (depth_limit). Path: {' → '.join(['greet'] * 12)}"
    ended = await row(ingress, answer.headers["penstock-run-id"])
    assert (ended["state"], ended["depth"], ended["chain_id"]) == ("terminated", 11, run["chain_id"])
    assert ended["parameters"]["name"] == "Ada"


async def test_a_delivery_of_a_run_continues_its_chain(ingress: Ingress, seal: LineageSeal) -> None:
    caller = await greet(ingress)
    body, headers = sign_stripe({"id": "evt_1", "type": "invoice.paid"})
    deep = from_run(seal, caller, depth=4)
    answer = await ingress.send("POST", "/version-test/webhooks/stripe", data=body, headers={**headers, **deep})
    assert answer.status == 200
    run_ids = answer.json["run_ids"]
    assert isinstance(run_ids, list)
    assert [((await row(ingress, run))["depth"], (await row(ingress, run))["parent_run_id"]) for run in run_ids] == [
        (5, caller["id"])
    ] * 2
    copy = await ingress.send(
        "POST", "/version-test/webhooks/stripe", data=body, headers={**headers, **from_run(seal, caller, depth=9)}
    )
    assert (copy.json["duplicate"], copy.json["run_ids"]) == (True, run_ids)


async def test_a_delivery_that_is_too_deep_is_accepted_and_its_runs_are_terminated(
    ingress: Ingress, seal: LineageSeal
) -> None:
    caller = await greet(ingress)
    body, headers = sign_stripe({"id": "evt_1", "type": "invoice.paid"})
    answer = await ingress.send(
        "POST", "/version-test/webhooks/stripe", data=body, headers={**headers, **from_run(seal, caller, depth=10)}
    )
    assert answer.status == 200
    assert await ingress.fetchval("SELECT count(*) FROM penstock.runs WHERE state = 'terminated' AND depth = 11") == 2


async def test_a_call_with_the_same_idempotency_key_keeps_its_depth(ingress: Ingress, seal: LineageSeal) -> None:
    caller = await greet(ingress)
    first = await greet(ingress, {"Idempotency-Key": "k", **from_run(seal, caller)})
    again = await greet(ingress, {"Idempotency-Key": "k", **from_run(seal, caller, depth=7)})
    assert (again["id"], again["depth"]) == (first["id"], 1)


async def test_a_caller_that_is_no_longer_stored_is_believed_by_its_signature(
    ingress: Ingress, seal: LineageSeal
) -> None:
    chain_id = new_run_id()
    run = await greet(ingress, {"baggage": seal.sign(chain_id, new_run_id(), 6, clock.now())})
    assert (run["depth"], run["chain_id"], run["parent_run_id"]) == (7, chain_id, None)


async def test_a_call_into_the_other_environment_stays_in_the_chain(ingress: Ingress, seal: LineageSeal) -> None:
    caller = await greet(ingress)
    run = await greet(ingress, from_run(seal, caller, depth=3), "/api/1.1/wf/greet")
    assert (run["environment"], run["depth"], run["chain_id"], run["parent_run_id"]) == ("live", 4, caller["id"], None)
    chain = "SELECT (environment, runs)::text FROM penstock.chains WHERE id = $1"
    assert await ingress.fetchval(chain, caller["id"]) == "(development,2)"


async def test_what_others_say_starts_a_root(ingress: Ingress, seal: LineageSeal) -> None:
    caller = await greet(ingress)
    lineage = (caller["chain_id"], caller["id"], 3)
    late = clock.now() - MAX_HOP - timedelta(minutes=1)
    forged = seal.sign(*lineage, clock.now()).replace(".3.", ".0.")
    for baggage in (
        LineageSeal(b"x" * 32).sign(*lineage, clock.now()),
        forged,
        seal.sign(*lineage, late),
        "tenant=a",
        ",=;,",
    ):
        run = await greet(ingress, {"baggage": baggage})
        assert (run["depth"], run["chain_id"], run["parent_run_id"]) == (0, run["id"], None), baggage


async def test_trace_and_baggage_are_kept_for_the_calls_of_the_run(ingress: Ingress) -> None:
    trace = {
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "tracestate": "v=1",
        "baggage": "tenant=a;x=1,b=2",
    }
    assert (await greet(ingress, trace))["context"]["trace"] == trace
    body, headers = sign_stripe({"id": "evt_1", "type": "customer.made"})
    assert (
        await ingress.send("POST", "/version-test/webhooks/stripe", data=body, headers={**headers, **trace})
    ).status == 200
    assert await ingress.fetchval("SELECT context -> 'trace' FROM penstock.runs WHERE trigger = 'webhook'") == trace


async def test_a_run_started_through_the_management_api_continues_the_chain_too(
    ingress: Ingress, seal: LineageSeal
) -> None:
    caller = await greet(ingress)
    wanted = {"workflow": "greet", "parameters": BODY}
    answer = await ingress.manage(
        "POST", "/v1/development/runs", json=wanted, headers={**ADMIN, **from_run(seal, caller)}
    )
    assert (answer.status, answer.json["depth"], answer.json["parent_run_id"]) == (201, 1, str(caller["id"]))


async def test_a_recurrence_that_a_run_triggers_is_no_way_out_of_the_chain(ingress: Ingress, seal: LineageSeal) -> None:
    caller = await greet(ingress)
    wanted = {"workflow": "greet", "parameters": BODY, "cron": "0 3 * * *"}
    made = await ingress.manage("POST", "/v1/development/recurrences", json=wanted)
    assert made.status in {200, 201}, made.body
    path = f"/v1/development/recurrences/{made.json['id']}"
    answer = await ingress.manage("POST", f"{path}/trigger", headers={**ADMIN, **from_run(seal, caller, depth=4)})
    assert (answer.status, answer.json["depth"], answer.json["parent_run_id"]) == (200, 5, str(caller["id"]))
    times = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-03T00:00:00Z"}
    answer = await ingress.manage(
        "POST", f"{path}/backfill", json=times, headers={**ADMIN, **from_run(seal, caller, depth=6)}
    )
    run_ids = answer.json["run_ids"]
    assert isinstance(run_ids, list)
    assert [(await row(ingress, run))["depth"] for run in run_ids] == [7, 7]
