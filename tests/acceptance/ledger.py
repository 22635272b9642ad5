"""What an independent listener saw, and whether the invariants hold that no fault may break."""

from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import aio_pika
import orjson

from tests.acceptance.installation import Installation


class Starts:
    """Every `run.started` event: which attempt of which run an executor began."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[str, int]] = Counter()

    def begun_twice(self) -> list[tuple[str, int]]:
        """Attempts that more than one executor began; attempts are numbered by exclusive claims, so there must be
        none.
        """
        return [attempt for attempt, times in self.seen.items() if times > 1]


@asynccontextmanager
async def listening(amqp_url: str) -> AsyncIterator[Starts]:
    """Collect `run.started` events while the block runs."""
    starts = Starts()
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind("penstock.events", "*.run.started")

        async def note(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            body = orjson.loads(message.body)
            for event in body["events"] if message.type == "run.events.v1" else [body]:
                starts.seen[event["id"], event["attempt"]] += 1

        await queue.consume(note, no_ack=True)
        yield starts


async def assert_each_ran_once(installation: Installation, run_ids: Collection[str], *, things_each: int) -> None:
    """Every accepted request is exactly one finished run, and what it made exists exactly once."""
    assert len(set(run_ids)) == len(run_ids)
    states = await installation.fetchval(
        """
        SELECT jsonb_object_agg(state, n) FROM (SELECT state, count(*) AS n FROM penstock.runs GROUP
               BY state) AS counted
        """
    )
    assert states == {"succeeded": len(run_ids)}
    missing = await installation.fetchval(
        "SELECT count(*) FROM unnest($1::uuid[]) AS q (id) WHERE NOT EXISTS (SELECT FROM penstock.runs r WHERE r.id = "
        "q.id)",
        list(run_ids),
    )
    assert missing == 0
    uneven = await installation.fetchval(
        """
        SELECT count(*) FROM (
            SELECT name FROM live.thing GROUP BY name HAVING count(*) <> $1 OR count(DISTINCT position) <> $1
        ) AS uneven
        """,
        things_each,
    )
    assert uneven == 0
    assert await installation.count_things() == things_each * len(run_ids)
