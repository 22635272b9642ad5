"""Children are admitted with the step that schedules them, and one of them may be continued with here."""

from collections import Counter
from typing import Final
from uuid import UUID

import pytest

from penstock.contracts.messages import ScheduleChildren
from penstock.contracts.topology import SCHEDULER_QUEUE
from penstock.domain.ids import child_run_id
from penstock.domain.runs import RunSummary
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House, Outside
from tests.integration.performing.inbox import Inbox

HOPS = """
workflow: hop
recursive: true
parameters: {remaining: number}
steps:
  - when: params.remaining > 0
    schedule: hop
    with: {remaining: "${params.remaining - 1}"}
"""
PARENT = """
workflow: parent
steps:
  - http: "${secrets.URL}"
  - schedule: child
---
workflow: child
steps: [{log: done}]
"""
OPEN: Final = {"outgoing_allow": "127.0.0.0/8"}


async def test_a_chain_needs_no_scheduler_and_no_message_from_hop_to_hop(house: House) -> None:
    await house.deploy(HOPS, depth_limit=30)
    seen = Inbox()
    await house.broker.consume(SCHEDULER_QUEUE, seen, prefetch=10)
    async with house.executor():
        root = await house.start("hop", {"remaining": 20})
        await eventually(lambda: _have_ended(house, 21))
        runs = await house.fetch("SELECT * FROM penstock.runs WHERE chain_id = $1 ORDER BY depth", root)
    assert [run["depth"] for run in runs] == list(range(21))
    assert [run["id"] for run in runs[1:]] == [child_run_id(run["id"], "step1") for run in runs[:-1]]
    assert {run["attempt"] for run in runs} == {1}
    assert seen.deliveries == []


async def test_a_child_beyond_the_depth_limit_is_recorded_as_terminated(house: House) -> None:
    await house.deploy(HOPS, depth_limit=3)
    async with house.executor():
        root = await house.start("hop", {"remaining": 20})
        await eventually(lambda: _have_states(house, root, {"succeeded": 4, "terminated": 1}))


