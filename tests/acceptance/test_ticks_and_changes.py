"""Recurrences and change triggers in real processes, whose database's time is moved while schedulers die and are
away.
"""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from penstock.db import open_database
from penstock.testing.time import advance
from tests.acceptance.installation import Installation
from tests.eventually import eventually

WORKFLOWS = 20
HOUR = timedelta(hours=1)
REACTION = """
workflow: count
on: {change: {type: beat, operations: create, when: after.number >= 0}}
steps: [{create: echo, set: {of: "${change.after._id}"}}]
"""


def hourly(number: int) -> str:
    return f"""
workflow: beat{number}
on: {{recurrence: {{cron: "0 * * * *", overlap: allow, catch_up: 1d}}}}
steps: [{{create: beat, set: {{number: {number}, at: "${{recurrence.tick_at}}"}}}}]
"""


@pytest.fixture
async def installation(movable_database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Installation]:
    """An installation of this app whose database's time can be moved."""
    for name, text in {
        "app.yaml": "app: clockwork",
        "types/beat.yaml": "type: beat\nfields: {number: number, at: text}\nunique: [[number, at]]",
        "types/echo.yaml": "type: echo\nfields: {of: beat}\nunique: [of]",
        "workflows/all.yaml": "\n---\n".join((*(hourly(number) for number in range(WORKFLOWS)), REACTION)),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    database = await open_database(movable_database_url, name="acceptance", most=4)
    async with aiohttp.ClientSession() as http:
        whole = Installation(movable_database_url, amqp_url, database, tmp_path, http)
        try:
            await whole.prepare(tmp_path)
            yield whole
        finally:
            await whole.close()
            await database.close()


async def pass_hours(installation: Installation, hours: int) -> None:
    """Move on to some seconds past the full hour that comes then."""
    now = await installation.fetchval("SELECT clock_timestamp()")
    assert isinstance(now, datetime)
    target = now.replace(minute=0, second=5, microsecond=0) + hours * HOUR
    async with installation.database.connection() as conn:
        await advance(conn, target - now)


async def beats(installation: Installation, hours: int) -> None:
    """Until every workflow has had this many hours, in both environments, and each was noticed."""

    async def look() -> None:
        for environment in ("live", "development"):
            for table in ("beat", "echo"):
                assert (
                    await installation.fetchval(f"SELECT count(*) FROM {environment}.{table}") == WORKFLOWS * hours
                ), table

    await eventually(look, within=60, every=0.1)


async def test_three_schedulers_that_are_killed_in_between_lose_no_tick_and_double_none(
    installation: Installation,
) -> None:
    await installation.start("executor")
    schedulers = [await installation.start("scheduler") for _ in range(3)]
    for hour in range(1, 7):
        await pass_hours(installation, 1)
        await schedulers.pop(0).kill()
        schedulers.append(await installation.start("scheduler"))
        await beats(installation, hour)
    await installation.settled()
    assert await installation.fetchval("SELECT count(*) FROM penstock.runs WHERE trigger = 'recurrence'") == (
        2 * WORKFLOWS * 6
    )
    recorded = "SELECT count(*) FROM penstock.recurrence_ticks WHERE outcome = 'started'"
    assert await installation.fetchval(recorded) == 2 * WORKFLOWS * 6


async def test_each_tick_and_each_change_starts_one_run_whoever_dies_or_is_away(installation: Installation) -> None:
    await installation.start("executor")
    doomed, other = await installation.start("scheduler"), await installation.start("scheduler")
    await pass_hours(installation, 1)
    await doomed.kill()
    await beats(installation, 1)
    doomed, other = other, await installation.start("scheduler")
    await pass_hours(installation, 1)
    await doomed.kill()
    await beats(installation, 2)
    assert await other.stop() == 0
    await pass_hours(installation, 3)
    for _ in range(2):
        await installation.start("scheduler")
    await beats(installation, 5)
    await installation.settled()
    per_kind = "SELECT count(*) FROM penstock.runs WHERE trigger = $1 AND depth = $2 AND state = 'succeeded'"
    assert await installation.fetchval(per_kind, "recurrence", 0) == 2 * WORKFLOWS * 5
    assert await installation.fetchval(per_kind, "change", 1) == 2 * WORKFLOWS * 5
    assert await installation.fetchval("SELECT count(*) FROM penstock.runs") == 4 * WORKFLOWS * 5
    assert await installation.fetchval("SELECT count(*) FROM penstock.changes") == 0
