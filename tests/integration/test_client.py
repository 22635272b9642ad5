"""The client over HTTP, on the three services: what it returns and raises, at both ports of the ingress."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from aiohttp import web

from penstock import Client
from penstock.client import NotEnded, Refused, RunFailed, RunState, Unavailable, Unsupported
from penstock.testing.ports import find_port
from tests.integration.client_site import APP, running_site, wake
from tests.integration.executing import serve_outside
from tests.integration.ingress import ADMIN_TOKEN, Ingress, write_app


@pytest.fixture
async def site(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_site(database_url, amqp_url, write_app(tmp_path, client=APP)) as running:
        yield running


@pytest.fixture
async def managing(site: Ingress) -> AsyncIterator[Client]:
    """A client of the admin port."""
    async with Client(f"{site.admin_url}/", ADMIN_TOKEN) as client:
        yield client


@pytest.fixture
async def calling(site: Ingress) -> AsyncIterator[Client]:
    """A client of the public port."""
    async with Client(site.url, ADMIN_TOKEN) as client:
        yield client


async def test_a_run_is_awaited_and_its_answer_is_the_same_at_both_ports(managing: Client, calling: Client) -> None:
    for client in (managing, calling):
        answer = await client.run("echo", {"word": "Zoë", "number": 9007199254740993})
        assert answer == {"said": "Zoë", "number": 9007199254740993}
        assert await client.run("silent") == {}
        assert await client.run("told_at_once") == {"told": True}
    assert await managing.run("written") == {"text": "<p>hello</p>", "content_type": "text/html"}
    assert await calling.run("written") == {"text": "<p>hello</p>", "content_type": "text/html"}
    assert await calling.run("moved") == {"redirect": "https://example.com/next?page=2"}


async def test_a_run_that_fails_raises_with_its_kind_and_message(managing: Client, calling: Client) -> None:
    for client, kind in ((managing, "failed"), (calling, None)):
        with pytest.raises(RunFailed, match="nothing is left in stock") as failed:
            await client.run("sold_out")
        assert (failed.value.state, failed.value.kind) == (RunState.FAILED, kind)
        status = await client.status(failed.value.run_id)
        assert status.error is not None
        assert (status.state, status.error.message) == (RunState.FAILED, "nothing is left in stock")


async def test_a_run_that_is_skipped_raises_with_its_state(managing: Client, calling: Client) -> None:
    for client in (managing, calling):
        with pytest.raises(RunFailed) as failed:
            await client.run("unwanted")
        assert failed.value.state is RunState.SKIPPED


async def test_a_run_that_takes_too_long_continues_and_is_found_by_its_key(
    site: Ingress, managing: Client, calling: Client
) -> None:
    for client in (managing, calling):
        with pytest.raises(NotEnded) as late:
            await client.run("patient", key="patience", timeout_seconds=1.2)
        assert late.value.key == "patience"
        assert not (await client.status(late.value.run_id)).has_ended
        waiting = asyncio.create_task(client.run("patient", key="patience"))
        await wake(site, managing)
        assert await waiting == {"word": {"it": "is time"}}
        assert await site.fetchval("SELECT count(*) FROM penstock.runs WHERE workflow = 'patient'") == 1
        await site.fetch("DELETE FROM penstock.runs WHERE workflow = 'patient'")


async def test_the_same_key_is_one_run_across_calls_and_another_request_is_refused(
    managing: Client, calling: Client
) -> None:
    for client in (managing, calling):
        first = await client.schedule("echo", {"word": "a", "number": 1}, key="order 17")
        again = await client.schedule("echo", {"word": "a", "number": 1}, key="order 17")
        assert (first.duplicate, again.duplicate, again.run_id) == (False, True, first.run_id)
        with pytest.raises(Refused) as refused:
            await client.schedule("echo", {"word": "b", "number": 1}, key="order 17")
        assert refused.value.status == 422


async def test_a_run_is_scheduled_for_later_and_cancelled_at_the_admin_port(managing: Client) -> None:
    soon = await managing.schedule("echo", {"word": "a", "number": 1}, after=timedelta(milliseconds=90_500))
    later = await managing.schedule("echo", {"word": "a", "number": 1}, at=datetime(2099, 1, 31, 9, tzinfo=UTC))
    assert (soon.state, later.state) == (RunState.SCHEDULED, RunState.SCHEDULED)
    assert await managing.cancel(str(later.run_id)) is True
    assert await managing.cancel(later.run_id) is False
    assert (await managing.status(later.run_id)).state is RunState.CANCELLED


async def test_what_was_scheduled_under_a_key_is_cancelled_by_it_at_the_admin_port(managing: Client) -> None:
    for order in "ab":
        await managing.run("plan", {"order": order})
    # Perhaps it is on its way to a scheduler.
    assert await managing.cancel(workflow="patient", key="order-a") == 1
    assert await managing.cancel(workflow="patient", key="order-a") == 0
    assert await managing.cancel(workflow="echo", key="order-b") == 0
    with pytest.raises(Refused, match="key") as refused:
        await managing.cancel(workflow="patient", key="k" * 1001)
    assert refused.value.status == 422
    for given in ({"workflow": "patient"}, {"key": "order-a"}, {"workflow": "", "key": ""}):
        with pytest.raises(ValueError, match="`workflow` and `key`"):
            await managing.cancel(**given)


async def test_what_the_public_port_cannot_do_names_the_admin_port(calling: Client) -> None:
    for call in (
        calling.cancel(uuid4()),
        calling.cancel(workflow="patient", key="a"),
        calling.signal("go"),
        calling.schedule("echo", {"word": "a", "number": 1}, after=timedelta(seconds=1)),
    ):
        with pytest.raises(Unsupported, match=r"admin port \(8081\)"):
            await call


async def test_what_is_refused_says_the_status_and_why(site: Ingress, managing: Client, calling: Client) -> None:
    for client, status in ((managing, 422), (calling, 400)):
        with pytest.raises(Refused, match="word") as refused:
            await client.run("echo", {"number": 1})
        assert refused.value.status == status
        with pytest.raises(Refused) as refused:
            await client.run("nowhere/../silent")
        assert refused.value.status == 404
        with pytest.raises(Refused) as refused:
            await client.status(uuid4())
        assert refused.value.status == 404
    for url in (site.url, site.admin_url):
        async with Client(url, "nobody has this token") as stranger:
            with pytest.raises(Refused) as refused:
                await stranger.run("echo", {"word": "a", "number": 1})
            assert refused.value.status == 401


async def test_the_environment_is_the_one_that_was_asked_for(site: Ingress) -> None:
    for url in (site.url, site.admin_url):
        async with Client(url, ADMIN_TOKEN, environment="development") as client:
            assert await client.run("silent") == {}
    rows = await site.fetch("SELECT environment FROM penstock.runs")
    assert [row["environment"] for row in rows] == ["development", "development"]


class Busy:
    """A public port that is busy at first, loses the answer once, and then has it."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.keys: list[str] = []
        self.bodies: list[bytes] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/healthz":
            return web.Response(status=404)
        self.keys.append(request.headers["Idempotency-Key"])
        self.bodies.append(await request.read())
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 0:
            assert request.transport is not None
            request.transport.abort()
        headers = {"Retry-After": "0"} if status == 503 else {}
        return web.json_response({"status": "success", "response": {"done": True}}, status=status, headers=headers)


