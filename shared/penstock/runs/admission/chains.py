"""What admission counts and notes on a chain's row. Whoever holds the row's lock decides about the chain."""

from collections.abc import Sequence
from uuid import UUID

from penstock import clock
from penstock.db import Connection, Record
from penstock.domain.depth import base_of, reaches_warning
from penstock.runs.requests import CheckedRun
from penstock.store.logs import LogEvent, LogLine, write_logs


async def enter_chains(conn: Connection, runs: Sequence[CheckedRun]) -> set[UUID]:
    """Count the new runs into their chains and lock the chains' rows, in one order, until the transaction ends; returns
    the ids of those runs.

    A run that another transaction is about to commit may be counted too: only the insert, under the lock, knows which
    are new.
    """
    requests = [run.request for run in runs]
    rows = await conn.fetch(
        """
        WITH entering AS MATERIALIZED (
            SELECT q.run_id, coalesce(p.chain_id, q.chain_id) AS chain_id,
                   coalesce(p.environment, q.environment) AS environment
            FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[])
                 AS q (run_id, environment, chain_id, parent_run_id)
            LEFT JOIN LATERAL (
                SELECT p.chain_id, p.environment FROM penstock.runs p WHERE p.id = q.parent_run_id OFFSET 0
            ) p ON true
            WHERE coalesce(p.chain_id, q.chain_id) IS NOT NULL
              AND (SELECT r.id FROM penstock.runs r WHERE r.id = q.run_id) IS NULL
        ), entered AS (
            INSERT INTO penstock.chains AS c (id, environment, runs)
            SELECT e.chain_id, coalesce(min(root.environment), min(e.environment)), count(*) + count(DISTINCT root.id)
            FROM entering e
            LEFT JOIN LATERAL (
                SELECT r.id, r.environment FROM penstock.runs r WHERE r.id = e.chain_id OFFSET 0
            ) root ON true
            GROUP BY e.chain_id
            ORDER BY e.chain_id
            -- The chain's row counts its root already, where there is one: a chain may be another installation's.
            ON CONFLICT (id) DO UPDATE
                SET runs = c.runs + EXCLUDED.runs
                           - (SELECT count(*) FROM penstock.runs root WHERE root.id = EXCLUDED.id)
        )
        SELECT run_id FROM entering
        """,
        [request.run_id for request in requests],
        [request.environment for request in requests],
        [request.lineage.chain_id for request in requests],
        [request.lineage.parent_run_id for request in requests],
    )
    return {row["run_id"] for row in rows}


async def leave_chains(conn: Connection, chain_ids: Sequence[UUID]) -> None:
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


async def warn_chains(conn: Connection, rows: Sequence[Record]) -> set[UUID]:
    """Note and log, once per chain, that it has come near the depth limit; returns the runs that brought it there."""
    admitted = [row for row in rows if row["is_inserted"] and not row["termination"]]
    near = {row["chain_id"]: row for row in admitted if _is_near_depth(row)}
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


def _is_near_depth(row: Record) -> bool:
    """Whether a run has used most of its budget of depth; a recursion that decreases needs none."""
    budget = row["budget"]
    if budget is not None and "falls" in budget:
        return False
    return reaches_warning(row["depth"] - base_of(budget), row["effective_limit"])


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
