"""`recur` and `stop_recurring`: what a run sets commits with its step, replaces what it set before, and cannot
multiply.
"""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from pydantic import JsonValue

from penstock.db import Record
from penstock.metrics import REGISTRY
from penstock.runs.recurrences.control import pause_recurrence, resume_recurrence
from penstock.runs.recurrences.rows import step_recurrence_id
from penstock.runtime import Resources, Stop
from penstock.testing.time import advance
from penstock_scheduler.loops.recurrences import tick_recurrences
from penstock_scheduler.room import furnish
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House, Outside, serve_outside
from tests.integration.scheduling import build_settings

DAY = timedelta(days=1)
THING = "1700000000000x100000000000000001"
OTHER = "1700000000000x100000000000000002"
APP = """
workflow: remind
parameters: {who: text}
steps: [{log: "${params.who}"}]
---
workflow: begin
parameters:
  thing: {type: text, optional: true}
  start: {type: date, optional: true}
  every: {type: text, optional: true, default: daily}
  who: {type: text, optional: true, default: Ada}
steps:
  - id: set
    recur: remind
    every: "${params.every}"
    start: "${params.start}"
    for: "${params.thing}"
    with: {who: "${params.who}"}
  - return: {id: "${steps.set}"}
---
workflow: end
parameters: {thing: text}
steps:
  - {id: stop, stop_recurring: remind, for: "${params.thing}"}
  - return: {id: "${steps.stop}"}
---
workflow: by_cron
steps: [{recur: remind, cron: 0 9 * * 1-5, timezone: Europe/Paris, with: {who: Ada}}]
---
workflow: in_zone
parameters: {zone: text}
steps: [{recur: remind, every: daily, timezone: "${params.zone}", with: {who: Ada}}]
---
workflow: itself
steps: [{recur: itself, every: daily, start: "${now}"}]
---
workflow: for_new_things
steps:
  - {id: thing, create: thing, set: {name: a}}
  - {recur: for_new_things, every: daily, start: "${now}", for: "${steps.thing}"}
---
workflow: over_again
steps:
  - {stop_recurring: over_again}
  - {recur: over_again, every: daily, start: "${now}"}
"""


@pytest.fixture
def database_url(movable_database_url: str) -> str:
    """A database whose time can be moved."""
    return movable_database_url


@pytest.fixture(autouse=True)
async def app(house: House) -> None:
    """The app of these tests, deployed."""
    await house.deploy(APP, depth_limit=3)


async def recurrences(house: House) -> list[Record]:
    return await house.fetch("SELECT * FROM penstock.recurrences ORDER BY created_at")


async def now(house: House) -> datetime:
    moment: datetime = (await house.fetch("SELECT clock_timestamp() AS now"))[0]["now"]
    return moment


async def tick(house: House) -> int:
    """A scheduler's turn; how many runs it started."""
    room = furnish(build_settings(), Resources(house.database, house.broker), Stop())
    counts = await tick_recurrences(room)
    await room.dispatches.drain()
    return counts.done["ticks"]


async def wait_for_runs(house: House) -> None:
    for row in await house.fetch("SELECT id FROM penstock.runs WHERE finished_at IS NULL"):
        await house.ended(row["id"])


async def move(house: House, by: timedelta) -> None:
    async with house.database.connection() as conn:
        await advance(conn, by)


async def test_a_step_sets_one_recurrence_for_a_thing_and_setting_it_again_replaces_it(house: House) -> None:
    async with house.executor():
        run = await house.perform("begin", {"thing": THING})
        again = await house.perform("begin", {"thing": THING, "every": "weekly", "who": "Bob"})
        await house.perform("begin", {"thing": OTHER})
    first, other = await recurrences(house)
    assert run["result"] == again["result"] == {"id": str(first["id"])}
    assert first["id"] == step_recurrence_id(ENVIRONMENT, "remind", THING) != other["id"]
    assert (first["every"], first["parameters"], first["thing"]) == ("weekly", {"who": "Bob"}, THING)
    assert timedelta(days=6) < first["next_tick_at"] - await now(house) < timedelta(days=7), (
        "without a start, a period from now"
    )


async def test_it_ticks_from_its_start_until_it_is_stopped(house: House) -> None:
    start = (await now(house)).replace(microsecond=0) + timedelta(hours=2)
    async with house.executor():
        await house.perform("begin", {"thing": THING, "start": start.isoformat()})
        assert await tick(house) == 0
        await move(house, timedelta(hours=2))
        assert await tick(house) == 1
        await move(house, DAY)
        assert await tick(house) == 1
        await wait_for_runs(house)
        run = await house.perform("end", {"thing": THING})
        await house.perform("end", {"thing": THING})
    assert run["result"] == {"id": str(step_recurrence_id(ENVIRONMENT, "remind", THING))}
    assert await recurrences(house) == []
    await move(house, DAY)
    assert await tick(house) == 0
    reminders = await house.fetch("SELECT * FROM penstock.runs WHERE workflow = 'remind' ORDER BY created_at")
    ticks = [row["context"]["recurrence"]["tick_at"] for row in reminders]
    assert (ticks, reminders[0]["parameters"]) == ([start.isoformat(), (start + DAY).isoformat()], {"who": "Ada"})


