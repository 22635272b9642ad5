"""The admin port: the management API under `/v1/{environment}`, for bearers of admin tokens and for the console, which
stands beside it with the open pages."""

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final
from uuid import UUID

from aiohttp import web

from penstock.domain.policies import SettingsChange
from penstock.http_server import EVENT_STREAM
from penstock.metrics import HTTP_REQUESTS, HTTP_SECONDS
from penstock.runs.views.models import Shown
from penstock.tracing import active
from penstock_ingress.handlers import recurrences
from penstock_ingress.handlers.files import MAX_FILE_BYTES, describe_file, find_file, keep_file, link_file, remove_file
from penstock_ingress.handlers.interventions import cancel_run, retry_failed_run, send_signal
from penstock_ingress.handlers.management import (
    create_run,
    show_audit,
    show_run,
    show_runs,
    show_settings,
    update_settings,
)
from penstock_ingress.handlers.step_inputs import show_step_inputs
from penstock_ingress.handlers.workload import show_weights, show_workload, update_weights
from penstock_ingress.room import Room
from penstock_ingress.routes.browsing import BrowsingRoutes
from penstock_ingress.routes.callers import PRIVATE, SESSION, identify_admin
from penstock_ingress.routes.chains import ChainRoutes
from penstock_ingress.routes.console import ConsoleRoutes, is_of_console
from penstock_ingress.routes.dead_letters import DeadLetterRoutes
from penstock_ingress.routes.deliveries import DeliveryRoutes
from penstock_ingress.routes.detected import DetectedRoutes
from penstock_ingress.routes.lists import ListRoutes
from penstock_ingress.routes.logs import LogRoutes
from penstock_ingress.routes.openapi import find_operation
from penstock_ingress.routes.pages import OPEN_PATHS, add_pages
from penstock_ingress.routes.permissions import check_permission, check_workflow
from penstock_ingress.routes.requests import (
    ACTOR,
    BODY_SECONDS,
    CALLER,
    MAX_BODY_BYTES,
    decode,
    read_environment,
    read_id,
    read_link_lifetime,
    read_model,
)
from penstock_ingress.routes.schedule import ScheduleRoutes
from penstock_ingress.routes.tokens import TokenRoutes
from penstock_ingress.routes.traces import begin_request, end_request
from penstock_ingress.routes.transfers import TransferRoutes
from penstock_ingress.routes.transport import FailureReplies, read_body, read_pieces, to_response
from penstock_ingress.routes.watching import WatchingRoutes
from penstock_ingress.rules.headers import read_idempotency_key
from penstock_ingress.rules.management import (
    Backfill,
    NewRecurrence,
    NewRun,
    RecurrencePause,
    RunRetry,
    WeightsChange,
)
from penstock_ingress.rules.replies import JSON, Refusal, Reply, problem

_MAX_UNWANTED_BYTES: Final = 64 * 1024
_OPEN: Final = OPEN_PATHS | {"/healthz", "/readyz", "/metrics"}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_RecurrenceVerb = Callable[[Room, str, UUID, str], Awaitable[Shown]]
_RECURRENCE_VERBS: Final[tuple[tuple[str, str, _RecurrenceVerb], ...]] = (
    ("", "DELETE", recurrences.remove_recurrence),
    ("/resume", "POST", recurrences.resume),
)


