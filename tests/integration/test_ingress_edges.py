"""The management API at the edges: unknown names, times that no calendar has, texts that no table holds."""

import base64
import json
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from penstock_ingress.routes.openapi import OPERATIONS
from penstock_ingress.routes.operation import Operation
from tests.integration.ingress import ADMIN, Ingress, sharing_ingress, write_app
from tests.servers import Servers

ID = "0190a5f2-7c00-8a11-9b22-0123456789ab"
GONE = ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00"]
FIRST, LAST = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"
KEEPING = "workflow: keep\nparameters: {value: any}\nsteps: [{return: {}}]"
RECUR = {"workflow": "quickly", "every": "daily"}
NAMES = [f"{operation.method} {operation.path}" for operation in OPERATIONS]


@pytest.fixture(scope="module")
async def ingress(
    servers: Servers, database_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Ingress]:
    directory = write_app(tmp_path_factory.mktemp("app"), keeping=KEEPING)
    async with sharing_ingress(servers, database_template, directory) as running:
        yield running


def path_of(operation: Operation) -> str:
    return f"/v1/live/{operation.path.replace('{id}', ID).replace('{name}', 'x').replace('{type}', 'order')}"


@pytest.mark.parametrize("operation", OPERATIONS, ids=NAMES)
async def test_an_unknown_query_parameter_is_422_and_named(ingress: Ingress, operation: Operation) -> None:
    answer = await ingress.manage(operation.method.upper(), f"{path_of(operation)}?bogus=1&limit=1")
    assert (answer.status, "'bogus'" in str(answer.json["detail"])) == (422, True)
    assert answer.headers["content-type"] == "application/problem+json"


WRITING = [operation for operation in OPERATIONS if operation.method != "get" and not operation.is_upload]


@pytest.mark.parametrize(
    "operation",
    [operation for operation in WRITING if operation.path != "signals/{name}"],
    ids=lambda operation: f"{operation.method} {operation.path}",
)
async def test_an_unknown_key_of_a_body_is_422_and_named(ingress: Ingress, operation: Operation) -> None:
    answer = await ingress.manage(operation.method.upper(), path_of(operation), json={"bogus": 1})
    assert (answer.status, "bogus" in str(answer.json["detail"])) == (422, True)


async def test_a_body_of_nothing_is_as_good_as_none(ingress: Ingress) -> None:
    for body in (b"", b"{}", b" "):
        assert (await ingress.manage("POST", f"/v1/live/runs/{ID}/cancel", data=body)).status == 404


@pytest.mark.parametrize("moment", GONE)
async def test_a_time_that_is_not_in_the_years_of_utc_is_422(ingress: Ingress, moment: str) -> None:
    quoted = moment.replace("+", "%2B")
    answers = [
        await ingress.manage("POST", "/v1/live/runs", json={"workflow": "quickly", "at": moment}),
        await ingress.manage("POST", "/v1/live/recurrences", json={**RECUR, "start": moment}),
        await ingress.manage("POST", f"/v1/live/recurrences/{ID}/backfill", json={"since": moment, "until": moment}),
        *[
            await ingress.manage("GET", f"/v1/live/{path}?{name}={quoted}")
            for path in ("runs", "logs", "workload")
            for name in ("since", "until")
        ],
    ]
    assert {(answer.status, "not between the years 1 and 9999 in UTC" in str(answer.json)) for answer in answers} == {
        (422, True)
    }


async def test_a_time_of_the_past_means_now(ingress: Ingress) -> None:
    for moment in (FIRST, "1970-01-01T00:00:00Z", "2020-01-01T00:00:00+14:00"):
        answer = await ingress.manage("POST", "/v1/live/runs", json={"workflow": "quickly", "at": moment})
        assert (answer.status, answer.json["state"]) == (201, "queued")
        assert str(answer.json["scheduled_at"]) > "2025"


async def test_no_stored_time_is_infinite(ingress: Ingress) -> None:
    run = await ingress.manage("POST", "/v1/live/runs", json={"workflow": "quickly", "at": LAST})
    assert (run.status, run.json["state"], str(run.json["scheduled_at"])[:4]) == (201, "scheduled", "9999")
    assert (await ingress.manage("GET", f"/v1/live/runs/{run.json['id']}")).status == 200
    for moment in (FIRST, LAST):
        for rule in ({"every": "daily"}, {"every": "yearly"}, {"cron": "0 3 * * *"}):
            wanted = {"workflow": "quickly", "start": moment, "thing": str(uuid4()), **rule}
            made = await ingress.manage("POST", "/v1/live/recurrences", json=wanted)
            assert made.status == 200, made.body
            ticks = {"since": FIRST, "until": LAST}
            backfilled = await ingress.manage("POST", f"/v1/live/recurrences/{made.json['id']}/backfill", json=ticks)
            assert backfilled.status in (200, 422), backfilled.body
    infinite = "SELECT count(*) FROM penstock.recurrences WHERE start_at IN ('infinity', '-infinity')"
    assert await ingress.fetchval(infinite) == 0
    assert (await ingress.manage("GET", "/v1/live/recurrences")).status == 200


