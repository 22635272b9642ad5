"""The executor's SQL: runs change hands by claims, keep them by renewals, and every other write names the attempt it
belongs to.

Rows with many columns are passed as one JSON document: the driver looks at each element of an array, which costs more
than all else. Where runs are named by id, `state || ''` keeps the planner from the partial indexes: it takes them for
small, and would read through all that is queued or was running since the last vacuum.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock import exact_json
from penstock.db import Connection
from penstock.domain.runs import RunSummary
from penstock.domain.states import Termination
from penstock.runs.summaries import SUMMARY, summary_from_row
from penstock.things.statements import insert_statement
from penstock_executor.effects import Effect, Insertion
from penstock_executor.runs import ClaimedRun, Commit, Ending, FinishedStep, StepRecord

_MAX_LOCK_TIMEOUT: Final = 2**31 - 1
Held = tuple[UUID, int]
"""A run and the attempt in which it is held."""
Shape = tuple[str, str, tuple[str, ...]]
"""Environment, data type and columns of the things that a statement creates; empty when it creates none."""


async def claim_runs(conn: Connection, *, run_ids: Sequence[UUID], owner: str, lease: timedelta) -> list[ClaimedRun]:
    """Take those runs that are queued, within their depth limit, not paused, and in no stopped chain. Two executors
    never get the same attempt.

    A run keeps the deployment it first started with. Steps finished by earlier attempts come along where there were
    any.
    """
    rows = await conn.fetch(
        """
        UPDATE penstock.runs r
        SET state = 'running', attempt = r.attempt + 1, owner = $2, lease_expires_at = clock_timestamp() + $3,
            started_at = coalesce(r.started_at, clock_timestamp()), version = coalesce(r.version, e.deployment_version)
        FROM unnest($1::uuid[]) AS q (id), penstock.environments e
        WHERE r.id = q.id AND r.state || '' = 'queued' AND e.name = r.environment
          AND (penstock.judge_depth(r.depth, r.depth_limit, r.budget, e.depth_limit, 0) IS NULL
               OR e.depth_policy = 'observe'
               OR penstock.judge_depth(
                      r.depth, r.depth_limit, r.budget, e.depth_limit, penstock.extra_depth(r.chain_id)) IS NULL)
          AND NOT EXISTS (SELECT FROM penstock.chains c WHERE c.id = r.chain_id AND c.stopped_at IS NOT NULL)
          AND NOT (e.has_pauses AND penstock.find_pause(
              r.environment, r.workflow, r.chain_id, r.list_id, r.scheduled_at) IS NOT NULL)
        RETURNING r.id, r.chain_id, r.parent_run_id, r.environment, r.workflow, r.depth,
                  coalesce(r.depth_limit, e.depth_limit) AS depth_limit, r.priority, r.attempt, r.failures, r.version,
                  r.scheduled_at, r.started_at, clock_timestamp() AS claimed_at, r.parameters, r.context,
                  CASE WHEN r.attempt > 1 THEN (
                      SELECT jsonb_object_agg(s.step, s.result) FROM penstock.steps s
                      WHERE s.run_id = r.id AND s.outcome <> 'waiting' AND (s.outcome <> 'failed'
                          OR s.result IS NOT NULL)
                  ) END AS finished
        """,
        sorted(run_ids, key=_by_bytes),
        owner,
        lease,
    )
    return [ClaimedRun(*row) for row in rows]


async def list_finished_steps(conn: Connection, *, run_id: UUID) -> dict[str, FinishedStep]:
    """By path, what was finished before, in the order in which it was. Only code asks: steps in YAML are where they
    are.
    """
    rows = await conn.fetch(
        """
        SELECT s.step, s.action, s.error FROM penstock.steps s
        WHERE s.run_id = $1 AND s.outcome <> 'waiting' AND (s.outcome <> 'failed' OR s.result IS NOT NULL)
        ORDER BY s.started_at, s.finished_at
        """,
        run_id,
    )
    return {row["step"]: FinishedStep(row["action"], row["error"]) for row in rows}


async def terminate_queued_runs(
    conn: Connection, *, run_ids: Sequence[UUID]
) -> list[tuple[RunSummary, Termination, int]]:
    """Stop those queued runs that are beyond the depth limit as it is now, or whose chain was stopped; with reason and
    limit.
    """
    rows = await conn.fetch(
        f"""
        WITH judged AS MATERIALIZED (
            SELECT r.id, coalesce(r.depth_limit, e.depth_limit) AS depth_limit,
                   CASE WHEN (SELECT c.stopped_at FROM penstock.chains c WHERE c.id = r.chain_id) IS NOT NULL
                        THEN 'chain_stopped'
                        WHEN e.depth_policy = 'terminate'
                        THEN penstock.judge_depth(
                            r.depth, r.depth_limit, r.budget, e.depth_limit, penstock.extra_depth(r.chain_id))
                   END AS termination
            FROM unnest($1::uuid[]) AS q (id)
            JOIN penstock.runs r ON r.id = q.id
            JOIN penstock.environments e ON e.name = r.environment
            WHERE r.state || '' = 'queued'
        )
        UPDATE penstock.runs r
        SET state = 'terminated', finished_at = clock_timestamp()
        FROM judged j
        WHERE r.id = j.id AND r.state || '' = 'queued' AND j.termination IS NOT NULL
        RETURNING {SUMMARY}, j.depth_limit, j.termination
        """,
        sorted(run_ids, key=_by_bytes),
    )
    return [(summary_from_row(row), Termination(row["termination"]), row["depth_limit"]) for row in rows]


async def has_queued_runs(conn: Connection, *, run_ids: Sequence[UUID], depth: int) -> bool:
    """Whether any of these runs is queued at this depth."""
    found: bool = await conn.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM unnest($1::uuid[]) AS q (id)
            JOIN penstock.runs r ON r.id = q.id
            WHERE r.state || '' = 'queued' AND r.depth = $2
        )
        """,
        run_ids,
        depth,
    )
    return found


