"""Flow control of a workflow, as data: how many of its runs may be under way, how often, and in which order, per key.

A key is a bare expression over what a run is admitted with; None puts all runs of the workflow under one key.
"""

from functools import cached_property
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

MAX_LIMIT: Final = 1_000_000
MAX_RULES: Final = 5
"""Limits of one kind that a workflow may have."""
MAX_PERIOD_SECONDS: Final = 31 * 86400.0
KEY_NAMES: Final = frozenset({"params", "webhook", "change", "request", "recurrence", "run_event"})
"""What a key may be made of: all that is known before a run starts."""


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    key: str | None = None


class Concurrency(_Rule):
    """At most `limit` runs per key are being performed at once."""

    limit: int


class Rate(_Rule):
    """At most `limit` runs per key are started in any `per_seconds`."""

    limit: int
    per_seconds: float


class Sequence(_Rule):
    """Runs of a key are performed one by one, in the order in which they were admitted. After one that failed, those
    behind it wait until it has succeeded (`block`), or follow (`skip`).
    """

    on_failure: Literal["block", "skip"] = "block"


Rule = Concurrency | Rate | Sequence


class Debounce(_Rule):
    """Of the runs of a key, only the last is performed: `quiet_seconds` after it was asked for, and at most
    `max_seconds` after the first that it replaces was.
    """

    quiet_seconds: float
    max_seconds: float | None = None


class Flow(BaseModel):
    """All flow control of one workflow."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    concurrency: tuple[Concurrency, ...] = ()
    rates: tuple[Rate, ...] = ()
    sequence: Sequence | None = None
    debounce: Debounce | None = None

    @cached_property
    def rules(self) -> dict[str, Rule]:
        """The rules under which a run has to wait for its turn, by the name under which its place is stored."""
        found: dict[str, Rule] = {}
        found.update({f"concurrency:{number}": rule for number, rule in enumerate(self.concurrency)})
        found.update({f"rate:{number}": rule for number, rule in enumerate(self.rates)})
        if self.sequence is not None:
            found["sequence"] = self.sequence
        return found


def keys_of(flow: Flow | None) -> list[str]:
    """The expressions of all keys."""
    if flow is None:
        return []
    rules = [*flow.rules.values(), *(() if flow.debounce is None else (flow.debounce,))]
    return [rule.key for rule in rules if rule.key is not None]
