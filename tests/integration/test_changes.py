"""Change triggers: every way in which a run changes a thing, what its workflow sees, how deep it is, and that a loop is
cut.
"""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from pydantic import JsonValue

from penstock.db import Record, open_database
from penstock.runs.floods import MIN_FLOOD
from penstock.runtime import Resources, Stop
from penstock.testing import open_app
from penstock_scheduler.loops.change_triggers import start_changes
from penstock_scheduler.room import Room, furnish
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House, Outside, serve_outside
from tests.integration.scheduling import build_settings

SEEN = """
workflow: seen
on: {change: {type: thing}}
steps: [{log: "${change.operation}"}]
"""
MANY = "{create_many: thing, from: [1, 2], set: {remaining: '${item}'}}"
UPSERT = "{create: thing, set: {code: a, name: b}, upsert: [code]}"


def scheduler(house: House) -> Room:
    return furnish(build_settings(), Resources(house.database, house.broker), Stop())


async def start(house: House) -> dict[str, int]:
    """A scheduler's turn."""
    room = scheduler(house)
    counts = await start_changes(room)
    await room.dispatches.drain()
    return dict(counts.done)


async def waiting(house: House) -> list[Record]:
    return await house.fetch("SELECT * FROM penstock.changes ORDER BY id")


async def started(house: House, workflow: str = "seen") -> list[Record]:
    return await house.fetch("SELECT * FROM penstock.runs WHERE workflow = $1 ORDER BY depth, created_at, id", workflow)


async def end_all(house: House) -> None:
    for row in await house.fetch("SELECT id FROM penstock.runs WHERE finished_at IS NULL"):
        await house.ended(row["id"])


@pytest.mark.parametrize(
    ("steps", "operations"),
    [
        ("{create: thing, set: {name: a}}", "create"),
        (f"{UPSERT}, {UPSERT}", "create update"),
        ("{id: t, create: thing, set: {name: a}}, {update: '${steps.t}', set: {name: b}}", "create update"),
        ("{id: t, create: thing, set: {name: a}}, {delete: '${steps.t}'}", "create delete"),
        (MANY, "create create"),
        (f"{MANY}, {{update_many: thing, where: {{}}, set: {{name: b}}}}", "create create update update"),
        (f"{MANY}, {{delete_many: thing, where: {{}}}}", "create create delete delete"),
        (r'{import: thing, from: "name\na\nb\n", format: csv}', "create create"),
    ],
)
async def test_every_step_that_changes_things_starts_what_waits_for_it_one_deeper(
    house: House, steps: str, operations: str
) -> None:
    await house.deploy(f"{SEEN}\n---\nworkflow: change\nsteps: [{steps}]")
    expected = operations.split()
    async with house.executor():
        run = await house.perform("change")
        assert run["state"] == "succeeded", run["error"]
        changes = await waiting(house)
        assert [change["operation"] for change in changes] == expected
        assert {change["run_id"] for change in changes} == {run["id"]}
        assert await start(house) == {"changes": len(expected), "runs": len(expected)}
        await end_all(house)
    runs = await started(house)
    assert {(row["depth"], row["parent_run_id"], row["chain_id"], row["trigger"], row["state"]) for row in runs} == {
        (1, run["id"], run["id"], "change", "succeeded")
    }
    assert sorted(row["context"]["change"]["operation"] for row in runs) == sorted(expected)
    assert await waiting(house) == []


async def test_a_run_sees_the_thing_before_and_after(house: House) -> None:
    await house.deploy("""
workflow: seen
on: {change: {type: thing, operations: [update, delete]}}
steps:
  - return:
      was: "${change.before.name}"
      is: "${change.after.name}"
      count: "${change.before.remaining}"
      type: "${change.type}"
---
workflow: change
steps:
  - {id: t, create: thing, set: {name: a, remaining: 2.50, tags: [x]}}
  - {update: "${steps.t}", set: {name: b}}
  - {delete: "${steps.t}"}
""")
    async with house.executor():
        await house.perform("change")
        await start(house)
        await end_all(house)
    updated, deleted = sorted(
        await started(house), key=lambda run: str(run["context"]["change"]["operation"]), reverse=True
    )
    assert updated["result"] == {"was": "a", "is": "b", "count": 2.5, "type": "thing"}
    assert deleted["result"] == {"was": "b", "is": None, "count": 2.5, "type": "thing"}
    change: dict[str, JsonValue] = deleted["context"]["change"]
    before = change["before"]
    assert isinstance(before, dict)
    assert (before["tags"], str(before["Created Date"])[-1], "_id" in before, change["after"]) == (
        ["x"],
        "Z",
        True,
        None,
    )


