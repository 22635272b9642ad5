"""Shows a run to the caller who started it: its state, and its answer once there is one."""

from uuid import UUID

from penstock.definitions.models import Auth
from penstock.domain.callers import Caller
from penstock.domain.states import RunState, Trigger
from penstock.store.deployments import CompiledDeployment
from penstock_ingress.handlers.workflows import check_permission
from penstock_ingress.repository.answers import CalledRun, find_called_run
from penstock_ingress.room import Room
from penstock_ingress.rules.answers import describe_error
from penstock_ingress.rules.replies import Refusal, Reply, json_reply, problem


async def show_called_run(room: Room, environment: str, run_id: str, caller: Caller, address: str | None) -> Reply:
    """`{"run_id", "workflow", "state", …}`; of a run that has ended, also the answer for its caller. Raises Refusal.

    An admin may ask for every run within the token's scope, a user for their own, anybody else for those that an
    anonymous caller has started from the same address; others are answered like those that do not exist. Without sight
    of payloads there is no answer in it.
    """
    run = await _find_run(room, environment, run_id)

    async def check(deployment: CompiledDeployment) -> None:
        workflow = deployment.app.workflows.get(run.workflow)
        if caller.role is None:
            auth = Auth.ADMIN if workflow is None or workflow.api is None else workflow.api.auth
            check_permission(caller, run.workflow, auth)

    await room.definitions.decide(environment, check)
    if not _may_see(caller, run, address):
        raise _absent(environment, run_id)
    described = _describe(run)
    if not caller.sees_payloads:
        described |= {name: None for name in ("response", "message") if name in described}
    reply = json_reply(200, described, {"Penstock-Run-Id": str(run.id)})
    # A token that the run has given is for who called, not for an admin who looks.
    return reply if caller.role is not None else reply.unsealed((environment, run.id), room.keyring)


def _may_see(caller: Caller, run: CalledRun, address: str | None) -> bool:
    if caller.role is not None:
        return caller.reaches_workflow(run.workflow)
    if caller.user_id is not None:
        return run.caller == caller.name
    return run.caller == caller.name and run.address is not None and run.address == address


async def _find_run(room: Room, environment: str, run_id: str) -> CalledRun:
    try:
        wanted = UUID(run_id)
    except ValueError:
        raise _absent(environment, run_id) from None
    async with room.database.connection() as conn:
        run = await find_called_run(conn, run_id=wanted)
    if run is None or run.environment != environment or run.trigger != Trigger.API:
        raise _absent(environment, run_id)
    return run


def _absent(environment: str, run_id: str) -> Refusal:
    return Refusal(problem(404, f"no run {run_id[:50]!r} was started by a call of yours to {environment}"))


def _describe(run: CalledRun) -> dict[str, object]:
    head: dict[str, object] = {
        "run_id": run.id,
        "workflow": run.workflow,
        "state": run.state.value,
        "created_at": run.created_at,
    }
    if not run.state.is_final:
        return {"status": "accepted", **head}
    head["finished_at"] = run.finished_at
    if run.state is RunState.SUCCEEDED:
        return {"status": "success", **head, "response": {} if run.result is None else run.result}
    if run.state is RunState.SKIPPED:
        return {
            "status": "NOT_RUN",
            **head,
            "message": f"The condition for the workflow {run.workflow} is not met. Workflow won't run",
        }
    return {"status": "ERROR", **head, "message": describe_error(run.error)}
