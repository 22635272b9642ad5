"""Things out of the database and into it as CSV and JSON lines: round trips, bad lines, and that nothing is imported
twice.
"""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from uuid import UUID, uuid4

import pytest
from pydantic import JsonValue

from penstock.db import Database
from penstock.definitions.models import DataType
from penstock.deploying import deploy
from penstock.errors import DatabaseUnavailable, Permanent
from penstock.things.exports import export_things
from penstock.things.files import file_id, open_file, store_file
from penstock.things.imports.importing import BATCH_ROWS, ImportRequest, ImportResult, import_things
from penstock.things.records import create_things
from penstock.things.tabular import Format
from tests.eventually import eventually
from tests.factories import build_app, build_thing, build_type
from tests.integration.executing import ENVIRONMENT, House, names

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


@pytest.fixture
async def orders(database: Database) -> Database:
    """A database with the type `order`, in development and live."""
    for environment in (ENVIRONMENT, "live"):
        await database.in_transaction(partial(deploy, environment=environment, app=build_app(EVERYTHING)))
    return database


async def export(
    database: Database, *, format: Format = "csv", environment: str = ENVIRONMENT, where: object = None
) -> bytes:
    """All orders that match, as a file."""
    pieces = list[bytes]()

    async def write(piece: bytes) -> None:
        pieces.append(piece)

    condition = where if isinstance(where, dict | list) else None
    await export_things(
        database, environment=environment, data_type=EVERYTHING, where=condition, format=format, write=write, seconds=30
    )
    return b"".join(pieces)


async def import_orders(
    database: Database, content: bytes, *, format: Format = "csv", upsert: tuple[str, ...] = (), id: UUID | None = None,
    environment: str = ENVIRONMENT, kind: DataType = EVERYTHING, size: int = 1000,
    tries_again: frozenset[int] = frozenset(),
) -> ImportResult:  # fmt: skip
    """Import `content` as orders."""

    async def pieces() -> AsyncIterator[bytes]:
        for first in range(0, len(content), size):
            yield content[first : first + size]

    request = ImportRequest(id or uuid4(), environment, kind, format, "test", upsert, tries_again=tries_again)
    return await import_things(database, request, pieces())


async def numbers(database: Database) -> list[tuple[str, object]]:
    """Number and total of all orders, in their order."""
    async with database.connection() as conn:
        rows = await conn.fetch(f'SELECT number, total FROM {ENVIRONMENT}."order" ORDER BY created_date, "_id"')
    return [(row["number"], row["total"]) for row in rows]


@pytest.mark.parametrize("format", ["csv", "jsonl"])
async def test_what_is_exported_can_be_imported_elsewhere_unchanged(orders: Database, format: Format) -> None:
    things = [build_thing(**VALUES), build_thing(**dict.fromkeys(VALUES)), build_thing(number="ü", tags=[])]
    async with orders.connection() as conn:
        await create_things(conn, environment="live", data_type=EVERYTHING, things=things)
    exported = await export(orders, format=format, environment="live")
    assert exported.isascii() is False
    result = await import_orders(orders, exported, format=format)
    assert (result.created, result.updated, result.failed) == (3, 0, 0), result.bad_lines
    async with orders.connection() as conn:
        columns = ", ".join(f'"{field.column}"' for field in EVERYTHING.fields)
        query = f'SELECT "_id", created_date, created_by, {columns} FROM {{}}."order" ORDER BY "_id"'
        before = [tuple(row) for row in await conn.fetch(query.format("live"))]
        after = [tuple(row) for row in await conn.fetch(query.format(ENVIRONMENT))]
        late = await conn.fetchval(f'SELECT count(*) FROM {ENVIRONMENT}."order" WHERE modified_date > created_date')
    assert after == before
    assert late == 3, "they are changed now, wherever and whenever they were created"


async def test_csv_has_a_column_for_every_field_and_only_what_matches(orders: Database) -> None:
    await import_orders(orders, b"number,total\na,1\nb,2.50\n")
    first, second, *rest = (await export(orders, where={"total": 2.5})).decode().split("\n")
    assert (
        first == "_id,Created Date,Modified Date,Created "
        "By,Slug,number,total,Paid?,placed,customer,tags,sizes,days,place,ways,invoice,price $1"
    )
    assert second.split(",")[5:7] == ["b", "2.5"]
    assert rest == [""]
    condition: JsonValue = [{"key": "number", "constraint_type": "in", "value": ["a", "$1 \\ '"]}]
    assert (await export(orders, format="jsonl", where=condition)).count(b"\n") == 1


