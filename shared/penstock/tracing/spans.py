"""The spans of a process, by OpenTelemetry's SDK. Imported only where tracing is on: the SDK is an extra."""

import threading
from collections.abc import Mapping, Sequence
from contextvars import Token
from datetime import datetime
from importlib.metadata import version
from os import getpid
from socket import gethostname
from typing import Any, Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from penstock.domain.lineage import parse_traceparent
from penstock.logs import Reports, get_logger
from penstock.metrics import SPANS
from penstock.tracing.identity import RunIdentity, traceparent_of
from penstock.tracing.session import BoundedSession

log = get_logger(__name__)
Fields = Mapping[str, str | int | float | bool]
_REPORT_SECONDS: Final = 60.0
_MIX: Final = 0x9E3779B97F4A7C15
_MASK: Final = (1 << 64) - 1
_ENDED, _EXPORTED, _FAILED = (SPANS.labels(outcome) for outcome in ("ended", "exported", "failed"))


class ActiveSpan:
    """A span that is the current one of its task until it ends."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span) -> None:
        self._span = span
        self._token: Token[Context] | None = contexts.attach(trace.set_span_in_context(span))

    @property
    def traceparent(self) -> str:
        """This span as the parent of what others do for it."""
        return _traceparent(self._span.get_span_context())

    def note(self, fields: Fields) -> None:
        """Add attributes."""
        self._span.set_attributes(fields)

    def fail(self, kind: str) -> None:
        """What it is about has failed; `kind` is a word, since messages may hold what nobody else should see."""
        self._span.set_attribute("error.type", kind)
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self, at: datetime | None = None) -> None:
        """It has ended, by default now."""
        self._span.end(None if at is None else _nanoseconds(at))
        if self._token is not None:
            contexts.detach(self._token)
            self._token = None


class Spans:
    """Makes the spans of a process."""

    def __init__(self, provider: TracerProvider, ids: "_Ids") -> None:
        self._provider = provider
        self._ids = ids
        self._tracer = provider.get_tracer("penstock", version("penstock"))

    def begin_request(self, method: str, route: str, traceparent: str | None) -> ActiveSpan:
        """A request to the public port has come in; `method` and `route` are of those that we know."""
        parent = _parent(traceparent)
        fields = {"http.request.method": method, "http.route": route}
        return ActiveSpan(self._tracer.start_span(f"{method} {route}", parent, kind=SpanKind.SERVER, attributes=fields))

    def begin_message(self, kind: str, queue: str, traceparent: str | None) -> ActiveSpan:
        """A message of others was delivered from `queue`; `kind` is a type of message that we know."""
        fields = {
            "messaging.system": "rabbitmq",
            "messaging.operation.type": "process",
            "messaging.destination.name": queue,
        }
        span = self._tracer.start_span(
            f"process {kind}", _parent(traceparent), kind=SpanKind.CONSUMER, attributes=fields
        )
        return ActiveSpan(span)

    def begin_run(
        self, identity: RunIdentity, workflow: str, fields: Fields, due_at: datetime, claimed_at: datetime
    ) -> ActiveSpan:
        """An attempt begins. The first begins when its run is due: what it waited for an executor is a span in it."""
        trace_id, is_sampled = identity.trace_id, identity.is_sampled
        if is_sampled is None:
            is_sampled = self._is_sampled(trace_id)
        parent_id = identity.parent_span_id
        parent = Context() if parent_id is None else _remote(trace_id, parent_id, is_sampled=is_sampled)
        self._ids.force(trace_id, identity.span_id)
        is_first = identity.attempt == 1
        begin = min(due_at, claimed_at) if is_first else claimed_at
        span = self._tracer.start_span(
            f"run {workflow}", parent, kind=SpanKind.CONSUMER, attributes=fields, start_time=_nanoseconds(begin)
        )
        if is_first and span.is_recording():
            queue = self._tracer.start_span(
                "wait for an executor",
                trace.set_span_in_context(span),
                kind=SpanKind.CONSUMER,
                attributes={"messaging.system": "rabbitmq", "messaging.operation.type": "receive"},
                start_time=_nanoseconds(begin),
            )
            queue.end(_nanoseconds(claimed_at))
        return ActiveSpan(span)

    def begin_step(self, path: str, action: str, at: datetime) -> ActiveSpan:
        """A step of the current run begins."""
        return ActiveSpan(
            self._tracer.start_span(
                f"{action} {path}",
                kind=_KINDS.get(action, SpanKind.INTERNAL),
                attributes={"penstock.step": path, "penstock.action": action},
                start_time=_nanoseconds(at),
            )
        )

    def current_traceparent(self) -> str | None:
        """The current span as the parent of what others do for it; None outside of any."""
        current = trace.get_current_span().get_span_context()
        return _traceparent(current) if current.is_valid else None

    def describe_current(self) -> dict[str, str]:
        """Trace and span, for a line of the log."""
        current = trace.get_current_span().get_span_context()
        if not current.is_valid:
            return {}
        return {"trace_id": f"{current.trace_id:032x}", "span_id": f"{current.span_id:016x}"}

    def note_current(self, fields: Fields) -> None:
        """Add attributes to the current span."""
        trace.get_current_span().set_attributes(fields)

    def close(self) -> None:
        """Send what is left. May take long: call it in a thread."""
        self._provider.shutdown()

    def _is_sampled(self, trace_id: int) -> bool:
        return self._provider.sampler.should_sample(None, trace_id, "").decision is Decision.RECORD_AND_SAMPLE


_KINDS: Final = {
    "http": SpanKind.CLIENT,
    "call": SpanKind.CLIENT,
    "send": SpanKind.CLIENT,
    "email": SpanKind.CLIENT,
    "publish": SpanKind.PRODUCER,
    "schedule": SpanKind.PRODUCER,
    "schedule_list": SpanKind.PRODUCER,
}


def open_spans(service: str) -> Spans:
    """Begin to trace. Raises what the SDK raises for variables that mean nothing."""
    ids = _Ids()
    provider = TracerProvider(resource=_describe_process(service), id_generator=ids, shutdown_on_exit=False)
    provider.sampler = _EvenSampler(provider.sampler)
    exporter = _CountingExporter(OTLPSpanExporter(session=BoundedSession()))
    provider.add_span_processor(_CountingProcessor(exporter))
    trace.set_tracer_provider(provider)  # for what authors' own code traces
    return Spans(provider, ids)


def _describe_process(service: str) -> Resource:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come first."""
    own = Resource(
        {
            "service.name": service,
            "service.namespace": "penstock",
            "service.version": version("penstock"),
            "service.instance.id": f"{gethostname()}:{getpid()}",
        }
    )
    given = Resource.create()
    has_name = not str(given.attributes.get("service.name", "")).startswith("unknown_service")
    return own.merge(given) if has_name else given.merge(own)


