"""SQL of what is shown of deliveries, and of how their requests were stored."""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from penstock.db import Connection, Record
from penstock.domain.deliveries import DeliveryFilter
from penstock.runs.views.models import Delivery, DeliveryDetails
from penstock.runs.views.pages import Page, make_page

DeliveryPlace = tuple[datetime, UUID]
MAX_REPLAYS: Final = 100
"""Of the replays of one delivery, the newest are shown."""

_DELIVERY: Final = """
    d.id, d.environment, d.source, d.type, d.verdict, d.state AS outcome, d.run_ids, d.duplicates, d.received_at,
    octet_length(d.body) AS size, d.origin_id
"""
MEETS: Final = """
    FROM penstock.deliveries d
    WHERE ($1::text IS NULL OR d.environment = $1)
      AND ($2::text IS NULL OR d.source = $2)
      AND ($3::text IS NULL OR d.type = $3)
      AND ($4::text IS NULL OR d.state = $4)
      AND d.received_at >= coalesce($5::timestamptz, '-infinity')
      AND d.received_at < coalesce($6::timestamptz, 'infinity')
      AND ($7::uuid IS NULL OR d.id = (
          SELECT (r.context #>> '{webhook,id}')::uuid FROM penstock.runs r WHERE r.id = $7))
"""
"""The deliveries that meet a filter; `arguments_of` has its arguments."""


async def list_deliveries(
    conn: Connection, wanted: DeliveryFilter, *, after: DeliveryPlace | None, limit: int
) -> Page[Delivery, DeliveryPlace]:
    """Deliveries that meet the filter, newest first."""
    rows = await conn.fetch(
        f"""
        SELECT {_DELIVERY}
        {MEETS}
          AND d.received_at <= coalesce($8::timestamptz, 'infinity')
          AND ($8::timestamptz IS NULL OR (d.received_at, d.id) < ($8, $9::uuid))
        ORDER BY d.received_at DESC, d.id DESC
        LIMIT $10
        """,
        *arguments_of(wanted),
        after[0] if after else None,
        after[1] if after else None,
        limit + 1,
    )
    return _make_page(rows, limit)


async def list_received(
    conn: Connection, wanted: DeliveryFilter, *, after: DeliveryPlace | None, limit: int
) -> Page[Delivery, DeliveryPlace]:
    """Deliveries that meet the filter, the oldest first."""
    rows = await conn.fetch(
        f"""
        SELECT {_DELIVERY}
        {MEETS}
          AND d.received_at >= coalesce($8::timestamptz, '-infinity')
          AND ($8::timestamptz IS NULL OR (d.received_at, d.id) > ($8, $9::uuid))
        ORDER BY d.received_at, d.id
        LIMIT $10
        """,
        *arguments_of(wanted),
        after[0] if after else None,
        after[1] if after else None,
        limit + 1,
    )
    return _make_page(rows, limit)


def arguments_of(wanted: DeliveryFilter) -> tuple[object, ...]:
    """`$1` to `$7` of `MEETS`."""
    return (
        wanted.environment,
        wanted.source,
        wanted.type,
        wanted.outcome,
        wanted.since,
        wanted.until,
        wanted.run_id,
    )


def _make_page(rows: Sequence[Record], limit: int) -> Page[Delivery, DeliveryPlace]:
    found = [Delivery.model_validate(dict(row)) for row in rows]
    return make_page(found, limit, lambda delivery: (delivery.received_at, delivery.id))


async def find_delivery(conn: Connection, *, id: UUID, environment: str | None = None) -> DeliveryDetails | None:
    """A delivery with its headers, its body and its replays; None when there is none of that id, or not there."""
    row = await conn.fetchrow(
        f"""
        SELECT {_DELIVERY}, d.headers, d.body,
               ARRAY(SELECT r.id FROM penstock.deliveries r WHERE r.origin_id = d.id
                     ORDER BY r.received_at DESC, r.id DESC LIMIT $3) AS replays
        FROM penstock.deliveries d
        WHERE d.id = $1 AND ($2::text IS NULL OR d.environment = $2)
        """,
        id,
        environment,
        MAX_REPLAYS,
    )
    return None if row is None else _details_from_row(row)


def _details_from_row(row: Record) -> DeliveryDetails:
    encoding, body = show_body(row["body"])
    return DeliveryDetails.model_validate({**dict(row), "body": body, "body_encoding": encoding})


def show_body(body: bytes) -> tuple[str, str]:
    """A body as it is shown, after how: as `text` where it is one, else in `base64` (RFC 4648)."""
    try:
        return "text", body.decode()
    except UnicodeDecodeError:
        return "base64", base64.b64encode(body).decode()