async def test_pause_and_resume_leave_a_recurrence_pushed_by_a_later_recur(house: House) -> None:
    start = (await now(house)).replace(microsecond=0) + timedelta(hours=2)
    async with house.executor():
        await house.perform("begin", {"thing": THING})
        await house.perform("begin", {"thing": THING, "start": start.isoformat()})
    (pushed,) = await recurrences(house)
    assert pushed["next_tick_at"] == start + DAY
    await house.database.in_transaction(lambda conn: pause_recurrence(conn, id=pushed["id"]))
    await house.database.in_transaction(lambda conn: resume_recurrence(conn, id=pushed["id"]))
    (resumed,) = await recurrences(house)
    assert (resumed["next_tick_at"], resumed["due_at"]) == (start + DAY, start + DAY)
    await house.database.in_transaction(lambda conn: pause_recurrence(conn, id=pushed["id"]))
    await move(house, 2 * DAY)
    await house.database.in_transaction(lambda conn: resume_recurrence(conn, id=pushed["id"]))
    (late,) = await recurrences(house)
    assert late["next_tick_at"] == start + 2 * DAY, "what passed meanwhile is not made up"


@pytest.mark.parametrize("zone", ["", " ", "Europe/Pari"])
async def test_a_zone_that_does_not_exist_fails_the_step(house: House, zone: str) -> None:
    async with house.executor():
        run = await house.perform("in_zone", {"zone": zone})
    assert run["state"] == "failed"
    assert "is not a time zone" in str(run["error"])


async def test_a_start_that_is_now_ticks_at_once_and_is_pushed_when_one_is_set_already(house: House) -> None:
    async with house.executor():
        await house.perform("begin", {"thing": THING, "start": (await now(house)).isoformat()})
        assert await tick(house) == 1
        await house.perform("begin", {"thing": THING, "start": (await now(house)).isoformat()})
        assert await tick(house) == 0, "as in Bubble: not after the next run, so it is pushed one period"
        await wait_for_runs(house)
    (row,) = await recurrences(house)
    assert row["next_tick_at"] == row["start_at"] + DAY


async def test_a_start_in_the_past_is_where_counting_begins(house: House) -> None:
    start = (await now(house)).replace(microsecond=0) - timedelta(days=10, hours=1)
    async with house.executor():
        for _ in range(2):  # setting the same again changes nothing
            await house.perform("begin", {"thing": THING, "start": start.isoformat()})
            assert await tick(house) == 0
    (row,) = await recurrences(house)
    assert row["next_tick_at"] == start + 11 * DAY


async def test_cron_and_zone_of_a_step(house: House) -> None:
    async with house.executor():
        await house.perform("by_cron")
    (row,) = await recurrences(house)
    assert (row["cron"], row["timezone"], row["next_tick_at"].minute) == ("0 9 * * 1-5", "Europe/Paris", 0)
    assert row["next_tick_at"].hour in {7, 8}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"every": "hourly"}, "`every` has to be one of daily, weekly, monthly, quarterly, yearly, and it is 'hourly'"),
        ({"thing": None}, "`for` needs a thing or its id, and this is null"),
    ],
)
async def test_what_cannot_recur_is_told(house: House, given: dict[str, str | None], message: str) -> None:
    async with house.executor():
        run = await house.perform("begin", {"thing": THING, **given})
    assert run["state"] == "failed"
    assert message in run["error"]["message"]
    assert await recurrences(house) == []


async def test_a_recurrence_is_set_exactly_once_though_its_executor_dies_after_the_step(house: House) -> None:
    outside = Outside()
    async with serve_outside(outside.handle) as outside.url:
        await house.deploy(f"""
workflow: remind
steps: [{{log: hello}}]
---
workflow: begin
steps:
  - {{recur: remind, every: daily}}
  - {{http: "{outside.url}"}}
""")
        async with house.executor(outgoing_allow="127.0.0.0/8") as executor:
            run_id = await house.start("begin")
            await eventually(lambda: outside.waiting == 1)
            await executor.kill()
        (before,) = await recurrences(house)
        await move(house, timedelta(hours=1))
        outside.answers.set()
        async with house.executor(outgoing_allow="127.0.0.0/8"):  # it was dispatched again already
            run = await house.ended(run_id)
    (after,) = await recurrences(house)
    assert run["state"] == "succeeded"
    assert after == before, "the finished step was not performed again, or the tick would be an hour later"