async def renew_leases(conn: Connection, *, held: Sequence[Held], lease: timedelta) -> set[UUID]:
    """Extend the leases of runs that are still held; returns those. Skips rows that a commit of ours has locked at this
    moment.
    """
    rows = await conn.fetch(
        """
        WITH held AS MATERIALIZED (
            SELECT r.id
            FROM unnest($1::uuid[], $2::int[]) AS q (id, attempt)
            JOIN penstock.runs r ON r.id = q.id AND r.attempt = q.attempt
            WHERE r.state || '' = 'running'
            FOR NO KEY UPDATE OF r SKIP LOCKED
        )
        UPDATE penstock.runs r SET lease_expires_at = clock_timestamp() + $3 FROM held WHERE r.id = held.id
        RETURNING r.id
        """,
        [run_id for run_id, _ in held],
        [attempt for _, attempt in held],
        lease,
    )
    return {row["id"] for row in rows}


async def list_held(conn: Connection, *, held: Sequence[Held]) -> set[UUID]:
    """Those of these runs that are still running in this attempt; waits for nobody."""
    rows = await conn.fetch(
        """
        SELECT r.id
        FROM unnest($1::uuid[], $2::int[]) AS q (id, attempt)
        JOIN penstock.runs r ON r.id = q.id AND r.attempt = q.attempt
        WHERE r.state || '' = 'running'
        """,
        [run_id for run_id, _ in held],
        [attempt for _, attempt in held],
    )
    return {row["id"] for row in rows}


async def release_runs(conn: Connection, *, owner: str) -> list[RunSummary]:
    """Give back all runs that `owner` holds, for others to claim; returns those."""
    rows = await conn.fetch(
        f"""
        UPDATE penstock.runs r
        SET state = 'queued', lease_expires_at = NULL, dispatched_at = clock_timestamp()
        WHERE r.state = 'running' AND r.owner = $1
        RETURNING {SUMMARY}
        """,
        owner,
    )
    return [summary_from_row(row) for row in rows]


async def wait_for_locks(conn: Connection, *, seconds: float, run_id: UUID) -> None:
    """Let the statements of this transaction wait that long for rows that others are changing, instead of a few
    seconds.

    Says, in the same round trip, which run makes its changes: see `penstock.things.changes`.
    """
    await conn.execute(
        "SELECT set_config('lock_timeout', $1, true), set_config('penstock.run_id', $2, true)",
        f"{max(1, min(round(seconds * 1000), _MAX_LOCK_TIMEOUT))}ms",
        str(run_id),
    )


async def hold_runs(conn: Connection, *, held: Sequence[Held]) -> set[Held]:
    """Lock the runs that are still held until the transaction ends, in one order; returns those. The rest belong to
    others now.
    """
    rows = await conn.fetch(
        """
        SELECT r.id, r.attempt
        FROM unnest($1::uuid[], $2::int[]) AS q (id, attempt)
        JOIN penstock.runs r ON r.id = q.id AND r.attempt = q.attempt
        WHERE r.state || '' = 'running'
        ORDER BY r.id
        FOR NO KEY UPDATE OF r
        """,
        [run_id for run_id, _ in held],
        [attempt for _, attempt in held],
    )
    return {(row["id"], row["attempt"]) for row in rows}


