"""The whole app, with a mail server and a database whose time is moved: what a night does, what it leaves, and who is
told.
"""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest_asyncio

from penstock.testing import AppUnderTest, Mailbox, open_app, open_mailbox

APP = Path(__file__).parents[1]
DAY = timedelta(days=1)


@pytest_asyncio.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    """A mail server."""
    async with open_mailbox() as mailbox:
        yield mailbox


@pytest_asyncio.fixture
async def app(mailbox: Mailbox) -> AsyncIterator[AppUnderTest]:
    """The app, with that mail server."""
    async with open_app(APP, settings={"smtp_url": mailbox.url}) as app:
        yield app


async def close_orders(app: AppUnderTest, *days_ago: int) -> None:
    """An order for each, closed this many days ago."""
    for number, days in enumerate(days_ago):
        closed_at = datetime.now(UTC) - days * DAY
        await app.create("order", {"number": f"A-{number}", "total": 10 * number, "closed_at": closed_at.isoformat()})


async def test_a_night_archives_deletes_and_reports(app: AppUnderTest, mailbox: Mailbox) -> None:
    await close_orders(app, 100, 95, 10)
    await app.create("order", {"number": "open"})
    await app.create("visit", {"page": "/"})
    await app.advance(DAY)
    (run,) = await app.list_runs("nightly")
    assert run.state == "succeeded", run
    assert run.scheduled_at.astimezone(ZoneInfo("Europe/Paris")).hour == 3
    (mail,) = mailbox.mails
    assert (mail.recipients, mail.subject) == (("ops@example.com",), "2 orders archived, 0 visits deleted")
    (attachment,) = mail.message.iter_attachments()
    assert attachment.get_filename() == "archived.csv"
    rows = list(csv.DictReader(io.StringIO(attachment.get_content())))
    assert sorted((row["number"], row["archived_by"]) for row in rows) == [("A-0", str(run.id)), ("A-1", str(run.id))]
    assert await app.count("order", [{"key": "archived_at", "constraint_type": "is_empty"}]) == 2
    await app.advance(40 * DAY)
    assert await app.count("visit") == 0
    assert mailbox.mails[1].subject == "0 orders archived, 1 visits deleted"


async def test_a_night_without_work_tells_nobody(app: AppUnderTest, mailbox: Mailbox) -> None:
    await app.advance(2 * DAY)
    assert [run.state for run in await app.list_runs("nightly")] == ["succeeded", "succeeded"]
    assert mailbox.tries == 0


async def test_while_the_mail_server_is_away_nothing_is_archived_twice_and_the_report_is_sent_later(
    app: AppUnderTest, mailbox: Mailbox
) -> None:
    await close_orders(app, 100)
    mailbox.is_down = True
    run_id = await app.start("nightly")
    await app.advance(timedelta(minutes=3))
    assert (mailbox.tries, mailbox.mails) == (2, [])
    mailbox.is_down = False
    await app.advance(timedelta(minutes=10))
    run = await app.get_run(run_id)
    assert (run.state, run.attempt, mailbox.recipients) == ("succeeded", 3, ["ops@example.com"])
    (order,) = await app.find("order")
    assert order["archived_by"] == str(run.id)
    assert mailbox.mails[0].subject == "1 orders archived, 0 visits deleted"


async def test_an_open_order_is_reminded_of_each_week_until_it_is_closed(app: AppUnderTest, mailbox: Mailbox) -> None:
    placed = await app.run("place_order", {"number": "B-1", "total": 5})
    assert isinstance(placed.result, dict)
    await app.advance(15 * DAY)
    assert [mail.subject for mail in mailbox.mails] == ["Order B-1 is still open"] * 2
    closed = await app.run("close_order", {"order": placed.result["id"]})
    assert closed.state == "succeeded"
    await app.advance(15 * DAY)
    assert len(mailbox.mails) == 2
    assert len(await app.list_runs("remind")) == 2
