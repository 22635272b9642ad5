"""Children that are admitted in the transaction that records the steps which scheduled them.

*Why here.* A child that is due now costs no message to a scheduler and no commit of its own. The door is the same
(`penstock.runs.admission`), so depth, limits and a stopped chain are judged as everywhere, under the lock of the
chain's row. That row is locked before those of runs, which is the order of everybody.

*Guarantees.* A child is there if and only if its step is recorded. Its id derives from parent and step, so a commit
whose outcome is unknown makes no second one when it is sent again. A parent whose lease was lost admits none.

*Continuing.* A run that ends may keep its slot for a child, which is then claimed in the same transaction: see
`performing.children`. *When this executor dies* before the commit, nothing has happened, and the parent is performed
again; after it, a child that was claimed comes back when its lease expires, and one that was not dispatched is found by
a scheduler.

*What goes to schedulers still*: children that are due later, that have a key or limits of flow, and those that a newer
deployment refuses, which has to be reported.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

from penstock.contracts.messages import ChildRun
from penstock.contracts.topology import BULK_LANE, DEFAULT_LANE
from penstock.db import Connection, Database
from penstock.domain.runs import Admission, Admitted, RunSummary
from penstock.domain.states import RunState
from penstock.errors import DatabaseUnavailable, LeaseLost, StaleDefinitions
from penstock.runs.admission import admit
from penstock.runs.requests import CheckedRun, check_run
from penstock.store.deployments import CompiledDeployment, DeploymentCache
from penstock_executor.holding.claim_batches import Claims
from penstock_executor.repository.held_runs import Held
from penstock_executor.runs import Commit, StepRecord, Written
from penstock_executor.writing.children import Children

_TURNS: Final = 5
_PATIENCE_SECONDS: Final = 30.0

Write = Callable[[Connection], Awaitable[Mapping[Held, Written]]]


class Offspring:
    """Admits the children of commits, and claims those that this executor continues with."""

    def __init__(self, database: Database, deployments: DeploymentCache, children: Children, claims: Claims) -> None:
        self._database = database
        self._deployments = deployments
        self._children = children
        self._claims = claims

    async def write(self, commits: Sequence[Commit], write: Write) -> Mapping[Held, Written]:
        """What `write` returns, committed together with the children, whose admissions the commits get.

        Raises LeaseLost, having written nothing, when one of the parents is no longer held: try others without it.
        """
        for _ in range(_TURNS):
            try:
                return await self._database.in_transaction(partial(self._write, commits=commits, write=write))
            except StaleDefinitions:
                await self._check_again(commits)
        raise DatabaseUnavailable("the app is being deployed again and again")

    async def _write(self, conn: Connection, *, commits: Sequence[Commit], write: Write) -> Mapping[Held, Written]:
        parents = [commit for commit in commits if commit.has_children]
        children = [child for commit in parents for child in commit.children]
        admitted = iter(await admit(conn, children) if children else [])
        for commit in parents:
            commit.admitted = [next(admitted) for _ in commit.children]
        written = await write(conn)
        for commit in parents:
            outcome = written.get((commit.run_id, commit.attempt))
            if isinstance(outcome, LeaseLost):
                raise outcome
        await self._claim(conn, parents)
        return written

    async def _claim(self, conn: Connection, parents: Sequence[Commit]) -> None:
        """Claim a child of each parent that has kept its slot for one."""
        chosen = {
            child.id: commit
            for commit in parents
            if commit.lane is not None and (child := _choose(commit.admitted, commit.lane)) is not None
        }
        for commit in parents:
            commit.claimed = None
        if chosen:
            for run in await self._claims.claim_within(conn, list(chosen)):
                chosen[run.id].claimed = run

    async def _check_again(self, commits: Sequence[Commit]) -> None:
        """Check the children by the newest deployments; those that cannot be admitted here are left to schedulers."""
        newest: dict[str, CompiledDeployment] = {}
        for commit in commits:
            for record in commit.records:
                if record.child is None:
                    continue
                environment = record.child.request.environment
                if environment not in newest:
                    newest[environment] = await self._deployments.refresh(environment)
                checked = check_run(record.child.request, newest[environment])
                if isinstance(checked, CheckedRun) and checked.control is None:
                    record.child = checked
                else:
                    await self._leave_to_scheduler(record, record.child)

    async def _leave_to_scheduler(self, record: StepRecord, child: CheckedRun) -> None:
        request = child.request
        assert request.lineage.parent_run_id is not None, "a step has a run"
        asked = ChildRun.model_construct(
            parent_run_id=request.lineage.parent_run_id,
            key=record.step,
            workflow=request.workflow,
            parameters=dict(request.parameters),
            scheduled_at=None,
            priority=request.priority,
            run_id=request.run_id,
        )
        await self._children.schedule(request.environment, request.lineage.depth, asked, _PATIENCE_SECONDS)
        record.child = None


def _choose(admitted: Sequence[Admission], lane: str) -> RunSummary | None:
    """The first child that is queued in this lane."""
    for outcome in admitted:
        if isinstance(outcome, Admitted) and outcome.run.state is RunState.QUEUED:
            run = outcome.run
            if outcome.observed is None and (BULK_LANE if run.is_bulk else DEFAULT_LANE) == lane:
                return run
    return None
