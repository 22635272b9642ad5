"""The verbs of the management API about the workflows that are deployed: look at them, pause and resume them."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, Literal

from penstock.definitions.differences import is_same_definition, list_changed_values
from penstock.definitions.models import Workflow
from penstock.reading.index import NAME
from penstock.reading.lints.recursion import Start, find_all_recursions, find_recursions, list_starts
from penstock.runs.requests import describe_unknown_workflow
from penstock.runs.schedule.pauses import list_pauses
from penstock.store.deployments import CompiledDeployment, WorkflowVersion, list_workflow_versions
from penstock_ingress.handlers import schedule
from penstock_ingress.repository.views import Pause, Resumed
from penstock_ingress.repository.workflow_views import (
    ChangedPart,
    Graph,
    GraphCycle,
    GraphNode,
    VersionDifference,
    VersionPage,
    WorkflowChange,
    WorkflowDetails,
    WorkflowGraph,
    WorkflowList,
    WorkflowParameter,
    WorkflowStart,
    WorkflowSummary,
)
from penstock_ingress.room import Room
from penstock_ingress.rules.management import NewPause, Resumption, WorkflowPause, WorkflowResumption
from penstock_ingress.rules.replies import Refusal, problem

_MAX_PARTS: Final = 200
What = Literal["added", "changed", "removed"]
MAX_NAME: Final = 200
"""Characters of a workflow's name in a filter."""


async def show_workflows(room: Room, environment: str) -> WorkflowList:
    """The workflows that are deployed now."""
    deployment = await room.definitions.newest(environment)
    return WorkflowList(
        version=deployment.version,
        results=[_summarize(workflow) for workflow in deployment.app.workflows.values()],
    )


async def show_workflow(room: Room, environment: str, name: str) -> WorkflowDetails:
    """One workflow as it is deployed, in which versions it changed, and who starts whom. Raises Refusal."""
    deployment = await room.definitions.newest(environment)
    workflow = _find(deployment, environment, name)
    async with room.database.connection() as conn:
        versions = await list_workflow_versions(conn, environment=environment, workflow=name)
        paused = [one for one in await list_pauses(conn, environment=environment) if one.of.workflow == name]
    starts = list_starts(deployment.app)
    return WorkflowDetails(
        **dict(_summarize(workflow)),
        environment=environment,
        version=deployment.version,
        definition=workflow.model_dump(mode="json", exclude_defaults=True),
        versions=[
            WorkflowChange(version=newer.version, deployed_at=newer.deployed_at, change=what)
            for newer, _, what in _compare(versions)
        ],
        graph=WorkflowGraph(
            starts=[_show_start(start) for start in starts if start.source == name],
            started_by=[_show_start(start) for start in starts if start.target == name],
            cycles=[list(found.path) for found in find_recursions(deployment.app) if name in found.path],
        ),
        pauses=[schedule.show_pause(one) for one in paused],
    )


async def show_versions(room: Room, environment: str, name: str) -> VersionPage:
    """Which of the last hundred deployments changed a workflow, and what. Raises Refusal for one that no deployment
    had.
    """
    if not NAME.fullmatch(name) or len(name) > MAX_NAME:
        _find(await room.definitions.newest(environment), environment, name)
    async with room.database.connection() as conn:
        versions = await list_workflow_versions(conn, environment=environment, workflow=name)
    if all(version.definition is None for version in versions):
        _find(await room.definitions.newest(environment), environment, name)
    return VersionPage(results=[_show_change(*change) for change in _compare(versions)], after=None)


async def show_graph(room: Room, environment: str) -> Graph:
    """All workflows, who starts whom, and the cycles in that."""
    deployment = await room.definitions.newest(environment)
    async with room.database.connection() as conn:
        pauses = await list_pauses(conn, environment=environment)
    paused, unmeant = {one.of.workflow for one in pauses}, set(find_recursions(deployment.app))
    return Graph(
        version=deployment.version,
        workflows=[
            GraphNode(
                name=workflow.name,
                label=workflow.label,
                triggers=_summarize(workflow).triggers,
                is_recursive=workflow.is_recursive,
                is_paused=workflow.name in paused,
            )
            for workflow in deployment.app.workflows.values()
        ],
        starts=[_show_start(start) for start in list_starts(deployment.app)],
        cycles=[
            GraphCycle(
                path=list(found.path),
                is_guarded=found.is_guarded,
                is_meant=found not in unmeant,
                is_over_calls=any(found.calls),
                place=found.place,
            )
            for found in find_all_recursions(deployment.app)
        ],
    )


async def pause(room: Room, environment: str, name: str, wanted: WorkflowPause, actor: str) -> Pause:
    """Start no run of the workflow until it is resumed. Raises Refusal for one that is not deployed."""
    _find(await room.definitions.newest(environment), environment, name)
    return await schedule.pause(room, environment, NewPause(workflow=name, note=wanted.note), actor)


async def resume(room: Room, environment: str, name: str, wanted: WorkflowResumption, actor: str) -> Resumed:
    """Lift the pause of the workflow, also of one that is no longer deployed. Raises Refusal when there is none."""
    if not NAME.fullmatch(name) or len(name) > MAX_NAME:
        _find(await room.definitions.newest(environment), environment, name)
    return await schedule.resume(room, environment, Resumption(workflow=name, missed=wanted.missed), actor)


def _find(deployment: CompiledDeployment, environment: str, name: str) -> Workflow:
    workflow = deployment.app.workflows.get(name)
    if workflow is None:
        raise Refusal(problem(404, describe_unknown_workflow(name[:200], environment, deployment)))
    return workflow


def _summarize(workflow: Workflow) -> WorkflowSummary:
    return WorkflowSummary(
        name=workflow.name,
        label=workflow.label,
        parameters=[
            WorkflowParameter(
                name=known.name, type=str(known.type), is_optional=known.is_optional, default=known.default
            )
            for known in workflow.parameters
        ],
        triggers=[
            *(["api"] if workflow.api else []),
            *(["webhook"] if workflow.webhooks else []),
            *(["recurrence"] if workflow.recurrences else []),
            *(["change"] if workflow.changes else []),
            *(["run"] if workflow.run_ends else []),
        ],
    )


def _compare(versions: Sequence[WorkflowVersion]) -> Iterator[tuple[WorkflowVersion, WorkflowVersion | None, What]]:
    """The versions that have added, changed or removed it with the ones before, the newest first. Of the oldest that is
    read nobody knows what was before, unless it is the first of all.
    """
    for newer, older in pairwise([*versions, None]):
        assert newer is not None
        before = None if older is None else older.definition
        if older is None and newer.version > 1:
            continue
        if newer.definition is None and before is not None:
            yield newer, older, "removed"
        elif newer.definition is not None and before is None:
            yield newer, older, "added"
        elif not is_same_definition(before, newer.definition):
            yield newer, older, "changed"


def _show_change(newer: WorkflowVersion, older: WorkflowVersion | None, what: What) -> VersionDifference:
    parts = []
    if what == "changed" and older is not None:
        changed = list_changed_values(older.definition, newer.definition)[:_MAX_PARTS]
        parts = [ChangedPart(path=part.path, before=part.before, after=part.after) for part in changed]
    return VersionDifference(version=newer.version, deployed_at=newer.deployed_at, change=what, parts=parts)


def _show_start(start: Start) -> WorkflowStart:
    return WorkflowStart(
        workflow=start.source, starts=start.target, by=start.by, is_guarded=start.is_guarded, place=start.place
    )
