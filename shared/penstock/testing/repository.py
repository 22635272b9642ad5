"""What a test reads: runs with their steps and their lines of the log, and whether anything is still to be done."""

from datetime import datetime
from typing import Final
from uuid import UUID

from penstock.db import Connection
from penstock.domain.states import RunState
from penstock.runs.views.finding import RunFilter
from penstock.runs.views.logs import list_run_logs
from penstock.runs.views.models import LogEntry, RunFacts, Step
from penstock.runs.views.runs import RunPlace, find_run, list_runs, list_steps
from penstock.store.logs import LogEvent

_LAST_LINES: Final = (LogEvent.FINISHED.value, LogEvent.CONDITION_NOT_PASSED.value)
_PAGE: Final = 500


class Run(RunFacts):
    """A run as it was when it was looked at. `steps` is by path, in the order in which they were begun; `logs` in order
    of time.
    """

    steps: dict[str, Step]
    logs: tuple[LogEntry, ...]

    @property
    def output(self) -> list[str]:
        """What its `log` steps said."""
        return [line.message for line in self.logs if line.event == LogEvent.OUTPUT]

    @property
    def is_logged(self) -> bool:
        """Whether the log has the line that comes last: it is written a moment after the run has ended."""
        if self.state not in {RunState.SUCCEEDED, RunState.SKIPPED, RunState.FAILED}:
            return True
        return any(
            line.event in _LAST_LINES or (line.event, line.level) == (LogEvent.WORKFLOW_ERROR, "error")
            for line in self.logs
        )


async def get_run(conn: Connection, *, environment: str, run_id: UUID) -> Run | None:
    """A run with its steps and all its lines; None when the environment has none of that id."""
    run = await find_run(conn, run_id=run_id, environment=environment)
    return None if run is None else (await _complete(conn, [run]))[0]


async def list_all_runs(
    conn: Connection, *, environment: str, workflow: str | None = None, state: str | None = None
) -> list[Run]:
    """All runs of the environment that fit what is given, the oldest first."""
    wanted = RunFilter(environment, workflow, None if state is None else (state,))
    found: list[RunFacts] = []
    after: RunPlace | None = None
    while True:
        page = await list_runs(conn, wanted, after=after, limit=_PAGE)
        found += page.results
        after = page.after
        if after is None:
            return await _complete(conn, found[::-1])


async def _complete(conn: Connection, runs: list[RunFacts]) -> list[Run]:
    ids = [run.id for run in runs]
    steps, logs = await list_steps(conn, run_ids=ids), await list_run_logs(conn, run_ids=ids, limit=None)
    return [
        Run(**dict(run), steps={done.step: done for done in steps[run.id]}, logs=tuple(logs[run.id])) for run in runs
    ]


async def is_busy(conn: Connection) -> bool:
    """Whether anything is under way or due by the database's clock: a run, items of a list, a tick, or the end of a
    wait.
    """
    busy: bool = await conn.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM penstock.runs
            WHERE finished_at IS NULL AND indexed_state IS NULL
               OR (indexed_state = 'scheduled' AND scheduled_at <= clock_timestamp() AND parked_at IS NULL)
        ) OR EXISTS (
            SELECT FROM penstock.lists l
            JOIN penstock.list_chunks c ON c.list_id = l.id
            WHERE l.state = 'expanding' AND c.expanded_at IS NULL
              AND (NOT l.is_sequential
                   OR (l.start_at + make_interval(secs => (c.first_index + c.next_offset) * l.interval_seconds)
                        <= clock_timestamp()
                       AND NOT EXISTS (SELECT FROM penstock.runs r WHERE r.list_id = l.id AND r.finished_at IS NULL)
                       AND NOT EXISTS (
                           SELECT FROM penstock.chains h
                           JOIN penstock.runs p ON p.id = l.parent_run_id AND p.chain_id = h.id
                           WHERE h.stopped_at IS NOT NULL)))
        ) OR EXISTS (
            SELECT FROM penstock.recurrences c
            LEFT JOIN penstock.runs r ON r.id = c.last_run_id AND r.finished_at IS NULL
            WHERE c.due_at <= clock_timestamp() AND c.parked_at IS NULL AND (c.held_since IS NULL OR r.id IS NULL)
        ) OR EXISTS (SELECT FROM penstock.waits w WHERE w.until <= clock_timestamp() AND w.parked_at IS NULL)
          OR EXISTS (SELECT FROM penstock.changes)
          OR EXISTS (SELECT FROM penstock.run_ends)
          OR EXISTS (SELECT FROM penstock.inbox)
          OR EXISTS (SELECT FROM penstock.ends)
          OR EXISTS (SELECT FROM penstock.lists l WHERE l.follower_state = 'due')
          OR EXISTS (
              SELECT FROM penstock.list_searches s
              JOIN penstock.lists l ON l.id = s.list_id AND l.state = 'expanding'
              WHERE NOT EXISTS (
                  SELECT FROM penstock.chains h
                  JOIN penstock.runs p ON p.id = l.parent_run_id AND p.chain_id = h.id
                  WHERE h.stopped_at IS NOT NULL))
          OR EXISTS (
              SELECT FROM penstock.list_line q
              JOIN penstock.lists l ON l.id = q.list_id
              WHERE NOT EXISTS (
                  SELECT FROM penstock.runs r WHERE r.id = l.holder AND r.finished_at IS NULL
                    AND NOT EXISTS (SELECT FROM penstock.list_line o WHERE o.run_id = r.id)))
          OR EXISTS (SELECT FROM penstock.joins WHERE NOT is_known)
          OR EXISTS (SELECT FROM penstock.turns WHERE due_at <= clock_timestamp())
        """
    )
    return busy


async def get_time(conn: Connection) -> datetime:
    """The database's time."""
    now: datetime = await conn.fetchval("SELECT clock_timestamp()")
    return now


async def find_next_due(conn: Connection) -> datetime | None:
    """When the next thing is due that is not yet: a run, an item of a sequential list, a tick, the end of a wait; or
    None.
    """
    due_at: datetime | None = await conn.fetchval(
        """
        SELECT min(u.due_at) FROM (
            SELECT scheduled_at AS due_at FROM penstock.runs WHERE indexed_state = 'scheduled'
            UNION ALL
            SELECT l.start_at + make_interval(secs => (c.first_index + c.next_offset) * l.interval_seconds)
            FROM penstock.lists l
            JOIN penstock.list_chunks c ON c.list_id = l.id
            WHERE l.state = 'expanding' AND l.is_sequential AND c.expanded_at IS NULL
            UNION ALL
            SELECT c.due_at FROM penstock.recurrences c WHERE c.held_since IS NULL
            UNION ALL
            SELECT w.until FROM penstock.waits w
        ) u
        WHERE u.due_at > clock_timestamp()
        """
    )
    return due_at


async def list_upcoming(conn: Connection, *, environment: str) -> list[tuple[str, RunState, datetime]]:
    """Workflow, state and due time of the runs that have not ended, for a message to a person."""
    rows = await conn.fetch(
        """
        SELECT workflow, state, scheduled_at FROM penstock.runs
        WHERE environment = $1 AND finished_at IS NULL
        ORDER BY scheduled_at LIMIT 10
        """,
        environment,
    )
    return [(row["workflow"], RunState(row["state"]), row["scheduled_at"]) for row in rows]
