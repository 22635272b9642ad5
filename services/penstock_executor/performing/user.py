"""The user for whom a run works, as expressions and code see it."""

from penstock.db import Database
from penstock.definitions.models import App
from penstock.domain.callers import is_admin_user
from penstock.things.records import get_thing
from penstock.things.tables import USER
from penstock_executor.holding.leases import Lease, outlast
from penstock_executor.runs import Values


class CurrentUser:
    """The user of one attempt, with the fields of `app`. A run without a user, or whose workflow does not ask for it,
    costs no look at the database.
    """

    def __init__(self, database: Database, lease: Lease, app: App) -> None:
        self._database = database
        self._lease = lease
        self._app = app
        self._found: Values | None = None
        self._is_read = False

    async def find(self) -> Values | None:
        """The user as it is stored when the attempt first asks, which is as it begins; later calls answer the same.

        None when the run has no user, when an admin started it, or when the user has been deleted. Raises LeaseLost
        when the database stays away for longer than the lease holds.
        """
        if not self._is_read:
            id = self._lease.run.user_id
            if id is not None and not is_admin_user(id):
                self._found = await outlast(self._lease, lambda: self._read(id))
            self._is_read = True
        return self._found

    async def _read(self, id: str) -> Values | None:
        run = self._lease.run
        async with self._database.connection() as conn:
            kind = self._app.types.get(USER.name, USER)
            thing = await get_thing(conn, environment=run.environment, data_type=kind, id=id)
        return None if thing is None else {**thing}
