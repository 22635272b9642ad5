"""Steps on empty things do nothing, and the built-in fields are kept as in Bubble."""

from tests.integration.executing import House


async def test_changing_or_deleting_an_empty_thing_does_nothing(house: House) -> None:
    await house.deploy("""
workflow: w
parameters: {thing: {type: thing, optional: true}}
steps:
  - id: changed
    update: "${params.thing}"
    set: {name: x}
  - id: gone
    delete: "${params.thing}"
  - return: {changed: "${steps.changed}", gone: "${steps.gone}"}
""")
    async with house.executor():
        run = await house.perform("w")
    assert (run["state"], run["error"], run["result"]) == ("succeeded", None, {"changed": None, "gone": None})
    assert await house.things() == []


async def test_an_empty_thing_is_not_changed_to_values_that_do_not_fit(house: House) -> None:
    await house.deploy("""
workflow: w
parameters: {thing: {type: thing, optional: true}, value: any}
steps:
  - update: "${params.thing}"
    set: {remaining: "${params.value}"}
""")
    async with house.executor():
        run = await house.perform("w", {"value": "many"})
    assert run["state"] == "failed"
    assert "field 'remaining' of type 'thing': expected a number" in run["error"]["message"]


async def test_a_slug_has_lower_case_letters_digits_and_hyphens(house: House) -> None:
    await house.deploy("""
workflow: w
steps:
  - id: made
    create: thing
    set: {name: one, Slug: "My First_Thing & Ünder 2!"}
  - id: changed
    update: "${steps.made}"
    set: {Slug: "  Other  "}
  - return: {made: "${steps.made.Slug}", changed: "${steps.changed.Slug}"}
""")
    async with house.executor():
        run = await house.perform("w")
    assert run["result"] == {"made": "my-first-thing-ünder-2", "changed": "other"}
    (thing,) = await house.things()
    assert (thing["slug"], thing["modified_date"] > thing["created_date"]) == ("other", True)


async def test_who_started_the_chain_is_the_creator_of_what_its_runs_make_in_every_way(house: House) -> None:
    await house.deploy("""
workflow: w
steps:
  - id: one
    create: thing
    set: {code: c}
  - create: thing
    set: {code: d}
    upsert: [code]
  - create_many: thing
    from: [1, 2]
    set: {remaining: "${item}"}
  - trigger: inner
---
workflow: inner
steps:
  - create: thing
""")
    async with house.executor():
        (run,) = await house.admit("w", context={"user": {"_id": "1x2"}})
        await house.publisher.dispatch([run])
        assert (await house.ended(run.id))["state"] == "succeeded"
    assert [thing["created_by"] for thing in await house.things()] == ["1x2"] * 5
