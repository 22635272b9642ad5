"""The whole app: Stripe's events come in over HTTP, signed as Stripe signs them, and receipts go out to a mail
server.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import JsonValue

from penstock.testing import AppUnderTest, Delivered, Mailbox, open_app, open_mailbox

APP = Path(__file__).parents[1]
SECRET = "whsec_test"


@pytest_asyncio.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    """A mail server."""
    async with open_mailbox() as mailbox:
        yield mailbox


@pytest_asyncio.fixture
async def app(mailbox: Mailbox) -> AsyncIterator[AppUnderTest]:
    """The app, with that mail server."""
    async with open_app(APP, secrets={"STRIPE_WEBHOOK_SECRET": SECRET}, settings={"smtp_url": mailbox.url}) as app:
        yield app


def paid(id: str = "evt_1", type: str = "checkout.session.completed", **over: JsonValue) -> dict[str, JsonValue]:
    """An event as Stripe sends it, with what matters here."""
    session: dict[str, JsonValue] = {
        "id": "cs_1",
        "object": "checkout.session",
        "client_reference_id": "A-17",
        "payment_status": "paid",
        "payment_intent": "pi_1",
        "amount_total": 4250,
        "currency": "eur",
        "customer_details": {"email": "ada@example.com", "name": "Lovelace, Ada"},
        **over,
    }
    return {"id": id, "object": "event", "type": type, "data": {"object": session}}


async def deliver(app: AppUnderTest, event: JsonValue, secret: str = SECRET) -> Delivered:
    """Send an event as Stripe would, and wait until all that it starts is done."""
    reply = await app.deliver("stripe", event, secret=secret)
    await app.wait_until_idle()
    return reply


async def test_a_payment_is_recorded_and_the_customer_gets_a_receipt(app: AppUnderTest, mailbox: Mailbox) -> None:
    assert (await deliver(app, paid())).status == 200
    (order,) = await app.find("order")
    assert (order["number"], order["status"], order["total"], order["currency"]) == ("A-17", "paid", 42.5, "EUR")
    (mail,) = mailbox.mails
    assert mail.recipients == ("ada@example.com",)
    assert mail.message["To"] == '"Lovelace, Ada" <ada@example.com>'
    assert mail.subject == "Receipt for your order A-17"
    assert "We have received 42.5 EUR." in mail.text
    assert [receipt["mail"] for receipt in await app.find("receipt")] == [mail.message["Message-ID"]]


async def test_an_event_that_comes_again_makes_no_second_receipt(app: AppUnderTest, mailbox: Mailbox) -> None:
    await deliver(app, paid())
    again = await deliver(app, paid())
    assert (again.status, again.is_duplicate) == (200, True)
    await deliver(
        app, paid("evt_2", "checkout.session.async_payment_succeeded")
    )  # another event about the same payment
    assert (await app.count("order"), mailbox.recipients) == (1, ["ada@example.com"])


async def test_an_order_that_is_not_paid_yet_gets_no_receipt(app: AppUnderTest, mailbox: Mailbox) -> None:
    await deliver(app, paid(payment_status="unpaid"))
    assert (await app.count("order"), mailbox.recipients) == (0, [])
    await deliver(app, paid("evt_2", "checkout.session.async_payment_succeeded"))
    assert (await app.count("order", {"status": "paid"}), mailbox.recipients) == (1, ["ada@example.com"])


async def test_a_forged_event_is_refused(app: AppUnderTest, mailbox: Mailbox) -> None:
    assert (await deliver(app, paid(), secret="whsec_guessed")).status == 401
    assert (await app.count("order"), mailbox.tries) == (0, 0)


async def test_while_the_mail_server_is_down_the_receipt_waits_and_is_sent_once(
    app: AppUnderTest, mailbox: Mailbox
) -> None:
    mailbox.is_down = True
    await deliver(app, paid())
    assert await app.count("order", {"status": "paid"}) == 1
    await app.advance(timedelta(minutes=5))
    assert (mailbox.tries >= 3, mailbox.mails) == (True, [])
    mailbox.is_down = False
    await app.advance(timedelta(hours=1))
    assert mailbox.recipients == ["ada@example.com"]
    (receipt,) = await app.list_runs("send_receipt")
    assert (receipt.state, receipt.attempt) == ("succeeded", mailbox.tries)


@pytest.mark.parametrize(("email", "words"), [("ada", "'ada' is not a mail address"), ("gone@example.com", "550 gone")])
async def test_a_customer_who_cannot_be_reached_keeps_the_order(
    app: AppUnderTest, mailbox: Mailbox, email: str, words: str
) -> None:
    mailbox.refusals["gone@example.com"] = "550 gone"
    await deliver(app, paid(customer_details={"email": email, "name": "Ada"}))
    (receipt,) = await app.list_runs("send_receipt")
    assert receipt.state == "failed"
    assert isinstance(receipt.error, dict)
    assert words in str(receipt.error["message"])
    assert await app.count("order", {"status": "paid"}) == 1


async def test_a_refund_is_recorded(app: AppUnderTest) -> None:
    await deliver(app, paid())
    for payment_intent in ("pi_1", "pi_unknown"):
        event: JsonValue = {
            "id": payment_intent,
            "type": "charge.refunded",
            "data": {"object": {"payment_intent": payment_intent}},
        }
        assert (await deliver(app, event)).status == 200
    assert await app.count("order", {"status": "refunded"}) == 1
