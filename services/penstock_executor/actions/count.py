"""`count: TYPE`: how many things meet `where`."""

from typing import Final

from penstock.definitions.models import StepAction
from penstock.domain.workload import Activity
from penstock.things.records import count_things
from penstock_executor.steps.arguments import constraints, data_type, target_text
from penstock_executor.steps.consumption import consumption
from penstock_executor.steps.outcomes import Done, Outcome
from penstock_executor.steps.specs import Call, StepSpec


async def count(call: Call) -> Outcome:
    """How many things meet `where`; all things without it."""
    kind = data_type(call, target_text(call))
    where = constraints(call, call.arguments)
    async with call.tools.database.connection() as conn:
        with call.tools.slow_searches.watch(call.run.environment, kind, where):
            found = await count_things(
                conn,
                environment=call.run.environment,
                data_type=kind,
                where=where,
                seconds=call.seconds_left(),
            )
    return Done(found)


SPEC: Final = StepSpec(
    action=StepAction.COUNT,
    target="the name of a data type",
    arguments=("where",),
    awaited=count,
    is_apart=True,
    consumes=consumption(Activity.AGGREGATE),
)
