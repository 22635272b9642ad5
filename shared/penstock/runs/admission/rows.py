"""Requests become rows: one statement stores the deliveries, then places, judges and inserts their runs.

It is put together from its parts, in the order in which they happen. A batch does without the parts that it does not
need, those for deliveries, parents and watched chains: starting a part costs as much as several runs. Each run and each
delivery comes as one row of a composite type. The arrays stand in subselects to hide their size: the planner would make
a plan of its own for each size that it knows, and planning costs more than the statement.
"""

from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import Final
from uuid import UUID

from penstock import exact_json
from penstock.db import Connection, Record
from penstock.runs.admission.chains import Entered
from penstock.runs.deliveries import NewDelivery
from penstock.runs.requests import CheckedRun

_CURRENT: Final = """
    current AS MATERIALIZED (
        SELECT NOT EXISTS (
            SELECT FROM unnest((SELECT $2::text[]), (SELECT $3::int[])) AS q (environment, version)
            JOIN penstock.environments e ON e.name = q.environment
            WHERE e.deployment_version <> q.version
        ) AS holds
    )
    """

_DELIVERED: Final = """
    received AS MATERIALIZED (
        SELECT q.*, clock_timestamp() AS received_at
        FROM unnest((SELECT $4::penstock.received_delivery[])) AS q
        JOIN current c ON c.holds
    ), keyed AS (
        INSERT INTO penstock.delivery_keys (
            delivery_id, environment, source, dedup_key, signature_key, received_at, unique_until, run_ids
        )
        SELECT q.id, q.environment, q.source, q.dedup_key, q.signature_key, q.received_at,
               q.received_at + make_interval(secs => q.unique_seconds), q.run_ids
        FROM received q
        ON CONFLICT DO NOTHING
        RETURNING delivery_id, unique_until
    ), delivered AS (
        INSERT INTO penstock.deliveries (
            id, environment, source, dedup_key, type, state, run_ids, received_at, headers, body, signature_key,
            unique_until, verdict, origin_id, is_keyed
        )
        SELECT q.id, q.environment, q.source, q.dedup_key, q.type,
               CASE q.run_ids WHEN '{}' THEN 'unmatched' ELSE 'accepted' END, q.run_ids, q.received_at,
               q.headers::jsonb, q.body, q.signature_key, k.unique_until, q.verdict, q.origin_id, true
        FROM received q
        JOIN keyed k ON k.delivery_id = q.id
        RETURNING id
    )
    """

_ASKED: Final = """
    asked AS (
        SELECT q.* FROM unnest((SELECT $1::penstock.entering_run[])) WITH ORDINALITY AS q JOIN current c ON c.holds
    )
    """
_ASKED_BY_DELIVERIES: Final = """
    asked AS (
        SELECT q.* FROM unnest((SELECT $1::penstock.entering_run[])) WITH ORDINALITY AS q JOIN current c ON c.holds
        WHERE q.delivery_id IS NULL OR q.delivery_id IN (SELECT d.id FROM delivered d)
    )
    """

_PARENTLESS: Final = """
    related AS (
        SELECT q.*, NULL::uuid AS parent_id, NULL::uuid AS parent_chain_id, NULL::text AS parent_environment,
               NULL::text AS parent_workflow, NULL::integer AS parent_depth, NULL::integer AS parent_limit,
               NULL::jsonb AS parent_budget, NULL::jsonb AS trace, NULL::jsonb AS parent_user,
               NULL::boolean AS parent_is_bulk, NULL::bigint AS chain_size
        FROM asked q
    )
    """
_RELATED: Final = """
    related AS (
        SELECT q.*, p.id AS parent_id, p.chain_id AS parent_chain_id, p.environment AS parent_environment,
               p.workflow AS parent_workflow, p.depth AS parent_depth, p.depth_limit AS parent_limit,
               p.budget AS parent_budget, p.trace,
               -- Who calls over HTTP says who they are. Baggage goes to every server that a run calls, and must not let
               -- them act as its user.
               CASE WHEN q.trigger NOT IN ('api', 'webhook') THEN p.parent_user END AS parent_user,
               p.is_bulk AS parent_is_bulk, p.chain_size
        FROM asked q
        LEFT JOIN LATERAL (
            SELECT p.id, p.chain_id, p.environment, p.workflow, p.depth, p.depth_limit, p.budget,
                   p.context -> 'trace' AS trace, p.context -> 'user' AS parent_user, p.is_bulk,
                   (SELECT c.runs FROM penstock.chains c WHERE c.id = p.chain_id) AS chain_size
            FROM penstock.runs p WHERE p.id = q.parent_run_id OFFSET 0
        ) p ON true
    )
    """

