"""`cancel: <run id or list of them>`, or `cancel: {workflow, key}`: ends runs that have not ended by themselves."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Self
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection
from penstock.definitions.models import StepAction
from penstock.domain.runs import RunSummary
from penstock.errors import Transient
from penstock.expressions.language import describe_type
from penstock.expressions.templates import write_value
from penstock.runs.cancellations import cancel_runs, list_missing_children
from penstock.runs.keyed import find_keyed_runs
from penstock_executor.effects import Effect, Group
from penstock_executor.runs import Values
from penstock_executor.steps.arguments import storable, wrong
from penstock_executor.steps.outcomes import Outcome, Write
from penstock_executor.steps.specs import Call, StepSpec

MAX_RUNS: Final = 10_000
PATIENCE_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS: Final = 0.02
_MAX_PAUSE_SECONDS: Final = 0.5


@dataclass(slots=True)
class CancelRuns(Effect):
    """Cancel runs. `ended` are those that were cancelled, once that is done."""

    is_alone: ClassVar[bool] = True

    run_ids: list[UUID]
    by: str
    ended: list[RunSummary] = field(default_factory=list)

    @property
    def cancelled(self) -> Sequence[RunSummary]:
        """Those that were."""
        return self.ended

    def group(self) -> Group:
        """Cancellations."""
        return Group("cancel")

    @classmethod
    async def apply(cls, conn: Connection, environment: str, effects: Sequence[Self]) -> Sequence[JsonValue]:
        """How many runs were cancelled."""
        for effect in effects:
            effect.ended = await cancel_runs(conn, environment=environment, run_ids=effect.run_ids, by=effect.by)
        return [len(effect.ended) for effect in effects]


async def cancel(call: Call) -> Outcome:
    """How many of the runs were cancelled: those that had ended, and null, do not count. `{workflow, key}` means what
    `schedule` steps of any run have scheduled under that key.

    What a step of this very run has scheduled may not be admitted yet; it is waited for, because a run that comes after
    its cancellation would be performed. Raises Transient when it does not come.
    """
    if isinstance(call.target, dict):
        run_ids = await _find_keyed(call, call.target)
    else:
        run_ids = read_ids(call)
        await wait_until_admitted(call, run_ids)
    return Write(CancelRuns(run_ids, by=f"run {call.run.id}"))


async def _find_keyed(call: Call, target: Values) -> list[UUID]:
    """The runs that have not ended. One that is on its way is waited for, but not forever: it may be refused."""
    given = target.get("key")
    if given is None:
        return []  # no key, for `schedule` as well
    workflow, key = str(target.get("workflow")), storable(call, "key", write_value(given))
    loop = asyncio.get_running_loop()
    until, pause = loop.time() + PATIENCE_SECONDS, _FIRST_PAUSE_SECONDS
    while True:
        async with call.tools.database.connection() as conn:
            found = await find_keyed_runs(conn, environment=call.run.environment, workflow=workflow, key=key)
        if not found.is_more_expected or loop.time() + pause > until:
            return found.live
        await asyncio.sleep(pause)
        pause = min(pause * 2, _MAX_PAUSE_SECONDS)


def read_ids(call: Call) -> list[UUID]:
    """The ids that a step names, each once, in their order. Null is passed over."""
    given = call.target if isinstance(call.target, list) else [call.target]
    if len(given) > MAX_RUNS:
        raise wrong(call, f"a step takes at most {MAX_RUNS} runs, and these are {len(given)}")
    return list(dict.fromkeys(_read_id(call, value) for value in given if value is not None))


def _read_id(call: Call, value: JsonValue) -> UUID:
    if not isinstance(value, str):
        raise wrong(call, f"the id of a run is expected, and this is {describe_type(value)}")
    try:
        return UUID(value)
    except ValueError:
        raise wrong(call, f"the id of a run is expected, and this is {value[:60]!r}") from None


async def wait_until_admitted(call: Call, run_ids: list[UUID]) -> None:
    """Wait for what steps of this very run have scheduled. Raises Transient when it does not come."""
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
        pause = min(pause * 2, _MAX_PAUSE_SECONDS)


SPEC: Final = StepSpec(
    action=StepAction.CANCEL,
    target="the id of a run, a list of them, or a workflow and a key",
    awaited=cancel,
    writes=(CancelRuns,),
)
