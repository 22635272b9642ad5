"""What follows in the same transaction when a protection stops runs: it is noted on the run and in the log, and for
those who are notified.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock import exact_json
from penstock.db import Connection, Record
from penstock.domain.cycles import Cycle, find_cycle
from penstock.domain.notices import NoticeKind
from penstock.domain.states import Termination
from penstock.store.logs import Subject, error_line, write_logs
from penstock.store.notices import Notice, request_notices

MAX_ANCESTORS: Final = 100
"""Ancestors named in the path of a run, at most, besides the root."""


async def record_terminations(conn: Connection, terminated: Mapping[UUID, Termination]) -> dict[UUID, tuple[str, ...]]:
    """Explain each termination on its run and as a *Workflow error* in the log, and ask for one notification per
    environment and day.

    Returns, by run, the names of the workflows from the root to it.
    """
    rows = await _get_lineages(conn, list(terminated))
    messages = [_explain(row, terminated[row["id"]]) for row in rows]
    await _set_errors(conn, rows, terminated, messages)
    limited = [row for row in rows if terminated[row["id"]] is not Termination.CHAIN_STOPPED]
    await _note_cuts(conn, {row["chain_id"]: row["environment"] for row in limited})
    await write_logs(
        conn,
        [
            error_line(
                Subject(row["environment"], row["workflow"], row["id"], row["chain_id"], depth=row["depth"]),
                message,
                {"kind": terminated[row["id"]].value, "path": row["path"], **_cycle(row)},
            )
            for row, message in zip(rows, messages, strict=True)
        ],
    )  # fmt: skip
    await _request_notices(conn, NoticeKind.TERMINATIONS, rows, terminated, messages)
    return {row["id"]: tuple(row["path"]) for row in rows}


async def _note_cuts(conn: Connection, environments: Mapping[UUID, str]) -> None:
    """Note of chains, by id, that a limit has cut them. Only admission cuts them, which holds the rows that there are;
    a root that is too deep has none yet.
    """
    if not environments:
        return
    chain_ids = sorted(environments)
    await conn.execute(
        """
        INSERT INTO penstock.chains AS c (id, environment, runs, cut_at)
        SELECT q.id, q.environment, 0, clock_timestamp() FROM unnest($1::uuid[], $2::text[]) AS q (id, environment)
        ON CONFLICT (id) DO UPDATE SET cut_at = clock_timestamp() WHERE c.cut_at IS NULL
        """,
        chain_ids,
        [environments[chain_id] for chain_id in chain_ids],
    )


async def record_observations(conn: Connection, observed: Mapping[UUID, Termination]) -> None:
    """Log what would have been terminated in an environment that only observes, and ask for one notification a day."""
    rows = await _get_lineages(conn, list(observed))
    messages = [_explain(row, observed[row["id"]], "would have been terminated") for row in rows]
    await _note_observed(conn, rows, observed, messages)


async def record_observed_step(conn: Connection, *, run_id: UUID, what: str) -> bool:
    """Note on a run that one of its steps would have failed for its depth, log it, and ask for a notification: once per
    path, so not where the run or one above it is noted already. `what` is a clause that says why.

    Returns whether it was noted. The run's row must be held by this transaction.
    """
    noted = await conn.fetchval(
        """
        UPDATE penstock.runs r
        SET budget = coalesce(r.budget, '{"base": 0}') || jsonb_build_object('observed', $2::text)
        WHERE r.id = $1 AND NOT coalesce(r.budget ? 'observed', false)
        RETURNING true
        """,
        run_id,
        Termination.DEPTH_LIMIT.value,
    )
    if not noted:
        return False
    rows = await _get_lineages(conn, [run_id])
    messages = [
        f"Workflow error: {row['workflow']} would have failed at depth {row['depth']}: {what}. "
        f"Path: {' → '.join(row['path'])}"
        for row in rows
    ]
    await _note_observed(conn, rows, {run_id: Termination.DEPTH_LIMIT}, messages)
    return True


async def _note_observed(
    conn: Connection, rows: Sequence[Record], observed: Mapping[UUID, Termination], messages: Sequence[str]
) -> None:
    lines = [
        error_line(
            Subject(row["environment"], row["workflow"], row["id"], row["chain_id"], depth=row["depth"]),
            message,
            {"kind": "observed", "reason": observed[row["id"]].value, "path": row["path"]},
            level="warning",
        )
        for row, message in zip(rows, messages, strict=True)
    ]
    await write_logs(conn, lines)
    await _request_notices(conn, NoticeKind.OBSERVED, rows, observed, messages)


async def list_cycles(conn: Connection, run_ids: Sequence[UUID]) -> dict[UUID, Cycle]:
    """The cycles at the ends of these runs' paths, for those that have one."""
    found = {row["id"]: find_cycle(row["path"]) for row in await _get_lineages(conn, run_ids)}
    return {run_id: cycle for run_id, cycle in found.items() if cycle is not None}


def _explain(row: Record, reason: Termination, what: str = "was terminated") -> str:
    path, cycle = " → ".join(row["path"]), find_cycle(row["path"])
    if cycle is not None:
        path = f"{path} (the cycle is {cycle.describe()})"
    head = f"Workflow error: {row['workflow']} {what} at depth {row['depth']}"
    match reason:
        case Termination.DEPTH_LIMIT:
            counted = f" counted from depth {row['base']}" if row["base"] else ""
            limit = f"the depth limit of {row['effective_limit']}{counted} in {row['environment']}"
            return f"{head}, beyond {limit}. Path: {path}"
        case Termination.NO_PROGRESS:
            before, now = (exact_json.dumps(value).decode() for value in row["stuck"])
            return (
                f"{head}: its recursion made no progress, `decreases` was {before} and is {now}; it has to be a whole "
                f"number, at least 0, and smaller than before. Path: {path}"
            )
        case Termination.CHAIN_LIMIT:
            return (
                f"{head}: its chain has reached the limit of {row['chain_runs_limit']} runs in "
                f"{row['environment']}. Path: {path}"
            )
        case Termination.WORKLOAD_LIMIT:
            return (
                f"{head}: its chain has consumed the limit of {row['chain_workload_limit']:,.0f} workload units in "
                f"{row['environment']}. Path: {path}"
            )
        case Termination.CHAIN_STOPPED:
            return f"{head}: its chain was stopped. Path: {path}"


