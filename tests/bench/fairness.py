"""What others wait while a chain doubles and a long list is performed: calls, and runs of the same lane."""

import asyncio
from collections.abc import Mapping
from statistics import median, quantiles

from tests.acceptance.installation import Installation, Service
from tests.bench.machine import Cpu

_PAUSE_SECONDS = 0.1


async def measure_waiting(installation: Installation, *, items: int, calls: int) -> Mapping[str, object]:
    """Milliseconds until a call is answered, and until a list of one item begins, each tried `calls` times."""
    ingress, _, _ = await installation.start_all()
    chain_id = await _ask(installation, ingress, "runs", {"workflow": "doubling"}, "chain_id")
    parameters = [{"job": number, "payload": "x"} for number in range(items)]
    for first in range(0, items, 50_000):
        body = {"workflow": "insert", "items": parameters[first : first + 50_000]}
        await _ask(installation, ingress, "lists", body, "id")
    answered: list[float] = []
    ended = "SELECT count(*)::int FROM penstock.runs WHERE finished_at IS NOT NULL"
    before = await installation.fetchval(ended)
    with Cpu() as cpu:
        for _ in range(calls):
            began = asyncio.get_running_loop().time()
            status, answer = await installation.call(ingress, "answer", {})
            assert status == 200, answer
            answered.append((asyncio.get_running_loop().time() - began) * 1000)
            await _ask(installation, ingress, "lists", {"workflow": "answer", "items": [{}]}, "id")
            await asyncio.sleep(_PAUSE_SECONDS)
    after = await installation.fetchval(ended)
    assert isinstance(before, int)
    assert isinstance(after, int)
    begun = await _list_waits(installation)
    backlog = await installation.fetchval("SELECT count(*) FROM penstock.runs WHERE started_at IS NULL")
    await installation.manage(ingress, "POST", f"live/chains/{chain_id}/stop", {"reason": "measured"})
    return {
        "calls": calls, "call_p50_ms": round(median(answered), 1), "call_p99_ms": round(_p99(answered), 1),
        "bulk_p50_ms": round(median(begun), 1), "bulk_p99_ms": round(_p99(begun), 1), "bulk_begun": len(begun),
        "runs_per_second": round((after - before) / cpu.seconds), "backlog": backlog, "cpu": cpu.shares,
    }  # fmt: skip


async def _ask(installation: Installation, ingress: Service, path: str, body: object, key: str) -> object:
    status, answer = await installation.manage(ingress, "POST", f"live/{path}", body)
    assert status in {200, 201, 202}, answer
    assert isinstance(answer, dict)
    return answer[key]


async def _list_waits(installation: Installation) -> list[float]:
    async with installation.database.connection() as conn:
        rows = await conn.fetch(
            """
            SELECT extract(epoch FROM started_at - created_at)::float8 * 1000 AS ms FROM penstock.runs
            WHERE workflow = 'answer' AND list_id IS NOT NULL AND started_at IS NOT NULL
            """
        )
    return [row["ms"] for row in rows]


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100)[98]
