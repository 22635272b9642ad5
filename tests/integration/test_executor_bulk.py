"""Steps on many things at once: what they change, what they refuse, and that a retry never repeats them."""

import asyncio
from datetime import timedelta
from functools import partial

import pytest
from pydantic import JsonValue

from penstock.db import Record
from penstock.errors import LeaseLost
from penstock_executor.actions.create_many import CreateMany
from penstock_executor.holding.leases import Lease
from penstock_executor.repository.claims import claim_runs
from penstock_executor.repository.commits import record_steps
from penstock_executor.repository.held_runs import hold_runs
from penstock_executor.runs import ClaimedRun, Commit, StepRecord
from penstock_executor.writing.commits import Commits
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House, names

BLOCKED = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
THINGS = """
workflow: fill
parameters: {items: list of text}
steps:
  - id: made
    create_many: thing
    from: "${params.items}"
    set: {name: "${item}", remaining: "${index}", tags: ["${item}", all], code: "${item == 'b' ? null : item}"}
  - return: {ids: "${steps.made}"}
"""


async def perform(house: House, step: str, *, items: list[str] | None = None) -> Record:
    """A run that makes things of `items` and then performs `step`, the text of one step without its dash; it returns
    the result.
    """
    body = "\n".join(f"    {line}" for line in step.strip().splitlines())
    head = "workflow: act\nparameters: {any: {type: any, optional: true, default: many}}"
    workflow = f"{head}\nsteps:\n  - id: done\n{body}\n  - return: {{result: '${{steps.done}}'}}"
    await house.deploy(f"{THINGS}---\n{workflow}")
    async with house.executor():
        if items is not None:
            await house.perform("fill", {"items": list(items)})
        return await house.perform("act")


def result(run: Record) -> object:
    """What the step gave; the run has to have succeeded."""
    assert run["state"] == "succeeded", run["error"]
    return run["result"]["result"]


async def test_a_thing_is_made_of_each_item_and_the_ids_are_in_their_order(house: House) -> None:
    await house.deploy(THINGS)
    async with house.executor():
        run = await house.perform("fill", {"items": ["c", "a", "b"]})
    things = await house.things()
    assert names(things) == ["c", "a", "b"], "the default order of things is that of the list"
    assert run["result"]["ids"] == [thing["_id"] for thing in things]
    assert [(thing["remaining"], thing["tags"], thing["code"]) for thing in things] == [
        (0, ["c", "all"], "c"), (1, ["a", "all"], "a"), (2, ["b", "all"], None),
    ]  # fmt: skip
    assert len({(thing["created_date"], thing["modified_date"]) for thing in things}) == 1
    assert (await house.steps(run["id"]))["made"]["result"] == run["result"]["ids"]


async def test_no_items_make_nothing(house: House) -> None:
    await house.deploy(THINGS)
    async with house.executor():
        assert (await house.perform("fill", {"items": []}))["result"] == {"ids": []}
    assert await house.things() == []


async def test_more_things_than_one_statement_takes(house: House) -> None:
    await house.deploy("""
workflow: many
parameters: {items: list of number}
steps:
  - id: made
    create_many: thing
    from: "${params.items}"
    set: {remaining: "${item}"}
""")
    async with house.executor():
        await house.perform("many", {"items": list(range(12_001))})
    assert [thing["remaining"] for thing in await house.things()] == list(range(12_001))


@pytest.mark.parametrize(
    ("set_", "items", "kind", "message"),
    [
        (
            "{remaining: '${item}'}",
            ["1", "x"],
            "invalid_value",
            "item 0 of the list: field 'remaining' of type 'thing': expected a number",
        ),
        ("{remaining: '${item.missing + index}'}", ["1"], "expression", "item.missing"),
        ("{code: same}", ["1", "2"], "unique", "the values are not unique: Key (code)=(same) already exists"),
    ],
)
async def test_one_bad_item_and_nothing_is_made(
    house: House, set_: str, items: list[str], kind: str, message: str
) -> None:
    await house.deploy(
        f"workflow: fill\nparameters: {{items: any}}\nsteps:\n"
        f"  - create_many: thing\n    from: '${{params.items}}'\n    set: {set_}\n"
    )
    async with house.executor():
        run = await house.perform("fill", {"items": list(items)})
    assert (run["state"], run["error"]["kind"]) == ("failed", kind)
    assert message in run["error"]["message"]
    assert await house.things() == []


