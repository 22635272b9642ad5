"""`email` steps through a real mail server: what arrives, what an author reads when it does not, and that nobody
gets it twice."""

from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import JsonValue

from penstock_executor.steps.tools import MAX_MAILS
from tests.eventually import eventually
from tests.integration.executing import House
from tests.integration.mailing.writing import MAIL, SENDER, send
from tests.mail_server import MailServer, make_certificate, serve_mail


@pytest.fixture(autouse=True)
async def app(house: House) -> None:
    """The app of these tests, deployed."""
    await house.deploy(MAIL, head=SENDER)


async def test_a_mail_arrives_and_tells_its_id(house: House) -> None:
    mind = MailServer()
    run = await send(
        house, mind, "Ada <ada@example.com>, bob@example.com", cc=[{"name": "C, D", "email": "c@example.com"}]
    )
    ((addresses, mail),) = mind.mails
    assert addresses == ["ada@example.com", "bob@example.com", "c@example.com"]
    assert (mail["From"], mail["To"], mail["Cc"]) == (
        "Shöp <shop@example.com>",
        "Ada <ada@example.com>, bob@example.com",
        '"C, D" <c@example.com>',
    )
    assert (mail["Subject"], mail.get_content()) == ("Hello", "Hello you\r\n")
    assert run["result"] == {"id": mail["Message-ID"]}
    assert mail["Message-ID"].startswith(f"<{run['id']}.")


async def test_users_are_written_to_at_their_email(house: House) -> None:
    await house.deploy(
        MAIL
        + """
---
workflow: welcome
parameters: {owner: user}
steps:
  - email: "${params.owner}"
    subject: Hi
    text: there
---
workflow: start
steps:
  - {id: ada, create: user, set: {email: ada@example.com}}
  - {id: nobody, create: user, set: {}}
  - email: ["${steps.ada}", bob@example.com]
    subject: Hi
    text: all
  - trigger: welcome
    with: {owner: "${steps.ada}"}
  - {id: failed, email: "${steps.nobody}", subject: Hi, text: you, on_error: continue}
  - return: {error: "${steps.failed.error.message}"}
""",
        head=SENDER,
    )
    mind = MailServer()
    async with serve_mail(mind) as url, house.executor(smtp_url=url):
        run = await house.perform("start")
    assert mind.recipients == ["ada@example.com", "bob@example.com", "ada@example.com"], run["error"]
    assert "`to`: the thing 1" in run["result"]["error"]
    assert run["result"]["error"].endswith("has no `email`")


async def test_what_cannot_be_sent_fails_at_once(house: House) -> None:
    wrong: list[tuple[dict[str, JsonValue], str]] = [
        ({"to": "ada"}, "email at workflows/all.yaml:6: `to`: 'ada' is not a mail address, such as ada@example.com"),
        ({"to": "a@b.c", "cc": ["b@b.c", "x y@z"]}, "`cc`: 'x y@z' is not a mail address"),
        ({"to": "a@b.c\r\nBcc: eve@example.com"}, "`to`: 'a@b.c\\r\\nBcc: eve@example.com' is not a mail address"),
        ({"to": None}, "there are no recipients: `email` is empty"),
        ({"to": []}, "there are no recipients: `email` is empty"),
        ({"to": 5}, "`to` has to be a mail address, a user, or a list of them, and it is number"),
        ({"to": {"name": "Ada"}}, "`to`: the address has no `email`"),
        ({"to": "1700000000000x123456789012345678"}, "`to`: there is no user 1700000000000x123456789012345678"),
        ({"to": [f"a{n}@b.c" for n in range(51)]}, "a mail goes to at most 50 addresses, and this one to 51"),
        ({"to": "a@b.c", "subject": None}, "a mail needs a `subject`"),
        ({"to": "a@b.c", "subject": 5}, "`subject` has to be text, and it is number"),
    ]
    mind = MailServer()
    async with serve_mail(mind) as url, house.executor(smtp_url=url):
        for given, message in wrong:
            run = await house.perform("mail", {"subject": "Hello", **given})
            assert (run["state"], run["error"]["kind"]) == ("failed", "arguments")
            assert message in run["error"]["message"]
    assert mind.tries == 0


