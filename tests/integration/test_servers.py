"""The servers of the tests themselves: kept apart, and really ours to harm."""

from dataclasses import replace

import aio_pika
import asyncpg
import pytest

from penstock.contracts.topology import SCHEDULER_QUEUE
from penstock.testing.databases import fresh_database
from tests.eventually import eventually
from tests.private_servers import PrivatePostgres, PrivateRabbitMQ
from tests.servers import Servers, fresh_vhost


async def test_two_tests_never_share_a_database(servers: Servers, database_template: str) -> None:
    async with fresh_database(servers.database_url, template=database_template) as one:
        async with fresh_database(servers.database_url, template=database_template) as other:
            connection = await asyncpg.connect(one)
            await connection.execute("CREATE TABLE public.mine ()")
            await connection.close()
            connection = await asyncpg.connect(other)
            assert await connection.fetchval("SELECT to_regclass('public.mine')") is None
            assert await connection.fetchval("SELECT to_regclass('penstock.runs')") is not None, (
                "copied from the migrated template"
            )
            await connection.close()
        with pytest.raises(asyncpg.InvalidCatalogNameError):
            await asyncpg.connect(other)


async def test_two_tests_never_share_a_queue(servers: Servers) -> None:
    async with fresh_vhost(servers) as one, fresh_vhost(servers) as other:
        async with await aio_pika.connect(one) as connection, connection.channel() as channel:
            await channel.declare_queue("mine", durable=True)
        async with await aio_pika.connect(other) as connection:
            channel = await connection.channel()
            with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
                await channel.declare_queue("mine", passive=True)


async def test_without_a_management_api_a_test_still_gets_an_empty_host(servers: Servers) -> None:
    async with fresh_vhost(servers) as vhost_url:
        async with await aio_pika.connect(vhost_url) as connection, connection.channel() as channel:
            await channel.declare_queue(SCHEDULER_QUEUE, durable=True)
        async with (
            fresh_vhost(replace(servers, amqp_url=vhost_url, management_url=None)) as url,
            await aio_pika.connect(url) as connection,
        ):
            channel = await connection.channel()
            with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
                await channel.declare_queue(SCHEDULER_QUEUE, passive=True)


async def test_a_private_rabbitmq_keeps_messages_through_a_kill_and_forgets_them_when_wiped(
    private_rabbitmq: PrivateRabbitMQ,
) -> None:
    async with await aio_pika.connect(private_rabbitmq.url) as connection, connection.channel() as channel:
        await channel.declare_queue("kept", durable=True)
    # The broker confirms a message when it is on disk, but a new queue may be in its buffers for seconds.
    await private_rabbitmq.restart()
    async with await aio_pika.connect(private_rabbitmq.url) as connection, connection.channel() as channel:
        queue = await channel.declare_queue("kept", durable=True)
        message = aio_pika.Message(b"still here", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, queue.name)

    await private_rabbitmq.kill()
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await aio_pika.connect(private_rabbitmq.url)
    await private_rabbitmq.start()
    async with await aio_pika.connect(private_rabbitmq.url) as connection, connection.channel() as channel:
        # A queue is there before its messages have been read again.
        async def count() -> int:
            return (await channel.declare_queue("kept", durable=True)).declaration_result.message_count or 0

        assert await eventually(count) == 1

    await private_rabbitmq.wipe()
    async with await aio_pika.connect(private_rabbitmq.url) as connection, connection.channel() as channel:
        queue = await channel.declare_queue("kept", durable=True)
        assert queue.declaration_result.message_count == 0


async def test_a_private_postgres_keeps_what_was_committed_through_a_kill(private_postgres: PrivatePostgres) -> None:
    connection = await asyncpg.connect(private_postgres.url)
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    await private_postgres.kill()
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await connection.fetchval("SELECT answer FROM kept")
    connection.terminate()
    await private_postgres.start()
    connection = await asyncpg.connect(private_postgres.url)
    assert await connection.fetchval("SELECT answer FROM kept") == 42
    await connection.close()
