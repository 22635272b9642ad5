"""Runs that people wait for keep to a lane of their own, and priority counts among those that are due."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import pytest

from penstock.contracts.topology import BULK_LANE, DEFAULT_LANE
from penstock.domain.states import RunState
from penstock_executor.holding.claim_batches import Claims
from penstock_executor.holding.leases import Lease
from penstock_executor.runs import ClaimedRun, Commit, Ending
from penstock_executor.writing.commits import Commits
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House
from tests.integration.flow.ledger import Ledger

LOCAL = "127.0.0.0/8"
WORKFLOWS = """
workflow: many
parameters: {{count: number}}
steps:
  - schedule_list: call
    over: "${{map([1..200], #)}}"
    with: {{key: bulk}}
---
workflow: call
parameters: {{key: text}}
steps:
  - http: "{url}/?key=${{params.key}}"
  - schedule: child
---
workflow: child
steps: [{{log: done}}]
"""


async def test_items_of_lists_and_what_they_start_are_bulk(house: House, ledger: Ledger) -> None:
    await house.deploy(WORKFLOWS.format(url=ledger.url))
    async with house.services(outgoing_allow=LOCAL):
        root = await house.start("many", {"count": 1})
        await house.start("call", {"key": "alone"})
        await house.ended(root)
        await eventually(lambda: _all_ended(house, 404), within=30)
    rows = await house.fetch(
        "SELECT workflow, is_bulk, count(*) AS n FROM penstock.runs GROUP BY 1, 2 ORDER BY 1, 2 NULLS FIRST"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("call", None, 1), ("call", True, 200), ("child", None, 1), ("child", True, 200), ("many", None, 1),
    ]  # fmt: skip


async def _all_ended(house: House, count: int) -> bool:
    rows = await house.fetch("SELECT count(*) AS n FROM penstock.runs WHERE finished_at IS NOT NULL")
    return int(rows[0]["n"]) >= count - 1


async def test_a_call_finds_a_place_while_a_list_waits(house: House, ledger: Ledger) -> None:
    await house.deploy(WORKFLOWS.format(url=ledger.url))
    ledger.open.clear()
    async with house.services(outgoing_allow=LOCAL, executor_concurrency=8):
        await house.start("many", {"count": 1})
        await eventually(lambda: ledger.now["bulk"] == 6)
        await house.start("call", {"key": "alone"})
        await eventually(lambda: ledger.now["alone"] == 1)
        assert ledger.now["bulk"] == 6
        ledger.open.set()


async def test_of_thirty_that_wait_the_one_of_the_first_priority_is_next(house: House, ledger: Ledger) -> None:
    await house.deploy(WORKFLOWS.format(url=ledger.url))
    ledger.open.clear()
    async with house.executor(outgoing_allow=LOCAL, executor_concurrency=1):
        await house.start("call", {"key": "begun"})
        await eventually(lambda: ledger.calls == 1)
        for _ in range(30):
            late = await house.admit("call", {"key": "late"}, priority=9)
            await house.publisher.dispatch(late)
        await house.publisher.dispatch(await house.admit("call", {"key": "first"}, priority=0))
        await eventually(lambda: _is_read(house))
        ledger.open.set()
        await eventually(lambda: ledger.calls > 3)
    assert list(ledger.order)[:2] == ["begun", "first"]


async def _is_read(house: House) -> bool:
    return await house.broker.count_ready("penstock.executor") == 0


async def test_a_chain_that_has_grown_large_is_bulk(house: House) -> None:
    await house.deploy(
        """
