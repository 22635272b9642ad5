"""Ends of runs start the workflows that wait for them (`on: run`): each run that failed, was terminated or cancelled.

The run that an end starts is a child of the run that ended, one deeper and of its chain; its id derives from both and
the attempt, so an end starts it once. Ends of such runs start nothing (the database does not note them).
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Final

from penstock.db import Connection
from penstock.definitions.models import App
from penstock.definitions.models import RunEnd as RunEndState
from penstock.domain.ids import child_run_id
from penstock.domain.lineage import Lineage
from penstock.domain.runs import Admission, Rejected
from penstock.domain.states import Trigger
from penstock.errors import StaleDefinitions
from penstock.runs.requests import RunRequest
from penstock.runtime import Counts
from penstock.store.deployments import CompiledDeployment
from penstock.store.logs import write_logs
from penstock_scheduler.admitting.taking import admit_taken, describe_refusals
from penstock_scheduler.repository.run_ends import RunEnd, list_environments_with_ends, take_run_ends
from penstock_scheduler.room import Room

BATCH: Final = 200


@dataclass(slots=True)
class _Turn:
    taken: int = 0
    outcomes: list[Admission] = field(default_factory=list)


async def start_run_events(room: Room) -> Counts:
    """Start the runs of all ends that wait."""
    async with room.database.connection() as conn:
        environments = await list_environments_with_ends(conn)
    ends = runs = 0
    for environment in environments:
        while not room.stop.soft.is_set():
            turn = await _take(room, environment)
            ends, runs = ends + turn.taken, runs + len(turn.outcomes)
            if turn.taken < BATCH:
                break
    return Counts({"ends": ends, "runs": runs})


async def _take(room: Room, environment: str) -> _Turn:
    async def work(deployments: dict[str, CompiledDeployment], is_newest: bool) -> _Turn:
        start = partial(_start, environment=environment, deployments=deployments, is_newest=is_newest)
        return await room.database.in_transaction(start)

    turn = await room.admissions.with_current(work)
    await room.admissions.tell([outcome for outcome in turn.outcomes if not isinstance(outcome, Rejected)])
    return turn


async def _start(
    conn: Connection, *, environment: str, deployments: dict[str, CompiledDeployment], is_newest: bool
) -> _Turn:
    """Take ends and admit the runs of those that wait for them. Raises StaleDefinitions."""
    app = deployments[environment].app
    if not is_newest and not any(workflow.run_ends for workflow in app.workflows.values()):
        raise StaleDefinitions("a workflow that waits for ends of runs may have been deployed since")
    ends = await take_run_ends(conn, environment=environment, most=BATCH)
    wanted = [request for end in ends for request in want_runs(app, end)]
    outcomes = await admit_taken(conn, wanted, deployments, is_newest=is_newest)
    if lines := describe_refusals(wanted, outcomes):
        await write_logs(conn, lines)
    return _Turn(len(ends), outcomes)


def want_runs(app: App, end: RunEnd) -> list[RunRequest]:
    """The runs that an end starts."""
    state = RunEndState(end.state)
    return [
        RunRequest(
            run_id=child_run_id(end.run_id, f"run_event/{end.state}/{end.attempt}/{workflow.name}"),
            environment=end.environment,
            workflow=workflow.name,
            parameters={},
            trigger=Trigger.RUN_EVENT,
            lineage=Lineage(parent_run_id=end.run_id),
            context=end.run_context(),
        )
        for workflow in app.workflows.values()
        if any(state in trigger.states and trigger.covers(end.workflow) for trigger in workflow.run_ends)
    ]
