"""Times at the edge of the calendar, in all places of a workflow: now, refused with a reason, or stored as they are."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import JsonValue

from penstock.db import Refused
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House

ZERO = "0001-01-01T00:00:00Z"
BEYOND = ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00"]
NOT_A_TIME = ["infinity", "-infinity", "+10000-01-01T00:00:00Z", "0000-12-31T10:00:00Z", "Invalid date", "1e400"]
WORKFLOWS = """
workflow: waits
parameters: {at: any}
steps:
  - wait_until: "${params.at}"
  - return: {ok: true}
---
workflow: schedules
parameters: {at: any}
steps:
  - id: next
    schedule: light
    at: "${params.at}"
  - return: {id: "${steps.next}"}
---
workflow: lists
parameters: {at: any}
steps: [{schedule_list: light, over: [1, 2], with: {}, at: "${params.at}"}]
---
workflow: recurs
parameters: {at: any}
steps: [{recur: light, every: yearly, start: "${params.at}"}]
---
workflow: computes
steps: [{wait_until: "${d('9999-12-31').add('1y')}"}]
---
workflow: light
steps: [{return: {ok: true}}]
"""


@pytest.mark.parametrize("workflow", ["waits", "schedules", "lists"])
async def test_the_past_means_now(house: House, workflow: str) -> None:
    await house.deploy(WORKFLOWS)
    async with house.services():
        for at in (ZERO, -62135596800000, "1969-07-20T20:17:40Z"):
            run = await house.perform(workflow, {"at": at})
            assert run["state"] == "succeeded", run["error"]

        async def all_ended() -> None:
            rows = await house.fetch("SELECT state, scheduled_at FROM penstock.runs")
            assert {row["state"] for row in rows} == {"succeeded"}
            assert min(row["scheduled_at"] for row in rows) > datetime.now(UTC) - timedelta(minutes=5)

        await eventually(all_ended)


@pytest.mark.parametrize("workflow", ["waits", "schedules", "lists", "recurs"])
async def test_what_cannot_be_told_in_utc_is_an_error_that_says_so(house: House, workflow: str) -> None:
    await house.deploy(WORKFLOWS)
    async with house.executor():
        values: list[JsonValue] = [*BEYOND, *NOT_A_TIME, 1e300, 1e18, True, {}]
        for at in values:
            run = await house.perform(workflow, {"at": at})
            assert (run["state"], run["attempt"], run["error"]["kind"]) == ("failed", 1, "arguments"), (
                at,
                run["error"],
            )
            said = "is not between the years 1 and 9999 in UTC" if at in BEYOND else "has to be a time such as"
            assert said in run["error"]["message"]
        computed = await house.perform("computes")
    assert "has to be a time such as" in computed["error"]["message"]


async def test_a_recurrence_may_start_at_either_end(house: House) -> None:
    await house.deploy(WORKFLOWS)
    async with house.executor():
        for at in (ZERO, "9999-12-31T23:59:59Z"):
            run = await house.perform("recurs", {"at": at})
            assert run["state"] == "succeeded", run["error"]
    starts = await house.fetch("SELECT isfinite(start_at) AS is_finite FROM penstock.recurrences")
    assert starts
    assert all(row["is_finite"] for row in starts)


async def test_a_date_field_holds_what_the_calendar_has(house: House) -> None:
    types = "type: moment\nfields: {at: date, many: list of date}\n"
    workflow = """
workflow: keep
parameters: {at: any}
steps:
  - id: kept
    create: moment
    set: {at: "${params.at}", many: ["${params.at}"]}
  - id: found
    find: moment
    where: {at: "${params.at}"}
  - return: {at: "${steps.kept.at}", found: "${len(steps.found.results)}", many: "${steps.found.results[0].many}"}
"""
    await house.deploy(workflow, types=types)
    async with house.executor():
        for at, kept in ((ZERO, "0001-01-01T00:00:00.000Z"), ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z")):
            run = await house.perform("keep", {"at": at})
            assert run["result"] == {"at": kept, "found": 1, "many": [kept]}, run["error"]
        for at in BEYOND:
            run = await house.perform("keep", {"at": at})
            assert "the date is not between the years 1 and 9999 in UTC" in run["error"]["message"]
    for value in ("'infinity'", "NULL, many = ARRAY['-infinity'::timestamptz]"):
        with pytest.raises(Refused):
            await house.fetch(f"UPDATE {ENVIRONMENT}.moment SET at = {value}")


async def test_an_endless_time_is_refused_by_the_function_of_the_database_and_the_past_means_now(house: House) -> None:
    await house.deploy(WORKFLOWS)
    for at in ("infinity", "-infinity", "294000-01-01"):
        with pytest.raises(Refused, match="at is beyond the year 9999"):
            await house.fetch(f"SELECT penstock.schedule('{ENVIRONMENT}', 'light', at => '{at}')")
    async with house.services():
        for at in ("0044-03-15 BC", "4000-01-01 BC", ZERO):
            await house.fetch(f"SELECT penstock.schedule('{ENVIRONMENT}', 'light', at => '{at}')")

        async def all_there() -> None:
            rows = await house.fetch("SELECT state, isfinite(scheduled_at) AS is_finite FROM penstock.runs")
            assert [row["state"] for row in rows] == ["succeeded"] * 3
            assert all(row["is_finite"] for row in rows)

        await eventually(all_there)
