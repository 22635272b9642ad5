"""SQL of what is shown of the audit, which `penstock.store.audit` writes."""

from dataclasses import dataclass
from datetime import datetime

from penstock.db import Connection
from penstock.runs.views.models import AuditEntry
from penstock.runs.views.pages import Page, make_page

AuditPlace = tuple[datetime, int]


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which acts; None does not matter. `action` is a whole one (`run.cancel`) or what comes before its dot (`run`)."""

    environment: str
    actor: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def list_audit(
    conn: Connection, wanted: AuditFilter, *, after: AuditPlace | None, limit: int
) -> Page[AuditEntry, AuditPlace]:
    """Acts that meet the filter, newest first."""
    rows = await conn.fetch(
        """
        SELECT a.id, a.environment, a.at, a.actor, a.action, a.subject, a.before, a.after
        FROM penstock.audit a
        WHERE a.environment = $1
          AND ($2::text IS NULL OR a.actor = $2)
          AND ($3::text IS NULL OR a.action = $3 OR split_part(a.action, '.', 1) = $3)
          AND ($4::timestamptz IS NULL OR a.at >= $4)
          AND ($5::timestamptz IS NULL OR a.at < $5)
          AND ($6::timestamptz IS NULL OR (a.at, a.id) < ($6, $7::bigint))
        ORDER BY a.at DESC, a.id DESC
        LIMIT $8
        """,
        wanted.environment,
        wanted.actor,
        wanted.action,
        wanted.since,
        wanted.until,
        after[0] if after else None,
        after[1] if after else None,
        limit + 1,
    )
    return make_page([AuditEntry.model_validate(dict(row)) for row in rows], limit, lambda act: (act.at, act.id))