async def test_a_call_is_tried_again_with_one_key_until_it_is_answered() -> None:
    busy = Busy(503, 0, 429, 502)
    async with serve_outside(busy.handle) as url, Client(url) as client:
        assert await client.run("echo", {"word": "a"}) == {"done": True}
    assert len(busy.keys) == 5
    assert len({*busy.keys}) == len({*busy.bodies}) == 1


async def test_a_pause_beyond_the_deadline_is_not_waited_for() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"detail": "come back"}, status=503, headers={"Retry-After": "3600"})

    async with serve_outside(refuse) as url, Client(url) as client:
        with pytest.raises(Unavailable, match="503: come back"):
            await client.run("echo", timeout_seconds=30)


async def test_a_run_that_was_started_and_is_out_of_sight_has_not_ended() -> None:
    run_id = UUID(int=17)

    async def answer(request: web.Request) -> web.Response:
        if request.method == "POST":
            return web.json_response({"status": "accepted", "run_id": str(run_id)}, status=202)
        return web.Response(status=404 if request.path == "/healthz" else 503)

    async with serve_outside(answer) as url, Client(url) as client:
        with pytest.raises(NotEnded) as late:
            await client.run("echo", key="mine", timeout_seconds=0.5)
    assert (late.value.run_id, late.value.key) == (run_id, "mine")


async def test_nobody_at_the_url_is_unavailable_and_names_the_key_to_try_again_with(site: Ingress) -> None:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(f"http://127.0.0.1:{find_port()}", ADMIN_TOKEN))
        with pytest.raises(Unavailable, match="tried"):
            await client.run("echo", key="mine", timeout_seconds=0.5)


async def test_an_answer_that_is_not_from_penstock_is_an_error_that_shows_it() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(["what"], status=200)

    async with serve_outside(answer) as url, Client(url) as client:
        with pytest.raises(Exception, match="not an answer of Penstock"):
            await client.status(UUID(int=1))
