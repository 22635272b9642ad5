"""Runs whose places are free when they are admitted take them there and then, and are queued at once.

Whether a place is free is decided by one transaction at a time: it holds the lock of the workflow that turns hold, too
(`penstock_scheduler.loops.turns`). Admission does not wait for that lock. While another transaction has it, runs of
that workflow are admitted to wait for a turn, as are all for whom no place is free.

In a scope that is full, those who arrive need no turn: the one who leaves asks for one, and that turn waits for the
lock, so it sees them. In a scope that has room, but in which somebody waits, a turn decides who is next.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from operator import attrgetter
from typing import Final, NamedTuple
from uuid import UUID

from penstock import clock
from penstock.db import Connection
from penstock.definitions.flow import Concurrency, Rate, Rule
from penstock.runs.places import Limited, lock_lines


class Gates(NamedTuple):
    """What was decided before runs are admitted. Those in `open_to` take their places if they are queued; `full` are
    the scopes in which nobody needs a turn before somebody leaves, if all of those are.
    """

    open_to: frozenset[UUID] = frozenset()
    full: frozenset[UUID] = frozenset()

    def list_full(self, missed: Collection[UUID], runs: Mapping[UUID, Limited]) -> frozenset[UUID]:
        """The scopes that are full although these runs have not been queued: the places meant for them are free."""
        return self.full.difference(place.scope for run_id in missed for place in runs[run_id].control.places)


SHUT: Final = Gates()


class _Bound(NamedTuple):
    """What a rule says of one scope. Of a line, `limit` is 1. `is_left`: who leaves it asks for a turn, in which the
    next may follow.
    """

    limit: int
    per: timedelta | None
    is_line: bool
    is_left: bool


async def open_gates(conn: Connection, runs: Sequence[Limited]) -> Gates:
    """Decide which of these runs, which are about to be admitted in this order, may take their places. Their workflows
    are locked until the transaction ends, those that nobody else has locked.
    """
    now = clock.now()
    due = [run for run in runs if run.control.places and (run.scheduled_at is None or run.scheduled_at <= now)]
    if not due:
        return SHUT
    await lock_lines(conn, due)
    locked = await _try_to_lock(conn, {(run.environment, run.workflow) for run in due})
    due = [run for run in due if (run.environment, run.workflow) in locked]
    return await _open(conn, due) if due else SHUT


async def _open(conn: Connection, runs: Sequence[Limited]) -> Gates:
    bounds: dict[UUID, _Bound] = {}
    for run in runs:
        for place in run.control.places:
            if place.scope not in bounds:
                bounds[place.scope] = _find_bound(run.control.rules[place.rule])
    free, crowded = await _measure(conn, bounds)
    passing: list[UUID] = []
    for run in sorted(runs, key=attrgetter("priority")):
        scopes = [place.scope for place in run.control.places]
        if all(free[scope] > 0 for scope in scopes) and crowded.isdisjoint(scopes):
            passing.append(run.run_id)
            for scope in scopes:
                free[scope] -= 1
    full = frozenset(scope for scope, left in free.items() if left <= 0 and bounds[scope].is_left)
    return Gates(frozenset(passing), full)


def _find_bound(rule: Rule) -> _Bound:
    match rule:
        case Concurrency(limit=limit):
            return _Bound(limit, None, is_line=False, is_left=True)
        case Rate(limit=limit, per_seconds=seconds):
            return _Bound(limit, timedelta(seconds=seconds), is_line=False, is_left=False)
        case _:
            return _Bound(1, None, is_line=True, is_left=rule.on_failure == "block")


async def _try_to_lock(conn: Connection, workflows: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Keep turns and other admissions from these workflows, where that is possible without waiting."""
    rows = await conn.fetch(
        """
        SELECT q.environment, q.workflow FROM unnest($1::text[], $2::text[]) AS q (environment, workflow)
        WHERE pg_try_advisory_xact_lock(hashtextextended('turns/' || q.environment || '/' || q.workflow, 0))
        """,
        [environment for environment, _ in workflows],
        [workflow for _, workflow in workflows],
    )
    return {(row["environment"], row["workflow"]) for row in rows}


async def _measure(conn: Connection, bounds: Mapping[UUID, _Bound]) -> tuple[dict[UUID, int], set[UUID]]:
    """How many places are free in each scope, and in which of them somebody waits already."""
    rows = await conn.fetch(
        """
        SELECT q.scope,
               q.most - CASE
                   WHEN q.is_line THEN (SELECT count(*) FROM (
                       SELECT FROM penstock.places p
                       WHERE p.scope = q.scope AND p.rule = 'sequence' AND NOT p.is_done LIMIT 1
                   ) t)
                   WHEN q.per IS NULL
                   THEN (SELECT count(*) FROM penstock.places p WHERE p.scope = q.scope AND p.taken_at IS NOT NULL)
                   ELSE (SELECT count(*) FROM penstock.rate_uses u
                         WHERE u.scope = q.scope AND u.at > clock_timestamp() - q.per)
               END::int AS free,
               (SELECT true FROM penstock.places p
                WHERE p.scope = q.scope AND p.waits_since IS NOT NULL LIMIT 1) AS is_crowded
        FROM unnest((SELECT $1::uuid[]), (SELECT $2::int[]), (SELECT $3::interval[]), (SELECT $4::bool[]))
             AS q (scope, most, per, is_line)
        """,
        list(bounds),
        [bound.limit for bound in bounds.values()],
        [bound.per for bound in bounds.values()],
        [bound.is_line for bound in bounds.values()],
    )
    return {row["scope"]: row["free"] for row in rows}, {row["scope"] for row in rows if row["is_crowded"]}
