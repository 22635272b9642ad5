"""`penstock up` as it is, measured from outside: one process, embedded PostgreSQL, in-process broker."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from penstock.testing.ports import find_port
from tests.acceptance.installation import ADMIN_TOKEN, START_SECONDS
from tests.bench import http_load
from tests.bench.app import write_app
from tests.bench.machine import Cpu, memory_of_tree
from tests.eventually import eventually

PROGRAM = Path(sys.executable).with_name("penstock")
"""The console script of this environment."""
_HEADERS = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


class Embedded:
    """Starts `penstock up` with the measured app below `scratch`."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._port, self._admin_port = find_port(), find_port()

    async def measure(self, items: int, hops: int, seconds: float) -> Mapping[str, object]:
        """Idle memory in MB, then items, hops and webhooks per second."""
        async with self._running() as process, aiohttp.ClientSession(headers=_HEADERS) as http:
            await asyncio.sleep(3)
            memory = memory_of_tree(process.pid)
            with Cpu() as cpu:
                item_rate = await self._rate(http, "insert_many", {"items": list(range(items))}, "insert", items)
            hop_rate = await self._rate(http, "hop", {"remaining": hops}, "hop", hops + 1)
            accepted = await self._accept(seconds)
            return {
                "idle_mb": round(memory),
                "items_per_second": round(item_rate),
                "hops_per_second": round(hop_rate),
                "accepted_per_second": round(accepted),
                "cpu": cpu.shares,
            }

    async def measure_memory(self, items: int, seconds: float) -> Mapping[str, float]:
        """MB of all processes: idle, and at most under webhooks and a list; and seconds until it was ready."""
        began = time.perf_counter()
        async with self._running() as process, aiohttp.ClientSession(headers=_HEADERS) as http:
            ready_after = time.perf_counter() - began
            await asyncio.sleep(3)
            idle, sizes = memory_of_tree(process.pid), list[float]()

            async def watch() -> None:
                while True:
                    sizes.append(await asyncio.to_thread(memory_of_tree, process.pid))
                    await asyncio.sleep(0.25)

            watching = asyncio.create_task(watch())
            await self._accept(seconds)
            await self._rate(http, "insert_many", {"items": list(range(items))}, "insert", items)
            watching.cancel()
            return {"idle_mb": round(idle), "peak_mb": round(max(sizes)), "ready_after_seconds": round(ready_after, 2)}

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[asyncio.subprocess.Process]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        environment |= {
            "PENSTOCK_ADMIN_TOKEN": ADMIN_TOKEN,
            "PENSTOCK_SECRET_STRIPE_WEBHOOK_SECRET": http_load.SECRET,
            "PENSTOCK_LOG_LEVEL": "warning",
        }
        command = [
            "up",
            "--app",
            str(write_app(self._scratch / "app")),
            "--data",
            str(self._scratch / "data"),
            "--no-reload",
        ]
        ports = ["--port", str(self._port), "--admin-port", str(self._admin_port)]
        process = await asyncio.create_subprocess_exec(
            PROGRAM, *command, *ports, env=environment, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            await eventually(self._is_ready, within=START_SECONDS, every=0.02)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()

    async def _is_ready(self) -> bool:
        try:
            async with aiohttp.request("GET", f"http://127.0.0.1:{self._admin_port}/readyz") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    async def _rate(
        self, http: aiohttp.ClientSession, workflow: str, parameters: object, counted: str, runs: int
    ) -> float:
        """Runs of `counted` per second, from asking for `workflow` until all have succeeded."""
        url = f"http://127.0.0.1:{self._admin_port}/v1/live/runs"
        began = time.perf_counter()
        async with http.post(url, json={"workflow": workflow, "parameters": parameters}) as response:
            assert response.status == 201, await response.text()
            chain = (await response.json())["chain_id"]

        async def is_done() -> bool:
            async with http.get(f"http://127.0.0.1:{self._admin_port}/v1/live/chains/{chain}") as answer:
                counts = json.dumps(await answer.json())
            return f'"succeeded": {runs + (counted != workflow)}' in counts

        await eventually(is_done, within=120, every=0.1)
        return runs / (time.perf_counter() - began)

    async def _accept(self, seconds: float) -> float:
        client = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-m",
                "tests.bench.http_load",
                f"http://127.0.0.1:{self._port}/webhooks/stripe",
                "64",
                str(seconds),
                "stripe",
            ),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await client.communicate()
        rate: float = json.loads(output)["per_second"]
        return rate
