"""The Workflow API's wire format, byte for byte where it is known."""

import asyncio
import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from penstock.things.records import NewThing, create_things, delete_things
from penstock.things.tables import USER
from tests.integration.ingress import ADMIN_TOKEN, Ingress, JsonObject, running_ingress, write_app
from tests.site import deploy_directory

GREET = "/api/1.1/wf/greet"
LATER = {"Prefer": "respond-async"}
USER_ID = "1700000000000x000000000000000001"
NOBODY = "1700000000000x000000000000000002"
MORE = """
workflow: Mixed_Case
on: {api: {auth: public, respond: at_once}}
steps:
  - return: {}
---
workflow: of_users
parameters: {owner: {type: user, optional: true}, team: {type: list of user, optional: true}}
on: {api: {auth: public, respond: at_once}}
steps:
  - return: {}
---
workflow: send_away
parameters: {name: text}
when: params.name != 'nobody'
on: {api: {auth: public, redirect: "https://example.com/thanks?from=us", redirect_on_error: /sorry}}
steps:
  - return: {}
"""


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_ingress(database_url, amqp_url, write_app(tmp_path, more=MORE)) as running:
        yield running


async def test_success_has_a_response_even_when_nothing_is_returned(ingress: Ingress) -> None:
    for result, body in (
        (None, b'{"status":"success","response":{}}'),
        ({}, b'{"status":"success","response":{}}'),
        ({"a": [1, 2], "b": None}, b'{"status":"success","response":{"a":[1,2],"b":null}}'),
    ):
        calling = asyncio.create_task(ingress.send("POST", GREET, json={"name": "Ada"}))
        await ingress.finish_next("greet", result=result)
        answer = await calling
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers["content-type"] == "application/json"


async def test_a_missing_parameter_byte_for_byte(ingress: Ingress) -> None:
    answer = await ingress.send("POST", GREET, json={})
    assert answer.status == 400
    assert answer.body == (
        b'{"statusCode":400,"body":{"status":"MISSING_DATA",'
        b'"message":"Missing parameter for workflow greet: parameter name"}}'
    )


async def test_a_condition_that_is_not_met_byte_for_byte(ingress: Ingress) -> None:
    for workflow, status in (("greet", 400), ("perhaps", 200)):
        calling = asyncio.create_task(ingress.send("POST", f"/api/1.1/wf/{workflow}", json={"name": "Ada"}))
        await ingress.finish_next(workflow, "skipped")
        answer = await calling
        message = f"The condition for the workflow {workflow} is not met. Workflow won't run"
        body = f'{{"statusCode":{status},"body":{{"status":"NOT_RUN","message":"{message}"}}}}'
        assert (answer.status, answer.body.decode()) == (status, body)


async def test_a_wrong_token_byte_for_byte(ingress: Ingress) -> None:
    answer = await ingress.send("POST", f"{GREET}?api_token=wrong", json={"name": "Ada"})
    assert answer.status == 401
    assert re.fullmatch(
        rb'{"error_class":"Unauthorized","args":{"code":"\d{13}x\d{18}"},"message":null,'
        rb'"translation":"Invalid or expired token: wrong"}',
        answer.body,
    )


@pytest.mark.parametrize(
    ("prefix", "environment"),
    [
        ("", "live"),
        ("/version-live", "live"),
        ("/version-test", "development"),
        ("/version-my-branch", "development"),
        ("//version-test/", "development"),
        ("//", "live"),
    ],
)
async def test_prefixes_lead_to_their_environment(ingress: Ingress, prefix: str, environment: str) -> None:
    assert (await ingress.send("POST", prefix + GREET, json={"name": "Ada"}, headers=LATER)).status == 202
    assert await ingress.fetchval("SELECT environment FROM penstock.runs") == environment


