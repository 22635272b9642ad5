"""No attempt ends without a trace: whatever goes wrong, even in noting what went wrong, stands on the run."""

from tests.integration.executing import House

FAILING = """
workflow: failing
steps: [{fail: "for a reason"}]
"""


async def test_a_deployment_that_this_executor_cannot_read_is_noted_and_tried_again(house: House) -> None:
    await house.deploy(FAILING)
    run_id = (await house.admit("failing"))[0].id
    await house.deploy(FAILING.replace("reason", "better reason"))
    await house.fetch("UPDATE penstock.runs SET version = 1 WHERE id = $1", run_id)  # it has begun before
    await house.fetch("UPDATE penstock.deployments SET app = jsonb_set(app, '{workflows}', '7') WHERE version = 1")
    async with house.executor():
        await house.publisher.dispatch(await house.summaries(run_id))
        run = await house.ended(run_id, "scheduled", "failed")
    assert (run["state"], run["attempt"], run["failures"]) == ("scheduled", 1, 1)
    assert run["error"]["message"].startswith("this executor cannot read deployment 1 of development: ")
