"""Runs that nobody calls, of a workflow that requires parameters: a webhook, a tick, a change and the end of a run
start it with null, while callers are held to what is required.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from penstock.errors import Permanent
from penstock.testing import AppUnderTest, open_app
from tests.integration.ingress import STRIPE_SECRET, sign_stripe

FILES = {
    "app.yaml": 'app: lab\nsources: {stripe: {scheme: stripe, secrets: ["${secrets.STRIPE}"]}}\npython: [flows]\n',
    "types/thing.yaml": "type: thing\nfields: {name: text, event: text}\n---\ntype: order\nfields: {paid: boolean}\n",
    "workflows/all.yaml": """
workflow: create_thing
parameters: {name: text, remaining: {type: number, optional: true, default: 0}}
on:
  api: {auth: public}
  webhook: {source: stripe, types: [invoice.paid]}
  recurrence: {cron: "0 3 * * *"}
  change: {type: order, operations: [create]}
  run: {states: [failed], workflows: [fail]}
when: params.name != ''
steps:
  - id: thing
    create: thing
    set: {name: "${params.name}", event: "${webhook.event_id}"}
  - return: {name: "${params.name}", remaining: "${params.remaining}", event: "${webhook.event_id}"}
---
workflow: order
steps: [{create: order, set: {paid: true}}]
---
workflow: fail
steps: [{fail: on purpose}]
""",
    "flows.py": """
from penstock import App, Context, webhook

app = App()


@app.workflow(on=[webhook("stripe")])
async def in_python(ctx: Context, name: str, times: int = 2) -> dict:
    return {"name": name, "times": times, "event": ctx.webhook["event_id"]}
""",
}


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[AppUnderTest]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    async with open_app(tmp_path, secrets={"STRIPE": STRIPE_SECRET}) as opened:
        yield opened


async def test_a_webhook_gives_none_and_the_providers_id_is_read(app: AppUnderTest) -> None:
    body, headers = sign_stripe({"id": "evt_7", "type": "invoice.paid"})
    async with aiohttp.ClientSession() as session:
        answer = await session.post(f"{app.url}/webhooks/stripe", data=body, headers=headers)
        assert answer.status == 200, await answer.text()
    await app.wait_until_idle()
    (run,) = await app.list_runs("create_thing")
    assert (run.state, run.error) == ("succeeded", None)
    assert run.result == {"name": None, "remaining": 0, "event": "evt_7"}
    (run,) = await app.list_runs("in_python")
    assert (run.state, run.result) == ("succeeded", {"name": None, "times": 2, "event": "evt_7"}), run.error
    assert [(thing.get("name"), thing["event"]) for thing in await app.find("thing")] == [(None, "evt_7")]


async def test_a_change_the_end_of_a_run_and_a_tick_give_none(app: AppUnderTest) -> None:
    await app.run("order")
    await app.run("fail")
    await app.advance(timedelta(days=1))
    runs = await app.list_runs("create_thing")
    assert [run.result for run in runs] == [{"name": None, "remaining": 0, "event": None}] * 3, runs


@pytest.mark.parametrize("workflow", ["create_thing", "in_python"])
async def test_a_caller_still_has_to_give_them(app: AppUnderTest, workflow: str) -> None:
    with pytest.raises(Permanent, match="name"):
        await app.run(workflow)
    assert (await app.list_runs(workflow)) == []


async def test_a_caller_over_http_is_told_what_is_missing(app: AppUnderTest) -> None:
    async with aiohttp.ClientSession() as session:
        answer = await session.post(f"{app.url}/api/1.1/wf/create_thing", json={})
        assert answer.status == 400
        assert "name" in await answer.text()
        answer = await session.post(
            f"{app.admin_url}/v1/{app.environment}/recurrences",
            json={"workflow": "create_thing", "cron": "0 4 * * *"},
            headers=app.admin_headers,
        )
        assert answer.status == 422, await answer.text()
        assert "name" in await answer.text()
