"""Runs wait for the ends of many others while executors are killed: they continue exactly once, with true counts.
`PENSTOCK_TEST_JOINED_RUNS=10000` makes it large.
"""

import asyncio
import os
from functools import partial

import pytest
from pydantic import JsonValue

from tests.acceptance.installation import Installation
from tests.eventually import eventually
from tests.site import deploy_files

RUNS = int(os.environ.get("PENSTOCK_TEST_JOINED_RUNS", "400"))
WORKFLOWS = """
workflow: item
parameters: {number: number}
when: params.number % 10 != 3
steps:
  - {create: made, set: {number: "${params.number}"}}
  - {fail: odd one, when: params.number % 10 == 7}
  - return: {number: "${params.number}"}
---
workflow: joins_list
parameters: {list: text}
steps:
  - id: all
    wait_for_runs: "${params.list}"
  - {create: joined, set: {by: list}}
  - return: {all: "${steps.all}"}
---
workflow: joins_runs
parameters: {runs: list of text}
steps:
  - id: all
    wait_for_runs: "${params.runs}"
  - {create: joined, set: {by: runs}}
  - return: {all: "${steps.all}"}
"""


@pytest.mark.timeout(240 + RUNS / 10)
async def test_a_join_over_many_runs_fires_once_with_true_counts_though_three_executors_are_killed(
    installation: Installation,
) -> None:
    installation.settings = {"PENSTOCK_EXECUTOR_CONCURRENCY": "10"}
    files = {
        "app.yaml": "app: a",
        "types/joined.yaml": "type: joined\nfields: {by: text}",
        "types/made.yaml": "type: made\nfields: {number: number}",
        "workflows/all.yaml": WORKFLOWS,
    }
    await deploy_files(installation.database, files, "live")
    kinds = ("ingress", "scheduler", "scheduler", *["executor"] * 4)
    ingress, _, _, *executors = await asyncio.gather(*(installation.start(kind) for kind in kinds))
    items: JsonValue = [{"number": number} for number in range(RUNS)]
    status, made = await installation.manage(ingress, "POST", "live/lists", {"workflow": "item", "items": items})
    assert (status, isinstance(made, dict)) == (201, True), made
    assert isinstance(made, dict)
    await eventually(partial(is_expanded, installation), within=60)
    ids = await installation.fetchval(
        "SELECT array_agg(id::text ORDER BY (parameters ->> 'number')::int) FROM penstock.runs WHERE workflow = 'item'"
    )
    for body in (
        {"workflow": "joins_list", "parameters": {"list": made["id"]}},
        {"workflow": "joins_runs", "parameters": {"runs": ids}},
    ):
        status, answer = await installation.manage(ingress, "POST", "live/runs", body)
        assert status == 201, answer
    for number, executor in enumerate(executors[:3], 1):
        await eventually(partial(have_ended, installation, RUNS * number // 5), within=120)
        await executor.kill()
    await installation.settled(within=60 + RUNS / 50)
    for workflow in ("joins_list", "joins_runs"):
        row = await installation.fetchval("SELECT result -> 'all' FROM penstock.runs WHERE workflow = $1", workflow)
        assert isinstance(row, dict), await installation.fetchval("SELECT error FROM penstock.runs")
        results = row.pop("results")
        assert row == {
            "total": RUNS, "succeeded": RUNS * 8 // 10, "failed": RUNS // 10, "skipped": RUNS // 10, "cancelled": 0,
            "terminated": 0,
        }, workflow  # fmt: skip
        assert results == [
            None if number % 10 in {3, 7} else {"number": number} for number in range(min(RUNS, 1000))
        ], workflow
    assert await installation.fetchval("SELECT array_agg(by ORDER BY by) FROM live.joined") == ["list", "runs"]
    assert await installation.fetchval("SELECT count(*) FROM penstock.joins") == 0
    assert await installation.fetchval("SELECT count(DISTINCT number) = count(*) FROM live.made") is True


async def is_expanded(installation: Installation) -> bool:
    """Whether all items have become runs."""
    return await installation.fetchval("SELECT count(*) FROM penstock.runs WHERE workflow = 'item'") == RUNS


async def have_ended(installation: Installation, runs: int) -> bool:
    """Whether this many items have ended."""
    ended = await installation.fetchval(
        "SELECT count(*) FROM penstock.runs WHERE workflow = 'item' AND finished_at IS NOT NULL"
    )
    return isinstance(ended, int) and ended >= runs
