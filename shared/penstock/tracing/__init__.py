"""Traces by OpenTelemetry: from a request through the broker to its runs, their steps, and the calls that they make.

*When.* On where OTEL_EXPORTER_OTLP_ENDPOINT is set (or …_TRACES_ENDPOINT) and the extra `otel` is installed; else
`active()` is None, and nothing is built, read or added to a header. The standard variables OTEL_* are the SDK's to
read.

*What belongs together.* All runs of a chain are in one trace: that of the request that began it, else one with the
chain's own id. A run keeps that as `trace` in its row, so nothing is added to messages. The first attempt of a run has
the last 64 bits of the run's id as its span's id, so a child knows its parent's span from the parent's id alone; later
attempts are children of the first.

*What may go wrong.* Spans wait in a queue of bounded length and are sent by a thread of their own. While a collector is
away, slow, or answers nonsense, spans are lost and counted, and nothing else happens.
"""

from penstock.tracing.identity import RunIdentity, traceparent_of
from penstock.tracing.opening import active, tracing

__all__ = ["RunIdentity", "active", "traceparent_of", "tracing"]
