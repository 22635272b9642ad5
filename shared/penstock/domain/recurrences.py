"""A recurrence: a rule that starts runs again and again, its position, and what becomes of its ticks."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, Literal
from uuid import UUID

from pydantic import JsonValue

from penstock.domain.states import RunState
from penstock.domain.ticks import Overlap, Rule, jitter, next_tick, ticks_after

ON_TIME: Final = timedelta(seconds=10)
"""A tick that is decided so much later than it was due is still on time."""
HELD_LOOK: Final = timedelta(seconds=1)
"""How often to check whether the run that a tick waits for has ended."""
MAX_TICKS: Final = 1000
"""Ticks of one recurrence that are decided at once; a scheduler that was away for long takes several turns."""


@dataclass(frozen=True, slots=True)
class Recurrence:
    """A recurrence. `thing` is what it was set for, if anything; `last_run_state` that of `last_run_id`, if known."""

    id: UUID
    environment: str
    workflow: str
    origin: Literal["trigger", "step"]
    thing: str | None
    rule: Rule
    overlap: Overlap
    catch_up: timedelta
    jitter: timedelta
    parameters: dict[str, JsonValue]
    context: dict[str, JsonValue]
    generation: int
    created_at: datetime
    paused_at: datetime | None
    next_tick_at: datetime | None
    due_at: datetime | None
    held_since: datetime | None
    last_tick_at: datetime | None
    last_run_id: UUID | None
    ticks: int
    skipped: int
    missed: int
    refused: int
    owed_since: datetime | None = None
    dropped_until: datetime | None = None
    times: int | None = None
    ticks_left: int | None = None
    pause_after_failures: int | None = None
    pause_note: str | None = None
    is_observed: bool = False
    last_run_state: RunState | None = None

    @property
    def state(self) -> Literal["active", "paused", "ended"]:
        """`ended`: the rule never comes true again, or it has ticked as often as it was to."""
        if self.paused_at is not None:
            return "paused"
        return "ended" if self.next_tick_at is None else "active"

    def due_time(self, tick_at: datetime) -> datetime:
        """When the tick of that time is due: later by its jitter."""
        return tick_at + jitter(self.id, tick_at, self.jitter)

    def run_context(self, tick_at: datetime) -> dict[str, JsonValue]:
        """What the expressions of a tick's run see beside its parameters."""
        tick: dict[str, JsonValue] = {"id": str(self.id), "tick_at": tick_at.isoformat(), "generation": self.generation}
        if self.is_observed:
            tick["observed"] = True
        return {**self.context, "recurrence": tick}


@dataclass(frozen=True, slots=True)
class TickDecision:
    """What becomes of a recurrence's due ticks: `ticks` make a run each, and the recurrence continues at
    `next_tick_at`.

    `skipped`: the run before had not ended. `missed`: too long ago. `dropped`: due during a pause of the schedule, and
    not wanted afterwards. `held_since`: the tick waits for the run before. `cancels`: the run before is cancelled.
    """

    ticks: tuple[datetime, ...]
    skipped: tuple[datetime, ...]
    missed: tuple[datetime, ...]
    next_tick_at: datetime | None
    due_at: datetime | None
    held_since: datetime | None = None
    is_on_time: bool = True
    dropped: tuple[datetime, ...] = ()
    cancels: bool = False


def decide_ticks(recurrence: Recurrence, now: datetime, *, is_live: bool) -> TickDecision:
    """Decide the ticks that are due. `is_live`: the run of the tick before has not ended.

    Ticks that were missed, because no scheduler worked, are made up for as long as `catch_up` says: each of them where
    runs may overlap, else only the latest, as one that waited (`overlap: queue`) is, however long it took.
    """
    due, next_tick_at = _due_ticks(recurrence, now)
    dropped = tuple(tick for tick in due if _is_dropped(recurrence, tick))
    due = due[len(dropped) :]
    patience = max(recurrence.catch_up, ON_TIME)
    fresh = tuple(tick for tick in due if now - recurrence.due_time(tick) <= patience or _is_owed(recurrence, tick))
    if recurrence.held_since is not None:
        fresh = fresh or due[-1:]
    missed, ticks = due[: len(due) - len(fresh)], fresh
    skipped: tuple[datetime, ...] = ()
    if recurrence.overlap is not Overlap.ALLOW and fresh:
        if is_live and recurrence.overlap is Overlap.QUEUE:
            return TickDecision((), (), (), recurrence.next_tick_at, now + HELD_LOOK, recurrence.held_since or now)
        if is_live and recurrence.overlap is Overlap.SKIP:
            ticks, skipped = (), fresh
        elif recurrence.held_since is not None:
            ticks, skipped, missed = fresh[-1:], due[:-1], ()
        else:
            ticks, missed = fresh[-1:], due[:-1]
    if recurrence.ticks_left is not None and len(ticks) >= recurrence.ticks_left:
        ticks, next_tick_at = ticks[: recurrence.ticks_left], None
    due_at = None if next_tick_at is None else recurrence.due_time(next_tick_at)
    is_on_time = all(now - recurrence.due_time(tick) <= ON_TIME for tick in ticks)
    cancels = is_live and recurrence.overlap is Overlap.CANCEL_OTHER and bool(ticks)
    return TickDecision(
        ticks, skipped, missed, next_tick_at, due_at, is_on_time=is_on_time, dropped=dropped, cancels=cancels
    )


def list_next_ticks(recurrence: Recurrence, now: datetime, count: int) -> list[datetime]:
    """The next ticks of a recurrence, at most `count`; those that it would have if it were not paused."""
    if recurrence.next_tick_at is None:
        return []
    count = count if recurrence.ticks_left is None else min(count, recurrence.ticks_left)
    after = recurrence.next_tick_at - timedelta(microseconds=1)
    if recurrence.paused_at is not None:
        after = max(after, now)
    return list(islice(ticks_after(recurrence.rule, after), count))


def _is_dropped(recurrence: Recurrence, tick_at: datetime) -> bool:
    return recurrence.dropped_until is not None and recurrence.due_time(tick_at) < recurrence.dropped_until


def _is_owed(recurrence: Recurrence, tick_at: datetime) -> bool:
    """Whether a pause of the schedule has held that tick back, and it is wanted afterwards."""
    return recurrence.owed_since is not None and recurrence.due_time(tick_at) >= recurrence.owed_since


def _due_ticks(recurrence: Recurrence, now: datetime) -> tuple[tuple[datetime, ...], datetime | None]:
    """The ticks that are due, and the first that is not (or is left for another turn)."""
    due: list[datetime] = []
    tick = recurrence.next_tick_at
    while tick is not None and len(due) < MAX_TICKS and recurrence.due_time(tick) <= now:
        due.append(tick)
        tick = next_tick(recurrence.rule, tick)
    return tuple(due), tick
