"""The fence of a stop, at each place that consults it, with the other places out of play.

What is admitted after a stop would be ended at its claim as well, and the other way round. So no executor runs where
admission is on trial, and nothing is left to admit where the claim is.
"""

from uuid import UUID

import orjson

from penstock.contracts import envelope
from penstock.contracts.envelope import Message
from penstock.contracts.topology import SCHEDULE_EXCHANGE
from penstock.db import Record
from penstock.runs.chains import ChainName, stop_chain
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House

APP = """
workflow: root
steps:
  - {schedule: child, after: 1h}
  - {schedule_list: child, over: "${[1, 2, 3]}"}
  - {create: thing, set: {name: watched}}
---
workflow: child
steps: [{create: thing, set: {name: never}}]
---
workflow: watcher
on: {change: {type: thing, operations: [create]}}
steps: [{log: seen}]
"""
LINKS = {"run": 5, "change": 1}
"""Runs that are asked for, by their trigger; a message that names a parent is a run of that parent. A child that is
due now is not among them: its parent's step admits it.
"""


async def ask_from_outside(house: House, parent: UUID) -> None:
    """What an internal service sends that hands on which run it comes from."""
    body = orjson.dumps({"workflow": "child", "environment": ENVIRONMENT, "parameters": {}})
    headers: dict[str, object] = {envelope.PARENT_RUN_ID: str(parent)}
    message = Message(body, message_id=f"for {parent}", headers=headers)
    await house.broker.publish(SCHEDULE_EXCHANGE, f"{ENVIRONMENT}.child", message)


async def list_children(house: House, root: UUID) -> list[Record]:
    """All runs of the chain but its root, once there are as many as were asked for."""

    async def look() -> list[Record]:
        runs = await house.fetch("SELECT * FROM penstock.runs WHERE chain_id = $1 AND id <> $1", root)
        assert len(runs) >= sum(LINKS.values()), [run["trigger"] for run in runs]
        return runs

    return await eventually(look)


async def test_what_a_run_has_asked_for_before_the_stop_is_not_admitted_after_it(house: House) -> None:
    await house.deploy(APP)
    async with house.executor():
        root = (await house.perform("root"))["id"]
    await ask_from_outside(house, root)

    chain = ChainName(root, ENVIRONMENT)
    stopped = await stop_chain(house.database, chain, reason="it multiplies", by="a test")
    assert (stopped.is_new, stopped.cancelled) == (True, 0), "all that was asked for is still on its way"
    async with house.schedulers():
        runs = await list_children(house, root)

    assert {trigger: [run["trigger"] for run in runs].count(trigger) for trigger in LINKS} == LINKS
    assert {run["state"] for run in runs} == {"terminated"}
    assert {run["error"]["kind"] for run in runs} == {"chain_stopped"}
    # A run that admission lets in, and that the claim ends, was queued in between.
    assert {run["dispatched_at"] for run in runs} == {None}


async def test_what_was_queued_before_the_stop_is_not_claimed_after_it(house: House) -> None:
    await house.deploy(APP)
    runs = await house.admit("child", count=3)
    await house.publisher.dispatch(runs)
    # The fence alone, as it stands while the runs of a large chain are still being cancelled.
    await house.fetch(
        """
        INSERT INTO penstock.chains (id, environment, runs, stopped_at)
        SELECT id, environment, 1, clock_timestamp() FROM penstock.runs
        """
    )
    async with house.executor():
        rows = [await house.ended(run.id) for run in runs]

    assert {(row["state"], row["error"]["kind"]) for row in rows} == {("terminated", "chain_stopped")}
    assert {(row["attempt"], row["started_at"]) for row in rows} == {(0, None)}
    assert await house.things() == []
