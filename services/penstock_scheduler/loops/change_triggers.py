"""Changes of things start runs: a change leaves its table in the transaction that admits its runs.

A run that a change of another run starts is that run's child, one deeper and of its chain; one from outside is a root.
What a trigger's `when` cannot be asked about, and what is refused, is a Workflow error. A change that cannot be read at
all (its type has another form by now) is logged and dropped, so that it does not keep all later ones waiting.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Final

from pydantic import JsonValue

from penstock.db import Connection, isolate
from penstock.definitions.models import App, ChangedBy, ChangeTrigger, DataType, FieldType, ScalarType, Workflow
from penstock.domain.ids import child_run_id, recurrence_id, tick_run_id
from penstock.domain.lineage import Lineage
from penstock.domain.runs import Admission, Rejected
from penstock.domain.states import Trigger
from penstock.domain.workload import Activity
from penstock.errors import PenstockError, Permanent, StaleDefinitions
from penstock.expressions import Expression, compile_expression
from penstock.expressions.bounded import holds
from penstock.logs import get_logger
from penstock.runs.requests import RunRequest
from penstock.runtime import Counts
from penstock.store.deployments import CompiledDeployment
from penstock.store.logs import LogLine, Subject, error_line, write_logs
from penstock.things.changes import Change, drop_changes, list_changes, list_waiting_types, take_changes
from penstock_scheduler.admitting.taking import admit_taken, describe_refusals, refusal_line
from penstock_scheduler.room import Room

log = get_logger(__name__)

BATCH: Final = 200
_BOOLEAN: Final = FieldType(ScalarType.BOOLEAN)
Deployments = dict[str, CompiledDeployment]


_HEAVY_SECONDS: Final = 8.0
"""For all conditions of a batch of changes that are evaluated apart."""


@dataclass(slots=True)
class Turn:
    """What became of some changes of one type: how many were taken, the runs, and how often a workflow was asked."""

    taken: int = 0
    outcomes: list[Admission] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=dict)
    lines: list[LogLine] = field(default_factory=list)
    heavy_until: float = field(default_factory=lambda: time.monotonic() + _HEAVY_SECONDS)

    def add(self, other: "Turn") -> None:
        """Note what became of further changes."""
        self.taken += other.taken
        self.outcomes += other.outcomes
        for workflow, times in other.asked.items():
            self.asked[workflow] = self.asked.get(workflow, 0) + times
        self.lines += other.lines


async def start_changes(room: Room) -> Counts:
    """Start the runs of all changes that wait."""
    async with room.database.connection() as conn:
        waiting = await list_waiting_types(conn)
    changes = runs = 0
    for environment, type_name in waiting:
        while not room.stop.soft.is_set():
            turn = await _take_turn(room, environment, type_name)
            changes, runs = changes + turn.taken, runs + len(turn.outcomes)
            if turn.taken < BATCH:
                break
    return Counts({"changes": changes, "runs": runs})


async def _take_turn(room: Room, environment: str, type_name: str) -> Turn:
    try:
        return await _take(room, environment, type_name)
    except PenstockError:
        raise
    except Exception as error:
        log.error(
            "change.batch_failed", environment=environment, type=type_name, error=f"{type(error).__name__}: {error}"
        )
    return await _take_apart(room, environment, type_name)


async def _take_apart(room: Room, environment: str, type_name: str) -> Turn:
    """Take changes without those that cannot be read; these are found, and dropped."""
    async with room.database.connection() as conn:
        ids = await list_changes(conn, environment=environment, type_name=type_name, most=BATCH)
    turn = Turn()

    async def take(some: list[int]) -> list[None]:
        turn.add(await _take(room, environment, type_name, only=some))
        return [None] * len(some)

    for id, failure in zip(ids, await isolate(ids, take), strict=True):
        if isinstance(failure, PenstockError) or not isinstance(failure, Exception | None):
            raise failure
        if failure is not None:
            message = (
                f"a change of {type_name} could not be read and starts nothing: {type(failure).__name__}: {failure}"
            )
            drop = partial(_drop, environment=environment, type_name=type_name, id=id, message=message)
            await room.database.in_transaction(drop)
            turn.taken += 1
    return turn


async def _take(room: Room, environment: str, type_name: str, *, only: Sequence[int] | None = None) -> Turn:
    async def work(deployments: Deployments, is_newest: bool) -> Turn:
        return await room.database.in_transaction(
            partial(
                _start,
                room=room,
                of=(environment, type_name),
                only=only,
                deployments=deployments,
                is_newest=is_newest,
            )
        )

    turn = await room.admissions.with_current(work)
    await room.admissions.tell([outcome for outcome in turn.outcomes if not isinstance(outcome, Rejected)])
    for workflow, times in turn.asked.items():
        room.meter.count(environment, workflow, {Activity.CHANGE_EVALUATED: times})
    return turn


async def _start(
    conn: Connection,
    *,
    room: Room,
    of: tuple[str, str],
    only: Sequence[int] | None,
    deployments: Deployments,
    is_newest: bool,
) -> Turn:
    """Take changes of an environment and type, ask the triggers, admit the runs. Raises StaleDefinitions."""
    environment, type_name = of
    app = deployments[environment].app
    triggers = list_triggers(app, type_name)
    if not triggers:
        if not is_newest:
            raise StaleDefinitions(f"a workflow that waits for changes of {type_name} may have been deployed since")
        await drop_changes(conn, environment=environment, type_name=type_name)
        return Turn()
    changes = await take_changes(conn, environment=environment, data_type=app.types[type_name], most=BATCH, only=only)
    turn = Turn(taken=len(changes))
    wanted = [run for change in changes for run in await _want(change, app.types[type_name], triggers, turn)]
    turn.outcomes = await admit_taken(conn, wanted, deployments, is_newest=is_newest, mark=room.admissions.mark)
    turn.lines += describe_refusals(wanted, turn.outcomes)
    if turn.lines:
        await write_logs(conn, turn.lines)
    return turn


def list_triggers(app: App, type_name: str) -> list[tuple[Workflow, int, ChangeTrigger]]:
    """The triggers that wait for changes of a type, each with its workflow and its position there."""
    return [
        (workflow, position, trigger)
        for workflow in app.workflows.values()
        for position, trigger in enumerate(workflow.changes)
        if trigger.type == type_name
    ]


async def _want(
    change: Change, data_type: DataType, triggers: list[tuple[Workflow, int, ChangeTrigger]], turn: Turn
) -> list[RunRequest]:
    wanted = []
    for workflow, position, trigger in triggers:
        if change.operation not in trigger.operations or not _counts(trigger, change):
            continue
        turn.asked[workflow.name] = turn.asked.get(workflow.name, 0) + 1
        try:
            if not await _holds(trigger, change, data_type, turn):
                continue
        except Permanent as error:
            turn.lines.append(refusal_line(change.environment, workflow.name, f"was not started: {error}", error.kind))
            continue
        wanted.append(_run(change, workflow, position))
    return wanted


def _run(change: Change, workflow: Workflow, position: int) -> RunRequest:
    # What a step did to a thing fires once, even when its changes are committed and taken in several batches.
    what = str(change.id) if change.step is None else f"{change.step}/{change.thing_id}"
    key = f"change/{what}/{workflow.name}/{position}"
    if change.run_id is None:
        run_id = tick_run_id(recurrence_id(change.environment, workflow.name, key), change.changed_at)
    else:
        run_id = child_run_id(change.run_id, key)
    return RunRequest(
        run_id=run_id,
        environment=change.environment,
        workflow=workflow.name,
        parameters={},
        trigger=Trigger.CHANGE,
        lineage=Lineage(parent_run_id=change.run_id),
        context=change.run_context(),
    )


def _counts(trigger: ChangeTrigger, change: Change) -> bool:
    """Whether the trigger waits for changes by the one who made this one."""
    match trigger.by:
        case ChangedBy.ANYONE:
            return True
        case ChangedBy.OUTSIDE:
            return change.run_id is None
        case ChangedBy.RUNS:
            return change.run_id is not None


async def _holds(trigger: ChangeTrigger, change: Change, data_type: DataType, turn: Turn) -> bool:
    """Whether the trigger's condition is met. An empty boolean field is false here, as in Bubble."""
    if trigger.when is None:
        return True
    empty: dict[str, JsonValue] = {known.name: False for known in data_type.fields if known.type == _BOOLEAN}
    scope: dict[str, JsonValue] = {
        name: None if thing is None else {**empty, **thing}
        for name, thing in (("before", change.before), ("after", change.after))
    }
    condition = _compile(trigger.when, trigger.place)
    # The transaction is open, and its server waits 15 s for the next statement: what is heavy then fails.
    return await holds(condition, scope) if time.monotonic() < turn.heavy_until else condition.holds(scope)


@lru_cache(maxsize=1000)
def _compile(when: str, place: str) -> Expression:
    return compile_expression(when, place)


async def _drop(conn: Connection, *, environment: str, type_name: str, id: int, message: str) -> None:
    if not await drop_changes(conn, environment=environment, type_name=type_name, only=[id]):
        return  # another scheduler was here first
    line = error_line(Subject(environment), f"Workflow error: {message}", {"kind": "unreadable_change"})
    await write_logs(conn, [line])
