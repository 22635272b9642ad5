"""Mails by which users choose a password and show that an address is theirs: once, for a while, and for nobody else."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from penstock.testing import AppUnderTest, Mailbox, open_app, open_mailbox
from penstock.things.tries import MAX_BY_BOTH, MAX_LETTERS
from tests.integration.accounts.apps import OTHER, PASSWORD, post, write_app
from tests.integration.accounts.test_sessions import message_of, response_of
from tests.integration.test_secrets import dump

ADA = "ada@example.com"
STALE = (400, "this link was used, or has expired; ask for another one")


class Post(NamedTuple):
    """An app whose mails arrive in a box."""

    app: AppUnderTest
    mailbox: Mailbox

    async def send(self, workflow: str, email: str = ADA) -> None:
        """Have a run mail something, which nobody waits for."""
        run = await self.app.run(workflow, {"email": email})
        assert run.state == "succeeded", run.error

    def token(self) -> str:
        """That of the last mail."""
        mail = self.mailbox.mails[-1]
        found = re.search(r"token=([\w-]+)", mail.message.as_string().replace("=\n", "").replace("=3D", "="))
        assert found is not None
        return found[1]


@pytest.fixture
async def letters(tmp_path: Path) -> AsyncIterator[Post]:
    """The app of `apps`, with a mail server."""
    directory = write_app(tmp_path / "app")
    settings = {"email_from": "shop@example.com"}
    async with open_mailbox() as mailbox, open_app(directory, settings={**settings, "smtp_url": mailbox.url}) as app:
        yield Post(app, mailbox)


async def test_a_forgotten_password_is_replaced_once_and_all_sessions_end(letters: Post) -> None:
    app = letters.app
    session = response_of(await post(app, "sign_up", email=ADA, password=PASSWORD))
    for _ in range(MAX_BY_BOTH):
        await post(app, "log_in", email=ADA, password=OTHER)
    await letters.send("mail_reset")
    (mail,) = letters.mailbox.mails
    assert (mail.recipients, mail.subject) == ((ADA,), "Choose a new password")
    token = letters.token()
    short = await post(app, "reset", token=token, password="short")
    assert message_of(short) == (400, "a password has at least 8 characters")
    answer = response_of(await post(app, "reset", token=token, password=OTHER))
    assert answer == {"id": session["user_id"], "is_new": False}
    assert (await post(app, "who", str(session["token"]))).status == 401
    # Who reads the mail is not locked out by what others have tried from there before.
    assert (await post(app, "log_in", email=ADA, password=OTHER)).status == 200
    assert (await post(app, "log_in", email=ADA, password=PASSWORD)).status == 401
    assert message_of(await post(app, "reset", token=token, password=PASSWORD)) == STALE


async def test_a_caller_learns_nothing_of_who_has_an_account(letters: Post) -> None:
    app = letters.app
    await post(app, "sign_up", email=ADA, password=PASSWORD)
    answers = [await post(app, "forgot", email=email) for email in (ADA, "nobody@example.com")]
    assert [(answer.status, answer.body) for answer in answers] == [(200, answers[0].body)] * 2
    await app.wait_until_idle()
    runs = await app.list_runs("mail_reset")
    assert [(run.state, run.result) for run in runs] == [("succeeded", None)] * 2
    assert letters.mailbox.recipients == [ADA]


async def test_a_run_that_is_called_sends_no_such_mail(letters: Post, tmp_path: Path) -> None:
    app = letters.app
    (tmp_path / "app" / "workflows" / "round.yaml").write_text(
        "workflow: round\nparameters: {email: text}\non: {api: {method: POST, auth: public}}\n"
        "steps: [{trigger: mail_reset, with: {email: '${params.email}'}}]\n"
    )
    await app.deploy()
    status, message = message_of(await post(app, "round", email=ADA))
    assert status == 500
    assert "a caller could measure whether somebody has the email" in str(message)
    assert letters.mailbox.mails == []


async def test_whoever_has_no_account_gets_one_by_a_mail(letters: Post) -> None:
    app = letters.app
    await letters.send("join", "New@Example.com")
    (mail,) = letters.mailbox.mails
    assert (mail.recipients, mail.subject, mail.text[:7]) == (("new@example.com",), "Welcome", "Hello! ")
    assert await app.count("user") == 0
    answer = response_of(await post(app, "reset", token=letters.token(), password=PASSWORD, name="New"))
    assert answer["is_new"] is True
    token = str(response_of(await post(app, "log_in", email="new@example.com", password=PASSWORD))["token"])
    assert response_of(await post(app, "who", token)) == {
        "id": answer["id"], "name": "New", "email": "new@example.com",
    }  # fmt: skip
    await letters.send("join", "new@example.com")
    again = response_of(await post(app, "reset", token=letters.token(), password=OTHER))
    assert again == {"id": answer["id"], "is_new": False}


async def test_a_password_that_a_stranger_has_set_to_an_address_ends_when_its_owner_comes(letters: Post) -> None:
    app = letters.app
    await letters.send("join")
    token = letters.token()
    stranger = response_of(await post(app, "sign_up", email=ADA, password=OTHER))
    answer = response_of(await post(app, "reset", token=token, password=PASSWORD))
    assert answer == {"id": stranger["user_id"], "is_new": False}
    assert (await post(app, "who", str(stranger["token"]))).status == 401
    assert (await post(app, "log_in", email=ADA, password=OTHER)).status == 401


async def test_an_imported_user_gets_the_first_password_by_a_mail(letters: Post) -> None:
    app = letters.app
    user = await app.create("user", {"email": "Grace@Example.com"})
    await letters.send("mail_reset", "grace@example.com")
    answer = response_of(await post(app, "reset", token=letters.token(), password=PASSWORD))
    assert answer == {"id": user.id, "is_new": False}
    assert (await post(app, "log_in", email="GRACE@example.com", password=PASSWORD)).status == 200


async def test_a_link_expires_and_the_next_one_ends_the_ones_before(letters: Post) -> None:
    app = letters.app
    await post(app, "sign_up", email=ADA, password=PASSWORD)
    await letters.send("mail_reset")
    await app.advance(timedelta(hours=25))
    assert message_of(await post(app, "reset", token=letters.token(), password=OTHER)) == STALE
    tokens = []
    for _ in range(2):
        await letters.send("mail_reset")
        tokens.append(letters.token())
    assert (await post(app, "reset", token=tokens[1], password=OTHER)).status == 200
    assert message_of(await post(app, "reset", token=tokens[0], password=PASSWORD)) == STALE
    assert message_of(await post(app, "reset", token="pst_none", password=PASSWORD)) == STALE


async def test_an_address_is_verified_by_its_own_link_alone(letters: Post) -> None:
    app = letters.app
    await post(app, "sign_up", email=ADA, password=PASSWORD)
    for email in (ADA, "nobody@example.com"):
        await letters.send("mail_verification", email)
    assert letters.mailbox.recipients == [ADA]
    token = letters.token()
    assert message_of(await post(app, "reset", token=token, password=OTHER)) == STALE
    assert response_of(await post(app, "verify", token=token)) == {"email": ADA}
    assert message_of(await post(app, "verify", token=token)) == STALE
    await letters.send("mail_verification")  # there is nothing left to verify
    assert letters.mailbox.recipients == [ADA]


async def test_nobody_is_flooded_with_mails(letters: Post) -> None:
    await post(letters.app, "sign_up", email=ADA, password=PASSWORD)
    for _ in range(MAX_LETTERS + 2):
        await letters.send("mail_reset")
    assert letters.mailbox.recipients == [ADA] * MAX_LETTERS


async def test_the_token_of_a_mail_is_stored_nowhere_also_when_the_mail_is_refused(letters: Post) -> None:
    app = letters.app
    await post(app, "sign_up", email=ADA, password=PASSWORD)
    await letters.send("mail_reset")
    token = letters.token()
    await post(app, "reset", token=token, password="short")
    letters.mailbox.refusals[ADA] = "550 unknown"
    run = await app.run("mail_reset", {"email": ADA})
    assert run.state == "failed"
    assert token not in await dump(app._house.database)
