"""Requests become rows: one statement stores the deliveries, then places, judges and inserts their runs.

It is put together from its parts in the order in which they happen. All that is known of a run comes in one JSON
document: the driver looks at each element of an array, and the reader at each `$17`.
"""

from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

from penstock.db import Connection, Record
from penstock.runs.deliveries import NewDelivery
from penstock.runs.requests import CheckedRun

_CURRENT: Final = """
    current AS MATERIALIZED (
        SELECT NOT EXISTS (
            SELECT FROM unnest($4::text[], $5::int[]) AS q (environment, version)
            JOIN penstock.environments e ON e.name = q.environment
            WHERE e.deployment_version <> q.version
        ) AS holds
    )
    """

_DELIVERED: Final = """
    delivered AS (
        INSERT INTO penstock.deliveries (
            id, environment, source, dedup_key, type, state, run_ids, headers, body, signature_key, unique_until
        )
        SELECT q.id, q.environment, q.source, q.dedup_key, q.type,
               CASE q.run_ids WHEN '{}' THEN 'unmatched' ELSE 'accepted' END, q.run_ids, q.headers, q.body,
               q.signature_key, clock_timestamp() + make_interval(secs => q.unique_seconds)
        FROM ROWS FROM (
            jsonb_to_recordset($2) AS (
                id uuid, environment text, source text, dedup_key text, type text, run_ids uuid[], headers jsonb,
                signature_key text, unique_seconds double precision
            ),
            unnest($3::bytea[])
        ) AS q (
            id, environment, source, dedup_key, type, run_ids, headers, signature_key, unique_seconds, body
        )
        JOIN current c ON c.holds
        ON CONFLICT DO NOTHING
        RETURNING id
    )
    """

_PLACED: Final = """
    placed AS MATERIALIZED (
        SELECT q.*, e.depth_limit AS environment_limit, e.depth_policy, e.chain_runs_limit, e.chain_workload_limit,
               e.has_pauses,
               coalesce(p.chain_id, q.claimed_chain_id, q.id) AS chain_id,
               CASE WHEN p.id IS NULL THEN q.claimed_depth ELSE greatest(q.claimed_depth, p.depth + 1) END AS depth,
               CASE WHEN q.depth_limit IS NOT NULL OR q.progress IS NOT NULL
                         OR p.depth_limit IS NOT NULL OR p.budget IS NOT NULL
                    THEN penstock.open_budget(
                        q.workflow, q.depth_limit, q.progress, p.workflow, p.depth, p.depth_limit, p.budget)
               END AS budget,
               coalesce(q.scheduled_at, clock_timestamp()) AS due_at,
               -- The trace, and the baggage of others, are handed down from run to run.
               CASE WHEN p.context ? 'trace'
                    THEN jsonb_build_object('trace', p.context -> 'trace') || coalesce(q.context, '{}')
                    ELSE q.context
               END AS inherited,
               (q.parent_run_id IS NOT NULL OR q.claimed_chain_id IS NOT NULL)
                   AND (SELECT r.id FROM penstock.runs r WHERE r.id = q.id) IS NOT NULL AS is_known,
               CASE WHEN q.parent_run_id IS NOT NULL AND p.id IS NULL
                    THEN format('parent-run-id %s is not a run of this installation', q.parent_run_id)
                    WHEN p.environment <> q.environment
                    THEN format('parent-run-id %s belongs to %s, not %s', q.parent_run_id, p.environment, q.environment)
               END AS problem
        FROM ROWS FROM (jsonb_to_recordset($1) AS (
            id uuid, environment text, workflow text, trigger text, parameters jsonb, parent_run_id uuid,
            claimed_depth int, claimed_chain_id uuid, depth_limit int, scheduled_at timestamptz, priority int,
            context jsonb, list_id uuid, delivery_id uuid, is_counted boolean, progress jsonb
        )) WITH ORDINALITY AS q
        JOIN current c ON c.holds
        JOIN penstock.environments e ON e.name = q.environment
        LEFT JOIN LATERAL (
            SELECT p.id, p.chain_id, p.environment, p.context, p.workflow, p.depth, p.depth_limit, p.budget
            FROM penstock.runs p WHERE p.id = q.parent_run_id OFFSET 0
        ) p ON true
        WHERE q.delivery_id IS NULL OR q.delivery_id IN (SELECT d.id FROM delivered d)
    )
    """

