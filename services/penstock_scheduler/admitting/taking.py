"""Requests for runs that were stored by others: taken out of their table in the transaction that admits their runs.

What a taken row asks for is admitted, or reported as a Workflow error, once: the row is gone with the same commit. A
refusal by a deployment that may be outdated raises StaleDefinitions, and the row is taken again with the newest one.
"""

from collections.abc import Callable, Mapping, Sequence

from penstock.db import Connection
from penstock.domain.runs import Admission, Rejected
from penstock.errors import StaleDefinitions
from penstock.runs.requests import CheckedRun, RunRequest
from penstock.store.deployments import CompiledDeployment
from penstock.store.logs import LogLine, Subject, error_line
from penstock_scheduler.admitting.admissions import admit_prepared, prepare_all

Prepared = Sequence[CheckedRun | Rejected]


async def admit_taken(
    conn: Connection,
    requests: Sequence[RunRequest],
    deployments: Mapping[str, CompiledDeployment],
    *,
    is_newest: bool,
    mark: Callable[[Prepared], Prepared] | None = None,
) -> list[Admission]:
    """The outcome of each request, in order; `mark` makes those of a flood take turns. Raises StaleDefinitions, also
    for a refusal by a deployment that may be old.
    """
    prepared = await prepare_all(requests, dict(deployments))
    if not is_newest and any(isinstance(request, Rejected) for request in prepared):
        raise StaleDefinitions("what is refused may have been deployed since")
    return await admit_prepared(conn, prepared if mark is None else mark(prepared))


def describe_refusals(requests: Sequence[RunRequest], outcomes: Sequence[Admission], origin: str = "") -> list[LogLine]:
    """A Workflow error for each request that was refused; `origin` says where requests come from."""
    return [
        refusal_line(
            request.environment, request.workflow, f"could not be started{origin}: {outcome.message}", outcome.code
        )
        for request, outcome in zip(requests, outcomes, strict=True)
        if isinstance(outcome, Rejected)
    ]


def refusal_line(environment: str, workflow: str, what: str, kind: str) -> LogLine:
    """A Workflow error that says of a workflow that it was not started."""
    return error_line(Subject(environment, workflow), f"Workflow error: {workflow} {what}", {"kind": kind})
