"""Commits: steps are recorded and attempts end, each only while the run is still held in that attempt."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock import exact_json
from penstock.db import Connection
from penstock.domain.states import RunState
from penstock.things.statements import insert_statement
from penstock_executor.effects import Insertion
from penstock_executor.repository.held_runs import Held
from penstock_executor.runs import Commit, Ending, StepRecord

Shape = tuple[str, str, tuple[str, ...]]
"""Environment, data type and columns of the things that a statement creates; empty when it creates none."""

_END_ATTEMPTS: Final = """
    UPDATE penstock.runs r
    SET state = q.state, indexed_state = CASE WHEN q.state IN ('scheduled', 'waiting', 'failed') THEN q.state END,
        lease_expires_at = NULL, result = coalesce(q.result, r.result), error = q.error,
        scheduled_at = coalesce(q.due_at, r.scheduled_at), failures = r.failures + coalesce(q.failures, 0),
        workload = r.workload + q.workload,
        dispatched_at = CASE q.state WHEN 'queued' THEN clock_timestamp() WHEN 'scheduled' THEN NULL
            ELSE r.dispatched_at END,
        finished_at = CASE WHEN q.state NOT IN ('queued', 'scheduled', 'waiting') THEN clock_timestamp() END
    """
_HELD_BY: Final = "WHERE r.id = q.id AND r.attempt = q.attempt AND coalesce(r.state = 'running', false)"
"""As in a claim, of `coalesce` the planner expects half of the rows to be left."""
_LEAVING: Final = frozenset({RunState.SUCCEEDED, RunState.SKIPPED})
"""Nobody takes a run up again that has ended so, so its places are not kept."""
_FEW: Final = "LIMIT (SELECT 1000000)"
"""Of a document the planner expects 100 rows, for which it reads a young table whole, and so does the plan that is kept
while the table grows. Of a limit that it does not know it expects a tenth: few enough to be looked up one by one.
"""
_RECORD_STEPS: Final = """
    INSERT INTO penstock.steps AS s
        (run_id, attempt, step, action, outcome, started_at, finished_at, result, error, tries)
    SELECT e.id, e.attempt, q.step, q.action, q.outcome, q.started_at, coalesce(q.finished_at, clock_timestamp()),
           q.result, q.error, q.tries
    """
_UNLESS_FINISHED: Final = """
    ON CONFLICT (run_id, step) DO UPDATE
        SET attempt = EXCLUDED.attempt, outcome = EXCLUDED.outcome, started_at = EXCLUDED.started_at,
            finished_at = EXCLUDED.finished_at, result = EXCLUDED.result, error = EXCLUDED.error,
            tries = CASE s.outcome WHEN 'failed' THEN
                coalesce(s.tries, jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('attempt', s.attempt,
                    'started_at', s.started_at, 'finished_at', s.finished_at, 'error', s.error))))
                || coalesce(EXCLUDED.tries, jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
                    'attempt', EXCLUDED.attempt, 'started_at', EXCLUDED.started_at,
                    'finished_at', EXCLUDED.finished_at, 'error', EXCLUDED.error))))
                ELSE EXCLUDED.tries END
        WHERE s.outcome IN ('failed', 'waiting')
    """


async def end_attempts(conn: Connection, *, endings: Sequence[tuple[UUID, int, Ending, float]]) -> set[Held]:
    """End the attempts of runs that are still held: finished, scheduled again, or queued again; returns those runs.

    Each ending comes with the workload units of its attempt.
    """
    rows = await conn.fetch(
        f"""
        {_END_ATTEMPTS}
        FROM (
            SELECT * FROM (SELECT * FROM jsonb_to_recordset($1) AS q
                (id uuid, attempt int, state text, result jsonb, error jsonb, due_at timestamptz,
                 failures int, workload float8)
            {_FEW}) q {_FEW}
        ) q
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
    """End attempts with all that is left to write, in one statement: step records, and new things of one shape.

    Only of runs that are still held; returns the others. It is what most runs need, and one round trip instead of five.
    """
    is_limited = any(commit.is_limited for commit in commits)
    statement = _finish_statement(commits[0], is_limited=is_limited)
    rows = await conn.fetch(statement, [_whole_document(commit, is_limited=is_limited) for commit in commits])
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
    return None if commit.effect is None else commit.effect.insertion


