"""The management API over real HTTP: who may, what it shows, and that its description tells the truth."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest
from pydantic import JsonValue

from penstock.domain.ids import child_run_id
from penstock.domain.states import Trigger
from penstock.runs.admission import admit
from penstock.store.logs import LogEvent, LogLine, write_logs
from penstock_ingress.room import Room
from penstock_ingress.routes.management import ManagementApi
from tests.factories import build_run
from tests.integration.ingress import Answer, Ingress, running_ingress, write_app

ADA: dict[str, JsonValue] = {"workflow": "greet", "parameters": {"name": "Ada"}}


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as running:
        yield running


def listed(answer: Answer) -> list[dict[str, object]]:
    assert answer.status == 200, answer.body
    return cast("list[dict[str, object]]", answer.json["results"])


async def test_only_admins_come_in_but_probes_and_pages_are_open(ingress: Ingress) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}):
        for path in ("/v1/live/runs", "/v1/nowhere", "/nowhere"):
            answer = await ingress.manage("GET", path, headers=headers)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert answer.headers["content-type"] == "application/problem+json"
        for path in ("/healthz", "/readyz", "/metrics", "/", "/about", "/docs", "/openapi.json", "/console/live/runs"):
            assert (await ingress.manage("GET", path, headers=headers)).status == 200


async def test_what_is_not_there_is_a_problem_document(ingress: Ingress) -> None:
    unknown = "0190a5f2-7c00-8a11-9b22-0123456789ab"
    for path in (
        "/v1/nowhere/runs",
        "/v1/live/nothing",
        f"/v1/live/runs/{unknown}",
        "/v1/live/runs/x",
        f"/v1/live/chains/{unknown}",
    ):
        answer = await ingress.manage("GET", path)
        assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
    answer = await ingress.manage("DELETE", "/v1/live/runs")
    assert (answer.status, "GET" in answer.headers["allow"]) == (405, True)


async def test_a_run_is_made_and_shown(ingress: Ingress) -> None:
    made = await ingress.manage("POST", "/v1/live/runs", json=ADA)
    assert made.status == 201, made.body
    assert made.json.keys() == {
        "id", "workflow", "environment", "state", "depth", "depth_budget", "chain_id", "parent_run_id", "attempt",
        "parameters", "result", "error", "workload", "waiting_for", "recurrence",
        "created_at", "scheduled_at", "started_at", "finished_at",
    }  # fmt: skip
    assert (made.json["state"], made.json["depth"], made.json["chain_id"]) == ("queued", 0, made.json["id"])
    assert made.json["depth_budget"] == 10
    waiting_for = cast("dict[str, object]", made.json["waiting_for"])
    assert (waiting_for.pop("since") is not None, waiting_for) == (
        True,
        {"reason": "executor", "key": None, "holder": None},
    )
    (run,) = listed(await ingress.manage("GET", "/v1/live/runs"))
    assert run.keys() == made.json.keys()
    assert made.json["parameters"] == {"name": "Ada", "times": 1, "tags": None}
    shown = await ingress.manage("GET", made.headers["location"])
    assert (shown.status, shown.json["id"], shown.json["trigger"]) == (200, made.json["id"], "manual")
    assert (shown.json["steps"], shown.json["logs"], shown.json["attempts"]) == (
        [],
        [],
        {"begun": 0, "failed": 0, "crashed": 0},
    )
    assert (await ingress.manage("GET", f"/v1/development/runs/{made.json['id']}")).status == 404


async def test_a_run_may_be_for_later(ingress: Ingress) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    made = await ingress.manage("POST", "/v1/live/runs", json={**ADA, "at": at.isoformat(), "priority": 1})
    assert (made.status, made.json["state"]) == (201, "scheduled")
    assert datetime.fromisoformat(str(made.json["scheduled_at"])) == at
    assert (await ingress.manage("POST", "/v1/live/runs", json={**ADA, "after": "10m"})).json["state"] == "scheduled"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "JSON"),
        (b"[]", 422, "body"),
        ({"parameters": {}}, 422, "workflow"),
        ({"workflow": "gret"}, 404, "did you mean 'greet'"),
        ({"workflow": "greet"}, 422, "Missing parameter for workflow greet: parameter name"),
        ({"workflow": "greet", "parameters": {"name": 7}}, 422, "Invalid value for parameter name"),
        ({"workflow": "greet", "parameters": {"name": "a", "nme": 1}}, 422, "did you mean 'name'"),
        ({**ADA, "more": 1}, 422, "more"),
        ({**ADA, "at": "2030-01-01T00:00:00"}, 422, "zone"),
        ({**ADA, "at": "2030-01-01T00:00:00Z", "after": "1s"}, 422, "not both"),
        ({**ADA, "after": "soon"}, 422, "duration"),
        ({**ADA, "priority": 10}, 422, "priority"),
    ],
)
async def test_a_run_that_cannot_be_made_says_why(ingress: Ingress, body: object, status: int, says: str) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await ingress.manage("POST", "/v1/live/runs", data=data)
    assert answer.status == status, answer.body
    assert says in str(answer.json["detail"])
    assert await ingress.count_runs() == 0


async def test_a_key_makes_one_run(ingress: Ingress) -> None:
    body = {**ADA, "idempotency_key": "k"}
    answers = await asyncio.gather(*(ingress.manage("POST", "/v1/live/runs", json=body) for _ in range(20)))
    assert sorted(answer.status for answer in answers) == [200] * 19 + [201]
    assert len({answer.json["id"] for answer in answers}) == 1
    other = await ingress.manage("POST", "/v1/live/runs", json={**body, "parameters": {"name": "Bob"}})
    assert (other.status, other.json["code"]) == (422, "idempotency_conflict")
    assert await ingress.count_runs() == 1


async def test_runs_are_listed_newest_first_page_by_page(ingress: Ingress) -> None:
    made = [str((await ingress.manage("POST", "/v1/live/runs", json=ADA)).json["id"]) for _ in range(7)]
    seen: list[str] = []
    after = ""
    while True:
        answer = await ingress.manage("GET", f"/v1/live/runs?limit=3{after}")
        seen += [str(run["id"]) for run in listed(answer)]
        if answer.json["after"] is None:
            break
        after = f"&after={answer.json['after']}"
    assert seen == made[::-1]


async def test_runs_are_filtered(ingress: Ingress) -> None:
    ada = (await ingress.manage("POST", "/v1/live/runs", json=ADA)).json
    bob = (await ingress.manage("POST", "/v1/live/runs", json={**ADA, "parameters": {"name": "Bob"}})).json
    await ingress.manage("POST", "/v1/live/runs", json={"workflow": "hidden"})
    await ingress.manage("POST", "/v1/development/runs", json=ADA)
    await ingress.finish_run(bob["id"], "failed", error={"message": "100% wrong"})

    async def found(query: str) -> set[object]:
        return {run["id"] for run in listed(await ingress.manage("GET", f"/v1/live/runs?{query}"))}

    assert await found("workflow=greet") == {ada["id"], bob["id"]}
    assert await found("workflow=greet&state=failed") == {bob["id"]}
    assert await found("workflow=greet&state=queued,failed") == {ada["id"], bob["id"]}
    assert await found(f"chain={ada['id']}") == {ada["id"]}
    assert await found(f"parent={ada['id']}") == set()
    assert await found("contains=bOB") == {bob["id"]}
    assert await found("contains=100%25%20wrong") == {bob["id"]}
    assert await found("since=2100-01-01T00:00:00Z") == set()
    assert len(await found("until=2100-01-01T00:00:00%2B01:00")) == 3
    for wrong in (
        "state=lost",
        "limit=0",
        "limit=501",
        "chain=x",
        "since=yesterday",
        "since=2030-01-01",
        "after=x",
        "contains=%00",
    ):
        assert (await ingress.manage("GET", f"/v1/live/runs?{wrong}")).status == 400


async def test_a_chain_is_shown_as_a_tree_with_counts(ingress: Ingress) -> None:
    root = UUID(str((await ingress.manage("POST", "/v1/live/runs", json=ADA)).json["id"]))
    children = [
        build_run(
            run_id=child_run_id(root, str(number)),
            environment="live",
            workflow="hidden",
            version=1,
            trigger=Trigger.RUN,
            parent_run_id=root,
        )
        for number in range(4)
    ]
    await ingress.database.in_transaction(lambda conn: admit(conn, children))
    await ingress.finish_run(children[0].run_id, "failed", error={"kind": "failed"})
    chain = (await ingress.manage("GET", f"/v1/live/chains/{root}")).json
    assert (chain["id"], chain["runs"], chain["stopped"], chain["workload"]) == (str(root), 5, None, 0)
    assert chain["counts"] == {"queued": 4, "failed": 1}
    assert chain["depths"] == {"0": {"queued": 1}, "1": {"queued": 3, "failed": 1}}
    assert cast("dict[str, object]", chain["root"])["id"] == str(root)
    by_child = (await ingress.manage("GET", f"/v1/live/chains/{children[2].run_id}?limit=2")).json
    assert by_child["id"] == str(root)
    first = cast("dict[str, object]", by_child["tree"])
    rest = (await ingress.manage("GET", f"/v1/live/chains/{root}?after={first['after']}")).json
    pages = [first, cast("dict[str, object]", rest["tree"])]
    runs = [run for page in pages for run in cast("list[dict[str, object]]", page["results"])]
    assert [run["depth"] for run in runs] == [0, 1, 1, 1, 1]
    assert {run["parent_run_id"] for run in runs[1:]} == {str(root)}
    async with ingress.database.connection() as conn:
        await conn.execute("UPDATE penstock.chains SET stopped_at = now(), stop_reason = 'enough' WHERE id = $1", root)
    stopped = (await ingress.manage("GET", f"/v1/live/chains/{root}")).json["stopped"]
    assert cast("dict[str, object]", stopped)["reason"] == "enough"


async def test_settings_are_changed_at_run_time_one_by_one(ingress: Ingress) -> None:
    path = "/v1/live/settings"
    workload: dict[str, object] = {"workload_allowance": 0, "workload_spike_factor": 3, "workload_spike_minimum": 1000}
    before = {
        "depth_limit": 10, "depth_policy": "terminate", "chain_runs_limit": 1000000, "chain_workload_limit": None,
        "retention": "30d",
        "notification_addresses": [], "notification_webhooks": [], "notification_slack": [], "notification_every": {},
        **workload,
    }  # fmt: skip
    assert (await ingress.manage("GET", path)).json == before
    changed = await ingress.manage("PUT", path, json={"depth_limit": 25, "notification_addresses": ["ops@example.com"]})
    expected = before | {"depth_limit": 25, "notification_addresses": ["ops@example.com"]}
    assert (changed.status, changed.json) == (200, expected)
    assert (await ingress.manage("GET", path)).json == expected
    changed = await ingress.manage("PUT", path, json={"workload_allowance": 500000, "workload_spike_factor": 2.5})
    assert changed.json == {**expected, "workload_allowance": 500000, "workload_spike_factor": 2.5}
    assert (await ingress.manage("PUT", path, json={"workload_allowance": 0})).json["workload_allowance"] == 0
    for change in ({"depth_policy": "observe"}, {"chain_workload_limit": 250.5}):
        assert change.items() <= (await ingress.manage("PUT", path, json=change)).json.items()
    assert (await ingress.manage("PUT", path, json={"chain_workload_limit": 0})).json["chain_workload_limit"] is None
    assert (await ingress.manage("GET", "/v1/development/settings")).json["depth_limit"] == 10


NO_SETTINGS: list[dict[str, object]] = [
    {"depth_limit": -1},
    {"depth_limit": None},
    {"notification_addresses": None},
    {"depth_limit": 1.5},
    {"depth_limit": "9"},
    {"chain_runs_limit": 0},
    {"depth_policy": "ignore"},
    {"notification_addresses": ["nobody"]},
    {"notification_webhooks": [{"url": "ftp://example.com", "secret": "${secrets.HOOK}"}]},
    {"notification_webhooks": [{"url": "https://example.com", "secret": "whsec_in_the_clear"}]},
    {"notification_webhooks": [{"url": "https://example.com"}]},
    {"notification_webhooks": [{"url": "https://example.com", "secret": "${secrets.HOOK}", "scret": "x"}]},
    {"notification_slack": ["https://hooks.example.com/${secrets.PATH}"]},
    {"notification_slack": ["${secrets.SLACK}"] * 11},
    {"notification_every": {"terminations": "1h"}},
    {"notification_every": {"stops": "1s"}},
    {"notification_every": {"everything": "1d"}},
    {"workload_allowance": -1},
    {"workload_allowance": "1000"},
    {"workload_spike_factor": 1e300},
    {"unknown": 1},
]


@pytest.mark.parametrize("change", NO_SETTINGS)
async def test_settings_that_make_no_sense_are_refused(ingress: Ingress, change: dict[str, object]) -> None:
    answer = await ingress.manage("PUT", "/v1/live/settings", json=change)
    assert (answer.status, next(iter(change)) in str(answer.json["detail"])) == (422, True)


async def test_the_log_is_searched(ingress: Ingress) -> None:
    run = UUID(str((await ingress.manage("POST", "/v1/live/runs", json=ADA)).json["id"]))
    at = datetime.now(UTC)
    lines = [
        LogLine(at=at + timedelta(milliseconds=number), environment="live", level=level, event=LogEvent.OUTPUT,
        message=f"line {number}",
                run_id=run, chain_id=run, workflow="greet", depth=0)
        for number, level in enumerate(["info", "warning", "error", "info"])
    ]  # fmt: skip
    async with ingress.database.connection() as conn:
        await write_logs(conn, lines)

    async def messages(query: str) -> list[object]:
        return [line["message"] for line in listed(await ingress.manage("GET", f"/v1/live/logs?{query}"))]

    assert await messages(f"run={run}") == ["line 3", "line 2", "line 1", "line 0"]
    assert await messages("level=error") == ["line 2"]
    assert await messages("level=warning") == ["line 2", "line 1"]
    assert await messages("contains=LINE%203") == ["line 3"]
    assert await messages(f"chain={run}&limit=1") == ["line 3"]
    after = (await ingress.manage("GET", "/v1/live/logs?limit=2")).json["after"]
    assert await messages(f"after={after}") == ["line 1", "line 0"]
    assert (await ingress.manage("GET", "/v1/live/logs?level=loud")).status == 400
    shown = (await ingress.manage("GET", f"/v1/live/runs/{run}")).json["logs"]
    assert [line["message"] for line in cast("list[dict[str, object]]", shown)] == [
        "line 0",
        "line 1",
        "line 2",
        "line 3",
    ]


async def test_workflows_are_listed(ingress: Ingress) -> None:
    workflows = {
        str(workflow["name"]): workflow for workflow in listed(await ingress.manage("GET", "/v1/live/workflows"))
    }
    assert (workflows["greet"]["triggers"], workflows["paid"]["triggers"]) == (["api"], ["webhook"])
    assert cast("list[dict[str, object]]", workflows["greet"]["parameters"])[1] == {
        "name": "times", "type": "number", "is_optional": True, "default": 1,
    }  # fmt: skip


async def test_every_route_is_described_and_everything_described_is_a_route(ingress: Ingress) -> None:
    document = (await ingress.manage("GET", "/openapi.json")).json
    described = {
        (method, path)
        for path, item in cast("dict[str, dict[str, object]]", document["paths"]).items()
        for method in item
    }
    app = ManagementApi(cast("Room", None)).build()
    routed = {
        (route.method.lower(), route.resource.canonical) for route in app.router.routes() if route.resource is not None
    }
    pages = {"/", "/about", "/docs", "/openapi.json"}
    managing = {(method, path) for method, path in routed if path not in pages and not path.startswith("/console")}
    assert described == {(method, path) for method, path in managing if method != "head"}
    text = json.dumps(document)
    schemas = cast("dict[str, dict[str, object]]", document["components"])["schemas"]
    for reference in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert reference in schemas
