"""Names that authors choose, like those our statements and expressions use themselves, in every kind of statement."""

import pytest

from penstock.definitions.models import App
from penstock.reading.loader import load_files
from penstock.runtime import Resources, Stop
from penstock_scheduler.loops.change_triggers import start_changes
from penstock_scheduler.room import furnish
from tests.integration.executing import ENVIRONMENT, House
from tests.integration.scheduling import build_settings
from tests.site import deploy_files

SQL_NAMES = (
    "n o r q e s t c p id a b d g i k m x y order user table select from where row value values old new "
    "old_rows new_rows before after operation environment type run_id changed_at tg_op tg_argv tg_table_schema tg_name "
    "changed added removed moment item place thing members sort_key position sum excluded current_user default "
    "public penstock setting said name key result state attempt"
).split()
REFUSED = "xmin xmax cmin cmax ctid tableoid".split()


LIFE = """
workflow: life
parameters: {<field>: text}
steps:
  - id: <field>
    create: <type>
    set: {<field>: "${params.<field>}", rest: [a], unique_one: u}
  - id: upserted
    create: <type>
    set: {<field>: "upserted", unique_one: u}
    upsert: [unique_one]
  - id: many
    create_many: <type>
    from: [many1, many2]
    set: {<field>: "${item}"}
  - id: updated
    update: "${steps.<field>}"
    type: <type>
    set: {<field>: updated}
    add: {rest: [b, c]}
    remove: {rest: [a]}
  - id: updated_many
    update_many: <type>
    where: {<field>: many1}
    set: {<field>: many3}
  - id: found
    find: <type>
    where:
      - {key: <field>, constraint_type: in, value: [many2, many3, updated]}
      - {key: <field>, constraint_type: is_not_empty}
      - {key: <field>, constraint_type: not equal, value: none}
      - {key: <field>, constraint_type: text contains, value: many2}
    sort: <field>
    limit: 1
  - id: paged
    find: <type>
    sort: <field>
    descending: true
    limit: 1
  - id: behind
    find: <type>
    sort: <field>
    descending: true
    limit: 1
    after: "${steps.paged.after}"
  - id: counted
    count: <type>
    where: {<field>: many3}
  - id: grouped
    aggregate: <type>
    min: [<field>]
    by: [rest]
  - id: exported
    export: <type>
    format: jsonl
  - id: imported
    import: <type>
    from: '{"<field>": "imported", "unique_one": "v"}'
    format: jsonl
  - id: imported_again
    import: <type>
    from: '{"<field>": "imported again", "unique_one": "v"}'
    format: jsonl
    upsert: [unique_one]
  - id: deleted_many
    delete_many: <type>
    where: {<field>: many2}
  - delete: "${steps.updated}"
    type: <type>
  - return:
      <field>: "${steps.<field>.<field>}"
      upserted: "${steps.upserted.<field>}"
      updated: "${steps.updated.<field>}"
      rest: "${steps.updated.rest}"
      found: "${map(steps.found.results, #.<field>)}"
      behind: "${steps.behind.results[0].<field>}"
      counts: "${[steps.updated_many, steps.counted, steps.deleted_many]}"
      imported: "${[steps.imported.created, steps.imported_again.updated]}"
      condition: "${params.<field> != '' and steps.<field>.<field> == params.<field> ? 'met' : 'not met'}"
---
workflow: seen
on: {change: {type: <type>, when: "after == null or after.<field> != 'nothing'"}}
steps:
  - return: {<field>: "${change.after.<field>}"}
"""
"""A workflow that has every kind of statement write and read a field."""


async def deploy_app(house: House, types: str, workflows: str) -> App:
    head = f"app: names\nenvironments:\n  {ENVIRONMENT}: {{depth_limit: 10}}\n"
    files = {"app.yaml": head, "types/all.yaml": types, "workflows/all.yaml": workflows}
    app = await deploy_files(house.database, files, ENVIRONMENT)
    await house.deployments.refresh(ENVIRONMENT)
    return app


def life_of(type_name: str, field: str) -> str:
    """That workflow for this type and field."""
    return LIFE.replace("<type>", type_name).replace("<field>", field)


async def live(house: House, type_name: str, field: str) -> None:
    types = f"""
type: {type_name}
fields: {{{field}: text, rest: list of text, unique_one: text}}
unique: [unique_one]
"""
    await deploy_app(house, types, life_of(type_name, field).replace("    by: [rest]\n", f"    by: [{field}]\n"))
    async with house.executor():
        run = await house.perform("life", {field: "given"})
    assert run["state"] == "succeeded", run["error"]
    assert run["result"] == {
        field: "given", "upserted": "upserted", "updated": "updated", "rest": ["b", "c"], "found": ["many2"],
        "behind": "many3", "counts": [1, 1, 1], "imported": [1, 1], "condition": "met",
    }  # fmt: skip
    room = furnish(build_settings(), Resources(house.database, house.broker), Stop())
    await start_changes(room)
    await room.dispatches.drain()
    changes = await house.fetch(
        "SELECT parameters, context -> 'change' AS change FROM penstock.runs WHERE workflow = 'seen'"
    )
    seen = {(row["change"]["operation"], (row["change"]["after"] or {}).get(field)) for row in changes}
    assert {("create", "given"), ("update", "updated"), ("create", "imported"), ("delete", None)} <= seen


@pytest.mark.parametrize("name", SQL_NAMES)
async def test_a_type_field_parameter_and_step_may_have_any_name(house: House, name: str) -> None:
    await live(house, "sample" if name == "user" else name, name)


async def test_workflows_may_have_any_name(house: House) -> None:
    called = [name for name in SQL_NAMES if name != "caller"]
    steps = "".join(
        f"""
  - id: {name}
    trigger: {name}
    with: {{{name}: "${{params.{name}}}"}}"""
        for name in called
    )
    callees = "\n---\n".join(
        f"workflow: {name}\nparameters: {{{name}: text}}\nsteps: [{{return: {{{name}: '${{params.{name}}}'}}}}]"
        for name in called
    )
    parameters = ", ".join(f"{name}: text" for name in called)
    head = f"workflow: caller\nparameters: {{{parameters}}}\nsteps:"
    await deploy_app(house, "type: sample\nfields: {a: text}", f"{head}{steps}\n---\n{callees}")
    async with house.executor():
        run = await house.perform("caller", {name: name.upper() for name in called})
    assert run["state"] == "succeeded", run["error"]
    results = {row["step"]: row["result"] for row in (await house.steps(run["id"])).values()}
    assert all(results[name] == {name: name.upper()} for name in called)


@pytest.mark.parametrize("name", REFUSED)
def test_a_column_of_the_system_is_refused_where_the_app_is_read(name: str) -> None:
    result = load_files({"app.yaml": b"app: a", "types/t.yaml": f"type: sample\nfields: {{{name}: text}}".encode()})
    assert [str(problem) for problem in result.problems] == [
        f"types/t.yaml:2: PostgreSQL keeps the column '{name}' for itself; choose another name"
    ]
