"""What admission counts and notes on a chain's row. Whoever holds the row's lock decides about the chain."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from pydantic import JsonValue

from penstock import clock
from penstock.db import Connection, Record
from penstock.domain.depth import WARNING_SHARE, reaches_warning
from penstock.domain.notices import NoticeKind
from penstock.domain.runs import ChainWarning
from penstock.runs.requests import CheckedRun, RunRequest
from penstock.runs.terminations import list_cycles
from penstock.store.logs import LogEvent, LogLine, write_logs
from penstock.store.notices import Notice, request_notices

MEASURED_GROWTH: Final = 1.02
"""A chain's workload is summed up again when it has grown by so much: all sums together read each run some fifty times,
and a small chain is measured at every admission.
"""


class Entered(NamedTuple):
    """The runs of a batch that were counted into their chains. `are_free`: nothing but their depth can cut them."""

    counted: frozenset[UUID]
    are_free: bool


async def enter_chains(conn: Connection, runs: Sequence[CheckedRun]) -> Entered | None:
    """Count the new runs into their chains and lock the chains' rows, in one order, until the transaction ends. What
    the chains have consumed is measured first, where that is limited. None when every run is a root.

    A run that another transaction is about to commit may be counted too: only the insert, under the lock, knows which
    are new.
    """
    requests = [run.request for run in runs if run.request.lineage.parent_run_id or run.request.lineage.chain_id]
    if not requests:
        return None
    rows = await _count_entering(conn, requests)
    watched = [row for row in rows if row["run_id"] is None]
    due = [row["chain_id"] for row in watched if row["is_due"]]
    if due:
        await measure_chains(conn, sorted(due))
    counted = frozenset(row["run_id"] for row in rows if row["run_id"] is not None)
    return Entered(counted, are_free=not watched and len(counted) == len(requests))


async def _count_entering(conn: Connection, requests: Sequence[RunRequest]) -> list[Record]:
    """A row with the `run_id` of each run that was counted, and one with the `chain_id` of each chain that is watched:
    stopped, granted something, near a limit, or of another environment. `is_due` chains have to be measured.
    """
    return await conn.fetch(
        """
        WITH entering AS MATERIALIZED (
            SELECT q.run_id, coalesce(p.chain_id, q.chain_id) AS chain_id,
                   coalesce(p.environment, q.environment) AS environment
            FROM unnest((SELECT $1::uuid[]), (SELECT $2::text[]), (SELECT $3::uuid[]), (SELECT $4::uuid[]))
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
            RETURNING c.id, c.environment, c.runs, c.extra_runs, c.measured_runs,
                      c.stopped_at IS NOT NULL OR c.extra_depth > 0 AS is_special
        )
        SELECT e.run_id, NULL::uuid AS chain_id, false AS is_due FROM entering e
        UNION ALL
        SELECT NULL, c.id, e.chain_workload_limit IS NOT NULL AND c.runs > c.measured_runs * $5::float8
        FROM entered c LEFT JOIN penstock.environments e ON e.name = c.environment
        WHERE c.is_special OR e.chain_workload_limit IS NOT NULL
           OR c.runs >= $6::float8 * (e.chain_runs_limit + c.extra_runs)
           OR c.environment <> (SELECT min(o.environment) FROM entering o)
           OR c.environment <> (SELECT max(o.environment) FROM entering o)
        """,
        [request.run_id for request in requests],
        [request.environment for request in requests],
        [request.lineage.chain_id for request in requests],
        [request.lineage.parent_run_id for request in requests],
        MEASURED_GROWTH,
        WARNING_SHARE,
    )


async def measure_chains(conn: Connection, chain_ids: Sequence[UUID]) -> None:
    """Sum up what the runs of these chains have consumed. The rows must be locked by this transaction."""
    await conn.execute(
        """
        UPDATE penstock.chains c
        SET measured_runs = c.runs,
            workload = (
                SELECT coalesce(sum(r.workload), 0) FROM penstock.runs r
                WHERE r.chain_id = c.id AND (r.id = c.id OR r.chain_id <> r.id)
            )
        WHERE c.id = ANY($1::uuid[])
        """,
        chain_ids,
    )


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


async def warn_chains(conn: Connection, rows: Sequence[Record]) -> dict[UUID, list[ChainWarning]]:
    """Note and log, once per chain and limit, that a chain has come near a limit; the warnings, by the run that brought
    it there.
    """
    found = [
        (row, warning)
        for row in rows
        if (row["depth"] or row["chain_runs"]) and row["is_inserted"] and not row["termination"]
        for warning in _find_warnings(row)
    ]
    near_rows: list[tuple[Record, ChainWarning]] = []
    for kind, note in (("depth", _note_depth), ("runs", _note_runs), ("workload", _note_workload)) if found else ():
        near = {row["chain_id"]: (row, warning) for row, warning in found if warning.limit_kind == kind}
        newly = await note(conn, {chain_id: row for chain_id, (row, _) in near.items()}) if near else []
        near_rows += [near[chain_id] for chain_id in newly]
    if not near_rows:
        return {}
    cycles = await list_cycles(conn, [row["id"] for row, _ in near_rows])
    warned: dict[UUID, list[ChainWarning]] = {}
    lines: list[LogLine] = []
    for row, without_cycle in near_rows:
        warning = without_cycle._replace(cycle=cycles.get(row["id"]))
        warned.setdefault(row["id"], []).append(warning)
        lines.append(_line(row, warning))
    await write_logs(conn, lines)
    await request_notices(conn, [_notice(line) for line in lines])
    return warned


def _find_warnings(row: Record) -> Iterator[ChainWarning]:
    """The warnings that this run gives cause for: of few, and every run is looked at."""
    depth, limit = row["depth"] - (row["base"] or 0), row["effective_limit"] + (row["extra_depth"] or 0)
    if reaches_warning(depth, limit) and not row["is_falling"]:  # what decreases needs no budget
        yield ChainWarning("depth", depth, limit)
    runs, limit = row["chain_runs"], row["chain_runs_limit"]
    if runs is not None and row["runs_warned_at"] is None and reaches_warning(runs, limit):
        yield ChainWarning("runs", runs, limit)
    workload, limit = row["workload"], row["chain_workload_limit"]
    if limit is not None and row["workload_warned_at"] is None and reaches_warning(workload, limit):
        yield ChainWarning("workload", workload, limit)


async def _note_depth(conn: Connection, near: Mapping[UUID, Record]) -> list[UUID]:
    """The chains that were not warned of their depth before."""
    chain_ids = sorted(near)
    rows = await conn.fetch(
        """
        INSERT INTO penstock.chains AS c (id, environment, runs, warned_at)
        SELECT q.id, q.environment, 1, clock_timestamp() FROM unnest($1::uuid[], $2::text[]) AS q (id, environment)
        ON CONFLICT (id) DO UPDATE SET warned_at = clock_timestamp() WHERE c.warned_at IS NULL
        RETURNING id
        """,
        chain_ids,
        [near[chain_id]["environment"] for chain_id in chain_ids],
    )
    return [row["id"] for row in rows]


async def _note_runs(conn: Connection, near: Mapping[UUID, Record]) -> list[UUID]:
    """The chains that were not warned of their size before. Their rows are locked by this transaction."""
    rows = await conn.fetch(
        """
        UPDATE penstock.chains SET runs_warned_at = clock_timestamp()
        WHERE id = ANY($1::uuid[]) AND runs_warned_at IS NULL
        RETURNING id
        """,
        sorted(near),
    )
    return [row["id"] for row in rows]


async def _note_workload(conn: Connection, near: Mapping[UUID, Record]) -> list[UUID]:
    """The chains that were not warned of their workload before. Their rows are locked by this transaction."""
    rows = await conn.fetch(
        """
        UPDATE penstock.chains SET workload_warned_at = clock_timestamp()
        WHERE id = ANY($1::uuid[]) AND workload_warned_at IS NULL
        RETURNING id
        """,
        sorted(near),
    )
    return [row["id"] for row in rows]


def _notice(line: LogLine) -> Notice:
    details: dict[str, JsonValue] = {
        "message": line.message,
        "workflow": line.workflow,
        "run_id": str(line.run_id),
        "chain_id": str(line.chain_id),
    }
    return Notice(line.environment, NoticeKind.WARNINGS, details)


def _line(row: Record, warning: ChainWarning) -> LogLine:
    return LogLine(
        at=clock.now(),
        environment=row["environment"],
        level="warning",
        event=LogEvent.CHAIN_WARNED,
        message=f"{row['workflow']}: {warning.describe()}",
        run_id=row["id"],
        chain_id=row["chain_id"],
        workflow=row["workflow"],
        depth=row["depth"],
        details={
            "limit": warning.limit_kind,
            "reached": warning.reached,
            "of": warning.limit,
            "cycle": None if warning.cycle is None else list(warning.cycle.workflows),
        },
    )
