"""Webhooks over real HTTP: stored with their runs before they are answered, once however often they are sent."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.ingress import SECRETS, Ingress, running_ingress, sign_stripe, write_app


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ingress]:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as running:
        yield running


async def test_a_signed_webhook_is_stored_with_one_run_for_each_workflow_that_wants_it(ingress: Ingress) -> None:
    body, headers = sign_stripe({"id": "evt_1", "type": "invoice.paid"})
    answer = await ingress.send("POST", "/webhooks/stripe", data=body, headers=headers)
    assert answer.status == 200, answer.body
    assert answer.json["status"] == "accepted"
    assert answer.json["duplicate"] is False
    assert len(answer.json["run_ids"]) == 2  # type: ignore[arg-type]
    assert await ingress.count_deliveries() == 1
    assert await ingress.count_runs() == 2


async def test_200_copies_at_once_are_one_delivery_and_one_run(ingress: Ingress) -> None:
    body, headers = sign_stripe({"id": "evt_2", "type": "customer.created"})
    answers = await asyncio.gather(*(ingress.send("POST", "/webhooks/stripe", data=body, headers=headers) for _ in range(200)))
    assert {answer.status for answer in answers} == {200}
    assert sum(answer.json["duplicate"] is False for answer in answers) == 1
    assert len({(answer.json["delivery_id"], str(answer.json["run_ids"])) for answer in answers}) == 1
    assert await ingress.count_deliveries() == 1
    assert await ingress.count_runs() == 1
    assert await ingress.fetchval("SELECT duplicates FROM penstock.deliveries") == 199
