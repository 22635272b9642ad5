"""Detection of parameters (`/initialize`): a sample is looked at and forgotten, its names and types are proposed, and
nothing runs.

As with Bubble it is on the test version alone, and for POST. A public workflow takes samples from everyone; any other
one from operators, because what it proposes ends up in an app.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

from pydantic import JsonValue

from penstock.definitions.detected import MAX_DETECTED, DetectedParameter, detect_parameters, write_parameters
from penstock.definitions.models import Auth
from penstock.definitions.parameters import ValueSource
from penstock.storable import is_storable
from penstock.store.deployments import CompiledDeployment
from penstock.store.detected import Proposal, accept_proposal, find_proposal, keep_proposal, list_proposals
from penstock_ingress.handlers.pages import read_limit, read_name_token, write_token
from penstock_ingress.handlers.workflows import ApiCall, check_permission, find_exposed
from penstock_ingress.repository.workflow_views import Detected, DetectedPage, WorkflowParameter
from penstock_ingress.room import Room
from penstock_ingress.rules import bubble
from penstock_ingress.rules.environments import DEVELOPMENT
from penstock_ingress.rules.parameters import read_sample
from penstock_ingress.rules.replies import Refusal, Reply, problem

_LIVE: Final = "Not found: parameters are detected on the test version alone, behind /version-test"


async def authorize_detection(room: Room, call: ApiCall) -> None:
    """Raises Refusal when this caller may not send a sample here; asked before a body is read."""
    if call.environment != DEVELOPMENT:
        raise Refusal(bubble.not_found(_LIVE))

    async def find(deployment: CompiledDeployment) -> None:
        workflow, trigger = find_exposed(deployment, call)
        if trigger.auth is not Auth.PUBLIC:
            check_permission(call.caller, workflow.name, Auth.ADMIN)

    await room.definitions.decide(call.environment, find)


async def show_detected(room: Room, environment: str, query: Mapping[str, str]) -> DetectedPage:
    """What was detected, by workflow. Raises Refusal."""
    limit, after = read_limit(query), read_name_token(query)
    async with room.database.connection() as conn:
        found = await list_proposals(conn, environment=environment, after=after, limit=limit + 1)
    page = found[:limit]
    return DetectedPage(
        results=[_show(proposal) for proposal in page],
        after=write_token(page[-1].workflow, 0) if len(found) > limit else None,
    )


async def show_one_detected(room: Room, environment: str, workflow: str) -> Detected:
    """What was detected of one workflow. Raises Refusal."""
    _check_name(environment, workflow)
    async with room.database.connection() as conn:
        found = await find_proposal(conn, environment=environment, workflow=workflow)
    if found is None:
        raise _missing(environment, workflow)
    return _show(found)


async def accept_detected(room: Room, environment: str, workflow: str, actor: str) -> Detected:
    """Note that it is taken over. Raises Refusal."""
    _check_name(environment, workflow)
    found = await room.database.in_transaction(
        partial(accept_proposal, environment=environment, workflow=workflow, actor=actor)
    )
    if found is None:
        raise _missing(environment, workflow)
    return _show(found)


async def detect(room: Room, call: ApiCall, body: bytes) -> Reply:
    """Propose what the sample shows, in place of what an earlier one did. Raises Refusal, DatabaseUnavailable."""
    in_json, in_text = read_sample(call.query, body, call.headers.get("Content-Type", ""))
    parameters = _detect(in_json, in_text)

    await room.database.in_transaction(
        partial(
            keep_proposal,
            environment=call.environment,
            workflow=call.workflow,
            parameters=parameters,
            actor=call.caller.name,
        )
    )
    return bubble.detected()


def _check_name(environment: str, workflow: str) -> None:
    if not is_storable(workflow):
        raise _missing(environment, "with this name")


def _missing(environment: str, workflow: str) -> Refusal:
    detail = (
        f"nothing was detected of a workflow {workflow[:200]} in {environment}; send a sample to "
        "/version-test/api/1.1/wf/WORKFLOW/initialize"
    )
    return Refusal(problem(404, detail))


def _show(proposal: Proposal) -> Detected:
    return Detected(
        workflow=proposal.workflow,
        parameters=[
            WorkflowParameter(name=known.name, type=known.type, is_optional=known.is_optional)
            for known in proposal.parameters
        ],
        yaml=write_parameters(proposal.parameters),
        detected_at=proposal.detected_at,
        detected_by=proposal.detected_by,
        accepted_at=proposal.accepted_at,
        accepted_by=proposal.accepted_by,
    )


def _detect(in_json: dict[str, JsonValue], in_text: dict[str, JsonValue]) -> list[DetectedParameter]:
    try:
        found = detect_parameters(in_json, ValueSource.JSON)
        found += [
            parameter for parameter in detect_parameters(in_text, ValueSource.TEXT) if parameter.name not in in_json
        ]
    except ValueError as error:
        raise Refusal(bubble.wrapped(400, "INVALID_DATA", str(error))) from None
    return [parameter for parameter in found if is_storable(parameter.name)][:MAX_DETECTED]
