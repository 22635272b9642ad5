"""Runs performed by an executor on a real database: each action, conditions, memory, failures, and who may write
what.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest
from aiohttp import web

from penstock.broker.port import Delivery
from penstock.contracts.messages import RunAnswer, ScheduleChildren
from penstock.contracts.topology import EVENTS_EXCHANGE, SCHEDULER_QUEUE
from penstock.domain.ids import child_run_id, keyed_run_id
from penstock.domain.states import RunState
from penstock.errors import LeaseLost
from penstock.things.records import NewThing, prepare_thing
from penstock_executor import repository
from penstock_executor.holding.leases import Lease
from penstock_executor.runs import Commit, CreateThing, Ending, StepRecord, UpsertThing
from penstock_executor.writing.commits import Commits
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House, Outside, names, serve_outside


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    """A server that runs call, and that answers when the test says so."""
    server = Outside()
    async with serve_outside(server.handle) as server.url:
        yield server


async def test_a_thing_is_created_and_its_id_returned(house: House) -> None:
    await house.deploy("""
workflow: create_thing
parameters: {name: text, remaining: {type: number, optional: true, default: 3}}
steps:
  - id: thing
    create: thing
    set: {name: "${params.name}", remaining: "${params.remaining}"}
  - return: {id: "${steps.thing._id}", name: "${steps.thing.name}", made: "${steps.thing['Created Date']}"}
""")
    async with house.executor():
        run = await house.perform("create_thing", {"name": "first"})
    (thing,) = await house.things()
    assert (run["state"], run["attempt"], run["error"], thing["name"], thing["remaining"]) == (
        "succeeded",
        1,
        None,
        "first",
        3,
    )
    made = thing["created_date"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert run["result"] == {"id": thing["_id"], "name": "first", "made": made}
    steps = await house.steps(run["id"])
    assert steps["thing"]["result"]["_id"] == thing["_id"]
    assert {step["outcome"] for step in steps.values()} == {"succeeded"}
    assert [line["event"] for line in await eventually(lambda: house.logs(run["id"]))] == ["event completed"]


async def test_things_are_found_changed_and_deleted(house: House) -> None:
    await house.deploy("""
workflow: life
steps:
  - id: one
    create: thing
    set: {name: one, tags: [a, b], code: c1}
  - id: changed
    update: "${steps.one}"
    set: {name: uno}
    add: {tags: c}
    remove: {tags: [a]}
  - id: got
    get: thing
    where: {code: c1}
  - get: thing
    id: "${steps.one._id}"
  - id: nothing
    get: thing
    where: {code: nobody}
  - id: upserted
    create: thing
    set: {code: c1, name: eins}
    upsert: [code]
  - id: found
    find: thing
    where: [{key: name, constraint_type: equals, value: eins}]
  - id: gone
    delete: "${steps.one._id}"
    type: thing
  - id: left
    find: thing
  - return:
      changed: "${steps.changed}"
      got: "${steps.got.name}"
      same: "${steps.step4.name}"
      nothing: "${steps.nothing}"
      upserted: "${steps.upserted._id == steps.one._id}"
      found: "${map(steps.found.results, #.name)}"
      left: "${steps.left}"
""")
    async with house.executor():
        run = await house.perform("life")
    assert run["error"] is None
    result = run["result"]
    assert (result["changed"]["name"], result["changed"]["tags"], result["changed"]["code"]) == (
        "uno",
        ["b", "c"],
        "c1",
    )
    assert (result["got"], result["same"], result["nothing"], result["upserted"], result["found"]) == (
        "uno",
        "uno",
        None,
        True,
        ["eins"],
    )
    assert result["left"] == {"results": [], "after": None, "remaining": 0}
    assert await house.things() == []


async def test_conditions_skip_steps_and_runs(house: House) -> None:
    await house.deploy("""
workflow: conditional
when: params.go
parameters: {go: boolean}
steps:
  - id: no
    when: params.go == false
    create: thing
    set: {name: never}
  - return: {no: "${steps.no}", also: "${steps.no.name}"}