_PLACED: Final = """
    placed AS MATERIALIZED (
        SELECT q.*, e.depth_limit AS environment_limit, e.depth_policy, e.chain_runs_limit, e.chain_workload_limit,
               e.has_pauses,
               coalesce(q.parent_chain_id, q.claimed_chain_id, q.id) AS chain_id,
               CASE WHEN q.parent_id IS NULL THEN q.claimed_depth
                    ELSE greatest(q.claimed_depth, q.parent_depth + 1) END AS depth,
               CASE WHEN q.depth_limit IS NOT NULL OR q.progress IS NOT NULL
                         OR q.parent_limit IS NOT NULL OR q.parent_budget IS NOT NULL
                    THEN penstock.open_budget(
                        q.workflow, q.depth_limit, q.progress::jsonb,
                        q.parent_workflow, q.parent_depth, q.parent_limit, q.parent_budget)
               END AS budget,
               coalesce(q.scheduled_at, clock_timestamp()) AS due_at,
               -- A call that one of them makes is a call: somebody waits for it.
               (q.list_id IS NOT NULL OR q.trigger = 'recurrence' OR q.parent_is_bulk IS TRUE
                OR q.chain_size > 200) IS TRUE AND q.trigger NOT IN ('api', 'webhook') AS is_bulk,
               -- What a limit of its workflow holds back cannot crowd out others.
               CASE WHEN q.is_limited IS TRUE OR q.trigger = 'api' THEN NULL
                    WHEN q.trigger = 'webhook' THEN q.crowd
                    WHEN q.chain_size > 200 THEN q.parent_chain_id
                    ELSE q.crowd END AS shares_as,
               CASE WHEN q.parent_run_id IS NOT NULL AND q.parent_id IS NULL
                    THEN format('parent-run-id %s is not a run of this installation', q.parent_run_id)
                    WHEN q.parent_environment <> q.environment
                    THEN format('parent-run-id %s belongs to %s, not %s',
                                q.parent_run_id, q.parent_environment, q.environment)
               END AS problem
        FROM related q
        JOIN penstock.environments e ON e.name = q.environment
    )
    """

_UNWATCHED: Final = """
    weighed AS (
        SELECT p.*, NULL::bigint AS chain_runs, NULL::timestamptz AS stopped_at, NULL::float8 AS workload,
               NULL::bigint AS extra_runs, NULL::float8 AS extra_workload, NULL::integer AS extra_depth,
               NULL::timestamptz AS runs_warned_at, NULL::timestamptz AS workload_warned_at,
               penstock.judge_depth(p.depth, p.depth_limit, p.budget, p.environment_limit, 0) AS verdict
        FROM placed p
    )
    """
_WATCHED: Final = """
    chained AS (
        SELECT p.*, c.runs, c.stopped_at, c.workload, c.extra_runs, c.extra_workload, c.extra_depth,
               c.runs_warned_at, c.workload_warned_at,
               penstock.judge_depth(
                   p.depth, p.depth_limit, p.budget, p.environment_limit, coalesce(c.extra_depth, 0)) AS verdict
        FROM placed p
        LEFT JOIN LATERAL (
            SELECT c.runs, c.stopped_at, c.workload, c.extra_runs, c.extra_workload, c.extra_depth, c.runs_warned_at,
                   c.workload_warned_at
            FROM penstock.chains c WHERE c.id = p.chain_id AND p.chain_id <> p.id OFFSET 0
        ) c ON true
    ), weighed AS (
        SELECT w.*,
               -- w.runs counts this batch already: with m counted, the n-th that may enter makes w.runs - m + n.
               w.runs - count(*) FILTER (WHERE w.is_counted) OVER (PARTITION BY w.chain_id)
               + row_number() OVER (
                   PARTITION BY w.chain_id
                   ORDER BY (SELECT r.id FROM penstock.runs r WHERE r.id = w.id) IS NOT NULL OR w.problem IS NOT NULL
                            OR w.depth_policy = 'terminate' AND w.verdict IS NOT NULL, w.ordinality
               ) AS chain_runs
        FROM chained w
    )
    """

# A large chain that continues run by run waits for nobody.
_IS_HELD: Final = """
    CASE WHEN w.shares_as IS NULL THEN false
         WHEN w.ordinality > 10 OR w.shares_as = w.crowd THEN true
         ELSE (SELECT count(*) FROM (
             SELECT FROM penstock.runs r
             WHERE r.crowd = w.shares_as AND r.finished_at IS NULL AND r.indexed_state IS NULL AND r.state = 'queued'
             LIMIT 10
         ) t) = 10 END
    """
