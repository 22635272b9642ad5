"""Calls of API workflows: who may call, with which parameters, which run that makes, and what its caller is answered.

Order of refusals: a token nobody has (401, before anything else), a workflow that is not there for this method or at
all (404), a caller without rights (401), then keys, bodies and parameters. A wrong method is 404 like everything
unexposed, as it is with Bubble.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import urlencode

from multidict import MultiMapping
from pydantic import JsonValue

from penstock.definitions.models import ApiTrigger, Auth, Respond, Workflow
from penstock.definitions.parameters import ParameterProblem
from penstock.domain.callers import Caller, Role
from penstock.domain.ids import RunId, new_run_id
from penstock.domain.runs import Admitted, Duplicate, Rejected, Terminated
from penstock.domain.states import Trigger
from penstock.encryption import Keyring
from penstock.errors import StaleDefinitions
from penstock.runs.idempotency import IdempotencyKey, protect_key
from penstock.runs.requests import RunRequest, accept_run
from penstock.runs.sealing import seal_passwords
from penstock.store.deployments import CompiledDeployment
from penstock_ingress.accepting.acceptance import Entry
from penstock_ingress.accepting.attachments import attach_files
from penstock_ingress.accepting.references import find_absent_reference
from penstock_ingress.handlers.files import drop_uploads, keep_uploads
from penstock_ingress.handlers.lineage import find_lineage, find_trace
from penstock_ingress.room import Room
from penstock_ingress.rules import bubble
from penstock_ingress.rules.answers import redirect_failure, reply_for
from penstock_ingress.rules.bodies import ReceivedBody
from penstock_ingress.rules.headers import (
    Preference,
    read_idempotency_key,
    read_preference,
    storable_headers,
    storable_text,
    storable_value,
)
from penstock_ingress.rules.parameters import read_parameters
from penstock_ingress.rules.replies import Refusal, Reply, json_reply, problem
from penstock_ingress.rules.uploads import Uploads

RUNS_PATH: Final = "/api/1.1/runs/"


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One request to `/api/1.1/wf/{workflow}`. `query` is without `api_token`; `origin` is what URLs of this port begin
    with: `https://example.com`, or `//example.com`.
    """

    environment: str
    prefix: str
    workflow: str
    method: str
    headers: MultiMapping[str]
    query: Mapping[str, JsonValue]
    caller: Caller
    ip: str | None
    origin: str = "//localhost"


@dataclass(frozen=True, slots=True)
class _Received:
    """A call, what was read from its body and headers, and the id that its run will have."""

    call: ApiCall
    body: ReceivedBody
    run_id: RunId
    key: IdempotencyKey | None
    preference: Preference


@dataclass(frozen=True, slots=True)
class Started:
    """The run that a call has made, or the one it is a copy of."""

    run_id: RunId
    trigger: ApiTrigger
    is_replay: bool = False
    terminated: Terminated | None = None


async def authorize_call(room: Room, call: ApiCall) -> None:
    """Raises Refusal when this caller may not call this workflow, or there is none; asked before a body is read."""

    async def find(deployment: CompiledDeployment) -> None:
        find_exposed(deployment, call)

    await room.definitions.decide(call.environment, find)


async def call_workflow(room: Room, call: ApiCall, body: ReceivedBody) -> Reply:
    """Admit the run, wait for its answer as long as caller and workflow want, and reply. Raises Refusal,
    DatabaseUnavailable.
    """
    key = _bind_key(call, body.data)
    preference = read_preference(call.headers.getall("Prefer", ()))
    run_id = new_run_id()
    with room.answers.expecting(run_id) as waiter:
        received = _Received(call, body, run_id, key, preference)
        started = await room.definitions.decide(call.environment, partial(_start, room, received))
        body.release()  # those who wait hold nothing
        headers = {"Penstock-Run-Id": str(started.run_id)}
        if started.is_replay:
            headers["Idempotent-Replayed"] = "true"
            waiter.follow(started.run_id)
        if started.terminated is not None:
            return redirect_failure(_terminated(started.terminated), started.trigger).with_headers(headers)
        patience = _patience(room, call.caller, started.trigger, preference)
        is_early = started.trigger.respond is Respond.ON_RETURN
        answer = await waiter.wait(patience, is_early=is_early) if patience > 0 else None
    if answer is None:
        return _accepted(call, started, preference, headers)
    reply = reply_for(answer, call.workflow, started.trigger).unsealed((call.environment, started.run_id), room.keyring)
    return reply.with_headers({**headers, **_applied_wait(preference)})


