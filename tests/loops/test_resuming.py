"""A recursion over 500 things that is cut at depth 10 is resumed from where it was cut, and makes each thing once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from pydantic import JsonValue

from penstock.testing import AppUnderTest
from penstock.testing.house import open_house
from tests.eventually import eventually
from tests.loops.running import ENVIRONMENT

THINGS: Final = 500
APP: Final = {
    "app.yaml": "app: bulk\nenvironments:\n  development: {depth_limit: 10, chain_runs_limit: 10000}\n",
    "types/thing.yaml": "type: thing\nfields: {number: number}\nunique: [number]\n",
    "workflows/all.yaml": f"""
workflow: work
parameters: {{number: number}}
steps:
  - create: thing
    set: {{number: "${{params.number}}"}}
  - when: params.number < {THINGS}
    schedule: work
    with: {{number: "${{params.number + 1}}"}}
    recursion: ends with the last number
""",
}


@pytest.fixture
async def app(movable_database_url: str, tmp_path: Path) -> AsyncIterator[AppUnderTest]:
    """The app, with its recursion cut."""
    for name, text in APP.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    async with open_house(
        tmp_path, environment=ENVIRONMENT, database_url=movable_database_url, secrets={}, settings={}
    ) as house:
        app = AppUnderTest(house)
        await app.deploy()
        await house.start()
        yield app


async def cut(app: AppUnderTest) -> str:
    """Start the recursion and wait until it is cut; its chain."""
    chain = await app.start("work", {"number": 1})
    await app.wait_until_idle()
    assert await app.count("thing") == 11  # at depths 0 to 10
    return str(chain)


async def manage(app: AppUnderTest, method: str, path: str, body: JsonValue) -> JsonValue:
    """What the management API answers."""
    url = f"{app.admin_url}/v1/{app.environment}/{path}"
    async with (
        aiohttp.ClientSession(headers=app.admin_headers) as http,
        http.request(method, url, json=body) as response,
    ):
        answer: JsonValue = await response.json()
        assert response.status == 200, answer
        return answer


async def resume(app: AppUnderTest, chain: str, grant: dict[str, JsonValue]) -> JsonValue:
    """How many runs a call has readmitted."""
    answer = await manage(app, "POST", f"chains/{chain}/resume", grant)
    assert isinstance(answer, dict)
    return answer["resumed"]


async def check_complete(app: AppUnderTest) -> None:
    """Every thing is there, every run ran once, and nothing failed on a number that was there already."""
    await app.wait_until_idle(within=90)
    assert sorted(int(str(thing["number"])) for thing in await app.find("thing")) == list(range(1, THINGS + 1))
    runs = await app.list_runs()
    assert [str(run.state) for run in runs] == ["succeeded"] * THINGS
    assert sorted(run.depth for run in runs) == list(range(THINGS))


async def test_a_grant_lets_the_recursion_continue_where_it_was_cut(app: AppUnderTest) -> None:
    chain = await cut(app)
    assert await resume(app, chain, {"extra_depth": THINGS}) == 1
    await check_complete(app)
    assert await resume(app, chain, {"extra_depth": THINGS}) == 0


async def test_a_raised_limit_lets_it_continue_too(app: AppUnderTest) -> None:
    chain = await cut(app)
    assert await resume(app, chain, {}) == 0
    await manage(app, "PUT", "settings", {"depth_limit": THINGS})
    assert await resume(app, chain, {}) == 1
    await check_complete(app)


async def test_two_callers_at_once_and_a_killed_executor_double_nothing(app: AppUnderTest) -> None:
    chain = await cut(app)
    resumed = await asyncio.gather(*(resume(app, chain, {"extra_depth": THINGS}) for _ in range(2)))
    assert sorted(map(int, map(str, resumed))) == [0, 1]

    async def is_half_way() -> bool:
        return await app.count("thing") > THINGS // 2

    await eventually(is_half_way, within=60)
    await app.crash_executor()
    await check_complete(app)
