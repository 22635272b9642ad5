"""Webhooks that the test kit sends: each is signed as its sender would, and goes through the real check."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import JsonValue

from penstock.testing import AppUnderTest, open_app
from penstock.webhooks.provider_table import PROVIDERS
from tests.unit.webhooks.sources import SIGNING, WHSEC, secret_of, write_source

APP_YAML = """
app: lab
sources:
  stripe: {scheme: stripe, secrets: ["${secrets.STRIPE}"]}
  github: {scheme: github, secrets: ["${secrets.GITHUB}"]}
  plain: {scheme: hmac, secrets: ["${secrets.PLAIN}"], header: X-Signature}
  timed:
    scheme: hmac
    secrets: ["${secrets.PLAIN}"]
    algorithm: sha512
    encoding: base64url
    header: X-Signature
    prefix: "v1="
    signed: "{method} {path}\\n{url}\\n{id}.{timestamp}.{body}"
    url: https://shop.example.com/hooks
    timestamp: {header: X-Timestamp, tolerance: 1m}
    deduplicate: {header: X-Event-Id}
    type: {payload: event.name}
  picky:
    scheme: hmac
    secrets: ["${secrets.UNSET}", "${secrets.PLAIN}"]
    header: X-Signature
    deduplicate: {payload: event.id}
    type: {header: X-Type}
  unset: {scheme: stripe, secrets: ["${secrets.UNSET}"]}
"""
WORKFLOW = """
workflow: note
on:
  webhook:
    - {source: stripe, types: [wanted]}
    - {source: github, types: [wanted]}
    - {source: plain}
    - {source: timed, types: [wanted]}
    - {source: picky, types: [wanted]}
    - {source: unset}
steps:
  - return: {type: "${webhook.type}", event: "${webhook.event_id}", n: "${webhook.payload.n}"}
"""
SECRETS = {"STRIPE": "whsec_1", "GITHUB": "octopus", "PLAIN": "sesame"}
SIGNED = ["stripe", "github", "timed", "picky"]


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[AppUnderTest]:
    """An app with a source of each kind."""
    (tmp_path / "workflows").mkdir()
    (tmp_path / "app.yaml").write_text(APP_YAML)
    (tmp_path / "workflows" / "note.yaml").write_text(WORKFLOW)
    async with open_app(tmp_path, secrets=SECRETS) as opened:
        yield opened


@pytest.mark.parametrize("source", SIGNED)
async def test_a_webhook_is_signed_as_its_sender_would(app: AppUnderTest, source: str) -> None:
    delivered = await app.deliver(source, {"n": 1}, type="wanted", id="evt_1")
    assert (delivered.status, delivered.is_duplicate) == (200, False)
    (run_id,) = delivered.run_ids
    assert (await app.wait_for(run_id)).result == {"type": "wanted", "event": "evt_1", "n": 1}


@pytest.mark.parametrize("source", SIGNED)
async def test_a_copy_is_one_with_the_same_id(app: AppUnderTest, source: str) -> None:
    first = await app.deliver(source, {"n": 1}, type="wanted", id="evt_1")
    copy = await app.deliver(source, {"n": 1}, type="wanted", id="evt_1")
    other = await app.deliver(source, {"n": 2}, type="wanted")  # GitHub signs no id, so the same body would be a copy
    assert (copy.status, copy.is_duplicate, copy.run_ids) == (200, True, first.run_ids)
    assert (other.is_duplicate, len(other.run_ids)) == (False, 1)
    assert other.run_ids != first.run_ids


@pytest.mark.parametrize("source", ["stripe", "github", "timed", "plain"])
async def test_what_a_forger_signs_is_refused(app: AppUnderTest, source: str) -> None:
    forged = await app.deliver(source, {"n": 1}, type="wanted", secret="guessed")
    assert (forged.status, forged.run_ids, forged.is_duplicate) == (401, [], False)
    assert await app.list_runs() == []


async def test_what_the_payload_and_the_headers_say_already_stays(app: AppUnderTest) -> None:
    stripe = await app.deliver("stripe", {"id": "evt_7", "type": "wanted"}, type="other", id="evt_8")
    picky = await app.deliver("picky", {"event": {"id": "e"}}, type="other", headers={"x-type": "wanted"})
    assert [(await app.wait_for(id)).result for id in (*stripe.run_ids, *picky.run_ids)] == [
        {"type": "wanted", "event": "evt_7", "n": None},
        {"type": "wanted", "event": "e", "n": None},
    ]


async def test_a_type_that_no_workflow_wants_starts_nothing(app: AppUnderTest) -> None:
    delivered = await app.deliver("stripe", {}, type="unwanted")
    assert (delivered.status, delivered.run_ids) == (200, [])


async def test_a_source_without_an_id_knows_copies_by_their_body(app: AppUnderTest) -> None:
    assert len((await app.deliver("plain", [1, 2])).run_ids) == 1
    assert (await app.deliver("plain", [1, 2])).is_duplicate


async def test_what_cannot_be_signed_says_why(app: AppUnderTest) -> None:
    with pytest.raises(LookupError, match="has no source 'strype'; it has github, picky, plain, stripe, timed, unset"):
        await app.deliver("strype", {})
    with pytest.raises(ValueError, match="no secret of the source 'unset' is set"):
        await app.deliver("unset", {})


async def test_every_scheme_that_a_secret_can_sign_is_accepted_and_forgeries_are_not(tmp_path: Path) -> None:
    """One app with a source of each provider; what only the provider can sign says so."""
    secrets = {f"S_{scheme.upper()}": secret_of(scheme) for scheme in PROVIDERS} | {"V": "verify"}
    sources = {scheme: write_source(scheme) for scheme in PROVIDERS}
    for scheme, source in sources.items():
        if "secrets" in source:
            source["secrets"] = [f"${{secrets.S_{scheme.upper()}}}"]
    triggers = [{"source": scheme} for scheme in PROVIDERS]
    (tmp_path / "workflows").mkdir()
    (tmp_path / "app.yaml").write_text(json.dumps({"app": "lab", "sources": sources}))
    (tmp_path / "workflows" / "note.yaml").write_text(
        json.dumps({"workflow": "note", "on": {"webhook": triggers}, "steps": [{"log": "noted"}]})
    )
    async with open_app(tmp_path, secrets=secrets) as app:
        for scheme in PROVIDERS:
            payload: JsonValue = {"text": scheme, "n": 1}
            if scheme not in {*SIGNING, "none"}:
                with pytest.raises(ValueError, match="only the provider can sign"):
                    await app.deliver(scheme, payload)
                continue
            delivered = await app.deliver(scheme, payload, type="ping")
            assert delivered.status in {200, 202, 204}, (scheme, delivered)
            if scheme != "none":
                forged = await app.deliver(scheme, {"text": scheme, "n": 2}, secret=WHSEC.replace("M", "N"))
                assert (forged.status, forged.run_ids) == (401, []), (scheme, forged)
        assert len(await app.list_runs("note")) == len(SIGNING) + 1


async def test_live_is_delivered_to_where_it_is_served(tmp_path: Path) -> None:
    (tmp_path / "workflows").mkdir()
    (tmp_path / "app.yaml").write_text(APP_YAML)
    (tmp_path / "workflows" / "note.yaml").write_text(WORKFLOW)
    async with open_app(tmp_path, environment="live", secrets=SECRETS) as app:
        assert (await app.deliver("timed", {}, type="wanted")).status == 200
