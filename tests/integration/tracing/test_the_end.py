"""A process that ends sends its last spans, within its grace period."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from tests.eventually import eventually
from tests.integration.executing import serve_outside
from tests.integration.tracing.collector import collecting

PROGRAM = """
from penstock.logs import configure_logs
from penstock.runtime import Stop, run_process
from penstock.tracing import active

async def serve(stop: Stop) -> None:
    spans = active()
    assert spans is not None
    spans.begin_request("GET", "last", None).end()
    print("ready", flush=True)
    await stop.soft.wait()
    spans.begin_request("GET", "very last", None).end()

configure_logs("json", "error")
run_process("test", serve, grace_seconds=GRACE)
"""


@asynccontextmanager
async def process(url: str, grace_seconds: float) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that is ready, and sends spans only at its end."""
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
    program = PROGRAM.replace("GRACE", str(grace_seconds))
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert started.stdout is not None
        async with asyncio.timeout(60):
            assert await started.stdout.readline() == b"ready\n"
        yield started
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


async def test_the_last_spans_are_sent_after_sigterm() -> None:
    async with collecting() as collector, process(collector.url, 20) as started:
        started.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await started.wait() == 0
        await eventually(lambda: {span.name for span in collector.spans} == {"GET last", "GET very last"})


async def test_a_collector_that_does_not_answer_holds_up_the_end_no_longer_than_the_grace_period() -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async with serve_outside(never) as url, process(url, 1) as started:
        began = time.monotonic()
        started.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await started.wait() == 0
        assert time.monotonic() - began < 8, "the exporter itself would wait for ten seconds"
