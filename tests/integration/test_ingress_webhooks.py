"""Webhooks over real HTTP: stored with their runs before they are answered, once however often they are sent."""

import asyncio
import gzip
import hashlib
import hmac
import json
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from tests.eventually import eventually
from tests.integration.ingress import (
    GITHUB_SECRET,
    PARTNER_SECRET,
    SECRETS,
    Ingress,
    running_ingress,
    sign_stripe,
    write_app,
)
from tests.site import deploy_directory


@pytest.fixture
async def ingress(
    database_url: str, amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Ingress]:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    async with running_ingress(database_url, amqp_url, write_app(tmp_path), max_body_bytes=4096) as running:
        yield running


def sign_github(body: bytes, event: str, delivery: str, secret: str = GITHUB_SECRET) -> dict[str, str]:
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={signature}", "X-GitHub-Event": event, "X-GitHub-Delivery": delivery}


def sign_partner(body: bytes, at: float | None = None) -> dict[str, str]:
    moment = str(int(time.time() if at is None else at))
    digest = hmac.digest(PARTNER_SECRET.encode(), moment.encode() + b"." + body, "sha256")
    return {"X-Signature": b64encode(digest).decode(), "X-Timestamp": moment, "Content-Type": "application/json"}


async def test_a_signed_webhook_is_stored_with_one_run_for_each_workflow_that_wants_it(ingress: Ingress) -> None:
    body, headers = sign_stripe({"id": "evt_1", "type": "invoice.paid", "n": 1})
    answer = await ingress.send("POST", "/webhooks/stripe", data=body, headers={**headers, "Cookie": "secret"})
    assert answer.status == 200, answer.body
    assert answer.json.keys() == {"status", "delivery_id", "run_ids", "duplicate"}
    assert (answer.json["status"], answer.json["duplicate"]) == ("accepted", False)
    assert len(cast("list[str]", answer.json["run_ids"])) == 2
    async with ingress.database.connection() as conn:
        delivery = await conn.fetchrow("SELECT * FROM penstock.deliveries")
        runs = await conn.fetch("SELECT * FROM penstock.runs ORDER BY workflow")
    assert delivery is not None
    assert (str(delivery["id"]), delivery["state"], delivery["type"]) == (
        answer.json["delivery_id"],
        "accepted",
        "invoice.paid",
    )
    assert (delivery["dedup_key"], delivery["body"], delivery["environment"]) == ("evt_1", body, "live")
    assert "cookie" not in delivery["headers"]
    assert [(run["workflow"], run["trigger"], run["depth"], run["state"]) for run in runs] == [
        ("bookkeeping", "webhook", 0, "queued"),
        ("paid", "webhook", 0, "queued"),
    ]
    assert {str(run["id"]) for run in runs} == set(cast("list[str]", answer.json["run_ids"]))
    webhook = runs[0]["context"]["webhook"]
    assert webhook.keys() == {"source", "id", "event_id", "type", "payload", "headers", "received_at"}
    assert (webhook["source"], webhook["type"], webhook["id"]) == ("stripe", "invoice.paid", answer.json["delivery_id"])
    assert webhook["event_id"] == "evt_1"
    assert webhook["payload"] == {"id": "evt_1", "type": "invoice.paid", "n": 1}


async def test_200_copies_at_once_are_one_delivery_and_one_run(ingress: Ingress) -> None:
    body, headers = sign_stripe({"id": "evt_2", "type": "customer.created"})
    answers = await asyncio.gather(
        *(ingress.send("POST", "/webhooks/stripe", data=body, headers=headers) for _ in range(200))
    )
    assert {answer.status for answer in answers} == {200}
    assert sum(answer.json["duplicate"] is False for answer in answers) == 1
    assert len({(answer.json["delivery_id"], str(answer.json["run_ids"])) for answer in answers}) == 1
    assert await ingress.count_deliveries() == 1
    assert await ingress.count_runs() == 1
    assert await ingress.fetchval("SELECT duplicates FROM penstock.deliveries") == 199


async def test_copies_that_reach_two_ingresses_at_once_are_one_delivery(ingress: Ingress, amqp_url: str) -> None:
    async with running_ingress(ingress.settings.database_url, amqp_url, None) as second:
        signed = [sign_stripe({"id": f"evt_{number % 20}", "type": "customer.created"}) for number in range(200)]
        answers = await asyncio.gather(
            *(
                (ingress, second)[number % 2].send("POST", "/webhooks/stripe", data=body, headers=headers)
                for number, (body, headers) in enumerate(signed)
            )
        )
    assert {answer.status for answer in answers} == {200}
    assert sum(answer.json["duplicate"] is False for answer in answers) == 20
    assert (await ingress.count_deliveries(), await ingress.count_runs()) == (20, 20)


