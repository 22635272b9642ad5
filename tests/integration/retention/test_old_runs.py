"""Runs are deleted when their whole chain has been over for as long as their environment keeps it, and never before."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from penstock.domain.ids import child_run_id, tick_run_id
from penstock.domain.policies import SettingsChange
from penstock.domain.states import RunState
from penstock.runs.recurrences.history import list_ticks, pause_failing
from penstock.store.policies import change_settings
from tests.eventually import eventually
from tests.integration.retention.aging import DAY, Keeper, Old, keeper

__all__ = ["keeper"]
WAITS_FOR_LOCK = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
LIVE = [state for state in RunState if not state.is_final]


def child_of(root: Old, key: str, days: float, state: RunState = RunState.SUCCEEDED) -> Old:
    return Old(days, state, root.environment, root.id, id=child_run_id(root.id, key))


async def test_live_keeps_runs_for_30_days_and_development_for_7(keeper: Keeper) -> None:
    young = [Old(29.5), Old(6.5, environment="development"), Old(0)]
    await keeper.store(*young, Old(31), Old(8, environment="development"))
    assert await keeper.tidy() == 2
    assert await keeper.left() == {run.id for run in young}
    assert await keeper.fetchval("SELECT count(*) FROM penstock.steps") == len(young), "steps go with their runs"
    assert await keeper.fetchval("SELECT count(*) FROM penstock.chains") == len(young)
    assert await keeper.fetchval("SELECT count(*) FROM penstock.user_runs") == len(young)
    rows = await keeper.fetch("SELECT environment, runs, chains FROM penstock.retention ORDER BY environment")
    assert [tuple(row) for row in rows] == [("development", 1, 1), ("live", 1, 1)]


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.SKIPPED, RunState.CANCELLED, RunState.TERMINATED])
async def test_however_a_run_ended_it_is_deleted(keeper: Keeper, state: RunState) -> None:
    await keeper.store(Old(40, state))
    assert await keeper.tidy() == 1


@pytest.mark.parametrize("state", LIVE)
async def test_a_run_that_lives_keeps_its_whole_chain(keeper: Keeper, state: RunState) -> None:
    root = Old(90)
    await keeper.store(root, child_of(root, "a", 80), child_of(root, "b", 70, state))
    assert await keeper.tidy() == 0
    assert len(await keeper.left()) == 3


async def test_a_chain_that_was_kept_goes_when_its_last_run_has_been_over_for_long_enough(keeper: Keeper) -> None:
    root, child = Old(90), Old(70, RunState.WAITING)
    child = child_of(root, "a", 70, RunState.WAITING)
    await keeper.store(root, child)
    assert await keeper.tidy() == 0
    await keeper.fetch(
        "UPDATE penstock.runs SET state = 'succeeded', finished_at = now() - interval '29 days' WHERE id = $1", child.id
    )
    await keeper.fetch("UPDATE penstock.kept_chains SET look_at = now()")
    assert await keeper.tidy() == 0
    due = await keeper.fetchval("SELECT look_at - now() FROM penstock.kept_chains")
    assert isinstance(due, timedelta)
    assert timedelta(hours=23) < due < timedelta(hours=25), "it comes up again when it may go"
    await keeper.fetch("UPDATE penstock.runs SET finished_at = now() - interval '31 days' WHERE id = $1", child.id)
    await keeper.fetch("UPDATE penstock.kept_chains SET look_at = now()")
    assert await keeper.tidy() == 2
    assert await keeper.fetchval("SELECT count(*) FROM penstock.kept_chains") == 0


async def test_a_list_that_is_not_finished_keeps_its_runs_and_a_finished_one_goes_with_them(keeper: Keeper) -> None:
    list_id = uuid4()
    await keeper.store(Old(60, list_id=list_id))
    await keeper.fetch(
        "INSERT INTO penstock.lists (id, environment, workflow, total, start_at) "
        "VALUES ($1, 'live', 'greet', 2, now())",
        list_id,
    )
    assert await keeper.tidy() == 0, "a sequential list asks whether its last run has ended"
    await keeper.fetch("UPDATE penstock.lists SET state = 'finished', finished_at = now() - interval '40 days'")
    await keeper.fetch("UPDATE penstock.kept_chains SET look_at = now()")
    assert await keeper.tidy() == 1
    assert await keeper.fetchval("SELECT count(*) FROM penstock.lists") == 0


async def test_items_that_are_still_to_come_keep_the_chain_that_asked_for_them(keeper: Keeper) -> None:
    root = Old(60)
    await keeper.store(root)
    await keeper.fetch(
        "INSERT INTO penstock.lists (id, environment, workflow, total, start_at, parent_run_id) "
        "VALUES ($1, 'live', 'greet', 2, now() + interval '9 days', $2)",
        uuid4(),
        root.id,
    )
    assert await keeper.tidy() == 0


async def test_a_run_that_holds_up_a_sequence_stays_until_somebody_has_decided(keeper: Keeper) -> None:
    run = Old(60, RunState.FAILED)
    await keeper.store(run)
    await keeper.fetch("UPDATE penstock.runs SET is_limited = true")
    await keeper.fetch(
        "INSERT INTO penstock.places (run_id, rule, environment, workflow, scope, key, priority) "
        "VALUES ($1, 'sequence', 'live', 'greet', $1, '', 5)",
        run.id,
    )
    assert await keeper.tidy() == 0
    await keeper.fetch("UPDATE penstock.places SET is_done = true")
    await keeper.fetch("UPDATE penstock.kept_chains SET look_at = now()")
    assert await keeper.tidy() == 1


async def test_what_another_run_waits_for_stays_for_as_long(keeper: Keeper) -> None:
    run, waiter = Old(60), Old(3, RunState.WAITING)
    await keeper.store(run, waiter)
    await keeper.fetch(
        "INSERT INTO penstock.waits (run_id, environment, step, is_join) VALUES ($1, 'live', 'a', true)", waiter.id
    )
    await keeper.fetch("INSERT INTO penstock.joins (waiter, awaited, position) VALUES ($1, $2, 0)", waiter.id, run.id)
    assert await keeper.tidy() == 0
    await keeper.fetch("DELETE FROM penstock.waits")
    await keeper.fetch("UPDATE penstock.kept_chains SET look_at = now()")
    assert await keeper.tidy() == 1


async def test_a_stopped_chain_stays_fenced_for_as_long_as_it_is_kept(keeper: Keeper) -> None:
    root = Old(60, RunState.CANCELLED)
    await keeper.store(root)
    await keeper.fetch("UPDATE penstock.chains SET stopped_at = now() - interval '5 days'")
    assert await keeper.tidy() == 0
    assert await keeper.left() == {root.id}


async def test_another_retention_holds_from_the_next_turn_on(keeper: Keeper) -> None:
    await keeper.store(Old(3), Old(1.5))
    change = SettingsChange(retention="48h")
    async with keeper.database.connection() as conn, conn.transaction():
        after = await change_settings(conn, environment="live", change=change, actor="test")
    assert after["retention"] == "2d"
    assert await keeper.tidy() == 1


async def test_a_run_stays_while_the_key_of_its_request_holds(keeper: Keeper) -> None:
    await keeper.fetch("UPDATE penstock.environments SET retention = '1d'")
    await keeper.store(Old(1.02))
    assert await keeper.tidy() == 0


async def test_a_large_chain_goes_in_batches_and_its_root_last(keeper: Keeper) -> None:
    root = Old(60)
    await keeper.store(root, *(child_of(root, str(number), 50) for number in range(25)))
    for left in (16, 6):
        await keeper.tidy(turns=1, most=10)
        assert len(await keeper.left()) == left
        assert root.id in await keeper.left()
    assert await keeper.tidy() == 6
    assert await keeper.fetchval("SELECT count(*) FROM penstock.chains") == 0
    assert await keeper.fetchval("SELECT chains FROM penstock.retention WHERE environment = 'live'") == 1


async def test_two_schedulers_delete_each_run_once(keeper: Keeper) -> None:
    await keeper.store(*(Old(40) for _ in range(60)))
    counts = await asyncio.gather(keeper.tidy(), keeper.tidy())
    assert sum(counts) == 60
    assert await keeper.left() == set()


async def test_a_run_that_is_retried_meanwhile_stays(keeper: Keeper) -> None:
    run = Old(60, RunState.FAILED)
    await keeper.store(run)
    async with keeper.database.connection() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await conn.execute("UPDATE penstock.runs SET state = 'queued', finished_at = NULL WHERE id = $1", run.id)
        turn = asyncio.create_task(keeper.tidy())
        await eventually(lambda: keeper.fetchval(WAITS_FOR_LOCK))
        await transaction.commit()
        assert await turn == 0
    assert await keeper.left() == {run.id}


async def test_failures_count_for_a_recurrence_although_their_runs_are_gone(keeper: Keeper) -> None:
    recurrence = UUID(int=7)
    await keeper.fetch(
        """
        INSERT INTO penstock.recurrences (
            id, environment, workflow, origin, every, start_at, timezone, overlap, catch_up_seconds, jitter_seconds,
            pause_after_failures
        )
        VALUES ($1, 'live', 'greet', 'step', 'quarterly', now(), 'UTC', 'skip', 0, 0, 2)
        """,
        recurrence,
    )
    for days in (150, 60):
        (row,) = await keeper.fetch("SELECT now() - $1::interval AS tick_at", days * DAY)
        run = Old(days, RunState.FAILED, id=tick_run_id(recurrence, row["tick_at"]))
        await keeper.store(run)
        await keeper.fetch(
            "UPDATE penstock.runs SET trigger = 'recurrence', context = $2 WHERE id = $1",
            run.id,
            {"recurrence": {"id": str(recurrence), "tick_at": row["tick_at"].isoformat()}},
        )
        await keeper.fetch(
            "INSERT INTO penstock.recurrence_ticks (recurrence_id, tick_at, outcome, run_id) "
            "VALUES ($1, $2, 'started', $3)",
            recurrence,
            row["tick_at"],
            run.id,
        )
    assert await keeper.tidy() == 2
    async with keeper.database.connection() as conn, conn.transaction():
        page = await list_ticks(conn, recurrence_id=recurrence, after=None, limit=10)
        assert [tick.run_state for tick in page.results] == [RunState.FAILED, RunState.FAILED]
        assert await pause_failing(conn, most=10) == 1
