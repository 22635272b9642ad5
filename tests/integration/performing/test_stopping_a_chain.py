"""The step `stop_chain`: a workflow stops another chain, or its own."""

from uuid import uuid4

from tests.integration.executing import House

APP = """
workflow: warden
parameters: {chain: text}
steps: [{stop_chain: "${params.chain}", reason: it multiplies}, {return: {done: true}}]
---
workflow: own
steps: [{stop_chain: "${run.chain_id}"}, {create: thing, set: {name: never}}]
---
workflow: busy
steps: [{log: x}]
"""


async def test_a_workflow_stops_another_chain(house: House) -> None:
    await house.deploy(APP)
    (queued,) = await house.admit("busy")
    async with house.executor():
        run = await house.perform("warden", {"chain": str(queued.id)})

    assert run["result"] == {"done": True}
    stopped = await house.get(queued.id)
    assert (stopped["state"], stopped["error"]["message"]) == ("cancelled", "the chain was stopped: it multiplies")
    (chain,) = await house.fetch("SELECT stopped_at, stop_reason FROM penstock.chains WHERE id = $1", queued.id)
    assert (chain["stopped_at"] is not None, chain["stop_reason"]) == (True, "it multiplies")
    (act,) = await house.fetch("SELECT actor, action, subject, after FROM penstock.audit")
    assert tuple(act) == (f"run {run['id']}", "chain.stop", str(queued.id), {"reason": "it multiplies"})


async def test_a_run_that_stops_its_own_chain_ends_there(house: House) -> None:
    await house.deploy(APP)
    async with house.executor():
        run = await house.perform("own")

    assert run["state"] == "cancelled"
    assert await house.things() == []


async def test_a_chain_that_does_not_exist_fails_the_step(house: House) -> None:
    await house.deploy(APP)
    unknown = uuid4()
    async with house.executor():
        run = await house.perform("warden", {"chain": str(unknown)})
        wrong = await house.perform("warden", {"chain": "mine"})

    assert f"has no chain {unknown}" in run["error"]["message"]
    assert "the id of a chain is expected, and this is 'mine'" in wrong["error"]["message"]
