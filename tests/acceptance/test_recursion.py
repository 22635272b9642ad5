"""The limit on a chain's depth, through the three real processes: the examples that the documentation promises."""

from typing import cast

import pytest

from tests.acceptance.installation import Installation, Service
from tests.eventually import eventually

Services = tuple[Service, Service, Service]


async def _start(installation: Installation, ingress: Service, workflow: str, **parameters: object) -> str:
    body = {"workflow": workflow, "parameters": parameters}
    status, run = await installation.manage(ingress, "POST", "live/runs", body)
    assert status == 201, run
    return cast("dict[str, str]", run)["id"]


@pytest.mark.parametrize(
    ("root", "first", "things"),
    [("start", "create_thing", 10), ("start", "a", 8), ("start", "ping", 5), ("create_thing", None, 11)],
    ids=["itself", "from depth 3", "in turns", "as the root"],
)
async def test_recursion_makes_as_many_things_as_documented(
    installation: Installation, services: Services, root: str, first: str | None, things: int
) -> None:
    parameters = {} if first is None else {"first": first}
    await _start(installation, services[0], root, **parameters)
    await eventually(lambda: _is_cut(installation))
    await installation.settled()
    assert await installation.count_things() == things


async def test_list_of_a_thousand_runs_at_depth_one(installation: Installation, services: Services) -> None:
    status, answer = await installation.call(services[0], "start_list", {"items": list(range(1000))})
    assert status == 200, answer
    await eventually(lambda: _is_counted(installation, 1000), within=60)
    await installation.settled()
    depths = await installation.fetchval("SELECT array_agg(DISTINCT depth) FROM penstock.runs WHERE workflow = 'item'")
    assert depths == [1]


async def test_limit_changed_at_run_time_holds_for_the_next_chain(
    installation: Installation, services: Services
) -> None:
    status, changed = await installation.manage(services[0], "PUT", "live/settings", {"depth_limit": 25})
    assert status == 200, changed
    await _start(installation, services[0], "start")
    await eventually(lambda: _is_cut(installation), within=30)
    await installation.settled()
    assert await installation.count_things() == 25


async def test_termination_is_recorded_logged_and_told_with_the_whole_path(
    installation: Installation, services: Services
) -> None:
    root = await _start(installation, services[0], "start", first="a")
    await eventually(lambda: _is_cut(installation))
    await installation.settled()
    path = ["start", "a", "b", *["create_thing"] * 9]
    error = await installation.fetchval("SELECT error FROM penstock.runs WHERE state = 'terminated'")
    assert cast("dict[str, object]", error)["path"] == path
    depth = await installation.fetchval("SELECT depth FROM penstock.runs WHERE state = 'terminated'")
    assert depth == 11
    _, logs = await installation.manage(services[0], "GET", "live/logs?level=error")
    messages = [str(line["message"]) for line in cast("dict[str, list[dict[str, object]]]", logs)["results"]]
    assert any(" → ".join(path) in message for message in messages), messages
    _, chain = await installation.manage(services[0], "GET", f"live/chains/{root}")
    assert "terminated" in str(chain)


async def _is_cut(installation: Installation) -> bool:
    return bool(await installation.fetchval("SELECT count(*) FROM penstock.runs WHERE state = 'terminated'"))


async def _is_counted(installation: Installation, things: int) -> bool:
    return await installation.count_things() >= things
