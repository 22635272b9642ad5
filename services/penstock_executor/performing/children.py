"""Children that were admitted with a step of their parent: announced, and handed over or continued with.

*Continuing.* A run that ends while nothing else waits here, and few runs are performed, keeps its slot for one child,
which is claimed in the transaction that ends the parent. A chain then does without the broker from hop to hop.
Otherwise, and for all children but the one, the broker hands them to an executor that has room: so runs that wait have
their turns by lane and priority, and a chain that branches spreads over the executors. An executor that is leaving
continues with none.
"""

from penstock.domain.runs import Admitted
from penstock.domain.states import RunState
from penstock_executor.holding.leases import Lease
from penstock_executor.room import Room
from penstock_executor.runs import Commit


def may_continue(room: Room, lease: Lease) -> bool:
    """Whether a run that ends may keep its slot for a child."""
    return lease.holds_slot and not room.messages and room.slots.is_quiet and not room.stop.soft.is_set()


def announce_children(room: Room, commit: Commit) -> None:
    """After the commit: publish what was admitted, and hand over what is due and not claimed here."""
    room.publisher.announce(commit.admitted)
    claimed = None if commit.claimed is None else commit.claimed.id
    for outcome in commit.admitted:
        if isinstance(outcome, Admitted) and outcome.run.id != claimed:
            if outcome.run.state is RunState.QUEUED:
                room.hand_over(outcome.run)
            else:
                room.wake_scheduler(outcome.run.environment)
