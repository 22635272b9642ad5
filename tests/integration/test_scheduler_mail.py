"""The admins are notified of a terminated run by mail, at most once a day and environment, whatever fails."""

import asyncio
from typing import Final

import pytest

from penstock.domain.ids import new_run_id
from penstock.domain.lineage import Lineage
from penstock.domain.runs import Terminated
from penstock.domain.states import Trigger
from penstock.runs.requests import RunRequest
from penstock_scheduler.loops.notifying import MAX_ATTEMPTS, gather_notices
from tests.eventually import eventually
from tests.integration.notifying import notify
from tests.integration.scheduling import ENVIRONMENT, Station
from tests.mail_server import MailServer, serve_mail

ADMINS: Final = "admins: [ops@example.com, boss@example.com]\n"


@pytest.fixture(autouse=True)
async def app(station: Station) -> None:
    """An app with admins."""
    await station.deploy("workflow: notify\nparameters: {name: text}\nsteps: [{log: x}]\n", head=ADMINS)


async def _terminate(station: Station, environment: str = ENVIRONMENT) -> None:
    """Have a run terminated, while no scheduler works."""
    request = RunRequest(
        run_id=new_run_id(),
        environment=environment,
        workflow="notify",
        parameters={"name": "x"},
        trigger=Trigger.MESSAGE,
        lineage=Lineage(11),
    )
    (outcome,) = await station.furnish().admissions.try_to_admit([request])
    assert isinstance(outcome, Terminated)


async def _again(station: Station) -> None:
    await station.fetch(
        "UPDATE penstock.notice_deliveries SET next_try_at = clock_timestamp() WHERE next_try_at IS NOT NULL"
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
    assert await station.fetchval("SELECT sent_at IS NOT NULL FROM penstock.notice_deliveries") is True


@pytest.mark.parametrize("answer", ["451 later", "550 never"])
async def test_refused_mail_is_tried_again_later(station: Station, answer: str) -> None:
    await _take_without_mail(station)
    mind = MailServer(answers=[answer])
    async with serve_mail(mind) as url:
        room = station.furnish(smtp_url=url)
        assert (await notify(room)).done["sent"] == 0
        (row,) = await station.fetch(
            "SELECT next_try_at > clock_timestamp() + interval '20 s' AS later FROM penstock.notice_deliveries"
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
    assert (await gather_notices(station.furnish())).done["requested"] == 1


async def test_mail_is_tried_again_while_nobody_listens(station: Station) -> None:
    await _take_without_mail(station)
    mind = MailServer()
    async with serve_mail(mind) as url:
        pass
    room = station.furnish(smtp_url=url)
    assert (await notify(room)).done["sent"] == 0
    assert await station.fetchval("SELECT next_try_at IS NOT NULL FROM penstock.notice_deliveries") is True


async def test_mail_that_may_have_been_taken_is_never_sent_again(station: Station) -> None:
    await _take_without_mail(station)
    mind = MailServer(hangs_up=True)
    async with serve_mail(mind) as url:
        room = station.furnish(smtp_url=url)
        for _ in range(3):
            await notify(room)
            await _again(station)
    assert mind.tries == 1
    (row,) = await station.fetch("SELECT next_try_at, sent_at FROM penstock.notice_deliveries")
    assert tuple(row) == (None, None)


async def test_one_refused_address_does_not_keep_the_others_from_being_told(station: Station) -> None:
    await _take_without_mail(station)
    mind = MailServer(refusals={"ops@example.com": ["550 nobody of that name"]})
    async with serve_mail(mind) as url:
        assert (await notify(station.furnish(smtp_url=url))).done["sent"] == 1
    assert mind.mails[0][0] == ["boss@example.com"]


async def test_an_address_that_is_none_does_not_keep_the_others_from_being_told(station: Station) -> None:
    await station.fetch(
        "UPDATE penstock.environments SET notification_addresses = $1", ["ops@@example.com", "boss@example.com"]
    )
    await _take_without_mail(station)
    mind = MailServer()
    async with serve_mail(mind) as url:
        assert (await notify(station.furnish(smtp_url=url))).done["sent"] == 1
    assert mind.mails[0][0] == ["boss@example.com"]


async def test_mail_is_given_up_after_many_attempts(station: Station) -> None:
    await _take_without_mail(station)
    await station.fetch("UPDATE penstock.notice_deliveries SET attempts = $1", MAX_ATTEMPTS - 1)
    mind = MailServer(answers=["451 later"])
    async with serve_mail(mind) as url:
        await notify(station.furnish(smtp_url=url))
    assert await station.fetchval("SELECT next_try_at FROM penstock.notice_deliveries") is None


async def test_without_a_mail_server_the_notification_is_closed(station: Station) -> None:
    await _take_without_mail(station)
    assert (await notify(station.furnish())).done["sent"] == 0
    (row,) = await station.fetch("SELECT next_try_at, sent_at FROM penstock.notice_deliveries")
    assert tuple(row) == (None, None)
    message = await station.fetchval("SELECT message FROM penstock.logs WHERE event = 'Sending email failed'")
    assert "PENSTOCK_SMTP_URL is not set" in str(message)


async def test_where_nobody_is_to_be_notified_nothing_is_sent(station: Station) -> None:
    await station.fetch("UPDATE penstock.environments SET notification_addresses = '{}'")
    await _terminate(station)
    mind = MailServer()
    async with serve_mail(mind) as url:
        assert (await notify(station.furnish(smtp_url=url))).done["sent"] == 0
    assert mind.tries == 0
    assert await station.fetchval("SELECT count(*) FROM penstock.notices") == 0
