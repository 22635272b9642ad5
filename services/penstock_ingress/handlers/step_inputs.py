"""Shows what a step was given, computed when somebody looks."""

from uuid import UUID

from penstock.domain.callers import Caller
from penstock.runs.step_inputs import StepInputs, find_step, show_inputs
from penstock_ingress.room import Room
from penstock_ingress.rules.replies import Refusal, problem


async def show_step_inputs(room: Room, environment: str, run_id: UUID, step: str, caller: Caller) -> StepInputs:
    """The inputs of a step of a run, by the step's path. Raises Refusal, also for a token without sight of payloads."""
    if not caller.sees_payloads:
        raise Refusal(problem(403, "this token has no sight of payloads"))
    if not step:
        raise Refusal(problem(400, "step: name the step whose inputs are wanted, as `steps` of the run does"))
    async with room.database.connection() as conn:
        facts = await find_step(conn, environment=environment, run_id=run_id, step=step)
    if facts is None:
        raise Refusal(problem(404, f"run {run_id} of {environment} has performed no step {step[:200]!r}"))
    deployment = await room.definitions.find(environment, facts.version)
    return await show_inputs(room.database, deployment.app, facts, room.secrets.redactor(environment))