_JUDGED: Final = """
    weighed AS MATERIALIZED (
        SELECT p.*, c.runs, c.stopped_at, c.workload, c.extra_runs, c.extra_workload, c.extra_depth,
               c.runs_warned_at, c.workload_warned_at,
               penstock.judge_depth(
                   p.depth, p.depth_limit, p.budget, p.environment_limit, coalesce(c.extra_depth, 0)) AS verdict
        FROM placed p
        LEFT JOIN LATERAL (SELECT * FROM penstock.chains c WHERE c.id = p.chain_id AND p.chain_id <> p.id OFFSET 0) c
             ON true
    ), counted AS MATERIALIZED (
        SELECT w.*, CASE WHEN w.depth_policy = 'terminate' THEN w.verdict END AS cut,
               CASE WHEN w.depth_policy = 'observe' AND NOT coalesce(w.budget ? 'observed', false)
                    THEN w.verdict END AS observed,
               -- w.runs counts this batch already: with m counted, the n-th that may enter makes w.runs - m + n.
               w.runs - count(*) FILTER (WHERE w.is_counted) OVER (PARTITION BY w.chain_id)
               + row_number() OVER (
                   PARTITION BY w.chain_id
                   ORDER BY w.is_known OR w.problem IS NOT NULL OR w.depth_policy = 'terminate'
                            AND w.verdict IS NOT NULL, w.ordinality
               ) AS chain_runs
        FROM weighed w
    ), judged AS MATERIALIZED (
        SELECT c.*,
               CASE WHEN c.stopped_at IS NOT NULL THEN 'chain_stopped'
                    WHEN c.cut IS NOT NULL THEN c.cut
                    WHEN c.chain_runs > c.chain_runs_limit + c.extra_runs THEN 'chain_limit'
                    WHEN c.workload >= c.chain_workload_limit + c.extra_workload THEN 'workload_limit'
               END AS termination
        FROM counted c
    )
    """

_INSERTED: Final = """
    inserted AS (
        INSERT INTO penstock.runs (
            id, chain_id, parent_run_id, list_id, environment, workflow, trigger, state, depth, depth_limit, budget,
            priority, scheduled_at, dispatched_at, finished_at, parameters, context
        )
        SELECT j.id, j.chain_id, j.parent_run_id, j.list_id, j.environment, j.workflow, j.trigger,
               CASE WHEN j.termination IS NOT NULL THEN 'terminated'
                    WHEN n.is_now THEN 'queued'
                    ELSE 'scheduled' END,
               j.depth, j.depth_limit,
               CASE WHEN j.observed IS NULL THEN j.budget
                    ELSE coalesce(j.budget, '{"base": 0}') || jsonb_build_object('observed', j.observed) END,
               j.priority, j.due_at,
               CASE WHEN j.termination IS NULL AND n.is_now THEN clock_timestamp() END,
               CASE WHEN j.termination IS NOT NULL THEN clock_timestamp() END,
               j.parameters, j.inherited
        FROM judged j
        CROSS JOIN LATERAL (
            -- What is paused stays `scheduled`; a scheduler parks it.
            SELECT j.due_at <= clock_timestamp() AND NOT (j.has_pauses AND penstock.find_pause(
                j.environment, j.workflow, j.chain_id, j.list_id, j.due_at) IS NOT NULL) AS is_now
            OFFSET 0
        ) n
        WHERE j.problem IS NULL
        ORDER BY j.id
        ON CONFLICT (id) DO NOTHING
        RETURNING id, state
    )
    """

