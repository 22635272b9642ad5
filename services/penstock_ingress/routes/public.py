"""The public port: one function from request to response, because chains of middlewares and route objects cost more
than the rest.

It finds the route, bounds how many requests are in progress, lets browsers of other origins in where that is meant,
counts, and turns every failure into an answer.
"""

import time
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from typing import Final

from aiohttp import web
from prometheus_client import Counter, Histogram

from penstock.domain.approval_links import PATH as APPROVALS
from penstock.http_server import readers_of, serving_handler
from penstock.metrics import HTTP_REQUESTS, HTTP_SECONDS
from penstock.tracing import active
from penstock_ingress.room import Room
from penstock_ingress.routes.approvals import answer_approval
from penstock_ingress.routes.data import answer_bulk, answer_thing, answer_things
from penstock_ingress.routes.files import answer_file
from penstock_ingress.routes.meta import answer_meta, answer_swagger
from penstock_ingress.routes.pages import answer_docs, answer_front, answer_openapi
from penstock_ingress.routes.places import Place, Route
from penstock_ingress.routes.traces import begin_request, end_request
from penstock_ingress.routes.transport import ALLOWANCE, FailureReplies, answer_with, send_pieces
from penstock_ingress.routes.webhooks import answer_webhook
from penstock_ingress.routes.workflows import answer_initialize, answer_run, answer_workflow
from penstock_ingress.rules.environments import split_path
from penstock_ingress.rules.replies import Reply, problem, unavailable

_API: Final = ("api", "1.1")
_ROUTES: Final = {
    ("wf", 1): Route("workflow", ("GET", "POST"), answer_workflow, is_shared=True),
    ("runs", 1): Route("run", ("GET",), answer_run, is_shared=True),
    ("obj", 1): Route("things", ("GET", "POST", "PATCH", "DELETE"), answer_things, is_shared=True),
    ("obj", 2): Route("thing", ("GET", "PATCH", "PUT", "DELETE"), answer_thing, is_shared=True),
}
_INITIALIZE: Final = Route("initialize", ("POST",), answer_initialize, is_shared=True)
_BULK: Final = Route("bulk", ("POST",), answer_bulk, is_shared=True)
_FILE: Final = Route("file", ("GET", "HEAD"), answer_file, is_shared=True)
_WEBHOOK: Final = Route("webhook", ("POST", "GET", "HEAD"), answer_webhook)
_READ: Final = ("GET", "HEAD")
_APPROVAL: Final = Route("approval", (*_READ, "POST"), answer_approval)
_PAGES: Final = {
    (): Route("front", _READ, answer_front, is_shared=True),
    ("docs",): Route("docs", _READ, answer_docs, is_shared=True),
    ("openapi.json",): Route("openapi", _READ, answer_openapi, is_shared=True),
}
_EXACT: Final = {
    **_PAGES,
    (*_API, "meta"): Route("meta", _READ, answer_meta, is_shared=True),
    (*_API, "meta", "swagger.json"): Route("swagger", _READ, answer_swagger, is_shared=True),
}
_UNKNOWN: Final = "unknown"
_MAX_CACHED_PATH: Final = 200
_SHARED: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Penstock-Run-Id, Idempotent-Replayed, ETag, Location, Preference-Applied, "
    "Retry-After, RateLimit, RateLimit-Policy",
}
_NO_ALLOWANCE: Final[dict[str, str]] = {}
_PREFLIGHT: Final = {
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, If-Match, Prefer, traceparent, "
    "tracestate, baggage",
    "Access-Control-Max-Age": "86400",
}


def serving_public(room: Room) -> AbstractAsyncContextManager[int]:
    """The public port, open for as long as the block lasts."""
    return serving_handler(
        PublicPort(room).handle,
        room.settings.host,
        room.settings.port,
        most_bytes=room.settings.max_body_bytes,
        limit_seconds=room.settings.shutdown_grace_seconds / 2,
        leave=room.leave,
    )


