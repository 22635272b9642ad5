"""The verbs of the management API that begin lists: over items or over a search; and what one would come to."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock import clock, exact_json
from penstock.contracts.messages import ExpandList
from penstock.db import Connection
from penstock.definitions.models import DataType
from penstock.domain.durations import parse_duration
from penstock.domain.ids import keyed_list_id, new_run_id
from penstock.domain.list_counts import COUNTS
from penstock.domain.states import Trigger
from penstock.errors import BrokerUnavailable
from penstock.expressions import ExpressionError, Template, compile_template
from penstock.logs import get_logger
from penstock.runs.followers import Follower
from penstock.runs.list_searches import ListSearch, count_all, find_chunk, until_now
from penstock.runs.lists import CHUNK_SIZE, ListRequest, find_digest, insert_list
from penstock.runs.requests import RunRequest, describe_unknown_workflow, find_refusal
from penstock.runs.views.lists import RunList
from penstock.store.deployments import CompiledDeployment
from penstock.things.clauses import ConstraintProblem
from penstock.things.tables import USER
from penstock_ingress.handlers.lists import show_list
from penstock_ingress.repository.list_estimates import ListEstimate, find_recent_runs
from penstock_ingress.room import Room
from penstock_ingress.rules.management import NewList
from penstock_ingress.rules.replies import Refusal, problem

log = get_logger(__name__)
Parameters = dict[str, JsonValue]
_COUNT_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class _Content:
    """What a list is made of: the parameters of its runs, or of its first ones and the search for the others."""

    parameters: list[Parameters]
    total: int
    search: ListSearch | None = None


async def create_list(room: Room, environment: str, wanted: NewList, key: str | None) -> tuple[RunList, bool]:
    """A stored list, whose items become runs from now on, and whether it is new: it is not when the `key` was used for
    it before. Raises Refusal, naming the first item that does not fit.
    """
    list_id = new_run_id() if key is None else keyed_list_id(environment, key)
    digest = None if key is None else hashlib.sha256(exact_json.dumps(wanted.model_dump(mode="json"))).digest()
    if digest is not None and await _is_known(room, list_id, digest):
        return await show_list(room, environment, list_id), False
    follower = _compile_follower(wanted)
    content = await _find_content(room, environment, wanted)
    due = wanted.due(clock.now())
    request = ListRequest(
        id=list_id,
        environment=environment,
        workflow=wanted.workflow,
        start_at=timedelta(0) if due is None else due,
        interval_seconds=_interval(wanted),
        is_sequential=wanted.sequential,
        priority=wanted.priority,
        follower=follower,
        search=content.search,
        total=content.total,
        digest=digest,
    )
    store = partial(insert_list, request=request, parameters=content.parameters)
    is_new = await room.database.in_transaction(store)
    if not is_new and digest is not None:  # the same request was quicker
        await _is_known(room, list_id, digest)
    try:
        await room.publisher.nudge(environment, ExpandList.model_construct(list_id=request.id))
    except BrokerUnavailable as error:  # a scheduler finds it within a second
        log.warning("broker.unreachable", error=str(error))
    return await show_list(room, environment, request.id), is_new


async def estimate_list(room: Room, environment: str, wanted: NewList) -> ListEstimate:
    """What a list would come to, which is not begun. Raises Refusal as `create_list` does."""
    _compile_follower(wanted)
    content = await _find_content(room, environment, wanted)
    async with room.database.connection() as conn:
        recent = await find_recent_runs(conn, environment=environment, workflow=wanted.workflow)
    due = wanted.due(clock.now())
    start = due if isinstance(due, datetime) else clock.now() + (due or timedelta(0))
    interval, seconds = _interval(wanted), recent.seconds
    steps = content.total - 1
    last_due_at = start + timedelta(seconds=interval * steps) if steps * interval < _MAX_SECONDS else None
    takes = None
    if seconds is not None:
        takes = max(interval, seconds) * steps + seconds if wanted.sequential else interval * steps + seconds
    return ListEstimate(
        runs=content.total,
        depth=0,
        starts_at=start,
        last_due_at=None if wanted.sequential and not interval else last_due_at,
        seconds=None if takes is None else round(takes, 3),
        workload=None if recent.workload is None else round(recent.workload * content.total, 3),
        measured_runs=recent.measured,
    )


_MAX_SECONDS: Final = 1e10
"""Some hundred years: later than that is not a date."""


def _interval(wanted: NewList) -> float:
    return 0.0 if wanted.interval is None else parse_duration(wanted.interval).total_seconds()


async def _is_known(room: Room, list_id: UUID, digest: bytes) -> bool:
    """Whether that request has begun a list. Raises Refusal when another one has."""
    async with room.database.connection() as conn:
        known = await find_digest(conn, list_id=list_id)
    if known is not None and known != digest:
        raise Refusal(problem(422, "this Idempotency-Key was used before with another list; send a new one"))
    return known is not None


async def _find_content(room: Room, environment: str, wanted: NewList) -> _Content:
    """The items, or the things of the first chunk. Raises Refusal."""
    if wanted.at is not None and wanted.after is not None:
        raise Refusal(problem(422, "give either `at` or `after`, not both"))
    if (wanted.items is None) is (wanted.find is None):
        raise Refusal(problem(422, "give either `items`, or `find` with a data type"))
    if wanted.where is not None and wanted.find is None:
        raise Refusal(problem(422, "where: it belongs to `find`"))
    if wanted.find is not None and wanted.with_ is None:
        raise Refusal(problem(422, 'with: `find` needs it, to say what each run is given: {"id": "${item._id}"}'))
    if wanted.items is not None:
        check = partial(_check_items, environment, wanted, room, wanted.items)
        parameters = await room.definitions.decide(environment, check)
        return _Content(parameters, len(parameters))
    search = ListSearch(str(wanted.find), wanted.where, until_now(clock.now()), wanted.with_ or {})
    things, search, total = await _search(room, environment, search)
    check = partial(_check_items, environment, wanted, room, things)
    parameters = await room.definitions.decide(environment, check)
    return _Content(parameters, total, None if search.after is None else search)


async def _search(room: Room, environment: str, search: ListSearch) -> tuple[list[JsonValue], ListSearch, int]:
    """The first things that are found, the search for the others, and how many there are. Raises Refusal."""
    data_type = await room.definitions.decide(environment, partial(_find_type, environment, search.type))
    try:
        async with room.database.connection() as conn:
            page = await find_chunk(
                conn, environment=environment, data_type=data_type, search=search, user=None, most=CHUNK_SIZE
            )
            total = len(page.results)
            if page.after is not None:
                total = await _count(conn, environment, data_type, search)
    except ConstraintProblem as error:
        raise Refusal(problem(422, f"where: {error}")) from None
    except TimeoutError:
        raise Refusal(problem(422, f"where: counting the things took longer than {_COUNT_SECONDS:g} s")) from None
    return [dict(thing) for thing in page.results], replace(search, after=page.after), total


async def _count(conn: Connection, environment: str, data_type: DataType, search: ListSearch) -> int:
    return await count_all(
        conn, environment=environment, data_type=data_type, where=search.constraints(None), until=search.until,
        seconds=_COUNT_SECONDS,
    )  # fmt: skip


async def _find_type(environment: str, name: str, deployment: CompiledDeployment) -> DataType:
    found = deployment.app.types.get(name, USER if name == USER.name else None)
    if found is None:
        raise Refusal(problem(422, f"find: {environment} has no data type {name!r}"))
    return found


async def _check_items(
    environment: str, wanted: NewList, room: Room, items: Sequence[JsonValue], deployment: CompiledDeployment
) -> list[Parameters]:
    if wanted.then is not None and wanted.then not in deployment.app.workflows:
        raise Refusal(problem(422, f"then: {describe_unknown_workflow(wanted.then, environment, deployment)}"))
    template = _compile(wanted)
    checked: list[Parameters] = []
    for index, item in enumerate(items):
        given = _parameters(template, item, index)
        request = RunRequest(UUID(int=0), environment, wanted.workflow, given, Trigger.MANUAL)
        refused = find_refusal(request, deployment, room.keyring)
        if refused is not None:
            if refused.code == "unknown_workflow":
                raise Refusal(problem(404, refused.message))
            raise Refusal(problem(422, f"items.{index}: {refused.message}"))
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
