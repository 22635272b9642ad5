"""The client over AMQP, on the three services: what it returns and raises, and what it does while they are away."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import structlog

from penstock import Client
from penstock.client import NotEnded, Refused, RunFailed, RunState, Unavailable
from penstock.errors import ConfigurationError
from tests.cuttable import cuttable
from tests.eventually import eventually
from tests.integration.client_site import APP, running_site, wake
from tests.integration.ingress import Ingress, write_app


@pytest.fixture
async def site(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_site(database_url, amqp_url, write_app(tmp_path, client=APP)) as running:
        yield running


@pytest.fixture
async def client(site: Ingress, amqp_url: str) -> AsyncIterator[Client]:
    async with Client.amqp(amqp_url) as opened:
        yield opened
    structlog.reset_defaults()  # the client has left logging to this program


async def test_a_run_is_awaited_and_its_answer_arrives_with_all_digits(client: Client) -> None:
    answer = await client.run("echo", {"word": "Zoë", "number": 9007199254740993})
    assert answer == {"said": "Zoë", "number": 9007199254740993}
    assert await client.run("silent") == {}
    assert await client.run("hidden") == {}
    answers = await asyncio.gather(*(client.run("echo", {"word": str(i), "number": i}) for i in range(50)))
    assert answers == [{"said": str(i), "number": i} for i in range(50)]


async def test_a_run_that_fails_or_is_skipped_raises_with_its_kind_and_message(client: Client) -> None:
    with pytest.raises(RunFailed, match="nothing is left in stock") as failed:
        await client.run("sold_out")
    assert (failed.value.state, failed.value.kind) == (RunState.FAILED, "failed")
    status = await client.status(failed.value.run_id)
    assert status.error is not None
    assert (status.workflow, status.error.message) == ("sold_out", "nothing is left in stock")
    with pytest.raises(RunFailed) as failed:
        await client.run("unwanted")
    assert failed.value.state is RunState.SKIPPED


async def test_a_run_that_takes_too_long_continues_and_is_found_by_its_key(site: Ingress, client: Client) -> None:
    with pytest.raises(NotEnded) as late:
        await client.run("patient", key="patience", timeout_seconds=1.2)
    assert not (await client.status(late.value.run_id)).has_ended
    waiting = asyncio.create_task(client.run("patient", key="patience"))
    await wake(site, client)
    assert await waiting == {"word": {"it": "is time"}}
    assert await site.fetchval("SELECT count(*) FROM penstock.runs WHERE workflow = 'patient'") == 1


async def test_a_run_whose_answer_is_lost_is_found_to_have_ended(site: Ingress, client: Client) -> None:
    waiting = asyncio.create_task(client.run("patient"))  # its end is dispatched by the signal, which asks for nothing
    await wake(site, client)
    assert await waiting == {"word": {"it": "is time"}}


async def test_runs_are_scheduled_once_for_later_and_cancelled(client: Client) -> None:
    soon = await client.schedule("hidden", after=timedelta(milliseconds=90_500), key="order 17")
    again = await client.schedule("hidden", after=timedelta(milliseconds=90_500), key="order 17")
    later = await client.schedule("hidden", at=datetime(2099, 1, 31, 9, tzinfo=UTC))
    assert (soon.state, soon.duplicate, again.duplicate, again.run_id) == ("scheduled", False, True, soon.run_id)
    assert (await client.cancel(later.run_id), await client.cancel(later.run_id)) == (True, False)
    assert (await client.status(later.run_id)).state is RunState.CANCELLED
    with pytest.raises(Refused) as refused:
        await client.schedule("hidden", key="order 17")
    assert refused.value.status == 422


async def test_what_was_scheduled_under_a_key_is_cancelled_by_it(site: Ingress, client: Client) -> None:
    await client.run("plan", {"order": "a"})

    async def is_admitted() -> bool:
        return await site.fetchval("SELECT count(*) FROM penstock.runs WHERE workflow = 'patient'") == 1

    await eventually(is_admitted, within=30)
    assert await client.cancel(workflow="patient", key="order-a") == 1
    assert await client.cancel(workflow="patient", key="order-a") == 0


async def test_what_is_refused_says_the_status_and_why(client: Client) -> None:
    with pytest.raises(Refused, match="word") as refused:
        await client.run("echo", {"number": 1})
    assert refused.value.status == 400
    for call in (client.run("nowhere"), client.status(uuid4()), client.cancel(uuid4())):
        with pytest.raises(Refused) as refused:
            await call
        assert refused.value.status == 404


async def test_a_connection_that_breaks_while_a_run_is_awaited_makes_no_second_run(
    site: Ingress, amqp_url: str
) -> None:
    async with cuttable(amqp_url) as door, Client.amqp(door.url) as client, Client.amqp(amqp_url) as other:
        waiting = asyncio.create_task(client.run("patient"))
        await eventually(lambda: site.count_waiting("patient"))
        door.cut()
        await wake(site, other)
        assert await waiting == {"word": {"it": "is time"}}
    structlog.reset_defaults()
    assert await site.fetchval("SELECT count(*) FROM penstock.runs WHERE workflow = 'patient'") == 1


async def test_nobody_to_answer_is_unavailable_and_names_the_key_to_try_again_with(amqp_url: str) -> None:
    async with Client.amqp(amqp_url) as client:
        with pytest.raises(Unavailable) as absent:
            await client.run("echo", key="mine", timeout_seconds=0.5)
    structlog.reset_defaults()
    assert absent.value.key == "mine"


async def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        await Client.amqp("http://localhost").run("echo")
    structlog.reset_defaults()


async def test_the_client_prints_nothing_into_the_program_that_uses_it(site: Ingress, amqp_url: str) -> None:
    code = (
        "import asyncio, os\nfrom penstock import Client\n"
        "async def main():\n"
        "    async with Client.amqp(os.environ['URL']) as client:\n"
        "        print(await client.run('silent'))\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", code,
        env={**os.environ, "URL": amqp_url}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert out.decode() == "{}\n"