async def test_bad_lines_are_told_and_the_others_imported_in_their_order(orders: Database) -> None:
    content = (
        b"\xef\xbb\xbfnumber;Total;price $1\r\n"
        b"a;1;\r\n"
        b"b;one;\r\n"
        b"c\r\n"
        b"\r\n"
        b"d;2;3;4\r\n"
        b"e;3;;;\r\n"
        b"a;4;\r\n"
        b"f;\x00;\r\n"
        b"\x00;5;\r\n"
        b"\xe9;6;\r\n"
        b'"g\n7\r\n'
        b"h;8;\r\n"
    )
    result = await import_orders(orders, content)
    assert await numbers(orders) == [("a", 1), ("e", 3), ("h", 8)]
    assert (result.created, result.failed) == (3, 9)
    assert [(bad.line, bad.message) for bad in result.bad_lines] == [
        (3, "field 'total': expected a number, got text"),
        (4, "it has 1 cells, and the first line names 3"),
        (6, "it has 4 cells, and the first line names 3"),
        (8, "there is another thing with the same _id or number"),
        (9, "field 'total': expected a number, got text"),
        (10, "field 'number': the text holds a character that cannot be stored (NUL or half of a surrogate pair)"),
        (11, "it is not UTF-8 text; save the file as UTF-8"),
        (12, "a quote that is opened in it is not closed"),
        (13, "it has 1 cells, and the first line names 3"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty; its first line has to name the fields"),
        (b"\n\n", "the file is empty; its first line has to name the fields"),
        (
            b"numbr,total\n",
            "type 'order' has no field 'numbr'; did you mean 'number'?; known are number, total, Paid?, placed,",
        ),
        (b"number,\n", "column 2 has no name in the first line; it has to name a field"),
        (b"number,Number\n", "the field 'number' is named twice in the first line"),
        (
            b'"number\n',
            "the first line, which names the fields, cannot be read: a quote that is opened in it is not closed",
        ),
        (
            b"n\xfcmber\n",
            "the first line, which names the fields, cannot be read: it is not UTF-8 text; save the file as UTF-8",
        ),
        ("number\n".encode("utf-16-le"), "cannot be read: it is not UTF-8 text; save the file as UTF-8"),
        ("number\n".encode("utf-16"), "the file cannot be read: it is not UTF-8 text; save the file as UTF-8"),
    ],
)
async def test_a_file_that_cannot_be_read_is_refused_with_what_is_wrong(
    orders: Database, content: bytes, message: str
) -> None:
    with pytest.raises(Permanent) as caught:
        await import_orders(orders, content)
    assert message in str(caught.value)


async def test_a_header_alone_imports_nothing(orders: Database) -> None:
    result = await import_orders(orders, b"number,total")
    assert (result.created, result.updated, result.failed, result.bad_lines) == (0, 0, 0, [])


async def test_bad_json_lines_are_told(orders: Database) -> None:
    content = b'{"number": "a", "total": 1}\n[1]\n{"number": 5}\n{"numbr": "x"}\n{\n\n{"Number": "b", "tags": []}\n'
    result = await import_orders(orders, content, format="jsonl")
    assert await numbers(orders) == [("a", 1), ("b", None)]
    messages = {bad.line: bad.message for bad in result.bad_lines}
    assert list(messages) == [2, 3, 4, 5]
    assert messages[2] == "expected an object of fields and values, got list"
    assert messages[3] == "field 'number': expected text, got number"
    assert messages[4].startswith("type 'order' has no field 'numbr'; did you mean 'number'?; known are number, total")
    assert messages[5].startswith("it is not JSON: ")


async def test_an_upsert_changes_what_exists_and_leaves_what_is_not_named(orders: Database) -> None:
    await import_orders(orders, b"number,total,placed\na,1,2020-01-01\nb,2,2020-01-01\n")
    result = await import_orders(orders, b"number,total\nb,\nc,3\nc,4\n,5\n,6\n", upsert=("number",))
    assert (result.created, result.updated, result.failed) == (3, 2, 0)
    assert await numbers(orders) == [("a", 1), ("b", None), ("c", 4), (None, 5), (None, 6)]
    async with orders.connection() as conn:
        kept = await conn.fetchrow(
            f"""SELECT placed, modified_date > created_date FROM {ENVIRONMENT}."order" WHERE number = 'b'"""
        )
    assert kept is not None
    assert (kept[0].year, kept[1]) == (2020, True)


async def test_an_upsert_by_id_brings_a_table_back(orders: Database) -> None:
    await import_orders(orders, b"number,total\na,1\nb,2\n")
    exported = await export(orders)
    async with orders.connection() as conn:
        await conn.execute(f"""DELETE FROM {ENVIRONMENT}."order" WHERE number = 'a'""")
        await conn.execute(f"""UPDATE {ENVIRONMENT}."order" SET total = 9""")
    refused = await import_orders(orders, exported)
    assert (refused.created, [bad.line for bad in refused.bad_lines]) == (1, [3])
    result = await import_orders(orders, exported, upsert=("_id",))
    assert (result.created, result.updated) == (0, 2)
    assert await numbers(orders) == [("a", 1), ("b", 2)]
    clash = await import_orders(orders, exported.replace(b",a,1", b",b,1"), upsert=("_id",))
    assert (clash.updated, [(bad.line, bad.message) for bad in clash.bad_lines]) == (
        1,
        [(2, "Key (number)=(b) already exists.")],
    )


