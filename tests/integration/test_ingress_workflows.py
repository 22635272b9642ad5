"""API workflows over real HTTP: answers in Bubble's words, and one run for each key."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.eventually import eventually
from tests.integration.ingress import ADMIN, ADMIN_TOKEN, Ingress, running_ingress, write_app
from tests.site import deploy_directory

GREET = "/api/1.1/wf/greet"
ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_ingress(database_url, amqp_url, write_app(tmp_path), max_body_bytes=4096) as running:
        yield running


async def test_the_caller_waits_for_the_answer_of_its_run(ingress: Ingress) -> None:
    calling = asyncio.create_task(ingress.send("POST", GREET, json={"name": "Ada"}))
    run_id = await ingress.finish_next("greet", result={"greeting": "hello Ada"})
    answer = await calling
    assert (answer.status, answer.json) == (200, {"status": "success", "response": {"greeting": "hello Ada"}})
    assert answer.headers["penstock-run-id"] == str(run_id)
    assert answer.headers["access-control-allow-origin"] == "*"
    parameters = await ingress.fetchval("SELECT parameters FROM penstock.runs")
    assert parameters == {"name": "Ada", "times": 1, "tags": None}


async def test_parameters_come_as_form_multipart_and_query_too(ingress: Ingress) -> None:
    form = aiohttp.FormData({"name": "Ada", "times": "3"})
    multipart = aiohttp.FormData(default_to_multipart=True)
    multipart.add_field("name", "Ada")
    multipart.add_field("times", "3")
    for data, path in ((form, GREET), (multipart, GREET), (None, f"{GREET}?name=Ada&times=3")):
        assert (await ingress.send("POST", path, data=data, headers=ASYNC)).status == 202
    assert (await ingress.send("GET", "/api/1.1/wf/look?name=Ada&times=3&unknown=1", headers=ASYNC)).status == 202
    async with ingress.database.connection() as conn:
        rows = await conn.fetch("SELECT parameters FROM penstock.runs")
    assert [(row["parameters"]["name"], row["parameters"]["times"]) for row in rows] == [("Ada", 3)] * 4


async def test_what_expressions_see_of_the_request_holds_no_credentials(ingress: Ingress) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {**ASYNC, "X-Mine": "1", "traceparent": trace}
    path = f"{GREET}?name=Ada&tag=a&tag=b&api_token={ADMIN_TOKEN}"
    assert (await ingress.send("POST", path, headers=headers)).status == 202
    context = await ingress.fetchval("SELECT context FROM penstock.runs")
    assert isinstance(context, dict)
    assert context["request"]["method"] == "POST"
    assert context["request"]["query"] == {"name": "Ada", "tag": ["a", "b"]}
    assert (context["request"]["headers"]["x-mine"], context["request"]["ip"]) == ("1", "127.0.0.1")
    assert context["trace"] == {"traceparent": trace}
    assert ADMIN_TOKEN not in json.dumps(context)


@pytest.mark.parametrize("path", ["/api/1.1/wf/nothing", "/api/1.1/wf/hidden", "/api/1.1/wf/look"])
async def test_unknown_unexposed_and_other_methods_are_one_404(ingress: Ingress, path: str) -> None:
    answer = await ingress.send("POST", path, json={})
    assert (answer.status, answer.wrapped[:2]) == (404, (404, "NOT_FOUND"))


async def test_a_method_that_no_workflow_has_is_405(ingress: Ingress) -> None:
    answer = await ingress.send("DELETE", GREET)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, POST, OPTIONS")


@pytest.mark.parametrize("path", [GREET, "/api/1.1/wf/nothing", "/api/1.1/obj/order", "/api/1.1/runs/1"])
async def test_a_token_that_nobody_has_is_401_before_anything_else(ingress: Ingress, path: str) -> None:
    method = "POST" if "wf" in path else "GET"
    for headers, query in (({"Authorization": "Bearer wrong"}, ""), ({}, "?api_token=wrong")):
        answer = await ingress.send(method, path + query, headers=headers)
        assert answer.status == 401
        assert answer.json["error_class"] == "Unauthorized"
        assert answer.json["message"] is None
        assert answer.json["translation"] == "Invalid or expired token: wrong"


async def test_a_workflow_for_admins_needs_their_token_wherever_it_stands(ingress: Ingress) -> None:
    path = "/api/1.1/wf/secretly"
    refused = await ingress.send("POST", path, json={})
    assert (refused.status, refused.json["error_class"]) == (401, "Unauthorized")
    assert (await ingress.send("POST", path, json={}, headers={**ADMIN, **ASYNC})).status == 202
    assert (await ingress.send("POST", f"{path}?api_token={ADMIN_TOKEN}", json={}, headers=ASYNC)).status == 202


async def test_parameters_that_are_missing_or_wrong_are_told_in_bubbles_words(ingress: Ingress) -> None:
    missing = await ingress.send("POST", GREET, json={})
    assert (missing.status, missing.wrapped) == (
        400,
        (400, "MISSING_DATA", "Missing parameter for workflow greet: parameter name"),
    )
    wrong = await ingress.send("POST", GREET, json={"name": "Ada", "times": "many"})
    assert wrong.status == 400
    assert wrong.wrapped[:2] == (400, "INVALID_DATA")
    assert wrong.wrapped[2].startswith("Invalid value for parameter times")
    broken = await ingress.send("POST", GREET, data=b'{"name":', headers={"Content-Type": "application/json"})
    assert (broken.status, broken.wrapped[1]) == (400, "INVALID_DATA")
    nul = await ingress.send("POST", GREET, json={"name": "a\x00b"})
    assert nul.status == 400
    assert await ingress.count_runs() == 0


async def test_bodies_that_are_too_large_or_of_an_unsupported_kind_are_refused(ingress: Ingress) -> None:
    assert (await ingress.send("POST", GREET, json={"name": "x" * 5000})).status == 413
    assert (await ingress.send("POST", GREET, data=b"<a/>", headers={"Content-Type": "text/xml"})).status == 415
    assert (await ingress.send("POST", GREET, data=b"xx", headers={"Content-Encoding": "gzip"})).status == 415
    assert await ingress.count_runs() == 0


async def test_unknown_parameters_are_ignored(ingress: Ingress) -> None:
    assert (await ingress.send("POST", GREET, json={"name": "Ada", "more": 1}, headers=ASYNC)).status == 202


@pytest.mark.parametrize(
    ("state", "error", "status", "code", "message"),
    [
        ("failed", {"kind": "failed", "message": "no such order"}, 400, "ERROR", "no such order"),
        ("failed", {"kind": "timeout", "message": "it took too long"}, 500, "ERROR", "it took too long"),
        ("cancelled", None, 500, "ERROR", "The workflow greet was cancelled"),
        ("skipped", None, 400, "NOT_RUN", "The condition for the workflow greet is not met. Workflow won't run"),
    ],
)
async def test_a_run_that_does_not_succeed_is_told_in_the_wrapped_envelope(
    ingress: Ingress, state: str, error: object, status: int, code: str, message: str
) -> None:
    calling = asyncio.create_task(ingress.send("POST", GREET, json={"name": "Ada"}))
    await ingress.finish_next("greet", state, error=error)
    answer = await calling
    assert (answer.status, answer.wrapped) == (status, (status, code, message))
    assert "penstock-run-id" in answer.headers


async def test_an_author_may_answer_200_when_the_condition_is_not_met(ingress: Ingress) -> None:
    calling = asyncio.create_task(ingress.send("POST", "/api/1.1/wf/perhaps"))
    await ingress.finish_next("perhaps", "skipped")
    answer = await calling
    assert (answer.status, answer.wrapped[1]) == (200, "NOT_RUN")


async def test_who_prefers_not_to_wait_is_told_where_to_ask(ingress: Ingress) -> None:
    accepted = await ingress.send("POST", f"/version-test{GREET}", json={"name": "Ada"}, headers=ASYNC)
    run_id = accepted.headers["penstock-run-id"]
    assert (accepted.status, accepted.json) == (202, {"status": "accepted", "run_id": run_id})
    assert accepted.headers["preference-applied"] == "respond-async"
    assert accepted.headers["location"] == f"/version-test/api/1.1/runs/{run_id}"
    running = await ingress.send("GET", accepted.headers["location"])
    assert (running.status, running.json["status"], running.json["state"]) == (200, "accepted", "queued")
    await ingress.finish_run(run_id, result={"greeting": "hello"})
    done = await ingress.send("GET", accepted.headers["location"])
    assert (done.json["status"], done.json["response"]) == ("success", {"greeting": "hello"})
    assert (await ingress.send("GET", f"/api/1.1/runs/{run_id}")).status == 404
    for unknown in ("nonsense", "0190a5f2-7c00-8a11-9b22-0123456789ab"):
        assert (await ingress.send("GET", f"/api/1.1/runs/{unknown}")).status == 404


async def test_the_run_of_a_workflow_for_admins_is_shown_to_admins_alone(ingress: Ingress) -> None:
    accepted = await ingress.send("POST", "/api/1.1/wf/secretly", headers={**ADMIN, **ASYNC})
    assert (await ingress.send("GET", accepted.headers["location"])).status == 401
    assert (await ingress.send("GET", accepted.headers["location"], headers=ADMIN)).status == 200


async def test_a_run_that_nobody_called_is_not_shown_to_callers(ingress: Ingress) -> None:
    run = await ingress.manage("POST", "/v1/live/runs", json={"workflow": "greet", "parameters": {"name": "Ada"}})
    assert (await ingress.send("GET", f"/api/1.1/runs/{run.json['id']}", headers=ADMIN)).status == 404


async def test_who_waits_too_long_is_told_where_to_ask(ingress: Ingress) -> None:
    began = time.monotonic()
    answer = await ingress.send("POST", GREET, json={"name": "Ada"}, headers={"Prefer": "wait=1"})
    assert (answer.status, answer.headers["preference-applied"]) == (202, "wait=1")
    assert 0.9 < time.monotonic() - began < 20


async def test_a_workflow_may_always_answer_at_once(ingress: Ingress) -> None:
    answer = await ingress.send("POST", "/api/1.1/wf/quickly")
    assert answer.status == 202


async def test_200_calls_with_one_key_are_one_run_with_one_answer(ingress: Ingress) -> None:
    headers = {"Idempotency-Key": '"8e03978e"'}
    calling = [
        asyncio.create_task(ingress.send("POST", GREET, json={"name": "Ada"}, headers=headers)) for _ in range(200)
    ]
    run_id = await ingress.finish_next("greet", result={"greeting": "hello"})
    answers = await asyncio.gather(*calling)
    assert {(answer.status, answer.body, answer.headers["penstock-run-id"]) for answer in answers} == {
        (200, b'{"status":"success","response":{"greeting":"hello"}}', str(run_id))
    }
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert await ingress.count_runs() == 1
    late = await ingress.send("POST", GREET, json={"name": "Ada"}, headers={"Idempotency-Key": "8e03978e"})
    assert (late.status, late.headers["idempotent-replayed"], late.headers["penstock-run-id"]) == (
        200,
        "true",
        str(run_id),
    )


async def test_a_key_belongs_to_one_request(ingress: Ingress) -> None:
    headers = {**ASYNC, "Idempotency-Key": "k"}
    first = await ingress.send("POST", GREET, json={"name": "Ada"}, headers=headers)
    other = await ingress.send("POST", GREET, json={"name": "Bob"}, headers=headers)
    assert (first.status, other.status) == (202, 422)
    assert other.headers["content-type"] == "application/problem+json"
    elsewhere = await ingress.send("POST", f"/version-test{GREET}", json={"name": "Bob"}, headers=headers)
    as_admin = await ingress.send("POST", GREET, json={"name": "Bob"}, headers={**headers, **ADMIN})
    assert (elsewhere.status, as_admin.status) == (202, 202)
    assert await ingress.count_runs() == 3


async def test_a_key_that_came_with_a_bad_request_is_still_free(ingress: Ingress) -> None:
    headers = {**ASYNC, "Idempotency-Key": "k"}
    assert (await ingress.send("POST", GREET, json={}, headers=headers)).status == 400
    assert (await ingress.send("POST", GREET, json={"name": "Ada"}, headers=headers)).status == 202


async def test_a_key_that_is_no_key_is_400(ingress: Ingress) -> None:
    answer = await ingress.send("POST", GREET, json={"name": "Ada"}, headers={"Idempotency-Key": "x" * 256})
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")


async def test_browsers_of_other_origins_may_ask(ingress: Ingress) -> None:
    headers = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    answer = await ingress.send("OPTIONS", GREET, headers=headers)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (204, "*")
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert {"Authorization", "Content-Type"} <= set(answer.headers["access-control-allow-headers"].split(", "))
    assert (await ingress.send("OPTIONS", "/webhooks/stripe")).status == 405


async def test_there_is_nothing_elsewhere(ingress: Ingress) -> None:
    for path in ("/api/1.1", "/api/1.1/wf", "/api/2.0/wf/greet", "/api/1.1/wf/greet/more", "/%00"):
        answer = await ingress.send("GET", path)
        assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_a_workflow_deployed_a_moment_ago_can_be_called_and_one_taken_away_no_more(
    ingress: Ingress, tmp_path: Path
) -> None:
    path = "/api/1.1/wf/fresh"
    assert (await ingress.send("POST", path)).status == 404
    fresh = "workflow: fresh\non: {api: {auth: public}}\nsteps:\n  - return: {}\n"
    await deploy_directory(ingress.database, write_app(tmp_path, fresh=fresh))
    assert (await ingress.send("POST", path, headers=ASYNC)).status == 202
    (tmp_path / "workflows/fresh.yaml").unlink()
    await deploy_directory(ingress.database, tmp_path)
    assert (await ingress.send("POST", path, headers=ASYNC)).status == 404


async def test_too_many_requests_at_once_are_asked_to_come_again(ingress: Ingress, amqp_url: str) -> None:
    async with running_ingress(ingress.settings.database_url, amqp_url, None, max_requests=1) as narrow:
        assert (await narrow.send("POST", GREET, json={"name": "Ada"}, headers=ASYNC)).status == 202
        async with ingress.database.connection() as conn, conn.transaction():
            await conn.execute("LOCK TABLE penstock.runs IN ACCESS EXCLUSIVE MODE")
            calls = [
                asyncio.create_task(narrow.send("POST", GREET, json={"name": "Bob"}, headers=ASYNC)) for _ in range(2)
            ]
            done, working = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        refused, accepted = await done.pop(), await working.pop()
    assert (refused.status, refused.headers["retry-after"], accepted.status) == (503, "1", 202)


async def test_those_who_wait_are_let_go_when_the_ingress_stops(ingress: Ingress) -> None:
    calling = asyncio.create_task(ingress.send("POST", GREET, json={"name": "Ada"}))
    await eventually(lambda: ingress.count_waiting("greet"))
    ingress.stop.request()
    answer = await calling
    assert (answer.status, "location" in answer.headers) == (202, True)
