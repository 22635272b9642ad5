"""`schedule: WORKFLOW`: a child run, one deeper than this one: admitted with the step's record, or by a scheduler."""

import hashlib
from typing import Final
from uuid import UUID

import orjson

from penstock import exact_json
from penstock.contracts.messages import ChildRun
from penstock.definitions.models import StepAction
from penstock.domain.ids import child_run_id, keyed_run_id, new_run_id
from penstock.domain.lineage import Lineage
from penstock.domain.states import Trigger
from penstock.errors import Permanent
from penstock.expressions.templates import write_value
from penstock.runs.idempotency import IdempotencyKey, bind_author_key
from penstock.runs.keyed import AUTHOR_KEY_SCOPE
from penstock.runs.requests import RunRequest, accept_run
from penstock_executor.runs import Values
from penstock_executor.steps.arguments import bind, due_at, mapping, priority, storable, target_text, workflow
from penstock_executor.steps.consumption import consumption, one_scheduled
from penstock_executor.steps.outcomes import Done, Outcome
from penstock_executor.steps.specs import Call, StepSpec

PATIENCE_SECONDS: Final = 30.0
"""How long a step waits for the broker before its run is given back."""


def schedule_now(call: Call) -> Outcome | None:
    """The child, to be admitted with the record of this step; None where it has to be asked for.

    That is where it is due later, has a key, or a workflow with limits of flow, which schedulers watch over.
    """
    deployment = call.tools.known(call.run.environment)
    if deployment is None or call.arguments.get("key") is not None or due_at(call) is not None:
        return None
    target = workflow(deployment.app, call, target_text(call))
    if target.flow is not None:
        return None
    request = RunRequest(
        run_id=child_run_id(call.run.id, call.path),
        environment=call.run.environment,
        workflow=target.name,
        parameters=bind(deployment.app, target, mapping(call, "with")),
        trigger=Trigger.RUN,
        lineage=Lineage(call.run.depth + 1, None, call.run.id),
        priority=priority(call),
    )
    child = accept_run(request, target, deployment.version)
    return Done(str(request.run_id), must_commit=True, child=child)


async def schedule(call: Call) -> Outcome:
    """The child's id, once the broker has confirmed the request.

    The id derives from this run and the step's path: what is asked for twice, after a crash between the confirmation
    and the record, is one run all the same. With the author's `key` it is bound to workflow and key: one run, whichever
    runs and steps ask for it. Raises Permanent when the key was used with other parameters.
    """
    app = await call.tools.find_app(call.run.environment)
    target = workflow(app, call, target_text(call))
    parameters = bind(app, target, mapping(call, "with"))
    run_id = await _bind_key(call, target.name, parameters)
    child = ChildRun.model_construct(
        parent_run_id=call.run.id,
        key=call.path,
        workflow=target.name,
        parameters=parameters,
        scheduled_at=due_at(call),
        priority=priority(call),
        run_id=run_id,
    )
    patience = call.plan.definition.timeout_seconds or PATIENCE_SECONDS
    await call.tools.schedule(call.run.environment, call.run.depth + 1, child, patience)
    return Done(str(run_id or child_run_id(call.run.id, call.path)), must_commit=True)


async def _bind_key(call: Call, workflow: str, parameters: Values) -> UUID | None:
    """The id that the step's key stands for; None without a key.

    Committed before the request is published: later requests with the same key get the same id, so a crash in between
    loses nothing.
    """
    given = call.arguments.get("key")
    if given is None:
        return None
    environment = call.run.environment
    first = keyed_run_id(environment, workflow, storable(call, "key", write_value(given)))
    fingerprint = hashlib.sha256(exact_json.dumps(parameters, option=orjson.OPT_SORT_KEYS)).digest()
    key = IdempotencyKey(AUTHOR_KEY_SCOPE, str(first), fingerprint)
    other = new_run_id()
    try:
        return await call.tools.database.in_transaction(
            lambda conn: bind_author_key(conn, environment=environment, key=key, first=first, other=other)
        )
    except Permanent as error:
        raise Permanent(
            f"schedule at {call.plan.definition.place}: `key`: {error} of {workflow}", kind=error.kind
        ) from None


SPEC: Final = StepSpec(
    action=StepAction.SCHEDULE,
    target="the name of a workflow",
    arguments=("with", "at", "after", "priority", "key"),
    awaited=schedule,
    at_once=schedule_now,
    consumes=consumption(done=one_scheduled),
    minds_its_time=True,
)
