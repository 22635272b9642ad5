"""What an environment does at this moment, over real HTTP: counts by minute, why runs wait, what is near a limit, and
who works.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest

from penstock import clock
from penstock.db import Database
from penstock.errors import DatabaseUnavailable
from penstock.metrics import finished_runs, run_depth
from penstock.store import replicas
from penstock.store.replicas import Replica, Tally, list_minutes, list_replicas
from tests.eventually import eventually
from tests.integration.ingress import Ingress, running_ingress, write_app

CHAIN = UUID(int=7)
_RUNS = """
    INSERT INTO penstock.runs (
        id, chain_id, environment, workflow, trigger, state, depth, scheduled_at, dispatched_at, finished_at, attempt,
        parked_at, error
    )
    SELECT gen_random_uuid(), gen_random_uuid(), q.environment, 'greet', 'api', q.state, 0, now() + q.due, q.dispatched,
           q.finished, q.attempt, q.parked, q.error
    FROM (VALUES
        ('live', 'queued', interval '-90 s', now(), NULL::timestamptz, 0, NULL::timestamptz, NULL::jsonb),
        ('live', 'scheduled', interval '1 h', NULL, NULL, 0, NULL, NULL),
        ('live', 'scheduled', interval '1 h', NULL, NULL, 1, NULL, NULL),
        ('live', 'scheduled', interval '-9 h', NULL, NULL, 0, now(), NULL),
        ('live', 'failed', interval '-1 h', NULL, now(), 1, NULL, '{"kind": "failed", "message": "it broke"}'),
        ('development', 'queued', interval '-9 h', now(), NULL, 0, NULL, NULL)
    ) q (environment, state, due, dispatched, finished, attempt, parked, error)
"""


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as running:
        yield running


async def overview(ingress: Ingress, environment: str = "live") -> dict[str, object]:
    answer = await ingress.manage("GET", f"/v1/{environment}/overview")
    assert answer.status == 200, answer.body
    return answer.json


def replicas_of(shown: dict[str, object]) -> list[dict[str, object]]:
    return cast("list[dict[str, object]]", shown["replicas"])


async def test_why_runs_wait_and_how_late_they_are(ingress: Ingress) -> None:
    async with ingress.database.connection() as conn:
        await conn.execute(_RUNS)
        await conn.execute(
            "INSERT INTO penstock.waits (run_id, environment, step, signal) VALUES ($1, 'live', 'a', 'go')", CHAIN
        )
    shown = await overview(ingress)
    assert shown["live"] == {"executor": 1, "due": 1, "retry": 1, "paused": 1, "signal": 1}
    assert 90 <= cast("float", shown["lateness_seconds"]) < 3600
    assert shown["is_exact"] is True
    errors = cast("list[dict[str, object]]", shown["errors"])
    assert [(error["workflow"], error["message"]) for error in errors] == [("greet", "it broke")]
    assert (await overview(ingress, "development"))["live"] == {"executor": 1}


async def test_chains_that_came_near_a_limit_are_listed_for_a_day(ingress: Ingress) -> None:
    async with ingress.database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO penstock.chains (id, environment, runs, warned_at, runs_warned_at, extra_runs)
            VALUES ($1, 'live', 900, now(), now(), 10), (gen_random_uuid(), 'live', 9, NULL, NULL, 0),
                   (gen_random_uuid(), 'live', 9, now() - interval '25 h', NULL, 0),
                   (gen_random_uuid(), 'development', 9, now(), NULL, 0)
            """,
            CHAIN,
        )
    (near,) = cast("list[dict[str, object]]", (await overview(ingress))["chains"])
    assert (near["id"], near["near"], near["runs"], near["runs_limit"], near["workflow"]) == (
        str(CHAIN), ["depth", "runs"], 900, 1_000_010, None,
    )  # fmt: skip


async def test_an_ingress_reports_itself_until_it_ends(ingress: Ingress) -> None:
    async def is_there() -> bool:
        return [one["health"] for one in replicas_of(await overview(ingress))] == ["working"]

    await eventually(is_there)
    (replica,) = replicas_of(await overview(ingress))
    assert (replica["service"], replica["stuck"]) == ("ingress", [])
    ingress.stop.request()
    await eventually(partial(_has_no_replica, ingress))


async def _has_no_replica(ingress: Ingress) -> bool:
    return await ingress.fetchval("SELECT count(*) FROM penstock.replicas") == 0


async def test_a_replica_that_is_stuck_or_silent_is_shown_so(ingress: Ingress) -> None:
    async with ingress.database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO penstock.replicas (id, service, host, release, started_at, seen_at, stuck)
            VALUES ('a', 'executor', 'one', '1', now(), now(), ARRAY['loop x takes too long']),
                   ('b', 'scheduler', 'two', '1', now(), now() - interval '21 s', '{}')
            """
        )
    health = {one["id"]: one["health"] for one in replicas_of(await overview(ingress))}
    assert (health["a"], health["b"]) == ("stuck", "silent")


async def test_what_processes_count_is_added_up_by_minute(database: Database) -> None:
    first, second = (Replica(database, "executor", list, Tally()) for _ in range(2))
    for replica in (first, second):
        replica.tally.take()
    finished_runs("live", "greet", "succeeded").inc(3)
    finished_runs("live", "greet", "waiting").inc()
    run_depth("live").observe(1)
    for replica in (first, first, second):
        await replica.report()
    async with database.connection() as conn:
        found = await list_minutes(conn, environment="live", since=clock.now() - timedelta(minutes=5))
        assert len(await list_replicas(conn)) == 2
    counted: dict[str, int] = {}
    for one in found:
        counted[one.outcome] = counted.get(one.outcome, 0) + one.runs
    assert counted == {"succeeded": 6, "admitted": 2}


async def test_counts_that_cannot_be_written_are_written_later(database: Database) -> None:
    tally = Tally()
    before = tally.take()
    finished_runs("development", "greet", "skipped").inc(2)
    taken = tally.take()
    tally.give_back(taken)
    assert tally.take() == taken
    assert ("development", "skipped") in taken
    assert before is not taken
    broken = Replica(database, "executor", list, tally)
    finished_runs("development", "greet", "skipped").inc(2)
    await database.close()
    with pytest.raises(DatabaseUnavailable):
        await broken.report()
    assert tally.take() == {("development", "skipped"): 2}
    await broken.leave()


async def test_replicas_that_died_and_old_minutes_are_forgotten(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO penstock.replicas (id, service, host, release, started_at, seen_at)
            VALUES ('a', 'executor', 'one', '1', now(), now() - interval '61 min'),
                   ('b', 'executor', 'one', '1', now(), now() - interval '59 min')
            """
        )
        await conn.execute(
            """
            INSERT INTO penstock.run_minutes (environment, minute, outcome, runs)
            VALUES ('live', now() - interval '26 h', 'failed', 1), ('live', now() - interval '24 h', 'failed', 1)
            """
        )
        assert await replicas.delete_old_replicas(conn) == 2
        assert await replicas.delete_old_replicas(conn) == 0
