"""Budgets of depth: entering, returning and leaving a deliberate recursion, and one that decreases; SQL and Python
agree.
"""

from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from penstock.db import Database, Record
from penstock.domain.depth import Budget, PlacedRun, depth_of, judge_depth, open_budget
from penstock.domain.ids import child_run_id
from penstock.domain.runs import Admission, Admitted, Terminated
from penstock.domain.states import Termination, Trigger
from penstock.runs.admission import admit
from penstock.runs.requests import CheckedRun
from tests.factories import build_run

ENVIRONMENT = "development"


async def admit_one(database: Database, run: CheckedRun) -> Admission:
    (outcome,) = await database.in_transaction(lambda conn: admit(conn, [run]))
    return outcome


def build_next(parent: UUID | None, workflow: str, **over: object) -> CheckedRun:
    if parent is None:
        return build_run(workflow=workflow, **over)
    return build_run(
        run_id=child_run_id(parent, workflow), parent_run_id=parent, trigger=Trigger.RUN, workflow=workflow, **over
    )


async def get_run(database: Database, run_id: UUID) -> Record:
    async with database.connection() as conn:
        row = await conn.fetchrow("SELECT * FROM penstock.runs WHERE id = $1", run_id)
    assert row is not None
    return row


async def walk(database: Database, path: Sequence[tuple[str, int | None]]) -> tuple[list[str], Admission | None]:
    """Admit each workflow of the path below the one before; the names of those that may run, and the path's end."""
    parent: UUID | None = None
    admitted: list[str] = []
    for workflow, limit in path:
        outcome = await admit_one(database, build_next(parent, workflow, depth_limit=limit))
        if not isinstance(outcome, Admitted):
            return admitted, outcome
        admitted.append(workflow)
        parent = outcome.run.id
    return admitted, None


async def test_recursion_with_its_own_limit_is_cut_at_it_and_not_at_the_environments(database: Database) -> None:
    admitted, end = await walk(database, [("a", 30)] * 40)
    assert len(admitted) == 31
    assert isinstance(end, Terminated)
    assert (end.reason, end.depth_limit, end.run.depth) == (Termination.DEPTH_LIMIT, 30, 31)


async def test_two_workflows_that_hand_over_are_cut_by_the_one_with_the_limit(database: Database) -> None:
    admitted, end = await walk(database, [("a", 30), ("b", None)] * 30)
    assert (admitted.count("a"), admitted.count("b")) == (16, 16)
    assert isinstance(end, Terminated)
    assert end.run.workflow == "a"


async def test_ordinary_run_below_a_recursion_opens_a_budget_that_its_descendants_share(
    database: Database,
) -> None:
    admitted, end = await walk(database, [*[("a", 500)] * 60, *[("helper", None)] * 20])
    assert (admitted.count("a"), admitted.count("helper")) == (60, 10)
    assert isinstance(end, Terminated)
    assert (end.depth_limit, end.run.depth) == (10, 70)
    error = (await get_run(database, end.run.id))["error"]
    assert "the depth limit of 10 counted from depth 59" in error["message"]


async def test_budget_is_entered_below_other_workflows_and_found_again_on_return(database: Database) -> None:
    path: list[tuple[str, int | None]] = [("start", None), ("x", None), ("a", 5), ("b", 40), ("c", None), ("a", 5)]
    admitted, _ = await walk(database, path)
    assert admitted == [name for name, _ in path]
    async with database.connection() as conn:
        budgets = await conn.fetch("SELECT workflow, budget FROM penstock.runs ORDER BY depth")
    assert [(row["workflow"], (row["budget"] or {}).get("base")) for row in budgets] == [
        ("start", None), ("x", None), ("a", 1), ("b", 2), ("c", 3), ("a", 1),
    ]  # fmt: skip


async def test_runs_without_overrides_keep_no_budget(database: Database) -> None:
    await walk(database, [("loop", None)] * 5)
    async with database.connection() as conn:
        assert await conn.fetchval("SELECT count(*) FROM penstock.runs WHERE budget IS NOT NULL") == 0


async def recur(database: Database, values: Sequence[JsonValue]) -> tuple[int, Admission | None]:
    """How many runs of a recursion with these values may run, and what became of the first that may not."""
    parent: UUID | None = None
    for count, value in enumerate(values):
        outcome = await admit_one(database, build_next(parent, "walk", progress=[value]))
        if not isinstance(outcome, Admitted):
            return count, outcome
        parent = outcome.run.id
    return len(values), None


async def test_recursion_that_decreases_needs_no_budget(database: Database) -> None:
    assert await recur(database, list(range(30, -1, -1))) == (31, None)


@pytest.mark.parametrize("bad", [3, 4, -1, 2.5, None, "2", True, "an error: …"])
async def test_recursion_without_progress_is_cut_and_names_both_values(database: Database, bad: JsonValue) -> None:
    count, end = await recur(database, [5, 4, 3, bad])
    assert count == 3
    assert isinstance(end, Terminated)
    assert end.reason is Termination.NO_PROGRESS
    error = (await get_run(database, end.run.id))["error"]
    assert (error["kind"], error["before"], error["now"]) == ("no_progress", 3, bad)
    assert "`decreases` was 3 and is " in error["message"]


async def test_helpers_of_a_decreasing_recursion_get_a_fresh_budget(database: Database) -> None:
    parent: UUID | None = None
    for value in range(20, 0, -1):
        for workflow, progress in (("walk", [value]), ("helper", None)):
            outcome = await admit_one(database, build_next(parent, workflow, progress=progress))
            assert isinstance(outcome, Admitted), (workflow, value)
            parent = outcome.run.id


WORKFLOWS = ("a", "b", "walk", "x")
VALUES = st.none() | st.integers(-2, 6) | st.sampled_from([0.5, 2.5, 3.0, "3", True])
HOPS = st.tuples(
    st.sampled_from(WORKFLOWS), st.none() | st.integers(0, 4), st.none() | VALUES.map(lambda value: [value])
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.lists(HOPS, min_size=1, max_size=14), environment_limit=st.integers(0, 6), first=st.integers(0, 3))
async def test_sql_and_python_place_and_judge_the_same(
    database: Database,
    path: Sequence[tuple[str, int | None, list[JsonValue] | None]],
    environment_limit: int,
    first: int,
) -> None:
    async with database.connection() as conn:
        await conn.execute("UPDATE penstock.environments SET depth_limit = $1", environment_limit)
    parent: PlacedRun | None = None
    parent_id: UUID | None = None
    for workflow, limit, progress in path:
        claimed = first if parent is None else 0
        run = build_next(parent_id, workflow, depth_limit=limit, progress=progress, depth=claimed)
        outcome = await admit_one(database, run)
        depth = depth_of(parent_depth=None if parent is None else parent.depth, claimed_depth=claimed)
        budget: Budget | None = open_budget(parent, workflow=workflow, own_limit=limit, progress=progress)
        cut = judge_depth(depth, own_limit=limit, budget=budget, environment_limit=environment_limit)
        assert isinstance(outcome, Admitted | Terminated)
        stored = await get_run(database, outcome.run.id)
        assert (stored["depth"], stored["budget"]) == (depth, budget)
        assert (outcome.reason if isinstance(outcome, Terminated) else None) == cut
        # A run that was cut has no children; here it has, to see the rule further on.
        parent, parent_id = PlacedRun(workflow, depth, limit, budget), outcome.run.id
