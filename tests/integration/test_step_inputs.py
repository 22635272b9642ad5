"""What a step was given is evaluated again when somebody looks, and says what cannot be known again."""

from pathlib import Path
from typing import cast
from uuid import UUID

import pytest
from pydantic import JsonValue

from penstock.definitions.mending import Mending
from penstock.redaction import Redactor
from penstock.runs.cancellations import Retry
from penstock.runs.mending import mend_run
from penstock.runs.step_inputs import StepInputs, find_step, show_inputs
from penstock.runs.step_inputs.values import Evaluation
from tests.integration.executing import ENVIRONMENT, House
from tests.integration.ingress import running_ingress, write_app

SOMEBODY = "1700000000000x123456789012345678"
TYPES = """
type: customer
fields: {email: text}
---
type: thing
fields: {name: text, total: number, customer: customer}
"""
APP = """
workflow: everything
parameters: {number: text, amount: number, customer: {type: customer, optional: true}, tags: list of text}
steps:
  - {id: begun, state: {round: 1, of: "${params.number}"}}
  - {id: never, when: params.amount > 1000, log: "too much: ${params.amount}"}
  - {id: noted, log: "noted"}
  - id: made
    create: thing
    set: {name: "order ${params.number}", total: "${params.amount * 2}", customer: "${params.customer}"}
  - id: said
    log: "${steps.made.name}, ${state.of} ${state.round}, ${steps.never ?? 'not'}, ${steps.noted ?? 'nothing'}"
  - id: called
    http: "http://127.0.0.1:1/${params.number}"
    headers: {Authorization: "Bearer ${secrets.API_KEY}", X-Length: "${len(secrets.API_KEY)}"}
    on_error: continue
  - {id: placed, log: "${run.id} ${run.attempt} ${now}"}
  - {id: referred, log: "${params.customer.email ?? 'none'}"}
  - id: gone
    each: "${params.tags}"
    as: tag
    steps:
      - {id: first, log: "${index}: ${tag} of ${steps.made.name}"}
      - {id: inner, trigger: within, with: {tag: "${tag}!", secret: "${params.customer.email}"}}
  - id: side
    parallel:
      left: [{id: left_one, log: "left of ${steps.made.total}"}]
  - id: many
    create_many: thing
    from: "${params.tags}"
    set: {name: "${item} of ${params.number}", total: "${index}"}
  - id: checked
    fail: "refused: ${params.amount}"
    when: params.amount > 100
---
workflow: within
parameters: {tag: text, secret: {type: text, optional: true}, size: {type: number, optional: true, default: 3}}
steps:
  - {id: deep, log: "${params.tag} ${params.size}"}
  - {id: hidden, log: "${params.secret}"}
---
workflow: personal
steps:
  - {id: named, log: "${user._id}"}
  - {id: shown, log: "${user.email ?? 'none'}"}
"""

OF = "A-1 [secret OTHER]"
REFERRED = "it was read through a reference"
ONCE = "it is evaluated once for each item of the list"
GIVEN: tuple[tuple[str, JsonValue, dict[str, str]], ...] = (
    ("begun", {"state": {"round": 1, "of": OF}}, {}),
    ("made", {"create": "thing", "set": {"name": f"order {OF}", "total": 500, "customer": None}}, {}),
    ("said", {"log": f"order {OF}, {OF} 1, not, nothing"}, {}),
    (
        "called",
        {
            "http": f"http://127.0.0.1:1/{OF}",
            "headers": {"Authorization": "Bearer [secret API_KEY]", "X-Length": 16},
        },
        {"headers.X-Length": "it was computed with a secret"},
    ),
    ("referred", {"log": "${params.customer.email ?? 'none'}"}, {"log": REFERRED}),
    ("gone", {"each": ["a", "b"], "as": "tag"}, {}),
    ("gone[1].first", {"log": f"1: b of order {OF}"}, {}),
    (
        "gone[1].inner",
        {"trigger": "within", "with": {"tag": "b!", "secret": "${params.customer.email}"}},
        {"with.secret": REFERRED},
    ),
    ("gone[1].inner/deep", {"log": "b! 3"}, {}),
    ("gone[1].inner/hidden", {"log": "${params.secret}"}, {"log": REFERRED}),
    ("side[left].left_one", {"log": "left of 500"}, {}),
    (
        "many",
        {
            "create_many": "thing",
            "from": ["a", "b"],
            "set": {"name": "${item} of ${params.number}", "total": "${index}"},
        },
        {
            "set.name": ONCE,
            "set.total": ONCE,
        },
    ),
    ("never", None, {"": "the step was skipped"}),
    ("checked", {"fail": "refused: 250"}, {}),
)
"""Of a run of `everything`: the path of a step, what it was given, and why some of it is not known."""


