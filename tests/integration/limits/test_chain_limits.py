"""Limits of a whole chain, their warnings, and environments that only observe."""

from collections.abc import Sequence
from uuid import UUID

from penstock.db import Connection, Database
from penstock.domain.cycles import Cycle
from penstock.domain.ids import child_run_id
from penstock.domain.runs import Admission, Admitted, ChainWarning, Duplicate, Terminated
from penstock.domain.states import Termination, Trigger
from penstock.runs.admission import admit
from penstock.runs.requests import CheckedRun
from tests.factories import build_run, change_run


async def admit_all(database: Database, *runs: CheckedRun) -> list[Admission]:
    return await database.in_transaction(lambda conn: admit(conn, runs))


def build_child(parent: UUID, step: str = "next", **over: object) -> CheckedRun:
    return build_run(run_id=child_run_id(parent, step), parent_run_id=parent, trigger=Trigger.RUN, **over)


async def admit_root(database: Database) -> UUID:
    (outcome,) = await admit_all(database, build_run())
    assert isinstance(outcome, Admitted)
    return outcome.run.id


async def descend(database: Database, parent: UUID, hops: int) -> list[Admitted]:
    """Runs below each other, all of which are admitted."""
    admitted: list[Admitted] = []
    for _ in range(hops):
        (outcome,) = await admit_all(database, build_child(parent))
        assert isinstance(outcome, Admitted), outcome
        admitted.append(outcome)
        parent = outcome.run.id
    return admitted


def list_warnings(outcomes: Sequence[Admission]) -> list[ChainWarning]:
    return [warning for outcome in outcomes if isinstance(outcome, Admitted) for warning in outcome.warnings]


async def test_development_limits_chains_to_ten_thousand_runs_and_live_to_a_million(conn: Connection) -> None:
    limits = await conn.fetch("SELECT name, chain_runs_limit, chain_workload_limit FROM penstock.environments")
    assert {row["name"]: (row["chain_runs_limit"], row["chain_workload_limit"]) for row in limits} == {
        "development": (10_000, None),
        "live": (1_000_000, None),
    }


async def test_chain_is_warned_once_of_its_size_at_eighty_percent(database: Database, conn: Connection) -> None:
    await conn.execute("UPDATE penstock.environments SET chain_runs_limit = 10")
    root = await admit_root(database)
    outcomes = [
        outcome
        for number in range(0, 10, 2)
        for outcome in await admit_all(database, build_child(root, f"{number}"), build_child(root, f"{number + 1}"))
    ]
    assert [warning[0] for warning in list_warnings(outcomes)] == ["runs"]
    assert [isinstance(outcome, Admitted) for outcome in outcomes].count(True) == 9
    message = await conn.fetchval("SELECT message FROM penstock.logs WHERE level = 'warning'")
    assert "the chain has reached 9 runs of at most 10" in message


async def test_chain_is_cut_when_it_has_consumed_its_workload_and_warned_before(
    database: Database, conn: Connection
) -> None:
    await conn.execute("UPDATE penstock.environments SET chain_workload_limit = 100")
    root = await admit_root(database)
    await conn.execute("UPDATE penstock.runs SET workload = 79")
    assert list_warnings(await admit_all(database, build_child(root, "a"))) == []
    await conn.execute("UPDATE penstock.runs SET workload = 85 WHERE depth = 0")
    assert list_warnings(await admit_all(database, build_child(root, "b"))) == [
        ChainWarning("workload", 85, 100, Cycle(("loop",), 2))
    ]
    assert list_warnings(await admit_all(database, build_child(root, "c"))) == []
    await conn.execute("UPDATE penstock.runs SET workload = 100 WHERE depth = 0")
    (end,) = await admit_all(database, build_child(root, "d"))
    assert isinstance(end, Terminated)
    assert end.reason is Termination.WORKLOAD_LIMIT
    error = await conn.fetchval("SELECT error FROM penstock.runs WHERE state = 'terminated'")
    assert (error["kind"], error["limit"]) == ("workload_limit", 100)


