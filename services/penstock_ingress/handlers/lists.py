"""The verbs of the management API about lists: begin one, look how far they are, pause, resume, cancel, retry."""

from collections.abc import Mapping
from functools import partial
from uuid import UUID

from pydantic import JsonValue

from penstock.domain.schedule import Missed, ScheduleFilter
from penstock.logs import get_logger
from penstock.runs.operations import OperationKind
from penstock.runs.schedule.interventions import end_lists
from penstock.runs.schedule.pauses import hold_list, lift_pauses, pause_schedule
from penstock.runs.views.finding import RunFilter
from penstock.runs.views.lists import RunList, find_list, list_lists
from penstock_ingress.handlers.operations import begin, wake_schedulers
from penstock_ingress.handlers.pages import read_limit, read_run_token, write_token
from penstock_ingress.repository.views import ListPage, Operation
from penstock_ingress.room import Room
from penstock_ingress.rules.replies import Refusal, problem

log = get_logger(__name__)
Query = Mapping[str, str]
Parameters = dict[str, JsonValue]


async def show_lists(room: Room, environment: str, query: Query) -> ListPage:
    """Lists, newest first. Raises Refusal."""
    limit, after = read_limit(query), read_run_token(query)
    if (state := query.get("open")) not in (None, "true", "false"):
        raise Refusal(problem(400, "open: expected true or false"))
    async with room.database.connection() as conn:
        page = await list_lists(
            conn,
            environment=environment,
            workflow=query.get("workflow"),
            is_open=None if state is None else state == "true",
            after=after,
            limit=limit,
        )
    return ListPage(results=page.results, after=None if page.after is None else write_token(*page.after))


async def show_list(room: Room, environment: str, id: UUID) -> RunList:
    """A list and how far it is. Raises Refusal."""
    async with room.database.connection() as conn:
        found = await find_list(conn, environment=environment, list_id=id)
    if found is None:
        raise Refusal(problem(404, f"{environment} has no list {id}"))
    return found


async def pause_list(room: Room, environment: str, id: UUID, actor: str) -> RunList:
    """Start no item of a list until it is resumed; what is being performed continues. Raises Refusal."""
    await show_list(room, environment, id)
    of = ScheduleFilter(environment, list_id=id)
    await room.database.in_transaction(partial(pause_schedule, of=of, note=None, actor=actor))
    return await show_list(room, environment, id)


async def resume_list(room: Room, environment: str, id: UUID, actor: str) -> RunList:
    """Lift the pause of a list; one that is not paused stays as it is. Raises Refusal."""
    await show_list(room, environment, id)
    of = ScheduleFilter(environment, list_id=id)
    if await room.database.in_transaction(partial(lift_pauses, of=of, missed=Missed.QUEUE, actor=actor)):
        await wake_schedulers(room.publisher, environment)
    return await show_list(room, environment, id)


async def cancel_list(room: Room, environment: str, id: UUID, actor: str) -> Operation:
    """Give up the items without runs, and cancel the runs that have not ended; none of them starts meanwhile. Raises
    Refusal.
    """
    await show_list(room, environment, id)
    # Runs are cancelled batch by batch: in those seconds, executors would start thousands of a large list.
    hold = partial(hold_list, environment=environment, list_id=id, note="the list is being cancelled")
    await room.database.in_transaction(hold)
    await room.database.in_transaction(partial(end_lists, of=ScheduleFilter(environment, list_id=id)))
    return await begin(room, OperationKind.CANCEL_RUNS, RunFilter(environment, list_id=id), actor)


async def retry_list(room: Room, environment: str, id: UUID, actor: str) -> Operation:
    """Take up again the items that have failed. Raises Refusal."""
    await show_list(room, environment, id)
    return await begin(room, OperationKind.RETRY_RUNS, RunFilter(environment, list_id=id), actor)
