"""Runs of brief steps are performed together, and nothing about them differs from those that are performed alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from pydantic import JsonValue

from penstock.contracts.messages import RunAnswer
from penstock.db import Connection
from penstock.store.deployments import DeploymentCache
from penstock_executor.planning.library import Library
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House
from tests.integration.performing.inbox import Inbox

BRIEF = """
workflow: {name}
parameters: {{number: number, code: text}}
when: params.number < 90
steps:{first}
  - state: {{seen: "${{params.number * 2}}"}}
  - id: made
    when: params.number != 7
    create: thing
    set: {{name: "${{run.workflow}}", remaining: "${{state.seen}}", code: "${{params.code}}"}}
  - log: "number ${{params.number}}"
  - when: params.number == 5
    fail: "five is wrong"
  - stop: "${{params.number == 3 ? 'enough' : null}}"
  - return: {{id: "${{steps.made._id}}", twice: "${{state.seen}}"}}
"""
ALONE = "\n  - count: thing\n"
"""A step that waits for the database, so that its workflow is not brief."""

BLOCKED = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def test_runs_end_as_they_would_alone(house: House) -> None:
    await house.deploy(BRIEF.format(name="brief", first="") + "---" + BRIEF.format(name="alone", first=ALONE))
    version = (await house.deployments.current(ENVIRONMENT)).version
    plans = await Library(DeploymentCache(house.database)).find_plans(ENVIRONMENT, version)
    assert (plans.is_brief("brief"), plans.is_brief("alone")) == (True, False)
    runs: dict[str, list[UUID]] = {"brief": [], "alone": []}
    async with house.executor():
        for workflow, ids in runs.items():
            for number in (*range(12), 95, 4):  # the second 4 is not unique
                ids.append((await house.admit(workflow, {"number": number, "code": f"{workflow}{number}"}))[0].id)
            await house.publisher.dispatch(await house.summaries(*ids))
            for id in ids:
                await house.ended(id)
    brief, alone = [[await _describe(house, id) for id in ids] for ids in runs.values()]
    assert sorted(brief) == sorted(alone)
    states = [row["state"] for row in await house.fetch("SELECT state FROM penstock.runs WHERE workflow = 'brief'")]
    assert {state: states.count(state) for state in states} == {"succeeded": 11, "failed": 2, "skipped": 1}


async def _describe(house: House, run_id: UUID) -> str:
    """All that a run has left behind, but for ids and times, and for the step that makes it wait."""
    run, steps = await house.get(run_id), (await house.steps(run_id)).values()
    kept = [
        (step["action"], step["outcome"], step["attempt"], step["error"] and step["error"]["kind"], step["tries"])
        for step in steps
        if step["action"] != "count"
    ]
    result = run["result"] and {**run["result"], "id": run["result"].get("id") is None}
    lines = sorted((line["event"], line["level"]) for line in await house.logs(run_id))
    kind = run["error"] and run["error"]["kind"]
    return str((run["state"], run["attempt"], run["failures"], result, kind, sorted(map(str, kept)), lines))


async def test_a_run_whose_data_is_refused_fails_alone(house: House) -> None:
    await house.deploy(BRIEF.format(name="brief", first=""))
    async with house.executor():
        runs = [(await house.admit("brief", {"number": 1, "code": f"c{n % 39}"}))[0] for n in range(40)]
        await house.publisher.dispatch(runs)
        rows = [await house.ended(run.id) for run in runs]
    assert sorted(row["state"] for row in rows) == ["failed", *["succeeded"] * 39]
    failed = next(row for row in rows if row["state"] == "failed")
    assert (failed["error"]["kind"], failed["error"]["step"]) == ("unique", "made")
    assert len(await house.things()) == 39


async def test_a_run_that_another_executor_has_taken_meanwhile_writes_nothing(house: House) -> None:
    await house.deploy(BRIEF.format(name="brief", first=""))
    runs = [(await house.admit("brief", {"number": 1, "code": f"c{n}"}))[0] for n in range(10)]
    async with house.executor(lease_seconds=60):
        async with _holding_steps(house) as conn:
            await house.publisher.dispatch(runs)
            await eventually(lambda: house.fetch(BLOCKED))
            await conn.execute(
                "UPDATE penstock.runs SET attempt = 7, owner = 'another', lease_expires_at = now() + interval '1 hour' "
                "WHERE id = $1",
                runs[4].id,
            )
        rows = [await house.ended(run.id) for run in runs if run is not runs[4]]
    assert {(row["state"], row["attempt"]) for row in rows} == {("succeeded", 1)}
    taken = await house.get(runs[4].id)
    assert (taken["state"], taken["attempt"], taken["owner"]) == ("running", 7, "another")
    assert len(await house.things()) == 9
    assert await house.steps(runs[4].id) == {}


async def test_a_batch_whose_commit_is_cut_off_is_written_once(house: House) -> None:
    await house.deploy(BRIEF.format(name="brief", first=""))
    runs = [(await house.admit("brief", {"number": 1, "code": f"c{n}"}))[0] for n in range(10)]
    async with house.executor(lease_seconds=60):
        async with _holding_steps(house):
            await house.publisher.dispatch(runs)
            await eventually(lambda: house.fetch(BLOCKED))
            await house.fetch(BLOCKED.replace("SELECT", "SELECT pg_terminate_backend(pid)"))
        rows = [await house.ended(run.id) for run in runs]
    assert {(row["state"], row["attempt"]) for row in rows} == {("succeeded", 1)}
    assert len(await house.things()) == 10


async def test_a_run_that_waits_after_all_goes_on_alone_and_holds_up_no_other(house: House) -> None:
    await house.deploy("""