_END_ATTEMPTS: Final = """
    UPDATE penstock.runs r
    SET state = q.state, lease_expires_at = NULL, result = coalesce(q.result, r.result), error = q.error,
        scheduled_at = coalesce(q.due_at, r.scheduled_at), failures = r.failures + q.failures,
        workload = r.workload + q.workload,
        dispatched_at = CASE q.state WHEN 'queued' THEN clock_timestamp() WHEN 'scheduled' THEN NULL
            ELSE r.dispatched_at END,
        finished_at = CASE WHEN q.state NOT IN ('queued', 'scheduled', 'waiting') THEN clock_timestamp() END
    """
_HELD_BY: Final = "WHERE r.id = q.id AND r.attempt = q.attempt AND r.state || '' = 'running'"
_RECORD_STEPS: Final = """
    INSERT INTO penstock.steps AS s (run_id, attempt, step, action, outcome, started_at, result, error)
    SELECT e.id, e.attempt, q.step, q.action, q.outcome, q.started_at, q.result, q.error
    """
_UNLESS_FINISHED: Final = """
    ON CONFLICT (run_id, step) DO UPDATE
        SET attempt = EXCLUDED.attempt, outcome = EXCLUDED.outcome, started_at = EXCLUDED.started_at,
            finished_at = EXCLUDED.finished_at, result = EXCLUDED.result, error = EXCLUDED.error
        WHERE s.outcome IN ('failed', 'waiting')
    """


async def end_attempts(conn: Connection, *, endings: Sequence[tuple[UUID, int, Ending, float]]) -> set[Held]:
    """End the attempts of runs that are still held: finished, scheduled again, or queued again; returns those runs.

    Each ending comes with the workload units of its attempt.
    """
    rows = await conn.fetch(
        f"""
        {_END_ATTEMPTS}
        FROM jsonb_to_recordset($1) AS q
             (id uuid, attempt int, state text, result jsonb, error jsonb, due_at timestamptz,
              failures int, workload float8)
        {_HELD_BY}
        RETURNING r.id, r.attempt
        """,
        [
            {
                "id": str(run_id), "attempt": attempt, "state": ending.state, "result": ending.result,
                "error": ending.error,
                "due_at": ending.due_at, "failures": 1 if ending.is_failure else 0, "workload": workload,
            }
            for run_id, attempt, ending, workload in endings
        ],
    )  # fmt: skip
    return {(row["id"], row["attempt"]) for row in rows}


async def finish_runs(conn: Connection, *, commits: Sequence[Commit]) -> set[Held]:
    """End attempts with all that they still have to write, in one statement: records of steps, and things of one shape
    to create.

    Only of runs that are still held; returns those. It is what most runs need, and one round trip instead of five.
    """
    rows = await conn.fetch(_finish_statement(commits[0]), [_whole_document(commit) for commit in commits])
    return {(row["id"], row["attempt"]) for row in rows}


def shape_of(commit: Commit) -> Shape | None:
    """What the commits have in common that one call of `finish_runs` takes; None when it takes no such commit."""
    if commit.ending is None or commit.ending.wait is not None or commit.answer is not None or commit.is_repeat:
        return None
    if commit.effect is None:
        return ("", "", ())
    insertion = _insertion(commit)
    return None if insertion is None else (commit.environment, insertion.data_type.name, insertion.thing.columns)


def _insertion(commit: Commit) -> Insertion | None:
    return commit.effect.insertion if isinstance(commit.effect, Effect) else None


def _whole_document(commit: Commit) -> dict[str, object]:
    ending, insertion = commit.ending, _insertion(commit)
    assert ending is not None
    return {
        "id": str(commit.run_id), "attempt": commit.attempt, "state": ending.state, "result": ending.result,
        "error": ending.error,
        "due_at": ending.due_at, "failures": 1 if ending.is_failure else 0, "workload": commit.workload,
        "thing": None if insertion is None else insertion.thing.record,
        "steps": [_document(record) for record in commit.records],
    }  # fmt: skip


def _document(record: StepRecord) -> dict[str, object]:
    return {
        "step": record.step, "action": record.action, "outcome": record.outcome, "started_at": record.started_at,
        "result": record.result, "error": record.error,
    }  # fmt: skip