@pytest.mark.parametrize(
    ("upsert", "content", "message"),
    [
        (
            ("total",),
            b"total\n",
            "upsert by total: type 'order' needs these fields as one entry of `unique` (it has: number)",
        ),
        (("number",), b"total\n", "the upsert by number needs the column 'number' in the first line"),
    ],
)
async def test_an_upsert_that_cannot_be_is_refused(
    orders: Database, upsert: tuple[str, ...], content: bytes, message: str
) -> None:
    with pytest.raises(Permanent) as caught:
        await import_orders(orders, content, upsert=upsert)
    assert message in str(caught.value)


class Broken(Exception):
    """The source ended where it should not."""


async def test_an_import_that_was_interrupted_goes_on_behind_its_last_batch(orders: Database) -> None:
    count = 2 * BATCH_ROWS + 500
    content = b"number,total\n" + b"".join(b"%d,%s\n" % (n, b"x" if n % 1000 == 7 else b"1") for n in range(count))
    id = uuid4()

    async def cut(at: int) -> AsyncIterator[bytes]:
        yield content[:at]
        raise Broken

    for at in (len(content) // 2, len(content) * 3 // 4, len(content)):
        with pytest.raises(Broken):
            await import_things(orders, ImportRequest(id, ENVIRONMENT, EVERYTHING, "csv", "test"), cut(at))
    assert len(await numbers(orders)) == 2 * BATCH_ROWS - 4, "whole batches are there, and nothing else"
    for _ in range(2):
        result = await import_orders(orders, content, id=id)
        assert (result.created, result.failed, [bad.line for bad in result.bad_lines]) == (
            count - 5,
            5,
            [9, 1009, 2009, 3009, 4009],
        )
    assert await numbers(orders) == [(str(n), 1) for n in range(count) if n % 1000 != 7]
    with pytest.raises(Permanent, match="is not what the import began with"):
        await import_things(orders, ImportRequest(id, ENVIRONMENT, EVERYTHING, "csv", "another"), cut(1))


async def test_two_who_import_the_same_do_not_import_it_twice(orders: Database) -> None:
    content = b"total\n" + b"1\n" * (3 * BATCH_ROWS)
    id = uuid4()
    await asyncio.gather(*(import_orders(orders, content, id=id) for _ in range(3)), return_exceptions=True)
    result = await import_orders(orders, content, id=id)
    assert result.created == len(await numbers(orders)) == 3 * BATCH_ROWS


async def test_lines_that_were_corrected_are_imported_and_no_others(orders: Database) -> None:
    id = uuid4()
    await import_orders(orders, b"number,total\na,1\nb,x\nc,y\nd,4\n", id=id)
    fixed = b"number,total\nA,1\nb,2\nc,y\nD,4\n"
    result = await import_orders(orders, fixed, id=id, tries_again=frozenset({3, 4}))
    assert (result.created, result.failed, [bad.line for bad in result.bad_lines]) == (3, 1, [4])
    assert sorted(await numbers(orders)) == [("a", 1), ("b", 2), ("d", 4)]
    with pytest.raises(DatabaseUnavailable, match="somebody else goes on with this import"):
        await import_orders(orders, b"number,total\nA,1\nB,2\nc,5\nD,4\n", id=id, tries_again=frozenset({3, 4}))
    assert len(await numbers(orders)) == 3, "line 3 is imported already, whoever believes that it is not"


async def test_too_many_bad_lines_end_an_import(orders: Database) -> None:
    with pytest.raises(Permanent, match="100000 lines could not be imported, which is too many to go on"):
        await import_orders(orders, b"total\n" + b"x\n" * 110_000, size=100_000)


WORKFLOWS = """
workflow: fill
parameters: {from: any, format: {type: text, optional: true}}
steps:
  - id: done
    import: thing
    from: "${params.from}"
    format: "${params.format}"
  - return: {done: "${steps.done}"}
---
workflow: export
parameters: {format: {type: text, optional: true}}
steps:
  - id: file
    export: thing
    where: {remaining: 1}
    format: "${params.format}"
    name: "things of ${run.workflow}.csv"
  - return: {file: "${steps.file}"}
---
workflow: copy
steps:
  - id: file
    export: thing
  - delete_many: thing
    where: {}
  - id: done
    import: thing
    from: "${steps.file}"
    upsert: [code]
  - return: {done: "${steps.done}"}
"""


async def test_steps_export_to_a_file_and_import_from_it(house: House) -> None:
    await house.deploy(WORKFLOWS)
    async with house.executor():
        filled = await house.perform("fill", {"from": "name,remaining,code\na,1,x\nb,none,y\nc,1,z\n"})
        exported = await house.perform("export")
        lines = await house.perform("export", {"format": "jsonl"})
        copied = await house.perform("copy")
        again = await house.perform("fill", {"from": lines["result"]["file"]["file"], "format": "jsonl"})
    assert filled["result"]["done"] == {
        "created": 2, "updated": 0, "failed": 1,
        "bad_lines": [{"line": 3, "message": "field 'remaining': expected a number, got text"}],
    }  # fmt: skip
    value = exported["result"]["file"]
    assert (value["name"], value["content_type"]) == ("things of export.csv", "text/csv")
    id = file_id(value)
    assert id is not None
    stored = await open_file(house.database, environment=ENVIRONMENT, id=id)
    assert stored is not None
    content = b"".join([chunk async for chunk in stored])
    assert (len(content), content.count(b"\n")) == (value["size"], 3)
    assert copied["result"]["done"]["created"] == 2
    assert again["result"]["done"]["failed"] == 2, "they are there already"
    assert names(await house.things()) == ["a", "c"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"from": str(UUID(int=5))},
            "there is no file 00000000-0000-0000-0000-000000000005 in development; files are kept for seven days",
        ),
        ({"from": 5}, "`from` has to be a file, the id of a file, or text, and it is number"),
        ({"from": "nam\na\n"}, "type 'thing' has no field 'nam'; did you mean 'name'?"),
        ({"from": ""}, "the file is empty; its first line has to name the fields"),
        ({"from": "name\na\n", "format": "xlsx"}, "`format` has to be csv or jsonl, not 'xlsx'"),
    ],
)
async def test_what_cannot_be_imported_fails_the_step(house: House, given: dict[str, JsonValue], message: str) -> None:
    await house.deploy(WORKFLOWS)
    async with house.executor():
        run = await house.perform("fill", given)
    assert run["state"] == "failed"
    assert message in run["error"]["message"]
    assert await house.things() == []


