"""What people may want to be notified of is noted by the transaction in which it happens; a scheduler sends it."""

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import JsonValue

from penstock.contracts import envelope
from penstock.contracts.envelope import Message
from penstock.contracts.topology import DEAD_LETTER_QUEUE
from penstock.db import Connection, Database
from penstock.definitions.models import ENVIRONMENTS
from penstock.domain.notices import NoticeKind
from penstock.errors import DatabaseUnavailable
from penstock.logs import get_logger

log = get_logger(__name__)


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


async def notify_of_dead_letter(database: Database, queue: str, message: Message, routing_key: str) -> None:
    """Have people notified of a message of `queue` that was put into the dead letters: those of the environment that
    its headers name, or else its routing key, or else those of live.

    The reason is not repeated, since it may quote the message. While the database is away the log has to do.
    """
    named = (message.headers.get(envelope.ENVIRONMENT), routing_key.partition(".")[0])
    environment = next((name for name in named if name in ENVIRONMENTS), ENVIRONMENTS[-1])
    what = (
        f"a message of the queue {queue} that could not be understood, admitted or handled was put into the queue "
        f"{DEAD_LETTER_QUEUE}; its header `reason` and the log say why"
    )
    try:
        async with database.connection() as conn:
            await request_notices(conn, [Notice(str(environment), NoticeKind.DEAD_LETTERS, {"message": what})])
    except DatabaseUnavailable as error:
        log.warning("database.unavailable", error=str(error))
