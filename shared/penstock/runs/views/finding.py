"""SQL that finds the runs which a filter means, newest first.

A page looks at a bounded number of runs, found by an index: those of a chain, a list or a user, those that have failed
or have not ended, or else the newest. Where what is wanted is rarer than that, it has fewer results than were asked
for, perhaps none, and says where to continue. So every page takes about the same time, however many runs there are.

Nothing is indexed for that on `penstock.runs` itself: each claim and each end of a run would write it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

MAX_LOOKED: Final = 25_000
"""Runs that one page looks at."""
MAX_LIVE: Final = 5_000
"""Runs in one state that has not ended, beyond which they are found among all others."""
MAX_BYTES: Final = 8 * 1024 * 1024
"""Bytes of JSON, as stored, that one page looks through for a text."""
_LIVE: Final = frozenset({"scheduled", "queued", "running", "waiting"})


class RunWay(StrEnum):
    """By what runs are looked up, the newest first."""

    CHAIN = "chain"
    PARENT = "parent"
    LIST = "list"
    USER = "user"
    FAILED = "failed"
    LIVE = "live"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs; None does not matter."""

    environment: str | None = None
    workflow: str | None = None
    states: Sequence[str] | None = None
    chain_id: UUID | None = None
    parent_run_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    contains: str | None = None
    list_id: UUID | None = None


def find_way(wanted: RunFilter, user_id: str | None) -> RunWay:
    """The index that finds what is wanted among the fewest others, as a rule."""
    states = frozenset(str(state) for state in wanted.states or ())
    ways = {
        RunWay.PARENT: wanted.parent_run_id is not None,
        RunWay.CHAIN: wanted.chain_id is not None,
        RunWay.LIST: wanted.list_id is not None,
        RunWay.USER: user_id is not None,
        RunWay.FAILED: states == {"failed"},
        RunWay.LIVE: bool(states) and states <= _LIVE,
    }
    return next((way for way, is_it in ways.items() if is_it), RunWay.TIME)


_SIZE: Final = """CASE WHEN $8::text IS NULL THEN 0
                     ELSE pg_column_size(r.parameters) + coalesce(pg_column_size(r.result), 0)
                          + coalesce(pg_column_size(r.error), 0) END AS size"""
# Conditions that always hold a time are what the planner takes an index for, whatever it believes of the table.
_RANGE: Final = """r.created_at >= coalesce($6::timestamptz, '-infinity')
                AND r.created_at < coalesce($7::timestamptz, 'infinity')
                AND r.created_at <= coalesce($9::timestamptz, 'infinity')
                AND (r.created_at, r.id) < (coalesce($9::timestamptz, 'infinity'),
                                            coalesce($10::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))"""
_DIRECT: Final = """
                SELECT r.id, r.created_at, SIZE FROM penstock.runs r
                WHERE PREDICATE AND RANGE
                ORDER BY r.created_at DESC, r.id DESC LIMIT $14"""
# The sum keeps the planner from reading all runs by time to find those few.
_SORTED: Final = _DIRECT.replace("ORDER BY r.created_at DESC", "ORDER BY r.created_at + interval '0' DESC")
_OF_USER: Final = """
                SELECT r.id, r.created_at, SIZE FROM (
                    SELECT r.run_id AS id
                    FROM (SELECT u.run_id AS id, u.* FROM penstock.user_runs u WHERE u.user_id = $13) r
                    WHERE RANGE
                    ORDER BY r.created_at DESC, r.id DESC LIMIT $14
                ) u
                CROSS JOIN LATERAL (SELECT o.* FROM penstock.runs o WHERE o.id = u.id OFFSET 0) r"""
_OF_LIVE: Final = """
                SELECT r.id, r.created_at, SIZE FROM (
                    SELECT s.* FROM penstock.runs s
                    WHERE s.indexed_state = 'scheduled' AND 'scheduled' = ANY($3::text[])
                    UNION ALL
                    SELECT h.* FROM penstock.runs h
                    WHERE h.finished_at IS NULL AND h.indexed_state IS NULL AND h.state = ANY($3::text[])
                      AND 'queued' = ANY($3::text[])
                    UNION ALL
                    SELECT g.* FROM (
                        SELECT h.* FROM penstock.runs h
                        WHERE h.finished_at IS NULL AND h.indexed_state IS NULL AND NOT 'queued' = ANY($3::text[])
                        ORDER BY h.dispatched_at LIMIT CASE WHEN 'running' = ANY($3::text[]) THEN $14 ELSE 0 END
                    ) g WHERE g.state = 'running'
                    UNION ALL
                    SELECT o.* FROM penstock.waits w
                    CROSS JOIN LATERAL (SELECT o.* FROM penstock.runs o WHERE o.id = w.run_id OFFSET 0) o
                    WHERE 'waiting' = ANY($3::text[])
                ) r
                WHERE RANGE
                ORDER BY r.created_at DESC, r.id DESC LIMIT $14"""
