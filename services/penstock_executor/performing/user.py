"""The user for whom a run works, as expressions and code see it."""

from datetime import datetime

from penstock.db import Database
from penstock.definitions.models import App
from penstock.definitions.values import format_date
from penstock.domain.callers import is_admin_user
from penstock.things.privacy import EVERYTHING, Viewer
from penstock.things.records import get_thing, show_things
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
        self._kind = app.types.get(USER.name, USER)
        self._viewer: Viewer | None = None
        self._shown: Values | None = None
        self._found: Values | None = None
        self._is_read = False

    async def view(self, now: datetime) -> Viewer:
        """Who looks, for the privacy rules, where the run reads. Raises LeaseLost as `find`."""
        if self._lease.run.sees_everything:
            return EVERYTHING
        if self._viewer is None:
            self._viewer = Viewer(user=await self._find_stored(), now=format_date(now))
        return self._viewer

    async def find(self, viewer: Viewer) -> Values | None:
        """The user as it is stored when the attempt first asks, which is as it begins, as far as `viewer` may see it;
        later calls answer the same.

        None when the run has no user, when an admin started it, or when the user has been deleted. Raises LeaseLost
        when the database stays away for longer than the lease holds.
        """
        user = await self._find_stored()
        if user is None or not viewer.is_bound(self._kind):
            return user
        if self._shown is None:
            self._shown = await outlast(self._lease, lambda: self._show(user, viewer))
        return self._shown

    async def _find_stored(self) -> Values | None:
        if not self._is_read:
            id = self._lease.run.user_id
            if id is not None and not is_admin_user(id):
                self._found = await outlast(self._lease, lambda: self._read(id))
            self._is_read = True
        return self._found

    async def _read(self, id: str) -> Values | None:
        run = self._lease.run
        async with self._database.connection() as conn:
            thing = await get_thing(conn, environment=run.environment, data_type=self._kind, id=id)
        return None if thing is None else {**thing}

    async def _show(self, user: Values, viewer: Viewer) -> Values:
        environment = self._lease.run.environment
        async with self._database.connection() as conn:
            shown = await show_things(conn, environment=environment, data_type=self._kind, things=[user], viewer=viewer)
        return shown[0]
