"""The verbs of the management API. Each takes the environment and what the request says, and returns what is shown."""

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Final
from uuid import UUID

import orjson
from multidict import MultiMapping
from pydantic import JsonValue

from penstock import clock, exact_json
from penstock.domain.callers import admin_user_id
from penstock.domain.ids import RunId, new_run_id
from penstock.domain.policies import SettingsChange
from penstock.domain.runs import Duplicate, Rejected
from penstock.domain.states import Trigger
from penstock.domain.workload import shown_units
from penstock.runs.idempotency import IdempotencyKey
from penstock.runs.requests import RunRequest, check_run
from penstock.runs.views.audit import list_audit
from penstock.runs.views.chains import count_chain, find_chain, list_chain_runs
from penstock.runs.views.models import Run, RunDetails
from penstock.runs.views.runs import find_run, find_run_details, list_runs
from penstock.store.deployments import CompiledDeployment
from penstock.store.policies import change_settings, get_settings
from penstock_ingress.accepting.acceptance import Entry
from penstock_ingress.accepting.references import find_absent_reference
from penstock_ingress.handlers.lineage import find_lineage, find_trace
from penstock_ingress.handlers.pages import (
    read_audit_filter,
    read_audit_token,
    read_limit,
    read_run_filter,
    read_run_token,
    read_text,
    read_tree_token,
    write_token,
)
from penstock_ingress.handlers.users import find_user_id
from penstock_ingress.repository.views import (
    AuditPage,
    Chain,
    ChainTree,
    EnvironmentSettings,
    RunPage,
    Stopped,
)
from penstock_ingress.room import Room
from penstock_ingress.rules.management import NewRun
from penstock_ingress.rules.replies import Refusal, problem

_STATUSES: Final = {"unknown_workflow": 404}
Query = Mapping[str, str]


async def create_run(room: Room, environment: str, wanted: NewRun, headers: MultiMapping[str]) -> tuple[Run, bool]:
    """The run, and whether it is new: with an idempotency key that was used before, it is the one made then. Raises
    Refusal.

    A call of a run of ours continues its chain.
    """
    if wanted.at is not None and wanted.after is not None:
        raise Refusal(problem(422, "give either `at` or `after`, not both"))
    run_id, is_new = await room.definitions.decide(
        environment, partial(_admit, room, environment, wanted, headers, new_run_id())
    )
    async with room.database.connection() as conn:
        found = await find_run(conn, environment=environment, run_id=run_id)
    assert found is not None, "a run that was admitted is not deleted while its key lives"
    return found.plain, is_new


async def _admit(
    room: Room,
    environment: str,
    wanted: NewRun,
    headers: MultiMapping[str],
    run_id: RunId,
    deployment: CompiledDeployment,
) -> tuple[UUID, bool]:
    trace = find_trace(headers)
    context: dict[str, JsonValue] = {"user": {"_id": admin_user_id(deployment.app.name, environment)}}
    scheduled_at = wanted.due(clock.now())
    request = RunRequest(
        run_id=run_id,
        environment=environment,
        workflow=wanted.workflow,
        parameters=wanted.parameters,
        trigger=Trigger.MANUAL if scheduled_at is None else Trigger.SCHEDULE,
        lineage=await find_lineage(room, headers, environment),
        scheduled_at=scheduled_at,
        priority=wanted.priority,
        context=context if trace is None else {**context, "trace": trace},
        key=_key(wanted),
    )
    run = check_run(request, deployment, room.keyring)
    if isinstance(run, Rejected):
        raise refuse(run)
    workflow, call = deployment.app.workflows[wanted.workflow], (environment, request.key)
    absent = await find_absent_reference(room.database, call, workflow, deployment.app, run.request.parameters)
    if absent is not None:
        raise refuse(Rejected("invalid_parameter", absent.message, absent.parameter.name))
    admission = (await room.acceptance.accept(Entry((run,)))).admissions[0]
    match admission:
        case Duplicate(of=of):
            return of, False
        case Rejected():
            raise refuse(admission)
        case _:
            return run_id, True


