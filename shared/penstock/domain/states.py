"""The life of a run. Each state says who moves it on, and what happens if that process dies."""

from enum import StrEnum


class RunState(StrEnum):
    """`scheduled -> queued -> running -> succeeded | failed | skipped`, with `waiting` and the two ways of being
    stopped.

    A CHECK constraint in the database mirrors this enumeration.
    """

    SCHEDULED = "scheduled"
    """Admitted for later. Any scheduler dispatches it when due; if one dies, the row is found again by another."""
    QUEUED = "queued"
    """Handed to the broker. An executor claims it; if the message is lost, a scheduler dispatches it again."""
    RUNNING = "running"
    """Claimed under a lease. Its executor records the outcome; if that dies, the lease expires and the run is reaped.
    """
    WAITING = "waiting"
    """Waits for a time or a signal and holds nothing. A scheduler or the signal queues it again."""
    SUCCEEDED = "succeeded"
    """All steps were performed."""
    FAILED = "failed"
    """A step failed for good; the run is a dead letter. A person may queue it again, from the step that failed."""
    SKIPPED = "skipped"
    """The workflow's own condition was not met; nothing was performed."""
    CANCELLED = "cancelled"
    """A person or a program asked for it, in any state. An executor that still performs the run can write nothing."""
    TERMINATED = "terminated"
    """Stopped by a protection: the depth limit, the chain's size limit, or a stop of its chain."""

    @property
    def is_final(self) -> bool:
        """Whether the run will never be performed again by itself."""
        return self in FINAL_STATES


FINAL_STATES = frozenset(
    {RunState.SUCCEEDED, RunState.FAILED, RunState.SKIPPED, RunState.CANCELLED, RunState.TERMINATED},
)


class Trigger(StrEnum):
    """What started a run: a root by one of the others, a child by `run`, or by `run_event` when another run ended."""

    API = "api"
    WEBHOOK = "webhook"
    SCHEDULE = "schedule"
    RECURRENCE = "recurrence"
    CHANGE = "change"
    MESSAGE = "message"
    MANUAL = "manual"
    RUN = "run"
    RUN_EVENT = "run_event"


class Termination(StrEnum):
    """Why a protection stopped a run."""

    DEPTH_LIMIT = "depth_limit"
    NO_PROGRESS = "no_progress"
    CHAIN_LIMIT = "chain_limit"
    WORKLOAD_LIMIT = "workload_limit"
    CHAIN_STOPPED = "chain_stopped"
