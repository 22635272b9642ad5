"""Expressions read members of things that they have only a reference to."""

from tests.integration.executing import House

TYPES = """
type: thing
fields: {name: text, owner: user, friends: list of user}
---
type: user
fields: {name: text, boss: user}
"""
STAFF = """
workflow: staff
steps:
  - id: boss
    create: user
    set: {name: Ada, email: ada@example.com}
  - id: worker
    create: user
    set: {name: Bo, boss: "${steps.boss}"}
  - id: thing
    create: thing
    set: {name: lamp, owner: "${steps.worker}", friends: ["${steps.boss}", "${steps.worker}"]}
  - return: {thing: "${steps.thing._id}", worker: "${steps.worker._id}"}
"""


async def staff(house: House, workflow: str) -> dict[str, str]:
    """Deploy a workflow, and make a thing of a worker who has a boss; their ids."""
    await house.deploy(f"{STAFF}---\n{workflow}", types=TYPES)
    run = await house.perform("staff")
    assert run["state"] == "succeeded", run["error"]
    return {"thing": run["result"]["thing"], "worker": run["result"]["worker"]}


async def test_members_are_read_through_the_ids_in_parameters_and_results(house: House) -> None:
    async with house.executor():
        ids = await staff(
            house,
            """
workflow: w
parameters: {thing: thing, things: list of thing}
when: params.thing.owner.boss.name == 'Ada'
steps:
  - id: got
    get: thing
    thing: "${params.thing}"
  - id: told
    when: steps.got.owner.boss.email != null and params.thing.owner.name == 'Bo'
    state: {boss: "${upper(params.thing.owner.boss.name)}", id: "${params.thing.owner}"}
  - return:
      boss: "${state.boss}"
      id: "${state.id}"
      mail: "to ${steps.got.owner.boss.email}"
      names: "${map(params.things, #.owner.name)}"
      friends: "${map(params.things as t, map(t.friends as f, f.name))}"
      kept: "${map(filter(params.things, #.owner.boss.name == 'Ada'), #.name)}"
      nobody: "${params.thing.owner.boss.boss.name}"
""",
        )
        run = await house.perform("w", {"thing": ids["thing"], "things": [ids["thing"], ids["thing"]]})
    assert (run["error"], run["state"]) == (None, "succeeded")
    assert run["result"] == {
        "boss": "ADA",
        "id": ids["worker"],
        "mail": "to ada@example.com",
        "names": ["Bo", "Bo"],
        "friends": [["Ada", "Bo"], ["Ada", "Bo"]],
        "kept": ["lamp", "lamp"],
        "nobody": None,
    }


async def test_what_a_run_has_changed_is_read_changed(house: House) -> None:
    async with house.executor():
        ids = await staff(
            house,
            """
workflow: w
parameters: {thing: thing}
steps:
  - id: before
    state: {before: "${params.thing.owner.name}"}
  - update: "${params.thing.owner}"
    set: {name: Cy}
  - id: made
    create: thing
    set: {owner: "${params.thing.owner}"}
  - state: {after: "${params.thing.owner.name}", made: "${steps.made.owner.name}"}
  - delete: "${params.thing.owner}"
  - return: {before: "${state.before}", after: "${state.after}", made: "${state.made}",
             gone: "${params.thing.owner.name}", id: "${params.thing.owner}"}
""",
        )
        run = await house.perform("w", {"thing": ids["thing"]})
    assert run["result"] == {"before": "Bo", "after": "Cy", "made": "Cy", "gone": None, "id": ids["worker"]}


async def test_items_of_a_list_are_read_through_together(house: House) -> None:
    async with house.executor():
        ids = await staff(
            house,
            """
workflow: w
parameters: {things: list of thing}
steps:
  - create_many: thing
    from: "${params.things}"
    set: {name: "${item.owner.name} of ${item.owner.boss.name} ${index}", owner: "${item.owner.boss}"}
""",
        )
        run = await house.perform("w", {"things": [ids["thing"]] * 300})
    assert run["state"] == "succeeded", run["error"]
    made = [row["name"] for row in await house.things()][1:]
    assert sorted(made) == sorted(f"Bo of Ada {index}" for index in range(300))


async def test_a_triggered_workflow_reads_through_its_own_parameters(house: House) -> None:
    async with house.executor():
        ids = await staff(
            house,
            """
workflow: w
parameters: {thing: thing}
steps:
  - id: inner
    trigger: inner
    with: {user: "${params.thing.owner.boss}"}
  - return: {name: "${steps.inner.name}", own: "${params.thing.name}"}
---
workflow: inner
parameters: {user: user}
when: params.user.email == 'ada@example.com'
steps:
  - return: {name: "${params.user.name}"}
""",
        )
        run = await house.perform("w", {"thing": ids["thing"]})
    assert run["result"] == {"name": "Ada", "own": "lamp"}


async def test_attributes_of_options_are_read_where_the_option_is(house: House) -> None:
    options = """
options:
  state:
    new: {label: New, rank: 1, next: [paid]}
    paid: {label: Paid, is_final: true}
    odd:
"""
    async with house.executor():
        await house.deploy(
            """
workflow: w
parameters: {state: state, states: list of state, nothing: {type: state, optional: true}}
when: params.state.rank == 1
steps:
  - id: made
    create: order
    set: {state: "${params.state}"}
  - id: many
    create_many: order
    from: "${params.states}"
    set: {state: "${item}", note: "${item.label ?? 'none'} ${index}"}
  - id: found
    find: order
    where: {state: paid}
  - return:
      made: "${steps.made.state.label}"
      deep: "${steps.made._id.state.label}"
      found: "${map(steps.found.results, #.state.is_final)}"
      ranks: "${map(params.states, #.rank)}"
      next: "${params.state.next[0]}"
      nothing: "${params.nothing.label}"
""",
            head=options,
            types="type: order\nfields: {state: state, note: text}",
        )
        run = await house.perform("w", {"state": "new", "states": ["new", "paid", "odd"]})
        skipped = await house.perform("w", {"state": "paid", "states": []})
    assert (run["error"], run["state"], skipped["state"]) == (None, "succeeded", "skipped")
    assert run["result"] == {
        "made": "New", "deep": "New", "found": [True], "ranks": [1, None, None], "next": "paid", "nothing": None,
    }  # fmt: skip
    async with house.database.connection() as conn:
        notes = await conn.fetchval('SELECT array_agg(note ORDER BY note) FROM "development"."order"')
    assert notes == ["New 0", "Paid 1", "none 2", None]