""")
    async with house.executor():
        met = await house.perform("conditional", {"go": True})
        unmet = await house.perform("conditional", {"go": False})
    assert (met["state"], met["result"]) == ("succeeded", {"no": None, "also": None})
    assert (await house.steps(met["id"]))["no"]["outcome"] == "skipped"
    assert (unmet["state"], unmet["result"], await house.steps(unmet["id"])) == ("skipped", None, {})
    assert [line["event"] for line in await house.logs(unmet["id"])] == ["event condition failed, terminating"]
    assert await house.things() == []


async def test_expressions_see_the_run_its_context_and_the_time(house: House) -> None:
    await house.deploy("""
workflow: look
on: {api: {method: POST, auth: public}}
steps:
  - state: {count: 1}
  - state: {more: "${state.count + 1}"}
  - log: "seen ${state.more}"
  - return:
      depth: "${run.depth}"
      limit: "${run.depth_limit}"
      workflow: "${run.workflow}"
      id: "${run.id}"
      method: "${request.method}"
      user: "${user}"
      now: "${now}"
      state: "${state}"
""")
    async with house.executor():
        runs = await house.admit("look", context={"request": {"method": "POST"}})
        await house.publisher.dispatch(runs)
        run = await house.ended(runs[0].id)
    result = run["result"]
    assert (result["depth"], result["limit"], result["workflow"], result["id"]) == (0, 10, "look", str(run["id"]))
    assert (result["method"], result["user"], result["state"]) == ("POST", None, {"count": 1, "more": 2})
    assert abs((run["finished_at"] - run["started_at"].fromisoformat(result["now"])).total_seconds()) < 10
    assert [
        line["message"] for line in await house.logs(run["id"]) if line["event"] == "plugin action console output"
    ] == ["seen 2"]


async def test_answers_merge_and_stop_ends_the_run_as_succeeded(house: House) -> None:
    await house.deploy("""
workflow: answer
steps:
  - return: {a: 1, b: 1}
  - return: {b: 2}
    text: hello
    content_type: text/csv
  - stop: enough
  - fail: never reached
""")
    async with house.executor():
        run = await house.perform("answer")
    assert (run["state"], run["result"]) == ("succeeded", {"a": 1, "b": 2, "text": "hello", "content_type": "text/csv"})
    assert (await house.steps(run["id"]))["step3"]["result"] == "enough"


async def test_a_failure_names_the_step_and_keeps_what_was_done(house: House) -> None:
    await house.deploy("""
workflow: broken
parameters: {n: {type: number, optional: true}}
steps:
  - create: thing
    set: {name: kept}
  - id: sum
    return: {n: "${params.n + 1}"}
  - create: thing
    set: {name: never}
""")
    async with house.executor():
        run = await house.perform("broken")
    assert run["state"] == "failed"
    assert (run["error"]["kind"], run["error"]["step"], run["error"]["expression"]) == (
        "expression",
        "sum",
        "params.n + 1",
    )
    assert run["error"]["place"] == "workflows/all.yaml:7"
    assert names(await house.things()) == ["kept"]
    assert {path: step["outcome"] for path, step in (await house.steps(run["id"])).items()} == {
        "step1": "succeeded",
        "sum": "failed",
    }
    (line,) = await house.logs(run["id"])
    assert (line["level"], line["event"], line["step"]) == ("error", "error occurred during workflow execution", "sum")


async def test_fail_is_final_in_the_authors_words(house: House) -> None:
    await house.deploy("workflow: refuse\nretries: {attempts: 5, backoff: 1s}\nsteps:\n  - fail: 'no ${1 + 1}'\n")
    async with house.executor():
        run = await house.perform("refuse")
    assert (run["state"], run["attempt"], run["failures"], run["error"]["kind"], run["error"]["message"]) == (
        "failed",
        1,
        1,
        "failed",
        "no 2",
    )


async def test_on_error_continue_gives_the_error_as_result(house: House) -> None:
    await house.deploy("""
