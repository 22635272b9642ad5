"""The admins are notified of workload once per threshold and period, however many schedulers look and whatever happens
to the mail.
"""

import asyncio

import pytest

from penstock.contracts.messages import WorkloadEvent
from penstock_scheduler.loops.workload import delete_old_workload, watch_workload
from tests.eventually import eventually
from tests.integration.notifying import notify
from tests.integration.scheduling import ENVIRONMENT, Station
from tests.mail_server import MailServer, serve_mail


@pytest.fixture(autouse=True)
async def app(station: Station) -> None:
    """An app with admins and a monthly allowance of a thousand units."""
    await station.deploy("workflow: notify\nsteps: [{log: x}]\n", head="admins: [ops@example.com, boss@example.com]\n")
    await station.fetch("UPDATE penstock.environments SET workload_allowance = 1000 WHERE name = $1", ENVIRONMENT)


async def _consume(station: Station, units: float, *, hours_ago: int = 0, environment: str = ENVIRONMENT) -> None:
    await station.fetch(
        """
        INSERT INTO penstock.workload AS w (environment, hour, workflow, activity, count, units)
        VALUES ($1, date_trunc('hour', clock_timestamp(), 'UTC') - $2 * interval '1 hour', 'w', 'action', 1, $3)
        ON CONFLICT (environment, hour, workflow, activity) DO UPDATE SET units = w.units + EXCLUDED.units
        """,
        environment,
        hours_ago,
        units,
    )


async def _watch(station: Station, schedulers: int = 1, **settings: object) -> int:
    rooms = [station.furnish(**settings) for _ in range(schedulers)]
    counts = await asyncio.gather(*(watch_workload(room) for room in rooms))
    return sum(count.done["warned"] for count in counts)


def _warned(station: Station) -> list[WorkloadEvent]:
    messages = zip(station.events.routing_keys, station.events.messages, strict=True)
    return [WorkloadEvent.decode(message.body) for key, message in messages if key == f"{ENVIRONMENT}.workload.warned"]


async def test_racing_schedulers_tell_a_threshold_once(station: Station) -> None:
    mind = MailServer()
    await _consume(station, 760)
    async with serve_mail(mind) as url:
        rooms = [station.furnish(smtp_url=url) for _ in range(6)]
        for _ in range(3):
            await asyncio.gather(*(watch_workload(room) for room in rooms), *(notify(room) for room in rooms))
        await asyncio.gather(*(notify(room) for room in rooms))
    ((addresses, mail),) = mind.mails
    assert addresses == ["ops@example.com", "boss@example.com"]
    assert mail["Subject"] == "[Penstock] live has used 75 % of the month's workload"
    assert "live has consumed 760 workload units" in mail.get_content()
    (event,) = await eventually(lambda: _warned(station))
    assert (event.threshold, event.units, event.limit, event.since.day) == ("allowance_75", 760.0, 750.0, 1)
    (line,) = await station.fetch("SELECT level, event, details FROM penstock.logs")
    assert (line["level"], line["event"], line["details"]["kind"]) == (
        "warning",
        "workload threshold reached",
        "allowance_75",
    )


async def test_each_threshold_of_a_month_is_told_once_even_when_the_allowance_moves(station: Station) -> None:
    mind = MailServer()
    async with serve_mail(mind) as url:
        assert await _watch(station) == 0
        await _consume(station, 800)
        assert await _watch(station, 4) == 1
        await station.fetch("UPDATE penstock.environments SET workload_allowance = 5000")
        assert await _watch(station) == 0
        await station.fetch("UPDATE penstock.environments SET workload_allowance = 1000")
        assert await _watch(station) == 0
        await _consume(station, 300)
        assert await _watch(station, 4) == 1
        assert await _watch(station, 4) == 0
        await notify(station.furnish(smtp_url=url))
    assert sorted(str(mail["Subject"]) for _, mail in mind.mails) == [
        "[Penstock] live has used 75 % of the month's workload",
        "[Penstock] live has used up the month's workload",
    ]


async def test_a_leap_past_both_thresholds_is_one_mail(station: Station) -> None:
    mind = MailServer()
    await _consume(station, 5000)
    async with serve_mail(mind) as url:
        assert await _watch(station, 3) == 2
        await notify(station.furnish(smtp_url=url))
        await notify(station.furnish(smtp_url=url))
    assert [mail["Subject"] for _, mail in mind.mails] == ["[Penstock] live has used up the month's workload"]
    assert sorted(event.threshold for event in await eventually(lambda: _warned(station))) == [
        "allowance_100",
        "allowance_75",
    ]


async def test_the_last_month_and_the_other_environment_do_not_count(station: Station) -> None:
    await _consume(station, 1e6, hours_ago=31 * 24 + 1)
    await _consume(station, 1e6, environment="development")
    assert await _watch(station) == 0


async def test_an_hour_far_above_the_usual_is_told_once_a_day(station: Station) -> None:
    await station.fetch(
        "UPDATE penstock.environments SET workload_allowance = 0, workload_spike_factor = 5, workload_spike_minimum = "
        "100"
    )
    for hours_ago in range(1, 30):
        await _consume(station, 30, hours_ago=hours_ago)
    await _consume(station, 149)
    assert await _watch(station) == 0
    await _consume(station, 2)
    mind = MailServer()
    async with serve_mail(mind) as url:
        assert await _watch(station, 4) == 1
        await _consume(station, 1000)
        assert await _watch(station, 4) == 0
        await notify(station.furnish(smtp_url=url))
    ((_, mail),) = mind.mails
    assert mail["Subject"] == "[Penstock] live consumes far more workload than usual"
    assert "an ordinary hour of the last week had 30" in mail.get_content()


async def test_a_warning_that_nobody_can_be_mailed_is_still_logged_and_published(station: Station) -> None:
    await _consume(station, 760)
    room = station.furnish()
    assert (await watch_workload(room)).done == {"warned": 1}
    assert (await notify(room)).done == {"sent": 0}
    assert len(await eventually(lambda: _warned(station))) == 1
    assert await station.fetchval("SELECT count(*) FROM penstock.logs WHERE event = 'workload threshold reached'") == 1


async def test_what_internal_services_schedule_is_metered(station: Station) -> None:
    async with station.scheduler():
        await station.ask(parameters={})
        first = await station.ask(message_id="same", parameters={}, list={"items": [{}, {}, {}]})
        again = await station.ask(message_id="same", parameters={}, list={"items": [{}, {}, {}]})
        assert (first["duplicate"], again["duplicate"]) == (False, True)
    rows = await station.fetch("SELECT workflow, activity, count, units FROM penstock.workload")
    assert [tuple(row) for row in rows] == [("notify", "item_scheduled", 4, pytest.approx(0.4))]


async def test_sums_of_long_ago_are_forgotten(station: Station) -> None:
    for hours_ago in (0, 399 * 24, 401 * 24, 500 * 24):
        await _consume(station, 1, hours_ago=hours_ago)
    counts = await asyncio.gather(*(delete_old_workload(station.furnish()) for _ in range(3)))
    assert sum(count.done["sums"] for count in counts) == 2
    assert await station.fetchval("SELECT count(*) FROM penstock.workload") == 2
