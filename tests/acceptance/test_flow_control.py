"""Limits hold while executors are killed: judged by a ledger outside, which the runs call."""

import os
from collections.abc import AsyncIterator
from functools import partial

import pytest

from tests.acceptance.installation import Installation
from tests.eventually import eventually
from tests.integration.executing import serve_outside
from tests.integration.flow.ledger import Ledger
from tests.site import deploy_files

KEYS = int(os.environ.get("PENSTOCK_TEST_LIMIT_KEYS", "60"))
RUNS_PER_KEY = 8


@pytest.fixture
async def ledger() -> AsyncIterator[Ledger]:
    """A server that notes calls."""
    server = Ledger(seconds=0.01)
    server.open.set()
    async with serve_outside(server.handle) as server.url:
        yield server


def has_called(ledger: Ledger, calls: int) -> bool:
    """Whether there were this many calls."""
    return ledger.calls >= calls


@pytest.mark.parametrize("flow", ["concurrency: {limit: 1, key: params.key}", "sequence: {key: params.key}"])
async def test_runs_of_a_key_never_overlap_and_never_stick(
    installation: Installation, ledger: Ledger, flow: str
) -> None:
    installation.settings = {"PENSTOCK_OUTGOING_ALLOW": "127.0.0.0/8", "PENSTOCK_EXECUTOR_CONCURRENCY": "40"}
    workflows = f"""
workflow: many
parameters: {{items: list of any}}
steps:
  - schedule_list: call
    over: "${{params.items}}"
    with: {{key: "${{item.key}}", number: "${{item.number}}"}}
---
workflow: call
parameters: {{key: text, number: number}}
retries: {{attempts: 5, backoff: 0s}}
{flow}
steps:
  - http: "{ledger.url}/?key=${{params.key}}&number=${{params.number}}"
"""
    await deploy_files(installation.database, {"app.yaml": "app: a", "workflows/all.yaml": workflows}, "live")
    ingress, _, first = await installation.start_all()
    second = await installation.start("executor")
    await installation.start("scheduler")
    items = [{"key": f"k{key}", "number": number} for number in range(RUNS_PER_KEY) for key in range(KEYS)]
    body = {"workflow": "many", "parameters": {"items": items}}
    status, answer = await installation.manage(ingress, "POST", "live/runs", body)
    assert status == 201, answer
    total = len(items)
    for executor, calls in ((first, total // 4), (second, total // 2)):
        await eventually(partial(has_called, ledger, calls), within=60)
        await executor.kill()
        await installation.start("executor")
    await installation.settled(within=120)
    states = await installation.fetchval("SELECT array_agg(DISTINCT state) FROM penstock.runs")
    assert states == ["succeeded"]
    assert len(ledger.most) == KEYS
    assert set(ledger.most.values()) == {1}
    if flow.startswith("sequence"):
        for order in ledger.order.values():  # a call that was interrupted is made again
            assert list(dict.fromkeys(order)) == list(range(RUNS_PER_KEY))
            assert order == sorted(order)
    assert await installation.fetchval("SELECT count(*) FROM penstock.places") == 0
