"""Passwords and tokens of users in the real services: what is sent at every entrance is found in no row, event, message
or log.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import aio_pika
import aiohttp
import orjson

from penstock.encryption import make_key
from tests.acceptance.console import clean_environment, penstock
from tests.acceptance.installation import Installation, Service
from tests.eventually import eventually
from tests.integration.accounts.apps import write_app
from tests.integration.test_secrets import dump

PASSWORD = "correct-horse-battery"
WRONG = "wrong-horse-battery"
_IS_QUIET = "SELECT NOT EXISTS (SELECT FROM penstock.runs WHERE finished_at IS NULL AND scheduled_at < now())"
ADA = {"email": "ada@example.com", "password": PASSWORD}


async def test_passwords_and_tokens_are_found_nowhere(installation: Installation) -> None:
    await installation.prepare(write_app(installation.directory / "app"))
    key = make_key()
    installation.settings = {"PENSTOCK_SECRET_KEY": key, "PENSTOCK_LOG_LEVEL": "debug"}
    services = await installation.start_all()
    async with _listening(installation.amqp_url) as heard:
        tokens = await _enter_everywhere(installation, services[0], key)
        await eventually(lambda: installation.fetchval(_IS_QUIET))
    shown = [await dump(installation.database), str(heard)]
    for path in ("live/runs", "live/logs", "live/audit", "live/schedule", "development/detected"):
        status, seen = await installation.manage(services[0], "GET", path)
        assert status == 200, seen
        shown.append(str(seen))
    shown += [service.log.read_text() for service in services]
    assert "sealed." in shown[0]
    assert len(heard) > 5
    for secret in (PASSWORD, WRONG, *tokens):
        assert [text for text in shown if secret in text] == []


async def _enter_everywhere(installation: Installation, ingress: Service, key: str) -> list[str]:
    """Send passwords, right and wrong ones, to every entrance; the tokens that came of it."""
    status, body = await installation.call(ingress, "sign_up", ADA)
    assert status == 200, body
    tokens = [_token(body), *await _call_in_every_way(ingress)]
    statuses = [
        (await installation.call(ingress, "log_in", {**ADA, "password": WRONG}))[0],
        (await installation.call(ingress, "sign_up", {**ADA, "password": WRONG}))[0],
        (await installation.manage(ingress, "POST", "live/runs", {"workflow": "log_in", "parameters": ADA}))[0],
    ]
    assert statuses == [401, 400, 201]
    await _use_the_command_line(installation, key)
    status, _ = await installation.manage(
        ingress, "POST", "live/recurrences", {"workflow": "log_in", "cron": "0 3 * * *", "parameters": ADA}
    )
    assert status == 422
    await _publish(installation)
    await _initialize(ingress)
    return tokens


async def _call_in_every_way(ingress: Service) -> list[str]:
    """Log in by JSON, a form, a multipart form, and the query, and once more with a key; the tokens."""
    url, query = f"{ingress.url}/api/1.1/wf/log_in", {**ADA}
    multipart = aiohttp.FormData()
    for name, value in ADA.items():
        multipart.add_field(name, value, content_type="text/plain")
    key = {"Idempotency-Key": "a-key"}
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", url, {"json": ADA, "headers": key}),
        ("POST", url, {"json": ADA, "headers": key}),
        ("POST", url, {"data": ADA}),
        ("POST", url, {"data": multipart}),
        ("POST", url, {"params": query}),
        ("GET", f"{url}_get", {"params": query}),
    ]
    bodies = []
    async with aiohttp.ClientSession() as http:
        for method, target, given in requests:
            async with http.request(method, target, **given) as response:
                assert response.status == 200, await response.text()
                bodies.append(await response.json())
    tokens = [_token(body) for body in bodies]
    assert tokens[0] == tokens[1]
    return tokens[1:]


def _token(body: object) -> str:
    response = cast("dict[str, dict[str, str]]", body)["response"]
    assert response["token"].startswith("pst_"), response
    return response["token"]


async def _use_the_command_line(installation: Installation, key: str) -> None:
    environment = clean_environment(
        PENSTOCK_DATABASE_URL=installation.database_url,
        PENSTOCK_AMQP_URL=installation.amqp_url,
        PENSTOCK_SECRET_KEY=key,
    )
    given = ("-p", "email=ada@example.com", "-p", f"password={PASSWORD}", "-e", "live")
    run = await penstock("run", "log_in", *given, "--wait", environment=environment)
    assert (run.code, "pst_" in run.out) == (0, False), run.err
    assert (await penstock("schedule", "log_in", *given, "--after", "1h", environment=environment)).code == 0
    del environment["PENSTOCK_SECRET_KEY"]
    refused = await penstock("run", "log_in", *given, environment=environment)
    assert (refused.code, "where PENSTOCK_SECRET_KEY is set" in refused.err) == (1, True)
    listed = await penstock("runs", "list", "-e", "live", "--json", environment=environment)
    assert "sealed." in listed.out


@asynccontextmanager
async def _listening(amqp_url: str) -> AsyncIterator[list[str]]:
    """All events while the block lasts, as they come."""
    heard: list[str] = []

    async def note(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        heard.append(f"{message.routing_key} {message.headers} {message.body.decode()}")

    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind("penstock.events", "#")
        await queue.consume(note, no_ack=True)
        yield heard


async def _publish(installation: Installation) -> None:
    """Ask for a run by a message; it is refused, and its body is not kept."""
    connection = await aio_pika.connect(installation.amqp_url)
    async with connection:
        channel = await connection.channel()
        replies = await channel.declare_queue(exclusive=True)
        exchange = await channel.get_exchange("penstock.schedule", ensure=False)
        body = orjson.dumps({"workflow": "log_in", "environment": "live", "parameters": ADA})
        await exchange.publish(
            aio_pika.Message(body, message_id="1", reply_to=replies.name, correlation_id="1"), "live.log_in"
        )
        async with replies.iterator(no_ack=True) as messages:
            answer = await anext(aiter(messages))
        assert orjson.loads(answer.body)["code"] == "unsealed_password"
    assert await installation.fetchval("SELECT count(*) FROM penstock.dead_letters WHERE kind = 'message'") == 0


async def _initialize(ingress: Service) -> None:
    url = f"{ingress.url}/version-test/api/1.1/wf/log_in/initialize"
    async with aiohttp.ClientSession() as http, http.post(url, json=ADA) as response:
        assert response.status == 200, await response.text()
