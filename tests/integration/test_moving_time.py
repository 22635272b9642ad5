"""Time that tests move: due runs, defaults of columns and dates of things follow it; nothing else of the product
knows.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from penstock.broker.inprocess import InProcessBroker
from penstock.contracts.topology import topology
from penstock.db import Database, open_database
from penstock.db.migrations import migrate
from penstock.testing.databases import fresh_database
from penstock.testing.time import advance, install_clock
from tests.eventually import eventually
from tests.integration.ingress import running_ingress, write_app
from tests.integration.scheduling import Station
from tests.servers import Servers

MONTH = timedelta(days=30)
A_MINUTE = timedelta(minutes=1)


@pytest.fixture
async def moving(movable_database_url: str) -> AsyncIterator[Database]:
    """A pool on a database whose time can be moved."""
    opened = await open_database(movable_database_url, name="test", most=2)
    yield opened
    await opened.close()


async def _ahead(database: Database, expression: str) -> timedelta:
    async with database.connection() as conn:
        moment: datetime = await conn.fetchval(f"SELECT {expression}")
        return moment - datetime.now(UTC)


@pytest.mark.parametrize("expression", ["clock_timestamp()", "statement_timestamp()", "now()"])
async def test_every_function_the_product_uses_follows(moving: Database, expression: str) -> None:
    assert abs(await _ahead(moving, expression)) < A_MINUTE
    async with moving.connection() as conn:
        await advance(conn, MONTH)
        await advance(conn, A_MINUTE)
    assert abs(await _ahead(moving, expression) - MONTH - A_MINUTE) < A_MINUTE


async def test_defaults_of_columns_follow(moving: Database) -> None:
    async with moving.connection() as conn:
        await advance(conn, MONTH)
        created: datetime = await conn.fetchval(
            "INSERT INTO penstock.logs (environment, level, event) VALUES ('live', 'info', 'running event') RETURNING "
            "at"
        )
    assert created - datetime.now(UTC) > MONTH - A_MINUTE


async def test_time_does_not_go_back(moving: Database) -> None:
    async with moving.connection() as conn:
        with pytest.raises(ValueError, match="forward only"):
            await advance(conn, timedelta(seconds=-1))


async def test_the_clock_may_be_installed_later_and_again(servers: Servers) -> None:
    async with fresh_database(servers.database_url) as url:
        database = await open_database(url, name="test", most=1)
        await migrate(database)
        async with database.connection() as conn:
            await install_clock(conn)
            await advance(conn, MONTH)
            await install_clock(conn)
        await database.close()
        database = await open_database(url, name="test", most=1)
        assert await _ahead(database, "clock_timestamp()") > MONTH - A_MINUTE
        await database.close()


async def test_delays_of_messages_and_requests_begin_now_by_the_databases_clock(
    moving: Database, movable_database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    async with moving.connection() as conn:
        await advance(conn, MONTH)
    broker = InProcessBroker(topology())
    station = Station(moving, broker)
    await station.open()
    async with station.scheduler():
        await station.ask(after="10m")
        await station.ask(after="10m", list={"items": [{"name": "a"}]})
        await eventually(lambda: _has_runs(station, 2))
    await broker.close()
    async with running_ingress(movable_database_url, amqp_url, write_app(tmp_path)) as ingress:
        made = await ingress.manage(
            "POST", "/v1/live/runs", json={"workflow": "greet", "parameters": {"name": "Ada"}, "after": "10m"}
        )
        assert made.status == 201, made.body
    for run in await station.runs():
        assert A_MINUTE * 9 < run["scheduled_at"] - datetime.now(UTC) - MONTH < A_MINUTE * 11
        assert run["state"] == "scheduled"


async def _has_runs(station: Station, count: int) -> bool:
    return len(await station.runs()) == count