@pytest.mark.parametrize("moment", [FIRST, LAST, "0001-01-01T00:00:00-23:59", "9999-12-31T23:59:59%2B14:00"])
async def test_lists_take_times_at_the_edge(ingress: Ingress, moment: str) -> None:
    for path in ("runs", "logs", "workload"):
        for name in ("since", "until"):
            answer = await ingress.manage("GET", f"/v1/live/{path}?{name}={moment}")
            assert answer.status == 200, answer.body


@pytest.mark.parametrize("path", ["runs", "logs", "workload", "recurrences", f"chains/{ID}"])
async def test_a_forged_token_of_a_page_is_400(ingress: Ingress, path: str) -> None:
    places = [
        [FIRST, ID], [GONE[0], ID], ["2020-01-01T00:00:00", ID], [LAST, 1], [2**40, ID], [2**64, 2**64], [-1, 0],
        ["a\x00", ID], [True, None], [[], {}], "xx", 7, [1, 2, 3], [1.5, ID], ["2020-01-01T00:00:00Z", 2**63],
    ]  # fmt: skip
    tokens = [base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=") for place in places]
    for token in [*tokens, "é", "%00", "AAAA", "=", "W10"]:
        answer = await ingress.manage("GET", f"/v1/live/{path}?after={token}")
        assert answer.status in (200, 400, 404), (token, answer.body)


UNSTORABLE = ["a\x00b", "a\ud800b"]


@pytest.mark.parametrize("text", UNSTORABLE, ids=["nul", "half"])
async def test_a_text_that_cannot_be_stored_is_refused_wherever_it_stands(ingress: Ingress, text: str) -> None:
    body = {"workflow": "quickly"}
    answers = [
        await ingress.manage("POST", "/v1/live/runs", json={**body, "idempotency_key": text}),
        await ingress.manage("POST", "/v1/live/runs", json={"workflow": text}),
        await ingress.manage("POST", "/v1/live/recurrences", json={**RECUR, "thing": text}),
        await ingress.manage("PUT", "/v1/live/settings", json={"notification_addresses": [f"{text}@example.com"]}),
    ]
    assert {answer.status for answer in answers} <= {400, 422}


@pytest.mark.parametrize("escaped", ["a%00b", "a%ed%a0%80b", "a%ffb"])
async def test_no_name_in_a_path_or_query_is_a_500(ingress: Ingress, escaped: str) -> None:
    answers = [
        await ingress.manage("POST", f"/v1/live/signals/{escaped}"),
        await ingress.manage("POST", f"/v1/live/files?name={escaped}", data=b"x"),
        await ingress.manage("GET", f"/v1/live/runs?workflow={escaped}&contains={escaped}"),
        await ingress.manage("GET", f"/v1/live/logs?contains={escaped}"),
        await ingress.manage("GET", f"/v1/live/recurrences?workflow={escaped}"),
        await ingress.manage("GET", f"/v1/{escaped}/runs"),
        await ingress.send("POST", f"/webhooks/{escaped}"),
        await ingress.send("POST", f"/api/1.1/wf/{escaped}"),
        await ingress.send("GET", f"/api/1.1/obj/{escaped}/{escaped}"),
        await ingress.send("GET", f"/api/1.1/obj/order/{escaped}"),
        await ingress.send("GET", f"/api/1.1/runs/{escaped}"),
        await ingress.send("GET", f"/api/1.1/wf/look?name={escaped}"),
    ]
    assert [answer.status for answer in answers if answer.status >= 500] == []


async def test_parameters_given_to_the_management_api_keep_their_digits(ingress: Ingress) -> None:
    body = b'{"workflow": "keep", "parameters": {"value": 12345678901234567.25}}'
    answer = await ingress.manage("POST", "/v1/live/runs", data=body, headers=ADMIN)
    assert answer.status == 201
    stored = "SELECT parameters ->> 'value' FROM penstock.runs WHERE id::text = $1"
    assert await ingress.fetchval(stored, answer.json["id"]) == "12345678901234567.25"
