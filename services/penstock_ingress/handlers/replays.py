"""The verbs of the management API about deliveries that are stored: look at them, and let them start runs again."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple
from uuid import UUID

from penstock.db import Connection
from penstock.domain.ids import child_run_id, new_run_id
from penstock.domain.runs import Admission, Admitted
from penstock.domain.states import RunState
from penstock.runs.operations import OperationKind
from penstock.runs.replays import NotReplayable, ReplayRequest, replay_one
from penstock.runs.views.deliveries import find_delivery, list_deliveries
from penstock.runs.views.models import Delivery, DeliveryDetails
from penstock.store.deployments import CompiledDeployment
from penstock_ingress.handlers import operations
from penstock_ingress.handlers.pages import read_delivery_filter, read_limit, read_run_token, write_token
from penstock_ingress.repository.views import DeliveryPage, Operation
from penstock_ingress.room import Room
from penstock_ingress.rules.management import DeliveryChoice
from penstock_ingress.rules.replies import Refusal, problem


class ReplayCall(NamedTuple):
    """Who asks for the replay of which delivery. The same `key` for the same delivery makes one replay."""

    environment: str
    origin_id: UUID
    key: str | None
    actor: str


async def show_deliveries(room: Room, environment: str, query: Mapping[str, str]) -> DeliveryPage:
    """Deliveries, newest first. Raises Refusal."""
    wanted, after, limit = read_delivery_filter(environment, query), read_run_token(query), read_limit(query)
    async with room.database.connection() as conn:
        page = await list_deliveries(conn, wanted, after=after, limit=limit)
    return DeliveryPage(results=page.results, after=write_token(*page.after) if page.after else None)


async def show_delivery(room: Room, environment: str, id: UUID) -> DeliveryDetails:
    """A delivery with what was sent. Raises Refusal."""
    async with room.database.connection() as conn:
        found = await find_delivery(conn, id=id, environment=environment)
    if found is None:
        raise _unknown(environment, id)
    return found


async def replay_delivery(room: Room, call: ReplayCall) -> tuple[Delivery, bool]:
    """The replay of a delivery, and whether it is new: with a key that was used before it is the one made then. Raises
    Refusal.
    """
    id = new_run_id() if call.key is None else child_run_id(call.origin_id, f"replay {call.key}")
    request = ReplayRequest(call.origin_id, call.environment, id, call.actor)
    is_new, admissions = await room.definitions.decide(call.environment, partial(_replay, room, request))
    _announce(room, admissions)
    return (await show_delivery(room, call.environment, id)).plain, is_new


async def _replay(
    room: Room, request: ReplayRequest, deployment: CompiledDeployment
) -> tuple[bool, Sequence[Admission]]:
    async def work(conn: Connection) -> tuple[bool, Sequence[Admission]] | None:
        done = await replay_one(conn, request, deployment=deployment)
        return None if done is None else (bool(done.ids), done.admissions)

    try:
        done = await room.database.in_transaction(work)
    except NotReplayable as error:
        raise Refusal(problem(409, str(error), extensions={"code": "not_replayable"})) from None
    if done is None:
        raise _unknown(request.environment, request.origin_id)
    return done


async def replay_deliveries(
    room: Room, environment: str, wanted: DeliveryChoice, actor: str, key: str | None
) -> Operation:
    """Replay the deliveries that meet the filter, the oldest first; with the same `key`, once. Raises Refusal."""
    of = wanted.of(environment)
    if of.is_everything != wanted.all:
        detail = (
            f"this would replay all deliveries of {environment}; narrow it down, or send all: true"
            if of.is_everything
            else "all: give either all: true or a filter"
        )
        raise Refusal(problem(422, detail))
    return await operations.begin(room, OperationKind.REPLAY_DELIVERIES, of, actor, key)


def _announce(room: Room, admissions: Sequence[Admission]) -> None:
    """After the commit: publish the events, dispatch the new runs."""
    room.publisher.announce(admissions)
    runs = [admission.run for admission in admissions if isinstance(admission, Admitted)]
    room.acceptance.dispatch([run for run in runs if run.state is RunState.QUEUED])


def _unknown(environment: str, id: UUID) -> Refusal:
    return Refusal(problem(404, f"{environment} has no delivery {id}"))