async def test_its_runs_have_the_user_of_the_run_that_set_it(house: House) -> None:
    user: dict[str, JsonValue] = {"_id": OTHER, "email": "ada@example.com"}
    async with house.executor():
        runs = await house.admit(
            "begin", {"thing": THING, "start": (await now(house)).isoformat()}, context={"user": user}
        )
        await house.publisher.dispatch(runs)
        await house.ended(runs[0].id)
        assert await tick(house) == 1
        await wait_for_runs(house)
    (run,) = await house.fetch("SELECT context FROM penstock.runs WHERE workflow = 'remind'")
    assert run["context"]["user"] == user


@pytest.mark.parametrize("workflow", ["itself", "over_again"])
async def test_a_workflow_that_recurs_itself_ticks_once_a_period_and_does_not_multiply(
    house: House, workflow: str
) -> None:
    async with house.executor():
        await house.perform(workflow)
        assert await tick(house) == 1
        await wait_for_runs(house)
        for _ in range(3):
            assert await tick(house) == 0, "set at once by its own run, it waits for a period"
            await move(house, DAY)
            assert await tick(house) == 1
            await wait_for_runs(house)
    (row,) = await recurrences(house)
    assert row["generation"] == 0
    assert len(await house.fetch("SELECT id FROM penstock.runs")) == 5


async def test_recurrences_that_set_up_new_ones_are_bounded_by_the_depth_limit(house: House) -> None:
    async with house.executor():
        await house.perform("for_new_things")
        for _ in range(6):
            await tick(house)
            await wait_for_runs(house)
            await move(house, DAY)
    rows = await recurrences(house)
    assert {row["generation"] for row in rows} == {0, 1, 2, 3}
    failed = await house.fetch("SELECT error FROM penstock.runs WHERE state = 'failed'")
    assert failed
    assert "beyond the depth limit of 3 in development" in failed[0]["error"]["message"]


async def test_where_depth_is_observed_recurrences_go_beyond_the_limit_and_the_first_is_recorded(house: House) -> None:
    await house.fetch("UPDATE penstock.environments SET depth_policy = 'observe'")
    async with house.executor():
        await house.perform("for_new_things")
        for _ in range(6):
            await tick(house)
            await wait_for_runs(house)
            await move(house, DAY)
    generations = [row["generation"] for row in await recurrences(house)]
    assert max(generations) > 4
    runs = await house.fetch("SELECT state, budget, context FROM penstock.runs")
    assert {run["state"] for run in runs} == {"succeeded"}
    noted = [run for run in runs if (run["budget"] or {}).get("observed") == "depth_limit"]
    # Each run of a recurrence of the third generation sets the first that would have been refused.
    assert {run["context"]["recurrence"]["generation"] for run in noted} == {3}
    assert len(noted) == len([run for run in runs if _generation(run) == 3])
    lines = await house.fetch("SELECT message FROM penstock.logs WHERE details ->> 'kind' = 'observed'")
    assert len(lines) == len(noted)
    assert "for_new_things would have failed at depth 0: the recurrence of for_new_things" in lines[0]["message"]
    assert "number 4 of recurrences that each set up the next, beyond the depth limit of 3" in lines[0]["message"]
    (row,) = await house.fetch("SELECT sum(count) AS count FROM penstock.notices WHERE kind = 'observed'")
    assert row["count"] == len(noted)


async def test_a_recurrence_that_is_too_late_in_the_row_is_counted_where_depth_is_observed(house: House) -> None:
    await house.fetch("UPDATE penstock.environments SET depth_policy = 'observe', depth_limit = 0")
    before = _count_observed()
    async with house.executor():
        await house.perform("for_new_things")
        await tick(house)
        await wait_for_runs(house)
    assert _count_observed() == before + 1


def _count_observed() -> float:
    labels = {"environment": ENVIRONMENT, "reason": "depth_limit"}
    return REGISTRY.get_sample_value("penstock_observed_runs_total", labels) or 0.0


def _generation(run: Record) -> int | None:
    generation: int | None = (run["context"] or {}).get("recurrence", {}).get("generation")
    return generation


async def test_a_workflow_that_is_gone_is_a_workflow_error(house: House) -> None:
    async with house.executor():
        await house.perform("begin", {"thing": THING, "start": (await now(house)).isoformat()})
    await house.deploy("workflow: another\nsteps: [{log: x}]")
    assert await tick(house) == 0
    (row,) = await recurrences(house)
    assert (row["refused"], row["last_run_id"], isinstance(row["id"], UUID)) == (1, None, True)
    lines = await house.fetch("SELECT message FROM penstock.logs WHERE level = 'error'")
    assert "no workflow 'remind' is deployed to development" in lines[0]["message"]
