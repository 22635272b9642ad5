"""`wait_for_runs: <run id, list of them, or list id>`: the run gives up its place until all of them have ended."""

from datetime import timedelta
from typing import Final

from pydantic import JsonValue

from penstock.definitions.models import StepAction
from penstock.domain.workload import Activity
from penstock.errors import Permanent
from penstock.runs.joins import find_awaited
from penstock_executor.actions.cancel import read_ids, wait_until_admitted
from penstock_executor.steps.arguments import later, wrong
from penstock_executor.steps.consumption import consumption
from penstock_executor.steps.outcomes import Done, Outcome, Suspend
from penstock_executor.steps.specs import Call, StepSpec

_NOTHING: Final[dict[str, JsonValue]] = {
    "total": 0, "succeeded": 0, "failed": 0, "cancelled": 0, "terminated": 0, "skipped": 0, "results": [],
}  # fmt: skip


async def wait_for_runs(call: Call) -> Outcome:
    """The counts and results of the runs, when they have ended; null when they had not within the step's `timeout`.

    Raises Permanent for an id of which this environment has neither a run nor a list.
    """
    ids = read_ids(call)
    if not ids:
        return Done({**_NOTHING})
    if call.run.id in ids:
        raise wrong(call, "a run cannot wait for its own end")
    await wait_until_admitted(call, ids)
    async with call.tools.database.connection() as conn:
        known = await find_awaited(conn, environment=call.run.environment, ids=ids)
    if missing := [id for id in ids if id not in known]:
        raise Permanent(f"{call.path}: {call.run.environment} has no run or list {missing[0]}", kind="unknown_run")
    seconds = call.plan.definition.timeout_seconds
    until = None if seconds is None else later(call, timedelta(seconds=seconds))
    return Suspend(until, awaited=tuple(ids))


SPEC: Final = StepSpec(
    action=StepAction.WAIT_FOR_RUNS,
    target="the id of a run or of a list, or a list of run ids",
    awaited=wait_for_runs,
    minds_its_time=True,
    consumes=consumption(Activity.ITEM_SCHEDULED),
)
