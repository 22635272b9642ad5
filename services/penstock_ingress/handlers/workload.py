"""The verbs of the management API about workload: what was consumed, and what each activity weighs."""

from collections.abc import Mapping
from functools import partial

from penstock import clock
from penstock.domain.weights import PUBLISHED_WEIGHTS
from penstock.domain.workload import Activity, shown_units
from penstock.store.weights import change_weights, get_weights
from penstock.store.workload_sums import WorkloadFilter, WorkloadSum, list_months, sum_workload
from penstock_ingress.handlers.pages import read_limit, read_position, read_workload_filter, write_position
from penstock_ingress.repository.views import Weight, WeightList, WorkloadMonth, WorkloadPage, WorkloadPart
from penstock_ingress.room import Room
from penstock_ingress.rules.management import WeightsChange


async def show_workload(room: Room, environment: str, query: Mapping[str, str]) -> WorkloadPage:
    """Sums by workflow, activity or hour. Raises Refusal."""
    wanted, first, limit = read_workload_filter(query, clock.now()), read_position(query), read_limit(query)
    async with room.database.connection() as conn:
        sums = await sum_workload(conn, environment=environment, wanted=wanted)
        (month,) = [month for month in await list_months(conn) if month.environment == environment]
    return WorkloadPage(
        by=wanted.by,
        since=wanted.since,
        until=wanted.until,
        units=shown_units(sum(known.units for known in sums)),
        month=WorkloadMonth(since=month.since, units=month.units, allowance=month.allowance or None),
        results=[_part(wanted, known) for known in sums[first : first + limit]],
        after=write_position(first + limit) if len(sums) > first + limit else None,
    )


def _part(wanted: WorkloadFilter, known: WorkloadSum) -> WorkloadPart:
    return WorkloadPart.model_validate({wanted.by: known.key or None, "count": known.count, "units": known.units})


async def show_weights(room: Room, environment: str) -> WeightList:
    """What each activity weighs."""
    async with room.database.connection() as conn:
        return _list(await get_weights(conn, environment=environment))


async def update_weights(room: Room, environment: str, change: WeightsChange, actor: str) -> WeightList:
    """Change weights; what is consumed from a few seconds later on goes by them."""
    work = partial(change_weights, environment=environment, changes=change.weights, actor=actor)
    return _list(await room.database.in_transaction(work))


def _list(weights: Mapping[Activity, float]) -> WeightList:
    return WeightList(
        results=[
            Weight(activity=name, weight=weight, published=PUBLISHED_WEIGHTS[name]) for name, weight in weights.items()
        ],
        after=None,
    )
