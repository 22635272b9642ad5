"""The bookshop, tried out: orders, payments that come or do not, and the nightly order from the publisher."""

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio
from bookshop.prices import quote
from pydantic import JsonValue

from penstock.testing import AppUnderTest, open_app

APP = Path(__file__).parents[1]
DUNE = "9780441013593"


@pytest_asyncio.fixture
async def app() -> AsyncIterator[AppUnderTest]:
    """The app, with one book."""
    async with open_app(APP) as opened:
        await opened.create("book", {"isbn": DUNE, "title": "Dune", "price": 12.5, "stock": 2})
        yield opened


async def _order(app: AppUnderTest, copies: int = 1, isbn: str = DUNE) -> JsonValue:
    line: JsonValue = {"isbn": isbn, "copies": copies}
    reply = await app.post("/api/1.1/wf/order", {"customer": "ada@example.com", "lines": [line]})
    return reply.json()


@pytest.mark.asyncio
async def test_an_order_is_answered_with_its_price(app: AppUnderTest) -> None:
    answer = await _order(app, copies=10)
    [order] = await app.find("order")
    assert answer == {"status": "success", "response": {"order": order["_id"], "total": 112.5}}
    assert (order["state"], order["total"]) == ("open", 112.5)


@pytest.mark.asyncio
async def test_a_payment_within_two_weeks_is_taken(app: AppUnderTest) -> None:
    await _order(app)
    await app.advance(timedelta(days=13))
    [order] = await app.find("order")
    await app.signal("paid", {"order": order["_id"]})
    await app.wait_until_idle()
    assert await app.count("order", {"state": "paid"}) == 1


@pytest.mark.asyncio
async def test_an_order_that_nobody_pays_lapses(app: AppUnderTest) -> None:
    await _order(app)
    await app.advance(timedelta(days=15))
    assert await app.count("order", {"state": "lapsed"}) == 1


@pytest.mark.asyncio
async def test_a_book_that_does_not_exist_fails_the_order_at_once(app: AppUnderTest) -> None:
    await _order(app, isbn="0")
    [run] = await app.list_runs("order")
    assert (run.state, run.attempt) == ("failed", 1)
    assert isinstance(run.error, dict)
    assert run.error["message"] == "there is no book 0"


@pytest.mark.asyncio
async def test_books_that_run_out_are_ordered_each_night(app: AppUnderTest) -> None:
    await app.advance(timedelta(days=1))
    [book] = await app.find("book")
    assert book["stock"] == 12
    assert [run.output for run in await app.list_runs("restock")] == [["ordered 10 copies"]]


def test_ten_copies_are_cheaper() -> None:
    assert (quote("12.50", 9), quote("12.50", 10)) == (Decimal("12.50"), Decimal("11.25"))
