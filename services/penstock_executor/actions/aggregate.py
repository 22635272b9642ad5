"""`count: TYPE` and `aggregate: TYPE`: figures about the things that meet `where`, by one statement."""

from pydantic import JsonValue

from penstock.definitions.fields import AGGREGATES
from penstock.domain.workload import Activity
from penstock.things.bulk import Aggregate, aggregate_things
from penstock.things.records import count_things
from penstock_executor.actions.arguments import constraints, data_type, names, target_text
from penstock_executor.actions.steps import Call, Done, Outcome


async def count(call: Call) -> Outcome:
    """How many things meet `where`; all things without it."""
    kind = data_type(call, target_text(call, "the name of a data type"))
    async with call.tools.database.connection() as conn:
        found = await count_things(
            conn,
            environment=call.run.environment,
            data_type=kind,
            where=constraints(call, call.arguments),
            seconds=call.seconds_left(),
        )
    return Done(found)


async def aggregate(call: Call) -> Outcome:
    """Rows of `{<fields of by>, count, sum_<field>, …}`, one for each group; without `by` one row."""
    kind = data_type(call, target_text(call, "the name of a data type"))
    functions = tuple((function, name) for function in AGGREGATES for name in names(call, function))
    wanted = Aggregate(functions, names(call, "by"))
    async with call.tools.database.connection() as conn:
        rows = await aggregate_things(
            conn,
            environment=call.run.environment,
            data_type=kind,
            where=constraints(call, call.arguments),
            aggregate=wanted,
            seconds=call.seconds_left(),
        )
    result: list[JsonValue] = list(rows)
    return Done(result, used={Activity.GROUPED_AGGREGATE if wanted.by else Activity.AGGREGATE: max(len(functions), 1)})