async def test_what_is_no_list_is_refused(house: House) -> None:
    await house.deploy(
        "workflow: fill\nparameters: {items: any}\nsteps: [{create_many: thing, from: '${params.items}', set: {name: "
        "x}}]"
    )
    async with house.executor():
        run = await house.perform("fill", {"items": "a"})
    assert "`from` has to be a list, and it is text" in run["error"]["message"]


async def test_all_things_that_match_are_changed_and_dated(house: House) -> None:
    step = """
update_many: thing
where: [{key: remaining, constraint_type: greater than, value: 0}]
set: {name: "${'x' + run.workflow}", tags: null}
"""
    assert result(await perform(house, step, items=["a", "b", "c"])) == 2
    first, *others = await house.things()
    assert (first["name"], first["tags"], first["modified_date"]) == ("a", ["a", "all"], first["created_date"])
    assert [(thing["name"], thing["tags"], thing["modified_date"] > thing["created_date"]) for thing in others] == [
        ("xact", None, True)
    ] * 2
    assert len({thing["modified_date"] for thing in others}) == 1, "one moment for all"


async def test_an_empty_where_means_all_things(house: House) -> None:
    assert result(await perform(house, "update_many: thing\nwhere: {}\nset: {name: same}", items=["a", "b"])) == 2
    assert names(await house.things()) == ["same", "same"]


async def test_all_things_that_match_are_deleted(house: House) -> None:
    assert result(await perform(house, "delete_many: thing\nwhere: {tags: [b, all]}", items=["a", "b", "c"])) == 1
    assert names(await house.things()) == ["a", "c"]


async def test_things_are_counted(house: House) -> None:
    assert result(await perform(house, "count: thing", items=["a", "b", "c"])) == 3
    assert result(await perform(house, "count: thing\nwhere: {name: b}")) == 1


async def test_values_that_are_not_unique_change_nothing(house: House) -> None:
    run = await perform(house, "update_many: thing\nwhere: {}\nset: {code: same}", items=["a", "b"])
    assert (run["state"], run["error"]["kind"]) == ("failed", "unique")
    assert "Key (code)=(same) already exists" in run["error"]["message"]
    assert [thing["code"] for thing in await house.things()] == ["a", None]


async def test_a_value_that_does_not_fit_is_refused_with_its_field(house: House) -> None:
    run = await perform(house, "update_many: thing\nwhere: {}\nset: {remaining: '${params.any}'}", items=["a"])
    assert run["error"]["message"] == "field 'remaining' of type 'thing': expected a number, got text"


async def test_figures_by_group(house: House) -> None:
    await perform(house, "update_many: thing\nwhere: {remaining: 3}\nset: {name: a}", items=["a", "b", "c", "d"])
    step = "aggregate: thing\nby: name\nsum: remaining\nmin: [remaining, name]\nmax: Created Date\navg: remaining"
    rows = result(await perform(house, step))
    assert isinstance(rows, list)
    assert [{name: value for name, value in row.items() if name != "max_created_date"} for row in rows] == [
        {"name": "a", "count": 2, "sum_remaining": 3, "min_remaining": 0, "min_name": "a", "avg_remaining": 1.5},
        {"name": "b", "count": 1, "sum_remaining": 1, "min_remaining": 1, "min_name": "b", "avg_remaining": 1},
        {"name": "c", "count": 1, "sum_remaining": 2, "min_remaining": 2, "min_name": "c", "avg_remaining": 2},
    ]
    assert all(row["max_created_date"].endswith("Z") for row in rows)


