"""Things that others refer to, read by their ids, many in one statement."""

from collections.abc import Collection
from typing import Final

from penstock.db import Connection
from penstock.definitions.models import DataType
from penstock.things.json import json_of, read_thing
from penstock.things.records import Thing
from penstock.things.tables import qualified_table
from penstock.things.values import may_exist

_MAX_AT_ONCE: Final = 5_000


async def read_things(
    conn: Connection, *, environment: str, data_type: DataType, ids: Collection[str]
) -> dict[str, Thing]:
    """Those of the things with these ids that exist, by id."""
    table = qualified_table(environment, data_type.name)
    statement = f'SELECT {json_of(data_type)} AS thing FROM {table} t WHERE t."_id" = ANY($1::text[])'
    wanted = sorted({id for id in ids if may_exist(id)})
    found: dict[str, Thing] = {}
    for first in range(0, len(wanted), _MAX_AT_ONCE):
        rows = await conn.fetch(statement, wanted[first : first + _MAX_AT_ONCE])
        found |= {row["thing"]["_id"]: read_thing(data_type, row["thing"]) for row in rows}
    return found
