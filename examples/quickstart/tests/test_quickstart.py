"""What the quickstart's README promises. Copy this file with the app: `pytest` in its directory runs it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from pydantic import JsonValue

from penstock.testing import AppUnderTest, open_app

APP = Path(__file__).parents[1]
SECRET = "whsec_for_tests"


@pytest_asyncio.fixture
async def app() -> AsyncIterator[AppUnderTest]:
    """The app, on a database of the test's own."""
    async with open_app(APP, secrets={"STRIPE_WEBHOOK_SECRET": SECRET}) as opened:
        yield opened


def _invoice(number: str) -> JsonValue:
    return {"id": f"evt_{number}", "type": "invoice.paid", "data": {"object": {"number": number, "amount_paid": 4200}}}


@pytest.mark.asyncio
async def test_a_paid_invoice_makes_one_order_however_often_it_is_delivered(app: AppUnderTest) -> None:
    for is_duplicate in (False, True):
        delivered = await app.deliver("stripe", _invoice("A-1"))
        assert (delivered.status, delivered.is_duplicate) == (200, is_duplicate)
    await app.wait_until_idle()
    [order] = await app.find("order")
    assert (order.number, order.total, order.paid) == ("A-1", 42, True)


@pytest.mark.asyncio
async def test_a_forged_delivery_makes_none(app: AppUnderTest) -> None:
    forged = await app.deliver("stripe", _invoice("A-2"), secret="whsec_guessed")
    assert forged.status == 401
    assert await app.count("order") == 0


@pytest.mark.asyncio
@pytest.mark.parametrize(("route", "things"), [("itself", 10), ("late", 8), ("in_turns", 5)])
async def test_a_recursion_is_cut_at_the_depth_limit(app: AppUnderTest, route: str, things: int) -> None:
    await app.run("start", {"batch": route, "route": route})
    await app.wait_until_idle()
    assert await app.count("thing") == things
    assert len(await app.list_runs(state="terminated")) == 1


@pytest.mark.asyncio
async def test_all_items_of_a_list_are_at_one_depth(app: AppUnderTest) -> None:
    await app.run("create_list", {"batch": "mine", "names": [f"name {number}" for number in range(50)]})
    await app.wait_until_idle()
    assert {run.depth for run in await app.list_runs("list_item", state="succeeded")} == {1}
    assert await app.count("thing", {"depth": 1}) == 50


@pytest.mark.asyncio
async def test_a_crash_while_the_carrier_is_asked_reserves_once(app: AppUnderTest) -> None:
    keys: list[str] = []

    async def book(request: web.Request) -> web.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            await app.crash_executor()
        return web.json_response({"reference": "C-1"})

    carrier = web.Application()
    carrier.router.add_post("/", book)
    runner = web.AppRunner(carrier)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        run = await app.run("fulfil_order", {"order": "A-1", "carrier": f"http://127.0.0.1:{runner.addresses[0][1]}/"})
    finally:
        await runner.cleanup()
    assert run.attempt == 2
    assert len(set(keys)) == 1
    [reservation] = await app.find("reservation")
    assert reservation["carrier_reference"] == "C-1"
