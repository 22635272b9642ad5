"""What a delivery starts: its runs, and what their expressions see as `webhook`. The same when a delivery arrives and
when it is replayed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from pydantic import JsonValue

from penstock.definitions.models import Workflow
from penstock.definitions.parameters import ValueSource, bind_parameters
from penstock.definitions.values import format_date
from penstock.domain.ids import child_run_id
from penstock.domain.lineage import Lineage
from penstock.domain.states import Trigger
from penstock.runs.requests import CheckedRun, RunRequest, accept_run
from penstock.store.deployments import CompiledDeployment


class Event(NamedTuple):
    """What a delivery is about. `type` is all of its types in one text; `event_id` is the provider's."""

    delivery_id: UUID
    environment: str
    source: str
    type: str | None
    event_id: str | None
    payload: JsonValue
    headers: Mapping[str, str]
    received_at: datetime
    trace: Mapping[str, JsonValue] | None = None


def make_runs(
    event: Event,
    workflows: Sequence[Workflow],
    deployment: CompiledDeployment,
    lineage: Lineage,
    due: timedelta | None = None,
) -> tuple[CheckedRun, ...]:
    """One run for each workflow: a root, or the next one of the chain that sent the delivery; due now, or `due` from
    now.
    """
    context: dict[str, JsonValue] = {
        "webhook": {
            "source": event.source,
            "id": str(event.delivery_id),
            "event_id": event.event_id,
            "type": event.type,
            "payload": event.payload,
            "headers": {**event.headers},
            "received_at": format_date(event.received_at),
        },
        # Whoever sends a webhook is a stranger to the app's privacy rules, as with Bubble.
        "user": {},
    }
    if event.trace is not None:
        context["trace"] = {**event.trace}
    delivery_id, environment, version = event.delivery_id, event.environment, deployment.version
    return tuple(
        [
            accept_run(
                RunRequest(
                    run_id=child_run_id(delivery_id, workflow.name),
                    environment=environment,
                    workflow=workflow.name,
                    parameters=_bind_none(workflow, deployment) if workflow.parameters else {},
                    trigger=Trigger.WEBHOOK,
                    lineage=lineage,
                    scheduled_at=due,
                    context=context,
                    delivery_id=delivery_id,
                ),
                workflow,
                version,
            )
            for workflow in workflows
        ]
    )


def _bind_none(workflow: Workflow, deployment: CompiledDeployment) -> dict[str, JsonValue]:
    """A delivery gives no parameters, so required ones are null; what was sent is in `webhook.payload`."""
    types = deployment.app.types
    return bind_parameters(workflow, {}, source=ValueSource.JSON, unknown="ignore", types=types, is_complete=False)
