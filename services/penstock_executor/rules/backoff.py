"""How long to wait before a step, or a run, is tried again."""

from penstock.definitions.models import RetryPolicy
from penstock.errors import Transient


def retry_delay(policy: RetryPolicy, failures: int, error: Exception, jitter: float) -> float:
    """Seconds until the next try: the backoff, or what the other side asked for if longer; at most `policy.max`."""
    delay = spread(backoff(policy, failures), policy.jitter, jitter)
    if isinstance(error, Transient) and error.retry_after_seconds is not None:
        delay = max(delay, min(error.retry_after_seconds, policy.max_seconds))
    return delay


def backoff(policy: RetryPolicy, failures: int) -> float:
    """Seconds to wait after `failures` earlier failures: `backoff * factor ** failures`, at most `max`."""
    try:
        return min(policy.backoff_seconds * policy.factor**failures, policy.max_seconds)
    except OverflowError:
        return policy.max_seconds


def spread(seconds: float, share: float, jitter: float) -> float:
    """`seconds` moved by up to ± `share` of it; `jitter` from 0 to 1 says where to, 0.5 being not at all."""
    return seconds * (1 + share * (2 * jitter - 1))
