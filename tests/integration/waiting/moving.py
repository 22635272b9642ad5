"""What tests of waits share."""

from datetime import timedelta
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection
from penstock.domain.runs import RunSummary
from penstock.runs.waits_and_signals import post_signal
from penstock.testing.time import advance
from tests.integration.executing import ENVIRONMENT, House

REMINDER = """
workflow: reminder
steps:
  - create: thing
    set: {name: before}
  - id: pause
    wait: 30d
  - create: thing
    set: {name: after}
  - return: {attempt: "${run.attempt}", pause: "${steps.pause}"}
"""
PAYMENT = """
workflow: payment
parameters: {order: {type: any, optional: true}}
steps:
  - id: paid
    wait_for: paid
    match: {order: "${params.order}"}
    timeout: 1h
  - return: {paid: "${steps.paid}"}
"""
ANYTHING = """
workflow: listener
steps:
  - id: heard
    wait_for: "news-${1 + 1}"
  - return: {heard: "${steps.heard}"}
"""


async def advance_time(house: House, by: timedelta) -> None:
    async with house.database.connection() as conn:
        await advance(conn, by)


async def send_signal(house: House, name: str, payload: JsonValue = None) -> list[RunSummary]:
    async def post(conn: Connection) -> list[RunSummary]:
        return await post_signal(conn, environment=ENVIRONMENT, name=name, payload=payload)

    woken = await house.database.in_transaction(post)
    await house.publisher.dispatch(woken)
    return woken


async def count_waits(house: House) -> int:
    return len(await house.fetch("SELECT FROM penstock.waits"))


async def is_in_state(house: House, run_id: UUID, state: str, *, attempt: int) -> bool:
    row = await house.get(run_id)
    return (row["state"], row["attempt"]) == (state, attempt)


async def count_is(house: House, state: str, count: int) -> bool:
    (row,) = await house.fetch("SELECT count(*) AS n FROM penstock.runs WHERE state = $1", state)
    assert row["n"] == count
    return True
