"""From what somebody asks for to a RunRequest that `admit` takes: the definition is found, the parameters are checked
against it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from difflib import get_close_matches
from uuid import UUID

from pydantic import JsonValue

from penstock.definitions.parameters import ParameterProblem, ValueSource, bind_parameters
from penstock.domain.runs import Rejected
from penstock.domain.states import Trigger
from penstock.runs.admission import RunRequest
from penstock.runs.idempotency import IdempotencyKey
from penstock.store.deployments import CompiledDeployment


def prepare_run(
    deployment: CompiledDeployment,
    *,
    run_id: UUID,
    environment: str,
    workflow: str,
    parameters: Mapping[str, JsonValue],
    trigger: Trigger,
    parent_run_id: UUID | None = None,
    claimed_depth: int = 0,
    claimed_chain_id: UUID | None = None,
    scheduled_at: datetime | timedelta | None = None,
    priority: int | None = None,
    context: dict[str, JsonValue] | None = None,
    list_id: UUID | None = None,
    key: IdempotencyKey | None = None,
) -> RunRequest | Rejected:
    """Check a request against the current deployment. Parameters that the workflow does not declare are an error
    here.
    """
    definition = deployment.app.workflows.get(workflow)
    if definition is None:
        return Rejected("unknown_workflow", describe_unknown_workflow(workflow, environment, deployment))
    try:
        bound = bind_parameters(
            definition, parameters, source=ValueSource.JSON, unknown="reject", types=deployment.app.types
        )
    except ParameterProblem as problem:
        code = "missing_parameter" if problem.code == "MISSING_DATA" else "invalid_parameter"
        return Rejected(code, str(problem), problem.parameter)
    return RunRequest(
        run_id=run_id,
        environment=environment,
        workflow=workflow,
        version=deployment.version,
        trigger=trigger,
        parameters=bound,
        parent_run_id=parent_run_id,
        claimed_depth=claimed_depth,
        claimed_chain_id=claimed_chain_id,
        depth_limit=definition.depth_limit,
        scheduled_at=scheduled_at,
        priority=definition.priority if priority is None else priority,
        context=context,
        list_id=list_id,
        key=key,
    )


def describe_unknown_workflow(workflow: str, environment: str, deployment: CompiledDeployment) -> str:
    """One sentence for whoever asked for a workflow that is not deployed, with the nearest name there is."""
    near = get_close_matches(workflow, deployment.app.workflows, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no workflow {workflow!r} is deployed to {environment}{hint}"
