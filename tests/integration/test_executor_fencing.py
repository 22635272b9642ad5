"""Who may write, and continue, when the database is slow to answer: a late commit is not repeated, a lease that ran out
is respected.
"""

import asyncio
from datetime import timedelta

import pytest

from penstock.db import Database
from penstock.domain.states import RunState
from penstock.errors import DatabaseUnavailable
from penstock.things.records import NewThing, create_things, prepare_thing
from penstock_executor.actions.create import CreateThing
from penstock_executor.holding.leases import Lease
from penstock_executor.repository.claims import claim_runs
from penstock_executor.repository.commits import end_attempts, record_steps
from penstock_executor.repository.held_runs import hold_runs
from penstock_executor.running.alone import MAX_UNWRITTEN
from penstock_executor.runs import ClaimedRun, Commit, Ending, StepRecord
from penstock_executor.writing.commits import Commits
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House, Outside, serve_outside

BLOCKED = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
SLOW = """
workflow: slow
steps:
  - http: "${secrets.URL}"
"""


async def _claim(house: House) -> ClaimedRun:
    await house.deploy("workflow: once\nsteps:\n  - create: thing\n    set: {name: once}\n")
    (run,) = await house.admit("once")
    async with house.database.connection() as conn:
        (held,) = await claim_runs(conn, run_ids=[run.id], owner="me", lease=timedelta(seconds=60))
    return held


@pytest.mark.parametrize("is_ending", [True, False])
async def test_a_commit_that_the_server_still_works_on_is_not_repeated(house: House, is_ending: bool) -> None:
    held = await _claim(house)
    kind = (await house.deployments.current(ENVIRONMENT)).app.types["thing"]
    thing = NewThing("1700000000000x1", {"name": "made"}, None, held.claimed_at)
    record = StepRecord("step1", "create", "succeeded", held.claimed_at, "the result")
    ending = Ending(RunState.SUCCEEDED) if is_ending else None
    effect = CreateThing(kind, prepare_thing(kind, thing))
    commit = Commit(held.id, held.attempt, ENVIRONMENT, [record], effect, record, ending, is_repeat=True)
    lease = Lease(held, None, asyncio.get_running_loop().time() + 60)
    async with house.database.connection() as conn, conn.transaction():
        # The first try, whose connection we have given up while it continued.
        await hold_runs(conn, held=[(held.id, held.attempt)])
        await create_things(conn, environment=ENVIRONMENT, data_type=kind, things=[thing])
        await record_steps(conn, records=[(held.id, held.attempt, record)])
        if ending is not None:
            await end_attempts(conn, endings=[(held.id, held.attempt, ending, 0.0)])
        again = asyncio.create_task(Commits(house.database, asyncio.Semaphore(1)).commit(lease, commit))
        await eventually(lambda: house.fetch(BLOCKED))
    assert await again == "the result"
    assert len(await house.things()) == 1


async def test_an_ending_that_was_not_committed_is_written_when_it_is_repeated(house: House) -> None:
    held = await _claim(house)
    kind = (await house.deployments.current(ENVIRONMENT)).app.types["thing"]
    record = StepRecord("step1", "create", "succeeded", held.claimed_at)
    effect = CreateThing(
        kind, prepare_thing(kind, NewThing("1700000000000x1", {"name": "made"}, None, held.claimed_at))
    )
    ending = Ending(RunState.SUCCEEDED)
    commit = Commit(held.id, held.attempt, ENVIRONMENT, [record], effect, record, ending, is_repeat=True)
    lease = Lease(held, None, asyncio.get_running_loop().time() + 60)
    await Commits(house.database, asyncio.Semaphore(1)).commit(lease, commit)
    assert (await house.get(held.id))["state"] == "succeeded"
    assert len(await house.things()) == 1
    assert set(await house.steps(held.id)) == {"step1"}


async def test_a_run_stops_when_its_lease_runs_out_though_renewing_it_hangs(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Outside()
    async with serve_outside(server.handle) as server.url:
        monkeypatch.setenv("PENSTOCK_SECRET_URL", server.url)
        await house.deploy(SLOW)
        async with house.executor(lease_seconds=1, outgoing_allow="127.0.0.0/8"):
            await house.start("slow")
            await eventually(lambda: server.waiting == 1)
            async with house.database.connection() as conn, conn.transaction():
                await conn.execute("LOCK TABLE penstock.runs IN ACCESS EXCLUSIVE MODE")
                await eventually(lambda: server.given_up == 1, within=3)


async def test_a_lock_that_cannot_be_had_is_an_absence_and_no_error_of_the_caller(database: Database) -> None:
    async def read() -> None:
        async with database.connection() as conn, conn.transaction():
            await conn.execute("SET LOCAL lock_timeout = '20ms'")
            await conn.execute("SELECT FROM penstock.lists")

    async with database.connection() as holder, holder.transaction():
        await holder.execute("LOCK TABLE penstock.lists IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseUnavailable, match="lock timeout"):
            await read()


async def test_runs_that_cannot_be_written_do_not_pile_up(house: House) -> None:
    await house.deploy("workflow: once\nsteps:\n  - create: thing\n    set: {name: once}\n")
    concurrency, count = 10, MAX_UNWRITTEN + 500
    runs = await house.admit("once", count=count)
    async with house.executor(executor_concurrency=concurrency):
        async with house.database.connection() as conn, conn.transaction():
            await conn.execute(f"LOCK TABLE {ENVIRONMENT}.thing IN ACCESS EXCLUSIVE MODE")
            await house.publisher.dispatch(runs)
            running = "SELECT FROM penstock.runs WHERE state = 'running'"
            await eventually(lambda: _is_stable(house, running), within=4)
            assert len(await house.fetch(running)) <= MAX_UNWRITTEN + 2 * concurrency
        await eventually(lambda: _has(house, "SELECT FROM penstock.runs WHERE state = 'succeeded'", count), within=30)


async def _is_stable(house: House, query: str) -> bool:
    before = len(await house.fetch(query))
    await asyncio.wait({asyncio.create_task(house.fetch("SELECT pg_sleep(0.3)"))})
    return before > 0 and len(await house.fetch(query)) == before


async def _has(house: House, query: str, count: int) -> bool:
    return len(await house.fetch(query)) == count


async def test_a_later_attempt_is_claimed_later_than_the_run_has_started(house: House) -> None:
    first = await _claim(house)
    assert first.claimed_at == first.started_at
    async with house.database.connection() as conn:
        await conn.execute("UPDATE penstock.runs SET state = 'queued', lease_expires_at = NULL WHERE id = $1", first.id)
        (second,) = await claim_runs(conn, run_ids=[first.id], owner="me", lease=timedelta(seconds=60))
    assert (second.attempt, second.started_at) == (2, first.started_at)
    assert second.claimed_at > first.claimed_at