async def test_a_subject_cannot_smuggle_headers(house: House) -> None:
    mind = MailServer()
    run = await send(
        house,
        mind,
        {"name": "Ada\r\nBcc: eve@example.com", "email": "ada@example.com"},
        subject="Hi\r\nBcc: eve@example.com",
    )
    assert run["error"] is None
    ((addresses, mail),) = mind.mails
    assert (addresses, mail["Bcc"], mail["Subject"]) == (["ada@example.com"], None, "Hi  Bcc: eve@example.com")
    assert mail["To"].addresses[0].display_name == "Ada Bcc: eve@example.com"


async def test_addresses_and_subjects_in_any_script(house: House) -> None:
    mind = MailServer()
    await send(house, mind, "Зоя <зоя@пример.example>", subject="Ваш чек 🧾")
    ((addresses, mail),) = mind.mails
    assert addresses == ["зоя@xn--e1afmkfd.example"]
    assert mail["Subject"] == "Ваш чек 🧾"


async def test_a_server_without_smtputf8_is_named(house: House) -> None:
    mind = MailServer(knows_smtputf8=False)
    run = await send(house, mind, "зоя@пример.example")
    assert run["error"]["message"].endswith("takes no addresses with other letters than A to Z (SMTPUTF8)")
    assert run["attempt"] == 1
    assert (await send(house, MailServer(knows_smtputf8=False), "Зоя <z@пример.example>"))["error"] is None


async def test_a_server_without_smtputf8_gets_the_mail_for_all_others(house: House) -> None:
    mind = MailServer(knows_smtputf8=False)
    run = await send(house, mind, "зоя@example.com, ada@example.com", cc="зоя@x.org")
    assert (run["error"], mind.recipients, mind.mails[0][1]["Cc"]) == (None, ["ada@example.com"], None)
    assert any("not to 2 of 3 recipients: зоя@example.com: " in line["message"] for line in await house.logs(run["id"]))


@pytest.mark.parametrize(
    ("answer", "state"), [("451 come back later", "failed"), ("554 5.7.1 looks like spam", "failed")]
)
async def test_the_words_of_the_server_are_told(house: House, answer: str, state: str) -> None:
    mind = MailServer(answers=[answer])
    run = await send(house, mind, "ada@example.com")
    assert (run["state"], run["error"]["kind"], run["error"]["step"]) == (state, "email", "mail")
    assert run["error"]["message"].endswith(f"answered {answer}")
    assert "the mail server 127.0.0.1:" in run["error"]["message"]


async def test_what_the_server_refuses_for_now_is_sent_later_once_with_the_same_id(house: House) -> None:
    await house.deploy(MAIL.replace("timeout: 30s", "retries: {attempts: 3, backoff: 10ms}"), head=SENDER)
    mind = MailServer(answers=["451 later"], refusals={"ada@example.com": ["450 greylisted"]})
    async with serve_mail(mind) as url, house.executor(smtp_url=url):
        run_id = await house.start("mail", {"to": "ada@example.com", "subject": "Hello"})
        for attempt in (1, 2):
            await house.ended(run_id, "scheduled")
            assert (await house.get(run_id))["attempt"] == attempt
            await house.fetch(
                "UPDATE penstock.runs SET state = 'queued', dispatched_at = clock_timestamp() WHERE id = $1", run_id
            )
            await house.publisher.dispatch(await house.summaries(run_id))
        run = await house.ended(run_id)
    assert (run["error"], mind.recipients, mind.tries) == (None, ["ada@example.com"], 2)
    assert run["result"]["id"] == mind.mails[0][1]["Message-ID"]


async def test_a_step_that_is_retried_keeps_its_message_id(house: House) -> None:
    steps = MAIL.replace("    timeout: 2s\n", "    retry: {attempts: 3, backoff: 1ms}\n")
    await house.deploy(steps, head=SENDER)
    mind = MailServer(hangs_up=True)  # it takes the mail, and nobody hears of it
    run = await send(house, mind, "ada@example.com")
    assert (run["error"]["kind"], mind.tries) == ("connection", 3)
    assert len({mail["Message-ID"] for _, mail in mind.mails}) == 1


async def test_a_refused_recipient_keeps_nobody_else_from_the_mail(house: House) -> None:
    mind = MailServer(refusals={"bob@example.com": ["550 nobody of that name"]})
    run = await send(house, mind, "ada@example.com, bob@example.com, eve@example.com")
    assert (run["error"], mind.recipients) == (None, ["ada@example.com", "eve@example.com"])
    (line,) = [line for line in await house.logs(run["id"]) if line["event"] == "Sending email failed"]
    assert (
        line["message"] == "the mail was sent, but not to 1 of 3 recipients: bob@example.com: 550 nobody of that name"
    )
    assert (line["level"], line["step"]) == ("warning", "mail")


