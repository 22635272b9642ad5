"""Every scheme over real HTTP: what its provider signs is stored once, and nothing else is let in."""

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from multidict import CIMultiDict
from pydantic import JsonValue

from penstock.webhooks import SignedRequest
from penstock.webhooks.provider_table import PROVIDERS
from penstock.webhooks.recipes import Form
from penstock.webhooks.sources import list_proofs
from tests.integration.ingress import Answer, Ingress, running_ingress
from tests.integration.webhooks.providers import (
    SCHEMES,
    VERIFY_TOKEN,
    secrets_of,
    send_for,
    write_app,
)
from tests.unit.webhooks.sources import flip, load_source, secret_of


@pytest.fixture
async def ingress(
    database_url: str, amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Ingress]:
    for name, secret in secrets_of().items():
        monkeypatch.setenv(name, secret)
    async with running_ingress(database_url, amqp_url, write_app(tmp_path / "app")) as running:
        yield running


async def send(ingress: Ingress, scheme: str, request: SignedRequest) -> Answer:
    query = f"?{request.query}" if request.query else ""
    return await ingress.send("POST", f"/webhooks/{scheme}{query}", data=request.body, headers=request.headers)


async def test_what_each_provider_sends_is_stored_once_and_answered_as_it_wants(ingress: Ingress) -> None:
    for scheme in SCHEMES:
        request = send_for(scheme)
        first, again = [await send(ingress, scheme, request) for _ in range(2)]
        wanted = {Form.GRAPH: 202, Form.DISCORD: 204}.get(PROVIDERS[scheme].form, 200)
        assert (first.status, again.status) == (wanted, wanted), (scheme, first.body)
        stored = await ingress.fetchval("SELECT count(*) FROM penstock.deliveries WHERE source = $1", scheme)
        copies = await ingress.fetchval("SELECT sum(duplicates) FROM penstock.deliveries WHERE source = $1", scheme)
        runs = await ingress.fetchval("SELECT count(*) FROM penstock.runs WHERE workflow = $1", f"on_{scheme}")
        assert (stored, copies, runs) == (1, 1, 1), scheme
        if PROVIDERS[scheme].form in {Form.ACCEPTED, Form.SLACK, Form.GRAPH}:
            assert (first.json["duplicate"], again.json["duplicate"]) == (False, True), scheme
            assert first.json["run_ids"] == again.json["run_ids"] != []
        else:
            assert first.headers["penstock-run-ids"] == again.headers["penstock-run-ids"]
            assert again.headers["penstock-duplicate"] == "true"


