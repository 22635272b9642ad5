"""Lists over a search are found chunk by chunk by schedulers: what was there when they began, each thing once."""

from uuid import UUID

from penstock.db import Record
from penstock.domain.schedule import ScheduleFilter
from penstock.runs.schedule.interventions import end_lists
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House

TYPES = """
type: thing
fields: {name: text, remaining: number}
privacy:
  - name: own
    when: {created_by: "${user._id}"}
    find: true
    view: [name]
  - everyone: {find: false, view: []}
"""
APP = """
workflow: parent
parameters: {label: text}
steps:
  - id: list
    schedule_list: item
    over: {find: thing, where: {name: wanted}}
    with: {name: "${item.name}", left: "${item.remaining}", label: "${params.label} ${string(index)}"}
    then: report
    then_with: {total: "${list.total}", done: "${list.succeeded}"}
  - return: {list: "${steps.list}"}
---
workflow: item
parameters: {name: text, left: {type: number, optional: true}, label: text}
steps:
  - return: {label: "${params.label}"}
---
workflow: report
parameters: {total: number, done: number}
steps:
  - return: {total: "${params.total}", done: "${params.done}"}
---
workflow: broken
steps:
  - id: list
    schedule_list: item
    over: {find: thing, where: {name: wanted}}
    with: {name: "${item.name}", label: "${item.remaining > 1100 ? d(item.name).format('%Y') : 'x'}"}
  - return: {list: "${steps.list}"}
"""


async def fill(house: House, count: int, *, name: str = "wanted", by: str | None = None, first: int = 1) -> None:
    """Things as if they had been created one after the other, a while ago."""
    await house.fetch(
        f"""
        INSERT INTO {ENVIRONMENT}.thing (_id, created_date, modified_date, created_by, name, remaining)
        SELECT lpad(n::text, 13, '0') || 'x' || lpad(n::text, 18, '0'),
               clock_timestamp() - interval '1 hour' + n * interval '1 ms', now(), $4, $3, n
        FROM generate_series($1::int, $2::int) n
        """,
        first,
        first + count - 1,
        name,
        by,
    )


async def look(house: House, list_id: object) -> Record:
    (row,) = await house.fetch("SELECT * FROM penstock.lists WHERE id = $1", UUID(str(list_id)))
    return row


async def is_in(house: House, list_id: object, state: str) -> bool:
    row = await look(house, list_id)
    return str(row["state"]) == state


async def test_what_was_there_when_the_list_began_is_found_once(house: House) -> None:
    await house.deploy(APP)
    await fill(house, 2300)
    await fill(house, 10, name="other", first=5000)
    async with house.executor():
        parent = await house.perform("parent", {"label": "no."})
    began = await look(house, parent["result"]["list"])
    assert (began["total"], began["state"]) == (2300, "expanding")
    assert await house.fetchval("SELECT count(*) FROM penstock.list_chunks") == 1
    await house.fetch(f"DELETE FROM {ENVIRONMENT}.thing WHERE remaining BETWEEN 1500 AND 1599")
    await house.fetch(f"DELETE FROM {ENVIRONMENT}.thing WHERE remaining <= 10")  # found already
    await house.fetch(
        f"""
        INSERT INTO {ENVIRONMENT}.thing (_id, created_date, modified_date, name, remaining)
        SELECT n || 'xlater', clock_timestamp(), now(), 'wanted', n FROM generate_series(1, 50) n
        """
    )
    async with house.services(schedulers=2):
        await eventually(lambda: is_in(house, began["id"], "finished"), within=60)
        await eventually(lambda: house.fetch("SELECT FROM penstock.runs WHERE workflow = 'report'"))
    ended = await look(house, began["id"])
    assert (ended["total"], ended["succeeded"], ended["passed_over"]) == (2300, 2200, 100)
    rows = await house.fetch(
        "SELECT parameters->>'left' AS left, result->>'label' AS label FROM penstock.runs WHERE list_id = $1",
        began["id"],
    )
    left = [*range(1, 1500), *range(1600, 2301)]
    assert sorted(int(row["left"]) for row in rows) == left
    assert {row["label"] for row in rows} == {f"no. {index}" for index in range(2200)}
    assert await house.fetch("SELECT FROM penstock.list_searches") == []


async def test_a_search_finds_what_its_user_may_see_and_can_be_given_up(house: House) -> None:
    await house.deploy(APP, types=TYPES)
    user = "1700000000000x1"
    await house.fetch(
        f"""INSERT INTO {ENVIRONMENT}."user" (_id, created_date, modified_date, email)
            VALUES ($1, now(), now(), 'a@example.com')""",
        user,
    )
    await fill(house, 1200, by=user)
    await fill(house, 1200, first=3000)
    (run,) = await house.admit("parent", {"label": ""}, context={"user": {"_id": user}})
    async with house.executor():
        await house.publisher.dispatch([run])
        parent = await house.ended(run.id)
    list_id = UUID(str(parent["result"]["list"]))
    assert (await look(house, list_id))["total"] == 1200
    given_up = await house.database.in_transaction(
        lambda conn: end_lists(conn, of=ScheduleFilter(ENVIRONMENT, list_id=list_id))
    )
    assert given_up == 1200
    async with house.executor():
        await house.publisher.dispatch(await house.admit("parent", {"label": ""}, context={"user": {"_id": user}}))
        await eventually(lambda: house.fetch("SELECT FROM penstock.lists OFFSET 1"))
    async with house.services():
        await eventually(lambda: house.fetch("SELECT FROM penstock.lists WHERE state = 'finished' OFFSET 1"), within=60)
    rows = await house.fetch("SELECT parameters->'left' AS left FROM penstock.runs WHERE list_id IS NOT NULL")
    assert [row["left"] for row in rows] == [None] * 1200  # which the user may not see
    first, second = await house.fetch("SELECT * FROM penstock.lists ORDER BY created_at")
    assert (first["given_up"], first["succeeded"], second["succeeded"], second["passed_over"]) == (1200, 0, 1200, 0)


async def test_an_item_whose_parameters_cannot_be_made_fails_the_list_and_is_named(house: House) -> None:
    await house.deploy(APP)
    await fill(house, 1200)
    async with house.services():
        parent = await house.perform("broken")
        await eventually(lambda: is_in(house, parent["result"]["list"], "failed"), within=60)
    row = await look(house, parent["result"]["list"])
    assert "failed: item 1100 of the list: " in row["error"]["message"]
    assert await house.fetch("SELECT FROM penstock.list_searches") == []