async def test_only_what_the_trigger_asks_for_starts_it(house: House) -> None:
    await house.deploy("""
workflow: seen
on:
  change:
    - {type: thing, operations: [update], when: "after.remaining > 1 and before.name != 'b'"}
    - {type: thing, operations: update, when: number(after.name) > 2}
steps: [{log: x}]
---
workflow: change
steps:
  - {id: t, create: thing, set: {name: a, remaining: 1}}
  - {update: "${steps.t}", set: {name: a, remaining: 2}}
  - {update: "${steps.t}", set: {name: b}}
  - {update: "${steps.t}", set: {name: c}}
""")
    async with house.executor():
        await house.perform("change")
    assert await start(house) == {"changes": 4, "runs": 2}
    errors = await house.fetch("SELECT message FROM penstock.logs WHERE level = 'error'")
    assert len(errors) == 3
    broken = "workflows/all.yaml:6: `number(after.name) > 2`"
    assert f"Workflow error: seen was not started: {broken}" in errors[0]["message"]


async def test_a_loop_through_changes_is_cut_at_the_depth_limit(house: House) -> None:
    await house.deploy(
        "workflow: echo\nrecursive: true\non: {change: {type: thing, operations: create}}\nsteps: [{create: thing, "
        "set: {name: a}}]",
        depth_limit=3,
    )
    async with house.executor():
        await house.perform("echo")
        for _ in range(6):
            await start(house)
            await end_all(house)
    assert [(run["depth"], run["state"]) for run in await started(house, "echo")] == [
        (0, "succeeded"), (1, "succeeded"), (2, "succeeded"), (3, "succeeded"), (4, "terminated"),
    ]  # fmt: skip
    assert len(await house.things()) == 4


async def test_a_change_from_outside_is_a_root(house: House, database_url: str) -> None:
    await house.deploy(SEEN)
    outside = await open_database(database_url, name="psql", most=1)
    async with outside.connection() as conn:
        await conn.execute(
            f"""
            INSERT INTO {ENVIRONMENT}.thing ("_id", created_date, modified_date, name)
            VALUES ('1700000000000x1', clock_timestamp(), clock_timestamp(), 'a')
            """
        )
    await outside.close()
    assert await start(house) == {"changes": 1, "runs": 1}
    (run,) = await started(house)
    assert (run["depth"], run["parent_run_id"], run["chain_id"]) == (0, None, run["id"])


async def test_a_flood_of_changes_from_outside_takes_turns_with_others(house: House, database_url: str) -> None:
    await house.deploy(SEEN)
    await house.admit("seen", count=MIN_FLOOD)
    room = scheduler(house)
    outside = await open_database(database_url, name="psql", most=1)
    for first, count in ((1, 500), (501, 1)):
        async with outside.connection() as conn:
            await conn.execute(
                f"""
                INSERT INTO {ENVIRONMENT}.thing ("_id", created_date, modified_date)
                SELECT '1700000000000x' || n, clock_timestamp(), clock_timestamp()
                FROM generate_series($1::int, $1 + $2 - 1) AS n
                """,
                first,
                count,
            )
        await start_changes(room)
        await room.admissions.drain()  # and with it the look for floods
    await outside.close()
    states = Counter((run["state"], run["crowd"] is None) for run in await started(house))
    assert states == {("queued", True): MIN_FLOOD + 500, ("scheduled", False): 1}


@pytest.mark.parametrize(("by", "expected"), [("anyone", [0, 1]), ("outside", [0]), ("runs", [1])])
async def test_a_trigger_waits_for_changes_by_those_it_names(
    house: House, database_url: str, by: str, expected: list[int]
) -> None:
    seen = f"workflow: seen\non: {{change: {{type: thing, by: {by}}}}}\nsteps: [{{log: x}}]"
    await house.deploy(f"{seen}\n---\nworkflow: change\nsteps: [{{create: thing, set: {{name: a}}}}]")
    outside = await open_database(database_url, name="psql", most=1)
    async with outside.connection() as conn:
        await conn.execute(
            f"""
            INSERT INTO {ENVIRONMENT}.thing ("_id", created_date, modified_date, name)
            VALUES ('1700000000000x1', clock_timestamp(), clock_timestamp(), 'a')
            """
        )
    await outside.close()
    async with house.executor():
        await house.perform("change")
    await start(house)

    assert [run["depth"] for run in await started(house)] == expected
    assert await waiting(house) == []


async def test_a_row_that_one_step_changes_several_times_is_one_firing(house: House) -> None:
    lines = r"code,name\na,first\nb,other\na,second\n"
    await house.deploy(f"""{SEEN}
---
workflow: change
steps: [{{import: thing, from: "{lines}", format: csv, upsert: code}}]
""")
    async with house.executor():
        await house.perform("change")
    assert len(await waiting(house)) == 3
    await start(house)

    changes = [run["context"]["change"] for run in await started(house)]
    assert sorted((change["operation"], change["after"]["name"]) for change in changes) == [
        ("create", "other"), ("create", "second"),
    ]  # fmt: skip


async def test_a_row_that_two_steps_of_a_run_change_is_one_firing_each(house: House) -> None:
    steps = "{id: t, create: thing, set: {name: a}}, {update: '${steps.t}', set: {name: b}}"
    await house.deploy(f"{SEEN}\n---\nworkflow: change\nsteps: [{steps}]")
    async with house.executor():
        await house.perform("change")

    assert await start(house) == {"changes": 2, "runs": 2}


