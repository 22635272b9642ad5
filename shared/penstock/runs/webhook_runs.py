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
    common = RunRequest(
        event.delivery_id, event.environment, "", {}, Trigger.WEBHOOK, lineage, due, context=context,
        delivery_id=event.delivery_id,
    )  # fmt: skip
    return tuple(_run(workflow, deployment, common) for workflow in workflows)


def _run(workflow: Workflow, deployment: CompiledDeployment, common: RunRequest) -> CheckedRun:
    """`common` is what the runs of a delivery have in common, with the delivery's id for theirs.

    A delivery gives no parameters, so required ones are null; what was sent is in `webhook.payload`.
    """
    types = deployment.app.types
    parameters = (
        bind_parameters(workflow, {}, source=ValueSource.JSON, unknown="ignore", types=types, is_complete=False)
        if workflow.parameters
        else {}
    )
    run_id = child_run_id(common.run_id, workflow.name)
    request = common._replace(run_id=run_id, workflow=workflow.name, parameters=parameters)
    return accept_run(request, workflow, deployment.version)