async def test_figures_of_all_things_and_of_none(house: House) -> None:
    assert result(await perform(house, "aggregate: thing\nsum: remaining\nmax: remaining", items=["a", "b"])) == [
        {"count": 2, "sum_remaining": 1, "max_remaining": 1}
    ]
    assert result(await perform(house, "aggregate: thing\nwhere: {name: z}\nsum: remaining\nmax: remaining")) == [
        {"count": 0, "sum_remaining": 0, "max_remaining": None}
    ]
    assert result(await perform(house, "aggregate: thing\nwhere: {name: z}\nby: name")) == []


async def test_a_retry_does_not_repeat_what_is_done(house: House) -> None:
    await house.deploy("""
workflow: once
retries: {attempts: 3, backoff: 0s}
steps:
  - create_many: thing
    from: [a, b]
    set: {name: "${item}"}
  - update_many: thing
    where: {}
    set: {remaining: 1}
  - id: counted
    count: thing
  - create: thing
    set: {name: c}
  - delete_many: thing
    where: {name: c}
  - when: run.attempt < 3
    http: "http://127.0.0.1:1"
    timeout: 100ms
  - return: {counted: "${steps.counted}"}
""")
    async with house.executor(outgoing_allow="127.0.0.0/8"):
        (run,) = await house.admit("once")
        for attempt in (1, 2):
            await house.publisher.dispatch(await house.summaries(run.id))
            await eventually(partial(_is_scheduled_again, house, run.id, attempt), within=20)
            await house.fetch("UPDATE penstock.runs SET state = 'queued' WHERE id = $1", run.id)
        await house.publisher.dispatch(await house.summaries(run.id))
        ended = await house.ended(run.id)
    assert (ended["state"], ended["result"]) == ("succeeded", {"counted": 2})
    assert names(await house.things()) == ["a", "b"]


async def _is_scheduled_again(house: House, run_id: object, attempt: int) -> bool:
    rows = await house.fetch(
        "SELECT FROM penstock.runs WHERE id = $1 AND state = 'scheduled' AND attempt = $2", run_id, attempt
    )
    return bool(rows)


async def test_a_bulk_commit_that_the_server_still_works_on_is_not_repeated(house: House) -> None:
    held, commit = await _claim(house)
    assert isinstance(commit.effect, CreateMany)
    lease = Lease(held, None, asyncio.get_running_loop().time() + 60)
    async with house.database.connection() as conn, conn.transaction():
        # The first try, whose connection we have given up while it continued.
        await hold_runs(conn, held=[(held.id, held.attempt)])
        await conn.execute(
            f'INSERT INTO {ENVIRONMENT}.thing ("_id", created_date, modified_date) VALUES ($1, now(), now())', "1x1"
        )
        commit.records[0].result = ["1x1"]
        await record_steps(conn, records=[(held.id, held.attempt, commit.records[0])])
        commit.is_repeat = True
        again = asyncio.create_task(Commits(house.database, asyncio.Semaphore(1)).commit(lease, commit))
        await eventually(lambda: house.fetch(BLOCKED))
    assert await again == ["1x1"]
    assert len(await house.things()) == 1, "what the second try had made is undone"


async def test_an_attempt_that_lost_its_run_meanwhile_undoes_what_it_did(house: House) -> None:
    held, commit = await _claim(house)
    lease = Lease(held, None, asyncio.get_running_loop().time() + 60)
    async with house.database.connection() as conn, conn.transaction():
        await conn.execute("UPDATE penstock.runs SET attempt = attempt + 1 WHERE id = $1", held.id)
        late = asyncio.create_task(Commits(house.database, asyncio.Semaphore(1)).commit(lease, commit))
        await eventually(lambda: house.fetch(BLOCKED))
    with pytest.raises(LeaseLost, match="no longer held in attempt 1"):
        await late
    assert await house.things() == []


