"""`schedule` with a `key`: one run, whichever runs and steps ask for it, however often."""

import asyncio
from pathlib import Path

from penstock.testing import open_app

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
""",
}


async def test_steps_and_runs_that_give_the_same_key_schedule_one_run(tmp_path: Path) -> None:
    for name, text in APP.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    async with open_app(tmp_path) as app:
        orders = await asyncio.gather(*(app.run("order", {"number": number}) for number in (1, 1, 1, 2)))
        await app.wait_until_idle()
        receipts = await app.list_runs(workflow="receipt")
        assert sorted(str(run.parameters) for run in receipts) == ["{'number': 1}", "{'number': 2}"]
        assert {run.state for run in receipts} == {"succeeded"}
        asked = [set(map(str, order.result.values())) for order in orders if isinstance(order.result, dict)]
        assert asked[0] == asked[1] == asked[2] != asked[3]
        assert {str(run.id) for run in receipts} == asked[0] | asked[3]
