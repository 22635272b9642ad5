"""Carries out the effects of many runs' steps in one transaction, as few statements as their kinds and types allow."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection
from penstock.errors import Permanent
from penstock.runs.cancellations import cancel_runs
from penstock.runs.lists import insert_list
from penstock.runs.recurrences.rows import set_recurrence, stop_recurrence
from penstock.things.records import create_things, delete_things, insert_prepared, update_things
from penstock_executor.runs import (
    CancelRuns,
    Commit,
    CreateMany,
    CreateThing,
    DeleteMany,
    DeleteThing,
    SetRecurrence,
    StopRecurrence,
    StoreList,
    UpdateMany,
    UpdateThing,
    UpsertThing,
)

Results = dict[UUID, JsonValue]
Group = tuple[str, str, str, int, tuple[str, ...]]
"""What one statement can carry out: kind, environment, data type and its version in memory, and the fields of an
upsert.
"""


async def apply_effects(conn: Connection, commits: Sequence[Commit]) -> Results:
    """The results of the effects, by run; the records of their steps get them too.

    Raises Permanent or UniqueViolation when one of them cannot be carried out; which one, is for the caller to find
    out.
    """
    results: Results = {}
    groups: defaultdict[Group, list[Commit]] = defaultdict(list)
    changed: defaultdict[str, int] = defaultdict(int)
    recurring: list[Commit] = []
    for commit in commits:
        match commit.effect:
            case CreateThing(data_type):
                groups["create", commit.environment, data_type.name, id(data_type), ()].append(commit)
            case UpsertThing(data_type, _, upsert):
                groups["upsert", commit.environment, data_type.name, id(data_type), upsert].append(commit)
            case UpdateThing(data_type, change):
                # One statement changes a row once: of several changes of one thing, each waits for the next statement.
                groups["update", commit.environment, data_type.name, id(data_type), (str(changed[change.id]),)].append(
                    commit
                )
                changed[change.id] += 1
            case DeleteThing(data_type):
                groups["delete", commit.environment, data_type.name, id(data_type), ()].append(commit)
            case StoreList(request, parameters):
                await insert_list(conn, request=request, parameters=parameters)
            case CreateMany() | UpdateMany() | DeleteMany():
                raise AssertionError("`bulk` commits these, each by itself")
            case CancelRuns() as effect:
                await _cancel(conn, commit, effect, results)
            case SetRecurrence() | StopRecurrence():
                recurring.append(commit)
            case None:
                pass
    # In the order of their keys, so that two transactions that meet in several tables wait for each other in one order.
    for group in sorted(groups):
        await _APPLY[group[0]](conn, groups[group], results)
    if recurring:
        await _recur(conn, recurring)
    for commit in commits:
        if commit.effect_record is not None and commit.run_id in results:
            commit.effect_record.result = results[commit.run_id]
    return results


async def _cancel(conn: Connection, commit: Commit, effect: CancelRuns, results: Results) -> None:
    by = f"run {commit.run_id}"
    effect.cancelled = await cancel_runs(conn, environment=commit.environment, run_ids=effect.run_ids, by=by)
    results[commit.run_id] = len(effect.cancelled)


async def _create(conn: Connection, commits: list[Commit], _: Results) -> None:
    effects = [commit.effect for commit in commits if isinstance(commit.effect, CreateThing)]
    things = [effect.thing for effect in effects]
    await insert_prepared(conn, environment=commits[0].environment, data_type=effects[0].data_type, things=things)


async def _upsert(conn: Connection, commits: list[Commit], results: Results) -> None:
    effects = [commit.effect for commit in commits if isinstance(commit.effect, UpsertThing)]
    first, environment = effects[0], commits[0].environment
    new = [effect.thing for effect in effects]
    things = await create_things(
        conn, environment=environment, data_type=first.data_type, things=new, upsert=first.upsert
    )
    results.update(zip((commit.run_id for commit in commits), things, strict=True))


async def _update(conn: Connection, commits: list[Commit], results: Results) -> None:
    effects = [commit.effect for commit in commits if isinstance(commit.effect, UpdateThing)]
    effects.sort(key=lambda effect: effect.change.id)
    data_type = effects[0].data_type
    changes = [effect.change for effect in effects]
    things = await update_things(conn, environment=commits[0].environment, data_type=data_type, changes=changes)
    for commit in commits:
        if isinstance(commit.effect, UpdateThing):
            thing_id = commit.effect.change.id
            if thing_id not in things:
                raise Permanent(
                    f"there is no {data_type.name} with the id {thing_id!r}; was it deleted?", kind="unknown_thing"
                )
            results[commit.run_id] = things[thing_id]


async def _delete(conn: Connection, commits: list[Commit], _: Results) -> None:
    effects = [commit.effect for commit in commits if isinstance(commit.effect, DeleteThing)]
    ids = sorted({effect.id for effect in effects})
    await delete_things(conn, environment=commits[0].environment, data_type=effects[0].data_type, ids=ids)


async def _recur(conn: Connection, commits: list[Commit]) -> None:
    effects = [commit.effect for commit in commits if isinstance(commit.effect, SetRecurrence | StopRecurrence)]
    for effect in sorted(effects, key=lambda effect: effect.id):
        match effect:
            case SetRecurrence(request):
                await set_recurrence(conn, request=request)
            case StopRecurrence(environment, id):
                await stop_recurrence(conn, environment=environment, id=id)


_APPLY: Final[Mapping[str, Callable[[Connection, list[Commit], Results], Awaitable[None]]]] = {
    "create": _create,
    "upsert": _upsert,
    "update": _update,
    "delete": _delete,
}