async def test_a_child_of_a_chain_that_is_fenced_meanwhile_is_never_begun(
    house: House, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = await _begin_parent(house, outside, monkeypatch)
    async with house.executor(**OPEN):
        await house.publisher.dispatch([root])
        await eventually(lambda: outside.waiting == 1)
        await _execute(
            house,
            "INSERT INTO penstock.chains (id, environment, runs, stopped_at) VALUES ($1, $2, 1, clock_timestamp())",
            root.id,
            ENVIRONMENT,
        )
        outside.answers.set()
        await house.ended(root.id, "succeeded")
    (child,) = await house.fetch("SELECT * FROM penstock.runs WHERE id <> $1", root.id)
    assert (child["state"], child["started_at"]) == ("terminated", None)


async def test_a_run_that_lost_its_lease_has_no_child(
    house: House, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = await _begin_parent(house, outside, monkeypatch)
    async with house.executor(**OPEN):
        await house.publisher.dispatch([root])
        await eventually(lambda: outside.waiting == 1)
        await _execute(house, "UPDATE penstock.runs SET attempt = attempt + 1 WHERE id = $1", root.id)
        outside.answers.set()
    assert await house.fetch("SELECT FROM penstock.runs WHERE id <> $1", root.id) == []
    assert await house.fetch("SELECT FROM penstock.chains") == []


async def test_an_executor_that_leaves_hands_the_child_to_others(
    house: House, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = await _begin_parent(house, outside, monkeypatch)
    async with house.executor(**OPEN) as leaving:
        await house.publisher.dispatch([root])
        await eventually(lambda: outside.waiting == 1)
        leaving.drain()
        await eventually(leaving.stop.soft.is_set)
        outside.answers.set()
        await house.ended(root.id)
    (child,) = await house.fetch("SELECT * FROM penstock.runs WHERE id <> $1", root.id)
    assert (child["state"], child["attempt"]) == ("queued", 0)
    async with house.executor():
        await house.ended(child["id"], "succeeded")


async def test_a_child_that_the_newest_deployment_refuses_is_left_to_a_scheduler(
    house: House, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = await _begin_parent(house, outside, monkeypatch)
    seen = Inbox()
    await house.broker.consume(SCHEDULER_QUEUE, seen, prefetch=10)
    async with house.executor(**OPEN):
        await house.publisher.dispatch([root])
        await eventually(lambda: outside.waiting == 1)
        await house.deploy(PARENT.replace("child", "renamed"))
        outside.answers.set()
        await house.ended(root.id, "succeeded")
    (message,) = [delivery.message for delivery in seen.deliveries if delivery.message.type == ScheduleChildren.TYPE]
    (child,) = ScheduleChildren.decode(message.body).runs
    assert (child.workflow, child.run_id, child.key) == ("child", child_run_id(root.id, "step2"), "step2")
    assert await house.fetch("SELECT FROM penstock.runs WHERE id <> $1", root.id) == []


async def test_a_child_is_admitted_by_a_deployment_that_is_newer_than_the_one_known_here(
    house: House, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = await _begin_parent(house, outside, monkeypatch)
    async with house.executor(**OPEN):
        await house.publisher.dispatch([root])
        await eventually(lambda: outside.waiting == 1)
        await house.deploy(PARENT + "---\nworkflow: other\nsteps: [{log: other}]\n")
        outside.answers.set()
        await house.ended(root.id, "succeeded")
        child = await house.ended(child_run_id(root.id, "step2"))
    assert (child["state"], child["version"]) == ("succeeded", 2)


async def test_a_continued_child_of_an_executor_that_is_killed_is_performed_by_another(
    house: House, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_SECRET_URL", outside.url)
    await house.deploy("""
workflow: parent
steps: [{schedule: child}]
---
workflow: child
steps: [{http: "${secrets.URL}"}, {create: thing, set: {name: made}}]
""")
    async with house.executor(**OPEN) as killed:
        root = await house.start("parent")
        await eventually(lambda: outside.waiting == 1)
        await killed.kill()
    outside.answers.set()
    async with house.schedulers(), house.executor(**OPEN):
        child = await house.ended(child_run_id(root, "step1"), "succeeded")
    assert child["attempt"] == 2
    assert len(await house.things()) == 1


async def test_a_chain_stands_behind_what_waits_for_the_only_slot(house: House) -> None:
    await house.deploy(HOPS + "---\nworkflow: first\nsteps: [{log: x}]\n", depth_limit=100)
    async with house.executor(executor_concurrency=1):
        root = await house.start("hop", {"remaining": 80})
        await eventually(lambda: _has_begun(house, root))
        others = await house.admit("first", count=5, priority=0)
        await house.publisher.dispatch(others)
        for other in others:
            await house.ended(other.id, "succeeded")
        await eventually(lambda: _have_ended(house, 81 + len(others)))
    last = max([(await house.get(other.id))["started_at"] for other in others])
    assert await house.fetch("SELECT FROM penstock.runs WHERE started_at > $1", last) != []


async def test_a_tree_that_doubles_is_shared_by_two_executors(house: House) -> None:
    await house.deploy("""
workflow: twice
recursive: true
parameters: {remaining: number}
steps:
  - when: params.remaining > 0
    schedule: twice
    with: {remaining: "${params.remaining - 1}"}
  - when: params.remaining > 0
    schedule: twice
    with: {remaining: "${params.remaining - 1}"}
""")
    async with house.executor(), house.executor():
        await house.start("twice", {"remaining": 6})
        await eventually(lambda: _have_ended(house, 127))
    owners = Counter(row["owner"] for row in await house.fetch("SELECT owner FROM penstock.runs"))
    assert len(owners) == 2
    assert min(owners.values()) > 127 // 10


async def test_a_step_that_is_refused_has_no_child_that_comes_after_it(house: House) -> None:
    await house.deploy("""
workflow: parent
steps:
  - {create: thing, set: {code: same}}
  - schedule: child
---
workflow: child
steps: [{log: x}]
""")
    async with house.executor():
        first = await house.perform("parent")
        second = await house.perform("parent")
        await eventually(lambda: _have_ended(house, 3))
    assert (first["state"], second["state"], second["error"]["kind"]) == ("succeeded", "failed", "unique")
    assert [row["parent_run_id"] for row in await house.fetch("SELECT * FROM penstock.runs WHERE depth = 1")] == [
        first["id"]
    ]


async def _begin_parent(house: House, outside: Outside, monkeypatch: pytest.MonkeyPatch) -> RunSummary:
    monkeypatch.setenv("PENSTOCK_SECRET_URL", outside.url)
    await house.deploy(PARENT)
    (root,) = await house.admit("parent")
    return root


async def _execute(house: House, statement: str, *arguments: object) -> None:
    async with house.database.connection() as conn:
        await conn.execute(statement, *arguments)


async def _has_begun(house: House, root: UUID) -> bool:
    return bool(await house.fetch("SELECT FROM penstock.runs WHERE chain_id = $1 AND depth > 2", root))


async def _have_ended(house: House, count: int) -> bool:
    return await house.fetchval("SELECT count(*) FROM penstock.runs WHERE finished_at IS NOT NULL") == count


async def _have_states(house: House, root: UUID, states: dict[str, int]) -> bool:
    rows = await house.fetch("SELECT state FROM penstock.runs WHERE chain_id = $1", root)
    return Counter(row["state"] for row in rows) == states