async def _claim(house: House) -> tuple[ClaimedRun, Commit]:
    """A run that is held, and what it would commit: one thing made of a list."""
    await house.deploy("workflow: once\nsteps: [{create_many: thing, from: [a], set: {name: a}}]")
    (run,) = await house.admit("once")
    async with house.database.connection() as conn:
        (held,) = await claim_runs(conn, run_ids=[run.id], owner="me", lease=timedelta(seconds=60))
    kind = (await house.deployments.current(ENVIRONMENT)).app.types["thing"]
    record = StepRecord("step1", "create_many", "succeeded", held.claimed_at)
    rows: list[dict[str, JsonValue]] = [{"_id": "1x2", "name": "a", "created_by": None, "created_date": None}]
    effect = CreateMany(kind, asyncio.get_running_loop().time() + 60, rows)
    return held, Commit(held.id, held.attempt, ENVIRONMENT, [record], effect, record)


async def test_a_long_bulk_step_keeps_its_lease_and_its_timeout_ends_it(house: House) -> None:
    await house.deploy("""
workflow: patient
steps:
  - {id: done, update_many: thing, where: {}, set: {remaining: 1}, timeout: 30s}
---
workflow: hasty
steps:
  - {update_many: thing, where: {}, set: {remaining: 2}, timeout: 500ms}
---
workflow: fill
steps: [{create: thing, set: {name: a}}]
""")
    async with house.executor(lease_seconds=1):
        await house.perform("fill")
        async with house.database.connection() as conn, conn.transaction():
            await conn.execute(f"SELECT FROM {ENVIRONMENT}.thing FOR UPDATE")
            patient = await house.start("patient")
            hasty = await house.perform("hasty")
            # Three leases long: renewed all the time, because the run's own row is not locked meanwhile.
            await eventually(lambda: house.fetch(
                "SELECT FROM penstock.runs WHERE id = $1 AND lease_expires_at > started_at + interval '3s'", patient
            ), within=20)  # fmt: skip
        ended = await house.ended(patient)
    assert (ended["state"], ended["attempt"]) == ("succeeded", 1)
    assert (hasty["state"], hasty["error"]["kind"]) == ("failed", "timeout")
    assert "longer than its timeout" in hasty["error"]["message"]
    assert [thing["remaining"] for thing in await house.things()] == [1]


async def test_an_executor_killed_in_a_bulk_step_leaves_nothing_of_it_behind(house: House) -> None:
    await house.deploy(THINGS.replace("${item == 'b' ? null : item}", "same"))
    async with house.database.connection() as conn, conn.transaction():
        # What has the same code, and is not committed: the step waits for how that ends.
        insert = (
            f'INSERT INTO {ENVIRONMENT}.thing ("_id", created_date, modified_date, code) VALUES ($1, now(), now(), $2)'
        )
        await conn.execute(insert, "1x1", "same")
        async with house.executor() as executor:
            run_id = await house.start("fill", {"items": ["a"]})
            await eventually(lambda: house.fetch(BLOCKED))
            await executor.kill()
        await conn.execute(f"DELETE FROM {ENVIRONMENT}.thing")
    assert await house.things() == []
    async with house.executor():
        await house.publisher.dispatch(await house.summaries(run_id))
        assert (await house.ended(run_id))["state"] == "succeeded"
    assert names(await house.things()) == ["a"]


async def test_bulk_steps_that_wait_leave_connections_to_everyone_else(house: House) -> None:
    await house.deploy("""
workflow: blocked
steps:
  - {update_many: thing, where: {name: held}, set: {remaining: 1}}
---
workflow: quick
steps:
  - {create: thing, set: {name: quick}}
---
workflow: hold
steps: [{create: thing, set: {name: held}}]
""")
    async with house.executor(lease_seconds=1):
        await house.perform("hold")
        async with house.database.connection() as conn, conn.transaction():
            await conn.execute(f"SELECT FROM {ENVIRONMENT}.thing FOR UPDATE")
            blocked = [await house.start("blocked") for _ in range(12)]
            await eventually(lambda: house.fetch(BLOCKED))
            assert (await house.perform("quick"))["state"] == "succeeded"
            await eventually(lambda: house.fetch(
                "SELECT FROM penstock.runs WHERE id = $1 AND lease_expires_at > started_at + interval '2s'", blocked[-1]
            ), within=20)  # fmt: skip
        ended = [await house.ended(run_id) for run_id in blocked]
    assert [(run["state"], run["attempt"]) for run in ended] == [("succeeded", 1)] * 12
