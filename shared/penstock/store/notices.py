"""What people may want to be notified of is noted by the transaction in which it happens; a scheduler sends it."""

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import JsonValue

from penstock.db import Connection
from penstock.domain.notices import NoticeKind


class Notice(NamedTuple):
    """One or more of the same kind that happened together. `details` are of the first: its `message` is a sentence, and
    they name run, chain, workflow and whatever else the kind's letter says; no payloads, no secrets.
    """

    environment: str
    kind: NoticeKind
    details: dict[str, JsonValue]
    times: int = 1
    topic: str = ""
    """What within the kind has a period of its own."""


async def request_notices(conn: Connection, notices: Sequence[Notice]) -> None:
    """Ask for notifications. Whether one is sent now or counted is decided when a scheduler takes it."""
    if notices:
        await conn.executemany(
            "INSERT INTO penstock.notices (environment, kind, details, count) VALUES ($1, $2, $3, $4)",
            [
                (one.environment, f"{one.kind}.{one.topic}" if one.topic else one.kind.value, one.details, one.times)
                for one in notices
            ],
        )
