"""A type with every kind of field, and how these tests export and import things of it."""

from collections.abc import AsyncIterator
from typing import TypedDict, Unpack
from uuid import UUID, uuid4

from pydantic import JsonValue

from penstock.db import Database
from penstock.things.exports import ExportRequest, export_things
from penstock.things.imports.importing import ImportRequest, ImportResult, import_things
from penstock.things.tabular import Format
from tests.factories import build_type
from tests.integration.executing import ENVIRONMENT

BLOCKED = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
EVERYTHING = build_type(
    "order",
    {
        "number": "text", "total": "number", "Paid?": "boolean", "placed": "date", "customer": "user",
        "tags": "list of text",
        "sizes": "list of number", "days": "list of date", "place": "geographic address", "ways": "list of geographic "
                                                                                                  "address",
        "invoice": "file", "price $1": "number",
    },
    unique=(("number",),),
)  # fmt: skip
VALUES: dict[str, JsonValue] = {
    "number": 'a "quoted",\r\nnumber\n', "total": 19.99, "Paid?": False, "placed": "2022-12-22T09:45:37.369Z",
    "customer": "1700000000000x123456789012345678", "tags": ["a,b", '"', ""], "sizes": [1, 2.5],
    "days": ["2022-12-22T00:00:00.000Z"],
    "place": {"address": "Straße 1, \\N"}, "ways": [{"lat": 1, "lng": 2.5}], "invoice": "https://example.com/a,b.pdf",
    "price $1": 5,
}  # fmt: skip


async def export(
    database: Database,
    *,
    format: Format = "csv",
    environment: str = ENVIRONMENT,
    where: object = None,
    is_raw: bool = False,
) -> bytes:
    """All orders that match, as a file."""
    pieces = list[bytes]()

    async def write(piece: bytes) -> None:
        pieces.append(piece)

    condition = where if isinstance(where, dict | list) else None
    request = ExportRequest(environment, EVERYTHING, format, condition, is_raw)
    await export_things(database, request, write=write, seconds=30)
    return b"".join(pieces)


class Options(TypedDict, total=False):
    """What an import of these tests may set; see `ImportRequest`."""

    id: UUID
    format: Format
    upsert: tuple[str, ...]
    tries_again: frozenset[int]
    is_raw: bool


async def import_orders(
    database: Database, content: bytes, *, size: int = 1000, **options: Unpack[Options]
) -> ImportResult:
    """Import `content` as orders, in pieces of `size` bytes."""

    async def pieces() -> AsyncIterator[bytes]:
        for first in range(0, len(content), size):
            yield content[first : first + size]

    given: Options = {"id": uuid4(), "format": "csv", **options}
    request = ImportRequest(environment=ENVIRONMENT, data_type=EVERYTHING, source="test", **given)
    return await import_things(database, request, pieces())


async def numbers(database: Database) -> list[tuple[str, object]]:
    """Number and total of all orders, in their order."""
    async with database.connection() as conn:
        rows = await conn.fetch(f'SELECT number, total FROM {ENVIRONMENT}."order" ORDER BY created_date, "_id"')
    return [(row["number"], row["total"]) for row in rows]
