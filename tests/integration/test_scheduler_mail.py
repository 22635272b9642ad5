"""The admins are told of a terminated run by mail, at most once a day and environment, whatever fails."""

import asyncio
from typing import Final

import pytest

from penstock_scheduler.loops.notifying import MAX_ATTEMPTS, notify
from tests.eventually import eventually
from tests.integration.scheduling import ENVIRONMENT, Station
from tests.mail_server import MailServer, serve_mail

ADMINS: Final = "admins: [ops@example.com, boss@example.com]\n"


@pytest.fixture(autouse=True)
async def app(station: Station) -> None:
    """An app with admins."""
    await station.deploy("workflow: notify\nparameters: {name: text}\nsteps: [{log: x}]\n", head=ADMINS)


async def _terminate(station: Station) -> None:
    async with station.scheduler():
        assert (await station.ask(headers={"depth": 11}))["state"] == "terminated"


async def _again(station: Station) -> None:
    await station.fetch(
        "UPDATE penstock.notifications SET next_try_at = clock_timestamp() WHERE next_try_at IS NOT NULL"
    )


async def test_two_schedulers_send_one_mail_that_says_all(station: Station) -> None:
    mind = MailServer()
    async with serve_mail(mind) as url:
        async with station.scheduler(smtp_url=url), station.scheduler(smtp_url=url):
            answers = [await station.ask(headers={"depth": 11}) for _ in range(20)]
            await eventually(lambda: mind.mails)
        rooms = [station.furnish(smtp_url=url) for _ in range(4)]
        await asyncio.gather(*(notify(room) for room in rooms))
    ((addresses, mail),) = mind.mails
    assert addresses == ["ops@example.com", "boss@example.com"]
    assert mail["Subject"] == "[Penstock] notify was terminated in live"
    text = mail.get_content()
    for part in (
        str(answers[0]["run_id"]),
        "Depth:        11 (limit 10)",
        "Path:         notify",
        "What to do:",
        "penstock chain show",
    ):
        assert part in text
    assert await station.fetchval("SELECT sent_at IS NOT NULL FROM penstock.notifications") is True


@pytest.mark.parametrize("answer", ["451 later", "550 never"])
async def test_refused_mail_is_tried_again_later(station: Station, answer: str) -> None:
    await _take_without_mail(station)
    mind = MailServer(answers=[answer])
    async with serve_mail(mind) as url:
        room = station.furnish(smtp_url=url)
        assert (await notify(room)).done["sent"] == 0
        (row,) = await station.fetch(
            "SELECT next_try_at > clock_timestamp() + interval '20 s' AS later FROM penstock.notifications"
        )
        assert row["later"] is True
        assert (await notify(room)).done["sent"] == 0
        await _again(station)
        assert (await notify(room)).done["sent"] == 1
    assert (mind.tries, len(mind.mails)) == (2, 1)
    assert await station.fetchval("SELECT count(*) FROM penstock.logs WHERE event = 'Sending email failed'") == 1


async def _take_without_mail(station: Station) -> None:
    """Have a run terminated, and its notification waiting."""
    await _terminate(station)
    await station.fetch("UPDATE penstock.notifications SET next_try_at = clock_timestamp(), attempts = 0")


async def test_mail_is_tried_again_while_nobody_listens(station: Station) -> None:
    await _take_without_mail(station)
    mind = MailServer()
    async with serve_mail(mind) as url:
        pass
    room = station.furnish(smtp_url=url)
    assert (await notify(room)).done["sent"] == 0
    assert await station.fetchval("SELECT next_try_at IS NOT NULL FROM penstock.notifications") is True


async def test_mail_that_may_have_been_taken_is_never_sent_again(station: Station) -> None:
    await _take_without_mail(station)
    mind = MailServer(hangs_up=True)
    async with serve_mail(mind) as url:
        room = station.furnish(smtp_url=url)
        for _ in range(3):
            await notify(room)
            await _again(station)
    assert mind.tries == 1
    (row,) = await station.fetch("SELECT next_try_at, sent_at FROM penstock.notifications")
    assert tuple(row) == (None, None)


async def test_one_refused_address_does_not_keep_the_others_from_being_told(station: Station) -> None:
    await _take_without_mail(station)
    mind = MailServer(refusals={"ops@example.com": ["550 nobody of that name"]})
    async with serve_mail(mind) as url:
        assert (await notify(station.furnish(smtp_url=url))).done["sent"] == 1
    assert mind.mails[0][0] == ["boss@example.com"]


async def test_an_address_that_is_none_does_not_keep_the_others_from_being_told(station: Station) -> None:
    await _take_without_mail(station)
    await station.fetch(
        "UPDATE penstock.environments SET notification_addresses = $1", ["ops@@example.com", "boss@example.com"]
    )
    mind = MailServer()
    async with serve_mail(mind) as url:
        assert (await notify(station.furnish(smtp_url=url))).done["sent"] == 1
    assert mind.mails[0][0] == ["boss@example.com"]


async def test_mail_is_given_up_after_many_attempts(station: Station) -> None:
    await _take_without_mail(station)
    await station.fetch("UPDATE penstock.notifications SET attempts = $1", MAX_ATTEMPTS - 1)
    mind = MailServer(answers=["451 later"])
    async with serve_mail(mind) as url:
        await notify(station.furnish(smtp_url=url))
    assert await station.fetchval("SELECT next_try_at FROM penstock.notifications") is None


@pytest.mark.parametrize("lacks", ["server", "addresses"])
async def test_without_server_or_addresses_the_notification_is_closed(station: Station, lacks: str) -> None:
    await _take_without_mail(station)
    if lacks == "addresses":
        await station.fetch("UPDATE penstock.environments SET notification_addresses = '{}'")
    mind = MailServer()
    async with serve_mail(mind) as url:
        room = station.furnish(**({"smtp_url": url} if lacks == "addresses" else {}))
        assert (await notify(room)).done["sent"] == 0
    assert mind.tries == 0
    assert (
        await station.fetchval("SELECT next_try_at FROM penstock.notifications WHERE environment = $1", ENVIRONMENT)
        is None
    )


async def test_each_day_and_environment_is_told_of_once(station: Station) -> None:
    await _terminate(station)
    await station.fetch("UPDATE penstock.notifications SET day = day - 1")
    await _terminate(station)
    await _terminate(station)
    rows = await station.fetch("SELECT day FROM penstock.notifications ORDER BY day")
    assert len(rows) == 2
