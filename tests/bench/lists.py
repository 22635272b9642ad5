"""A list of 1,000 items and one of 100,000: how long until all of its runs are stored, and until all have ended."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tests.acceptance.installation import Installation, Service
from tests.bench.draining import drain, wait_for_things
from tests.bench.machine import Cpu
from tests.bench.peers.metering import Meter, processor_time
from tests.eventually import eventually

if TYPE_CHECKING:
    from tests.bench.measures import Bench

_TIMES: Final = """
    SELECT extract(epoch FROM max(created_at) - $1)::float8 AS queued, extract(epoch FROM min(started_at) - $1)::float8
           AS first, extract(epoch FROM max(finished_at) - $1)::float8 AS done
    FROM penstock.runs WHERE list_id = $2::text::uuid
    """


async def measure_list(bench: "Bench") -> Mapping[str, object]:
    """Seconds until a list of 1,000 and of 100,000 is stored as runs, and until it is done, from the request on; and
    the share of the rate at which one executor drains as many runs.
    """
    few, many = bench.amount(1_000), bench.amount(100_000)
    async with bench.installation() as installation:
        services = await installation.start_all()
        await perform(installation, services, few)  # statements are prepared, and caches filled
        small = await perform(installation, services, few)
    async with bench.installation() as installation:
        large = await perform(installation, await installation.start_all(), many)
    async with bench.installation() as installation:
        drained = await drain(installation, many)
    return {
        "of_1000": small, "of_100000": large, "drained_per_second": round(drained.per_second),
        "ratio": round(many / large["done_seconds"] / drained.per_second, 3),
    }  # fmt: skip


async def perform(installation: Installation, services: tuple[Service, ...], items: int) -> dict[str, Any]:
    """Ask for a list of `insert`, and wait until it is done: seconds from the request on, and what an item costs."""
    before = await installation.count_things()
    used = {one.kind: processor_time(one.process.pid) for one in services}
    body = {"workflow": "insert", "items": [{"job": number, "payload": "x" * 256} for number in range(items)]}
    asked, began = datetime.now(UTC), time.perf_counter()
    with Cpu() as cpu:
        async with Meter(installation.database_url) as meter:
            status, answer = await installation.manage(services[0], "POST", "live/lists", body)
            answered = time.perf_counter() - began
            assert status < 300, answer
            assert isinstance(answer, dict)
            await wait_for_things(installation, before + items, every=0.25)
            used = {one.kind: processor_time(one.process.pid) - used[one.kind] for one in services}
    ended = "SELECT count(*) FROM penstock.lists WHERE state <> 'finished'"
    await eventually(partial(_is_none, installation, ended), within=60, every=0.1)
    async with installation.database.connection() as conn:
        row = await conn.fetchrow(_TIMES, asked, answer["id"])
    assert row is not None, "an aggregate has one row"
    costs = meter.figures(items, 0, 0)
    return {
        "items": items, "answered_seconds": round(answered, 2), "queued_seconds": round(row["queued"], 2),
        "first_started_seconds": round(row["first"], 2), "done_seconds": round(row["done"], 2),
        "items_per_second": round(items / row["done"]),
        "us_per_item": {kind: round(seconds / items * 1e6, 1) for kind, seconds in used.items()},
        "postgres_us": costs.postgres_us, "rabbitmq_us": costs.rabbitmq_us, "wal_bytes": costs.wal_bytes,
        "commits": costs.commits, "cpu": cpu.shares,
    }  # fmt: skip


async def _is_none(installation: Installation, query: str) -> bool:
    return await installation.fetchval(query) == 0
