"""Which deliveries are copies, and for how long: an id for 30 days, a body for as long as its time holds."""

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.integration.ingress import (
    GITHUB_SECRET,
    PARTNER_SECRET,
    SECRETS,
    Ingress,
    JsonObject,
    running_ingress,
    sign_stripe,
    write_app,
)

PLAIN = """
  plain: {scheme: hmac, secrets: ["${secrets.PARTNER}"], header: X-Signature}
  headed: {scheme: hmac, secrets: ["${secrets.PARTNER}"], header: X-Signature, deduplicate: {header: X-Event-Id}}
  timed:
    scheme: hmac
    secrets: ["${secrets.PARTNER}"]
    header: X-Signature
    signed: "{timestamp}.{body}"
    timestamp: {header: X-Time, tolerance: 1m}
"""
DAY = timedelta(days=1)


@pytest.fixture
async def ingress(
    database_url: str, amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Ingress]:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    directory = write_app(tmp_path)
    app = directory / "app.yaml"
    app.write_text(app.read_text() + PLAIN)
    async with running_ingress(database_url, amqp_url, directory) as running:
        yield running


async def send(ingress: Ingress, source: str, body: bytes, **headers: str) -> JsonObject:
    """A webhook whose body is signed with the partner's secret, unless `headers` has a signature."""
    signature = hmac.new(PARTNER_SECRET.encode(), body, hashlib.sha256).hexdigest()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await ingress.send("POST", f"/webhooks/{source}", data=body, headers={"X-Signature": signature, **named})
    assert answer.status == 200, answer.body
    return answer.json


async def age(ingress: Ingress, by: timedelta) -> None:
    """Let the time go by, for the deliveries that are stored."""
    async with ingress.database.connection() as conn:
        for table in ("deliveries", "delivery_keys"):
            await conn.execute(
                f"UPDATE penstock.{table} SET received_at = received_at - $1::interval, "
                "unique_until = unique_until - $1::interval",
                by,
            )


async def test_the_same_body_is_a_new_event_after_a_day(ingress: Ingress) -> None:
    first = await send(ingress, "plain", b'{"event": "tick"}')
    await age(ingress, 0.9 * DAY)
    copy = await send(ingress, "plain", b'{"event": "tick"}')
    assert (copy["duplicate"], copy["delivery_id"]) == (True, first["delivery_id"])
    await age(ingress, 0.2 * DAY)
    later = await send(ingress, "plain", b'{"event": "tick"}')
    assert (later["duplicate"], later["delivery_id"] != first["delivery_id"]) == (False, True)
    again = await send(ingress, "plain", b'{"event": "tick"}')
    assert (again["duplicate"], again["delivery_id"]) == (True, later["delivery_id"])
    assert await ingress.count_deliveries() == 2
    assert await ingress.fetchval("SELECT sum(duplicates) FROM penstock.deliveries") == 2


async def test_the_same_body_at_the_same_signed_time_is_a_new_event_after_the_tolerance(ingress: Ingress) -> None:
    moment = str(int(time.time()))
    signature = hmac.new(PARTNER_SECRET.encode(), f"{moment}.{{}}".encode(), hashlib.sha256).hexdigest()
    outcomes = []
    for seconds in (0, 50, 20):
        await age(ingress, timedelta(seconds=seconds))
        outcomes.append((await send(ingress, "timed", b"{}", X_Time=moment, X_Signature=signature))["duplicate"])
    assert outcomes == [False, True, False]


async def test_an_id_is_known_for_30_days(ingress: Ingress) -> None:
    body, headers = sign_stripe({"id": "evt_1", "type": "invoice.paid"})
    outcomes = []
    for passed in (0 * DAY, 29 * DAY, 2 * DAY):
        await age(ingress, passed)
        answer = await ingress.send("POST", "/webhooks/stripe", data=body, headers=headers)
        outcomes.append((answer.status, answer.json["duplicate"], len(str(answer.json["run_ids"])) > 2))
    assert outcomes == [(200, False, True), (200, True, True), (200, False, True)]
    assert await ingress.fetchval("SELECT count(*) FROM penstock.runs WHERE workflow = 'paid'") == 2


async def test_another_id_in_an_unsigned_header_does_not_make_a_replay_new(ingress: Ingress) -> None:
    first = await send(ingress, "headed", b'{"n": 1}', X_Event_Id="one")
    for headers in ({"X_Event_Id": "two"}, {"X_Event_Id": ""}, {}):
        replay = await send(ingress, "headed", b'{"n": 1}', **headers)
        assert (replay["duplicate"], replay["delivery_id"]) == (True, first["delivery_id"])
    assert (await send(ingress, "headed", b'{"n": 2}', X_Event_Id="one"))["duplicate"] is True
    assert (await send(ingress, "headed", b'{"n": 2}', X_Event_Id="two"))["duplicate"] is False
    assert await ingress.count_deliveries() == 2


async def test_a_replay_of_github_with_another_delivery_id_is_a_copy(ingress: Ingress) -> None:
    body = json.dumps({"ref": "main"}).encode()
    signature = hmac.new(GITHUB_SECRET.encode(), body, hashlib.sha256).hexdigest()
    signed = {"X-Hub-Signature-256": f"sha256={signature}", "X-GitHub-Event": "push"}
    answers = [
        await ingress.send("POST", "/webhooks/github", data=body, headers={**signed, "X-GitHub-Delivery": id})
        for id in ("one", "two")
    ]
    assert [answer.json["duplicate"] for answer in answers] == [False, True]
    assert answers[0].json["run_ids"] == answers[1].json["run_ids"]