class PublicPort:
    """Answers all requests to the public port."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._failures = FailureReplies()
        self._open = 0
        self._counters: dict[tuple[str, int], Counter] = {}
        self._histograms: dict[str, Histogram] = {}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request."""
        started_at = time.perf_counter()
        path = request.path
        environment, prefix, found = _locate(path) if len(path) <= _MAX_CACHED_PATH else _locate.__wrapped__(path)
        name = found[0].name if found else _UNKNOWN
        spans = active()
        span = None if spans is None else begin_request(spans, request, name)
        self._open += 1
        try:
            if found is None:
                reply = problem(404, f"there is nothing at {request.path[:200]}")
            else:
                reply = await self._answer(request, found[0], Place(environment, prefix, found[1]))
        except Exception as error:
            reply = self._failures.reply_to(error, name)
        finally:
            self._open -= 1
        if found and found[0].is_shared:
            reply = reply.with_headers({**_SHARED, **request.get(ALLOWANCE, _NO_ALLOWANCE)})
        self._count(name, reply.status, time.perf_counter() - started_at)
        if span is not None:
            end_request(span, reply.status)
        if reply.content is not None:
            return await send_pieces(request, reply, reply.content)
        return answer_with(reply, request)

    async def _answer(self, request: web.BaseRequest, route: Route, place: Place) -> Reply:
        if request.method not in route.methods:
            return _other_method(request.method, route)
        # Those who wait for a run hold nothing but a socket; those whose body is on its way are bounded on their own.
        in_work = self._open - self._room.answers.waiting - readers_of(request).count
        if in_work > self._room.settings.max_requests:
            return unavailable("too many requests are in progress; try again in a moment", 1)
        return await route.endpoint(self._room, request, place)

    def _count(self, route: str, status: int, seconds: float) -> None:
        counter = self._counters.get((route, status))
        if counter is None:
            counter = self._counters[route, status] = HTTP_REQUESTS.labels(route, str(status))
        counter.inc()
        histogram = self._histograms.get(route)
        if histogram is None:
            histogram = self._histograms[route] = HTTP_SECONDS.labels(route)
        histogram.observe(seconds)


@lru_cache(maxsize=1000)
def _locate(path: str) -> tuple[str, str, tuple[Route, tuple[str, ...]] | None]:
    """Environment and prefix of a path, and its route with what stands in it."""
    environment, prefix, segments = split_path(path)
    return environment, prefix, _find_route(segments)


def _find_route(segments: tuple[str, ...]) -> tuple[Route, tuple[str, ...]] | None:
    if len(segments) in {2, 3} and segments[0] == "fileupload":
        return _FILE, segments[1:]
    if len(segments) == 2 and segments[0] == APPROVALS:
        return _APPROVAL, segments[1:]
    if len(segments) == 2 and segments[0] == "webhooks":
        return _WEBHOOK, segments[1:]
    if len(segments) == 5 and segments[:3] == (*_API, "wf") and segments[4] == "initialize":
        return _INITIALIZE, segments[3:4]
    if len(segments) == 5 and segments[:3] == (*_API, "obj") and segments[4] == "bulk":
        return _BULK, segments[3:4]
    if len(segments) > 3 and segments[:2] == _API:
        route = _ROUTES.get((segments[2], len(segments) - 3))
        if route is not None:
            return route, segments[3:]
    page = _EXACT.get(segments)
    return None if page is None else (page, ())


def _other_method(method: str, route: Route) -> Reply:
    allowed = ", ".join((*route.methods, "OPTIONS") if route.is_shared else route.methods)
    if method == "OPTIONS" and route.is_shared:
        return Reply(204, headers={**_PREFLIGHT, "Access-Control-Allow-Methods": allowed, "Allow": allowed})
    return problem(405, f"{method} is not allowed here, only {allowed}", {"Allow": allowed})
