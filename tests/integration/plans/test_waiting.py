"""With many runs, waits and recurrences that are due in days to come, nothing reads them all to find that none is due
now.

A statement that asks whether anything is due would stop at the first row that is. So the planner takes it for cheap,
whatever it reads: it believes that a third of the rows are due.
"""

import pytest

from penstock.db import Connection
from penstock_scheduler.repository.looks import LOOK_FOR_DUE, LOOK_FOR_WRITTEN
from tests.bench.growth import fill_runs
from tests.integration.plans.statements import list_statements
from tests.integration.plans.test_every_statement import find_whole_reads, plan

WAITING = 10_000
_OTHERS = (
    """
    INSERT INTO penstock.waits (run_id, environment, step, until)
    SELECT id, environment, 'rest', scheduled_at FROM penstock.runs
    """,
    """
    INSERT INTO penstock.recurrences (
        id, environment, workflow, origin, cron, timezone, overlap, catch_up_seconds, jitter_seconds,
        next_tick_at, due_at
    )
    SELECT id, environment, workflow, 'step', '0 0 1 1 *', 'UTC', 'skip', 0, 0, scheduled_at, scheduled_at
    FROM penstock.runs
    """,
)


@pytest.fixture(scope="module")
async def waiting(module_conn: Connection) -> Connection:
    await fill_runs(module_conn, finished=0, waiting=WAITING)
    await module_conn.execute("SET session_replication_role = replica")
    for statement in _OTHERS:
        await module_conn.execute(statement)
    await module_conn.execute("SET session_replication_role = origin")
    await module_conn.execute("ANALYZE penstock.runs, penstock.waits, penstock.recurrences")
    return module_conn


async def test_no_service_reads_a_table_whole_when_most_runs_wait_for_later(waiting: Connection) -> None:
    # Others, such as those that count what an operation is about, may read all that wait when these are most of all.
    asking = [
        one for one in list_statements()
        if one.place.startswith("penstock_") and ("'scheduled'" in one.text or "'queued'" in one.text)
    ]  # fmt: skip
    assert len(asking) > 10
    assert await find_whole_reads(waiting, asking) == {}


async def test_a_look_at_what_is_due_reads_the_first_of_each_alone(waiting: Connection) -> None:
    await waiting.execute("SET plan_cache_mode = force_generic_plan")
    for text in (LOOK_FOR_DUE, LOOK_FOR_WRITTEN):
        reads = set(_list_reads(await plan(waiting, text)))
        assert not {("Seq Scan", table) for table in ("runs", "waits", "recurrences")} & reads


def _list_reads(node: dict[str, object]) -> list[tuple[str, str]]:
    children = node.get("Plans", [])
    assert isinstance(children, list)
    own = (str(node["Node Type"]), str(node.get("Relation Name", "")))
    return [own, *(read for child in children for read in _list_reads(child))]
