"""Steps inside a step: `each` goes through a list, `parallel` has branches, and every step of them is remembered."""

import asyncio
from uuid import UUID

from aiohttp import web

from penstock.db import Record
from penstock.domain.ids import child_run_id
from tests.eventually import eventually
from tests.integration.executing import House, names, serve_outside

LOCAL = "127.0.0.0/8"
LOOPS = """
workflow: each
parameters: {names: list of any, stop_at: {type: number, optional: true, default: -1}}
steps:
  - state: {seen: 0}
  - id: things
    each: "${params.names}"
    as: name
    steps:
      - when: index == params.stop_at
        stop: enough
      - id: thing
        create: thing
        set: {name: "${name}", remaining: "${index}"}
      - state: {seen: "${state.seen + 1}"}
      - id: lines
        each: "${[1, 2]}"
        steps:
          - id: line
            when: item > 1
            trigger: add
            with: {a: "${item}", b: "${steps.thing.remaining}"}
  - return: {lines: "${steps.things}", seen: "${state.seen}"}
---
workflow: add
parameters: {a: number, b: number}
steps:
  - return: {sum: "${params.a + params.b}"}
---
workflow: scheduling
parameters: {}
steps:
  - id: ids
    each: [a, b]
    steps:
      - id: run
        schedule: add
        with: {a: "${index}", b: 1}
  - return: {ids: "${steps.ids}"}
---
workflow: too_many
steps:
  - each: "${map([1..4000], #)}"
    steps:
      - each: [1, 2]
        as: other
        steps: [{state: {a: 1}}]
---
workflow: not_a_list
parameters: {names: any}
steps:
  - id: loop
    each: "${params.names}"
    steps: [{log: never}]
"""


async def test_steps_are_performed_for_each_item_and_results_are_a_list(house: House) -> None:
    await house.deploy(LOOPS)
    async with house.executor():
        run = await house.perform("each", {"names": ["a", "b", "c"]})
        none = await house.perform("each", {"names": []})
        stopped = await house.perform("each", {"names": ["d", "e"], "stop_at": 1})
    lines = [[None, {"sum": 2}], [None, {"sum": 3}], [None, {"sum": 4}]]
    assert (run["state"], run["result"]) == ("succeeded", {"lines": lines, "seen": 3}), run["error"]
    steps = await house.steps(run["id"])
    assert {"things[0].thing", "things[2].lines[1].line", "things[2].lines[]", "things"} < set(steps)
    assert none["result"] == {"lines": [], "seen": 0}
    assert (stopped["state"], stopped["result"]) == ("succeeded", None)
    assert names(await house.things()) == ["a", "b", "c", "d"]


async def test_runs_scheduled_by_iterations_have_ids_of_their_own(house: House) -> None:
    await house.deploy(LOOPS)
    async with house.services():
        run = await house.perform("scheduling")
        expected = [str(child_run_id(run["id"], f"ids[{index}].run")) for index in range(2)]
        children = await eventually(lambda: _ended_children(house, run["id"]))
    assert run["result"] == {"ids": expected}
    assert [(child["depth"], child["result"]) for child in children] == [(1, {"sum": 1}), (1, {"sum": 2})]
    assert [str(child["id"]) for child in children] == expected


async def _ended_children(house: House, run_id: UUID) -> list[Record]:
    found = await house.fetch(
        "SELECT * FROM penstock.runs WHERE parent_run_id = $1 AND finished_at IS NOT NULL ORDER BY parameters->'a'",
        run_id,
    )
    return found if len(found) == 2 else []


async def test_what_is_no_list_or_too_long_fails_with_its_place(house: House) -> None:
    await house.deploy(LOOPS)
    async with house.executor():
        text = await house.perform("not_a_list", {"names": "abc"})
        many = await house.perform("too_many")
    assert (text["state"], text["error"]["step"]) == ("failed", "loop")
    assert "a list is expected, and this is text" in text["error"]["message"]
    assert many["state"] == "failed"
    assert "at most 10000 are possible. `schedule_list` takes lists of any length" in many["error"]["message"]


CALLS = """
workflow: charges
parameters: {url: text}
retries: {attempts: 2, backoff: 0s}
steps:
  - id: charges
    each: [0, 1, 2, 3]
    steps:
      - id: thing
        create: thing
        set: {name: "${string(item)}"}
      - id: pay
        http: "${params.url}/${item}"
  - return: {statuses: "${map(steps.charges, #.status)}"}
---
workflow: once
parameters: {url: text}
steps:
  - id: charges
    each: [0, 1, 2, 3]
    steps:
      - id: pay
        http: "${params.url}/${item}"
---
workflow: beside
parameters: {url: text}
steps:
  - id: all
    parallel:
      quick:
        - id: a
          http: "${params.url}/a"
        - create: thing
          set: {name: quick}
      slow:
        - id: b
          http: "${params.url}/b"
        - id: c
          each: [1, 2, 3]
          at_once: 3
          steps:
            - http: "${params.url}/c${item}"
  - return: {all: "${steps.all}"}
"""


