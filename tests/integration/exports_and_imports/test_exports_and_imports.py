"""Things out of the database and into it as CSV and JSON lines: round trips, bad lines, and that nothing is imported
twice."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import pytest
from pydantic import JsonValue

from penstock.db import Database
from penstock.domain.callers import admin_user_id
from penstock.errors import DatabaseUnavailable, Permanent
from penstock.things.imports.importing import BATCH_ROWS, ImportRequest, import_things
from penstock.things.records import create_things
from penstock.things.tabular import Format
from tests.factories import build_thing
from tests.integration.executing import ENVIRONMENT
from tests.integration.exports_and_imports.orders import EVERYTHING, VALUES, export, import_orders, numbers


@pytest.mark.parametrize(("format", "upsert"), [("csv", ()), ("jsonl", ()), ("csv", ("_id",)), ("jsonl", ("_id",))])
async def test_what_is_exported_can_be_imported_elsewhere_unchanged(
    orders: Database, format: Format, upsert: tuple[str, ...]
) -> None:
    things = [
        replace(build_thing(**VALUES), created_by=admin_user_id("shop", "live")),
        replace(build_thing(**dict.fromkeys(VALUES)), created_by="1700000000000x123456789012345678"),
        build_thing(number="ü", tags=[]),
    ]
    async with orders.connection() as conn:
        await create_things(conn, environment="live", data_type=EVERYTHING, things=things)
    exported = await export(orders, format=format, environment="live")
    assert exported.isascii() is False
    result = await import_orders(orders, exported, format=format, upsert=upsert)
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
    bad_lines = [n + 2 for n in range(count) if n % 1000 == 7]
    in_batches = sum(line - 2 < 2 * BATCH_ROWS for line in bad_lines)
    assert len(await numbers(orders)) == 2 * BATCH_ROWS - in_batches, "whole batches are there, and nothing else"
    for _ in range(2):
        result = await import_orders(orders, content, id=id)
        assert (result.created, result.failed) == (count - len(bad_lines), len(bad_lines))
        assert [bad.line for bad in result.bad_lines] == bad_lines
    assert await numbers(orders) == [(str(n), 1) for n in range(count) if n % 1000 != 7]
    with pytest.raises(Permanent, match="is not what the import began with"):
        await import_things(orders, ImportRequest(id, ENVIRONMENT, EVERYTHING, "csv", "another"), cut(1))


async def test_a_line_that_the_table_refuses_does_not_keep_its_batch_from_being_written(orders: Database) -> None:
    await import_orders(orders, b"number\n7\n")
    content = b"number,total\n" + b"".join(b"%d,1\n" % n for n in range(BATCH_ROWS + 100))
    result = await import_orders(orders, content)
    assert (result.created, result.failed) == (BATCH_ROWS + 99, 1)
    assert [(bad.line, bad.message) for bad in result.bad_lines] == [
        (9, "there is another thing with the same _id or number")
    ]


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
    with pytest.raises(DatabaseUnavailable, match="another executor has continued this import"):
        await import_orders(orders, b"number,total\nA,1\nB,2\nc,5\nD,4\n", id=id, tries_again=frozenset({3, 4}))
    assert len(await numbers(orders)) == 3, "line 3 is imported already"


async def test_too_many_bad_lines_end_an_import(orders: Database) -> None:
    with pytest.raises(Permanent, match="100000 lines could not be imported, which is too many to continue"):
        await import_orders(orders, b"total\n" + b"x\n" * 110_000, size=100_000)
