"""What the checks of admission cost: `admit` with all of them, against the same admission in which nothing is judged.

Both create the same rows. They check that the deployment is current, look the parent up, count the run into its chain,
place it (chain, depth, due time, pauses), insert it and make the same answer. What only the first one does is what the
checks are: the fence and the grants of the chain, the judgement of depth and budgets, the limits of runs and workload,
the position of each run in its chain, keys and repeated ids, and whether the chain is to be warned.

The figures are processor time, of this process and of PostgreSQL's, so that others on the machine matter little.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final
from uuid import UUID

from penstock.db import Connection, Database, open_database
from penstock.db.migrations import migrate
from penstock.domain.ids import new_run_id
from penstock.domain.states import Trigger
from penstock.runs.admission import admit, door, rows
from penstock.runs.admission.chains import enter_chains
from penstock.runs.requests import CheckedRun
from penstock.testing.databases import fresh_database
from tests.factories import build_run

BATCH: Final = 100
_Admit = Callable[[Connection, Sequence[CheckedRun]], Awaitable[object]]
_UNJUDGED: Final = """
    judged AS MATERIALIZED (
        SELECT p.*, NULL::text AS termination, NULL::text AS observed, NULL::bigint AS chain_runs,
               NULL::bigint AS extra_runs, NULL::float8 AS extra_workload, NULL::integer AS extra_depth,
               NULL::float8 AS workload,
               NULL::timestamptz AS runs_warned_at, NULL::timestamptz AS workload_warned_at,
               p.due_at <= clock_timestamp() AND NOT (p.has_pauses AND penstock.find_pause(
                   p.environment, p.workflow, p.chain_id, p.list_id, p.due_at) IS NOT NULL) AS is_now,
               false AS is_held
        FROM placed p
    )
    """
_TAIL: Final = f"{rows._PLACED}, {_UNJUDGED}, {rows._INSERTED} {rows._ANSWER}"
_UNCHECKED: Final = {
    False: f"WITH {rows._CURRENT}, {rows._ASKED}, {rows._PARENTLESS}, {_TAIL}",
    True: f"WITH {rows._CURRENT}, {rows._ASKED}, {rows._RELATED}, {_TAIL}",
}
"""The statements of admission with nothing between placing a run and inserting it, by whether the runs have parents."""
_FORGET_BUDGETS: Final = """
    CREATE OR REPLACE FUNCTION penstock.open_budget(
        workflow text, own_limit integer, progress jsonb,
        parent_workflow text, parent_depth integer, parent_limit integer, parent_budget jsonb
    ) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN NULL::jsonb
    """


async def measure_checks(postgres_url: str, rounds: int) -> Mapping[str, object]:
    """Microseconds for each run, medians of this many batches, and their ratios. The two ways take turns, each with a
    database of its own. `roots` have no chain yet; beyond the default limits, `budgets` have a limit of their own, and
    `everything` a limit of workload too.
    """
    async with AsyncExitStack() as stack:
        databases: dict[_Admit, Database] = {}
        for way in (admit, _admit_unchecked):
            url = await stack.enter_async_context(fresh_database(postgres_url))
            databases[way] = await open_database(url, name="bench", most=1)
            stack.push_async_callback(databases[way].close)
            await migrate(databases[way])
        async with databases[_admit_unchecked].connection() as conn:
            await conn.execute(_FORGET_BUDGETS)
        figures: dict[str, object] = {"batches": rounds, "batch": BATCH}
        for name, chains, over, workload_limit in (
            ("roots", 0, {}, None),
            ("one_chain", 1, {}, None),
            ("many_chains", BATCH, {}, None),
            ("budgets", BATCH, {"depth_limit": 50}, None),
            ("everything", BATCH, {"depth_limit": 50}, 1e12),
        ):
            await _set_limits(databases[admit], workload_limit)
            await _set_limits(databases[_admit_unchecked], None)
            checked, unchecked = await _compare(databases, rounds, chains, over)
            figures |= {f"{name}_us": round(checked, 1), f"{name}_unchecked_us": round(unchecked, 1)}
            figures[f"{name}_ratio"] = round(checked / unchecked, 3)
        return figures


async def _set_limits(database: Database, workload_limit: float | None) -> None:
    async with database.connection() as conn:
        await conn.execute(
            "UPDATE penstock.environments SET chain_runs_limit = 1000000000, chain_workload_limit = $1", workload_limit
        )


async def _compare(
    databases: Mapping[_Admit, Database], rounds: int, chains: int, over: Mapping[str, object]
) -> tuple[float, float]:
    taken: dict[_Admit, list[float]] = {way: [] for way in databases}
    for number in range(rounds):
        for way in sorted(databases, key=lambda way: (way is admit) == bool(number % 2)):
            parents = await _admit_roots(databases[way], chains)
            runs = [_build(parents[index % chains] if chains else None, over) for index in range(BATCH)]
            taken[way].append(await _measure(databases[way], way, runs) / BATCH * 1e6)
    return median(taken[admit]), median(taken[_admit_unchecked])


def _build(parent: UUID | None, over: Mapping[str, object]) -> CheckedRun:
    if parent is None:
        return build_run(run_id=new_run_id(), **over)
    return build_run(run_id=new_run_id(), parent_run_id=parent, trigger=Trigger.RUN, depth=1, **over)


async def _admit_roots(database: Database, count: int) -> list[UUID]:
    roots = [build_run(run_id=new_run_id()) for _ in range(count)]
    await database.in_transaction(partial(admit, runs=roots))
    return [run.run_id for run in roots]


async def _measure(database: Database, way: _Admit, runs: Sequence[CheckedRun]) -> float:
    """Seconds of processor time that one batch takes, here and in PostgreSQL."""
    async with database.connection() as conn:
        backend = Path(f"/proc/{await conn.fetchval('SELECT pg_backend_pid()')}/schedstat")
    before = time.process_time() + int(backend.read_text().split()[0]) / 1e9
    await database.in_transaction(lambda conn: way(conn, runs))
    return time.process_time() + int(backend.read_text().split()[0]) / 1e9 - before


async def _admit_unchecked(conn: Connection, runs: Sequence[CheckedRun]) -> list[object]:
    entered = await enter_chains(conn, runs)
    found = await conn.fetch(_UNCHECKED[entered is not None], *rows.arguments_of(runs, (), ()))
    return [door._outcome(runs[row["position"] - 1], row, {}, {}) for row in found]
