"""What the management API shows of the workflows that are deployed."""

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from penstock.runs.views.models import Shown
from penstock_ingress.repository.views import Pause


class WorkflowParameter(Shown):
    """A parameter that a workflow declares."""

    name: str
    type: str
    is_optional: bool
    default: JsonValue = None


class WorkflowSummary(Shown):
    """A workflow that is deployed; `triggers` are `api`, `webhook`, `recurrence`, `change` and `run`."""

    name: str
    label: str
    parameters: list[WorkflowParameter]
    triggers: list[str]


class WorkflowList(Shown):
    """The workflows of the current deployment; `version` 0 says that nothing is deployed."""

    version: int
    results: list[WorkflowSummary]


class WorkflowChange(Shown):
    """A deployment that has added, changed or removed a workflow."""

    version: int
    deployed_at: datetime
    change: Literal["added", "changed", "removed"]


class ChangedPart(Shown):
    """What a deployment has changed at one place of a definition; null stands for what is not there."""

    path: str
    before: JsonValue
    after: JsonValue


class VersionDifference(WorkflowChange):
    """A deployment that has added, changed or removed a workflow, and what it has changed."""

    parts: list[ChangedPart] = Field(description="Of one that changed it; at most 200")


class VersionPage(Shown):
    """Versions of a workflow, the newest first; there is one page."""

    results: list[VersionDifference]
    after: str | None


class WorkflowStart(Shown):
    """That runs of one workflow start those of another."""

    workflow: str
    starts: str
    by: str = Field(description="The step that does: `schedule`, `schedule_list` or `trigger`; `change` or `run` of a "
                                "trigger")  # fmt: skip
    is_guarded: bool = Field(description="Whether a condition stands on the way")
    place: str = Field(description="`file:line`")


class WorkflowGraph(Shown):
    """Who starts whom, as far as the definitions say; what steps in Python start is not in it."""

    starts: list[WorkflowStart]
    started_by: list[WorkflowStart]
    cycles: list[list[str]] = Field(description="Cycles that lead through it; a path begins and ends with one workflow")


class GraphNode(Shown):
    """A workflow in the graph of all."""

    name: str
    label: str
    triggers: list[str]
    is_recursive: bool = Field(description="Whether it says that recursion through it is meant")
    is_paused: bool


class GraphCycle(Shown):
    """Workflows that start each other in a ring; the path begins and ends with the same one."""

    path: list[str]
    is_guarded: bool = Field(description="Whether a condition stands on the way; without one, only a limit ends it")
    is_meant: bool = Field(description="Whether a workflow or a step on it says so")
    is_over_calls: bool = Field(description="Whether it is closed by a call over HTTP, if that calls this installation")
    place: str = Field(description="`file:line` of the step that leaves the first one")


class Graph(Shown):
    """Who starts whom, as far as the definitions say; what steps in Python start is not in it."""

    version: int
    workflows: list[GraphNode]
    starts: list[WorkflowStart]
    cycles: list[GraphCycle] = Field(description="Those without a condition first; at most a hundred")


class WorkflowDetails(WorkflowSummary):
    """A workflow as it is deployed; `definition` leaves out what is as it is by default."""

    environment: str
    version: int = Field(description="The deployment that holds now")
    definition: dict[str, JsonValue]
    versions: list[WorkflowChange] = Field(
        description="Which of the last hundred deployments changed it, the newest first"
    )
    graph: WorkflowGraph
    pauses: list[Pause] = Field(description="Those of this workflow that are in force")


class Detected(Shown):
    """What the last sample of a workflow suggests. Values are not kept, only names and types."""

    workflow: str
    parameters: list[WorkflowParameter]
    yaml: str = Field(description="The key `parameters:` of the workflow, to be put into its file")
    detected_at: datetime
    detected_by: str = Field(description="Who sent the sample: `anonymous`, a user or a token")
    accepted_at: datetime | None
    accepted_by: str | None


class DetectedPage(Shown):
    """Suggestions, by workflow; `after` asks for the next page."""

    results: list[Detected]
    after: str | None


class SourceListener(Shown):
    """A workflow that deliveries of a source start."""

    workflow: str
    types: list[str] = Field(description="The types that it listens to; `*` is any text")


class WebhookSource(Shown):
    """A source of webhooks that is deployed."""

    name: str
    scheme: str = Field(description="How its deliveries prove who sent them")
    path: str = Field(description="Where they are sent, on the public port")
    workflows: list[SourceListener]


class SourceList(Shown):
    """The sources of the current deployment; there is one page."""

    results: list[WebhookSource]
    after: str | None
