"""What a step from one item of a sequential list to the next takes, beside a hop of a chain."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from tests.acceptance.installation import Installation, Service
from tests.bench.peers.metering import Meter, processor_time
from tests.eventually import eventually

if TYPE_CHECKING:
    from tests.bench.measures import Bench

_BLOCKED = 1000
_ENDED = "SELECT count(*) FROM penstock.runs WHERE workflow = $1 AND finished_at IS NOT NULL"
_RATE = """
    SELECT extract(epoch FROM max(finished_at) - min(started_at))::float8 FROM penstock.runs
    WHERE workflow = $1 AND finished_at IS NOT NULL
    """


async def measure_stepping(bench: "Bench") -> Mapping[str, object]:
    """Milliseconds, and processor time, of a hop and of a step; and of a step while a thousand such lists wait."""
    steps = bench.amount(500)
    async with bench.installation() as installation:
        services = await installation.start_all()
        hop = await _measure(installation, services, "hop", steps, partial(_begin_chain, steps))
        step = await _measure(installation, services, "answer", steps, partial(_begin_list, "answer", steps))
        held = bench.amount(_BLOCKED)
        blocked = {"workflow": "held", "items": [{}, {}], "sequential": True}
        for _ in range(held):
            await _ask(installation, services[0], "lists", blocked)
        await eventually(partial(_are_held, installation, held), within=60, every=0.2)
        beside = await _measure(installation, services, "hooked", steps, partial(_begin_list, "hooked", steps))
        return {
            "steps": steps, "hop": hop, "step": step, "step_beside_blocked": beside,
            "step_to_hop": round(step["us"] / hop["us"], 2),
        }  # fmt: skip


async def _begin_chain(steps: int, installation: Installation, ingress: Service) -> None:
    await _ask(installation, ingress, "runs", {"workflow": "hop", "parameters": {"remaining": steps - 1}})


async def _begin_list(workflow: str, steps: int, installation: Installation, ingress: Service) -> None:
    await _ask(installation, ingress, "lists", {"workflow": workflow, "items": [{}] * steps, "sequential": True})


async def _measure(
    installation: Installation, services: Sequence[Service], workflow: str, steps: int,
    begin: Callable[[Installation, Service], Awaitable[None]],
) -> dict[str, float]:  # fmt: skip
    before = sum(processor_time(service.process.pid) for service in services)
    async with Meter(installation.database_url) as meter:
        await begin(installation, services[0])
        await eventually(partial(_have_ended, installation, workflow, steps), within=120, every=0.05)
        used = sum(processor_time(service.process.pid) for service in services) - before
    seconds = await installation.fetchval(_RATE, workflow)
    assert isinstance(seconds, float)
    figures = meter.figures(steps, 0, used)
    return {
        "ms": round(seconds * 1000 / steps, 2), "us": figures.worker_us + figures.postgres_us + figures.rabbitmq_us,
        "services_us": figures.worker_us, "postgres_us": figures.postgres_us, "commits": figures.commits,
    }  # fmt: skip


async def _have_ended(installation: Installation, workflow: str, runs: int) -> bool:
    return await installation.fetchval(_ENDED, workflow) == runs


async def _are_held(installation: Installation, held: int) -> bool:
    return await installation.fetchval("SELECT count(*) FROM penstock.runs WHERE state = 'waiting'") == held


async def _ask(installation: Installation, ingress: Service, path: str, body: object) -> None:
    status, answer = await installation.manage(ingress, "POST", f"live/{path}", body)
    assert status in {200, 201, 202}, answer
