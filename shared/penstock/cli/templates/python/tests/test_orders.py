"""The app as its users meet it, on a database of the tests' own, whose time they move."""

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest_asyncio
from orders import discount

from penstock.testing import AppUnderTest, open_app

APP = Path(__file__).parents[1]


@pytest_asyncio.fixture
async def app() -> AsyncIterator[AppUnderTest]:
    """The app, with one order that nobody has paid yet."""
    async with open_app(APP) as app:
        reply = await app.post("/api/1.1/wf/place_order", {"number": "A-17", "prices": [80, 40]})
        assert reply.status == 200, reply.body
        yield app


async def test_an_order_is_priced_and_stored(app: AppUnderTest) -> None:
    (order,) = await app.find("order")
    assert (order.number, order.total, order.status) == ("A-17", 108, "open")


async def test_a_payment_within_two_weeks_is_taken(app: AppUnderTest) -> None:
    (order,) = await app.find("order")
    await app.advance(timedelta(days=13))
    await app.signal("paid", {"order": order.id})
    await app.wait_until_idle()
    assert await app.count("order", {"status": "paid"}) == 1


async def test_an_order_that_nobody_pays_lapses(app: AppUnderTest) -> None:
    await app.advance(timedelta(days=15))
    assert await app.count("order", {"status": "lapsed"}) == 1


async def test_an_order_without_lines_is_refused_and_not_tried_again(app: AppUnderTest) -> None:
    run = await app.run("place_order", {"number": "A-18", "prices": []})
    assert (run.state, run.attempt) == ("failed", 1)


def test_large_orders_are_cheaper() -> None:
    assert (discount(Decimal(99)), discount(Decimal(100))) == (Decimal(99), Decimal(90))
