"""Steps on many things: how long each takes, and how much memory the executor takes meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from typing import Self

from pydantic import JsonValue

from penstock.broker.publisher import Publisher
from penstock.broker.rabbitmq import connect
from penstock.contracts.topology import topology
from penstock.domain.ids import new_run_id
from penstock.domain.runs import Admitted
from penstock.domain.states import Trigger
from penstock.runs.admission import admit
from penstock.runs.requests import CheckedRun, RunRequest
from penstock.things.files import Files, store_file
from tests.acceptance.installation import Installation, Service
from tests.bench.machine import memory_of_tree
from tests.eventually import eventually


class MemoryPeak:
    """The growth of a process's memory over an `async with` block, at most: `growth`, in MB."""

    def __init__(self, service: Service) -> None:
        self._pid = service.process.pid
        self.growth = 0.0

    async def __aenter__(self) -> Self:
        self._before = memory_of_tree(self._pid)
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            self.growth = max(self.growth, memory_of_tree(self._pid) - self._before)
            await asyncio.sleep(0.1)


async def measure_steps(
    installation: Installation, executor: Service, rows: int, *, padding: int = 0
) -> dict[str, object]:
    """Seconds of each step over this many orders, and by how many MB the executor grew. `padding` is how many
    characters each order has besides.
    """
    value = await store_file(
        Files(installation.database),
        environment="live",
        name="many.csv",
        content_type="text/csv",
        run_id=None,
        content=_content(rows, "x" * padding),
    )
    figures: dict[str, object] = {"rows": rows, "megabytes": round(value.size / 1e6, 1)}
    async with MemoryPeak(executor) as peak:
        figures["import_seconds"] = await perform(installation, "bulk_import", {"file": value.to_json()})
        for name in ("update", "export", "delete"):
            figures[f"{name}_seconds"] = await perform(installation, f"bulk_{name}", {})
    return {**figures, "memory_growth_mb": round(peak.growth, 1)}


async def _content(rows: int, padding: str) -> AsyncIterator[bytes]:
    yield b"number,customer,total,placed,paid\n"
    for first in range(0, rows, 1000):
        lines = [
            f"N-{n},customer {n} of many{padding},1{n}.50,2026-01-01T00:00:00.000Z,no\n"
            for n in range(first, min(first + 1000, rows))
        ]
        yield "".join(lines).encode()


async def perform(installation: Installation, workflow: str, parameters: dict[str, JsonValue]) -> float:
    """Seconds from the claim of a run to its end; it has to succeed."""
    run_id = new_run_id()
    version = await installation.fetchval("SELECT deployment_version FROM penstock.environments WHERE name = 'live'")
    assert isinstance(version, int)
    request = RunRequest(run_id, "live", workflow, parameters, Trigger.API)
    (outcome,) = await installation.database.in_transaction(lambda conn: admit(conn, [CheckedRun(request, version)]))
    assert isinstance(outcome, Admitted)
    broker = await connect(installation.amqp_url, topology=topology(), name="bench")
    try:
        await Publisher(broker).dispatch([outcome.run])
        ended = "SELECT finished_at IS NOT NULL FROM penstock.runs WHERE id = $1"
        await eventually(lambda: installation.fetchval(ended, run_id), within=300, every=0.1)
    finally:
        await broker.close()
    state = await installation.fetchval("SELECT state FROM penstock.runs WHERE id = $1", run_id)
    assert state == "succeeded", await installation.fetchval("SELECT error FROM penstock.runs WHERE id = $1", run_id)
    took = "SELECT extract(epoch FROM finished_at - started_at)::float8 FROM penstock.runs WHERE id = $1"
    seconds = await installation.fetchval(took, run_id)
    assert isinstance(seconds, float)
    return round(seconds, 2)
