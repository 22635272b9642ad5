"""The span of a request. Neither its path nor its query are in it: both may hold tokens."""

from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:  # it needs OpenTelemetry's SDK, which is an extra
    from penstock.tracing.spans import ActiveSpan, Spans

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER: Final = "_OTHER"
"""What OpenTelemetry's conventions call a method that is not one of HTTP's."""


def begin_request(spans: "Spans", request: web.BaseRequest, route: str) -> "ActiveSpan":
    """A request to `route`, a name of ours, continues the trace that its headers name, or begins one."""
    method = request.method if request.method in _METHODS else _OTHER
    traceparents = request.headers.getall("traceparent", ())
    return spans.begin_request(method, route, traceparents[0] if len(traceparents) == 1 else None)


def end_request(span: "ActiveSpan", status: int) -> None:
    """It has been answered. Only what is the server's fault is a failure."""
    span.note({"http.response.status_code": status})
    if status >= 500:
        span.fail(str(status))
    span.end()