workflow: count
parameters: {numbers: list of number}
steps:
  - state: {large: "${len(filter(params.numbers, # > 1 and # % 3 == 0))}"}
  - create: thing
    set: {name: made, remaining: "${state.large}"}
  - return: {large: "${state.large}"}
""")
    many: list[JsonValue] = [*range(60_000)]
    given: list[list[JsonValue]] = [many, [3, 6], many, [4]]
    runs = [(await house.admit("count", {"numbers": numbers}))[0] for numbers in given]
    async with house.executor():
        await house.publisher.dispatch(runs)
        rows = [await house.ended(run.id) for run in runs]
    assert [row["result"] for row in rows] == [{"large": 19_999}, {"large": 2}, {"large": 19_999}, {"large": 0}]
    assert len(await house.things()) == 4


async def test_callers_who_wait_get_the_answers_of_their_own_runs(house: House) -> None:
    await house.deploy(BRIEF.format(name="brief", first=""))
    inbox = Inbox()
    queue = await house.broker.open_reply_queue(inbox)
    runs = [(await house.admit("brief", {"number": n, "code": f"c{n}"}))[0] for n in range(8)]
    async with house.executor():
        await house.publisher.dispatch(runs, {run.id: queue for run in runs})
        await eventually(lambda: len(inbox.deliveries) == len(runs))
    answers = {answer.run_id: answer for answer in (RunAnswer.decode(one.message.body) for one in inbox.deliveries)}
    for run in runs:
        row = await house.get(run.id)
        assert (answers[run.id].state, answers[run.id].result) == (row["state"], row["result"])


async def test_an_executor_that_leaves_lets_a_batch_be_written(house: House) -> None:
    await house.deploy(BRIEF.format(name="brief", first=""))
    runs = [(await house.admit("brief", {"number": 1, "code": f"c{n}"}))[0] for n in range(20)]
    async with house.executor() as executor:
        await house.publisher.dispatch(runs)
        await eventually(lambda: house.fetch("SELECT FROM penstock.runs WHERE state <> 'queued'"))
        executor.drain()
    rows = [await house.get(run.id) for run in runs]
    assert {row["state"] for row in rows} == {"succeeded"}
    assert len(await house.things()) == 20


@asynccontextmanager
async def _holding_steps(house: House) -> AsyncIterator[Connection]:
    """Nobody can record a step while the block runs, though all can read them."""
    async with house.database.connection() as conn, conn.transaction():
        await conn.execute("LOCK TABLE penstock.steps IN SHARE MODE")
        yield conn