class ManagementApi:
    """The routes of the management API and what stands before them."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._failures = FailureReplies()

    def build(self) -> web.Application:
        """The admin port's application, without the probes."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._guard])
        app.router.add_post("/v1/{environment}/runs", self._create_run)
        app.router.add_get("/v1/{environment}/runs", self._list_runs)
        app.router.add_get("/v1/{environment}/runs/{id}", self._get_run)
        app.router.add_get("/v1/{environment}/runs/{id}/inputs", self._get_inputs)
        app.router.add_post("/v1/{environment}/runs/{id}/cancel", self._cancel_run)
        app.router.add_post("/v1/{environment}/runs/{id}/retry", self._retry_run)
        app.router.add_post("/v1/{environment}/signals/{name}", self._send_signal)
        app.router.add_post("/v1/{environment}/files", self._store_file)
        app.router.add_get("/v1/{environment}/files/{id}", self._send_file)
        app.router.add_delete("/v1/{environment}/files/{id}", self._delete_file)
        app.router.add_post("/v1/{environment}/files/{id}/link", self._link_file)
        app.router.add_get("/v1/{environment}/settings", self._get_settings)
        app.router.add_put("/v1/{environment}/settings", self._put_settings)
        app.router.add_get("/v1/{environment}/audit", self._list_audit)
        app.router.add_get("/v1/{environment}/workload", self._get_workload)
        app.router.add_get("/v1/{environment}/workload/weights", self._get_weights)
        app.router.add_put("/v1/{environment}/workload/weights", self._put_weights)
        app.router.add_get("/v1/{environment}/recurrences", self._list_recurrences)
        app.router.add_post("/v1/{environment}/recurrences", self._create_recurrence)
        app.router.add_get("/v1/{environment}/recurrences/next", self._next_of_cron)
        app.router.add_get("/v1/{environment}/recurrences/{id}", self._get_recurrence)
        app.router.add_get("/v1/{environment}/recurrences/{id}/next", self._next_ticks)
        app.router.add_get("/v1/{environment}/recurrences/{id}/ticks", self._list_ticks)
        app.router.add_post("/v1/{environment}/recurrences/{id}/pause", self._pause_recurrence)
        for path, method, verb in _RECURRENCE_VERBS:
            app.router.add_route(
                method, f"/v1/{{environment}}/recurrences/{{id}}{path}", partial(self._with_recurrence, verb)
            )
        app.router.add_post("/v1/{environment}/recurrences/{id}/backfill", self._backfill_recurrence)
        app.router.add_post("/v1/{environment}/recurrences/{id}/trigger", self._trigger_recurrence)
        ChainRoutes(self._room, self._show).add_to(app.router)
        BrowsingRoutes(self._room, self._show).add_to(app.router)
        WatchingRoutes(self._room, self._show, self._check_caller).add_to(app.router)
        ScheduleRoutes(self._room, self._show).add_to(app.router)
        TokenRoutes(self._room, self._show).add_to(app.router)
        LogRoutes(self._room, self._show, self._check_caller).add_to(app.router)
        ListRoutes(self._room, self._show).add_to(app.router)
        DetectedRoutes(self._room, self._show).add_to(app.router)
        DeliveryRoutes(self._room, self._show).add_to(app.router)
        DeadLetterRoutes(self._room, self._show).add_to(app.router)
        TransferRoutes(self._room, self._show).add_to(app.router)
        add_pages(app, self._room)
        ConsoleRoutes(self._room).add_to(app.router)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Lets admins in, and turns every failure into a problem document. Pages and probes are open."""
        if request.path in _OPEN:
            return await handler(request)
        spans, resource, began = active(), request.match_info.route.resource, time.perf_counter()
        route = "unknown" if resource is None else resource.canonical
        span = None if spans is None else begin_request(spans, request, route)
        status, is_stream = 500, False
        try:
            response = await self._answer(request, handler)
            status, is_stream = response.status, response.content_type == EVENT_STREAM
            return response
        finally:
            HTTP_REQUESTS.labels("management", str(status)).inc()
            if not is_stream:  # which lasts for as long as somebody looks
                HTTP_SECONDS.labels("management").observe(time.perf_counter() - began)
            if span is not None:
                end_request(span, status)

    async def _answer(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            if not is_of_console(request.path):
                await self._check_caller(request)
                await _check_known(request)
            response = await handler(request)
            if SESSION in request and not response.prepared:
                for name, value in PRIVATE.items():
                    response.headers.setdefault(name, value)
            return response
        except web.HTTPException as error:
            allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            return to_response(problem(error.status, f"{request.method} {request.path[:200]}: {error.reason}", allow))
        except Exception as error:
            return to_response(self._failures.reply_to(error, "management"))

    async def _check_caller(self, request: web.Request) -> None:
        """Raises Refusal (401, 403) unless an admin or the console calls, and may do this."""
        caller = await identify_admin(self._room, request)
        resource = request.match_info.route.resource
        operation = None if resource is None else find_operation(request.method, resource.canonical)
        await check_permission(self._room, request, operation, caller)
        request[CALLER], request[ACTOR] = caller, caller.name

    async def _create_run(self, request: web.Request) -> web.Response:
        environment, wanted = read_environment(request), await read_model(request, NewRun)
        check_workflow(request[CALLER], wanted.workflow)
        run, is_new = await create_run(self._room, environment, wanted, request.headers)
        location = {"Location": f"/v1/{environment}/runs/{run.id}"}
        return (
            self._show(request, run, 201, location)
            if is_new
            else self._show(request, run, 200, {**location, "Idempotent-Replayed": "true"})
        )

    async def _list_runs(self, request: web.Request) -> web.Response:
        return self._show(request, await show_runs(self._room, read_environment(request), request.query))

    async def _get_run(self, request: web.Request) -> web.Response:
        return self._show(request, await show_run(self._room, read_environment(request), read_id(request)))

    async def _get_inputs(self, request: web.Request) -> web.Response:
        environment, id, step = read_environment(request), read_id(request), request.query.get("step", "")
        return self._show(request, await show_step_inputs(self._room, environment, id, step, request[CALLER]))

    async def _cancel_run(self, request: web.Request) -> web.Response:
        return self._show(
            request, await cancel_run(self._room, read_environment(request), read_id(request), request[ACTOR])
        )

    async def _retry_run(self, request: web.Request) -> web.Response:
        environment, id = read_environment(request), read_id(request)
        wanted = await read_model(request, RunRetry, is_optional=True)
        return self._show(
            request, await retry_failed_run(self._room, environment, id, wanted.mending(), request[ACTOR])
        )

    async def _send_signal(self, request: web.Request) -> web.Response:
        environment, key = (
            read_environment(request),
            read_idempotency_key(request.headers.getall("Idempotency-Key", ())),
        )
        body = await read_body(request, most=MAX_BODY_BYTES, seconds=BODY_SECONDS)
        return self._show(request, await send_signal(self._room, environment, request.match_info["name"], body, key))

    async def _store_file(self, request: web.Request) -> web.Response:
        environment, name = read_environment(request), request.query.get("name", "file")
        pieces = read_pieces(request, most=MAX_FILE_BYTES, seconds=BODY_SECONDS)
        stored = await keep_file(self._room, environment, name, request.content_type, pieces)
        return self._show(request, stored, 201, {"Location": f"/v1/{environment}/files/{stored.file}"})

    async def _delete_file(self, request: web.Request) -> web.Response:
        return self._show(request, await remove_file(self._room, read_environment(request), read_id(request)))

    async def _link_file(self, request: web.Request) -> web.Response:
        lifetime = read_link_lifetime(request.query)
        link = await link_file(self._room, read_environment(request), read_id(request), lifetime)
        return self._show(request, link, 201)

    async def _send_file(self, request: web.Request) -> web.StreamResponse:
        stored = await find_file(self._room, read_environment(request), read_id(request))
        response = web.StreamResponse(headers=describe_file(stored))
        await response.prepare(request)
        async for chunk in stored:
            await response.write(chunk)
        await response.write_eof()
        return response

    async def _get_settings(self, request: web.Request) -> web.Response:
        return self._show(request, await show_settings(self._room, read_environment(request)))

    async def _put_settings(self, request: web.Request) -> web.Response:
        return self._show(
            request,
            await update_settings(
                self._room, read_environment(request), await read_model(request, SettingsChange), request[ACTOR]
            ),
        )

    async def _list_audit(self, request: web.Request) -> web.Response:
        return self._show(request, await show_audit(self._room, read_environment(request), request.query))

    async def _get_workload(self, request: web.Request) -> web.Response:
        return self._show(request, await show_workload(self._room, read_environment(request), request.query))

    async def _get_weights(self, request: web.Request) -> web.Response:
        return self._show(request, await show_weights(self._room, read_environment(request)))

    async def _put_weights(self, request: web.Request) -> web.Response:
        return self._show(
            request,
            await update_weights(
                self._room, read_environment(request), await read_model(request, WeightsChange), request[ACTOR]
            ),
        )

    async def _list_recurrences(self, request: web.Request) -> web.Response:
        return self._show(
            request, await recurrences.show_recurrences(self._room, read_environment(request), request.query)
        )

    async def _create_recurrence(self, request: web.Request) -> web.Response:
        wanted = await read_model(request, NewRecurrence)
        return self._show(
            request, await recurrences.create_recurrence(self._room, read_environment(request), wanted, request[ACTOR])
        )

    async def _get_recurrence(self, request: web.Request) -> web.Response:
        return self._show(
            request, await recurrences.show_recurrence(self._room, read_environment(request), read_id(request))
        )

    async def _with_recurrence(self, verb: _RecurrenceVerb, request: web.Request) -> web.Response:
        return self._show(request, await verb(self._room, read_environment(request), read_id(request), request[ACTOR]))

    async def _next_of_cron(self, request: web.Request) -> web.Response:
        read_environment(request)
        return self._show(request, await recurrences.show_next_of_cron(self._room, request.query))

    async def _next_ticks(self, request: web.Request) -> web.Response:
        environment, id = read_environment(request), read_id(request)
        return self._show(request, await recurrences.show_next(self._room, environment, id, request.query))

    async def _list_ticks(self, request: web.Request) -> web.Response:
        id, environment = read_id(request), read_environment(request)
        return self._show(request, await recurrences.show_ticks(self._room, environment, id, request.query))

    async def _pause_recurrence(self, request: web.Request) -> web.Response:
        environment, wanted = read_environment(request), await read_model(request, RecurrencePause, is_optional=True)
        actor = request[ACTOR]
        return self._show(request, await recurrences.pause(self._room, environment, read_id(request), wanted, actor))

    async def _backfill_recurrence(self, request: web.Request) -> web.Response:
        id, wanted = read_id(request), await read_model(request, Backfill)
        return self._show(
            request,
            await recurrences.backfill(
                self._room, read_environment(request), id, wanted, recurrences.Request(request.headers, request[ACTOR])
            ),
        )

    async def _trigger_recurrence(self, request: web.Request) -> web.Response:
        return self._show(
            request,
            await recurrences.trigger(
                self._room,
                read_environment(request),
                read_id(request),
                recurrences.Request(request.headers, request[ACTOR]),
            ),
        )

    def _show(
        self, request: web.Request, shown: Shown, status: int = 200, headers: dict[str, str] | None = None
    ) -> web.Response:
        """Without secrets, also where a caller has put one into a parameter; and without payloads, for callers who may
        not see them.
        """
        document = shown.encoded() if request[CALLER].sees_payloads else shown.encoded_without_payloads()
        document = self._room.secrets.redactor(read_environment(request)).encoded(document)
        return to_response(Reply(status, document, JSON, headers or {}))


async def _check_known(request: web.Request) -> None:
    """Raises Refusal (422) for query parameters, and keys of a body, that the operation does not know."""
    resource = request.match_info.route.resource
    operation = None if resource is None else find_operation(request.method, resource.canonical)
    known = () if operation is None else operation.query
    unknown = sorted({name for name in request.query if name not in known})
    if unknown and resource is not None:
        raise _unknown("query parameter", unknown, known)
    if operation is not None and operation.body is None and not operation.is_upload and request.can_read_body:
        body = await read_body(request, most=_MAX_UNWANTED_BYTES, seconds=BODY_SECONDS)
        given = decode(body) if body.strip() else {}
        if given != {}:
            raise _unknown("key", sorted(given) if isinstance(given, dict) else ["(the body)"], ())


def _unknown(kind: str, names: Sequence[str], known: Sequence[str]) -> Refusal:
    listed = ", ".join(repr(name[:50]) for name in names[:10])
    hint = f"known are {', '.join(known)}" if known else f"there is no {kind} here, leave it out"
    return Refusal(problem(422, f"unknown {kind} {listed}; {hint}"))
