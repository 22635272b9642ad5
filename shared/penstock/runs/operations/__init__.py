"""What is done to many runs at once, by a filter: cancel them, retry them, cancel what is coming, replay deliveries,
retry, discard or resolve dead letters.

*Model.* An operation is a row. `begin_operation` writes it, with the number of runs that meet the filter and the note
for the audit, in one transaction: that is the act. From then on everyone who has time takes turns at it: the process
that was asked takes the first at once, so that a small operation is over with the answer; schedulers take the rest. A
turn is one batch and the row's counts in one transaction, behind the row's lock.

*Guarantees.* What meets the filter when the operation begins is dealt with once: a run that was cancelled or taken up
again no longer meets it, and one that comes into being, or fails, after the beginning does not either: but for a run
under a key that was on its way then, which is waited for. Deliveries, whose state says nothing, and dead letters, of
which some cannot be retried, are taken in their order, and the row keeps how far that is. So a turn that is lost with
its process is simply taken again, and an operation comes to its end however busy a chain is.

*What fails.* A turn that fails is tried again by the next; after MAX_FAILURES in a row the operation has failed, and
says why. What was done stays done.
"""

from penstock.runs.operations.rows import (
    KEPT_FOR,
    MAX_FAILURES,
    Asked,
    Filter,
    KeyChoice,
    Operation,
    OperationKind,
    RetryChoice,
    begin_operation,
    delete_old_operations,
    find_operation,
    list_running,
    note_failure,
)
from penstock.runs.operations.turns import BATCH, Turn, take_turn, take_turn_of

__all__ = [
    "BATCH",
    "KEPT_FOR",
    "MAX_FAILURES",
    "Asked",
    "Filter",
    "KeyChoice",
    "Operation",
    "OperationKind",
    "RetryChoice",
    "Turn",
    "begin_operation",
    "delete_old_operations",
    "find_operation",
    "list_running",
    "note_failure",
    "take_turn",
    "take_turn_of",
]