async def test_a_type_that_no_workflow_wants_is_stored_as_unmatched(ingress: Ingress) -> None:
    body, headers = sign_stripe({"id": "evt_3", "type": "charge.refunded"})
    answer = await ingress.send("POST", "/webhooks/stripe", data=body, headers=headers)
    assert (answer.status, answer.json["run_ids"]) == (200, [])
    assert await ingress.fetchval("SELECT state FROM penstock.deliveries") == "unmatched"


@pytest.mark.parametrize(
    "forge",
    ["another secret", "another body", "no signature", "too old", "too new", "garbage"],
)
async def test_what_is_not_genuine_is_refused_and_leaves_nothing(ingress: Ingress, forge: str) -> None:
    event = {"id": "evt_4", "type": "invoice.paid"}
    body, headers = sign_stripe(event)
    match forge:
        case "another secret":
            body, headers = sign_stripe(event, secret="whsec_wrong")
        case "another body":
            body += b" "
        case "no signature":
            headers = {"Content-Type": "application/json"}
        case "too old":
            body, headers = sign_stripe(event, at=time.time() - 310)
        case "too new":
            body, headers = sign_stripe(event, at=time.time() + 3600)
        case _:
            headers["Stripe-Signature"] = "t=1,v1=zz,v1=é"
    answer = await ingress.send("POST", "/webhooks/stripe", data=body, headers=headers)
    assert answer.status == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert await ingress.count_deliveries() == 0
    metrics = (await ingress.manage("GET", "/metrics")).body.decode()
    assert 'penstock_deliveries_total{outcome="' in metrics


async def test_the_signature_is_checked_before_the_body_is_read_as_json(ingress: Ingress) -> None:
    body, headers = sign_stripe(b"this is not JSON", secret="whsec_wrong")
    assert (await ingress.send("POST", "/webhooks/stripe", data=body, headers=headers)).status == 401
    body, headers = sign_stripe(b"this is not JSON")
    answer = await ingress.send("POST", "/webhooks/stripe", data=body, headers=headers)
    assert answer.status == 400
    assert "line 1" in str(answer.json["detail"])
    body, headers = sign_stripe(b"<xml/>")
    headers["Content-Type"] = "text/xml"
    assert (await ingress.send("POST", "/webhooks/stripe", data=body, headers=headers)).status == 400
    deep = b"[" * 80 + b"]" * 80
    body, headers = sign_stripe(deep)
    assert (await ingress.send("POST", "/webhooks/stripe", data=body, headers=headers)).status == 400
    assert await ingress.count_deliveries() == 0


async def test_a_compressed_body_is_415_and_a_large_one_413_also_when_its_length_is_not_told(ingress: Ingress) -> None:
    body, headers = sign_stripe(gzip.compress(b'{"id": "evt_5", "type": "invoice.paid"}'))
    answer = await ingress.send("POST", "/webhooks/stripe", data=body, headers={**headers, "Content-Encoding": "gzip"})
    assert answer.status == 415
    large, headers = sign_stripe(b"[" + b"1," * 3000 + b"1]")
    assert (await ingress.send("POST", "/webhooks/stripe", data=large, headers=headers)).status == 413

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 1000):
            yield large[start : start + 1000]

    assert (await ingress.send("POST", "/webhooks/stripe", data=chunks(), headers=headers)).status == 413
    assert await ingress.count_deliveries() == 0


async def test_unknown_sources_and_other_methods_are_refused(ingress: Ingress) -> None:
    answer = await ingress.send("POST", "/webhooks/nobody", data=b"{}")
    assert (answer.status, "nobody" in str(answer.json["detail"])) == (404, True)
    answer = await ingress.send("GET", "/webhooks/stripe")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert (await ingress.send("POST", "/webhooks/stripe/more", data=b"{}")).status == 404


async def test_a_source_whose_secret_is_not_set_accepts_nothing_and_asks_to_try_again(ingress: Ingress) -> None:
    body = b"{}"
    answer = await ingress.send("POST", "/webhooks/unset", data=body, headers=sign_github(body, "push", "1", "whsec_"))
    assert answer.status == 503
    assert "retry-after" in answer.headers
    assert await ingress.count_deliveries() == 0


async def test_github_is_known_by_its_headers(ingress: Ingress) -> None:
    body = b'{"zen": "Design for failure."}'
    headers = {**sign_github(body, "push", "72d3162e"), "Content-Type": "application/json"}
    first = await ingress.send("POST", "/webhooks/github", data=body, headers=headers)
    again = await ingress.send("POST", "/webhooks/github", data=body, headers=headers)
    assert (first.json["duplicate"], again.json["duplicate"]) == (False, True)
    assert first.json["run_ids"] == again.json["run_ids"] != []
    other = b'{"zen": "Half measures are as bad as nothing at all."}'
    ping = await ingress.send("POST", "/webhooks/github", data=other, headers=sign_github(other, "ping", "other"))
    assert (ping.status, ping.json["run_ids"]) == (200, [])
    forged = await ingress.send("POST", "/webhooks/github", data=body, headers=sign_github(body, "push", "x", "wrong"))
    assert forged.status == 401