async def _get_lineages(conn: Connection, run_ids: Sequence[UUID]) -> list[Record]:
    """Each run with `path`, the workflow names from the root down to it; of a very long one the root, `…` and the last
    ones.

    Walked once for all children of a parent: a thousand items that end at depth 10,000 together must not take ten
    million steps.
    """
    return await conn.fetch(
        """
        WITH RECURSIVE lineage AS (
            SELECT p.id, p.workflow, p.parent_run_id, 1 AS distance
            FROM penstock.runs p
            WHERE p.id IN (SELECT r.parent_run_id FROM penstock.runs r WHERE r.id = ANY($1::uuid[]))
            UNION ALL
            SELECT l.id, p.workflow, p.parent_run_id, l.distance + 1
            FROM lineage l
            CROSS JOIN LATERAL (
                SELECT p.workflow, p.parent_run_id FROM penstock.runs p WHERE p.id = l.parent_run_id OFFSET 0
            ) p
            WHERE l.distance < $2
        ), path AS (
            SELECT id, array_agg(workflow ORDER BY distance DESC) AS names,
                   count(*) = $2 AND bool_and(parent_run_id IS NOT NULL) AS is_cut
            FROM lineage
            GROUP BY id
        )
        SELECT r.id, r.chain_id, r.environment, r.workflow, r.depth,
               CASE WHEN path.is_cut THEN array_remove(ARRAY[root.workflow], NULL) || '…'::text ELSE '{}' END
                   || coalesce(path.names, '{}') || r.workflow AS path,
               coalesce(r.depth_limit, e.depth_limit) AS effective_limit, e.chain_runs_limit,
               e.chain_workload_limit,
               coalesce((r.budget ->> 'base')::integer, 0) AS base, r.budget -> 'stuck' AS stuck
        FROM penstock.runs r
        JOIN penstock.environments e ON e.name = r.environment
        LEFT JOIN path ON path.id = r.parent_run_id
        LEFT JOIN LATERAL (
            SELECT root.workflow FROM penstock.runs root WHERE root.id = r.chain_id OFFSET 0
        ) root ON true
        WHERE r.id = ANY($1::uuid[])
        ORDER BY r.id
        """,
        run_ids,
        MAX_ANCESTORS,
    )


async def _set_errors(
    conn: Connection, rows: Sequence[Record], terminated: Mapping[UUID, Termination], messages: Sequence[str]
) -> None:
    errors = [
        exact_json.dumps_storable(
            {
                "kind": terminated[row["id"]].value,
                "message": message,
                "path": row["path"],
                **_cycle(row),
                **_limit(row, terminated[row["id"]]),
            }
        ).decode()
        for row, message in zip(rows, messages, strict=True)
    ]
    await conn.execute(
        """
        UPDATE penstock.runs r SET error = q.error::jsonb
        FROM unnest($1::uuid[], $2::text[]) AS q (id, error)
        WHERE r.id = q.id AND r.state = 'terminated'
        """,
        [row["id"] for row in rows],
        errors,
    )


def _cycle(row: Record) -> dict[str, JsonValue]:
    """The sequence of workflows that repeats at the end of the path, if one does."""
    cycle = find_cycle(row["path"])
    return {} if cycle is None else {"cycle": {"workflows": list(cycle.workflows), "rounds": cycle.rounds}}


def _limit(row: Record, reason: Termination) -> dict[str, JsonValue]:
    """The limit that cut the run: it may be another one by the time that somebody looks."""
    match reason:
        case Termination.DEPTH_LIMIT:
            return {"limit": row["effective_limit"]}
        case Termination.CHAIN_LIMIT:
            return {"limit": row["chain_runs_limit"]}
        case Termination.NO_PROGRESS:
            return {"before": row["stuck"][0], "now": row["stuck"][1]}
        case Termination.WORKLOAD_LIMIT:
            return {"limit": row["chain_workload_limit"]}
        case Termination.CHAIN_STOPPED:
            return {}


async def _request_notices(
    conn: Connection,
    kind: NoticeKind,
    rows: Sequence[Record],
    reasons: Mapping[UUID, Termination],
    messages: Sequence[str],
) -> None:
    """Ask for a notification in each environment concerned, about the first of its runs; each has its message."""
    by_environment: dict[str, list[tuple[Record, str]]] = {}
    for row, message in zip(rows, messages, strict=True):
        by_environment.setdefault(row["environment"], []).append((row, message))
    notices = []
    for environment, concerned in sorted(by_environment.items()):
        first, message = concerned[0]
        reason = reasons[first["id"]]
        details: dict[str, JsonValue] = {
            "message": message,
            "kind": reason.value,
            "workflow": first["workflow"],
            "run_id": str(first["id"]),
            "chain_id": str(first["chain_id"]),
            "depth": first["depth"],
            "path": first["path"],
            "limit": first["effective_limit"],
            **_cycle(first),
            **_limit(first, reason),
        }
        notices.append(Notice(environment, kind, details, len(concerned)))
    await request_notices(conn, notices)
