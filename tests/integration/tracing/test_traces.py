"""One trace from a request through the broker to runs, steps, the runs that they schedule, and calls to others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from penstock.tracing import active, tracing
from penstock_executor.app import serve as serve_executor
from penstock_executor.settings import ExecutorSettings
from penstock_scheduler.app import serve as serve_scheduler
from penstock_scheduler.settings import SchedulerSettings
from tests.eventually import eventually
from tests.integration.executing import House, serve_outside
from tests.integration.ingress import Ingress, running_ingress
from tests.integration.scheduling import Station
from tests.integration.tracing.collector import Collector, collecting
from tests.site import serving
from tests.unit.test_logs import logging_to

APP = """
workflow: begin
parameters: {url: text}
on: {api: {method: POST, auth: public}}
steps:
  - id: fetch
    http: "${params.url}/private?token=hidden"
  - {id: later, schedule: follow_up}
  - return: {done: true}
---
workflow: follow_up
steps: [{log: here}]
---
workflow: broken
steps:
  - id: wrong
    fail: secret words
"""
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    async with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield collector


@asynccontextmanager
async def all_services(database_url: str, amqp_url: str, directory: Path) -> AsyncIterator[Ingress]:
    """The three services, with this app."""
    (directory / "app.yaml").write_text("app: traced\n")
    (directory / "workflows").mkdir()
    (directory / "workflows" / "all.yaml").write_text(APP)
    servers = {"database_url": database_url, "amqp_url": amqp_url, "admin_port": 0, "outgoing_allow": "127.0.0.1"}
    async with (
        running_ingress(database_url, amqp_url, directory) as ingress,
        serving(serve_scheduler, SchedulerSettings.model_validate(servers)),
        serving(serve_executor, ExecutorSettings.model_validate(servers)),
    ):
        yield ingress


async def call(
    database_url: str, amqp_url: str, directory: Path, headers: dict[str, str]
) -> tuple[list[str], list[dict[str, object]]]:
    """Call `begin`, and wait until its runs have ended; the `traceparent` of its own call, and the runs' rows."""
    seen: list[str] = []

    async def outside(request: web.Request) -> web.Response:
        seen.append(request.headers["traceparent"])
        return web.json_response({})

    async with serve_outside(outside) as url, all_services(database_url, amqp_url, directory) as ingress:
        answer = await ingress.send("POST", "/api/1.1/wf/begin", json={"url": url}, headers=headers)
        assert answer.status == 200, answer.body

        async def both_ended() -> list[dict[str, object]]:
            rows = [dict(row) for row in await ingress.fetch("SELECT * FROM penstock.runs ORDER BY depth")]
            assert [row["state"] for row in rows] == ["succeeded"] * 2
            return rows

        return seen, await eventually(both_ended)


async def test_a_trace_of_others_continues_through_runs_steps_and_calls(
    database_url: str, amqp_url: str, tmp_path: Path, collector: Collector
) -> None:
    async with tracing("test", lambda: 5.0):
        seen, (root, child) = await call(database_url, amqp_url, tmp_path, {"traceparent": CALLER})
    assert {span.trace_id for span in collector.spans} == {TRACE_ID}
    request, run, later = (collector.named(name) for name in ("POST workflow", "run begin", "run follow_up"))
    waiting = [span for span in collector.spans if span.name == "wait for an executor"]
    step, schedule = collector.named("http fetch"), collector.named("schedule later")
    assert (request.kind, request.parent_id) == ("server", "00f067aa0ba902b7")
    assert (run.kind, run.parent_id) == ("consumer", request.span_id)
    assert {span.parent_id for span in waiting} == {run.span_id, later.span_id}
    assert (step.kind, step.parent_id, schedule.parent_id) == ("client", run.span_id, run.span_id)
    assert (later.parent_id, later.kind) == (run.span_id, "consumer")
    assert seen == [f"00-{TRACE_ID}-{step.span_id}-01"], "the call is a child of its step"
    assert run.fields["penstock.run_id"] == str(root["id"])
    assert later.fields["penstock.depth"] == child["depth"] == 1
    assert (request.fields["http.response.status_code"], step.fields["http.response.status_code"]) == (200, 200)
    assert all(span.began <= span.ended for span in collector.spans)
    assert run.began <= step.began <= step.ended <= run.ended
    assert not any("hidden" in str(span) or "private" in str(span) for span in collector.spans)
    assert {span.service for span in collector.spans} == {"penstock-test"}


async def test_a_request_without_a_trace_begins_one(
    database_url: str, amqp_url: str, tmp_path: Path, collector: Collector
) -> None:
    async with tracing("test", lambda: 5.0):
        _, (root, _) = await call(database_url, amqp_url, tmp_path, {})
    request = collector.named("POST workflow")
    assert request.parent_id == ""
    assert len({span.trace_id for span in collector.spans}) == 1
    assert str(root["context"]).count(f"00-{request.trace_id}-{request.span_id}-01") == 1


