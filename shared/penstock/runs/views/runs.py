"""SQL of what is shown of runs and their steps."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from penstock.db import Connection, Record
from penstock.domain.states import RunState, Termination
from penstock.runs.views.finding import COUNT_LIVE, FIND_BY, MAX_LIVE, RunFilter, RunWay, arguments, find_way
from penstock.runs.views.logs import list_run_logs
from penstock.runs.views.models import Attempts, RunDetails, RunFacts, Step, Waiting, WaitingFor, WaitReason
from penstock.runs.views.pages import Page, make_page
from penstock.runs.views.tries import make_steps

RunPlace = tuple[datetime, UUID]
MAX_LOGS: Final = 500
"""Of one run's lines, the newest are shown."""

# Another fact about a run becomes a column here, a field of `Run` and, where it is made of several, a line in
# `_run_from_row`. The depth budget is the limit of the run's workflow as it was at admission, or else the limit of its
# environment as it is now.
_RUN: Final = """
    r.id, r.workflow, r.environment, r.state, r.depth, coalesce(r.depth_limit, e.depth_limit) AS depth_budget,
    r.chain_id, r.parent_run_id, r.attempt, r.parameters, r.result, r.error,
    round(r.workload::numeric, 6)::float8 AS workload,
    r.created_at, r.scheduled_at, r.started_at, r.finished_at, r.dispatched_at,
    CASE WHEN r.trigger = 'recurrence' THEN r.context -> 'recurrence' END AS recurrence,
    r.trigger, r.version, r.failures, r.crashes,
    w.step AS wait_step, w.until AS wait_until, w.signal AS wait_signal, w.match AS wait_match,
    w.created_at AS wait_since, w.is_join AS wait_is_join,
    -- With an offset, these two are looked up for each run: else all such rows might be read once, for a page of runs.
    EXISTS (SELECT FROM penstock.steps s WHERE s.run_id = w.run_id AND s.step = w.step AND s.action = 'retry' OFFSET 0)
        AS is_retry,
    CASE WHEN e.has_pauses AND (r.state = 'queued' OR (r.state = 'scheduled' AND r.scheduled_at <= clock_timestamp())
                                OR (r.state = 'waiting' AND w.until <= clock_timestamp()))
         THEN penstock.find_pause(r.environment, r.workflow, r.chain_id, r.list_id, coalesce(w.until, r.scheduled_at))
    END AS pause_id,
    t.rule AS turn_rule, t.key AS turn_key, t.waits_since AS turn_since, t.holder AS turn_holder,
    r.state = 'scheduled' AND r.scheduled_at > clock_timestamp()
        AND EXISTS (SELECT FROM penstock.debounces d WHERE d.run_id = r.id OFFSET 0) AS is_quiet,
    CASE WHEN r.state <> 'scheduled' OR r.scheduled_at > clock_timestamp() THEN NULL
         WHEN r.crowd IN (r.chain_id, r.list_id) THEN r.crowd::text
         WHEN r.crowd IS NOT NULL THEN r.workflow END AS crowd
"""
_JOINS: Final = """
    LEFT JOIN penstock.environments e ON e.name = r.environment
    LEFT JOIN LATERAL (SELECT w.* FROM penstock.waits w WHERE w.run_id = r.id OFFSET 0) w ON true
    LEFT JOIN LATERAL (
        -- The place for whose limit it waits: one that another run holds, before one that only time gives.
        (SELECT p.rule, p.key, p.waits_since, h.run_id AS holder FROM penstock.places p
        LEFT JOIN LATERAL (
            SELECT o.run_id FROM penstock.places o
            WHERE o.scope = p.scope AND p.rule NOT LIKE 'rate:%' AND o.run_id <> p.run_id
              AND (o.taken_at IS NOT NULL OR p.rule = 'sequence' AND NOT o.is_done AND o.position < p.position)
            ORDER BY o.position LIMIT 1
        ) h ON true
        WHERE p.run_id = r.id AND r.is_limited AND p.waits_since IS NOT NULL
        ORDER BY h.run_id IS NULL, p.rule LIKE 'rate:%' DESC, p.rule LIMIT 1)
        -- Or its turn in a sequential list, when it is taken up again.
        UNION ALL
        (SELECT 'sequence', l.id::text, r.parked_at, nullif(l.holder, r.id) FROM penstock.list_line q
         JOIN penstock.lists l ON l.id = q.list_id
         WHERE q.run_id = r.id AND r.list_id IS NOT NULL AND r.parked_at IS NOT NULL)
        LIMIT 1
    ) t ON true
"""


_PAGE: Final = f"""
    WITH FOUND
    SELECT f.is_wanted, f.is_end, f.created_at AS place_at, f.id AS place_id, {_RUN}
    FROM found f
    CROSS JOIN LATERAL (SELECT r.* FROM penstock.runs r WHERE r.id = f.id OFFSET 0) r
    {_JOINS}
    ORDER BY f.number
    """
LIST_RUNS: Final = {way: _PAGE.replace("FOUND", found) for way, found in FIND_BY.items()}
"""By way, a page of runs."""