class _Ids(RandomIdGenerator):
    """Random ids, except for the next span of this thread when they are given."""

    def __init__(self) -> None:
        self._next = threading.local()

    def force(self, trace_id: int, span_id: int) -> None:
        """Give the next span these ids; the trace's counts only where it has no parent."""
        self._next.ids = (trace_id, span_id)

    def generate_trace_id(self) -> int:
        """See the SDK, which asks for the span's id first or last, and always for both of a root."""
        given: tuple[int, int] | None = getattr(self._next, "ids", None)
        return super().generate_trace_id() if given is None else given[0]

    def generate_span_id(self) -> int:
        """See the SDK."""
        given: tuple[int, int] | None = getattr(self._next, "ids", None)
        if given is None:
            return super().generate_span_id()
        self._next.ids = None
        return given[1]


class _EvenSampler(Sampler):
    """Ratios are taken of the last 64 bits of a trace's id, in which a UUID has two fixed bits: they are mixed."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(self, parent_context: Context | None, trace_id: int, *args: Any, **kwargs: Any) -> SamplingResult:
        """See the SDK."""
        return self._sampler.should_sample(parent_context, (trace_id & _MASK) * _MIX & _MASK, *args, **kwargs)

    def get_description(self) -> str:
        """See the SDK."""
        return self._sampler.get_description()


class _CountingProcessor(BatchSpanProcessor):
    def on_end(self, span: ReadableSpan) -> None:
        """See the SDK."""
        _ENDED.inc()
        super().on_end(span)


class _CountingExporter(SpanExporter):
    """Counts what was sent and what was lost, and says so now and then."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lost = Reports(log.warning, "tracing.export_failed", seconds=_REPORT_SECONDS)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See the SDK."""
        try:
            result = self._exporter.export(spans)
        except Exception as error:
            self._note_lost(spans, f"{type(error).__name__}: {error}")
            return SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            _EXPORTED.inc(len(spans))
        else:
            self._note_lost(spans, "the collector is away, or does not take them")
        return result

    def _note_lost(self, spans: Sequence[ReadableSpan], reason: str) -> None:
        _FAILED.inc(len(spans))
        self._lost.add(len(spans), reason=reason)

    def shutdown(self) -> None:
        """See the SDK."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """See the SDK."""
        return self._exporter.force_flush(timeout_millis)


def _parent(traceparent: str | None) -> Context:
    given = parse_traceparent(traceparent)
    return Context() if given is None else _remote(given.trace_id, given.span_id, is_sampled=given.is_sampled)


def _remote(trace_id: int, span_id: int, *, is_sampled: bool) -> Context:
    flags = TraceFlags(TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT)
    parent = SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


def _traceparent(span: SpanContext) -> str:
    return traceparent_of(span.trace_id, span.span_id, is_sampled=span.trace_flags.sampled)


def _nanoseconds(at: datetime) -> int:
    """Since 1970. Runs may be due before: the protocol knows no negative time, and the batch would be lost with it."""
    return max(0, int(at.timestamp() * 1_000_000)) * 1000