_IS_HELD_ROOT: Final = "w.shares_as IS NOT NULL"
_JUDGED: Final = """
    judged AS MATERIALIZED (
        SELECT w.*,
               CASE WHEN w.stopped_at IS NOT NULL THEN 'chain_stopped'
                    WHEN w.depth_policy = 'terminate' AND w.verdict IS NOT NULL THEN w.verdict
                    WHEN w.chain_runs > w.chain_runs_limit + w.extra_runs THEN 'chain_limit'
                    WHEN w.workload >= w.chain_workload_limit + w.extra_workload THEN 'workload_limit'
               END AS termination,
               CASE WHEN w.depth_policy = 'observe' AND NOT coalesce(w.budget ? 'observed', false)
                    THEN w.verdict END AS observed,
               -- What is paused stays `scheduled`; a scheduler parks it.
               w.due_at <= clock_timestamp() AND NOT (w.has_pauses AND penstock.find_pause(
                   w.environment, w.workflow, w.chain_id, w.list_id, w.due_at) IS NOT NULL) AS is_now,
               %s AS is_held
        FROM weighed w
    )
    """

_INSERTED: Final = """
    inserted AS (
        INSERT INTO penstock.runs (
            id, chain_id, parent_run_id, list_id, environment, workflow, trigger, state, indexed_state, depth,
            depth_limit, budget, priority, scheduled_at, dispatched_at, finished_at, parameters, context, is_limited,
            parked_at, is_bulk, crowd
        )
        SELECT j.id, j.chain_id, j.parent_run_id, j.list_id, j.environment, j.workflow, j.trigger,
               CASE WHEN j.termination IS NOT NULL THEN 'terminated'
                    WHEN j.is_now AND j.has_places AND NOT j.is_held THEN 'queued'
                    ELSE 'scheduled' END,
               CASE WHEN j.termination IS NULL AND NOT (j.is_now AND j.is_limited IS NULL AND NOT j.is_held)
                    THEN 'scheduled' END,
               j.depth, j.depth_limit,
               CASE WHEN j.observed IS NULL THEN j.budget
                    ELSE coalesce(j.budget, '{"base": 0}') || jsonb_build_object('observed', j.observed) END,
               j.priority, j.due_at,
               CASE WHEN j.termination IS NULL AND j.is_now AND j.has_places AND NOT j.is_held
                    THEN clock_timestamp() END,
               CASE WHEN j.termination IS NOT NULL THEN clock_timestamp() END,
               j.parameters::jsonb,
               -- The user, the trace, and the baggage of others are handed down from run to run.
               CASE WHEN j.trace IS NULL AND j.parent_user IS NULL THEN j.context::jsonb
                    ELSE jsonb_strip_nulls(jsonb_build_object('trace', j.trace, 'user', j.parent_user))
                         || coalesce(j.context::jsonb, '{}') END,
               j.is_limited,
               CASE WHEN NOT j.has_places AND j.termination IS NULL AND j.is_now THEN clock_timestamp() END,
               nullif(j.is_bulk, false), j.shares_as
        FROM judged j
        WHERE j.problem IS NULL
        ORDER BY j.id
        ON CONFLICT (id) DO NOTHING
        RETURNING id, state
    )
    """

_OUTCOME: Final = """
    j.ordinality AS position, j.id, j.chain_id, j.environment, j.workflow, j.depth, j.due_at AS scheduled_at,
    coalesce(j.depth_limit, j.environment_limit) AS effective_limit, (j.budget -> 'base')::integer AS base,
    j.budget ? 'falls' AS is_falling, j.is_bulk,
    j.observed, j.extra_depth, j.chain_runs, j.chain_runs_limit + j.extra_runs AS chain_runs_limit,
    j.workload, j.chain_workload_limit + j.extra_workload AS chain_workload_limit,
    j.runs_warned_at, j.workload_warned_at,
    j.termination, j.problem, i.id IS NOT NULL AS is_inserted, i.state
    """
_ANSWER: Final = f"""
    SELECT c.holds, NULL::uuid[] AS delivered, {_OUTCOME}
    FROM current c
    LEFT JOIN (judged j LEFT JOIN inserted i ON i.id = j.id) ON true
    ORDER BY j.ordinality
    """
_ANSWER_OF_DELIVERIES: Final = f"""
    SELECT c.holds,
           CASE WHEN j.ordinality IS NOT DISTINCT FROM (SELECT min(ordinality) FROM judged)
                THEN ARRAY(SELECT d.id FROM delivered d) END AS delivered,
           {_OUTCOME}
    FROM current c
    LEFT JOIN (judged j LEFT JOIN inserted i ON i.id = j.id) ON true
    ORDER BY j.ordinality
    """


class Chains(Enum):
    """What a batch has to do with chains: its runs are roots, or nothing but depth can cut them, or their chains are
    watched.
    """

    NONE = "none"
    FREE = "free"
    WATCHED = "watched"


