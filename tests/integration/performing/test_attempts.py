"""Runs are performed again after failures, crashes and drains, and nothing in them is done twice."""

import asyncio
from datetime import timedelta

import pytest

from penstock.domain.states import RunState
from penstock.errors import LeaseLost
from penstock.things.records import NewThing, prepare_thing
from penstock_executor.actions.create import CreateThing, UpsertThing
from penstock_executor.holding.leases import Lease
from penstock_executor.repository.claims import claim_runs
from penstock_executor.runs import Commit, Ending, StepRecord
from penstock_executor.writing.commits import Commits
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House, Outside, names

THREE_THINGS = """
workflow: three
retries: {attempts: 2, backoff: 1s}
steps:
  - id: one
    create: thing
    set: {name: one}
  - state: {seen: 1}
  - id: two
    create: thing
    set: {name: two}
  - id: outside
    get: thing
    where: {name: signal}
  - id: three
    create: thing
    set: {name: three}
  - return: {ids: ["${steps.one._id}", "${steps.two._id}", "${steps.three._id}"], seen: "${state.seen}"}
"""


async def test_finished_steps_are_not_performed_again(house: House) -> None:
    await house.deploy(THREE_THINGS)
    runs = await house.admit("three")
    run_id = runs[0].id
    # What an executor leaves behind that died after its second thing.
    async with house.database.connection() as conn:
        (held,) = await claim_runs(conn, run_ids=[run_id], owner="dead", lease=timedelta(seconds=0))
        for step, name in (("one", "one"), ("two", "two")):
            await conn.execute(
                f"INSERT INTO {ENVIRONMENT}.thing (_id, created_date, modified_date, name) VALUES ($1, now(), now(), "
                "$2)",
                f"1x{name}",
                name,
            )
            await conn.execute(
                "INSERT INTO penstock.steps (run_id, step, action, outcome, attempt, started_at, result)"
                " VALUES ($1, $2, 'create', 'succeeded', 1, now(), $3)",
                run_id, step, {"_id": f"1x{name}"},
            )  # fmt: skip
        await conn.execute(
            "INSERT INTO penstock.steps (run_id, step, action, outcome, attempt, started_at, result)"
            " VALUES ($1, 'step2', 'state', 'succeeded', 1, now(), $2)",
            run_id, {"seen": 1},
        )  # fmt: skip
        await conn.execute("UPDATE penstock.runs SET state = 'queued', lease_expires_at = NULL WHERE id = $1", run_id)
    assert held.attempt == 1
    async with house.executor():
        await house.publisher.dispatch(runs)
        run = await house.ended(run_id)
    assert (run["state"], run["attempt"], run["result"]["seen"]) == ("succeeded", 2, 1)
    assert run["result"]["ids"][:2] == ["1xone", "1xtwo"]
    assert sorted(names(await house.things())) == ["one", "three", "two"]


async def test_a_run_is_performed_once_however_often_it_is_dispatched(house: House) -> None:
    await house.deploy("workflow: once\nsteps:\n  - create: thing\n    set: {name: once}\n")
    runs = await house.admit("once", count=20)
    async with house.executor(), house.executor():
        for _ in range(5):
            await house.publisher.dispatch(runs)
        rows = [await house.ended(run.id) for run in runs]
    assert {(row["state"], row["attempt"]) for row in rows} == {("succeeded", 1)}
    assert len(await house.things()) == 20


async def test_runs_not_due_and_runs_of_others_are_not_claimed(house: House) -> None:
    await house.deploy("workflow: once\nsteps:\n  - create: thing\n    set: {name: once}\n")
    later, held, free = await house.admit("once", count=3)
    await house.fetch(
        "UPDATE penstock.runs SET state = 'scheduled', scheduled_at = now() + interval '1 hour' WHERE id = $1", later.id
    )
    await house.fetch(
        "UPDATE penstock.runs SET state = 'running', lease_expires_at = now() + interval '1 hour' WHERE id = $1",
        held.id,
    )
    async with house.executor():
        await house.publisher.dispatch([later, held, free])
        await house.ended(free.id)
    assert [(await house.get(run.id))["state"] for run in (later, held, free)] == ["scheduled", "running", "succeeded"]


