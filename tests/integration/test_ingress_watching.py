"""A stream says that something has changed: to as many as watch, and as long as they may."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from penstock.db import Database
from penstock.runs.views.marks import find_marks
from penstock_ingress.accepting.watching import Watching
from tests.integration.ingress import ADMIN, Ingress, running_ingress, write_app

RUN = {"workflow": "greet", "parameters": {"name": "Ada"}}
DAILY = {"workflow": "quickly", "every": "daily"}


@pytest.fixture(scope="module")
def app_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_app(tmp_path_factory.mktemp("app"))


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, app_directory: Path) -> AsyncIterator[Ingress]:
    async with running_ingress(database_url, amqp_url, app_directory) as running:
        yield running


@asynccontextmanager
async def watching(
    ingress: Ingress, environment: str = "live", token: str | None = None
) -> AsyncIterator[aiohttp.StreamReader]:
    headers = ADMIN if token is None else {"Authorization": f"Bearer {token}"}
    async with ingress.http.get(f"{ingress.admin_url}/v1/{environment}/stream", headers=headers) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        yield response.content


async def next_topics(stream: aiohttp.StreamReader) -> set[str]:
    async with asyncio.timeout(20):
        while True:
            event = (await stream.readuntil(b"\n\n")).decode()
            if event.startswith("event: changes\n"):
                return set(json.loads(event.split("data: ", 1)[1])["topics"])


async def wait_for_topic(stream: aiohttp.StreamReader, topic: str) -> set[str]:
    while topic not in (topics := await next_topics(stream)):
        pass
    return topics


async def test_everyone_who_watches_hears_of_runs_of_what_is_coming_and_of_steering(ingress: Ingress) -> None:
    async with watching(ingress) as first, watching(ingress) as second:
        for stream in (first, second):
            assert await next_topics(stream) == {"runs", "logs", "schedule", "steering"}
        assert (await ingress.manage("POST", "/v1/live/runs", json=RUN)).status == 201
        for stream in (first, second):
            assert "runs" in await next_topics(stream)
        assert (await ingress.manage("POST", "/v1/live/recurrences", json=DAILY)).status == 200
        assert "schedule" in await wait_for_topic(first, "steering")


async def test_a_token_that_is_revoked_ends_the_stream(ingress: Ingress) -> None:
    made = (await ingress.manage("POST", "/v1/live/tokens", json={"role": "viewer"})).json
    async with watching(ingress, token=str(made["token"])) as stream:
        await next_topics(stream)
        assert (await ingress.manage("DELETE", f"/v1/live/tokens/{made['id']}")).status == 200
        async with asyncio.timeout(20):
            await stream.read()


async def test_streams_end_when_the_ingress_stops(ingress: Ingress) -> None:
    async with watching(ingress) as stream:
        await next_topics(stream)
        ingress.stop.request()
        async with asyncio.timeout(20):
            await stream.read()


async def test_a_run_that_begins_waits_or_ends_changes_the_marks(ingress: Ingress) -> None:
    run = (await ingress.manage("POST", "/v1/live/runs", json=RUN)).json["id"]
    seen = [await _runs_mark(ingress.database)]
    for statement in (
        "UPDATE penstock.runs SET state = 'running', lease_expires_at = now() WHERE id = $1::text::uuid",
        """
        WITH waits AS (INSERT INTO penstock.waits (run_id, environment, step, signal)
                       VALUES ($1::text::uuid, 'live', 'a', 'go'))
        UPDATE penstock.runs SET state = 'waiting', lease_expires_at = NULL WHERE id = $1::text::uuid
        """,
        """
        INSERT INTO penstock.logs (environment, level, event, run_id, at)
        VALUES ('live', 'info', 'x', $1::text::uuid, now())
        """,
    ):
        await ingress.fetch(statement, run)
        seen.append(await _runs_mark(ingress.database))
    assert len(set(seen)) == len(seen)


async def _runs_mark(database: Database) -> str:
    async with database.connection() as conn:
        return (await find_marks(conn, environment="live"))["runs"]


async def test_viewers_of_one_process_share_its_looks(database: Database) -> None:
    watching = Watching(database, look_seconds=5)
    followers = [watching.follow("live") for _ in range(20)]
    for follower in followers:
        assert await anext(follower)
    await database.close()
    late = watching.follow("live")
    assert await anext(late), "the look of the others is fresh"
    for follower in (*followers, late):
        await follower.aclose()