async def test_an_executor_killed_in_the_middle_of_an_import_imports_nothing_twice(house: House) -> None:
    await house.deploy(WORKFLOWS)
    count = 3 * BATCH_ROWS
    rows = b"name,code\n" + b"".join(b"n%d,c%d\n" % (n, n) for n in range(count))

    async def pieces() -> AsyncIterator[bytes]:
        yield rows

    value = await store_file(
        house.database, environment=ENVIRONMENT, name="a.csv", content_type="text/csv", run_id=None, content=pieces()
    )
    async with house.database.connection() as conn, conn.transaction():
        # The code of a thing in the second batch, not committed: the import waits there.
        insert = (
            f'INSERT INTO {ENVIRONMENT}.thing ("_id", created_date, modified_date, code) VALUES ($1, now(), now(), $2)'
        )
        await conn.execute(insert, "1x1", f"c{BATCH_ROWS + 10}")
        async with house.executor() as executor:
            run_id = await house.start("fill", {"from": value.to_json()})
            await eventually(lambda: house.fetch(BLOCKED))
            await executor.kill()
        assert len(await house.things()) == BATCH_ROWS
        await conn.execute(
            f"DELETE FROM {ENVIRONMENT}.thing WHERE code = $1 AND \"_id\" = '1x1'", f"c{BATCH_ROWS + 10}"
        )
    async with house.executor():
        await house.publisher.dispatch(await house.summaries(run_id))
        ended = await house.ended(run_id)
    assert ended["result"]["done"] == {"created": count, "updated": 0, "failed": 0, "bad_lines": []}
    assert names(await house.things()) == [f"n{n}" for n in range(count)]


async def test_an_export_that_takes_too_long_is_given_up_and_leaves_everything_usable(house: House) -> None:
    await house.deploy("""
workflow: slow
steps: [{id: file, export: thing, timeout: 300ms, on_error: continue}, {return: {error: "${steps.file.error.kind}"}}]
---
workflow: fill
steps: [{create: thing, set: {name: a}}, {id: file, export: thing}, {return: {size: "${steps.file.size}"}}]
""")
    async with house.executor():
        async with house.database.connection() as conn, conn.transaction():
            await conn.execute(f"LOCK TABLE {ENVIRONMENT}.thing IN ACCESS EXCLUSIVE MODE")
            slow = await house.perform("slow")
        runs = [await house.perform("fill") for _ in range(3)]
    assert slow["result"] == {"error": "timeout"}
    assert [run["state"] for run in runs] == ["succeeded"] * 3
    assert await house.fetch("SELECT FROM penstock.files WHERE size IS NULL"), "nobody sees the file that was begun"
