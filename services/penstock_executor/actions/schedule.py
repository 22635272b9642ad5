"""`schedule: WORKFLOW`: asks the scheduler for a child run, one deeper than this one."""

import hashlib
from typing import Final
from uuid import UUID

import orjson

from penstock import exact_json
from penstock.contracts.messages import ChildRun
from penstock.definitions.models import StepAction
from penstock.domain.ids import child_run_id, keyed_run_id, new_run_id
from penstock.errors import Permanent
from penstock.expressions.templates import write_value
from penstock.runs.idempotency import IdempotencyKey, bind_author_key
from penstock.runs.keyed import AUTHOR_KEY_SCOPE
from penstock_executor.runs import Values
from penstock_executor.steps.arguments import bind, due_at, mapping, priority, storable, target_text, workflow
from penstock_executor.steps.consumption import consumption, one_scheduled
from penstock_executor.steps.outcomes import Done, Outcome
from penstock_executor.steps.specs import Call, StepSpec

PATIENCE_SECONDS: Final = 30.0
"""How long a step waits for the broker before its run is given back."""


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
    consumes=consumption(done=one_scheduled),
    minds_its_time=True,
)
