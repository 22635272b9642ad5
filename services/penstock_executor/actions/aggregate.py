"""`aggregate: TYPE`: figures about the things that meet `where`, by one statement."""

from typing import Final

from pydantic import JsonValue

from penstock.definitions.fields import AGGREGATES
from penstock.definitions.models import StepAction
from penstock.domain.workload import Activity
from penstock.things.bulk import Aggregate, aggregate_things
from penstock_executor.steps.arguments import constraints, data_type, names, target_text
from penstock_executor.steps.consumption import consumption, reported
from penstock_executor.steps.outcomes import Done, Outcome
from penstock_executor.steps.specs import Call, StepSpec


async def aggregate(call: Call) -> Outcome:
    """Rows of `{<fields of by>, count, sum_<field>, …}`, one for each group; without `by` one row."""
    kind = data_type(call, target_text(call))
    functions = tuple((function, name) for function in AGGREGATES for name in names(call, function))
    wanted = Aggregate(functions, names(call, "by"))
    where = constraints(call, call.arguments)
    async with call.tools.database.connection() as conn:
        with call.tools.slow_searches.watch(call.run.environment, kind, where):
            rows = await aggregate_things(
                conn,
                environment=call.run.environment,
                data_type=kind,
                where=where,
                aggregate=wanted,
                seconds=call.seconds_left(),
            )
    result: list[JsonValue] = list(rows)
    return Done(result, used={Activity.GROUPED_AGGREGATE if wanted.by else Activity.AGGREGATE: max(len(functions), 1)})


SPEC: Final = StepSpec(
    action=StepAction.AGGREGATE,
    target="the name of a data type",
    arguments=("where", "by", *AGGREGATES),
    awaited=aggregate,
    is_apart=True,
    consumes=consumption(done=reported),
)
