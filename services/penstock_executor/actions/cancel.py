"""`cancel: <run id or list of them>`: ends runs that have not ended by themselves."""

import asyncio
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock.errors import Transient
from penstock.expressions.language import describe_type
from penstock.runs.cancellations import list_missing_children
from penstock_executor.actions.arguments import wrong
from penstock_executor.actions.steps import Call, Outcome, Write
from penstock_executor.runs import CancelRuns

MOST_RUNS: Final = 10_000
PATIENCE_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS: Final = 0.02
_LONGEST_PAUSE_SECONDS: Final = 0.5


async def cancel(call: Call) -> Outcome:
    """How many of the runs were cancelled: those that had ended, and null, do not count.

    What a step of this very run has scheduled may not be admitted yet; it is waited for, because a run that comes after
    its cancellation would be performed. Raises Transient when it does not come.
    """
    run_ids = _read_ids(call)
    await _wait_until_admitted(call, run_ids)
    return Write(CancelRuns(run_ids))


def _read_ids(call: Call) -> list[UUID]:
    given = call.target if isinstance(call.target, list) else [call.target]
    if len(given) > MOST_RUNS:
        raise wrong(call, f"at most {MOST_RUNS} runs can be cancelled at once, and these are {len(given)}")
    return sorted({_read_id(call, value) for value in given if value is not None})


def _read_id(call: Call, value: JsonValue) -> UUID:
    if not isinstance(value, str):
        raise wrong(call, f"the id of a run is expected, and this is {describe_type(value)}")
    try:
        return UUID(value)
    except ValueError:
        raise wrong(call, f"the id of a run is expected, and this is {value[:60]!r}") from None


async def _wait_until_admitted(call: Call, run_ids: list[UUID]) -> None:
    loop = asyncio.get_running_loop()
    until, pause = loop.time() + PATIENCE_SECONDS, _FIRST_PAUSE_SECONDS
    while True:
        async with call.tools.database.connection() as conn:
            missing = await list_missing_children(conn, parent_run_id=call.run.id, run_ids=run_ids)
        if not missing:
            return
        if loop.time() + pause > until:
            message = f"the run {missing[0]}, which this run has scheduled, is not admitted yet; are the schedulers up?"
            raise Transient(message, kind="not_admitted")
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
