"""Admission of children with all checks, and without any: what depth, fence and the limits of a chain cost."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Final
from uuid import UUID

from penstock.db import Connection, Database, open_database
from penstock.db.migrations import migrate
from penstock.domain.ids import new_run_id
from penstock.domain.runs import Admitted, RunSummary
from penstock.domain.states import RunState, Trigger
from penstock.runs.admission import admit, rows
from penstock.runs.requests import CheckedRun
from penstock.testing.databases import fresh_database
from tests.factories import build_run

BATCH: Final = 100
_Admit = Callable[[Connection, Sequence[CheckedRun]], Awaitable[object]]
_UNCHECKED: Final = f"""
    WITH {rows._CURRENT}, {rows._DELIVERED}, {rows._PLACED},
    judged AS MATERIALIZED (SELECT p.*, NULL::text AS termination, NULL::text AS observed FROM placed p),
    {rows._INSERTED}
    SELECT j.id, j.chain_id, j.environment, j.workflow, j.depth, j.due_at AS scheduled_at, j.environment_limit, i.state
    FROM judged j JOIN inserted i ON i.id = j.id
    """
"""The statement of admission with nothing between placing a run and inserting it."""


async def measure_checks(postgres_url: str, rounds: int) -> Mapping[str, object]:
    """Microseconds for each run, medians of so many batches; the two ways take turns, so that both meet the same
    weather. Beyond the default limits, `everything` has a budget of the workflow's own and a limit of workload.
    """
    async with fresh_database(postgres_url) as url:
        database = await open_database(url, name="bench", most=2)
        try:
            await migrate(database)
            figures: dict[str, object] = {"batches": rounds, "batch": BATCH}
            for name, chains, over in (
                ("one_chain", 1, {}),
                ("many_chains", BATCH, {}),
                ("everything", BATCH, {"depth_limit": 50}),
            ):
                figures |= await _compare(database, name, rounds, chains, over)
            return figures
        finally:
            await database.close()


async def _compare(
    database: Database, name: str, rounds: int, chains: int, over: Mapping[str, object]
) -> dict[str, object]:
    limit = 1e12 if over else None
    async with database.connection() as conn:
        await conn.execute(
            "UPDATE penstock.environments SET chain_runs_limit = 1000000000, chain_workload_limit = $1", limit
        )
    taken: dict[_Admit, list[float]] = {admit: [], _insert_unchecked: []}
    for number in range(rounds):
        parents = await _admit_roots(database, chains)
        for way in sorted(taken, key=lambda way: (way is admit) == bool(number % 2)):
            children = [
                build_run(
                    run_id=new_run_id(), parent_run_id=parents[index % chains], trigger=Trigger.RUN, depth=1, **over
                )
                for index in range(BATCH)
            ]
            began = time.perf_counter()
            async with database.connection() as conn, conn.transaction():
                await way(conn, children)
            taken[way].append((time.perf_counter() - began) / BATCH * 1e6)
    checked, unchecked = median(taken[admit]), median(taken[_insert_unchecked])
    return {
        f"{name}_us": round(checked, 1),
        f"{name}_unchecked_us": round(unchecked, 1),
        f"{name}_ratio": round(checked / unchecked, 3),
    }


async def _admit_roots(database: Database, count: int) -> list[UUID]:
    roots = [build_run() for _ in range(count)]
    await database.in_transaction(partial(admit, runs=roots))
    return [run.run_id for run in roots]


async def _insert_unchecked(conn: Connection, runs: Sequence[CheckedRun]) -> list[Admitted]:
    """Place and insert, and say what became of each, as `admit` does; no keys, no chains, no judgement."""
    versions = {(run.request.environment, run.version) for run in runs}
    found = await conn.fetch(
        _UNCHECKED,
        [rows._run_document(run, is_counted=False) for run in runs],
        [],
        [],
        [environment for environment, _ in versions],
        [version for _, version in versions],
    )
    by_id = {run.run_id: run.request for run in runs}
    return [
        Admitted(
            RunSummary(
                id=row["id"],
                chain_id=row["chain_id"],
                parent_run_id=by_id[row["id"]].lineage.parent_run_id,
                environment=row["environment"],
                workflow=row["workflow"],
                state=RunState(row["state"]),
                depth=row["depth"],
                scheduled_at=row["scheduled_at"],
            ),
            row["environment_limit"],
        )
        for row in found
    ]
