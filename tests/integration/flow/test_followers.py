"""What follows a list (`then`) starts once, when the last of its items has ended, with true counts."""

from contextlib import AsyncExitStack
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection, Record
from penstock.runs.cancellations import retry_runs
from penstock.runs.followers import follower_run_id
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House

APP = """
workflow: parent
parameters: {count: number, name: text, limit: {type: any, optional: true}}
steps:
  - id: about
    get: thing
    where: {name: nobody}
  - id: list
    schedule_list: item
    over: "${map([1..20], #)}"
    with: {number: "${item}", until: "${params.count}"}
    then: report
    then_with:
      name: "${params.name}"
      list_id: "${list.id}"
      failed: "${params.limit ?? list.failed}"
      said: "${list.succeeded} of ${list.total} for ${params.name}, ${steps.about == null ? 'nobody' : 'one'}"
  - return: {list: "${steps.list}"}
---
workflow: item
parameters: {number: number, until: number}
when: params.number != 20
steps:
  - when: params.number > params.until
    fail: too many
---
workflow: report
parameters: {name: text, list_id: text, failed: number, said: text}
steps:
  - return: {name: "${params.name}", list: "${params.list_id}", failed: "${params.failed}", said: "${params.said}"}
---
workflow: empty
steps:
  - id: list
    schedule_list: item
    over: []
    with: {number: 1, until: 1}
    then: report
    then_with: {name: none, list_id: "${list.id}", failed: "${list.total}", said: "${string(list.skipped)}"}
  - return: {list: "${steps.list}"}
"""


async def follow(house: House, parent: Record) -> Record:
    """The run that follows the list of this run, once it has ended."""
    run_id = follower_run_id(UUID(str(parent["result"]["list"])))

    async def look() -> Record:
        rows = await house.fetch("SELECT * FROM penstock.runs WHERE id = $1 AND finished_at IS NOT NULL", run_id)
        assert rows, "it has not ended"
        return rows[0]

    return await eventually(look, within=20)


async def count_reports(house: House) -> object:
    return await house.fetchval("SELECT count(*) FROM penstock.runs WHERE workflow = 'report'")


async def test_what_follows_a_list_starts_with_its_counts_one_below_the_scheduling_run(house: House) -> None:
    await house.deploy(APP)
    async with house.services(schedulers=2):
        parent = await house.perform("parent", {"count": 15, "name": "Ann"})
        run = await follow(house, parent)
        empty = await house.perform("empty")
        after_none = await follow(house, empty)
    assert run["result"] == {
        "name": "Ann", "list": parent["result"]["list"], "failed": 4, "said": "15 of 20 for Ann, nobody",
    }  # fmt: skip
    assert (run["depth"], run["chain_id"], run["parent_run_id"]) == (1, parent["id"], parent["id"])
    assert after_none["result"] == {"name": "none", "list": empty["result"]["list"], "failed": 0, "said": "0"}
    assert await count_reports(house) == 2


async def test_it_starts_once_though_executors_and_schedulers_die_and_items_are_retried(house: House) -> None:
    await house.deploy(APP)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(house.schedulers())
        executor = await stack.enter_async_context(house.executor(lease_seconds=3))
        run_id = await house.start("parent", {"count": 10, "name": "Ben"})
        await eventually(lambda: _has_ended(house, 3))
        await executor.kill()
        await stack.enter_async_context(house.services())
        parent = await house.ended(run_id)
        run = await follow(house, parent)
        assert run["result"]["said"] == "10 of 20 for Ben, nobody"

        async def retry(conn: Connection) -> int:
            failed = await conn.fetch("SELECT id FROM penstock.runs WHERE workflow = 'item' AND state = 'failed'")
            ids = [row["id"] for row in failed]
            return len(await retry_runs(conn, environment=ENVIRONMENT, run_ids=ids, by="a test"))

        assert await house.database.in_transaction(retry) == 9
        await eventually(lambda: _is_finished(house, run["result"]["list"]))
    assert await count_reports(house) == 1


async def _has_ended(house: House, count: int) -> bool:
    ended = await house.fetchval(
        "SELECT count(*) FROM penstock.runs WHERE workflow = 'item' AND finished_at IS NOT NULL"
    )
    return isinstance(ended, int) and ended >= count


async def _is_finished(house: House, list_id: JsonValue) -> bool:
    (row,) = await house.fetch("SELECT * FROM penstock.lists WHERE id = $1", list_id)
    return (row["state"], row["failed"]) == ("finished", 9)


async def test_one_that_cannot_start_is_reported_and_holds_up_no_other(house: House) -> None:
    await house.deploy(APP)
    async with house.services():
        refused = await house.perform("parent", {"count": 1, "name": "Cid", "limit": "none"})
        other = await house.perform("empty")
        await follow(house, other)
        await eventually(lambda: _is_refused(house, refused["id"]))
        lines = await house.logs(refused["id"])
    assert await count_reports(house) == 1
    assert any("which was to follow list" in line["message"] for line in lines), [line["message"] for line in lines]


async def _is_refused(house: House, parent_run_id: UUID) -> bool:
    query = "SELECT follower_state FROM penstock.lists WHERE parent_run_id = $1"
    return await house.fetchval(query, parent_run_id) == "refused"
