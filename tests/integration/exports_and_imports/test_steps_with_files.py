"""Steps that export to files and import from them, also when their executor dies or they take too long."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from pydantic import JsonValue

from penstock.things.files import Files, file_id, open_file, store_file
from penstock.things.imports.importing import BATCH_ROWS
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House, names
from tests.integration.exports_and_imports.orders import BLOCKED

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
    stored = await open_file(Files(house.database), environment=ENVIRONMENT, id=id)
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
        Files(house.database),
        environment=ENVIRONMENT,
        name="a.csv",
        content_type="text/csv",
        run_id=None,
        content=pieces(),
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
            free = "SELECT FROM penstock.runs WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED"
            assert await house.fetch(free, run_id), "its lease can be renewed while a batch is written"
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