def _terminated(terminated: Terminated) -> Reply:
    path = " → ".join(terminated.path)
    message = f"The workflow {terminated.run.workflow} was terminated ({terminated.reason.value}). Path: {path}"
    return bubble.wrapped(500, "ERROR", message)


def find_exposed(deployment: CompiledDeployment, call: ApiCall) -> tuple[Workflow, ApiTrigger]:
    """The workflow that is called, and its trigger. Raises Refusal when there is none that this caller may call."""
    workflow = deployment.app.workflows.get(call.workflow)
    if workflow is None or workflow.api is None or workflow.api.method != call.method:
        raise Refusal(
            bubble.not_found(f"Workflow not found: no workflow {call.workflow} can be called here with {call.method}")
        )
    check_permission(call.caller, workflow.name, workflow.api.auth)
    return workflow, workflow.api


def check_permission(caller: Caller, workflow: str, auth: Auth) -> None:
    """Raises Refusal unless this caller may call the workflow: anybody a public one, users of the app and operators the
    others, as far as their tokens reach.
    """
    is_user = caller.user_id is not None and auth is Auth.USER
    if caller.role is not None:
        if not (caller.may(Role.OPERATOR) and caller.reaches_workflow(workflow)):
            raise Refusal(bubble.unauthorized(f"Permission denied: this token may not start the workflow {workflow}"))
    elif auth is not Auth.PUBLIC and not is_user:
        needed = "an API token" if auth is Auth.ADMIN else "an API token, or that of a user"
        raise Refusal(bubble.unauthorized(f"Permission denied: the workflow {workflow} needs {needed}"))


async def _start(room: Room, received: _Received, deployment: CompiledDeployment) -> Started:
    """Admit the run, checked against `deployment`."""
    call, run_id = received.call, received.run_id
    workflow, trigger = find_exposed(deployment, call)
    content_type, uploads = call.headers.get("Content-Type", ""), Uploads(f"{call.origin}{call.prefix}")
    try:
        parameters = read_parameters(workflow, deployment.app, call.query, received.body.data, content_type, uploads)
        key = received.key
        if workflow.passwords:
            parameters = _seal(workflow, parameters, call.environment, run_id, room.keyring)
            key = protect_key(key, room.keyring)
        absent = await find_absent_reference(
            room.database, (call.environment, key), workflow, deployment.app, parameters
        )
        if absent is not None:
            raise Refusal(bubble.wrapped(400, "INVALID_DATA", absent.message))
        files = await attach_files(room.database, call.environment, deployment.app, uploads.files)
    except Refusal as refusal:
        raise Refusal(redirect_failure(refusal.reply, trigger)) from None
    request = RunRequest(
        run_id=run_id,
        environment=call.environment,
        workflow=workflow.name,
        parameters=parameters,
        trigger=Trigger.API,
        lineage=await find_lineage(room, call.headers, call.environment),
        context=_context(call, deployment.app.name, workflow.passwords),
        key=key,
    )
    run = accept_run(request, workflow, deployment.version)
    is_awaited = _patience(room, call.caller, trigger, received.preference) > 0
    await keep_uploads(room, call.environment, run_id, files)
    try:
        accepted = await room.acceptance.accept(Entry((run,), reply_to=room.reply_to if is_awaited else None))
    except StaleDefinitions:  # no run was made; after other errors there may be one
        await drop_uploads(room, call.environment, uploads.files)
        raise
    if isinstance(accepted.admissions[0], Duplicate | Rejected):
        await drop_uploads(room, call.environment, uploads.files)
    match accepted.admissions[0]:
        case Admitted():
            return Started(run_id, trigger)
        case Duplicate(of=of):
            return Started(RunId(of), trigger, is_replay=True)
        case Terminated() as terminated:
            return Started(run_id, trigger, terminated=terminated)
        case Rejected(message=message):
            raise Refusal(problem(422, message))