def _whole_document(commit: Commit, *, is_limited: bool) -> dict[str, object]:
    """What is None is left out: it is written and read faster."""
    ending, insertion = commit.ending, _insertion(commit)
    assert ending is not None
    document: dict[str, object] = {
        "id": str(commit.run_id), "attempt": commit.attempt, "state": ending.state, "workload": commit.workload,
        "steps": [_document(record) for record in commit.records],
    }  # fmt: skip
    if insertion is not None:
        document["thing"] = insertion.thing.record
    if ending.result is not None:
        document["result"] = ending.result
    if ending.error is not None:
        document["error"] = ending.error
    if ending.due_at is not None:
        document["due_at"] = ending.due_at
    if ending.is_failure:
        document["failures"] = 1
    if is_limited:
        document["has_left"] = ending.state in _LEAVING
    return document


def _document(record: StepRecord) -> dict[str, object]:
    document = {
        "step": record.step, "action": record.action, "outcome": record.outcome, "started_at": record.started_at,
    }  # fmt: skip
    if record.result is not None:
        document["result"] = record.result
    if record.error is not None:
        document["error"] = record.error
    if record.finished_at is not None:
        document["finished_at"] = record.finished_at
    if record.tries is not None:
        document["tries"] = record.tries
    return document


_statements: Final[dict[tuple[Shape, bool], str]] = {}
_LEAVE_PLACES: Final = """
    , left_places AS (
        DELETE FROM penstock.places p WHERE p.run_id = ANY(ARRAY(SELECT e.id FROM ended e WHERE e.has_left))
        RETURNING p.environment, p.workflow, p.rule, p.scope, p.taken_at
    ), freed AS (
        INSERT INTO penstock.turns (environment, workflow, rule, scope)
        SELECT DISTINCT p.environment, p.workflow, p.rule, p.scope FROM left_places p
        WHERE p.taken_at IS NOT NULL AND p.rule NOT LIKE 'rate:%' OR p.rule = 'sequence'
    )
    """
"""What the trigger `pass_gate` does for each run that has ended well, for all at once: without `is_limited`, it leaves
them alone.
"""


def _finish_statement(commit: Commit, *, is_limited: bool) -> str:
    shape = shape_of(commit)
    assert shape is not None
    if (shape, is_limited) not in _statements:
        made, insertion = "", _insertion(commit)
        if insertion is not None:
            rows = "(SELECT jsonb_agg(e.thing) FROM ended e)"
            insert = insert_statement(commit.environment, insertion.data_type, insertion.thing.columns, rows=rows)
            made = f", made AS ({insert})"
        leaves = ", is_limited = CASE WHEN NOT q.has_left THEN r.is_limited END" if is_limited else ""
        _statements[shape, is_limited] = f"""
            WITH given AS MATERIALIZED (
                SELECT * FROM jsonb_to_recordset($1) AS q (
                    id uuid, attempt int, state text, result jsonb, error jsonb, due_at timestamptz, failures int,
                        workload float8,
                    thing jsonb, steps jsonb, has_left bool
                )
                {_FEW}
            ), ended AS (
                {_END_ATTEMPTS}{leaves} FROM (SELECT * FROM given {_FEW}) q {_HELD_BY}
                RETURNING r.id, r.attempt, q.thing, q.steps, q.has_left
            ),
            recorded AS (
                {_RECORD_STEPS}
                FROM ended e, jsonb_to_recordset(e.steps) AS q (
                    step text, action text, outcome text, started_at timestamptz, finished_at timestamptz, result jsonb,
                        error jsonb, tries jsonb
                )
                {_UNLESS_FINISHED}
            ){made}{_LEAVE_PLACES if is_limited else ""}
            SELECT g.id, g.attempt FROM given g
            WHERE NOT EXISTS (SELECT FROM ended e WHERE e.id = g.id AND e.attempt = g.attempt)
            """
    return _statements[shape, is_limited]


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
    """Record steps of runs that this transaction holds. A failed step may succeed later; a finished one stays."""
    await conn.execute(
        f"""
        WITH e AS (
            SELECT * FROM jsonb_to_recordset($1) AS q (id uuid, attempt int, steps jsonb)
        )
        {_RECORD_STEPS}
        FROM e, jsonb_to_recordset(e.steps) AS q (
            step text, action text, outcome text, started_at timestamptz, finished_at timestamptz, result jsonb,
                        error jsonb, tries jsonb
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


def _to_text(value: JsonValue) -> str | None:
    return None if value is None else exact_json.dumps_storable(value).decode()
