"""`schedule` with a `key`: one run, whichever runs and steps ask for it, however often."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from penstock.testing import AppUnderTest, open_app

APP = {
    "app.yaml": "app: lab\n",
    "workflows/all.yaml": """
workflow: order
parameters: {number: number}
steps:
  - id: first
    schedule: receipt
    with: {number: "${params.number}"}
    key: params.number
  - id: second
    schedule: receipt
    with: {number: "${params.number}"}
    key: params.number
  - return: {first: "${steps.first}", second: "${steps.second}"}
---
workflow: receipt
parameters: {number: number}
steps: [{log: "sent for ${params.number}"}]
---
workflow: remind
parameters: {key: text, text: text}
steps:
  - {id: run, schedule: note, with: {text: "${params.text}"}, key: params.key, after: 1h}
  - return: {id: "${steps.run}"}
---
workflow: forget
parameters: {id: text}
steps: [{cancel: "${params.id}"}]
---
workflow: note
parameters: {text: text}
steps: [{log: "${params.text}"}]
""",
}


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[AppUnderTest]:
    """The app above."""
    for name, text in APP.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    async with open_app(tmp_path) as app:
        yield app


async def remind(app: AppUnderTest, key: str, text: str = "a") -> str:
    """The id of the run that is scheduled."""
    run = await app.run("remind", {"key": key, "text": text})
    assert isinstance(run.result, dict), run.error
    return str(run.result["id"])


async def test_a_key_is_free_again_when_its_run_was_cancelled(app: AppUnderTest) -> None:
    first = await remind(app, "k")
    assert await remind(app, "k") == first
    await app.run("forget", {"id": first})
    second = await remind(app, "k", "other parameters are fine then")
    assert second != first
    assert await remind(app, "k", "other parameters are fine then") == second
    await app.run("forget", {"id": second})
    assert await remind(app, "k") not in {first, second}
    await app.advance(timedelta(hours=2))
    assert len(await app.list_runs("note", state="succeeded")) == 1


async def test_a_key_with_other_parameters_fails_the_step_and_says_so(app: AppUnderTest) -> None:
    await remind(app, "k")
    run = await app.run("remind", {"key": "k", "text": "b"})
    assert run.state == "failed"
    assert isinstance(run.error, dict)
    assert run.error["kind"] == "idempotency_conflict"
    assert "`key`: the key was used in the last 24 hours with other parameters" in str(run.error["message"])
    assert await remind(app, "another", "b")


async def test_a_key_expires_after_a_day(app: AppUnderTest) -> None:
    first = await remind(app, "k")
    await app.advance(timedelta(hours=23))
    assert await remind(app, "k") == first
    await app.advance(timedelta(hours=2))
    assert await remind(app, "k", "b") != first


@pytest.mark.parametrize("key", ["", "x" * 10_000, "\N{GRINNING FACE}"])
async def test_any_text_is_a_key(app: AppUnderTest, key: str) -> None:
    assert await remind(app, key) == await remind(app, key)


async def test_steps_and_runs_that_give_the_same_key_schedule_one_run(app: AppUnderTest) -> None:
    orders = await asyncio.gather(*(app.run("order", {"number": number}) for number in (1, 1, 1, 2)))
    await app.wait_until_idle()
    receipts = await app.list_runs(workflow="receipt")
    assert sorted(str(run.parameters) for run in receipts) == ["{'number': 1}", "{'number': 2}"]
    assert {run.state for run in receipts} == {"succeeded"}
    asked = [set(map(str, order.result.values())) for order in orders if isinstance(order.result, dict)]
    assert asked[0] == asked[1] == asked[2] != asked[3]
    assert {str(run.id) for run in receipts} == asked[0] | asked[3]
