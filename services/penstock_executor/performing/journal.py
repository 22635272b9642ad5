"""What one run has done and not yet written: records of steps, and the effect of at most one of them.

It is all committed before the run waits for anything but that commit, so nothing outside of the run sees anything of it
before it is durable; a crash in between only means that it is done again.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue

from penstock.domain.workload import POSITIONS, Activity, no_counts
from penstock.errors import LeaseLost
from penstock_executor.effects import Effect
from penstock_executor.holding.leases import Lease
from penstock_executor.performing.children import announce_children
from penstock_executor.room import Room
from penstock_executor.runs import ClaimedRun, Commit, Ending, StepRecord, Values
from penstock_executor.steps.outcomes import Write

_RUN = POSITIONS[Activity.RUN]
_LONG = 100


class Position(NamedTuple):
    """Where a run is: the path of the step, the author's `file:line`, and the kind of step."""

    path: str
    place: str
    action: str


@dataclass(slots=True)
class _Pending:
    write: Write
    record: StepRecord
    index: int
    position: Position


class Journal:
    """The journal of one attempt. `position` is the step that an error belongs to, None before the first."""

    __slots__ = (
        "_lease",
        "_pending",
        "_records",
        "_room",
        "_sent",
        "claimed",
        "has_children",
        "lane",
        "must_commit",
        "performed",
        "position",
        "used",
    )

    def __init__(self, room: Room, lease: Lease) -> None:
        self._room = room
        self._lease = lease
        self._records: list[StepRecord] = []
        self._pending: _Pending | None = None
        self._sent: _Pending | None = None
        self.must_commit = False
        """Something happened that has to be durable before the run waits for anything else."""
        self.position: Position | None = None
        self.performed: StepRecord | None = None
        """The step that was begun last; it is not recorded before it has ended."""
        self.has_children = False
        """Children are admitted with the next commit."""
        self.lane: str | None = None
        """In which the run has kept its slot for a child that is admitted with its ending."""
        self.claimed: ClaimedRun | None = None
        """That child, once it is claimed."""
        self.used = no_counts()
        """What the attempt has consumed; its run's total has it once the ending is written."""

    def record(self, record: StepRecord, *, must_commit: bool = False) -> None:
        """Remember that a step was performed; written with the next commit."""
        self._records.append(record)
        self.must_commit |= must_commit
        if record.child is not None:
            self.has_children = True

    @property
    def is_long(self) -> bool:
        """Whether so much waits to be written that it is better not to have to do all of it again."""
        return len(self._records) >= _LONG

    def finish_all(self, at: datetime) -> None:
        """What is recorded has ended by then: the run is about to wait, and its journal may be written much later."""
        for record in self._records:
            if record.finished_at is None and record.outcome != "waiting":
                record.finished_at = at

    def defer(self, write: Write, record: StepRecord, position: Position) -> None:
        """Have an effect written with the next commit. There is at most one: commit before you defer another."""
        self._pending = _Pending(write, record, len(self._records), position)
        self.record(record, must_commit=True)

    async def commit(self, ending: Ending | None = None, *, answer: Values | None = None) -> JsonValue:
        """Write all that waits, and how the attempt ends; returns the result of the effect.

        Raises LeaseLost, or that with which the database refuses the data. Then the refused effect and what came after
        it are forgotten (without an effect: all that waited), and `position` is the effect's.
        """
        return await self.send(self.draw_up(ending, answer=answer))

    def draw_up(self, ending: Ending | None = None, *, answer: Values | None = None) -> Commit:
        """What `commit` would write, for who writes it: afterwards they call `settle`, or `take_back`."""
        pending, run = self._pending, self._lease.run
        if ending is not None and ending.state.is_final:
            self.used[_RUN] = 1
        commit = Commit(
            run.id,
            run.attempt,
            run.environment,
            self._records,
            None if pending is None else pending.write.effect,
            None if pending is None else pending.record,
            ending,
            answer,
            workload=0.0 if ending is None else self._room.meter.weigh(run.environment, self.used),
            has_children=self.has_children,
            lane=self.lane,
            is_limited=run.is_limited,
        )
        self._sent = pending
        self._pending, self._records, self.must_commit, self.has_children = None, [], False, False
        return commit

    async def send(self, commit: Commit) -> JsonValue:
        """Write what was drawn up last; returns and raises as `commit` does."""
        try:
            result = await self._room.commits.commit(self._lease, commit)
        except LeaseLost:
            raise
        except Exception:
            self.take_back(commit)
            raise
        self.settle(commit)
        return result

    def settle(self, commit: Commit) -> None:
        """What was drawn up is durable: count it, and announce its effect."""
        if commit.ending is not None:
            self._room.meter.add(commit.environment, self._lease.run.workflow, self.used)
        if self._sent is not None:
            self._announce(self._sent.write)
        if commit.admitted:
            self.claimed = commit.claimed
            announce_children(self._room, commit)

    def take_back(self, commit: Commit) -> None:
        """The database refuses what was drawn up: forget the effect, and what came after it."""
        if (refused := self._sent) is not None:
            self._records = commit.records[: refused.index]
            self.has_children = any(record.child is not None for record in self._records)
            self.position, self.performed = refused.position, refused.record

    def _announce(self, write: Write) -> None:
        run = self._lease.run
        if isinstance(write.effect, Effect):
            for cancelled in write.effect.cancelled:
                self._room.publisher.run_event("cancelled", cancelled, reason=f"cancelled by run {run.id}")
            if write.effect.observed is not None:
                self._room.publisher.observed(run.environment, write.effect.observed)
        if write.nudge is not None:
            self._room.nudge(run.environment, write.nudge)
