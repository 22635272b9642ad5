"""SQL of what is coming: scheduled runs, waits that end by the clock, next ticks, and items of lists that are not runs
yet.
"""

import base64
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple, Self
from uuid import UUID

import orjson
from pydantic import Field

from penstock.db import Connection
from penstock.domain.moments import to_utc
from penstock.domain.schedule import ScheduleFilter
from penstock.runs.views.models import Shown
from penstock.runs.views.pages import Page, make_page

Kind = Literal["run", "wait", "tick", "list"]


class ScheduleEntry(Shown):
    """Something that is coming."""

    at: datetime = Field(description="When it is due; of a list, when its next item is at the earliest")
    kind: Kind = Field(
        description="`run`: a run that is scheduled; `wait`: a run that continues then at the latest; `tick`: the next "
        "tick of a recurrence; `list`: items of a list that have no runs yet"
    )
    id: UUID = Field(description="Of the run, the recurrence or the list")
    workflow: str
    environment: str
    depth: int | None
    chain_id: UUID | None
    list_id: UUID | None
    remaining: int | None = Field(description="How many items of the list have no run yet")
    paused: bool = Field(description="Whether a pause of the schedule holds it")


class SchedulePlace(NamedTuple):
    """Where a page of what is coming ends."""

    at: datetime
    kind: str
    id: UUID

    def write(self) -> str:
        """The token that asks for the page behind it."""
        return (
            base64.urlsafe_b64encode(orjson.dumps([self.at.isoformat(), self.kind, str(self.id)])).decode().rstrip("=")
        )

    @classmethod
    def read(cls, token: str) -> Self:
        """The place that `write` has made a token of. Raises ValueError for any other text."""
        try:
            at, kind, id = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            if kind not in ("run", "wait", "tick", "list"):
                raise ValueError("not a kind")
            return cls(to_utc(datetime.fromisoformat(at)), kind, UUID(id))
        except (ValueError, TypeError, AttributeError):
            raise ValueError("expected what an earlier page gave") from None


_STATEMENT: Final = """
    SELECT q.at, q.kind, q.id, q.workflow, $1::text AS environment, q.depth, q.chain_id, q.list_id, q.remaining,
           coalesce((SELECT e.has_pauses FROM penstock.environments e WHERE e.name = $1)
                    AND penstock.find_pause($1, q.workflow, q.chain_id, q.list_id, q.at) IS NOT NULL, false)
               AS paused
    FROM (
        (SELECT r.scheduled_at AS at, 'run' AS kind, r.id, r.workflow, r.depth, r.chain_id, r.list_id,
                NULL::int AS remaining
         FROM penstock.runs r
         WHERE r.indexed_state = 'scheduled' AND r.environment = $1
           AND ($2::text IS NULL OR r.workflow = $2)
           AND r.scheduled_at >= coalesce($3::timestamptz, '-infinity')
           AND r.scheduled_at < coalesce($4::timestamptz, 'infinity')
           AND ($5::uuid IS NULL OR r.list_id = $5)
           AND ($6::uuid IS NULL OR r.chain_id = $6)
           AND (r.scheduled_at, 'run', r.id) > ($7::timestamptz, $8::text, $9::uuid)
         ORDER BY r.scheduled_at, r.id LIMIT $10)
        UNION ALL
        (SELECT w.until, 'wait', r.id, r.workflow, r.depth, r.chain_id, r.list_id, NULL
         FROM penstock.waits w
         JOIN penstock.runs r ON r.id = w.run_id
         WHERE w.until IS NOT NULL AND r.state || '' = 'waiting' AND w.environment = $1
           AND ($2::text IS NULL OR r.workflow = $2)
           AND w.until >= coalesce($3::timestamptz, '-infinity')
           AND w.until < coalesce($4::timestamptz, 'infinity')
           AND ($5::uuid IS NULL OR r.list_id = $5)
           AND ($6::uuid IS NULL OR r.chain_id = $6)
           AND (w.until, 'wait', r.id) > ($7, $8, $9)
         ORDER BY w.until, r.id LIMIT $10)
        UNION ALL
        (SELECT c.due_at, 'tick', c.id, c.workflow, 0, NULL, NULL, NULL
         FROM penstock.recurrences c
         WHERE c.due_at IS NOT NULL AND c.environment = $1
           AND ($2::text IS NULL OR c.workflow = $2)
           AND c.due_at >= coalesce($3::timestamptz, '-infinity')
           AND c.due_at < coalesce($4::timestamptz, 'infinity')
           AND $5::uuid IS NULL AND $6::uuid IS NULL
           AND (c.due_at, 'tick', c.id) > ($7, $8, $9)
         ORDER BY c.due_at, c.id LIMIT $10)
        UNION ALL
        (SELECT i.at, 'list', l.id, l.workflow, NULL, p.chain_id, l.id, l.total - i.position
         FROM penstock.lists l
         CROSS JOIN LATERAL (
             SELECT c.first_index + c.next_offset AS position,
                    l.start_at + make_interval(secs => (c.first_index + c.next_offset) * l.interval_seconds) AS at
             FROM penstock.list_chunks c
             WHERE c.list_id = l.id AND c.expanded_at IS NULL
             ORDER BY c.first_index LIMIT 1
         ) i
         LEFT JOIN LATERAL (
             SELECT coalesce(
                 (SELECT r.chain_id FROM penstock.runs r WHERE r.id = l.parent_run_id), l.claimed_chain_id
             ) AS chain_id
         ) p ON true
         WHERE l.state = 'expanding' AND l.environment = $1
           AND ($2::text IS NULL OR l.workflow = $2)
           AND i.at >= coalesce($3::timestamptz, '-infinity') AND i.at < coalesce($4::timestamptz, 'infinity')
           AND ($5::uuid IS NULL OR l.id = $5)
           AND ($6::uuid IS NULL OR p.chain_id = $6)
           AND (i.at, 'list', l.id) > ($7, $8, $9)
         ORDER BY i.at, l.id LIMIT $10)
    ) q
    ORDER BY q.at, q.kind, q.id
    LIMIT $10
"""


async def list_schedule(
    conn: Connection, wanted: ScheduleFilter, *, after: SchedulePlace | None, limit: int
) -> Page[ScheduleEntry, SchedulePlace]:
    """What is coming and matches the filter, in the order in which it is due."""
    rows = await conn.fetch(
        _STATEMENT,
        wanted.environment,
        wanted.workflow,
        wanted.since,
        wanted.until,
        wanted.list_id,
        wanted.chain_id,
        *(after or SchedulePlace(datetime.min.replace(tzinfo=UTC), "", UUID(int=0))),
        limit + 1,
    )
    entries = [ScheduleEntry.model_validate(dict(row)) for row in rows]
    return make_page(entries, limit, lambda entry: SchedulePlace(entry.at, entry.kind, entry.id))