class Counting:
    """A server that counts its calls by path, and fails those that a test names."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failing: dict[str, int] = {}
        self.at_once = 0
        self.most = 0
        self.gate: asyncio.Event | None = None

    async def handle(self, request: web.Request) -> web.Response:
        self.calls.append(request.path)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.at_once -= 1
        if self.failing.get(request.path, 0) > 0:
            self.failing[request.path] -= 1
            return web.Response(status=503)
        return web.json_response({})


async def test_a_retry_performs_no_iteration_twice_and_the_error_names_it(house: House) -> None:
    await house.deploy(CALLS)
    server = Counting()
    server.failing["/2"] = 1
    async with serve_outside(server.handle) as url, house.services(outgoing_allow=LOCAL):
        run = await house.perform("charges", {"url": url})
        server.failing["/1"] = 1
        failed = await house.perform("once", {"url": url})
    assert (run["state"], run["attempt"], run["result"]) == ("succeeded", 2, {"statuses": [200, 200, 200, 200]})
    assert server.calls == ["/0", "/1", "/2", "/2", "/3", "/0", "/1"]
    assert names(await house.things()) == ["0", "1", "2", "3"]
    assert (failed["state"], failed["error"]["step"]) == ("failed", "charges[1].pay")


async def test_branches_are_performed_side_by_side(house: House) -> None:
    await house.deploy(CALLS)
    server = Counting()
    server.gate = asyncio.Event()
    async with serve_outside(server.handle) as url, house.executor(outgoing_allow=LOCAL):
        run_id = await house.start("beside", {"url": url})
        await eventually(lambda: server.at_once == 2)
        server.gate.set()
        run = await house.ended(run_id)
        server.gate.clear()
        again = await house.start("beside", {"url": url})
        await eventually(lambda: server.at_once == 2)
        server.gate.set()
        await house.ended(again)
    assert run["state"] == "succeeded", run["error"]
    result = run["result"]["all"]
    assert result["quick"]["name"] == "quick"
    assert [answer["status"] for answer in result["slow"]] == [200, 200, 200]
    assert sorted(server.calls) == sorted(2 * ["/a", "/b", "/c1", "/c2", "/c3"])
    assert {"all[slow].c[2].step1", "all[quick].a"} < set(await house.steps(run_id))


async def test_a_branch_that_fails_leaves_those_under_way_to_be_remembered(house: House) -> None:
    await house.deploy("""
workflow: failing
parameters: {url: text}
retries: {attempts: 2, backoff: 0s}
steps:
  - id: all
    parallel:
      bad:
        - id: a
          http: "${params.url}/bad"
      good:
        - id: b
          http: "${params.url}/good"
        - id: c
          http: "${params.url}/later"
""")
    server = Counting()
    server.gate, server.failing["/bad"] = asyncio.Event(), 5
    async with serve_outside(server.handle) as url, house.services(outgoing_allow=LOCAL):
        run_id = await house.start("failing", {"url": url})
        await eventually(lambda: server.at_once == 2)
        server.gate.set()
        run = await house.ended(run_id)
    assert (run["state"], run["error"]["step"], run["attempt"]) == ("failed", "all[bad].a", 2)
    assert server.calls.count("/good") == 1
    assert server.calls.count("/bad") == 2
    steps = await house.steps(run_id)
    assert steps["all[good].b"]["outcome"] == "succeeded"
    assert steps["all[bad].a"]["outcome"] == "failed"


async def test_an_executor_that_dies_in_the_middle_leaves_nothing_to_be_done_twice(house: House) -> None:
    await house.deploy(CALLS)
    server = Counting()
    async with serve_outside(server.handle) as url, house.schedulers():
        async with house.executor(lease_seconds=4, outgoing_allow=LOCAL) as executor:
            server.gate = asyncio.Event()
            run_id = await house.start("charges", {"url": url})
            await eventually(lambda: server.calls == ["/0"])
            server.gate.set()
            server.gate = asyncio.Event()
            await eventually(lambda: server.calls == ["/0", "/1"])
            await executor.kill()
        server.gate.set()
        async with house.executor(outgoing_allow=LOCAL):
            run = await house.ended(run_id)
    assert (run["state"], run["result"]) == ("succeeded", {"statuses": [200, 200, 200, 200]})
    assert server.calls == ["/0", "/1", "/1", "/2", "/3"]
    assert names(await house.things()) == ["0", "1", "2", "3"]