async def test_what_no_provider_has_signed_is_refused_and_leaves_nothing(ingress: Ingress) -> None:
    for scheme in SCHEMES:
        if scheme == "none":
            continue
        request = send_for(scheme)
        headers = CIMultiDict({"Content-Type": request.headers["Content-Type"]})
        bare = request._replace(headers=headers, body=b'{"value": [{}]}')
        assert (await send(ingress, scheme, bare)).status == 401, scheme
        if PROVIDERS[scheme].is_timed and scheme != "gitlab":  # whose token says no time
            for at in (time.time() - 4000, time.time() + 4000):
                assert (await send(ingress, scheme, send_for(scheme, at=at))).status == 401, scheme
        covers_body = all(getattr(proof, "covers_body", False) for proof in list_proofs(load_source(scheme)))
        if covers_body:
            changed = request._replace(body=flip(request.body, 8 * (len(request.body) // 2)))
            assert (await send(ingress, scheme, changed)).status == 401, scheme
    assert await ingress.count_deliveries() == 0


async def test_a_delivery_of_several_events_starts_the_workflows_of_all_their_types(
    database_url: str, amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, secret in secrets_of().items():
        monkeypatch.setenv(name, secret)
    more = "---\n".join(
        f"workflow: {name}\non: {{webhook: {{source: sendgrid, types: [{types}]}}}}\nsteps: [{{log: hello}}]\n"
        for name, types in {"bounces": "bounce", "both": '"o*", bounce', "clicks": "click"}.items()
    )
    app = write_app(tmp_path / "app", more=more)
    async with running_ingress(database_url, amqp_url, app) as ingress:
        answer = await send(ingress, "sendgrid", send_for("sendgrid"))
        assert answer.status == 200
        async with ingress.database.connection() as conn:
            rows = await conn.fetch("SELECT workflow, context #>> '{webhook,type}' AS type FROM penstock.runs")
    assert {(row["workflow"], row["type"]) for row in rows} == {
        (name, "open,bounce") for name in ("bounces", "both", "on_sendgrid")
    }


@pytest.mark.parametrize(
    ("scheme", "payload", "expected"),
    [
        ("slack", {"type": "url_verification", "challenge": "3eZbrw1a"}, {"challenge": "3eZbrw1a"}),
        (
            "zoom",
            {"event": "endpoint.url_validation", "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}},
            {
                "plainToken": "qgg8vlvZRS6UYooatFL8Aw",
                "encryptedToken": "c8e422d28ccb010da6a114a2033a0ecc2ddd9c5f835d7bc664a2112b568d42a7",
            },
        ),
        ("discord", {"type": 1, "id": "1", "token": "t"}, {"type": 1}),
        ("discord", {"type": 0, "application_id": "1"}, None),
    ],
)
async def test_a_signed_handshake_is_answered_and_not_stored(
    ingress: Ingress, scheme: str, payload: JsonValue, expected: JsonValue
) -> None:
    request = send_for(scheme, payload)
    answer = await send(ingress, scheme, request)
    assert answer.status == (204 if expected is None else 200)
    assert expected is None or answer.json == expected
    unsigned = await ingress.send("POST", f"/webhooks/{scheme}", json=payload)
    assert unsigned.status == 401, "or anybody could have a text of their choice signed"
    assert await ingress.count_deliveries() == 0


async def test_zoom_is_answered_with_the_secret_that_has_signed(
    database_url: str, amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_SECRET_OLD", "old-secret-0123456789")
    monkeypatch.setenv("PENSTOCK_SECRET_ZOOM", secret_of("zoom"))
    (tmp_path / "app.yaml").write_text(
        'app: a\nsources: {zoom: {scheme: zoom, secrets: ["${secrets.OLD}", "${secrets.ZOOM}"]}}\n'
    )
    payload: JsonValue = {"event": "endpoint.url_validation", "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}}
    async with running_ingress(database_url, amqp_url, tmp_path) as ingress:
        answer = await send(ingress, "zoom", send_for("zoom", payload))
    assert str(answer.json["encryptedToken"]).startswith("c8e422d2")


async def test_questions_about_the_address_are_answered_as_plain_text_that_no_browser_runs(ingress: Ingress) -> None:
    good = f"hub.mode=subscribe&hub.verify_token={VERIFY_TOKEN}&hub.challenge=%3Cb%3E1158201444"
    answers = {
        "<b>1158201444": await ingress.send("GET", f"/webhooks/meta?{good}"),
        "<script>": await ingress.send("GET", "/webhooks/dropbox?challenge=%3Cscript%3E"),
        "a b+c": await ingress.send("POST", "/webhooks/microsoft_graph?validationToken=a%20b%2Bc"),
    }
    for text, answer in answers.items():
        assert (answer.status, answer.body.decode()) == (200, text)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
    for wrong in (good.replace("subscribe", "unsubscribe"), good.replace(VERIFY_TOKEN, "x"), ""):
        assert (await ingress.send("GET", f"/webhooks/meta?{wrong}")).status == 401
    for query in ("", "?challenge=", f"?challenge={'x' * 5000}"):
        assert (await ingress.send("GET", f"/webhooks/dropbox{query}")).status == 400
    assert (await ingress.send("HEAD", "/webhooks/intercom")).status == 200
    assert await ingress.count_deliveries() == 0


async def test_other_methods_are_refused_with_those_that_the_provider_uses(ingress: Ingress) -> None:
    allowed = {"stripe": "POST", "meta": "POST, GET", "dropbox": "POST, GET", "intercom": "POST, HEAD"}
    for scheme, methods in allowed.items():
        answer = await ingress.send("DELETE", f"/webhooks/{scheme}")
        assert answer.status == 405
        for method in {"GET", "HEAD"} - set(methods.split(", ")):
            answer = await ingress.send(method, f"/webhooks/{scheme}")
            assert (answer.status, answer.headers["allow"]) == (405, methods), (scheme, method)


async def test_a_command_of_slack_is_answered_with_nothing_to_show(ingress: Ingress) -> None:
    body = b"command=%2Fweather&text=94070"
    signed = send_for("slack")
    timestamp = signed.headers["X-Slack-Request-Timestamp"]
    signature = hmac.new(secret_of("slack").encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": f"v0={signature}",
    }
    answer = await ingress.send("POST", "/webhooks/slack", data=body, headers=headers)
    assert (answer.status, answer.body) == (200, b"")
    stored = await ingress.fetchval("SELECT type FROM penstock.deliveries WHERE source = 'slack'")
    assert stored == "/weather"


async def test_an_interaction_of_discord_is_answered_that_more_will_follow(ingress: Ingress) -> None:
    for kind, expected in ((2, {"type": 5}), (3, {"type": 6}), (4, {"type": 8, "data": {"choices": []}})):
        answer = await send(ingress, "discord", send_for("discord", {"type": kind, "id": f"i{kind}"}))
        assert (answer.status, json.loads(answer.body)) == (200, expected)
        assert answer.headers["penstock-delivery-id"]


async def test_a_sender_that_gives_up_soon_is_answered_before_and_sends_again(ingress: Ingress) -> None:
    request = send_for("slack")
    async with ingress.database.connection() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await conn.execute("LOCK TABLE penstock.deliveries IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        late = await send(ingress, "slack", request)
        seconds = time.monotonic() - started
        await transaction.rollback()
    assert (late.status, "retry-after" in late.headers) == (503, True)
    assert seconds < 3, "Slack waits for three"
    again = await send(ingress, "slack", request)
    assert again.status == 200
    assert await ingress.count_deliveries() == 1
    assert await ingress.fetchval("SELECT count(*) FROM penstock.runs WHERE workflow = 'on_slack'") == 1
