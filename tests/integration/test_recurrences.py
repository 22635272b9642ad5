"""Recurrences, from what is deployed to the runs of their ticks: rivals, downtime, overlaps, pauses, redeployment,
refusals.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from penstock.db import Record
from penstock.domain.ids import tick_run_id
from penstock.runs.recurrences.control import pause_recurrence, resume_recurrence
from penstock.runs.recurrences.rows import trigger_recurrence_id
from penstock.testing.time import advance
from penstock_scheduler.loops.recurrences import tick_recurrences
from penstock_scheduler.room import Room
from tests.eventually import eventually
from tests.integration.scheduling import ENVIRONMENT, Station

HOUR = timedelta(hours=1)


@pytest.fixture
def database_url(movable_database_url: str) -> str:
    """A database whose time can be moved."""
    return movable_database_url


@pytest.fixture(autouse=True)
async def past_the_hour(station: Station) -> None:
    """Five seconds past a full hour, so that no test meets the hour by chance."""
    await move_to(station, 5)


async def move(station: Station, by: timedelta) -> None:
    async with station.database.connection() as conn:
        await advance(conn, by)


async def move_to(station: Station, seconds: int) -> datetime:
    """Move to this many seconds past the next full hour; that hour."""
    now = await station.fetchval("SELECT clock_timestamp()")
    assert isinstance(now, datetime)
    hour = now.replace(minute=0, second=0, microsecond=0) + HOUR
    await move(station, hour + timedelta(seconds=seconds) - now)
    return hour


def hourly(
    *, overlap: str = "skip", catch_up: str = "1h", cron: str = "0 * * * *", jitter: str = "0s", name: str = "tidy"
) -> str:
    trigger = f'{{cron: "{cron}", overlap: {overlap}, catch_up: {catch_up}, jitter: {jitter}}}'
    return f"workflow: {name}\non: {{recurrence: {trigger}}}\nsteps: [{{log: tidied}}]"


async def get(station: Station, workflow: str = "tidy", position: int = 0) -> Record:
    id = trigger_recurrence_id(ENVIRONMENT, workflow, position)
    return (await station.fetch("SELECT * FROM penstock.recurrences WHERE id = $1", id))[0]


async def turn(room: Room) -> dict[str, int]:
    return dict((await tick_recurrences(room)).done)


async def end_runs(station: Station) -> None:
    await station.fetch(
        "UPDATE penstock.runs SET state = 'succeeded', finished_at = clock_timestamp() WHERE finished_at IS NULL"
    )


async def messages(station: Station) -> list[str]:
    return [row["message"] for row in await station.fetch("SELECT message FROM penstock.logs ORDER BY id")]


async def test_a_tick_is_a_root_run_that_knows_its_time(station: Station) -> None:
    await station.deploy(hourly())
    room = station.furnish()
    assert await turn(room) == {"ticks": 0, "skipped": 0, "missed": 0, "refused": 0}
    hour = await move_to(station, 1)
    assert (await turn(room))["ticks"] == 1
    await room.meter.flush()
    assert (
        await station.fetchval(
            "SELECT count FROM penstock.workload WHERE activity = 'item_scheduled' AND workflow = 'tidy'"
        )
        == 1
    )
    (run,) = await station.runs()
    recurrence = await get(station)
    assert (run["trigger"], run["depth"], run["state"], run["scheduled_at"]) == ("recurrence", 0, "queued", hour)
    assert run["context"]["recurrence"]["tick_at"] == hour.isoformat()
    assert (run["id"], run["chain_id"]) == (recurrence["last_run_id"], run["id"])
    assert (recurrence["last_tick_at"], recurrence["next_tick_at"], recurrence["ticks"]) == (hour, hour + HOUR, 1)
    await station.executor.receive()
    assert station.executor.run_ids() == [run["id"]]
    assert (await turn(room))["ticks"] == 0


async def test_a_scheduler_ticks_by_itself_soon_after_the_time(station: Station) -> None:
    await station.deploy(hourly(cron="* * * * *"))
    async with station.scheduler(), station.scheduler():
        await move(station, timedelta(seconds=60))
        await eventually(station.runs, within=20)
    (run,) = await station.runs()
    assert run["scheduled_at"].second == 0


async def test_rivals_make_one_run_for_each_tick(station: Station) -> None:
    await station.deploy("\n---\n".join(hourly(name=f"tidy{number}", overlap="allow") for number in range(30)))
    rooms = [station.furnish() for _ in range(3)]
    hours = []
    for _ in range(3):
        hours.append(await move_to(station, 1))
        await asyncio.gather(*(turn(room) for room in rooms))
    runs = await station.runs()
    assert len(runs) == 90
    expected = {
        tick_run_id(trigger_recurrence_id(ENVIRONMENT, f"tidy{number}", 0), hour)
        for number in range(30)
        for hour in hours
    }
    assert {run["id"] for run in runs} == expected
    for room in rooms:
        await room.dispatches.drain()


@pytest.mark.parametrize(("overlap", "made"), [("allow", [1, 2]), ("skip", [2]), ("queue", [2])])
async def test_ticks_missed_while_no_scheduler_worked_are_made_up_within_the_window(
    station: Station, overlap: str, made: list[int]
) -> None:
    await station.deploy(hourly(overlap=overlap, catch_up="90m"))
    first = (await get(station))["next_tick_at"]
    await move(
        station,
        first + 2 * HOUR + timedelta(minutes=10) - (await station.fetch("SELECT clock_timestamp() AS now"))[0]["now"],
    )
    done = await turn(station.furnish())
    assert (done["ticks"], done["missed"]) == (len(made), 3 - len(made))
    runs = await station.runs()
    assert [run["context"]["recurrence"]["tick_at"] for run in runs] == [
        (first + hours * HOUR).isoformat() for hours in made
    ]
    assert all(run["scheduled_at"] > first + 2 * HOUR for run in runs), "what is made up is due now"
    assert (await get(station))["next_tick_at"] == first + 3 * HOUR
    assert len([line for line in await messages(station) if "no scheduler worked then" in line]) == 1


async def test_without_catching_up_a_late_tick_is_missed_and_one_on_time_is_not(station: Station) -> None:
    await station.deploy(hourly(catch_up="0s"))
    room = station.furnish()
    await move_to(station, 30)
    assert (await turn(room))["missed"] == 1
    await move_to(station, 2)
    assert (await turn(room))["ticks"] == 1


async def test_a_tick_is_skipped_while_the_run_before_lives(station: Station) -> None:
    await station.deploy(hourly(overlap="skip"))
    room = station.furnish()
    await move_to(station, 1)
    await turn(room)
    hour = await move_to(station, 1)
    assert (await turn(room))["skipped"] == 1
    (run,) = await station.runs()
    assert (
        f"the tick of {hour.isoformat()} of tidy made no run: the run {run['id']} of the tick before had not ended"
        in (await messages(station))[0]
    )
    await end_runs(station)
    await move_to(station, 1)
    assert (await turn(room))["ticks"] == 1
    assert [(await get(station))[name] for name in ("ticks", "skipped", "missed")] == [2, 1, 0]


async def test_a_tick_waits_for_the_run_before_and_of_several_the_latest_runs(station: Station) -> None:
    await station.deploy(hourly(overlap="queue", catch_up="1m"))
    room = station.furnish()
    await move_to(station, 1)
    await turn(room)
    await move_to(station, 30)
    assert (await turn(room))["ticks"] == 0
    hour = await move_to(station, 30)
    assert (await turn(room))["ticks"] == 0
    assert (await get(station))["held_since"] is not None
    await end_runs(station)
    await move(station, timedelta(minutes=10))
    done = await turn(room)
    assert (done["ticks"], done["skipped"], done["missed"]) == (1, 1, 0)
    recurrence = await get(station)
    assert (recurrence["last_tick_at"], recurrence["held_since"], recurrence["next_tick_at"]) == (
        hour,
        None,
        hour + HOUR,
    )


async def test_runs_may_overlap_where_that_is_allowed(station: Station) -> None:
    await station.deploy(hourly(overlap="allow"))
    room = station.furnish()
    for _ in range(3):
        await move_to(station, 1)
        assert (await turn(room))["ticks"] == 1
    assert {run["state"] for run in await station.runs()} == {"queued"}


async def test_a_paused_recurrence_does_not_tick_and_makes_nothing_up(station: Station) -> None:
    await station.deploy(hourly())
    room, id = station.furnish(), trigger_recurrence_id(ENVIRONMENT, "tidy", 0)
    await station.database.in_transaction(lambda conn: pause_recurrence(conn, id=id))
    await move_to(station, 1)
    assert (await turn(room))["ticks"] == 0
    await station.deploy(hourly(cron="30 * * * *"))
    assert (await get(station))["due_at"] is None, "a deployment does not resume what a person has paused"
    await move_to(station, 1)
    await station.database.in_transaction(lambda conn: resume_recurrence(conn, id=id))
    assert (await turn(room))["ticks"] == 0
    await move(station, timedelta(minutes=30))
    assert (await turn(room))["ticks"] == 1


async def test_deploying_adds_changes_and_removes(station: Station) -> None:
    await station.deploy(hourly())
    before = await get(station)
    await station.deploy(hourly() + "\n---\n" + hourly(name="sweep", cron="30 5 * * *"))
    assert (await get(station))["next_tick_at"] == before["next_tick_at"]
    await move(station, 2 * HOUR)
    await station.deploy(hourly(overlap="allow") + "\n---\n" + hourly(name="sweep", cron="45 5 * * *"))
    kept, changed = await get(station), await get(station, "sweep")
    assert (kept["next_tick_at"], kept["overlap"]) == (before["next_tick_at"], "allow"), (
        "what is due meanwhile is not forgotten"
    )
    assert (changed["next_tick_at"].hour, changed["next_tick_at"].minute) == (5, 45)
    await station.deploy("workflow: tidy\nsteps: [{log: tidied}]")
    assert await station.fetchval("SELECT count(*) FROM penstock.recurrences") == 0


async def test_a_workflow_may_have_several_and_they_keep_to_their_zones(station: Station) -> None:
    await station.deploy(
        "workflow: tidy\non: {recurrence: [{cron: 0 3 * * *, timezone: Asia/Tokyo}, {cron: 0 4 * * *, timezone: "
        "America/Caracas}]}\n"
        "steps: [{log: tidied}]"
    )
    ticks = [(await get(station, position=position))["next_tick_at"].astimezone(UTC) for position in (0, 1)]
    assert [tick.hour for tick in ticks] == [18, 8]


async def test_environments_do_not_share_recurrences(station: Station) -> None:
    await station.deploy(hourly())
    await station.deploy(hourly(), environment="development")
    assert await station.fetchval("SELECT count(DISTINCT (id, environment)) FROM penstock.recurrences") == 2
    await move_to(station, 1)
    assert (await turn(station.furnish()))["ticks"] == 2
    assert {run["environment"] for run in await station.runs()} == {"live", "development"}


async def test_a_refused_tick_is_a_workflow_error_and_keeps_no_other_back(station: Station) -> None:
    await station.deploy(hourly() + "\n---\n" + hourly(name="sweep"))
    room = station.furnish()
    await turn(room)
    await station.fetch("UPDATE penstock.recurrences SET parameters = '{\"who\": 1}' WHERE workflow = 'sweep'")
    await move_to(station, 1)
    done = await turn(room)
    assert (done["ticks"], done["refused"]) == (1, 1)
    assert [run["workflow"] for run in await station.runs()] == ["tidy"]
    (line,) = await station.fetch("SELECT * FROM penstock.logs")
    assert (line["event"], line["workflow"], line["level"]) == (
        "error occurred during workflow execution",
        "sweep",
        "error",
    )
    assert "could not be started: Unknown parameter for workflow sweep: parameter who" in line["message"]
    sweep = await get(station, "sweep")
    assert (sweep["refused"], sweep["ticks"], sweep["next_tick_at"] > line["at"]) == (1, 0, True)


async def test_one_that_cannot_be_decided_is_put_off_and_keeps_no_other_back(station: Station) -> None:
    await station.deploy(hourly() + "\n---\n" + hourly(name="sweep"))
    await station.fetch("UPDATE penstock.recurrences SET timezone = 'Atlantis/Capital' WHERE workflow = 'sweep'")
    hour = await move_to(station, 1)
    assert (await turn(station.furnish()))["ticks"] == 1
    assert [run["workflow"] for run in await station.runs()] == ["tidy"]
    assert (await get(station, "sweep"))["due_at"] > hour + timedelta(seconds=60)


async def test_jitter_delays_the_run_and_not_the_tick(station: Station) -> None:
    await station.deploy(hourly(jitter="30m"))
    recurrence = await get(station)
    assert timedelta() < recurrence["due_at"] - recurrence["next_tick_at"] < timedelta(minutes=30)
    room = station.furnish()
    hour = await move_to(station, 0)
    assert (await turn(room))["ticks"] == 0
    await move(station, recurrence["due_at"] - hour)
    assert (await turn(room))["ticks"] == 1
    (run,) = await station.runs()
    assert (run["scheduled_at"], run["context"]["recurrence"]["tick_at"]) == (recurrence["due_at"], hour.isoformat())


async def test_many_due_at_once_are_all_started(station: Station) -> None:
    await station.deploy(hourly(overlap="allow"))
    await station.fetch(
        """
        INSERT INTO penstock.recurrences (
            id, environment, workflow, origin, thing, every, start_at, timezone, overlap, catch_up_seconds,
                jitter_seconds,
            next_tick_at, due_at
        )
        SELECT gen_random_uuid(), 'live', 'tidy', 'step', n::text, 'monthly', clock_timestamp(), 'UTC', 'allow', 3600,
               0,
               clock_timestamp(), clock_timestamp()
        FROM generate_series(1, 700) AS n
        """
    )
    rooms = [station.furnish() for _ in range(2)]
    await asyncio.gather(*(turn(room) for room in rooms))
    await turn(rooms[0])
    assert await station.fetchval("SELECT count(*) FROM penstock.runs") == 700
    assert await station.fetchval("SELECT count(*) FROM penstock.recurrences WHERE due_at <= clock_timestamp()") == 0
    for room in rooms:
        await room.dispatches.drain()


async def test_the_same_tick_makes_no_second_run_even_when_the_recurrence_is_set_again(station: Station) -> None:
    await station.deploy(hourly(overlap="allow"))
    room = station.furnish()
    hour = await move_to(station, 1)
    await turn(room)
    await station.fetch("UPDATE penstock.recurrences SET next_tick_at = $1, due_at = $1", hour)
    assert (await turn(room))["ticks"] == 1
    assert [run["id"] for run in await station.runs()] == [tick_run_id(UUID(str((await get(station))["id"])), hour)]
