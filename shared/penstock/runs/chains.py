"""Stopping a whole chain, and resuming it where it was cut.

*Stop.* A fence on the chain's row comes first, in a transaction of its own: from its commit nothing of the chain is
admitted, dispatched or claimed, so that a chain that multiplies cannot outrun what follows. Then its live runs are
cancelled, in batches; a running attempt can write nothing more.

*Resume.* Lifts the fence, keeps what is granted to the chain, and readmits in batches what a stop or a limit has cut
and what fits now, nearest to the root first. A run is readmitted by its state, under the lock of the chain's row: once,
by the caller that comes first. If the caller dies in between, the next call continues. A list that had finished is
open again, in the same transaction, until those of its runs have ended that were readmitted.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

from pydantic import JsonValue

from penstock import clock
from penstock.broker.publisher import Publisher
from penstock.db import Connection, Database
from penstock.domain.notices import NoticeKind
from penstock.domain.runs import RunSummary
from penstock.domain.states import RunState, Termination
from penstock.runs.admission.chains import measure_chains
from penstock.runs.lists import reopen_lists
from penstock.runs.summaries import SUMMARY, summary_from_row
from penstock.runs.waits_and_signals import forget_waits
from penstock.store.audit import Act, AuditAction, note_acts
from penstock.store.logs import LogEvent, LogLine, write_logs
from penstock.store.notices import Notice, request_notices

BATCH: Final = 2000
"""Runs that are cancelled or readmitted in one transaction."""


class ChainName(NamedTuple):
    """A chain, in the environment in which it is stopped or resumed."""

    id: UUID
    environment: str


class Grant(NamedTuple):
    """How much further than its limits a chain may go, in all: the largest that was asked for of each."""

    extra_depth: int = 0
    extra_runs: int = 0
    extra_workload: float = 0.0


class ChainStop(NamedTuple):
    """What a stop has done. `is_new` is false when the chain was stopped before; `running` attempts have to be
    notified.
    """

    is_new: bool
    cancelled: int
    running: Sequence[RunSummary]


class Resumption(NamedTuple):
    """What a resume has done, and what the chain has been granted in all."""

    resumed: int
    still_terminated: int
    grant: Grant


async def stop_chain(
    database: Database, chain: ChainName, *, reason: str, by: str, actor: str | None = None
) -> ChainStop:
    """Fence the chain, cancel its live runs and log it. Stopping it again cancels what little was left.

    `actor` is who did it, for the audit: a person, or `run` and the id of the run whose step it was.
    """
    is_new = await database.in_transaction(partial(_fence, chain=chain, reason=reason, by=by, actor=actor))
    cancelled, running = 0, list[RunSummary]()
    while batch := await database.in_transaction(partial(_cancel_batch, chain=chain, reason=reason)):
        cancelled += len(batch)
        running += [run for run, was_running in batch if was_running]
    return ChainStop(is_new, cancelled, running)


def announce_stop(publisher: Publisher, chain: ChainName, stopped: ChainStop, *, reason: str, by: str) -> None:
    """Publish what a stop has done. Executors stop an attempt when they hear of it, or when they renew its lease."""
    for run in stopped.running:
        publisher.run_event(RunState.CANCELLED.value, run, reason="its chain was stopped")
    if stopped.is_new:
        publisher.chain_stopped(chain.id, chain.environment, reason=reason, by=by, runs=stopped.cancelled)


async def resume_chain(
    database: Database, chain: ChainName, *, grant: Grant, by: str, actor: str | None = None
) -> Resumption:
    """Lift a stop, grant the chain more, and readmit what was cut and fits now. A scheduler dispatches it in a second.

    Calling it again, or twice at the same time, readmits each run once.
    """
    granted = await database.in_transaction(partial(_open, chain=chain, grant=grant, by=by, actor=actor))
    resumed = 0
    while count := await database.in_transaction(partial(_readmit_batch, chain=chain)):
        resumed += count
    left = await database.in_transaction(partial(_settle, chain=chain))
    if resumed:
        line = _line(chain, LogEvent.CHAIN_RESUMED, f"{resumed} runs were readmitted by {by}")
        async with database.connection() as conn:
            await write_logs(conn, [line])
    return Resumption(resumed, left, granted)


async def _settle(conn: Connection, *, chain: ChainName) -> int:
    """How many runs of the chain stay terminated; when none does, notes that the chain is no longer cut."""
    await _lock(conn, chain)
    left: int = await conn.fetchval(
        """
        SELECT count(*) FROM penstock.runs r
        WHERE r.chain_id = $1 AND (r.id = $1 OR r.chain_id <> r.id) AND r.state = 'terminated'
        """,
        chain.id,
    )
    if not left:
        await conn.execute("UPDATE penstock.chains SET cut_at = NULL WHERE id = $1 AND cut_at IS NOT NULL", chain.id)
    return left


async def _fence(conn: Connection, *, chain: ChainName, reason: str, by: str, actor: str | None) -> bool:
    is_new: bool | None = await conn.fetchval(
        """
        INSERT INTO penstock.chains AS c (id, environment, runs, stopped_at, stop_reason)
        VALUES ($1, $2, 1, clock_timestamp(), $3)
        ON CONFLICT (id) DO UPDATE SET stopped_at = clock_timestamp(), stop_reason = EXCLUDED.stop_reason
            WHERE c.stopped_at IS NULL
        RETURNING true
        """,
        chain.id,
        chain.environment,
        reason,
    )
    if is_new:
        await write_logs(conn, [_line(chain, LogEvent.CHAIN_STOPPED, f"the chain was stopped by {by}: {reason}")])
        message = f"the chain {chain.id} was stopped by {actor or by}"
        about: dict[str, JsonValue] = {"message": message, "chain_id": str(chain.id), "reason": reason}
        await request_notices(conn, [Notice(chain.environment, NoticeKind.STOPS, about)])
        if actor is not None:
            act = Act(chain.environment, actor, AuditAction.CHAIN_STOP, str(chain.id), None, {"reason": reason})
            await note_acts(conn, [act])
    return bool(is_new)


async def _cancel_batch(conn: Connection, *, chain: ChainName, reason: str) -> list[tuple[RunSummary, bool]]:
    """Cancel some live runs of the chain; each with whether it was running."""
    rows = await conn.fetch(
        f"""
        WITH wanted AS MATERIALIZED (
            SELECT r.id, r.state AS before
            FROM penstock.runs r
            WHERE r.chain_id = $1 AND (r.id = $1 OR r.chain_id <> r.id)
              AND r.state || '' IN ('scheduled', 'queued', 'running', 'waiting')
            ORDER BY r.id
            LIMIT $3
            FOR UPDATE OF r
        )
        UPDATE penstock.runs r
        SET state = 'cancelled', finished_at = clock_timestamp(), lease_expires_at = NULL, error = $2
        FROM wanted w
        WHERE r.id = w.id
        RETURNING {SUMMARY}, w.before
        """,
        chain.id,
        {"kind": Termination.CHAIN_STOPPED.value, "message": f"the chain was stopped: {reason}"},
        BATCH,
    )
    await forget_waits(conn, run_ids=[row["id"] for row in rows])
    return [(summary_from_row(row), row["before"] == "running") for row in rows]


async def _open(conn: Connection, *, chain: ChainName, grant: Grant, by: str, actor: str | None) -> Grant:
    """Lift the fence and keep the grant; returns all that the chain was granted. Counts the chain's runs again: what
    was terminated does not belong to it.
    """
    await _lock(conn, chain)
    row = await conn.fetchrow(
        """
        UPDATE penstock.chains c
        SET stopped_at = NULL, stop_reason = NULL,
            runs = (
                SELECT count(*) FROM penstock.runs r
                WHERE r.chain_id = c.id AND (r.id = c.id OR r.chain_id <> r.id) AND r.state <> 'terminated'
            ),
            extra_depth = greatest(c.extra_depth, $2), extra_runs = greatest(c.extra_runs, $3),
            extra_workload = greatest(c.extra_workload, $4)
        WHERE c.id = $1
        RETURNING extra_depth, extra_runs, extra_workload
        """,
        chain.id,
        *grant,
    )
    assert row is not None, "the row is locked"
    if any(grant):
        await conn.execute(
            """
            INSERT INTO penstock.chain_grants (
                chain_id, environment, extra_depth, extra_runs, extra_workload, granted_by
            )
            VALUES ($1, $2, $3, $4, $5, $6)
            """,
            chain.id,
            chain.environment,
            *grant,
            actor or by,
        )
    if actor is not None:
        granted: JsonValue = {**grant._asdict()}
        await note_acts(conn, [Act(chain.environment, actor, AuditAction.CHAIN_RESUME, str(chain.id), None, granted)])
    await measure_chains(conn, [chain.id])
    return Grant(*row)


async def _lock(conn: Connection, chain: ChainName) -> None:
    """Lock the chain's row, which is made if need be. A statement of its own: those behind it see what other callers
    have committed.
    """
    await conn.execute(
        """
        INSERT INTO penstock.chains AS c (id, environment, runs) VALUES ($1, $2, 1)
        ON CONFLICT (id) DO UPDATE SET environment = c.environment
        """,
        chain.id,
        chain.environment,
    )


async def _readmit_batch(conn: Connection, *, chain: ChainName) -> int:
    """Schedule again some of the runs that a stop or a limit has cut and that fit now; returns how many."""
    # The lock comes first: the statement behind it sees what another caller has readmitted.
    if not await conn.fetchval(
        "SELECT true FROM penstock.chains WHERE id = $1 AND stopped_at IS NULL FOR UPDATE", chain.id
    ):
        return 0
    rows = await conn.fetch(
        """
        WITH candidate AS MATERIALIZED (
            SELECT r.id, r.state, r.depth, r.created_at, e.chain_runs_limit + c.extra_runs - c.runs AS room,
                   row_number() OVER (PARTITION BY r.state ORDER BY r.depth, r.created_at, r.id) AS place
            FROM penstock.runs r
            JOIN penstock.environments e ON e.name = r.environment
            JOIN penstock.chains c ON c.id = r.chain_id
            WHERE r.chain_id = $1 AND (r.id = $1 OR r.chain_id <> r.id)
              AND (r.state || '' = 'terminated' AND r.error ->> 'kind' = ANY($2::text[])
                   OR r.state || '' = 'cancelled' AND r.error ->> 'kind' = 'chain_stopped')
              AND (e.depth_policy = 'observe' OR penstock.judge_depth(
                       r.depth, r.depth_limit, r.budget, e.depth_limit, c.extra_depth) IS NULL)
              AND (e.chain_workload_limit IS NULL OR c.workload < e.chain_workload_limit + c.extra_workload)
        ), fitting AS MATERIALIZED (
            -- What was cancelled is counted in the chain already.
            SELECT q.id, q.state FROM candidate q
            WHERE q.state = 'cancelled' OR q.place <= q.room
            ORDER BY q.depth, q.created_at, q.id
            LIMIT $3
        ), readmitted AS (
            UPDATE penstock.runs r
            SET state = 'scheduled', finished_at = NULL, dispatched_at = NULL, error = NULL, owner = NULL
            FROM fitting f
            WHERE r.id = f.id AND r.state || '' = f.state
            RETURNING f.state, r.list_id
        ), counted AS (
            UPDATE penstock.chains c
            SET runs = c.runs + (SELECT count(*) FROM readmitted a WHERE a.state = 'terminated')
            WHERE c.id = $1
        )
        SELECT list_id FROM readmitted
        """,
        chain.id,
        [reason.value for reason in Termination],
        BATCH,
    )
    await reopen_lists(conn, list_ids=[row["list_id"] for row in rows])
    return len(rows)


def _line(chain: ChainName, event: LogEvent, message: str) -> LogLine:
    return LogLine(
        at=clock.now(),
        environment=chain.environment,
        level="warning",
        event=event,
        message=message,
        chain_id=chain.id,
    )
