"""`get: TYPE`: one thing, by its id or by `where`."""

from typing import Final

from pydantic import JsonValue

from penstock.definitions.models import StepAction
from penstock.domain.workload import Activity, Counts
from penstock.things.records import Window, find_things, get_thing
from penstock_executor.steps.arguments import constraints, data_type, target_text, thing_id
from penstock_executor.steps.consumption import add_returned, consumption, reported
from penstock_executor.steps.outcomes import Done, Outcome
from penstock_executor.steps.specs import Call, StepSpec


async def get(call: Call) -> Outcome:
    """The thing, or null. Of several that meet `where`, the oldest."""
    kind = data_type(call, target_text(call))
    environment = call.run.environment
    async with call.tools.database.connection() as conn:
        if "id" in call.arguments:
            wanted = thing_id(call, call.arguments["id"])
            if wanted is None:
                return Done(None)
            found = await get_thing(conn, environment=environment, data_type=kind, id=wanted, viewer=call.viewer)
            return Done(found)
        where = constraints(call, call.arguments)
        with call.tools.slow_searches.watch(environment, kind, where):
            page = await find_things(conn, environment=environment, data_type=kind, where=where, window=Window(1))
    return Done(page.results[0] if page.results else None, used={Activity.SEARCH: 1})


def _count(counts: Counts, outcome: Outcome, thing: JsonValue) -> None:
    add_returned(counts, 0 if thing is None else 1, thing)
    reported(counts, outcome, thing)


SPEC: Final = StepSpec(
    action=StepAction.GET,
    target="the name of a data type",
    arguments=("where", "id", "thing"),
    awaited=get,
    is_apart=True,
    consumes=consumption(done=_count),
)
