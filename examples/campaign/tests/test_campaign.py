"""The whole app, with a mail server and a database whose time is moved: who gets a mail, when, and who does not."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest_asyncio

from penstock.testing import AppUnderTest, Mailbox, open_app, open_mailbox

APP = Path(__file__).parents[1]
SPRING = {"name": "spring", "subject": "Spring is here", "text": "Have a look."}
SECOND = timedelta(seconds=1)


@pytest_asyncio.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    """A mail server."""
    async with open_mailbox() as mailbox:
        yield mailbox


@pytest_asyncio.fixture
async def app(mailbox: Mailbox) -> AsyncIterator[AppUnderTest]:
    """The app, with that mail server and four users."""
    async with open_app(APP, settings={"smtp_url": mailbox.url}) as app:
        for name in ("ada", "bob", "cem", "dot"):
            await app.create("user", {"name": name.title(), "email": f"{name}@example.com"})
        yield app


async def start(app: AppUnderTest) -> None:
    """Start the campaign; who comes first in the list gets the mail at once."""
    assert (
        await app.run("start_campaign", {**SPRING, "site": app.url.removesuffix("/version-test")})
    ).state == "succeeded"
    await app.wait_until_idle()


async def test_users_are_written_to_one_after_another(app: AppUnderTest, mailbox: Mailbox) -> None:
    await start(app)
    assert mailbox.recipients == ["ada@example.com"]
    await app.advance(SECOND)
    assert mailbox.recipients == ["ada@example.com", "bob@example.com"]
    await app.advance(SECOND * 10)
    assert mailbox.recipients == [f"{name}@example.com" for name in ("ada", "bob", "cem", "dot")]
    mail = mailbox.mails[1]
    assert (mail.message["From"], mail.message["To"]) == ("Shop <news@example.com>", "Bob <bob@example.com>")
    assert (mail.subject, mail.text) == ("Spring is here", "Dear Bob,\n\nHave a look.\n")


async def test_who_unsubscribes_on_the_way_gets_no_more(app: AppUnderTest, mailbox: Mailbox) -> None:
    await app.create("user", {"name": "Eve", "email": "eve@example.com", "unsubscribed_at": "2020-01-01T00:00:00Z"})
    await start(app)
    mine = urlsplit(str(mailbox.mails[0].message["List-Unsubscribe"]).strip("<>"))
    (ada,), (dot,) = await app.find("user", {"name": "Ada"}), await app.find("user", {"name": "Dot"})
    assert mine.query == f"user={ada['_id']}"
    # As a mail program does it: a POST to the URL in the header, with what List-Unsubscribe-Post says.
    path = mine.path.removeprefix("/version-test")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = await app.post(f"{path}?user={dot['_id']}", data=b"List-Unsubscribe=One-Click", headers=form)
    assert reply.status == 200, reply.body
    await app.advance(SECOND * 10)
    assert mailbox.recipients == ["ada@example.com", "bob@example.com", "cem@example.com"]


async def test_an_address_that_fails_stops_nobody_else(app: AppUnderTest, mailbox: Mailbox) -> None:
    mailbox.refusals["bob@example.com"] = "550 nobody of that name"
    (cem,) = await app.find("user", {"name": "Cem"})
    await app.create("user", {"name": "Fay", "email": "fay at example.com"})
    await start(app)
    await app.advance(SECOND * 10)
    assert mailbox.recipients == ["ada@example.com", "cem@example.com", "dot@example.com"]
    failed = await app.list_runs("write_to_user", state="failed")
    errors = sorted(str(run.error["message"]) for run in failed if isinstance(run.error, dict))
    assert len(errors) == 2
    assert "`to`: 'fay at example.com' is not a mail address" in errors[0]
    assert "refused bob@example.com: 550 nobody of that name" in errors[1]
    assert await app.count("mailing", {"user": cem["_id"]}) == 1


async def test_a_server_that_says_later_is_asked_later_and_nobody_gets_a_mail_twice(
    app: AppUnderTest, mailbox: Mailbox
) -> None:
    mailbox.refusals["bob@example.com"] = "450 try again later"
    await start(app)
    await app.advance(SECOND * 10)
    assert "bob@example.com" not in mailbox.recipients
    mailbox.refusals.clear()
    await app.advance(timedelta(hours=1))
    assert sorted(mailbox.recipients) == [f"{name}@example.com" for name in ("ada", "bob", "cem", "dot")]


async def test_a_campaign_that_is_started_twice_is_sent_once(app: AppUnderTest, mailbox: Mailbox) -> None:
    await start(app)
    await start(app)
    await app.advance(SECOND * 10)
    assert sorted(mailbox.recipients) == [f"{name}@example.com" for name in ("ada", "bob", "cem", "dot")]


async def test_a_restart_in_the_middle_loses_nobody(app: AppUnderTest, mailbox: Mailbox) -> None:
    await start(app)
    await app.restart()
    await app.advance(SECOND * 10)
    assert mailbox.recipients == [f"{name}@example.com" for name in ("ada", "bob", "cem", "dot")]
