"""Users of the app, as queries of the management API name them."""

from penstock.things.users import find_user
from penstock_ingress.room import Room


async def find_user_id(room: Room, environment: str, who: str) -> str | None:
    """The `_id` of the user with this email, None when nobody has it. An id is taken as it is: the user may be deleted,
    and runs for that user still be there.
    """
    if "@" not in who:
        return who
    async with room.database.connection() as conn:
        return await find_user(conn, environment=environment, who=who)