_statements: Final[dict[Shape, str]] = {}


def _finish_statement(commit: Commit) -> str:
    shape = shape_of(commit)
    assert shape is not None
    if shape not in _statements:
        made, insertion = "", _insertion(commit)
        if insertion is not None:
            rows = "(SELECT jsonb_agg(e.thing) FROM ended e)"
            insert = insert_statement(commit.environment, insertion.data_type, insertion.thing.columns, rows=rows)
            made = f", made AS ({insert})"
        _statements[shape] = f"""
            WITH given AS MATERIALIZED (
                SELECT * FROM jsonb_to_recordset($1) AS q (
                    id uuid, attempt int, state text, result jsonb, error jsonb, due_at timestamptz, failures int,
                        workload float8,
                    thing jsonb, steps jsonb
                )
            ), ended AS ({_END_ATTEMPTS} FROM given q {_HELD_BY} RETURNING r.id, r.attempt, q.thing, q.steps),
            recorded AS (
                {_RECORD_STEPS}
                FROM ended e, jsonb_to_recordset(e.steps) AS q (
                    step text, action text, outcome text, started_at timestamptz, result jsonb, error jsonb
                )
                {_UNLESS_FINISHED}
            ){made}
            SELECT id, attempt FROM ended
            """
    return _statements[shape]


async def store_answers(conn: Connection, *, answers: Sequence[tuple[UUID, JsonValue]]) -> None:
    """Keep what callers were answered before their run has ended. The rows must be held by this transaction."""
    await conn.execute(
        """
        UPDATE penstock.runs r SET result = q.result::jsonb
        FROM unnest($1::uuid[], $2::text[]) AS q (id, result)
        WHERE r.id = q.id
        """,
        [run_id for run_id, _ in answers],
        [_to_text(answer) for _, answer in answers],
    )


async def record_steps(conn: Connection, *, records: Sequence[tuple[UUID, int, StepRecord]]) -> None:
    """Remember steps of runs that this transaction holds. A step that has failed before may succeed now; a finished one
    stays.
    """
    await conn.execute(
        f"""
        WITH e AS (
            SELECT * FROM jsonb_to_recordset($1) AS q (id uuid, attempt int, steps jsonb)
        )
        {_RECORD_STEPS}
        FROM e, jsonb_to_recordset(e.steps) AS q (
            step text, action text, outcome text, started_at timestamptz, result jsonb, error jsonb
        )
        {_UNLESS_FINISHED}
        """,
        [{"id": str(run_id), "attempt": attempt, "steps": [_document(record)]} for run_id, attempt, record in records],
    )


async def find_committed(conn: Connection, *, commits: Sequence[Commit]) -> dict[Held, JsonValue]:
    """Which of these commits, whose outcome we never learned, did succeed; with the result of their last step.

    A commit's records and ending appear together, so either one tells of the whole.
    """
    rows = await conn.fetch(
        """
        SELECT r.id, r.attempt, s.result
        FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[]) AS q (id, attempt, step, state)
        JOIN penstock.runs r ON r.id = q.id AND r.attempt = q.attempt
        LEFT JOIN penstock.steps s ON s.run_id = q.id AND s.step = q.step AND s.attempt = q.attempt
        WHERE CASE WHEN q.state IS NULL THEN s.step IS NOT NULL ELSE r.state = q.state END
        """,
        [commit.run_id for commit in commits],
        [commit.attempt for commit in commits],
        [_marker(commit) for commit in commits],
        [None if commit.ending is None else commit.ending.state for commit in commits],
    )
    return {(row["id"], row["attempt"]): row["result"] for row in rows}


def _marker(commit: Commit) -> str | None:
    """The step whose record shows that the commit succeeded."""
    if commit.effect_record is not None:
        return commit.effect_record.step
    return commit.records[-1].step if commit.records else None


async def get_depth_limit(conn: Connection, *, environment: str) -> int | None:
    """The depth limit of an environment as it is now; None when there is no such environment."""
    limit: int | None = await conn.fetchval(
        "SELECT depth_limit FROM penstock.environments WHERE name = $1", environment
    )
    return limit


def _to_text(value: JsonValue) -> str | None:
    return None if value is None else exact_json.dumps_storable(value).decode()


def _by_bytes(run_id: UUID) -> bytes:
    """The order of the index, so that two statements that meet wait for each other in one order; cheaper than comparing
    ids.
    """
    return run_id.bytes
