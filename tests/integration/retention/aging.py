"""Runs of any age, and turns of the scheduler that deletes them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import pytest

from penstock.broker.inprocess import InProcessBroker
from penstock.contracts.topology import topology
from penstock.db import Connection, Database
from penstock.domain.ids import new_run_id
from penstock.domain.states import FINAL_STATES, RunState
from penstock.runtime import Resources, Stop
from penstock_scheduler.loops.retention import BATCH, delete_old_runs
from penstock_scheduler.room import Room, furnish
from tests.integration.scheduling import build_settings
from tests.site import Site

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Old:
    """A run that was created `days` ago and ended, if it has, at once."""

    days: float
    state: RunState = RunState.SUCCEEDED
    environment: str = "live"
    chain_id: UUID | None = None
    list_id: UUID | None = None
    id: UUID = field(default_factory=new_run_id)


@dataclass
class Keeper(Site):
    """A database, and a scheduler whose turns the test takes."""

    room: Room

    async def store(self, *runs: Old) -> None:
        """Store runs, each with a step, and the row of its chain."""
        async with self.database.connection() as conn:
            for run in runs:
                await _store(conn, run)

    async def tidy(self, *, turns: int = 50, most: int = BATCH) -> int:
        """Let the scheduler delete until it rests, or for that many turns; how many runs went."""
        deleted = 0
        for _ in range(turns):
            counts = await delete_old_runs(self.room, most=most)
            deleted += counts.done["runs"]
            if counts.wait_seconds is None:
                break
        return deleted

    async def left(self) -> set[UUID]:
        """The runs that are stored."""
        return {row["id"] for row in await self.fetch("SELECT id FROM penstock.runs")}


@pytest.fixture
async def keeper(database: Database) -> AsyncIterator[Keeper]:
    """A scheduler that nobody starts."""
    room = furnish(build_settings(), Resources(database, InProcessBroker(topology())), Stop())
    yield Keeper(database, room)
    await room.release()


async def _store(conn: Connection, run: Old) -> None:
    chain_id = run.chain_id or run.id
    await conn.execute(
        """
        INSERT INTO penstock.runs (
            id, chain_id, list_id, environment, workflow, trigger, state, depth, created_at, scheduled_at,
            lease_expires_at, finished_at, context
        )
        SELECT $1, $2, $3, $4, 'greet', 'message', $5, 0, q.at, q.at,
               CASE WHEN $5 = 'running' THEN now() END, CASE WHEN $5 = ANY($7::text[]) THEN q.at END,
               '{"user": {"_id": "1700000000000x1"}}'
        FROM (SELECT clock_timestamp() - $6::interval AS at) q
        """,
        run.id,
        chain_id,
        run.list_id,
        run.environment,
        run.state.value,
        run.days * DAY,
        [state.value for state in FINAL_STATES],
    )
    await conn.execute(
        "INSERT INTO penstock.steps (run_id, step, action, outcome, attempt, started_at) VALUES ($1, 'a', 'log', "
        "'succeeded', 1, now())",
        run.id,
    )
    await conn.execute(
        "INSERT INTO penstock.chains (id, environment, runs) VALUES ($1, $2, 1) ON CONFLICT DO NOTHING",
        chain_id,
        run.environment,
    )
