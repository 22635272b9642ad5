"""Steps that are tried again after a long pause: the run waits meanwhile, holds nothing, and its own retries are not
used up.
"""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest
from aiohttp import web

from penstock.db import Record
from penstock.runs.cancellations import Retry, retry_run
from penstock.testing.time import advance
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House, names, serve_outside

CALL = """
workflow: call
retries: {{attempts: {run_attempts}, backoff: 1m, jitter: 0}}
steps:
  - create: thing
    set: {{name: before}}
  - id: asked
    http: "${{secrets.URL}}"
    retry: {{attempts: {attempts}, backoff: 10s, factor: 3, max: 1m, jitter: 0}}
    on_error: {on_error}
  - return: {{asked: "${{{answer}}}"}}
"""


class Server:
    """Answers with the statuses it was given, then 200."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}
        self.keys: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.keys.append(request.headers["Idempotency-Key"])
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200, headers=self.headers)


@pytest.fixture
def database_url(movable_database_url: str) -> str:
    """A database whose time can be moved."""
    return movable_database_url


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """A server on 127.0.0.1, whose URL is a secret of the app."""
    server = Server()
    async with serve_outside(server.handle) as url:
        monkeypatch.setenv("PENSTOCK_SECRET_URL", f"{url}/x")
        yield server


def call(*, attempts: int = 3, run_attempts: int = 1, on_error: str = "fail") -> str:
    answer = "steps.asked.status" + (" ?? steps.asked.error.kind" if on_error == "continue" else "")
    return CALL.format(attempts=attempts, run_attempts=run_attempts, on_error=on_error, answer=answer)


async def paused(house: House, run_id: UUID, state: str = "waiting", *, after: int = 0) -> float:
    """Wait until the run pauses, having been performed more than `after` times; for how many seconds it does."""

    async def look() -> Record:
        row = await house.get(run_id)
        assert row["state"] == state, dict(row)
        assert row["attempt"] > after
        return row

    row = await eventually(look)
    due = """
        SELECT coalesce((SELECT until FROM penstock.waits WHERE run_id = $1), $2::timestamptz)
               - (SELECT max(finished_at) FROM penstock.steps WHERE run_id = $1) AS pause
        """
    pause: timedelta = (await house.fetch(due, run_id, row["scheduled_at"]))[0]["pause"]
    return pause.total_seconds()


def has_been_asked(server: Server, times: int) -> bool:
    return len(server.keys) == times


async def skip(house: House, seconds: float) -> None:
    async with house.database.connection() as conn:
        await advance(conn, timedelta(seconds=seconds))


def is_about(expected: float) -> Callable[[float], bool]:
    """Up to what a busy machine takes between the pause's beginning and the commit that says so."""
    return lambda seconds: expected - 5 < seconds <= expected


async def test_between_tries_the_run_waits_and_goes_on_with_the_step(house: House, server: Server) -> None:
    server.statuses = [503, 503]
    await house.deploy(call())
    async with house.services(outgoing_allow="127.0.0.1", executor_concurrency=1):
        run_id = await house.start("call")
        assert is_about(10)(await paused(house, run_id))
        step = (await house.steps(run_id))["asked~1.1"]
        assert (step["action"], step["outcome"], step["error"]["kind"]) == ("retry", "waiting", "http")
        await skip(house, 10)
        assert is_about(30)(await paused(house, run_id, after=1))
        await skip(house, 30)
        run = await house.ended(run_id)
    assert (run["state"], run["attempt"], run["failures"], run["result"]) == ("succeeded", 3, 0, {"asked": 200})
    assert server.keys == [f"{run_id}/asked"] * 3
    assert names(await house.things()) == ["before"]
    lines = [line["message"] for line in await house.logs(run_id) if line["level"] == "warning"]
    assert len(lines) == 2
    assert all("answered with status 503" in line and "(tried again at " in line for line in lines)