_IS_WANTED: Final = """($1::text IS NULL OR r.environment = $1)
            AND ($2::text IS NULL OR r.workflow = $2)
            AND ($3::text[] IS NULL OR r.state = ANY($3))
            AND ($4::uuid IS NULL OR r.chain_id = $4)
            AND ($5::uuid IS NULL OR r.parent_run_id = $5)
            AND ($12::uuid IS NULL OR r.list_id = $12)
            AND ($13::text IS NULL OR r.context #>> '{user,_id}' = $13)
            AND ($8::text IS NULL
                 OR strpos(lower(concat_ws(' ', r.parameters::text, r.result::text, r.error::text)), lower($8)) > 0)"""
_IS_END: Final = "(q.number = $14 OR q.before <= $15 AND q.before + q.size > $15)"
# Nothing sorts what the innermost query gives: the loops around it keep its order, and read no more than is asked for.
_FOUND: Final = """
    found AS MATERIALIZED (
        SELECT q.id, q.created_at, q.number, (IS_WANTED) IS TRUE AS is_wanted, IS_END AS is_end
        FROM (
            SELECT p.*, row_number() OVER () AS number,
                   coalesce(sum(p.size) OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
            FROM (PLACES
            ) p
        ) q
        CROSS JOIN LATERAL (SELECT r.* FROM penstock.runs r WHERE r.id = q.id OFFSET 0) r
        WHERE q.before <= $15 AND (IS_WANTED) OR IS_END
        LIMIT $11
    )
    """


def _make(places: str, predicate: str = "true") -> str:
    parts = {
        "PLACES": places, "PREDICATE": predicate, "RANGE": _RANGE, "SIZE": _SIZE, "IS_WANTED": _IS_WANTED,
        "IS_END": _IS_END,
    }  # fmt: skip
    statement = _FOUND
    for name, text in parts.items():
        statement = statement.replace(name, text)
    return statement


FIND_BY: Final = {
    # Children are in the chain of their parent.
    RunWay.PARENT: _make(
        _SORTED,
        "r.parent_run_id = $5 AND r.chain_id <> r.id "
        "AND r.chain_id = (SELECT p.chain_id FROM penstock.runs p WHERE p.id = $5)",
    ),
    RunWay.CHAIN: _make(_SORTED, "r.chain_id = $4 AND (r.id = $4 OR r.chain_id <> r.id)"),
    RunWay.LIST: _make(_SORTED, "r.list_id = $12"),
    RunWay.USER: _make(_OF_USER),
    RunWay.FAILED: _make(_DIRECT, "r.indexed_state = 'failed'"),
    RunWay.LIVE: _make(_OF_LIVE),
    RunWay.TIME: _make(_DIRECT),
}
"""By way, the query `found` of the runs that are wanted among the next ones, at most `$11`. The last of them may be one
that is not wanted: `is_end` says that no more were looked at. `arguments` has what it is given.
"""
COUNT_LIVE: Final = """
    SELECT count(*) FROM (
        (SELECT FROM penstock.runs s WHERE s.indexed_state = 'scheduled' AND 'scheduled' = ANY($1::text[]) LIMIT $2)
        UNION ALL
        (SELECT FROM penstock.runs h
         WHERE h.finished_at IS NULL AND h.indexed_state IS NULL AND 'queued' = ANY($1::text[]) LIMIT $2)
        UNION ALL
        (SELECT FROM penstock.waits w WHERE 'waiting' = ANY($1::text[]) LIMIT $2)
    ) l
    """
"""How many runs have to be read for those that have not ended and are in one of these states, as far as there are
fewer than `$2`. Running ones are among those that were handed to executors first, of which MAX_LOOKED are read.
"""


def arguments(
    wanted: RunFilter, user_id: str | None, after: tuple[datetime, UUID] | None, most: int
) -> tuple[object, ...]:
    """The arguments of each of FIND_BY."""
    return (
        wanted.environment,
        wanted.workflow,
        wanted.states,
        wanted.chain_id,
        wanted.parent_run_id,
        wanted.since,
        wanted.until,
        wanted.contains,
        after[0] if after else None,
        after[1] if after else None,
        most,
        wanted.list_id,
        user_id,
        MAX_LOOKED,
        MAX_BYTES,
    )