async def test_names_are_case_sensitive(ingress: Ingress) -> None:
    assert (await ingress.send("POST", "/api/1.1/wf/Mixed_Case")).status == 202
    refused = await ingress.send("POST", "/api/1.1/wf/mixed_case")
    assert (refused.status, refused.wrapped[:2]) == (404, (404, "NOT_FOUND"))
    assert refused.body.startswith(b'{"statusCode":404,"body":{"status":"NOT_FOUND","message":"')


async def test_parameters_may_come_in_four_ways(ingress: Ingress) -> None:
    multipart = aiohttp.FormData(default_to_multipart=True)
    multipart.add_field("name", "Ada")
    ways = (
        ingress.send("POST", GREET, json={"name": "Ada", "undeclared": 1}, headers=LATER),
        ingress.send("POST", GREET, data=aiohttp.FormData({"name": "Ada"}), headers=LATER),
        ingress.send("POST", GREET, data=multipart, headers=LATER),
        ingress.send("POST", f"{GREET}?name=Ada", headers=LATER),
        ingress.send("GET", f"/api/1.1/wf/look?name=Ada&api_token={ADMIN_TOKEN}", headers=LATER),
    )
    for way in ways:
        assert (await way).status == 202
    names = await ingress.fetchval("SELECT array_agg(parameters->>'name') FROM penstock.runs")
    assert names == ["Ada"] * 5


async def test_a_thing_that_is_not_there_is_invalid_data(ingress: Ingress) -> None:
    path = "/api/1.1/wf/of_users"
    async with ingress.database.connection() as conn:
        ada = NewThing(USER_ID, {"email": "ada@example.com"})
        await create_things(conn, environment="live", data_type=USER, things=[ada])
    fine: list[JsonObject] = [{"owner": USER_ID}, {"team": [USER_ID]}, {"owner": {"_id": USER_ID}}, {"team": []}, {}]
    for given in fine:
        assert (await ingress.send("POST", path, json=given)).status == 202
    runs = await ingress.count_runs()
    answer = await ingress.send("POST", path, json={"owner": NOBODY})
    assert answer.body == (
        b'{"statusCode":400,"body":{"status":"INVALID_DATA",'
        b'"message":"Invalid value for parameter owner: there is no user with this id"}}'
    )
    answer = await ingress.send("POST", path, json={"team": [USER_ID, NOBODY]})
    assert answer.wrapped[2] == "Invalid value for parameter team: item 1: there is no user with this id"
    elsewhere = await ingress.send("POST", f"/version-test{path}", json={"owner": USER_ID})
    assert (answer.status, elsewhere.status, await ingress.count_runs()) == (400, 400, runs)


async def test_a_copy_is_the_run_it_was_even_when_that_run_has_deleted_the_thing(ingress: Ingress) -> None:
    async with ingress.database.connection() as conn:
        ada = NewThing(USER_ID, {"email": "ada@example.com"})
        await create_things(conn, environment="live", data_type=USER, things=[ada])
    call = partial(ingress.send, "POST", "/api/1.1/wf/of_users", json={"owner": USER_ID})
    first = await call(headers={"Idempotency-Key": "k"})
    async with ingress.database.connection() as conn:
        assert await delete_things(conn, environment="live", data_type=USER, ids=[USER_ID]) == 1
    copy = await call(headers={"Idempotency-Key": "k"})
    assert (copy.status, copy.headers["idempotent-replayed"]) == (202, "true")
    assert copy.headers["penstock-run-id"] == first.headers["penstock-run-id"]
    assert (await call(headers={"Idempotency-Key": "other"})).status == 400
    assert await ingress.count_runs() == 1


async def test_a_type_that_was_removed_a_moment_ago_is_not_a_failure(ingress: Ingress, tmp_path: Path) -> None:
    path = "/api/1.1/wf/of_orders"
    workflow = "workflow: of_orders\nparameters: {given: ticket}\non: {api: {auth: public}}\nsteps: []\n"
    (tmp_path / "types/ticket.yaml").write_text("type: ticket\nfields: {name: text}\n")
    await deploy_directory(ingress.database, write_app(tmp_path, more=MORE, of_orders=workflow))
    assert (await ingress.send("POST", path, json={"given": NOBODY})).wrapped[1] == "INVALID_DATA"
    (tmp_path / "types/ticket.yaml").unlink()
    (tmp_path / "workflows/of_orders.yaml").unlink()
    await deploy_directory(ingress.database, tmp_path)
    async with ingress.database.connection() as conn:
        await conn.execute('DROP TABLE "live"."ticket"')
    answer = await ingress.send("POST", path, json={"given": NOBODY})
    assert (answer.status, answer.wrapped[1]) == (404, "NOT_FOUND")


