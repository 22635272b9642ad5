"""The one door: `admit` is the only code that creates runs, for ingress (roots) and scheduler (all else), on a batch at
once.

In the caller's transaction it binds idempotency keys, derives chain and depth from the stored parent, consults the
chain's fence, the depth limit and the chain's size limit, and inserts; a request that was admitted before changes
nothing.

*Guarantees.* A run id, and an idempotency key while it lives, make at most one run, however often and wherever the
request is repeated. A run beyond a limit is stored as `terminated`, never silently dropped. Admissions into one chain
take turns on the chain's row, so a stop that committed is seen by every later admission, and one that has not yet
committed waits for those under way.

*What dies when.* Before the commit: nothing happened, the request is repeated. After it: the row is its own outbox; a
scheduler finds runs that are due and not dispatched. Dispatching twice is harmless, because claiming is exclusive.

The depth rule of `penstock.domain.depth` stands here once more, in SQL, because the parent's depth is only known inside
the statement.

Rows are looked up one by one (LATERAL with OFFSET 0, scalar subselects) where joins would read better: a plan that was
made while the tables were small is kept, and would go on to read them whole for every batch.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from pydantic import JsonValue

from penstock import clock, exact_json
from penstock.db import Connection, Record
from penstock.domain.depth import reaches_warning
from penstock.domain.runs import Admission, Admitted, Duplicate, Rejected, RunSummary, Terminated
from penstock.domain.states import RunState, Termination, Trigger
from penstock.errors import StaleDefinitions
from penstock.runs.deliveries import NewDelivery
from penstock.runs.idempotency import IdempotencyKey, bind_keys, unbind_keys
from penstock.runs.terminations import record_terminations
from penstock.store.logs import LogEvent, LogLine, write_logs

UNKNOWN_PARENT: Final = "unknown_parent"


class RunRequest(NamedTuple):
    """A run that is asked for, its parameters already checked against deployment `version` of its environment.

    `run_id` is new for a root and derived for a child. `claimed_depth` and `claimed_chain_id` are what the request says
    of itself; a stored parent overrules them. `scheduled_at` None means now, a timedelta so long from now, both by the
    database's clock.
    `context` is what expressions see beside the parameters.
    """

    run_id: UUID
    environment: str
    workflow: str
    version: int
    trigger: Trigger
    parameters: dict[str, JsonValue]
    parent_run_id: UUID | None = None
    claimed_depth: int = 0
    claimed_chain_id: UUID | None = None
    depth_limit: int | None = None
    scheduled_at: datetime | timedelta | None = None
    priority: int = 5
    context: dict[str, JsonValue] | None = None
    list_id: UUID | None = None
    key: IdempotencyKey | None = None
    delivery_id: UUID | None = None

    @property
    def stands_alone(self) -> bool:
        """Whether it takes one statement to admit it: a root that no key, chain or claim of depth has to be asked
        about.
        """
        return self.key is None and not (self.parent_run_id or self.claimed_chain_id or self.claimed_depth)


async def admit(conn: Connection, requests: Sequence[RunRequest]) -> list[Admission]:
    """Create the runs that `requests` ask for; says of each, in order, what became of it.

    Raises StaleDefinitions, having written nothing that survives the rollback, when a request was checked against
    another deployment than the current one.
    """
    admissions, _ = await admit_deliveries(conn, requests, ())
    return [admissions[position] for position in range(len(requests))]


async def admit_deliveries(
    conn: Connection, requests: Sequence[RunRequest], deliveries: Sequence[NewDelivery]
) -> tuple[dict[int, Admission], set[UUID]]:
    """Store `deliveries`, and create the runs of those whose key is new, and of `requests` that belong to none.

    Returns what became of each request, by its position, and the ids of the deliveries that were new; the requests of
    others are left out. Waits for those who store the same keys, so give deliveries in one order. When all requests
    stand alone, this is one statement, which needs no transaction around it. Raises StaleDefinitions as `admit` does,
    for deliveries too.
    """
    requests = await _settle_times(conn, requests)
    outcomes: dict[int, Admission] = {}
    first_of_id: dict[UUID, int] = {}
    bound = await bind_keys(
        conn, [(i, request.environment, request.key, request.run_id) for i, request in enumerate(requests)]
    )
    for position, request in enumerate(requests):
        if position in bound:
            outcomes[position] = bound[position]
        elif first_of_id.setdefault(request.run_id, position) != position:
            outcomes[position] = Duplicate(request.run_id)
    fresh = [position for position in range(len(requests)) if position not in outcomes]
    delivered: set[UUID] = set()
    if fresh or deliveries:
        # Sorted, so that two batches that share a run id wait for each other in one order.
        fresh.sort(key=lambda position: requests[position].run_id)
        batch = [requests[position] for position in fresh]
        admitted, delivered = await _admit_distinct(conn, batch, deliveries)
        outcomes.update((fresh[index], outcome) for index, outcome in admitted.items())
        rejected = {requests[p].run_id: outcomes[p] for p in fresh if isinstance(outcomes.get(p), Rejected)}
        if rejected:
            await unbind_keys(conn, [request for request in batch if request.run_id in rejected])
            outcomes = {p: _follow(outcome, rejected) for p, outcome in outcomes.items()}
    return outcomes, delivered


async def _settle_times(conn: Connection, requests: Sequence[RunRequest]) -> Sequence[RunRequest]:
    """The requests with times instead of delays, which begin now: the clocks of processes that ask may differ, the
    database's decides.
    """
    if not any(isinstance(request.scheduled_at, timedelta) for request in requests):
        return requests
    now: datetime = await conn.fetchval("SELECT clock_timestamp()")
    return [
        request._replace(scheduled_at=now + request.scheduled_at)
        if isinstance(request.scheduled_at, timedelta)
        else request
        for request in requests
    ]


def _follow(outcome: Admission, rejected: Mapping[UUID, Admission]) -> Admission:
    """What is the duplicate of a request of the same batch that was rejected is no duplicate: there is no such run."""
    return rejected.get(outcome.of, outcome) if isinstance(outcome, Duplicate) else outcome


async def _admit_distinct(
    conn: Connection, requests: Sequence[RunRequest], deliveries: Sequence[NewDelivery]
) -> tuple[dict[int, Admission], set[UUID]]:
    has_chains = any(request.parent_run_id or request.claimed_chain_id for request in requests)
    counted = await _enter_chains(conn, requests) if has_chains else set()
    found = await _insert_runs(conn, requests, counted, deliveries)
    if any(row["is_stale"] for row in found):
        raise StaleDefinitions("a request was checked against a deployment that is not current any more")
    rows = [row for row in found if row["position"] is not None]
    await _leave_chains(
        conn,
        [row["chain_id"] for row in rows if row["id"] in counted and (row["termination"] or not row["is_inserted"])],
    )
    terminated = {
        row["id"]: Termination(row["termination"]) for row in rows if row["is_inserted"] and row["termination"]
    }
    paths = await record_terminations(conn, terminated) if terminated else {}
    warned = await _warn_chains(conn, rows)
    admitted = {row["position"] - 1: _outcome(requests[row["position"] - 1], row, paths, warned) for row in rows}
    return admitted, {row["delivery_id"] for row in found if row["delivery_id"] is not None}


def _outcome(
    request: RunRequest, row: Record, paths: Mapping[UUID, tuple[str, ...]], warned: Collection[UUID]
) -> Admission:
    if row["problem"]:
        return Rejected(UNKNOWN_PARENT, row["problem"])
    if not row["is_inserted"]:
        return Duplicate(request.run_id)
    run = RunSummary(
        id=request.run_id,
        chain_id=row["chain_id"],
        parent_run_id=request.parent_run_id,
        environment=request.environment,
        workflow=request.workflow,
        state=RunState(row["state"]),
        depth=row["depth"],
        scheduled_at=row["scheduled_at"],
    )
    if row["termination"]:
        return Terminated(
            run, Termination(row["termination"]), row["effective_limit"], paths.get(run.id, (run.workflow,))
        )
    return Admitted(run, row["effective_limit"], has_warned_chain=run.id in warned)


async def _enter_chains(conn: Connection, requests: Sequence[RunRequest]) -> set[UUID]:
    """Count the new runs into their chains and lock the chains' rows, in one order, until the transaction ends; returns
    those runs.

    A run that another transaction is about to commit may be counted too: only the insert, under the lock, knows which
    are new.
    """
    rows = await conn.fetch(
        """
        WITH entering AS MATERIALIZED (
            SELECT q.run_id, coalesce(p.chain_id, q.chain_id) AS chain_id, coalesce(p.environment,
                   q.environment) AS environment
            FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[]) AS q (run_id, parent_run_id, chain_id,
                environment)
            LEFT JOIN LATERAL (
                SELECT p.chain_id, p.environment FROM penstock.runs p WHERE p.id = q.parent_run_id OFFSET 0
            ) p ON true
            WHERE coalesce(p.chain_id, q.chain_id) IS NOT NULL
              AND (SELECT r.id FROM penstock.runs r WHERE r.id = q.run_id) IS NULL
        ), entered AS (
            INSERT INTO penstock.chains AS c (id, environment, runs)
            SELECT e.chain_id, coalesce(min(root.environment), min(e.environment)), count(*) + count(DISTINCT root.id)
            FROM entering e
            LEFT JOIN LATERAL (SELECT r.id, r.environment FROM penstock.runs r
                WHERE r.id = e.chain_id OFFSET 0) root ON true
            GROUP BY e.chain_id
            ORDER BY e.chain_id
            -- The chain's row counts its root already, where there is one: a chain may be another installation's.
            ON CONFLICT (id) DO UPDATE
                SET runs = c.runs + EXCLUDED.runs - (SELECT count(*) FROM penstock.runs root
                    WHERE root.id = EXCLUDED.id)
        )
        SELECT run_id FROM entering
        """,
        [request.run_id for request in requests],
        [request.parent_run_id for request in requests],
        [request.claimed_chain_id for request in requests],
        [request.environment for request in requests],
    )
    return {row["run_id"] for row in rows}


async def _leave_chains(conn: Connection, chain_ids: Sequence[UUID]) -> None:
    """Take back, once per entry, what was counted for runs that are not part of their chain: duplicates, terminated and
    rejected ones.
    """
    if chain_ids:
        await conn.execute(
            """
            UPDATE penstock.chains c SET runs = c.runs - q.runs
            FROM (SELECT id, count(*) AS runs FROM unnest($1::uuid[]) AS u (id) GROUP BY id) q
            WHERE c.id = q.id
            """,
            chain_ids,
        )


async def _insert_runs(
    conn: Connection, requests: Sequence[RunRequest], counted: Collection[UUID], deliveries: Sequence[NewDelivery]
) -> list[Record]:
    """Store the deliveries, then place, judge and insert each request; skips keys and ids that exist.

    Returns, in this order: a row per request with its `position` from 1, but for those of deliveries that are not new;
    a row per delivery that is, with its `delivery_id`; or, when anything was checked against another deployment than
    the current one, nothing but a row that `is_stale`, and then nothing was written.
    """
    versions = {(request.environment, request.version) for request in requests}
    versions |= {(delivery.environment, delivery.version) for delivery in deliveries}
    return await conn.fetch(
        """
        WITH current AS MATERIALIZED (
            SELECT NOT EXISTS (
                SELECT FROM unnest($15::text[], $16::int[]) AS q (environment, version)
                JOIN penstock.environments e ON e.name = q.environment
                WHERE e.deployment_version <> q.version
            ) AS holds
        ), delivered AS (
            INSERT INTO penstock.deliveries (id, environment, source, dedup_key, type, state, run_ids, headers, body)
            SELECT q.id, q.environment, q.source, q.dedup_key, q.type, CASE q.run_ids WHEN '{}' THEN 'unmatched'
                   ELSE 'accepted' END,
                   q.run_ids::uuid[], q.headers::jsonb, q.body
            FROM unnest($18::uuid[], $19::text[], $20::text[], $21::text[], $22::text[], $23::text[], $24::text[],
                $25::bytea[])
                 AS q (id, environment, source, dedup_key, type, run_ids, headers, body)
            JOIN current c ON c.holds
            ON CONFLICT (environment, source, dedup_key) DO NOTHING
            RETURNING id
        ), request AS MATERIALIZED (
            SELECT q.* FROM unnest(
                $1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::int[], $7::uuid[],
                $8::int[], $9::timestamptz[], $10::int[], $11::text[], $12::text[], $13::uuid[], $14::boolean[],
                    $17::uuid[]
            ) WITH ORDINALITY AS q (
                id, environment, workflow, trigger, parent_run_id, claimed_depth, claimed_chain_id,
                depth_limit, scheduled_at, priority, parameters, context, list_id, is_counted, delivery_id, position
            )
            JOIN current c ON c.holds
            WHERE q.delivery_id IS NULL OR q.delivery_id IN (SELECT d.id FROM delivered d)
        ), placed AS MATERIALIZED (
            SELECT q.*,
                   coalesce(p.chain_id, q.claimed_chain_id, q.id) AS chain_id,
                   CASE WHEN p.id IS NULL THEN q.claimed_depth ELSE greatest(q.claimed_depth, p.depth + 1) END AS depth,
                   coalesce(q.depth_limit, e.depth_limit) AS effective_limit,
                   coalesce(q.scheduled_at, clock_timestamp()) AS due_at,
                   e.chain_runs_limit,
                   -- The trace, and the baggage of others, go on from run to run.
                   CASE WHEN p.context ? 'trace'
                        THEN jsonb_build_object('trace', p.context -> 'trace') || coalesce(q.context::jsonb, '{}')
                        ELSE q.context::jsonb
                   END AS inherited,
                   (q.parent_run_id IS NOT NULL OR q.claimed_chain_id IS NOT NULL)
                       AND (SELECT r.id FROM penstock.runs r WHERE r.id = q.id) IS NOT NULL AS is_known,
                   CASE WHEN q.parent_run_id IS NOT NULL AND p.id IS NULL
                        THEN 'parent-run-id ' || q.parent_run_id || ' is no run of this installation'
                        WHEN p.environment <> q.environment
                        THEN 'parent-run-id ' || q.parent_run_id || ' belongs to ' || p.environment
                              || ', not ' || q.environment
                   END AS problem
            FROM request q
            JOIN penstock.environments e ON e.name = q.environment
            LEFT JOIN LATERAL (
                SELECT p.id, p.chain_id, p.depth, p.environment, p.context FROM penstock.runs p
                       WHERE p.id = q.parent_run_id OFFSET 0
            ) p ON true
        ), judged AS MATERIALIZED (
            SELECT d.*,
                   CASE WHEN c.stopped_at IS NOT NULL THEN 'chain_stopped'
                        WHEN d.depth > d.effective_limit THEN 'depth_limit'
                        -- c.runs counts this batch already: with m counted, the n-th that may enter finds
                        -- c.runs - m + n - 1 before it.
                        WHEN c.runs - count(*) FILTER (WHERE d.is_counted) OVER (PARTITION BY d.chain_id)
                           + row_number() OVER (
                                 PARTITION BY d.chain_id
                                 ORDER BY d.is_known OR d.problem IS NOT NULL OR d.depth > d.effective_limit, d.position
                             ) > d.chain_runs_limit
                        THEN 'chain_limit'
                   END AS termination
            FROM placed d
            LEFT JOIN LATERAL (
                SELECT c.runs, c.stopped_at FROM penstock.chains c WHERE c.id = d.chain_id
                       AND d.chain_id <> d.id OFFSET 0
            ) c ON true
        ), inserted AS (
            INSERT INTO penstock.runs (
                id, chain_id, parent_run_id, list_id, environment, workflow, trigger, state, depth, depth_limit,
                    priority,
                scheduled_at, dispatched_at, finished_at, parameters, context
            )
            SELECT j.id, j.chain_id, j.parent_run_id, j.list_id, j.environment, j.workflow, j.trigger,
                   CASE WHEN j.termination IS NOT NULL THEN 'terminated'
                        WHEN j.due_at <= clock_timestamp() THEN 'queued' ELSE 'scheduled' END,
                   j.depth, j.depth_limit, j.priority, j.due_at,
                   CASE WHEN j.termination IS NULL AND j.due_at <= clock_timestamp() THEN clock_timestamp() END,
                   CASE WHEN j.termination IS NOT NULL THEN clock_timestamp() END,
                   j.parameters::jsonb, j.inherited
            FROM judged j
            WHERE j.problem IS NULL
            ORDER BY j.id
            ON CONFLICT (id) DO NOTHING
            RETURNING id, state
        )
        SELECT j.position, j.id, j.chain_id, j.environment, j.workflow, j.depth, j.effective_limit,
               j.due_at AS scheduled_at,
               j.termination, j.problem, i.id IS NOT NULL AS is_inserted, i.state, NULL::uuid AS delivery_id,
                   false AS is_stale
        FROM judged j
        LEFT JOIN inserted i ON i.id = j.id
        UNION ALL
        SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, d.id, false FROM delivered d
        UNION ALL
        SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, true FROM current c
               WHERE NOT c.holds
        ORDER BY position
        """,
        [request.run_id for request in requests],
        [request.environment for request in requests],
        [request.workflow for request in requests],
        [request.trigger.value for request in requests],
        [request.parent_run_id for request in requests],
        [request.claimed_depth for request in requests],
        [request.claimed_chain_id for request in requests],
        [request.depth_limit for request in requests],
        [request.scheduled_at for request in requests],
        [request.priority for request in requests],
        [exact_json.dumps_storable(request.parameters).decode() for request in requests],
        [
            None if request.context is None else exact_json.dumps_storable(request.context).decode()
            for request in requests
        ],
        [request.list_id for request in requests],
        [request.run_id in counted for request in requests],
        [environment for environment, _ in versions],
        [version for _, version in versions],
        [request.delivery_id for request in requests],
        [delivery.id for delivery in deliveries],
        [delivery.environment for delivery in deliveries],
        [delivery.source for delivery in deliveries],
        [delivery.dedup_key for delivery in deliveries],
        [delivery.type for delivery in deliveries],
        [f"{{{','.join(map(str, delivery.run_ids))}}}" for delivery in deliveries],
        [exact_json.dumps_storable(delivery.headers).decode() for delivery in deliveries],
        [delivery.body for delivery in deliveries],
    )


async def _warn_chains(conn: Connection, rows: Sequence[Record]) -> set[UUID]:
    """Note and log, once per chain, that it has come near the depth limit; returns the runs that brought it there."""
    admitted = [row for row in rows if row["is_inserted"] and not row["termination"]]
    near = {row["chain_id"]: row for row in admitted if reaches_warning(row["depth"], row["effective_limit"])}
    if not near:
        return set()
    chain_ids = sorted(near)
    warned = await conn.fetch(
        """
        INSERT INTO penstock.chains AS c (id, environment, runs, warned_at)
        SELECT q.id, q.environment, 1, clock_timestamp() FROM unnest($1::uuid[], $2::text[]) AS q (id, environment)
        ON CONFLICT (id) DO UPDATE SET warned_at = clock_timestamp() WHERE c.warned_at IS NULL
        RETURNING id
        """,
        chain_ids,
        [near[chain_id]["environment"] for chain_id in chain_ids],
    )
    first = [near[chain["id"]] for chain in warned]
    if first:
        await write_logs(conn, [_warning(row) for row in first])
    return {row["id"] for row in first}


def _warning(row: Record) -> LogLine:
    return LogLine(
        at=clock.now(),
        environment=row["environment"],
        level="warning",
        event=LogEvent.CHAIN_WARNED,
        message=f"the chain has reached depth {row['depth']} of at most {row['effective_limit']} with "
        f"{row['workflow']}",
        run_id=row["id"],
        chain_id=row["chain_id"],
        workflow=row["workflow"],
        depth=row["depth"],
    )
