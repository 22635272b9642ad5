"""Expressions that are too heavy for the event loop, in every place of a workflow: the others continue meanwhile."""

import time

import pytest

from penstock.runtime import Resources, Stop
from penstock_scheduler.loops.change_triggers import start_changes
from penstock_scheduler.room import furnish
from tests.integration.executing import House
from tests.integration.scheduling import build_settings

HEAVY = "len(filter(params.l, # in params.l)) == 6000"
WORKFLOWS = f"""
workflow: heavy
parameters: {{l: list of number}}
when: "{HEAVY}"
steps:
  - id: made
    when: "{HEAVY}"
    create: thing
    set: {{name: "${{{HEAVY} ? 'yes' : 'no'}}"}}
  - id: many
    create_many: thing
    from: [1]
    set: {{name: "${{item}} ${{{HEAVY}}}"}}
  - return: {{name: "${{steps.made.name}}"}}
---
workflow: too_much
parameters: {{l: list of number}}
steps:
  - id: before
    state: {{a: 1}}
  - id: counted
    state: {{n: "${{len(map(params.l, map(params.l, map(params.l, #))))}}"}}
---
workflow: light
steps: [{{return: {{ok: true}}}}]
---
workflow: seen
on: {{change: {{type: thing, when: "len(map([1..1000], filter([1..100], # > 0))) == 1000 and after.name == 'yes'"}}}}
steps: [{{log: seen}}]
"""


@pytest.fixture
def numbers() -> list[int]:
    return list(range(6_000))


async def test_heavy_conditions_arguments_and_items_are_evaluated_apart(house: House, numbers: list[int]) -> None:
    await house.deploy(WORKFLOWS)
    async with house.executor():
        heavy = await house.start("heavy", {"l": [*numbers]})
        began, longest = time.monotonic(), 0.0
        for _ in range(5):
            asked = time.monotonic()
            assert (await house.perform("light"))["state"] == "succeeded"
            longest = max(longest, time.monotonic() - asked)
        run = await house.ended(heavy)
    assert run["state"] == "succeeded", run["error"]
    assert run["result"] == {"name": "yes"}
    assert longest < max(1.0, time.monotonic() - began)
    room = furnish(build_settings(), Resources(house.database, house.broker), Stop())
    await start_changes(room)
    await room.dispatches.drain()
    assert len(await house.fetch("SELECT FROM penstock.runs WHERE workflow = 'seen'")) == 1


async def test_what_is_too_much_fails_its_run_with_the_expression_and_nothing_else(
    house: House, numbers: list[int]
) -> None:
    await house.deploy(WORKFLOWS)
    async with house.executor() as executor:
        run = await house.perform("too_much", {"l": [*numbers]})
        assert not executor.task.done()
        assert (await house.perform("light"))["state"] == "succeeded"
    assert (run["state"], run["attempt"]) == ("failed", 1)
    assert run["error"]["kind"] == "expression"
    assert run["error"]["step"] == "counted"
    assert run["error"]["expression"] == "len(map(params.l, map(params.l, map(params.l, #))))"
    assert "workflows/all.yaml:" in run["error"]["message"]
    assert "it needs more than 256 MB" in run["error"]["message"] or "longer than 5 s" in run["error"]["message"]
