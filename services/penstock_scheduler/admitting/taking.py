"""Requests for runs that were stored by others: taken out of their table in the transaction that admits their runs.

What a taken row asks for is admitted, or reported as a Workflow error, once: the row is gone with the same commit. A
refusal by a deployment that may be outdated raises StaleDefinitions, and the row is taken again with the newest one.
"""

from collections.abc import Mapping, Sequence

from penstock.db import Connection
from penstock.domain.runs import Admission, Rejected
from penstock.errors import StaleDefinitions
from penstock.runs.requests import RunRequest
from penstock.store.deployments import CompiledDeployment
from penstock.store.logs import LogLine, Subject, error_line
from penstock_scheduler.admitting.admissions import admit_prepared, prepare_all


async def admit_taken(
    conn: Connection, requests: Sequence[RunRequest], deployments: Mapping[str, CompiledDeployment], *, is_newest: bool
) -> list[Admission]:
    """The outcome of each request, in order. Raises StaleDefinitions, also for a refusal by a deployment that may be
    old.
    """
    prepared = await prepare_all(requests, dict(deployments))
    if not is_newest and any(isinstance(request, Rejected) for request in prepared):
        raise StaleDefinitions("what is refused may have been deployed since")
    return await admit_prepared(conn, prepared)


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
