"""What every room reads of a run that it moves on: the columns, and the summary that they become."""

from typing import Final

from penstock.db import Record
from penstock.domain.runs import RunSummary
from penstock.domain.states import RunState

SUMMARY: Final = (
    "r.id, r.chain_id, r.parent_run_id, r.environment, r.workflow, r.state, r.depth, r.scheduled_at, r.attempt, "
    "r.priority, r.is_bulk"
)
"""The columns of a summary, for a statement in which `r` is penstock.runs: `… RETURNING {SUMMARY}`."""


def summary_from_row(row: Record) -> RunSummary:
    """The run without its payload, from a row that has the columns of SUMMARY, whatever else it has."""
    return RunSummary(
        id=row["id"],
        chain_id=row["chain_id"],
        parent_run_id=row["parent_run_id"],
        environment=row["environment"],
        workflow=row["workflow"],
        state=RunState(row["state"]),
        depth=row["depth"],
        scheduled_at=row["scheduled_at"],
        attempt=row["attempt"],
        priority=row["priority"],
        is_bulk=row["is_bulk"] is True,
    )
