"""Runs trigger other workflows inside themselves, and schedule them."""

from datetime import timedelta

from aiohttp import web

from penstock.contracts.messages import ScheduleChildren
from penstock.contracts.topology import SCHEDULER_QUEUE
from penstock.domain.ids import child_run_id, keyed_run_id
from tests.integration.executing import House, names, serve_outside
from tests.integration.performing.inbox import Inbox


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


async def test_a_child_is_admitted_with_its_step_and_one_with_a_key_is_asked_for_one_deeper(house: House) -> None:
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
        ("child", {"n": 2}, 1),
    ]
    assert [child.run_id for child in children] == [keyed_run_id("development", "child", "k4")]
    assert children[0].scheduled_at is not None
    assert timedelta(minutes=9) < children[0].scheduled_at - run["started_at"] < timedelta(minutes=11)
    soon = await house.get(child_run_id(run["id"], "soon"))
    assert (soon["workflow"], soon["parameters"], soon["depth"], soon["parent_run_id"]) == (
        "child", {"n": 1}, 5, run["id"],
    )  # fmt: skip


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
