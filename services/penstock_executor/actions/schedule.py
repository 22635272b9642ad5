"""`schedule: WORKFLOW`: asks the scheduler for a child run, one deeper than this one."""

from typing import Final

from penstock.contracts.messages import ChildRun
from penstock.definitions.models import StepAction
from penstock.domain.ids import child_run_id, keyed_run_id
from penstock.expressions.templates import write_value
from penstock_executor.steps.arguments import bind, due_at, mapping, priority, target_text, workflow
from penstock_executor.steps.consumption import consumption, one_scheduled
from penstock_executor.steps.outcomes import Done, Outcome
from penstock_executor.steps.specs import Call, StepSpec

PATIENCE_SECONDS: Final = 30.0
"""How long a step waits for the broker before its run is given back."""


async def schedule(call: Call) -> Outcome:
    """The child's id, once the broker has confirmed the request.

    The id derives from this run and the step's path: what is asked for twice, after a crash between the confirmation
    and the record, is one run all the same. With the author's `key` it derives from workflow and key: one run,
    whichever runs and steps ask for it.
    """
    app = await call.tools.find_app(call.run.environment)
    target = workflow(app, call, target_text(call))
    key = call.arguments.get("key")
    run_id = None if key is None else keyed_run_id(call.run.environment, target.name, write_value(key))
    child = ChildRun.model_construct(
        parent_run_id=call.run.id,
        key=call.path,
        workflow=target.name,
        parameters=bind(app, target, mapping(call, "with")),
        scheduled_at=due_at(call),
        priority=priority(call),
        run_id=run_id,
    )
    patience = call.plan.definition.timeout_seconds or PATIENCE_SECONDS
    await call.tools.schedule(call.run.environment, call.run.depth + 1, child, patience)
    return Done(str(run_id or child_run_id(call.run.id, call.path)), must_commit=True)


SPEC: Final = StepSpec(
    action=StepAction.SCHEDULE,
    target="the name of a workflow",
    arguments=("with", "at", "after", "priority", "key"),
    awaited=schedule,
    consumes=consumption(done=one_scheduled),
    minds_its_time=True,
)
