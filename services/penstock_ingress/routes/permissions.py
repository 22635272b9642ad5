"""What the bearer of a token may do with the management API: by role, environment and scope."""

from typing import Final
from uuid import UUID

from aiohttp import web

from penstock.domain.callers import Caller, Role
from penstock.domain.dead_letters import LetterVerb
from penstock.runs.operations import find_operation
from penstock_ingress.repository.answers import find_workflow_of_run
from penstock_ingress.room import Room
from penstock_ingress.routes.operation import Operation
from penstock_ingress.routes.requests import read_environment, read_id
from penstock_ingress.rules.dead_letters import LetterChoice
from penstock_ingress.rules.management import RunChoice
from penstock_ingress.rules.replies import Refusal, problem

_OF_ONE_RUN: Final = "runs/{id}"
_OF_OPERATION: Final = "operations/{id}"
_OF_LETTER: Final = "dead-letters/{id}"
_OF_TYPES: Final = ("data/{type}/", "imports/{id}")
_NAMED_IN_BODY: Final = frozenset(
    {"runs", "runs/cancel", "runs/retry", "lists", *(f"dead-letters/{verb}" for verb in LetterVerb)}
)


async def check_permission(room: Room, request: web.Request, operation: Operation | None, caller: Caller) -> None:
    """Raises Refusal (403) unless this caller may do this. What a new run starts is checked with `check_workflow`."""
    role = Role.VIEWER if operation is None else operation.needed_role
    if not caller.may(role):
        raise _forbidden(f"this needs a token with the role {role}; this one has the role {caller.role}")
    if operation is None:
        return
    asks_for_payloads = "contains" in request.query or "@" in request.query.get("user", "")
    if not caller.sees_payloads and (operation.is_download or asks_for_payloads):
        raise _forbidden("this token has no sight of payloads")
    if caller.workflows is not None:
        await _check_scope(room, request, operation, caller)


async def _check_scope(room: Room, request: web.Request, operation: Operation, caller: Caller) -> None:
    """A token for some workflows reaches what belongs to these alone: their runs, operations on them, and lists that
    name one of them.
    """
    if operation.path in _NAMED_IN_BODY and operation.method == "post":
        return  # the body names the workflow
    if operation.path.startswith(_OF_TYPES):
        return  # it is about things, which `types` of the token are about
    if operation.path.startswith((_OF_ONE_RUN, _OF_LETTER)):  # a run's dead letter has its id
        check_workflow(caller, await _find_workflow(room, request))
    elif "workflow" in operation.query and (named := request.query.get("workflow")):  # an empty one names none
        check_workflow(caller, named)
    elif operation.path == _OF_OPERATION:
        check_workflow(caller, await _find_workflow_of_operation(room, request))
    elif operation.path.startswith(("workflows/{name}", "detected/{name}")):
        check_workflow(caller, request.match_info["name"])
    else:
        raise _beyond(caller)


def check_workflow(caller: Caller, workflow: object) -> None:
    """Raises Refusal (403) unless this workflow is within the token's scope."""
    if caller.workflows is not None and workflow not in caller.workflows:
        raise _beyond(caller)


def check_choice(caller: Caller, wanted: RunChoice | LetterChoice) -> None:
    """Raises Refusal (403) unless this caller may mean these runs, or dead letters, and may know whether they hold a
    text.
    """
    check_workflow(caller, wanted.workflow)
    if wanted.contains is not None and not caller.sees_payloads:
        raise _forbidden("this token has no sight of payloads")


async def _find_workflow(room: Room, request: web.Request) -> str | None:
    try:
        run_id = UUID(request.match_info["id"])
    except ValueError:
        return None
    async with room.database.connection() as conn:
        return await find_workflow_of_run(conn, run_id=run_id)


async def _find_workflow_of_operation(room: Room, request: web.Request) -> object:
    environment, id = read_environment(request), read_id(request)
    async with room.database.connection() as conn:
        found = await find_operation(conn, environment=environment, id=id)
    return None if found is None else found.filter.get("workflow")


def _beyond(caller: Caller) -> Refusal:
    names = ", ".join(sorted(caller.workflows or ())[:20]) or "none"
    return _forbidden(f"this token reaches what belongs to some workflows alone ({names}); name one with `workflow`")


def _forbidden(detail: str) -> Refusal:
    return Refusal(problem(403, detail))