async def test_texts_of_any_type_are_sent_as_they_are(ingress: Ingress) -> None:
    for result, media_type, body in (
        ({"text": "plain é"}, "text/plain; charset=utf-8", "plain é".encode()),
        ({"text": "<a/>", "content_type": "application/xml"}, "application/xml", b"<a/>"),
        ({"text": "a,b", "content_type": "text/csv; charset=utf-8"}, "text/csv; charset=utf-8", b"a,b"),
        ({"text": "<a/>", "content_type": ""}, "text/plain; charset=utf-8", b"<a/>"),
    ):
        calling = asyncio.create_task(ingress.send("POST", GREET, json={"name": "Ada"}))
        await ingress.finish_next("greet", result=result)
        answer = await calling
        assert (answer.status, answer.headers["content-type"], answer.body) == (200, media_type, body)


async def test_callers_are_sent_on_with_what_was_returned(ingress: Ingress) -> None:
    for result, location in (
        (None, "https://example.com/thanks?from=us"),
        ({"note": "a b&c", "order": 17}, "https://example.com/thanks?from=us&note=a+b%26c&order=17"),
        ({"redirect": "/elsewhere", "order": 1}, "/elsewhere?order=1"),
    ):
        calling = asyncio.create_task(ingress.send("POST", "/api/1.1/wf/send_away", json={"name": "Ada"}))
        await ingress.finish_next("send_away", result=result)
        answer = await calling
        assert (answer.status, answer.headers["location"], answer.body) == (302, location, b"")
        assert "penstock-run-id" in answer.headers


async def test_callers_are_sent_on_with_what_went_wrong(ingress: Ingress) -> None:
    path = "/api/1.1/wf/send_away"
    missing = await ingress.send("POST", path, json={})
    message = "Missing+parameter+for+workflow+send_away:+parameter+name"
    assert (missing.status, missing.headers["location"]) == (302, f"/sorry?statusCode=400&message={message}")
    for state, error, query in (
        ("failed", {"kind": "failed", "message": "no"}, "statusCode=400&message=no"),
        ("failed", {"kind": "timeout", "message": "late"}, "statusCode=500&message=late"),
        ("skipped", None, "statusCode=400&message=The+condition+for+the+workflow+send_away+is+not+met."),
        ("cancelled", None, "statusCode=500&message=The+workflow+send_away+was+cancelled"),
    ):
        calling = asyncio.create_task(ingress.send("POST", path, json={"name": "Ada"}))
        await ingress.finish_next("send_away", state, error=error)
        answer = await calling
        assert answer.status == 302
        assert answer.headers["location"].startswith(f"/sorry?{query}")
    assert (await ingress.send("POST", f"{path}?api_token=wrong", json={"name": "Ada"})).status == 401
    assert (await ingress.send("GET", path)).status == 404


async def test_other_sites_may_call_with_a_token(ingress: Ingress) -> None:
    asked = {
        "Origin": "https://elsewhere.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    for path in (GREET, f"/version-test{GREET}", "/api/1.1/obj/order", "/api/1.1/meta"):
        preflight = await ingress.send("OPTIONS", path, headers=asked)
        assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (204, "*")
        allowed = preflight.headers["access-control-allow-headers"].lower()
        assert "authorization" in allowed
        assert "content-type" in allowed
    refused = await ingress.send("POST", GREET, json={}, headers={"Origin": "https://elsewhere.example"})
    assert refused.headers["access-control-allow-origin"] == "*"
