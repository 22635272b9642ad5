"""Whether the things that a call names are there: one query for each data type, and none for calls without things."""

from penstock.db import Database
from penstock.definitions.models import App, Workflow
from penstock.runs.idempotency import IdempotencyKey, is_bound
from penstock.things.given import Absent, Values, find_absent, has_things


async def find_absent_reference(
    database: Database, call: tuple[str, IdempotencyKey | None], workflow: Workflow, app: App, values: Values
) -> Absent | None:
    """The first parameter with an id that names nothing, which Bubble refuses. Raises StaleDefinitions where the app
    has lost a type meanwhile; DatabaseUnavailable.

    `call` is its environment and its key: a copy is not refused, because its run may have deleted the thing.
    """
    if not has_things(workflow, values):
        return None
    environment, key = call
    async with database.connection() as conn:
        (absent,) = await find_absent(conn, environment=environment, app=app, given=[(workflow, values)])
        if absent is not None and key is not None and await is_bound(conn, environment=environment, key=key):
            return None
        return absent