def _seal(
    workflow: Workflow, parameters: dict[str, JsonValue], environment: str, run_id: RunId, keyring: Keyring | None
) -> dict[str, JsonValue]:
    """The parameters with passwords sealed. Raises Refusal."""
    try:
        return seal_passwords(workflow, parameters, environment, run_id, keyring)
    except ParameterProblem as error:
        raise Refusal(bubble.wrapped(400, error.code, error.message)) from None


def _bind_key(call: ApiCall, body: bytes) -> IdempotencyKey | None:
    """The caller's idempotency key, bound to this very request. Each workflow has its own keys, and so has each caller;
    of anonymous ones, each address.
    """
    key = read_idempotency_key(call.headers.getall("Idempotency-Key", ()))
    if key is None:
        return None
    principal = f"{call.caller.name} {call.ip}" if call.caller.is_anonymous else call.caller.name
    query, content_type = urlencode(call.query, doseq=True), call.headers.get("Content-Type", "")
    target = f"{call.method}\n/api/1.1/wf/{call.workflow}\n{query}\n{content_type}\n"
    fingerprint = hashlib.sha256(target.encode("utf-8", "surrogateescape") + body).digest()
    return IdempotencyKey(f"api {principal} {call.method} {call.workflow}", key, fingerprint)


def _context(call: ApiCall, app: str, passwords: frozenset[str]) -> dict[str, JsonValue]:
    """What expressions see as `request`, without the passwords in its query, the user for whom the run works, with the
    token that has called, and the trace that it continues.
    """
    query: dict[str, JsonValue] = {
        storable_text(name): storable_value(value)
        for name, value in call.query.items()
        if not passwords or _names_none_of(passwords, name)
    }
    request: dict[str, JsonValue] = {
        "method": call.method,
        "headers": {**storable_headers(call.headers)},
        "query": query,
        "ip": call.ip,
    }
    trace, user_id = find_trace(call.headers), call.caller.find_user_id(app, call.environment)
    context: dict[str, JsonValue] = {"request": request, "caller": call.caller.name}
    # An empty user is a stranger, to privacy rules, and stays one in all runs that come of this one.
    context["user"] = {} if user_id is None else {"_id": user_id}
    if call.caller.token_id is not None:
        context["session"] = str(call.caller.token_id)
    return context if trace is None else {**context, "trace": trace}


def _names_none_of(passwords: frozenset[str], name: str) -> bool:
    """Whether a field of a query is none of these, nor a part of one, in whichever case: `password[0]`, `Password`."""
    plain = name.partition("[")[0].strip().lower()
    return all(plain != password.lower() for password in passwords)


def _patience(room: Room, caller: Caller, trigger: ApiTrigger, preference: Preference) -> float:
    """How many seconds the caller is kept waiting; none when too many wait already, or it may not see the answer."""
    is_full = room.answers.waiting >= room.settings.max_requests
    if trigger.respond is Respond.AT_ONCE or is_full or not caller.sees_payloads:
        return 0.0
    longest = room.settings.respond_timeout_seconds
    if preference.wait_seconds is not None:
        return min(preference.wait_seconds, longest)
    return 0.0 if preference.is_async else longest


def _accepted(call: ApiCall, started: Started, preference: Preference, headers: dict[str, str]) -> Reply:
    """202: the run continues; `Location` says how it ended."""
    headers = {**headers, "Location": f"{call.prefix}{RUNS_PATH}{started.run_id}", **_applied_wait(preference)}
    if preference.is_async:
        headers["Preference-Applied"] = "respond-async"
    return json_reply(202, {"status": "accepted", "run_id": str(started.run_id)}, headers)


def _applied_wait(preference: Preference) -> dict[str, str]:
    return {} if preference.wait_seconds is None else {"Preference-Applied": f"wait={preference.wait_seconds}"}
