"""Operations on many runs: in batches, each run once, however many work on them and whatever dies on the way."""

import asyncio
from functools import partial
from uuid import uuid4

import pytest

from penstock.db import Connection, Database
from penstock.domain.ids import child_run_id, new_run_id
from penstock.domain.schedule import ScheduleFilter
from penstock.runs.admission import admit
from penstock.runs.lists import ListRequest, insert_list
from penstock.runs.operations import (
    BATCH,
    MAX_FAILURES,
    Asked,
    Operation,
    OperationKind,
    Turn,
    begin_operation,
    delete_old_operations,
    find_operation,
    list_running,
    take_turn,
    take_turn_of,
)
from penstock.runs.views.finding import RunFilter
from tests.factories import build_run

ENVIRONMENT = "development"
ASKED = Asked("cli:ops", "a test")


async def admit_runs(database: Database, count: int, **over: object) -> None:
    await database.in_transaction(lambda conn: admit(conn, [build_run(**over) for _ in range(count)]))


async def begin(
    database: Database, kind: OperationKind = OperationKind.CANCEL_RUNS, of: RunFilter | ScheduleFilter | None = None
) -> Operation:
    chosen = of or RunFilter(ENVIRONMENT)
    return await database.in_transaction(partial(begin_operation, kind=kind, of=chosen, asked=ASKED))


async def finish(database: Database, operation: Operation) -> Operation:
    """Take turns until it is over."""
    while not operation.is_over:
        turn = await take_turn_of(database, operation.id)
        assert turn is not None
        operation = turn.operation
    return operation


async def is_running(database: Database, operation: Operation) -> bool:
    async with database.connection() as conn:
        return operation.id in await list_running(conn)


async def fail_all(conn: Connection) -> None:
    await conn.execute(
        """
        UPDATE penstock.runs SET state = 'failed', finished_at = clock_timestamp(), attempt = attempt + 1, failures = 3
        WHERE state <> 'failed'
        """
    )


async def count_states(conn: Connection) -> dict[str, int]:
    rows = await conn.fetch("SELECT state, count(*) AS runs FROM penstock.runs GROUP BY state")
    return {row["state"]: row["runs"] for row in rows}


async def test_runs_are_cancelled_in_batches_and_what_comes_later_is_not(database: Database, conn: Connection) -> None:
    await admit_runs(database, BATCH + 200)
    await admit_runs(database, 3, workflow="other")
    operation = await begin(database, of=RunFilter(ENVIRONMENT, "loop"))
    assert (operation.total, operation.done, operation.state) == (BATCH + 200, 0, "running")
    await admit_runs(database, 5)
    turn = await take_turn_of(database, operation.id)
    assert turn is not None
    assert (turn.operation.done, len(turn.cancelled), turn.operation.is_over) == (BATCH, BATCH, False)
    over = await finish(database, turn.operation)
    assert (over.state, over.done, over.finished_at is not None) == ("finished", BATCH + 200, True)
    assert await count_states(conn) == {"cancelled": BATCH + 200, "queued": 8}
    assert await conn.fetchval("SELECT count(*) FROM penstock.logs WHERE message = 'cancelled by a test'") == over.done
    acts = await conn.fetch("SELECT actor, action, before, after FROM penstock.audit")
    assert [tuple(act) for act in acts] == [
        ("cli:ops", "run.cancel", {"workflow": "loop"}, {"operation": str(over.id), "total": BATCH + 200})
    ]


@pytest.mark.parametrize("state", ["scheduled", "running", "waiting"])
async def test_runs_in_every_live_state_are_found(database: Database, conn: Connection, state: str) -> None:
    await admit_runs(database, 2)
    (run_id, _) = [row["id"] for row in await conn.fetch("SELECT id FROM penstock.runs")]
    lease = "clock_timestamp()" if state == "running" else "NULL"
    await conn.execute(f"UPDATE penstock.runs SET state = $2, lease_expires_at = {lease} WHERE id = $1", run_id, state)
    if state == "waiting":
        await conn.execute(
            "INSERT INTO penstock.waits (run_id, environment, step, signal) VALUES ($1, $2, 'wait', 'go')",
            run_id,
            ENVIRONMENT,
        )
    over = await finish(database, await begin(database, of=RunFilter(ENVIRONMENT, states=[state])))
    assert (over.total, over.done) == (1, 1)
    assert await count_states(conn) == {"cancelled": 1, "queued": 1}


async def test_filters_narrow_it_down_together(database: Database, conn: Connection) -> None:
    root = build_run()
    await database.in_transaction(lambda own: admit(own, [root]))
    parent = root.run_id
    children = [
        build_run(run_id=child_run_id(parent, f"{n}"), parent_run_id=parent, parameters={"n": n}) for n in (1, 2)
    ]
    await database.in_transaction(lambda own: admit(own, children))
    await admit_runs(database, 2, environment="live")
    for of, expected in (
        (RunFilter(ENVIRONMENT, chain_id=parent, parent_run_id=parent, contains='"N": 1'), 1),
        (RunFilter(ENVIRONMENT, chain_id=uuid4()), 0),
        (RunFilter(ENVIRONMENT, parent_run_id=parent), 1),
        (RunFilter(ENVIRONMENT, chain_id=parent), 1),
        (RunFilter("live"), 2),
    ):
        over = await finish(database, await begin(database, of=of))
        assert (over.total, over.done, over.of) == (expected, expected, of)


