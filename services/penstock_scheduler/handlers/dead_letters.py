"""People are notified of messages that were parked for a person."""

from typing import Final

from penstock.definitions.models import ENVIRONMENTS
from penstock.domain.notices import NoticeKind
from penstock.errors import DatabaseUnavailable
from penstock.logs import get_logger
from penstock.store.notices import Notice, request_notices
from penstock_scheduler.room import Room

log = get_logger(__name__)

_MESSAGE: Final = (
    "a message that schedulers could not understand or admit was put into the queue penstock.dead-letters; its header "
    "`reason` and the log say why"
)


async def request_notice(room: Room, routing_key: str) -> None:
    """Have the people of the environment that the routing key names notified, else those of live.

    The reason is not repeated, since it may quote the message. While the database is away the log has to do.
    """
    named = routing_key.partition(".")[0]
    environment = named if named in ENVIRONMENTS else "live"
    try:
        async with room.database.connection() as conn:
            await request_notices(conn, [Notice(environment, NoticeKind.DEAD_LETTERS, {"message": _MESSAGE})])
    except DatabaseUnavailable as error:
        log.warning("database.unavailable", error=str(error))