_STATEMENT: Final = f"""
    WITH {_CURRENT}, {_DELIVERED}, {_PLACED}, {_JUDGED}, {_INSERTED}
    SELECT c.holds,
           CASE WHEN j.ordinality IS NOT DISTINCT FROM (SELECT min(ordinality) FROM judged)
                THEN ARRAY(SELECT d.id FROM delivered d) END AS delivered,
           j.ordinality AS position, j.id, j.chain_id, j.environment, j.workflow, j.depth, j.due_at AS scheduled_at,
           coalesce(j.depth_limit, j.environment_limit) AS effective_limit, j.budget,
           j.observed, j.extra_depth, j.chain_runs, j.chain_runs_limit + j.extra_runs AS chain_runs_limit,
           j.workload, j.chain_workload_limit + j.extra_workload AS chain_workload_limit,
           j.runs_warned_at, j.workload_warned_at,
           j.termination, j.problem, i.id IS NOT NULL AS is_inserted, i.state
    FROM current c
    LEFT JOIN (judged j LEFT JOIN inserted i ON i.id = j.id) ON true
    ORDER BY j.ordinality
    """


async def insert_runs(
    conn: Connection, runs: Sequence[CheckedRun], deliveries: Sequence[NewDelivery], *, counted: Collection[UUID]
) -> list[Record]:
    """Store the deliveries, then place, judge and insert each run; skips keys and ids that exist.

    Returns a row per run with its `position` from 1, except for the runs of deliveries that are not new; without any,
    one row without a position. The first row has the ids of the new deliveries in `delivered`. `holds` is false, and
    nothing was written, when anything was checked against another deployment than the current one.
    """
    versions = {(run.request.environment, run.version) for run in runs}
    versions |= {(delivery.environment, delivery.version) for delivery in deliveries}
    return await conn.fetch(
        _STATEMENT,
        [_run_document(run, is_counted=run.run_id in counted) for run in runs],
        [_delivery_document(delivery) for delivery in deliveries],
        [delivery.body for delivery in deliveries],
        [environment for environment, _ in versions],
        [version for _, version in versions],
    )


def _run_document(run: CheckedRun, *, is_counted: bool) -> dict[str, object]:
    """What `placed` reads. Most runs lack most of it, and what is not written need not be read."""
    request = run.request
    chain_id, parent_run_id = request.lineage.chain_id, request.lineage.parent_run_id
    document: dict[str, object] = {
        "id": str(request.run_id),
        "environment": request.environment,
        "workflow": request.workflow,
        "trigger": request.trigger.value,
        "parameters": request.parameters,
        "claimed_depth": request.lineage.depth,
        "priority": run.priority,
        "is_counted": is_counted,
    }
    if chain_id is not None:
        document["claimed_chain_id"] = str(chain_id)
    if parent_run_id is not None:
        document["parent_run_id"] = str(parent_run_id)
    if run.depth_limit is not None:
        document["depth_limit"] = run.depth_limit
    if run.progress is not None:
        document["progress"] = run.progress
    if request.scheduled_at is not None:
        document["scheduled_at"] = request.scheduled_at
    if request.context is not None:
        document["context"] = request.context
    if request.list_id is not None:
        document["list_id"] = str(request.list_id)
    if request.delivery_id is not None:
        document["delivery_id"] = str(request.delivery_id)
    return document


def _delivery_document(delivery: NewDelivery) -> dict[str, object]:
    return {
        "id": str(delivery.id),
        "environment": delivery.environment,
        "source": delivery.source,
        "dedup_key": delivery.dedup_key,
        "type": delivery.type,
        "run_ids": [str(run_id) for run_id in delivery.run_ids],
        "headers": delivery.headers,
        "signature_key": delivery.signature_key,
        "unique_seconds": delivery.unique_seconds,
    }
