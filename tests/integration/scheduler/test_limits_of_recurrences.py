"""Recurrences that end, replace the run before, or pause by themselves; and what is kept of their ticks."""

from datetime import datetime, timedelta
from functools import partial

import pytest

from penstock.db import Record
from penstock.runs.recurrences.control import resume_recurrence
from penstock.runs.recurrences.history import KEPT_TICKS, Tick, record_ticks
from penstock.runs.recurrences.rows import trigger_recurrence_id
from penstock_scheduler.loops.recurrences import pause_failing_recurrences, tick_recurrences
from penstock_scheduler.loops.upkeep import delete_ticks
from tests.eventually import eventually
from tests.integration.scheduling import ENVIRONMENT, Station

TIDY = trigger_recurrence_id(ENVIRONMENT, "tidy", 0)
HOUR = timedelta(hours=1)
YEARLY = "0 0 1 1 *"
"""For tests that set each tick by themselves."""


async def deploy(station: Station, *, cron: str = "0 * * * *", keys: str = "", parameters: str = "") -> None:
    trigger = f'{{cron: "{cron}", {keys}}}'
    await station.deploy(f"workflow: tidy\n{parameters}on: {{recurrence: {trigger}}}\nsteps: [{{log: tidied}}]")


async def tick(station: Station, hours: int = 1) -> None:
    """Let the recurrence have been due for this many hours, and take a turn."""
    now = await station.fetchval("SELECT date_trunc('hour', clock_timestamp())")
    assert isinstance(now, datetime)
    await station.fetch(
        "UPDATE penstock.recurrences SET next_tick_at = $2, due_at = $2 WHERE id = $1 AND due_at IS NOT NULL",
        TIDY,
        now - hours * HOUR,
    )
    await tick_recurrences(station.furnish())


async def end_runs(station: Station, state: str) -> None:
    await station.fetch(
        "UPDATE penstock.runs SET state = $1, finished_at = clock_timestamp() WHERE finished_at IS NULL", state
    )


async def get(station: Station) -> Record:
    return (await station.fetch("SELECT * FROM penstock.recurrences WHERE id = $1", TIDY))[0]


async def outcomes(station: Station) -> list[str]:
    return [
        row["outcome"] for row in await station.fetch("SELECT outcome FROM penstock.recurrence_ticks ORDER BY tick_at")
    ]


async def test_it_ends_after_so_many_times_and_a_deployment_of_the_same_does_not_begin_again(station: Station) -> None:
    await deploy(station, keys="times: 2, overlap: allow, catch_up: 1d")
    await tick(station, hours=4)
    found = await get(station)
    assert (len(await station.runs()), found["ticks_left"], found["next_tick_at"], found["due_at"]) == (
        2,
        0,
        None,
        None,
    )
    await deploy(station, keys="times: 2, overlap: allow, catch_up: 1d")
    assert (await get(station))["due_at"] is None
    await deploy(station, keys="times: 3, overlap: allow, catch_up: 1d")
    assert ((await get(station))["ticks_left"], (await get(station))["due_at"] is None) == (3, False)


async def test_the_run_before_is_cancelled_by_the_next_tick(station: Station) -> None:
    await deploy(station, cron=YEARLY, keys="overlap: cancel_other, catch_up: 1d")
    await tick(station, hours=5)
    await tick(station, hours=3)
    rows = await station.fetch("SELECT state FROM penstock.runs ORDER BY created_at")
    assert [row["state"] for row in rows] == ["cancelled", "queued"]
    assert await outcomes(station) == ["started", "started"]
    await eventually(lambda: f"{ENVIRONMENT}.run.cancelled" in station.events.routing_keys)


@pytest.mark.parametrize(
    ("ends", "is_paused"),
    [
        (("failed", "failed"), True),
        (("failed", "terminated"), True),
        (("failed", "cancelled", "failed"), True),
        (("failed", "succeeded"), False),
        (("failed", "succeeded", "failed"), False),
        (("failed",), False),
    ],
)
async def test_it_pauses_after_so_many_failures_in_a_row(
    station: Station, ends: tuple[str, ...], is_paused: bool
) -> None:
    await deploy(station, cron=YEARLY, keys="pause_after_failures: 2, catch_up: 1d")
    for number, state in enumerate(ends):
        await tick(station, hours=len(ends) - number)
        await end_runs(station, state)
    room = station.furnish()
    assert (await pause_failing_recurrences(room)).done["paused"] == is_paused
    found = await get(station)
    assert (found["paused_at"] is not None, found["pause_note"]) == (
        is_paused, "its last 2 runs failed" if is_paused else None,
    )  # fmt: skip
    kinds = [row["kind"] for row in await station.fetch("SELECT kind FROM penstock.notices")]
    assert ("recurrences.paused" in kinds) == is_paused
    logged = await station.fetch("SELECT message FROM penstock.logs WHERE message LIKE '%was paused, because%'")
    assert len(logged) == is_paused


async def test_once_resumed_it_is_given_as_many_failures_again(station: Station) -> None:
    await deploy(station, cron=YEARLY, keys="pause_after_failures: 1, catch_up: 1d")
    await tick(station)
    await end_runs(station, "failed")
    room = station.furnish()
    assert (await pause_failing_recurrences(room)).done["paused"] == 1
    await station.database.in_transaction(partial(resume_recurrence, id=TIDY))
    found = await get(station)
    assert (found["paused_at"], found["pause_note"], found["due_at"] is not None) == (None, None, True)
    assert (await pause_failing_recurrences(room)).done["paused"] == 0
    await tick(station, hours=0)
    await end_runs(station, "failed")
    assert (await pause_failing_recurrences(room)).done["paused"] == 1


async def test_ticks_that_made_no_run_are_kept_with_the_reason(station: Station) -> None:
    await deploy(station, keys="catch_up: 90m")
    await tick(station, hours=3)
    await tick(station, hours=0)
    rows = await station.fetch("SELECT outcome, run_id, reason FROM penstock.recurrence_ticks ORDER BY tick_at")
    assert [row["outcome"] for row in rows][:3] == ["missed", "missed", "missed"]
    assert all("no scheduler worked then" in row["reason"] for row in rows[:3])
    assert rows[3]["outcome"] == "skipped"
    assert "had not ended (overlap: skip)" in rows[3]["reason"]


async def test_of_each_recurrence_the_last_ticks_are_kept(station: Station) -> None:
    await deploy(station)
    first = datetime.fromisoformat("2026-01-01T00:00:00Z")
    ticks = [Tick(TIDY, first + number * HOUR, "skipped") for number in range(KEPT_TICKS + 20)]
    await station.database.in_transaction(lambda conn: record_ticks(conn, ticks))
    assert (await delete_ticks(station.furnish())).done["ticks"] == 20
    oldest = await station.fetchval("SELECT min(tick_at) FROM penstock.recurrence_ticks")
    assert oldest == ticks[20].tick_at


async def test_it_ticks_not_before_its_start_and_not_after_its_end(station: Station) -> None:
    await deploy(station, keys="start: 2100-01-01T00:00:00Z, end: 2100-01-01T01:00:00+01:00")
    found = await get(station)
    assert found["next_tick_at"] == found["due_at"] == datetime.fromisoformat("2100-01-01T00:00:00Z")
    await deploy(station, keys="end: 2001-01-01T00:00:00Z")
    found = await get(station)
    assert (found["next_tick_at"], found["due_at"]) == (None, None)
