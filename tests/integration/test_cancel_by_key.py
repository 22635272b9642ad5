"""`cancel: {workflow, key}` ends what was scheduled under a key, by any run, in any state."""

import re

import pytest

from penstock.db import Connection
from penstock.runs.keyed import find_keyed_runs, forget_keyed_runs
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House
from tests.site import read_app

APP = """
workflow: remind
parameters: {who: text}
steps:
  - create: thing
    set: {name: "${params.who}"}
  - wait_for: never
---
workflow: ask
parameters: {who: text, after: {type: text, optional: true, default: 0s}, times: {type: number, optional: true}}
steps:
  - id: asked
    schedule: remind
    with: {who: "${params.who}"}
    after: "${params.after}"
    key: "reminder-${params.who}"
  - return: {run: "${steps.asked}"}
---
workflow: answer
parameters: {who: {type: text, optional: true}}
steps:
  - id: ended
    cancel: {workflow: remind, key: "reminder-${params.who}"}
  - return: {ended: "${steps.ended}"}
"""


async def states(house: House) -> list[str]:
    rows = await house.fetch("SELECT state FROM penstock.runs WHERE workflow = 'remind' ORDER BY created_at")
    return [row["state"] for row in rows]


async def test_what_was_scheduled_or_waits_is_cancelled_and_the_key_is_free_again(house: House) -> None:
    await house.deploy(APP)
    async with house.services():
        later = await house.perform("ask", {"who": "ada", "after": "3d"})
        other = await house.perform("ask", {"who": "eve", "after": "3d"})
        assert (await house.perform("answer", {"who": "ada"}))["result"] == {"ended": 1}
        assert await states(house) == ["cancelled", "scheduled"]
        assert (await house.perform("answer", {"who": "ada"}))["result"] == {"ended": 0}
        again = await house.perform("ask", {"who": "ada"})
        assert again["result"]["run"] != later["result"]["run"]

        async def is_admitted() -> bool:
            return len(await states(house)) == 3

        await eventually(is_admitted)
        await house.ended(again["result"]["run"], "waiting")
        # The key itself is forgotten after a day; the run is found all the same.
        await house.fetch("DELETE FROM penstock.idempotency_keys")
        assert (await house.perform("answer", {"who": "ada"}))["result"] == {"ended": 1}
        assert (await house.get(again["result"]["run"]))["state"] == "cancelled"
        assert (await house.get(other["result"]["run"]))["state"] == "scheduled"
        assert (await house.perform("answer", {"who": "nobody"}))["result"] == {"ended": 0}


async def test_a_run_that_is_on_its_way_is_expected_for_a_minute(house: House) -> None:
    async def find(conn: Connection) -> bool:
        found = await find_keyed_runs(conn, environment=ENVIRONMENT, workflow="remind", key="reminder-ada")
        assert found.live == []
        return found.is_more_expected

    await house.deploy(APP)
    async with house.services():
        asked = await house.perform("ask", {"who": "ada", "after": "3d"})
        await house.perform("answer", {"who": "ada"})
    assert not await house.database.in_transaction(find)
    await house.fetch("DELETE FROM penstock.runs WHERE id = $1", asked["result"]["run"])
    assert await house.database.in_transaction(find), "its key is bound, and there is no run yet"
    await house.fetch("UPDATE penstock.idempotency_keys SET created_at = created_at - interval '2 minutes'")
    assert not await house.database.in_transaction(find), "it was refused"


async def test_notes_of_keys_are_forgotten_after_a_year(house: House) -> None:
    await house.fetch(
        """
        INSERT INTO penstock.keyed_runs (run_id, first_id, created_at)
        VALUES (gen_random_uuid(), gen_random_uuid(), clock_timestamp() - interval '401 days'),
               (gen_random_uuid(), gen_random_uuid(), clock_timestamp())
        """
    )
    assert await house.database.in_transaction(lambda conn: forget_keyed_runs(conn, most=10)) == 1


@pytest.mark.parametrize(
    ("target", "part"),
    [
        ("{workflow: remnd, key: a}", "unknown workflow 'remnd'; did you mean 'remind'?"),
        ("{workflow: '${params.who}', key: a}", "the name of a workflow cannot be computed"),
        ("{workflow: remind}", "'cancel' needs 'key'"),
        ("{key: params.who}", "'cancel' needs 'workflow'"),
        ("{workflow: remind, key: params.whom}", "whom"),
        ("{workflow: remind, key: params.who, more: 1}", "unknown key 'more'"),
    ],
)
def test_mistakes_are_named(target: str, part: str) -> None:
    app = APP.replace('{workflow: remind, key: "reminder-${params.who}"}', target)
    type_ = "type: thing\nfields: {name: text}\n"
    with pytest.raises(AssertionError, match=re.escape(part)):
        read_app({"app.yaml": "app: house\n", "types/thing.yaml": type_, "workflows/a.yaml": app})