@pytest.mark.parametrize(("retry_after", "expected"), [("25", 25), ("3600", 60), ("1", 10), ("soon", 10)])
async def test_what_the_server_asks_for_is_kept_to_as_far_as_the_policy_goes(
    house: House, server: Server, retry_after: str, expected: int
) -> None:
    server.statuses, server.headers = [429], {"Retry-After": retry_after}
    await house.deploy(call())
    async with house.executor(outgoing_allow="127.0.0.1"):
        assert is_about(expected)(await paused(house, await house.start("call")))


async def test_when_the_tries_are_spent_the_run_is_retried_and_counts_them_anew(house: House, server: Server) -> None:
    server.statuses = [500] * 5
    await house.deploy(call(attempts=2, run_attempts=2))
    async with house.services(outgoing_allow="127.0.0.1"):
        run_id = await house.start("call")
        assert is_about(10)(await paused(house, run_id))
        await skip(house, 10)
        assert is_about(60)(await paused(house, run_id, "scheduled"))
        await skip(house, 60)
        assert is_about(10)(await paused(house, run_id, after=2))
        await skip(house, 10)
        run = await house.ended(run_id)
        assert (run["state"], run["failures"], len(server.keys)) == ("failed", 2, 4)

        retried = await house.database.in_transaction(
            lambda conn: retry_run(conn, environment=ENVIRONMENT, run_id=run_id, asked=Retry("a person")),
        )
        assert retried is not None
        await house.publisher.dispatch(await house.summaries(run_id))
        assert is_about(10)(await paused(house, run_id, after=4))
        await skip(house, 10)
        run = await house.ended(run_id)
    assert (run["state"], len(server.keys)) == ("succeeded", 6)
    assert names(await house.things()) == ["before"]


async def test_a_step_that_may_fail_is_passed_over_when_its_tries_are_spent(house: House, server: Server) -> None:
    server.statuses = [500] * 2
    await house.deploy(call(attempts=2, on_error="continue"))
    async with house.services(outgoing_allow="127.0.0.1"):
        run_id = await house.start("call")
        await paused(house, run_id)
        await skip(house, 10)
        run = await house.ended(run_id)
    assert (run["state"], run["result"]) == ("succeeded", {"asked": "http"})


async def test_what_a_triggered_workflow_has_done_is_not_done_again(house: House, server: Server) -> None:
    server.statuses = [500]
    await house.deploy(
        f"{call()}---\nworkflow: outer\nsteps:\n  - {{id: inner, trigger: call}}\n  - return: {{inner: "
        f"'${{steps.inner.asked}}'}}\n"
    )
    async with house.services(outgoing_allow="127.0.0.1"):
        run_id = await house.start("outer")
        await paused(house, run_id)
        await skip(house, 10)
        run = await house.ended(run_id)
    assert (run["state"], run["result"]) == ("succeeded", {"inner": 200})
    assert names(await house.things()) == ["before"]
    assert server.keys == [f"{run_id}/inner/asked"] * 2


async def test_a_webhook_is_sent_again_without_being_told_to(
    house: House, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_SECRET_HOOK", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
    server.statuses = [500] * 5
    await house.deploy(
        "workflow: tell\nsteps:\n  - {id: told, send: '${secrets.URL}', payload: {a: 1}, secret: '${secrets.HOOK}'}\n"
    )
    async with house.services(outgoing_allow="127.0.0.1"):
        run_id = await house.start("tell")
        # The first pause may be short enough to keep the slot.
        await eventually(partial(has_been_asked, server, 2))
        for attempt, expected in enumerate((30, 180, 1080), 1):
            pause = await paused(house, run_id, after=attempt - 1)
            assert 0.8 * expected - 5 < pause <= 1.2 * expected
            await skip(house, pause + 1)
            await eventually(partial(has_been_asked, server, attempt + 2))
        run = await house.ended(run_id)
    assert (run["state"], run["error"]["kind"], len(server.keys)) == ("failed", "http", 5)
