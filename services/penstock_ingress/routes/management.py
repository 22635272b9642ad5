"""The admin port: the management API under `/v1/{environment}`, which needs an admin token, beside the open pages."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar
from urllib.parse import quote
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, JsonValue, ValidationError

from penstock import exact_json
from penstock.contracts.messages import describe
from penstock.definitions.models import ENVIRONMENTS
from penstock.domain.policies import SettingsChange
from penstock.runs.views.models import Shown
from penstock.store.audit import ADMIN
from penstock_ingress.handlers import chains, recurrences, schedule
from penstock_ingress.handlers.files import MAX_FILE_BYTES, find_file, keep_file
from penstock_ingress.handlers.interventions import cancel_run, retry_failed_run, send_signal
from penstock_ingress.handlers.management import (
    create_run,
    show_audit,
    show_chain,
    show_logs,
    show_run,
    show_runs,
    show_settings,
    show_workflows,
    update_settings,
)
from penstock_ingress.handlers.recurrences import Caller
from penstock_ingress.handlers.workload import show_weights, show_workload, update_weights
from penstock_ingress.room import Room
from penstock_ingress.routes.openapi import find_operation
from penstock_ingress.routes.pages import OPEN_PATHS, add_pages
from penstock_ingress.routes.transport import FailureReplies, read_body, read_pieces, to_response
from penstock_ingress.rules.bodies import parse_json
from penstock_ingress.rules.headers import read_idempotency_key, read_token
from penstock_ingress.rules.management import (
    Backfill,
    ChainResumeRequest,
    ChainStopRequest,
    Move,
    NewPause,
    NewRecurrence,
    NewRun,
    RecurrencePause,
    Resumption,
    WeightsChange,
)
from penstock_ingress.rules.replies import JSON, Refusal, Reply, problem
from penstock_ingress.rules.undecodable import Undecodable

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
_BODY_SECONDS: Final = 30.0
_MAX_UNWANTED_BYTES: Final = 64 * 1024
_OPEN: Final = OPEN_PATHS | {"/healthz", "/readyz", "/metrics"}
_ACTOR: Final = web.RequestKey("actor", str)
"""Where a request keeps who sends it, for the audit."""
Model = TypeVar("Model", bound=BaseModel)
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
        app.router.add_post("/v1/{environment}/runs/{id}/cancel", self._cancel_run)
        app.router.add_post("/v1/{environment}/runs/{id}/retry", self._retry_run)
        app.router.add_post("/v1/{environment}/signals/{name}", self._send_signal)
        app.router.add_get("/v1/{environment}/chains/{id}", self._get_chain)
        app.router.add_post("/v1/{environment}/chains/{id}/stop", self._stop_chain)
        app.router.add_post("/v1/{environment}/chains/{id}/resume", self._resume_chain)
        app.router.add_post("/v1/{environment}/files", self._store_file)
        app.router.add_get("/v1/{environment}/files/{id}", self._send_file)
        app.router.add_get("/v1/{environment}/settings", self._get_settings)
        app.router.add_put("/v1/{environment}/settings", self._put_settings)
        app.router.add_get("/v1/{environment}/audit", self._list_audit)
        app.router.add_get("/v1/{environment}/logs", self._list_logs)
        app.router.add_get("/v1/{environment}/workload", self._get_workload)
        app.router.add_get("/v1/{environment}/workload/weights", self._get_weights)
        app.router.add_put("/v1/{environment}/workload/weights", self._put_weights)
        app.router.add_get("/v1/{environment}/workflows", self._list_workflows)
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
        app.router.add_get("/v1/{environment}/schedule", self._list_schedule)
        app.router.add_delete("/v1/{environment}/schedule", self._cancel_schedule)
        app.router.add_get("/v1/{environment}/schedule/pauses", self._list_pauses)
        app.router.add_post("/v1/{environment}/schedule/pause", self._pause_schedule)
        app.router.add_post("/v1/{environment}/schedule/resume", self._resume_schedule)
        app.router.add_delete("/v1/{environment}/schedule/{id}", self._cancel_scheduled)
        app.router.add_post("/v1/{environment}/schedule/{id}/move", self._move_scheduled)
        add_pages(app, self._room)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Lets admins in, and turns every failure into a problem document. Pages and probes are open."""
        if request.path in _OPEN:
            return await handler(request)
        try:
            self._check_token(request)
            await _check_known(request)
            return await handler(request)
        except web.HTTPException as error:
            allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            return to_response(problem(error.status, f"{request.method} {request.path[:200]}: {error.reason}", allow))
        except Exception as error:
            return to_response(self._failures.reply_to(error, "management"))

    def _check_token(self, request: web.Request) -> None:
        token: str | None = None
        with suppress(ValueError):
            token = read_token(request.headers.get("Authorization"), None)
        if token is None or not self._room.admins.is_admin(token):
            detail = "an admin token is needed: send it as Authorization: Bearer …; PENSTOCK_ADMIN_TOKEN sets it"
            raise Refusal(problem(401, detail, {"WWW-Authenticate": "Bearer"}))
        request[_ACTOR] = ADMIN

    async def _create_run(self, request: web.Request) -> web.Response:
        environment = _environment(request)
        run, is_new = await create_run(self._room, environment, await _read(request, NewRun), request.headers)
        location = {"Location": f"/v1/{environment}/runs/{run.id}"}
        return (
            self._show(request, run, 201, location)
            if is_new
            else self._show(request, run, 200, {**location, "Idempotent-Replayed": "true"})
        )

    async def _list_runs(self, request: web.Request) -> web.Response:
        return self._show(request, await show_runs(self._room, _environment(request), request.query))

    async def _get_run(self, request: web.Request) -> web.Response:
        return self._show(request, await show_run(self._room, _environment(request), _id(request)))

    async def _cancel_run(self, request: web.Request) -> web.Response:
        return self._show(request, await cancel_run(self._room, _environment(request), _id(request), request[_ACTOR]))

    async def _retry_run(self, request: web.Request) -> web.Response:
        return self._show(
            request, await retry_failed_run(self._room, _environment(request), _id(request), request[_ACTOR])
        )

    async def _send_signal(self, request: web.Request) -> web.Response:
        environment, key = _environment(request), read_idempotency_key(request.headers.getall("Idempotency-Key", ()))
        body = await read_body(request, most=MAX_BODY_BYTES, seconds=_BODY_SECONDS)
        return self._show(request, await send_signal(self._room, environment, request.match_info["name"], body, key))

    async def _get_chain(self, request: web.Request) -> web.Response:
        return self._show(request, await show_chain(self._room, _environment(request), _id(request), request.query))

    async def _store_file(self, request: web.Request) -> web.Response:
        environment, name = _environment(request), request.query.get("name", "file")
        pieces = read_pieces(request, most=MAX_FILE_BYTES, seconds=_BODY_SECONDS)
        stored = await keep_file(self._room, environment, name, request.content_type, pieces)
        return self._show(request, stored, 201, {"Location": f"/v1/{environment}/files/{stored.file}"})

    async def _send_file(self, request: web.Request) -> web.StreamResponse:
        stored = await find_file(self._room, _environment(request), _id(request))
        headers = {
            "Content-Type": stored.content_type,
            "Content-Length": str(stored.size),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(stored.name)}",
            "X-Content-Type-Options": "nosniff",
        }
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        async for chunk in stored:
            await response.write(chunk)
        await response.write_eof()
        return response

    async def _get_settings(self, request: web.Request) -> web.Response:
        return self._show(request, await show_settings(self._room, _environment(request)))

    async def _put_settings(self, request: web.Request) -> web.Response:
        return self._show(
            request,
            await update_settings(
                self._room, _environment(request), await _read(request, SettingsChange), request[_ACTOR]
            ),
        )

    async def _stop_chain(self, request: web.Request) -> web.Response:
        wanted = await _read(request, ChainStopRequest, is_optional=True)
        return self._show(
            request, await chains.stop(self._room, _environment(request), _id(request), wanted, request[_ACTOR])
        )

    async def _resume_chain(self, request: web.Request) -> web.Response:
        wanted = await _read(request, ChainResumeRequest, is_optional=True)
        return self._show(
            request, await chains.resume(self._room, _environment(request), _id(request), wanted, request[_ACTOR])
        )

    async def _list_audit(self, request: web.Request) -> web.Response:
        return self._show(request, await show_audit(self._room, _environment(request), request.query))

    async def _list_logs(self, request: web.Request) -> web.Response:
        return self._show(request, await show_logs(self._room, _environment(request), request.query))

    async def _get_workload(self, request: web.Request) -> web.Response:
        return self._show(request, await show_workload(self._room, _environment(request), request.query))

    async def _get_weights(self, request: web.Request) -> web.Response:
        return self._show(request, await show_weights(self._room, _environment(request)))

    async def _put_weights(self, request: web.Request) -> web.Response:
        return self._show(
            request,
            await update_weights(
                self._room, _environment(request), await _read(request, WeightsChange), request[_ACTOR]
            ),
        )

    async def _list_recurrences(self, request: web.Request) -> web.Response:
        return self._show(request, await recurrences.show_recurrences(self._room, _environment(request), request.query))

    async def _create_recurrence(self, request: web.Request) -> web.Response:
        wanted = await _read(request, NewRecurrence)
        return self._show(
            request, await recurrences.create_recurrence(self._room, _environment(request), wanted, request[_ACTOR])
        )

    async def _get_recurrence(self, request: web.Request) -> web.Response:
        return self._show(request, await recurrences.show_recurrence(self._room, _environment(request), _id(request)))

    async def _with_recurrence(self, verb: _RecurrenceVerb, request: web.Request) -> web.Response:
        return self._show(request, await verb(self._room, _environment(request), _id(request), request[_ACTOR]))

    async def _next_of_cron(self, request: web.Request) -> web.Response:
        _environment(request)
        return self._show(request, await recurrences.show_next_of_cron(self._room, request.query))

    async def _next_ticks(self, request: web.Request) -> web.Response:
        environment, id = _environment(request), _id(request)
        return self._show(request, await recurrences.show_next(self._room, environment, id, request.query))

    async def _list_ticks(self, request: web.Request) -> web.Response:
        id, environment = _id(request), _environment(request)
        return self._show(request, await recurrences.show_ticks(self._room, environment, id, request.query))

    async def _pause_recurrence(self, request: web.Request) -> web.Response:
        environment, wanted = _environment(request), await _read(request, RecurrencePause, is_optional=True)
        actor = request[_ACTOR]
        return self._show(request, await recurrences.pause(self._room, environment, _id(request), wanted, actor))

    async def _backfill_recurrence(self, request: web.Request) -> web.Response:
        id, wanted = _id(request), await _read(request, Backfill)
        return self._show(
            request,
            await recurrences.backfill(
                self._room, _environment(request), id, wanted, Caller(request.headers, request[_ACTOR])
            ),
        )

    async def _trigger_recurrence(self, request: web.Request) -> web.Response:
        return self._show(
            request,
            await recurrences.trigger(
                self._room, _environment(request), _id(request), Caller(request.headers, request[_ACTOR])
            ),
        )

    async def _list_schedule(self, request: web.Request) -> web.Response:
        return self._show(request, await schedule.show_schedule(self._room, _environment(request), request.query))

    async def _cancel_schedule(self, request: web.Request) -> web.Response:
        environment, actor = _environment(request), request[_ACTOR]
        return self._show(request, await schedule.cancel_by_filter(self._room, environment, request.query, actor))

    async def _list_pauses(self, request: web.Request) -> web.Response:
        return self._show(request, await schedule.show_pauses(self._room, _environment(request)))

    async def _pause_schedule(self, request: web.Request) -> web.Response:
        environment, wanted = _environment(request), await _read(request, NewPause)
        return self._show(request, await schedule.pause(self._room, environment, wanted, request[_ACTOR]))

    async def _resume_schedule(self, request: web.Request) -> web.Response:
        environment, wanted = _environment(request), await _read(request, Resumption)
        return self._show(request, await schedule.resume(self._room, environment, wanted, request[_ACTOR]))

    async def _cancel_scheduled(self, request: web.Request) -> web.Response:
        environment, actor = _environment(request), request[_ACTOR]
        return self._show(request, await schedule.cancel_one(self._room, environment, _id(request), actor))

    async def _move_scheduled(self, request: web.Request) -> web.Response:
        environment, wanted, actor = _environment(request), await _read(request, Move), request[_ACTOR]
        return self._show(request, await schedule.move(self._room, environment, _id(request), wanted, actor))

    async def _list_workflows(self, request: web.Request) -> web.Response:
        return self._show(request, await show_workflows(self._room, _environment(request)))

    def _show(
        self, request: web.Request, shown: Shown, status: int = 200, headers: dict[str, str] | None = None
    ) -> web.Response:
        """Without secrets, also where a caller has put one into a parameter."""
        document = self._room.secrets.redactor(_environment(request)).encoded(shown.encoded())
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
        body = await read_body(request, most=_MAX_UNWANTED_BYTES, seconds=_BODY_SECONDS)
        given = _decode(body) if body.strip() else {}
        if given != {}:
            raise _unknown("key", sorted(given) if isinstance(given, dict) else ["(the body)"], ())


