"""Two installations whose apps call each other over HTTP: each knows its own chain again, and the loop is cut at the
limit.
"""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import aiohttp
import pytest

from tests.acceptance.embedded import Up, short_directory, up
from tests.eventually import eventually

DIRECT = """
workflow: bounce
on: {api: {method: POST, auth: public, respond: at_once}}
steps:
  - http: "${secrets.OTHER}/api/1.1/wf/bounce"
    method: POST
"""
THROUGH_A_CHILD = """
workflow: bounce
on: {api: {method: POST, auth: public, respond: at_once}}
steps:
  - schedule: back
---
workflow: back
steps:
  - call: other
    path: api/1.1/wf/bounce
    method: POST
"""
CONNECTOR = 'connectors: {other: {base_url: "${secrets.OTHER}"}}'


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Up, Up]]:
    """Two installations that are not started yet, each with a database, a broker and a key of its own."""
    async with short_directory() as left, short_directory() as right, up(left) as here, up(right) as there:
        yield here, there


def _write_app(process: Up, workflows: str, other: Up) -> None:
    app = process.directory / "app"
    (app / "workflows").mkdir(parents=True)
    (app / "app.yaml").write_text(f"app: bouncer\n{CONNECTOR}\n")
    (app / "workflows" / "bounce.yaml").write_text(workflows)
    process.arguments = ("--app", str(Path(app)))
    process.settings = {"PENSTOCK_SECRET_OTHER": other.url, "PENSTOCK_OUTGOING_ALLOW": "127.0.0.1"}


async def _runs(process: Up) -> list[dict[str, object]]:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{process.admin_url}/v1/live/runs", params={"limit": "500"}, headers=process.headers) as response,
    ):
        return cast("list[dict[str, object]]", (await response.json())["results"])


async def _is_cut(process: Up) -> bool:
    return any(run["state"] == "terminated" for run in await _runs(process))


@pytest.mark.timeout(240)
async def test_a_loop_of_two_apps_that_call_each_other_is_cut_at_the_limit(pair: tuple[Up, Up]) -> None:
    here, there = pair
    _write_app(here, DIRECT, there)
    _write_app(there, THROUGH_A_CHILD, here)
    await here.start()
    await there.start()

    async with aiohttp.ClientSession() as http, http.post(f"{here.url}/api/1.1/wf/bounce", json={}) as response:
        assert response.status == 202, await response.text()
        root = response.headers["Penstock-Run-Id"]
    await eventually(lambda: _is_cut(there), within=60)

    ours, theirs = await _runs(here), await _runs(there)
    # There, each turn is two deep, as a child calls back: that chain is the first to be too deep.
    assert sorted((run["depth"], run["chain_id"]) for run in ours) == [(depth, root) for depth in range(6)]
    assert sorted(cast("int", run["depth"]) for run in theirs) == list(range(12))
    assert len({run["chain_id"] for run in theirs}) == 1
    (cut,) = [run for run in theirs if run["state"] == "terminated"]
    assert (cut["depth"], cut["workflow"]) == (11, "back")
    assert " → ".join(["bounce", "back"] * 6) in str(cut["error"])
    assert Counter(run["state"] for run in [*ours, *theirs]) == {"succeeded": 17, "terminated": 1}
