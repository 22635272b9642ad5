"""What counts into a chain and what does not, what a batch makes of requests that share an id or a key, and the fence
of a stop.

Races are made certain: one transaction is held open until the other waits for it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from penstock.db import Connection, Database
from penstock.domain.ids import child_run_id, new_run_id
from penstock.domain.runs import Admission, Admitted, Duplicate, Terminated
from penstock.domain.states import RunState, Termination, Trigger
from penstock.runs.admission import admit
from penstock.runs.idempotency import IdempotencyKey
from penstock.runs.requests import CheckedRun
from tests.eventually import eventually
from tests.factories import build_run

LATER = datetime(2100, 1, 1, tzinfo=UTC)


def build_request(**over: object) -> CheckedRun:
    """A root run of an environment that nothing is deployed to, which is version 0."""
    return build_run(**{"environment": "live", "workflow": "greet", "parameters": {"name": "Ada"}} | over)


def build_child(parent: UUID, step: str = "step", **over: object) -> CheckedRun:
    return build_request(run_id=child_run_id(parent, step), parent_run_id=parent, trigger=Trigger.RUN, **over)


def build_key(key: str = "order-42", fingerprint: bytes = b"one") -> IdempotencyKey:
    return IdempotencyKey("message", key, fingerprint)


async def admit_all(database: Database, *requests: CheckedRun) -> list[Admission]:
    return await database.in_transaction(lambda conn: admit(conn, requests))


async def admit_root(database: Database, **over: object) -> Admitted:
    (outcome,) = await admit_all(database, build_request(**over))
    assert isinstance(outcome, Admitted)
    return outcome


async def set_limits(conn: Connection, *, depth: int = 10, chain_runs: int = 1_000_000) -> None:
    await conn.execute("UPDATE penstock.environments SET depth_limit = $1, chain_runs_limit = $2", depth, chain_runs)


async def count_runs(conn: Connection, *states: RunState) -> int:
    count: int = await conn.fetchval(
        "SELECT count(*) FROM penstock.runs WHERE cardinality($1::text[]) = 0 OR state = ANY($1)",
        [state.value for state in states],
    )
    return count


async def stop_chain(conn: Connection, chain_id: UUID) -> None:
    await conn.execute(
        """
        INSERT INTO penstock.chains (id, environment, runs, stopped_at) VALUES ($1, 'live', 1, clock_timestamp())
        ON CONFLICT (id) DO UPDATE SET stopped_at = clock_timestamp()
        """,
        chain_id,
    )


def kinds(outcomes: Sequence[Admission]) -> list[str]:
    return [type(outcome).__name__ for outcome in outcomes]


async def test_limit_of_a_workflow_overrides_that_of_its_environment_both_ways(database: Database) -> None:
    outcomes = await admit_all(
        database,
        build_request(depth=500, depth_limit=500),
        build_request(depth=501, depth_limit=500),
        build_request(depth=3, depth_limit=2),
    )
    assert kinds(outcomes) == ["Admitted", "Terminated", "Terminated"]


async def test_termination_is_explained_on_the_run_in_the_log_and_to_the_admins(
    database: Database, conn: Connection
) -> None:
    await set_limits(conn, depth=1)
    root = await admit_root(database, workflow="start")
    (middle,) = await admit_all(database, build_child(root.run.id, workflow="middle"))
    assert isinstance(middle, Admitted)
    (end,) = await admit_all(database, build_child(middle.run.id, workflow="end"))
    assert isinstance(end, Terminated)
    assert end.path == ("start", "middle", "end")
    error = await conn.fetchval("SELECT error FROM penstock.runs WHERE id = $1", end.run.id)
    assert (error["kind"], error["path"], error["limit"]) == ("depth_limit", ["start", "middle", "end"], 1)
    line = await conn.fetchrow(
        "SELECT level, event, message, run_id, chain_id, depth FROM penstock.logs WHERE level = 'error'"
    )
    assert line is not None
    assert (line["event"], line["run_id"], line["chain_id"]) == (
        "error occurred during workflow execution",
        end.run.id,
        root.run.id,
    )
    assert "Workflow error: end was terminated at depth 2, beyond the depth limit of 1" in line["message"]
    assert "start → middle → end" in line["message"]
    details = await conn.fetchval(
        "SELECT details FROM penstock.notices WHERE environment = 'live' AND kind = 'terminations'"
    )
    assert details["run_id"] == str(end.run.id)


async def test_many_terminations_at_once_are_all_counted_by_environment(database: Database, conn: Connection) -> None:
    async def terminate(environment: str) -> None:
        await admit_all(database, *(build_request(environment=environment, depth=11) for _ in range(20)))

    await asyncio.gather(*(terminate(environment) for environment in ("live", "development") * 5))
    assert await count_runs(conn, RunState.TERMINATED) == 200
    rows = await conn.fetch("SELECT environment, sum(count) FROM penstock.notices GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in rows] == [("development", 100), ("live", 100)]


async def test_child_that_another_transaction_is_about_to_commit_is_no_second_run(
    database: Database, conn: Connection
) -> None:
    root = await admit_root(database)
    async with conn.transaction():
        await admit(conn, [build_child(root.run.id)])
        admitting = asyncio.create_task(admit_all(database, build_child(root.run.id)))
        await eventually(lambda: _is_waiting_for_a_lock(database))
    assert kinds(await admitting) == ["Duplicate"]
    assert await conn.fetchval("SELECT runs FROM penstock.chains") == 2, (
        "a duplicate takes nothing of the chain's budget"
    )


async def _is_waiting_for_a_lock(database: Database) -> bool:
    async with database.connection() as conn:
        return bool(
            await conn.fetchval(
                "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity USING (pid) "
                "WHERE NOT l.granted AND datname = current_database())"
            )
        )


async def test_one_key_within_a_batch_makes_one_run(database: Database) -> None:
    first, second, other = (build_request(key=build_key(fingerprint=print_)) for print_ in (b"one", b"one", b"other"))
    outcomes = await admit_all(database, first, second, other)
    assert kinds(outcomes) == ["Admitted", "Duplicate", "Rejected"]
    assert outcomes[1] == Duplicate(first.run_id)


async def test_keys_of_other_scopes_and_environments_are_other_keys(database: Database, conn: Connection) -> None:
    await admit_all(
        database,
        build_request(key=build_key()),
        build_request(key=replace(build_key(), scope="api")),
        build_request(key=build_key(), environment="development"),
    )
    assert await count_runs(conn) == 3


async def test_key_of_a_rejected_request_is_free_again(database: Database, conn: Connection) -> None:
    outcomes = await admit_all(database, *(build_child(new_run_id(), step, key=build_key()) for step in ("a", "b")))
    assert kinds(outcomes) == ["Rejected", "Rejected"], (
        "neither may be called the duplicate of a run that does not exist"
    )
    assert await conn.fetchval("SELECT count(*) FROM penstock.idempotency_keys") == 0
    await admit_root(database, key=build_key())


async def test_same_child_of_an_unknown_parent_twice_in_a_batch_is_rejected_twice(database: Database) -> None:
    request = build_child(new_run_id())
    assert kinds(await admit_all(database, request, request)) == ["Rejected", "Rejected"]


async def test_duplicates_and_runs_beyond_the_depth_limit_take_nothing_of_the_chains_budget(
    database: Database, conn: Connection
) -> None:
    await set_limits(conn, chain_runs=11)
    root = await admit_root(database)
    known = [build_child(root.run.id, f"known/{index}") for index in range(5)]
    await asyncio.gather(*(admit_all(database, *known) for _ in range(8)))
    deep = [build_child(root.run.id, f"deep/{index}", depth=11) for index in range(6)]
    fresh = [build_child(root.run.id, f"fresh/{index}") for index in range(9)]
    outcomes = await admit_all(database, *deep[:3], *known[:2], *fresh[:2], *deep[3:], *fresh[2:])
    reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, Terminated)]
    assert kinds(outcomes).count("Admitted") == 5, "root, 5 known, 5 fresh"
    assert (reasons.count(Termination.DEPTH_LIMIT), reasons.count(Termination.CHAIN_LIMIT)) == (6, 4)
    assert await conn.fetchval("SELECT runs FROM penstock.chains") == 11


async def test_chain_that_was_limited_goes_on_when_the_limit_is_raised(database: Database, conn: Connection) -> None:
    await set_limits(conn, chain_runs=3)
    root = await admit_root(database)
    await admit_all(database, *(build_child(root.run.id, f"{index}") for index in range(10)))
    await set_limits(conn, chain_runs=5)
    outcomes = await admit_all(database, *(build_child(root.run.id, f"more/{index}") for index in range(10)))
    assert kinds(outcomes).count("Admitted") == 2, (
        "those that were terminated before were never part of the chain's size"
    )


async def test_joining_an_unknown_chain_counts_only_what_is_there(database: Database, conn: Connection) -> None:
    await set_limits(conn, chain_runs=3)
    chain_id = new_run_id()
    outcomes = await admit_all(database, *(build_request(chain_id=chain_id, depth=1) for _ in range(5)))
    assert sorted(kinds(outcomes)) == ["Admitted"] * 3 + ["Terminated"] * 2


async def test_stop_under_way_is_waited_for_by_admissions_into_its_chain(database: Database, conn: Connection) -> None:
    root = await admit_root(database)
    await admit_all(database, build_child(root.run.id, "before"))
    async with conn.transaction():
        await stop_chain(conn, root.run.chain_id)
        admitting = asyncio.create_task(admit_all(database, build_child(root.run.id, "during")))
        await eventually(lambda: _is_waiting_for_a_lock(database))
        assert kinds(await admit_all(database, build_request())) == ["Admitted"], "other chains do not wait"
        assert not admitting.done()
    assert kinds(await admitting) == ["Terminated"]


async def test_stop_waits_for_admissions_under_way(database: Database, conn: Connection) -> None:
    root = await admit_root(database)
    async with conn.transaction():
        await admit(conn, [build_child(root.run.id)])
        stopping = asyncio.create_task(database.in_transaction(lambda other: stop_chain(other, root.run.chain_id)))
        await eventually(lambda: _is_waiting_for_a_lock(database))
        assert not stopping.done()
    await stopping
    assert kinds(await admit_all(database, build_child(root.run.id, "after"))) == ["Terminated"]


async def test_chain_is_warned_of_once_at_80_percent_of_its_limit(database: Database, conn: Connection) -> None:
    root = await admit_root(database, depth=6)
    warned = []
    parent = root.run.id
    for _ in range(4):
        (outcome,) = await admit_all(database, build_child(parent))
        assert isinstance(outcome, Admitted)
        warned.append((outcome.run.depth, outcome.has_warned_chain))
        parent = outcome.run.id
    assert warned == [(7, False), (8, True), (9, False), (10, False)]
    message = await conn.fetchval("SELECT message FROM penstock.logs WHERE event = 'chain near its depth limit'")
    assert "reached depth 8 of at most 10, in the cycle greet → greet, 3 times" in message


async def test_many_at_once_near_the_limit_warn_once(database: Database, conn: Connection) -> None:
    root = await admit_root(database, depth=7)
    outcomes = await asyncio.gather(*(admit_all(database, build_child(root.run.id, f"{index}")) for index in range(20)))
    assert [outcome.has_warned_chain for (outcome,) in outcomes if isinstance(outcome, Admitted)].count(True) == 1
    assert await conn.fetchval("SELECT count(*) FROM penstock.logs WHERE level = 'warning'") == 1


async def test_terminated_run_is_an_error_and_no_warning(database: Database, conn: Connection) -> None:
    await admit_all(database, build_request(depth=11))
    assert await conn.fetchval("SELECT array_agg(level) FROM penstock.logs") == ["error"]


async def test_batches_of_overlapping_chains_and_ids_in_any_order_do_not_block_each_other(
    database: Database, conn: Connection
) -> None:
    roots = [(await admit_root(database)).run.id for _ in range(6)]
    requests = [build_child(root, f"{index}") for root in roots for index in range(10)]
    turned = [requests[start:] + requests[:start] for start in range(0, 60, 7)]
    await asyncio.gather(
        *(admit_all(database, *batch) for batch in turned + [list(reversed(batch)) for batch in turned])
    )
    assert await count_runs(conn) == 66
    assert await conn.fetchval("SELECT array_agg(DISTINCT runs) FROM penstock.chains") == [11]
