"""What is written once for all rooms: a report at most every few seconds, and waiting out a lost database."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from penstock.errors import DatabaseUnavailable, LeaseLost, Permanent, StaleDefinitions
from penstock.logs import Reports
from penstock.store.deployments import decide_by_current
from penstock_executor.holding.leases import Lease, outlast
from penstock_executor.runs import ClaimedRun


def test_a_report_is_written_at_most_every_few_seconds_and_says_how_often_it_happened() -> None:
    lines: list[dict[str, object]] = []

    def write(event: str, **fields: object) -> None:
        lines.append({"event": event, **fields})

    reports = Reports(write, "database.unavailable", seconds=3600)
    for _ in range(1000):
        reports.add(error="no route to host")
    assert lines == [{"event": "database.unavailable", "error": "no route to host", "count": 1}]
    often = Reports(write, "dispatch.failed", seconds=0)
    often.add(300)
    often.add(200)
    assert [line["count"] for line in lines[1:]] == [300, 200]


def hold(*, seconds: float) -> Lease:
    """A lease that ends in this many seconds."""
    now = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)
    run = ClaimedRun(
        id=uuid4(), chain_id=uuid4(), parent_run_id=None, environment="live", workflow="greet", depth=0, depth_limit=10,
        priority=5, attempt=1, failures=0, version=1, scheduled_at=now, started_at=now, claimed_at=now, parameters={},
        context=None, finished=None,
    )  # fmt: skip
    return Lease(run, None, asyncio.get_running_loop().time() + seconds)


class Absent:
    """A database that is away for the first `times` calls."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.calls = 0

    async def ask(self) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise DatabaseUnavailable("away")
        return "done"


async def test_work_of_a_run_is_repeated_until_the_database_is_back() -> None:
    database = Absent(times=2)
    assert await outlast(hold(seconds=60), database.ask) == "done"
    assert database.calls == 3


async def test_work_of_a_run_is_given_up_when_its_lease_may_have_ended() -> None:
    database = Absent(times=1_000_000)
    began = asyncio.get_running_loop().time()
    with pytest.raises(LeaseLost, match="away for longer than the lease holds"):
        await outlast(hold(seconds=0.2), database.ask)
    assert asyncio.get_running_loop().time() - began < timedelta(seconds=5).total_seconds()


async def test_what_the_database_refuses_is_not_repeated() -> None:
    calls = 0

    async def refuse() -> None:
        nonlocal calls
        calls += 1
        raise Permanent("not unique")

    with pytest.raises(Permanent):
        await outlast(hold(seconds=60), refuse)
    assert calls == 1


async def test_what_is_decided_by_old_definitions_is_decided_again_by_the_newest() -> None:
    looks: list[bool] = []

    async def look(is_newest: bool) -> int:
        looks.append(is_newest)
        return len(looks)

    async def decide(version: int) -> str:
        if version < 3:
            raise StaleDefinitions("a newer one is current")
        return f"by version {version}"

    assert await decide_by_current(look, decide) == "by version 3"
    assert looks == [False, True, True]


async def test_an_app_that_is_deployed_again_and_again_is_not_waited_for_for_ever() -> None:
    async def look(_: bool) -> int:
        return 1

    async def decide(_: int) -> None:
        raise StaleDefinitions("a newer one is current")

    with pytest.raises(StaleDefinitions, match="deployed again and again, so nothing was decided; try again"):
        await decide_by_current(look, decide)
