"""The list on a database of the tests' own: hundreds of contacts, some of them wrong, and an executor that dies."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from penstock.testing import AppUnderTest, open_app

APP = Path(__file__).parents[1]


@pytest_asyncio.fixture
async def app() -> AsyncIterator[AppUnderTest]:
    """The app, with a hundred good contacts and a wrong one."""
    async with open_app(APP) as app:
        for number in range(100):
            await app.create("contact", {"email": f"contact-{number}@example.com", "status": "new"})
        await app.create("contact", {"email": "nobody", "status": "new"})
        yield app


async def test_each_contact_is_checked_and_a_wrong_one_stops_no_other(app: AppUnderTest) -> None:
    await app.run("check_contacts")
    await app.wait_until_idle()
    assert await app.count("contact", {"status": "checked"}) == 100
    (wrong,) = await app.list_runs("check_contact", state="failed")
    assert "nobody is not an address" in str(wrong.error)
    summary = await app.run("summary")
    assert summary.result == {"contacts": [{"status": "checked", "count": 100}, {"status": "wrong", "count": 1}]}


async def test_all_runs_of_the_list_have_one_depth(app: AppUnderTest) -> None:
    await app.run("check_contacts")
    await app.wait_until_idle()
    assert {run.depth for run in await app.list_runs("check_contact")} == {1}


async def test_a_second_list_finds_nothing_to_do(app: AppUnderTest) -> None:
    await app.run("check_contacts")
    await app.wait_until_idle()
    await app.run("check_contacts")
    await app.wait_until_idle()
    assert len(await app.list_runs("check_contact")) == 101


async def test_an_executor_that_dies_leaves_no_contact_out(app: AppUnderTest) -> None:
    await app.start("check_contacts")
    await app.crash_executor()
    await app.wait_until_idle()
    assert await app.count("contact", {"status": "checked"}) == 100