workflow: doubling
recursive: true
steps: [{schedule: doubling}, {schedule: doubling}]
""",
        depth_limit=9,
    )
    async with house.services():
        await house.start("doubling")
        await eventually(lambda: _all_ended(house, 2047), within=60)
    rows = await house.fetch(
        "SELECT count(*) AS n FROM penstock.runs WHERE is_bulk IS NULL AND environment = $1", ENVIRONMENT
    )
    assert 100 < rows[0]["n"] < 700


async def test_a_call_is_claimed_while_claims_of_bulk_wait_for_the_database(house: House) -> None:
    await house.deploy(WORKFLOWS.format(url="http://unused.invalid"))
    *bulk, call = [run.id for run in await house.admit("child", count=3)]
    claims = Claims(house.database, house.publisher, owner="me", lease=timedelta(seconds=60))
    async with _locked(house, bulk):
        waiting = []
        for run_id in bulk:  # one after the other, so that each is a statement of its own
            waiting.append(asyncio.create_task(claims.claim([run_id], BULK_LANE)))
            await eventually(lambda: _is_waited_for(house, len(waiting)))
        assert [run.id for run in (await claims.claim([call], DEFAULT_LANE)).runs] == [call]
        assert not any(task.done() for task in waiting)
    assert [len((await task).runs) for task in waiting] == [1, 1]


async def test_a_call_is_ended_while_endings_of_bulk_wait_for_the_database(house: House) -> None:
    await house.deploy(WORKFLOWS.format(url="http://unused.invalid"))
    claims = Claims(house.database, house.publisher, owner="me", lease=timedelta(seconds=60))
    runs = (await claims.claim([run.id for run in await house.admit("child", count=6)])).runs
    commits = Commits(house.database, asyncio.Semaphore(1))
    leases = [Lease(run, None, asyncio.get_running_loop().time() + 60) for run in runs]
    for lease in leases[:4]:
        lease.lane = BULK_LANE
    async with _locked(house, [run.id for run in runs[:4]]):
        waiting: list[asyncio.Task[object]] = []
        for lease in leases[:2]:
            waiting.append(asyncio.create_task(commits.commit(lease, _end(lease.run))))
            await eventually(lambda: _is_waited_for(house, len(waiting)))
        for lease in leases[2:4]:
            waiting.append(asyncio.create_task(commits.commit_all([_end(lease.run)], BULK_LANE)))
            await eventually(lambda: _is_waited_for(house, len(waiting)))
        await commits.commit(leases[4], _end(runs[4]))
        assert await commits.commit_all([_end(runs[5])], DEFAULT_LANE) == [None]
        assert not any(task.done() for task in waiting)
    await asyncio.gather(*waiting)
    assert [(await house.get(run.id))["state"] for run in runs] == ["succeeded"] * 6


@pytest.mark.parametrize("is_awaited", [True, False])
async def test_bulk_is_claimed_in_small_batches_while_somebody_waits_for_an_answer(
    house: House, ledger: Ledger, is_awaited: bool
) -> None:
    await house.deploy(WORKFLOWS.format(url=ledger.url))
    ledger.open.clear()
    async with house.executor(outgoing_allow=LOCAL):
        (call,) = await house.admit("child")
        await house.publisher.dispatch([call], {call.id: "nobody"} if is_awaited else {})
        await house.ended(call.id)
        bulk = [run._replace(is_bulk=True) for run in await house.admit("call", {"key": "bulk"}, count=90)]
        await house.publisher.dispatch(bulk)
        await eventually(lambda: ledger.now["bulk"] == 90)
        claims = await house.fetch(
            "SELECT count(*) AS n FROM penstock.runs WHERE state = 'running' GROUP BY xmin::text"
        )
        assert max(row["n"] for row in claims) <= 22 if is_awaited else [row["n"] for row in claims] == [90]
        ledger.open.set()


def _end(run: ClaimedRun) -> Commit:
    return Commit(run.id, run.attempt, ENVIRONMENT, [], ending=Ending(RunState.SUCCEEDED))


@asynccontextmanager
async def _locked(house: House, run_ids: Sequence[UUID]) -> AsyncIterator[None]:
    """Runs whose rows nobody can update while the block runs, as if a statement about them took very long."""
    async with house.database.connection() as conn, conn.transaction():
        await conn.execute("SELECT FROM penstock.runs WHERE id = ANY($1::uuid[]) FOR UPDATE", run_ids)
        yield


async def _is_waited_for(house: House, count: int) -> bool:
    """Whether that many statements wait for a row."""
    rows = await house.fetch(
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return len(rows) == count
