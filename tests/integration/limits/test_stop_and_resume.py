"""Stop fences a chain and cancels what is live; resume continues where a stop or a limit has cut, each run once."""

import asyncio
from uuid import UUID

from penstock.db import Connection, Database
from penstock.domain.ids import child_run_id
from penstock.domain.runs import Admission, Admitted, Terminated
from penstock.domain.states import Termination, Trigger
from penstock.runs.admission import admit
from penstock.runs.chains import BATCH, ChainName, ChainStop, Grant, Resumption, resume_chain, stop_chain
from penstock.runs.requests import CheckedRun
from penstock.runs.views.chains import ChainFilter, ChainMark, list_chains
from tests.factories import build_run

NOTHING = Grant()


async def admit_all(database: Database, *runs: CheckedRun) -> list[Admission]:
    return await database.in_transaction(lambda conn: admit(conn, runs))


def build_child(parent: UUID, step: str = "next", **over: object) -> CheckedRun:
    return build_run(run_id=child_run_id(parent, step), parent_run_id=parent, trigger=Trigger.RUN, **over)


async def admit_root(database: Database) -> UUID:
    (outcome,) = await admit_all(database, build_run())
    assert isinstance(outcome, Admitted)
    return outcome.run.id


async def stop(database: Database, chain_id: UUID) -> ChainStop:
    return await stop_chain(database, ChainName(chain_id, "development"), reason="it multiplies", by="a test")


async def resume(database: Database, chain_id: UUID, grant: Grant = NOTHING) -> Resumption:
    return await resume_chain(database, ChainName(chain_id, "development"), grant=grant, by="a test")


async def list_marked(conn: Connection, mark: ChainMark) -> list[UUID]:
    """The chains that were stopped, or that a limit has cut."""
    page = await list_chains(conn, ChainFilter("development", mark), after=None, limit=9)
    return [chain.id for chain in page.results]


async def count_states(conn: Connection) -> dict[str, int]:
    rows = await conn.fetch("SELECT state, count(*) AS runs FROM penstock.runs GROUP BY state")
    return {row["state"]: row["runs"] for row in rows}


async def descend(database: Database, parent: UUID) -> tuple[list[UUID], Terminated]:
    """Runs below each other until one is cut."""
    admitted: list[UUID] = []
    while True:
        (outcome,) = await admit_all(database, build_child(parent))
        assert isinstance(outcome, Admitted | Terminated)
        if isinstance(outcome, Terminated):
            return admitted, outcome
        parent = outcome.run.id
        admitted.append(parent)


async def test_stop_cancels_what_is_live_once_and_lets_nothing_in(database: Database, conn: Connection) -> None:
    root = await admit_root(database)
    await admit_all(database, *(build_child(root, f"{number}") for number in range(3)))
    await conn.execute(
        "UPDATE penstock.runs SET state = 'running', attempt = 1, lease_expires_at = now() WHERE id = $1", root
    )
    stopped = await stop(database, root)
    assert (stopped.is_new, stopped.cancelled, [run.id for run in stopped.running]) == (True, 4, [root])
    assert await stop(database, root) == ChainStop(False, 0, [])
    (late,) = await admit_all(database, build_child(root, "late"))
    assert isinstance(late, Terminated)
    assert late.reason is Termination.CHAIN_STOPPED
    assert await count_states(conn) == {"cancelled": 4, "terminated": 1}
    reasons = await conn.fetchval("SELECT count(*) FROM penstock.logs WHERE event = 'chain stopped'")
    assert reasons == 1


async def test_resume_lifts_a_stop_and_continues_with_every_run_once(database: Database, conn: Connection) -> None:
    root = await admit_root(database)
    await admit_all(database, *(build_child(root, f"{number}") for number in range(3)))
    await stop(database, root)
    await admit_all(database, build_child(root, "late"))
    assert (await list_marked(conn, ChainMark.STOPPED), await list_marked(conn, ChainMark.CUT)) == ([root], [])
    resumed = await resume(database, root)
    assert resumed == Resumption(5, 0, Grant(0, 0, 0))
    assert await resume(database, root) == Resumption(0, 0, Grant(0, 0, 0))
    assert await count_states(conn) == {"scheduled": 5}
    assert await conn.fetchval("SELECT runs FROM penstock.chains") == 5
    (more,) = await admit_all(database, build_child(root, "more"))
    assert isinstance(more, Admitted)