async def list_runs(
    conn: Connection, wanted: RunFilter, *, user_id: str | None = None, after: RunPlace | None, limit: int
) -> Page[RunFacts, RunPlace]:
    """Runs that meet the filter, newest first; `user_id`: only those that work for this user of the app. With an
    `after` where there may be more, even if they are fewer than `limit`.
    """
    way = find_way(wanted, user_id)
    if way is RunWay.LIVE and await conn.fetchval(COUNT_LIVE, wanted.states, MAX_LIVE) >= MAX_LIVE:
        way = RunWay.TIME
    rows = await conn.fetch(LIST_RUNS[way], *arguments(wanted, user_id, after, limit + 1))
    runs = [_run_from_row(row) for row in rows if row["is_wanted"]]
    page = make_page(runs, limit, lambda run: (run.created_at, run.id))
    if page.after is None and rows and rows[-1]["is_end"]:
        return Page(page.results, (rows[-1]["place_at"], rows[-1]["place_id"]))
    return page


async def find_run(conn: Connection, *, run_id: UUID, environment: str | None = None) -> RunFacts | None:
    """A run; None when there is none of that id, or not in that environment."""
    row = await conn.fetchrow(
        f"""
        SELECT {_RUN}
        FROM penstock.runs r
        {_JOINS}
        WHERE r.id = $1 AND ($2::text IS NULL OR r.environment = $2)
        """,
        run_id,
        environment,
    )
    return None if row is None else _run_from_row(row)


async def find_run_details(conn: Connection, *, run_id: UUID, environment: str | None = None) -> RunDetails | None:
    """A run with its steps and its newest MAX_LOGS log lines; None as `find_run`."""
    run = await find_run(conn, run_id=run_id, environment=environment)
    if run is None:
        return None
    origin = await conn.fetchrow(
        """
        SELECT r.list_id, r.context -> 'user' ->> '_id' AS user, r.context -> 'webhook' AS webhook
        FROM penstock.runs r WHERE r.id = $1
        """,
        run_id,
    )
    steps = await list_steps(conn, run_ids=[run_id])
    logs = await list_run_logs(conn, run_ids=[run_id], limit=MAX_LOGS)
    return RunDetails(
        **dict(run), **dict(origin or {"list_id": None, "user": None}), steps=steps[run_id], logs=logs[run_id]
    )


async def list_steps(conn: Connection, *, run_ids: Sequence[UUID]) -> defaultdict[UUID, list[Step]]:
    """The steps of runs, by run, in the order in which they began."""
    rows = await conn.fetch(
        """
        SELECT s.run_id, s.step, s.action, s.outcome, s.attempt, s.started_at, s.finished_at, s.result, s.error,
               s.tries
        FROM penstock.steps s
        WHERE s.run_id = ANY($1::uuid[])
        ORDER BY s.started_at, s.finished_at, s.step
        """,
        run_ids,
    )
    by_run: dict[UUID, list[Record]] = defaultdict(list)
    for row in rows:
        by_run[row["run_id"]].append(row)
    return defaultdict(list, {run_id: make_steps(of_run) for run_id, of_run in by_run.items()})


async def has_run(conn: Connection, *, run_id: UUID, environment: str) -> bool:
    """Whether the environment has this run."""
    found: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM penstock.runs WHERE id = $1 AND environment = $2)", run_id, environment
    )
    return found


def _run_from_row(row: Record) -> RunFacts:
    error = row["error"]
    values = dict(row) | {
        "waiting_for": _waiting_for(row),
        "waiting": _waiting(row),
        "attempts": Attempts(begun=row["attempt"], failed=row["failures"], crashed=row["crashes"]),
    }
    if isinstance(error, dict) and error.get("kind") == Termination.DEPTH_LIMIT:
        values["depth_budget"] = error.get("limit", row["depth_budget"])
    return RunFacts.model_validate(values)


def _wait_reason(row: Record) -> WaitReason:
    if row["is_retry"]:
        return "retry"
    if row["wait_is_join"]:
        return "runs"
    return "time" if row["wait_signal"] is None else "signal"


def _waiting(row: Record) -> Waiting | None:
    if row["wait_step"] is None:
        return None
    return Waiting(step=row["wait_step"], until=row["wait_until"], signal=row["wait_signal"], match=row["wait_match"])


def _waiting_for(row: Record) -> WaitingFor | None:
    if row["pause_id"] is not None:
        since = row["wait_until"] or row["scheduled_at"]
        return WaitingFor(reason="paused", key=str(row["pause_id"]), holder=None, since=since)
    if row["turn_rule"] is not None:
        reason = row["turn_rule"].partition(":")[0]
        return WaitingFor(reason=reason, key=row["turn_key"], holder=row["turn_holder"], since=row["turn_since"])
    match row["state"]:
        case RunState.SCHEDULED if row["crowd"] is not None:
            return WaitingFor(reason="executor", key=row["crowd"], holder=None, since=row["scheduled_at"])
        case RunState.SCHEDULED if row["is_quiet"]:
            return WaitingFor(reason="debounce", key=None, holder=None, since=row["created_at"])
        case RunState.SCHEDULED if row["failures"] or row["attempt"]:
            return WaitingFor(reason="retry", key=None, holder=None, since=None)
        case RunState.SCHEDULED:
            return WaitingFor(reason="due", key=None, holder=None, since=row["created_at"])
        case RunState.QUEUED:
            return WaitingFor(
                reason="executor", key=None, holder=None, since=row["dispatched_at"] or row["scheduled_at"]
            )
        case RunState.WAITING:
            signal = row["wait_signal"]
            reason = _wait_reason(row)
            return WaitingFor(reason=reason, key=signal, holder=None, since=row["wait_since"])
        case _:
            return None