async def test_github_may_send_forms(ingress: Ingress) -> None:
    body = b"payload=%7B%22a%22%3A1%7D"
    headers = {**sign_github(body, "push", "form"), "Content-Type": "application/x-www-form-urlencoded"}
    assert (await ingress.send("POST", "/webhooks/github", data=body, headers=headers)).status == 200
    assert await ingress.fetchval("SELECT context #>> '{webhook,payload,payload}' FROM penstock.runs") == '{"a":1}'


async def test_a_general_source_signs_a_template_and_picks_type_and_key_from_the_payload(ingress: Ingress) -> None:
    body = json.dumps({"event": {"name": "order.made"}, "data": {"id": 17}}).encode()
    answer = await ingress.send("POST", "/webhooks/partner", data=body, headers=sign_partner(body))
    assert (answer.status, answer.json["duplicate"]) == (200, False)
    other = json.dumps({"event": {"name": "order.made"}, "data": {"id": 17}, "sent": 2}).encode()
    answer = await ingress.send("POST", "/webhooks/partner", data=other, headers=sign_partner(other))
    assert (answer.status, answer.json["duplicate"]) == (200, True)
    for offset in (-61, 3600):
        stale = await ingress.send(
            "POST", "/webhooks/partner", data=body, headers=sign_partner(body, time.time() + offset)
        )
        assert stale.status == 401
    assert await ingress.count_runs() == 1


async def test_the_environment_follows_from_the_prefix(ingress: Ingress) -> None:
    for prefix, environment in (
        ("", "live"),
        ("/version-live", "live"),
        ("/version-test", "development"),
        ("//version-x7/", "development"),
    ):
        body, headers = sign_stripe({"id": f"evt_{prefix}", "type": "customer.created"})
        answer = await ingress.send("POST", f"{prefix}/webhooks/stripe", data=body, headers=headers)
        assert answer.status == 200, answer.body
        found = await ingress.fetchval(
            "SELECT environment FROM penstock.deliveries WHERE id::text = $1", answer.json["delivery_id"]
        )
        assert found == environment


async def test_a_payload_with_nul_is_accepted_and_its_body_kept_as_it_was(ingress: Ingress) -> None:
    body, headers = sign_stripe(b'{"id": "evt_nul\\u0000", "type": "invoice.paid", "text": "a\\u0000b"}')
    answer = await ingress.send("POST", "/webhooks/stripe", data=body, headers=headers)
    assert answer.status == 200, answer.body
    assert await ingress.fetchval("SELECT body FROM penstock.deliveries") == body
    assert (
        await ingress.fetchval("SELECT context #>> '{webhook,payload,text}' FROM penstock.runs LIMIT 1") == "a\ufffdb"
    )


async def test_a_workflow_deployed_a_moment_ago_gets_its_webhooks(ingress: Ingress, tmp_path: Path) -> None:
    async def post(number: int) -> list[object]:
        body, headers = sign_stripe({"id": f"evt_{number}", "type": "charge.refunded"})
        answer = await ingress.send("POST", "/webhooks/stripe", data=body, headers=headers)
        assert answer.status == 200
        return cast("list[object]", answer.json["run_ids"])

    assert await post(1) == []
    refunds = (
        'workflow: refunds\non: {webhook: {source: stripe, types: ["charge.*"]}}\nsteps:\n  - log: "${webhook.type}"\n'
    )
    await deploy_directory(ingress.database, write_app(tmp_path, refunds=refunds))
    assert len(await post(2)) == 1


async def test_one_delivery_that_the_database_refuses_does_not_fail_its_neighbours(ingress: Ingress) -> None:
    async with ingress.database.connection() as conn:
        await conn.execute("ALTER TABLE penstock.deliveries ADD CHECK (dedup_key <> 'evt_7')")
    signed = [sign_stripe({"id": f"evt_{number}", "type": "customer.created"}) for number in range(50)]
    answers = await asyncio.gather(
        *(ingress.send("POST", "/webhooks/stripe", data=body, headers=headers) for body, headers in signed)
    )
    assert [number for number, answer in enumerate(answers) if answer.status != 200] == [7]
    assert answers[7].status == 500
    assert await ingress.count_deliveries() == 49


async def test_runs_are_handed_to_the_broker(ingress: Ingress, amqp_url: str) -> None:
    from penstock.broker.rabbitmq import connect
    from penstock.contracts.topology import executor_queue, topology

    broker = await connect(amqp_url, topology=topology(), name="test")
    try:
        body, headers = sign_stripe({"id": "evt_8", "type": "customer.created"})
        assert (await ingress.send("POST", "/webhooks/stripe", data=body, headers=headers)).status == 200

        async def has_message() -> bool:
            return (await broker.count_ready(executor_queue()) or 0) > 0

        await eventually(has_message)
    finally:
        await broker.close()