SLOW = """
workflow: slow
steps:
  - id: before
    create: thing
    set: {name: before}
  - id: call
    http: "${secrets.URL}"
  - id: after
    create: thing
    set: {name: after}
"""
TAKE_OVER = (
    "UPDATE penstock.runs SET attempt = 7, owner = 'another', lease_expires_at = now() + interval '1 hour' "
    "WHERE id = $1"
)


async def test_a_zombie_changes_nothing_and_stops(
    house: House, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_SECRET_URL", outside.url)
    await house.deploy(SLOW)
    async with house.executor(lease_seconds=1.5, outgoing_allow="127.0.0.0/8"):
        run_id = await house.start("slow")
        await eventually(lambda: outside.waiting == 1)
        # Another executor took the run over: the attempt that waits for the server is a zombie.
        await house.fetch(
            "UPDATE penstock.runs SET attempt = 7, owner = 'another', lease_expires_at = now() + interval '1 hour' "
            "WHERE id = $1",
            run_id,
        )
        await eventually(lambda: outside.given_up == 1)
        outside.answers.set()
    row = await house.get(run_id)
    assert (row["state"], row["attempt"], row["owner"]) == ("running", 7, "another")
    assert names(await house.things()) == ["before"]
    assert set(await house.steps(run_id)) == {"before"}


async def test_a_zombies_last_write_loses(house: House, outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_SECRET_URL", outside.url)
    await house.deploy(SLOW)
    async with house.executor(lease_seconds=60, outgoing_allow="127.0.0.0/8"):
        run_id = await house.start("slow")
        await eventually(lambda: outside.waiting == 1)
        await house.fetch(
            "UPDATE penstock.runs SET attempt = 7, owner = 'another', lease_expires_at = now() + interval '1 hour' "
            "WHERE id = $1",
            run_id,
        )
        outside.answers.set()
    assert (await house.get(run_id))["state"] == "running"
    assert names(await house.things()) == ["before"]
    assert set(await house.steps(run_id)) == {"before"}


async def test_leases_are_renewed_for_as_long_as_a_run_takes(
    house: House, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_SECRET_URL", outside.url)
    await house.deploy(SLOW)
    async with house.executor(lease_seconds=1, outgoing_allow="127.0.0.0/8"):
        run_id = await house.start("slow")
        claimed = (await house.ended(run_id, "running"))["lease_expires_at"]

        async def is_renewed() -> bool:
            lease: timedelta = (await house.get(run_id))["lease_expires_at"] - claimed
            return lease > timedelta(seconds=1.5)

        await eventually(is_renewed)
        outside.answers.set()
        assert (await house.ended(run_id))["state"] == "succeeded"


async def test_a_drain_finishes_what_is_in_flight_and_takes_nothing_more(
    house: House, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_SECRET_URL", outside.url)
    await house.deploy(SLOW)
    async with house.executor(outgoing_allow="127.0.0.0/8", executor_concurrency=1) as executor:
        first = await house.start("slow")
        await eventually(lambda: outside.waiting == 1)
        second = await house.start("slow")
        executor.drain()
        outside.answers.set()
    assert ((await house.get(first))["state"], (await house.get(second))["state"]) == ("succeeded", "queued")
    async with house.executor(outgoing_allow="127.0.0.0/8"):
        assert (await house.ended(second))["state"] == "succeeded"


async def test_a_hard_stop_gives_unfinished_runs_back(
    house: House, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_SECRET_URL", outside.url)
    await house.deploy(SLOW)
    async with house.executor(outgoing_allow="127.0.0.0/8") as executor:
        run_id = await house.start("slow")
        await eventually(lambda: outside.waiting == 1)
        await executor.kill()
    row = await house.get(run_id)
    assert (row["state"], row["attempt"], row["lease_expires_at"], row["failures"], row["crashes"]) == (
        "queued",
        1,
        None,
        0,
        0,
    )
    outside.answers.set()
    async with house.executor(outgoing_allow="127.0.0.0/8"):  # it was dispatched again already
        row = await house.ended(run_id)
    assert (row["state"], row["attempt"]) == ("succeeded", 2)
    assert names(await house.things()) == ["before", "after"]


async def test_a_run_that_takes_too_long_fails_or_is_tried_again(
    house: House, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_SECRET_URL", outside.url)
    await house.deploy("""
workflow: run_timeout
timeout: 300ms
retries: {attempts: 2, backoff: 1h}
steps:
  - http: "${secrets.URL}"
    on_error: continue
    retry: {attempts: 9, backoff: 1s}
---
workflow: step_timeout
steps:
  - http: "${secrets.URL}"
    timeout: 200ms
    retry: {attempts: 2, backoff: 1ms}
""")
    async with house.executor(outgoing_allow="127.0.0.0/8"):
        run_id = await house.start("run_timeout")
        retried = await house.ended(run_id, "scheduled")
        await house.fetch("UPDATE penstock.runs SET state = 'queued' WHERE id = $1", run_id)
        await house.publisher.dispatch(await house.summaries(run_id))
        failed = await house.ended(run_id)
        step = await house.perform("step_timeout")
    assert (retried["failures"], retried["error"]["kind"], retried["finished_at"]) == (1, "timeout", None)
    assert timedelta(minutes=7) < retried["scheduled_at"] - retried["started_at"] < timedelta(minutes=13)
    assert (failed["state"], failed["attempt"], failed["failures"], failed["error"]["kind"]) == (
        "failed",
        2,
        2,
        "timeout",
    )
    assert "timeout of 300ms" in failed["error"]["message"]
    assert (step["state"], step["error"]["kind"], step["error"]["step"]) == ("failed", "timeout", "step1")
    assert outside.seen == 4


@pytest.mark.parametrize("is_ending", [True, False])
async def test_a_commit_whose_outcome_is_unknown_may_be_sent_again(house: House, is_ending: bool) -> None:
    await house.deploy("workflow: once\nsteps:\n  - create: thing\n    set: {name: once}\n")
    (run,) = await house.admit("once")
    async with house.database.connection() as conn:
        (held,) = await claim_runs(conn, run_ids=[run.id], owner="me", lease=timedelta(seconds=60))
    kind = (await house.deployments.current(ENVIRONMENT)).app.types["thing"]
    thing = NewThing("1700000000000x1", {"name": "made", "code": "c"}, None, held.claimed_at)
    lease = Lease(held, None, asyncio.get_running_loop().time() + 60)
    commits = Commits(house.database, asyncio.Semaphore(1))

    def build(effect: CreateThing | UpsertThing, *, is_repeat: bool) -> Commit:
        record = StepRecord("step1", "create", "succeeded", held.claimed_at)
        ending = Ending(RunState.SUCCEEDED, {"done": True}) if is_ending else None
        return Commit(run.id, held.attempt, ENVIRONMENT, [record], effect, record, ending, is_repeat=is_repeat)

    first = await commits.commit(lease, build(UpsertThing(kind, thing, ("code",)), is_repeat=False))
    again = await commits.commit(lease, build(UpsertThing(kind, thing, ("code",)), is_repeat=True))
    assert first == again
    await commits.commit(lease, build(CreateThing(kind, prepare_thing(kind, thing)), is_repeat=True))
    assert len(await house.things()) == 1
    # What was not committed is not taken for committed.
    other = Commit(run.id, held.attempt + 1, ENVIRONMENT, [], ending=Ending(RunState.SUCCEEDED), is_repeat=True)
    with pytest.raises(LeaseLost):
        await commits.commit(lease, other)
