"""The depth rule: how deep a run is, and whether it may run. Judged at admission and again when a run is claimed, there
by `penstock.judge_depth` in SQL, which this module states once more in Python.

*Depth* counts scheduling hops. A root run has depth 0; a run that another run schedules has that run's depth + 1; all
items of one list share one depth. Retries, redeliveries and replays keep their depth; `trigger` (a custom event) adds
none.

*Budget.* A run is admitted if and only if `depth - base <= limit` (plus what its chain was granted). Without overrides
the base is 0 and the limit its environment's. A workflow with a `depth_limit` of its own opens a budget when it is
entered, finds it again when it returns, and an ordinary run that leaves it opens a fresh ordinary one. A recursion
that `decreases` needs no budget while its value falls. What was opened on a path is kept on the run's row, so that a
child is placed by its parent's row alone; it is null for a run without overrides.

The functions `penstock.open_budget` and `penstock.judge_depth` state the same rule in SQL, where the parent's row is; a
property test holds each pair together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from pydantic import JsonValue

from penstock.domain.states import Termination

MAX_DEPTH: Final = 1_000_000
"""No header, setting or definition may name a depth or a limit beyond this."""
DEFAULT_DEPTH_LIMIT: Final = 10
WARNING_SHARE: Final = 0.8
"""At this share of a limit a chain is warned of, once."""

Budget = Mapping[str, JsonValue]
"""As it is stored: `base`, `opened`, `values`, and `falls` or `stuck` (the value before, and now)."""


@dataclass(frozen=True, slots=True)
class PlacedRun:
    """What a stored run says of its children's depth."""

    workflow: str
    depth: int
    own_limit: int | None = None
    budget: Budget | None = None


def depth_of(*, parent_depth: int | None, claimed_depth: int = 0) -> int:
    """The depth of a new run: at least one more than its stored parent's, whatever the message claims."""
    if parent_depth is None:
        return claimed_depth
    return max(claimed_depth, parent_depth + 1)


def open_budget(
    parent: PlacedRun | None, *, workflow: str, own_limit: int | None = None, progress: list[JsonValue] | None = None
) -> Budget | None:
    """The budget of a new run; None when neither it nor anything on its path has an override.

    `progress` is a list with the value of the workflow's `decreases`, None when it has none.
    """
    before = (parent.budget if parent else None) or {}
    opened, values = _mapping(before.get("opened")), _mapping(before.get("values"))
    if own_limit is None and progress is None and not before and (parent is None or parent.own_limit is None):
        return None
    base = _base(parent, workflow, own_limit)
    budget: dict[str, JsonValue] = {"base": base}
    if own_limit is not None:
        opened[workflow] = base
    earlier = values.pop(workflow, _NEVER)
    if progress is not None:
        values[workflow] = progress[0]
        if earlier is not _NEVER:
            budget["falls" if has_decreased(earlier, progress[0]) else "stuck"] = [earlier, progress[0]]
    kept: dict[str, JsonValue] = {"opened": opened, "values": values, "observed": "observed" in before}
    return budget | {name: value for name, value in kept.items() if value}


def _base(parent: PlacedRun | None, workflow: str, own_limit: int | None) -> int:
    """The depth that a run's own is counted from."""
    if parent is None:
        return 0
    before = parent.budget or {}
    if own_limit is not None:  # returning, or entering
        found = _mapping(before.get("opened")).get(workflow, parent.depth)
    elif parent.own_limit is not None or parent.workflow in _mapping(before.get("values")):  # leaving
        found = parent.depth
    else:
        found = before.get("base", 0)
    assert isinstance(found, int)
    return found


def has_decreased(before: JsonValue, now: JsonValue) -> bool:
    """Whether `now` is a whole number, at least 0, and smaller than `before`."""
    if not _is_number(before) or not _is_number(now):
        return False
    exact = Decimal(str(now))
    return exact >= 0 and exact == exact.to_integral_value() and exact < Decimal(str(before))


def judge_depth(
    depth: int, *, own_limit: int | None, budget: Budget | None, environment_limit: int, extra_depth: int = 0
) -> Termination | None:
    """Why a run of this depth may not run; None when it may. `extra_depth` is what its chain was granted."""
    if budget is not None and "falls" in budget:
        return None
    if budget is not None and "stuck" in budget:
        return Termination.NO_PROGRESS
    limit = effective_limit(environment_limit=environment_limit, workflow_limit=own_limit)
    return None if depth - base_of(budget) <= limit + extra_depth else Termination.DEPTH_LIMIT


def base_of(budget: Budget | None) -> int:
    """The depth from which a run with this budget is counted."""
    base = (budget or {}).get("base", 0)
    assert isinstance(base, int)
    return base


def effective_limit(*, environment_limit: int, workflow_limit: int | None) -> int:
    """The limit that holds for a run: the workflow's own if it has one, else its environment's."""
    return environment_limit if workflow_limit is None else workflow_limit


def is_within_limit(depth: int, limit: int) -> bool:
    """Whether a run of this depth may be admitted, and started."""
    return depth <= limit


def reaches_warning(reached: float, limit: float) -> bool:
    """Whether a chain that got this far should be warned of: at 80 % of its limit."""
    return limit > 0 and reached >= WARNING_SHARE * limit


def parse_depth(value: object) -> int | None:
    """The depth in an AMQP header; None unless it is an integer from 0 to MAX_DEPTH.

    Brokers carry floats, booleans and strings unchanged, and `True` is an `int` in Python, hence the strictness.
    """
    if type(value) is int and 0 <= value <= MAX_DEPTH:
        return value
    return None


_NEVER: Final[JsonValue] = "\x00"
"""Stands for no earlier value: PostgreSQL stores no such text."""


def _mapping(value: JsonValue) -> dict[str, JsonValue]:
    return dict(value) if isinstance(value, dict) else {}


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