async def test_recipients_for_whom_there_is_no_room_get_the_mail_next_and_nobody_twice(house: House) -> None:
    mind = MailServer(most_recipients=2, refusals={"a@b.c": ["451 busy"]})
    run = await send(house, mind, [f"{name}@b.c" for name in "abcde"])
    assert (run["error"], sorted(mind.recipients)) == (None, [f"{name}@b.c" for name in "abcde"])
    assert len({mail["Message-ID"] for _, mail in mind.mails}) == 1


async def test_what_goes_wrong_after_some_have_it_is_reported_and_not_repeated(house: House) -> None:
    mind = MailServer(refusals={"b@b.c": ["450 later", "450 later"]}, answers=["250 taken", "554 no more"])
    run = await send(house, mind, "a@b.c, b@b.c")
    assert (run["error"], mind.recipients) == (None, ["a@b.c"])
    assert any("not to 1 of 2 recipients: b@b.c: " in line["message"] for line in await house.logs(run["id"]))


@pytest.mark.parametrize(
    ("refusals", "attempts"),
    [({"a@b.c": ["550 no"], "b@b.c": ["551 no"]}, 1), ({"a@b.c": ["550 no"] * 2, "b@b.c": ["450 later"] * 2}, 2)],
)
async def test_when_nobody_is_accepted_only_a_temporary_refusal_is_tried_again(
    house: House, refusals: dict[str, list[str]], attempts: int
) -> None:
    await house.deploy(MAIL.replace("    timeout: 2s\n", "    retry: {attempts: 2, backoff: 1ms}\n"), head=SENDER)
    mind = MailServer(refusals=refusals)
    run = await send(house, mind, "a@b.c, b@b.c")
    assert run["error"]["kind"] == "email"
    assert "refused a@b.c: 550 no; b@b.c: " in run["error"]["message"]
    assert [len(left) for left in mind.refusals.values()] == [2 - attempts] * 2 or attempts == 1


async def test_a_refused_sender_is_told(house: House) -> None:
    run = await send(house, MailServer(refuses_sender="553 not from here"), "a@b.c")
    assert run["error"]["message"].endswith("answered 553 not from here")


async def test_a_silent_server_holds_no_slot(house: House) -> None:
    run = await send(house, MailServer(is_silent=True), "a@b.c")
    assert (run["state"], run["error"]["kind"]) == ("failed", "timeout")


async def test_a_server_that_falls_silent_when_some_have_the_mail_makes_no_second_one(house: House) -> None:
    await house.deploy(MAIL.replace("timeout: 2s", "timeout: 2s\n    retry: {attempts: 3, backoff: 1ms}"), head=SENDER)
    mind = MailServer(most_recipients=1, falls_silent_after=1)
    run = await send(house, mind, "a@b.c, b@b.c")
    assert (run["error"], mind.tries) == (None, 2)
    assert any(
        "not to 1 of 2 recipients: b@b.c: the mail server 127" in line["message"]
        for line in await house.logs(run["id"])
    )


async def test_a_mail_that_waits_for_others_is_told_so(house: House) -> None:
    patient = MAIL.replace("workflow: mail", "workflow: patient").replace("    timeout: 2s\n", "")
    await house.deploy(f"{MAIL}---\n{patient}", head=SENDER)
    mind = MailServer(is_silent=True)
    async with serve_mail(mind) as url, house.executor(smtp_url=url) as executor:
        for _ in range(MAX_MAILS):
            await house.start("patient", {"to": "a@b.c", "subject": "Hello"})
        await eventually(lambda: mind.waiting == MAX_MAILS)
        run = await house.perform("mail", {"to": "a@b.c", "subject": "Hello"})
        await executor.kill()
    assert run["error"]["kind"] == "timeout"
    assert run["error"]["message"].startswith("this mail waited 0.66")


async def test_nobody_listening_is_told(house: House) -> None:
    async with serve_mail(MailServer()) as url:
        pass
    async with house.executor(smtp_url=url):
        run = await house.perform("mail", {"to": "a@b.c", "subject": "Hello"})
    assert (run["error"]["kind"], run["error"]["message"].startswith("the mail server 127.0.0.1:")) == (
        "connection",
        True,
    )


