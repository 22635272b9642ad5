"""Failed runs are retried with what was mended: from another step, with the current definition, with other values."""

from functools import partial
from uuid import UUID

import pytest

from penstock.definitions.mending import Mending
from penstock.definitions.parameters import ValueSource
from penstock.domain.runs import Rejected, RunSummary
from penstock.runs.cancellations import NotRetried, Retry
from penstock.runs.mending import check_mending, mend_run
from penstock.runs.operations import Asked, OperationKind, RetryChoice, begin_operation, take_turn_of
from penstock.runs.views.finding import RunFilter
from tests.integration.executing import ENVIRONMENT, House

APP = """
workflow: charge
parameters: {amount: number, note: {type: text, optional: true}}
steps:
  - id: first
    create: thing
    set: {name: "first"}
  - id: inner
    trigger: twice
  - id: last
    create: thing
    set: {name: "last ${params.amount}"}
  - id: check
    when: params.amount < 10
    fail: "too little"
  - return: {amount: "${params.amount}"}
---
workflow: twice
steps:
  - id: deep
    create: thing
    set: {name: "deep"}
---
workflow: other
steps: [{fail: "always"}]
"""


async def mend(
    house: House, run_id: UUID, mending: Mending, environment: str = ENVIRONMENT
) -> RunSummary | NotRetried | Rejected | None:
    asked = Retry("a test", "a person")
    done = await house.database.in_transaction(
        lambda conn: mend_run(conn, environment=environment, run_id=run_id, mending=mending, asked=asked)
    )
    if isinstance(done, RunSummary):
        await house.publisher.dispatch([done])
    return done


async def names(house: House) -> list[str]:
    return sorted(row["name"] for row in await house.things())


async def test_a_run_is_retried_with_other_values_and_finished_steps_are_kept(house: House) -> None:
    await house.deploy(APP)
    async with house.services():
        run = await house.perform("charge", {"amount": 5, "note": "kept"})
        assert run["state"] == "failed"
        assert isinstance(await mend(house, run["id"], Mending(parameters={"amount": 20})), RunSummary)
        again = await house.ended(run["id"], "succeeded")
    assert (again["parameters"], again["result"]) == ({"amount": 20, "note": "kept"}, {"amount": 20})
    assert await names(house) == ["deep", "first", "last 5"], "nothing was performed twice"
    (act,) = await house.fetch("SELECT actor, after FROM penstock.audit WHERE action = 'run.retry'")
    assert (act["actor"], act["after"]["how"]) == ("a person", "from the failed step with other values of amount")


async def test_from_a_step_it_and_all_behind_it_are_performed_again_with_what_is_nested(house: House) -> None:
    await house.deploy(APP)
    async with house.services():
        run = await house.perform("charge", {"amount": 5})
        await mend(house, run["id"], Mending(step="inner", parameters={"amount": 20}))
        await house.ended(run["id"], "succeeded")
    assert await names(house) == ["deep", "deep", "first", "last 20", "last 5"]
    assert (await house.get(run["id"]))["depth"] == run["depth"]


async def test_with_the_current_definition_the_mended_step_is_performed(house: House) -> None:
    await house.deploy(APP)
    async with house.services():
        run = await house.perform("charge", {"amount": 5, "note": "gone"})
        mended = APP.replace("params.amount < 10", "params.amount < 1").replace(
            ", note: {type: text, optional: true}", ""
        )
        await house.deploy(mended)
        assert isinstance(await mend(house, run["id"], Mending()), RunSummary)
        await house.ended(run["id"], "failed"), "the definition that it began with still fails"
        await mend(house, run["id"], Mending(version="current"))
        again = await house.ended(run["id"], "succeeded")
    assert (again["version"], again["parameters"]) == (run["version"] + 1, {"amount": 5})
    assert await names(house) == ["deep", "first", "last 5"]


async def test_what_does_not_fit_is_refused_and_changes_nothing(house: House) -> None:
    await house.deploy(APP)
    async with house.services():
        run = await house.perform("charge", {"amount": 5})
    await house.deploy(
        APP.replace("amount: number,", "amount: number, customer: text,").replace("id: first", "id: begin")
    )
    before, steps = await house.get(run["id"]), await house.steps(run["id"])
    for mending, part in (
        (Mending(step="frist"), "from: there is no step 'frist'; did you mean 'first'?; there are first, inner, last"),
        (Mending(step="first", version="current"), "from: there is no step 'first'; there are begin, inner"),
        (Mending(version="current"), "Missing parameter for workflow charge: parameter customer"),
        (Mending(parameters={"amount": "many"}), "parameter amount"),
        (Mending(parameters={"nothing": 1}), "nothing"),
        (Mending(step="last", parameters={"amount": None}), "parameter amount"),
    ):
        refused = await mend(house, run["id"], mending)
        assert isinstance(refused, Rejected), mending
        assert part in refused.message
    assert (await house.get(run["id"]), await house.steps(run["id"])) == (before, steps)
    assert await mend(house, run["id"], Mending(step="last"), "live") is None
    await house.deploy("workflow: other\nsteps: [{log: hello}]")
    gone = await mend(house, run["id"], Mending(version="current"))
    assert isinstance(gone, Rejected)
    assert "no workflow 'charge' is deployed" in gone.message
    await mend(house, run["id"], Mending())
    assert isinstance(await mend(house, run["id"], Mending(step="last")), NotRetried)


async def test_all_that_match_are_retried_and_those_that_do_not_fit_stay(house: House) -> None:
    await house.deploy(APP)
    async with house.services():
        runs = [await house.perform("charge", {"amount": amount}) for amount in (1, 2)]
        other = await house.perform("other")
        await house.fetch("UPDATE penstock.runs SET version = 1 WHERE id = $1", runs[1]["id"])
        of = RunFilter(ENVIRONMENT, workflow="charge")
        text = Mending(step="last", parameters={"amount": "30"}, source=ValueSource.TEXT)
        async with house.database.connection() as conn:
            mending = await check_mending(conn, environment=ENVIRONMENT, workflow="charge", mending=text)
        assert isinstance(mending, Mending)
        assert mending.parameters == {"amount": 30}
        begin = partial(
            begin_operation, kind=OperationKind.RETRY_RUNS, of=RetryChoice(of, mending), asked=Asked("a", "b")
        )
        begun = await house.database.in_transaction(begin)
        assert begun.filter == {"workflow": "charge", "from": "last", "parameters": {"amount": 30}}
        turn = await take_turn_of(house.database, begun.id)
        assert turn is not None
        assert (turn.operation.state, turn.operation.total, turn.operation.done) == ("finished", 2, 2)
        for run in runs:
            assert (await house.ended(run["id"], "succeeded"))["parameters"]["amount"] == 30
    assert (await house.get(other["id"]))["state"] == "failed"


@pytest.mark.parametrize(
    ("workflow", "mending", "part"),
    [
        (None, Mending(step="last"), "from: name the workflow"),
        (None, Mending(parameters={"amount": 1}), "parameters: name the workflow"),
        ("chrage", Mending(version="current"), "did you mean 'charge'?"),
        ("charge", Mending(step="x", version="current"), "from: there is no step 'x'"),
        ("charge", Mending(parameters={"amount": "x"}), "parameter amount"),
    ],
)
async def test_what_fits_no_run_is_refused_before_it_begins(
    house: House, workflow: str | None, mending: Mending, part: str
) -> None:
    await house.deploy(APP)
    async with house.database.connection() as conn:
        refused = await check_mending(conn, environment=ENVIRONMENT, workflow=workflow, mending=mending)
    assert isinstance(refused, Rejected)
    assert part in refused.message
