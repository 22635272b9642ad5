"""A run waits for the ends of others: it is woken once, with true counts, and holds nothing meanwhile."""

from itertools import pairwise
from uuid import UUID

import pytest
from pydantic import JsonValue

from penstock.db import Record
from penstock.domain.schedule import ScheduleFilter
from penstock.runs.cancellations import cancel_runs
from penstock.runs.schedule.interventions import end_lists
from penstock.runs.views.runs import find_run
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House
from tests.integration.flow.ledger import Ledger

LOCAL = "127.0.0.0/8"
COUNTS: dict[str, JsonValue] = dict.fromkeys(("succeeded", "failed", "cancelled", "terminated", "skipped"), 0)
ITEM = """
workflow: item
parameters: {number: number}
when: params.number != 3
steps:
  - fail: odd
    when: params.number % 2 == 1
  - return: {number: "${params.number}"}
"""


async def joined(house: House, workflows: str, *, schedulers: int = 1) -> Record:
    """The row of the run of `parent`, once it has ended."""
    await house.deploy(workflows)
    async with house.services(schedulers=schedulers):
        return await house.perform("parent")


async def test_a_run_waits_for_a_list(house: House) -> None:
    row = await joined(
        house,
        f"""{ITEM}
---
workflow: parent
steps:
  - id: list
    schedule_list: item
    over: "${{map([1..7], #)}}"
    with: {{number: "${{item}}"}}
  - id: all
    wait_for_runs: "${{steps.list}}"
  - return: {{all: "${{steps.all}}"}}
""",
        schedulers=2,
    )
    assert row["error"] is None
    assert row["result"]["all"] == {
        **COUNTS, "total": 7, "succeeded": 3, "failed": 3, "skipped": 1,
        "results": [None, {"number": 2}, None, {"number": 4}, None, {"number": 6}, None],
    }  # fmt: skip


async def test_a_run_waits_for_runs_that_it_has_just_scheduled(house: House) -> None:
    row = await joined(
        house,
        f"""{ITEM}
---
workflow: parent
steps:
  - {{id: one, schedule: item, with: {{number: 1}}}}
  - {{id: two, schedule: item, with: {{number: 2}}}}
  - id: all
    wait_for_runs: "${{[steps.two, steps.one]}}"
  - return: {{all: "${{steps.all}}", failed: "${{steps.all.failed}}"}}
""",
    )
    assert row["result"]["all"] == {
        **COUNTS, "total": 2, "succeeded": 1, "failed": 1, "results": [{"number": 2}, None],
    }  # fmt: skip
    assert await house.fetch("SELECT * FROM penstock.joins") == []
    assert await house.fetch("SELECT * FROM penstock.ends") == []


@pytest.mark.parametrize("given", ['"${[]}"', '"${null}"'])
async def test_for_nothing_there_is_nothing_to_wait(house: House, given: str) -> None:
    row = await joined(
        house,
        f"""
workflow: parent
steps:
  - id: all
    wait_for_runs: {given}
  - return: {{all: "${{steps.all}}"}}
""",
    )
    assert row["result"]["all"] == {**COUNTS, "total": 0, "results": []}


async def test_an_id_of_nothing_fails_the_step(house: House) -> None:
    missing = UUID(int=7)
    row = await joined(house, f'workflow: parent\nsteps: [{{wait_for_runs: "{missing}"}}]')
    assert (row["state"], row["error"]["kind"]) == ("failed", "unknown_run")
    assert f"{ENVIRONMENT} has no run or list {missing}" in row["error"]["message"]


async def test_a_run_cannot_wait_for_itself(house: House) -> None:
    row = await joined(house, 'workflow: parent\nsteps: [{wait_for_runs: "${run.id}"}]')
    assert "cannot wait for its own end" in row["error"]["message"]


SLOW = """
workflow: slow
parameters: {{}}
steps:
  - http: "{url}/?key=slow"
---
workflow: parent
steps:
  - {{id: child, schedule: slow}}
  - id: all
    wait_for_runs: "${{steps.child}}"
    {timeout}
  - return: {{all: "${{steps.all}}"}}
"""


