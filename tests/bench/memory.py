"""What processes take: the memory of each service, idle and at its highest under load, and of `penstock up`; and how
long each takes to start, and `penstock --help` to answer.

The load: signed webhooks over 64 connections, a list of 20,000 items, and as many runs at once as an executor performs,
each with a call that takes a second and answers with 10 kB.
"""

import asyncio
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from aiohttp import web

from tests.acceptance.installation import Installation, Service
from tests.acceptance.load import Load, names
from tests.bench.embedded import PROGRAM
from tests.bench.watching import has_finished, send_load, start_run
from tests.eventually import eventually
from tests.integration.executing import serve_outside

if TYPE_CHECKING:
    from tests.bench.measures import Bench

_IDLE_SECONDS: Final = 5.0
_LOAD_SECONDS: Final = 10.0
_ITEMS: Final = 20_000
_CALLS: Final = 1_200
_TRIES: Final = 5
_FIELD: Final = r"{}:\s+(\d+) kB"


@dataclass(frozen=True, slots=True)
class Footprint:
    """Resident memory of one process in MiB: after its start, and at its highest."""

    idle: int
    peak: int


async def measure_memory(bench: "Bench") -> Mapping[str, object]:
    """Resident memory of each service in MiB, and of all processes of `penstock up`, with what they share counted once;
    seconds until each is ready; and of `penstock --help`, after a first time.
    """
    services = await measure_services(bench, max(bench.share, 0.05))
    return {
        "services_mib": {kind: asdict(one) for kind, one in services.items()},
        "up": await bench.embedded.measure_memory(bench.amount(_ITEMS), _LOAD_SECONDS * bench.share + 1),
        "ready_after_seconds": await _measure_starts(bench),
        "help_seconds": await _measure_help(),
    }


async def measure_services(bench: "Bench", share: float = 1.0) -> Mapping[str, Footprint]:
    """One process of each service, idle and then under that share of the load."""
    async with bench.installation() as installation, serve_outside(_answer) as url:
        installation.settings = {**installation.settings, "PENSTOCK_OUTGOING_ALLOW": "127.0.0.0/8"}
        services = await installation.start_all()
        await asyncio.sleep(_IDLE_SECONDS)
        idle = _read(services, "VmRSS")
        await _work(installation, services[0], url, share)
        peak = _read(services, "VmHWM")
    return {kind: Footprint(idle[kind], peak[kind]) for kind in idle}


async def _work(installation: Installation, ingress: Service, url: str, share: float) -> None:
    seconds, items, calls = _LOAD_SECONDS * share, round(_ITEMS * share), round(_CALLS * share)
    figures = await send_load(f"{ingress.url}/webhooks/stripe", seconds, "stripe")
    accepted = round(figures["per_second"] * seconds)
    await start_run(installation, ingress, "insert_many", {"items": list(range(items))})
    load = Load(installation.http, lambda: [ingress.url], "call_outside", {"url": url})
    await load.run(names(calls), width=64, within=900)
    await eventually(lambda: has_finished(installation, calls + items + accepted // 2), within=900, every=0.5)


def _read(services: Sequence[Service], field: str) -> dict[str, int]:
    """MiB of each service, from a field of /proc/PID/status."""
    found = {}
    for service in services:
        match = re.search(_FIELD.format(field), Path(f"/proc/{service.process.pid}/status").read_text())
        assert match is not None, field
        found[service.kind] = round(int(match[1]) / 1024)
    return found


async def _measure_starts(bench: "Bench") -> dict[str, float]:
    """Seconds from the start of each service to its first answer that it is ready, one after the other."""
    async with bench.installation() as installation:
        ready: dict[str, list[float]] = {}
        for kind in ("ingress", "scheduler", "executor") * 3:
            began = time.perf_counter()
            service = await installation.start(kind)
            ready.setdefault(kind, []).append(time.perf_counter() - began)
            await service.stop()
        return {kind: round(median(seconds), 2) for kind, seconds in ready.items()}


async def _measure_help() -> dict[str, float]:
    """Seconds that pass, and of processor time, until `penstock --help` has answered."""
    passed, used = list[float](), list[float]()
    for _ in range(1 + _TRIES):
        began, before = time.perf_counter(), os.times()
        process = await asyncio.create_subprocess_exec(PROGRAM, "--help", stdout=asyncio.subprocess.DEVNULL)
        assert await process.wait() == 0
        after = os.times()
        passed.append(time.perf_counter() - began)
        used.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return {"passed": round(median(passed[1:]), 2), "processor": round(median(used[1:]), 2)}


async def _answer(_: web.Request) -> web.Response:
    await asyncio.sleep(1)
    return web.json_response({"text": "x" * 10_000})
