"""The installation's own key: made by a migration, read once per process, the same in all of them."""

from penstock.db import Connection, Database
from penstock.domain.lineage import LineageSeal


class Installation:
    """What is the same in every process that shares this database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seal: LineageSeal | None = None

    async def find_seal(self) -> LineageSeal:
        """What signs the lineage of outgoing calls; read when it is first asked for. Raises DatabaseUnavailable."""
        if self._seal is None:
            async with self._database.connection() as conn:
                self._seal = LineageSeal(await get_lineage_key(conn))
        return self._seal


async def get_lineage_key(conn: Connection) -> bytes:
    """The installation's key, of 32 bytes. It never changes: entries signed with another would be foreign ones."""
    key: bytes = await conn.fetchval("SELECT lineage_key FROM penstock.installation")
    return key
