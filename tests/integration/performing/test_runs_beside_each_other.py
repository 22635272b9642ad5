"""Runs share an executor, its limits and its definitions, and none harms another."""

from uuid import uuid4

from penstock.broker.port import Delivery
from penstock.contracts.messages import RunAnswer
from penstock.contracts.topology import EVENTS_EXCHANGE
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House
from tests.integration.performing.inbox import Inbox


async def test_one_bad_run_in_a_batch_fails_alone(house: House) -> None:
    await house.deploy("""
workflow: unique
parameters: {code: text}
steps:
  - id: thing
    create: thing
    set: {code: "${params.code}"}
  - return: {id: "${steps.thing._id}"}
""")
    async with house.executor():
        runs = [*await house.admit("unique", {"code": "same"}, count=2)]
        for number in range(30):
            runs += await house.admit("unique", {"code": f"c{number}"})
        await house.publisher.dispatch(runs)
        rows = [await house.ended(run.id) for run in runs]
    assert sorted(row["state"] for row in rows) == ["failed", *["succeeded"] * 31]
    failed = next(row for row in rows if row["state"] == "failed")
    assert (failed["error"]["kind"], failed["error"]["step"], failed["result"]) == ("unique", "thing", None)
    assert "(code)=(same)" in failed["error"]["message"]
    assert len(await house.things()) == 31


async def test_data_that_cannot_be_stored_fails_the_run_and_no_other(house: House) -> None:
    await house.deploy("""
workflow: poison
parameters: {value: any}
steps:
  - state: {value: "${params.value}"}
  - return: {value: "${state.value}"}
""")
    async with house.executor():
        runs = await house.admit("poison", {"value": 1}, count=5)
        await house.fetch(
            "UPDATE penstock.runs SET parameters = $1 WHERE id = $2", {"value": "a" * 10 + "\\u0000"}, runs[2].id
        )
        await house.fetch(
            """UPDATE penstock.runs SET parameters = '{"value": 123456789012345678901234567890}' WHERE id = $1""",
            runs[3].id,
        )
        await house.publisher.dispatch(runs)
        rows = [await house.ended(run.id) for run in runs]
    assert [row["state"] for row in rows[:3]] == ["succeeded"] * 3
    assert rows[4]["state"] == "succeeded"


async def test_a_run_beyond_a_lowered_limit_is_terminated_at_its_claim(house: House) -> None:
    await house.deploy("workflow: once\nsteps:\n  - create: thing\n    set: {name: once}\n")
    deep = (await house.admit("once", depth=5))[0]
    shallow = (await house.admit("once", depth=1))[0]
    async with house.executor():
        await house.publisher.dispatch([shallow])
        await house.ended(shallow.id)
        late = (await house.admit("once", depth=2))[0]
        await house.fetch("UPDATE penstock.environments SET depth_limit = 1 WHERE name = $1", ENVIRONMENT)
        await house.publisher.dispatch([deep, late])
        rows = [await house.ended(deep.id), await house.ended(late.id)]
    assert {row["state"] for row in rows} == {"terminated"}
    assert rows[0]["error"]["kind"] == "depth_limit"
    assert rows[0]["error"]["path"] == ["once"]
    assert len(await house.things()) == 1
    (row,) = await house.fetch("SELECT sum(count) AS count FROM penstock.notices WHERE kind = 'terminations'")
    assert row["count"] == 2


async def test_a_limit_that_is_lowered_is_observed_at_the_claim_once_per_path(house: House) -> None:
    await house.deploy("""
workflow: once
parameters: {left: number}
steps:
  - {wait_for: go}
  - {when: params.left > 0, schedule: once, with: {left: "${params.left - 1}"}}
""")
    await house.fetch("UPDATE penstock.environments SET depth_policy = 'observe'")
    async with house.services():
        (above,) = await house.admit("once", {"left": 1}, depth=4)
        (deep,) = await house.admit("once", {"left": 2}, depth=5)
        (shallow,) = await house.admit("once", {"left": 0}, depth=1)
        await house.publisher.dispatch([above])
        await house.ended(above.id, "waiting")
        await house.fetch("UPDATE penstock.environments SET depth_limit = 2")
        await house.publisher.dispatch([deep, shallow])
        await eventually(lambda: _pass_all(house, 6))

    runs = await house.fetch("SELECT * FROM penstock.runs")
    assert {run["state"] for run in runs} == {"succeeded"}
    noted = {run["id"]: run["budget"]["observed"] for run in runs if run["budget"]}
    assert {id for id, reason in noted.items() if reason == "depth_limit"} == {above.id, deep.id}
    assert [reason for reason in noted.values() if reason is True] == [True] * 3, "what they have scheduled"
    lines = await house.fetch("SELECT run_id FROM penstock.logs WHERE details ->> 'kind' = 'observed'")
    assert sorted(line["run_id"] for line in lines) == sorted([above.id, deep.id])