def _key(wanted: NewRun) -> IdempotencyKey | None:
    if wanted.idempotency_key is None:
        return None
    given = wanted.model_dump(mode="json", exclude={"idempotency_key"})
    content = exact_json.dumps(given, option=orjson.OPT_SORT_KEYS)
    return IdempotencyKey("management", wanted.idempotency_key, hashlib.sha256(content).digest())


def refuse(rejected: Rejected) -> Refusal:
    """The refusal that a rejected request is answered with."""
    extensions: dict[str, JsonValue] = {"code": rejected.code}
    if rejected.parameter is not None:
        extensions["parameter"] = rejected.parameter
    return Refusal(problem(_STATUSES.get(rejected.code, 422), rejected.message, extensions=extensions))


async def show_runs(room: Room, environment: str, query: Query) -> RunPage:
    """Runs, newest first; none when nobody is the user whom the query names by email. Raises Refusal."""
    wanted, after, limit = read_run_filter(environment, query), read_run_token(query), read_limit(query)
    who = read_text(query, "user")
    user_id = None if who is None else await find_user_id(room, environment, who)
    if who is not None and user_id is None:
        return RunPage(results=[], after=None)
    async with room.database.connection() as conn:
        page = await list_runs(conn, wanted, user_id=user_id, after=after, limit=limit)
    return RunPage(results=page.results, after=write_token(*page.after) if page.after else None)


async def show_run(room: Room, environment: str, run_id: UUID) -> RunDetails:
    """A run with its steps and log. Raises Refusal."""
    async with room.database.connection() as conn:
        run = await find_run_details(conn, run_id=run_id, environment=environment)
    if run is None:
        raise Refusal(problem(404, f"{environment} has no run {run_id}"))
    return run


async def show_chain(room: Room, environment: str, run_id: UUID, query: Query) -> Chain:
    """The chain with that id, or of the run with that id. Raises Refusal."""
    after, limit = read_tree_token(query), read_limit(query)
    async with room.database.connection() as conn:
        chain = await find_chain(conn, run_id=run_id, environment=environment)
        if chain is None:
            raise Refusal(problem(404, f"{environment} has no chain {run_id}, and no run of that id"))
        root = await find_run(conn, run_id=chain.id, environment=environment)
        counted = await count_chain(conn, chain_id=chain.id)
        tree = await list_chain_runs(conn, chain_id=chain.id, after=after, limit=limit)
    states: dict[str, int] = {}
    depths: dict[str, dict[str, int]] = {}
    for count in counted:
        states[count.state] = states.get(count.state, 0) + count.runs
        depths.setdefault(str(count.depth), {})[count.state] = count.runs
    return Chain(
        id=chain.id,
        environment=environment,
        root=root,
        runs=sum(states.values()),
        counts=states,
        depths=depths,
        workload=shown_units(sum(count.workload for count in counted)),
        warned_at=chain.warned_at,
        stopped=None if chain.stopped_at is None else Stopped(at=chain.stopped_at, reason=chain.stop_reason),
        tree=ChainTree(results=tree.results, after=write_token(*tree.after) if tree.after else None),
    )


async def show_audit(room: Room, environment: str, query: Query) -> AuditPage:
    """Who changed what, newest first. Raises Refusal."""
    wanted, after, limit = read_audit_filter(environment, query), read_audit_token(query), read_limit(query)
    async with room.database.connection() as conn:
        page = await list_audit(conn, wanted, after=after, limit=limit)
    return AuditPage(results=page.results, after=write_token(*page.after) if page.after else None)


async def show_settings(room: Room, environment: str) -> EnvironmentSettings:
    """The settings of an environment."""
    async with room.database.connection() as conn:
        return EnvironmentSettings.model_validate(await get_settings(conn, environment=environment))


async def update_settings(room: Room, environment: str, change: SettingsChange, actor: str) -> EnvironmentSettings:
    """Change settings; they hold for what is admitted from now on."""
    work = partial(change_settings, environment=environment, change=change, actor=actor)
    return EnvironmentSettings.model_validate(await room.database.in_transaction(work))
