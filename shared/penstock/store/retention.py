"""How long each of our tables keeps its rows, and what they take. `docs/retention.md` has the same table; a test
compares both with the tables that there are.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, NamedTuple

from penstock.db import Connection

ACTS_KEPT: Final = timedelta(days=400)
"""The database's function `delete_old_acts` has the same: schedulers may do no more to the audit."""

Growth = Literal["ended", "short", "bounded"]


class Rule(NamedTuple):
    """How long rows of a table stay. `ended`: it grows with what has happened, and is deleted by age. `short`: rows go
    when they have been dealt with. `bounded`: as many rows as somebody has set up.
    """

    growth: Growth
    kept: str


RULES: Final = {
    "runs": Rule("ended", "`retention` after the last run of its chain ended"),
    "steps": Rule("ended", "as their run"),
    "user_runs": Rule("ended", "as their run"),
    "chains": Rule("ended", "as the chain's runs"),
    "chain_grants": Rule("ended", "as the chain's runs"),
    "kept_chains": Rule("ended", "as the chain's runs"),
    "lists": Rule("ended", "`retention` after its end, and as long as one of its runs is kept"),
    "list_chunks": Rule("ended", "as their list"),
    "list_searches": Rule("ended", "until the list has found all its things"),
    "list_line": Rule("short", "until their run's turn comes in its sequential list"),
    "deliveries": Rule("ended", "`retention` after it was received"),
    "delivery_keys": Rule("ended", "as long as a copy is known: 30 days, or what its source says"),
    "logs": Rule("ended", "`retention`"),
    "idempotency_keys": Rule("ended", "24 hours"),
    "keyed_runs": Rule("ended", "400 days"),
    "audit": Rule("ended", f"{ACTS_KEPT.days} days"),
    "workload": Rule("ended", "400 days"),
    "operations": Rule("ended", "30 days after their end"),
    "files": Rule(
        "ended",
        "7 days; files of callers, which have a URL: until they are deleted, or nothing refers to them for 24 hours",
    ),
    "file_chunks": Rule("ended", "as their file"),
    "dead_letters": Rule("ended", "of runs: as their run; of messages: `retention` after they were last seen"),
    "imports": Rule("ended", "30 days after the last change, and while their run may be retried"),
    "import_lines": Rule("ended", "as their import"),
    "recurrence_ticks": Rule("ended", "the last 100 of each recurrence"),
    "notice_deliveries": Rule("ended", "30 days"),
    "notifications": Rule("ended", "for good: a few rows a month"),
    "tokens": Rule("ended", "of users: 30 days after their end; of people who steer: for good"),
    "deployments": Rule("ended", "for good: runs refer to them"),
    "console_sessions": Rule("short", "at most 12 hours"),
    "password_tries": Rule("short", "until the count begins again"),
    "joins": Rule("short", "while the run waits for others"),
    "ends": Rule("short", "until they are counted"),
    "thing_keys": Rule("ended", "24 hours"),
    "removed_objects": Rule("short", "until the object is deleted in its storage, too"),
    "account_tokens": Rule("short", "until they are used or expire"),
    "known_places": Rule("ended", "180 days after somebody was last seen there"),
    "identities": Rule("bounded", "one for each user and provider with which they log in"),
    "accounts": Rule("bounded", "one for each user who has a password"),
    "signals": Rule("short", "until a run takes them, at most 24 hours"),
    "places": Rule("short", "while their run lives; of one that failed, as their run"),
    "turns": Rule("short", "until a scheduler has looked"),
    "rate_uses": Rule("short", "while a start counts for a rate"),
    "debounces": Rule("short", "until the run has started, at least an hour"),
    "waits": Rule("short", "while the run waits"),
    "changes": Rule("short", "until their runs are started"),
    "run_ends": Rule("short", "until their runs are started"),
    "inbox": Rule("short", "until their runs are admitted"),
    "notices": Rule("short", "until they are sent or counted"),
    "replicas": Rule("short", "while the process lives; of one that died, an hour"),
    "run_minutes": Rule("bounded", "25 hours: a few rows for each minute"),
    "pauses": Rule("short", "until they are lifted"),
    "environments": Rule("bounded", "two"),
    "retention": Rule("bounded", "one for each environment"),
    "installation": Rule("bounded", "one"),
    "secrets": Rule("bounded", "until they are removed"),
    "slow_searches": Rule("bounded", "at most 500 kinds of searches; 30 days after the last of its kind"),
    "workload_weights": Rule("bounded", "until they are reset"),
    "recurrences": Rule("bounded", "until they end or are deleted"),
    "run_watches": Rule("bounded", "as the deployed app says"),
    "notice_throttles": Rule("bounded", "one for each kind of notification"),
    "detected_parameters": Rule("bounded", "one for each workflow"),
}
"""By table."""


@dataclass(frozen=True, slots=True)
class KeptTable:
    """What a table takes on disk, in bytes with its indexes, and about how many rows it has (None: not counted yet)."""

    name: str
    rows: int | None
    size: int


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long an environment keeps what has ended, and how much of each kind was deleted of it so far. `lag` is how
    far the look at old runs is behind; None: it has seen all that is old enough.
    """

    environment: str
    retention: str
    deleted: dict[str, int]
    lag: timedelta | None


async def list_sizes(conn: Connection) -> list[KeptTable]:
    """Our tables, the largest first, a divided one with its partitions; rows as of the last vacuum or analysis."""
    rows = await conn.fetch(
        """
        SELECT coalesce(p.relname, c.relname)::text AS name,
               (sum(c.reltuples) FILTER (WHERE c.reltuples >= 0))::bigint AS rows,
               sum(pg_total_relation_size(c.oid))::bigint AS size
        FROM pg_class c
        LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
        LEFT JOIN pg_class p ON p.oid = i.inhparent
        WHERE c.relnamespace = 'penstock'::regnamespace AND c.relkind = 'r'
        GROUP BY 1
        ORDER BY 3 DESC, 1
        """
    )
    return [KeptTable(**row) for row in rows]


async def list_keepings(conn: Connection) -> list[Keeping]:
    """The retention of each environment, in the order of their names."""
    rows = await conn.fetch(
        """
        SELECT t.environment, e.retention, t.runs, t.chains, t.lists, t.deliveries, t.lines,
               (SELECT clock_timestamp() - greatest(e.retention::interval, interval '25 hours') - interval '1 hour'
                       - n.created_at
                FROM penstock.runs n
                WHERE n.created_at >= t.reached_at AND (n.created_at, n.id) > (t.reached_at, t.reached_id)
                  AND n.created_at
                      < clock_timestamp() - greatest(e.retention::interval, interval '25 hours') - interval '1 hour'
                ORDER BY n.created_at LIMIT 1) AS lag
        FROM penstock.retention t
        JOIN penstock.environments e ON e.name = t.environment
        ORDER BY t.environment
        """
    )
    return [
        Keeping(
            row["environment"],
            row["retention"],
            {
                "runs": row["runs"],
                "chains": row["chains"],
                "lists": row["lists"],
                "deliveries": row["deliveries"],
                "log lines": row["lines"],
            },
            row["lag"],
        )
        for row in rows
    ]
