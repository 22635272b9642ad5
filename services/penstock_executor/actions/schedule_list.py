"""`schedule_list: WORKFLOW`: a stored list of runs to schedule, whole, in one transaction with the step's record."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Self

from pydantic import JsonValue

from penstock.contracts.messages import ExpandList
from penstock.db import Connection
from penstock.definitions.models import App, StepAction
from penstock.domain.ids import child_run_id
from penstock.domain.lineage import Lineage
from penstock.domain.list_counts import COUNTS
from penstock.domain.workload import Counts
from penstock.expressions.language import describe_type
from penstock.runs.followers import Follower
from penstock.runs.list_searches import ListSearch, count_all, until_now
from penstock.runs.lists import CHUNK_SIZE, ListRequest, insert_list
from penstock.things.records import Window, find_things
from penstock_executor.actions.find import list_things
from penstock_executor.effects import Effect, Group
from penstock_executor.runs import Values
from penstock_executor.steps.arguments import (
    bind,
    constraints,
    data_type,
    due_at,
    duration,
    mapping,
    target_text,
    text,
    workflow,
    wrong,
)
from penstock_executor.steps.consumption import add_scheduled, consumption, reported, used_by_reading
from penstock_executor.steps.items import make_of_items
from penstock_executor.steps.outcomes import Outcome, Write
from penstock_executor.steps.specs import Call, StepSpec

_BY_AGE: Final = frozenset({None, "Created Date"})
"""Sorts in which no thing changes its place."""
_COUNT: Final = re.compile(rf"\$\{{list\.(?:id|{'|'.join(COUNTS)})\}}")


@dataclass(frozen=True, slots=True)
class StoreList(Effect):
    """Store a list of runs to be scheduled."""

    is_alone: ClassVar[bool] = True

    request: ListRequest
    parameters: list[Values]

    def group(self) -> Group:
        """Lists."""
        return Group("list")

    @classmethod
    async def apply(cls, conn: Connection, environment: str, effects: Sequence[Self]) -> None:
        """No results: the list's id is known before."""
        for effect in effects:
            assert effect.request.environment == environment
            await insert_list(conn, request=effect.request, parameters=effect.parameters)


async def schedule_list(call: Call) -> Outcome:
    """The list's id. It derives from this run and the step's path: the same list, however often the step is tried."""
    app = await call.tools.find_app(call.run.environment)
    target = workflow(app, call, target_text(call))
    search, items = await _find_items(call)
    parameters = await make_of_items(call, items, lambda _, given: bind(app, target, given))
    used = used_by_reading(items) if isinstance(call.arguments.get("over"), dict) else None
    total = len(items) if search is None else await _count(call, search)
    list_id = child_run_id(call.run.id, call.path)
    interval = call.arguments.get("interval")
    request = ListRequest(
        id=list_id,
        environment=call.run.environment,
        workflow=target.name,
        start_at=due_at(call) or call.now,
        interval_seconds=0.0 if interval is None else duration(call, "interval", interval).total_seconds(),
        is_sequential=call.arguments.get("sequential") is True,
        lineage=Lineage(parent_run_id=call.run.id),
        follower=_find_follower(call, app),
        search=search,
        total=total,
    )
    nudge = ExpandList.model_construct(list_id=list_id)
    return Write(StoreList(request, parameters), str(list_id), is_known=True, nudge=nudge, used=used)


def _find_follower(call: Call, app: App) -> Follower | None:
    """What starts behind the list. What does not read the list is evaluated now."""
    name, late = text(call, "then"), call.plan.late
    if name is None:
        return None
    target, given = workflow(app, call, name), mapping(call, "then_with")
    if call.plan.is_code:  # in Python there are no expressions, but names of counts
        counted = {key: value for key, value in given.items() if isinstance(value, str) and _COUNT.fullmatch(value)}
        return Follower(target.name, {key: given[key] for key in given.keys() - counted.keys()}, {**counted})
    if late is None:
        return Follower(target.name, given)
    scope = {root: call.scope[root] for root in late.roots if root in call.scope}
    return Follower(target.name, given, late.written, scope, late.rewritten)


async def _find_items(call: Call) -> tuple[ListSearch | None, list[JsonValue]]:
    """The items; of a search that schedulers can go through, the first of them, and the search for the others."""
    over = call.arguments.get("over")
    if isinstance(over, dict):
        if call.plan.is_code or call.plan.item_lookups or over.get("sort") not in _BY_AGE:
            return None, await list_things(call, over)
        search = _describe_search(call, over)
        async with call.tools.database.connection() as conn:
            page = await find_things(
                conn, environment=call.run.environment, data_type=data_type(call, search.type),
                where=constraints(call, over), window=Window(CHUNK_SIZE, until=search.until),
            )  # fmt: skip
        return (None if page.after is None else replace(search, after=page.after)), list(page.results)
    if not isinstance(over, list):
        raise wrong(call, f"`over` has to be a list, and it is {describe_type(over)}")
    return None, over


def _describe_search(call: Call, over: Values) -> ListSearch:
    """What a scheduler needs to find the things that this run would find, and to make the parameters of their runs."""
    written = call.plan.definition.arguments.get("with")
    assert call.plan.items is not None
    roots = call.plan.items.roots - {"item", "index"}
    lookups = call.plan.definition.lookups
    return ListSearch(
        type=str(over.get("find")),
        where=over.get("where"),
        until=until_now(call.now),
        written=written if isinstance(written, dict) else {},
        scope={root: call.scope[root] for root in roots if root in call.scope},
        rewritten={} if lookups is None else lookups.rewritten,
        sees_all=call.viewer.sees_all,
        user_id=call.run.user_id,
    )


async def _count(call: Call, search: ListSearch) -> int:
    async with call.tools.database.connection() as conn:
        return await count_all(
            conn, environment=call.run.environment, data_type=data_type(call, search.type),
            where=constraints(call, {"where": search.where}), until=search.until, seconds=call.seconds_left(),
        )  # fmt: skip


def _count_used(counts: Counts, outcome: Outcome, result: JsonValue) -> None:
    if isinstance(outcome, Write) and isinstance(outcome.effect, StoreList):
        add_scheduled(counts, len(outcome.effect.parameters))
    reported(counts, outcome, result)


SPEC: Final = StepSpec(
    action=StepAction.SCHEDULE_LIST,
    target="the name of a workflow",
    arguments=("over", "with", "at", "after", "interval", "sequential", "then", "then_with"),
    awaited=schedule_list,
    writes=(StoreList,),
    consumes=consumption(done=_count_used),
)