workflow: lenient
steps:
  - create: thing
    set: {code: same}
  - id: second
    create: thing
    set: {code: same}
    on_error: continue
  - id: third
    trigger: refuse
    on_error: continue
  - return: {second: "${steps.second.error.kind}", third: "${steps.third.error.message}"}
---
workflow: refuse
steps:
  - create: thing
    set: {code: other}
  - fail: because
""")
    async with house.executor():
        run = await house.perform("lenient")
    assert (run["state"], run["result"]) == ("succeeded", {"second": "unique", "third": "because"})
    assert [thing["code"] for thing in await house.things()] == ["same", "other"]
    assert (await house.steps(run["id"]))["second"]["outcome"] == "failed"


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


async def test_a_triggered_workflow_runs_inside_at_the_same_depth(house: House) -> None:
    await house.deploy("""
workflow: outer
steps:
  - id: inner
    trigger: make
    with: {name: made}
  - id: not_met
    trigger: make
    with: {name: ""}
  - return: {inner: "${steps.inner}", not_met: "${steps.not_met}"}
---
workflow: make
when: params.name != ''
parameters: {name: text}
steps:
  - id: thing
    create: thing
    set: {name: "${params.name}"}
  - stop: enough
  - fail: never
---
workflow: deep
recursive: true
parameters: {n: {type: number, optional: true, default: 0}}
steps:
  - trigger: deep
    with: {n: "${params.n + 1}"}
""")
    async with house.executor():
        run = await house.perform("outer")
        deep = await house.perform("deep")
    assert (run["state"], run["result"], run["depth"]) == ("succeeded", {"inner": None, "not_met": None}, 0)
    assert {"inner", "inner/thing", "inner/step2", "not_met"} < set(await house.steps(run["id"]))
    assert names(await house.things()) == ["made"]
    assert (deep["state"], deep["error"]["kind"]) == ("failed", "nesting")
    assert "nested more than 16 deep" in deep["error"]["message"]


async def test_wrong_parameters_of_a_target_fail_where_they_are_written(house: House) -> None:
    await house.deploy("""
workflow: caller
parameters: {n: any}
steps:
  - schedule: target
    with: {n: "${params.n}"}
---
workflow: target
parameters: {n: number}
steps:
  - log: done
""")
    async with house.executor():
        run = await house.perform("caller", {"n": "seven"})
    assert (run["state"], run["error"]["kind"], run["error"]["step"]) == ("failed", "parameters", "step1")
    assert run["error"]["message"] == "Invalid value for parameter n: expected a number, got text"


class Inbox:
    """Takes what is published to a queue."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []

    async def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        await delivery.ack()


async def test_a_scheduled_child_is_asked_for_one_deeper_with_its_derived_id(house: House) -> None:
    await house.deploy("""
workflow: parent
parameters: {}
steps:
  - id: soon
    schedule: child
    with: {n: 1}
  - id: later
    schedule: child
    with: {n: 2}
    after: 10m
    priority: 1
    key: "'k' + string(run.depth)"
  - return: {soon: "${steps.soon}", later: "${steps.later}"}
---
workflow: child
parameters: {n: number}
steps:
  - log: done
""")
    inbox = Inbox()
    await house.broker.consume(SCHEDULER_QUEUE, inbox, prefetch=10)
    async with house.executor():
        runs = await house.admit("parent", depth=4)
        await house.publisher.dispatch(runs)
        run = await house.ended(runs[0].id)
    assert run["result"] == {
        "soon": str(child_run_id(run["id"], "soon")),
        "later": str(keyed_run_id("development", "child", "k4")),
    }
    messages = [delivery for delivery in inbox.deliveries if delivery.message.type == ScheduleChildren.TYPE]
    assert {delivery.message.headers["depth"] for delivery in messages} == {5}
    children = [child for delivery in messages for child in ScheduleChildren.decode(delivery.message.body).runs]
    assert [(child.workflow, child.parameters, child.priority) for child in children] == [
        ("child", {"n": 1}, None),
        ("child", {"n": 2}, 1),
    ]
    assert [child.run_id for child in children] == [None, keyed_run_id("development", "child", "k4")]
    assert children[0].scheduled_at is None
    assert children[1].scheduled_at is not None
    assert timedelta(minutes=9) < children[1].scheduled_at - run["started_at"] < timedelta(minutes=11)


