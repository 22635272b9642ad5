"""What the rooms read of a run in the same way."""

from penstock.db import Record
from penstock.domain.runs import RunSummary
from penstock.domain.states import RunState


def summary_from_row(row: Record) -> RunSummary:
    """A run without its payload, from a row with the columns of the same names."""
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
    )
