"""`python -m tests.bench.footprint`: measures the memory of each service, idle and at its peak under load, and keeps
it.

The requests and limits of deploy/ are set by it, as docs/scaling.md says. The load: signed webhooks over 64
connections, a list of 20,000 items, and as many runs at once as an executor performs, each with a call that takes a
second and answers with 10 kB.
"""

import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from aiohttp import web
from pydantic import TypeAdapter

from tests.acceptance.installation import Installation, Service
from tests.acceptance.load import Load, names
from tests.bench.embedded import Embedded
from tests.bench.measures import Bench, has_finished, send_load, start_run
from tests.eventually import eventually
from tests.integration.executing import serve_outside
from tests.servers import Servers, running_postgres, running_rabbitmq

KEPT: Final = Path(__file__).with_name("footprint.json")
_IDLE_SECONDS: Final = 5.0
_LOAD_SECONDS: Final = 10.0
_ITEMS: Final = 20_000
_CALLS: Final = 1_200


@dataclass(frozen=True, slots=True)
class Footprint:
    """Resident memory of one process in MiB: after its start, and at its highest."""

    idle: int
    peak: int


def load_footprints(path: Path = KEPT) -> Mapping[str, Footprint]:
    """What was kept, by service."""
    return TypeAdapter(dict[str, Footprint]).validate_json(path.read_bytes())


async def measure(bench: Bench) -> Mapping[str, Footprint]:
    """One process of each service, idle and then under load."""
    async with bench.installation() as installation, serve_outside(_answer) as url:
        installation.settings = {**installation.settings, "PENSTOCK_OUTGOING_ALLOW": "127.0.0.0/8"}
        services = await installation.start_all()
        await asyncio.sleep(_IDLE_SECONDS)
        idle = _read(services, "VmRSS")
        await _work(installation, services[0], url)
        peak = _read(services, "VmHWM")
    return {kind: Footprint(idle[kind], peak[kind]) for kind in idle}


async def _work(installation: Installation, ingress: Service, url: str) -> None:
    figures = await send_load(f"{ingress.url}/webhooks/stripe", _LOAD_SECONDS, "stripe")
    accepted = round(figures["per_second"] * _LOAD_SECONDS)
    await start_run(installation, ingress, "insert_many", {"items": list(range(_ITEMS))})
    load = Load(installation.http, lambda: [ingress.url], "call_outside", {"url": url})
    await load.run(names(_CALLS), width=64, within=900)
    await eventually(lambda: has_finished(installation, _CALLS + _ITEMS + accepted // 2), within=900, every=0.5)


def _read(services: Sequence[Service], field: str) -> dict[str, int]:
    """MiB of each service, from a field of /proc/PID/status."""
    found = {}
    for service in services:
        match = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{service.process.pid}/status").read_text())
        assert match is not None, field
        found[service.kind] = round(int(match[1]) / 1024)
    return found


async def _answer(_: web.Request) -> web.Response:
    await asyncio.sleep(1)
    return web.json_response({"text": "x" * 10_000})


async def main() -> None:
    """Start the servers, measure, and keep the figures."""
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-bench-")))
        postgres = await stack.enter_async_context(running_postgres())
        rabbitmq = await stack.enter_async_context(running_rabbitmq())
        servers = Servers(postgres.url, rabbitmq.url, rabbitmq.management_url)
        measured = await measure(Bench(servers, scratch, share=1.0, embedded=Embedded(scratch)))
    KEPT.write_text(json.dumps({kind: asdict(one) for kind, one in measured.items()}, indent=2) + "\n")
    print(KEPT.read_text())


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
