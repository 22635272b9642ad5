"""The routes of the management API about what is coming, about many runs at once, and about workflows."""

from typing import Protocol

from aiohttp import web

from penstock.runs.views.models import Shown
from penstock_ingress.handlers import deployed, operations, schedule
from penstock_ingress.repository.views import Operation
from penstock_ingress.room import Room
from penstock_ingress.routes.permissions import check_choice
from penstock_ingress.routes.requests import ACTOR, CALLER, read_environment, read_id, read_model
from penstock_ingress.rules.management import (
    Move,
    NewPause,
    Resumption,
    RunCancelChoice,
    RunRetryChoice,
    WorkflowPause,
    WorkflowResumption,
)


class Show(Protocol):
    """Makes the response that shows a result."""

    def __call__(
        self, request: web.Request, shown: Shown, status: int = 200, headers: dict[str, str] | None = None
    ) -> web.Response: ...


class ScheduleRoutes:
    """Handlers for a router; `show` makes their responses."""

    def __init__(self, room: Room, show: Show) -> None:
        self._room = room
        self._show = show

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get("/v1/{environment}/schedule", self._list_schedule)
        router.add_delete("/v1/{environment}/schedule", self._cancel_schedule)
        router.add_post("/v1/{environment}/runs/cancel", self._cancel_runs)
        router.add_post("/v1/{environment}/runs/retry", self._retry_runs)
        router.add_get("/v1/{environment}/operations/{id}", self._get_operation)
        router.add_get("/v1/{environment}/schedule/pauses", self._list_pauses)
        router.add_post("/v1/{environment}/schedule/pause", self._pause_schedule)
        router.add_post("/v1/{environment}/schedule/resume", self._resume_schedule)
        router.add_delete("/v1/{environment}/schedule/{id}", self._cancel_scheduled)
        router.add_post("/v1/{environment}/schedule/{id}/move", self._move_scheduled)
        router.add_get("/v1/{environment}/workflows", self._list_workflows)
        router.add_get("/v1/{environment}/workflows/{name}", self._get_workflow)
        router.add_get("/v1/{environment}/workflows/{name}/versions", self._list_versions)
        router.add_get("/v1/{environment}/graph", self._get_graph)
        router.add_post("/v1/{environment}/workflows/{name}/pause", self._pause_workflow)
        router.add_post("/v1/{environment}/workflows/{name}/resume", self._resume_workflow)

    async def _list_schedule(self, request: web.Request) -> web.Response:
        return self._show(request, await schedule.show_schedule(self._room, read_environment(request), request.query))

    async def _cancel_schedule(self, request: web.Request) -> web.Response:
        environment, actor = read_environment(request), request[ACTOR]
        begun = await operations.cancel_schedule(self._room, environment, request.query, actor)
        return self._show(request, begun, 202, _location(begun))

    async def _cancel_runs(self, request: web.Request) -> web.Response:
        environment, wanted = read_environment(request), await read_model(request, RunCancelChoice)
        check_choice(request[CALLER], wanted)
        begun = await operations.cancel_runs(self._room, environment, wanted, request[ACTOR])
        return self._show(request, begun, 202, _location(begun))

    async def _retry_runs(self, request: web.Request) -> web.Response:
        environment, wanted = read_environment(request), await read_model(request, RunRetryChoice)
        check_choice(request[CALLER], wanted)
        begun = await operations.retry_runs(self._room, environment, wanted, request[ACTOR])
        return self._show(request, begun, 202, _location(begun))

    async def _get_operation(self, request: web.Request) -> web.Response:
        environment, id = read_environment(request), read_id(request)
        return self._show(request, await operations.show_operation(self._room, environment, id))

    async def _list_pauses(self, request: web.Request) -> web.Response:
        return self._show(request, await schedule.show_pauses(self._room, read_environment(request)))

    async def _pause_schedule(self, request: web.Request) -> web.Response:
        environment, wanted = read_environment(request), await read_model(request, NewPause)
        return self._show(request, await schedule.pause(self._room, environment, wanted, request[ACTOR]))

    async def _resume_schedule(self, request: web.Request) -> web.Response:
        environment, wanted = read_environment(request), await read_model(request, Resumption)
        return self._show(request, await schedule.resume(self._room, environment, wanted, request[ACTOR]))

    async def _cancel_scheduled(self, request: web.Request) -> web.Response:
        environment, actor = read_environment(request), request[ACTOR]
        return self._show(request, await schedule.cancel_one(self._room, environment, read_id(request), actor))

    async def _move_scheduled(self, request: web.Request) -> web.Response:
        environment, wanted, actor = read_environment(request), await read_model(request, Move), request[ACTOR]
        return self._show(request, await schedule.move(self._room, environment, read_id(request), wanted, actor))

    async def _list_workflows(self, request: web.Request) -> web.Response:
        return self._show(request, await deployed.show_workflows(self._room, read_environment(request)))

    async def _get_workflow(self, request: web.Request) -> web.Response:
        environment, name = read_environment(request), request.match_info["name"]
        return self._show(request, await deployed.show_workflow(self._room, environment, name))

    async def _list_versions(self, request: web.Request) -> web.Response:
        environment, name = read_environment(request), request.match_info["name"]
        return self._show(request, await deployed.show_versions(self._room, environment, name))

    async def _get_graph(self, request: web.Request) -> web.Response:
        return self._show(request, await deployed.show_graph(self._room, read_environment(request)))

    async def _pause_workflow(self, request: web.Request) -> web.Response:
        environment, name = read_environment(request), request.match_info["name"]
        wanted = await read_model(request, WorkflowPause, is_optional=True)
        return self._show(request, await deployed.pause(self._room, environment, name, wanted, request[ACTOR]))

    async def _resume_workflow(self, request: web.Request) -> web.Response:
        environment, name = read_environment(request), request.match_info["name"]
        wanted = await read_model(request, WorkflowResumption, is_optional=True)
        return self._show(request, await deployed.resume(self._room, environment, name, wanted, request[ACTOR]))


def _location(of: Operation) -> dict[str, str]:
    return {"Location": f"/v1/{of.environment}/operations/{of.id}"}