async def test_grant_of_depth_readmits_what_was_cut_and_holds_for_what_follows(
    database: Database, conn: Connection
) -> None:
    root = await admit_root(database)
    admitted, end = await descend(database, root)
    assert len(admitted) == 10
    assert (await resume(database, root)).resumed == 0
    assert await list_marked(conn, ChainMark.CUT) == [root]
    resumed = await resume(database, root, Grant(extra_depth=5))
    assert await list_marked(conn, ChainMark.CUT) == []
    assert resumed == Resumption(1, 0, Grant(5, 0, 0))
    further, last = await descend(database, end.run.id)
    assert (len(further), last.run.depth) == (4, 16)
    granted = await conn.fetchrow("SELECT extra_depth, granted_by FROM penstock.chain_grants")
    assert granted is not None
    assert tuple(granted) == (5, "a test")


async def test_grant_is_for_its_chain_alone_and_asking_again_grants_no_more(database: Database) -> None:
    root, other = await admit_root(database), await admit_root(database)
    await resume(database, root, Grant(extra_depth=5))
    assert (await resume(database, root, Grant(extra_depth=5, extra_runs=7))).grant == Grant(5, 7, 0)
    assert len((await descend(database, root))[0]) == 15
    assert len((await descend(database, other))[0]) == 10


async def test_raised_limit_lets_a_resume_readmit_without_a_grant(database: Database, conn: Connection) -> None:
    root = await admit_root(database)
    await descend(database, root)
    await conn.execute("UPDATE penstock.environments SET depth_limit = 11")
    assert await resume(database, root) == Resumption(1, 0, Grant(0, 0, 0))


async def test_grant_of_runs_readmits_as_many_as_fit(database: Database, conn: Connection) -> None:
    await conn.execute("UPDATE penstock.environments SET chain_runs_limit = 5")
    root = await admit_root(database)
    await admit_all(database, *(build_child(root, f"{number}") for number in range(10)))
    assert await count_states(conn) == {"queued": 5, "terminated": 6}
    assert await resume(database, root, Grant(extra_runs=4)) == Resumption(4, 2, Grant(0, 4, 0))
    assert await conn.fetchval("SELECT runs FROM penstock.chains") == 9
    assert await resume(database, root, Grant(extra_runs=100)) == Resumption(2, 0, Grant(0, 100, 0))


async def test_grant_of_workload_readmits_what_the_workload_has_cut(database: Database, conn: Connection) -> None:
    await conn.execute("UPDATE penstock.environments SET chain_workload_limit = 10")
    root = await admit_root(database)
    await conn.execute("UPDATE penstock.runs SET workload = 12")
    await admit_all(database, build_child(root))
    assert (await resume(database, root, Grant(extra_workload=1))).resumed == 0
    assert (await resume(database, root, Grant(extra_workload=5))).resumed == 1


async def test_recursion_without_progress_stays_terminated(database: Database) -> None:
    (first,) = await admit_all(database, build_run(progress=[1]))
    assert isinstance(first, Admitted)
    await admit_all(database, build_child(first.run.id, progress=[1]))
    assert await resume(database, first.run.id, Grant(extra_depth=100)) == Resumption(0, 1, Grant(100, 0, 0))


async def test_two_callers_at_once_readmit_each_run_once(database: Database, conn: Connection) -> None:
    await conn.execute("UPDATE penstock.environments SET chain_runs_limit = 1")
    root = await admit_root(database)
    count = BATCH + 100
    await admit_all(database, *(build_child(root, f"{number}") for number in range(count)))
    outcomes = await asyncio.gather(*(resume(database, root, Grant(extra_runs=count)) for _ in range(4)))
    assert sum(outcome.resumed for outcome in outcomes) == count
    assert await count_states(conn) == {"queued": 1, "scheduled": count}
    assert await conn.fetchval("SELECT runs FROM penstock.chains") == count + 1
