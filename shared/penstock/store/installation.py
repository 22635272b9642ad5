"""The installation's own key: made by a migration, read once per process, the same in all of them."""

from penstock.db import Connection, Database
from penstock.domain.lineage import LineageSeal


class Installation:
    """What is the same in every process that shares this database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seal: LineageSeal | None = None
        self._key: bytes | None = None

    async def find_key(self) -> bytes:
        """The installation's key; read when it is first asked for. Raises DatabaseUnavailable."""
        if self._key is None:
            async with self._database.connection() as conn:
                self._key = await get_lineage_key(conn)
        return self._key

    async def find_seal(self) -> LineageSeal:
        """What signs the lineage of outgoing calls. Raises DatabaseUnavailable."""
        if self._seal is None:
            self._seal = LineageSeal(await self.find_key())
        return self._seal


async def get_lineage_key(conn: Connection) -> bytes:
    """The installation's key, of 32 bytes. It never changes: entries signed with another would be foreign ones."""
    key: bytes = await conn.fetchval("SELECT lineage_key FROM penstock.installation")
    return key
