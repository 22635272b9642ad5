"""Runs are performed: what their steps do, decide and return."""

from tests.eventually import eventually
from tests.integration.executing import House, names


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


LIFE = """
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
"""


async def test_things_are_found_changed_and_deleted(house: House) -> None:
    await house.deploy(LIFE)
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
