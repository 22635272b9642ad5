"""A collector of traces for tests: a real server that takes what OpenTelemetry's exporter sends."""

import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SentSpan

from penstock.tracing import tracing
from tests.integration.executing import serve_outside

KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


class Collected(NamedTuple):
    """One span, as it was sent."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    began: int
    ended: int
    is_error: bool
    fields: dict[str, object]
    service: str


@dataclass
class Collector:
    """What was sent so far, and with which headers."""

    url: str = ""
    spans: list[Collected] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def named(self, name: str) -> Collected:
        """The one span of this name."""
        (found,) = (span for span in self.spans if span.name == name)
        return found

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Answer one export."""
        assert request.path == "/v1/traces"
        body = await request.read()
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        sent = ExportTraceServiceRequest.FromString(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        for group in sent.resource_spans:
            service = next(item.value.string_value for item in group.resource.attributes if item.key == "service.name")
            self.spans += [_read(span, service) for scope in group.scope_spans for span in scope.spans]
        return web.Response(body=b"", content_type="application/x-protobuf")


def _read(span: SentSpan, service: str) -> Collected:
    fields = {item.key: getattr(item.value, item.value.WhichOneof("value") or "") for item in span.attributes}
    return Collected(
        span.name,
        KINDS[span.kind],
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == 2,
        fields,
        service,
    )


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector that takes everything."""
    collector = Collector()
    async with serve_outside(collector.take) as collector.url:
        yield collector


@asynccontextmanager
async def tracing_to(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """Trace to a server that answers so. Its spans are sent every 50 ms, within half a second."""
    async with serve_outside(answer) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        async with tracing("test", lambda: 1.0):
            yield