async def test_without_a_mail_server_the_setting_is_named(house: House) -> None:
    async with house.executor():
        run = await house.perform("mail", {"to": "a@b.c", "subject": "Hello"})
    assert run["error"]["message"].startswith("there is no mail server: set PENSTOCK_SMTP_URL, or a `transport`")


async def test_the_senders_default_is_a_setting(house: House) -> None:
    await house.deploy(MAIL)
    mind = MailServer()
    async with serve_mail(mind) as url, house.executor(smtp_url=url, email_from="Ops <ops@example.com>"):
        await house.perform("mail", {"to": "a@b.c", "subject": "Hello"})
    assert mind.mails[0][1]["From"] == "Ops <ops@example.com>"


async def test_a_mail_that_is_too_large_for_the_server_says_so(house: House) -> None:
    mind = MailServer(largest=100)
    run = await send(house, mind, "a@b.c")
    assert "bytes, and the mail server 127.0.0.1:" in run["error"]["message"]
    assert run["error"]["message"].endswith("takes at most 100")


@pytest.mark.filterwarnings("ignore:Session.login_data is deprecated:DeprecationWarning")  # aiosmtpd warns of itself
@pytest.mark.parametrize("password", ["p@ss", "wrong"])
async def test_user_password_and_starttls(
    house: House, tmp_path: Path, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, context = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    await house.deploy(MAIL.replace("    timeout: 2s\n", ""), head=SENDER)  # aiosmtpd lets those wait who are wrong
    mind = MailServer(user=("shop", "p@ss"), tls=context)
    async with serve_mail(mind) as url:
        signed_in = url.replace("//", f"//shop:{quote(password)}@")
        async with house.executor(smtp_url=f"{signed_in}?starttls=1"):
            run = await house.perform("mail", {"to": "a@b.c", "subject": "Hello"})
    assert len(mind.mails) == (password == "p@ss")
    if password == "wrong":
        assert "answered 535" in run["error"]["message"]
        assert "wrong" not in run["error"]["message"]


async def test_tls_from_the_start(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, context = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    mind = MailServer(tls=context, is_tls=True)
    assert ((await send(house, mind, "a@b.c"))["error"], mind.recipients) == (None, ["a@b.c"])


async def test_a_certificate_that_nobody_vouches_for_is_not_trusted(house: House, tmp_path: Path) -> None:
    mind = MailServer(tls=make_certificate(tmp_path)[1])
    async with serve_mail(mind) as url, house.executor(smtp_url=f"{url}?starttls=1"):
        run = await house.perform("mail", {"to": "a@b.c", "subject": "Hello"})
    assert "certificate verify failed" in run["error"]["message"]
    assert mind.tries == 0


async def test_mails_one_after_another_share_a_connection(house: House) -> None:
    await house.deploy(MAIL, head=SENDER)
    mind = MailServer()
    async with serve_mail(mind) as url, house.executor(smtp_url=url):
        for number in range(3):
            run = await house.perform("mail", {"to": f"a{number}@b.c", "subject": "Hello"})
            assert run["state"] == "succeeded", run["error"]
    assert mind.recipients == ["a0@b.c", "a1@b.c", "a2@b.c"]
    assert len(mind.connections) == 1


async def test_a_connection_that_the_server_has_closed_meanwhile_costs_nothing(house: House) -> None:
    await house.deploy(MAIL, head=SENDER)
    mind = MailServer()
    async with serve_mail(mind) as url, house.executor(smtp_url=url):
        await house.perform("mail", {"to": "a@b.c", "subject": "Hello"})
        mind.hang_up()
        run = await house.perform("mail", {"to": "d@e.f", "subject": "Hello"})
    assert (run["state"], mind.recipients) == ("succeeded", ["a@b.c", "d@e.f"])
    assert len(mind.connections) == 2


async def test_a_mail_that_was_refused_leaves_nothing_on_the_connection(house: House) -> None:
    await house.deploy(MAIL, head=SENDER)
    mind = MailServer(refusals={"no@b.c": ["550 no such person"]})
    async with serve_mail(mind) as url, house.executor(smtp_url=url):
        await house.perform("mail", {"to": "a@b.c", "subject": "Hello"})
        assert (await house.perform("mail", {"to": "no@b.c", "subject": "Hello"}))["state"] == "failed"
        await house.perform("mail", {"to": "d@e.f", "subject": "Hello"})
    assert mind.recipients == ["a@b.c", "d@e.f"]
