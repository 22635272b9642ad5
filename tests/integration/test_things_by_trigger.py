"""Steps on the thing whose change started the run, and on a thing that is named beside the step's own id."""

from penstock.reading.loader import load_files
from penstock.runtime import Resources, Stop
from penstock_scheduler.loops.change_triggers import start_changes
from penstock_scheduler.room import furnish
from tests.integration.executing import House
from tests.integration.scheduling import build_settings

WORKFLOWS = """
workflow: begin
steps: [{create: thing, set: {name: new}}]
---
workflow: seen
on: {change: {type: thing, operations: [create]}}
steps:
  - update: "${change.after}"
    set: {name: seen}
  - id: again
    get: thing
    thing: "${change.after}"
  - id: by_id
    get: thing
    thing: "${change.after._id}"
  - get: thing
    id: "${change.after._id}"
  - return: {again: "${steps.again.name}", by_id: "${steps.by_id.name}", old: "${steps.step4.name}"}
"""


async def test_the_changed_thing_is_updated_and_got_beside_an_id_of_the_step(house: House) -> None:
    await house.deploy(WORKFLOWS)
    async with house.executor():
        await house.perform("begin")
        room = furnish(build_settings(), Resources(house.database, house.broker), Stop())
        await start_changes(room)
        await room.dispatches.drain()
        (seen,) = await house.fetch("SELECT id FROM penstock.runs WHERE workflow = 'seen'")
        run = await house.ended(seen["id"])
    assert run["state"] == "succeeded", run["error"]
    assert run["result"] == {"again": "seen", "by_id": "seen", "old": "seen"}


def test_the_type_is_not_known_where_triggers_name_several() -> None:
    workflow = """
workflow: seen
on: {change: [{type: thing}, {type: user}]}
steps: [{update: "${change.after}", set: {name: a}}]
"""
    files = {"app.yaml": "app: a", "types/t.yaml": "type: thing\nfields: {name: text}", "workflows/w.yaml": workflow}
    result = load_files({name: text.encode() for name, text in files.items()})
    assert any("the data type of this thing is not known here" in str(problem) for problem in result.problems)


def test_thing_and_id_exclude_each_other() -> None:
    workflow = 'workflow: w\nparameters: {a: user}\nsteps: [{get: user, thing: "${params.a}", id: "${params.a}"}]'
    result = load_files({"app.yaml": b"app: a", "workflows/w.yaml": workflow.encode()})
    assert any("exclude each other" in str(problem) for problem in result.problems)