async def test_failed_runs_are_retried_once_however_soon_they_fail_again(database: Database, conn: Connection) -> None:
    await admit_runs(database, BATCH + 1)
    await fail_all(conn)
    operation = await begin(database, OperationKind.RETRY_RUNS)
    turn = await take_turn_of(database, operation.id)
    assert turn is not None
    assert (len(turn.retried), turn.cancelled) == (BATCH, ())
    assert await count_states(conn) == {"failed": 1, "scheduled": BATCH}
    await conn.execute(
        "UPDATE penstock.runs SET state = 'failed', finished_at = clock_timestamp() WHERE state = 'scheduled'"
    )
    over = await finish(database, turn.operation)
    assert (over.done, over.total) == (BATCH + 1, BATCH + 1)
    assert await count_states(conn) == {"failed": BATCH, "scheduled": 1}
    (row,) = await conn.fetch("SELECT failures, error FROM penstock.runs WHERE state = 'scheduled'")
    assert tuple(row) == (0, None)


async def test_a_turn_that_is_lost_with_its_process_is_taken_again(database: Database, conn: Connection) -> None:
    await admit_runs(database, 3)
    operation = await begin(database)

    async def die(own: Connection) -> None:
        turn = await take_turn(own, id=operation.id)
        assert turn is not None
        assert turn.operation.done == 3
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.in_transaction(die)
    assert await count_states(conn) == {"queued": 3}
    over = await finish(database, operation)
    assert (over.done, await count_states(conn)) == (3, {"cancelled": 3})


async def test_those_who_work_on_it_together_deal_with_each_run_once(database: Database, conn: Connection) -> None:
    await admit_runs(database, 3 * BATCH)
    operation = await begin(database)

    async def work() -> list[Turn]:
        turns: list[Turn] = []
        while await is_running(database, operation):
            if (turn := await take_turn_of(database, operation.id)) is not None:
                turns.append(turn)
        return turns

    turns = [turn for taken in await asyncio.gather(*(work() for _ in range(3))) for turn in taken]
    ids = [run.id for turn in turns for run in turn.cancelled]
    assert (len(ids), len(set(ids))) == (3 * BATCH, 3 * BATCH)
    found = await find_operation(conn, environment=ENVIRONMENT, id=operation.id)
    assert found is not None
    assert (found.done, found.state) == (3 * BATCH, "finished")


async def test_one_that_fails_again_and_again_has_failed_and_keeps_no_other_waiting(
    database: Database, conn: Connection
) -> None:
    await admit_runs(database, 1)
    broken, good = await begin(database), await begin(database)
    # As if a later release had stored a filter that this one cannot read.
    await conn.execute('UPDATE penstock.operations SET filter = \'{"chain": "no id"}\' WHERE id = $1', broken.id)
    for number in range(MAX_FAILURES):
        assert await take_turn_of(database, broken.id) is None
        state = await conn.fetchval("SELECT state FROM penstock.operations WHERE id = $1", broken.id)
        assert state == ("failed" if number + 1 == MAX_FAILURES else "running")
    assert "ValueError" in await conn.fetchval("SELECT error FROM penstock.operations WHERE id = $1", broken.id)
    assert (await finish(database, good)).done == 1
    assert await list_running(conn) == []


async def test_what_is_coming_is_cancelled_with_the_rest_of_lists(database: Database, conn: Connection) -> None:
    await admit_runs(database, 2, scheduled_at=await conn.fetchval("SELECT clock_timestamp() + interval '1 day'"))
    await admit_runs(database, 1)
    request = ListRequest(new_run_id(), ENVIRONMENT, "loop", await conn.fetchval("SELECT clock_timestamp()"))
    await database.in_transaction(partial(insert_list, request=request, parameters=[{}] * 4))
    operation = await begin(database, OperationKind.CANCEL_SCHEDULE, ScheduleFilter(ENVIRONMENT))
    over = await finish(database, operation)
    assert (over.total, over.done, over.items) == (2, 2, 4)
    assert await count_states(conn) == {"cancelled": 2, "queued": 1}


async def test_operations_are_forgotten_a_month_after_they_were_over(database: Database, conn: Connection) -> None:
    over, young, running = [await begin(database) for _ in range(3)]
    for operation in (over, young):
        await finish(database, operation)
    await conn.execute("UPDATE penstock.operations SET finished_at = now() - interval '31 days' WHERE id = $1", over.id)
    assert await delete_old_operations(conn) == 1
    assert {row["id"] for row in await conn.fetch("SELECT id FROM penstock.operations")} == {young.id, running.id}
