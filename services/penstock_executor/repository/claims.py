"""Claims: queued runs become this executor's, or are terminated where they stand."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

from penstock.db import Connection
from penstock.domain.runs import RunSummary
from penstock.domain.states import Termination
from penstock.runs.summaries import SUMMARY, summary_from_row
from penstock_executor.runs import ClaimedRun, FinishedStep

MAX_ANCESTORS: Final = 1000
"""Runs above a run that are asked, at most, whether they were observed to be too deep."""

_OBSERVE: Final = """
    WITH RECURSIVE deep AS MATERIALIZED (
        SELECT r.id, r.parent_run_id, j.verdict
        FROM unnest($1::uuid[]) AS q (id)
        JOIN penstock.runs r ON r.id = q.id
        JOIN penstock.environments e ON e.name = r.environment
        CROSS JOIN LATERAL (
            SELECT penstock.judge_depth(
                r.depth, r.depth_limit, r.budget, e.depth_limit, penstock.extra_depth(r.chain_id)) AS verdict
            OFFSET 0
        ) j
        WHERE e.depth_policy = 'observe' AND NOT coalesce(r.budget ? 'observed', false) AND j.verdict IS NOT NULL
    ), above AS (
        SELECT d.id AS parent_of, d.parent_run_id AS id, false AS is_noted, 0 AS distance FROM deep d
        UNION ALL
        SELECT a.parent_of, p.parent_run_id, p.budget ? 'observed' IS TRUE OR n.is_next, a.distance + 1
        FROM above a
        JOIN penstock.runs p ON p.id = a.id
        JOIN penstock.environments e ON e.name = p.environment
        CROSS JOIN LATERAL (
            SELECT p.id = ANY($1::uuid[]) OR p.state || '' IN ('scheduled', 'queued', 'waiting') AS is_next OFFSET 0
        ) n
        WHERE NOT a.is_noted AND a.distance < $2
          AND (p.budget ? 'observed' IS TRUE OR penstock.judge_depth(
                   p.depth, p.depth_limit, p.budget, e.depth_limit, penstock.extra_depth(p.chain_id)) IS NOT NULL)
    ), noted AS (
        UPDATE penstock.runs r
        SET budget = coalesce(r.budget, '{"base": 0}') || jsonb_build_object(
                'observed', CASE WHEN f.is_below THEN 'true'::jsonb ELSE to_jsonb(f.verdict) END)
        FROM (
            SELECT d.id, d.verdict, EXISTS (
                SELECT FROM above a WHERE a.parent_of = d.id AND a.is_noted
            ) AS is_below
            FROM deep d
        ) f
        WHERE r.id = f.id
        RETURNING r.id, r.environment, f.verdict, f.is_below
    )
    SELECT id, environment, verdict FROM noted WHERE NOT is_below
    """


class Cut(NamedTuple):
    """Where, and why, a run would have been terminated."""

    environment: str
    reason: Termination


async def claim_runs(conn: Connection, *, run_ids: Sequence[UUID], owner: str, lease: timedelta) -> list[ClaimedRun]:
    """Take the runs that are queued, within their depth limit, not paused, and in no stopped chain.

    Two executors never get the same attempt. A run keeps the deployment it first started with, and comes with the
    results of the steps that its earlier attempts have finished.
    """
    rows = await conn.fetch(
        """
        UPDATE penstock.runs r
        SET state = 'running', attempt = r.attempt + 1, owner = $2, lease_expires_at = clock_timestamp() + $3,
            started_at = coalesce(r.started_at, clock_timestamp()), version = coalesce(r.version, e.deployment_version)
        -- In a subselect, since the planner would make a plan of its own for each size of an array that it knows. Of a
        -- limit that it does not know it expects a tenth, and of `coalesce` half of the rows to be left: otherwise it
        -- reads a young table whole in search of the few that are queued, by a plan that is kept while the table grows.
        FROM (SELECT q.id FROM unnest((SELECT $1::uuid[])) AS q (id) LIMIT (SELECT 1000000)) q, penstock.environments e
        WHERE r.id = q.id AND coalesce(r.state = 'queued', false) AND e.name = r.environment
          AND (penstock.judge_depth(r.depth, r.depth_limit, r.budget, e.depth_limit, 0) IS NULL
               OR e.depth_policy = 'observe'
               OR penstock.judge_depth(
                      r.depth, r.depth_limit, r.budget, e.depth_limit, penstock.extra_depth(r.chain_id)) IS NULL)
          AND NOT EXISTS (SELECT FROM penstock.chains c WHERE c.id = r.chain_id AND c.stopped_at IS NOT NULL)
          AND NOT (e.has_pauses AND penstock.find_pause(
              r.environment, r.workflow, r.chain_id, r.list_id, r.scheduled_at) IS NOT NULL)
        RETURNING r.id, r.chain_id, r.parent_run_id, r.environment, r.workflow, r.depth,
                  coalesce(r.depth_limit, e.depth_limit) AS depth_limit, r.priority, r.attempt, r.failures, r.version,
                  r.scheduled_at, r.started_at, CASE WHEN r.attempt > 1 THEN clock_timestamp() END AS claimed_at,
                  r.parameters, r.context,
                  CASE WHEN r.attempt > 1 THEN (
                      SELECT jsonb_object_agg(s.step, s.result) FROM penstock.steps s
                      WHERE s.run_id = r.id AND s.outcome <> 'waiting' AND (s.outcome <> 'failed'
                          OR s.result IS NOT NULL)
                  ) END AS finished,
                  e.depth_policy = 'observe' AND NOT coalesce(r.budget ? 'observed', false)
                      AND penstock.judge_depth(r.depth, r.depth_limit, r.budget, e.depth_limit, 0) IS NOT NULL
                      AS is_deep,
                  r.is_awaited IS TRUE AS is_awaited, r.is_limited IS TRUE AS is_limited
        """,
        sorted(run_ids, key=_by_bytes),
        owner,
        lease,
    )
    runs = [ClaimedRun(*row) for row in rows]
    for run in runs:
        if run.attempt == 1:  # it starts with this claim: the same time, which takes a while to read, is not sent twice
            run.claimed_at = run.started_at
    return runs


async def observe_claimed_runs(conn: Connection, *, run_ids: Sequence[UUID]) -> dict[UUID, Cut]:
    """Note on claimed runs that they are beyond the limit as it is now, which was lowered after they were admitted;
    returns those that are the first of their path.

    Below a run that is noted, or will be when it is claimed, a run is not the first. One above it that has ended was
    within the limit of its time, and would not have been cut.
    """
    rows = await conn.fetch(
        _OBSERVE,
        sorted(run_ids, key=_by_bytes),
        MAX_ANCESTORS,
    )
    return {row["id"]: Cut(row["environment"], Termination(row["verdict"])) for row in rows}


async def list_finished_steps(conn: Connection, *, run_id: UUID) -> dict[str, FinishedStep]:
    """The finished steps by path, in the order in which they finished. Only Python workflows need it."""
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
    """Terminate queued runs that are too deep now, or whose chain was stopped; returns them with reason and limit."""
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


async def get_depth_limit(conn: Connection, *, environment: str) -> int | None:
    """The depth limit of an environment as it is now; None when there is no such environment."""
    limit: int | None = await conn.fetchval(
        "SELECT depth_limit FROM penstock.environments WHERE name = $1", environment
    )
    return limit


def _by_bytes(run_id: UUID) -> bytes:
    """The order of the index, so that concurrent statements lock rows in one order. Cheaper than comparing UUIDs."""
    return run_id.bytes