async def test_what_a_user_changes_starts_runs_of_that_user(house: House) -> None:
    await house.deploy(f"{SEEN}\n---\nworkflow: change\nsteps: [{{create: thing, set: {{name: a}}}}]")
    user: dict[str, JsonValue] = {"_id": "1700000000000x2", "email": "ada@example.com"}
    async with house.executor():
        runs = await house.admit("change", context={"user": user})
        await house.publisher.dispatch(runs)
        await house.ended(runs[0].id)
    await start(house)
    (run,) = await started(house)
    assert run["context"]["user"] == user


async def test_many_runs_at_once_are_each_told_apart(house: House) -> None:
    change = "workflow: change\nparameters: {n: number}\nsteps: [{create: thing, set: {remaining: '${params.n}'}}]"
    await house.deploy(f"{SEEN}\n---\n{change}")
    async with house.executor():
        runs = await house.admit("change", {"n": 1}, count=60)
        await house.publisher.dispatch(runs)
        for run in runs:
            await house.ended(run.id)
        rooms = [scheduler(house) for _ in range(3)]
        await asyncio.gather(*(start_changes(room) for room in rooms))
        for room in rooms:
            await room.dispatches.drain()
        await end_all(house)
    parents: list[object] = [run["parent_run_id"] for run in await started(house)]
    assert sorted(map(str, parents)) == sorted(str(run.id) for run in runs)


async def test_a_change_is_noted_once_though_its_executor_dies_after_the_step(house: House) -> None:
    outside = Outside()
    async with serve_outside(outside.handle) as outside.url:
        await house.deploy(f"""{SEEN}
---
workflow: change
steps: [{{create: thing, set: {{name: a}}}}, {{http: "{outside.url}"}}]
""")
        async with house.executor(outgoing_allow="127.0.0.0/8") as executor:
            run_id = await house.start("change")
            await eventually(lambda: outside.waiting == 1)
            await executor.kill()
        outside.answers.set()
        async with house.executor(outgoing_allow="127.0.0.0/8"):
            assert (await house.ended(run_id))["state"] == "succeeded"
            assert (await start(house))["runs"] == 1


async def test_types_that_nobody_waits_for_are_not_noted_and_what_was_noted_is_forgotten(house: House) -> None:
    plain = "workflow: change\nsteps: [{create: thing, set: {name: a}}]"
    await house.deploy(f"{SEEN}\n---\n{plain}")
    async with house.executor():
        await house.perform("change")
        await house.deploy(plain)
        await house.perform("change")
    assert len(await waiting(house)) == 1
    assert await start(house) == {"changes": 0, "runs": 0}
    assert await waiting(house) == []
    assert await house.fetch("SELECT FROM pg_trigger WHERE tgname LIKE 'penstock_note%'") == []


async def test_a_change_that_cannot_be_read_keeps_no_other_waiting(house: House) -> None:
    await house.deploy(f"{SEEN}\n---\nworkflow: change\nsteps: [{MANY}]")
    async with house.executor():
        await house.perform("change")
    await house.fetch(
        """UPDATE penstock.changes SET after = after || '{"remaining": "many"}' WHERE after ->> 'remaining' = '1'"""
    )
    for _ in range(2):
        await start(house)
    assert [run["context"]["change"]["after"]["remaining"] for run in await started(house)] == [2]
    (line,) = await house.fetch("SELECT message FROM penstock.logs WHERE level = 'error'")
    assert "a change of thing could not be read and starts nothing" in line["message"]


async def test_a_whole_app_reacts_to_changes_also_in_python(tmp_path: Path) -> None:
    (tmp_path / "types").mkdir()
    (tmp_path / "workflows").mkdir()
    (tmp_path / "app.yaml").write_text("app: shop\npython: [reactions]\n")
    (tmp_path / "types" / "order.yaml").write_text("type: order\nfields: {number: text, paid: boolean}\n")
    (tmp_path / "types" / "receipt.yaml").write_text("type: receipt\nfields: {number: text}\n")
    (tmp_path / "workflows" / "pay.yaml").write_text(
        "workflow: pay\nsteps: [{id: order, create: order, set: {number: A-1}}, {update: '${steps.order}', set: {paid: "
        "true}}]\n"
    )
    (tmp_path / "reactions.py").write_text(
        "from penstock import App, Context, change\n"
        "app = App()\n"
        "@app.workflow(on=[change('order', when='after.paid and before.paid != true')])\n"
        "async def receipt(ctx: Context) -> dict:\n"
        "    await ctx.create('receipt', {'number': ctx.change['after']['number']})\n"
        "    return {'operation': ctx.change['operation'], 'depth': ctx.run.depth}\n"
    )
    async with open_app(tmp_path) as app:
        assert (await app.run("pay")).state == "succeeded"
        await app.create("order", {"number": "A-2", "paid": True})
        await app.wait_until_idle()
        runs = await app.list_runs("receipt")
        assert sorted((run.result["operation"], run.result["depth"]) for run in runs if isinstance(run.result,
        dict)) == [
            ("create", 0), ("update", 1),
        ]  # fmt: skip
        assert sorted(str(found["number"]) for found in await app.find("receipt")) == ["A-1", "A-2"]