async def test_a_list_of_ten_thousand_is_stored_with_the_step(house: House) -> None:
    await house.deploy("""
workflow: many
parameters: {items: list of number}
steps:
  - id: list
    schedule_list: child
    over: "${params.items}"
    with: {n: "${item}", place: "${index}"}
    interval: 2s
  - return: {list: "${steps.list}"}
---
workflow: some
steps:
  - create: thing
    set: {name: b, remaining: 2}
  - create: thing
    set: {name: a, remaining: 1}
  - id: list
    schedule_list: child
    over: {find: thing, sort: name}
    with: {n: "${item.remaining}"}
    sequential: true
---
workflow: child
parameters: {n: number, place: {type: number, optional: true}}
steps:
  - log: done
""")
    async with house.executor():
        run = await house.perform("many", {"items": list(range(10_000))})
        searched = await house.perform("some")
    assert run["error"] is None
    (stored,) = await house.fetch("SELECT * FROM penstock.lists WHERE parent_run_id = $1", run["id"])
    assert (str(stored["id"]), stored["total"], stored["interval_seconds"], stored["workflow"]) == (
        run["result"]["list"],
        10_000,
        2,
        "child",
    )
    chunks = await house.fetch(
        "SELECT parameters FROM penstock.list_chunks WHERE list_id = $1 ORDER BY first_index", stored["id"]
    )
    parameters = [item for chunk in chunks for item in chunk["parameters"]]
    assert len(parameters) == 10_000
    assert parameters[1234] == {"n": 1234, "place": 1234}
    (found,) = await house.fetch("SELECT * FROM penstock.lists WHERE parent_run_id = $1", searched["id"])
    assert (found["total"], found["is_sequential"]) == (2, True)
    chunk = (await house.fetch("SELECT parameters FROM penstock.list_chunks WHERE list_id = $1", found["id"]))[0]
    assert chunk["parameters"] == [{"n": 1, "place": None}, {"n": 2, "place": None}]


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
        (held,) = await repository.claim_runs(conn, run_ids=[run_id], owner="dead", lease=timedelta(seconds=0))
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
    assert len(await house.fetch("SELECT FROM penstock.notifications")) == 1


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


async def test_a_retried_trigger_does_not_repeat_what_is_finished_inside(house: House) -> None:
    seen = 0

    async def fail_twice(_: web.Request) -> web.Response:
        nonlocal seen
        seen += 1
        return web.Response(status=503 if seen < 3 else 200, text="ok")

    async with serve_outside(fail_twice) as url:
        await house.deploy("""
workflow: outer
parameters: {url: text}
steps:
  - id: inner
    trigger: inner
    with: {url: "${params.url}"}
    retry: {attempts: 3, backoff: 1ms}
  - return: {inner: "${steps.inner}"}
---
workflow: inner
parameters: {url: text}
steps:
  - id: thing
    create: thing
    set: {name: once}
  - id: call
    http: "${params.url}"
  - return: {id: "${steps.thing._id}", body: "${steps.call.body}"}
""")
        async with house.executor(outgoing_allow="127.0.0.1"):
            run = await house.perform("outer", {"url": url})
    (thing,) = await house.things()
    assert (run["state"], run["result"]) == ("succeeded", {"inner": {"id": thing["_id"], "body": "ok"}})


@pytest.mark.parametrize("is_ending", [True, False])
async def test_a_commit_whose_outcome_is_unknown_may_be_sent_again(house: House, is_ending: bool) -> None:
    await house.deploy("workflow: once\nsteps:\n  - create: thing\n    set: {name: once}\n")
    (run,) = await house.admit("once")
    async with house.database.connection() as conn:
        (held,) = await repository.claim_runs(conn, run_ids=[run.id], owner="me", lease=timedelta(seconds=60))
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
