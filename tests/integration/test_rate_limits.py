"""Callers who come too often, guess tokens, or stand behind a proxy."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.integration.ingress import ADMIN, Ingress, running_ingress, write_app

GREET = "/api/1.1/wf/greet"
ADA = {"name": "Ada"}
LATER = {"Prefer": "respond-async"}
WRONG = {"Authorization": "Bearer nobody-has-this-token"}
Open = Callable[..., AbstractAsyncContextManager[Ingress]]


@pytest.fixture
async def opened(database_url: str, amqp_url: str, tmp_path: Path) -> Open:
    """Opens an ingress with settings."""
    return partial(running_ingress, database_url, amqp_url, write_app(tmp_path))


async def test_who_calls_too_often_is_told_when_to_come_again(opened: Open) -> None:
    async with opened(rate_limit=3) as ingress:
        answers = [await ingress.send("POST", GREET, json=ADA, headers=LATER) for _ in range(4)]
        assert [answer.status for answer in answers] == [202, 202, 202, 429]
        assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0", "r=0"]
        assert int(answers[-1].headers["retry-after"]) in range(1, 21)
        assert answers[-1].json["detail"] == (
            f"more than 3 requests in a minute; try again in {answers[-1].headers['retry-after']} s"
        )
        assert (await ingress.send("GET", "/api/1.1/obj/order")).status == 429
        assert (await ingress.send("POST", GREET, json=ADA, headers={**LATER, **ADMIN})).status == 202
        assert await ingress.count_runs() == 4


async def test_without_a_limit_there_are_no_fields(opened: Open) -> None:
    async with opened() as ingress:
        assert "ratelimit" not in (await ingress.send("POST", GREET, json=ADA, headers=LATER)).headers


async def test_who_guesses_tokens_is_shut_out_and_nobody_else(opened: Open) -> None:
    async with opened(max_wrong_tokens=3) as ingress:
        assert (await ingress.manage("GET", "/v1/live/runs")).status == 200
        doors = [partial(ingress.send, "POST", GREET, json=ADA), partial(ingress.manage, "GET", "/v1/live/runs")]
        statuses = [(await door(headers=WRONG)).status for _ in range(3) for door in doors]
        assert statuses == [401, 401, 401, 429, 429, 429]
        assert (await ingress.manage("GET", "/v1/live/runs")).status == 200
        assert (await ingress.send("POST", GREET, json=ADA, headers=LATER)).status == 202
        token = await ingress.manage("POST", "/v1/live/tokens", json={})
        fresh = {"Authorization": f"Bearer {token.json['token']}"}
        assert (await ingress.manage("GET", "/v1/live/runs", headers=fresh)).status == 429


async def test_behind_a_trusted_proxy_callers_are_told_apart(opened: Open) -> None:
    keyed = {**LATER, "Idempotency-Key": "one"}
    async with opened(trusted_proxies="127.0.0.0/8") as ingress:
        runs = [
            (await ingress.send("POST", GREET, json=ADA, headers={**keyed, "X-Forwarded-For": client})).json["run_id"]
            for client in ("203.0.113.7", "203.0.113.8", "1.1.1.1, 203.0.113.7")
        ]
        assert (runs[0] == runs[2], len(set(runs))) == (True, 2)
    async with opened() as ingress:
        runs = [
            (await ingress.send("POST", GREET, json=ADA, headers={**keyed, "X-Forwarded-For": client})).json["run_id"]
            for client in ("203.0.113.7", "203.0.113.8")
        ]
        assert len(set(runs)) == 1
