"""The verbs of the management API about lists: begin one, look how far they are, pause, resume, cancel, retry."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from uuid import UUID

from pydantic import JsonValue

from penstock import clock
from penstock.contracts.messages import ExpandList
from penstock.domain.durations import parse_duration
from penstock.domain.ids import new_run_id
from penstock.domain.list_counts import COUNTS
from penstock.domain.runs import Rejected
from penstock.domain.schedule import Missed, ScheduleFilter
from penstock.domain.states import Trigger
from penstock.errors import BrokerUnavailable
from penstock.expressions import ExpressionError, Template, compile_template
from penstock.logs import get_logger
from penstock.runs.followers import Follower
from penstock.runs.lists import ListRequest, insert_list
from penstock.runs.operations import OperationKind
from penstock.runs.requests import RunRequest, check_run, describe_unknown_workflow
from penstock.runs.schedule.interventions import end_lists
from penstock.runs.schedule.pauses import lift_pauses, pause_schedule
from penstock.runs.views.lists import RunList, find_list, list_lists
from penstock.runs.views.runs import RunFilter
from penstock.store.deployments import CompiledDeployment
from penstock_ingress.handlers.operations import begin
from penstock_ingress.handlers.pages import read_limit, read_run_token, write_token
from penstock_ingress.repository.views import ListPage, Operation
from penstock_ingress.room import Room
from penstock_ingress.rules.management import NewList
from penstock_ingress.rules.replies import Refusal, problem

log = get_logger(__name__)
Query = Mapping[str, str]
Parameters = dict[str, JsonValue]


async def create_list(room: Room, environment: str, wanted: NewList) -> RunList:
    """A stored list, whose items become runs from now on. Raises Refusal, naming the first item that does not fit."""
    if wanted.at is not None and wanted.after is not None:
        raise Refusal(problem(422, "give either `at` or `after`, not both"))
    follower = _compile_follower(wanted)
    parameters = await room.definitions.decide(environment, partial(_check_items, environment, wanted, room))
    due = wanted.due(clock.now())
    request = ListRequest(
        id=new_run_id(),
        environment=environment,
        workflow=wanted.workflow,
        start_at=timedelta(0) if due is None else due,
        interval_seconds=0.0 if wanted.interval is None else parse_duration(wanted.interval).total_seconds(),
        is_sequential=wanted.sequential,
        priority=wanted.priority,
        follower=follower,
    )
    await room.database.in_transaction(partial(insert_list, request=request, parameters=parameters))
    try:
        await room.publisher.nudge(environment, ExpandList.model_construct(list_id=request.id))
    except BrokerUnavailable as error:  # a scheduler finds it within a second
        log.warning("broker.unreachable", error=str(error))
    return await show_list(room, environment, request.id)


async def _check_items(
    environment: str, wanted: NewList, room: Room, deployment: CompiledDeployment
) -> list[Parameters]:
    if wanted.then is not None and wanted.then not in deployment.app.workflows:
        raise Refusal(problem(422, f"then: {describe_unknown_workflow(wanted.then, environment, deployment)}"))
    template = _compile(wanted)
    checked: list[Parameters] = []
    for index, item in enumerate(wanted.items):
        given = _parameters(template, item, index)
        run = check_run(
            RunRequest(UUID(int=0), environment, wanted.workflow, given, Trigger.MANUAL), deployment, room.keyring
        )
        if isinstance(run, Rejected):
            if run.code == "unknown_workflow":
                raise Refusal(problem(404, run.message))
            raise Refusal(problem(422, f"items.{index}: {run.message}"))
        checked.append(given)
    return checked


def _compile(wanted: NewList) -> Template | None:
    try:
        return None if wanted.with_ is None else compile_template(wanted.with_, "with")
    except ExpressionError as error:
        raise Refusal(problem(422, str(error))) from None


def _compile_follower(wanted: NewList) -> Follower | None:
    """What starts behind the list. Raises Refusal when its parameters read something else than the list."""
    if wanted.then is None:
        if wanted.then_with:
            raise Refusal(problem(422, "then_with: it needs `then`, the workflow that is given these"))
        return None
    try:
        roots = compile_template(wanted.then_with, "then_with").roots
    except ExpressionError as error:
        raise Refusal(problem(422, str(error))) from None
    if unknown := sorted(roots - {"list"}):
        raise Refusal(problem(422, f"then_with: unknown name {unknown[0]!r}; known is list, with {', '.join(COUNTS)}"))
    return Follower(wanted.then, late=wanted.then_with)


def _parameters(template: Template | None, item: JsonValue, index: int) -> Parameters:
    """The parameters of an item's run: what `with` makes of it, or the item itself."""
    try:
        given = item if template is None else template.evaluate({"item": item, "index": index})
    except ExpressionError as error:
        raise Refusal(problem(422, f"items.{index}: {error}")) from None
    if not isinstance(given, dict):
        raise Refusal(
            problem(422, f"items.{index}: expected an object of parameters; or say in `with` what to make of it")
        )
    return given


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
    await room.database.in_transaction(partial(lift_pauses, of=of, missed=Missed.QUEUE, actor=actor))
    return await show_list(room, environment, id)


async def cancel_list(room: Room, environment: str, id: UUID, actor: str) -> Operation:
    """Give up the items without runs, and cancel the runs that have not ended. Raises Refusal."""
    await show_list(room, environment, id)
    await room.database.in_transaction(partial(end_lists, of=ScheduleFilter(environment, list_id=id)))
    return await begin(room, OperationKind.CANCEL_RUNS, RunFilter(environment, list_id=id), actor)


async def retry_list(room: Room, environment: str, id: UUID, actor: str) -> Operation:
    """Take up again the items that have failed. Raises Refusal."""
    await show_list(room, environment, id)
    return await begin(room, OperationKind.RETRY_RUNS, RunFilter(environment, list_id=id), actor)
