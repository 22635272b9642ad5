"""Clients that send as slowly as they can: they wait, and nobody else does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from penstock.http_server.readers import MAX_READERS_PER_ADDRESS
from tests.eventually import eventually
from tests.integration.ingress import SECRETS, Ingress, running_ingress, sign_stripe, write_app

SLOW = 2100
GREET = "/api/1.1/wf/greet"
ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
async def ingress(
    database_url: str, amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Ingress]:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as running:
        yield running


async def begin(ingress: Ingress, path: str, stack: AsyncExitStack) -> asyncio.StreamReader:
    """A request of which one byte of the body is sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", ingress.settings.port)
    stack.callback(writer.close)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    writer.write(head.encode())
    await writer.drain()
    writer.write(b"{")
    return reader


async def answer_promptly(ingress: Ingress, number: int) -> None:
    """A webhook, a call whose body comes with its head, and one whose body follows, all answered well before a slow
    one is given up.
    """

    async def body() -> AsyncIterator[bytes]:
        yield b'{"name": '
        yield b'"Ada"}'

    event, signed = sign_stripe({"id": f"evt_{number}", "type": "invoice.paid"})
    json = {"Content-Type": "application/json"}
    async with asyncio.timeout(3):
        answers = await asyncio.gather(
            ingress.send("POST", "/webhooks/stripe", data=event, headers=signed),
            ingress.send("POST", GREET, json={"name": "Ada"}, headers=ASYNC),
            ingress.send("POST", GREET, data=body(), headers={**ASYNC, **json}),
        )
    assert [answer.status for answer in answers] == [200, 202, 202]


async def test_2100_clients_that_send_one_byte_of_a_body_let_everybody_else_through(ingress: Ingress) -> None:
    await answer_promptly(ingress, 0)
    async with AsyncExitStack() as stack:
        readers = []
        for first in range(0, SLOW, 100):
            paths = ["/webhooks/stripe" if number % 2 else GREET for number in range(100)]
            readers += await asyncio.gather(*(begin(ingress, path, stack) for path in paths))
            if first % 500 == 0:
                await answer_promptly(ingress, first + 1)
        for number in range(3):
            await answer_promptly(ingress, SLOW + number)
        # All but as many as one address may have are given up, the oldest first.
        heads = await asyncio.gather(*(reader.readline() for reader in readers[: SLOW - MAX_READERS_PER_ADDRESS]))
        assert {head[:13] for head in heads} == {b"HTTP/1.1 408 "}


async def test_half_a_head_holds_nothing_but_its_own_connection(ingress: Ingress) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(300):
            _, writer = await asyncio.open_connection("127.0.0.1", ingress.settings.port)
            stack.callback(writer.close)
            writer.write(b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nX-")
        await eventually(lambda: answer_promptly(ingress, 1))
