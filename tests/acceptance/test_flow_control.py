"""Limits hold while executors are killed: judged by a ledger outside, which the runs call. Chains that multiply leave
room for others: judged by the order in which runs begin.
"""

import asyncio
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
RUNS_PER_KEY = int(os.environ.get("PENSTOCK_TEST_LIMIT_RUNS", "8"))
KILLS = int(os.environ.get("PENSTOCK_TEST_LIMIT_KILLS", "3"))
"""As 1000, 20 and 12 once in a while: 20,000 runs, which takes minutes."""
WITHIN = 60 + KEYS * RUNS_PER_KEY / 20


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


@pytest.mark.timeout(120 + 2 * WITHIN)
@pytest.mark.parametrize("flow", ["concurrency: {limit: 1, key: params.key}", "sequence: {key: params.key}"])
async def test_runs_of_a_key_never_overlap_and_never_stick(
    installation: Installation, ledger: Ledger, flow: str
) -> None:
    installation.settings = {"PENSTOCK_OUTGOING_ALLOW": "127.0.0.0/8", "PENSTOCK_EXECUTOR_CONCURRENCY": "40"}
    workflows = f"""
workflow: call
parameters: {{key: text, number: number}}
retries: {{attempts: 5, backoff: 0s}}
{flow}
steps:
  - http: "{ledger.url}/?key=${{params.key}}&number=${{params.number}}"
"""
    await deploy_files(installation.database, {"app.yaml": "app: a", "workflows/all.yaml": workflows}, "live")
    (ingress, _, first), second, _ = await asyncio.gather(
        installation.start_all(), installation.start("executor"), installation.start("scheduler")
    )
    executors = [first, second]
    items = [{"key": f"k{key}", "number": number} for key in range(KEYS) for number in range(RUNS_PER_KEY)]
    status, answer = await installation.manage(ingress, "POST", "live/lists", {"workflow": "call", "items": items})
    assert status in (201, 202), answer
    for kill in range(1, KILLS + 1):
        await eventually(partial(has_called, ledger, len(items) * kill // (KILLS + 1)), within=WITHIN)
        await executors.pop(0).kill()
        executors.append(await installation.start("executor", is_awaited=False))
    await installation.settled(within=WITHIN)
    states = await installation.fetchval("SELECT array_agg(DISTINCT state) FROM penstock.runs")
    assert states == ["succeeded"]
    assert len(ledger.most) == KEYS
    assert set(ledger.most.values()) == {1}
    if flow.startswith("sequence"):
        for order in ledger.order.values():  # a call that was interrupted is made again
            assert list(dict.fromkeys(order)) == list(range(RUNS_PER_KEY))
            assert order == sorted(order)
    assert await installation.fetchval("SELECT count(*) FROM penstock.places") == 0


BACKLOG = 700


async def test_what_comes_later_begins_before_what_a_doubling_chain_has_waiting(
    installation: Installation, ledger: Ledger
) -> None:
    installation.settings = {"PENSTOCK_OUTGOING_ALLOW": "127.0.0.0/8", "PENSTOCK_EXECUTOR_CONCURRENCY": "8"}
    workflows = f"""
workflow: doubling
recursive: true
steps:
  - http: "{ledger.url}/?key=doubling"
  - schedule: doubling
  - schedule: doubling
---
workflow: alone
on: {{api: {{method: POST, auth: admin}}}}
parameters: {{name: text}}
steps: [{{return: {{name: "${{params.name}}"}}}}]
"""
    app = "app: a\nenvironments:\n  live: {depth_limit: 20}\n"
    await deploy_files(installation.database, {"app.yaml": app, "workflows/all.yaml": workflows}, "live")
    ingress, _, _ = await installation.start_all()
    status, chain = await installation.manage(ingress, "POST", "live/runs", {"workflow": "doubling"})
    assert status == 201
    await eventually(partial(has_waiting, installation), within=60)
    body = {"workflow": "alone", "items": [{"name": "an item"}]}
    status, answer = await installation.manage(ingress, "POST", "live/lists", body)
    assert status in (201, 202), answer
    status, answer = await installation.call(ingress, "alone", {"name": "a call"})
    assert status == 200, answer
    await eventually(partial(count_overtaken, installation, "message"), within=60)
    overtaken = [await count_overtaken(installation, trigger) for trigger in ("message", "api")]
    assert min(overtaken) >= BACKLOG // 2, overtaken
    assert isinstance(chain, dict)
    status, _ = await installation.manage(
        ingress, "POST", f"live/chains/{chain['chain_id']}/stop", {"reason": "enough"}
    )
    assert status == 200
    await installation.settled()


async def has_waiting(installation: Installation) -> bool:
    """Whether many runs of the chain wait for an executor."""
    waiting = await installation.fetchval("SELECT count(*) FROM penstock.runs WHERE started_at IS NULL")
    return isinstance(waiting, int) and waiting >= BACKLOG


async def count_overtaken(installation: Installation, trigger: str) -> int:
    """How many runs of the chain that were there before began after the run of this trigger; 0 before it began."""
    overtaken = await installation.fetchval(
        """
        SELECT count(*) FROM penstock.runs a JOIN penstock.runs d ON d.workflow = 'doubling'
        WHERE a.workflow = 'alone' AND a.trigger = $1 AND a.started_at IS NOT NULL
          AND d.created_at < a.created_at AND (d.started_at IS NULL OR d.started_at > a.started_at)
        """,
        trigger,
    )
    assert isinstance(overtaken, int)
    return overtaken
