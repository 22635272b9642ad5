"""What a keyed limit costs: the same list with `concurrency` per key and without, by processor time."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from statistics import mean
from typing import Final

from tests.acceptance.installation import Installation
from tests.bench.peers.metering import Meter, processor_time
from tests.eventually import eventually

PAIR: Final = ("insert", "insert_keyed")


async def perform_list(
    installation: Installation, workflow: str, items: int, has_finished: Callable[[Installation, int], Awaitable[bool]]
) -> float:
    """Microseconds of processor time that an item of a list of that workflow takes of all services, PostgreSQL and
    RabbitMQ, from being asked for.
    """
    services = await installation.start_all()
    before = sum(processor_time(service.process.pid) for service in services)
    async with Meter(installation.database_url) as meter:
        body = {"workflow": workflow, "items": [{"job": number, "payload": "x" * 256} for number in range(items)]}
        status, answer = await installation.manage(services[0], "POST", "live/lists", body)
        assert status < 300, answer
        await eventually(partial(has_finished, installation, items), within=600, every=0.2)
        used = sum(processor_time(service.process.pid) for service in services) - before
    figures = meter.figures(items, 0, used)
    return figures.worker_us + figures.postgres_us + figures.rabbitmq_us


def compare_lists(items: int, took: Sequence[float]) -> Mapping[str, object]:
    """The figures of lists that took turns, those without a limit first; the ratio of what they cost."""
    free, keyed = took[::2], took[1::2]
    shown = {name: [round(one, 1) for one in each] for name, each in zip(PAIR, (free, keyed), strict=True)}
    return {"items": items, "us_per_item": shown, "ratio": round(mean(free) / mean(keyed), 3)}
