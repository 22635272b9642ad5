"""What the command line reads: one run or one chain for a person, and the signs of health that `doctor` looks at."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection, Record
from penstock.domain.states import RunState, Termination
from penstock.redaction import Redactor

MOST_LOG_LINES = 500
MOST_CHAIN_RUNS = 1000


@dataclass(frozen=True, slots=True)
class RunView:
    """A run with its payloads. `depth_limit` is the one that holds for it; of a run that the depth limit has cut, the
    one that did.
    """

    id: UUID
    workflow: str
    environment: str
    state: RunState
    trigger: str
    depth: int
    depth_limit: int
    chain_id: UUID
    parent_run_id: UUID | None
    attempt: int
    version: int | None
    parameters: JsonValue
    result: JsonValue
    error: JsonValue
    workload: float
    created_at: datetime
    scheduled_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    def without_secrets(self, redactor: Redactor) -> "RunView":
        """This run as it may be printed: what a caller sent is stored as it came."""
        parameters, result, error = (redactor.value(value) for value in (self.parameters, self.result, self.error))
        return replace(self, parameters=parameters, result=result, error=error)

    @classmethod
    def from_row(cls, row: Record) -> "RunView":
        values = {name: row[name] for name in cls.__dataclass_fields__ if name != "state"}
        if isinstance(row["error"], dict) and row["error"].get("kind") == Termination.DEPTH_LIMIT:
            values["depth_limit"] = row["error"].get("limit", row["depth_limit"])
        return cls(**values, state=RunState(row["state"]))


@dataclass(frozen=True, slots=True)
class StepView:
    """A step that was performed, and in which attempt."""

    step: str
    action: str
    outcome: str
    attempt: int
    started_at: datetime
    finished_at: datetime
    result: JsonValue
    error: JsonValue

    def without_secrets(self, redactor: Redactor) -> "StepView":
        """This step as it may be printed."""
        return replace(self, result=redactor.value(self.result), error=redactor.value(self.error))

    @classmethod
    def from_row(cls, row: Record) -> "StepView":
        return cls(**{name: row[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class LogView:
    """A line of the log."""

    at: datetime
    level: str
    event: str
    step: str | None
    message: str

    @classmethod
    def from_row(cls, row: Record) -> "LogView":
        return cls(**{name: row[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class ChainRunView:
    """A run as a part of its chain."""

    id: UUID
    parent_run_id: UUID | None
    list_id: UUID | None
    workflow: str
    state: RunState
    depth: int
    error: JsonValue

    @classmethod
    def from_row(cls, row: Record) -> "ChainRunView":
        return cls(
            **{name: row[name] for name in cls.__dataclass_fields__ if name != "state"}, state=RunState(row["state"])
        )


@dataclass(frozen=True, slots=True)
class ChainView:
    """A chain: how many runs it has by depth and state, and those nearest to its root, at most MOST_CHAIN_RUNS."""

    id: UUID
    environment: str
    warned_at: datetime | None
    stopped_at: datetime | None
    workload: float
    counts: tuple[tuple[int, RunState, int], ...]
    runs: tuple[ChainRunView, ...]

    @property
    def total(self) -> int:
        """How many runs the chain has."""
        return sum(count for _, _, count in self.counts)


_RUN_COLUMNS: Final = """
    r.id, r.workflow, r.environment, r.state, r.trigger, r.depth, coalesce(r.depth_limit, e.depth_limit) AS depth_limit,
    r.chain_id, r.parent_run_id, r.attempt, r.version, r.parameters, r.result, r.error,
    round(r.workload::numeric, 6)::float8 AS workload,
    r.created_at, r.scheduled_at, r.started_at, r.finished_at
    """


async def find_run(conn: Connection, *, run_id: UUID) -> RunView | None:
    """The run, whatever its environment."""
    row = await conn.fetchrow(
        f"""
        SELECT {_RUN_COLUMNS}
        FROM penstock.runs r
        JOIN penstock.environments e ON e.name = r.environment
        WHERE r.id = $1
        """,
        run_id,
    )
    return None if row is None else RunView.from_row(row)


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs: of any of these states (none: any); None does not matter. `after`: those older than this one."""

    states: tuple[RunState, ...]
    workflow: str | None
    environment: str | None
    after: UUID | None


async def list_runs(conn: Connection, wanted: RunFilter, *, limit: int) -> list[RunView]:
    """Runs that meet the filter, the newest first."""
    rows = await conn.fetch(
        f"""
        SELECT {_RUN_COLUMNS}
        FROM penstock.runs r
        JOIN penstock.environments e ON e.name = r.environment
        WHERE (cardinality($1::text[]) = 0 OR r.state = ANY($1))
          AND ($2::text IS NULL OR r.workflow = $2)
          AND ($3::text IS NULL OR r.environment = $3)
          AND ($4::uuid IS NULL OR (r.created_at, r.id) < (SELECT p.created_at, p.id FROM penstock.runs p
              WHERE p.id = $4))
        ORDER BY r.created_at DESC, r.id DESC
        LIMIT $5
        """,
        wanted.states,
        wanted.workflow,
        wanted.environment,
        wanted.after,
        limit,
    )
    return [RunView.from_row(row) for row in rows]