_ROOTS: Final = f"{_PARENTLESS}, {_PLACED}, {_UNWATCHED}, {_JUDGED % _IS_HELD_ROOT}, {_INSERTED}"
_FREE: Final = f"{_RELATED}, {_PLACED}, {_UNWATCHED}, {_JUDGED % _IS_HELD}, {_INSERTED}"
_CHAINED: Final = f"{_RELATED}, {_PLACED}, {_WATCHED}, {_JUDGED % _IS_HELD}, {_INSERTED}"
_STATEMENTS: Final[Mapping[Chains, str]] = {
    Chains.NONE: f"WITH {_CURRENT}, {_ASKED}, {_ROOTS} {_ANSWER}",
    Chains.FREE: f"WITH {_CURRENT}, {_ASKED}, {_FREE} {_ANSWER}",
    Chains.WATCHED: f"WITH {_CURRENT}, {_ASKED}, {_CHAINED} {_ANSWER}",
}
_OF_DELIVERIES: Final[Mapping[Chains, str]] = {
    Chains.NONE: f"WITH {_CURRENT}, {_DELIVERED}, {_ASKED_BY_DELIVERIES}, {_ROOTS} {_ANSWER_OF_DELIVERIES}",
    Chains.FREE: f"WITH {_CURRENT}, {_DELIVERED}, {_ASKED_BY_DELIVERIES}, {_FREE} {_ANSWER_OF_DELIVERIES}",
    Chains.WATCHED: f"WITH {_CURRENT}, {_DELIVERED}, {_ASKED_BY_DELIVERIES}, {_CHAINED} {_ANSWER_OF_DELIVERIES}",
}


async def insert_runs(
    conn: Connection,
    runs: Sequence[CheckedRun],
    deliveries: Sequence[NewDelivery],
    entered: Entered | None,
    passing: Collection[UUID] = (),
) -> list[Record]:
    """Store the deliveries, then place, judge and insert each run; skips keys and ids that exist. Of runs that have a
    limit, only those `passing` are queued, the others wait.

    `entered` says which runs were counted into their chains; None when every run is a root. Returns a row per run with
    its `position` from 1, except for the runs of deliveries that are not new; without any, one row without a position.
    The first row has the ids of the new deliveries in `delivered`. `holds` is false, and nothing was written, when
    anything was checked against another deployment than the current one.
    """
    chains = Chains.NONE if entered is None else Chains.FREE if entered.are_free else Chains.WATCHED
    statement = _OF_DELIVERIES[chains] if deliveries else _STATEMENTS[chains]
    counted = entered.counted if entered is not None and chains is Chains.WATCHED else ()
    return await conn.fetch(statement, *arguments_of(runs, deliveries, counted, passing))


def arguments_of(
    runs: Sequence[CheckedRun],
    deliveries: Sequence[NewDelivery],
    counted: Collection[UUID],
    passing: Collection[UUID] = (),
) -> list[object]:
    """The arguments of a statement, `$1` to `$4`; there is a fourth where there are deliveries."""
    versions = {(run.request.environment, run.version) for run in runs}
    versions |= {(delivery.environment, delivery.version) for delivery in deliveries}
    arguments: list[object] = [
        [_run_row(run, is_counted=run.run_id in counted, passing=passing) for run in runs],
        [environment for environment, _ in versions],
        [version for _, version in versions],
    ]
    return [*arguments, [_delivery_row(delivery) for delivery in deliveries]] if deliveries else arguments


def _run_row(run: CheckedRun, *, is_counted: bool, passing: Collection[UUID]) -> tuple[object, ...]:
    """A row of the type `penstock.entering_run`."""
    request = run.request
    is_limited = run.control is not None and bool(run.control.places)
    lineage = request.lineage
    return (
        request.run_id,
        request.environment,
        request.workflow,
        request.trigger.value,
        _json(request.parameters),
        lineage.parent_run_id,
        lineage.depth,
        lineage.chain_id,
        run.depth_limit,
        None if run.progress is None else _json(run.progress),
        request.scheduled_at,
        run.priority,
        None if request.context is None else _json(request.context),
        request.list_id,
        request.delivery_id,
        is_counted,
        True if is_limited else None,
        request.crowd,
        not is_limited or run.run_id in passing,
    )


def _delivery_row(delivery: NewDelivery) -> tuple[object, ...]:
    """A row of the type `penstock.received_delivery`."""
    return (
        delivery.id,
        delivery.environment,
        delivery.source,
        delivery.dedup_key,
        delivery.type,
        delivery.run_ids,
        _json(delivery.headers),
        delivery.body,
        delivery.signature_key,
        delivery.unique_seconds,
        delivery.verdict,
        delivery.origin_id,
    )


def _json(value: object) -> str:
    return exact_json.dumps_storable(value).decode()