async def test_it_says_what_it_waits_for_and_is_woken_by_a_cancellation(house: House, ledger: Ledger) -> None:
    ledger.open.clear()
    await house.deploy(SLOW.format(url=ledger.url, timeout=""))
    async with house.services(outgoing_allow=LOCAL):
        parent = await house.start("parent")
        await house.ended(parent, "waiting")
        async with house.database.connection() as conn:
            seen = await find_run(conn, run_id=parent)
        assert seen is not None
        assert seen.waiting_for is not None
        assert seen.waiting_for.reason == "runs"
        await eventually(lambda: ledger.calls == 1)
        child = (await house.fetch("SELECT id FROM penstock.runs WHERE workflow = 'slow'"))[0]["id"]
        await house.database.in_transaction(
            lambda conn: cancel_runs(conn, environment=ENVIRONMENT, run_ids=[child], by="a test")
        )
        row = await house.ended(parent)
    assert row["result"]["all"] == {**COUNTS, "total": 1, "cancelled": 1, "results": [None]}


async def test_after_its_timeout_the_answer_is_null(house: House, ledger: Ledger) -> None:
    ledger.open.clear()
    await house.deploy(SLOW.format(url=ledger.url, timeout="timeout: 300ms"))
    async with house.services(outgoing_allow=LOCAL):
        row = await house.ended(await house.start("parent"))
        assert row["result"] == {"all": None}
        ledger.open.set()


async def test_sequential_items_follow_one_another_at_once(house: House) -> None:
    await house.deploy("""
workflow: step
parameters: {number: number}
steps: [{create: thing, set: {name: "step", remaining: "${params.number}"}}]
---
workflow: parent
steps:
  - id: list
    schedule_list: step
    over: "${map([1..40], #)}"
    with: {number: "${item}"}
    sequential: true
  - id: all
    wait_for_runs: "${steps.list}"
  - return: {all: "${steps.all.succeeded}"}
""")
    async with house.services(schedulers=2):
        parent = await house.start("parent")
        await eventually(lambda: _has_things(house, 40), within=60)
        row = await house.ended(parent)
    assert row["result"] == {"all": 40}
    assert [thing["remaining"] for thing in await house.things()] == list(range(1, 41))
    runs = await house.fetch(
        "SELECT started_at, finished_at FROM penstock.runs WHERE workflow = 'step' ORDER BY started_at"
    )
    assert all(after["started_at"] >= before["finished_at"] for before, after in pairwise(runs))


async def _has_things(house: House, count: int) -> bool:
    return len(await house.things()) == count


async def test_a_list_whose_rest_is_given_up_is_finished_without_it(house: House, ledger: Ledger) -> None:
    ledger.open.clear()
    await house.deploy(f"""
workflow: slow
steps: [{{http: "{ledger.url}/?key=slow"}}]
---
workflow: parent
steps:
  - {{id: list, schedule_list: slow, over: "${{map([1..9], #)}}", sequential: true}}
  - id: all
    wait_for_runs: "${{steps.list}}"
  - return: {{total: "${{steps.all.total}}", succeeded: "${{steps.all.succeeded}}"}}
""")
    async with house.services(outgoing_allow=LOCAL):
        parent = await house.start("parent")
        await eventually(lambda: ledger.calls == 1, within=30)
        list_id = (await house.fetch("SELECT id FROM penstock.lists"))[0]["id"]
        given_up = await house.database.in_transaction(
            lambda conn: end_lists(conn, of=ScheduleFilter(ENVIRONMENT, list_id=list_id))
        )
        ledger.open.set()
        await eventually(lambda: _has_ended(house, parent), within=30)
        row = await house.ended(parent)
    assert (given_up, row["result"]) == (8, {"total": 9, "succeeded": 1})


async def _has_ended(house: House, run_id: UUID) -> bool:
    return (await house.get(run_id))["finished_at"] is not None
