"""The depth rule: how deep a run is, and whether it may run. Asked at admission and again when a run is claimed.

Depth counts scheduling hops. A root run has depth 0; a run that another run schedules has that run's depth + 1; all
items of one list share one depth. A run is admitted if and only if `depth <= limit`. Retries, redeliveries and replays
keep their depth;
`trigger` (a custom event) adds none. `penstock.runs.admission` states the same rule for a batch; a test holds the two
together.
"""

from typing import Final

MAX_DEPTH: Final = 1_000_000
"""No header, setting or definition may name a depth or a limit beyond this."""
DEFAULT_DEPTH_LIMIT: Final = 10
WARNING_SHARE: Final = 0.8
"""At this share of the limit a chain is warned of, once."""


def depth_of(*, parent_depth: int | None, claimed_depth: int = 0) -> int:
    """The depth of a new run. A stored parent decides: never less than one more than its own, whatever the message
    claims.
    """
    if parent_depth is None:
        return claimed_depth
    return max(claimed_depth, parent_depth + 1)


def effective_limit(*, environment_limit: int, workflow_limit: int | None) -> int:
    """The limit that holds for a run: the workflow's own if it has one, else its environment's."""
    return environment_limit if workflow_limit is None else workflow_limit


def is_within_limit(depth: int, limit: int) -> bool:
    """Whether a run of this depth may be admitted, and started."""
    return depth <= limit


def reaches_warning(depth: int, limit: int) -> bool:
    """Whether a chain that got this deep should be warned of: at 80 % of its limit."""
    return limit > 0 and depth >= WARNING_SHARE * limit


def parse_depth(value: object) -> int | None:
    """The depth in an AMQP header, or None when it is missing or malformed: only a true integer from 0 to MAX_DEPTH
    counts.

    Brokers carry floats, booleans and strings unchanged, and `True` is an `int` in Python, hence the strictness.
    """
    if type(value) is int and 0 <= value <= MAX_DEPTH:
        return value
    return None
