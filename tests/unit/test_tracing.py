"""Which trace and span a run is, what lines of the log say of it, and that nothing is loaded where tracing is off."""

import subprocess
import sys
from contextvars import copy_context
from uuid import UUID

import orjson
import pytest

from penstock.domain.ids import new_run_id
from penstock.domain.lineage import TraceParent, parse_traceparent
from penstock.logs import get_logger, log_about, log_trace
from penstock.settings import read_tracing_switch
from penstock.tracing import RunIdentity, traceparent_of
from penstock.tracing.identity import span_of
from tests.unit.test_logs import logging_to

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
RUN, PARENT, CHAIN = (UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0000 + number) for number in (1, 2, 3))


@pytest.mark.parametrize(
    "text", [None, "", "nonsense", TRACE.upper(), f"{TRACE}-x", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", TRACE + "\n"]
)
def test_what_is_no_traceparent_is_not_one(text: str | None) -> None:
    assert parse_traceparent(text) is None


def test_a_traceparent_is_read_and_written() -> None:
    parsed = parse_traceparent(TRACE)
    assert parsed == TraceParent(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, True)
    assert traceparent_of(*parsed[:2], is_sampled=True) == TRACE
    unsampled = parse_traceparent(f"{TRACE[:-2]}02")
    assert unsampled is not None
    assert not unsampled.is_sampled, "only the last bit counts"


def test_a_root_begins_the_trace_of_its_chain() -> None:
    identity = RunIdentity(RUN, 1, RUN, None, None)
    assert (identity.trace_id, identity.span_id, identity.parent_span_id) == (RUN.int, span_of(RUN), None)
    assert identity.is_sampled is None


def test_a_root_continues_the_trace_of_its_request() -> None:
    identity = RunIdentity(RUN, 1, RUN, None, TRACE)
    assert f"{identity.trace_id:032x}" in TRACE
    assert f"{identity.parent_span_id:016x}" in TRACE
    assert identity.is_sampled is True


def test_a_child_is_below_the_run_that_scheduled_it() -> None:
    assert RunIdentity(RUN, 1, CHAIN, PARENT, TRACE).parent_span_id == span_of(PARENT)
    assert RunIdentity(RUN, 1, CHAIN, PARENT, None).trace_id == CHAIN.int


def test_a_later_attempt_is_below_the_first() -> None:
    again = RunIdentity(RUN, 2, CHAIN, PARENT, None)
    assert again.parent_span_id == span_of(RUN)
    assert again.span_id not in {span_of(RUN), again.span_id}, "each is a span of its own"


def test_the_span_of_a_run_is_never_zero() -> None:
    assert all(span_of(new_run_id()) for _ in range(100))
    assert span_of(UUID("00000000-0000-4000-8000-000000000000"))


def test_lines_about_a_run_name_it_and_its_trace() -> None:
    def work() -> None:
        log_about(lambda: {"run_id": "a", "trace_id": "b"})
        get_logger("test").info("inside", run_id="its own")
        log_trace(lambda: {"trace_id": "t", "span_id": "s"})
        get_logger("test").info("traced")
        log_trace(None)

    with logging_to("json") as written:
        copy_context().run(work)
        get_logger("test").info("outside")
    inside, traced, outside = map(orjson.loads, written.getvalue().splitlines())
    assert (inside["run_id"], inside["trace_id"]) == ("its own", "b"), "a field of the line itself counts"
    assert (traced["run_id"], traced["trace_id"], traced["span_id"]) == ("a", "t", "s")
    assert "run_id" not in outside


def test_services_load_nothing_of_opentelemetry_where_it_is_off() -> None:
    code = (
        "import sys, penstock_ingress.app, penstock_scheduler.app, penstock_executor.app\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'requests'))])"
    )
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("variables", "is_on", "problem"),
    [
        ({}, False, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True, ""),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, False, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, False, "4318"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "zipkin"}, False, "zipkin"),
    ],
    ids=str,
)
def test_tracing_is_on_where_there_is_an_endpoint(
    variables: dict[str, str], is_on: bool, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    switch = read_tracing_switch()
    assert switch.is_on is is_on
    assert problem in switch.problem
