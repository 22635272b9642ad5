"""`find: TYPE`: a page of things; and all of them, for the lists of `schedule_list`."""

from typing import Final

from pydantic import JsonValue

from penstock.definitions.models import StepAction
from penstock.domain.workload import Activity, Counts
from penstock.things.ordering import Order
from penstock.things.records import MAX_PAGE, Window, find_things
from penstock_executor.runs import Values
from penstock_executor.steps.arguments import constraints, data_type, target_text, text, wrong
from penstock_executor.steps.consumption import add_returned, consumption
from penstock_executor.steps.outcomes import Done, Outcome
from penstock_executor.steps.specs import Call, StepSpec

DEFAULT_PAGE: Final = 100
_MAX_LISTED: Final = 1_000_000


async def find(call: Call) -> Outcome:
    """`{results, after, remaining}`; `after` asks for the next page, null at the end."""
    kind = data_type(call, target_text(call))
    limit = call.arguments.get("limit", DEFAULT_PAGE)
    if type(limit) is not int or not 1 <= limit <= MAX_PAGE:
        raise wrong(call, f"`limit` has to be a whole number from 1 to {MAX_PAGE}")
    where = constraints(call, call.arguments)
    order = Order(text(call, "sort"), call.arguments.get("descending") is True)
    async with call.tools.database.connection() as conn:
        with call.tools.slow_searches.watch(call.run.environment, kind, where, order):
            page = await find_things(
                conn,
                environment=call.run.environment,
                data_type=kind,
                where=where,
                order=order,
                window=Window(limit, text(call, "after"), with_remaining=True),
            )
    results: list[JsonValue] = list(page.results)
    return Done({"results": results, "after": page.after, "remaining": page.remaining})


async def list_things(call: Call, search: Values) -> list[JsonValue]:
    """All things that `{find: TYPE, where, sort}` finds, read page by page."""
    kind, sort = data_type(call, str(search.get("find"))), search.get("sort")
    order = Order(sort if isinstance(sort, str) else None)
    found: list[JsonValue] = []
    after: str | None = None
    while True:
        async with call.tools.database.connection() as conn:
            page = await find_things(
                conn,
                environment=call.run.environment,
                data_type=kind,
                where=constraints(call, search),
                order=order,
                window=Window(MAX_PAGE, after),
            )
        found += page.results
        after = page.after
        if after is None:
            return found
        if len(found) > _MAX_LISTED:
            raise wrong(call, f"more than {_MAX_LISTED} things were found; narrow the search")


def _count(counts: Counts, _: Outcome, page: JsonValue) -> None:
    things = page["results"] if isinstance(page, dict) else None
    add_returned(counts, len(things) if isinstance(things, list) else 0, things)


SPEC: Final = StepSpec(
    action=StepAction.FIND,
    target="the name of a data type",
    arguments=("where", "sort", "descending", "limit", "after"),
    awaited=find,
    is_apart=True,
    consumes=consumption(Activity.SEARCH, done=_count),
)
