"""Callers are distinguished by their token, and anonymous ones by their address."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from tests.integration.ingress import (
    ADMIN,
    ADMIN_TOKEN,
    PARTNER_SECRET,
    SECRETS,
    Ingress,
    running_ingress,
    sign_stripe,
    write_app,
)

GREET = "/api/1.1/wf/greet"
KEYED = {"Prefer": "respond-async", "Idempotency-Key": "one"}
ADA = {"name": "Ada"}


@pytest.fixture
async def ingress(
    database_url: str, amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Ingress]:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as running:
        yield running


@asynccontextmanager
async def elsewhere(ingress: Ingress) -> AsyncIterator[Ingress]:
    """The same ingress, called from another address."""
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with aiohttp.ClientSession(connector=connector) as http:
        yield replace(ingress, http=http)


async def test_idempotency_keys_of_anonymous_callers_hold_for_their_address(ingress: Ingress) -> None:
    async with elsewhere(ingress) as stranger:
        answers = [
            await caller.send("POST", GREET, json=ADA, headers=headers)
            for caller in (ingress, stranger)
            for headers in (KEYED, KEYED, {**KEYED, **ADMIN})
        ]
    first, again, admin, other, other_again, admin_elsewhere = [answer.json["run_id"] for answer in answers]
    assert (first == again, other == other_again, admin == admin_elsewhere) == (True, True, True)
    assert len({first, other, admin}) == 3
    assert await ingress.count_runs() == 3


async def test_a_run_answers_its_caller_only(ingress: Ingress) -> None:
    mine = (await ingress.send("POST", GREET, json=ADA, headers=KEYED)).headers["location"]
    admins = (await ingress.send("POST", GREET, json=ADA, headers={**KEYED, **ADMIN})).headers["location"]
    async with elsewhere(ingress) as stranger:
        statuses = {
            (name, path == mine): (await caller.send("GET", path, headers=headers)).status
            for name, caller, headers in (("me", ingress, {}), ("stranger", stranger, {}), ("admin", stranger, ADMIN))
            for path in (mine, admins)
        }
    assert statuses == {
        ("me", True): 200,
        ("me", False): 404,
        ("stranger", True): 404,
        ("stranger", False): 404,
        ("admin", True): 200,
        ("admin", False): 200,
    }


@pytest.mark.parametrize(
    "header", [ADMIN_TOKEN, f"Basic {ADMIN_TOKEN}", f"Token {ADMIN_TOKEN}", f"Bearer{ADMIN_TOKEN}"]
)
async def test_a_token_without_bearer_is_refused_at_every_door(ingress: Ingress, header: str) -> None:
    headers = {"Authorization": header}
    answers = [
        await ingress.send("POST", "/api/1.1/wf/secretly", json={}, headers=headers),
        await ingress.send("POST", GREET, json=ADA, headers=headers),
        await ingress.send("GET", "/api/1.1/obj/order", headers=headers),
        await ingress.manage("GET", "/v1/live/runs", headers=headers),
    ]
    assert [answer.status for answer in answers] == [401] * 4
    assert await ingress.count_runs() == 0


async def test_credentials_in_headers_are_not_stored(ingress: Ingress) -> None:
    body, signed = sign_stripe({"id": "evt_1", "type": "invoice.paid"})
    secret = {"X-Api-Key": "hush-hush", "X-Auth-Token": "hush-hush", "Cookie": "a=hush-hush"}
    await ingress.send("POST", "/webhooks/stripe", data=body, headers={**signed, **secret})
    await ingress.send("POST", GREET, json=ADA, headers={**KEYED, **secret})
    for table in ("runs", "deliveries"):
        assert await ingress.fetchval(f"SELECT count(*) FROM penstock.{table}") != 0
        found = f"SELECT count(*) FROM penstock.{table} t WHERE to_jsonb(t)::text LIKE '%hush-hush%'"
        assert await ingress.fetchval(found) == 0
    stored = "SELECT context -> 'request' -> 'headers' ->> 'x-api-key' FROM penstock.runs WHERE workflow = 'greet'"
    assert await ingress.fetchval(stored) == "[redacted]"


async def test_a_webhook_without_a_body_is_verified_like_any_other(ingress: Ingress) -> None:
    body, signed = sign_stripe(b"")
    assert (await ingress.send("POST", "/webhooks/stripe", data=body)).status == 401
    _, forged = sign_stripe(b"", secret=PARTNER_SECRET)
    assert (await ingress.send("POST", "/webhooks/stripe", data=body, headers=forged)).status == 401
    answer = await ingress.send("POST", "/webhooks/stripe", data=body, headers=signed)
    assert (answer.status, answer.json["duplicate"], answer.json["run_ids"]) == (200, False, [])


async def test_ids_beyond_64_bits_are_different_events(ingress: Ingress) -> None:
    for number in (36893488147419103232, 36893488147419103233, 36893488147419103232):
        body, signed = sign_stripe(b'{"id": %d, "type": "invoice.paid"}' % number)
        assert (await ingress.send("POST", "/webhooks/stripe", data=body, headers=signed)).status == 200
    assert await ingress.count_deliveries() == 2
    ids = "SELECT min(context -> 'webhook' -> 'payload' ->> 'id') FROM penstock.runs WHERE workflow = 'paid'"
    assert await ingress.fetchval(ids) == "36893488147419103232"


async def test_numbers_of_parameters_keep_their_digits(ingress: Ingress) -> None:
    body = b'{"name": "Ada", "times": 12345678901234567}'
    headers = {**KEYED, "Content-Type": "text/plain"}
    assert (await ingress.send("POST", GREET, data=body, headers=headers)).status == 202
    stored = "SELECT parameters ->> 'times' FROM penstock.runs"
    assert await ingress.fetchval(stored) == "12345678901234567"
