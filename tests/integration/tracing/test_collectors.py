"""A collector that is away, slow or hostile costs spans, and nothing else."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping

import pytest
from aiohttp import web

from penstock.metrics import REGISTRY
from penstock.testing.ports import find_port
from penstock.tracing import active, tracing
from tests.eventually import eventually
from tests.integration.executing import House
from tests.integration.tracing.collector import tracing_to

APP = "workflow: greet\nsteps: [{log: hello}]\n"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def greeting(house: House) -> House:
    await house.deploy(APP)
    return house


def count(outcome: str) -> float:
    return REGISTRY.get_sample_value("penstock_spans_total", {"outcome": outcome}) or 0.0


async def never(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def endlessly(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65_536)


async def a_byte_at_a_time(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    pause = asyncio.Event()
    while True:
        await response.write(b"x")
        try:
            async with asyncio.timeout(0.1):
                await pause.wait()
        except TimeoutError:
            continue


async def elsewhere(request: web.Request) -> web.StreamResponse:
    raise web.HTTPTemporaryRedirect(str(request.url.with_path("/elsewhere")))


async def refused(_: web.Request) -> web.StreamResponse:
    return web.Response(status=400, body=b"\xff\x00" * 1000, headers={"Retry-After": "99999999"})


async def unwilling(_: web.Request) -> web.StreamResponse:
    return web.Response(status=503, headers={"Retry-After": "-1"})


@pytest.mark.parametrize("answer", [never, endlessly, a_byte_at_a_time, elsewhere, refused, unwilling])
async def test_runs_do_not_notice_what_a_collector_answers(
    greeting: House, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = count("failed")

    async def is_counted() -> None:
        assert count("failed") > failed

    async with tracing_to(answer, monkeypatch):
        async with greeting.executor():
            run = await greeting.perform("greet")
        assert run["state"] == "succeeded"
        await eventually(is_counted, within=20)


async def test_runs_do_not_notice_that_there_is_no_collector(greeting: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{find_port()}")
    async with tracing("test", lambda: 0.5), greeting.executor():
        assert (await greeting.perform("greet"))["state"] == "succeeded"


async def test_the_end_waits_for_a_collector_only_as_long_as_it_may(
    greeting: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    async with tracing_to(never, monkeypatch):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
        async with tracing("test", lambda: 0.5):
            async with greeting.executor():
                await greeting.perform("greet")
            began = time.monotonic()
        assert time.monotonic() - began < 3


async def test_spans_that_cannot_be_sent_are_bounded_in_number(
    greeting: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")
    before = {outcome: count(outcome) for outcome in ("ended", "exported", "failed")}
    async with tracing_to(never, monkeypatch), greeting.executor():
        runs = await greeting.admit("greet", count=100)
        await greeting.publisher.dispatch(runs)
        for run in runs:
            assert (await greeting.ended(run.id))["state"] == "succeeded"
        assert count("ended") - before["ended"] >= 200, "each run has a span and a wait"
        assert count("exported") == before["exported"]


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_TRACES_EXPORTER": "zipkin"},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_SDK_DISABLED": "TRUE"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "1", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "5"},
    ],
    ids=str,
)
async def test_variables_that_we_cannot_follow_turn_tracing_off(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{find_port()}")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    async with tracing("test", lambda: 0.5):
        assert active() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_SAMPLER", "nonsense"),
        ("OTEL_TRACES_SAMPLER_ARG", "much"),
        ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "=\xff,,"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=b=c,%zz"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "never"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "not a url"),
    ],
)
async def test_a_variable_that_means_nothing_keeps_no_run_from_working(
    greeting: House, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{find_port()}")
    monkeypatch.setenv(name, value)
    async with tracing("test", lambda: 0.5), greeting.executor():
        assert (await greeting.perform("greet"))["state"] == "succeeded"


async def test_without_the_extra_services_work_and_say_what_is_missing() -> None:
    code = (
        "import asyncio, sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "from penstock.logs import configure_logs\n"
        "from penstock.tracing import active, tracing\n"
        "configure_logs('json', 'info')\n"
        "async def main():\n"
        "    async with tracing('test', lambda: 1.0):\n"
        "        assert active() is None\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    said = await run_program(code, environment)
    assert "tracing.unavailable" in said
    assert "penstock[otel]" in said


async def test_a_password_in_the_address_of_a_collector_is_not_logged() -> None:
    code = (
        "import asyncio\n"
        "from penstock.logs import configure_logs\n"
        "from penstock.tracing import tracing\n"
        "configure_logs('json', 'info')\n"
        "async def main():\n"
        "    async with tracing('test', lambda: 0.5):\n"
        "        pass\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:hidden@127.0.0.1:9"}
    said = await run_program(code, environment)
    assert "tracing.started" in said
    assert "hidden" not in said


async def run_program(code: str, environment: Mapping[str, str]) -> str:
    """What a program writes to its log."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(100):
        _, said = await process.communicate()
    assert process.returncode == 0, said
    return said.decode()