async def test_below_a_run_that_is_yet_to_be_observed_none_is_the_first_of_its_path(house: House) -> None:
    await house.deploy("workflow: once\nsteps: [{log: x}]\n")
    await house.fetch("UPDATE penstock.environments SET depth_policy = 'observe', depth_limit = 20")
    (root,) = await house.admit("once", depth=3)
    (above,) = await house.admit("once", depth=4)
    (below,) = await house.admit("once", depth=5)
    for parent, child in ((root, above), (above, below)):
        await house.fetch("UPDATE penstock.runs SET parent_run_id = $1 WHERE id = $2", parent.id, child.id)
    await house.fetch("UPDATE penstock.runs SET state = 'succeeded', finished_at = now() WHERE id = $1", root.id)
    await house.fetch("UPDATE penstock.environments SET depth_limit = 2")
    async with house.executor():
        for run in (below, above):
            await house.publisher.dispatch([run])
            await house.ended(run.id)

    (row,) = await house.fetch("SELECT sum(count) AS count FROM penstock.notices WHERE kind = 'observed'")
    assert row["count"] == 1
    noted = {run.id: (await house.get(run.id))["budget"] for run in (root, above, below)}
    assert noted == {
        root.id: None, above.id: {"base": 0, "observed": "depth_limit"}, below.id: {"base": 0, "observed": True},
    }  # fmt: skip


async def _pass_all(house: House, count: int) -> bool:
    """Let all that wait continue; whether this many runs have ended."""
    await house.fetch("UPDATE penstock.waits SET until = clock_timestamp() WHERE until IS NULL OR until > now()")
    (row,) = await house.fetch("SELECT count(*) AS ended FROM penstock.runs WHERE finished_at IS NOT NULL")
    return bool(row["ended"] == count)


async def test_runs_of_a_stopped_chain_are_not_started(house: House) -> None:
    await house.deploy("workflow: once\nsteps:\n  - create: thing\n    set: {name: once}\n")
    (run,) = await house.admit("once")
    await house.fetch(
        "INSERT INTO penstock.chains (id, environment, runs, stopped_at) VALUES ($1, $2, 1, now())",
        run.chain_id,
        ENVIRONMENT,
    )
    async with house.executor():
        await house.publisher.dispatch([run])
        row = await house.ended(run.id)
    assert (row["state"], row["error"]["kind"], await house.things()) == ("terminated", "chain_stopped", [])


async def test_events_tell_of_each_run(house: House) -> None:
    await house.deploy("workflow: good\nsteps:\n  - log: hello\n---\nworkflow: bad\nsteps:\n  - fail: never\n")
    seen: list[str] = []

    async def note(delivery: Delivery) -> None:
        seen.append(delivery.routing_key)

    await house.broker.subscribe(EVENTS_EXCHANGE, f"{ENVIRONMENT}.run.*", note)
    async with house.executor():
        await house.perform("good")
        await house.perform("bad")
    kinds = ["started", "succeeded", "started", "failed"]
    await eventually(lambda: seen == [f"{ENVIRONMENT}.run.{kind}" for kind in kinds])


async def test_a_waiting_caller_gets_the_answer(house: House) -> None:
    await house.deploy("""
workflow: ask
on: {api: {method: POST, auth: public}}
steps:
  - return: {n: 42}
---
workflow: early
on: {api: {method: POST, auth: public, respond: on_return}}
steps:
  - create: thing
    set: {name: first}
  - return: {n: 1}
  - fail: afterwards
""")
    inbox = Inbox()
    queue = await house.broker.open_reply_queue(inbox)
    async with house.executor():
        for workflow in ("ask", "early"):
            runs = await house.admit(workflow)
            await house.publisher.dispatch(runs, {runs[0].id: queue})
            await house.ended(runs[0].id)
    answers = [RunAnswer.decode(delivery.message.body) for delivery in inbox.deliveries]
    assert [(answer.state, answer.result) for answer in answers] == [("succeeded", {"n": 42}), ("running", {"n": 1})]
    (early,) = await house.fetch("SELECT state, result FROM penstock.runs WHERE workflow = 'early'")
    assert (early["state"], early["result"]) == ("failed", {"n": 1})


async def test_a_run_keeps_the_definition_it_started_with(house: House) -> None:
    await house.deploy("workflow: versioned\nsteps:\n  - return: {version: 1}\n")
    (old,) = await house.admit("versioned")
    await house.fetch("UPDATE penstock.runs SET version = 1 WHERE id = $1", old.id)
    await house.deploy("workflow: versioned\nsteps:\n  - return: {version: 2}\n")
    (new,) = await house.admit("versioned")
    async with house.executor():
        await house.publisher.dispatch([old, new])
        results = [(await house.ended(run.id))["result"] for run in (old, new)]
    assert results == [{"version": 1}, {"version": 2}]


async def test_a_run_whose_workflow_was_removed_meanwhile_fails_with_a_word(house: House) -> None:
    await house.deploy("workflow: old\nsteps:\n  - log: hello\n")
    (run,) = await house.admit("old")
    await house.deploy("workflow: new\nsteps:\n  - log: hello\n")
    async with house.executor():
        await house.publisher.dispatch([run])
        row = await house.ended(run.id)
    assert (row["state"], row["attempt"], row["error"]["kind"]) == ("failed", 1, "unknown_workflow")
    assert "has no workflow 'old'" in row["error"]["message"]


async def test_an_unknown_workflow_of_a_message_is_ignored(house: House) -> None:
    await house.deploy("workflow: good\nsteps:\n  - log: hello\n")
    (run,) = await house.admit("good")
    ghost = type(run)(uuid4(), uuid4(), None, ENVIRONMENT, "ghost", run.state, 0, run.scheduled_at)
    async with house.executor():
        await house.publisher.dispatch([ghost, run])
        assert (await house.ended(run.id))["state"] == "succeeded"