async def test_what_the_caller_does_not_record_is_not_recorded(
    database_url: str, amqp_url: str, tmp_path: Path, collector: Collector
) -> None:
    async with tracing("test", lambda: 5.0):
        seen, _ = await call(database_url, amqp_url, tmp_path, {"traceparent": f"{CALLER[:-2]}00"})
    assert collector.spans == []
    assert (seen[0][:36], seen[0][-2:]) == (f"00-{TRACE_ID}-", "00"), "others learn it"


async def test_without_an_endpoint_nothing_is_traced(
    database_url: str, amqp_url: str, tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    async with tracing("test", lambda: 5.0):
        assert active() is None
        seen, (root, _) = await call(database_url, amqp_url, tmp_path, {"traceparent": CALLER})
    assert collector.spans == []
    assert seen[0].startswith(f"00-{TRACE_ID}-"), "the trace of others continues all the same"
    assert CALLER in str(root["context"])


async def test_a_run_that_nobody_called_is_in_the_trace_of_its_chain(house: House, collector: Collector) -> None:
    await house.deploy(APP)
    async with tracing("test", lambda: 5.0), house.executor():
        run = await house.perform("follow_up")
    span = collector.named("run follow_up")
    assert (span.trace_id, span.span_id, span.parent_id) == (run["chain_id"].hex, run["id"].hex[16:], "")


async def test_a_failure_has_its_kind_and_not_its_words(house: House, collector: Collector) -> None:
    await house.deploy(APP)
    async with tracing("test", lambda: 5.0), house.executor():
        await house.perform("broken")
    for span in (collector.named("run broken"), collector.named("fail wrong")):
        assert span.is_error
        assert span.fields["error.type"]
        assert "secret words" not in str(span)


async def test_the_standard_variables_count(
    house: House, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    await house.deploy(APP)
    async with tracing("test", lambda: 5.0), house.executor():
        await house.perform("follow_up")
    assert collector.named("run follow_up").service == "shop"
    assert (collector.headers[0]["x-tenant"], collector.headers[0]["content-encoding"]) == ("a", "gzip")


async def test_a_ratio_takes_that_share_of_the_chains(
    house: House, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids of chains carry their time, and two fixed bits where ratios are taken."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    await house.deploy(APP)
    async with tracing("test", lambda: 5.0), house.executor():
        runs = await house.admit("follow_up", count=200)
        await house.publisher.dispatch(runs)
        for run in runs:
            await house.ended(run.id)
    assert 50 < sum(span.name == "run follow_up" for span in collector.spans) < 150


async def test_the_line_about_a_run_names_its_span(house: House, collector: Collector) -> None:
    await house.deploy(APP)
    with logging_to("json") as written:
        async with tracing("test", lambda: 5.0), house.executor():
            run = await house.perform("broken")
    (line,) = (line for line in map(orjson.loads, written.getvalue().splitlines()) if line["event"] == "run.finished")
    span = collector.named("run broken")
    assert (line["trace_id"], line["span_id"]) == (span.trace_id, span.span_id)
    assert (line["run_id"], line["chain_id"]) == (str(run["id"]), str(run["chain_id"]))


async def test_lines_of_a_run_name_its_trace_without_tracing_too(
    house: House, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    await house.deploy(APP)
    with logging_to("json") as written:
        async with house.executor():
            runs = await house.admit("broken", context={"trace": {"traceparent": CALLER}})
            await house.publisher.dispatch(runs)
            await house.ended(runs[0].id)
    (line,) = (line for line in map(orjson.loads, written.getvalue().splitlines()) if line["event"] == "run.finished")
    assert line["trace_id"] == TRACE_ID
    assert collector.spans == []


async def test_a_run_that_was_due_before_1970_loses_no_spans(house: House, collector: Collector) -> None:
    await house.deploy(APP)
    async with tracing("test", lambda: 5.0), house.executor():
        runs = await house.admit("follow_up")
        await house.fetch("UPDATE penstock.runs SET scheduled_at = '0001-01-01' WHERE id = $1", runs[0].id)
        await house.publisher.dispatch(runs)
        await house.ended(runs[0].id)
    assert collector.named("run follow_up").began == 0


async def test_a_message_of_an_internal_service_begins_its_run(station: Station, collector: Collector) -> None:
    async with tracing("test", lambda: 5.0), station.scheduler():
        root = await station.ask(headers={"traceparent": CALLER})
        await station.ask(headers={"parent-run-id": root["run_id"], "depth": 1})
        await station.ask(headers={"traceparent": 7})
    spans = [span for span in collector.spans if span.name == "process run.schedule.v1"]
    assert [(span.kind, span.is_error) for span in spans] == [("consumer", False)] * 3
    first = next(span for span in spans if span.trace_id == TRACE_ID)
    assert first.parent_id == "00f067aa0ba902b7"
    contexts = {
        run["depth"]: str(run["context"])
        for run in await station.runs()
        if run["chain_id"].hex in str(root["run_id"]).replace("-", "")
    }
    assert contexts[0] == contexts[1], "a child keeps the trace of its chain, not that of its message"
    assert f"00-{TRACE_ID}-{first.span_id}-01" in contexts[0]
