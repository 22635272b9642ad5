"""A run that is asked for (RunRequest), and the same after it was checked against the current deployment (CheckedRun),
which is what `admit` takes.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

from pydantic import JsonValue

from penstock import exact_json
from penstock.definitions.models import DEFAULT_PRIORITY, Workflow
from penstock.definitions.parameters import ParameterProblem, ValueSource, bind_parameters
from penstock.domain.lineage import OUTSIDE, Lineage
from penstock.domain.runs import Rejected
from penstock.domain.states import Trigger
from penstock.encryption import Keyring
from penstock.expressions import Expression, ExpressionError, compile_expression
from penstock.runs.idempotency import IdempotencyKey, protect_key
from penstock.runs.places import Control, find_control
from penstock.runs.sealing import UnsealedPassword, seal_passwords
from penstock.store.deployments import CompiledDeployment

NOT_CALLED: Final = frozenset({Trigger.WEBHOOK, Trigger.RECURRENCE, Trigger.CHANGE, Trigger.RUN_EVENT})
"""Nobody gives the runs of these triggers parameters, so required ones are null in them."""
MAX_SHOWN: Final = 200
"""Characters of a value that is not a number, in the error that names it."""


class RunRequest(NamedTuple):
    """A run that is asked for. It can be checked again when a newer deployment is current.

    `run_id` is new for a root and derived for a child. `scheduled_at` None means now, a timedelta so long from now,
    both by the database's clock. `priority` None leaves it to the workflow. `context` is what expressions see beside
    the parameters. A run of a delivery is admitted only if the delivery is new. Runs of one `crowd` take turns with
    those of others; so do, whatever is asked for, those of a chain that has grown large.
    """

    run_id: UUID
    environment: str
    workflow: str
    parameters: Mapping[str, JsonValue]
    trigger: Trigger
    lineage: Lineage = OUTSIDE
    scheduled_at: datetime | timedelta | None = None
    priority: int | None = None
    context: dict[str, JsonValue] | None = None
    list_id: UUID | None = None
    key: IdempotencyKey | None = None
    delivery_id: UUID | None = None
    crowd: UUID | None = None


class CheckedRun(NamedTuple):
    """A request that was checked against deployment `version` of its environment: its parameters are bound.

    `depth_limit` and `priority` are the workflow's own; a priority that was asked for comes first. `progress` has the
    value of its `decreases`, if it has one: see `measure_progress`. `control` is what its workflow's flow control means
    for it.
    """

    request: RunRequest
    version: int
    depth_limit: int | None = None
    priority: int = DEFAULT_PRIORITY
    progress: list[JsonValue] | None = None
    control: Control | None = None

    @property
    def run_id(self) -> UUID:
        """The id that the run has or will have."""
        return self.request.run_id

    @property
    def stands_alone(self) -> bool:
        """Whether one statement admits it: a root without a key, a limit, a chain or a depth that it claims."""
        return self.request.key is None and self.control is None and self.request.lineage == OUTSIDE


def check_run(
    request: RunRequest, deployment: CompiledDeployment, keyring: Keyring | None = None
) -> CheckedRun | Rejected:
    """Check a request against the current deployment. A parameter that the workflow does not declare is an error.

    Passwords are sealed with `keyring`. Without one they are refused: to be left out where the request has been stored
    already.
    """
    bound = _bind(request, deployment, keyring)
    if isinstance(bound, Rejected):
        return bound
    return accept_run(bound, deployment.app.workflows[request.workflow], deployment.version)


def find_refusal(
    request: RunRequest, deployment: CompiledDeployment, keyring: Keyring | None = None
) -> Rejected | None:
    """Why `check_run` would refuse the request; None when it would not. For requests that are only looked at now."""
    bound = _bind(request, deployment, keyring)
    return bound if isinstance(bound, Rejected) else None


def _bind(request: RunRequest, deployment: CompiledDeployment, keyring: Keyring | None) -> RunRequest | Rejected:
    """The request with its parameters bound, and its passwords sealed."""
    definition = deployment.app.workflows.get(request.workflow)
    if definition is None:
        return Rejected(
            "unknown_workflow", describe_unknown_workflow(request.workflow, request.environment, deployment)
        )
    try:
        bound = bind_parameters(
            definition,
            request.parameters,
            source=ValueSource.JSON,
            unknown="reject",
            types=deployment.app.types,
            is_complete=request.trigger not in NOT_CALLED,
        )
        return seal_request(request._replace(parameters=bound), definition, keyring)
    except ParameterProblem as problem:
        code = "missing_parameter" if problem.code == "MISSING_DATA" else "invalid_parameter"
        code = "unsealed_password" if isinstance(problem, UnsealedPassword) else code
        return Rejected(code, str(problem), problem.parameter)


def seal_request(request: RunRequest, definition: Workflow, keyring: Keyring | None) -> RunRequest:
    """A request whose parameters are bound: its passwords sealed, its key protected. Raises ParameterProblem."""
    if not definition.passwords:
        return request
    sealed = seal_passwords(definition, request.parameters, request.environment, request.run_id, keyring)
    return request._replace(parameters=sealed, key=protect_key(request.key, keyring))


def accept_run(request: RunRequest, definition: Workflow, version: int) -> CheckedRun:
    """The run of a request whose parameters are bound already."""
    priority = definition.priority if request.priority is None else request.priority
    progress = measure_progress(definition, request.parameters) if definition.decreases else None
    if definition.flow is None:
        return CheckedRun(request, version, definition.depth_limit, priority, progress)
    control = find_control(definition, request.environment, request.parameters, request.context)
    if control is not None and control.quiet is not None and request.scheduled_at is None:
        request = request._replace(scheduled_at=control.quiet.quiet)
    return CheckedRun(request, version, definition.depth_limit, priority, progress, control)


def measure_progress(definition: Workflow, parameters: Mapping[str, JsonValue]) -> list[JsonValue]:
    """A list of one: the value of the workflow's `decreases`; a short text for one that is not a number or null."""
    assert definition.decreases is not None
    try:
        value = _compile(definition.decreases, definition.place).evaluate({"params": dict(parameters)})
    except ExpressionError as error:
        return [f"an error: {error}"[:MAX_SHOWN]]
    is_plain = value is None or isinstance(value, int | float)
    return [value if is_plain else exact_json.dumps(value)[:MAX_SHOWN].decode(errors="replace")]


@lru_cache(maxsize=1000)
def _compile(decreases: str, place: str) -> Expression:
    return compile_expression(decreases, place)


def describe_unknown_workflow(workflow: str, environment: str, deployment: CompiledDeployment) -> str:
    """One sentence about a workflow that is not deployed, with the nearest name there is."""
    return describe_unknown_workflow_among(workflow, environment, deployment.app.workflows)


def describe_unknown_workflow_among(workflow: str, environment: str, known: Iterable[str]) -> str:
    """The same, where these are deployed."""
    near = get_close_matches(workflow, list(known), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no workflow {workflow!r} is deployed to {environment}{hint}"
