"""The app as the shop meets it: signed webhooks come in over HTTP, and three days pass in a moment."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest_asyncio
from pydantic import JsonValue

from penstock.testing import AppUnderTest, open_app

APP = Path(__file__).parents[1]
ORDER: JsonValue = {"number": "A-17", "total": 42.5}
PLACED: JsonValue = {"type": "order.placed", "order": ORDER}
PAID: JsonValue = {"type": "order.paid", "order": ORDER}


@pytest_asyncio.fixture
async def app() -> AsyncIterator[AppUnderTest]:
    """The app, on a database of the test's own."""
    async with open_app(APP, secrets={"SHOP_KEY": "a-secret-of-the-tests"}) as app:
        yield app


async def test_an_order_is_recorded_once_however_often_the_shop_sends_it(app: AppUnderTest) -> None:
    first = await app.deliver("shop", PLACED, id="event-1")
    again = await app.deliver("shop", PLACED, id="event-1")
    await app.wait_until_idle()
    assert (first.status, again.status, again.is_duplicate) == (200, 200, True)
    (order,) = await app.find("order")
    assert (order.number, order.total, order.status) == ("A-17", 42.5, "open")


async def test_an_order_that_is_paid_is_left_alone(app: AppUnderTest) -> None:
    await app.deliver("shop", PLACED)
    await app.wait_until_idle()
    await app.deliver("shop", PAID)
    await app.advance(timedelta(days=4))
    assert await app.count("order", {"status": "paid"}) == 1
    (reminder,) = await app.list_runs("remind")
    assert reminder.state == "succeeded"


async def test_an_order_that_nobody_pays_is_overdue_after_three_days(app: AppUnderTest) -> None:
    await app.deliver("shop", PLACED)
    await app.advance(timedelta(days=2))
    assert await app.count("order", {"status": "open"}) == 1
    await app.advance(timedelta(days=1))
    assert await app.count("order", {"status": "overdue"}) == 1


async def test_a_forged_event_is_refused(app: AppUnderTest) -> None:
    forged = await app.deliver("shop", PLACED, secret="guessed")
    assert (forged.status, await app.count("order")) == (401, 0)