def _unknown(kind: str, names: Sequence[str], known: Sequence[str]) -> Refusal:
    listed = ", ".join(repr(name[:50]) for name in names[:10])
    hint = f"known are {', '.join(known)}" if known else f"there is no {kind} here, leave it out"
    return Refusal(problem(422, f"unknown {kind} {listed}; {hint}"))


def _decode(body: bytes) -> JsonValue:
    try:
        return parse_json(body)
    except Undecodable as error:
        raise Refusal(problem(400, str(error))) from None


def _environment(request: web.Request) -> str:
    environment = request.match_info["environment"]
    if environment not in ENVIRONMENTS:
        raise Refusal(problem(404, f"there is no environment {environment[:50]!r}, only {' and '.join(ENVIRONMENTS)}"))
    return environment


def _id(request: web.Request) -> UUID:
    text = request.match_info["id"]
    try:
        return UUID(text)
    except ValueError:
        raise Refusal(
            problem(404, f"{text[:50]!r} is not an id; ids look like 0190a5f2-7c00-8a11-9b22-0123456789ab")
        ) from None


async def _read(request: web.Request, model: type[Model], *, is_optional: bool = False) -> Model:
    body = await read_body(request, most=MAX_BODY_BYTES, seconds=_BODY_SECONDS)
    if is_optional and not body.strip():
        body = b"{}"
    try:
        return _with_exact_numbers(model.model_validate_json(body), body)
    except ValidationError as error:
        is_json = all(found["type"] != "json_invalid" for found in error.errors())
        raise Refusal(problem(422 if is_json else 400, describe(error))) from None


def _with_exact_numbers(read: Model, body: bytes) -> Model:
    """`read` with the parameters as `body` has them: pydantic reads floats."""
    if "parameters" not in type(read).model_fields or not exact_json.has_long_number(body):
        return read
    fields = exact_json.loads(body)
    parameters = fields.get("parameters") if isinstance(fields, dict) else None
    return read.model_copy(update={"parameters": parameters}) if isinstance(parameters, dict) else read
