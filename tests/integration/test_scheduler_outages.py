"""A scheduler outlives its servers: what was published while PostgreSQL was down is admitted, what a wiped broker
forgot is sent again.
"""

from penstock.broker.inprocess import InProcessBroker
from penstock.broker.rabbitmq import connect
from penstock.contracts.topology import SCHEDULER_QUEUE, topology
from penstock.db import Database, open_database
from penstock.db.migrations import migrate
from tests.eventually import eventually
from tests.integration.scheduling import Station
from tests.private_servers import PrivatePostgres, PrivateRabbitMQ


async def test_messages_wait_while_postgresql_is_down_and_none_is_lost(private_postgres: PrivatePostgres) -> None:
    database = await open_database(private_postgres.url, name="outage", most=6)
    await migrate(database)
    broker = InProcessBroker(topology())
    station = Station(database, broker)
    await station.open()
    async with station.scheduler():
        first = await station.ask()
        await private_postgres.kill()
        sent = [await station.publish(message_id=f"{number}") for number in range(50)]
        await private_postgres.start()
        for correlation_id in sent:
            await station.answer_to(correlation_id)
        assert await broker.count_ready(SCHEDULER_QUEUE) == 0
    assert len(await station.runs()) == 51
    assert first["duplicate"] is False
    assert station.dead.messages == []
    await broker.close()
    await database.close()


async def test_runs_that_a_wiped_broker_forgot_are_dispatched_again(
    database: Database, private_rabbitmq: PrivateRabbitMQ
) -> None:
    broker = await connect(private_rabbitmq.url, topology=topology(), name="outage")
    station = Station(database, broker)
    await station.open(consumes_executions=False)
    async with station.scheduler():
        asked = [await station.ask() for _ in range(5)]
        await private_rabbitmq.wipe()
        await eventually(lambda: broker.is_connected, within=60)
        await broker.consume("penstock.executor", station.executor, prefetch=10)
        await eventually(lambda: len(set(station.executor.run_ids())) == len(asked), within=40)
    assert {str(run_id) for run_id in station.executor.run_ids()} == {answer["run_id"] for answer in asked}
    await broker.close()