async def list_steps(conn: Connection, *, run_id: UUID) -> list[StepView]:
    """What the run has done, in the order in which it was done."""
    rows = await conn.fetch(
        """
        SELECT s.step, s.action, s.outcome, s.attempt, s.started_at, s.finished_at, s.result, s.error
        FROM penstock.steps s
        WHERE s.run_id = $1
        ORDER BY s.started_at, s.finished_at, s.step
        """,
        run_id,
    )
    return [StepView.from_row(row) for row in rows]


async def list_log_lines(conn: Connection, *, run_id: UUID) -> list[LogView]:
    """The run's lines of the log, oldest first, at most MOST_LOG_LINES."""
    rows = await conn.fetch(
        """
        SELECT l.at, l.level, l.event, l.step, l.message
        FROM penstock.logs l
        WHERE l.run_id = $1
        ORDER BY l.at, l.id
        LIMIT $2
        """,
        run_id,
        MOST_LOG_LINES,
    )
    return [LogView.from_row(row) for row in rows]


async def find_chain(conn: Connection, *, run_id: UUID) -> ChainView | None:
    """The chain that `run_id` belongs to; any of its runs will do."""
    head = await _find_chain_head(conn, run_id=run_id)
    if head is None:
        return None
    return ChainView(
        id=head["chain_id"],
        environment=head["environment"],
        warned_at=head["warned_at"],
        stopped_at=head["stopped_at"],
        workload=head["workload"],
        counts=tuple(await _count_chain_runs(conn, chain_id=head["chain_id"])),
        runs=tuple(await _list_chain_runs(conn, chain_id=head["chain_id"])),
    )


async def _find_chain_head(conn: Connection, *, run_id: UUID) -> Record | None:
    """What is known of the chain itself; a chain that has scheduled nothing yet is known by its root only."""
    return await conn.fetchrow(
        """
        SELECT r.chain_id, r.environment, c.warned_at, c.stopped_at,
               (SELECT round(sum(all_runs.workload)::numeric, 6)::float8 FROM penstock.runs all_runs
                   WHERE all_runs.chain_id = r.chain_id)
                   AS workload
        FROM penstock.runs r
        LEFT JOIN penstock.chains c ON c.id = r.chain_id
        WHERE r.id = $1 OR r.chain_id = $1
        LIMIT 1
        """,
        run_id,
    )


async def _count_chain_runs(conn: Connection, *, chain_id: UUID) -> list[tuple[int, RunState, int]]:
    """How many runs the chain has, by depth and state."""
    rows = await conn.fetch(
        """
        SELECT r.depth, r.state, count(*) AS runs
        FROM penstock.runs r
        WHERE r.chain_id = $1
        GROUP BY r.depth, r.state
        ORDER BY r.depth, r.state
        """,
        chain_id,
    )
    return [(row["depth"], RunState(row["state"]), row["runs"]) for row in rows]


async def _list_chain_runs(conn: Connection, *, chain_id: UUID) -> list[ChainRunView]:
    """The runs nearest to the root, at most MOST_CHAIN_RUNS."""
    rows = await conn.fetch(
        """
        SELECT r.id, r.parent_run_id, r.list_id, r.workflow, r.state, r.depth, r.error
        FROM penstock.runs r
        WHERE r.chain_id = $1
        ORDER BY r.depth, r.created_at, r.id
        LIMIT $2
        """,
        chain_id,
        MOST_CHAIN_RUNS,
    )
    return [ChainRunView.from_row(row) for row in rows]


@dataclass(frozen=True, slots=True)
class Health:
    """The signs that `doctor` looks at. Ages are in seconds, 0 when there is nothing of the kind."""

    server_version: int
    clock_at: datetime
    waiting_runs: int
    oldest_waiting_seconds: float
    overdue_runs: int
    expired_leases: int
    open_lists: int
    deployments: dict[str, int]


async def read_health(conn: Connection) -> Health:
    """One look at the whole database. Overdue are runs that no scheduler has dispatched, or woken, 30 s after they were
    due.
    """
    row = await conn.fetchrow(
        """
        SELECT current_setting('server_version_num')::int AS server_version,
               clock_timestamp() AS clock_at,
               (SELECT count(*) FROM penstock.runs WHERE state = 'queued') AS waiting_runs,
               (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(scheduled_at)), 0)::float8
                FROM penstock.runs WHERE state = 'queued') AS oldest_waiting_seconds,
               (SELECT count(*) FROM penstock.runs
                WHERE state = 'scheduled' AND scheduled_at < clock_timestamp() - interval '30 seconds')
                 + (SELECT count(*) FROM penstock.waits
                     WHERE until < clock_timestamp() - interval '30 seconds') AS overdue_runs,
               (SELECT count(*) FROM penstock.runs
                WHERE state = 'running' AND lease_expires_at < clock_timestamp() - interval '30 seconds')
                    AS expired_leases,
               (SELECT count(*) FROM penstock.lists WHERE state = 'expanding') AS open_lists,
               (SELECT jsonb_object_agg(name, deployment_version) FROM penstock.environments) AS deployments
        """
    )
    assert row is not None, "an aggregate without GROUP BY has one row"
    return Health(**{name: row[name] for name in Health.__dataclass_fields__})