async def test_observing_admits_what_is_too_deep_and_records_it_once_per_path(
    database: Database, conn: Connection
) -> None:
    await conn.execute("UPDATE penstock.environments SET depth_limit = 3, depth_policy = 'observe'")
    root = await admit_root(database)
    admitted = await descend(database, root, 8)
    assert [outcome.run.depth for outcome in admitted if outcome.observed] == [4]
    branch = await admit_all(database, *(build_child(admitted[2].run.id, f"branch/{number}") for number in range(2)))
    assert [outcome.observed for outcome in branch if isinstance(outcome, Admitted)] == [Termination.DEPTH_LIMIT] * 2
    lines = await conn.fetch(
        "SELECT message, details FROM penstock.logs WHERE event = 'error occurred' OR level = 'warning'"
    )
    observed = [line for line in lines if (line["details"] or {}).get("kind") == "observed"]
    assert len(observed) == 3
    assert "would have been terminated at depth 4" in observed[0]["message"]
    assert await conn.fetchval("SELECT array_agg(DISTINCT kind) FROM penstock.notices WHERE kind <> 'warnings'") == [
        "observed"
    ]
    assert (
        await conn.fetchval("SELECT count(*) FROM penstock.runs WHERE jsonb_typeof(budget -> 'observed') = 'string'")
        == 3
    )


async def test_observing_counts_a_recursion_without_progress_too(database: Database, conn: Connection) -> None:
    await conn.execute("UPDATE penstock.environments SET depth_policy = 'observe'")
    (first,) = await admit_all(database, build_run(progress=[1]))
    assert isinstance(first, Admitted)
    (second,) = await admit_all(database, build_child(first.run.id, progress=[1]))
    assert isinstance(second, Admitted)
    assert second.observed is Termination.NO_PROGRESS


async def test_observing_and_terminating_name_the_same_runs_first(database: Database, conn: Connection) -> None:
    shape = [("a", 3), ("x", None), ("x", None), ("x", None), ("x", None), ("a", 3), ("x", None), ("a", 3)]
    found: dict[str, list[str]] = {}
    for policy in ("terminate", "observe"):
        await conn.execute("UPDATE penstock.environments SET depth_limit = 2, depth_policy = $1", policy)
        parent: UUID | None = None
        for number, (workflow, limit) in enumerate(shape):
            run = build_run() if parent is None else build_child(parent)
            (outcome,) = await admit_all(database, change_run(run, workflow=workflow, depth_limit=limit))
            assert isinstance(outcome, Admitted | Terminated)
            if isinstance(outcome, Terminated) or outcome.observed is not None:
                found.setdefault(policy, []).append(f"{workflow}{number}")
            if isinstance(outcome, Terminated):
                break
            parent = outcome.run.id
    assert found == {"terminate": ["x3"], "observe": ["x3"]}


async def test_run_that_names_a_chain_of_another_environment_is_cut_by_the_limit_of_its_own(
    database: Database, conn: Connection
) -> None:
    await conn.execute("UPDATE penstock.environments SET chain_runs_limit = 3 WHERE name = 'development'")
    (root,) = await admit_all(database, build_run(environment="live"))
    assert isinstance(root, Admitted)
    for _ in range(3):
        await admit_all(database, build_run(environment="live", chain_id=root.run.id, depth=1))
    (outcome,) = await admit_all(database, build_run(chain_id=root.run.id, depth=1))
    assert isinstance(outcome, Terminated)
    assert outcome.reason is Termination.CHAIN_LIMIT


async def test_duplicates_do_not_hide_that_a_chain_is_stopped(database: Database, conn: Connection) -> None:
    root = await admit_root(database)
    known = build_child(root, "known")
    await admit_all(database, known)
    await conn.execute("UPDATE penstock.chains SET stopped_at = clock_timestamp()")
    first, second = await admit_all(database, known, build_child(root, "new"))
    assert isinstance(first, Duplicate)
    assert isinstance(second, Terminated)
    assert second.reason is Termination.CHAIN_STOPPED


async def test_workload_of_a_large_chain_is_not_summed_up_for_each_run(database: Database, conn: Connection) -> None:
    await conn.execute("UPDATE penstock.environments SET chain_workload_limit = 100")
    root = await admit_root(database)
    await admit_all(database, build_child(root, "a"))
    await conn.execute("UPDATE penstock.chains SET runs = 1000, measured_runs = 1000, workload = 50")
    await conn.execute("UPDATE penstock.runs SET workload = 60")
    await admit_all(database, build_child(root, "b"))
    assert await conn.fetchval("SELECT workload FROM penstock.chains") == 50
    await conn.execute("UPDATE penstock.chains SET runs = 1020")
    await admit_all(database, build_child(root, "c"))
    assert await conn.fetchval("SELECT workload FROM penstock.chains") == 120
