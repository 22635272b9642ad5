"""SQL of what is shown of dead letters, and which of them meet a filter."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, Self
from uuid import UUID

from pydantic import Field

from penstock.db import Connection, Record
from penstock.domain.dead_letters import LetterFilter, LetterKind, LetterState
from penstock.redaction import Redactor
from penstock.runs.views.deliveries import show_body
from penstock.runs.views.models import Shown, Stored
from penstock.runs.views.pages import Page, make_page

LetterPlace = tuple[datetime, UUID]
COUNTED: Final = 10_000
"""As far as open letters are counted for the metrics and the doctor."""

_LETTER: Final = """
    d.id, d.environment, d.kind, d.state, d.reason, d.times, d.first_seen_at, d.last_seen_at, d.workflow,
    CASE WHEN d.kind = 'run' THEN d.id END AS run_id, d.chain_id, d.queue, d.routing_key, d.size,
    d.kind = 'run' OR (d.queue IS NOT NULL AND octet_length(d.body) = d.size) AS retryable,
    d.published_at, d.note, d.actor, d.acted_at
"""
_MEETS: Final = """
    FROM penstock.dead_letters d
    WHERE d.environment = $1
      AND ($2::text IS NULL OR d.kind = $2)
      AND ($3::text IS NULL OR d.workflow = $3)
      AND ($4::text IS NULL OR d.queue = $4)
      AND ($5::text IS NULL OR strpos(lower(d.reason), lower($5)) > 0)
      AND d.first_seen_at >= coalesce($6::timestamptz, '-infinity')
      AND d.first_seen_at < coalesce($7::timestamptz, 'infinity')
      AND ($8::text IS NULL OR d.state || '' = $8)
    """
_OPEN: Final = " AND d.state = 'open'"
"""Open letters, few among all that are kept, have an index of their own."""
_PAGE: Final = """
      AND d.first_seen_at <= coalesce($9::timestamptz, 'infinity')
      AND ($9::timestamptz IS NULL OR (d.first_seen_at, d.id) < ($9, $10::uuid))
    ORDER BY d.first_seen_at DESC, d.id DESC
    LIMIT $11
    """
_LIST: Final = f"SELECT {_LETTER} {_MEETS} {_PAGE}"
_LIST_OPEN: Final = f"SELECT {_LETTER} {_MEETS} {_OPEN} {_PAGE}"


class Letter(Shown):
    """A dead letter: a run that has failed, or a message that could not be understood, admitted or handled."""

    id: UUID = Field(description="Of a run, that of the run")
    environment: str
    kind: LetterKind
    state: LetterState
    reason: str
    times: int = Field(description="How often it came to the dead letters; again when a retry failed")
    first_seen_at: datetime
    last_seen_at: datetime
    workflow: str | None = Field(description="Of a run")
    run_id: UUID | None
    chain_id: UUID | None
    queue: str | None = Field(description="Of a message, the one it came from; null: unknown")
    routing_key: str | None
    size: int | None = Field(description="Bytes of the message's body")
    retryable: bool = Field(description="False for a message of unknown origin, or of which only the beginning is kept")
    published_at: datetime | None = Field(
        description="When a retried message was published; null: not yet, a scheduler does it"
    )
    note: str | None = Field(description="Why it was retried, discarded or resolved")
    actor: str | None = Field(description="Who did that")
    acted_at: datetime | None

    def without_secrets(self, redactor: Redactor) -> Self:
        """The same as it may be printed."""
        return self.model_copy(update={"reason": redactor.text(self.reason)})


class LetterDetails(Letter):
    """A dead letter with its history and, of a message, what was sent."""

    history: Stored = Field(description="Its last 50 events, the oldest first: at, state, and reason or actor and note")
    message: Stored = Field(
        description="`type`, `message_id`, `correlation_id`, `reply_to`, `content_type` and `headers`, of which "
        "credentials read `[redacted]`"
    )
    body_encoding: Literal["text", "base64"] | None = Field(description="How `body` is written")
    body: str | None

    def without_secrets(self, redactor: Redactor) -> Self:
        """The same as it may be printed."""
        names = ("reason", "history", "message", "body")
        return self.model_copy(update={name: redactor.value(getattr(self, name)) for name in names})

    @property
    def plain(self) -> Letter:
        """The letter as lists show it."""
        return Letter(**{name: getattr(self, name) for name in Letter.model_fields})


class LetterPage(Shown):
    """Dead letters, newest first; `after` asks for the next page."""

    results: list[Letter]
    after: str | None


async def list_letters(
    conn: Connection, wanted: LetterFilter, *, after: LetterPlace | None, limit: int
) -> Page[Letter, LetterPlace]:
    """Dead letters that meet the filter, newest first."""
    place = after or (None, None)
    arguments = (*_arguments(wanted), *place, limit + 1)
    if wanted.state == LetterState.OPEN:
        rows = await conn.fetch(_LIST_OPEN, *arguments)
    else:
        rows = await conn.fetch(_LIST, *arguments)
    found = [Letter.model_validate(dict(row)) for row in rows]
    return make_page(found, limit, lambda letter: (letter.first_seen_at, letter.id))


async def find_letter(conn: Connection, *, id: UUID, environment: str | None = None) -> LetterDetails | None:
    """A dead letter with all that is kept of it; None when there is none of that id, or not there."""
    row = await conn.fetchrow(
        f"""
        SELECT {_LETTER}, d.history, d.message, d.body
        FROM penstock.dead_letters d
        WHERE d.id = $1 AND ($2::text IS NULL OR d.environment = $2)
        """,
        id,
        environment,
    )
    return None if row is None else _details_from_row(row)


async def count_open_letters(conn: Connection, of: LetterFilter) -> int:
    """How many open letters meet the filter."""
    count: int = await conn.fetchval(f"SELECT count(*) {_MEETS} {_OPEN}", *_arguments(of))
    return count


async def list_open_letters(
    conn: Connection, of: LetterFilter, *, before: datetime, reached: LetterPlace | None, most: int
) -> list[LetterPlace]:
    """The next open letters that meet the filter, the oldest first, among those that were there before that time."""
    rows = await conn.fetch(
        f"""
        SELECT d.first_seen_at, d.id
        {_MEETS} {_OPEN}
          AND d.first_seen_at <= $9
          AND d.first_seen_at >= coalesce($10::timestamptz, '-infinity')
          AND ($10::timestamptz IS NULL OR (d.first_seen_at, d.id) > ($10, $11::uuid))
        ORDER BY d.first_seen_at, d.id
        LIMIT $12
        """,
        *_arguments(of),
        before,
        reached[0] if reached else None,
        reached[1] if reached else None,
        most,
    )
    return [(row["first_seen_at"], row["id"]) for row in rows]


async def count_open_by_kind(conn: Connection) -> dict[tuple[str, str], int]:
    """How many open letters each environment has of each kind, counting no further than COUNTED in all."""
    rows = await conn.fetch(
        """
        SELECT q.environment, q.kind, count(*) AS letters
        FROM (SELECT d.environment, d.kind FROM penstock.dead_letters d WHERE d.state = 'open' LIMIT $1) q
        GROUP BY q.environment, q.kind
        """,
        COUNTED,
    )
    return {(row["environment"], row["kind"]): row["letters"] for row in rows}


def _arguments(wanted: LetterFilter) -> Sequence[object]:
    return (
        wanted.environment,
        wanted.kind,
        wanted.workflow,
        wanted.queue,
        wanted.contains,
        wanted.since,
        wanted.until,
        wanted.state,
    )


def _details_from_row(row: Record) -> LetterDetails:
    encoding, body = (None, None) if row["body"] is None else show_body(row["body"])
    return LetterDetails.model_validate({**dict(row), "body": body, "body_encoding": encoding})