async def look(house: House, run_id: UUID, step: str) -> StepInputs:
    async with house.database.connection() as conn:
        facts = await find_step(conn, environment=ENVIRONMENT, run_id=run_id, step=step)
    assert facts is not None, step
    app = (await house.deployments.get(ENVIRONMENT, facts.version)).app
    return await show_inputs(house.database, app, facts, Redactor([("OTHER", "hidden-away")]))


async def given(house: House, run_id: UUID, step: str) -> tuple[JsonValue, dict[str, str]]:
    shown = await look(house, run_id, step)
    return shown.inputs, {note.at: note.why.split(",")[0] for note in shown.notes}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_SECRET_API_KEY", "not-to-be-shown")


async def test_inputs_follow_from_what_is_stored_and_say_what_does_not(house: House) -> None:
    await house.deploy(APP, types=TYPES)
    parameters: dict[str, JsonValue] = {"number": "A-1 hidden-away", "amount": 250, "tags": ["a", "b"]}
    async with house.services():
        run = await house.perform("everything", parameters)
        (personal,) = await house.admit("personal", context={"user": {"_id": SOMEBODY}})
        await house.publisher.dispatch([personal])
        await house.ended(personal.id, "succeeded")
    assert run["state"] == "failed"
    id = run["id"]
    for step, inputs, notes in GIVEN:
        assert await given(house, id, step) == (inputs, notes), step
    assert await given(house, personal.id, "named") == ({"log": SOMEBODY}, {})
    assert (await given(house, personal.id, "shown"))[1] == {"log": "it may have changed since the step had it"}
    placed = (await house.steps(id))["placed"]["started_at"].isoformat(timespec="milliseconds")[:-6]
    assert await given(house, id, "placed") == ({"log": f"{id} 1 {placed}Z"}, {})
    shown = await look(house, id, "gone[1].inner/deep")
    assert (shown.workflow, shown.version, shown.action) == ("within", 1, "log")
    assert shown.place.startswith("workflows/all.yaml:")


async def test_steps_that_a_retry_with_other_values_has_kept_say_so(house: House) -> None:
    await house.deploy(APP, types=TYPES)
    async with house.services():
        run = await house.perform("everything", {"number": "A-1", "amount": 250, "tags": []})
        asked, mending = Retry("a test"), Mending(parameters={"amount": 20})
        again = await house.database.in_transaction(
            lambda conn: mend_run(conn, environment=ENVIRONMENT, run_id=run["id"], mending=mending, asked=asked)
        )
        assert again is not None
        await house.ended(run["id"], "succeeded")
    kept, performed = await look(house, run["id"], "made"), await look(house, run["id"], "checked")
    assert kept.changed_at is not None
    assert performed.changed_at is None


async def test_what_is_too_large_or_too_slow_is_left_out_alone(house: House) -> None:
    await house.deploy(APP, types=TYPES)
    async with house.services():
        run = await house.perform("everything", {"number": "A" * 700_000, "amount": 1, "tags": []})
    inputs, notes = await given(house, run["id"], "made")
    assert cast("dict[str, dict[str, JsonValue]]", inputs)["set"]["total"] == 2
    assert notes == {}
    inputs, notes = await given(house, run["id"], "said")
    assert inputs == {"log": APP.partition('id: said\n    log: "')[2].partition('"')[0]}
    assert notes["log"].startswith("it is too large")
    late = Evaluation("a.yaml:1", {"params": {"a": 1}}, {}, {}, deadline=0.0)
    assert await late.fill({"plain": "text", "slow": "${params.a}"}) == {"plain": "text", "slow": "${params.a}"}
    assert [note.at for note in late.shown_notes()] == ["slow"]


async def test_the_api_shows_inputs_to_those_who_see_payloads(database_url: str, amqp_url: str, tmp_path: Path) -> None:
    async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as ingress:
        made = await ingress.manage("POST", "/v1/live/runs", json={"workflow": "greet", "parameters": {"name": "Ada"}})
        path = f"/v1/live/runs/{made.json['id']}/inputs"
        await ingress.fetch(
            """
            WITH begun AS (UPDATE penstock.runs SET version = 1, started_at = now() RETURNING id)
            INSERT INTO penstock.steps (run_id, step, action, outcome, attempt, started_at)
            SELECT id, 'step1', 'return', 'succeeded', 1, now() FROM begun
            """
        )
        shown = await ingress.manage("GET", f"{path}?step=step1")
        assert (shown.status, shown.json["inputs"]) == (200, {"return": {"greeting": "hello Ada"}})
        assert (await ingress.manage("GET", f"{path}?step=step2")).status == 404
        assert (await ingress.manage("GET", path)).status == 400
        wanted = {"role": "viewer", "payloads": False}
        token = (await ingress.manage("POST", "/v1/live/tokens", json=wanted)).json["token"]
        blind = await ingress.manage("GET", f"{path}?step=step1", headers={"Authorization": f"Bearer {token}"})
        assert (blind.status, b"Ada" in blind.body) == (403, False)
