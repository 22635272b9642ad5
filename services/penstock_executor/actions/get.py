"""`get: TYPE`: one thing, by its id or by `where`."""

from penstock.domain.workload import Activity
from penstock.things.records import find_things, get_thing
from penstock_executor.actions.arguments import constraints, data_type, target_text, thing_id
from penstock_executor.actions.steps import Call, Done, Outcome


async def get(call: Call) -> Outcome:
    """The thing, or null. Of several that meet `where`, the oldest."""
    kind = data_type(call, target_text(call, "the name of a data type"))
    environment = call.run.environment
    async with call.tools.database.connection() as conn:
        if "id" in call.arguments:
            wanted = thing_id(call, call.arguments["id"])
            return Done(
                None if wanted is None else await get_thing(conn, environment=environment, data_type=kind, id=wanted)
            )
        page = await find_things(
            conn, environment=environment, data_type=kind, where=constraints(call, call.arguments), limit=1
        )
    return Done(page.results[0] if page.results else None, used={Activity.SEARCH: 1})
